//! One connection: its requests, and the timeouts that end it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::event::Timestamp;
use crate::server::app::limits::Limits;
use crate::server::peer::Peer;

/// Bytes that one connection reads ahead, and that one HTTP/2 stream may send before the server asks for
/// more.
const WINDOW_BYTES: u32 = 256 << 10;

/// Requests at a time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 100;

/// Bytes of the headers of a request of HTTP/2.
const HEADER_BYTES_MAX: u32 = 32 << 10;

/// The idle timeout of a connection while there is no room for others. A client that holds all connections
/// and sends no requests shuts nobody out.
const REST_WITHOUT_ROOM: Duration = Duration::from_secs(1);

/// The server side of HTTP/1 and HTTP/2.
pub(in crate::server) fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `Activity::rested` has the timeouts for headers and for idle connections, for both protocols alike.
    builder.http1().header_read_timeout(None).max_buf_size(WINDOW_BYTES as usize);
    // The header `Date` has no form for times before 1970: the code that writes it panics then.
    let has_date = Timestamp::now() >= Timestamp::from_micros(0);
    builder.http1().auto_date_header(has_date);
    builder.http2().auto_date_header(has_date);
    // The pings find clients that are gone without having closed their connection.
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(WINDOW_BYTES as usize)
        .keep_alive_interval(limits.idle / 2)
        .keep_alive_timeout(limits.write);
    builder
}

/// The two signals that end a connection.
#[derive(Clone)]
pub(in crate::server) struct Ends {
    /// Ends it after its running requests.
    pub(in crate::server) gently: CancellationToken,
    /// Ends it at once.
    pub(in crate::server) now: CancellationToken,
}

/// Serves a connection until it ends, is idle for too long, or gets a signal to end.
pub(in crate::server) async fn serve<I>(
    io: I,
    peer: Peer,
    protocol: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    limits: &Limits,
    ends: Ends,
    room: &Semaphore,
) where
    I: AsyncRead + AsyncWrite + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let seen = activity.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        // The guard moves into the body of the answer. The request counts as running until that is sent, or
        // until the client is gone and hyper drops the request or the body.
        let running = seen.begin();
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let answer = router.clone().oneshot(request);
        async move {
            let response: Response = answer.await?;
            Ok::<_, std::convert::Infallible>(response.map(|body| Running { body, _running: running }))
        }
    });
    let mut io = TimeoutStream::new(io);
    io.set_write_timeout(Some(limits.write));
    let mut connection = std::pin::pin!(protocol.serve_connection(TokioIo::new(Box::pin(io)), service));
    let mut rested = std::pin::pin!(activity.rested(limits, room));
    let mut told = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error = %error, "a connection ended with an error");
                }
                return;
            }
            () = &mut rested => return,
            () = ends.now.cancelled() => return,
            // A cancelled token stays ready. Without `told` this branch would be taken again and again while
            // the last requests run.
            () = ends.gently.cancelled(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The requests of a connection, as far as its idle timeout depends on them.
#[derive(Default)]
struct Activity {
    running: AtomicUsize,
    /// Set by the first request. Until then the timeout for headers applies.
    used: AtomicBool,
    /// Set when a request begins or ends. Each look clears it.
    moved: AtomicBool,
}

impl Activity {
    fn begin(self: &Arc<Self>) -> RunningGuard {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.used.store(true, Ordering::Release);
        self.moved.store(true, Ordering::Release);
        RunningGuard(self.clone())
    }

    /// Waits until the connection has been without a request for longer than its timeout, which is short
    /// while others wait for room. It looks a few times in that period and not at every request: a connection
    /// may have thousands a second.
    async fn rested(&self, limits: &Limits, room: &Semaphore) {
        let mut since = Instant::now();
        loop {
            let used = self.used.load(Ordering::Acquire);
            let limit = if used { limits.idle } else { limits.header };
            // A connection is closed at most one pause after its timeout.
            let pause = limit.min(REST_WITHOUT_ROOM) / 4;
            tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
            let limit = if room.available_permits() == 0 { limit.min(REST_WITHOUT_ROOM) } else { limit };
            // A request that began and ended during the pause leaves `running` at zero. Only `moved` shows
            // it.
            if self.moved.swap(false, Ordering::AcqRel) || self.running.load(Ordering::Acquire) > 0 {
                since = Instant::now();
            }
            if since.elapsed() >= limit {
                return;
            }
        }
    }
}

/// A running request. Dropped when its answer is sent or given up.
struct RunningGuard(Arc<Activity>);

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.0.moved.store(true, Ordering::Release);
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer. Its request counts as running until the body is dropped.
struct Running {
    body: Body,
    _running: RunningGuard,
}

impl hyper::body::Body for Running {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // The future of `frame` has no state of its own: a new one in each poll loses nothing.
        std::pin::pin!(self.body.frame()).poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
