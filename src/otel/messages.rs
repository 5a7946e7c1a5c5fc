//! Messages between people, models and tools, and the tool calls in them. Conventions and frameworks have
//! many shapes for a message; here each becomes readable text.

use std::borrow::Cow;

use super::node::Node;
use super::used::Used;

/// A model's request to call a tool.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolCall {
    pub(super) id: Option<String>,
    pub(super) name: String,
    /// JSON, as a text.
    pub(super) arguments: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) role: Option<String>,
    pub(super) texts: Vec<String>,
    /// Results of tools.
    pub(super) results: Vec<String>,
    /// Reasoning of the model, apart from what it says.
    pub(super) reasoning: Vec<String>,
    pub(super) calls: Vec<ToolCall>,
    /// The reason why the model stopped, such as `length` or `content_filter`.
    pub(super) finish_reason: Option<String>,
}

/// The depth to which messages are searched for within other data. It bounds the recursion of `find`.
const DEPTH_MAX: usize = 6;

/// Members in which frameworks keep messages: a request or an answer, a graph's state, a batch. Of several in
/// one object, the first in this list is searched.
const AROUND: [&str; 11] = [
    "messages",
    "choices",
    "generations",
    "inputs",
    "outputs",
    "input",
    "output",
    "update",
    "contents",
    "candidates",
    "kwargs",
];

/// The role of a message, from the names that frameworks have for its class.
fn role_of(class: &str) -> Option<&'static str> {
    const ROLES: [(&str, &str); 9] = [
        ("human", "user"),
        ("HumanMessage", "user"),
        ("ai", "assistant"),
        ("AIMessage", "assistant"),
        ("AIMessageChunk", "assistant"),
        ("system", "system"),
        ("SystemMessage", "system"),
        ("tool", "tool"),
        ("ToolMessage", "tool"),
    ];
    ROLES.iter().find(|(name, _)| *name == class).map(|(_, role)| *role)
}

impl Message {
    /// Reads a message in any of the shapes that are known; None for everything else. Marks what the message has of
    /// the node, and the members for which the form of its text stands.
    pub(super) fn read(node: &Node<'_>, used: &mut Used) -> Option<Message> {
        // OpenInference and the choices of OpenAI's answers wrap a message in `message`. The recursion ends,
        // because the JSON parser bounds the depth of a node.
        if let Some(inner @ Node::Object(_)) = node.get("message") {
            let message = Message::read(inner, used)?;
            used.member(node, &["index"]);
            let finish_reason = message.finish_reason.clone().or_else(|| used.finish_reason(node));
            return Some(Message { finish_reason, ..message });
        }
        if let Some(item) = Message::item(node, used) {
            return Some(item);
        }
        // LangChain: {"type": "human", "data": {…}}, and {"lc": 1, "id": […, "HumanMessage"], "kwargs": {…}}.
        let class = node
            .get("id")
            .and_then(Node::list)
            .and_then(|path| path.last()?.text())
            .or_else(|| node.text_of("type"))
            .and_then(role_of);
        // A class alone is not enough: other data has a `type` as well. The content must be beside it.
        if let (Some(role), Some(inner @ Node::Object(_))) =
            (class, node.get("data").or_else(|| node.get("kwargs")))
        {
            used.text(node, &["type"]);
            return Some(Message { role: Some(role.to_owned()), ..Message::body(inner, used) });
        }
        let role = node.text_of("role");
        let is_call = node.get("tool_calls").is_some() || node.get("function_call").is_some();
        // Without a role or a call, only plain `content` makes a message: data with `parts` may be anything.
        if role.is_none() && !is_call && (node.get("content").is_none() || node.get("parts").is_some()) {
            return None;
        }
        used.text(node, &["role"]);
        Some(Message { role: role.or(class).map(str::to_owned), ..Message::body(node, used) })
    }

    /// Reads an item of OpenAI's Responses API that is no message by itself: a call, its result, or reasoning.
    fn item(node: &Node<'_>, used: &mut Used) -> Option<Message> {
        let mut message = Message::default();
        let role = match node.text_of("type")? {
            "function_call" if node.get("arguments").is_some() => "assistant",
            "reasoning" if node.get("summary").is_some() => "assistant",
            "function_call_output" => "tool",
            _ => return None,
        };
        message.part(node, used);
        message.role = Some(role.to_owned());
        Some(message)
    }

