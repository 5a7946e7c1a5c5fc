//! Events of a layer that a log did not take.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::SessionId;

/// An event of a layer that the log did not take as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// The kind of the event, such as `step.ended`.
    pub kind: &'static str,
    /// The session of the event; `None` outside of sessions.
    pub session: Option<SessionId>,
    /// The reason why the log did not take it.
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

    /// Counts a loss, and reports the first one.
    pub(super) fn add(&self, kind: &'static str, session: Option<SessionId>, reason: String) {
        // `fetch_add` alone decides which loss is the first: exactly one thread sees 0. No other memory
        // depends on it.
        let is_first = self.count.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first && let Some(hear) = &self.hear {
            let loss = Loss { kind, session, reason };
            // The function is the caller's code. A panic in it must not end the program's own work.
            let _ = catch_unwind(AssertUnwindSafe(|| hear(&loss)));
        }
    }
}
