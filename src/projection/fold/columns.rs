//! The columns of the read tables, each declared once: for the fold that stores them, and for the programs that read
//! them. Their SQL is in schema/read.

/// Passes the tables that programs read to a macro. `fold::rows` makes the stored rows of them, and
/// `query::records` the public records.
///
/// A column has one line of documentation, and one of these forms:
///
/// | form | the column |
/// | --- | --- |
/// | `name: Type` | is stored and read as the same type |
/// | `name stored(Type) read(Other)` | is stored as one type and read as another |
/// | `name stored(Type)` | is stored, and no record has it |
/// | `name read(Type)` | is read, and SQLite makes it of others |
///
/// Rows are stored in one table, and are read from it or from a view of it: each entry names both.
///
/// The order of the read columns is that of the JSON that programs get. The order of the stored ones is that
/// of the SQL, and `claims` names columns by their index in it: a change of this order needs a new version of
/// the projection. A column whose index differs between the two is listed once for each.
macro_rules! tables {
    ($each:ident) => {
        $each! {
            /// A session with all its columns.
            SessionRow in "annals_sessions" => Session in "sessions", key ("id") {
                /// Its id.
                id: String,
                /// Id of the conversation that it shares with other sessions.
                conversation_id: Option<String>,
                /// Id of the session that started it.
                parent_session_id read(Option<String>), // Stored further down.
                /// The pipeline, or one of its configurations.
                profile: Option<String>,
                /// The status: queued, running, paused, completed, failed, cancelled, disconnected, erased.
                status read(String),
                /// The status without regard to the runs of agents within the session.
                own_status stored(String),
                /// Time of its start, by the producer's clock.
                started_at: Option<Timestamp>,
                /// Time of its end, by the producer's clock.
                ended_at: Option<Timestamp>,
                /// Its duration, in microseconds.
                duration_us: Option<i64>,
                /// The whole input that it was given, such as a question.
                input read(Option<String>),
                /// The text, if the row stores it.
                input_text stored(Option<String>),
                /// The event whose payload has the text, if the row does not store it.
                input_seq stored(Option<i64>),
                /// Offset of its first byte in that payload cell, from 1.
                input_offset stored(Option<i64>),
                /// Its length there, in bytes.
                input_length stored(Option<i64>),
                /// JSON of its pieces, if it is joined from several.
                input_pieces stored(Option<String>),
                /// The first characters of a long text.
                input_summary_text stored(Option<String>),
                /// The hash by which identical inputs are found.
                input_hash: Option<String>,
                /// The result of the session, in words.
                summary read(Option<String>),
                /// The text, if the row stores it.
                summary_text stored(Option<String>),
                /// The event whose payload has the text, if the row does not store it.
                summary_seq stored(Option<i64>),
                /// Offset of its first byte in that payload cell, from 1.
                summary_offset stored(Option<i64>),
                /// Its length there, in bytes.
                summary_length stored(Option<i64>),
                /// JSON of its pieces, if it is joined from several.
                summary_pieces stored(Option<String>),
                /// The reason why it failed.
                error read(Option<String>),
                /// The reason that the session's own end states.
                own_error stored(Option<String>),
                /// The reason why the last run of an agent failed; empty if it states none.
                run_error stored(Option<String>),
                /// The risk of its outcome.
                risk_level: Option<String>,
                /// Ratings by name.
                scores stored(Option<String>) read(Option<Json>),
                /// Name of the agent.
                agent: Option<String>,
                /// Version of the agent.
                agent_version: Option<String>,
                /// The model that it works with.
                model: Option<String>,
                /// The source of the record, such as another program.
                source: Option<String>,
                /// The tenant that the session belongs to.
                tenant: Option<String>,
                /// The producer's own labels.
                labels stored(Option<String>) read(Option<Json>),
                /// Id of the session that started it.
                parent_session_id stored(Option<String>),
                /// The part of it that is done, from 0 to 1.
                progress: Option<f64>,
                /// The current activity of the session.
                message: Option<String>,
                /// Number of its events.
                event_count: i64,
                /// Number of its steps.
                step_count: i64,
                /// Number of its steps that ended in error.
                error_count: i64,
                /// Number of its decisions.
                decision_count: i64,
                /// Number of its findings.
                finding_count: i64,
                /// Number of events whose payload was erased.
                redacted_count: i64,
                /// Number of events that started it.
                start_count stored(i64),
                /// Number of erased events that may have ended it.
                erased_end_count stored(i64),
                /// Tokens read by models, as its end stated them.
                stated_tokens_input stored(Option<i64>),
                /// Tokens written by models, as its end stated them.
                stated_tokens_output stored(Option<i64>),
                /// Cost in US dollars, as its end stated it.
                stated_cost_usd stored(Option<f64>),
                /// Tokens read in its steps, without those that a step repeats.
                steps_tokens_input stored(Option<i64>),
                /// Tokens written in its steps, without those that a step repeats.
                steps_tokens_output stored(Option<i64>),
                /// Cost of its steps in US dollars, without that which a step repeats.
                steps_cost_usd stored(Option<f64>),
                /// Number of its rows in `annals_below`.
                below_count stored(i64),
                /// Tokens read by models.
                tokens_input read(Option<i64>),
                /// Tokens written by models.
                tokens_output read(Option<i64>),
                /// Tokens read and written by models.
                tokens_used read(Option<i64>),
                /// Cost in US dollars.
                cost_usd read(Option<f64>),
                /// Fields that the kinds of its events do not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// The precedence of columns that spans and log records set.
                claims stored(Claims),
                /// Time at which its first event was recorded.
                first_recorded_at: Timestamp,
                /// Time at which its last event was recorded.
                last_recorded_at: Timestamp,
                /// Sequence number of its first event.
                first_seq stored(i64) read(Seq),
                /// Sequence number of its last event.
                last_seq stored(i64) read(Seq),
            }

            /// A step of a session.
            StepRow in "annals_steps" => Step in "steps", key ("session_id", "id") {
                /// Its id, unique within the session.
                id: String,
                /// Id of its session.
                session_id: String,
                /// Id of the step that it is part of.
                parent_step_id: Option<String>,
                /// The module, tool or role that does the work.
                module: Option<String>,
                /// The kind of work: llm, tool, retrieval, agent, chain, guardrail, other, embedding.
                kind: Option<String>,
                /// The model that it calls.
                model: Option<String>,
                /// The status: running, ok, error, cancelled.
                status: String,
                /// Time of its start, by the producer's clock.
                started_at: Option<Timestamp>,
                /// Time of its end, by the producer's clock.
                ended_at: Option<Timestamp>,
                /// Its duration, in microseconds.
                duration_us: Option<i64>,
                /// The input of the step.
                input read(Option<String>),
                /// The text, if the row stores it.
                input_text stored(Option<String>),
                /// The event whose payload has the text, if the row does not store it.
                input_seq stored(Option<i64>),
                /// Offset of its first byte in that payload cell, from 1.
                input_offset stored(Option<i64>),
                /// Its length there, in bytes.
                input_length stored(Option<i64>),
                /// JSON of its pieces, if it is joined from several.
                input_pieces stored(Option<String>),
                /// The output of the step.
                output read(Option<String>),
                /// The text, if the row stores it.
                output_text stored(Option<String>),
                /// The event whose payload has the text, if the row does not store it.
                output_seq stored(Option<i64>),
                /// Offset of its first byte in that payload cell, from 1.
                output_offset stored(Option<i64>),
                /// Its length there, in bytes.
                output_length stored(Option<i64>),
                /// JSON of its pieces, if it is joined from several.
                output_pieces stored(Option<String>),
                /// BLAKE3 of the input.
                input_hash: Option<String>,
                /// BLAKE3 of the output.
                output_hash: Option<String>,
                /// A summary of the input.
                input_summary read(Option<String>),
                /// The summary that the producer gave, or the first characters of a long text.
                input_summary_text stored(Option<String>),
                /// A summary of the output.
                output_summary read(Option<String>),
                /// The summary that the producer gave, or the first characters of a long text.
                output_summary_text stored(Option<String>),
                /// The confidence of the module, from 0 to 1.
                confidence: Option<f64>,
                /// Tokens read by the model.
                tokens_input: Option<i64>,
                /// Tokens written by the model.
                tokens_output: Option<i64>,
                /// Tokens read and written by the model.
                tokens_used read(Option<i64>),
                /// Tokens of those read that came from the provider's cache.
                tokens_cache_read: Option<i64>,
                /// Tokens of those read that were written to the provider's cache.
                tokens_cache_write: Option<i64>,
                /// Tokens of those written that were spent on reasoning.
                tokens_reasoning: Option<i64>,
                /// Cost in US dollars.
                cost_usd: Option<f64>,
                /// The reason why it failed.
                error: Option<String>,
                /// The basis of its record, if stated: observed, claimed.
                basis: Option<String>,
                /// Fields that the kinds of its events do not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// The precedence of columns that spans and log records set.
                claims stored(Claims),
                /// Time at which the event that made it was recorded.
                first_recorded_at stored(Timestamp),
                /// Time at which the event that last changed it was recorded.
                last_recorded_at stored(Timestamp),
                /// Sequence number of the event that made it.
                first_seq stored(i64) read(Seq),
                /// Sequence number of the event that last changed it.
                last_seq stored(i64) read(Seq),
            }

            /// A decision.
            DecisionRow in "decisions" => Decision in "decisions", key ("session_id", "id") {
                /// Its id, unique within the session.
                id: String,
                /// Id of its session.
                session_id read(String), // Stored further down.
                /// Id of the step in which it was made.
                step_id: Option<String>,
                /// Id of its session.
                session_id stored(String),
                /// The type of decision.
                decision_type: Option<String>,
                /// The options: a list of objects with `option`, `score` and other fields.
                options_considered stored(Option<String>) read(Option<Json>),
                /// The chosen option, or the best of several chosen ones.
                chosen_option: Option<String>,
                /// List of all chosen options.
                chosen_options stored(Option<String>) read(Option<Json>),
                /// The reason for the choice.
                rationale: Option<String>,
                /// The confidence of the decider, from 0 to 1.
                confidence: Option<f64>,
                /// The person or program that decided.
                actor: Option<String>,
                /// The principals for whom it was decided, from the nearest outwards.
                on_behalf_of stored(Option<String>) read(Option<Json>),
                /// The basis of its record, if stated: observed, claimed.
                basis: Option<String>,
                /// Time of the decision, by the producer's clock.
                decided_at: Option<Timestamp>,
                /// Fields that the kinds of its events do not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// The precedence of columns that spans and log records set.
                claims stored(Claims),
                /// Time at which the event that made it was recorded.
                first_recorded_at stored(Timestamp),
                /// Time at which the event that last changed it was recorded.
                last_recorded_at stored(Timestamp),
                /// Sequence number of the event that made it.
                first_seq stored(i64) read(Seq),
                /// Sequence number of the event that last changed it.
                last_seq stored(i64) read(Seq),
            }

            /// A finding.
            FindingRow in "annals_findings" => Finding in "findings", key ("session_id", "id") {
                /// Its id, unique within the session.
                id: String,
                /// Id of its session.
                session_id: String,
                /// Id of the step in which it was found.
                step_id: Option<String>,
                /// The category that it belongs to.
                category: Option<String>,
                /// The rule or pattern that it matches.
                pattern_type: Option<String>,
                /// The severity: critical, high, medium, low, info.
                severity: Option<String>,
                /// The outcome of the check: pass, fail, warning, skip, error.
                outcome: Option<String>,
                /// The status: open, confirmed, dismissed, applied, rejected, reverted.
                status: String,
                /// 1 if it is the error of a step further down, which was raised there.
                is_repeated stored(i64),
                /// The confidence of the finder, from 0 to 1.
                confidence: Option<f64>,
                /// A title of one line.
                title: Option<String>,
                /// A description of what was found.
                description: Option<String>,
                /// The description in plain words.
                plain_english: Option<String>,
                /// The suggested remedy.
                suggestion: Option<String>,
                /// The law or policy behind it.
                legal_source: Option<String>,
                /// The evidence for it.
                evidence read(Option<Json>),
                /// The text, if the row stores it.
                evidence_text stored(Option<String>),
                /// The event whose payload has the text, if the row does not store it.
                evidence_seq stored(Option<i64>),
                /// Offset of its first byte in that payload cell, from 1.
                evidence_offset stored(Option<i64>),
                /// Its length there, in bytes.
                evidence_length stored(Option<i64>),
                /// JSON of its pieces, if it is joined from several.
                evidence_pieces stored(Option<String>),
                /// The scope of the finding: how far it reaches.
                scope: Option<String>,
                /// Version of the rule.
                rule_version: Option<String>,
                /// Time at which it was raised, by the producer's clock.
                raised_at: Option<Timestamp>,
                /// Time of its last update, by the producer's clock.
                updated_at: Option<Timestamp>,
                /// The person or program that last updated it.
                updated_by: Option<String>,
                /// Fields that the kinds of its events do not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// The precedence of columns that spans and log records set.
                claims stored(Claims),
                /// Time at which the event that made it was recorded.
                first_recorded_at stored(Timestamp),
                /// Time at which the event that last changed it was recorded.
                last_recorded_at stored(Timestamp),
                /// Sequence number of the event that made it.
                first_seq stored(i64) read(Seq),
                /// Sequence number of the event that last changed it.
                last_seq stored(i64) read(Seq),
            }

            /// An event of the log, of any kind.
            TimelineRow in "timeline" => TimelineEntry in "timeline", key ("seq") {
                /// Sequence number of the event.
                seq stored(i64) read(Seq),
                /// Id of its session.
                session_id: Option<String>,
                /// Name of its kind.
                kind: String,
                /// Id of the step, decision, finding or other subject that it is about.
                subject_id: Option<String>,
                /// Time at which it happened, by the producer's clock.
                occurred_at: Option<Timestamp>,
                /// Time at which it was recorded.
                recorded_at: Timestamp,
                /// 1 if its payload was erased, else 0.
                redacted: i64,
            }

            /// One update of a finding.
            FindingUpdateRow in "finding_updates" => FindingUpdate in "finding_updates", key ("seq") {
                /// Sequence number of its event.
                seq stored(i64) read(Seq),
                /// Id of its session.
                session_id stored(String),
                /// Id of the finding.
                finding_id: String,
                /// The status of the finding before the update.
                previous_status: Option<String>,
                /// The status of the finding after the update.
                status: String,
                /// The person or program that updated the finding.
                actor: Option<String>,
                /// The reason for the update.
                reason: Option<String>,
                /// The text before the correction.
                original: Option<String>,
                /// The text after the correction.
                corrected: Option<String>,
                /// The way in which the correction was made.
                strategy: Option<String>,
                /// Time of the update, by the producer's clock.
                updated_at: Option<Timestamp>,
                /// Fields that the kind of its event does not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// Time at which it was recorded.
                recorded_at: Timestamp,
            }

            /// A review by a person.
            ReviewRow in "reviews" => Review in "reviews", key ("seq") {
                /// Sequence number of its event.
                seq stored(i64) read(Seq),
                /// Its id.
                id: String,
                /// Id of its session.
                session_id stored(Option<String>),
                /// The reviewer.
                actor: String,
                /// The kind of subject: session, step, decision, finding, action.
                subject_kind: String,
                /// Id of the subject that was reviewed.
                subject_id: Option<String>,
                /// The verdict: approved, rejected, overridden, escalated, modified.
                verdict: String,
                /// The reason for the verdict.
                reason: Option<String>,
                /// The role in which the reviewer judged.
                role: Option<String>,
                /// The basis of the reviewer's right to judge.
                authority: Option<String>,
                /// The way in which the reviewer was identified.
                identified_by: Option<String>,
                /// List of what the reviewer saw.
                evidence_seen stored(Option<String>) read(Option<Json>),
                /// BLAKE3 of what was approved.
                approved_digest: Option<String>,
                /// Time at which the verdict stops being valid.
                expires_at: Option<Timestamp>,
                /// Time of the review, by the producer's clock.
                reviewed_at: Option<Timestamp>,
                /// Fields that the kind of its event does not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// Time at which it was recorded.
                recorded_at: Timestamp,
            }

            /// A file that belongs to the record.
            ArtifactRow in "artifacts" => Artifact in "artifacts", key ("seq", "item") {
                /// Sequence number of its event.
                seq stored(i64) read(Seq),
                /// Place among the artifacts of one event, from 0.
                item stored(i64),
                /// BLAKE3 of the content.
                id: String,
                /// Id of its session.
                session_id stored(Option<String>),
                /// Id of the step that it belongs to.
                step_id: Option<String>,
                /// Its name or its location.
                label: Option<String>,
                /// Its position among several files.
                position: Option<i64>,
                /// Its media type.
                media_type: Option<String>,
                /// Its length in bytes.
                size: Option<i64>,
                /// Time at which it was attached, by the producer's clock.
                attached_at: Option<Timestamp>,
                /// Fields that the kind of its event does not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// Time at which it was recorded.
                recorded_at: Timestamp,
            }

            /// A measurement.
            MetricRow in "metrics" => Metric in "metrics", key ("seq") {
                /// Sequence number of its event.
                seq stored(i64) read(Seq),
                /// Id of its session.
                session_id stored(Option<String>),
                /// The name of the measured quantity.
                name: String,
                /// The measured value.
                value: f64,
                /// Its unit.
                unit: Option<String>,
                /// The producer's own labels.
                labels stored(Option<String>) read(Option<Json>),
                /// Time of the measurement, by the producer's clock.
                measured_at: Option<Timestamp>,
                /// Fields that the kind of its event does not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// Time at which it was recorded.
                recorded_at: Timestamp,
            }

            /// A note: a message that the producer logged.
            NoteRow in "notes" => Note in "notes", key ("seq") {
                /// Sequence number of its event.
                seq stored(i64) read(Seq),
                /// Id of its session.
                session_id stored(Option<String>),
                /// Id of the step that it belongs to.
                step_id: Option<String>,
                /// Its importance: debug, info, warning, error and others.
                level: Option<String>,
                /// The text of the note.
                message: String,
                /// Data that belongs to the note.
                data stored(Option<String>) read(Option<Json>),
                /// Time at which it was logged, by the producer's clock.
                logged_at: Option<Timestamp>,
                /// Fields that the kind of its event does not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// Time at which it was recorded.
                recorded_at: Timestamp,
            }

            /// An action of a person or a program.
            ActionRow in "actions" => Action in "actions", key ("seq") {
                /// Sequence number of its event.
                seq stored(i64) read(Seq),
                /// Id of its session.
                session_id stored(Option<String>),
                /// Id of the actor.
                actor_id: String,
                /// The kind of actor.
                actor_kind: Option<String>,
                /// The name of the action.
                action: String,
                /// The type of the thing that it was done to.
                entity_type: Option<String>,
                /// Id of the thing that it was done to.
                entity_id: Option<String>,
                /// The outcome: success, denied, failed.
                outcome: Option<String>,
                /// The stated reason.
                reason: Option<String>,
                /// The state before the action.
                before stored(Option<String>) read(Option<Json>),
                /// The state after the action.
                after stored(Option<String>) read(Option<Json>),
                /// The network address that the request came from.
                ip: Option<String>,
                /// The name that the client gives itself.
                user_agent: Option<String>,
                /// The id that correlates it with other records.
                request_id: Option<String>,
                /// The tenant on whose behalf it was done.
                tenant: Option<String>,
                /// The principals for whom it was done, from the nearest outwards.
                on_behalf_of stored(Option<String>) read(Option<Json>),
                /// The basis of its record, if stated: observed, claimed.
                basis: Option<String>,
                /// Time of the action, by the producer's clock.
                acted_at: Option<Timestamp>,
                /// Fields that the kind of its event does not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// Time at which it was recorded.
                recorded_at: Timestamp,
            }

            /// A decision of a policy engine.
            PolicyDecisionRow in "policy_decisions" => PolicyDecision in "policy_decisions", key ("seq") {
                /// Sequence number of its event.
                seq stored(i64) read(Seq),
                /// Id of its session.
                session_id stored(Option<String>),
                /// Id of the step in which the policy was applied.
                step_id: Option<String>,
                /// The kind of subject: session, step, decision, finding, action.
                subject_kind: Option<String>,
                /// Id of the subject that was judged.
                subject_id: Option<String>,
                /// The name of the policy.
                policy: String,
                /// The version of the policy.
                policy_version: Option<String>,
                /// The rule that applied.
                rule: Option<String>,
                /// The effect: allow, deny, escalate.
                effect: String,
                /// The reason for the effect.
                reason: Option<String>,
                /// The policy engine.
                actor: Option<String>,
                /// The input that the engine judged.
                input stored(Option<String>) read(Option<Json>),
                /// Time of the decision, by the producer's clock.
                decided_at: Option<Timestamp>,
                /// Fields that the kind of its event does not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// Time at which it was recorded.
                recorded_at: Timestamp,
            }

            /// A declaration of what a program records.
            CoverageDeclarationRow in "coverage_declarations" => CoverageDeclaration in "coverage_declarations",
            key ("seq") {
                /// Sequence number of its event.
                seq stored(i64) read(Seq),
                /// Id of its session.
                session_id: String,
                /// The program that records.
                source: String,
                /// The run of the program.
                instance: Option<String>,
                /// What the program records.
                records stored(Option<String>) read(Option<Json>),
                /// What the program is known not to record.
                omits stored(Option<String>) read(Option<Json>),
                /// Kinds of events, with the number that the run has sent in the session before.
                announced stored(Option<String>) read(Option<Json>),
                /// Time of the declaration, by the producer's clock.
                declared_at: Option<Timestamp>,
                /// Fields that the kind of its event does not define.
                attributes stored(Option<String>) read(Option<Json>),
                /// Time at which it was recorded.
                recorded_at: Timestamp,
            }
        }
    };
}

pub(crate) use tables;
