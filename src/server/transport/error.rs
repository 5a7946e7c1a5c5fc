//! Errors of a server that cannot begin.

use std::io;
use std::net::SocketAddr;

use super::tls::TlsError;
use crate::apikey::KeysError;
use crate::log::OpenError;

/// A server that cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A socket cannot be bound.
    #[error("cannot listen on {place}: {source}")]
    Bind {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// Others could reach it, and there are no keys.
    #[error(
        "{address} can be reached from other machines, and the log has no API key: whoever reaches it could read and append; create a key with `annals apikey create`, listen on 127.0.0.1, or say --no-auth if something else protects it"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// Others could reach it, and nothing is encrypted.
    #[error(
        "{address} can be reached from other machines, and there is no TLS: keys and events could be read and changed on the way; name a certificate with --tls-cert and --tls-key, listen on 127.0.0.1 or a unix socket, or say --insecure if something else encrypts what goes there"
    )]
    Plaintext {
        /// The address.
        address: SocketAddr,
    },
    /// Nobody said where.
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
