//! Calls in the tables of llm before 0.32: each is a row of `responses`, with the texts in its columns.
//!
//! A response has the calls of tools that it made. Their results belong to the response after it, which was given them.

use std::collections::HashMap;

use super::super::error::ImportError;
use super::call::{Attachment, Call, ToolCall, ToolResult, keep, keep_text};
use super::database::{Cells, Database};
use super::store::{Fragment, FragmentAbout};
use crate::Attributes;

/// Keys of rows by the response that they belong to. The log has no index for that, and a search through these tables
/// for each response would take a time that grows with the square of their number.
type Keys = HashMap<String, Vec<i64>>;

pub(super) struct Responses<'a> {
    database: &'a Database,
    tools: Keys,
    tool_calls: Keys,
    tool_results: Keys,
}

impl<'a> Responses<'a> {
    pub(super) fn of(database: &'a Database) -> Result<Responses<'a>, ImportError> {
        Ok(Responses {
            database,
            // Each table is read once, before the first response.
            tools: keys(database, "tool_responses", "tool_id")?,
            tool_calls: keys(database, "tool_calls", "id")?,
            tool_results: keys(database, "tool_results", "id")?,
        })
    }

    /// Reads the response with this id.
    pub(super) fn read(&self, id: &str) -> Result<Option<Call>, ImportError> {
        const COLUMNS: &[&str] = &[
            "model",
            "resolved_model",
            "prompt",
            "system",
            "prompt_json",
            "options_json",
            "schema_id",
            "response",
            "reasoning",
            "response_json",
            "duration_ms",
            "datetime_utc",
            "input_tokens",
            "output_tokens",
            "token_details",
        ];
        let columns = self.database.columns("responses", COLUMNS);
        let sql = format!("SELECT {columns} FROM responses WHERE id = ?");
        let found = self
            .database
            .list("responses", &sql, &[&id], |row| self.call(id, &Cells::of(row, "responses", id)))?;
        Ok(found.into_iter().next())
    }

    fn call(&self, id: &str, cells: &Cells<'_>) -> Result<Call, ImportError> {
        // Fragments of both prompts in one list, each with its kind.
        let mut abouts = Vec::new();
        let prompt_fragments = self.fragments(cells, id, "prompt_fragments", "prompt", &mut abouts)?;
        let system_fragments = self.fragments(cells, id, "system_fragments", "system", &mut abouts)?;
        let (started, ended) = cells.period()?;

        let mut given = Attributes::new();
        keep_text(&mut given, "system", system(system_fragments, cells.text("system")?));
        keep(&mut given, "options", cells.json("options_json")?.filter(|options| options.as_str() != "{}"));
        keep(&mut given, "schema", self.database.schema(cells.text("schema_id")?)?);
        keep(&mut given, "tools", self.database.tools(cells, of_response(&self.tools, id))?);
        if !abouts.is_empty() {
            keep(&mut given, "fragments", Some(cells.json_of("fragments", &abouts)?));
        }
        keep(&mut given, "prompt_json", cells.json("prompt_json")?);

        let mut returned = Attributes::new();
        keep_text(&mut returned, "resolved_model", cells.text("resolved_model")?);
        keep_text(&mut returned, "reasoning", cells.text("reasoning")?);
        keep(&mut returned, "token_details", cells.json("token_details")?);
        keep(&mut returned, "response_json", cells.json("response_json")?);

        Ok(Call {
            place: cells.place.clone(),
            id: id.to_owned(),
            model: cells.text("model")?,
            started,
            ended,
            input: prompt(prompt_fragments, cells.text("prompt")?),
            output: cells.get("response")?,
            tokens_input: cells.count("input_tokens")?,
            tokens_output: cells.count("output_tokens")?,
            given,
            returned,
            attachments_given: self.attachments("prompt_attachments", "response_id", &id)?,
            // This form of the log has none.
            attachments_returned: Vec::new(),
            // Results of calls that an earlier response made.
            results_given: self.tool_results(id)?,
            tool_calls: self.tool_calls(id)?,
            results_returned: Vec::new(),
        })
    }

    fn fragments(
        &self,
        cells: &Cells<'_>,
        id: &str,
        table: &'static str,
        kind: &'static str,
        abouts: &mut Vec<FragmentAbout>,
    ) -> Result<Vec<String>, ImportError> {
        if !self.database.has(table) {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT fragment_id FROM {table} WHERE response_id = ? ORDER BY \"order\"");
        let ids: Vec<i64> = self.database.list(table, &sql, &[&id], |row| {
            let link = Cells::of(row, table, id);
            link.get("fragment_id")?.ok_or_else(|| link.error("fragment_id", "is missing"))
        })?;
        let mut contents = Vec::new();
        for fragment_id in ids {
            let Fragment { content, about } = self.database.fragment(cells, table, fragment_id, kind)?;
            contents.push(content);
            abouts.push(about);
        }
        Ok(contents)
    }

    fn attachments(
        &self,
        table: &'static str,
        owner: &str,
        id: &dyn rusqlite::ToSql,
    ) -> Result<Vec<Attachment>, ImportError> {
        if !self.database.has(table) {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT attachment_id FROM {table} WHERE {owner} = ? ORDER BY \"order\"");
        let ids: Vec<Option<String>> =
            self.database.list(table, &sql, &[id], |row| Cells::of(row, table, "").text("attachment_id"))?;
        ids.into_iter().flatten().map(|id| self.database.attachment(id)).collect()
    }

    fn tool_calls(&self, id: &str) -> Result<Vec<ToolCall>, ImportError> {
        let columns = self.database.columns("tool_calls", &["name", "arguments", "tool_call_id"]);
        let sql = format!("SELECT {columns} FROM tool_calls WHERE id = ?");
        let mut calls = Vec::new();
        // The keys are sorted, which is the order in which llm logged the calls.
        for key in of_response(&self.tool_calls, id) {
            calls.extend(self.database.list("tool_calls", &sql, &[key], |row| {
                let cells = Cells::of(row, "tool_calls", key.to_string());
                Ok(ToolCall {
                    name: cells.text("name")?,
                    arguments: cells.get("arguments")?,
                    tool_call_id: cells.text("tool_call_id")?,
                    attributes: Attributes::new(),
                })
            })?);
        }
        Ok(calls)
    }

    fn tool_results(&self, id: &str) -> Result<Vec<ToolResult>, ImportError> {
        const COLUMNS: &[&str] = &["name", "output", "tool_call_id", "exception", "instance_id"];
        let columns = self.database.columns("tool_results", COLUMNS);
        let sql = format!("SELECT {columns} FROM tool_results WHERE id = ?");
        let mut results = Vec::new();
        for key in of_response(&self.tool_results, id) {
            results.extend(self.database.list("tool_results", &sql, &[key], |row| {
                let cells = Cells::of(row, "tool_results", key.to_string());
                let mut attributes = Attributes::new();
                let instance = self.database.tool_instance(&cells, cells.get("instance_id")?)?;
                keep(&mut attributes, "instance", instance);
                Ok(ToolResult {
                    name: cells.text("name")?,
                    output: cells.get("output")?,
                    exception: cells.text("exception")?,
                    tool_call_id: cells.text("tool_call_id")?,
                    attributes,
                    attachments: self.attachments("tool_results_attachments", "tool_result_id", key)?,
                })
            })?);
        }
        Ok(results)
    }
}

fn keys(database: &Database, table: &'static str, key: &str) -> Result<Keys, ImportError> {
    let mut keys = Keys::new();
    if database.has(table) {
        let sql = format!("SELECT {key} AS key, response_id FROM {table} ORDER BY {key}");
        database.for_each(table, &sql, &[], |row| {
            let cells = Cells::of(row, table, "");
            // A row without a response belongs to no call.
            if let (Some(key), Some(response)) = (cells.get("key")?, cells.text("response_id")?) {
                keys.entry(response).or_default().push(key);
            }
            Ok(())
        })?;
    }
    Ok(keys)
}

fn of_response<'k>(keys: &'k Keys, id: &str) -> &'k [i64] {
    keys.get(id).map_or(&[], Vec::as_slice)
}

/// The prompt that llm made of fragments and prompt for the model.
fn prompt(mut fragments: Vec<String>, prompt: Option<String>) -> Option<String> {
    // Joined as llm joins them for the model.
    fragments.extend(prompt);
    if fragments.is_empty() { None } else { Some(fragments.join("\n")) }
}

/// The system prompt that llm made of its fragments and its text.
fn system(mut fragments: Vec<String>, system: Option<String>) -> Option<String> {
    if fragments.is_empty() {
        // Without fragments llm leaves the text as it is.
        return system;
    }
    fragments.extend(system);
    let parts: Vec<&str> = fragments.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    Some(parts.join("\n\n"))
}
