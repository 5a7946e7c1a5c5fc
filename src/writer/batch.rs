//! One batch in one transaction: sealed under the write lock, after the head was read there.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, Transaction};

use super::queue::Item;
use crate::apikey::{self, ApiKeyStatus, KeysError};
use crate::entry::Entry;
use crate::event::{Digest, EventId, Seq, Timestamp, is_reserved};
use crate::log::Effect;
use crate::log::rows::{self, Head, Insert, StoredRow};
use crate::log::turns::begin;
use crate::prepare::{Prepared, SentBy, without_salt};
use crate::receipt::{AppendError, AppendOutcome, Appended, Outcome};

/// The injected clock.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A batch in its transaction.
pub(crate) struct Batch<'c> {
    tx: Transaction<'c>,
    insert: Insert<'c>,
    head: Head,
    clock: Clock,
    /// The entry of the event at hand: one allocation for all.
    entry: Vec<u8>,
}

impl<'c> Batch<'c> {
    /// Begins the transaction and reads the head in it: other processes may have appended.
    pub(crate) fn begin(connection: &'c Connection, clock: Clock) -> rusqlite::Result<Batch<'c>> {
        let tx = begin(connection)?;
        let head = rows::head(&tx)?;
        Ok(Batch { tx, insert: Insert::new(connection)?, head, clock, entry: Vec::with_capacity(256) })
    }

    /// The end of the log, with what this batch appended so far.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Appends an item's events. An answer about one event alone is in its outcome; the error is the
    /// end of the batch.
    pub(crate) fn append(&mut self, item: &Item, outcomes: &mut Vec<Outcome>) -> rusqlite::Result<()> {
        for prepared in item.events() {
            outcomes.push(self.append_with(prepared, item.effect())?);
        }
        Ok(())
    }

    fn append_with(&mut self, prepared: &Prepared, effect: &Effect) -> rusqlite::Result<Outcome> {
        let seq = self.head.seq.next();
        if let Effect::Redact(seqs) = effect
            && let Some(error) = self.not_redactable(seqs, seq)?
        {
            return Ok(Err(error));
        }
        if let Effect::ApiKeyCreated { name } = effect
            && let Some(error) = self.key_name_taken(name, prepared.event_id)?
        {
            return Ok(Err(error));
        }
        let outcome = self.append_event(prepared)?;
        if let Ok(Appended { seq, outcome: AppendOutcome::New, .. }) = outcome {
            effect.apply(&self.tx, seq)?;
        }
        Ok(outcome)
    }

    /// Whether the log has an event with this id.
    pub(crate) fn has(&self, event_id: EventId) -> rusqlite::Result<bool> {
        StoredRow::find(&self.tx, event_id).map(|row| row.is_some())
    }

    /// Appends one event without effects.
    pub(crate) fn append_event(&mut self, prepared: &Prepared) -> rusqlite::Result<Outcome> {
        let seq = self.head.seq.next();
        let hash = match prepared.seal(&self.head.hash, seq, (self.clock)(), &mut self.entry) {
            Ok(hash) => hash,
            Err(error) => return Ok(Err(AppendError::Unfit(error.into()))),
        };
        match self.insert.row(seq, prepared, &self.entry, &hash) {
            Ok(()) => {
                self.head = Head { seq, hash };
                let event_id = prepared.event_id;
                Ok(Ok(Appended { seq, event_id, hash, outcome: AppendOutcome::New }))
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                match StoredRow::find(&self.tx, prepared.event_id)? {
                    Some(row) => Ok(same_event(&row, prepared)),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn not_redactable(&self, seqs: &[Seq], own: Seq) -> rusqlite::Result<Option<AppendError>> {
        for &seq in seqs {
            let entry = rows::entry_at(&self.tx, seq)?;
            let reason = match entry.as_deref().map(Entry::decode) {
                _ if seq >= own => Some("there is no such event yet"),
                None => Some("there is no such event"),
                Some(Err(_)) => Some("its entry cannot be read"),
                Some(Ok(entry)) if is_reserved(entry.kind) => Some("events that Annals itself writes stay"),
                Some(Ok(_)) => None,
            };
            if let Some(reason) = reason {
                return Ok(Some(AppendError::NotRedactable { seq, reason }));
            }
        }
        Ok(None)
    }

    /// Whether another key has a name. It is decided here, where nobody else can be creating one.
    fn key_name_taken(&self, name: &str, own: EventId) -> rusqlite::Result<Option<AppendError>> {
        let keys = match apikey::read(&self.tx) {
            Ok(keys) => keys,
            Err(KeysError::Storage(error)) => return Err(error.into_sqlite()),
            Err(error) => return Ok(Some(AppendError::NotWritten { reason: error.to_string().into() })),
        };
        let now = (self.clock)();
        let taken = keys
            .into_iter()
            .find(|key| key.name == name && key.id != own && key.status(now) == ApiKeyStatus::Active);
        Ok(taken.map(|key| AppendError::KeyNameTaken { name: name.into(), id: key.id }))
    }

    /// Commits. An error does not tell whether it took effect.
    pub(crate) fn commit(self) -> rusqlite::Result<()> {
        self.tx.commit()
    }
}

/// Whether an event with the id of a recorded one is that event, sent again.
fn same_event(row: &StoredRow, prepared: &Prepared) -> Outcome {
    let seq = Seq::from_sql(row.seq);
    let conflict = Err(AppendError::Conflict { event_id: prepared.event_id, seq });
    let (Ok(entry), Ok(hash)) = (Entry::decode(&row.entry), row.hash.as_slice().try_into()) else {
        return conflict;
    };
    let same_payload = match row.payload.as_deref() {
        // Redacted: what it said cannot be compared any more, and must not be asked for again.
        None => true,
        Some(cell) => {
            entry.kind == prepared.kind
                && entry.kind_version == prepared.kind_version
                && entry.session == prepared.session
                && entry.occurred_at == prepared.occurred_at
                && without_salt(cell) == without_salt(&prepared.cell)
        }
    };
    if same_payload && (prepared.sent_by == SentBy::Anybody || entry.principal == prepared.principal) {
        Ok(Appended {
            seq,
            event_id: prepared.event_id,
            hash: Digest::from_bytes(hash),
            outcome: AppendOutcome::AlreadyRecorded,
        })
    } else {
        conflict
    }
}
