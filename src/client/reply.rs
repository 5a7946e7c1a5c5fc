//! A server's answers to requests with events.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;

use crate::event::{Digest, EventId, Seq, Timestamp};
use crate::receipt::{AppendOutcome, Appended};

/// Number of characters of an answer that an error message repeats.
const EXCERPT_CHARS: usize = 200;

/// The problem types of a request that the server can never accept as it is.
const REFUSALS_OF_BODIES: [&str; 2] = ["urn:annals:problem:not-json", "urn:annals:problem:too-large"];

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// One result for each event, in the order in which the events were sent: committed, or refused for good.
    Each(Vec<Result<Appended, Arc<str>>>),
    /// The request as a whole was refused, because it is too large or cannot be read.
    Whole(Arc<str>),
    /// Some events may not be committed. All of them are to be sent again later.
    Away { why: Arc<str>, retry_after: Option<Duration> },
}

#[derive(Deserialize)]
struct EventsReply {
    results: Vec<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    id: Option<EventId>,
    seq: Option<u64>,
    hash: Option<Digest>,
    outcome: Option<String>,
    error: Option<Problem>,
}

/// Problem details as in RFC 9457.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    field: Option<String>,
}

impl Reply {
    /// Reads an answer to events with these ids.
    pub(super) fn read(
        status: u16,
        retry_after: Option<&str>,
        body: &[u8],
        ids: impl ExactSizeIterator<Item = EventId>,
    ) -> Reply {
        let retry_after = retry_after.and_then(read_retry_after);
        let away = |why: String| Reply::Away { why: why.into(), retry_after };
        // Events leave the spool only by an answer with one result for each of them, or by a refusal that
        // only Annals sends. Every other answer means "try again": it may come from a proxy, or from a
        // server that is broken.
        match status {
            200 | 422 => match serde_json::from_slice::<EventsReply>(body) {
                Ok(answer) => match each(answer.results, ids) {
                    Some(results) => Reply::Each(results),
                    None => away(format!(
                        "it answered {status}, but its answer does not match the events that were sent"
                    )),
                },
                Err(error) => away(format!("it answered {status}, and its answer cannot be read: {error}")),
            },
            400 | 413 if is_about_the_body(status, body, ids.len()) => {
                Reply::Whole(described(status, body).into())
            }
            _ => away(format!("it answered {}", described(status, body))),
        }
    }
}

