//! Proofs made from a log, which [`crate::proof`] reads and checks.
//!
//! The stored tiles and checkpoints are not evidence, so every proof is checked before it is returned. A proof that
//! others would refuse is an error here, and means that the log needs a verification.

use rusqlite::{Connection, OptionalExtension};

use crate::event::{Digest, EventId, Seq};
use crate::evidence::{self, TreeError, TreeReader};
use crate::limits::{NOTE_BYTES_MAX, PROOF_BYTES_MAX, SESSION_ID_BYTES_MAX};
use crate::log::{ReadError, rows, schema};
use crate::merkle::{BuildError, HashReader, consistency_proof, inclusion_proof, root_at};
use crate::note::SignedCheckpoint;
use crate::proof::{ConsistencyProof, EntryProof, Extent, LeafProof, ProofError, SessionProof};
use crate::query::EventFilter;
use crate::query::events::{Next, walk};
use crate::reader::Reader;
use crate::storage::{StorageError, from_sqlite};

/// Bytes around an event in a proof file, apart from its leaf, payload and hashes: words, a number, lengths and ends of
/// lines. They also cover the head of the file, where the session's id may be spelled with six characters for a byte.
const AROUND_BYTES: usize = 128 + 6 * SESSION_ID_BYTES_MAX;

/// Bytes of a hash in base64, with the end of its line.
const HASH_LINE_BYTES: usize = 45;

/// A proof that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// No checkpoint was signed for the log yet.
    #[error(
        "no checkpoint was signed for this log yet, and a proof needs one; `annals checkpoint` signs one"
    )]
    NoCheckpoint,
    /// The log has no checkpoint of this size: none was signed, or it is gone.
    #[error("the log has no checkpoint of size {size}")]
    NoCheckpointOf {
        /// The size.
        size: u64,
    },
    /// The stored checkpoint does not fit the log as it is now.
    #[error(
        "the checkpoint of size {size} that is stored with the log does not fit it; run `annals verify` for details"
    )]
    Unfit {
        /// Its size.
        size: u64,
    },
    /// There is no such event.
    #[error("there is no event {seq}; the log has {events} events")]
    NoEvent {
        /// The requested event.
        seq: Seq,
        /// Events of the log.
        events: u64,
    },
    /// The event came after the last checkpoint.
    #[error(
        "event {seq} came after the last checkpoint, which covers {size} events; `annals checkpoint` signs a new one"
    )]
    NotCovered {
        /// The event.
        seq: Seq,
        /// Events that the checkpoint covers.
        size: u64,
    },
    /// No event of the session is covered by a checkpoint.
    #[error("the session `{session}` has no events among the {size} that the last checkpoint covers")]
    NoSession {
        /// The session.
        session: String,
        /// Events that the checkpoint covers.
        size: u64,
    },
    /// The older size is larger.
    #[error("the older size {old} is larger than the newer one, {new}")]
    SizesReversed {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// The proof would be longer than readers accept.
    #[error(
        "the proof would have more than {max} bytes; leave the payloads out, prove single events, or run `annals prove` on the machine that has the log"
    )]
    TooLong {
        /// Bytes that it may have.
        max: usize,
    },
    /// The tree cannot be made.
    #[error("the log's tree cannot be computed: {0}")]
    Tree(#[from] BuildError<TreeError>),
    /// An event cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file cannot be read.
    #[error("the log cannot be read: {0}")]
    Storage(#[from] StorageError),
    /// The proof does not pass its own check.
    #[error("the proof does not pass its own check: {0}; run `annals verify` for details")]
    Refused(#[from] ProofError),
}

from_sqlite!(ProveError);

impl ProveError {
    /// Returns true if the log is damaged. Every other error means that something could not be done.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            ProveError::Unfit { .. } | ProveError::Refused(_) => true,
            ProveError::Tree(error) => is_damage(error),
            _ => false,
        }
    }
}

/// Returns true if a tree cannot be made because the log is damaged.
pub(crate) fn is_damage(error: &BuildError<TreeError>) -> bool {
    use TreeError::{Broken, Missing, Tile};
    // A file that cannot be read at the moment is no damage.
    matches!(error, BuildError::Read(Missing { .. } | Broken { .. } | Tile { .. }) | BuildError::Count { .. })
}

/// The choice between proofs with and without the payloads of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payloads {
    /// The proof shows that the events were recorded, with their times, kinds and sessions.
    #[default]
    LeftOut,
    /// The proof shows the payloads as well, except those that were erased.
    Included,
}

/// The choice between a proof of a session that may leave events out, and one that shows that it leaves out none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completeness {
    /// The proof does not show that nothing was left out.
    #[default]
    Partial,
    /// The proof has the entries of all other events between the first and the last one. They reveal the times, kinds
    /// and sessions of those events to everybody who gets the proof.
    Complete,
}

