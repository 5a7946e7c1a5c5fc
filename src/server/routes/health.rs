//! Health checks: the server lives, and it can do its work.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::app::App;
use crate::server::problem::{Kind, Problem};

/// The state of a server that works.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Settings that are not safe by themselves, such as `--insecure`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Reports that the server runs.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "The server runs", body = Health)))]
pub(crate) async fn alive() -> Json<Health> {
    Json(Health { status: "ok", warnings: Vec::new() })
}

/// Reports whether the server can do its work: the log is at its path and can be appended to, its read tables
/// are filled, and no anchor has lacked events for longer than the operator allows.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses(
        (status = 200, description = "The server can do its work", body = Health),
        (status = 503, description = "The server cannot do its work; `detail` has the reason", body = crate::server::problem::ProblemDetails,
         content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Health>, Problem> {
    let not = |detail: String| Err(Problem::new(Kind::Unavailable, detail));
    if app.stopping.is_cancelled() {
        return not("the server is about to stop".to_owned());
    }
    app.file.require()?;
    if let Some(reason) = app.log.last_error() {
        // Anyone may ask here without a key. Only the server's machine shows where files lie.
        let path = app.log.path();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let reason = reason.replace(&*path.to_string_lossy(), &name);
        return not(format!("nothing can be appended: {reason}"));
    }
    let progress = app.log.progress();
    if let Some(reason) = progress.worker_gone() {
        return not(format!("the read tables are not filled: {reason}"));
    }
    for (name, place) in progress.projections() {
        if let Some(reason) = place.stopped {
            return not(format!(
                "the projection `{name}` stopped after event {}: {reason}; `annals projections` reports what to do",
                place.position
            ));
        }
    }
    if let Some(bound) = app.limits.anchor_max_age {
        let committed = app.log.committed().get();
        // Anyone may ask here without a key, so anchors are not named.
        if let Some(behind) = app.log.anchors().iter().map(|anchor| anchor.behind(committed)).max()
            && behind > bound
        {
            return not(format!(
                "an anchor has lacked events for {} seconds; /metrics and `annals anchor` report which anchor, and why",
                behind.as_secs()
            ));
        }
    }
    let warnings = app.warnings.iter().map(ToString::to_string).collect();
    Ok(Json(Health { status: "ok", warnings }))
}
