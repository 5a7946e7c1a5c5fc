//! A record as events, by a map.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::convert::{Roots, json_of};
use super::error::RecordError;
use super::plan::{Condition, EventPlan, Map, Rest, Turn};
use super::rest::Taken;
use super::value::Node;
use crate::event::{Digest, EventId, Fields};
use crate::import::Source;
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::{Draft, Json, JsonEventError, parse_draft};

/// Most events of one record: what a list may have at most, and one for the record itself.
pub const RECORD_EVENTS_MAX: usize = crate::limits::ITEMS_MAX + 1;

/// Most bytes of the fields of all events of one record. Each event of an item may repeat a part of the record, so without
/// a bound, the square of its size would be in memory. All events are, until the first is handed over.
const RECORD_EVENTS_BYTES_MAX: usize = 4 * PAYLOAD_BYTES_MAX;

/// Most values that `first` tells apart, in one event of a map. Each takes up some dozens of bytes.
pub const FIRSTS_MAX: usize = 1 << 20;

/// A map that is applied to the records of one source, in their order.
#[derive(Debug)]
pub struct Mapper<'m> {
    map: &'m Map,
    source: Source,
    /// For each event of the map, digests of the values that `first` has met.
    met: Vec<HashSet<[u8; 32]>>,
    /// Those of the present record, with the position of the event.
    met_now: Vec<(usize, [u8; 32])>,
}

/// An event that is being made.
struct Making<'m, 'n, 't> {
    plan: &'m EventPlan,
    roots: Roots<'n, 't>,
    id: EventId,
    /// Members of the event in JSON.
    members: Vec<(&'m str, String)>,
    attributes: Vec<(String, String)>,
}

