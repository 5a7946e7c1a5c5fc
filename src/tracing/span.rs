//! The state of an open span. It is kept with the span, in the registry.

use std::sync::Arc;

use super::fields::Fields;
use crate::event::{SessionId, StepId};

/// The session and the step that events in a span belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) session: SessionId,
    /// `None` in the span of the session itself.
    pub(super) step: Option<StepId>,
}

impl Owner {
    /// The name of `other` as seen from here: its step within the same session, and otherwise with its session.
    pub(super) fn name_of(&self, other: &Owner) -> String {
        match &other.step {
            Some(step) if self.session == other.session => step.to_string(),
            Some(step) => format!("{}/{step}", other.session),
            None => other.session.to_string(),
        }
    }
}

/// A span that is recorded, until its end.
#[derive(Debug)]
pub(super) struct SpanRecord {
    pub(super) place: Arc<Owner>,
    /// The fields for the end: those that belong there, and all that came after the start.
    pub(super) fields: Fields,
    /// The first error in the span.
    pub(super) error: Option<String>,
    /// The spans that it follows from.
    pub(super) follows: Vec<String>,
}

impl SpanRecord {
    pub(super) fn new(place: Owner, fields: Fields) -> SpanRecord {
        SpanRecord { place: Arc::new(place), fields, error: None, follows: Vec::new() }
    }
}

/// The records of one span, one for each layer of the registry, under the layer's number.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<(u64, SpanRecord)>);

impl Records {
    pub(super) fn get_mut(&mut self, layer: u64) -> Option<&mut SpanRecord> {
        // A registry has few layers, so a search through the list is enough.
        self.0.iter_mut().find(|(number, _)| *number == layer).map(|(_, record)| record)
    }

    pub(super) fn get(&self, layer: u64) -> Option<&SpanRecord> {
        self.0.iter().find(|(number, _)| *number == layer).map(|(_, record)| record)
    }

    pub(super) fn put(&mut self, layer: u64, record: SpanRecord) {
        self.0.push((layer, record));
    }

    pub(super) fn take(&mut self, layer: u64) -> Option<SpanRecord> {
        let place = self.0.iter().position(|(number, _)| *number == layer)?;
        Some(self.0.swap_remove(place).1)
    }
}
