//! The fold of the projection `sessions`: sessions, steps, decisions, findings and the timeline.
//!
//! Events may come in any order: a child before its parent, an end before its start. Each event
//! sets what it says and leaves the rest of its row alone, and makes the row where it is missing.

use crate::event::{
    Content, DecisionMade, Event, FindingRaised, FindingUpdated, Recorded, SessionEnded, SessionStarted,
    SessionUpdated, StepEnded, StepStarted,
};
use crate::limits::{SUMMARY_CHARS, TOKENS_MAX};

use super::cell::{TimeText, attributes_text, json_column, json_text, merge_attributes, text_hash};
use super::rows::{DecisionRow, FindingRow, FindingUpdateRow, SessionRow, StepRow, TimelineRow};
use super::working_set::{SessionKey, WorkingSet};

/// Which row an event changes beside that of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Step,
    Decision,
    Finding,
}

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

/// What an event is about, in the words of its kind.
pub(super) fn subject(event: &Event) -> Option<String> {
    match event {
        Event::ReviewRecorded(e) => Some(e.review.to_string()),
        Event::ArtifactAttached(e) => Some(e.artifact.to_string()),
        Event::MetricRecorded(e) => Some(e.name.clone()),
        Event::NoteLogged(e) => e.step.as_ref().map(ToString::to_string),
        Event::ActionRecorded(e) => e.entity_id.clone(),
        Event::Custom(e) => Some(e.name.clone()),
        Event::ProjectionSkipped(e) => Some(e.projection.clone()),
        Event::KeyChanged(e) => Some(e.vkey.clone()),
        Event::ApiKeyCreated(e) => Some(e.name.clone()),
        Event::ApiKeyRevoked(e) => Some(e.key.to_string()),
        event => child(event).map(|(_, id)| id.to_owned()),
    }
}

/// Folds one event. Its session's row, and its child's, are known to the working set.
pub(super) fn fold(rows: &mut WorkingSet, event: &Recorded) {
    let at = At {
        seq: event.seq.to_sql(),
        occurred: event.occurred_at.map(TimeText::from),
        recorded: event.recorded_at.into(),
    };
    let content = match &event.content {
        Content::Event(content) => Some(content),
        Content::Redacted | Content::Raw(_) => None,
    };
    let redacted = event.content == Content::Redacted;
    rows.timeline.push(TimelineRow {
        seq: at.seq,
        session_id: event.session.as_ref().map(ToString::to_string),
        kind: event.kind_name(),
        subject_id: content.and_then(subject),
        occurred_at: at.occurred.clone(),
        recorded_at: at.recorded.clone(),
        redacted: i64::from(redacted),
    });
    let Some(id) = &event.session else { return };
    let session = rows.sessions.change(id.to_string(), || SessionRow::partial(id.as_str(), &at));
    session.event_count = session.event_count.saturating_add(1);
    session.redacted_count = session.redacted_count.saturating_add(i64::from(redacted));
    session.last_recorded_at = at.recorded.clone();
    session.last_seq = at.seq;
    match content {
        Some(Event::SessionStarted(e)) => session.start(e, &at),
        Some(Event::SessionUpdated(e)) => session.update(e),
        Some(Event::SessionEnded(e)) => session.end(e, &at),
        Some(Event::StepStarted(e)) => {
            change_step(rows, id.as_str(), e.step.as_str(), &at, |step| step.start(e, &at))
        }
        Some(Event::StepEnded(e)) => {
            change_step(rows, id.as_str(), e.step.as_str(), &at, |step| step.end(e, &at))
        }
        Some(Event::DecisionMade(e)) => decide(rows, id.as_str(), e, &at),
        Some(Event::FindingRaised(e)) => {
            change_finding(rows, id.as_str(), e.finding.as_str(), &at).raise(e, &at);
        }
        Some(Event::FindingUpdated(e)) => update_finding(rows, id.as_str(), e, &at),
        _ => {}
    }
}

/// Where and when an event stands.
struct At {
    seq: i64,
    occurred: Option<TimeText>,
    recorded: TimeText,
}

/// Sets a column to what an event says, and leaves it alone where the event says nothing.
fn set<T: Clone>(column: &mut Option<T>, said: &Option<T>) {
    if said.is_some() {
        column.clone_from(said);
    }
}

fn word<T: std::fmt::Display>(word: Option<T>) -> Option<String> {
    word.map(|word| word.to_string())
}

/// Numbers above SQLite's largest are refused when an event is appended.
fn count(number: Option<u64>) -> Option<i64> {
    number.map(|number| number.min(TOKENS_MAX).cast_signed())
}

