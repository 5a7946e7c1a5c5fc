//! The part of a message or result that no row has. It stays an attribute, so that nothing which was sent is lost.

use std::borrow::Cow;
use std::collections::HashSet;

use super::node::Node;

/// The messages that are read: those before a model's answer, or the answer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    /// The reasons why the model stopped have an attribute of their own.
    Output,
}

/// The nodes of a tree that a row has, or for which a row or the form of a text stands. Who reads the tree marks them;
/// the rest of the tree is everything else. The tree must stay as it is meanwhile.
#[derive(Debug)]
pub(super) struct Used {
    side: Side,
    /// Addresses, by which the nodes of one tree differ.
    nodes: HashSet<*const ()>,
}

impl Used {
    pub(super) fn new(side: Side) -> Used {
        Used { side, nodes: HashSet::new() }
    }

    /// No marks yet, for the same side.
    pub(super) fn fresh(&self) -> Used {
        Used::new(self.side)
    }

    pub(super) fn merge(&mut self, other: Used) {
        self.nodes.extend(other.nodes);
    }

    /// Marks a node with all that is in it.
    pub(super) fn mark(&mut self, node: &Node<'_>) {
        self.nodes.insert(std::ptr::from_ref(node).cast());
    }

    pub(super) fn has(&self, node: &Node<'_>) -> bool {
        self.nodes.contains(&std::ptr::from_ref(node).cast())
    }

    /// The first member with one of these names, marked.
    pub(super) fn member<'m, 'n>(&mut self, node: &'m Node<'n>, names: &[&str]) -> Option<&'m Node<'n>> {
        let member = names.iter().find_map(|name| node.get(name))?;
        self.mark(member);
        Some(member)
    }

    /// The first member with one of these names that is a text, marked.
    pub(super) fn text<'m>(&mut self, node: &'m Node<'_>, names: &[&str]) -> Option<&'m str> {
        let member = names.iter().find_map(|name| node.get(name).filter(|member| member.text().is_some()))?;
        self.mark(member);
        member.text()
    }

    /// The reason why the model stopped. Of an input it stays with the message.
    pub(super) fn finish_reason(&mut self, node: &Node<'_>) -> Option<String> {
        const NAMES: [&str; 3] = ["finish_reason", "finishReason", "stop_reason"];
        let reason = match self.side {
            Side::Input => NAMES.iter().find_map(|name| node.text_of(name)),
            Side::Output => self.text(node, &NAMES),
        };
        reason.filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The part of a node that is not marked. None if all of it is.
    // Recurses once per level. The JSON parser bounds the depth of a node.
    pub(super) fn rest(&self, node: &Node<'_>) -> Option<Node<'static>> {
        if self.has(node) {
            return None;
        }
        match node {
            Node::Null => None,
            Node::List(items) => {
                let rest: Vec<_> = items.iter().filter_map(|item| self.rest(item)).collect();
                (!rest.is_empty()).then_some(Node::List(rest))
            }
            Node::Object(members) => {
                let rest = members.iter().filter_map(|(name, value)| {
                    Some((Cow::Owned(name.clone().into_owned()), self.rest(value)?))
                });
                let rest: Vec<_> = rest.collect();
                (!rest.is_empty()).then_some(Node::Object(rest))
            }
            leaf => Some(leaf.clone().into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages;
    use super::*;

    fn rest(json: &str) -> String {
        let node = Node::parse(json).unwrap();
        let mut used = Used::new(Side::Output);
        assert!(messages::text(&messages::messages(&node, &mut used)).is_some(), "{json}");
        used.rest(&node).map(|rest| rest.to_json()).unwrap_or_default()
    }

    #[test]
    fn a_message_that_is_shown_whole_has_no_rest() {
        for json in [
            r#"[{"role":"user","content":"Rain?"},{"role":"assistant","parts":[{"type":"text","content":"No."}],"finish_reason":"stop"}]"#,
            r#"[{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"city\": \"Lisbon\"}"}}]}]"#,
            r#"[{"role":"assistant","content":[{"toolUse":{"toolUseId":"t","name":"f","input":{"city":"Lisbon"}}}]}]"#,
            r#"[{"role":"assistant","content":"No.","parts":[{"type":"text","text":"No."},{"type":"tool_call","name":"f"}]}]"#,
        ] {
            assert_eq!(rest(json), "", "{json}");
        }
    }

    #[test]
    fn what_no_text_shows_is_the_rest() {
        for (json, unused) in [
            (
                r#"[{"role":"user","content":"Rain?","name":"ada","cache_control":{"type":"ephemeral","ttl":"5m"}}]"#,
                r#"[{"name":"ada","cache_control":{"type":"ephemeral","ttl":"5m"}}]"#,
            ),
            (
                r#"[{"role":"assistant","parts":[{"type":"text","content":"No.","annotations":[{"type":"url","index":0}]}]}]"#,
                r#"[{"parts":[{"annotations":[{"type":"url","index":0}]}]}]"#,
            ),
            // The same words stand in the text, but as another one's.
            (
                r#"[{"role":"user","name":"Al","content":"Also No."},{"role":"assistant","content":"No.","summary":"No."}]"#,
                r#"[{"name":"Al"},{"summary":"No."}]"#,
            ),
            (
                r#"[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{},"caller":{"type":"direct"}}]}]"#,
                r#"[{"content":[{"caller":{"type":"direct"}}]}]"#,
            ),
            // A message without content is in no text.
            (
                r#"[{"role":"assistant","content":"No."},{"role":"assistant","finish_reason":"length"}]"#,
                r#"[{"role":"assistant","finish_reason":"length"}]"#,
            ),
        ] {
            assert_eq!(rest(json), unused, "{json}");
        }
    }
}
