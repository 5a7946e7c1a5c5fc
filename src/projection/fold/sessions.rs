//! The fold of the projection `sessions`: sessions, steps, decisions, findings and the timeline.
//!
//! Events may come in any order: a child before its parent, an end before its start. Each event sets the columns
//! that it has values for, and leaves the rest of its row alone. It makes the row if that is missing.

use std::collections::BTreeMap;

use crate::event::{
    Attributes, Content, DecisionMade, Event, FindingRaised, FindingUpdated, Kind, SessionEnd, SessionEnded,
    SessionStarted, SessionUpdated, StepEnded, StepStarted, Timestamp,
};
use crate::limits::{ROW_ATTRIBUTES_BYTES_MAX, TOKENS_MAX};

use crate::projection::fold::cell::{Row, Taken, attributes_text, json_column, json_text, text_hash};
use crate::projection::fold::claims::bit;
use crate::projection::fold::input::Input;
use crate::projection::fold::rows::{
    DecisionRow, FindingRow, FindingUpdateRow, SessionRow, StepRow, TimelineRow,
};
use crate::projection::fold::said::{At, merge, set, set_summary, set_text, unclaim};
use crate::projection::fold::tree::{self, Standing};
use crate::projection::fold::working_set::{Child, KeyIn, WorkingSet};

/// The status of a session whose end is unknown, because events were erased.
const ERASED: &str = "erased";

/// The producer's own labels.
type Labels = BTreeMap<String, String>;

/// The child row that an event changes, and its id.
pub(crate) fn child(event: &Event) -> Option<(Child, &str)> {
    match event {
        Event::StepStarted(e) => Some((Child::Step, e.step.as_str())),
        Event::StepEnded(e) => Some((Child::Step, e.step.as_str())),
        Event::DecisionMade(e) => Some((Child::Decision, e.decision.as_str())),
        Event::FindingRaised(e) => Some((Child::Finding, e.finding.as_str())),
        Event::FindingUpdated(e) => Some((Child::Finding, e.finding.as_str())),
        _ => None,
    }
}

/// The subject of an event: for most kinds, the id or the name of the thing that it is about.
pub(in crate::projection) fn subject(event: &Event) -> Option<String> {
    match event {
        Event::ReviewRecorded(e) => Some(e.review.to_string()),
        Event::ArtifactAttached(e) => Some(e.artifact.to_string()),
        Event::MetricRecorded(e) => Some(e.name.clone()),
        Event::NoteLogged(e) => e.step.as_ref().map(ToString::to_string),
        Event::ActionRecorded(e) => e.entity_id.clone(),
        Event::PolicyDecided(e) => e.subject_id.clone().or_else(|| e.step.as_ref().map(ToString::to_string)),
        Event::CoverageDeclared(e) => Some(e.source.clone()),
        Event::Custom(e) => Some(e.name.clone()),
        Event::ProjectionSkipped(e) => Some(e.projection.clone()),
        Event::KeyChanged(e) => Some(e.vkey.clone()),
        Event::ApiKeyCreated(e) => Some(e.name.clone()),
        Event::ApiKeyRevoked(e) => Some(e.key.to_string()),
        event => child(event).map(|(_, id)| id.to_owned()),
    }
}

/// Folds one event by its meanings. The rows of its session and of the children must be loaded into the working
/// set.
pub(in crate::projection) fn fold(rows: &mut WorkingSet, input: &Input<'_>) {
    let &Input { event, meanings, .. } = input;
    let at = At {
        input,
        seq: event.seq.to_sql(),
        occurred: event.occurred_at,
        recorded: event.recorded_at,
        precedence: None,
    };
    let redacted = event.content == Content::Redacted;
    rows.single.timeline.push(TimelineRow {
        seq: at.seq,
        session_id: event.session.as_ref().map(ToString::to_string),
        kind: event.kind_name(),
        subject_id: meanings.first().and_then(|meaning| subject(&meaning.event)),
        occurred_at: at.occurred,
        recorded_at: at.recorded,
        redacted: i64::from(redacted),
    });
    let Some(id) = &event.session else { return };
    let session = change_session(rows, id.as_str(), &at);
    session.event_count = session.event_count.saturating_add(1);
    session.redacted_count = session.redacted_count.saturating_add(i64::from(redacted));
    session.last_recorded_at = at.recorded;
    session.last_seq = at.seq;
    // The kind and time of an event outlast its payload, so that starts and ends count even if they are erased.
    if event.kind == Kind::SessionStarted.code() {
        session.begin(at.occurred);
    } else if redacted && may_end_session(event.kind) && !session.is_of_earlier_run(at.occurred) {
        session.erased_end_count = session.erased_end_count.saturating_add(1);
    }
    for meaning in meanings {
        let at = At { occurred: meaning.at, precedence: meaning.precedence, ..at };
        fold_meaning(rows, id.as_str(), &meaning.event, &at);
    }
    // After all meanings, because each of them can set the status.
    change_session(rows, id.as_str(), &at).settle();
}

