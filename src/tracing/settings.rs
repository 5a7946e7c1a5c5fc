//! The layer as a program sets it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::filter::LevelFilter;

use super::losses::{Loss, Losses};
use crate::destination::{Destination, sealed};
use crate::event::StepKind;

/// Which spans become sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sessions {
    /// Those outside of all others, and those with the field `annals.session`.
    #[default]
    Roots,
    /// Those with the field `annals.session`; spans outside of these are not recorded.
    Marked,
}

/// What happens while the log's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The program waits.
    #[default]
    Block,
    /// The event is lost, and counted.
    Lose,
}

/// The layer. See the [module](super) for what it records.
#[derive(Debug)]
pub struct AuditLayer {
    /// Tells it apart from other layers of the same registry.
    pub(super) number: u64,
    pub(super) log: Arc<dyn sealed::Append>,
    pub(super) sessions: Sessions,
    pub(super) when_full: WhenFull,
    pub(super) notes: LevelFilter,
    pub(super) kinds: Vec<(String, StepKind)>,
    pub(super) losses: Arc<Losses>,
}

impl AuditLayer {
    /// A layer that records in this log: one that is open here, or a server's.
    pub fn new(log: impl Destination) -> AuditLayer {
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

    /// Which spans become sessions; those outside of all others unless said otherwise.
    #[must_use]
    pub fn sessions(mut self, sessions: Sessions) -> AuditLayer {
        self.sessions = sessions;
        self
    }

    /// What happens while the log's queue is full; the program waits unless said otherwise.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> AuditLayer {
        self.when_full = when_full;
        self
    }

    /// Down to which level events become notes; INFO unless said otherwise.
    #[must_use]
    pub fn notes(mut self, level: impl Into<LevelFilter>) -> AuditLayer {
        self.notes = level.into();
        self
    }

    /// The kind of steps whose spans have this target, or one below it, and do not say their kind.
    #[must_use]
    pub fn kind_of(mut self, target: impl Into<String>, kind: StepKind) -> AuditLayer {
        self.kinds.push((target.into(), kind));
        self
    }

    /// A function that hears of the first thing that the log does not take. It runs in the middle of
    /// what the program was doing.
    #[must_use]
    pub fn on_loss(mut self, hear: impl Fn(&Loss) + Send + Sync + 'static) -> AuditLayer {
        self.losses = Arc::new(Losses::heard_by(hear));
        self
    }

    /// What says later how much was lost. Ask for it after [`AuditLayer::on_loss`].
    pub fn watch(&self) -> LayerWatch {
        LayerWatch { losses: Arc::clone(&self.losses) }
    }
}

/// How a layer is doing, after the layer itself has gone into a subscriber.
#[derive(Clone, Debug)]
pub struct LayerWatch {
    losses: Arc<Losses>,
}

impl LayerWatch {
    /// How much the log did not take as it was.
    pub fn lost(&self) -> u64 {
        self.losses.count()
    }
}
