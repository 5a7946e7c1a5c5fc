//! Calls in the tables of llm since 0.32: each is a row of `turns`, with the texts in a store of messages.
//!
//! A message names the one before it. A turn names the last message that it was given and the last one that it
//! returned. Everything between the two is the response; the messages of users and tools that lead up to the first are
//! its input. Conversations share messages.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::error::ImportError;
use super::call::{Attachment, Call, ToolCall, ToolResult, keep, keep_text};
use super::database::{Cells, Database};
use crate::{Attributes, Json};

/// Messages that were given or returned in a conversation so far, each with the system prompt above it.
pub(super) type Seen = HashMap<String, Option<Arc<str>>>;

/// A message of the store.
#[derive(Serialize)]
struct Message {
    #[serde(skip)]
    hash: String,
    #[serde(skip)]
    parent: Option<String>,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_metadata: Option<Json>,
    parts: Vec<Part>,
}

/// A part of a message.
#[derive(Clone, Serialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Everything else that the store has of the part.
    #[serde(flatten)]
    payload: Attributes,
}

/// A piece of a text: its own characters, or a fragment's.
#[derive(Deserialize)]
struct Piece {
    literal: Option<String>,
    fragment: Option<i64>,
}

impl Message {
    fn is_input(&self) -> bool {
        matches!(self.role.as_str(), "user" | "tool")
    }

    fn text(&self, kind: &str) -> Option<String> {
        let texts: Vec<&str> = self
            .parts
            .iter()
            .filter(|part| part.kind == kind)
            .filter_map(|part| part.text.as_deref())
            .collect();
        if texts.is_empty() { None } else { Some(texts.concat()) }
    }
}

/// The texts of some messages, with a blank line between two of them.
fn texts<'m>(messages: impl IntoIterator<Item = &'m Message>, kind: &str) -> Option<String> {
    let texts: Vec<String> = messages.into_iter().filter_map(|message| message.text(kind)).collect();
    if texts.is_empty() { None } else { Some(texts.join("\n\n")) }
}

impl Part {
    fn take_text(&mut self, name: &str) -> Option<String> {
        let json = self.payload.remove(name)?;
        Some(serde_json::from_str(json.as_str()).unwrap_or_else(|_| json.as_str().to_owned()))
    }
}

pub(super) struct Turns<'a> {
    database: &'a Database,
}

