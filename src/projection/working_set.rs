//! The rows that a fold works on, in memory.

use std::hash::Hash;

use hashbrown::hash_map::EntryRef;
use hashbrown::{Equivalent, HashMap};

use super::rows::{
    ActionRow, ApiKeyRow, ArtifactRow, CustomRow, DecisionRow, DocumentRow, FindingRow, FindingUpdateRow,
    MetricRow, NoteRow, ReviewRow, SessionRow, StepRow, TimelineRow,
};

/// Key of a row that belongs to a session: the session's id and its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    session: String,
    id: String,
}

/// The same to look with.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct KeyIn<'a> {
    pub(crate) session: &'a str,
    pub(crate) id: &'a str,
}

impl Equivalent<SessionKey> for KeyIn<'_> {
    fn equivalent(&self, key: &SessionKey) -> bool {
        self.id == key.id && self.session == key.session
    }
}

impl From<&KeyIn<'_>> for SessionKey {
    fn from(key: &KeyIn<'_>) -> SessionKey {
        SessionKey { session: key.session.to_owned(), id: key.id.to_owned() }
    }
}

/// What the table has of a row.
enum Stored<R> {
    Nothing,
    Same,
    /// The row as it was before it changed here.
    Before(Box<R>),
}

struct Held<R> {
    row: R,
    stored: Stored<R>,
    /// Whether the table had no such row before it was made here.
    made: bool,
    /// When it came, so that rows are stored in the order of events.
    place: usize,
}

/// A row that is to be stored.
pub(crate) struct Changed<'a, R> {
    pub(crate) row: &'a R,
    /// As the table has it; None where it has none.
    pub(crate) before: Option<&'a R>,
}

/// Rows that later events can change. Of each key it is known whether there is a row, or it is not
/// known yet.
pub(crate) struct Keyed<K, R> {
    slots: HashMap<K, Option<Held<R>>>,
    /// Keys of the rows that are not stored as they are.
    changed: Vec<K>,
    came: usize,
}

impl<K, R> Default for Keyed<K, R> {
    fn default() -> Keyed<K, R> {
        Keyed { slots: HashMap::new(), changed: Vec::new(), came: 0 }
    }
}

impl<K: Hash + Eq, R: Clone> Keyed<K, R> {
    /// Whether it is known if there is such a row.
    pub(crate) fn knows<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        self.slots.contains_key(key)
    }

    /// Whether there is such a row, and was none before it was made here.
    pub(crate) fn was_made<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        matches!(self.slots.get(key), Some(Some(Held { made: true, .. })))
    }

    /// Says what is stored under a key.
    pub(crate) fn load(&mut self, key: K, row: Option<R>) {
        self.came += 1;
        let place = self.came;
        self.slots.insert(key, row.map(|row| Held { row, stored: Stored::Same, made: false, place }));
    }

    /// The row, made where there is none, to be changed.
    pub(super) fn change<Q>(&mut self, key: &Q, make: impl FnOnce() -> R) -> &mut R
    where
        Q: Hash + Equivalent<K> + ?Sized,
        K: for<'q> From<&'q Q>,
    {
        let (changed, came) = (&mut self.changed, &mut self.came);
        let slot = match self.slots.entry_ref(key) {
            EntryRef::Occupied(known) => known.into_mut(),
            EntryRef::Vacant(new) => new.insert_with_key(K::from(key), None),
        };
        let held = slot.get_or_insert_with(|| {
            *came += 1;
            changed.push(K::from(key));
            Held { row: make(), stored: Stored::Nothing, made: true, place: *came }
        });
        held.will_change(|| changed.push(K::from(key)))
    }

    /// The row, to be changed, if there is one.
    pub(super) fn change_known<Q>(&mut self, key: &Q) -> Option<&mut R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        K: for<'q> From<&'q Q>,
    {
        let held = self.slots.get_mut(key)?.as_mut()?;
        Some(held.will_change(|| self.changed.push(K::from(key))))
    }

    /// The row, if there is one.
    pub(super) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&R> {
        self.slots.get(key)?.as_ref().map(|held| &held.row)
    }

    /// The rows that are not stored as they are, in the order in which they came.
    pub(crate) fn changed(&self) -> Vec<Changed<'_, R>> {
        let mut changed: Vec<&Held<R>> =
            self.changed.iter().filter_map(|key| self.slots.get(key)?.as_ref()).collect();
        changed.sort_unstable_by_key(|held| held.place);
        changed.into_iter().map(Held::as_changed).collect()
    }

    /// Says that every row is stored as it is.
    pub(crate) fn stored(&mut self) {
        for key in self.changed.drain(..) {
            if let Some(Some(held)) = self.slots.get_mut(&key) {
                held.stored = Stored::Same;
            }
        }
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.changed.clear();
    }
}

impl<R: Clone> Held<R> {
    /// Keeps what is stored, so that only what changes of it is written.
    fn will_change(&mut self, first: impl FnOnce()) -> &mut R {
        if matches!(self.stored, Stored::Same) {
            self.stored = Stored::Before(Box::new(self.row.clone()));
            first();
        }
        &mut self.row
    }

    fn as_changed(&self) -> Changed<'_, R> {
        let before = match &self.stored {
            Stored::Before(before) => Some(&**before),
            Stored::Nothing | Stored::Same => None,
        };
        Changed { row: &self.row, before }
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
    /// About what the rows that later events can change take up.
    pub(crate) keyed_bytes: usize,
}

impl WorkingSet {
    /// Forgets the rows that were loaded or stored.
    pub(crate) fn forget_keyed(&mut self) {
        self.sessions.clear();
        self.steps.clear();
        self.decisions.clear();
        self.findings.clear();
        self.api_keys.clear();
        self.keyed_bytes = 0;
    }
}
