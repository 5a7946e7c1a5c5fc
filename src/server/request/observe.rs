//! The outermost layer of all requests: an id, a line in the server's own log, and an answer in any case.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::event::EventId;
use crate::server::app::App;
use crate::server::peer::Peer;
use crate::server::problem::{self, Kind, Problem};

/// The header with the request's id.
const REQUEST_ID: &str = "x-request-id";

/// Longest id that is taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A request's id: the client's, or a new one.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID);
    // A client's id is logged and sent back: only visible ASCII of bounded length is taken over.
    let sane = given.filter(|id| {
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    sane.cloned().unwrap_or_else(|| {
        HeaderValue::try_from(EventId::generate().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

/// Gives a request its id, and its answer the form of all answers. Counts and logs the request.
pub(in crate::server) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or(Peer::Unknown);
    let mut response = problem::explained(next.run(request).await);
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    let (status, micros) = (response.status().as_u16(), began.elapsed().as_micros());
    // The route is a pattern of the router: a client cannot make new series with the paths that it asks for.
    app.metrics.request(route, &method, response.status(), began.elapsed());
    // The path is not logged: it may have ids that do not belong in the server's own log.
    if response.status().is_server_error() {
        tracing::warn!(%method, route, status, micros, %peer, id = ?id, "request");
    } else if matches!(status, 401 | 403) {
        // Exporters often do not report why they were refused. Wrong keys are limited in rate.
        tracing::info!(%method, route, status, micros, %peer, id = ?id, "turned away");
    } else {
        tracing::debug!(%method, route, status, micros, %peer, id = ?id, "request");
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The answer to a request whose handler panicked.
pub(in crate::server) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = %said, "a handler panicked");
    Problem::new(
        Kind::Internal,
        "an internal error in the server; it is not known whether the request was carried out",
    )
    .into_response()
}
