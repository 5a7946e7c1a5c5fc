//! The events of a body, each read on its own: a bad event does not affect the others.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{Draft, EventId, parse_draft};
use crate::server::problem::{Kind, Problem};
use crate::server::routes::events::error::EventError;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An array, or one object.
    Json,
    /// One event per line.
    Lines,
}

/// The position of an event in the answer.
pub(super) enum Slot {
    /// The event is the next draft.
    Draft {
        /// The number of its line, from 1, if the body has lines.
        line: Option<usize>,
    },
    /// The event cannot be a draft.
    Bad { id: Option<EventId>, error: EventError },
}

/// The events of a body.
#[derive(Default)]
pub(super) struct Read {
    pub(super) places: Vec<Slot>,
    pub(super) drafts: Vec<Draft>,
}

/// Reads the events of a body.
///
/// # Errors
/// If the body is not JSON at all, or has more events than `events_max`.
pub(super) fn read(bytes: &[u8], form: Form, events_max: usize) -> Result<Read, Problem> {
    // JSON has no byte order mark, but some programs write one.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut read = Read::default();
    match form {
        Form::Json => {
            let text = std::str::from_utf8(bytes).map_err(|error| {
                not_json(format_args!("it is not UTF-8 from byte {} on", error.valid_up_to() + 1))
            })?;
            for event in events(text, events_max)? {
                read.take(Ok(event), None);
            }
        }
        Form::Lines => {
            // Lines are split as bytes: one that is not UTF-8 is a bad event, and the others are read.
            for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                // Bad events count too: each takes up memory in the answer.
                if read.places.len() == events_max {
                    return Err(too_many(events_max));
                }
                let text = std::str::from_utf8(line).map_err(|error| {
                    format!("the line is not UTF-8 from its byte {} on", error.valid_up_to() + 1)
                });
                read.take(text, Some(number));
            }
        }
    }
    Ok(read)
}

impl Read {
    fn take(&mut self, text: Result<&str, String>, line: Option<usize>) {
        let parsed = text.map_err(|detail| (None, EventError::new(Kind::InvalidEvent, detail)));
        let parsed = parsed
            .and_then(|text| parse_draft(text).map_err(|error| (id_of(text), EventError::of_json(&error))));
        match parsed {
            Ok(draft) => {
                self.drafts.push(draft);
                self.places.push(Slot::Draft { line });
            }
            Err((id, error)) => self.places.push(Slot::Bad { id, error: error.at_line(line) }),
        }
    }
}

/// The id of an event that is wrong in another field.
fn id_of(text: &str) -> Option<EventId> {
    #[derive(serde::Deserialize)]
    struct HasId {
        id: Option<EventId>,
    }
    serde_json::from_str::<HasId>(text).ok()?.id
}

fn not_json(reason: impl fmt::Display) -> Problem {
    Problem::new(Kind::NotJson, format!("the body is not JSON: {reason}; nothing was recorded"))
}

fn too_many(max: usize) -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!(
            "a request may have at most {max} events; send them in several requests; nothing was recorded"
        ),
    )
}

/// The texts of the events: the items of an array, or the one object.
fn events(text: &str, events_max: usize) -> Result<Vec<&str>, Problem> {
    match text.trim_start().as_bytes().first() {
        Some(b'[') => {
            // Items are borrowed as texts and parsed later one by one, so that each can have an error of its
            // own. The syntax of the whole array is checked here.
            let mut items = serde_json::Deserializer::from_str(text);
            let read = items
                .deserialize_seq(Items { max: events_max })
                .and_then(|read| items.end().map(|()| read))
                .map_err(not_json)?;
            read.ok_or_else(|| too_many(events_max))
        }
        Some(b'{') => {
            let event: &RawValue = serde_json::from_str(text).map_err(not_json)?;
            Ok(vec![event.get()])
        }
        _ => Err(not_json("an array of events, or one event as an object, is expected")),
    }
}

/// Reads the items of an array as texts; None if there are too many.
struct Items {
    max: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = Option<Vec<&'de str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element::<&'de RawValue>()? {
            if items.len() == self.max {
                // The rest is parsed and dropped: a body that is not JSON is reported as that, not as too
                // long.
                while array.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            items.push(item.get());
        }
        Ok(Some(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = r#"{"type":"note.logged","message":"m"}"#;

    fn kinds(read: &Read) -> Vec<Option<Kind>> {
        read.places
            .iter()
            .map(|place| match place {
                Slot::Draft { .. } => None,
                Slot::Bad { error, .. } => Some(error.kind),
            })
            .collect()
    }

    #[test]
    fn an_array_an_object_and_lines_are_read() {
        let array = format!("\u{feff} [{NOTE} , {NOTE}]\n");
        assert_eq!(read(array.as_bytes(), Form::Json, 9).ok().unwrap().drafts.len(), 2);
        assert_eq!(read(NOTE.as_bytes(), Form::Json, 9).ok().unwrap().drafts.len(), 1);
        let lines = format!("{NOTE}\r\n\n  \n{NOTE}");
        assert_eq!(read(lines.as_bytes(), Form::Lines, 9).ok().unwrap().drafts.len(), 2);
        assert_eq!(read(b"[]", Form::Json, 9).ok().unwrap().places.len(), 0);
        assert_eq!(read(b"", Form::Lines, 9).ok().unwrap().places.len(), 0);
    }

    #[test]
    fn what_is_no_json_is_refused_as_a_whole() {
        for text in ["", "7", "\"a\"", "[", "[{}", "[{}] x", "{} {}", "{", "[{},]", "[01]"] {
            assert_eq!(
                read(text.as_bytes(), Form::Json, 9).err().map(|p| p.kind),
                Some(Kind::NotJson),
                "{text}"
            );
        }
        assert_eq!(read(b"[\"\xff\"]", Form::Json, 9).err().map(|p| p.kind), Some(Kind::NotJson));
    }

    #[test]
    fn a_bad_event_is_nothing_to_the_others() {
        let text = format!(r#"[{NOTE}, 7, {{"type":"no.such"}}, {NOTE}]"#);
        let bad = Some(Kind::InvalidEvent);
        assert_eq!(kinds(&read(text.as_bytes(), Form::Json, 9).ok().unwrap()), [None, bad, bad, None]);
        let lines = format!("{NOTE}\nnot json\n{{\"type\":\"log.created\"}}\n{NOTE}\n");
        let read = read(lines.as_bytes(), Form::Lines, 9).ok().unwrap();
        assert_eq!(kinds(&read), [None, bad, Some(Kind::Reserved), None]);
        assert!(matches!(&read.places[1], Slot::Bad { error, .. } if error.line == Some(2)));
    }

    #[test]
    fn the_number_of_events_is_bounded() {
        let text = "[0,0,0]";
        assert!(read(text.as_bytes(), Form::Json, 3).is_ok());
        assert_eq!(read(text.as_bytes(), Form::Json, 2).err().map(|p| p.kind), Some(Kind::TooLarge));
        assert_eq!(read(b"[0,0,0", Form::Json, 2).err().map(|p| p.kind), Some(Kind::NotJson));
        assert_eq!(read(b"0\n0\n0", Form::Lines, 2).err().map(|p| p.kind), Some(Kind::TooLarge));
    }
}
