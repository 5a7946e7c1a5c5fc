//! The start and the result of a walk.

use std::collections::BTreeSet;

use crate::event::{Digest, EventId, KeyChanged, Seq, Timestamp};
use crate::verify::lost::Lost;
use crate::verify::report::{BackwardSteps, Failure, Redaction};
use crate::verify::row::Before;
use crate::verify::tree::{Tree, Wanted};

/// The result of a walk.
#[derive(Default)]
pub(in crate::verify) struct Walk {
    pub(in crate::verify) events: u64,
    pub(in crate::verify) head: Option<Digest>,
    pub(in crate::verify) log_id: Option<EventId>,
    pub(in crate::verify) origin: Option<String>,
    pub(in crate::verify) first_recorded_at: Option<Timestamp>,
    pub(in crate::verify) last_recorded_at: Option<Timestamp>,
    pub(in crate::verify) failure: Option<Failure>,
    pub(in crate::verify) redactions: Vec<Redaction>,
    pub(in crate::verify) backward_steps: BackwardSteps,
    pub(in crate::verify) lost: Lost,
    /// The recorded skips: projection, version and event. The name is None if it is longer than any.
    pub(in crate::verify) skips: BTreeSet<(Option<String>, u32, u64)>,
    pub(in crate::verify) key_changes: Vec<(Seq, KeyChanged)>,
    /// The seqs of the events about API keys.
    pub(in crate::verify) api_keys: BTreeSet<u64>,
    /// The tree of the events before the first bad one, if it was asked for.
    pub(in crate::verify) tree: Option<Tree>,
    /// The number of rows that were read.
    pub(in crate::verify) rows_read: u64,
    /// True if the walk found the pages of the table and of its index sound.
    pub(in crate::verify) has_sound_pages: bool,
}

/// The start of a walk.
#[derive(Clone)]
pub(in crate::verify) struct Start {
    /// The number of events before it, which are not walked.
    pub(in crate::verify) events: u64,
    /// The link of the last of them.
    pub(in crate::verify) hash: Digest,
    /// Their tree, if roots are wanted.
    pub(in crate::verify) tree: Option<Tree>,
}

impl Start {
    /// The start at the first event.
    pub(in crate::verify) fn first(wanted: Option<&Wanted>) -> Start {
        Start { events: 0, hash: Digest::ZERO, tree: wanted.map(|wanted| Tree::new(wanted.clone())) }
    }

    pub(super) fn before(&self) -> Before {
        Before { seq: Seq::new(self.events).to_sql(), hash: Some(self.hash) }
    }

    pub(super) fn into_walk(self) -> Walk {
        Walk { events: self.events, tree: self.tree, ..Walk::default() }
    }
}