    /// Reads the attributes of an event that is one message. Its text may be in `message`, as a text or as parts.
    pub(super) fn of_event(node: &Node<'_>, used: &mut Used) -> Option<Message> {
        let Some(parts @ (Node::Text(_) | Node::List(_))) = node.get("message") else {
            return Message::read(node, used);
        };
        used.member(node, &["index"]);
        let role = used.text(node, &["role"]).map(str::to_owned);
        let finish_reason = used.finish_reason(node);
        Some(Message { role, finish_reason, ..Message::of_parts(parts, used) })
    }

    fn body(node: &Node<'_>, used: &mut Used) -> Message {
        let mut message = Message { finish_reason: used.finish_reason(node), ..Message::default() };
        used.text(node, &["type"]);
        // A message may have content and calls: models comment on the calls that they make.
        for part in ["content", "parts", "contents"].iter().filter_map(|name| node.get(name)) {
            message.add(Message::of_parts(part, used));
        }
        for call in node.get("tool_calls").and_then(Node::list).unwrap_or_default() {
            message.call(call, used);
        }
        if let Some(call) = node.get("function_call") {
            message.call(call, used);
        }
        // OpenInference has another form for a single call: two members of the message itself.
        if let Some(name) = used.text(node, &["function_call_name"]) {
            let arguments = used.text(node, &["function_call_arguments_json"]);
            message.calls.push(ToolCall {
                id: None,
                name: name.to_owned(),
                arguments: arguments.map(str::to_owned),
            });
        }
        message.texts.extend(used.text(node, &["refusal"]).map(str::to_owned));
        let reasoning = used.text(node, &["reasoning_content", "reasoning"]);
        message.reasoning.extend(reasoning.map(str::to_owned));
        message
    }

    /// Adds what another member of the same message has. Some programs send the same in two members.
    fn add(&mut self, other: Message) {
        fn extend<T: PartialEq>(own: &mut Vec<T>, other: Vec<T>) {
            if *own != other {
                own.extend(other);
            }
        }
        extend(&mut self.texts, other.texts);
        extend(&mut self.results, other.results);
        extend(&mut self.reasoning, other.reasoning);
        extend(&mut self.calls, other.calls);
    }

    /// Makes a message of its parts, without a role.
    pub(super) fn of_parts(parts: &Node<'_>, used: &mut Used) -> Message {
        let mut message = Message::default();
        message.part(parts, used);
        message
    }

    // Recurses once per level of parts. The JSON parser bounds the depth of a node.
    fn part(&mut self, part: &Node<'_>, used: &mut Used) {
        const TEXTS: [&str; 4] = ["text", "content", "value", "thinking"];
        match part {
            Node::Text(text) => {
                used.mark(part);
                self.texts.push(text.to_string());
            }
            Node::List(parts) => parts.iter().for_each(|part| self.part(part, used)),
            Node::Object(_) => {
                // OpenInference wraps each part in `message_content`.
                if let Some(inner) = part.get("message_content") {
                    return self.part(inner, used);
                }
                // Bedrock and Gemini name the type of a part by its only member.
                if let Some((name, inner)) = only_member(part) {
                    match name {
                        "toolUse" | "functionCall" | "function_call" => return self.call(inner, used),
                        "toolResult" | "functionResponse" | "function_response" => {
                            return self.result(inner, used);
                        }
                        "reasoningContent" => {
                            let text = inner.get("reasoningText").and_then(|text| used.text(text, &["text"]));
                            let text = text.map(str::to_owned);
                            self.reasoning.push(text.unwrap_or_else(|| whole(inner, used)));
                            return;
                        }
                        _ => {}
                    }
                }
                match used.text(part, &["type"]) {
                    Some("tool_call" | "tool_use" | "function_call" | "tool-call") => self.call(part, used),
                    Some("reasoning" | "thinking") => match used.text(part, &TEXTS) {
                        Some(text) => self.reasoning.push(text.to_owned()),
                        None => {
                            let parts = part.get("summary").and_then(Node::list).unwrap_or_default();
                            self.reasoning.extend(parts.iter().filter_map(|part| text_part(part, used)));
                        }
                    },
                    Some("tool_call_response" | "tool_result" | "tool-result" | "function_call_output") => {
                        self.result(part, used);
                    }
                    kind => match used.text(part, &TEXTS) {
                        Some(text) => self.texts.push(text.to_owned()),
                        // A text that is null says nothing.
                        None if matches!(kind, Some("text" | "output_text" | "input_text")) => {}
                        // A part of an unknown type is shown as JSON, so that no content is lost.
                        None => self.texts.push(whole(part, used)),
                    },
                }
            }
            other => self.texts.push(whole(other, used)),
        }
    }

