//! The checks of one row of the log. They are pure, and depend on no other row except for the link before it.
//! docs/format.md fixes their order, so that every verifier names the same first bad row.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _};

use crate::chain;
use crate::encoding::DecodeError;
use crate::entry::Entry;
use crate::event::{Content, Digest, Event, Kind, PayloadError, Seq, Strictness, is_reserved};
use crate::limits::{JUDGED_ENTRY_BYTES_MAX, PAYLOAD_BYTES_MAX, SALT_BYTES};
use crate::prepare::without_salt;

use super::entry_ref::EntryRef;
use super::report::Check;

/// A row as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowRef<'a> {
    pub(super) seq: i64,
    pub(super) event_id: &'a [u8],
    pub(super) entry: &'a [u8],
    pub(super) payload: Option<&'a [u8]>,
    /// True if the payload is longer than any that Annals writes, and was not read.
    pub(super) is_payload_too_long: bool,
    pub(super) hash: &'a [u8],
}

impl<'a> RowRef<'a> {
    /// Borrows a row by its columns seq, event_id, entry, payload, hash. A value of another type than its
    /// column's counts as empty, and so does a NULL where none is allowed: no check accepts an empty value. A
    /// seq that is no integer counts as a number that no event has. A number in place of a payload is the
    /// length of one that is too long.
    #[inline]
    pub(super) fn of(
        mut column: impl FnMut(usize) -> rusqlite::Result<ValueRef<'a>>,
    ) -> rusqlite::Result<RowRef<'a>> {
        let seq = column(0)?.as_i64().unwrap_or(i64::MIN);
        let is_payload_too_long = matches!(column(3)?, ValueRef::Integer(_));
        let mut blob = |number: usize| -> rusqlite::Result<Option<&'a [u8]>> {
            Ok(match column(number)? {
                ValueRef::Null => None,
                ValueRef::Blob(blob) => Some(blob),
                _ => Some(&[]),
            })
        };
        Ok(RowRef {
            seq,
            event_id: blob(1)?.unwrap_or_default(),
            entry: blob(2)?.unwrap_or_default(),
            payload: blob(3)?,
            is_payload_too_long,
            hash: blob(4)?.unwrap_or_default(),
        })
    }
}

/// The choice to read payloads with their rows, or to leave them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payloads {
    Read,
    /// NULL stands for each payload.
    LeftOut,
}

/// The columns of rows for [`RowRef::of`], as SQL. A value that is no blob, or that is too long for its
/// column, is not read. A payload that is too long is replaced by its length, and one that is no blob by the
/// name of its type.
pub(super) fn columns(payloads: Payloads) -> String {
    let payload = match payloads {
        Payloads::LeftOut => "NULL".to_owned(),
        Payloads::Read => format!(
            "CASE WHEN payload IS NULL THEN NULL
                  WHEN typeof(payload) <> 'blob' THEN typeof(payload)
                  WHEN length(payload) <= {} THEN payload
                  ELSE length(payload) END",
            SALT_BYTES + PAYLOAD_BYTES_MAX
        ),
    };
    format!(
        "seq,
         CASE WHEN typeof(event_id) = 'blob' AND length(event_id) = 16 THEN event_id END,
         CASE WHEN typeof(entry) = 'blob' AND length(entry) <= {JUDGED_ENTRY_BYTES_MAX} THEN entry END,
         {payload},
         CASE WHEN typeof(hash) = 'blob' AND length(hash) = 32 THEN hash END"
    )
}

/// An owned row, of bounded size.
pub(super) struct OwnedRow {
    pub(super) seq: i64,
    pub(super) event_id: Vec<u8>,
    pub(super) entry: Vec<u8>,
    payload: Option<Vec<u8>>,
    is_payload_too_long: bool,
    pub(super) hash: Vec<u8>,
}

impl OwnedRow {
    /// Reads the row with a seq. None if there is none.
    pub(super) fn at(
        connection: &Connection,
        seq: Seq,
        payloads: Payloads,
    ) -> rusqlite::Result<Option<OwnedRow>> {
        connection
            .prepare_cached(&format!("SELECT {} FROM log WHERE seq = ?1", columns(payloads)))?
            .query_row([seq.to_sql()], |row| {
                let row = RowRef::of(|column| row.get_ref(column))?;
                Ok(OwnedRow {
                    seq: row.seq,
                    event_id: row.event_id.to_vec(),
                    entry: row.entry.to_vec(),
                    payload: row.payload.map(<[u8]>::to_vec),
                    is_payload_too_long: row.is_payload_too_long,
                    hash: row.hash.to_vec(),
                })
            })
            .optional()
    }

    /// Borrows the row for the checks.
    pub(super) fn as_ref(&self) -> RowRef<'_> {
        RowRef {
            seq: self.seq,
            event_id: &self.event_id,
            entry: &self.entry,
            payload: self.payload.as_deref(),
            is_payload_too_long: self.is_payload_too_long,
            hash: &self.hash,
        }
    }

    /// The row's entry, if it is well formed and belongs to this row.
    pub(super) fn own_entry(&self) -> Option<Entry> {
        own_entry(self.seq, &self.event_id, &self.entry)
    }
}

/// The seq and the link before a row. Before the first row they are 0 and the zero link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) seq: i64,
    /// The link, if the row before has one of 32 bytes.
    pub(super) hash: Option<Digest>,
}

impl Before {
    /// The seq and the link of a row, for the check of the row that follows.
    pub(super) fn after(row: RowRef<'_>) -> Before {
        Before { seq: row.seq, hash: <[u8; 32]>::try_from(row.hash).ok().map(Digest::from_bytes) }
    }
}

