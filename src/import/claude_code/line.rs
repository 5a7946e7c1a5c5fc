//! A line of a session, and its name.

use super::super::error::{ImportError, Location};
use super::super::fields::{Fields, text_of};
use super::super::turn;
use crate::{Json, NoteLogged, Timestamp};

pub(super) const FORMAT: &str = "claude-code";

/// A line of a session, with the fields that every kind of line may have.
pub(super) struct Line {
    pub(super) place: Location,
    /// Names the line within its session.
    pub(super) key: String,
    pub(super) kind: String,
    pub(super) at: Option<Timestamp>,
    pub(super) session: Option<String>,
    /// All other fields.
    pub(super) fields: Fields,
}

/// Names lines: by their `uuid`, or else by their distance from the last line that has one.
#[derive(Default)]
pub(super) struct Names {
    uuid: String,
    after: u64,
}

impl Names {
    /// Reads the fields that every kind of line may have.
    pub(super) fn line(&mut self, mut fields: Fields) -> Result<Line, ImportError> {
        let key = match fields.see("uuid").map(text_of) {
            Some(uuid) => {
                (self.uuid, self.after) = (uuid.clone(), 0);
                uuid
            }
            None => {
                self.after += 1;
                format!("{}+{}", self.uuid, self.after)
            }
        };
        Ok(Line {
            place: fields.place().clone(),
            key,
            kind: fields.require("type")?,
            at: fields.take("timestamp")?,
            session: fields.take("sessionId")?,
            fields,
        })
    }
}

/// A line as a note: its text as the message, and its other fields as data.
pub(super) fn note(place: &Location, kind: &str, mut fields: Fields) -> Result<NoteLogged, ImportError> {
    let text = match kind {
        "summary" => fields.text("summary"),
        "system" => fields.text("content"),
        _ => None,
    };
    let subtype = fields.see("subtype").map(text_of);
    let level = fields.see("level").map(text_of);
    Ok(NoteLogged {
        message: text.or(subtype).unwrap_or_else(|| kind.to_owned()),
        level,
        data: Some(turn::json_of(place, kind, &fields.rest())?),
        attributes: [("type".to_owned(), Json::text(kind))].into(),
        ..Default::default()
    })
}
