//! Licences for redactions, held against the rows that they name.

use rusqlite::{Connection, OptionalExtension};

use crate::event::is_reserved;
use crate::verify::error::{VerifyError, is_damage};
use crate::verify::row;

/// What is wrong with a licence.
pub(super) enum LicenceProblem {
    None,
    /// It is valid, and a payload that it names is still there.
    StillThere(String),
    /// It names what no licence can, and licenses nothing.
    Invalid(String),
}

pub(super) fn problem(
    connection: &Connection,
    licence: i64,
    seqs: &[u64],
) -> Result<LicenceProblem, VerifyError> {
    let mut still_there = None;
    for &seq in seqs {
        let Some(number) = i64::try_from(seq).ok().filter(|number| (1..licence).contains(number)) else {
            let problem = format!("it redacts event {seq}, which is not an event earlier than itself");
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
