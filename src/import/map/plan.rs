//! A map that was checked: everything that a record is compared with, and turned into.

use std::collections::BTreeMap;

use super::path::Path;
use super::spec::ReadAs;
use super::time::Unit;
use crate::event::{Form, Kind};
use crate::import::{Change, Source};

/// A map that was checked.
#[derive(Clone, Debug)]
pub struct Map {
    pub(super) source: Option<Source>,
    /// The paths whose values name a record; without any, its position does.
    pub(super) key: Vec<Path>,
    pub(super) change: Change,
    pub(super) queries: Vec<Query>,
    pub(super) events: Vec<EventPlan>,
}

/// A query of a map for a SQLite database. Its rows are records.
#[derive(Clone, Debug)]
pub struct Query {
    pub(super) name: String,
    pub(super) sql: String,
    pub(super) key: Vec<Path>,
}

impl Map {
    /// The name of the source, if the map gives one.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// The treatment of an event whose id another event of the log has: records of the source may change, or never do.
    pub fn change(&self) -> Change {
        self.change
    }

    /// The queries; none in a map for files.
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }
}

impl Query {
    /// Name of the query within the map.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The statement.
    pub fn sql(&self) -> &str {
        &self.sql
    }
}

/// An event that is made from a record.
#[derive(Clone, Debug)]
pub(super) struct EventPlan {
    /// Name within the map, which is part of the ids of its events.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Position of the query among those of the map whose rows it is made from.
    pub(super) query: Option<usize>,
    /// The paths of the items of which each makes an event; None if the record makes one.
    pub(super) each: Option<Vec<Path>>,
    pub(super) when: Vec<Condition>,
    pub(super) unless: Vec<Condition>,
    pub(super) turn: Turn,
    pub(super) rest: Rest,
    pub(super) fields: Vec<(String, Value)>,
}

/// The order in which events are tried for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// For every record.
    Always,
    /// For a record that no other event was made from.
    Otherwise,
}

/// The wish for the parts of a record that no path took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Only if no event of the record asks for them, and this one is the first.
    IfFirst,
    /// Before all events that do not ask for them.
    Wanted,
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// The path leads to a value that is not null, or to none.
    Exists { path: Path, expected: bool },
    /// The path leads to one of these values, as JSON texts.
    Among { path: Path, values: Vec<String> },
    /// No record before had the same value there.
    First { path: Path },
}

/// The origin of a field's value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// JSON that is the same in every event.
    Constant(String),
    /// An object of these members.
    Members(Vec<(String, Value)>),
    /// A value of the record.
    Found(Box<Found>),
}

#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The first that leads to a value counts. Of several paths in one, the numbers are added.
    pub(super) paths: Vec<Vec<Path>>,
    pub(super) number: Number,
    pub(super) target: Target,
    pub(super) read_as: Option<ReadAs>,
    /// Values instead of others: by the text of the value in the record, as JSON.
    pub(super) words: Option<BTreeMap<String, String>>,
    pub(super) prefix: Option<String>,
    /// JSON for a record that lacks the value, or has one that is not in `words`.
    pub(super) default: Option<String>,
}

/// The number of values that a path may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    One,
    /// All of them become a list.
    All,
}

/// The form that a value must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Form(Form),
    /// The time of an event.
    Time(Unit),
}

impl EventPlan {
    /// The paths of a field, for messages.
    pub(super) fn path_of(&self, field: &str) -> Option<String> {
        let mut names = field.split(['.', '[']);
        let name = names.next()?;
        let (_, value) = self.fields.iter().find(|(own, _)| own == name)?;
        value.path_of(names.next())
    }
}

impl Value {
    fn path_of(&self, member: Option<&str>) -> Option<String> {
        match self {
            Value::Constant(json) => Some(format!("the constant {json}")),
            Value::Members(members) => {
                let (_, value) = members.iter().find(|(own, _)| Some(own.as_str()) == member)?;
                value.path_of(None)
            }
            Value::Found(found) => Some(found.paths_text()),
        }
    }
}

impl Found {
    /// The paths, as the map has them.
    pub(super) fn paths_text(&self) -> String {
        let paths: Vec<&str> = self.paths.iter().flatten().map(Path::text).collect();
        format!("`{}`", paths.join("`, `"))
    }
}