fn duration(from: Option<&TimeText>, to: Option<&TimeText>) -> Option<i64> {
    to?.time.micros().checked_sub(from?.time.micros())
}

/// The producer's summary, else the text's first characters.
fn summary(stated: &Option<String>, text: &Option<String>) -> Option<String> {
    let text = match stated {
        Some(_) => return stated.clone(),
        None => text.as_deref()?,
    };
    Some(text.chars().take(SUMMARY_CHARS).collect())
}

impl SessionRow {
    fn partial(id: &str, at: &At) -> SessionRow {
        SessionRow {
            id: id.to_owned(),
            conversation_id: None,
            profile: None,
            status: "running".to_owned(),
            started_at: None,
            ended_at: None,
            duration_us: None,
            input: None,
            input_hash: None,
            summary: None,
            error: None,
            risk_level: None,
            scores: None,
            agent: None,
            agent_version: None,
            model: None,
            source: None,
            tenant: None,
            labels: None,
            parent_session_id: None,
            progress: None,
            message: None,
            event_count: 0,
            step_count: 0,
            error_count: 0,
            decision_count: 0,
            finding_count: 0,
            redacted_count: 0,
            stated_tokens_input: None,
            stated_tokens_output: None,
            stated_cost_usd: None,
            steps_tokens_input: None,
            steps_tokens_output: None,
            steps_cost_usd: None,
            attributes: None,
            first_recorded_at: at.recorded.clone(),
            last_recorded_at: at.recorded.clone(),
            first_seq: at.seq,
            last_seq: at.seq,
        }
    }

    fn has_ended(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "running" | "paused")
    }

    fn start(&mut self, e: &SessionStarted, at: &At) {
        set(&mut self.started_at, &at.occurred);
        set(&mut self.profile, &e.profile);
        if e.input.is_some() {
            self.input.clone_from(&e.input);
            self.input_hash = e.input.as_deref().map(text_hash);
        }
        set(&mut self.input_hash, &e.input_hash);
        set(&mut self.conversation_id, &e.conversation);
        set(&mut self.parent_session_id, &e.parent_session.as_ref().map(ToString::to_string));
        set(&mut self.agent, &e.agent);
        set(&mut self.agent_version, &e.agent_version);
        set(&mut self.model, &e.model);
        set(&mut self.source, &e.source);
        set(&mut self.tenant, &e.tenant);
        if !e.labels.is_empty() {
            self.labels = json_text(&e.labels);
        }
        merge_attributes(&mut self.attributes, &e.attributes);
        self.duration_us = duration(self.started_at.as_ref(), self.ended_at.as_ref());
    }

    fn update(&mut self, e: &SessionUpdated) {
        if let Some(status) = e.status
            && !self.has_ended()
        {
            self.status = status.as_str().to_owned();
        }
        set(&mut self.progress, &e.progress);
        set(&mut self.message, &e.message);
        merge_attributes(&mut self.attributes, &e.attributes);
    }

    fn end(&mut self, e: &SessionEnded, at: &At) {
        self.status = e.status.as_str().to_owned();
        set(&mut self.ended_at, &at.occurred);
        set(&mut self.summary, &e.summary);
        set(&mut self.risk_level, &word(e.risk_level));
        if !e.scores.is_empty() {
            self.scores = json_text(&e.scores);
        }
        set(&mut self.stated_tokens_input, &count(e.tokens_input));
        set(&mut self.stated_tokens_output, &count(e.tokens_output));
        set(&mut self.stated_cost_usd, &e.cost_usd);
        set(&mut self.error, &e.error);
        merge_attributes(&mut self.attributes, &e.attributes);
        self.duration_us = duration(self.started_at.as_ref(), self.ended_at.as_ref());
    }

    /// Follows the change of a step's row. Sums are over steps of kind llm, because an agent's step
    /// repeats what its children used.
    fn follow_step(&mut self, before: &StepShare, after: &StepShare) {
        self.step_count = self.step_count.saturating_add(after.steps - before.steps);
        self.error_count = self.error_count.saturating_add(after.errors - before.errors);
        self.steps_tokens_input = moved(self.steps_tokens_input, before.tokens_input, after.tokens_input);
        self.steps_tokens_output = moved(self.steps_tokens_output, before.tokens_output, after.tokens_output);
        if before.cost_usd.is_some() || after.cost_usd.is_some() {
            let sum = self.steps_cost_usd.unwrap_or(0.0) - before.cost_usd.unwrap_or(0.0)
                + after.cost_usd.unwrap_or(0.0);
            // A sum that was infinite once would stay so.
            self.steps_cost_usd = Some(sum.clamp(f64::MIN, f64::MAX));
        }
    }
}

