//! Events of the log as they were recorded.

use std::io::Write as _;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::event::Seq;
use crate::query::EventFilter;
use crate::server::app::App;
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::auth::{Allowed, ReadContent};
use crate::server::request::extract::{Path, Query};
use crate::server::routes::reads::answer::{List, answer};
use crate::server::routes::reads::params::{KindWord, Limit, SeqParam, place};

/// Bytes of events after which a page ends.
const PAGE_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only events of this session.
    session: Option<String>,
    /// Only events of this type. May be given several times.
    #[serde(default)]
    #[param(inline)]
    kind: Vec<KindWord>,
    /// Only events after this sequence number.
    #[param(inline)]
    after: Option<SeqParam>,
    #[serde(default)]
    #[param(inline)]
    limit: Limit,
    /// The `next` of the previous page.
    #[param(pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
}

/// A page of events.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct EventPage {
    /// The events as docs/events.md describes them, with `seq`, `recorded_at` and `principal`.
    #[schema(value_type = Vec<Object>)]
    events: Vec<serde_json::Value>,
    /// The `cursor` of the next page; null if there is none.
    next: Option<String>,
    /// Number of events of the log that some read table does not hold yet.
    lag: u64,
}

/// Lists events in the order of the log.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(EventQuery), responses(
    (status = 200, description = "A page of the list", body = EventPage),
    (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Query(query): Query<EventQuery>,
) -> Result<Response, Problem> {
    let after = place(query.cursor.as_deref())?.map(Seq::new);
    // A cursor takes precedence: it continues a list that began with `after`.
    let after = after.or(query.after.map(|after| after.0)).unwrap_or(Seq::ZERO);
    let filter = EventFilter { session: query.session, kinds: KindWord::codes(&query.kind) };
    answer(&app, move |reader, output| {
        let page = reader.event_page(&filter, after, query.limit.0, PAGE_BYTES_MAX)?;
        // Raw values are copied as they are: the log's own JSON is not parsed into a tree and written again.
        let items = page.events.iter().map(|event| serde_json::from_str(&event.json));
        let items: Vec<&RawValue> = items
            .collect::<Result<_, _>>()
            .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
        let next = page.next.map(|next| next.to_string());
        output.json(&List { name: "events", items: &items, next, lag: reader.lag()? })
    })
    .await
}

/// Returns one event.
#[utoipa::path(get, path = "/v1/events/{seq}", tag = "events",
    params(("seq" = u64, Path, description = "The sequence number of the event")),
    responses(
        (status = 200, description = "The event", body = Object),
        (status = 400, description = "The sequence number is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such event", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(
    State(app): State<App>,
    _: Allowed<ReadContent>,
    Path(seq): Path<u64>,
) -> Result<Response, Problem> {
    answer(&app, move |reader, output| {
        let none = || Problem::new(Kind::NotFound, format!("there is no event {seq}"));
        // SQLite has no larger numbers: no event has one.
        if i64::try_from(seq).is_err() {
            return Err(none());
        }
        let event = reader.event(Seq::new(seq))?.ok_or_else(none)?.to_json();
        output.write_all(event.as_bytes()).map_err(|error| output.failed(&error))
    })
    .await
}
