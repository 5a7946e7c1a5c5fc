//! The settings of a process for the evidence of a log that it has open.

use std::time::Duration;

use super::anchor::Anchor;
use super::keys::KeyFolder;
use crate::limits::{CHECKPOINT_EVENTS_DEFAULT, CHECKPOINT_INTERVAL_DEFAULT};
use crate::note::SigningKey;

/// The evidence that a process keeps for a log that it has open for appending.
#[derive(Debug, Default)]
pub enum Evidence {
    /// None: another process keeps it, or nobody. Proofs can still be made, more slowly.
    Off,
    /// The tree.
    #[default]
    Tree,
    /// The tree and signed checkpoints.
    Signed(Box<Signing>),
}

/// The settings for signed checkpoints: the keys, the intervals, and the anchors that get them.
///
/// ```no_run
/// use std::time::Duration;
/// use annals::AuditLog;
/// use annals::evidence::{CommandAnchor, Evidence, KeyFolder, Signing};
///
/// let keys = KeyFolder::at("/var/lib/annals-keys/billing");
/// let publish = CommandAnchor::new("publish-checkpoint", [], Duration::from_secs(30));
/// let signing = Signing::new(keys).every(Duration::from_secs(10)).anchor(publish);
/// let log = AuditLog::builder("audit.db").evidence(Evidence::Signed(Box::new(signing))).open()?;
/// # Ok::<(), annals::OpenError>(())
/// ```
#[derive(Debug)]
pub struct Signing {
    pub(super) keys: KeyFolder,
    pub(super) given: Option<SigningKey>,
    pub(super) every_events: u64,
    pub(super) every: Duration,
    pub(super) epoch: Option<Duration>,
    pub(super) anchors: Vec<Box<dyn Anchor>>,
}

impl Signing {
    /// Signs with the keys of a folder: after a minute or 65,536 events, and when the log is closed. There are no
    /// anchors at first.
    pub fn new(keys: KeyFolder) -> Signing {
        Signing {
            keys,
            given: None,
            every_events: CHECKPOINT_EVENTS_DEFAULT,
            every: CHECKPOINT_INTERVAL_DEFAULT,
            epoch: None,
            anchors: Vec::new(),
        }
    }

    /// Signs with this stable key in place of the folder's. The folder still keeps the last signed checkpoint.
    #[must_use]
    pub fn key(mut self, key: SigningKey) -> Signing {
        self.given = Some(key);
        self
    }

    /// Signs when this many events came after the last checkpoint, at least 1.
    #[must_use]
    pub fn every_events(mut self, events: u64) -> Signing {
        self.every_events = events.max(1);
        self
    }

    /// Signs when this much time has passed since the last checkpoint, if something was appended.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Signing {
        self.every = interval;
        self
    }

    /// Replaces the epoch key after this much time, if the folder has one. The old key is erased.
    #[must_use]
    pub fn epoch(mut self, length: Duration) -> Signing {
        self.epoch = Some(length);
        self
    }

    /// Gives each checkpoint to an anchor.
    #[must_use]
    pub fn anchor(mut self, anchor: impl Anchor + 'static) -> Signing {
        self.anchors.push(Box::new(anchor));
        self
    }

    /// Gives each checkpoint to an anchor that is chosen at run time.
    #[must_use]
    pub(crate) fn boxed_anchor(mut self, anchor: Box<dyn Anchor>) -> Signing {
        self.anchors.push(anchor);
        self
    }
}
