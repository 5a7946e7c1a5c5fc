//! The log of the `llm` command-line tool (<https://llm.datasette.io>): a SQLite file.
//!
//! | in the log | as events |
//! | --- | --- |
//! | a conversation | a session `llm/<source>/<conversation id>`, which ends with its last response |
//! | a response | a step of kind llm, whose id is the response's |
//! | a call of a tool | a step of kind tool within it, ended by the result that the next response was given |
//! | an attachment | the digest of its content |
//!
//! The log has two forms. Up to 0.31 llm wrote a row of `responses` for each response; since 0.32 it writes a row of
//! `turns`, and leaves the older rows where they are. A conversation can have both. A response that is in both is read
//! as the turn, as llm itself does. Columns and tables that an older version lacks are absent. Versions before 0.5
//! wrote a table `log` or `logs`, which llm no longer reads, and neither does this importer.
//!
//! A conversation can be continued at any time, so its events have nothing that the log may change later: another
//! import adds only what is new. A conversation that went on in between has an end already, and ends again with its new
//! last response; of its ends the latest counts. Times are those of the responses; the log has none of tools.

mod call;
mod conversation;
mod database;
mod store;
mod responses;
mod turns;

#[cfg(test)]
mod tests;

use std::path::Path;

use self::conversation::Conversation;
use self::database::{Cells, Database};
use self::responses::Responses;
use self::turns::{Seen, Turns};
use super::emit::{Emitter, Sink};
use super::error::ImportError;
use super::sqlite_file::Stop;
use super::{Imported, Source};

/// Reads the log of the `llm` command-line tool, without changing it.
///
/// # Errors
/// If the file is not such a log (the error names the missing table or column), a row has an impossible value, `stop`
/// ends a query, or the sink refuses a draft. Drafts from before the error were handed over.
pub fn llm(path: &Path, source: &Source, stop: Stop, sink: &mut Sink<'_>) -> Result<Imported, ImportError> {
    let database = Database::open(path, stop)?;
    let responses = Responses::of(&database)?;
    let turns = Turns::of(&database);
    let mut emitter = Emitter::new(sink);
    let mut current: Option<(String, Conversation)> = None;
    let mut seen = Seen::new();
    // Only errors name it: the list of calls is read from both tables.
    let table = if database.has("turns") { "turns" } else { "responses" };
    database.for_each(table, &calls(&database), &[], |row| {
        let cells = Cells::of(row, table, "");
        let id: String = cells.text("id")?.ok_or_else(|| cells.error("id", "is missing"))?;
        let conversation = cells.text("conversation")?;
        let first = cells.get::<String>("first")?.unwrap_or_default();
        // Rows of one conversation follow one another, because they are sorted by its first id. Another first id is the
        // next conversation.
        let same = current.as_ref().is_some_and(|(current, _)| *current == first);
        if !same {
            // Messages are remembered for one conversation at a time, which bounds the memory.
            seen.clear();
        }
        let call = match cells.get("is_turn")? {
            Some(true) => turns.read(&id, &mut seen)?,
            _ => responses.read(&id)?,
        };
        let Some(call) = call else { return Ok(()) };
        match &mut current {
            Some((_, conversation)) if same => conversation.add(call, &mut emitter),
            _ => {
                if let Some((_, conversation)) = current.take() {
                    conversation.end(&mut emitter)?;
                }
                let forked_from = forked_from(&database, conversation.as_deref())?;
                let mut begun =
                    Conversation::begin(conversation.as_deref(), forked_from, &call, source, &mut emitter)?;
                begun.add(call, &mut emitter)?;
                current = Some((first, begun));
                Ok(())
            }
        }
    })?;
    if let Some((_, conversation)) = current {
        conversation.end(&mut emitter)?;
    }
    Ok(emitter.imported())
}

/// A statement for every call, conversation by conversation, and by time within each: ids begin with the time. Only ids
/// are sorted, so this takes little memory however long the texts are.
fn calls(database: &Database) -> String {
    let turns = "SELECT id, nullif(thread_id, '') AS conversation, 1 AS is_turn FROM turns";
    let responses = "SELECT id, nullif(conversation_id, '') AS conversation, 0 AS is_turn FROM responses";
    let calls = match (database.has("turns"), database.has("responses")) {
        // A response that is also a turn is left out. `NOT IN` is never true for a list with NULL in it.
        (true, true) => format!(
            "{turns} UNION ALL {responses} WHERE id IS NULL OR id NOT IN (SELECT id FROM turns WHERE id IS NOT NULL)"
        ),
        (true, false) => turns.to_owned(),
        (false, _) => responses.to_owned(),
    };
    format!(
        // A call without a conversation is a partition of its own; the prefix keeps its id apart from a conversation's.
        "SELECT id, conversation, is_turn, \
         min(id) OVER (PARTITION BY CASE WHEN conversation IS NULL THEN 'r' || id ELSE 'c' || conversation END) AS first \
         FROM ({calls}) ORDER BY first, id"
    )
}

/// The conversation from which this one was forked.
fn forked_from(database: &Database, conversation: Option<&str>) -> Result<Option<String>, ImportError> {
    let Some(id) = conversation.filter(|_| database.has("threads")) else { return Ok(None) };
    let columns = database.columns("threads", &["forked_from"]);
    let sql = format!("SELECT {columns} FROM threads WHERE id = ?");
    let found =
        database.list("threads", &sql, &[&id], |row| Cells::of(row, "threads", id).text("forked_from"))?;
    Ok(found.into_iter().next().flatten())
}