fn moved(sum: Option<i64>, before: Option<i64>, after: Option<i64>) -> Option<i64> {
    if before.is_none() && after.is_none() {
        return sum;
    }
    let sum = sum.unwrap_or(0).saturating_sub(before.unwrap_or(0)).saturating_add(after.unwrap_or(0));
    // The tables add what was read and what was written, and the sum must be an integer again.
    Some(sum.clamp(-TOKENS_MAX.cast_signed(), TOKENS_MAX.cast_signed()))
}

/// What a step adds to its session.
#[derive(Default)]
struct StepShare {
    steps: i64,
    errors: i64,
    tokens_input: Option<i64>,
    tokens_output: Option<i64>,
    cost_usd: Option<f64>,
}

impl StepShare {
    fn of(step: &StepRow) -> StepShare {
        let llm = step.kind.as_deref() == Some("llm");
        StepShare {
            steps: 1,
            errors: i64::from(step.status == "error"),
            tokens_input: step.tokens_input.filter(|_| llm),
            tokens_output: step.tokens_output.filter(|_| llm),
            // What is not finite does not come back from SQLite as it went.
            cost_usd: step.cost_usd.filter(|cost| llm && cost.is_finite()),
        }
    }
}

fn change_step(rows: &mut WorkingSet, session: &str, id: &str, at: &At, change: impl FnOnce(&mut StepRow)) {
    let key: SessionKey = (session.to_owned(), id.to_owned());
    let before = rows.steps.get(&key).map(StepShare::of).unwrap_or_default();
    let step = rows.steps.change(key, || StepRow::partial(session, id, at));
    change(step);
    step.last_recorded_at = at.recorded.clone();
    step.last_seq = at.seq;
    let after = StepShare::of(step);
    rows.sessions
        .change(session.to_owned(), || SessionRow::partial(session, at))
        .follow_step(&before, &after);
}

impl StepRow {
    fn partial(session: &str, id: &str, at: &At) -> StepRow {
        StepRow {
            id: id.to_owned(),
            session_id: session.to_owned(),
            parent_step_id: None,
            module: None,
            kind: None,
            model: None,
            status: "running".to_owned(),
            started_at: None,
            ended_at: None,
            duration_us: None,
            input: None,
            output: None,
            input_hash: None,
            output_hash: None,
            input_summary: None,
            output_summary: None,
            confidence: None,
            tokens_input: None,
            tokens_output: None,
            cost_usd: None,
            error: None,
            attributes: None,
            first_recorded_at: at.recorded.clone(),
            last_recorded_at: at.recorded.clone(),
            first_seq: at.seq,
            last_seq: at.seq,
        }
    }

    fn start(&mut self, e: &StepStarted, at: &At) {
        set(&mut self.started_at, &at.occurred);
        set(&mut self.parent_step_id, &e.parent_step.as_ref().map(ToString::to_string));
        set(&mut self.module, &e.module);
        set(&mut self.kind, &word(e.kind));
        set(&mut self.model, &e.model);
        set(&mut self.input, &e.input);
        set(&mut self.input_hash, &e.input.as_deref().map(text_hash));
        set(&mut self.input_summary, &summary(&e.input_summary, &e.input));
        merge_attributes(&mut self.attributes, &e.attributes);
        self.duration_us = duration(self.started_at.as_ref(), self.ended_at.as_ref());
    }

    fn end(&mut self, e: &StepEnded, at: &At) {
        self.status = e.status.as_str().to_owned();
        set(&mut self.ended_at, &at.occurred);
        set(&mut self.output, &e.output);
        set(&mut self.output_hash, &e.output.as_deref().map(text_hash));
        set(&mut self.output_summary, &summary(&e.output_summary, &e.output));
        set(&mut self.confidence, &e.confidence);
        set(&mut self.tokens_input, &count(e.tokens_input));
        set(&mut self.tokens_output, &count(e.tokens_output));
        set(&mut self.cost_usd, &e.cost_usd);
        set(&mut self.error, &e.error);
        merge_attributes(&mut self.attributes, &e.attributes);
        self.duration_us = duration(self.started_at.as_ref(), self.ended_at.as_ref());
    }
}

