//! Rows of the read tables as a program sees them. Ids are texts, as the file has them.

use super::column::records;
use crate::event::{Json, Seq, Timestamp};

records! {
    /// A session in a list: what tells it from others, without its long texts.
    SessionSummary from "sessions" {
        /// Its id.
        id: String,
        /// What it has in common with other sessions.
        conversation_id: Option<String>,
        /// The pipeline.
        profile: Option<String>,
        /// queued, running, paused, completed, failed, cancelled, disconnected, erased.
        status: String,
        /// When it began, by the producer's clock.
        started_at: Option<Timestamp>,
        /// When it ended, by the producer's clock.
        ended_at: Option<Timestamp>,
        /// How long it took, in microseconds.
        duration_us: Option<i64>,
        /// The first 200 characters of what it was asked.
        input_summary = "substr(input, 1, 200)": Option<String>,
        /// Name of the agent.
        agent: Option<String>,
        /// Model it works with.
        model: Option<String>,
        /// How risky the outcome is.
        risk_level: Option<String>,
        /// Steps.
        step_count: i64,
        /// Steps that ended in error.
        error_count: i64,
        /// Decisions.
        decision_count: i64,
        /// Findings.
        finding_count: i64,
        /// Events whose payload was erased.
        redacted_count: i64,
        /// The least confidence of its steps.
        lowest_confidence = "(SELECT min(confidence) FROM steps WHERE steps.session_id = sessions.id)": Option<f64>,
        /// Tokens read and written by models.
        tokens_used: Option<i64>,
        /// Cost in US dollars.
        cost_usd: Option<f64>,
        /// When its first event was recorded.
        first_recorded_at: Timestamp,
        /// Its first event.
        first_seq: Seq,
        /// Its last event.
        last_seq: Seq,
    }

    /// A session, whole.
    Session from "sessions" {
        /// Its id.
        id: String,
        /// What it has in common with other sessions.
        conversation_id: Option<String>,
        /// The session that started it.
        parent_session_id: Option<String>,
        /// The pipeline.
        profile: Option<String>,
        /// queued, running, paused, completed, failed, cancelled, disconnected, erased.
        status: String,
        /// When it began, by the producer's clock.
        started_at: Option<Timestamp>,
        /// When it ended, by the producer's clock.
        ended_at: Option<Timestamp>,
        /// How long it took, in microseconds.
        duration_us: Option<i64>,
        /// What it was asked.
        input: Option<String>,
        /// What identical inputs are found by.
        input_hash: Option<String>,
        /// What it came to.
        summary: Option<String>,
        /// Why it failed.
        error: Option<String>,
        /// How risky the outcome is.
        risk_level: Option<String>,
        /// Ratings by name.
        scores: Option<Json>,
        /// Name of the agent.
        agent: Option<String>,
        /// Version of the agent.
        agent_version: Option<String>,
        /// Model it works with.
        model: Option<String>,
        /// Where the record came from.
        source: Option<String>,
        /// Whose session it is.
        tenant: Option<String>,
        /// The producer's own labels.
        labels: Option<Json>,
        /// How much of it is done, 0 to 1.
        progress: Option<f64>,
        /// What it is doing.
        message: Option<String>,
        /// Events.
        event_count: i64,
        /// Steps.
        step_count: i64,
        /// Steps that ended in error.
        error_count: i64,
        /// Decisions.
        decision_count: i64,
        /// Findings.
        finding_count: i64,
        /// Events whose payload was erased.
        redacted_count: i64,
        /// Tokens read by models.
        tokens_input: Option<i64>,
        /// Tokens written by models.
        tokens_output: Option<i64>,
        /// Both.
        tokens_used: Option<i64>,
        /// Cost in US dollars.
        cost_usd: Option<f64>,
        /// Fields that the events' kinds do not know.
        attributes: Option<Json>,
        /// When its first event was recorded.
        first_recorded_at: Timestamp,
        /// When its last event was recorded.
        last_recorded_at: Timestamp,
        /// Its first event.
        first_seq: Seq,
        /// Its last event.
        last_seq: Seq,
    }

    /// A step of a session.
    Step from "steps" {
        /// Its id, unique within the session.
        id: String,
        /// Its session.
        session_id: String,
        /// The step that it is part of.
        parent_step_id: Option<String>,
        /// What does the work.
        module: Option<String>,
        /// llm, tool, retrieval, agent, chain, guardrail, other.
        kind: Option<String>,
        /// Model it calls.
        model: Option<String>,
        /// running, ok, error.
        status: String,
        /// When it began, by the producer's clock.
        started_at: Option<Timestamp>,
        /// When it ended, by the producer's clock.
        ended_at: Option<Timestamp>,
        /// How long it took, in microseconds.
        duration_us: Option<i64>,
        /// What went in.
        input: Option<String>,
        /// What came out.
        output: Option<String>,
        /// BLAKE3 of the input.
        input_hash: Option<String>,
        /// BLAKE3 of the output.
        output_hash: Option<String>,
        /// The input in short.
        input_summary: Option<String>,
        /// The output in short.
        output_summary: Option<String>,
        /// How sure the module is, 0 to 1.
        confidence: Option<f64>,
        /// Tokens read by the model.
        tokens_input: Option<i64>,
        /// Tokens written by the model.
        tokens_output: Option<i64>,
        /// Both.
        tokens_used: Option<i64>,
        /// Cost in US dollars.
        cost_usd: Option<f64>,
        /// Why it failed.
        error: Option<String>,
        /// Fields that the events' kinds do not know.
        attributes: Option<Json>,
        /// The event that made it.
        first_seq: Seq,
        /// The event that last changed it.
        last_seq: Seq,
    }

    /// A decision.
    Decision from "decisions" {
        /// Its id, unique within the session.
        id: String,
        /// Its session.
        session_id: String,
        /// The step in which it was made.
        step_id: Option<String>,
        /// What kind of decision it is.
        decision_type: Option<String>,
        /// List of objects with `option`, `score` and more.
        options_considered: Option<Json>,
        /// What was chosen, or the best of it.
        chosen_option: Option<String>,
        /// List of all that was chosen.
        chosen_options: Option<Json>,
        /// Why.
        rationale: Option<String>,
        /// How sure the decider is, 0 to 1.
        confidence: Option<f64>,
        /// Who or what decided.
        actor: Option<String>,
        /// When, by the producer's clock.
        decided_at: Option<Timestamp>,
        /// Fields that the events' kinds do not know.
        attributes: Option<Json>,
        /// The event that made it.
        first_seq: Seq,
        /// The event that last changed it.
        last_seq: Seq,
    }

    /// A finding.
    Finding from "findings" {
        /// Its id, unique within the session.
        id: String,
        /// Its session.
        session_id: String,
        /// The step in which it was found.
        step_id: Option<String>,
        /// What it belongs to.
        category: Option<String>,
        /// The rule or pattern that it matches.
        pattern_type: Option<String>,
        /// critical, high, medium, low, info.
        severity: Option<String>,
        /// pass, fail, warning, skip, error.
        outcome: Option<String>,
        /// open, confirmed, dismissed, applied, rejected, reverted.
        status: String,
        /// How sure the finder is, 0 to 1.
        confidence: Option<f64>,
        /// A line that names it.
        title: Option<String>,
        /// What was found.
        description: Option<String>,
        /// The same in plain words.
        plain_english: Option<String>,
        /// What to do about it.
        suggestion: Option<String>,
        /// The law or policy behind it.
        legal_source: Option<String>,
        /// What shows it.
        evidence: Option<Json>,
        /// How far it reaches.
        scope: Option<String>,
        /// Version of the rule.
        rule_version: Option<String>,
        /// When it was raised, by the producer's clock.
        raised_at: Option<Timestamp>,
        /// When it was last updated, by the producer's clock.
        updated_at: Option<Timestamp>,
        /// By whom.
        updated_by: Option<String>,
        /// Fields that the events' kinds do not know.
        attributes: Option<Json>,
        /// The event that made it.
        first_seq: Seq,
        /// The event that last changed it.
        last_seq: Seq,
    }

    /// An event of the log, of any kind.
    TimelineEntry from "timeline" {
        /// The event.
        seq: Seq,
        /// Its session.
        session_id: Option<String>,
        /// Name of its kind.
        kind: String,
        /// What it is about.
        subject_id: Option<String>,
        /// When it happened, by the producer's clock.
        occurred_at: Option<Timestamp>,
        /// When it was recorded.
        recorded_at: Timestamp,
        /// 1 where its payload was erased.
        redacted: i64,
    }

    /// One update of a finding.
    FindingUpdate from "finding_updates" {
        /// Its event.
        seq: Seq,
        /// The finding.
        finding_id: String,
        /// Where the finding stood before.
        previous_status: Option<String>,
        /// Where it stands since.
        status: String,
        /// Who said so.
        actor: Option<String>,
        /// Why.
        reason: Option<String>,
        /// The text as it was.
        original: Option<String>,
        /// The text as it should be.
        corrected: Option<String>,
        /// How the correction was made.
        strategy: Option<String>,
        /// When, by the producer's clock.
        updated_at: Option<Timestamp>,
        /// Fields that the event's kind does not know.
        attributes: Option<Json>,
        /// When it was recorded.
        recorded_at: Timestamp,
    }

    /// A review by a person.
    Review from "reviews" {
        /// Its event.
        seq: Seq,
        /// Its id.
        id: String,
        /// Who reviewed.
        actor: String,
        /// session, step, decision, finding, action.
        subject_kind: String,
        /// What was reviewed.
        subject_id: Option<String>,
        /// approved, rejected, overridden, escalated.
        verdict: String,
        /// Why.
        reason: Option<String>,
        /// When, by the producer's clock.
        reviewed_at: Option<Timestamp>,
        /// Fields that the event's kind does not know.
        attributes: Option<Json>,
        /// When it was recorded.
        recorded_at: Timestamp,
    }

    /// A file that belongs to the record.
    Artifact from "artifacts" {
        /// Its event.
        seq: Seq,
        /// BLAKE3 of the content.
        id: String,
        /// The step that it belongs to.
        step_id: Option<String>,
        /// What it is called.
        label: Option<String>,
        /// Its place among several.
        position: Option<i64>,
        /// Its media type.
        media_type: Option<String>,
        /// Its length in bytes.
        size: Option<i64>,
        /// When, by the producer's clock.
        attached_at: Option<Timestamp>,
        /// Fields that the event's kind does not know.
        attributes: Option<Json>,
        /// When it was recorded.
        recorded_at: Timestamp,
    }

    /// A measurement.
    Metric from "metrics" {
        /// Its event.
        seq: Seq,
        /// What was measured.
        name: String,
        /// The number.
        value: f64,
        /// Its unit.
        unit: Option<String>,
        /// The producer's own labels.
        labels: Option<Json>,
        /// When, by the producer's clock.
        measured_at: Option<Timestamp>,
        /// Fields that the event's kind does not know.
        attributes: Option<Json>,
        /// When it was recorded.
        recorded_at: Timestamp,
    }

    /// A line of a log.
    Note from "notes" {
        /// Its event.
        seq: Seq,
        /// The step that it belongs to.
        step_id: Option<String>,
        /// How important it is.
        level: Option<String>,
        /// What it says.
        message: String,
        /// What goes with it.
        data: Option<Json>,
        /// When, by the producer's clock.
        logged_at: Option<Timestamp>,
        /// Fields that the event's kind does not know.
        attributes: Option<Json>,
        /// When it was recorded.
        recorded_at: Timestamp,
    }

    /// What somebody did to something.
    Action from "actions" {
        /// Its event.
        seq: Seq,
        /// Who.
        actor_id: String,
        /// What the actor is.
        actor_kind: Option<String>,
        /// What they did.
        action: String,
        /// To what kind of thing.
        entity_type: Option<String>,
        /// To which.
        entity_id: Option<String>,
        /// success, denied, failed.
        outcome: Option<String>,
        /// Why.
        reason: Option<String>,
        /// The state before.
        before: Option<Json>,
        /// The state after.
        after: Option<Json>,
        /// Network address.
        ip: Option<String>,
        /// The client's own name.
        user_agent: Option<String>,
        /// What correlates it with other records.
        request_id: Option<String>,
        /// On whose behalf.
        tenant: Option<String>,
        /// When, by the producer's clock.
        acted_at: Option<Timestamp>,
        /// Fields that the event's kind does not know.
        attributes: Option<Json>,
        /// When it was recorded.
        recorded_at: Timestamp,
    }
}
