//! The attributes of a span or log record, looked up in the table of conventions, and the rest that no column
//! has.

use std::borrow::Cow;

use super::conventions::{self, Family, Field, KINDS, Work};
use super::flattened::Flattened;
use super::messages::{self, Message};
use super::node::Node;
use super::record::Any;
use super::unplaced::Shown;
use crate::event::{Attributes, Json, StepKind};
use crate::limits::TOKENS_MAX;

/// The attribute by which answers that were cut off or filtered are found, whatever convention says so.
const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";

/// Attributes, each of which was looked up once.
#[derive(Clone)]
pub(super) struct Said<'n> {
    all: Vec<Attribute<'n>>,
    families: [Flattened<'n>; Family::COUNT],
    /// Parts of attributes that are in use, of which no column has these parts, by the name of the attribute.
    parts: Vec<(&'n str, Json)>,
    /// The reasons why the model stopped, of messages that are in use.
    finish_reasons: Vec<String>,
}

#[derive(Clone)]
struct Attribute<'n> {
    name: &'n str,
    value: Any<'n>,
    /// The field that the name stands for, and the rank of the name among those of the field; 0 is best.
    means: Option<(Field, u8)>,
    family: Option<Family>,
    /// True if a column has the value, whole.
    used: bool,
}

/// A text for a step, decision or session, with the messages that decisions are made from.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) text: Option<String>,
    pub(super) messages: Vec<Message>,
}

