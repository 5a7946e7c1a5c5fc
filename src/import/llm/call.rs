//! A call of a model, which both forms of the log lead to.

use serde::Serialize;

use super::super::error::Location;
use crate::{Attributes, Json, Timestamp};

/// One call of a model.
#[derive(Debug)]
pub(super) struct Call {
    /// Its row.
    pub(super) place: Location,
    /// Its primary key, which is also the id of its step.
    pub(super) id: String,
    pub(super) model: Option<String>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    pub(super) tokens_input: Option<u64>,
    pub(super) tokens_output: Option<u64>,
    /// Attributes of the step's beginning, and of its end.
    pub(super) given: Attributes,
    pub(super) returned: Attributes,
    pub(super) attachments_given: Vec<Attachment>,
    pub(super) attachments_returned: Vec<Attachment>,
    /// Results of tools that this call was given. They end calls that an earlier response made.
    pub(super) results_given: Vec<ToolResult>,
    /// The calls of tools that this response made.
    pub(super) tool_calls: Vec<ToolCall>,
    /// Results of tools that the model's provider ran within this response.
    pub(super) results_returned: Vec<ToolResult>,
}

/// A call of a tool, as the model requested it.
#[derive(Debug)]
pub(super) struct ToolCall {
    pub(super) name: Option<String>,
    pub(super) arguments: Option<String>,
    pub(super) tool_call_id: Option<String>,
    pub(super) attributes: Attributes,
}

/// The result of a call of a tool. It is serialized if no call can be found for it.
#[derive(Debug, Serialize)]
pub(super) struct ToolResult {
    pub(super) name: Option<String>,
    pub(super) output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exception: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<String>,
    pub(super) attributes: Attributes,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) attachments: Vec<Attachment>,
}

/// A file that was given to a model or came from it.
///
/// The log has one row for each content, and stores the path and the media type of its last use there: another use
/// would change what an earlier import read. So a file is identified by its content, and the path is not kept.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Attachment {
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(skip)]
    pub(super) content: Option<AttachmentContent>,
}

/// The identity of an attachment's content that the log holds.
#[derive(Clone, Debug)]
pub(super) struct AttachmentContent {
    pub(super) digest: crate::Digest,
    pub(super) size: u64,
    pub(super) media_type: Option<String>,
}

/// Adds a value if there is one.
pub(super) fn keep(attributes: &mut Attributes, name: &str, value: Option<Json>) {
    if let Some(value) = value {
        attributes.insert(name.to_owned(), value);
    }
}

/// Adds a text if there is one.
pub(super) fn keep_text(attributes: &mut Attributes, name: &str, value: Option<String>) {
    keep(attributes, name, value.map(|text| Json::text(&text)));
}
