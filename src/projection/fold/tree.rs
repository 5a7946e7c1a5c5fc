//! The tree of steps: follows a change of a step through the steps above it.
//!
//! A fold knows only the rows that were loaded. Which steps above a changed one must follow it is known one level at
//! a time. So changes wait in the working set, and [`climb`] asks for the rows that it needs.

use crate::limits::{COST_SUM_MAX, TOKENS_MAX, TREE_LEVELS_MAX};
use crate::otel::error_finding_id;
use crate::projection::fold::passing::{Passed, Passing, StepShare};
use crate::projection::fold::rows::{BelowRow, SessionRow, StepRow};
use crate::projection::fold::working_set::{Child, Climb, KeyIn, SessionKey, WorkingSet};

/// The part of a step that its session and the step above it depend on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Standing {
    share: StepShare,
    parent: Option<String>,
    passed: Passed,
}

impl Standing {
    /// Reads it from the rows of the working set.
    pub(super) fn of(rows: &WorkingSet, key: &KeyIn<'_>) -> Standing {
        let (step, below) = (rows.steps.get(key), rows.below.get(key));
        // A step that is its own parent has none.
        let parent = step.and_then(|step| step.parent_step_id.clone()).filter(|parent| parent != key.id);
        Standing {
            share: step.map(|step| StepShare::of(step, below)).unwrap_or_default(),
            // Nobody asks for the facts of a step at the top.
            passed: if parent.is_some() { Passed::of(step, below) } else { Passed::default() },
            parent,
        }
    }
}

/// Returns whether a session has steps that pass facts on to steps above them.
pub(in crate::projection) fn may_have_below(rows: &WorkingSet, session: &str) -> bool {
    rows.sessions.get(session).is_some_and(|session| session.below_count > 0)
}

/// Follows a change of a step: in the sums of its session, and later in the steps above it.
pub(super) fn follow(rows: &mut WorkingSet, key: &KeyIn<'_>, before: &Standing, (levels, seq): (usize, i64)) {
    let after = Standing::of(rows, key);
    if let Some(session) = rows.sessions.change_known(key.session) {
        session.follow_step(&before.share, &after.share);
    }
    if levels >= TREE_LEVELS_MAX {
        return;
    }
    let mut pass = |parent: &Option<String>, before: &Passed, after: &Passed| {
        if let Some(parent) = parent
            && before != after
        {
            rows.climbs.push_back(Climb {
                session: key.session.to_owned(),
                step: parent.clone(),
                change: Passing::Below { before: before.clone(), after: after.clone() },
                levels: levels.saturating_add(1),
                seq,
            });
        }
    };
    if before.parent == after.parent {
        pass(&after.parent, &before.passed, &after.passed);
    } else {
        pass(&before.parent, &before.passed, &Passed::default());
        pass(&after.parent, &Passed::default(), &after.passed);
    }
}

/// Has the finding of a step judged again, because the step's error or the finding changed.
pub(super) fn judge_again(rows: &mut WorkingSet, key: &KeyIn<'_>, seq: i64) {
    rows.climbs.push_back(Climb {
        session: key.session.to_owned(),
        step: key.id.to_owned(),
        change: Passing::OwnError,
        levels: 0,
        seq,
    });
}

/// Lets the changes that wait climb. Returns the key of a row that must be loaded before they can go on; None if
/// none waits any more.
pub(in crate::projection) fn climb(rows: &mut WorkingSet) -> Option<(Child, SessionKey)> {
    while let Some(climb) = rows.climbs.pop_front() {
        let missing = missing(rows, &climb);
        if missing.is_some() {
            rows.climbs.push_front(climb);
            return missing;
        }
        ascend(rows, &climb);
    }
    None
}

