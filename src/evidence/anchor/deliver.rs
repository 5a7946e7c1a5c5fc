//! The thread of an anchor: brings it the newest checkpoint, and tries again where that fails.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, OptionalExtension, params};

use super::contract::{Anchor, AnchorError, Taken};
use super::health::AnchorHealth;
use crate::evidence::keys::KeyFolder;
use crate::evidence::signer::{self, SignError, Site};
use crate::evidence::stored;
use crate::evidence::tree::TreeReader;
use crate::log::presence::Present;
use crate::log::rows;
use crate::log::turns::{Turns, Who, begin};
use crate::log::{self, AtClose, Claim, Durability, OpenError};
use crate::merkle::consistency_proof;
use crate::note::SignedCheckpoint;
use crate::writer::Clock;

/// How often the thread looks whether another process made a checkpoint.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// First and longest time between attempts at an anchor that fails.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Attempts at an anchor in a row, where checkpoints are signed faster than it takes them.
const ATTEMPTS_MAX: usize = 3;

/// An anchor's thread.
pub(crate) struct Deliverer {
    pub(crate) path: PathBuf,
    pub(crate) anchor: Box<dyn Anchor>,
    pub(crate) keys: KeyFolder,
    pub(crate) turns: Arc<Turns>,
    pub(crate) clock: Clock,
    /// Told of a new checkpoint; disconnected when the log is closed.
    pub(crate) wake: Receiver<()>,
    /// Where it says how the anchor fares.
    pub(crate) health: Arc<Mutex<AnchorHealth>>,
}

/// Why a delivery did not come about.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    #[error("the log cannot be opened: {0}")]
    Open(#[from] OpenError),
    #[error(transparent)]
    Log(#[from] SignError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Log(error.into())
    }
}

/// A connection of an anchor's thread, registered with the others of its handle as long as it is open.
struct Kept {
    connection: Connection,
    _present: Present,
}

impl Deliverer {
    /// Works until the log is closed, and then brings the last checkpoint.
    pub(crate) fn run(mut self) {
        let mut kept: Option<Kept> = None;
        let mut failing: Option<(Instant, Duration)> = None;
        loop {
            let wait =
                failing.map_or(LOOK_EVERY, |(until, _)| until.saturating_duration_since(Instant::now()));
            // Also while it waits to try again it may have to let go of the log.
            let woken = self.wake.recv_timeout(wait.min(LOOK_EVERY));
            if self.turns.presence().must_leave()
                && let Some(kept) = kept.take()
            {
                // The writer moves what this connection wrote into the file.
                let _ = log::at_close(&kept.connection, AtClose::LeaveAsItIs);
            }
            let is_closing = woken == Err(RecvTimeoutError::Disconnected);
            // A new checkpoint is no reason to try a failing anchor sooner; the end of the log is.
            let is_early = failing.is_some_and(|(until, _)| Instant::now() < until);
            if is_closing || !is_early {
                failing = match self.deliver(&mut kept) {
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

    /// Brings the newest checkpoint, unless the anchor has it, and records how that went.
    fn deliver(&mut self, kept: &mut Option<Kept>) -> Result<(), Failure> {
        let delivered = self.deliver_to(kept);
        {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            match &delivered {
                Ok(Some((size, committed))) => health.delivered(*size, *committed),
                Ok(None) => {}
                Err(error) => health.failed(error.to_string()),
            }
        }
        delivered.map(drop)
    }

    /// Says the size that the anchor has, and the events that there are. None where the log is let go of: then there is
    /// nothing new to bring.
    fn deliver_to(&mut self, kept: &mut Option<Kept>) -> Result<Option<(Option<u64>, u64)>, Failure> {
        let own = match kept.take() {
            Some(own) => own,
            None => {
                let Some(present) = self.turns.presence().enter() else { return Ok(None) };
                let opened = log::open_writer(&self.path, Durability::Normal, Claim::Settled)?;
                Kept { connection: opened.connection, _present: present }
            }
        };
        let name = self.anchor.name();
        let delivered = self.deliver_over(&own.connection, &name);
        if let Err(error) = &delivered {
            // What cannot be recorded either is tried again with the rest.
            self.record_failure(&own.connection, &name, &error.to_string())?;
        }
        let head = rows::head(&own.connection)?.seq.get();
        *kept = Some(own);
        Ok(Some((delivered?, head)))
    }

    /// Brings the newest checkpoint. One that another process signs meanwhile is brought next, before anything is
    /// said of one that came too late: an anchor that has more than it is given may have it from there.
    fn deliver_over(&mut self, connection: &Connection, name: &str) -> Result<Option<u64>, Failure> {
        for _ in 1..ATTEMPTS_MAX {
            let before = self.last_size()?;
            match self.deliver_once(connection, name) {
                Err(Failure::Anchor(_)) if self.last_size()? > before => {}
                delivered => return delivered,
            }
        }
        self.deliver_once(connection, name)
    }

    fn last_size(&self) -> Result<Option<u64>, SignError> {
        Ok(self.keys.last_signed()?.map(|last| last.size()))
    }

    fn deliver_once(&mut self, connection: &Connection, name: &str) -> Result<Option<u64>, Failure> {
        // What was signed is known from beside the key. The table may hold what somebody wrote there, and
        // adds cosignatures alone.
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
        let mut prove = |old, new| {
            let prove = || -> Result<_, String> {
                let moment = connection.unchecked_transaction().map_err(|error| error.to_string())?;
                let mut tree = TreeReader::new(&moment).map_err(|error| error.to_string())?;
                consistency_proof(&mut tree, old, new).map_err(|error| error.to_string())
            };
            prove().map_err(AnchorError::new)
        };
        let taken = self.anchor.take(&checkpoint, &mut prove)?;
        self.record(connection, name, checkpoint, taken)?;
        Ok(Some(size))
    }

    fn record(
        &self,
        connection: &Connection,
        name: &str,
        mut checkpoint: SignedCheckpoint,
        taken: Taken,
    ) -> Result<(), Failure> {
        let size = checkpoint.size();
        if let Taken::Cosigned(signatures) = &taken {
            checkpoint.add_signatures(signatures.iter().cloned());
            let site = Site { path: &self.path, connection, turns: &self.turns, clock: &self.clock };
            signer::record(&site, &checkpoint)?;
        }
        let _turn = self.turns.take(Who::Projection).map_err(SignError::Turn)?;
        let tx = begin(connection)?;
        if let Taken::Receipt(receipt) = taken {
            tx.execute(
                "INSERT OR REPLACE INTO anchor_receipts (name, size, receipt) VALUES (?1, ?2, ?3)",
                params![name, i64::try_from(size).unwrap_or(i64::MAX), receipt],
            )?;
        }
        signer::succeeded(&tx, name, size, (self.clock)())?;
        Ok(tx.commit()?)
    }

    fn record_failure(&self, connection: &Connection, name: &str, error: &str) -> Result<(), Failure> {
        let _turn = self.turns.take(Who::Projection).map_err(SignError::Turn)?;
        let tx = begin(connection)?;
        signer::failed(&tx, name, error, (self.clock)())?;
        Ok(tx.commit()?)
    }
}

/// Whether an anchor has the checkpoint of this very size, as far as is known here.
fn has(connection: &Connection, name: &str, size: u64) -> rusqlite::Result<bool> {
    let taken: Option<Option<i64>> = connection
        .prepare_cached("SELECT size FROM anchors WHERE name = ?1 AND failed_since IS NULL")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(taken.flatten() == i64::try_from(size).ok())
}
