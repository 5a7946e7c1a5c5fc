//! Information about the log itself.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::event::{Digest, EventId, Timestamp};
use crate::evidence;
use crate::query::{Info, ProjectionStatus};
use crate::server::app::App;
use crate::server::problem::{Problem, ProblemDetails};
use crate::server::request::auth::{Allowed, Read};
use crate::server::routes::reads::answer::answer;

/// What the log is, at a glance.
#[utoipa::path(get, path = "/v1/log", tag = "read", responses(
    (status = 200, description = "Name, size, projections and evidence; where files lie is told on the server's own machine alone", body = Object),
    (status = 401, description = "A key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key has not the scope read", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn info(State(app): State<App>, _: Allowed<Read>) -> Result<Response, Problem> {
    answer(&app, |reader, output| output.json(&Elsewhere::of(reader.info()?))).await
}

/// The text in place of an error's reason. Reasons name paths of the server's machine, which clients do not
/// see.
const FAILS: &str = "it fails; `annals info` on the server's machine says why";

/// The information about a log that clients get: it has no path.
#[derive(Serialize)]
struct Elsewhere {
    log_id: EventId,
    origin: Option<String>,
    made_by: Option<String>,
    events: u64,
    head_hash: Digest,
    first_recorded_at: Option<Timestamp>,
    last_recorded_at: Option<Timestamp>,
    schema_version: i64,
    sqlite_version: &'static str,
    file_bytes: u64,
    wal_bytes: u64,
    page_bytes: i64,
    projections: Vec<ProjectionStatus>,
    evidence: evidence::Status,
    rows: BTreeMap<&'static str, u64>,
}

impl Elsewhere {
    fn of(info: Info) -> Elsewhere {
        // Every field is named: a new one does not compile until it is sent or left out on purpose.
        let Info {
            path: _,
            log_id,
            origin,
            made_by,
            events,
            head_hash,
            first_recorded_at,
            last_recorded_at,
            schema_version,
            sqlite_version,
            file_bytes,
            wal_bytes,
            page_bytes,
            projections,
            mut evidence,
            rows,
        } = info;
        let errors = evidence.anchors.iter_mut().map(|anchor| &mut anchor.error);
        for error in errors.chain([&mut evidence.error]).flatten() {
            FAILS.clone_into(error);
        }
        Elsewhere {
            log_id,
            origin,
            made_by,
            events,
            head_hash,
            first_recorded_at,
            last_recorded_at,
            schema_version,
            sqlite_version,
            file_bytes,
            wal_bytes,
            page_bytes,
            projections,
            evidence,
            rows,
        }
    }
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
    answer(&app, |reader, output| output.json(&Projections { projections: reader.projections()? })).await
}
