//! The answer to events that were sent.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::event::{Digest, EventId, Seq};
use crate::receipt::{AppendOutcome, Appended};
use crate::server::problem::{Kind, Problem};
use crate::server::request::append::Sent;
use crate::server::routes::events::error::EventError;
use crate::server::routes::events::read::Slot;

/// An event as docs/events.md describes it.
#[derive(ToSchema)]
#[schema(title = "Event")]
#[expect(dead_code, reason = "a description")]
pub(crate) struct EventSchema {
    /// The type of the event, such as `step.ended`.
    #[schema(example = "note.logged")]
    r#type: String,
    /// The producer's id for the event. Sending the event again with the same id changes nothing.
    #[schema(value_type = Option<String>, format = "uuid")]
    id: Option<String>,
    /// Id of the session that it belongs to.
    session: Option<String>,
    /// Time at which it happened.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<String>,
}

/// The answer if every event is committed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct Recorded {
    /// Number of events that are in the log.
    committed: usize,
    /// True if the read tables hold them; only with `wait=visible`.
    visible: Option<bool>,
    results: Vec<RecordedEvent>,
}

/// An event that is in the log.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct RecordedEvent {
    #[schema(format = "uuid")]
    id: String,
    /// Its sequence number.
    seq: u64,
    /// Its link in the chain, in hexadecimal.
    hash: String,
    /// `new`, or `already_recorded` if the log had it before.
    outcome: String,
}

/// The answer if not every event is committed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(crate) struct Refused {
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    retry_after: Option<u64>,
    /// Number of events that are in the log.
    committed: Option<usize>,
    /// Number of events that are not in the log, or perhaps not.
    refused: Option<usize>,
    /// True if the read tables hold the committed events; only with `wait=visible`.
    visible: Option<bool>,
    /// The sequence number or the error of each event, in the order in which they were sent.
    results: Option<Vec<serde_json::Value>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Result {
    Committed {
        id: EventId,
        seq: Seq,
        hash: Digest,
        #[serde(serialize_with = "write_outcome")]
        outcome: AppendOutcome,
    },
    Refused {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<EventId>,
        error: EventError,
    },
}

fn write_outcome<S: Serializer>(
    outcome: &AppendOutcome,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(match outcome {
        AppendOutcome::New => "new",
        AppendOutcome::AlreadyRecorded => "already_recorded",
    })
}

/// The outcomes of all events of a request, in their order.
pub(super) struct EventsAnswer {
    committed: usize,
    last: Option<Seq>,
    /// Set if some events may be committed, or could be if they were sent again.
    again: bool,
    results: Vec<Result>,
}

impl EventsAnswer {
    pub(super) fn new(places: Vec<Slot>, sent: Vec<Sent>) -> EventsAnswer {
        let mut answer = EventsAnswer {
            committed: 0,
            last: None,
            again: false,
            results: Vec::with_capacity(places.len()),
        };
        let mut sent = sent.into_iter();
        for place in places {
            let result = match place {
                Slot::Bad { id, error } => Result::Refused { id, error },
                // `sent` has one entry for each draft, in the order of the body.
                Slot::Draft { line } => answer.hear(sent.next(), line),
            };
            answer.results.push(result);
        }
        answer
    }

    fn hear(&mut self, sent: Option<Sent>, line: Option<usize>) -> Result {
        let Some(Sent { id, outcome }) = sent else {
            // No draft lacks an entry. If one did, nothing would be known about its event.
            self.again = true;
            let error = EventError::new(
                Kind::NotWritten,
                "it is not known whether the event is committed".to_owned(),
            );
            return Result::Refused { id: None, error: error.at_line(line) };
        };
        match outcome {
            Ok(Appended { seq, event_id, hash, outcome }) => {
                self.committed += 1;
                self.last = self.last.max(Some(seq));
                Result::Committed { id: event_id, seq, hash, outcome }
            }
            Err(error) => {
                let error = EventError::of_append(&error).at_line(line);
                self.again |= error.kind == Kind::NotWritten;
                Result::Refused { id: Some(id), error }
            }
        }
    }

    /// The highest sequence number of the events that are in the log.
    pub(super) fn last(&self) -> Option<Seq> {
        self.last
    }

    pub(super) fn into_response(self, visible: Option<bool>) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten, skip_serializing_if = "Option::is_none")]
            problem: Option<&'a Problem>,
            committed: usize,
            #[serde(skip_serializing_if = "Option::is_none")]
            refused: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            visible: Option<bool>,
            results: &'a [Result],
        }
        let refused = self.results.len() - self.committed;
        let problem = (refused > 0).then(|| {
            // One uncertain event is enough: all of them are sent again, which changes nothing for the
            // committed ones.
            if self.again {
                Problem::new(
                    Kind::NotWritten,
                    "it is not known whether every event is committed; send all events again with the same ids",
                )
            } else {
                Problem::new(
                    Kind::EventsRefused,
                    format!("{refused} of {} events were refused", self.results.len()),
                )
            }
        });
        let body = Body {
            problem: problem.as_ref(),
            committed: self.committed,
            refused: (refused > 0).then_some(refused),
            visible,
            results: &self.results,
        };
        // An answer is about 200 bytes an event.
        let mut bytes = Vec::with_capacity(64 + 224 * self.results.len());
        // Texts and numbers always have a JSON form, and a write to a vector cannot fail.
        let _ = serde_json::to_writer(&mut bytes, &body);
        match problem {
            Some(problem) => problem.with_members(bytes),
            None => (StatusCode::OK, [(CONTENT_TYPE, "application/json")], bytes).into_response(),
        }
    }
}