    /// Adds the result of a tool: a text, JSON, or parts.
    fn result(&mut self, part: &Node<'_>, used: &mut Used) {
        let result = ["response", "result", "output", "content"].iter().find_map(|name| part.get(name));
        match result {
            // Vercel wraps a result in its type.
            Some(result @ Node::Object(_)) if result.text_of("value").is_some() => {
                used.text(result, &["type"]);
                self.results.extend(used.text(result, &["value"]).map(str::to_owned));
            }
            Some(Node::List(parts)) if parts.iter().all(|part| part.text_of("text").is_some()) => {
                self.results.extend(parts.iter().filter_map(|part| text_part(part, used)));
            }
            result => self.results.push(whole(result.unwrap_or(part), used)),
        }
    }

    fn call(&mut self, call: &Node<'_>, used: &mut Used) {
        // OpenInference wraps a call in `tool_call`, and OpenAI puts its name and arguments into `function`.
        let call = call.get("tool_call").unwrap_or(call);
        let function = call.get("function").unwrap_or(call);
        let Some(name) = used.text(function, &["name", "toolName"]) else {
            // Not a call by any known shape: shown, so that no content is lost.
            return self.texts.push(whole(call, used));
        };
        used.text(call, &["type"]);
        used.member(call, &["index"]);
        // A Responses API call has an id of its own beside that of the call.
        let id = used.text(call, &["call_id", "toolCallId", "toolUseId", "id"]);
        self.calls.push(ToolCall {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            arguments: used.member(function, &["arguments", "args", "input"]).map(shown),
        });
    }

    /// Makes an answer that consists of these calls, and of a text beside them.
    pub(super) fn of_calls(calls: &Node<'_>, text: Option<String>, used: &mut Used) -> Option<Message> {
        let mut message = Message { role: Some("assistant".to_owned()), ..Message::default() };
        calls.list()?.iter().for_each(|call| message.call(call, used));
        message.texts.extend(text);
        (!message.calls.is_empty()).then_some(message)
    }

    /// Makes an answer of a text and the reasoning before it.
    pub(super) fn of_reasoning(reasoning: String, text: Option<String>) -> Message {
        Message {
            role: Some("assistant".to_owned()),
            reasoning: vec![reasoning],
            texts: text.into_iter().collect(),
            ..Message::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.results.is_empty() && self.reasoning.is_empty() && self.calls.is_empty()
    }

    pub(super) fn is_answer(&self) -> bool {
        matches!(self.role.as_deref(), Some("assistant" | "model"))
    }

    /// The text of the message, without its role.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<Cow<'_, str>> = Vec::new();
        lines.extend(self.reasoning.iter().map(|text| Cow::Owned(format!("(reasoning) {text}"))));
        lines.extend(
            self.texts.iter().filter(|text| !text.is_empty()).map(|text| Cow::Borrowed(text.as_str())),
        );
        for call in &self.calls {
            lines.push(Cow::Owned(match &call.arguments {
                Some(arguments) => format!("→ {} {arguments}", call.name),
                None => format!("→ {}", call.name),
            }));
        }
        // A model's own message has a result only beside the call that it follows.
        let mark = if self.is_answer() { "← " } else { "" };
        lines.extend(self.results.iter().map(|result| Cow::Owned(format!("{mark}{result}"))));
        lines.join("\n")
    }

    /// The text of the message without what a program put before it: context, instructions or reminders within a tag
    /// of their own.
    pub(super) fn asked(&self) -> String {
        let own: Vec<&str> = self
            .texts
            .iter()
            .map(String::as_str)
            .filter(|text| !is_tagged(text) && !text.is_empty())
            .collect();
        if own.is_empty() { self.text() } else { own.join("\n") }
    }

    /// Returns true if all of its texts are within tags of their own.
    fn is_context(&self) -> bool {
        !self.texts.is_empty() && self.texts.iter().all(|text| is_tagged(text))
    }

    /// The reason for its tool calls: the reasoning and the texts beside them.
    pub(super) fn rationale(&self) -> Option<String> {
        let texts: Vec<&str> = self
            .reasoning
            .iter()
            .chain(&self.texts)
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
            .collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }
}

/// Returns true if a text is one element with a tag: `<environment_context>…</environment_context>`. Coding agents put
/// context before the question in this form.
fn is_tagged(text: &str) -> bool {
    let text = text.trim();
    let Some((name, rest)) = text.strip_prefix('<').and_then(|text| text.split_once('>')) else {
        return false;
    };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    is_name
        && rest
            .strip_suffix('>')
            .and_then(|rest| rest.strip_suffix(name))
            .is_some_and(|rest| rest.ends_with("</"))
}