fn decide(rows: &mut WorkingSet, session: &str, e: &DecisionMade, at: &At) {
    let key: SessionKey = (session.to_owned(), e.decision.to_string());
    let is_new = rows.decisions.get(&key).is_none();
    let chosen: Vec<&String> = e.chosen_option.iter().chain(&e.chosen_options).collect();
    let row = rows.decisions.change(key, || DecisionRow {
        id: e.decision.to_string(),
        step_id: None,
        session_id: session.to_owned(),
        decision_type: None,
        options_considered: None,
        chosen_option: None,
        chosen_options: None,
        rationale: None,
        confidence: None,
        actor: None,
        decided_at: None,
        attributes: None,
        first_recorded_at: at.recorded.clone(),
        last_recorded_at: at.recorded.clone(),
        first_seq: at.seq,
        last_seq: at.seq,
    });
    set(&mut row.step_id, &e.step.as_ref().map(ToString::to_string));
    set(&mut row.decision_type, &e.decision_type);
    if !e.options_considered.is_empty() {
        row.options_considered = json_text(&e.options_considered);
    }
    if let Some(first) = chosen.first() {
        row.chosen_option = Some((*first).clone());
        row.chosen_options = json_text(&chosen);
    }
    set(&mut row.rationale, &e.rationale);
    set(&mut row.confidence, &e.confidence);
    set(&mut row.actor, &e.actor);
    set(&mut row.decided_at, &at.occurred);
    merge_attributes(&mut row.attributes, &e.attributes);
    row.last_recorded_at = at.recorded.clone();
    row.last_seq = at.seq;
    if is_new {
        let session = rows.sessions.change(session.to_owned(), || SessionRow::partial(session, at));
        session.decision_count = session.decision_count.saturating_add(1);
    }
}

/// The finding's row, made and counted where it is missing.
fn change_finding<'a>(rows: &'a mut WorkingSet, session: &str, id: &str, at: &At) -> &'a mut FindingRow {
    let key: SessionKey = (session.to_owned(), id.to_owned());
    if rows.findings.get(&key).is_none() {
        let session = rows.sessions.change(session.to_owned(), || SessionRow::partial(session, at));
        session.finding_count = session.finding_count.saturating_add(1);
    }
    let row = rows.findings.change(key, || FindingRow {
        id: id.to_owned(),
        session_id: session.to_owned(),
        step_id: None,
        category: None,
        pattern_type: None,
        severity: None,
        outcome: None,
        status: "open".to_owned(),
        confidence: None,
        title: None,
        description: None,
        plain_english: None,
        suggestion: None,
        legal_source: None,
        evidence: None,
        scope: None,
        rule_version: None,
        raised_at: None,
        updated_at: None,
        updated_by: None,
        attributes: None,
        first_recorded_at: at.recorded.clone(),
        last_recorded_at: at.recorded.clone(),
        first_seq: at.seq,
        last_seq: at.seq,
    });
    row.last_recorded_at = at.recorded.clone();
    row.last_seq = at.seq;
    row
}

impl FindingRow {
    fn raise(&mut self, e: &FindingRaised, at: &At) {
        set(&mut self.step_id, &e.step.as_ref().map(ToString::to_string));
        set(&mut self.category, &e.category);
        set(&mut self.pattern_type, &e.pattern_type);
        set(&mut self.severity, &word(e.severity));
        set(&mut self.outcome, &word(e.outcome));
        set(&mut self.confidence, &e.confidence);
        set(&mut self.title, &e.title);
        set(&mut self.description, &e.description);
        set(&mut self.plain_english, &e.plain_english);
        set(&mut self.suggestion, &e.suggestion);
        set(&mut self.legal_source, &e.legal_source);
        set(&mut self.evidence, &json_column(e.evidence.as_ref()));
        set(&mut self.scope, &e.scope);
        set(&mut self.rule_version, &e.rule_version);
        set(&mut self.raised_at, &at.occurred);
        merge_attributes(&mut self.attributes, &e.attributes);
    }
}

fn update_finding(rows: &mut WorkingSet, session: &str, e: &FindingUpdated, at: &At) {
    let key: SessionKey = (session.to_owned(), e.finding.to_string());
    let previous_status = rows.findings.get(&key).map(|finding| finding.status.clone());
    let finding = change_finding(rows, session, e.finding.as_str(), at);
    if let Some(status) = e.status {
        finding.status = status.as_str().to_owned();
    }
    set(&mut finding.updated_at, &at.occurred);
    set(&mut finding.updated_by, &e.actor);
    let status = finding.status.clone();
    let correction = e.correction.clone().unwrap_or_default();
    rows.finding_updates.push(FindingUpdateRow {
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
        updated_at: at.occurred.clone(),
        attributes: attributes_text(&e.attributes),
        recorded_at: at.recorded.clone(),
    });
}
