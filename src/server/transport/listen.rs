//! Bound sockets, and the loop that accepts their connections.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::error::ListenError;
use super::unix;
use crate::server::app::limits::Limits;
use crate::server::peer::Peer;
use crate::server::transport::connection::{self, Ends};

/// The pause after a failed accept. Usually no file descriptors are left, which only time mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 1_024;

/// A bound socket.
pub(in crate::server) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, unix::Name),
}

impl Socket {
    pub(in crate::server) fn tcp(address: SocketAddr) -> Result<Socket, ListenError> {
        let bind = || -> io::Result<TcpListener> {
            let socket = match address {
                SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
                SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
            };
            // A server that starts again can bind while old connections of its address wait for their end.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        bind().map(Socket::Tcp).map_err(|source| ListenError::Bind { place: address.to_string(), source })
    }

    pub(in crate::server) fn unix(path: &Path) -> Result<Socket, ListenError> {
        let bound = unix::bind(path)
            .map_err(|source| ListenError::Bind { place: path.display().to_string(), source })?;
        Ok(Socket::Unix(bound.0, bound.1))
    }

    pub(in crate::server) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Socket::Tcp(listener) => listener.local_addr().map(Some),
            Socket::Unix(..) => Ok(None),
        }
    }

    pub(in crate::server) fn path(&self) -> Option<PathBuf> {
        match self {
            Socket::Tcp(_) => None,
            Socket::Unix(_, name) => Some(name.path().to_owned()),
        }
    }
}

/// The state that all listeners of a server share.
#[derive(Clone)]
pub(in crate::server) struct Acceptance {
    pub(in crate::server) limits: Limits,
    pub(in crate::server) protocol: Arc<auto::Builder<TokioExecutor>>,
    pub(in crate::server) room: Arc<Semaphore>,
    pub(in crate::server) ends: Ends,
    pub(in crate::server) connections: TaskTracker,
}

/// Accepts connections until the server stops. Then the socket is closed.
pub(in crate::server) async fn accept(
    socket: Socket,
    tls: Option<TlsAcceptor>,
    router: Router,
    acceptance: Acceptance,
) {
    let stop = acceptance.ends.gently.clone();
    loop {
        let next = async {
            let accepted = match &socket {
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, address)| {
                    // Answers are small, and a client waits for each: they are sent without delay.
                    let _ = stream.set_nodelay(true);
                    (Stream::Tcp(stream), Peer::Tcp(address))
                }),
                Socket::Unix(listener, _) => {
                    listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), Peer::Unix))
                }
            };
            // The permit is taken after the accept: a socket without clients takes no room from the others.
            // Without room one connection waits here, and later ones wait in the system's queue.
            let room = acceptance.room.clone().acquire_owned().await.ok()?;
            Some((accepted, room))
        };
        // A stop drops `next` together with a connection that still waits for room.
        let (accepted, room) = tokio::select! {
            () = stop.cancelled() => return,
            next = next => match next {
                Some(next) => next,
                None => return,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                let serving = serve(stream, peer, tls.clone(), router.clone(), acceptance.clone(), room);
                acceptance.connections.spawn(serving);
            }
            // The client is gone already.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                tracing::warn!(error = %error, "connections cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn serve(
    stream: Stream,
    peer: Peer,
    tls: Option<TlsAcceptor>,
    router: Router,
    acceptance: Acceptance,
    room: OwnedSemaphorePermit,
) {
    // The permit lives as long as the connection. `crowd` is the semaphore that it comes from: when that is
    // empty, idle connections are closed sooner.
    let _room = room;
    let Acceptance { limits, protocol, ends, room: crowd, .. } = acceptance;
    match (stream, tls) {
        (Stream::Unix(stream), _) => {
            connection::serve(stream, peer, protocol, router, &limits, ends, &crowd).await;
        }
        (Stream::Tcp(stream), None) => {
            connection::serve(stream, peer, protocol, router, &limits, ends, &crowd).await;
        }
        (Stream::Tcp(stream), Some(tls)) => {
            // The handshake has the timeout of headers: a client that connects and sends nothing is closed.
            // It has sent no request yet, so either signal ends it at once.
            let shaken = tokio::select! {
                () = ends.now.cancelled() => return,
                () = ends.gently.cancelled() => return,
                shaken = tokio::time::timeout(limits.header, tls.accept(stream)) => shaken,
            };
            match shaken {
                Ok(Ok(stream)) => {
                    connection::serve(stream, peer, protocol, router, &limits, ends, &crowd).await;
                }
                Ok(Err(error)) => tracing::debug!(peer = %peer, error = %error, "no TLS with a client"),
                Err(_) => tracing::debug!(peer = %peer, "a client took too long over TLS"),
            }
        }
    }
}
