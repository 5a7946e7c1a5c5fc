//! Rows that both forms of the log refer to: fragments, attachments, schemas, tools.

use rusqlite::types::ValueRef;
use serde::Serialize;

use super::super::error::ImportError;
use super::call::{Attachment, AttachmentContent};
use super::database::{Cells, Database};
use crate::{Digest, Json};

/// A text that prompts are made of.
pub(super) struct Fragment {
    pub(super) content: String,
    pub(super) about: FragmentAbout,
}

/// Facts about a fragment, without its content, which is in the prompt.
#[derive(Serialize)]
pub(super) struct FragmentAbout {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

#[derive(Serialize)]
struct Tool {
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_schema: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
}

impl Database {
    /// The fragment with this id; `cells` is the row that names it, in `field`.
    pub(super) fn fragment(
        &self,
        cells: &Cells<'_>,
        field: &str,
        id: i64,
        kind: &'static str,
    ) -> Result<Fragment, ImportError> {
        let found = if self.has("fragments") {
            let columns = self.columns("fragments", &["hash", "content", "source"]);
            let sql = format!("SELECT {columns} FROM fragments WHERE id = ?");
            self.list("fragments", &sql, &[&id], |row| {
                let cells = Cells::of(row, "fragments", id.to_string());
                let about = FragmentAbout { kind, hash: cells.text("hash")?, source: cells.text("source")? };
                Ok(Fragment { content: cells.get("content")?.unwrap_or_default(), about })
            })?
        } else {
            Vec::new()
        };
        found
            .into_iter()
            .next()
            // Without this fragment the prompt would lack a part.
            .ok_or_else(|| cells.error(field, format!("names fragment {id}, which is not in the log")))
    }

    /// The attachment with this id, as far as the log has it.
    pub(super) fn attachment(&self, id: String) -> Result<Attachment, ImportError> {
        let mut attachment = Attachment { id, url: None, content: None };
        if !self.has("attachments") {
            return Ok(attachment);
        }
        let columns = self.columns("attachments", &["type", "path", "url", "content"]);
        let sql = format!("SELECT {columns} FROM attachments WHERE id = ?");
        let id = attachment.id.clone();
        self.for_each("attachments", &sql, &[&id], |row| {
            let cells = Cells::of(row, "attachments", id.as_str());
            let content = row
                .get_ref("content")
                .map_err(|source| ImportError::Storage { table: "attachments", source: source.into() })?;
            let bytes = match content {
                // Borrowed from the row: a large content is hashed without a copy.
                ValueRef::Blob(bytes) | ValueRef::Text(bytes) if !bytes.is_empty() => bytes,
                _ => {
                    // The id of an attachment without content and path is made of its URL, so the URL stays true.
                    if cells.text("path")?.is_none() {
                        attachment.url = cells.text("url")?;
                    }
                    return Ok(());
                }
            };
            attachment.content = Some(AttachmentContent {
                digest: Digest::of(bytes),
                // A length in memory always fits.
                size: bytes.len() as u64,
                media_type: cells.text("type")?,
            });
            Ok(())
        })?;
        Ok(attachment)
    }

    /// The JSON schema with this id.
    pub(super) fn schema(&self, id: Option<String>) -> Result<Option<Json>, ImportError> {
        let Some(id) = id.filter(|_| self.has("schemas")) else { return Ok(None) };
        let columns = self.columns("schemas", &["content"]);
        let sql = format!("SELECT {columns} FROM schemas WHERE id = ?");
        let found =
            self.list("schemas", &sql, &[&id], |row| Cells::of(row, "schemas", id.as_str()).json("content"))?;
        Ok(found.into_iter().next().flatten())
    }

    /// The tools with these ids, which were offered to the call in `cells`.
    pub(super) fn tools(&self, cells: &Cells<'_>, ids: &[i64]) -> Result<Option<Json>, ImportError> {
        if ids.is_empty() || !self.has("tools") {
            return Ok(None);
        }
        let columns = self.columns("tools", &["name", "description", "input_schema", "plugin"]);
        let sql = format!("SELECT {columns} FROM tools WHERE id = ?");
        let mut tools = Vec::new();
        for id in ids {
            tools.extend(self.list("tools", &sql, &[id], |row| {
                let cells = Cells::of(row, "tools", id.to_string());
                Ok(Tool {
                    name: cells.text("name")?,
                    description: cells.text("description")?,
                    input_schema: cells.json("input_schema")?,
                    plugin: cells.text("plugin")?,
                })
            })?);
        }
        cells.json_of("tools", &tools).map(Some)
    }

    /// The configured toolbox that served a call.
    pub(super) fn tool_instance(
        &self,
        cells: &Cells<'_>,
        id: Option<i64>,
    ) -> Result<Option<Json>, ImportError> {
        #[derive(Serialize)]
        struct Instance {
            name: Option<String>,
            plugin: Option<String>,
            arguments: Option<Json>,
        }

        let Some(id) = id.filter(|_| self.has("tool_instances")) else { return Ok(None) };
        let columns = self.columns("tool_instances", &["name", "plugin", "arguments"]);
        let sql = format!("SELECT {columns} FROM tool_instances WHERE id = ?");
        let found = self.list("tool_instances", &sql, &[&id], |row| {
            let cells = Cells::of(row, "tool_instances", id.to_string());
            Ok(Instance {
                name: cells.text("name")?,
                plugin: cells.text("plugin")?,
                arguments: cells.json("arguments")?,
            })
        })?;
        found.first().map(|instance| cells.json_of("instance", instance)).transpose()
    }
}
