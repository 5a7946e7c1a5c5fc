//! The thread of an anchor: delivers the newest checkpoint, and tries again after a failure.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, OptionalExtension, params};

use super::contract::{Anchor, AnchorAnswer, AnchorError};
use super::health::AnchorHealth;
use crate::evidence::keys::KeyFolder;
use crate::evidence::signer::{self, SignError, Site};
use crate::evidence::stored;
use crate::evidence::tree::TreeReader;
use crate::log::presence::Present;
use crate::log::rows;
use crate::log::write_lock::{Who, WriteLock, begin};
use crate::log::{self, AtClose, Claim, Durability, OpenError};
use crate::merkle::consistency_proof;
use crate::note::SignedCheckpoint;
use crate::writer::Clock;

/// Interval at which the thread looks for checkpoints of other processes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// First and longest pause between attempts at an anchor that fails; each pause is twice the one before.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Attempts in a row, if checkpoints are signed faster than the anchor takes them.
const ATTEMPTS_MAX: usize = 3;

/// The state of an anchor's thread.
pub(crate) struct Deliverer {
    pub(crate) path: PathBuf,
    pub(crate) anchor: Box<dyn Anchor>,
    pub(crate) keys: KeyFolder,
    pub(crate) write_lock: Arc<WriteLock>,
    pub(crate) clock: Clock,
    /// Signals a new checkpoint; disconnected when the log is closed.
    pub(crate) wake: Receiver<()>,
    /// The health of the anchor, shared with the handle.
    pub(crate) health: Arc<Mutex<AnchorHealth>>,
}

