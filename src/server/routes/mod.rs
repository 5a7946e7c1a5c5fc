//! The routes: each path with its handler.

mod admin;
mod events;
mod health;
mod metrics;
mod otlp;
mod grpc;
mod langfuse;
mod reads;
mod evidence;
mod openapi;
mod schema;
mod tail;

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::app::App;
use crate::server::problem::{Kind, Problem};
use crate::server::request::{in_place, observe};

/// Every route, with its description.
pub(in crate::server) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(events::post, reads::events::list))
        .routes(routes!(reads::events::one))
        .routes(routes!(reads::sessions::list))
        .routes(routes!(reads::sessions::one))
        .routes(routes!(reads::sessions::replay))
        .routes(routes!(reads::lists::session_steps))
        .routes(routes!(reads::lists::session_decisions))
        .routes(routes!(reads::lists::session_findings))
        .routes(routes!(reads::lists::session_timeline))
        .routes(routes!(reads::lists::steps))
        .routes(routes!(reads::lists::decisions))
        .routes(routes!(reads::lists::findings))
        .routes(routes!(tail::tail))
        .routes(routes!(reads::search::search))
        .routes(routes!(reads::log::info))
        .routes(routes!(reads::log::projections))
        .routes(routes!(evidence::verification))
        .routes(routes!(evidence::checkpoint, admin::checkpoint))
        .routes(routes!(evidence::event_proof))
        .routes(routes!(evidence::session_proof))
        .routes(routes!(evidence::consistency_proof))
        .routes(routes!(evidence::tiles_checkpoint))
        // OpenAPI has no parameters with slashes in them: `openapi` describes this route separately.
        .route("/tile/{*path}", get(evidence::tile))
        .routes(routes!(admin::redact))
        .routes(routes!(admin::rebuild))
        .routes(routes!(admin::retry))
        .routes(routes!(admin::skip))
        .routes(routes!(metrics::metrics))
        .routes(routes!(otlp::traces))
        .routes(routes!(otlp::logs))
        .routes(routes!(otlp::metrics))
        // The path at which Langfuse's SDKs expect the traces of their own server. Some versions double the slash.
        .route("/api/public/otel/v1/traces", post(otlp::traces))
        .route("//api/public/otel/v1/traces", post(otlp::traces))
        // Langfuse describes these in its own API, so they are not in the description of this one.
        .route("/api/public/ingestion", post(langfuse::ingestion))
        .route("//api/public/ingestion", post(langfuse::ingestion))
        .route("/api/public/scores", post(langfuse::score))
        .route("//api/public/scores", post(langfuse::score))
        .routes(routes!(document))
}

/// The router of every address. Each port serves HTTP and gRPC, so that clients which mix up the ports are
/// served all the same. A port that answered the other's requests with gRPC's 200 would lose traces silently.
pub(in crate::server) fn router(app: &App) -> Router {
    let (router, _) = routes().split_for_parts();
    // Each layer surrounds the layers above it. `observe` is the outermost: it sees the answers after a panic,
    // and those while the log's file is gone.
    router
        .merge(grpc::routes())
        .fallback(nothing)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(app.clone(), in_place::require_file))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app.clone())
}

async fn nothing() -> Problem {
    Problem::of_status(Kind::NotFound.status())
}

async fn not_allowed() -> Problem {
    Problem::of_status(Kind::MethodNotAllowed.status())
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| routes().to_openapi().to_json().unwrap_or_default());

/// Returns this description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "about",
    security(()),
    responses((status = 200, description = "The description of this API", content_type = "application/json", body = Object))
)]
pub(crate) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}
