//! Resolves a reference that a user typed to the session, or sessions, that it means.

use rusqlite::{Connection, OptionalExtension};

/// Most candidates that are named if a beginning fits several.
const CANDIDATES_MAX: usize = 10;

/// The meaning of a reference to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// The session with this id.
    Session(String),
    /// The sessions of a conversation, oldest first.
    Conversation(Vec<String>),
    /// The ids of several sessions begin with it; these are some of them.
    Ambiguous(Vec<String>),
    /// No session.
    Nothing,
}

/// Looks for a session with this id, else for a conversation with it, else for the one session whose id begins with
/// it.
pub(crate) fn find(connection: &Connection, reference: &str) -> rusqlite::Result<Found> {
    let exact: Option<String> = connection
        .prepare_cached("SELECT id FROM sessions WHERE id = ?1")?
        .query_row([reference], |row| row.get(0))
        .optional()?;
    if let Some(id) = exact {
        return Ok(Found::Session(id));
    }
    let conversation: Vec<String> = connection
        .prepare_cached("SELECT id FROM sessions WHERE conversation_id = ?1 ORDER BY first_seq")?
        .query_map([reference], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if !conversation.is_empty() {
        return Ok(Found::Conversation(conversation));
    }
    // The empty text is the beginning of every id.
    if reference.is_empty() {
        return Ok(Found::Nothing);
    }
    // Ids with this beginning stand together in the index, from the beginning itself on.
    let mut statement = connection.prepare_cached("SELECT id FROM sessions WHERE id >= ?1 ORDER BY id")?;
    let mut rows = statement.query([reference])?;
    let mut candidates: Vec<String> = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        if !id.starts_with(reference) || candidates.len() == CANDIDATES_MAX {
            break;
        }
        candidates.push(id);
    }
    Ok(match candidates.as_slice() {
        [] => Found::Nothing,
        [only] => Found::Session(only.clone()),
        _ => Found::Ambiguous(candidates),
    })
}