impl<'n> Said<'n> {
    /// Looks up the attributes of something that the instrumentation with this scope reports.
    pub(super) fn new(attributes: impl Iterator<Item = (&'n str, Any<'n>)>, scope: &str) -> Said<'n> {
        let mut said = Said {
            all: Vec::new(),
            families: std::array::from_fn(|_| Flattened::default()),
            parts: Vec::new(),
            finish_reasons: Vec::new(),
        };
        for (name, value) in attributes {
            let family = conventions::family(name);
            // An attribute of a list stays in `all` as well: until the list is taken, it is an attribute like
            // any other.
            if let Some((family, path)) = family
                && let Some(list) = said.families.get_mut(family as usize)
            {
                list.add(path, value);
            }
            said.all.push(Attribute {
                name,
                value,
                means: conventions::field(name, scope),
                family: family.map(|(family, _)| family),
                used: false,
            });
        }
        said
    }

    fn best(&self, field: Field) -> Option<usize> {
        // The least rank wins, then the first attribute. An empty value is passed over.
        self.all
            .iter()
            .enumerate()
            .filter_map(|(place, attribute)| match attribute.means {
                Some((own, rank)) if own == field && !attribute.value.is_empty() => Some((rank, place)),
                _ => None,
            })
            .min()
            .map(|(_, place)| place)
    }

    /// The value of the best name for a field. The attribute stays in the rest.
    pub(super) fn see(&self, field: Field) -> Option<Any<'n>> {
        self.best(field).and_then(|place| self.all.get(place)).map(|attribute| attribute.value)
    }

    /// The text of that value, unless it is blank.
    pub(super) fn see_text(&self, field: Field) -> Option<String> {
        self.see(field).map(|value| value.shown().into_owned()).filter(|text| !text.trim().is_empty())
    }

    /// The JSON of a value that is an object or a list, as a text or as OTLP's own.
    pub(super) fn structure(&self, field: Field) -> Option<Node<'static>> {
        let value = self.see(field)?;
        let json = value.text().map_or_else(|| value.to_json(), str::to_owned);
        Node::parse_structure(&json).map(Node::into_owned)
    }

    /// The question in an input that is an object with the prompt and other settings of the call.
    pub(super) fn prompt(&self) -> Option<String> {
        let node = Node::parse_structure(self.see(Field::Input)?.text()?)?;
        let prompt = ["prompt", "task"].iter().find_map(|name| node.text_of(name));
        prompt.filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The conversation, by an attribute of its own or by a member of the metadata.
    pub(super) fn conversation(&self) -> Option<String> {
        // Some programs send the JSON of no value.
        self.see_text(Field::Conversation).filter(|text| text != "null").or_else(|| {
            let node = Node::parse_structure(self.see(Field::Metadata)?.text()?)?;
            ["session_id", "thread_id", "conversation_id"]
                .iter()
                .find_map(|name| node.text_of(name).filter(|text| !text.trim().is_empty()).map(str::to_owned))
        })
    }

    /// Takes the value of the best name for a field, because a column has it now. The attribute is left out
    /// of the rest, and so is every attribute of the same field with the same value.
    pub(super) fn take(&mut self, field: Field) -> Option<Any<'n>> {
        let value = self.see(field)?;
        // Compared as JSON, in which an integer is the same whether OTLP sent it as a number or as a text.
        let json = value.to_json();
        for attribute in &mut self.all {
            if attribute.means.is_some_and(|(own, _)| own == field) && attribute.value.to_json() == json {
                attribute.used = true;
            }
        }
        Some(value)
    }

    pub(super) fn take_text(&mut self, field: Field) -> Option<String> {
        // Seen first, because a value that the column cannot hold must stay in the rest. The next two
        // functions do the same.
        self.see_text(field)?;
        self.take(field).map(|value| value.shown().into_owned())
    }

    pub(super) fn take_tokens(&mut self, field: Field) -> Option<u64> {
        self.see(field)?.unsigned().filter(|tokens| *tokens <= TOKENS_MAX)?;
        self.take(field)?.unsigned()
    }

    /// The first of these members of a value that is JSON with numbers. The attribute stays in the rest.
    pub(super) fn see_member(&self, field: Field, names: &[&str]) -> Option<f64> {
        let value = self.see(field)?;
        let json = value.text().map_or_else(|| value.to_json(), str::to_owned);
        let node = Node::parse_structure(&json)?;
        names.iter().find_map(|name| node.get(name)?.number()).filter(|number| number.is_finite())
    }

    /// A count of tokens that is a member of a JSON object.
    pub(super) fn see_tokens(&self, names: &[&str]) -> Option<u64> {
        let value = self.see(Field::Usage)?;
        let json = value.text().map_or_else(|| value.to_json(), str::to_owned);
        let node = Node::parse_structure(&json)?;
        names.iter().find_map(|name| node.get(name)?.unsigned()).filter(|tokens| *tokens <= TOKENS_MAX)
    }

    pub(super) fn take_number(&mut self, field: Field) -> Option<f64> {
        self.see(field)?.number()?;
        self.take(field)?.number()
    }

    /// The value of the attribute with this name.
    pub(super) fn named(&self, name: &str) -> Option<Any<'n>> {
        self.all.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.value)
    }

    /// Takes members of a list that came as one attribute per value, by their names. Others stay in the rest.
    pub(super) fn take_members(&mut self, family: Family, names: &[&str]) {
        for attribute in self.all.iter_mut().filter(|attribute| attribute.family == Some(family)) {
            attribute.used |= attribute.name.rsplit('.').next().is_some_and(|name| names.contains(&name));
        }
    }

    /// Takes the attributes of a list of messages whose values the text of the messages shows.
    fn take_shown(&mut self, family: Family, found: &[Message]) {
        let text = messages::text(found).unwrap_or_default();
        let mut shown = Shown::new(&text);
        for attribute in self.all.iter_mut().filter(|attribute| attribute.family == Some(family)) {
            let name = attribute.name.rsplit('.').next().unwrap_or_default();
            let is_call = attribute.name.contains("tool_call.") || attribute.name.contains("tool_calls.");
            let value = Node::Text(attribute.value.shown());
            attribute.used |= is_call && name == "id" || shown.unplaced(name, &value).is_none();
        }
        self.keep_finish_reasons(found);
    }

    /// Takes the attribute of these messages. The part of it that their text does not show stays in the rest.
    fn take_messages(&mut self, field: Field, found: &[Message]) {
        let Some(name) =
            self.best(field).and_then(|place| self.all.get(place)).map(|attribute| attribute.name)
        else {
            return;
        };
        let Some(value) = self.take(field) else { return };
        let json = value.text().map_or_else(|| value.to_json(), str::to_owned);
        let text = messages::text(found).unwrap_or_default();
        let rest = Node::parse_structure(&json).and_then(|node| Shown::new(&text).unplaced("", &node));
        if let Some(rest) = rest {
            self.parts.push((name, Json::written(rest.to_json())));
        }
        self.keep_finish_reasons(found);
    }

    /// Keeps the reasons why the model stopped after these messages.
    pub(super) fn keep_finish_reasons(&mut self, found: &[Message]) {
        self.finish_reasons.extend(found.iter().filter_map(|message| message.finish_reason.clone()));
    }

    pub(super) fn see_family(&self, family: Family) -> Option<Node<'n>> {
        self.families.get(family as usize).filter(|list| !list.is_empty()).map(Flattened::to_node)
    }

    /// The kind of work, by the first attribute of the table that has a word which is known.
    pub(super) fn kind(&self) -> (StepKind, Work) {
        for (attribute, _) in KINDS {
            // A word that is not known is passed over.
            if let Some(said) = self.named(attribute).and_then(Any::text)
                && let Some(word) = conventions::kind(attribute, said)
            {
                return (word.kind, word.work);
            }
        }
        // A run of an agent that names no operation repeats the tokens of its calls, so it is not a call itself.
        if self.see(Field::Agent).is_some() && self.is_aggregate() {
            return (StepKind::Agent, Work::Run);
        }
        // Older instrumentations have no attribute for the operation.
        if self.see(Field::Model).is_some() && self.see(Field::TokensOutput).is_some() {
            return (StepKind::Llm, Work::Plain);
        }
        if self.see(Field::Tool).is_some() {
            return (StepKind::Tool, Work::Plain);
        }
        (StepKind::Other, Work::Plain)
    }

    /// Returns true if the attributes are of a whole run: they have its transcript or its result.
    fn is_aggregate(&self) -> bool {
        self.see(Field::Transcript).is_some() || self.named("final_result").is_some()
    }

    /// The input, from the most exact source that there is: messages, a list of messages in parts, the
    /// beginning of a transcript, plain texts.
    pub(super) fn input(&mut self) -> Content {
        // A tool's own arguments say more than messages about its call.
        if self.named("gen_ai.tool.call.arguments").is_some() {
            return self.readable(Field::Input, |messages| messages);
        }
        let mut found = self.messages_in(Field::InputMessages);
        if found.is_empty()
            && let Some(list) = self.see_family(Family::InputMessages)
        {
            found = messages::messages(&list);
            // Taken only if messages were found: a list of another shape stays in the rest.
            if !found.is_empty() {
                self.take_shown(Family::InputMessages, &found);
            }
        }
        if found.is_empty() {
            // A transcript is of the whole run: the messages before the first answer went in.
            found = self.see(Field::Transcript).map(structured).unwrap_or_default();
            let until = found.iter().position(Message::is_answer).unwrap_or(found.len());
            found.truncate(until);
        }
        if let Some(system) = self.see(Field::System) {
            let text = system_text(system);
            // Without messages, instructions alone would hide a plain input: they are left in the rest.
            if !text.is_empty() && (!found.is_empty() || self.see(Field::Input).is_none()) {
                let system =
                    Message { role: Some("system".to_owned()), texts: vec![text], ..Message::default() };
                self.take_messages(Field::System, std::slice::from_ref(&system));
                found.insert(0, system);
            }
        }
        if let Some(text) = messages::text(&found) {
            return Content { text: Some(text), messages: found };
        }
        if let Some(text) = self.texts_of(Family::InputTexts) {
            return Content { text: Some(text), messages: Vec::new() };
        }
        self.readable(Field::Input, |messages| messages)
    }

    /// The output, from the most exact source that there is: messages, a list of messages in parts, plain
    /// texts.
    pub(super) fn output(&mut self) -> Content {
        if self.named("gen_ai.tool.call.result").is_some() {
            return self.readable(Field::Output, messages::outcome);
        }
        let mut found = messages::without_pieces(self.messages_in(Field::OutputMessages));
        if found.is_empty()
            && let Some(list) = self.see_family(Family::OutputMessages)
        {
            found = messages::messages(&list);
            if !found.is_empty() {
                self.take_shown(Family::OutputMessages, &found);
            }
        }
        // Some instrumentations have the texts of an answer as messages, and its calls only in the raw answer.
        if !found.is_empty()
            && found.iter().all(|message| message.calls.is_empty())
            && self.kind().0 == StepKind::Llm
            && let Some(raw) = self.see(Field::Output)
            && let Some(last) = found.last_mut()
        {
            last.calls = structured(raw).into_iter().flat_map(|message| message.calls).collect();
        }
        if found.is_empty()
            && let Some(answer) = self.calls()
        {
            found.push(answer);
        }
        if let Some(reasoning) = self.reasoning(&mut found) {
            found.push(reasoning);
        }
        if let Some(text) = messages::text(&found) {
            return Content { text: Some(text), messages: found };
        }
        if let Some(text) = self.texts_of(Family::OutputTexts) {
            return Content { text: Some(text), messages: Vec::new() };
        }
        self.readable(Field::Output, messages::outcome)
    }

    /// The answer whose calls have an attribute of their own, beside that of the text.
    fn calls(&mut self) -> Option<Message> {
        let value = self.see(Field::ToolCalls)?;
        let json = value.text().map_or_else(|| value.to_json(), str::to_owned);
        let answer = Message::of_calls(&Node::parse_structure(&json)?, self.see_text(Field::Output))?;
        self.take(Field::ToolCalls);
        self.take(Field::Output);
        Some(answer)
    }

    /// Puts reasoning that has an attribute of its own before the answer. Returns the answer if none was found yet: its
    /// text has an attribute of its own as well.
    fn reasoning(&mut self, found: &mut [Message]) -> Option<Message> {
        let reasoning = self.take_text(Field::Reasoning)?;
        if let Some(last) = found.last_mut() {
            last.reasoning.insert(0, reasoning);
            return None;
        }
        let text = self.take_text(Field::Output);
        Some(Message::of_reasoning(reasoning, text))
    }

    fn messages_in(&mut self, field: Field) -> Vec<Message> {
        let found = self.see(field).map(structured).unwrap_or_default();
        if !found.is_empty() {
            self.take_messages(field, &found);
        }
        found
    }

    /// The texts of a list whose items have one text each. It is not taken, because an item may have more.
    fn texts_of(&mut self, family: Family) -> Option<String> {
        let Some(Node::List(items)) = self.see_family(family) else { return None };
        let texts: Vec<&str> = items.iter().filter_map(first_text).collect();
        (!texts.is_empty()).then(|| texts.join("\n\n"))
    }

    /// The text of a value that is text, or data with messages in it.
    fn readable(&mut self, field: Field, part: impl Fn(&[Message]) -> &[Message]) -> Content {
        let Some(value) = self.see(field) else { return Content::default() };
        let found = structured(value);
        // Not taken: the value holds more than the text that is shown.
        let found = part(&found);
        if let Some(text) = messages::text(found) {
            return Content { text: Some(text), messages: found.to_vec() };
        }
        if let Some(node) = value.text().and_then(Node::parse_structure)
            && let Some(text) = messages::only_text(&node)
        {
            return Content { text: Some(text.to_owned()), messages: Vec::new() };
        }
        Content { text: self.take_text(field), messages: Vec::new() }
    }

    /// The attributes that no column has, each as JSON of its type.
    pub(super) fn rest(&self) -> Attributes {
        let whole = self
            .all
            .iter()
            .filter(|attribute| !attribute.used)
            .map(|attribute| (attribute.name.to_owned(), Json::written(attribute.value.to_json())));
        let parts = self.parts.iter().map(|(name, json)| ((*name).to_owned(), json.clone()));
        let mut rest: Attributes = parts.chain(whole).collect();
        let stated = rest.get(FINISH_REASONS).map(|json| json.as_str().to_owned()).unwrap_or_default();
        if self.finish_reasons.iter().any(|reason| !stated.contains(reason.as_str())) {
            // An attribute of its own may state other reasons than the messages.
            let own = Node::parse(&stated).map(Node::into_owned);
            let own = own.into_iter().flat_map(|node| match node {
                Node::List(reasons) => reasons,
                reason => vec![reason],
            });
            let others = self.finish_reasons.iter().filter(|reason| !stated.contains(reason.as_str()));
            let others = others.map(|reason| Node::Text(Cow::Borrowed(reason.as_str())));
            let reasons: Vec<Node<'_>> = own.chain(others).collect();
            rest.insert(FINISH_REASONS.to_owned(), Json::written(Node::List(reasons).to_json()));
        }
        rest
    }
}

/// Reads the messages of a value, which is JSON as a text, or OTLP's own lists and maps.
fn structured(value: Any<'_>) -> Vec<Message> {
    match value.text() {
        Some(text) => Node::parse_structure(text).map(|node| messages::messages(&node)).unwrap_or_default(),
        None => Node::parse(&value.to_json()).map(|node| messages::messages(&node)).unwrap_or_default(),
    }
}

/// The text of instructions, which are a text or the parts of a message.
fn system_text(value: Any<'_>) -> String {
    let json = value.text().map_or_else(|| value.to_json(), str::to_owned);
    // Some programs send the JSON of a text.
    match Node::parse_structure(&json).or_else(|| Node::parse(&json).filter(|node| node.text().is_some())) {
        Some(parts) => Message::of_parts(&parts).text(),
        None => json,
    }
}

/// The first text within a value, such as an answer, a document or a prompt.
fn first_text<'m>(node: &'m Node<'_>) -> Option<&'m str> {
    match node {
        Node::Text(text) => Some(text),
        Node::Object(members) => ["content", "text", "prompt", "completion", "document"]
            .iter()
            .find_map(|name| members.iter().find(|(own, _)| own == name))
            .and_then(|(_, inner)| first_text(inner)),
        _ => None,
    }
}