impl<'m> Mapper<'m> {
    /// A mapper of the records of `source`.
    pub fn new(map: &'m Map, source: Source) -> Mapper<'m> {
        Mapper { map, source, met: vec![HashSet::new(); map.events.len()], met_now: Vec::new() }
    }

    /// Makes the events of a record. `query` is the position of the query whose row it is; None for a record of a file.
    /// `position` is the record's position in the source, and makes its id if the map names no key.
    ///
    /// # Errors
    /// If the record is not an object, no event takes it, a value has the wrong form, or an event cannot be recorded.
    pub fn drafts(
        &mut self,
        query: Option<usize>,
        position: u64,
        record: &str,
    ) -> Result<Vec<Draft>, RecordError> {
        self.met_now.clear();
        let made = self.make(query, position, record);
        if made.is_err() {
            // A record that makes no event was not the first of anything.
            for (index, digest) in self.met_now.drain(..) {
                self.met.get_mut(index).map(|met| met.remove(&digest));
            }
        }
        made
    }

    fn make(&mut self, query: Option<usize>, position: u64, record: &str) -> Result<Vec<Draft>, RecordError> {
        let node = Node::of_record(record).map_err(RecordError::Record)?;
        let origin = self.origin(query, position, &node)?;
        let map = self.map;
        let mut making = Vec::new();
        for turn in [Turn::Always, Turn::Otherwise] {
            if making.is_empty() {
                let plans = map.events.iter().enumerate();
                for (index, plan) in plans.filter(|(_, plan)| plan.query == query && plan.turn == turn) {
                    self.begin(index, plan, &node, &origin, &mut making)?;
                }
            }
        }
        if making.is_empty() {
            return Err(RecordError::NotTaken);
        }
        let mut taken = Taken::default();
        let mut bytes = 0_usize;
        for event in &mut making {
            event.fill(&mut taken)?;
            bytes = event.members.iter().fold(bytes, |bytes, (_, json)| bytes.saturating_add(json.len()));
            if bytes > RECORD_EVENTS_BYTES_MAX {
                return Err(RecordError::TooManyBytes { max: RECORD_EVENTS_BYTES_MAX });
            }
        }
        give_rest(&node, &taken, &mut making);
        making.iter().map(Making::draft).collect()
    }

    /// The part of ids that names the record.
    fn origin(&self, query: Option<usize>, position: u64, node: &Node<'_>) -> Result<String, RecordError> {
        let query = query.and_then(|query| self.map.queries.get(query));
        let key = query.map_or(&self.map.key, |query| &query.key);
        let mut origin = format!("map/{}", self.source.name());
        if let Some(query) = query {
            let _ = write!(origin, "/{}", query.name);
        }
        if key.is_empty() {
            let _ = write!(origin, "/{position}");
            return Ok(origin);
        }
        for path in key {
            let wrong = |reason: String| RecordError::Key { path: path.text().to_owned(), reason };
            match path.find(node).as_slice() {
                [value] if !value.is_null() => {
                    // As JSON: a number is not the text of the same digits.
                    let _ = write!(origin, "/={}", value.canonical());
                }
                [] | [_] => return Err(wrong("leads to no value".to_owned())),
                values => return Err(wrong(format!("leads to {} values", values.len()))),
            }
        }
        Ok(origin)
    }

    /// Begins the events that a plan makes of a record.
    fn begin<'n, 't>(
        &mut self,
        index: usize,
        plan: &'m EventPlan,
        record: &'n Node<'t>,
        origin: &str,
        making: &mut Vec<Making<'m, 'n, 't>>,
    ) -> Result<(), RecordError> {
        let items = match &plan.each {
            None => vec![(None, String::new())],
            Some(each) => {
                let items = each.iter().flat_map(|path| path.find(record)).enumerate();
                items.map(|(index, item)| (Some(item), format!("/{index}"))).collect()
            }
        };
        for (item, place) in items {
            let roots = Roots { record, item };
            if !self.is_wanted(index, plan, roots)? {
                continue;
            }
            if making.len() >= RECORD_EVENTS_MAX {
                return Err(RecordError::TooManyEvents { max: RECORD_EVENTS_MAX });
            }
            let id = EventId::from_name(&format!("{origin}/{}{place}", plan.name));
            making.push(Making { plan, roots, id, members: Vec::new(), attributes: Vec::new() });
        }
        Ok(())
    }

    fn is_wanted(
        &mut self,
        index: usize,
        plan: &EventPlan,
        roots: Roots<'_, '_>,
    ) -> Result<bool, RecordError> {
        if plan.unless.iter().any(|condition| holds(condition, roots)) {
            return Ok(false);
        }
        if !plan.when.iter().all(|condition| holds(condition, roots)) {
            return Ok(false);
        }
        for condition in &plan.when {
            if let Condition::First { path } = condition
                && !self.is_first(index, plan, &roots.find(path))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns true if no record before had these values.
    fn is_first(
        &mut self,
        index: usize,
        plan: &EventPlan,
        values: &[&Node<'_>],
    ) -> Result<bool, RecordError> {
        let Some(met) = self.met.get_mut(index) else { return Ok(false) };
        let values: Vec<String> = values.iter().map(|node| node.canonical()).collect();
        let digest = *Digest::of(values.join(",")).bytes();
        let is_new = met.insert(digest);
        if is_new {
            self.met_now.push((index, digest));
        }
        if met.len() > FIRSTS_MAX {
            return Err(RecordError::TooManyFirsts { event: plan.name.clone(), max: FIRSTS_MAX });
        }
        Ok(is_new)
    }
}

/// True if a condition holds, as far as one record can tell.
fn holds(condition: &Condition, roots: Roots<'_, '_>) -> bool {
    match condition {
        Condition::Exists { path, expected } => {
            roots.find(path).iter().any(|node| !node.is_null()) == *expected
        }
        Condition::Among { path, values } => {
            let wanted = values.iter().filter_map(|json| Node::of_value(json).ok());
            let found = roots.find(path);
            wanted.into_iter().any(|wanted| found.iter().any(|node| **node == wanted))
        }
        Condition::First { path } => !roots.find(path).is_empty(),
    }
}

/// Gives the parts that no path took to events: those of an item to an event of the item, those of the record to an
/// event of the record.
fn give_rest(record: &Node<'_>, taken: &Taken, making: &mut [Making<'_, '_, '_>]) {
    let mut given = HashSet::new();
    for index in order(making) {
        let Some(event) = making.get_mut(index) else { continue };
        if let Some(item) = event.roots.item
            && given.insert(item.place())
        {
            event.attributes.extend(taken.rest(item));
        }
    }
    let rest = taken.rest(record);
    let Some(event) = order(making).first().and_then(|index| making.get_mut(*index)) else { return };
    for (name, json) in rest {
        // Members of the record do not mix with those of an item.
        let name = if event.roots.item.is_some() { format!("record.{name}") } else { name };
        event.attributes.push((name, json));
    }
}

/// Positions of the events, those first that ask for the rest, and then those of the record itself.
fn order(making: &[Making<'_, '_, '_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..making.len()).collect();
    // The sort is stable: events with the same wish stay in the order of the map.
    order.sort_by_key(|index| {
        let event = making.get(*index);
        event.map(|event| (event.plan.rest != Rest::Wanted, event.roots.item.is_some()))
    });
    order
}

impl Making<'_, '_, '_> {
    /// Looks up the fields.
    fn fill(&mut self, taken: &mut Taken) -> Result<(), RecordError> {
        let mut places = Vec::new();
        if let Some(item) = self.roots.item {
            taken.leave(item);
        }
        for (field, value) in &self.plan.fields {
            let json = json_of(value, self.roots, &mut places).map_err(|unfit| RecordError::Value {
                event: self.plan.name.clone(),
                field: field.clone(),
                path: unfit.path,
                reason: unfit.reason,
            })?;
            if let Some(json) = json {
                self.members.push((field, json));
            }
        }
        taken.take(places);
        Ok(())
    }

    /// The event, as the parser of the JSON form reads it.
    fn draft(&self) -> Result<Draft, RecordError> {
        let mut json = format!("{{\"type\":{}", Json::text(self.plan.kind.name()));
        if !self.members.iter().any(|(field, _)| *field == "id") {
            let _ = write!(json, ",\"id\":\"{}\"", self.id);
        }
        let wrong = |source: JsonEventError| RecordError::Event {
            event: self.plan.name.clone(),
            origin: self.origin_of(&source),
            source,
        };
        let mut attributes = String::new();
        let mut names = HashSet::new();
        for (field, value) in &self.members {
            if *field != "attributes" || !value.starts_with('{') {
                let _ = write!(json, ",\"{field}\":{value}");
                continue;
            }
            for (name, value) in Fields::parse(value).map_err(wrong)?.0 {
                add_member(&mut attributes, &name, value.get());
                names.insert(name);
            }
        }
        for (name, value) in &self.attributes {
            add_member(&mut attributes, name, value);
            if !names.insert(name.clone()) {
                return Err(wrong(JsonEventError::Duplicate(format!("attributes.{name}"))));
            }
        }
        if !attributes.is_empty() {
            let _ = write!(json, ",\"attributes\":{{{attributes}}}");
        }
        json.push('}');
        parse_draft(&json).map_err(wrong)
    }

    /// The path of the field that an error names, as a part of a message.
    fn origin_of(&self, error: &JsonEventError) -> String {
        let field = match error {
            JsonEventError::Envelope { field, .. } => field,
            JsonEventError::Field { field, .. } => field.as_str(),
            JsonEventError::Invalid(invalid) => invalid.field.as_str(),
            _ => return String::new(),
        };
        self.plan.path_of(field).map(|path| format!(" (from {path})")).unwrap_or_default()
    }
}

fn add_member(members: &mut String, name: &str, json: &str) {
    let comma = if members.is_empty() { "" } else { "," };
    let _ = write!(members, "{comma}{}:{json}", Json::text(name));
}