/// A row that a change needs and that is not loaded.
fn missing(rows: &WorkingSet, climb: &Climb) -> Option<(Child, SessionKey)> {
    let (session, id) = (climb.session.as_str(), climb.step.as_str());
    let key = KeyIn { session, id };
    // The tables have no row of a session whose own row was made here.
    if rows.sessions.was_made(session) {
        return None;
    }
    if !rows.steps.knows(&key) {
        return Some((Child::Step, SessionKey::from(&key)));
    }
    if may_have_below(rows, session) && !rows.below.knows(&key) {
        return Some((Child::Below, SessionKey::from(&key)));
    }
    let finding = error_finding_id(id);
    let finding = KeyIn { session, id: &finding };
    let has_failed = rows.steps.get(&key).is_some_and(|step| step.error.is_some());
    (has_failed && !rows.findings.knows(&finding)).then(|| (Child::Finding, SessionKey::from(&finding)))
}

fn ascend(rows: &mut WorkingSet, climb: &Climb) {
    let key = KeyIn { session: &climb.session, id: &climb.step };
    if let Passing::Below { before: was, after: is } = &climb.change {
        let before = Standing::of(rows, &key);
        let is_new = rows.below.get(&key).is_none();
        let row = rows.below.change(&key, || BelowRow::new(key.session, key.id, climb.seq));
        row.follow(was, is);
        if is_new && let Some(session) = rows.sessions.change_known(key.session) {
            session.below_count = session.below_count.saturating_add(1);
        }
        follow(rows, &key, &before, (climb.levels, climb.seq));
    }
    judge(rows, &key);
}

/// Hides the finding about the error of a step while a step directly below it failed with the same error: an
/// exception that climbs is one finding, of the step where it began.
fn judge(rows: &mut WorkingSet, key: &KeyIn<'_>) {
    let Some(error) = rows.steps.get(key).and_then(|step: &StepRow| step.error.as_deref()) else { return };
    let is_repeated = i64::from(rows.below.get(key).is_some_and(|below| below.has_error(error)));
    let finding = error_finding_id(key.id);
    let finding = KeyIn { session: key.session, id: &finding };
    // A finding without claims is a producer's own, and stays whatever its id is.
    let differs = rows
        .findings
        .get(&finding)
        .is_some_and(|finding| finding.is_repeated != is_repeated && !finding.claims.is_empty());
    if !differs {
        return;
    }
    if let Some(finding) = rows.findings.change_known(&finding) {
        finding.is_repeated = is_repeated;
    }
    if let Some(session) = rows.sessions.change_known(key.session) {
        let change = if is_repeated == 1 { -1 } else { 1 };
        session.finding_count = session.finding_count.saturating_add(change);
    }
}

impl SessionRow {
    /// Updates the sums after a step has changed.
    fn follow_step(&mut self, before: &StepShare, after: &StepShare) {
        self.step_count = self.step_count.saturating_add(after.steps - before.steps);
        self.error_count = self.error_count.saturating_add(after.errors - before.errors);
        self.steps_tokens_input = moved(self.steps_tokens_input, before.tokens_input, after.tokens_input);
        self.steps_tokens_output = moved(self.steps_tokens_output, before.tokens_output, after.tokens_output);
        if before.cost_usd.is_some() || after.cost_usd.is_some() {
            let sum = self.steps_cost_usd.unwrap_or(0.0);
            let moved = sum - before.cost_usd.unwrap_or(0.0) + after.cost_usd.unwrap_or(0.0);
            // A sum that was too large once stays unknown, and is stored as the largest number. Counting on from
            // there would give a wrong sum.
            let is_known = sum.abs() < COST_SUM_MAX && moved.abs() < COST_SUM_MAX;
            self.steps_cost_usd = Some(if is_known { moved } else { f64::MAX });
        }
    }
}

fn moved(sum: Option<i64>, before: Option<i64>, after: Option<i64>) -> Option<i64> {
    if before.is_none() && after.is_none() {
        return sum;
    }
    // The tables add tokens read and written. With this bound, their sum is an integer again.
    let max = TOKENS_MAX.cast_signed();
    let sum = sum.unwrap_or(0);
    let moved = sum.saturating_sub(before.unwrap_or(0)).saturating_add(after.unwrap_or(0));
    // A sum that was too large once stays unknown, as in `follow_step`.
    Some(if sum < max { moved.min(max) } else { max })
}