/// The reason why a delivery failed.
#[derive(Debug, thiserror::Error)]
enum DeliveryFailure {
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    #[error("the log cannot be opened: {0}")]
    Open(#[from] OpenError),
    #[error(transparent)]
    Log(#[from] SignError),
}

impl From<rusqlite::Error> for DeliveryFailure {
    fn from(error: rusqlite::Error) -> DeliveryFailure {
        DeliveryFailure::Log(error.into())
    }
}

/// The open connection of an anchor's thread, registered with the other connections of its handle.
struct OpenConnection {
    // Fields drop in this order: the connection is closed before it stops being counted.
    connection: Connection,
    _present: Present,
}

impl Deliverer {
    /// Delivers checkpoints until the log is closed, and then delivers the last one.
    pub(crate) fn run(mut self) {
        let mut open: Option<OpenConnection> = None;
        let mut failing: Option<(Instant, Duration)> = None;
        loop {
            let wait =
                failing.map_or(LOOK_EVERY, |(until, _)| until.saturating_duration_since(Instant::now()));
            // No longer than `LOOK_EVERY`, also during a pause: the writer may ask for the connection to be closed.
            let woken = self.wake.recv_timeout(wait.min(LOOK_EVERY));
            if self.write_lock.presence().must_leave()
                && let Some(open) = open.take()
            {
                // Closed without a checkpoint of the write-ahead log: the writer moves its content into the file.
                let _ = log::at_close(&open.connection, AtClose::LeaveAsItIs);
            }
            let is_closing = woken == Err(RecvTimeoutError::Disconnected);
            // A new checkpoint does not shorten the pause of a failing anchor. The close of the log does: this is the
            // last attempt.
            let is_early = failing.is_some_and(|(until, _)| Instant::now() < until);
            if is_closing || !is_early {
                failing = match self.deliver(&mut open) {
                    Ok(()) => None,
                    Err(_) => {
                        let pause = failing.map_or(RETRY.0, |(_, pause)| (2 * pause).min(RETRY.1));
                        Some((Instant::now() + pause, pause))
                    }
                };
            }
            if is_closing {
                return;
            }
        }
    }

    /// Delivers the newest checkpoint, unless the anchor has it, and updates the health of the anchor.
    fn deliver(&mut self, open: &mut Option<OpenConnection>) -> Result<(), DeliveryFailure> {
        let delivered = self.deliver_to(open);
        {
            // Locked only for the update: the delivery above may block, and readers of the health must not
            // wait for it.
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            match &delivered {
                Ok(Some((size, committed))) => health.delivered(*size, *committed),
                Ok(None) => {}
                Err(error) => health.failed(error.to_string()),
            }
        }
        delivered.map(drop)
    }

    /// Returns the size that the anchor has, and the number of events. Returns None while the log is being
    /// released: then there is nothing new to deliver.
    fn deliver_to(
        &mut self,
        open: &mut Option<OpenConnection>,
    ) -> Result<Option<(Option<u64>, u64)>, DeliveryFailure> {
        // Put back only at the end: after an error of the file itself, the next attempt opens a new connection.
        let own = match open.take() {
            Some(own) => own,
            None => {
                let Some(present) = self.write_lock.presence().enter() else { return Ok(None) };
                let opened = log::open_writer(&self.path, Durability::Normal, Claim::Settled)?;
                OpenConnection { connection: opened.connection, _present: present }
            }
        };
        let name = self.anchor.name();
        let delivered = self.deliver_over(&own.connection, &name);
        if let Err(error) = &delivered {
            // If the failure cannot be recorded either, the whole delivery is tried again.
            self.record_failure(&own.connection, &name, &error.to_string())?;
        }
        let head = rows::head(&own.connection)?.seq.get();
        *open = Some(own);
        Ok(Some((delivered?, head)))
    }

    /// Delivers the newest checkpoint. If another process signs a newer one during the attempt, that one is
    /// delivered before an error is reported: an anchor that has a larger checkpoint than this process sent
    /// may have it from that process.
    fn deliver_over(&mut self, connection: &Connection, name: &str) -> Result<Option<u64>, DeliveryFailure> {
        for _ in 1..ATTEMPTS_MAX {
            let before = self.last_size()?;
            match self.deliver_once(connection, name) {
                // Only an error of the anchor can come from a newer checkpoint; any other is returned at once.
                Err(DeliveryFailure::Anchor(_)) if self.last_size()? > before => {}
                delivered => return delivered,
            }
        }
        self.deliver_once(connection, name)
    }

    fn last_size(&self) -> Result<Option<u64>, SignError> {
        Ok(self.keys.last_signed()?.map(|last| last.size()))
    }

    fn deliver_once(&mut self, connection: &Connection, name: &str) -> Result<Option<u64>, DeliveryFailure> {
        // The file beside the key decides which checkpoint was signed. A program that can write the log can
        // also write the table. So the table adds only cosignatures, and only to the same text.
        let Some(mut checkpoint) = self.keys.last_signed().map_err(SignError::from)? else { return Ok(None) };
        let size = checkpoint.size();
        if let Some(stored) = stored::of_size(connection, checkpoint.size())?
            && stored.text() == checkpoint.text()
        {
            checkpoint.add_signatures(stored.signatures().iter().cloned());
        }
        if has(connection, name, size)? {
            return Ok(Some(size));
        }
        // A transaction for each proof, so that the whole proof is made from one moment of the log.
        let mut prove = |old, new| {
            let prove = || -> Result<_, String> {
                let moment = connection.unchecked_transaction().map_err(|error| error.to_string())?;
                let mut tree = TreeReader::new(&moment).map_err(|error| error.to_string())?;
                consistency_proof(&mut tree, old, new).map_err(|error| error.to_string())
            };
            prove().map_err(AnchorError::new)
        };
        // The call may block for long. It runs without the write lock and outside any transaction.
        let taken = self.anchor.submit(&checkpoint, &mut prove)?;
        self.record(connection, name, checkpoint, taken)?;
        Ok(Some(size))
    }

    fn record(
        &self,
        connection: &Connection,
        name: &str,
        mut checkpoint: SignedCheckpoint,
        taken: AnchorAnswer,
    ) -> Result<(), DeliveryFailure> {
        let size = checkpoint.size();
        if let AnchorAnswer::Cosigned(signatures) = &taken {
            checkpoint.add_signatures(signatures.iter().cloned());
            // Takes the write lock itself, so it comes before the lock below.
            let site =
                Site { path: &self.path, connection, write_lock: &self.write_lock, clock: &self.clock };
            signer::record(&site, &checkpoint)?;
        }
        // Recorded only after the anchor took the checkpoint. A crash in between delivers it a second time, which
        // the contract of `Anchor` allows.
        let _guard = self.write_lock.take(Who::Projection).map_err(SignError::WriteLock)?;
        let tx = begin(connection)?;
        if let AnchorAnswer::Receipt(receipt) = taken {
            tx.execute(
                "INSERT OR REPLACE INTO anchor_receipts (name, size, receipt) VALUES (?1, ?2, ?3)",
                params![name, i64::try_from(size).unwrap_or(i64::MAX), receipt],
            )?;
        }
        signer::succeeded(&tx, name, size, (self.clock)())?;
        Ok(tx.commit()?)
    }

    fn record_failure(
        &self,
        connection: &Connection,
        name: &str,
        error: &str,
    ) -> Result<(), DeliveryFailure> {
        let _guard = self.write_lock.take(Who::Projection).map_err(SignError::WriteLock)?;
        let tx = begin(connection)?;
        signer::failed(&tx, name, error, (self.clock)())?;
        Ok(tx.commit()?)
    }
}

/// Returns true if the table says that the anchor took a checkpoint of exactly this size and has not failed since.
fn has(connection: &Connection, name: &str, size: u64) -> rusqlite::Result<bool> {
    let taken: Option<Option<i64>> = connection
        .prepare_cached("SELECT size FROM anchors WHERE name = ?1 AND failed_since IS NULL")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(taken.flatten() == i64::try_from(size).ok())
}
