//! Sessions, newest first, and one of them whole.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::event::{Seq, SessionId, Timestamp};
use crate::query::WriteError;
use crate::query::{SessionFilter, SessionRecord, SessionSummary};
use crate::replay::{Moment, ReplayError, Stop};
use crate::server::app::App;
use crate::server::app::readers::Length;
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::auth::{Allowed, ReadContent};
use crate::server::request::extract::{Path, Query};
use crate::server::routes::reads::answer::{JSON, List, answer, answer_for};
use crate::server::routes::reads::lists::no_session;
use crate::server::routes::reads::params::{Fraction, Limit, SeqParam, SessionStatus, place};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionQuery {
    #[param(inline)]
    status: Option<SessionStatus>,
    /// Only sessions of this pipeline.
    profile: Option<String>,
    /// Only sessions of this conversation.
    conversation: Option<String>,
    /// Only sessions that began at this time or later.
    #[param(value_type = Option<String>, format = "date-time")]
    since: Option<Timestamp>,
    /// Only sessions that began before this time.
    #[param(value_type = Option<String>, format = "date-time")]
    until: Option<Timestamp>,
    /// Only sessions with a step of this module.
    module: Option<String>,
    /// Only sessions that have a step with at most this confidence.
    #[param(inline)]
    max_confidence: Option<Fraction>,
    /// True to list only sessions with findings.
    #[serde(default)]
    with_findings: bool,
    /// Only sessions that have an event with all these words.
    text: Option<String>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next` of the previous page.
    #[param(pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
}

impl SessionQuery {
    fn filter(self) -> Result<SessionFilter, Problem> {
        Ok(SessionFilter {
            status: self.status.map(|word| word.0),
            profile: self.profile,
            conversation: self.conversation,
            since: self.since,
            until: self.until,
            module: self.module,
            max_confidence: self.max_confidence.map(|most| most.0),
            with_findings: self.with_findings,
            text: self.text,
            before: place(self.cursor.as_deref())?.map(Seq::new),
            limit: self.limit.0,
        })
    }
}

/// A page of sessions.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct SessionPage {
    sessions: Vec<SessionSummary>,
    /// The `cursor` of the next page; null if there is none.
    next: Option<String>,
    /// Number of events of the log that some read table does not hold yet.
    lag: u64,
}

/// Lists the sessions that match all given filters, newest first.
#[utoipa::path(get, path = "/v1/sessions", tag = "read", params(SessionQuery), responses(
    (status = 200, description = "A page of the list", body = SessionPage),
    (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Query(query): Query<SessionQuery>,
) -> Result<Response, Problem> {
    let filter = query.filter()?;
    answer(&app, move |reader, output| {
        let page = reader.sessions(&filter)?;
        let next = page.next.map(|next| next.to_string());
        output.json(&List { name: "sessions", items: &page.sessions, next, lag: reader.lag()? })
    })
    .await
}

/// Returns a session with everything that belongs to it.
#[utoipa::path(get, path = "/v1/sessions/{id}", tag = "read",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 200, description = "The session", body = SessionRecord),
        (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    answer_for(&app, Length::Session, JSON, move |reader, _, output| {
        match reader.write_session(&id, output) {
            Ok(true) => Ok(()),
            Ok(false) => Err(no_session(&id)),
            Err(WriteError::Write(error)) => Err(output.failed(&error)),
            Err(error @ WriteError::Storage(_)) => Err(Problem::new(Kind::Unavailable, error.to_string())),
        }
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReplayQuery {
    /// Sequence number of the last event to replay; if absent, that of the last event of the log.
    #[param(inline)]
    until: Option<SeqParam>,
}

/// A session's events in order, and its state after the last of them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct Replayed {
    session_id: String,
    #[schema(value_type = Vec<Object>)]
    events: Vec<serde_json::Value>,
    /// The state after the last event; null if there were no events yet.
    state: Option<SessionRecord>,
}

/// Returns the events of a session in order, and its state after the last of them.
#[utoipa::path(get, path = "/v1/sessions/{id}/replay", tag = "read",
    params(("id" = String, Path, description = "The session's id"), ReplayQuery),
    responses(
        (status = 200, description = "The events, and the state after the last of them", body = Replayed),
        (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn replay(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Path(id): Path<String>,
    Query(query): Query<ReplayQuery>,
) -> Result<Response, Problem> {
    let until = query.until.map(|until| until.0);
    answer_for(&app, Length::Session, JSON, move |reader, asked, output| {
        let session = SessionId::new(id.as_str()).map_err(|_| no_session(&id))?;
        if !reader.has_session(&id)? {
            return Err(no_session(&id));
        }
        // An interrupt reaches the reader's connection alone. The fold has tables of its own, and asks
        // `stop`.
        let asked = asked.clone();
        let stop: Stop = Arc::new(move || asked.is_in_vain());
        // One snapshot, so that the events and the state after them belong together.
        reader.at_one_moment(|log| {
            let replayed = Moment { log, session: &session }.write(until, Some(stop), output);
            replayed.map_err(|error| match error {
                ReplayError::Write(error) => output.failed(&error),
                error => error.into(),
            })
        })
    })
    .await
}
