//! The server of `annals serve`: HTTP and gRPC over one log, for producers and readers elsewhere.
//!
//! ```text
//! listen ─▶ connection ─▶ router ─▶ observe ─▶ auth ─▶ body ─▶ handler ─▶ AuditLog
//!  TCP,      HTTP/1 and    which     request    caller, bytes,  thin: parse,
//!  TLS,      HTTP/2,       handler   id, log    scope   time,   append, answer
//!  unix      idle times              panics             memory
//! ```
//!
//! An event is answered with 200 only after its commit. If an event is not known to be committed, the answer
//! is another one and asks the client to send the event again.
//!
//! [`Limits`] has the bounds that an operator sets. Every error is a problem detail (module `problem`). A
//! route is a function that takes `App`, the extractor of its scope (`request::auth::Allowed`) and, last, its
//! body (`request::body::Received`). The module `app` has the state that routes share, and uses none of them.

// In reading order: each module uses only modules above it.
mod peer;
mod problem;
mod app;
mod request;
mod routes;
mod transport;
mod watches;

pub use app::OtlpMetrics;
pub use app::access::Authentication;
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
use app::access::Access;
use app::log_file::LogFile;
use app::{App, Warning};
use transport::connection::{self, Ends};
use transport::listen::{self, Acceptance, Socket};
use transport::tls;

/// The configuration of a server.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Addresses for HTTP. Port 0 takes any free port.
    pub http: Vec<SocketAddr>,
    /// Addresses for OTLP over gRPC.
    pub grpc: Vec<SocketAddr>,
    /// Paths of unix sockets for HTTP. Only the server's own user can open them.
    pub unix: Vec<PathBuf>,
    /// The certificate, for TLS at all addresses.
    pub tls: Option<TlsFiles>,
    /// The rule by which requests need an API key.
    pub authentication: Authentication,
    /// The machines that may be served without TLS.
    pub plaintext: Plaintext,
    /// Records each request that reads the content of events as an event of the log.
    pub record_reads: bool,
    /// The treatment of metrics that come by OTLP.
    pub otlp_metrics: OtlpMetrics,
    /// The server's bounds.
    pub limits: Limits,
}

/// The machines that may be served without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plaintext {
    /// Only this machine.
    #[default]
    Loopback,
    /// All machines. Keys and events can be read and changed on the way, unless something else encrypts the
    /// connection. The server warns of it at its start and for as long as it runs.
    Anywhere,
}

/// The addresses at which a server listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// Addresses for HTTP.
    pub http: Vec<SocketAddr>,
    /// Addresses for OTLP over gRPC.
    pub grpc: Vec<SocketAddr>,
    /// Paths of unix sockets for HTTP.
    pub unix: Vec<PathBuf>,
}

/// A server with bound sockets. Clients can connect, and are answered once it runs.
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
    /// Binds every socket. Must be called within a Tokio runtime that has all its drivers.
    ///
    /// # Errors
    /// If a socket cannot be bound, the certificate cannot be used, the log's file or keys cannot be read, or
    /// other machines could reach a log without keys or without TLS.
    pub fn bind(log: AuditLog, config: &Config) -> Result<Server, ListenError> {
        let file = LogFile::open(&log)?;
        let access = Access::open(log.path(), config.authentication, config.record_reads)?;
        let exposed =
            config.http.iter().chain(&config.grpc).copied().find(|address| !address.ip().is_loopback());
        // Checked before any socket is bound: no other machine ever connects to a server that is refused
        // here.
        if let Some(address) = exposed {
            if config.authentication != Authentication::Never && !access.is_closed() {
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
        let app = App::new(log, file, config.limits.clone(), access, config.otlp_metrics, warnings);
        Ok(Server { app, http, grpc, addresses, tls })
    }

    /// The bound addresses. A port 0 of the configuration is replaced by the port that the system chose.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `stop` is ready. Then the server takes no new connections, gives running requests
    /// [`Limits::grace`] to end, and closes the log: every accepted event is committed, and in the read
    /// tables.
    ///
    /// # Errors
    /// If the log could not be closed cleanly.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), CloseError> {
        let Server { app, http, grpc, tls, .. } = self;
        let limits = app.limits.clone();
        // `app.stopping` is the one signal of a stop. It ends the listeners, the tasks below and the tails,
        // and lets each connection finish its running requests.
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
        // The order matters from here on: no new connection, then no connection, and only then the files are
        // closed that requests use.
        app.stopping.cancel();
        listeners.close();
        // These tasks own the sockets, which are closed with them. The task that looks at the file has ended
        // as well: nothing uses the watch any more when `app.file` is closed below.
        listeners.wait().await;
        let connections = acceptance.connections;
        connections.close();
        if tokio::time::timeout(acceptance.limits.grace, connections.wait()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "requests did not finish in time, and their connections are closed"
            );
            ends.now.cancel();
            connections.wait().await;
        }
        // The task writes the last uses of keys through the log, so it must end before the log is closed. The
        // uses are for people: a server that cannot write them still stops.
        let _ = keys.await;
        // The last connection that closes removes the write-ahead log, and a read-only connection cannot do
        // that. So the readers are closed first, and the writer last.
        app.access.close();
        app.file.close();
        app.readers.close().await;
        app.log.clone().close_async().await
    }
}
