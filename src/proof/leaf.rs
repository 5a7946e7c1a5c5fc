//! One event's leaf and the path from it to a root: the part that all proofs of events have.

use std::fmt;

use bincode::{Decode, Encode};

use super::check::ProofError;
use super::lines::{Lines, ProofFileError, ProofFileFault, base64};
use crate::chain;
use crate::encoding;
use crate::entry::Entry;
use crate::event::{Content, Digest, PayloadError, Recorded, Seq, Strictness};
use crate::merkle::{NodeHash, leaf_hash, verify_inclusion};
use crate::note::SignedCheckpoint;
use crate::prepare::without_salt;

/// The version of the extra data that is written, and the only one that is read.
const EXTRA_VERSION: u8 = 1;

/// Bytes of the link that a leaf begins with.
const LINK_BYTES: usize = 32;

/// An event's leaf with the hashes that lead from it to the root of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafProof {
    /// The leaf: the link of the event before, then the entry.
    pub leaf: Vec<u8>,
    /// The payload cell, which is salt and payload bytes, if the proof includes the content of the event.
    pub payload: Option<Vec<u8>>,
    /// The index of the leaf in the tree: the event's sequence number minus one.
    pub index: u64,
    /// The hashes, from the leaf's sibling on.
    pub hashes: Vec<NodeHash>,
}

/// The `extra` line of a proof. The order of the fields is the order in the file.
#[derive(Encode, Decode)]
struct Extra {
    version: u8,
    leaf: Vec<u8>,
    payload: Option<Vec<u8>>,
}

/// An event that is in the log, if the checkpoint is the log's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckedEvent {
    /// The entry: everything that the log records of the event, except its payload.
    pub entry: Entry,
    /// The content; None if the proof does not include it. [`Content::Raw`] is content that this version does not
    /// know; only its digest was checked.
    pub payload: Option<Content>,
}

impl CheckedEvent {
    /// The sequence number of the event.
    pub fn seq(&self) -> Seq {
        self.entry.seq()
    }

    /// The event as the log has it, if the proof includes its content.
    pub fn recorded(&self) -> Option<Recorded> {
        let entry = &self.entry;
        Some(Recorded {
            seq: entry.seq(),
            event_id: entry.event_id,
            kind: entry.kind,
            session: entry.session.clone(),
            occurred_at: entry.occurred_at,
            recorded_at: entry.recorded_at,
            principal: entry.principal,
            content: self.payload.clone()?,
        })
    }
}

impl LeafProof {
    pub(super) fn take(lines: &mut Lines<'_>) -> Result<LeafProof, ProofFileError> {
        let what = "`extra` and the event's leaf, as proofs by Annals have it";
        let line = lines.take_after("extra ", what)?;
        let bytes = lines.decode(line)?;
        // Before anything else is decoded: a later version may have any form after its first byte.
        match bytes.first() {
            Some(&found) if found != EXTRA_VERSION => {
                return Err(lines.wrong(ProofFileFault::UnknownVersion { found, known: EXTRA_VERSION }));
            }
            _ => {}
        }
        let extra: Extra =
            encoding::decode_canonical(&bytes).map_err(|error| lines.wrong(ProofFileFault::Extra(error)))?;
        let index = lines.take_number("index ", "`index` and the event's place in the tree")?;
        Ok(LeafProof { leaf: extra.leaf, payload: extra.payload, index, hashes: lines.take_hashes()? })
    }

    /// The sequence number of the event.
    pub fn seq(&self) -> Seq {
        Seq::new(self.index).next()
    }

    /// The link of the event before, and the entry, if the leaf is long enough for both.
    pub(super) fn parts(&self) -> Option<(Digest, &[u8])> {
        let (link, entry) = self.leaf.split_first_chunk::<LINK_BYTES>()?;
        Some((Digest::from_bytes(*link), entry))
    }

    /// Checks that the event is in the checkpoint's tree, and that it is well formed. Does not check who signed the
    /// checkpoint.
    ///
    /// # Errors
    /// If the event is not in the tree, or is not well formed.
    pub fn check(&self, checkpoint: &SignedCheckpoint) -> Result<CheckedEvent, ProofError> {
        let seq = self.seq();
        let leaf = leaf_hash(&self.leaf);
        verify_inclusion(self.index, checkpoint.size(), &leaf, &self.hashes, checkpoint.root())
            .map_err(|source| ProofError::Inclusion { seq, source })?;
        // The leaf is the log's from here on. The order of these checks is part of the format: another verifier
        // reports the same first failure.
        let (_, entry) = self.parts().ok_or(ProofError::ShortLeaf { seq })?;
        let entry = check_entry(seq, entry)?;
        let payload = self.payload.as_ref().map(|cell| check_payload(&entry, cell)).transpose()?;
        Ok(CheckedEvent { entry, payload })
    }
}

/// Writes the lines of a proof up to its empty line, and that line.
impl fmt::Display for LeafProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra = Extra { version: EXTRA_VERSION, leaf: self.leaf.clone(), payload: self.payload.clone() };
        let mut bytes = Vec::new();
        encoding::encode(&extra, &mut bytes).map_err(|_| fmt::Error)?;
        writeln!(f, "extra {}", base64(&bytes))?;
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        writeln!(f)
    }
}

/// Decodes an entry, which must be well formed and have this sequence number.
pub(super) fn check_entry(seq: Seq, entry: &[u8]) -> Result<Entry, ProofError> {
    let entry = Entry::decode_canonical(entry).map_err(|source| ProofError::Entry { seq, source })?;
    if entry.seq() == seq { Ok(entry) } else { Err(ProofError::Sequence { seq, found: entry.seq() }) }
}

fn check_payload(entry: &Entry, cell: &[u8]) -> Result<Content, ProofError> {
    let seq = entry.seq();
    if chain::payload_digest(cell) != entry.payload_digest {
        return Err(ProofError::PayloadDigest { seq });
    }
    let bytes = without_salt(cell).ok_or(ProofError::ShortPayload { seq })?;
    match Content::decode(entry.kind, entry.kind_version, entry.encoding, bytes, Strictness::Canonical) {
        Ok(content) => Ok(content),
        // A newer version wrote this payload. Its digest is good, so its bytes are returned as they are.
        Err(PayloadError::UnknownVersion { .. }) => Ok(Content::Raw(bytes.to_vec())),
        Err(PayloadError::Malformed(source)) => Err(ProofError::Payload { seq, source }),
    }
}
