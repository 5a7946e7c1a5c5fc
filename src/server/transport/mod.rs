//! Sockets and connections, up to where a request is known.

pub(super) mod connection;
pub(super) mod listen;
pub(super) mod tls;
mod unix;
