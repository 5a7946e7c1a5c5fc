//! The parts of a record that no path took.

use std::collections::BTreeSet;

use super::value::{Content, Node};

/// Places of values: those that a path took, and the items that make events of their own.
#[derive(Default)]
pub(super) struct Taken {
    places: BTreeSet<usize>,
    items: BTreeSet<usize>,
}

impl Taken {
    pub(super) fn take(&mut self, places: impl IntoIterator<Item = usize>) {
        self.places.extend(places);
    }

    /// Leaves an item to its own events.
    pub(super) fn leave(&mut self, item: &Node<'_>) {
        self.items.insert(item.place());
    }

    fn is_whole(&self, node: &Node<'_>) -> bool {
        self.places.contains(&node.place()) || self.items.contains(&node.place())
    }

    /// True if a value within is taken, or makes events of its own.
    fn has_part(&self, node: &Node<'_>) -> bool {
        // Everything within a value stands between its first byte and its last.
        let within = node.place()..node.place().saturating_add(node.raw().len());
        self.places.range(within.clone()).next().is_some() || self.items.range(within).next().is_some()
    }

    /// The rest of a value that events are made from, by name. A member of which no part was taken is whole. Of an
    /// object of which a part was taken, the other members have the path as their name. Of a list of which a part was
    /// taken, all is kept.
    pub(super) fn rest(&self, root: &Node<'_>) -> Vec<(String, String)> {
        let mut rest = Vec::new();
        match root.content() {
            _ if self.places.contains(&root.place()) => {}
            Content::Object(members) => {
                for (name, node) in members {
                    self.add(name.clone(), node, &mut rest);
                }
            }
            // An item that is no object.
            _ => rest.push(("item".to_owned(), root.raw().to_owned())),
        }
        rest
    }

    fn add(&self, name: String, node: &Node<'_>, rest: &mut Vec<(String, String)>) {
        if self.is_whole(node) {
            return;
        }
        match node.content() {
            Content::Object(members) if self.has_part(node) => {
                for (inner, node) in members {
                    self.add(format!("{name}.{inner}"), node, rest);
                }
            }
            Content::List(items) if !items.is_empty() && items.iter().all(|item| self.is_whole(item)) => {}
            _ => rest.push((name, node.raw().to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::map::path::Path;

    fn rest(record: &str, took: &[&str], items: &[&str]) -> Vec<String> {
        let node = Node::of_record(record).unwrap();
        let mut taken = Taken::default();
        for path in took {
            taken.take(Path::parse(path).unwrap().find(&node).iter().map(|node| node.place()));
        }
        for path in items {
            Path::parse(path).unwrap().find(&node).into_iter().for_each(|item| taken.leave(item));
        }
        taken.rest(&node).into_iter().map(|(name, json)| format!("{name}={json}")).collect()
    }

    #[test]
    fn members_that_no_path_took_stay_whole() {
        let record = r#"{"a": 1, "b": {"c": 2, "d": {"e": 3, "f": 1.0}}, "n": null}"#;
        assert_eq!(rest(record, &["$.a"], &[]), [r#"b={"c": 2, "d": {"e": 3, "f": 1.0}}"#, "n=null"]);
        assert_eq!(rest(record, &["$.a", "$.b.d.e", "$.n"], &[]), ["b.c=2", "b.d.f=1.0"]);
        assert_eq!(rest(record, &["$.b"], &[]), ["a=1", "n=null"]);
        assert!(rest(record, &["$"], &[]).is_empty());
    }

    #[test]
    fn a_list_is_kept_unless_all_of_it_was_taken() {
        let record = r#"{"l": [1, 2], "m": []}"#;
        assert_eq!(rest(record, &["$.l[0]"], &[]), ["l=[1, 2]", "m=[]"]);
        assert_eq!(rest(record, &["$.l[*]"], &[]), ["m=[]"]);
        assert_eq!(rest(record, &["$.l[0]"], &["$.l[1]"]), ["m=[]"]);
    }
}