fn only_member<'m, 'n>(node: &'m Node<'n>) -> Option<(&'m str, &'m Node<'n>)> {
    match node {
        Node::Object(members) => match members.as_slice() {
            [(name, value)] => Some((name, value)),
            _ => None,
        },
        _ => None,
    }
}

/// A text as it is, anything else as JSON.
pub(super) fn shown(node: &Node<'_>) -> String {
    node.text().map_or_else(|| node.to_json(), str::to_owned)
}

/// A node with all that is in it.
fn whole(node: &Node<'_>, used: &mut Used) -> String {
    used.mark(node);
    shown(node)
}

/// The text of a part that has one.
fn text_part(part: &Node<'_>, used: &mut Used) -> Option<String> {
    let text = used.text(part, &["text"])?;
    used.text(part, &["type"]);
    Some(text.to_owned())
}

/// The messages within a JSON value, searched for down to [`DEPTH_MAX`].
pub(super) fn messages(node: &Node<'_>, used: &mut Used) -> Vec<Message> {
    let mut found = Vec::new();
    find(node, 0, &mut found, used);
    found
}

fn find(node: &Node<'_>, depth: usize, found: &mut Vec<Message>, used: &mut Used) {
    if depth > DEPTH_MAX {
        return;
    }
    match node {
        Node::List(items) => items.iter().for_each(|item| find(item, depth + 1, found, used)),
        Node::Object(_) => {
            let mut own = used.fresh();
            // A message is not searched any further: its parts may look like messages.
            if let Some(message) = Message::read(node, &mut own) {
                // One without content is in no text: all of it is the rest.
                if !message.is_empty() {
                    found.push(message);
                    used.merge(own);
                }
            } else {
                if let Some(inner) = AROUND.iter().find_map(|name| {
                    node.get(name).filter(|inner| matches!(inner, Node::List(_) | Node::Object(_)))
                }) {
                    find(inner, depth + 1, found, used);
                }
            }
        }
        _ => {}
    }
}

/// Messages as one text; each with its role if there are several.
pub(super) fn text(messages: &[Message]) -> Option<String> {
    match messages {
        [] => None,
        [message] => Some(message.text()),
        messages => {
            let texts: Vec<String> = messages
                .iter()
                .map(|message| match &message.role {
                    Some(role) => format!("{role}: {}", message.text()),
                    None => message.text(),
                })
                .collect();
            Some(texts.join("\n\n"))
        }
    }
    .filter(|text| !text.is_empty())
}

/// Leaves out the pieces of a streamed answer if the whole answer follows them.
pub(super) fn without_pieces(mut messages: Vec<Message>) -> Vec<Message> {
    let Some((whole, pieces)) = messages.split_last() else { return messages };
    let is_text = |message: &Message| message.calls.is_empty() && message.results.is_empty();
    let streamed: String = pieces.iter().flat_map(|piece| &piece.texts).map(String::as_str).collect();
    let is_streamed = pieces.len() > 1 && messages.iter().all(is_text) && streamed == whole.texts.concat();
    if is_streamed {
        messages.drain(..messages.len().saturating_sub(1));
    }
    messages
}

/// The outcome of a transcript: its last message. If all messages are answers, all of them are the outcome.
pub(super) fn outcome(messages: &[Message]) -> &[Message] {
    match messages.iter().rposition(|message| !message.is_answer()) {
        Some(_) => messages.last().map_or(&[], std::slice::from_ref),
        None => messages,
    }
}

/// The question of a conversation: the first message of a user that is more than context, or else the first that is
/// neither an instruction nor an answer.
pub(super) fn question(messages: &[Message]) -> Option<String> {
    let is_user = |message: &&Message| message.role.as_deref() == Some("user");
    let is_other = |message: &&Message| {
        !message.is_answer() && !matches!(message.role.as_deref(), Some("system" | "developer" | "tool"))
    };
    let found = messages
        .iter()
        .find(|message| is_user(message) && !message.is_context())
        .or_else(|| messages.iter().find(is_user))
        .or_else(|| messages.iter().find(is_other))?;
    Some(found.asked()).filter(|text| !text.is_empty())
}

/// The answer at the end of a conversation: the text of the last answer, without reasoning and calls.
pub(super) fn answer(messages: &[Message]) -> Option<String> {
    let last = messages.last().filter(|message| message.role.is_none() || message.is_answer())?;
    Some(last.texts.join("\n")).filter(|text| !text.is_empty())
}

