//! `annals serve`: HTTP over one log, for those who append to it from elsewhere and those who read it.
//!
//! ```text
//! listen ─▶ connection ─▶ router ─▶ observe ─▶ auth ─▶ body ─▶ handler ─▶ AuditLog
//!  TCP,      HTTP/1 and    which     request    who,    bytes,  thin: parse,
//!  TLS,      HTTP/2,       handler   id, log    whether time,   append, answer
//!  unix      idle times              panics             memory
//! ```
//!
//! An event that was answered 200 is committed. Whatever is not known to be committed gets another
//! answer, which says to send it again.
//!
//! What is bounded is in [`Limits`]; every error is a problem detail of `problem`. A route is a function
//! that takes `App`, what its scope demands (`request::auth::Allowed`) and, last, its body
//! (`request::body::Received`). `app` is what they share, and knows none of them.

// In reading order: each uses those before it.
mod peer;
mod problem;
mod app;
mod request;
mod routes;
mod transport;
mod watches;

pub use app::gate::Authentication;
pub use app::limits::Limits;
pub use transport::error::ListenError;
pub use transport::tls::{TlsError, TlsFiles};

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{AuditLog, CloseError};
use app::gate::Gate;
use app::log_file::LogFile;
use app::{App, Warning};
use transport::connection::{self, Ends};
use transport::listen::{self, Acceptance, Socket};
use transport::tls;

/// How a log is served.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where to listen for HTTP. Port 0 stands for any that is free.
    pub http: Vec<SocketAddr>,
    /// Where to listen for OTLP over gRPC.
    pub grpc: Vec<SocketAddr>,
    /// Unix sockets to listen on for HTTP. Only the server's own user can open them.
    pub unix: Vec<PathBuf>,
    /// The certificate, for TLS at all addresses.
    pub tls: Option<TlsFiles>,
    /// Whether keys are asked for.
    pub authentication: Authentication,
    /// Who may be served without TLS.
    pub plaintext: Plaintext,
    /// Whether it is recorded in the log when a key reads what events say.
    pub record_reads: bool,
    /// The server's bounds.
    pub limits: Limits,
}

/// Who may be served without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plaintext {
    /// This machine alone.
    #[default]
    Loopback,
    /// Other machines, too: keys and events can be read and changed on the way, unless something else
    /// encrypts what goes there. The server warns of it at its start and for as long as it runs.
    Anywhere,
}

/// Where a server listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// HTTP.
    pub http: Vec<SocketAddr>,
    /// OTLP over gRPC.
    pub grpc: Vec<SocketAddr>,
    /// HTTP on unix sockets.
    pub unix: Vec<PathBuf>,
}

/// A server whose sockets are bound: clients may connect, and are answered once it runs.
pub struct Server {
    app: App,
    http: Vec<Socket>,
    grpc: Vec<Socket>,
    addresses: Addresses,
    tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds every socket. It must be called within a Tokio runtime with all its drivers.
    ///
    /// # Errors
    /// If a socket cannot be bound, the certificate cannot be used, or others could reach a log without
    /// keys or without TLS.
    pub fn bind(log: AuditLog, config: &Config) -> Result<Server, ListenError> {
        let file = LogFile::open(&log)?;
        let gate = Gate::open(log.path(), config.authentication, config.record_reads)?;
        let exposed =
            config.http.iter().chain(&config.grpc).copied().find(|address| !address.ip().is_loopback());
        if let Some(address) = exposed {
            if config.authentication != Authentication::Never && !gate.is_closed() {
                return Err(ListenError::Open { address });
            }
            if config.tls.is_none() && config.plaintext == Plaintext::Loopback {
                return Err(ListenError::Plaintext { address });
            }
        }
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let tcp = |addresses: &[SocketAddr]| -> Result<Vec<Socket>, ListenError> {
            addresses.iter().map(|address| Socket::tcp(*address)).collect()
        };
        let (mut http, grpc) = (tcp(&config.http)?, tcp(&config.grpc)?);
        for path in &config.unix {
            http.push(Socket::unix(path)?);
        }
        if http.is_empty() && grpc.is_empty() {
            return Err(ListenError::Nowhere);
        }
        let bound = |sockets: &[Socket]| -> Result<Vec<SocketAddr>, ListenError> {
            let addresses: io::Result<Vec<_>> = sockets.iter().map(Socket::address).collect();
            let addresses = addresses.map_err(|source| ListenError::Bind {
                place: "a socket that was bound".to_owned(),
                source,
            })?;
            Ok(addresses.into_iter().flatten().collect())
        };
        let addresses = Addresses {
            http: bound(&http)?,
            grpc: bound(&grpc)?,
            unix: http.iter().filter_map(Socket::path).collect(),
        };
        let warnings: Vec<Warning> =
            exposed.filter(|_| config.tls.is_none()).map(Warning::Plaintext).into_iter().collect();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let app = App::new(log, file, config.limits.clone(), gate, warnings);
        Ok(Server { app, http, grpc, addresses, tls })
    }

    /// Where it listens, with the ports that it was given.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `stop` is ready. Then no new connections are taken, requests that run have
    /// [`Limits::grace`] to end, and the log is closed: everything that was accepted is committed, and in
    /// the read tables.
    ///
    /// # Errors
    /// If the log could not be closed cleanly.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), CloseError> {
        let Server { app, http, grpc, tls, .. } = self;
        let limits = app.limits.clone();
        let ends = Ends { gently: app.stopping.clone(), now: CancellationToken::new() };
        let acceptance = Acceptance {
            protocol: Arc::new(connection::protocol(&limits)),
            room: app.room.clone(),
            ends: ends.clone(),
            connections: TaskTracker::new(),
            limits,
        };
        let listeners = TaskTracker::new();
        let router = routes::router(&app);
        for socket in http.into_iter().chain(grpc) {
            let accepting = listen::accept(socket, tls.clone(), router.clone(), acceptance.clone());
            listeners.spawn(accepting);
        }
        listeners.spawn(watches::commits(app.clone()));
        listeners.spawn(watches::file(app.clone()));
        let keys = tokio::spawn(watches::keys(app.clone()));
        stop.await;
        app.stopping.cancel();
        listeners.close();
        listeners.wait().await;
        let connections = acceptance.connections;
        connections.close();
        if tokio::time::timeout(acceptance.limits.grace, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests did not end in time, and are cut off");
            ends.now.cancel();
            connections.wait().await;
        }
        // When keys were last used is for people; that it could not be written is no reason not to end.
        let _ = keys.await;
        // The last connection that closes takes the write-ahead log away, and one that only reads cannot.
        app.gate.close();
        app.file.close();
        app.readers.close().await;
        let log = app.log.clone();
        tokio::task::spawn_blocking(move || log.close()).await.unwrap_or(Err(CloseError::Panicked("closing")))
    }
}
