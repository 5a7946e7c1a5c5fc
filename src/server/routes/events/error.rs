//! Errors about single events of a request.

use serde::Serialize;

use crate::event::JsonEventError;
use crate::prepare::PrepareError;
use crate::receipt::AppendError;
use crate::server::problem::Kind;

/// The error of one event.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EventError {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) title: &'static str,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<usize>,
}

impl EventError {
    pub(super) fn new(kind: Kind, detail: String) -> EventError {
        EventError { kind, title: kind.title(), detail, field: None, line: None }
    }

    pub(super) fn at_line(self, line: Option<usize>) -> EventError {
        EventError { line, ..self }
    }

    pub(super) fn of_append(error: &AppendError) -> EventError {
        let field = match error {
            AppendError::Unfit(PrepareError::Invalid(invalid)) => Some(invalid.field.clone()),
            AppendError::Reserved(_) => Some("type".to_owned()),
            AppendError::Conflict { .. } => Some("id".to_owned()),
            _ => None,
        };
        EventError { field, ..EventError::new(Kind::of(error), error.to_string()) }
    }

    pub(super) fn of_json(error: &JsonEventError) -> EventError {
        let field = match error {
            JsonEventError::Envelope { field, .. } => Some((*field).to_owned()),
            JsonEventError::UnknownType { .. } | JsonEventError::Reserved(_) => Some("type".to_owned()),
            JsonEventError::Duplicate(field) | JsonEventError::Field { field, .. } => Some(field.clone()),
            JsonEventError::Invalid(invalid) => Some(invalid.field.clone()),
            JsonEventError::Syntax(_) | JsonEventError::TooDeep(_) => None,
        };
        let kind = match error {
            JsonEventError::Reserved(_) => Kind::Reserved,
            _ => Kind::InvalidEvent,
        };
        EventError { field, ..EventError::new(kind, error.to_string()) }
    }
}