/// The proof of a session, and the number of events that came too late for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProvedSession {
    /// The proof.
    pub proof: SessionProof,
    /// Events of the session that came after the checkpoint, and are not in the proof.
    pub not_covered: u64,
}

impl Reader {
    /// The sequence number of the event with this id, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn seq_of(&self, id: EventId) -> Result<Option<Seq>, ReadError> {
        self.at_one_moment(|connection| Ok(rows::seq_of(connection, id)?))
    }

    /// Proves that an event is in the log that the last checkpoint covers.
    ///
    /// # Errors
    /// If no checkpoint covers it, or the content of the log does not prove it.
    pub fn prove_event(&self, seq: Seq, payloads: Payloads) -> Result<EntryProof, ProveError> {
        self.at_one_moment(|connection| {
            // Checkpoint, tree and event are read in one snapshot, so they fit one another.
            let (checkpoint, mut tree) = last_checkpoint(connection)?;
            let events = rows::head(connection)?.seq.get();
            if seq == Seq::ZERO || seq.get() > events {
                return Err(ProveError::NoEvent { seq, events });
            }
            let event = leaf(connection, &mut tree, seq, checkpoint.size(), payloads)?;
            // Checked as its readers check it: the tiles that it was made from prove nothing.
            let proof = EntryProof { event, checkpoint };
            proof.check()?;
            Ok(proof)
        })
    }

    /// Proves the events of a session that the last checkpoint covers.
    ///
    /// # Errors
    /// If there are none, or the content of the log does not prove them.
    pub fn prove_session(
        &self,
        session: &str,
        completeness: Completeness,
        payloads: Payloads,
    ) -> Result<ProvedSession, ProveError> {
        // The longest checkpoint and the head of the file take their share first.
        let around = NOTE_BYTES_MAX + AROUND_BYTES;
        self.prove_session_within(session, completeness, payloads, PROOF_BYTES_MAX - around)
    }

    /// Proves the events of a session in at most `bytes` bytes, beside the checkpoint.
    pub(crate) fn prove_session_within(
        &self,
        session: &str,
        completeness: Completeness,
        payloads: Payloads,
        bytes: usize,
    ) -> Result<ProvedSession, ProveError> {
        self.at_one_moment(|connection| {
            let (checkpoint, mut tree) = last_checkpoint(connection)?;
            let size = checkpoint.size();
            let (covered, not_covered) = places(connection, session, Seq::new(size))?;
            let (Some(first), Some(last)) = (covered.first(), covered.last()) else {
                return Err(ProveError::NoSession { session: session.to_owned(), size });
            };
            // Each part is counted as soon as it is read: a session that is too long fails before all of it is in
            // memory.
            let mut room = Room { left: bytes, max: bytes };
            let extent = match completeness {
                Completeness::Partial => Extent::Partial,
                Completeness::Complete => {
                    Extent::Complete(entries_between(connection, *first, *last, &covered, &mut room)?)
                }
            };
            let mut events = Vec::with_capacity(covered.len());
            for seq in covered {
                let event = leaf(connection, &mut tree, seq, size, payloads)?;
                room.take(event.leaf.len() + event.payload.as_ref().map_or(0, Vec::len))?;
                room.take_text(AROUND_BYTES + event.hashes.len() * HASH_LINE_BYTES)?;
                events.push(event);
            }
            let proof = SessionProof { session: session.to_owned(), events, extent, checkpoint };
            proof.check()?;
            Ok(ProvedSession { proof, not_covered })
        })
    }

    /// Proves that the log of a checkpoint of size `new`, or of the last one, begins with the log as it was at `old`
    /// events.
    ///
    /// # Errors
    /// If there is no such checkpoint, or the sizes are the wrong way round.
    pub fn prove_consistency(&self, old: u64, new: Option<u64>) -> Result<ConsistencyProof, ProveError> {
        self.at_one_moment(|connection| {
            let (checkpoint, mut tree) = match new {
                None => last_checkpoint(connection)?,
                Some(size) => fitting(connection, checkpoint_of(connection, size)?)?,
            };
            let new = checkpoint.size();
            if old > new {
                return Err(ProveError::SizesReversed { old, new });
            }
            // The older root comes from the same tree. The check then shows that the hashes lead from it to the
            // checkpoint's root.
            let hashes = consistency_proof(&mut tree, old, new)?;
            let root = root_at(&mut tree, old)?;
            let proof = ConsistencyProof { old, hashes, checkpoint };
            proof.check_root(&root)?;
            Ok(proof)
        })
    }
}

/// The last checkpoint that was signed, and the tree that it fits.
pub(crate) fn last_checkpoint(
    connection: &Connection,
) -> Result<(SignedCheckpoint, TreeReader<'_>), ProveError> {
    fitting(connection, evidence::newest(connection)?.ok_or(ProveError::NoCheckpoint)?)
}

