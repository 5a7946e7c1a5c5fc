//! The events of a span: messages that came one by one, and what is left of events once they have a meaning.

use std::borrow::Cow;

use super::conventions::{Happening, happening};
use super::failure;
use super::findings;
use super::messages::{self, Message};
use super::node::Node;
use super::record::{self, Any, Span};
use super::unplaced::Shown;

/// The meaning of a span's event, by its name.
pub(super) fn named(event: &Node<'_>) -> Option<Happening> {
    happening(event.text_of("name")?)
}

/// Input and output messages that came one by one, as events of the span, as instrumentations of the years
/// 2024 and 2025 send them.
pub(super) fn messages(span: &Span<'_>) -> (Vec<Message>, Vec<Message>) {
    let (mut input, mut output) = (Vec::new(), Vec::new());
    for event in span.events() {
        let Some((message, is_output)) = message(event) else { continue };
        if is_output { &mut output } else { &mut input }.push(message);
    }
    (input, output)
}

/// The message of an event, and whether it is an answer.
fn message(event: &Node<'_>) -> Option<(Message, bool)> {
    let (role, is_output) = match named(event)? {
        Happening::UserMessage => ("user", false),
        Happening::OtherMessage(role) => (role, false),
        Happening::Choice => ("assistant", true),
        Happening::Details | Happening::Evaluation | Happening::Exception => return None,
    };
    let members = record::attributes(event).map(|(name, value)| (Cow::Owned(name.to_owned()), parsed(value)));
    // The event's name gives the role, unless the message has one of its own.
    let mut message = Message::of_event(&Node::Object(members.collect()))?;
    message.role.get_or_insert_with(|| role.to_owned());
    Some((message, is_output))
}

/// A value, which may be JSON within a text, such as the message of a choice.
fn parsed(value: Any<'_>) -> Node<'static> {
    let text = value.shown().into_owned();
    match Node::parse_structure(&text) {
        Some(node) => node.into_owned(),
        None => Node::Text(Cow::Owned(text)),
    }
}

/// The columns of a step that have the messages of events. Messages in attributes take their place.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShownEvents {
    pub(super) input: bool,
    pub(super) output: bool,
}

impl ShownEvents {
    fn has(self, is_output: bool) -> bool {
        if is_output { self.output } else { self.input }
    }
}

/// An event, and those of its attributes that no column has, as JSON.
pub(super) struct Left<'n> {
    pub(super) event: &'n Node<'n>,
    pub(super) attributes: Vec<(&'n str, String)>,
}

/// The events of which no row has all. An event without a meaning is left whole.
pub(super) fn left<'n>(span: &Span<'n>, shown_events: ShownEvents) -> impl Iterator<Item = Left<'n>> {
    let used = failure::exception_event(span).map(std::ptr::from_ref);
    span.events().iter().filter_map(move |event| {
        let all = || record::attributes(event).map(|(name, value)| (name, value.to_json())).collect();
        let attributes: Vec<_> = match named(event) {
            // The attributes of these count as those of the span.
            Some(Happening::Details) => return None,
            // A step has the last of several exceptions.
            Some(Happening::Exception) if used == Some(std::ptr::from_ref(event)) => {
                without(event, &failure::EXCEPTION_ATTRIBUTES)
            }
            Some(Happening::Evaluation) if findings::is_result(event) => {
                without(event, &findings::RESULT_ATTRIBUTES)
            }
            Some(Happening::UserMessage | Happening::OtherMessage(_) | Happening::Choice) => {
                match message(event) {
                    Some((message, is_output)) if shown_events.has(is_output) => {
                        let text = messages::text(std::slice::from_ref(&message)).unwrap_or_default();
                        let mut shown = Shown::new(&text);
                        record::attributes(event)
                            .filter_map(|(name, value)| {
                                Some((name, shown.unplaced(name, &parsed(value))?.to_json()))
                            })
                            .collect()
                    }
                    _ => return Some(Left { event, attributes: all() }),
                }
            }
            Some(Happening::Exception | Happening::Evaluation) | None => {
                return Some(Left { event, attributes: all() });
            }
        };
        (!attributes.is_empty()).then_some(Left { event, attributes })
    })
}

fn without<'n>(event: &'n Node<'n>, names: &[&str]) -> Vec<(&'n str, String)> {
    record::attributes(event)
        .filter(|(name, _)| !names.contains(name))
        .map(|(name, value)| (name, value.to_json()))
        .collect()
}
