//! Checks of licences for redactions, by the rows that they name.

use rusqlite::{Connection, OptionalExtension};

use crate::event::is_reserved;
use crate::verify::error::{VerifyError, is_damage};
use crate::verify::row;

/// The problem of a licence, if it has one.
pub(super) enum LicenceProblem {
    None,
    /// A payload that it names is still there. The licence is valid.
    StillThere(String),
    /// The licence names an event that no licence can name, and it licenses nothing.
    Invalid(String),
}

pub(super) fn problem(
    connection: &Connection,
    licence: i64,
    seqs: &[u64],
) -> Result<LicenceProblem, VerifyError> {
    let mut still_there = None;
    for &seq in seqs {
        // Only earlier events: an event cannot erase itself, nor an event that was not yet recorded.
        let Some(number) = i64::try_from(seq).ok().filter(|number| (1..licence).contains(number)) else {
            let problem = format!("it redacts event {seq}, which is not an earlier event");
            return Ok(LicenceProblem::Invalid(problem));
        };
        let named = connection
            .prepare_cached("SELECT event_id, entry, payload IS NOT NULL FROM log WHERE seq = ?1")?
            .query_row([number], |row| {
                let (event_id, entry): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
                Ok((row::own_entry(number, &event_id, &entry), row.get(2)?))
            })
            .optional();
        match named {
            // A row that is missing, or cannot be read, has a failure of its own.
            Ok(None) => {}
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error.into()),
            Ok(Some((entry, is_there))) => {
                // Returned at once: one event that no licence can name makes the whole licence invalid,
                // whatever else it names.
                if entry.is_some_and(|entry| is_reserved(entry.kind)) {
                    let problem = format!("it redacts event {seq}, which can never be redacted");
                    return Ok(LicenceProblem::Invalid(problem));
                }
                if is_there {
                    still_there.get_or_insert(seq);
                }
            }
        }
    }
    Ok(match still_there {
        Some(seq) => {
            LicenceProblem::StillThere(format!("it redacts event {seq}, whose payload is still there"))
        }
        None => LicenceProblem::None,
    })
}
