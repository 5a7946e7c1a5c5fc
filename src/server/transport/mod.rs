//! Sockets and connections, up to the point where a request is known.

pub(super) mod connection;
pub(super) mod tls;
pub(super) mod error;
mod unix;
pub(super) mod listen;