/// Returns whether a request was refused because of its body. Only Annals can refuse an event for good: a
/// proxy that refuses everything must not empty the spool. But a proxy, too, may report that a request with
/// several events is too large.
fn is_about_the_body(status: u16, body: &[u8], events: usize) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    let kind = serde_json::from_slice::<Kind>(body);
    // With several events, a 413 of unknown origin only makes the next request smaller. With one event, it
    // would refuse that event for good.
    kind.is_ok_and(|kind| REFUSALS_OF_BODIES.contains(&kind.r#type.as_str())) || (status == 413 && events > 1)
}

/// Pairs results with events. A result without a sequence number or a hash makes the answer unusable: no
/// event counts as committed without both.
fn each(
    results: Vec<Answered>,
    ids: impl ExactSizeIterator<Item = EventId>,
) -> Option<Vec<Result<Appended, Arc<str>>>> {
    if results.len() != ids.len() {
        return None;
    }
    results.into_iter().zip(ids).map(|(answered, id)| answered.outcome_of(id)).collect()
}

impl Answered {
    fn outcome_of(self, event_id: EventId) -> Option<Result<Appended, Arc<str>>> {
        // The result of a refused event may lack its id. An id that differs belongs to another request.
        if self.id.is_some_and(|id| id != event_id) {
            return None;
        }
        if let Some(problem) = self.error {
            return Some(Err(problem.text().into()));
        }
        let outcome = match self.outcome.as_deref() {
            Some("already_recorded") => AppendOutcome::AlreadyRecorded,
            _ => AppendOutcome::New,
        };
        Some(Ok(Appended { seq: Seq::new(self.seq?), event_id, hash: self.hash?, outcome }))
    }
}

impl Problem {
    fn text(self) -> String {
        let reason = self.detail.or(self.title).unwrap_or_else(|| "it gives no reason".to_owned());
        match self.field {
            Some(field) if !reason.contains(&field) => format!("{field}: {reason}"),
            _ => reason,
        }
    }
}

/// The status, and the answer's text on one line.
fn described(status: u16, body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if problem.detail.is_some() || problem.title.is_some() => problem.text(),
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    // The text comes from outside. A control character in it could break a line of a log or a terminal.
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let line: String = line.take(EXCERPT_CHARS).collect();
    if line.is_empty() { status.to_string() } else { format!("{status}: {line}") }
}

/// Parses the header `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn read_retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    let micros = date.timestamp_micros().checked_sub(Timestamp::now().micros())?;
    u64::try_from(micros).ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    fn id(byte: u8) -> EventId {
        EventId::from_bytes([byte; 16])
    }

    fn read(status: u16, body: &str) -> Reply {
        Reply::read(status, None, body.as_bytes(), [id(1), id(2)].into_iter())
    }

    #[test]
    fn good_and_refused_events_of_one_answer_are_told_apart() {
        let body = format!(
            r#"{{"type":"urn:annals:problem:some-refused","committed":1,"refused":1,"results":[
                {{"id":"{}","seq":7,"hash":"{HASH}","outcome":"already_recorded"}},
                {{"error":{{"type":"urn:annals:problem:invalid-event","title":"Invalid","detail":"is empty","field":"name"}}}}]}}"#,
            id(1)
        );
        let committed = Appended {
            seq: Seq::new(7),
            event_id: id(1),
            hash: HASH.parse().unwrap(),
            outcome: AppendOutcome::AlreadyRecorded,
        };
        assert_eq!(read(422, &body), Reply::Each(vec![Ok(committed), Err("name: is empty".into())]));
    }

    #[test]
    fn no_event_counts_as_committed_unless_the_answer_has_its_result() {
        let good = format!(r#"{{"id":"{}","seq":7,"hash":"{HASH}","outcome":"new"}}"#, id(1));
        let other = format!(r#"{{"id":"{}","seq":8,"hash":"{HASH}","outcome":"new"}}"#, id(3));
        let without_seq = format!(r#"{{"id":"{}","hash":"{HASH}","outcome":"new"}}"#, id(2));
        for body in [
            String::new(),
            "{}".to_owned(),
            "<html>welcome</html>".to_owned(),
            r#"{"results":[]}"#.to_owned(),
            format!(r#"{{"results":[{good}]}}"#),
            format!(r#"{{"results":[{good},{other}]}}"#),
            format!(r#"{{"results":[{good},{without_seq}]}}"#),
        ] {
            assert!(matches!(read(200, &body), Reply::Away { .. }), "{body}");
        }
    }

    #[test]
    fn any_other_answer_means_that_the_server_is_away() {
        for status in [204, 301, 401, 403, 404, 408, 415, 429, 500, 502, 503] {
            assert!(matches!(read(status, "{}"), Reply::Away { .. }), "{status}");
        }
    }

    #[test]
    fn only_an_annals_server_can_refuse_events_for_good() {
        let problem = |name: &str| format!(r#"{{"type":"urn:annals:problem:{name}","title":"no"}}"#);
        assert!(matches!(read(400, &problem("not-json")), Reply::Whole(_)));
        assert!(matches!(read(413, &problem("too-large")), Reply::Whole(_)));
        // Errors of transport, and answers that are not from Annals.
        for name in ["bad-request", "bad-encoding"] {
            assert!(matches!(read(400, &problem(name)), Reply::Away { .. }), "{name}");
        }
        assert!(matches!(read(400, "The plain HTTP request was sent to HTTPS port"), Reply::Away { .. }));
        // A proxy may be right that several events are too large. It cannot judge a single event.
        assert!(matches!(read(413, "<html>"), Reply::Whole(_)));
        let one = Reply::read(413, None, b"<html>", [id(1)].into_iter());
        assert!(matches!(one, Reply::Away { .. }), "{one:?}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text: &str| match Reply::read(503, Some(text), b"", [].into_iter()) {
            Reply::Away { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert!(after("Tue, 21 Oct 2098 07:28:00 GMT") > Some(Duration::from_secs(3_600)));
        assert_eq!(after("soon"), None);
    }
}
