//! `POST /v1/events`: events as JSON, answered with the outcome of each.

mod error;
mod read;
mod answer;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::event::Seq;
use crate::prepare::SentBy;
use crate::server::app::App;
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::append;
use crate::server::request::auth::{Allowed, Emit};
use crate::server::request::body::Unread;
use crate::server::request::extract::Query;
use answer::{EventsAnswer, Recorded, Refused};
use read::{Form, Slot};

/// The condition of an answer, beside the commit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wait {
    /// No other condition.
    Committed,
    /// The read tables hold the events.
    Visible,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PostQuery {
    /// The condition that the answer waits for. With `visible` it waits until the read tables hold the events
    /// as well.
    wait: Option<Wait>,
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Form::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
        _ => Err(Problem::new(
            Kind::UnsupportedMediaType,
            "send application/json (an array of events, or one event) or application/x-ndjson (one event per line)",
        )),
    }
}

/// Records events.
///
/// Status 200 means that every event is committed. An event that is sent again with the same `id` is recorded
/// once. So a request that got no answer, or an answer other than 200 and 422, can be sent again unchanged.
#[utoipa::path(
    post,
    path = "/v1/events",
    tag = "events",
    params(PostQuery),
    request_body(
        content(
            (Vec<answer::EventSchema> = "application/json"),
            (String = "application/x-ndjson"),
        ),
        description = "Events as docs/events.md lists them: an array, one object, or one event per line.",
    ),
    responses(
        (status = 200, description = "Every event is committed", body = Recorded),
        (status = 400, description = "The body is not JSON, or a parameter is invalid; nothing was recorded", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `emit` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 413, description = "The request is too large; nothing was recorded", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 415, description = "The body is neither JSON nor NDJSON, or its encoding is not supported", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "Some events were refused; the others are committed", body = Refused, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "It is not known whether every event is committed; send all of them again", body = Refused, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn post(
    State(app): State<App>,
    Allowed { caller, .. }: Allowed<Emit>,
    Query(query): Query<PostQuery>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, Problem> {
    let form = form(&headers)?;
    let received = body.receive(&app, &headers).await?;
    let events_max = app.limits.request_events;
    let (places, sent) = append::append(&app, &caller, &received, SentBy::ItsKey, move |bytes, made| {
        // The texts of the events are parts of the body, so its length bounds the memory of the drafts'
        // texts.
        made.take(bytes.len())?;
        let read::Read { places, drafts } = read::read(bytes, form, events_max)?;
        Ok((places, drafts))
    })
    .await?;
    // The wait for the read tables may be long. The body's memory is free during it.
    drop(received);
    for place in &places {
        if let Slot::Bad { error, .. } = place {
            app.metrics.rejected(error.kind.name(), 1);
        }
    }
    let answer = EventsAnswer::new(places, sent);
    let visible = match query.wait {
        Some(Wait::Visible) => Some(visible(&app, answer.last()).await),
        Some(Wait::Committed) | None => None,
    };
    Ok(answer.into_response(visible))
}

/// Waits until the read tables hold the events up to `seq`. Returns false after the timeout, or if they
/// cannot.
async fn visible(app: &App, seq: Option<Seq>) -> bool {
    let Some(seq) = seq else { return true };
    let held = app.log.wait_caught_up_async(seq);
    tokio::time::timeout(app.limits.visible, held).await.is_ok_and(|held| held.is_ok())
}
