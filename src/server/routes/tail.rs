//! `GET /v1/tail`: the log as it grows, as server-sent events.
//!
//! A client reads the committed log from its position, not from a queue of its own. However slow it is, it
//! costs one page, and when it comes again it goes on at its position. Commits of this process wake it. One
//! task looks for those of other processes, for all clients. If the log's file is replaced, the client gets a
//! problem, and the stream ends.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use utoipa::IntoParams;

use crate::event::Seq;
use crate::query::EventFilter;
use crate::query::events::EventPage;
use crate::server::app::App;
use crate::server::app::memory::{Full, Held};
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::auth::{Allowed, ReadContent};
use crate::server::request::caller::Caller;
use crate::server::request::extract::Query;
use crate::server::routes::reads::params::{KindWord, SeqParam};

/// Bounds of a page that is sent at once: events, and bytes of them.
const EVENTS_AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 1 << 20;

/// Time without an event after which the client gets a sign that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The header with the position up to which a client has read.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TailQuery {
    /// Only events after this sequence number; if absent, only events that are committed from now on. The
    /// header Last-Event-ID takes precedence.
    #[param(inline)]
    after: Option<SeqParam>,
    /// Only events of this session.
    session: Option<String>,
    /// Only events of this type. May be given several times.
    #[serde(default)]
    #[param(inline)]
    kind: Vec<KindWord>,
}

/// Time between two checks that a waiting client is still allowed to read.
const KEYS_EVERY: Duration = Duration::from_millis(250);

/// The state of one client.
struct Tail {
    app: App,
    caller: Caller,
    filter: EventFilter,
    position: Seq,
    head: watch::Receiver<Seq>,
    /// Set if the last look found more than one page, and before the first look.
    more: bool,
    heartbeat: Instant,
    /// Set once the client has got the reason why nothing more comes.
    told_of_error: bool,
    _room: OwnedSemaphorePermit,
}

/// Sends new events as server-sent events: `id` is the sequence number, `event` the type, `data` the event. If
/// the log is no longer at its path, the server sends an event `problem` with the reason, and ends the stream.
#[utoipa::path(get, path = "/v1/tail", tag = "events",
    params(TailQuery, ("Last-Event-ID" = Option<String>, Header, description = "The sequence number of the last event that the client has read")),
    responses(
        (status = 200, description = "An endless stream of events", body = String, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Too many clients already follow the log", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn tail(
    State(app): State<App>,
    Allowed { caller, .. }: Allowed<ReadContent>,
    Query(query): Query<TailQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let room = app.tails.room.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Kind::Overloaded, "too many clients already follow the log; try again later")
            .retry_after(5)
    })?;
    // Subscribed before the position is read: a commit between the two wakes the client.
    let head = app.tails.head.subscribe();
    let position = match last_event_id(&headers)?.or(query.after.map(|after| after.0)) {
        Some(after) => after,
        None => app.readers.ask(|reader| Ok(reader.head()?.seq)).await?,
    };
    let tail = Tail {
        filter: EventFilter { session: query.session, kinds: KindWord::codes(&query.kind) },
        position,
        head,
        more: true,
        heartbeat: Instant::now() + HEARTBEAT,
        told_of_error: false,
        caller,
        app,
        _room: room,
    };
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // A proxy that buffers answers would hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(tail.stream())).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Seq>, Problem> {
    let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else { return Ok(None) };
    let id = id.to_str().ok().and_then(|id| id.trim().parse().ok());
    id.filter(|id: &Seq| i64::try_from(id.get()).is_ok()).map(Some).ok_or_else(|| {
        Problem::new(
            Kind::BadRequest,
            "the header Last-Event-ID must be the `id` of an event that this path sent",
        )
    })
}

impl Tail {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        // The first bytes show that the stream has begun, and at which position. A client that is cut off
        // before the first event comes again with that position, and misses none.
        let greeting = Bytes::from(format!(": following\nid: {}\n\n", self.position));
        let greeting = stream::once(async { Ok(greeting) });
        let events = stream::unfold(self, |mut tail| async {
            let bytes = tail.next().await?;
            Some((Ok(bytes), tail))
        });
        stream::StreamExt::chain(greeting, events)
    }

    /// The bytes to send next; None at the end of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Checked in every round: a key that is revoked meanwhile gets no further events.
            if self.app.stopping.is_cancelled() || !self.caller.is_still_allowed(&self.app).await {
                return None;
            }
            if let Err(problem) = self.app.file.require() {
                // A stream of the old file would never end, and its events are no longer in the log.
                let told = std::mem::replace(&mut self.told_of_error, true);
                return (!told).then(|| written_problem(&problem));
            }
            if self.more || *self.head.borrow_and_update() > self.position {
                let (app, filter, after) = (self.app.clone(), self.filter.clone(), self.position);
                let page = self.app.readers.ask(move |reader| {
                    let page = reader.event_page(&filter, after, EVENTS_AT_ONCE, BYTES_AT_ONCE)?;
                    let sent =
                        if page.events.is_empty() { Ok(None) } else { Sent::of(&app, &page).map(Some) };
                    Ok((sent, page.looked, page.next.is_some()))
                });
                // An error ends the stream. The client comes again, and may get the reason as an answer then.
                let (sent, looked, more) = page.await.ok()?;
                // Without memory for the page the position stays. The same page is read again after a pause.
                if let Ok(sent) = sent {
                    // `looked` is also beyond events that the filter leaves out: they are not read again.
                    self.position = looked;
                    self.more = more;
                    if let Some(sent) = sent {
                        self.heartbeat = Instant::now() + HEARTBEAT;
                        return Some(Bytes::from_owner(sent));
                    }
                    if self.more {
                        continue;
                    }
                }
            }
            // The sleep bounds the time until the next check of the key. It also ends a wait for memory.
            tokio::select! {
                () = self.app.stopping.cancelled() => return None,
                changed = self.head.changed() => changed.ok()?,
                () = tokio::time::sleep(KEYS_EVERY) => {}
                () = tokio::time::sleep_until(self.heartbeat) => {
                    self.heartbeat = Instant::now() + HEARTBEAT;
                    return Some(Bytes::from_static(b":\n\n"));
                }
            }
        }
    }
}

fn written_problem(problem: &Problem) -> Bytes {
    // An object of texts and numbers always has a JSON form, on one line.
    let json = serde_json::to_string(problem).unwrap_or_default();
    Bytes::from(format!("event: problem\ndata: {json}\n\n"))
}

/// A page that is being sent. Its memory counts until it is sent.
struct Sent {
    text: String,
    _held: Held,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Sent {
    fn of(app: &App, page: &EventPage) -> Result<Sent, Full> {
        let room = page.events.iter().map(|event| event.json.len() + AROUND_BYTES + event.kind.len()).sum();
        let mut held = Held::of(&app.memory);
        held.take(room)?;
        Ok(Sent { text: written(page, room), _held: held })
    }
}

/// Bytes around an event, without the name of its kind: field names, and a number.
const AROUND_BYTES: usize = 64;

fn written(page: &EventPage, room: usize) -> String {
    let mut text = String::with_capacity(room);
    for event in &page.events {
        // An event's JSON form is one line; writing to a String cannot fail.
        let _ = write!(text, "id: {}\nevent: {}\ndata: {}\n\n", event.seq, event.kind, event.json);
    }
    text
}