/// Returns whether an event of a kind can end its session. A log record of OpenTelemetry never does.
fn may_end_session(kind: u16) -> bool {
    [Kind::SessionEnded, Kind::OtelSpan].iter().any(|ends| ends.code() == kind)
}

fn fold_meaning(rows: &mut WorkingSet, id: &str, meaning: &Event, at: &At<'_>) {
    match meaning {
        Event::SessionStarted(e) => change_session(rows, id, at).start(e, at),
        Event::SessionUpdated(e) => change_session(rows, id, at).update(e, at),
        Event::SessionEnded(e) => change_session(rows, id, at).end(e, at),
        Event::StepStarted(e) => change_step(rows, id, e.step.as_str(), at, |step| step.start(e, at)),
        Event::StepEnded(e) => change_step(rows, id, e.step.as_str(), at, |step| step.end(e, at)),
        Event::DecisionMade(e) => decide(rows, id, e, at),
        Event::FindingRaised(e) => raise(rows, id, e, at),
        Event::FindingUpdated(e) => update_finding(rows, id, e, at),
        _ => {}
    }
}

fn change_session<'a>(rows: &'a mut WorkingSet, id: &str, at: &At<'_>) -> &'a mut SessionRow {
    rows.sessions.change(id, || SessionRow::partial(id, at))
}

fn to_text<T: std::fmt::Display>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// Converts a number of tokens. Larger ones than [`TOKENS_MAX`] are refused when an event is appended.
fn count(number: Option<u64>) -> Option<i64> {
    number.map(|number| number.min(TOKENS_MAX).cast_signed())
}

