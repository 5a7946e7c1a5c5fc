//! The settings with which a log is opened, and its opening.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::event::{Continues, Draft, EventId, Timestamp};
use crate::evidence::{self, Evidence};
use crate::limits::{
    BATCH_BYTES_DEFAULT, BATCH_EVENTS_DEFAULT, PAYLOAD_BYTES_DEFAULT, PAYLOAD_BYTES_MAX, QUEUE_BYTES_MAX,
    QUEUE_EVENTS_DEFAULT,
};
use crate::log::write_lock::WriteLock;
use crate::log::{self, Claim, Durability, OpenError, OpenLog, resolved};
use crate::prepare::Filter;
use crate::progress::Progress;
use crate::projection::schedule::worker::Worker;
use crate::projection::tables;
use crate::writer::{Clock, Config, Queue, Shared, Writer};

use super::handle::{AuditLog, EvidenceThread, Inner, ProjectionThread, Threads};

/// The setting that decides whether this process fills the read tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Projections {
    /// A thread of this process fills them.
    #[default]
    On,
    /// Another process fills them, or none does for now. They catch up later.
    Off,
}

/// The settings with which a log is opened. Start with [`AuditLog::builder`].
pub struct Builder {
    path: PathBuf,
    durability: Durability,
    queue_events: usize,
    batch_events: usize,
    batch_bytes: usize,
    linger: Duration,
    payload_bytes_max: usize,
    origin: Option<String>,
    principal: Option<EventId>,
    projections: Projections,
    evidence: Evidence,
    continues: Option<Continues>,
    filter: Option<Filter>,
    clock: Clock,
    claim: Claim,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("path", &self.path).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// A builder that opens the log at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> Builder {
        Builder::new(path.into())
    }

    /// Opens the log at `path` with the default settings. Creates the log if it does not exist.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<AuditLog, OpenError> {
        AuditLog::builder(path).open()
    }
}

impl Builder {
    pub(super) fn new(path: PathBuf) -> Builder {
        Builder {
            path,
            durability: Durability::Full,
            queue_events: QUEUE_EVENTS_DEFAULT,
            batch_events: BATCH_EVENTS_DEFAULT,
            batch_bytes: BATCH_BYTES_DEFAULT,
            linger: Duration::ZERO,
            payload_bytes_max: PAYLOAD_BYTES_DEFAULT,
            origin: None,
            principal: None,
            projections: Projections::On,
            evidence: Evidence::Tree,
            continues: None,
            filter: None,
            clock: Arc::new(Timestamp::now),
            claim: Claim::Cautious,
        }
    }