/// The checkpoint that was signed when the log had `size` events.
fn checkpoint_of(connection: &Connection, size: u64) -> Result<SignedCheckpoint, ProveError> {
    let missing = || ProveError::NoCheckpointOf { size };
    if !schema::has_table(connection, "checkpoints")? {
        return Err(missing());
    }
    let note: Option<String> = connection
        .prepare_cached(&format!("SELECT {} FROM checkpoints WHERE size = ?1", rows::note_column("note")))?
        .query_row([Seq::new(size).to_sql()], |row| row.get(0))
        .optional()?
        // No row, or a row without a note: either way there is no checkpoint.
        .flatten();
    // A note that cannot be read is damage, unlike one that is missing.
    note.ok_or_else(missing)?.parse().map_err(|_| ProveError::Unfit { size })
}

/// Checks that a checkpoint is this log's, and adds the log's tree. A proof that leads to another one is worthless.
fn fitting(
    connection: &Connection,
    checkpoint: SignedCheckpoint,
) -> Result<(SignedCheckpoint, TreeReader<'_>), ProveError> {
    let size = checkpoint.size();
    let mut tree = TreeReader::new(connection)?;
    // A checkpoint of another log, or of a copy that was appended to separately, fails one of the three tests.
    let fits = size <= rows::head(connection)?.seq.get()
        && checkpoint.origin() == evidence::origin_of(connection)?
        && root_at(&mut tree, size)? == *checkpoint.root();
    if fits { Ok((checkpoint, tree)) } else { Err(ProveError::Unfit { size }) }
}

/// An event's leaf, and the path from it to the root of the tree of `size`.
fn leaf(
    connection: &Connection,
    tree: &mut impl HashReader<Error = TreeError>,
    seq: Seq,
    size: u64,
    payloads: Payloads,
) -> Result<LeafProof, ProveError> {
    if seq.get() > size {
        return Err(ProveError::NotCovered { seq, size });
    }
    let index = seq.get().saturating_sub(1);
    let link = match index {
        0 => Digest::ZERO,
        before => rows::link_at(connection, Seq::new(before))?.ok_or_else(|| missing(Seq::new(before)))?,
    };
    let entry = rows::entry_at(connection, seq)?.ok_or_else(|| missing(seq))?;
    let payload = match payloads {
        Payloads::LeftOut => None,
        // None if the payload was erased: the proof then lacks it.
        Payloads::Included => rows::cell_at(connection, seq)?,
    };
    let hashes = inclusion_proof(tree, index, size)?;
    Ok(LeafProof { leaf: [link.bytes().as_slice(), &entry].concat(), payload, index, hashes })
}

fn missing(seq: Seq) -> ProveError {
    ProveError::Tree(BuildError::Read(TreeError::Missing { seq }))
}

/// The sequence numbers of a session's covered events, and the number of events that are not covered.
fn places(connection: &Connection, session: &str, size: Seq) -> Result<(Vec<Seq>, u64), ProveError> {
    let filter = EventFilter { session: Some(session.to_owned()), ..EventFilter::ALL };
    let head = rows::head(connection)?.seq;
    let (mut covered, mut not_covered) = (Vec::new(), 0);
    walk(connection, &filter, Seq::ZERO, head, |seq, _| {
        if seq <= size {
            covered.push(seq);
        } else {
            not_covered += 1;
        }
        Ok::<_, ProveError>(Next::Continue)
    })?;
    Ok((covered, not_covered))
}

/// The entries between two events, except those of the session itself.
fn entries_between(
    connection: &Connection,
    first: Seq,
    last: Seq,
    own: &[Seq],
    room: &mut Room,
) -> Result<Vec<Vec<u8>>, ProveError> {
    let mut entries = Vec::new();
    // Both ends are events of the session itself.
    rows::each_entry(connection, first.get() + 1..=last.get().saturating_sub(1), |row| {
        // `own` is sorted, because the walk that made it returns events in order.
        if own.binary_search(&row.seq()?).is_err() {
            let entry = row.entry()?;
            room.take(entry.len())?;
            entries.push(entry.to_vec());
        }
        Ok::<_, ProveError>(())
    })?;
    Ok(entries)
}

/// Bytes that a proof file may still use.
struct Room {
    left: usize,
    max: usize,
}

impl Room {
    /// Takes a line of these bytes in base64, which makes four characters of three bytes.
    fn take(&mut self, bytes: usize) -> Result<(), ProveError> {
        self.take_text(bytes.div_ceil(3).saturating_mul(4) + 1)
    }

    fn take_text(&mut self, length: usize) -> Result<(), ProveError> {
        self.left = self.left.checked_sub(length).ok_or(ProveError::TooLong { max: self.max })?;
        Ok(())
    }
}
