//! The part of Langfuse's API by which its SDKs send scores: <https://api.reference.langfuse.com>, November 2026.
//! Their traces come by OTLP. A score becomes a finding of the session of its trace.

mod score;
mod batch;

use std::collections::HashSet;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::prepare::SentBy;
use crate::receipt::AppendError;
use crate::server::app::App;
use crate::server::problem::{Kind, Problem};
use crate::server::request::append::{self, Sent};
use crate::server::request::auth::{Allowed, Emit};
use crate::server::request::body::{Received, Unread};
use crate::server::request::caller::Caller;
use batch::{Item, Shape};

/// Most contents of one score that are recorded. A score that is sent again with other content is recorded beside the
/// first, with the next id.
const CONTENTS_MAX: u8 = 16;

/// The outcome of an item.
#[derive(Debug)]
struct Outcome {
    /// The item's own id.
    id: String,
    /// The id of the score. Empty if it could not be read.
    score: String,
    error: Option<Refusal>,
}

/// The reason for which an item was not recorded.
#[derive(Debug)]
struct Refusal {
    kind: Kind,
    message: String,
}

/// An item of one round, without its draft.
struct Asked {
    place: usize,
    id: String,
    score: Result<String, String>,
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Kind::UnsupportedMediaType, "send application/json; nothing was recorded"))
}

/// Records the scores of a request, and returns the outcome of each item, in their order.
///
/// # Errors
/// If the request cannot be read, or not all of it is known to be committed.
async fn record(
    app: &App,
    caller: &Caller,
    received: &Received,
    shape: Shape,
) -> Result<Vec<Outcome>, Problem> {
    let max = app.limits.request_events;
    let mut outcomes: Vec<Outcome> = Vec::new();
    // The positions of scores whose id the log has with other content. The first round knows of none and sends all.
    let mut places: Option<HashSet<usize>> = None;
    for round in 0..CONTENTS_MAX {
        let wanted = places.take();
        // The body is read again each time, because drafts are used up when they are sent.
        let (asked, sent) = append::append(app, caller, received, SentBy::Anybody, move |bytes, made| {
            // The texts of the events are parts of the body, so its length bounds their memory.
            made.take(bytes.len())?;
            let items = batch::read(bytes, shape, max, round)?.into_iter().enumerate();
            let mut drafts = Vec::new();
            let mut asked = Vec::new();
            for (place, Item { id, score }) in items {
                if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&place)) {
                    continue;
                }
                let score = score.map(|score| {
                    drafts.push(score.draft);
                    score.id
                });
                asked.push(Asked { place, id, score });
            }
            Ok((asked, drafts))
        })
        .await?;
        let taken = hear(app, asked, sent, &mut outcomes)?;
        if taken.is_empty() {
            break;
        }
        places = Some(taken);
    }
    Ok(outcomes)
}

/// Sorts the outcomes of a round into those of the request. Returns the positions of scores whose id another event has.
fn hear(
    app: &App,
    asked: Vec<Asked>,
    sent: Vec<Sent>,
    outcomes: &mut Vec<Outcome>,
) -> Result<HashSet<usize>, Problem> {
    let mut taken = HashSet::new();
    let mut sent = sent.into_iter();
    for Asked { place, id, score } in asked {
        let outcome = match score {
            Err(message) => {
                app.metrics.rejected(Kind::InvalidEvent.name(), 1);
                let error = Some(Refusal { kind: Kind::BadRequest, message });
                Outcome { id, score: String::new(), error }
            }
            Ok(score) => {
                let error = match sent.next().map(|sent| sent.outcome) {
                    Some(Ok(_)) => None,
                    Some(Err(error)) => {
                        if matches!(error, AppendError::Conflict { .. }) {
                            taken.insert(place);
                        }
                        Some(refusal(&error)?)
                    }
                    // `sent` has one entry for each draft, in their order.
                    None => return Err(unknown("the log gave no outcome")),
                };
                Outcome { id, score, error }
            }
        };
        // The first round has every item, in order. A later one has an outcome that replaces the conflict.
        match outcomes.get_mut(place) {
            Some(earlier) => *earlier = outcome,
            None => outcomes.push(outcome),
        }
    }
    Ok(taken)
}

fn unknown(reason: impl std::fmt::Display) -> Problem {
    Problem::new(
        Kind::NotWritten,
        format!("it is not known whether everything is committed: {reason}; send all of it again"),
    )
}

fn refusal(error: &AppendError) -> Result<Refusal, Problem> {
    let message = match Kind::of(error) {
        Kind::NotWritten => return Err(unknown(error)),
        Kind::Conflict => {
            format!(
                "the log has {CONTENTS_MAX} other contents of a score with this id; give the score a new id"
            )
        }
        _ => error.to_string(),
    };
    Ok(Refusal { kind: Kind::of(error), message })
}

/// Records the scores of a batch of Langfuse's SDKs. Other items are errors in the answer.
pub(super) async fn ingestion(
    State(app): State<App>,
    Allowed { caller, .. }: Allowed<Emit>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Success {
        id: String,
        status: u16,
    }
    #[derive(Serialize)]
    struct Failure {
        id: String,
        status: u16,
        message: String,
    }
    #[derive(Serialize)]
    struct Answer {
        successes: Vec<Success>,
        errors: Vec<Failure>,
    }
    require_json(&headers)?;
    let received = body.receive(&app, &headers).await?;
    let outcomes = record(&app, &caller, &received, Shape::Batch).await?;
    let mut answer = Answer { successes: Vec::new(), errors: Vec::new() };
    for Outcome { id, error, .. } in outcomes {
        match error {
            None => answer.successes.push(Success { id, status: StatusCode::CREATED.as_u16() }),
            // One status for all of them: the SDKs send an item again after 429 and from 500 on, and these are final.
            Some(Refusal { message, .. }) => {
                answer.errors.push(Failure { id, status: StatusCode::BAD_REQUEST.as_u16(), message });
            }
        }
    }
    if let Some(Failure { id, message, .. }) = answer.errors.first() {
        // The SDKs report errors at their own debug level.
        let errors = answer.errors.len();
        tracing::info!(errors, ?id, ?message, "not everything of a request of Langfuse was recorded");
    }
    let status = StatusCode::MULTI_STATUS;
    // Texts and numbers always have a JSON form.
    let body = serde_json::to_vec(&answer).unwrap_or_default();
    Ok((status, [(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Records one score.
pub(super) async fn score(
    State(app): State<App>,
    Allowed { caller, .. }: Allowed<Emit>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, Problem> {
    require_json(&headers)?;
    let received = body.receive(&app, &headers).await?;
    let outcomes = record(&app, &caller, &received, Shape::Score).await?;
    // The body is one item.
    let outcome = outcomes.into_iter().next().ok_or_else(|| unknown("the request has no outcome"))?;
    match outcome.error {
        None => Ok(axum::Json(serde_json::json!({ "id": outcome.score })).into_response()),
        Some(Refusal { kind, message }) => {
            Err(Problem::new(kind, format!("{message}; nothing was recorded")))
        }
    }
}