/// The text of an object with no other content, as tools have their arguments, frameworks their answers, and
/// decorators of functions their arguments.
pub(super) fn only_text<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    const NAMES: [&str; 7] = ["input", "output", "question", "query", "text", "result", "prompt"];
    match node {
        Node::Object(members) => match members.as_slice() {
            [(name, Node::Text(text))] if NAMES.contains(&name.as_ref()) => Some(text),
            [(args, Node::List(positional)), (kwargs, Node::Object(named))]
                if args == "args" && kwargs == "kwargs" && named.is_empty() =>
            {
                match positional.as_slice() {
                    [Node::Text(text)] => Some(text),
                    _ => None,
                }
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::used::Side;
    use super::*;

    fn read(text: &str) -> Vec<Message> {
        messages(&Node::parse(text).unwrap(), &mut Used::new(Side::Output))
    }

    fn call() -> ToolCall {
        ToolCall {
            id: Some("call_1".into()),
            name: "get_weather".into(),
            arguments: Some(r#"{"city":"Lisbon"}"#.into()),
        }
    }

    #[test]
    fn every_shape_of_a_question_reads_the_same() {
        let shapes = [
            r#"[{"role":"user","parts":[{"type":"text","content":"Rain?"}]}]"#,
            r#"{"model":"m","messages":[{"role":"user","content":"Rain?"}]}"#,
            r#"{"messages":[{"type":"human","data":{"content":"Rain?","type":"human","id":"x"}}]}"#,
            r#"{"messages":[[{"lc":1,"type":"constructor","id":["langchain","schema","messages","HumanMessage"],"kwargs":{"content":"Rain?","type":"human"}}]]}"#,
            r#"{"inputs":{"messages":[{"role":"user","content":[{"type":"text","text":"Rain?"}]}]},"tags":[]}"#,
            r#"[{"message":{"role":"user","contents":[{"message_content":{"type":"text","text":"Rain?"}}]}}]"#,
        ];
        for shape in shapes {
            let messages = read(shape);
            assert_eq!(text(&messages).as_deref(), Some("Rain?"), "{shape}");
            assert_eq!(messages[0].role.as_deref(), Some("user"), "{shape}");
        }
    }

    #[test]
    fn every_shape_of_a_call_reads_the_same() {
        let shapes = [
            r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"call_1","name":"get_weather","arguments":{"city":"Lisbon"}}]}]"#,
            r#"{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\"city\":\"Lisbon\"}"}}]}}]}"#,
            r#"[{"role":"assistant","tool_calls":[{"id":"call_1","name":"get_weather","arguments":"{\"city\":\"Lisbon\"}"}]}]"#,
            r#"[{"message":{"role":"assistant","tool_calls":[{"tool_call":{"id":"call_1","function":{"name":"get_weather","arguments":"{\"city\":\"Lisbon\"}"}}}]}}]"#,
            r#"[{"type":"ai","data":{"content":"","tool_calls":[{"name":"get_weather","args":{"city":"Lisbon"},"id":"call_1","type":"tool_call"}]}}]"#,
        ];
        for shape in shapes {
            let messages = read(shape);
            assert_eq!(messages[0].calls, [call()], "{shape}");
            assert_eq!(text(&messages).as_deref(), Some(r#"→ get_weather {"city":"Lisbon"}"#), "{shape}");
        }
    }

    #[test]
    fn several_messages_have_their_roles_and_a_transcript_ends_in_its_outcome() {
        let messages =
            read(r#"{"messages":[{"role":"user","content":"Rain?"},{"role":"assistant","content":"No."}]}"#);
        assert_eq!(text(&messages).as_deref(), Some("user: Rain?\n\nassistant: No."));
        assert_eq!(text(outcome(&messages)).as_deref(), Some("No."));
    }

    #[test]
    fn data_without_messages_has_none() {
        for text in
            [r#"{"city":"Lisbon"}"#, "[1,2]", r#"{"output":{"rows":[1]}}"#, "7", r#"{"input":{"input":{}}}"#]
        {
            assert_eq!(read(text), [], "{text}");
        }
    }

    #[test]
    fn what_stands_beside_a_call_is_its_reason() {
        let messages = read(
            r#"[{"role":"assistant","parts":[{"type":"reasoning","content":"No city yet."},{"type":"text","content":"I look."},{"type":"tool_call","name":"f"}]}]"#,
        );
        assert_eq!(messages[0].rationale().as_deref(), Some("No city yet.\nI look."));
        assert_eq!(messages[0].text(), "(reasoning) No city yet.\nI look.\n→ f");
    }
}
