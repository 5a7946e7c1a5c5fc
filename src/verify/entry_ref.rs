//! The fields of an entry that verification needs, read without making an entry.

use crate::canonical::Input;
use crate::encoding::DecodeError;
use crate::entry::{Entry, FORMAT};
use crate::event::{Digest, EventId, Timestamp};
use crate::limits::ENTRY_BYTES_MAX;

/// The fields of an entry that verification looks at. Owns no heap memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EntryRef {
    pub(super) seq: u64,
    pub(super) event_id: EventId,
    pub(super) kind: u16,
    pub(super) kind_version: u8,
    pub(super) has_session: bool,
    pub(super) recorded_at: Timestamp,
    pub(super) encoding: u8,
    pub(super) payload_digest: Digest,
}

impl EntryRef {
    /// Reads an entry that takes up all of `bytes`, in its one canonical encoding.
    ///
    /// # Errors
    /// Those of [`Entry::decode_canonical`], which decides what is an entry.
    pub(super) fn read(bytes: &[u8]) -> Result<EntryRef, DecodeError> {
        match well_formed(bytes) {
            Some(entry) => Ok(entry),
            // The decoder has the last word on bytes that the quick reading does not accept, and names the
            // error.
            None => Entry::decode_canonical(bytes).map(EntryRef::from),
        }
    }
}

impl From<Entry> for EntryRef {
    fn from(entry: Entry) -> EntryRef {
        EntryRef {
            seq: entry.seq,
            event_id: entry.event_id,
            kind: entry.kind,
            kind_version: entry.kind_version,
            has_session: entry.session.is_some(),
            recorded_at: entry.recorded_at,
            encoding: entry.encoding,
            payload_digest: entry.payload_digest,
        }
    }
}

/// The entry, if the quick reading is certain that the bytes are one.
fn well_formed(bytes: &[u8]) -> Option<EntryRef> {
    if bytes.len() > ENTRY_BYTES_MAX {
        return None;
    }
    let mut input = Input::new(bytes);
    if input.byte()? != FORMAT {
        return None;
    }
    // The fields in the order of `Entry`. `Input` accepts only canonical forms, so nothing is accepted here
    // that has another encoding.
    let seq = input.number()?;
    let event_id = EventId::from_bytes(input.array()?);
    let kind = u16::try_from(input.number()?).ok()?;
    let kind_version = input.byte()?;
    let has_session = input.option(Input::text)?.is_some();
    input.option(Input::signed)?;
    let recorded_at = Timestamp::from_micros(input.signed()?);
    input.option(Input::array::<16>)?;
    let encoding = input.byte()?;
    let payload_digest = Digest::from_bytes(input.array()?);
    let entry =
        EntryRef { seq, event_id, kind, kind_version, has_session, recorded_at, encoding, payload_digest };
    input.is_at_end().then_some(entry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::SessionId;

    prop_compose! {
        fn any_entry()(
            seq in any::<u64>(),
            event_id in any::<[u8; 16]>(),
            kind in any::<u16>(),
            kind_version in any::<u8>(),
            session in prop::option::of("[a-zé]{1,300}"),
            occurred_at in any::<Option<i64>>(),
            recorded_at in any::<i64>(),
            principal in any::<Option<[u8; 16]>>(),
            encoding in any::<u8>(),
            payload_digest in any::<[u8; 32]>(),
        ) -> Entry {
            Entry {
                format: FORMAT,
                seq,
                event_id: EventId::from_bytes(event_id),
                kind,
                kind_version,
                session: session.and_then(|session| SessionId::new(session).ok()),
                occurred_at: occurred_at.map(Timestamp::from_micros),
                recorded_at: Timestamp::from_micros(recorded_at),
                principal: principal.map(EventId::from_bytes),
                encoding,
                payload_digest: Digest::from_bytes(payload_digest),
            }
        }
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_is_decoded(entry in any_entry()) {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes).unwrap();
            prop_assert_eq!(well_formed(&bytes), Some(EntryRef::from(entry)));
        }

        #[test]
        fn changed_bytes_are_judged_as_the_decoder_judges_them(
            entry in any_entry(),
            place in any::<prop::sample::Index>(),
            splice in prop::collection::vec(any::<u8>(), 0..10),
            cut in 0_usize..10,
        ) {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes).unwrap();
            let start = place.index(bytes.len() + 1);
            let end = bytes.len().min(start + cut);
            bytes.splice(start..end, splice);
            let decoded = Entry::decode_canonical(&bytes).ok().map(EntryRef::from);
            prop_assert_eq!(well_formed(&bytes), decoded);
        }
    }
}
