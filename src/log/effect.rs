//! Effects of an event on the tables beside `log`: each is written here, and nowhere else.
//!
//! [`Effect::apply`] is called once for each event that was appended, in its transaction. An event that the log had
//! already has no effect again: its first sending had it.
//!
//! | event | table | effect | why in the same transaction |
//! | --- | --- | --- | --- |
//! | `payload.redacted` | `redactions` | a row for each event that it names | the trigger on `log` erases only what is named here, and verification reports a row without its event, or an event without its rows |
//! | | `log` | the payloads of those events become NULL | nobody may read that a payload was erased and still find it; a payload that is missing without a licence is damage |
//! | `projection.skipped` | `projection_skips` | the projection, its version, and the event to skip | the projection may go on only where the log says who decided so; verification reports one without the other |
//! | | `projections` | the projection of that version is no longer stopped, if it stopped at that event | with the row above it does not stop there again, and without it it would |
//! | `apikey.created`, `apikey.revoked` | `api_key_events` | a row with the place of the event itself | servers find by it what became of keys: a revocation that is acknowledged must not be missing there |
//! | every other kind | | none | |
//!
//! Verification (`verify::beside`) derives the rows of the three tables from the log and compares them. The read tables
//! are no such effect: they are folded from committed events, in transactions of their own (`projection`).

use rusqlite::{Connection, params};

use crate::event::Seq;

/// What goes with an event into its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// The payloads of these events are erased. The writer makes sure first that they may be.
    Redact(Vec<Seq>),
    /// This projection goes on without this event.
    Skip { projection: &'static str, version: u32, seq: Seq },
    /// It is listed among those that say what became of API keys, and creates one with this name. The writer makes
    /// sure first that no active key has it.
    ApiKeyCreated { name: String },
    /// It is listed among those that say what became of API keys.
    ApiKeyRevoked,
}

impl Effect {
    /// Writes what the event at `own`, which was just appended, changes beside the log.
    pub(super) fn apply(&self, tx: &Connection, own: Seq) -> rusqlite::Result<()> {
        match self {
            Effect::None => Ok(()),
            Effect::Redact(seqs) => redact(tx, seqs),
            Effect::Skip { projection, version, seq } => skip(tx, projection, *version, *seq),
            Effect::ApiKeyCreated { .. } | Effect::ApiKeyRevoked => list_about_keys(tx, own),
        }
    }
}

fn redact(tx: &Connection, seqs: &[Seq]) -> rusqlite::Result<()> {
    // Else the bytes stay in pages that are free.
    tx.pragma_update(None, "secure_delete", "ON")?;
    for &seq in seqs {
        tx.prepare_cached("INSERT OR IGNORE INTO redactions (seq) VALUES (?1)")?.execute([seq.to_sql()])?;
        tx.prepare_cached("UPDATE log SET payload = NULL WHERE seq = ?1 AND payload IS NOT NULL")?
            .execute([seq.to_sql()])?;
    }
    Ok(())
}

fn skip(tx: &Connection, projection: &str, version: u32, seq: Seq) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR IGNORE INTO projection_skips (projection, version, seq) VALUES (?1, ?2, ?3)",
        params![projection, version, seq.to_sql()],
    )?;
    tx.execute(
        "UPDATE projections SET stopped_at = NULL, error = NULL
         WHERE name = ?1 AND version = ?2 AND stopped_at = ?3",
        params![projection, version, seq.to_sql()],
    )?;
    Ok(())
}

fn list_about_keys(tx: &Connection, own: Seq) -> rusqlite::Result<()> {
    tx.execute("INSERT OR IGNORE INTO api_key_events (seq) VALUES (?1)", [own.to_sql()])?;
    Ok(())
}
