//! The log itself.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::auth::{Allowed, Read};
use super::super::openapi::ProblemDetails;
use super::super::problem::Problem;
use super::super::state::App;
use super::{json, json_response};
use crate::query::ProjectionStatus;

/// What the log is, at a glance.
#[utoipa::path(get, path = "/v1/log", tag = "read", responses(
    (status = 200, description = "Name, size, projections and evidence", body = Object),
    (status = 401, description = "A key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key has not the scope read", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn info(State(app): State<App>, _: Allowed<Read>) -> Result<Response, Problem> {
    app.readers.ask(|reader| json(&reader.info()?)).await.map(json_response)
}

/// Where every projection is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Projections {
    projections: Vec<ProjectionStatus>,
}

/// Where the read tables are.
#[utoipa::path(get, path = "/v1/projections", tag = "read", responses(
    (status = 200, description = "Where every projection is", body = Projections),
    (status = 401, description = "A key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key has not the scope read", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn projections(State(app): State<App>, _: Allowed<Read>) -> Result<Response, Problem> {
    let status = app.readers.ask(|reader| json(&Projections { projections: reader.projections()? }));
    status.await.map(json_response)
}