    /// Sets the failures that an acknowledged event survives. The default is [`Durability::Full`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.durability = durability;
        self
    }

    /// Sets the number of events that may wait for the writer, at least 1. A batch counts as one event. `append` blocks
    /// while that many wait.
    #[must_use]
    pub fn queue_events(mut self, events: usize) -> Builder {
        self.queue_events = events.max(1);
        self
    }

    /// Sets the number of events after which a batch is closed, at least 1.
    #[must_use]
    pub fn batch_events(mut self, events: usize) -> Builder {
        self.batch_events = events.max(1);
        self
    }

    /// Sets the payload bytes after which a batch is closed, at least 1.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Builder {
        self.batch_bytes = bytes.max(1);
        self
    }

    /// Sets the time that the writer waits for more events before it commits a batch that is not full. The default is
    /// zero: events that arrive during the flush of one batch form the next batch anyway.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Builder {
        self.linger = linger;
        self
    }

    /// Sets the largest payload that is accepted, in bytes as encoded. The default is 4 MiB, the maximum 64 MiB.
    #[must_use]
    pub fn payload_bytes_max(mut self, bytes: usize) -> Builder {
        self.payload_bytes_max = bytes.min(PAYLOAD_BYTES_MAX);
        self
    }

    /// Sets the name of the log, if this opening creates it: 1 to 255 bytes without spaces, `+` and control characters,
    /// such as `example.com/audit/billing`.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Builder {
        self.origin = Some(origin.into());
        self
    }

    /// Sets the principal: the id of the API key with which the events of this handle are submitted. It is part of
    /// every entry.
    #[must_use]
    pub fn principal(mut self, principal: EventId) -> Builder {
        self.principal = Some(principal);
        self
    }

    /// Sets whether this process fills the read tables. The default is [`Projections::On`].
    #[must_use]
    pub fn projections(mut self, projections: Projections) -> Builder {
        self.projections = projections;
        self
    }

    /// Sets the evidence that this process makes. By default it extends the Merkle tree, and signs nothing.
    #[must_use]
    pub fn evidence(mut self, evidence: Evidence) -> Builder {
        self.evidence = evidence;
        self
    }

    /// Sets the log that this one continues, if this opening creates it.
    #[must_use]
    pub fn continues(mut self, continues: Continues) -> Builder {
        self.continues = Some(continues);
        self
    }

    /// Opens the log even if another machine has it open, or did not close it. Use this after a crash of that machine,
    /// or for a copy of a log in use. Make sure first that no program on the other machine still appends to the file.
    #[must_use]
    pub fn take_over(mut self) -> Builder {
        self.claim = Claim::TakeOver;
        self
    }

    /// Sets a function that is called with every draft before it is encoded, on the caller's own thread. The function
    /// may change the draft, or refuse it with a reason.
    ///
    /// ```
    /// use annals::{AuditLog, Event};
    ///
    /// let builder = AuditLog::builder("audit.db").filter(|draft| {
    ///     if let Event::StepStarted(step) = &mut draft.event {
    ///         step.input = step.input.take().map(|input| input.replace("4111 1111 1111 1111", "[card]"));
    ///     }
    ///     Ok(())
    /// });
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn filter(
        mut self,
        filter: impl Fn(&mut Draft) -> Result<(), String> + Send + Sync + 'static,
    ) -> Builder {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Sets the clock for `recorded_at`, and for the times of [`Session`](crate::Session) and [`Step`](crate::Step)
    /// handles. The default is the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Builder {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens the log. Creates it if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be opened or created, or is not a log. The message has the remedy.
    pub fn open(self) -> Result<AuditLog, OpenError> {
        if !self.path.try_exists().map_err(|error| OpenError::io(&self.path, "cannot be examined", error))? {
            let first = log::First {
                origin: self.origin.as_deref(),
                continues: self.continues.clone(),
                now: (self.clock)(),
            };
            log::create(&self.path, first, &tables::install)?;
        }
        self.open_existing()
    }

    /// Opens a log that exists.
    ///
    /// # Errors
    /// If the file cannot be opened, or is not a log. The message has the remedy.
    pub fn open_existing(mut self) -> Result<AuditLog, OpenError> {
        let name = std::path::absolute(&self.path)
            .map_err(|error| OpenError::io(&self.path, "cannot be examined", error))?;
        self.path = resolved(&self.path)?;
        // One message in the channel is enough: the thread that receives it finds everything that was committed before.
        let (wake, woken) = crossbeam_channel::bounded(1);
        let (order, orders) = crossbeam_channel::bounded(1);
        let progress = Arc::new(Progress::default());
        let queue = Arc::new(Queue::new(self.queue_events, QUEUE_BYTES_MAX));
        let config = Config {
            path: self.path.clone(),
            name,
            durability: self.durability,
            batch_events: self.batch_events,
            batch_bytes: self.batch_bytes,
            linger: self.linger,
            clock: self.clock.clone(),
        };
        let log = OpenLog::open(&self.path, self.durability, self.claim)?;
        // After `OpenLog::open`, which refuses other files: lock files are created only beside a log.
        let write_lock = Arc::new(WriteLock::open(&self.path)?);
        let database = log.database();
        let shared =
            Shared { progress: progress.clone(), write_lock: write_lock.clone(), queue: queue.clone(), wake };
        let writer = Writer::new(log, config, shared)?;
        let log_id = writer.log_id();
        let spawn_error = |error| OpenError::io(&self.path, "its threads cannot be started", error);
        let projections = match self.projections {
            Projections::Off => None,
            Projections::On => {
                let worker = Worker::open(&self.path, progress.clone(), write_lock.clone())?;
                let thread = std::thread::Builder::new()
                    .name("annals-projections".to_owned())
                    .spawn(move || worker.run(&woken, &orders))
                    .map_err(spawn_error)?;
                Some(ProjectionThread { order, thread })
            }
        };
        let evidence_state = evidence::SharedState::default();
        let evidence = match self.evidence {
            Evidence::Off => None,
            wanted => {
                // Unbounded, so that sending never blocks. Few orders wait in it, because a caller waits for its
                // answer.
                let (order, orders) = crossbeam_channel::unbounded();
                let worker = evidence::Worker::open(
                    &self.path,
                    wanted,
                    write_lock.clone(),
                    self.clock.clone(),
                    queue.clone(),
                    evidence_state.clone(),
                )?;
                let thread = std::thread::Builder::new()
                    .name("annals-evidence".to_owned())
                    .spawn(move || worker.run(&orders))
                    .map_err(spawn_error)?;
                Some(EvidenceThread { order, thread })
            }
        };
        let evidence_order = evidence.as_ref().map(|evidence| evidence.order.clone());
        // Started last. An error above drops the channels of the other threads, which ends them, and there is no writer
        // to stop.
        let writer = std::thread::Builder::new()
            .name("annals-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(spawn_error)?;
        Ok(AuditLog {
            principal: self.principal,
            inner: Arc::new(Inner {
                path: self.path,
                log_id,
                database,
                queue,
                progress,
                write_lock,
                payload_bytes_max: self.payload_bytes_max,
                filter: self.filter,
                clock: self.clock,
                evidence: evidence_order,
                evidence_state,
                threads: Mutex::new(Some(Threads { writer, projections, evidence })),
            }),
        })
    }
}
