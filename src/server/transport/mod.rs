//! Sockets and connections, up to where a request is known.

pub(super) mod connection;
pub(super) mod tls;
mod unix;
pub(super) mod error;
pub(super) mod listen;
