//! The part of a message that its text does not show. It stays an attribute, so that nothing which was sent is lost.

use std::borrow::Cow;

use super::messages::shown;
use super::node::Node;

/// Searches of the whole text for leaves that do not follow the ones before them. After so many, a leaf that is not
/// found further on counts as not shown: the cost of a span stays linear, and the worst is that it is kept twice.
const SEARCHES_MAX: u32 = 64;

/// Members that a role, a kind of part, or a row of another kind stands for.
const STRUCTURE: [&str; 6] = ["role", "type", "finish_reason", "finishReason", "stop_reason", "index"];
/// Members whose leaves a message shows.
const TEXTS: [&str; 13] = [
    "content",
    "refusal",
    "text",
    "value",
    "thinking",
    "reasoning",
    "reasoning_content",
    "name",
    "toolName",
    "function_call_name",
    "summary",
    "parts",
    "message",
];
/// Members that a message shows as one JSON text, with all that is in them.
const WHOLE: [&str; 8] =
    ["arguments", "args", "input", "result", "response", "output", "json", "function_call_arguments_json"];
/// Members with calls. The ids in them are the ids of decisions.
const CALLS: [&str; 7] =
    ["tool_calls", "tool_call", "function_call", "functionCall", "toolUse", "function", "toolCalls"];
const CALL_IDS: [&str; 4] = ["id", "call_id", "toolCallId", "toolUseId"];

/// The text of messages, in which their leaves are looked for.
pub(super) struct Shown<'t> {
    text: &'t str,
    /// The end of the last leaf that was found: leaves stand in the order of the text.
    from: usize,
    searches: u32,
}

impl<'t> Shown<'t> {
    pub(super) fn new(text: &'t str) -> Shown<'t> {
        Shown { text, from: 0, searches: 0 }
    }

    fn has(&mut self, leaf: &str) -> bool {
        if leaf.is_empty() {
            return true;
        }
        let find = |from: usize| {
            let place = memchr::memmem::find(self.text.as_bytes().get(from..)?, leaf.as_bytes())?;
            Some(from + place + leaf.len())
        };
        if let Some(end) = find(self.from) {
            self.from = end;
            return true;
        }
        self.searches += 1;
        self.searches <= SEARCHES_MAX && find(0).is_some()
    }

    /// The part of a member that the text does not show. None if it shows all of it.
    pub(super) fn unplaced(&mut self, name: &str, node: &Node<'_>) -> Option<Node<'static>> {
        self.rest(name, node, false)
    }

    // Recurses once per level. The JSON parser bounds the depth of a node.
    fn rest(&mut self, name: &str, node: &Node<'_>, in_call: bool) -> Option<Node<'static>> {
        if WHOLE.contains(&name) {
            return (!self.has(&shown(node))).then(|| node.clone().into_owned());
        }
        match node {
            Node::Null => None,
            Node::List(items) => {
                let rest: Vec<_> = items.iter().filter_map(|item| self.rest(name, item, in_call)).collect();
                (!rest.is_empty()).then_some(Node::List(rest))
            }
            Node::Object(members) => {
                let is_call =
                    in_call || CALLS.contains(&name) || node.text_of("type").is_some_and(is_call_type);
                let rest: Vec<_> = members
                    .iter()
                    .filter_map(|(own, value)| {
                        let rest = self.rest(own, value, is_call)?;
                        Some((Cow::Owned(own.clone().into_owned()), rest))
                    })
                    .collect();
                (!rest.is_empty()).then_some(Node::Object(rest))
            }
            _ if STRUCTURE.contains(&name) || in_call && CALL_IDS.contains(&name) => None,
            leaf => {
                let is_shown = TEXTS.contains(&name) && self.has(&shown(leaf));
                (!is_shown).then(|| leaf.clone().into_owned())
            }
        }
    }
}

fn is_call_type(kind: &str) -> bool {
    matches!(kind, "tool_call" | "tool_use" | "function_call" | "tool-call")
}

#[cfg(test)]
mod tests {
    use super::super::messages;
    use super::*;

    fn unplaced(json: &str) -> String {
        let node = Node::parse(json).unwrap();
        let text = messages::text(&messages::messages(&node)).unwrap();
        Shown::new(&text).unplaced("", &node).map(|rest| rest.to_json()).unwrap_or_default()
    }

    #[test]
    fn a_message_that_is_shown_whole_leaves_nothing() {
        for json in [
            r#"[{"role":"user","content":"Rain?"},{"role":"assistant","parts":[{"type":"text","content":"No."}],"finish_reason":"stop"}]"#,
            r#"[{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"city\": \"Lisbon\"}"}}]}]"#,
            r#"[{"role":"assistant","content":[{"toolUse":{"toolUseId":"t","name":"f","input":{"city":"Lisbon"}}}]}]"#,
        ] {
            assert_eq!(unplaced(json), "", "{json}");
        }
    }

    #[test]
    fn what_no_text_shows_is_left() {
        assert_eq!(
            unplaced(
                r#"[{"role":"user","content":"Rain?","name":"ada","cache_control":{"type":"ephemeral","ttl":"5m"}}]"#
            ),
            r#"[{"name":"ada","cache_control":{"ttl":"5m"}}]"#
        );
        assert_eq!(
            unplaced(
                r#"[{"role":"assistant","parts":[{"type":"text","content":"No.","annotations":[{"url":"u"}]}]}]"#
            ),
            r#"[{"parts":[{"annotations":[{"url":"u"}]}]}]"#
        );
    }
}
