//! The start of a walk that takes the events that a checkpoint covers as verified. The walk begins at the
//! event after them. It may begin there only if the file's tree leads to the checkpoint's root, and that tree
//! has the last event that the checkpoint covers.

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

/// Parts that no verification since a checkpoint looks at.
const NOT_LOOKED_AT: [&str; 4] = [
    "the events that the checkpoint covers, and their payloads: it is not known whether they are still there, or were erased without a recorded redaction",
    "changes of keys before the checkpoint",
    "the read tables and the evidence tables",
    "the tables `redactions` and `projection_skips`, and the structure of the file",
];

/// The start of a walk, and the facts about the log that it does not find itself.
pub(super) struct Begun {
    pub(super) start: Start,
    pub(super) known: Known,
}

/// The known facts about the events before the walk.
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
    /// Adds these facts to the result of the walk.
    pub(super) fn complete(&self, walk: &mut Walk) {
        walk.log_id = Some(self.log_id);
        walk.origin = Some(self.origin.clone());
        walk.first_recorded_at = Some(self.first_recorded_at);
        walk.last_recorded_at = walk.last_recorded_at.or(self.last_recorded_at);
    }

    /// The report of what the verification rests on, with the number of all rows that it read.
    pub(super) fn report(self, rows_walked: u64) -> Since {
        Since {
            checkpoint: self.checkpoint,
            size: self.size,
            rows_read: self.rows_read + rows_walked,
            not_looked_at: NOT_LOOKED_AT.to_vec(),
        }
    }
}

/// The reason why the walk cannot begin after the checkpoint.
pub(super) enum NoStart {
    /// The checkpoint contradicts the file, a signature on it by a known key does not count, or the file is
    /// damaged.
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

/// Finds the start after a checkpoint, and verifies what the walk rests on.
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
        // Only events of the log lead back to a predecessor, and none of them was walked yet.
        Standing::Before(key) => {
            let (checkpoint, why) = (given.name.clone(), key.why_not());
            return Err(NoStart::Error(VerifyError::NotSigned { checkpoint, why }));
        }
    }
    let size = checkpoint.size();
    let root = *checkpoint.root();
    if size == 0 {
        return Err(fails(
            Check::CheckpointSize,
            "it covers no events; verify without --from-checkpoint".to_owned(),
        ));
    }
    let mut hashes = Hashes::stored(connection)?;
    // Only the entries of the last two events matter, so their payloads are not read.
    let read = |seq, payloads| -> Result<OwnedRow, NoStart> {
        OwnedRow::at(connection, Seq::new(seq), payloads)?.ok_or_else(|| {
            let detail = format!(
                "it covers {size} events, but the log has no event {seq}: the log was cut off, or set back to an older copy"
            );
            fails(Check::CheckpointSize, detail)
        })
    };
    let (first, last) = (read(1, Payloads::Read)?, read(size, Payloads::LeftOut)?);
    let range = compact_range_at(&mut hashes, size).readable()?;
    if range.as_ref().is_none_or(|range| range.root() != root) {
        let detail = format!(
            "the file's tree of {size} events has another root: the log was rewritten, replaced by another log, or its tiles are damaged; verify without --from-checkpoint to see which"
        );
        return Err(fails(Check::CheckpointRoot, detail));
    }
    // The hashes of the file were only claims until here. From here on, hashes that lead to this root are
    // those of the signed log.
    let before_last = match size {
        1 => Digest::ZERO.bytes().to_vec(),
        _ => read(size - 1, Payloads::LeftOut)?.hash,
    };
    for (seq, row, before) in [(1, &first, Digest::ZERO.bytes().as_slice()), (size, &last, &before_last)] {
        // A leaf covers the link before and the entry. The proof shows that both, as they were read, belong
        // to the signed log.
        let leaf = leaf_hash_of(&[before, &row.entry]);
        let proof = inclusion_proof(&mut hashes, seq - 1, size).readable()?;
        if proof.is_none_or(|proof| verify_inclusion(seq - 1, size, &leaf, &proof, &root).is_err()) {
            let detail = format!("event {seq} is not the event that it covers");
            return Err(fails(Check::CheckpointRoot, detail));
        }
    }
    // No leaf up to this size covers the last event's own link. The walk goes on from that link, so it is
    // computed again.
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
            format!("it is a checkpoint of the log `{}`, but this log is `{origin}`", checkpoint.origin());
        return Err(fails(Check::CheckpointOrigin, detail));
    }
    let range = range.unwrap_or_default();
    let tree = Tree::after(&range, wanted.clone()).map_err(|error| NoStart::Error(error.into()))?;
    // Three rows beside those for hashes: the first event, the last one, and the one before the last.
    let rows_read = hashes.rows_read + 3;
    let checkpoint = given.name.clone();
    let last_recorded_at = last.own_entry().map(|entry| entry.recorded_at);
    let known = Known { checkpoint, size, log_id, origin, first_recorded_at, last_recorded_at, rows_read };
    Ok(Begun { start: Start { events: size, hash, tree: Some(tree) }, known })
}

/// The id, the log's name and the time from the first event, after every check that can be made of this event
/// alone.
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
