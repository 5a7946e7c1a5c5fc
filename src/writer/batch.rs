//! One batch in one transaction: the order of its events, the checks before each append, and the outcomes. `log::store`
//! has the statements, and the guarantees of a transaction.

use std::sync::Arc;

use super::queue::Item;
use crate::apikey::{self, ApiKeyStatus, KeysError};
use crate::entry::Entry;
use crate::event::{Digest, EventId, Seq, Timestamp, is_reserved};
use crate::log::rows::StoredRow;
use crate::log::{Appending, Effect, Head, Inserted, StoreError};
use crate::prepare::{Prepared, SentBy, without_salt};
use crate::receipt::{AppendError, AppendOutcome, Appended, Outcome};

/// The clock that the builder sets.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A batch in its transaction.
pub(crate) struct Batch<'c> {
    log: Appending<'c>,
    clock: Clock,
    /// Buffer for the entry of the current event, so that all events share one allocation.
    entry: Vec<u8>,
}

impl<'c> Batch<'c> {
    /// An empty batch.
    pub(crate) fn new(log: Appending<'c>, clock: Clock) -> Batch<'c> {
        Batch { log, clock, entry: Vec::with_capacity(256) }
    }

    /// The head of the log, including the events of this batch.
    pub(crate) fn head(&self) -> Head {
        self.log.head()
    }

    /// Appends an item's events, and adds an outcome for each of them. An event that is refused has an error as its
    /// outcome. An error of SQLite ends the batch.
    pub(crate) fn append(&mut self, item: &Item, outcomes: &mut Vec<Outcome>) -> rusqlite::Result<()> {
        for prepared in item.events() {
            outcomes.push(self.append_with(prepared, item.effect())?);
        }
        Ok(())
    }

    fn append_with(&mut self, prepared: &Prepared, effect: &Effect) -> rusqlite::Result<Outcome> {
        // The checks below run in the transaction that appends. No other process can change what they read before the
        // commit.
        if let Effect::Redact(seqs) = effect
            && let Some(error) = self.not_redactable(seqs)?
        {
            return Ok(Err(error));
        }
        if let Effect::ApiKeyCreated { name } = effect
            && let Some(error) = self.key_name_taken(name, prepared.event_id)?
        {
            return Ok(Err(error));
        }
        let outcome = self.append_event(prepared)?;
        // An event that was in the log already had its effect when it was first appended.
        if let Ok(Appended { outcome: AppendOutcome::New, .. }) = outcome {
            self.log.apply(effect)?;
        }
        Ok(outcome)
    }

    /// Returns whether the log has an event with this id.
    pub(crate) fn has(&self, event_id: EventId) -> rusqlite::Result<bool> {
        self.log.find(event_id).map(|row| row.is_some())
    }

    /// Appends one event, without its effect.
    pub(crate) fn append_event(&mut self, prepared: &Prepared) -> rusqlite::Result<Outcome> {
        let head = self.log.head();
        let seq = head.seq.next();
        let hash = match prepared.seal(&head.hash, seq, (self.clock)(), &mut self.entry) {
            Ok(hash) => hash,
            Err(error) => return Ok(Err(AppendError::Unfit(error.into()))),
        };
        Ok(match self.log.insert(prepared, &self.entry, &hash)? {
            Inserted::New => {
                Ok(Appended { seq, event_id: prepared.event_id, hash, outcome: AppendOutcome::New })
            }
            Inserted::Known(row) => same_event(&row, prepared),
        })
    }

    fn not_redactable(&self, seqs: &[Seq]) -> rusqlite::Result<Option<AppendError>> {
        // The sequence number that the redaction itself gets. No event has this number or a later one yet.
        let own = self.log.head().seq.next();
        for &seq in seqs {
            let entry = self.log.entry_at(seq)?;
            let reason = match entry.as_deref().map(Entry::decode) {
                _ if seq >= own => Some("there is no such event yet"),
                None => Some("there is no such event"),
                Some(Err(_)) => Some("its entry cannot be read"),
                Some(Ok(entry)) if is_reserved(entry.kind) => {
                    Some("events that Annals itself writes are never redacted")
                }
                Some(Ok(_)) => None,
            };
            if let Some(reason) = reason {
                return Ok(Some(AppendError::NotRedactable { seq, reason }));
            }
        }
        Ok(None)
    }

    /// The error if another active key has this name. The keys are read in this transaction, so no other process can
    /// create one before the commit.
    fn key_name_taken(&self, name: &str, own: EventId) -> rusqlite::Result<Option<AppendError>> {
        let keys = match apikey::read(self.log.connection()) {
            Ok(keys) => keys,
            Err(KeysError::Storage(error)) => return Err(error.into_sqlite()),
            Err(error) => return Ok(Some(AppendError::NotWritten { reason: error.to_string().into() })),
        };
        let now = (self.clock)();
        let other = keys
            .into_iter()
            .find(|key| key.name == name && key.id != own && key.status(now) == ApiKeyStatus::Active);
        Ok(other.map(|key| AppendError::KeyNameTaken { name: name.into(), id: key.id }))
    }

    /// Commits. After an error it is unknown whether the batch took effect.
    pub(crate) fn commit(self) -> Result<(), StoreError> {
        self.log.commit()
    }
}

/// Decides whether an event with the id of a recorded event is the same event, sent again.
fn same_event(row: &StoredRow, prepared: &Prepared) -> Outcome {
    let seq = Seq::from_sql(row.seq);
    let conflict = Err(AppendError::Conflict { event_id: prepared.event_id, seq });
    // A recorded row that cannot be read is a conflict: nothing shows that the events are the same.
    let (Ok(entry), Ok(hash)) = (Entry::decode(&row.entry), row.hash.as_slice().try_into()) else {
        return conflict;
    };
    let same_payload = match row.payload.as_deref() {
        // Redacted: the content cannot be compared any more. An error would ask the sender for the erased content
        // again, under another id.
        None => true,
        Some(cell) => {
            entry.kind == prepared.kind
                && entry.kind_version == prepared.kind_version
                && entry.session == prepared.session
                && entry.occurred_at == prepared.occurred_at
                // The salt is left out, because each time an event is prepared it gets a new one.
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