/// A row that passed [`check`].
#[derive(Debug)]
pub(super) struct GoodRow {
    pub(super) entry: EntryRef,
    /// The payload, if the event is of a kind that only Annals writes: such events are about other rows.
    pub(super) own: Option<Box<Event>>,
}

/// A failed check, with the details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The seq of the row, also if the row is missing.
    pub(super) seq: i64,
    pub(super) check: Check,
    pub(super) detail: String,
}

/// Checks everything about a row except the redactions that other rows record.
pub(super) fn check(before: Before, row: RowRef<'_>) -> Result<GoodRow, Fault> {
    let expected = before.seq.saturating_add(1);
    check_as(expected, before, row).map_err(|(check, detail)| Fault { seq: expected, check, detail })
}

fn fault<T>(check: Check, detail: impl Into<String>) -> Result<T, (Check, String)> {
    Err((check, detail.into()))
}

fn check_as(expected: i64, before: Before, row: RowRef<'_>) -> Result<GoodRow, (Check, String)> {
    if row.seq != expected {
        return fault(
            Check::Sequence,
            format!(
                "event {} stands in the place of event {expected}: events are missing or out of order",
                row.seq
            ),
        );
    }
    let entry = match EntryRef::read(row.entry) {
        Ok(entry) => entry,
        // The format defines what a well-formed entry is, so it is judged first.
        Err(error @ DecodeError::UnknownFormat { .. }) => {
            return fault(Check::Format, format!("the entry {error}"));
        }
        Err(error) => return fault(Check::Entry, format!("the entry {error}")),
    };
    // Links cover the entry alone, not the columns beside it. These two comparisons tie the columns to the
    // chain.
    if i64::try_from(entry.seq) != Ok(row.seq) {
        return fault(Check::Identity, format!("the entry is that of event {}", entry.seq));
    }
    if entry.event_id.bytes().as_slice() != row.event_id {
        return fault(Check::Identity, format!("the entry has the event id {}", entry.event_id));
    }
    let is_first = entry.seq == 1;
    if is_first != (entry.kind == Kind::LogCreated.code()) || (is_first && entry.has_session) {
        return fault(
            Check::FirstEvent,
            "the first event must be log.created and have no session, and no other event may be log.created",
        );
    }
    // A NULL payload is judged at the end of the walk, because its licence stands in a later row.
    let own = match row.payload {
        _ if row.is_payload_too_long => {
            return fault(
                Check::Payload,
                "the payload is longer than any payload that Annals writes, and was not read",
            );
        }
        None => None,
        Some(cell) => check_payload(&entry, cell)?,
    };
    // The link comes last in the order of checks. Through the digest in the entry it covers the payload too.
    let Some(previous) = before.hash else {
        return fault(Check::Link, "the link before it does not have 32 bytes");
    };
    if chain::link(&previous, row.entry).bytes().as_slice() != row.hash {
        return fault(Check::Link, "the link does not follow from the link before it and the entry");
    }
    Ok(GoodRow { entry, own })
}

fn check_payload(entry: &EntryRef, cell: &[u8]) -> Result<Option<Box<Event>>, (Check, String)> {
    if chain::payload_digest(cell) != entry.payload_digest {
        return fault(Check::PayloadDigest, "the payload is not the one that was recorded");
    }
    let Some(bytes) = without_salt(cell) else {
        return fault(Check::Payload, "the payload is shorter than a salt");
    };
    // A quick test that builds no value. Whatever it does not accept is decoded, and the decoder has the last
    // word.
    if !is_reserved(entry.kind)
        && Content::is_well_formed(entry.kind, entry.kind_version, entry.encoding, bytes)
    {
        return Ok(None);
    }
    match Content::decode(entry.kind, entry.kind_version, entry.encoding, bytes, Strictness::Canonical) {
        Ok(Content::Event(event)) => Ok(is_reserved(entry.kind).then(|| Box::new(event))),
        // Contents of a newer version are not judged. The digest shows that the bytes are those that were
        // recorded.
        Ok(_) | Err(PayloadError::UnknownVersion { .. }) => Ok(None),
        Err(PayloadError::Malformed(error)) => fault(Check::Payload, format!("the payload {error}")),
    }
}

/// The seq of a row and the events whose erasure it allows, if it is a licence. Judged from the row alone,
/// and so also after a bad row, where the chain proves nothing any more.
pub(super) fn licence(row: RowRef<'_>) -> Option<(i64, Vec<u64>)> {
    // The entry first: most rows are of another kind, and their payloads are not looked at.
    let entry = own_entry(row.seq, row.event_id, row.entry)?;
    if entry.kind != Kind::PayloadRedacted.code() {
        return None;
    }
    match own_event(row)? {
        Event::PayloadRedacted(redacted) => Some((row.seq, redacted.seqs)),
        _ => None,
    }
}

/// The event of a row, if it is of a kind that only Annals writes. Judged from the row alone.
pub(super) fn own_event(row: RowRef<'_>) -> Option<Event> {
    let entry = own_entry(row.seq, row.event_id, row.entry)?;
    let cell = row.payload.filter(|_| !row.is_payload_too_long)?;
    check_payload(&entry.into(), cell).ok()?.map(|own| *own)
}

/// Decodes an entry. None if it is not well formed, or does not belong to the row in which it stands.
pub(super) fn own_entry(seq: i64, event_id: &[u8], entry: &[u8]) -> Option<Entry> {
    let entry = Entry::decode_canonical(entry).ok()?;
    let is_own = i64::try_from(entry.seq) == Ok(seq) && entry.event_id.bytes().as_slice() == event_id;
    is_own.then_some(entry)
}
