//! The rows that a fold works on, in memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use super::rows::{
    ActionRow, ApiKeyRow, ArtifactRow, CustomRow, DecisionRow, DocumentRow, FindingRow, FindingUpdateRow,
    MetricRow, NoteRow, ReviewRow, SessionRow, StepRow, TimelineRow,
};

/// Key of a row that belongs to a session: the session's id and its own.
pub(crate) type SessionKey = (String, String);

struct Held<R> {
    row: R,
    changed: bool,
    /// When it came, so that rows are stored in the order of events.
    place: usize,
}

/// Rows that later events can change. Of each key it is known whether there is a row, or it is not
/// known yet.
pub(crate) struct Keyed<K, R> {
    slots: HashMap<K, Option<Held<R>>>,
    came: usize,
}

impl<K, R> Default for Keyed<K, R> {
    fn default() -> Keyed<K, R> {
        Keyed { slots: HashMap::new(), came: 0 }
    }
}

impl<K: Hash + Eq, R> Keyed<K, R> {
    /// Whether it is known if there is such a row.
    pub(crate) fn knows<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.slots.contains_key(key)
    }

    /// Says what is stored under a key.
    pub(crate) fn load(&mut self, key: K, row: Option<R>) {
        self.came += 1;
        self.slots.insert(key, row.map(|row| Held { row, changed: false, place: self.came }));
    }

    /// The row, made where there is none, to be changed.
    pub(super) fn change(&mut self, key: K, make: impl FnOnce() -> R) -> &mut R {
        self.came += 1;
        let place = self.came;
        let held = self.slots.entry(key).or_default().get_or_insert_with(|| Held {
            row: make(),
            changed: true,
            place,
        });
        held.changed = true;
        &mut held.row
    }

    /// The row, to be changed, if there is one.
    pub(super) fn change_known(&mut self, key: &K) -> Option<&mut R> {
        let held = self.slots.get_mut(key)?.as_mut()?;
        held.changed = true;
        Some(&mut held.row)
    }

    /// The row, if there is one.
    pub(super) fn get(&self, key: &K) -> Option<&R> {
        self.slots.get(key)?.as_ref().map(|held| &held.row)
    }

    /// The rows that changed since they were loaded or last taken, in the order in which they came.
    pub(crate) fn take_changed(&mut self) -> Vec<&R> {
        let mut changed: Vec<&Held<R>> = self
            .slots
            .values_mut()
            .flatten()
            .filter_map(|held| std::mem::take(&mut held.changed).then_some(&*held))
            .collect();
        changed.sort_unstable_by_key(|held| held.place);
        changed.into_iter().map(|held| &held.row).collect()
    }

    fn clear(&mut self) {
        self.slots.clear();
    }
}

/// The rows of all projections. A projection touches its own alone.
#[derive(Default)]
pub(crate) struct WorkingSet {
    pub(crate) sessions: Keyed<String, SessionRow>,
    pub(crate) steps: Keyed<SessionKey, StepRow>,
    pub(crate) decisions: Keyed<SessionKey, DecisionRow>,
    pub(crate) findings: Keyed<SessionKey, FindingRow>,
    pub(crate) finding_updates: Vec<FindingUpdateRow>,
    pub(crate) timeline: Vec<TimelineRow>,
    pub(crate) reviews: Vec<ReviewRow>,
    pub(crate) artifacts: Vec<ArtifactRow>,
    pub(crate) metrics: Vec<MetricRow>,
    pub(crate) notes: Vec<NoteRow>,
    pub(crate) actions: Vec<ActionRow>,
    pub(crate) custom_events: Vec<CustomRow>,
    pub(crate) documents: Vec<DocumentRow>,
    pub(crate) api_keys: Keyed<String, ApiKeyRow>,
}

impl WorkingSet {
    /// Forgets the rows that were loaded or stored.
    pub(crate) fn forget_keyed(&mut self) {
        self.sessions.clear();
        self.steps.clear();
        self.decisions.clear();
        self.findings.clear();
        self.api_keys.clear();
    }
}
