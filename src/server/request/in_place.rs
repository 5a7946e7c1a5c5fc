//! Refusal of requests while another file, or none, is at the log's path.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::server::app::App;

/// Paths that are answered even if the log's file is gone.
const WITHOUT_THE_LOG: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/openapi.json"];

/// Refuses requests that need the log while another file, or none, is at its path.
pub(in crate::server) async fn require_file(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    if !WITHOUT_THE_LOG.contains(&request.uri().path())
        && let Err(problem) = app.file.require()
    {
        return problem.into_response();
    }
    next.run(request).await
}
