//! Which path leads where.

use axum::Router;
use axum::middleware::from_fn_with_state;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Kind, Problem};
use super::state::App;
use super::{events, health, observe, openapi};

/// Every route, with its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(events::post))
        .routes(routes!(openapi::document))
}

/// What is served over HTTP.
pub(super) fn http(app: &App) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .fallback(nothing)
        .method_not_allowed_fallback(not_allowed)
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
