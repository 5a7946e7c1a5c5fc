//! Where a walk begins that takes what a checkpoint covers for verified: at the event after it, if the
//! file's tree leads to the checkpoint's root and the last event that it covers stands in that tree.

use rusqlite::Connection;

use super::error::{VerifyError, is_damage};
use super::hashes::{Hashes, Readable as _};
use super::options::Given;
use super::report::{Check, Failure, Since, shortened};
use super::row::{self, Before, OwnedRow, Payloads};
use super::tree::{Tree, Wanted};
use super::trust::{Standing, Trust};
use super::walk::{Start, Walk};
use crate::chain;
use crate::event::{Digest, Event, EventId, Seq, Timestamp};
use crate::merkle::{compact_range_at, inclusion_proof, leaf_hash_of, verify_inclusion};

/// What no verification since a checkpoint looks at.
const NOT_LOOKED_AT: [&str; 4] = [
    "the events that the checkpoint covers, and their payloads: whether they are still there, or were erased without leave, is not known",
    "changes of keys before the checkpoint",
    "the read tables and the evidence tables",
    "the tables `redactions` and `projection_skips`, and the structure of the file",
];

/// Where the walk begins, and what is known of the log without it.
pub(super) struct Begun {
    pub(super) start: Start,
    pub(super) known: Known,
}

/// What is known of the events before.
pub(super) struct Known {
    checkpoint: String,
    size: u64,
    log_id: EventId,
    origin: String,
    first_recorded_at: Timestamp,
    last_recorded_at: Option<Timestamp>,
    rows_read: u64,
}

impl Known {
    /// Adds it to what the walk found.
    pub(super) fn complete(&self, walk: &mut Walk) {
        walk.log_id = Some(self.log_id);
        walk.origin = Some(self.origin.clone());
        walk.first_recorded_at = Some(self.first_recorded_at);
        walk.last_recorded_at = walk.last_recorded_at.or(self.last_recorded_at);
    }

    /// What the verification rests on, and the rows that it read in all.
    pub(super) fn report(self, rows_walked: u64) -> Since {
        Since {
            checkpoint: self.checkpoint,
            size: self.size,
            rows_read: self.rows_read + rows_walked,
            not_looked_at: NOT_LOOKED_AT.to_vec(),
        }
    }
}

/// Why the walk cannot begin there.
pub(super) enum NoStart {
    /// The checkpoint says something else than the file, or nobody trusted says it.
    Failure(Failure),
    Error(VerifyError),
}

impl From<rusqlite::Error> for NoStart {
    fn from(error: rusqlite::Error) -> NoStart {
        match is_damage(&error) {
            true => NoStart::Failure(failure(Check::Damage, format!("the file cannot be read: {error}"))),
            false => NoStart::Error(error.into()),
        }
    }
}

fn failure(check: Check, detail: String) -> Failure {
    Failure {
        check,
        seq: None,
        detail,
        affected: "everything: the verification had nowhere to begin".to_owned(),
    }
}

