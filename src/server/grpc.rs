//! What is served at the addresses for gRPC.

use axum::Router;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::state::App;

/// The status of gRPC for a method that is not there.
const UNIMPLEMENTED: &str = "12";

/// The services.
pub(super) fn router(_app: &App) -> Router {
    Router::new().fallback(unimplemented)
}

async fn unimplemented() -> Response {
    let headers = [
        ("content-type", HeaderValue::from_static("application/grpc")),
        ("grpc-status", HeaderValue::from_static(UNIMPLEMENTED)),
    ];
    (StatusCode::OK, headers).into_response()
}
