//! Settings of the layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::filter::LevelFilter;

use super::losses::{Loss, Losses};
use crate::destination::{Destination, sealed};
use crate::event::StepKind;

/// The spans that become sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sessions {
    /// Root spans, which have no recorded span around them, and spans with the field `annals.session`.
    #[default]
    Roots,
    /// Spans with the field `annals.session`. Spans outside of such a session are not recorded.
    Marked,
}

/// The behaviour while the log's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The program waits.
    #[default]
    Block,
    /// The event is lost, and counted.
    Lose,
}

/// A layer that records spans and events in a log. See the [module](super) for the mapping.
#[derive(Debug)]
pub struct AuditLayer {
    /// The number of this layer among the layers of a registry.
    pub(super) number: u64,
    pub(super) log: Arc<dyn sealed::Append>,
    pub(super) sessions: Sessions,
    pub(super) when_full: WhenFull,
    pub(super) notes: LevelFilter,
    pub(super) kinds: Vec<(String, StepKind)>,
    pub(super) losses: Arc<Losses>,
}

impl AuditLayer {
    /// Returns a layer that records in this log, which is open in this process or behind a server.
    pub fn new(log: impl Destination) -> AuditLayer {
        // Only the uniqueness of the number matters, so `Relaxed` is enough.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        AuditLayer {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            log: Arc::new(log),
            sessions: Sessions::default(),
            when_full: WhenFull::default(),
            notes: LevelFilter::INFO,
            kinds: Vec::new(),
            losses: Arc::default(),
        }
    }

    /// Sets the spans that become sessions. The default is [`Sessions::Roots`].
    #[must_use]
    pub fn sessions(mut self, sessions: Sessions) -> AuditLayer {
        self.sessions = sessions;
        self
    }

    /// Sets the behaviour while the log's queue is full. The default is [`WhenFull::Block`].
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> AuditLayer {
        self.when_full = when_full;
        self
    }

    /// Sets the lowest level at which events become notes. The default is INFO.
    #[must_use]
    pub fn notes(mut self, level: impl Into<LevelFilter>) -> AuditLayer {
        self.notes = level.into();
        self
    }

    /// Sets the kind of steps with spans of this target, or of one below it. A kind that the span states
    /// itself comes first.
    #[must_use]
    pub fn kind_of(mut self, target: impl Into<String>, kind: StepKind) -> AuditLayer {
        self.kinds.push((target.into(), kind));
        self
    }

    /// Sets a function that is called for the first event that the log does not take. It runs on the
    /// program's thread, in the middle of the program's work.
    #[must_use]
    pub fn on_loss(mut self, hear: impl Fn(&Loss) + Send + Sync + 'static) -> AuditLayer {
        // A new counter. A watch that was taken before still reads the old one.
        self.losses = Arc::new(Losses::heard_by(hear));
        self
    }

    /// Returns a handle that reports the number of losses later. Call it after [`AuditLayer::on_loss`].
    pub fn watch(&self) -> LayerWatch {
        LayerWatch { losses: Arc::clone(&self.losses) }
    }
}

/// The losses of a layer, readable after the layer itself was moved into a subscriber.
#[derive(Clone, Debug)]
pub struct LayerWatch {
    losses: Arc<Losses>,
}

impl LayerWatch {
    /// Returns the number of events that the log did not take as they were.
    pub fn lost(&self) -> u64 {
        self.losses.count()
    }
}