/// The time from one moment to another, in microseconds. None if the second is before the first: the clocks
/// disagree, or one of the two belongs to another run.
fn duration(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<i64> {
    to?.micros().checked_sub(from?.micros()).filter(|micros| *micros >= 0)
}

/// Returns whether both times are known, and the first is before the second.
fn is_before(first: Option<Timestamp>, second: Option<Timestamp>) -> bool {
    first.zip(second).is_some_and(|(first, second)| first < second)
}

impl SessionRow {
    fn partial(id: &str, at: &At<'_>) -> SessionRow {
        SessionRow {
            id: id.to_owned(),
            own_status: "running".to_owned(),
            first_recorded_at: at.recorded,
            last_recorded_at: at.recorded,
            first_seq: at.seq,
            last_seq: at.seq,
            ..SessionRow::blank()
        }
    }

    fn has_ended(&self) -> bool {
        !matches!(self.own_status.as_str(), "queued" | "running" | "paused" | ERASED)
    }

    /// Counts a start. A session that had ended runs again, and nothing is known yet of how this run ends. The end
    /// of a run may be recorded before its start.
    fn begin(&mut self, at: Option<Timestamp>) {
        let has_ended = self.has_ended() || self.erased_end_count > 0;
        // An end that is not before this start was recorded early, and stays.
        let is_of_this_run = at.is_some() && self.ended_at.is_some() && !is_before(self.ended_at, at);
        if self.start_count > 0 && has_ended && !is_of_this_run {
            "running".clone_into(&mut self.own_status);
            self.erased_end_count = 0;
            (self.ended_at, self.duration_us, self.own_error, self.run_error) = (None, None, None, None);
            // The precedence of the former end must not keep out the end of this run.
            unclaim!(self, own_status, ended_at, own_error, run_error);
        }
        self.start_count = self.start_count.saturating_add(1);
    }

    /// Returns whether an end at this time belongs to an earlier run.
    fn is_of_earlier_run(&self, end: Option<Timestamp>) -> bool {
        self.start_count > 1 && is_before(end, self.started_at)
    }

    /// Sets or removes the status `erased`, after an event was folded. It is unknown whether a session still
    /// runs if an erased event may have ended it, or if all of its events are erased.
    fn settle(&mut self) {
        let is_erased = self.erased_end_count > 0 || self.redacted_count == self.event_count;
        match (self.has_ended(), is_erased, self.own_status == ERASED) {
            (false, true, false) => ERASED.clone_into(&mut self.own_status),
            (false, false, true) => "running".clone_into(&mut self.own_status),
            _ => {}
        }
    }

    /// Adds the attributes of an event to those of the row, and the labels among them to its labels. Labels for
    /// which there is no room are left out, and the event is counted.
    fn add_attributes(&mut self, attributes: &Attributes, at: &At<'_>) {
        // Spans and log records do not add labels: theirs stay an attribute.
        let labels = attributes.get("labels").filter(|_| at.precedence.is_none());
        let Some(labels) = labels.and_then(|labels| serde_json::from_str::<Labels>(labels.as_str()).ok())
        else {
            merge!(self, at, attributes);
            return;
        };
        let taken = self.add_labels(labels, at);
        let mut others = attributes.clone();
        others.remove("labels");
        merge!(self, at, &others, taken);
    }

    fn add_labels(&mut self, added: Labels, at: &At<'_>) -> Taken {
        let held = self.labels.as_deref().and_then(|held| serde_json::from_str::<Labels>(held).ok());
        let mut labels = held.unwrap_or_default();
        labels.extend(added);
        let bytes = labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        // The labels of one event are taken whole, whatever their size.
        if self.labels.is_some() && bytes > ROW_ATTRIBUTES_BYTES_MAX {
            return Taken::InPart;
        }
        let labels = if labels.is_empty() { None } else { json_text(&labels) };
        set!(self, at, labels: &labels);
        Taken::Whole
    }

    fn start(&mut self, e: &SessionStarted, at: &At<'_>) {
        let labels = if e.labels.is_empty() { None } else { json_text(&e.labels) };
        // The hash that an event states comes after that of its input, and replaces it.
        set!(self, at,
            started_at: &at.occurred,
            profile: &e.profile,
            input_hash: &e.input.as_deref().map(text_hash),
            input_hash: &e.input_hash,
            conversation_id: &e.conversation,
            parent_session_id: &e.parent_session.as_ref().map(ToString::to_string),
            agent: &e.agent,
            agent_version: &e.agent_version,
            model: &e.model,
            source: &e.source,
            tenant: &e.tenant,
            labels: &labels,
        );
        set_summary!(self, at, input_summary_text, input_text, input_seq: &None, &e.input);
        set_text!(self, at, input_text, input_seq, input_offset, input_length, input_pieces: &e.input);
        merge!(self, at, &e.attributes);
        self.duration_us = duration(self.started_at, self.ended_at);
    }

    fn update(&mut self, e: &SessionUpdated, at: &At<'_>) {
        // An update that comes after the end does not open the session again.
        if let Some(status) = e.status
            && !self.has_ended()
        {
            self.own_status = status.as_str().to_owned();
        }
        set!(self, at, progress: &e.progress, message: &e.message);
        self.add_attributes(&e.attributes, at);
    }

    fn end(&mut self, e: &SessionEnded, at: &At<'_>) {
        if at.is_of_run() {
            // The run that ended last states how the work ended, even with success.
            let has_error = self.run_error.is_some();
            if self.claims.take(const { bit(Self::COLUMNS, "run_error") }, at.precedence, has_error) {
                let has_failed = e.status == SessionEnd::Failed;
                self.run_error = has_failed.then(|| e.error.clone().unwrap_or_default());
            }
        }
        let is_of_earlier_run = at.precedence.is_none() && self.is_of_earlier_run(at.occurred);
        if at.is_of_whole_session() && !is_of_earlier_run {
            let has_ended = self.has_ended();
            if self.claims.take(const { bit(Self::COLUMNS, "own_status") }, at.precedence, has_ended) {
                self.own_status = e.status.as_str().to_owned();
            }
            set!(self, at, ended_at: &at.occurred);
            // The error belongs to the status. So the span that sets the status also removes the error of another
            // one, if it has none itself.
            let error = const { bit(Self::COLUMNS, "own_error") };
            if at.precedence.is_none() {
                set!(self, at, own_error: &e.error);
            } else if self.claims.take(error, at.precedence, self.own_error.is_some()) {
                self.own_error.clone_from(&e.error);
            }
        }
        let scores = if e.scores.is_empty() { None } else { json_text(&e.scores) };
        set_text!(self, at, summary_text, summary_seq, summary_offset, summary_length, summary_pieces: &e.summary);
        set!(self, at,
            risk_level: &to_text(e.risk_level),
            scores: &scores,
            stated_tokens_input: &count(e.tokens_input),
            stated_tokens_output: &count(e.tokens_output),
            stated_cost_usd: &e.cost_usd,
        );
        self.add_attributes(&e.attributes, at);
        self.duration_us = duration(self.started_at, self.ended_at);
    }
}

fn change_step(
    rows: &mut WorkingSet,
    session: &str,
    id: &str,
    at: &At<'_>,
    change: impl FnOnce(&mut StepRow),
) {
    let key = KeyIn { session, id };
    // The sums move by the difference that this event makes, so that no other step must be read.
    let before = Standing::of(rows, &key);
    let step = rows.steps.change(&key, || StepRow::partial(session, id, at));
    let error = step.error.clone();
    change(step);
    step.last_recorded_at = at.recorded;
    step.last_seq = at.seq;
    let has_other_error = error != step.error;
    tree::follow(rows, &key, &before, (0, at.seq));
    if has_other_error {
        tree::judge_again(rows, &key, at.seq);
    }
}

impl StepRow {
    fn partial(session: &str, id: &str, at: &At<'_>) -> StepRow {
        StepRow {
            id: id.to_owned(),
            session_id: session.to_owned(),
            status: "running".to_owned(),
            first_recorded_at: at.recorded,
            last_recorded_at: at.recorded,
            first_seq: at.seq,
            last_seq: at.seq,
            ..StepRow::blank()
        }
    }

    fn start(&mut self, e: &StepStarted, at: &At<'_>) {
        // The step runs again, and nothing is known yet of how this run ends.
        if at.precedence.is_none() && self.started_at.is_some() && is_before(self.ended_at, at.occurred) {
            "running".clone_into(&mut self.status);
            (self.ended_at, self.error) = (None, None);
            unclaim!(self, status, ended_at, error);
        }
        set!(self, at,
            started_at: &at.occurred,
            parent_step_id: &e.parent_step.as_ref().map(ToString::to_string),
            module: &e.module,
            kind: &to_text(e.kind),
            model: &e.model,
            input_hash: &e.input.as_deref().map(text_hash),
        );
        set_summary!(self, at, input_summary_text, input_text, input_seq: &e.input_summary, &e.input);
        set_text!(self, at, input_text, input_seq, input_offset, input_length, input_pieces: &e.input);
        merge!(self, at, &e.attributes);
        self.duration_us = duration(self.started_at, self.ended_at);
    }

    fn end(&mut self, e: &StepEnded, at: &At<'_>) {
        if at.ends_step() {
            let has_ended = self.status != "running";
            if self.claims.take(const { bit(Self::COLUMNS, "status") }, at.precedence, has_ended) {
                self.status = e.status.as_str().to_owned();
            }
        }
        set!(self, at,
            ended_at: &at.occurred,
            output_hash: &e.output.as_deref().map(text_hash),
            confidence: &e.confidence,
            tokens_input: &count(e.tokens_input),
            tokens_output: &count(e.tokens_output),
            tokens_cache_read: &count(e.tokens_cache_read),
            tokens_cache_write: &count(e.tokens_cache_write),
            tokens_reasoning: &count(e.tokens_reasoning),
            // SQLite stores NaN as NULL, so the row in memory must not have it either.
            cost_usd: &e.cost_usd.filter(|cost| !cost.is_nan()),
            error: &e.error,
            basis: &to_text(e.basis),
        );
        set_summary!(self, at, output_summary_text, output_text, output_seq: &e.output_summary, &e.output);
        set_text!(self, at, output_text, output_seq, output_offset, output_length, output_pieces: &e.output);
        merge!(self, at, &e.attributes);
        self.duration_us = duration(self.started_at, self.ended_at);
    }
}

fn decide(rows: &mut WorkingSet, session: &str, e: &DecisionMade, at: &At<'_>) {
    let key = KeyIn { session, id: e.decision.as_str() };
    let is_new = rows.decisions.get(&key).is_none();
    let row = rows.decisions.change(&key, || DecisionRow {
        id: e.decision.to_string(),
        session_id: session.to_owned(),
        first_recorded_at: at.recorded,
        last_recorded_at: at.recorded,
        first_seq: at.seq,
        last_seq: at.seq,
        ..DecisionRow::blank()
    });
    row.make(e, at);
    row.last_recorded_at = at.recorded;
    row.last_seq = at.seq;
    if is_new {
        let session = change_session(rows, session, at);
        session.decision_count = session.decision_count.saturating_add(1);
    }
}

impl DecisionRow {
    fn make(&mut self, e: &DecisionMade, at: &At<'_>) {
        let options = if e.options_considered.is_empty() { None } else { json_text(&e.options_considered) };
        let chosen: Vec<&String> = e.chosen_option.iter().chain(&e.chosen_options).collect();
        set!(self, at,
            step_id: &e.step.as_ref().map(ToString::to_string),
            decision_type: &e.decision_type,
            options_considered: &options,
            chosen_option: &chosen.first().map(|first| (*first).clone()),
            chosen_options: &if chosen.is_empty() { None } else { json_text(&chosen) },
            rationale: &e.rationale,
            confidence: &e.confidence,
            actor: &e.actor,
            on_behalf_of: &if e.on_behalf_of.is_empty() { None } else { json_text(&e.on_behalf_of) },
            basis: &to_text(e.basis),
            decided_at: &at.occurred,
        );
        merge!(self, at, &e.attributes);
    }
}

/// The row of a finding, which is made and counted if it is missing.
fn change_finding<'a>(rows: &'a mut WorkingSet, session: &str, id: &str, at: &At<'_>) -> &'a mut FindingRow {
    let key = KeyIn { session, id };
    if rows.findings.get(&key).is_none() {
        let session = change_session(rows, session, at);
        session.finding_count = session.finding_count.saturating_add(1);
    }
    let row = rows.findings.change(&key, || FindingRow {
        id: id.to_owned(),
        session_id: session.to_owned(),
        status: "open".to_owned(),
        first_recorded_at: at.recorded,
        last_recorded_at: at.recorded,
        first_seq: at.seq,
        last_seq: at.seq,
        ..FindingRow::blank()
    });
    row.last_recorded_at = at.recorded;
    row.last_seq = at.seq;
    row
}

fn raise(rows: &mut WorkingSet, session: &str, e: &FindingRaised, at: &At<'_>) {
    change_finding(rows, session, e.finding.as_str(), at).raise(e, at);
    // The error of a span may be that of a span below it.
    if at.precedence.is_some()
        && let Some(step) = &e.step
    {
        tree::judge_again(rows, &KeyIn { session, id: step.as_str() }, at.seq);
    }
}

impl FindingRow {
    fn raise(&mut self, e: &FindingRaised, at: &At<'_>) {
        set!(self, at,
            step_id: &e.step.as_ref().map(ToString::to_string),
            category: &e.category,
            pattern_type: &e.pattern_type,
            severity: &to_text(e.severity),
            outcome: &to_text(e.outcome),
            confidence: &e.confidence,
            title: &e.title,
            description: &e.description,
            plain_english: &e.plain_english,
            suggestion: &e.suggestion,
            legal_source: &e.legal_source,
            scope: &e.scope,
            rule_version: &e.rule_version,
            raised_at: &at.occurred,
        );
        let evidence = json_column(e.evidence.as_ref());
        set_text!(self, at, evidence_text, evidence_seq, evidence_offset, evidence_length, evidence_pieces: &evidence);
        merge!(self, at, &e.attributes);
    }

    fn judge(&mut self, e: &FindingUpdated, at: &At<'_>) {
        if let Some(status) = e.status {
            self.status = status.as_str().to_owned();
        }
        set!(self, at, updated_at: &at.occurred, updated_by: &e.actor);
    }
}

fn update_finding(rows: &mut WorkingSet, session: &str, e: &FindingUpdated, at: &At<'_>) {
    let key = KeyIn { session, id: e.finding.as_str() };
    // Read before the row is made: an update that comes before its finding has no previous status.
    let previous_status = rows.findings.get(&key).map(|finding| finding.status.clone());
    let finding = change_finding(rows, session, e.finding.as_str(), at);
    finding.judge(e, at);
    let status = finding.status.clone();
    let correction = e.correction.clone().unwrap_or_default();
    rows.single.finding_updates.push(FindingUpdateRow {
        seq: at.seq,
        session_id: session.to_owned(),
        finding_id: e.finding.to_string(),
        previous_status,
        status,
        actor: e.actor.clone(),
        reason: e.reason.clone(),
        original: correction.original,
        corrected: correction.corrected,
        strategy: correction.strategy,
        updated_at: at.occurred,
        attributes: attributes_text(&e.attributes),
        recorded_at: at.recorded,
    });
}
