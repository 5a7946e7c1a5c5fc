//! The attributes of a span or log record, looked up in the table of conventions, and the rest that no column
//! has.

use std::borrow::Cow;
use std::collections::HashSet;

use super::conventions::{self, Family, Field, KINDS, Work};
use super::flattened::Flattened;
use super::messages::{self, Message};
use super::node::Node;
use super::record::{Any, is_cost};
use super::tokens::Tokens;
use super::used::{Side, Used};
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
                list.add(path, said.all.len(), value);
            }
            said.all.push(Attribute { name, value, means: conventions::field(name, scope), used: false });
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
        self.see(field)?.structure()
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
        // Seen first, because a value that the column cannot hold must stay in the rest.
        self.see_text(field)?;
        self.take(field).map(|value| value.shown().into_owned())
    }

    fn see_count(&self, field: Field) -> Option<u64> {
        self.see(field)?.unsigned().filter(|tokens| *tokens <= TOKENS_MAX)
    }

    /// The tokens of the call. A count that parts were added to stays in the rest.
    pub(super) fn take_tokens(&mut self) -> Tokens {
        let stated = Tokens {
            input: self.see_count(Field::TokensInput),
            output: self.see_count(Field::TokensOutput),
            cache_read: self.see_count(Field::TokensCacheRead),
            cache_write: self.see_count(Field::TokensCacheWrite),
            reasoning: self.see_count(Field::TokensReasoning),
        };
        let usage = self.structure(Field::Usage).map(|usage| Tokens::of_usage(&usage)).unwrap_or_default();
        let tokens = stated.or(usage).whole(self.see_count(Field::TokensTotal), &[]);
        for (field, stated, column) in [
            (Field::TokensInput, stated.input, tokens.input),
            (Field::TokensOutput, stated.output, tokens.output),
            (Field::TokensCacheRead, stated.cache_read, tokens.cache_read),
            (Field::TokensCacheWrite, stated.cache_write, tokens.cache_write),
            (Field::TokensReasoning, stated.reasoning, tokens.reasoning),
        ] {
            if stated.is_some() && stated == column {
                self.take(field);
            }
        }
        tokens
    }

    /// The cost of the call. A negative one is none, and stays in the rest.
    pub(super) fn take_cost(&mut self) -> Option<f64> {
        if let Some(cost) = self.see(Field::Cost).and_then(Any::cost) {
            self.take(Field::Cost);
            return Some(cost);
        }
        // Not taken: it has more than the total.
        let total = self.structure(Field::CostDetails)?.get("total")?.number()?;
        Some(total).filter(|cost| is_cost(*cost))
    }

    /// The value of the attribute with this name.
    pub(super) fn named(&self, name: &str) -> Option<Any<'n>> {
        self.all.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.value)
    }

    /// Takes the attributes of a list whose values a reader of the list used. Others stay in the rest.
    pub(super) fn take_family(&mut self, family: Family, list: &Node<'_>, used: &Used) {
        let mut places = Vec::new();
        if let Some(flattened) = self.families.get(family as usize) {
            flattened.used(list, used, &mut places);
        }
        for place in places {
            if let Some(attribute) = self.all.get_mut(place) {
                attribute.used = true;
            }
        }
    }

    /// Takes the value of the best name for a field, except this part of it.
    fn take_except(&mut self, field: Field, rest: Option<Node<'static>>) {
        let name = self.best(field).and_then(|place| self.all.get(place)).map(|attribute| attribute.name);
        self.take(field);
        if let Some((name, rest)) = name.zip(rest) {
            self.parts.push((name, Json::written(rest.to_json())));
        }
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
        let mut found = self.messages_in(Field::InputMessages, Side::Input);
        if found.is_empty() {
            found = self.messages_of(Family::InputMessages, Side::Input);
        }
        if found.is_empty() {
            // A transcript is of the whole run: the messages before the first answer went in.
            found = self.see(Field::Transcript).map(structured).unwrap_or_default();
            let until = found.iter().position(Message::is_answer).unwrap_or(found.len());
            found.truncate(until);
        }
        if let Some(system) = self.see(Field::System) {
            let (text, rest) = system_text(system);
            // Without messages, instructions alone would hide a plain input: they are left in the rest.
            if !text.is_empty() && (!found.is_empty() || self.see(Field::Input).is_none()) {
                let system =
                    Message { role: Some("system".to_owned()), texts: vec![text], ..Message::default() };
                self.take_except(Field::System, rest);
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
        let mut found = messages::without_pieces(self.messages_in(Field::OutputMessages, Side::Output));
        if found.is_empty() {
            found = self.messages_of(Family::OutputMessages, Side::Output);
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
        let calls = self.structure(Field::ToolCalls)?;
        let mut used = Used::new(Side::Output);
        let answer = Message::of_calls(&calls, self.see_text(Field::Output), &mut used)?;
        self.take_except(Field::ToolCalls, used.rest(&calls));
        self.take_text(Field::Output);
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

    /// The messages of a value, which is taken if it has any. A value of another shape stays in the rest.
    fn messages_in(&mut self, field: Field, side: Side) -> Vec<Message> {
        let Some(node) = self.structure(field) else { return Vec::new() };
        let mut used = Used::new(side);
        let found = messages::messages(&node, &mut used);
        if !found.is_empty() {
            self.take_except(field, used.rest(&node));
        }
        self.keep(&found, side);
        found
    }

    /// The messages of a list that came as one attribute per value.
    fn messages_of(&mut self, family: Family, side: Side) -> Vec<Message> {
        let Some(list) = self.see_family(family) else { return Vec::new() };
        let mut used = Used::new(side);
        let found = messages::messages(&list, &mut used);
        self.take_family(family, &list, &used);
        self.keep(&found, side);
        found
    }

    /// Keeps what messages have for attributes of other names.
    fn keep(&mut self, found: &[Message], side: Side) {
        if side == Side::Output {
            self.keep_finish_reasons(found);
        }
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
        if let Some(reasons) = self.all_finish_reasons(rest.get(FINISH_REASONS)) {
            rest.insert(FINISH_REASONS.to_owned(), reasons);
        }
        rest
    }

    /// The finish reasons that an attribute states, and those of messages that it does not. None if there are no such.
    fn all_finish_reasons(&self, stated: Option<&Json>) -> Option<Json> {
        let stated = stated.and_then(|json| Node::parse(json.as_str())).map(|node| {
            let inner = node.text().and_then(Node::parse_structure).map(Node::into_owned);
            inner.unwrap_or_else(|| node.into_owned())
        });
        let mut all = match stated {
            Some(Node::List(reasons)) => reasons,
            Some(reason) => vec![reason],
            None => Vec::new(),
        };
        let mut known: HashSet<String> = all.iter().filter_map(Node::text).map(str::to_owned).collect();
        let before = all.len();
        let others = self.finish_reasons.iter().filter(|reason| known.insert((*reason).clone()));
        all.extend(others.map(|reason| Node::Text(Cow::Owned(reason.clone()))));
        (all.len() > before).then(|| Json::written(Node::List(all).to_json()))
    }
}

/// The messages of a value that stays in the rest.
fn structured(value: Any<'_>) -> Vec<Message> {
    let node = value.structure();
    node.map(|node| messages::messages(&node, &mut Used::new(Side::Output))).unwrap_or_default()
}

/// The text of instructions, which are a text or the parts of a message, and the rest of these parts.
fn system_text(value: Any<'_>) -> (String, Option<Node<'static>>) {
    let text = value.shown();
    // Some programs send the JSON of a text.
    match value
        .structure()
        .or_else(|| Node::parse(&text).filter(|node| node.text().is_some()).map(Node::into_owned))
    {
        Some(parts) => {
            let mut used = Used::new(Side::Input);
            let message = Message::of_parts(&parts, &mut used);
            (message.text(), used.rest(&parts))
        }
        None => (text.into_owned(), None),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::of_span;
    use super::FINISH_REASONS;

    #[test]
    fn finish_reasons_are_those_of_the_answers() {
        let said = json!({
            "gen_ai.operation.name": "chat",
            "gen_ai.input.messages": [{"role": "assistant", "content": "Long", "finish_reason": "length"}],
            "gen_ai.output.messages": [{"role": "assistant", "content": "No.", "finish_reason": "stop"}],
        });
        let means = of_span(said, json!({}));
        let attributes = &means.started().attributes;
        assert_eq!(attributes[FINISH_REASONS].as_str(), r#"["stop"]"#);
        assert_eq!(attributes["gen_ai.input.messages"].as_str(), r#"[{"finish_reason":"length"}]"#);
        assert!(!attributes.contains_key("gen_ai.output.messages"));
    }

    #[test]
    fn a_finish_reason_is_stated_only_by_itself() {
        for (stated, all) in [
            (json!(r#"["stop_sequence"]"#), r#"["stop_sequence","stop"]"#),
            (json!("stop_sequence"), r#"["stop_sequence","stop"]"#),
            (json!(r#"["stop"]"#), r#""[\"stop\"]""#),
        ] {
            let answer = json!({"role": "assistant", "content": "No.", "finish_reason": "stop"});
            let said = json!({FINISH_REASONS: stated, "gen_ai.output.messages": [answer.clone(), answer]});
            let means = of_span(said, json!({}));
            assert_eq!(means.started().attributes[FINISH_REASONS].as_str(), all, "{stated}");
        }
    }
}
