//! The rows that a fold works on, in memory. A *part* is the run of events between two calls of
//! [`WorkingSet::hand_out`].

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;

use hashbrown::hash_map::EntryRef;
use hashbrown::{Equivalent, HashMap};

use crate::limits::FOLD_KEPT_BYTES_MAX;
use crate::projection::fold::cell::Row;
use crate::projection::fold::passing::Passing;
use crate::projection::fold::rows::{
    ActionRow, ApiKeyRow, ArtifactRow, BelowRow, CoverageDeclarationRow, CustomRow, DecisionRow, DocumentRow,
    FindingRow, FindingUpdateRow, MetricRow, NoteRow, PolicyDecisionRow, ReviewRow, SessionRow, StepRow,
    TimelineRow,
};

/// Approximate size of a row without its texts, in bytes.
const KEPT_ROW_BYTES: usize = 512;

/// Number of parts for which a row is kept although none of them uses it. Rows that are unused for longer are
/// forgotten first.
const PARTS_KEPT: u64 = 4;

/// Key of a row that belongs to a session: the session's id and its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    session: String,
    id: String,
}

/// The kind of a row that belongs to a session, beside that of the session itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Step,
    Below,
    Decision,
    Finding,
}

/// A borrowed [`SessionKey`] for lookups.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct KeyIn<'a> {
    pub(crate) session: &'a str,
    pub(crate) id: &'a str,
}

impl SessionKey {
    pub(crate) fn borrowed(&self) -> KeyIn<'_> {
        KeyIn { session: &self.session, id: &self.id }
    }
}

impl Equivalent<SessionKey> for KeyIn<'_> {
    fn equivalent(&self, key: &SessionKey) -> bool {
        // A lookup also needs equal hashes: both types derive `Hash` over the same two texts in the same order.
        self.id == key.id && self.session == key.session
    }
}

impl From<&KeyIn<'_>> for SessionKey {
    fn from(key: &KeyIn<'_>) -> SessionKey {
        SessionKey { session: key.session.to_owned(), id: key.id.to_owned() }
    }
}

/// A change that a step passes on to the step above it, or to its finding.
pub(in crate::projection) struct Climb {
    pub(in crate::projection) session: String,
    /// The step that follows the change.
    pub(in crate::projection) step: String,
    pub(in crate::projection) change: Passing,
    /// The levels that the change has climbed so far.
    pub(in crate::projection) levels: usize,
    /// The event that made the change.
    pub(in crate::projection) seq: i64,
}

struct Held<R> {
    /// Shared with `stored`, and with the thread that writes it, until it changes.
    row: Arc<R>,
    /// The row as it was loaded, or handed out to be written; None if the table has none.
    stored: Option<Arc<R>>,
    /// True if it changed since then.
    is_changed: bool,
    /// True if the table had no such row before it was made here.
    made: bool,
    /// Order of arrival, so that rows are stored in the order of events.
    arrival: usize,
    /// The part in which it was last loaded, made or changed.
    part: u64,
}

/// A row that is to be written.
pub(crate) struct Change<R> {
    pub(crate) row: Arc<R>,
    pub(crate) write: Write,
}

/// The way in which a row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Whole, because the table has none.
    Whole,
    /// Only these columns, whose values differ from those in the table: a bit at the index of each.
    Columns(u64),
}

/// Rows that later events can change. Each key is present, known to be absent, or not loaded.
pub(crate) struct Keyed<K, R> {
    /// None for a key that is known to be absent.
    slots: HashMap<K, Option<Held<R>>>,
    /// Keys of the rows that differ from what is stored.
    changed: Vec<K>,
    /// Rows that have arrived so far.
    arrivals: usize,
    part: u64,
}

impl<K, R> Default for Keyed<K, R> {
    fn default() -> Keyed<K, R> {
        Keyed { slots: HashMap::new(), changed: Vec::new(), arrivals: 0, part: 0 }
    }
}

