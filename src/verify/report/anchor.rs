//! The results about what comes from outside the file: checkpoints, keys, witnesses.

use serde::Serialize;

use super::failure::{Failure, NotChecked};
use crate::event::{KeyChangeCause, KeyRole, Seq, Timestamp};

/// A change of a key, as the log records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyChangeSeen {
    /// The event that records it.
    pub seq: Seq,
    /// The role of the key.
    pub role: KeyRole,
    /// The new key, as a vkey.
    pub vkey: String,
    /// The key before it.
    pub previous: Option<String>,
    /// The cause of the change.
    pub cause: KeyChangeCause,
    /// The person or program that made the change.
    pub actor: String,
    /// The reason that was given for it.
    pub reason: Option<String>,
    /// True if it is the first change of its role that the verification met, and the log records it as the
    /// first key. A first key has no certificate.
    pub is_first: bool,
    /// True if the new key was given to the verification.
    pub is_given: bool,
    /// True if a trusted key certified it, so that the new key is trusted too.
    pub is_certified: bool,
    /// True if trust goes back through it from the new key to the one before.
    pub leads_back: bool,
    /// The key that certified it, or the reason why no trusted key did.
    pub certified: String,
}

/// A key that signed a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SignerFound {
    /// The role of the key.
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
    /// The time of the cosignature in seconds since 1970, by the witness's clock. 0 if it has no time.
    pub cosigned_at: u64,
}

/// Two checkpoints of one size, both well signed, with different roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SplitView {
    /// The number of events that both cover.
    pub size: u64,
    /// The names of the two checkpoints.
    pub checkpoints: [String; 2],
}

/// A checkpoint that fits the log and is signed by a predecessor: a key that a trusted key replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PredecessorFound {
    /// The name of the checkpoint.
    pub checkpoint: String,
    /// The number of events that it covers.
    pub size: u64,
    /// The role of the key.
    pub role: KeyRole,
    /// The key, as a vkey.
    pub vkey: String,
    /// The event that retired it.
    pub retired: Seq,
}

/// The result of comparing the log with what was kept outside the file.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Anchor {
    /// The size of the largest checkpoint that fits the log and is signed as required.
    pub anchored_to: Option<u64>,
    /// The meaning of this verdict, in words.
    pub note: &'static str,
    /// The size of the largest checkpoint in the file itself that fits and that a trusted key signed. This
    /// shows that the events up to there were not changed. The end of the log may still be missing.
    pub signed_to: Option<u64>,
    /// The name of the checkpoint of `anchored_to`.
    pub checkpoint: Option<String>,
    /// The trusted keys that signed it.
    pub keys: Vec<SignerFound>,
    /// The witnesses of the policy that cosigned it.
    pub witnesses: Vec<WitnessFound>,
    /// The time at which the last event that it covers was recorded.
    pub anchored_recorded_at: Option<Timestamp>,
    /// The number of events after it, for which nothing outside the file vouches.
    pub events_since: Option<u64>,
    /// The time from that event to the last one, in microseconds, for which nothing outside the file vouches.
    /// None also if the clock was set back in between.
    pub micros_since: Option<i64>,
    /// The number of checkpoints that were given.
    pub checkpoints_given: u64,
    /// The number of those that fit the log and are signed by a trusted key or a predecessor of one.
    pub checkpoints_fitting: u64,
    /// The number of those that could not be judged, because the log is damaged before their end.
    pub checkpoints_not_judged: u64,
    /// Checkpoints that fit and that predecessors of trusted keys signed. They show that the log still begins
    /// as it did then, and anchor nothing.
    pub by_predecessors: Vec<PredecessorFound>,
    /// Parts that could not be checked, because no given key says anything about them. The report lists them
    /// among all parts that were not checked.
    pub not_checked: Vec<NotChecked>,
    /// Checkpoints that contradict each other.
    pub split_views: Vec<SplitView>,
    /// Changes of the log's keys.
    pub key_changes: Vec<KeyChangeSeen>,
    /// Contradictions between the log and what was given.
    pub failures: Vec<Failure>,
}

impl Anchor {
    /// The anchor of a verification that was given nothing from outside the file.
    pub(in crate::verify) fn nothing_asked() -> Anchor {
        Anchor {
            note: "the log was compared with nothing outside the file, so this result does not show whether its end was cut off or all of it was rewritten",
            ..Anchor::default()
        }
    }

    /// The anchor of a log that could not be compared with what was given.
    pub(in crate::verify) fn not_judged(checkpoints: u64) -> Anchor {
        let nothing = Anchor::nothing_asked();
        let note = match checkpoints {
            0 => nothing.note,
            _ => "the log could not be read, so the given checkpoints show nothing about it",
        };
        Anchor { checkpoints_given: checkpoints, checkpoints_not_judged: checkpoints, note, ..nothing }
    }

    /// Adds what follows from the verdict: its meaning, and the events and the time since. To be called last.
    pub(in crate::verify) fn conclude(
        &mut self,
        events: u64,
        anchored: Option<Timestamp>,
        last: Option<Timestamp>,
    ) {
        let Some(size) = self.anchored_to else {
            if self.checkpoints_given > 0 {
                self.note = if self.checkpoints_not_judged == self.checkpoints_given {
                    "the log could not be read as far as the given checkpoints cover it"
                } else if self.by_predecessors.is_empty() {
                    "none of the given checkpoints vouches for this log"
                } else {
                    "the given checkpoints that fit the log are signed by keys that were replaced later, and such keys vouch for nothing by themselves; give a checkpoint that a present key signed"
                };
            }
            return;
        };
        self.events_since = Some(events.saturating_sub(size));
        self.anchored_recorded_at = anchored;
        self.micros_since =
            anchored.zip(last).and_then(|(anchored, last)| last.micros().checked_sub(anchored.micros()));
        // If the clock was set back in between, the times do not show how long it took.
        self.micros_since = self.micros_since.filter(|micros| *micros >= 0);
        self.note = "the events that the checkpoint covers are those for which it was signed; only the chain shows that the events after it belong to the log";
    }
}
