//! Sessions of Codex: a file of lines for each, `~/.codex/sessions/<year>/<month>/<day>/rollout-<time>-<id>.jsonl`.
//!
//! | in the file | as events |
//! | --- | --- |
//! | the first line, `session_meta` | a session `codex/<id>`, which ends with the last line |
//! | reasoning, messages and calls of one answer | a step of kind llm, `answer/<line>` |
//! | an item whose type ends in `_call` | a decision of type tool and a step of kind tool, both with its `call_id` |
//! | an item whose type ends in `_output` | the end of that step |
//! | all other lines, and messages of users | notes |
//!
//! The lines are as Codex itself declares them: `RolloutLine`, `SessionMeta` and `EventMsg` in
//! `codex-rs/protocol/src/protocol.rs`, `ResponseItem` in `models.rs`, and the events that it keeps in
//! `codex-rs/rollout/src/policy.rs`, as of 0.132 (May 2026). Up to September 2025 a line was the item itself, without
//! `payload` and without a time, after a first line of `id`, `timestamp`, `instructions` and `git`. The tests of
//! programs that read such files have samples: ccusage (June 2026) says which usage counts.
//!
//! Lines have no ids, so the number of a line names it: Codex only appends to its files. An answer has no id either. A
//! new one begins with the first item of a model after its usage, the output of a tool or a message of a user. The usage
//! of an answer is the `last_token_usage` of the next `token_count` whose total differs from the last one.
//!
//! As with Claude Code, an event that depends on later lines is also named by the last of these. So another import of a
//! longer file adds a new event, which replaces the older one in the read tables.

mod line;
mod output;
mod session;

#[cfg(test)]
mod tests;

use std::io::Read;

use self::line::{EXPECTED, Line};
use self::session::Session;
use super::Imported;
use super::emit::{Emitter, Sink};
use super::error::ImportError;
use super::json_lines::{BadLines, for_each_line};

/// Reads the file of a session of Codex, line by line.
///
/// # Errors
/// If the file does not begin with the session's metadata, `bad` returns an error for a line that is malformed or cannot
/// be recorded, the file is empty or cannot be read, or the sink refuses a draft. Drafts from before the error were
/// handed over.
pub fn codex(
    reader: impl Read,
    bad: &mut BadLines<'_>,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let mut emitter = Emitter::new(sink);
    let mut session: Option<Session> = None;
    for_each_line(reader, EXPECTED, bad, |fields| {
        let line = Line::of(fields)?;
        match &mut session {
            Some(session) => session.take(line, &mut emitter),
            None => {
                session = Some(Session::begin(line)?);
                Ok(())
            }
        }
    })?;
    match session.map_or(Ok(()), |session| session.end(&mut emitter)) {
        Err(error) if error.is_of_one_record() => bad(error)?,
        done => done?,
    }
    Ok(emitter.imported())
}
