//! What a log did not take from a layer.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::SessionId;

/// Something that a layer saw and the log did not take as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Type of the event, as `step.ended`.
    pub kind: &'static str,
    /// Its session.
    pub session: Option<SessionId>,
    /// Why not.
    pub reason: String,
}

type Hear = Box<dyn Fn(&Loss) + Send + Sync>;

#[derive(Default)]
pub(super) struct Losses {
    count: AtomicU64,
    hear: Option<Hear>,
}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Losses").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Losses {
    pub(super) fn heard_by(hear: impl Fn(&Loss) + Send + Sync + 'static) -> Losses {
        Losses { hear: Some(Box::new(hear)), ..Losses::default() }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one, and tells of the first.
    pub(super) fn add(&self, kind: &'static str, session: Option<SessionId>, reason: String) {
        let is_first = self.count.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first && let Some(hear) = &self.hear {
            let loss = Loss { kind, session, reason };
            // The caller's own code, in the middle of something else of theirs.
            let _ = catch_unwind(AssertUnwindSafe(|| hear(&loss)));
        }
    }
}
