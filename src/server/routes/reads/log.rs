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

/// Returns a summary of the log.
#[utoipa::path(get, path = "/v1/log", tag = "read", responses(
    (status = 200, description = "Name, size, projections and evidence, without the paths of files. `annals info` on the server's machine reports the paths, too", body = Object),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn info(State(app): State<App>, _: Allowed<Read>) -> Result<Response, Problem> {
    answer(&app, |reader, output| output.json(&Elsewhere::of(reader.info()?))).await
}

/// The text in place of an error's reason. Reasons name paths of the server's machine, which clients do not
/// see.
const FAILS: &str = "it fails; `annals info` on the server's machine reports why";

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

/// The state of every projection.
#[derive(Serialize, ToSchema)]
pub(crate) struct Projections {
    projections: Vec<ProjectionStatus>,
}

/// Returns the state of every projection, and so of the read tables.
#[utoipa::path(get, path = "/v1/projections", tag = "read", responses(
    (status = 200, description = "The state of every projection", body = Projections),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn projections(State(app): State<App>, _: Allowed<Read>) -> Result<Response, Problem> {
    answer(&app, |reader, output| output.json(&Projections { projections: reader.projections()? })).await
}