/// Finds the place after a checkpoint.
pub(super) fn begin(
    connection: &Connection,
    given: &Given,
    trust: &Trust,
    wanted: &Wanted,
) -> Result<Begun, NoStart> {
    let checkpoint = &given.checkpoint;
    let fails = |check, detail: String| NoStart::Failure(failure(check, format!("{}: {detail}", given.name)));
    match trust.standing(checkpoint) {
        Standing::Trusted(_) => {}
        Standing::Wrong(why) => return Err(fails(Check::CheckpointSignature, why)),
        Standing::Unknown(why) => {
            let checkpoint = given.name.clone();
            return Err(NoStart::Error(VerifyError::NotSigned { checkpoint, why }));
        }
        // What leads back to a key stands in events that were not walked along yet.
        Standing::Before(key) => {
            let (checkpoint, why) = (given.name.clone(), key.why_not());
            return Err(NoStart::Error(VerifyError::NotSigned { checkpoint, why }));
        }
    }
    let size = checkpoint.size();
    let root = *checkpoint.root();
    if size == 0 {
        return Err(fails(Check::CheckpointSize, "it covers no events; verify without it".to_owned()));
    }
    let mut hashes = Hashes::stored(connection)?;
    // Of the last two events it matters what their entries are, and not what they say.
    let read = |seq, payloads| -> Result<OwnedRow, NoStart> {
        OwnedRow::at(connection, Seq::new(seq), payloads)?.ok_or_else(|| {
            let detail = format!(
                "it covers {size} events, and event {seq} is not there: the log was cut off, or set back to an older copy"
            );
            fails(Check::CheckpointSize, detail)
        })
    };
    let (first, last) = (read(1, Payloads::Read)?, read(size, Payloads::LeftOut)?);
    let range = compact_range_at(&mut hashes, size).readable()?;
    if range.as_ref().is_none_or(|range| range.root() != root) {
        let detail = format!(
            "the file's tree of {size} events has another root: the log was written anew, another one was put in its place, or the tiles are damaged; verify without --since to see which"
        );
        return Err(fails(Check::CheckpointRoot, detail));
    }
    // From here on hashes that lead to the root are those of the log that was signed for.
    let before_last = match size {
        1 => Digest::ZERO.bytes().to_vec(),
        _ => read(size - 1, Payloads::LeftOut)?.hash,
    };
    for (seq, row, before) in [(1, &first, Digest::ZERO.bytes().as_slice()), (size, &last, &before_last)] {
        let leaf = leaf_hash_of(&[before, &row.entry]);
        let proof = inclusion_proof(&mut hashes, seq - 1, size).readable()?;
        if proof.is_none_or(|proof| verify_inclusion(seq - 1, size, &leaf, &proof, &root).is_err()) {
            let detail = format!("event {seq} is not the one that it covers");
            return Err(fails(Check::CheckpointRoot, detail));
        }
    }
    let link = <[u8; 32]>::try_from(before_last.as_slice())
        .map(|before| chain::link(&Digest::from_bytes(before), &last.entry));
    let Some(hash) = link.ok().filter(|link| link.bytes().as_slice() == last.hash) else {
        return Err(NoStart::Failure(Failure {
            seq: Some(Seq::new(size).into()),
            ..failure(
                Check::Link,
                "the link does not follow from the link before it and the entry".to_owned(),
            )
        }));
    };
    let (log_id, origin, first_recorded_at) = first_event(&first).map_err(NoStart::Failure)?;
    if origin != checkpoint.origin() {
        let detail =
            format!("it is a checkpoint of the log `{}`, and this is `{origin}`", checkpoint.origin());
        return Err(fails(Check::CheckpointOrigin, detail));
    }
    let range = range.unwrap_or_default();
    let tree = Tree::after(&range, wanted.clone()).map_err(|error| NoStart::Error(error.into()))?;
    // Besides the first and the last event there was the one before the last.
    let rows_read = hashes.rows_read + 3;
    let checkpoint = given.name.clone();
    let last_recorded_at = last.own_entry().map(|entry| entry.recorded_at);
    let known = Known { checkpoint, size, log_id, origin, first_recorded_at, last_recorded_at, rows_read };
    Ok(Begun { start: Start { events: size, hash, tree: Some(tree) }, known })
}

/// What the first event says, which is held against all that can be asked of it alone.
fn first_event(first: &OwnedRow) -> Result<(EventId, String, Timestamp), Failure> {
    let before = Before { seq: 0, hash: Some(Digest::ZERO) };
    let bad = |check, detail| Failure { seq: Some(Seq::FIRST.into()), ..failure(check, detail) };
    let good = row::check(before, first.as_ref()).map_err(|fault| bad(fault.check, fault.detail))?;
    match good.own.map(|own| *own) {
        Some(Event::LogCreated(created)) => {
            Ok((good.entry.event_id, shortened(created.origin), good.entry.recorded_at))
        }
        _ => Err(bad(Check::Redaction, "the payload of the first event is gone".to_owned())),
    }
}
