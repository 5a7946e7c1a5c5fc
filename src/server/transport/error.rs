//! Errors of a server that cannot start.

use std::io;
use std::net::SocketAddr;

use super::tls::TlsError;
use crate::apikey::KeysError;
use crate::log::OpenError;

/// The reason why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A socket cannot be bound.
    #[error("cannot listen on {place}: {source}")]
    Bind {
        /// The address or path of the socket.
        place: String,
        /// The error of the system.
        source: io::Error,
    },
    /// Other machines could reach the log, and it has no API keys.
    #[error(
        "other machines can reach {address}, and the log has no API key, so every client there could do everything; create a key with `annals apikey create`, listen on 127.0.0.1, or give --no-auth if something else protects the address"
    )]
    Open {
        /// The address that other machines can reach.
        address: SocketAddr,
    },
    /// Other machines could reach the log, and nothing is encrypted.
    #[error(
        "other machines can reach {address}, and there is no TLS, so keys and events could be read and changed on the way; name a certificate with --tls-cert and --tls-key, listen on 127.0.0.1 or a unix socket, or give --insecure if something else encrypts the traffic"
    )]
    Plaintext {
        /// The address that other machines can reach.
        address: SocketAddr,
    },
    /// The configuration names no address and no unix socket.
    #[error("there is nothing to listen on; name an address or a unix socket")]
    Nowhere,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The log's file is no longer the one that was opened.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The log's keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
}
