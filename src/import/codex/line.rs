//! A line of a session, in either form of the file.

use super::super::error::{ImportError, Location};
use super::super::fields::Fields;
use crate::{Attributes, Json, Timestamp};

pub(super) const FORMAT: &str = "codex";
pub(super) const EXPECTED: &str = "a session of Codex, one JSON object a line";

/// A line of a session.
pub(super) struct Line {
    pub(super) place: Location,
    /// Names the line within its session.
    pub(super) key: String,
    pub(super) kind: Kind,
    pub(super) at: Option<Timestamp>,
    pub(super) body: Body,
}

/// The content of a line.
pub(super) struct Body {
    /// The payload, or the line itself if it has none.
    pub(super) fields: Fields,
    /// The fields beside the payload.
    beside: Option<Fields>,
}

impl Body {
    /// The fields that nobody took, with those beside the payload.
    pub(super) fn rest(self) -> Attributes {
        let mut rest = self.beside.map(Fields::rest).unwrap_or_default();
        rest.extend(self.fields.rest());
        rest
    }
}

/// The kind of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Meta,
    Context,
    Item(String),
    Event(String),
    Compacted,
    Other(String),
}

impl Line {
    pub(super) fn of(mut line: Fields) -> Result<Line, ImportError> {
        let place = line.place().clone();
        let key = match &place {
            Location::Line(number) => format!("line/{number}"),
            place => place.to_string(),
        };
        let named: Option<String> = line.take("type")?;
        let enveloped = named.is_some() && line.see("payload").is_some_and(Json::is_object);
        let payload = if enveloped { line.object("payload")? } else { None };
        let Some(mut fields) = payload else {
            // The first line of the older form names its own time, which is the session's.
            let kind = match named {
                Some(item) => Kind::Item(item),
                None if line.see("id").is_some() && line.see("timestamp").is_some() => Kind::Meta,
                None => Kind::Other("line".to_owned()),
            };
            let at = if kind == Kind::Meta { None } else { line.take("timestamp")? };
            return Ok(Line { place, key, kind, at, body: Body { fields: line, beside: None } });
        };
        let kind = match named.as_deref() {
            Some("session_meta") => Kind::Meta,
            Some("turn_context") => Kind::Context,
            Some("compacted") => Kind::Compacted,
            Some("response_item") => Kind::Item(fields.require("type")?),
            Some("event_msg") => Kind::Event(fields.require("type")?),
            other => Kind::Other(other.unwrap_or_default().to_owned()),
        };
        let at = line.take("timestamp")?;
        Ok(Line { place, key, kind, at, body: Body { fields, beside: Some(line) } })
    }
}
