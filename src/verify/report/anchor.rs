//! The findings about things that come from outside the file: checkpoints, keys, witnesses.

use serde::Serialize;

use super::failure::{Failure, NotChecked};
use crate::event::{KeyChangeCause, KeyRole, Seq, Timestamp};

/// A change of a key, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyChangeSeen {
    /// The event.
    pub seq: Seq,
    /// Which of the log's keys.
    pub role: KeyRole,
    /// The new key, as a vkey.
    pub vkey: String,
    /// The key before it.
    pub previous: Option<String>,
    /// Why there is a new key.
    pub cause: KeyChangeCause,
    /// Who made it.
    pub actor: String,
    /// What they said of it.
    pub reason: Option<String>,
    /// Whether it is the first of its role that the verification came by, and says so. Nobody certifies one.
    pub is_first: bool,
    /// Whether the key that it names was given to the verification.
    pub is_given: bool,
    /// Whether a trusted key certified it, so that the new key is trusted too.
    pub is_certified: bool,
    /// Whether trust goes back by it from the new key to the one before.
    pub leads_back: bool,
    /// Who certified it, or why nobody did whom the verifier trusts.
    pub certified: String,
}

/// A key that signed a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SignerFound {
    /// What the key is for.
    pub role: KeyRole,
    /// The key, as a vkey.
    pub vkey: String,
}

/// A witness that cosigned a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WitnessFound {
    /// Its name within the policy.
    pub name: String,
    /// When, in seconds since 1970, by the witness's clock. 0 is no time.
    pub cosigned_at: u64,
}

/// Two checkpoints of one size, both well signed, with different roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SplitView {
    /// The events that both cover.
    pub size: u64,
    /// What they are called.
    pub checkpoints: [String; 2],
}

/// A checkpoint that fits the log, signed by a key that a trusted one took over from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PredecessorFound {
    /// What the checkpoint is called.
    pub checkpoint: String,
    /// Events that it covers.
    pub size: u64,
    /// What the key was for.
    pub role: KeyRole,
    /// The key, as a vkey.
    pub vkey: String,
    /// The event that retired it.
    pub retired: Seq,
}

/// Whether the log was held against something outside the file.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Anchor {
    /// Events that the largest checkpoint covers that fits the log and is signed as it should be.
    pub anchored_to: Option<u64>,
    /// What that means.
    pub note: &'static str,
    /// Events that the largest checkpoint covers that the file itself keeps, that a trusted key signed
    /// and that fits. It shows that they were not changed, and not that the log's end is there.
    pub signed_to: Option<u64>,
    /// What that checkpoint is called.
    pub checkpoint: Option<String>,
    /// The trusted keys that signed it.
    pub keys: Vec<SignerFound>,
    /// The witnesses of the policy that cosigned it.
    pub witnesses: Vec<WitnessFound>,
    /// When the last event that it covers was recorded.
    pub anchored_recorded_at: Option<Timestamp>,
    /// Events after it, for which nothing outside the file vouches.
    pub events_since: Option<u64>,
    /// From that event to the last one: how long nothing outside the file vouches for, in microseconds. None also
    /// where the clock was set back in between.
    pub micros_since: Option<i64>,
    /// Checkpoints that were given.
    pub checkpoints_given: u64,
    /// Those among them that are signed by a trusted key and fit the log.
    pub checkpoints_fitting: u64,
    /// Those that could not be judged, because the log is damaged before their end.
    pub checkpoints_not_judged: u64,
    /// Checkpoints that fit and that keys before the trusted ones signed: they show that the log still begins
    /// as it did then, and extend nothing.
    pub by_predecessors: Vec<PredecessorFound>,
    /// What could not be checked, because no key that was given says anything about it. The report lists it among
    /// all that was not.
    pub not_checked: Vec<NotChecked>,
    /// Checkpoints that contradict each other.
    pub split_views: Vec<SplitView>,
    /// Changes of the log's keys.
    pub key_changes: Vec<KeyChangeSeen>,
    /// How the log contradicts what was given.
    pub failures: Vec<Failure>,
}

impl Anchor {
    /// Nothing outside the file was asked.
    pub(in crate::verify) fn nothing_asked() -> Anchor {
        Anchor {
            note: "nothing outside the file was asked: a log cut off at its end, or rewritten whole, cannot be told from this one",
            ..Anchor::default()
        }
    }

    /// Nothing of the log could be held against what was given.
    pub(in crate::verify) fn not_judged(checkpoints: u64) -> Anchor {
        let nothing = Anchor::nothing_asked();
        let note = match checkpoints {
            0 => nothing.note,
            _ => "the log could not be read, so that the checkpoints given say nothing of it",
        };
        Anchor { checkpoints_given: checkpoints, checkpoints_not_judged: checkpoints, note, ..nothing }
    }

    /// Says what the verdict means, now that all is known that leads to it.
    pub(in crate::verify) fn conclude(
        &mut self,
        events: u64,
        anchored: Option<Timestamp>,
        last: Option<Timestamp>,
    ) {
        let Some(size) = self.anchored_to else {
            if self.checkpoints_given > 0 {
                self.note = if self.checkpoints_not_judged == self.checkpoints_given {
                    "the log could not be read as far as the checkpoints given cover it"
                } else if self.by_predecessors.is_empty() {
                    "no checkpoint that was given vouches for this log"
                } else {
                    "the checkpoints given that fit are signed by keys that were replaced since, which vouch for nothing by themselves; give one that a present key signed"
                };
            }
            return;
        };
        self.events_since = Some(events.saturating_sub(size));
        self.anchored_recorded_at = anchored;
        self.micros_since =
            anchored.zip(last).and_then(|(anchored, last)| last.micros().checked_sub(anchored.micros()));
        // Where the clock was set back in between, the times do not say how long it took.
        self.micros_since = self.micros_since.filter(|micros| *micros >= 0);
        self.note = "the events that the checkpoint covers are those that were signed for; of those after it only the chain says that they belong here";
    }
}
