//! Whatever bytes stand for a payload of whatever kind, they are judged without a panic, and what is well
//! formed is shown.

use annals::chain::payload_digest;
use annals::entry::Entry;
use annals::merkle::{leaf_hash, root_of};
use annals::note::{Checkpoint, SignedCheckpoint};
use annals::proof::LeafProof;
use annals::{EventId, Timestamp};

/// Kind (2 bytes, little endian), version, encoding, then the payload.
pub(crate) fn run(bytes: &[u8]) {
    let Some(([low, high, kind_version, encoding], payload)) = bytes.split_first_chunk() else { return };
    let cell = [&[7; 16], payload].concat();
    let entry = Entry {
        format: 1,
        seq: 1,
        event_id: EventId::from_bytes([1; 16]),
        kind: u16::from_le_bytes([*low, *high]),
        kind_version: *kind_version,
        session: None,
        occurred_at: None,
        recorded_at: Timestamp::from_micros(0),
        principal: None,
        encoding: *encoding,
        payload_digest: payload_digest(&cell),
    };
    let mut leaf = vec![0; 32];
    entry.encode(&mut leaf).expect("any entry has an encoding");
    let root = root_of([leaf_hash(&leaf)]);
    let checkpoint = Checkpoint::new("example.org/fuzz", 1, root).expect("the origin is one");
    let proof = LeafProof { leaf, payload: Some(cell), index: 0, hashes: Vec::new() };
    if let Ok(checked) = proof.check(&SignedCheckpoint::unsigned(checkpoint)) {
        let shown = checked.recorded().expect("the payload is there").to_json();
        // Numbers may be larger than any that a reader keeps.
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(&shown).is_ok(), "{shown}");
    }
}