impl<K: Hash + Eq, R: Row + Clone> Keyed<K, R> {
    /// Returns whether a key is loaded: present or known to be absent.
    pub(crate) fn knows<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        self.slots.contains_key(key)
    }

    /// Returns whether the row was made here and the table had none before.
    pub(crate) fn was_made<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        matches!(self.slots.get(key), Some(Some(Held { made: true, .. })))
    }

    /// Adds the row that the table has under a key, or its absence.
    pub(crate) fn load(&mut self, key: K, row: Option<R>) {
        self.arrivals += 1;
        let (arrival, part) = (self.arrivals, self.part);
        self.slots.insert(
            key,
            row.map(|row| {
                let row = Arc::new(row);
                Held { stored: Some(row.clone()), row, is_changed: false, made: false, arrival, part }
            }),
        );
    }

    /// Returns the row for a change. Makes it if it is absent.
    pub(in crate::projection) fn change<Q>(&mut self, key: &Q, make: impl FnOnce() -> R) -> &mut R
    where
        Q: Hash + Equivalent<K> + ?Sized,
        K: for<'q> From<&'q Q>,
    {
        let (changed, arrivals, part) = (&mut self.changed, &mut self.arrivals, self.part);
        let slot = match self.slots.entry_ref(key) {
            EntryRef::Occupied(known) => known.into_mut(),
            EntryRef::Vacant(new) => new.insert_with_key(K::from(key), None),
        };
        let held = slot.get_or_insert_with(|| {
            *arrivals += 1;
            Held {
                row: Arc::new(make()),
                stored: None,
                is_changed: false,
                made: true,
                arrival: *arrivals,
                part,
            }
        });
        held.will_change(part, || changed.push(K::from(key)))
    }

    /// Returns the row for a change, if it is present.
    pub(in crate::projection) fn change_known<Q>(&mut self, key: &Q) -> Option<&mut R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        K: for<'q> From<&'q Q>,
    {
        let held = self.slots.get_mut(key)?.as_mut()?;
        Some(held.will_change(self.part, || self.changed.push(K::from(key))))
    }

    /// The row, if it is present.
    pub(in crate::projection) fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&R> {
        self.slots.get(key)?.as_ref().map(|held| &*held.row)
    }

    /// Hands out the changed rows, in the order in which they arrived. From then on they count as stored.
    fn hand_out(&mut self) -> Vec<Change<R>> {
        let mut changes: Vec<(usize, Change<R>)> = Vec::with_capacity(self.changed.len());
        for key in self.changed.drain(..) {
            let Some(Some(held)) = self.slots.get_mut(&key) else { continue };
            held.is_changed = false;
            // The row is shared and not copied: the writing thread keeps this version while the fold changes
            // the next one.
            let before = held.stored.replace(held.row.clone());
            let write = match before.map(|before| held.row.changes(&before)) {
                // The row changed, and changed back.
                Some(0) => continue,
                Some(columns) => Write::Columns(columns),
                None => Write::Whole,
            };
            changes.push((held.arrival, Change { row: held.row.clone(), write }));
        }
        changes.sort_unstable_by_key(|(arrival, _)| *arrival);
        self.part += 1;
        changes.into_iter().map(|(_, change)| change).collect()
    }

    /// Forgets the rows that were last used before `part`. Returns the approximate size of the others in bytes.
    fn forget_before(&mut self, part: u64) -> usize {
        let mut bytes = 0;
        self.slots.retain(|_, slot| match slot {
            Some(held) if held.part >= part => {
                // The children of this row may be forgotten now, so they must be looked for in the table.
                held.made = false;
                bytes += KEPT_ROW_BYTES + held.row.text_bytes();
                true
            }
            // A key that is known to be absent can be looked up again.
            _ => false,
        });
        bytes
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.changed.clear();
    }
}

impl<R: Clone> Held<R> {
    /// Prepares a row for a change. The stored version stays beside it, so that only changed columns are written.
    fn will_change(&mut self, part: u64, first: impl FnOnce()) -> &mut R {
        if !self.is_changed {
            self.is_changed = true;
            first();
        }
        self.part = part;
        // Copies the row only while `stored` or the writing thread shares it.
        Arc::make_mut(&mut self.row)
    }
}

/// The changed rows of a projection, which are to be written.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) sessions: Vec<Change<SessionRow>>,
    pub(crate) steps: Vec<Change<StepRow>>,
    pub(crate) below: Vec<Change<BelowRow>>,
    pub(crate) decisions: Vec<Change<DecisionRow>>,
    pub(crate) findings: Vec<Change<FindingRow>>,
    pub(crate) api_keys: Vec<Change<ApiKeyRow>>,
    pub(crate) single: Single,
}

/// Rows of one event each, which are written once.
#[derive(Default)]
pub(crate) struct Single {
    pub(crate) finding_updates: Vec<FindingUpdateRow>,
    pub(crate) timeline: Vec<TimelineRow>,
    pub(crate) reviews: Vec<ReviewRow>,
    pub(crate) artifacts: Vec<ArtifactRow>,
    pub(crate) metrics: Vec<MetricRow>,
    pub(crate) notes: Vec<NoteRow>,
    pub(crate) actions: Vec<ActionRow>,
    pub(crate) policy_decisions: Vec<PolicyDecisionRow>,
    pub(crate) coverage_declarations: Vec<CoverageDeclarationRow>,
    pub(crate) custom_events: Vec<CustomRow>,
    pub(crate) documents: Vec<Document>,
}

/// An event that can be searched for: its row, and the text whose words the index takes.
pub(crate) struct Document {
    pub(crate) row: DocumentRow,
    pub(crate) text: String,
}

/// The rows of all projections. A projection uses only its own.
#[derive(Default)]
pub(crate) struct WorkingSet {
    pub(crate) sessions: Keyed<String, SessionRow>,
    pub(crate) steps: Keyed<SessionKey, StepRow>,
    pub(crate) below: Keyed<SessionKey, BelowRow>,
    pub(crate) decisions: Keyed<SessionKey, DecisionRow>,
    pub(crate) findings: Keyed<SessionKey, FindingRow>,
    pub(crate) api_keys: Keyed<String, ApiKeyRow>,
    pub(crate) single: Single,
    /// Changes of steps that the steps above them have yet to follow.
    pub(in crate::projection) climbs: VecDeque<Climb>,
    /// Approximate size of the rows that later events can change, in bytes.
    kept_bytes: usize,
    /// Parts that were handed out so far.
    parts: u64,
}

