//! Effects of an event on the tables beside `log`. Each effect is written here, and nowhere else.
//!
//! [`Effect::apply`] is called once for each event that was appended, in its transaction. An event that the log had
//! already has no effect again: its effect came with its first append.
//!
//! | event | table | effect | why in the same transaction |
//! | --- | --- | --- | --- |
//! | `payload.redacted` | `redactions` | a row for each event that it names | the trigger on `log` erases only events in this table, and verification reports a row without its event, or an event without its rows |
//! | | `log` | the payloads of those events become NULL | nobody may read that a payload was erased and still find it; a payload that is missing without a licence is damage |
//! | `projection.skipped` | `projection_skips` | the projection, its version, and the event to skip | the projection may go on only if the log records who decided so; verification reports one without the other |
//! | | `projections` | the projection of that version is no longer stopped, if it stopped at that event | with the row above the projection does not stop there again; without it, it would |
//! | `apikey.created`, `apikey.revoked` | `api_key_events` | a row with the position of the event itself | servers learn from it about keys: a revocation that is acknowledged must not be missing there |
//! | every other kind | | none | |
//!
//! Verification (`verify::beside`) derives the rows of the three tables from the log and compares them. The read
//! tables are not such an effect: they are folded from committed events, in transactions of their own (`projection`).

use rusqlite::{Connection, params};

use crate::event::Seq;

/// The change that an event brings with it into its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// No change.
    None,
    /// Erases the payloads of these events. The writer makes sure first that they may be erased.
    Redact(Vec<Seq>),
    /// Lets this projection go on without this event.
    Skip { projection: &'static str, version: u32, seq: Seq },
    /// Lists the event among those about API keys. The event creates a key with this name; the writer makes sure
    /// first that no active key has it.
    ApiKeyCreated { name: String },
    /// Lists the event among those about API keys.
    ApiKeyRevoked,
}

impl Effect {
    /// Writes the changes beside the log of the event at `own`, which was just appended.
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
    // Otherwise the erased bytes would stay in free pages.
    tx.pragma_update(None, "secure_delete", "ON")?;
    for &seq in seqs {
        // The licence comes first: without it the trigger on `log` refuses the erasure.
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
    // A projection that has stopped at another event meanwhile stays stopped.
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
