//! The events of a span: messages that came one by one, and the rest of events that have a meaning.

use std::borrow::Cow;

use super::conventions::{Happening, happening};
use super::failure;
use super::findings;
use super::messages::Message;
use super::node::Node;
use super::record::{self, Any, Span};
use super::used::{Side, Used};

/// The meaning of a span's event, by its name.
pub(super) fn named(event: &Node<'_>) -> Option<Happening> {
    happening(event.text_of("name")?)
}

/// Input and output messages that came one by one, as events of the span, as instrumentations of the years
/// 2024 and 2025 send them.
pub(super) fn messages(span: &Span<'_>) -> (Vec<Message>, Vec<Message>) {
    let (mut input, mut output) = (Vec::new(), Vec::new());
    for event in span.events() {
        let Some((message, is_output)) = message(event, &members(event), &mut Used::new(Side::Output)) else {
            continue;
        };
        if is_output { &mut output } else { &mut input }.push(message);
    }
    (input, output)
}

/// The attributes of an event as one object.
fn members<'n>(event: &'n Node<'n>) -> Node<'n> {
    let members = record::attributes(event).map(|(name, value)| (Cow::Borrowed(name), parsed(value)));
    Node::Object(members.collect())
}

/// The message of an event with these members, and whether it is an answer.
fn message(event: &Node<'_>, members: &Node<'_>, used: &mut Used) -> Option<(Message, bool)> {
    let (role, is_output) = match named(event)? {
        Happening::UserMessage => ("user", false),
        Happening::OtherMessage(role) => (role, false),
        Happening::Choice => ("assistant", true),
        Happening::Details | Happening::Evaluation | Happening::Exception => return None,
    };
    // The event's name gives the role, unless the message has one of its own.
    let mut message = Message::of_event(members, used)?;
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

/// The members of an event that it has as a whole, beside its attributes.
pub(super) const FIELDS: [&str; 3] = ["name", "timeUnixNano", "attributes"];

/// An event, and those of its attributes that no column has, as JSON.
pub(super) struct Rest<'n> {
    pub(super) event: &'n Node<'n>,
    pub(super) attributes: Vec<(&'n str, String)>,
}

/// The events of which no row has all. An event without a meaning is its own rest.
pub(super) fn rests<'n>(span: &Span<'n>, shown_events: ShownEvents) -> impl Iterator<Item = Rest<'n>> {
    let last = failure::exception_event(span).map(std::ptr::from_ref);
    span.events().iter().filter_map(move |event| {
        let attributes = match named(event) {
            // The attributes of these count as those of the span.
            Some(Happening::Details) => Vec::new(),
            // A step has the last of several exceptions.
            Some(Happening::Exception) if last == Some(std::ptr::from_ref(event)) => {
                json(failure::rest_of_exception(event))
            }
            Some(Happening::Evaluation) if findings::is_result(event) => {
                let names = findings::RESULT_ATTRIBUTES;
                json(record::attributes(event).filter(|(name, _)| !names.contains(name)))
            }
            Some(Happening::UserMessage | Happening::OtherMessage(_) | Happening::Choice) => {
                match rest_of_message(event, shown_events) {
                    Some(rest) => rest,
                    None => return Some(Rest { event, attributes: json(record::attributes(event)) }),
                }
            }
            Some(Happening::Exception | Happening::Evaluation) | None => {
                return Some(Rest { event, attributes: json(record::attributes(event)) });
            }
        };
        let has_more = record::others(event, &FIELDS).next().is_some()
            || !record::malformed_attributes(event).is_empty();
        (has_more || !attributes.is_empty()).then_some(Rest { event, attributes })
    })
}

/// The attributes of a message that no text shows. None if no column has the message.
fn rest_of_message<'n>(event: &'n Node<'n>, shown_events: ShownEvents) -> Option<Vec<(&'n str, String)>> {
    let members = members(event);
    let side = if named(event) == Some(Happening::Choice) { Side::Output } else { Side::Input };
    let mut used = Used::new(side);
    message(event, &members, &mut used).filter(|(_, is_output)| shown_events.has(*is_output))?;
    let Node::Object(members) = &members else { return None };
    let names = record::attributes(event).map(|(name, _)| name);
    let rest = names.zip(members).filter_map(|(name, (_, node))| Some((name, used.rest(node)?.to_json())));
    Some(rest.collect())
}

fn json<'n>(attributes: impl Iterator<Item = (&'n str, Any<'n>)>) -> Vec<(&'n str, String)> {
    attributes.map(|(name, value)| (name, value.to_json())).collect()
}