impl WorkingSet {
    /// Adds an event, or a row that was loaded, to the size of the rows that are kept.
    pub(crate) fn add_kept(&mut self, text_bytes: usize) {
        self.kept_bytes += text_bytes + KEPT_ROW_BYTES;
    }

    /// Hands out the changed rows: the next part.
    pub(crate) fn hand_out(&mut self) -> Changes {
        self.parts += 1;
        Changes {
            sessions: self.sessions.hand_out(),
            steps: self.steps.hand_out(),
            below: self.below.hand_out(),
            decisions: self.decisions.hand_out(),
            findings: self.findings.hand_out(),
            api_keys: self.api_keys.hand_out(),
            single: std::mem::take(&mut self.single),
        }
    }

    /// Forgets rows if there are too many, first those that were unused for longest. Rows of parts after the first
    /// `stored` stay, because they are in no table yet.
    pub(crate) fn shrink(&mut self, stored: u64) {
        // Parts count from 0. First go the rows that none of the last parts used; if that is not enough, all
        // others.
        for part in [self.parts.saturating_sub(PARTS_KEPT), self.parts] {
            if self.kept_bytes <= FOLD_KEPT_BYTES_MAX {
                return;
            }
            // Part `stored` is the first that may not be in the tables: its rows exist only here.
            let part = part.min(stored);
            self.kept_bytes = self.sessions.forget_before(part)
                + self.steps.forget_before(part)
                + self.below.forget_before(part)
                + self.decisions.forget_before(part)
                + self.findings.forget_before(part)
                + self.api_keys.forget_before(part);
        }
    }

    /// Forgets the rows that later events can change.
    pub(crate) fn forget(&mut self) {
        self.sessions.clear();
        self.steps.clear();
        self.below.clear();
        self.decisions.clear();
        self.findings.clear();
        self.api_keys.clear();
        self.kept_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    fn key(id: &str) -> ApiKeyRow {
        ApiKeyRow {
            id: id.to_owned(),
            name: "pipeline".to_owned(),
            scopes: "[]".to_owned(),
            secret_hash: String::new(),
            expires_at: None,
            created_at: Timestamp::from_micros(0),
            created_by: "somebody".to_owned(),
            reason: None,
            revoked_at: None,
            revoked_by: None,
            revoked_reason: None,
            first_seq: 1,
            last_seq: 1,
        }
    }

    /// Changes a row, and hands out the part.
    fn change(rows: &mut WorkingSet, id: &str, seq: i64) -> Changes {
        rows.api_keys.change(id, || key(id)).last_seq = seq;
        rows.hand_out()
    }

    fn shrink(rows: &mut WorkingSet, stored: u64) {
        rows.add_kept(FOLD_KEPT_BYTES_MAX);
        rows.shrink(stored);
    }

    #[test]
    fn a_row_is_written_whole_once_and_then_the_columns_that_changed() {
        let mut rows = WorkingSet::default();
        let writes =
            |changes: Changes| -> Vec<Write> { changes.api_keys.iter().map(|change| change.write).collect() };
        assert_eq!(writes(change(&mut rows, "a", 1)), [Write::Whole]);
        let last_seq = ApiKeyRow::COLUMNS.iter().position(|column| *column == "last_seq").unwrap();
        assert_eq!(writes(change(&mut rows, "a", 2)), [Write::Columns(1 << last_seq)]);
        assert_eq!(writes(change(&mut rows, "a", 2)), []);
        assert_eq!(writes(rows.hand_out()), []);
    }

    #[test]
    fn a_row_that_was_handed_out_keeps_its_version_when_it_changes_again() {
        let mut rows = WorkingSet::default();
        let first = change(&mut rows, "a", 1);
        let second = change(&mut rows, "a", 2);
        assert_eq!((first.api_keys[0].row.last_seq, second.api_keys[0].row.last_seq), (1, 2));
    }

    #[test]
    fn a_row_that_is_in_no_table_yet_is_not_forgotten() {
        let mut rows = WorkingSet::default();
        change(&mut rows, "a", 1);
        for seq in 2..20 {
            change(&mut rows, "b", seq);
            shrink(&mut rows, 0);
        }
        assert!(rows.api_keys.knows("a"));
        shrink(&mut rows, 1);
        assert!(!rows.api_keys.knows("a"));
        assert!(rows.api_keys.knows("b"));
    }

    #[test]
    fn a_row_that_was_made_here_is_looked_for_in_the_table_once_others_were_forgotten() {
        let mut rows = WorkingSet::default();
        change(&mut rows, "a", 1);
        assert!(rows.api_keys.was_made("a"));
        shrink(&mut rows, 1);
        assert!(!rows.api_keys.was_made("a"));
    }
}
