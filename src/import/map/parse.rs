//! The reading of a map.

use std::str::FromStr;

use super::check;
use super::error::MapError;
use super::path::{Path, Root};
use super::plan::{EventPlan, Map, Query};
use super::spec::{MapSpec, OneOrMore, QuerySpec};
use crate::import::{Change, Source};

/// Longest map, in bytes. Maps that people write have some thousands.
pub const MAP_BYTES_MAX: usize = 1 << 20;

impl FromStr for Map {
    type Err = MapError;

    /// Reads a map, and checks all of it.
    fn from_str(text: &str) -> Result<Map, MapError> {
        if text.len() > MAP_BYTES_MAX {
            return Err(MapError::TooLong { bytes: text.len(), max: MAP_BYTES_MAX });
        }
        let spec: MapSpec = toml::from_str(text)
            .map_err(|error| MapError::Syntax(error.to_string().trim_end().to_owned()))?;
        let MapSpec { source, key, time, changes, queries, events } = spec;
        let field = |field: &str, reason: String| MapError::Field { field: field.to_owned(), reason };
        let source = source
            .map(|name| Source::new(name).map_err(|error| field("source", error.to_string())))
            .transpose()?;
        if key.is_some() && !queries.is_empty() {
            return Err(field("key", "a map with queries has a `key` in each [[query]]".to_owned()));
        }
        let key = key_paths(key).map_err(|reason| field("key", reason))?;
        let queries = queries.into_iter().map(query).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = queries.iter().map(|query| query.name.clone()).collect();
        let same =
            names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|n| n == *name));
        if let Some((_, name)) = same {
            return Err(field("query", format!("two have the name `{name}`")));
        }
        if events.is_empty() {
            return Err(MapError::NoEvents);
        }
        let events = (1..)
            .zip(events)
            .map(|(number, spec)| check::event(number, spec, time, &names))
            .collect::<Result<Vec<_>, _>>()?;
        only_own_names(&events)?;
        let change = if changes { Change::May } else { Change::Never };
        Ok(Map { source, key, change, queries, events })
    }
}

fn key_paths(key: Option<OneOrMore<String>>) -> Result<Vec<Path>, String> {
    let paths = key.map_or_else(Vec::new, |key| key.0);
    let paths = paths.iter().map(|path| Path::parse(path)).collect::<Result<Vec<_>, _>>()?;
    match paths.iter().find(|path| path.root() == Root::Item) {
        Some(path) => Err(format!("`{}` begins at an item; the key belongs to the record", path.text())),
        None => Ok(paths),
    }
}

fn query(spec: QuerySpec) -> Result<Query, MapError> {
    let QuerySpec { name, sql, key } = spec;
    let wrong = |reason: String| MapError::Field { field: format!("query `{name}`"), reason };
    if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
        return Err(wrong("the name is empty, or has a `/` or a control character".to_owned()));
    }
    let key = key_paths(key).map_err(|reason| wrong(format!("`key`: {reason}")))?;
    Ok(Query { name, sql, key })
}

/// Refuses two events with the same name for the same records: their ids would be the same.
fn only_own_names(events: &[EventPlan]) -> Result<(), MapError> {
    for (index, event) in events.iter().enumerate() {
        let same = |other: &&EventPlan| other.name == event.name && other.query == event.query;
        if events.iter().take(index).any(|other| same(&other)) {
            return Err(MapError::Event {
                event: format!("{} (`{}`)", index.saturating_add(1), event.name),
                reason: "an event before it has the same name; give it a `name` of its own".to_owned(),
            });
        }
    }
    Ok(())
}
