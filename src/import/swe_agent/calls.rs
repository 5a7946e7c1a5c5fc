//! The calls of tools in the history of a run.

use std::collections::VecDeque;

use super::super::error::ImportError;
use super::super::fields::Fields;

/// Bytes of calls that are kept until their steps are read. A step beyond it is named by its command.
const CALLS_BYTES_MAX: usize = 4 << 20;

/// Most calls that are looked through for that of a step: some answers made no step.
const LOOKED_AT_MAX: usize = 16;

/// A call of a tool.
pub(super) struct Call {
    /// The command that SWE-agent made of it.
    action: String,
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) arguments: Option<String>,
}

/// The calls of a history, in their order.
#[derive(Default)]
pub(super) struct Calls {
    calls: VecDeque<Call>,
    bytes: usize,
}

impl Calls {
    /// Takes a message of the history.
    pub(super) fn take(&mut self, mut message: Fields) -> Result<(), ImportError> {
        let is_demo = message.see("is_demo").is_some_and(|json| json.as_str() == "true");
        if is_demo || message.take::<String>("role")?.as_deref() != Some("assistant") {
            return Ok(());
        }
        let Some(action) = message.take::<String>("action")? else { return Ok(()) };
        // SWE-agent refuses an answer with several calls.
        let Some(mut call) = message.objects("tool_calls")?.unwrap_or_default().into_iter().next() else {
            return Ok(());
        };
        let Some(mut function) = call.object("function")? else { return Ok(()) };
        let call = Call {
            action,
            id: call.take("id")?,
            name: function.require("name")?,
            arguments: function.text("arguments"),
        };
        let arguments = call.arguments.as_ref().map_or(0, String::len);
        self.bytes = self.bytes.saturating_add(call.action.len()).saturating_add(arguments);
        if self.bytes <= CALLS_BYTES_MAX {
            self.calls.push_back(call);
        }
        Ok(())
    }

    /// The next call with this command. Those before it belong to answers without a step.
    pub(super) fn next(&mut self, action: &str) -> Option<Call> {
        let found = self.calls.iter().take(LOOKED_AT_MAX).position(|call| call.action == action)?;
        self.calls.drain(..found);
        self.calls.pop_front()
    }
}
