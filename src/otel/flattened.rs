//! Lists that come as one attribute per value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::node::Node;
use super::record::Any;
use super::used::Used;

/// A part of an attribute's name: an index of a list, or the name of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment<'n> {
    Index(u32),
    Name(&'n str),
}

/// A list that came as one attribute per value, put together again.
#[derive(Clone, Default)]
pub(super) struct Flattened<'n> {
    /// The attribute with this name, by its place among all.
    value: Option<(usize, Any<'n>)>,
    parts: BTreeMap<Segment<'n>, Flattened<'n>>,
}

impl<'n> Flattened<'n> {
    /// Adds an attribute by the rest of its name, such as `0.message.role`.
    pub(super) fn add(&mut self, path: &'n str, attribute: usize, value: Any<'n>) {
        let mut place = self;
        // Deeper than any convention goes. `to_node` recurses once per level, so a sender must not choose the
        // depth.
        if path.bytes().filter(|byte| *byte == b'.').count() > 16 {
            return;
        }
        for segment in path.split('.') {
            let segment = segment.parse().map_or(Segment::Name(segment), Segment::Index);
            place = place.parts.entry(segment).or_default();
        }
        place.value = Some((attribute, value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The list as JSON.
    pub(super) fn to_node(&self) -> Node<'n> {
        match (&self.value, self.parts.first_key_value()) {
            // An index sorts before a name, so an index in front means a list. A value is left out if parts
            // are below it.
            (_, Some((Segment::Index(_), _))) => {
                Node::List(self.parts.values().map(Flattened::to_node).collect())
            }
            (_, Some((Segment::Name(_), _))) => Node::Object(
                self.parts
                    .iter()
                    .filter_map(|(segment, part)| match segment {
                        Segment::Name(name) => Some((Cow::Borrowed(*name), part.to_node())),
                        Segment::Index(_) => None,
                    })
                    .collect(),
            ),
            (Some((_, value)), None) => match value.text() {
                Some(text) => Node::Text(Cow::Borrowed(text)),
                None => match value.number() {
                    Some(number) => Node::Float(number),
                    None => Node::Text(value.shown()),
                },
            },
            (None, None) => Node::Null,
        }
    }

    /// The places of the attributes whose values are marked in `node`, which [`to_node`](Self::to_node) made.
    pub(super) fn used(&self, node: &Node<'_>, used: &Used, places: &mut Vec<usize>) {
        let is_name = |segment: &Segment<'_>| matches!(segment, Segment::Name(_));
        match node {
            // A node that is marked as a whole has no marks within.
            _ if used.has(node) => self.add_all(places),
            Node::List(items) => {
                self.parts.values().zip(items).for_each(|(part, item)| part.used(item, used, places));
            }
            Node::Object(members) => {
                let parts = self.parts.iter().filter(|(segment, _)| is_name(segment));
                parts.zip(members).for_each(|((_, part), (_, member))| part.used(member, used, places));
            }
            _ => {}
        }
    }

    fn add_all(&self, places: &mut Vec<usize>) {
        // Of a value with parts below it, only the parts are in the list.
        match &self.value {
            Some((place, _)) if self.parts.is_empty() => places.push(*place),
            _ => self.parts.values().for_each(|part| part.add_all(places)),
        }
    }
}
