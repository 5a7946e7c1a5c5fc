//! Errors of a map, and of a record that it is applied to.

use crate::JsonEventError;

/// A map that cannot be used. Nothing was read with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The text is not TOML, or has a field that maps do not have. The reason shows the line.
    #[error("{0}")]
    Syntax(String),
    /// The map is longer than any map may be.
    #[error("the map has {bytes} bytes, more than {max}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// The map makes no event.
    #[error("the map has no [[event]], so it would make nothing of any record")]
    NoEvents,
    /// A field of the map itself.
    #[error("`{field}`: {reason}")]
    Field {
        /// The field.
        field: String,
        /// The problem with it.
        reason: String,
    },
    /// An event of the map.
    #[error("event {event}: {reason}")]
    Event {
        /// The event, by its number and type.
        event: String,
        /// The problem with it.
        reason: String,
    },
    /// A field of an event.
    #[error("event {event}: field `{field}`: {reason}")]
    EventField {
        /// The event, by its number and type.
        event: String,
        /// The field.
        field: String,
        /// The problem with it.
        reason: String,
    },
}

/// A record that a map cannot make events of. None of its events was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record is not a JSON object, nests too deep, or has a name twice.
    #[error(transparent)]
    Record(JsonEventError),
    /// The key of the record is missing or has several values.
    #[error("the key `{path}` of the map {reason}")]
    Key {
        /// The path.
        path: String,
        /// The problem with the value.
        reason: String,
    },
    /// No event of the map is made from the record.
    #[error("no event of the map takes the record; an event with `otherwise = true` takes all others")]
    NotTaken,
    /// A value cannot become the value of a field.
    #[error("event `{event}`: field `{field}`, from {path}: {reason}")]
    Value {
        /// The name of the event in the map.
        event: String,
        /// The field of the event.
        field: String,
        /// The path of the value, or the paths, as a part of the message.
        path: String,
        /// The problem with the value.
        reason: String,
    },
    /// An event cannot be recorded.
    #[error("event `{event}`: {source}{origin}")]
    Event {
        /// The name of the event in the map.
        event: String,
        /// The field and its problem.
        source: JsonEventError,
        /// The origin of the field's value, as a part of the message; empty if it is not known.
        origin: String,
    },
    /// The map tells first records of too many values apart.
    #[error("event `{event}`: `first` has met more than {max} values; split the file")]
    TooManyFirsts {
        /// The name of the event in the map.
        event: String,
        /// Most values.
        max: usize,
    },
    /// One record makes too many events.
    #[error("the record makes more than {max} events")]
    TooManyEvents {
        /// Most events of one record.
        max: usize,
    },
    /// The events of one record are too large together.
    #[error(
        "the events of the record have more than {max} bytes; leave out of `each` what all of them repeat"
    )]
    TooManyBytes {
        /// Most bytes of the events of one record, as JSON.
        max: usize,
    },
}
