//! Sessions of Claude Code: a file of lines for each, `~/.claude/projects/<folder>/<session id>.jsonl`.
//!
//! | in the file | as events |
//! | --- | --- |
//! | the lines of a `sessionId` | a session `claude-code/<session id>`, which ends with its last line |
//! | the `assistant` lines of one `message.id` | a step of kind llm |
//! | a `tool_use` block | a decision of type tool and a step of kind tool, both with the id of the block |
//! | a `tool_result` block | the end of that step |
//! | the lines of a sidechain | a step of kind agent, `agent/<agent id>`, and the steps within it |
//! | all other lines, and texts of users | notes |
//!
//! The format has no specification. Its lines are as these public sources have them: the schemas of claude-code-viewer
//! (`src/lib/conversation-schema`, August 2026), the models of claude-code-log 0.2.7, and the notes of ccusage (June
//! 2026). The issues 87303 of anthropics/claude-code and 888 of ccusage/ccusage say how usage repeats: each line of an
//! answer has it, and that of the last line counts.
//!
//! Ids of events are made of the session's id and a line's `uuid`. A line without one is named by its distance from the
//! last line that has one. A session can go on at any time, so its events have nothing that later lines may change. An
//! event that depends on later lines is also named by the last of these, so that another import of a longer file adds a
//! new event, which replaces the older one in the read tables.
//!
//! A file of `subagents/` has lines of sidechains alone. It adds steps to the session that its lines name, which begins
//! and ends in the file of that session.

mod line;
mod session;

#[cfg(test)]
mod tests;

use std::io::Read;

use self::line::{FORMAT, Line, Names, note};
use self::session::Session;
use super::Imported;
use super::emit::{Emitter, Sink};
use super::error::ImportError;
use super::fields::Fields;
use super::json_lines::{BadLines, for_each_line};

/// Bytes of lines that wait for the first line with a session's id.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Reads the file of a session of Claude Code, line by line.
///
/// # Errors
/// If `bad` returns one for a line that is malformed or cannot be recorded, the file is empty or cannot be read, or the
/// sink refuses a draft. Drafts from before the error were handed over.
pub fn claude_code(
    reader: impl Read,
    bad: &mut BadLines<'_>,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let mut emitter = Emitter::new(sink);
    let mut file = Reading::default();
    for_each_line(reader, "a session of Claude Code, one JSON object a line", bad, |fields| {
        file.take(fields, &mut emitter)
    })?;
    match file.end(&mut emitter) {
        Err(error) if error.is_of_one_record() => bad(error)?,
        done => done?,
    }
    Ok(emitter.imported())
}

/// A file, as far as it was read.
#[derive(Default)]
struct Reading {
    session: Option<Session>,
    /// Lines from before the first that names a session.
    waiting: Vec<Line>,
    waiting_bytes: usize,
    names: Names,
}

impl Reading {
    fn take(&mut self, fields: Fields, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let bytes = fields.raw().as_str().len();
        let line = self.names.line(fields)?;
        let mut before = Ok(());
        match &line.session {
            Some(id) if self.session.as_ref().is_none_or(|session| !session.is(id)) => {
                let begun = Session::new(&line, id)?;
                // An error of the last session must not take this line with it.
                before = self.session.replace(begun).map_or(Ok(()), |last| last.end(emitter));
            }
            None if self.session.is_none() => {
                self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
                if self.waiting_bytes > WAITING_BYTES_MAX {
                    return note_alone(line, emitter);
                }
                self.waiting.push(line);
                return Ok(());
            }
            _ => {}
        }
        let Some(session) = &mut self.session else { return before };
        for line in std::mem::take(&mut self.waiting) {
            before = before.and(session.take(line, emitter));
        }
        before.and(session.take(line, emitter))
    }

    fn end(self, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
        let mut done = Ok(());
        for line in self.waiting {
            done = done.and(note_alone(line, emitter));
        }
        done.and(self.session.map_or(Ok(()), |session| session.end(emitter)))
    }
}

/// Emits a line that names no session as a note without one. Files with titles of other sessions have such lines.
fn note_alone(line: Line, emitter: &mut Emitter<'_>) -> Result<(), ImportError> {
    let Line { place, key, kind, at, fields, .. } = line;
    let name = format!("{FORMAT}/{key}/{kind}");
    let note = note(&place, &kind, fields)?;
    emitter.emit_alone(&place, &name, at, note)
}
