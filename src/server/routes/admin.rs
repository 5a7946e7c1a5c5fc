//! Requests that change more than the end of the log. Each of them is recorded as an event.

use crate::RedactionRequest;
use crate::SkipRequest;
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::{AuditLog, ProjectionError};
use crate::event::{Digest, EventId, Seq};
use crate::evidence::SignError;
use crate::receipt::{AppendError, Appended};
use crate::server::app::App;
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::auth::{Admin, Allowed};
use crate::server::request::body::Received;
use crate::server::request::caller::Caller;
use crate::server::request::extract::Path;

/// An event that records what was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    id: EventId,
    seq: Seq,
    hash: Digest,
}

impl From<Appended> for Json<Done> {
    fn from(appended: Appended) -> Json<Done> {
        Json(Done { id: appended.event_id, seq: appended.seq, hash: appended.hash })
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Problem {
        let kind = match Kind::of(&error) {
            // The event was made from the request: the error is about a value of the request, not about an
            // event.
            Kind::InvalidEvent | Kind::TooLarge | Kind::Filtered | Kind::Reserved => Kind::InvalidValue,
            kind => kind,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<ProjectionError> for Problem {
    fn from(error: ProjectionError) -> Problem {
        let kind = match error {
            ProjectionError::Unknown { .. } => Kind::NotFound,
            ProjectionError::NotStopped { .. } | ProjectionError::NotSkippable { .. } => Kind::NotPossible,
            ProjectionError::Append(error) => return error.into(),
            ProjectionError::Open(_) | ProjectionError::Storage(_) | ProjectionError::Lock(_) => {
                Kind::Unavailable
            }
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<SignError> for Problem {
    fn from(error: SignError) -> Problem {
        Problem::new(Kind::NotPossible, error.to_string())
    }
}

/// Reads a body that is one JSON object.
fn object<T: DeserializeOwned>(body: &Received) -> Result<T, Problem> {
    serde_json::from_slice(&body.bytes)
        .map_err(|error| Problem::new(Kind::BadRequest, format!("the body: {error}")))
}

/// The actor of an event: the one that the body names, else the caller's key.
fn actor(said: Option<String>, caller: &Caller) -> Result<String, Problem> {
    let key = || caller.principal.map(|key| format!("apikey {key}"));
    said.or_else(key).ok_or_else(|| {
        Problem::new(
            Kind::BadRequest,
            "the body: `actor` is missing, and the request has no API key that could stand for it",
        )
    })
}

/// Runs work that blocks, with the log as the caller appends to it.
async fn with_log<T: Send + 'static>(
    app: &App,
    caller: &Caller,
    work: impl FnOnce(AuditLog) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let log = caller.log(app);
    // Work that has begun runs to its end, also when the client is gone.
    tokio::task::spawn_blocking(move || work(log))
        .await
        .map_err(|_| Problem::new(Kind::Internal, "an internal error in the server"))?
}

/// The events to erase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redaction {
    /// The sequence numbers of the events.
    #[schema(min_items = 1)]
    seqs: Vec<u64>,
    /// The reason for the erasure.
    reason: String,
    /// The person or program that asks for it; the API key if absent.
    actor: Option<String>,
    /// The basis of the decision: a law, a policy, a request.
    authority: Option<String>,
}

/// Erases the payloads of events forever. The log records the erasure.
#[utoipa::path(post, path = "/v1/redactions", tag = "admin", request_body = Redaction, responses(
    (status = 200, description = "The payloads are erased", body = Done),
    (status = 400, description = "The body is invalid", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `admin` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 408, description = "The body did not arrive in time", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, description = "The body is too large", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 415, description = "The encoding of the body is not supported", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "An event does not exist or must not be erased; nothing was erased", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "It is not known whether the payloads are erased", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn redact(
    State(app): State<App>,
    Allowed { caller, .. }: Allowed<Admin>,
    body: Received,
) -> Result<Json<Done>, Problem> {
    let redaction: Redaction = object(&body)?;
    if redaction.seqs.is_empty() {
        return Err(Problem::new(Kind::BadRequest, "the body: `seqs` names no event"));
    }
    let actor = actor(redaction.actor, &caller)?;
    // SQLite has no larger numbers. A larger one stands for an event that is not there.
    let largest = i64::MAX as u64;
    let seqs = redaction.seqs.iter().map(|seq| Seq::new((*seq).min(largest))).collect();
    let request = RedactionRequest { seqs, actor, reason: redaction.reason, authority: redaction.authority };
    let appended = with_log(&app, &caller, move |log| Ok(log.redact(request)?));
    appended.await.map(Into::into)
}

/// Signs a checkpoint of all events that are committed now.
#[utoipa::path(post, path = "/v1/checkpoint", tag = "admin", responses(
    (status = 200, description = "The checkpoint, as a signed note", body = String, content_type = "text/plain"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `admin` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "The server cannot sign for the log", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn checkpoint(
    State(app): State<App>,
    Allowed { caller, .. }: Allowed<Admin>,
) -> Result<Response, Problem> {
    let checkpoint = with_log(&app, &caller, |log| Ok(log.checkpoint()?.to_string())).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], checkpoint).into_response())
}

/// The projection whose rebuild or retry has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Begun {
    /// Its name.
    projection: String,
}

macro_rules! on_projection {
    ($( $(#[$doc:meta])* $handler:ident $path:literal $method:ident; )*) => { $(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "admin",
            params(("name" = String, Path, description = "The name of the projection")),
            responses(
                (status = 200, description = "The rebuild or the retry has begun", body = Begun),
                (status = 400, description = "The name is invalid", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 403, description = "The key lacks the `admin` scope", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 404, description = "There is no such projection", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 409, description = "The projection has not stopped", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
            )
        )]
        pub(crate) async fn $handler(
            State(app): State<App>,
            Allowed { caller, .. }: Allowed<Admin>,
            Path(name): Path<String>,
        ) -> Result<Json<Begun>, Problem> {
            let begun = with_log(&app, &caller, move |log| {
                log.$method(&name)?;
                Ok(Begun { projection: name })
            });
            begun.await.map(Json)
        }
    )* };
}

on_projection! {
    /// Rebuilds the tables of a projection beside the live ones, then replaces the live ones.
    rebuild "/v1/projections/{name}/rebuild" rebuild;
    /// Lets a stopped projection try its failing event again.
    retry "/v1/projections/{name}/retry" retry;
}

/// The reason why a projection goes on without an event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Skip {
    reason: String,
    /// The person or program that decides it; the API key if absent.
    actor: Option<String>,
}

/// Lets a stopped projection go on without its failing event.
#[utoipa::path(post, path = "/v1/projections/{name}/skip", tag = "admin", request_body = Skip,
    params(("name" = String, Path, description = "The name of the projection")),
    responses(
        (status = 200, description = "The projection goes on", body = Done),
        (status = 400, description = "The body is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `admin` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such projection", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 409, description = "The projection has not stopped, or needs this event", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 415, description = "The encoding of the body is not supported", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "The reason cannot be recorded", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn skip(
    State(app): State<App>,
    Allowed { caller, .. }: Allowed<Admin>,
    Path(name): Path<String>,
    body: Received,
) -> Result<Json<Done>, Problem> {
    let skip: Skip = object(&body)?;
    let actor = actor(skip.actor, &caller)?;
    let request = SkipRequest { projection: name, actor, reason: skip.reason };
    let appended = with_log(&app, &caller, move |log| Ok(log.skip(request)?));
    appended.await.map(Into::into)
}