impl<'a> Turns<'a> {
    pub(super) fn of(database: &'a Database) -> Turns<'a> {
        Turns { database }
    }

    /// Reads the turn with this id.
    pub(super) fn read(&self, id: &str, seen: &mut Seen) -> Result<Option<Call>, ImportError> {
        const COLUMNS: &[&str] = &[
            "parent_message_hash",
            "tip_message_hash",
            "model",
            "resolved_model",
            "options_json",
            "schema_id",
            "input_tokens",
            "output_tokens",
            "token_details",
            "duration_ms",
            "datetime_utc",
            "response_json",
        ];
        let columns = self.database.columns("turns", COLUMNS);
        let sql = format!("SELECT {columns} FROM turns WHERE id = ?");
        let found = self
            .database
            .list("turns", &sql, &[&id], |row| self.call(id, &Cells::of(row, "turns", id), seen))?;
        Ok(found.into_iter().next())
    }

    fn call(&self, id: &str, cells: &Cells<'_>, seen: &mut Seen) -> Result<Call, ImportError> {
        let parent = cells.text("parent_message_hash")?;
        let inputs = self.inputs(cells, parent.clone(), seen)?;
        let mut outputs = self.outputs(cells, parent.as_deref(), cells.text("tip_message_hash")?)?;
        // Inputs come first: outputs find their system prompt through them.
        remember(seen, &inputs);
        remember(seen, &outputs);
        // The prompt above the last message that the turn was given.
        let system = parent.as_ref().and_then(|parent| seen.get(parent)).cloned().flatten();
        let (started, ended) = cells.period()?;

        let mut given = Attributes::new();
        keep_text(&mut given, "system", system.map(|system| system.to_string()));
        keep(&mut given, "options", cells.json("options_json")?.filter(|options| options.as_str() != "{}"));
        keep(&mut given, "schema", self.database.schema(cells.text("schema_id")?)?);
        keep(&mut given, "tools", self.tools(cells, id)?);
        keep(&mut given, "fragments", self.fragments(cells, id)?);

        // The turn's own input begins after the last message that neither a user nor a tool wrote.
        let own = inputs.iter().rposition(|message| !message.is_input()).map_or(0, |last| last + 1);
        let mut history = inputs;
        let mut inputs = history.split_off(own);
        // The system prompt at the root is recorded apart. All other messages before the input are recorded
        // elsewhere, or are in the older tables, and are part of what this call was given.
        let has_root = history.first().is_some_and(|first| first.parent.is_none() && first.role == "system");
        let history = history.get(usize::from(has_root)..).unwrap_or_default();
        if !history.is_empty() {
            keep(&mut given, "history", Some(cells.json_of("history", history)?));
        }
        let input = texts(inputs.iter().filter(|message| message.role == "user"), "text");
        let mut taken = Taken::default();
        self.take_parts(cells, id, &mut inputs, &mut taken)?;
        keep(&mut given, "part_details", taken.details(cells)?);
        let Taken { results: results_given, attachments: attachments_given, .. } = taken;

        let mut returned = Attributes::new();
        keep_text(&mut returned, "resolved_model", cells.text("resolved_model")?);
        keep_text(&mut returned, "reasoning", texts(&outputs, "reasoning"));
        keep(&mut returned, "token_details", cells.json("token_details")?);
        // Condensed by llm: references stand in for texts that the message store has.
        keep(&mut returned, "response_json", cells.json("response_json")?);
        let output = texts(&outputs, "text");
        let mut taken = Taken::default();
        self.take_parts(cells, id, &mut outputs, &mut taken)?;
        keep(&mut returned, "part_details", taken.details(cells)?);

        Ok(Call {
            place: cells.place.clone(),
            id: id.to_owned(),
            model: cells.text("model")?,
            started,
            ended,
            input,
            output,
            tokens_input: cells.count("input_tokens")?,
            tokens_output: cells.count("output_tokens")?,
            given,
            returned,
            attachments_given,
            attachments_returned: taken.attachments,
            results_given,
            tool_calls: taken.calls,
            results_returned: taken.results,
        })
    }

    /// The messages that a turn was given and that its conversation has not seen yet, oldest first. The turn's own
    /// input is always among them.
    fn inputs(
        &self,
        cells: &Cells<'_>,
        last: Option<String>,
        seen: &Seen,
    ) -> Result<Vec<Message>, ImportError> {
        // The own input is the unbroken run of users' and tools' messages at the end, even if another turn had them
        // too.
        let mut own = true;
        self.walk(cells, "parent_message_hash", last, |message| {
            own = own && message.is_input();
            own || !seen.contains_key(&message.hash)
        })
    }

    /// The messages that a turn returned, oldest first.
    fn outputs(
        &self,
        cells: &Cells<'_>,
        parent: Option<&str>,
        tip: Option<String>,
    ) -> Result<Vec<Message>, ImportError> {
        // The walk back from the tip must meet the input; otherwise the response does not follow from it.
        let mut met = parent.is_none() || tip.is_none();
        let outputs = self.walk(cells, "tip_message_hash", tip, |message| {
            met = met || Some(message.hash.as_str()) == parent;
            Some(message.hash.as_str()) != parent
        })?;
        match met {
            true => Ok(outputs),
            false => {
                Err(cells
                    .error("tip_message_hash", "names a message that does not follow on the turn's input"))
            }
        }
    }

    /// Follows messages from the last to the first while `wanted` agrees, and returns them oldest first.
    fn walk(
        &self,
        cells: &Cells<'_>,
        field: &str,
        last: Option<String>,
        mut wanted: impl FnMut(&Message) -> bool,
    ) -> Result<Vec<Message>, ImportError> {
        let mut messages = Vec::new();
        let mut met = HashSet::new();
        let mut next = last;
        while let Some(hash) = next {
            // A chain that leads to itself would never end.
            if !met.insert(hash.clone()) {
                return Err(cells.error(field, format!("leads to message `{hash}`, which leads to itself")));
            }
            let Some(message) = self.message(&hash)? else {
                return Err(cells.error(field, format!("leads to message `{hash}`, which is not in the log")));
            };
            if !wanted(&message) {
                break;
            }
            next = message.parent.clone();
            messages.push(message);
        }
        messages.reverse();
        Ok(messages)
    }

    fn message(&self, hash: &str) -> Result<Option<Message>, ImportError> {
        let columns = self.database.columns("messages", &["parent_hash", "role", "provider_metadata"]);
        let sql = format!("SELECT {columns} FROM messages WHERE hash = ?");
        let found = self.database.list("messages", &sql, &[&hash], |row| {
            let cells = Cells::of(row, "messages", hash);
            Ok(Message {
                hash: hash.to_owned(),
                parent: cells.text("parent_hash")?,
                role: cells.get("role")?.unwrap_or_default(),
                provider_metadata: cells.json("provider_metadata")?,
                parts: self.parts(hash)?,
            })
        })?;
        Ok(found.into_iter().next())
    }

    fn parts(&self, hash: &str) -> Result<Vec<Part>, ImportError> {
        let columns = self.database.columns("parts", &["id", "type", "text", "payload"]);
        let sql = format!("SELECT {columns} FROM parts WHERE message_hash = ? ORDER BY position");
        self.database.list("parts", &sql, &[&hash], |row| {
            // Read first, so that other errors name the row.
            let id = Cells::of(row, "parts", "").get::<i64>("id")?.unwrap_or_default();
            let cells = Cells::of(row, "parts", id.to_string());
            let payload = match cells.text("payload")? {
                Some(payload) => serde_json::from_str(&payload)
                    .map_err(|error| cells.error("payload", format!("is not a JSON object: {error}")))?,
                None => Attributes::new(),
            };
            let mut part =
                Part { kind: cells.get("type")?.unwrap_or_default(), text: cells.get("text")?, payload };
            // A text with fragments in it is stored as references to them.
            if let Some(pieces) = part.payload.remove("text_ref") {
                part.text = Some(self.pieces(&cells, &pieces)?);
            } else if part.text.is_none() {
                // Some parts have their text in the payload.
                part.text = part.take_text("text");
            }
            Ok(part)
        })
    }

    fn pieces(&self, cells: &Cells<'_>, pieces: &Json) -> Result<String, ImportError> {
        let pieces: Vec<Piece> = serde_json::from_str(pieces.as_str())
            .map_err(|error| cells.error("payload.text_ref", error.to_string()))?;
        let mut text = String::new();
        for piece in pieces {
            text.push_str(piece.literal.as_deref().unwrap_or_default());
            if let Some(id) = piece.fragment {
                text.push_str(&self.database.fragment(cells, "payload.text_ref", id, "part")?.content);
            }
        }
        Ok(text)
    }

    fn tools(&self, cells: &Cells<'_>, id: &str) -> Result<Option<Json>, ImportError> {
        if !self.database.has("turn_tools") {
            return Ok(None);
        }
        let sql = "SELECT tool_id FROM turn_tools WHERE turn_id = ? ORDER BY tool_id";
        let ids: Vec<Option<i64>> = self
            .database
            .list("turn_tools", sql, &[&id], |row| Cells::of(row, "turn_tools", id).get("tool_id"))?;
        let ids: Vec<i64> = ids.into_iter().flatten().collect();
        self.database.tools(cells, &ids)
    }

    fn fragments(&self, cells: &Cells<'_>, id: &str) -> Result<Option<Json>, ImportError> {
        if !self.database.has("turn_fragments") {
            return Ok(None);
        }
        let sql = "SELECT fragment_id, kind FROM turn_fragments WHERE turn_id = ? ORDER BY kind, \"order\", fragment_id";
        let abouts = self.database.list("turn_fragments", sql, &[&id], |row| {
            let link = Cells::of(row, "turn_fragments", id);
            let kind = if link.text("kind")?.as_deref() == Some("system") { "system" } else { "prompt" };
            let fragment_id =
                link.get("fragment_id")?.ok_or_else(|| link.error("fragment_id", "is missing"))?;
            Ok(self.database.fragment(&link, "fragment_id", fragment_id, kind)?.about)
        })?;
        if abouts.is_empty() { Ok(None) } else { cells.json_of("fragments", &abouts).map(Some) }
    }

    /// Takes calls, results and attachments out of messages, with everything else that the store has of them.
    fn take_parts(
        &self,
        cells: &Cells<'_>,
        turn: &str,
        messages: &mut Vec<Message>,
        taken: &mut Taken,
    ) -> Result<(), ImportError> {
        for mut message in messages.drain(..) {
            if let Some(metadata) = message.provider_metadata.take() {
                taken.details.push(Detail {
                    role: message.role.clone(),
                    part: None,
                    provider_metadata: Some(metadata),
                });
            }
            for mut part in message.parts {
                match part.kind.as_str() {
                    "tool_call" => taken.calls.push(ToolCall {
                        name: part.take_text("name"),
                        arguments: part.take_text("arguments"),
                        tool_call_id: part.take_text("tool_call_id"),
                        attributes: part.payload,
                    }),
                    "tool_result" => {
                        let tool_call_id = part.take_text("tool_call_id");
                        let attachments = self.attachments(cells, &mut part, "attachments")?;
                        let instance = self.instance(cells, turn, tool_call_id.as_deref())?;
                        taken.results.push(ToolResult {
                            name: part.take_text("name"),
                            output: part.take_text("output"),
                            exception: part.take_text("exception"),
                            tool_call_id,
                            attributes: {
                                keep(&mut part.payload, "instance", instance);
                                part.payload
                            },
                            attachments,
                        });
                    }
                    _ => {
                        taken.attachments.extend(self.attachments(cells, &mut part, "attachment")?);
                        if !part.payload.is_empty() {
                            // Texts are in the step's input and output already.
                            let part = Part { text: None, ..part };
                            taken.details.push(Detail {
                                role: message.role.clone(),
                                part: Some(part),
                                provider_metadata: None,
                            });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a part's references to attachments: an object with `id`, or a list of such objects.
    fn attachments(
        &self,
        cells: &Cells<'_>,
        part: &mut Part,
        name: &str,
    ) -> Result<Vec<Attachment>, ImportError> {
        #[derive(Deserialize)]
        struct Reference {
            id: String,
        }

        #[derive(Deserialize)]
        #[serde(untagged)]
        enum References {
            One(Reference),
            Many(Vec<Reference>),
        }

        let Some(json) = part.payload.remove(name) else { return Ok(Vec::new()) };
        let references = match serde_json::from_str(json.as_str()) {
            Ok(References::One(reference)) => vec![reference],
            Ok(References::Many(references)) => references,
            Err(_) => return Err(cells.error(name, "an attachment of one of its messages has no `id`")),
        };
        references.into_iter().map(|reference| self.database.attachment(reference.id)).collect()
    }

    fn instance(
        &self,
        cells: &Cells<'_>,
        turn: &str,
        tool_call_id: Option<&str>,
    ) -> Result<Option<Json>, ImportError> {
        let Some(tool_call_id) = tool_call_id.filter(|_| self.database.has("tool_instantiations")) else {
            return Ok(None);
        };
        let columns = self.database.columns("tool_instantiations", &["instance_id"]);
        let sql = format!("SELECT {columns} FROM tool_instantiations WHERE turn_id = ? AND tool_call_id = ?");
        let found = self.database.list("tool_instantiations", &sql, &[&turn, &tool_call_id], |row| {
            Cells::of(row, "tool_instantiations", turn).get("instance_id")
        })?;
        self.database.tool_instance(cells, found.into_iter().next().flatten())
    }
}

/// Remembers messages of a chain, oldest first, with the system prompt above them.
fn remember(seen: &mut Seen, chain: &[Message]) {
    for message in chain {
        // The oldest message comes first, so a parent is remembered before its child.
        let system = match &message.parent {
            Some(parent) => seen.get(parent).cloned().flatten(),
            None if message.role == "system" => message.text("text").map(Arc::from),
            None => None,
        };
        seen.insert(message.hash.clone(), system);
    }
}

/// The parts that were taken out of messages.
#[derive(Default)]
struct Taken {
    calls: Vec<ToolCall>,
    results: Vec<ToolResult>,
    attachments: Vec<Attachment>,
    details: Vec<Detail>,
}

impl Taken {
    fn details(&self, cells: &Cells<'_>) -> Result<Option<Json>, ImportError> {
        if self.details.is_empty() {
            Ok(None)
        } else {
            cells.json_of("part_details", &self.details).map(Some)
        }
    }
}

/// Everything that the store has of a message or a part beside its text.
#[derive(Serialize)]
struct Detail {
    role: String,
    #[serde(flatten)]
    part: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_metadata: Option<Json>,
}
