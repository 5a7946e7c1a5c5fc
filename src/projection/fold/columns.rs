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
/// The order of the read columns is that of the JSON that programs get. The order of the stored ones is that of the
/// SQL, and `claims` names columns by their index in it: changing it takes a new version of the projection. A
/// column whose index differs between the two is listed once for each.
macro_rules! tables {
    ($each:ident) => {
        $each! {
            /// A session, whole.
            SessionRow in "annals_sessions" => Session in "sessions", key ("id") {
                /// Its id.
                id: String,
                /// What it has in common with other sessions.
                conversation_id: Option<String>,
                /// The session that started it.
                parent_session_id read(Option<String>), // Stored further down.
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
                /// What identical inputs are found by.
                input_hash: Option<String>,
                /// What it came to.
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
                /// Why it failed.
                error: Option<String>,
                /// How risky the outcome is.
                risk_level: Option<String>,
                /// Ratings by name.
                scores stored(Option<String>) read(Option<Json>),
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
                labels stored(Option<String>) read(Option<Json>),
                /// The session that started it.
                parent_session_id stored(Option<String>),
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
                /// Events that started it.
                start_count stored(i64),
                /// Erased events that may have ended it.
                erased_end_count stored(i64),
                /// Tokens read by models, as its end stated them.
                stated_tokens_input stored(Option<i64>),
                /// Tokens written by models, as its end stated them.
                stated_tokens_output stored(Option<i64>),
                /// Cost in US dollars, as its end stated it.
                stated_cost_usd stored(Option<f64>),
                /// Tokens read in its steps of kind llm.
                steps_tokens_input stored(Option<i64>),
                /// Tokens written in its steps of kind llm.
                steps_tokens_output stored(Option<i64>),
                /// Cost of its steps of kind llm, in US dollars.
                steps_cost_usd stored(Option<f64>),
                /// Tokens read by models.
                tokens_input read(Option<i64>),
                /// Tokens written by models.
                tokens_output read(Option<i64>),
                /// Both.
                tokens_used read(Option<i64>),
                /// Cost in US dollars.
                cost_usd read(Option<f64>),
                /// Fields that the events' kinds do not know.
                attributes stored(Option<String>) read(Option<Json>),
                /// The precedence of columns that spans and log records set.
                claims stored(Claims),
                /// When its first event was recorded.
                first_recorded_at: Timestamp,
                /// When its last event was recorded.
                last_recorded_at: Timestamp,
                /// Its first event.
                first_seq stored(i64) read(Seq),
                /// Its last event.
                last_seq stored(i64) read(Seq),
            }

            /// A step of a session.
            StepRow in "annals_steps" => Step in "steps", key ("session_id", "id") {
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
                /// What came out.
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
                /// The input in short.
                input_summary read(Option<String>),
                /// The summary that the producer gave, or the first characters of a long text.
                input_summary_text stored(Option<String>),
                /// The output in short.
                output_summary read(Option<String>),
                /// The summary that the producer gave, or the first characters of a long text.
                output_summary_text stored(Option<String>),
                /// How sure the module is, 0 to 1.
                confidence: Option<f64>,
                /// Tokens read by the model.
                tokens_input: Option<i64>,
                /// Tokens written by the model.
                tokens_output: Option<i64>,
                /// Both.
                tokens_used read(Option<i64>),
                /// Cost in US dollars.
                cost_usd: Option<f64>,
                /// Why it failed.
                error: Option<String>,
                /// Fields that the events' kinds do not know.
                attributes stored(Option<String>) read(Option<Json>),
                /// The precedence of columns that spans and log records set.
                claims stored(Claims),
                /// Time of recording of the event that made it.
                first_recorded_at stored(Timestamp),
                /// Time of recording of the event that last changed it.
                last_recorded_at stored(Timestamp),
                /// The event that made it.
                first_seq stored(i64) read(Seq),
                /// The event that last changed it.
                last_seq stored(i64) read(Seq),
            }

            /// A decision.
            DecisionRow in "decisions" => Decision in "decisions", key ("session_id", "id") {
                /// Its id, unique within the session.
                id: String,
                /// Its session.
                session_id read(String), // Stored further down.
                /// The step in which it was made.
                step_id: Option<String>,
                /// Its session.
                session_id stored(String),
                /// What kind of decision it is.
                decision_type: Option<String>,
                /// List of objects with `option`, `score` and more.
                options_considered stored(Option<String>) read(Option<Json>),
                /// What was chosen, or the best of it.
                chosen_option: Option<String>,
                /// List of all that was chosen.
                chosen_options stored(Option<String>) read(Option<Json>),
                /// Why.
                rationale: Option<String>,
                /// How sure the decider is, 0 to 1.
                confidence: Option<f64>,
                /// Who or what decided.
                actor: Option<String>,
                /// When, by the producer's clock.
                decided_at: Option<Timestamp>,
                /// Fields that the events' kinds do not know.
                attributes stored(Option<String>) read(Option<Json>),
                /// The precedence of columns that spans and log records set.
                claims stored(Claims),
                /// Time of recording of the event that made it.
                first_recorded_at stored(Timestamp),
                /// Time of recording of the event that last changed it.
                last_recorded_at stored(Timestamp),
                /// The event that made it.
                first_seq stored(i64) read(Seq),
                /// The event that last changed it.
                last_seq stored(i64) read(Seq),
            }

            /// A finding.
            FindingRow in "annals_findings" => Finding in "findings", key ("session_id", "id") {
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
                attributes stored(Option<String>) read(Option<Json>),
                /// The precedence of columns that spans and log records set.
                claims stored(Claims),
                /// Time of recording of the event that made it.
                first_recorded_at stored(Timestamp),
                /// Time of recording of the event that last changed it.
                last_recorded_at stored(Timestamp),
                /// The event that made it.
                first_seq stored(i64) read(Seq),
                /// The event that last changed it.
                last_seq stored(i64) read(Seq),
            }

            /// An event of the log, of any kind.
            TimelineRow in "timeline" => TimelineEntry in "timeline", key ("seq") {
                /// The event.
                seq stored(i64) read(Seq),
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
            FindingUpdateRow in "finding_updates" => FindingUpdate in "finding_updates", key ("seq") {
                /// Its event.
                seq stored(i64) read(Seq),
                /// Its session.
                session_id stored(String),
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
                attributes stored(Option<String>) read(Option<Json>),
                /// When it was recorded.
                recorded_at: Timestamp,
            }

            /// A review by a person.
            ReviewRow in "reviews" => Review in "reviews", key ("seq") {
                /// Its event.
                seq stored(i64) read(Seq),
                /// Its id.
                id: String,
                /// Its session.
                session_id stored(Option<String>),
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
                attributes stored(Option<String>) read(Option<Json>),
                /// When it was recorded.
                recorded_at: Timestamp,
            }

            /// A file that belongs to the record.
            ArtifactRow in "artifacts" => Artifact in "artifacts", key ("seq") {
                /// Its event.
                seq stored(i64) read(Seq),
                /// BLAKE3 of the content.
                id: String,
                /// Its session.
                session_id stored(Option<String>),
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
                attributes stored(Option<String>) read(Option<Json>),
                /// When it was recorded.
                recorded_at: Timestamp,
            }

            /// A measurement.
            MetricRow in "metrics" => Metric in "metrics", key ("seq") {
                /// Its event.
                seq stored(i64) read(Seq),
                /// Its session.
                session_id stored(Option<String>),
                /// What was measured.
                name: String,
                /// The number.
                value: f64,
                /// Its unit.
                unit: Option<String>,
                /// The producer's own labels.
                labels stored(Option<String>) read(Option<Json>),
                /// When, by the producer's clock.
                measured_at: Option<Timestamp>,
                /// Fields that the event's kind does not know.
                attributes stored(Option<String>) read(Option<Json>),
                /// When it was recorded.
                recorded_at: Timestamp,
            }

            /// A line of a log.
            NoteRow in "notes" => Note in "notes", key ("seq") {
                /// Its event.
                seq stored(i64) read(Seq),
                /// Its session.
                session_id stored(Option<String>),
                /// The step that it belongs to.
                step_id: Option<String>,
                /// How important it is.
                level: Option<String>,
                /// What it says.
                message: String,
                /// What goes with it.
                data stored(Option<String>) read(Option<Json>),
                /// When, by the producer's clock.
                logged_at: Option<Timestamp>,
                /// Fields that the event's kind does not know.
                attributes stored(Option<String>) read(Option<Json>),
                /// When it was recorded.
                recorded_at: Timestamp,
            }

            /// What somebody did to something.
            ActionRow in "actions" => Action in "actions", key ("seq") {
                /// Its event.
                seq stored(i64) read(Seq),
                /// Its session.
                session_id stored(Option<String>),
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
                before stored(Option<String>) read(Option<Json>),
                /// The state after.
                after stored(Option<String>) read(Option<Json>),
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
                attributes stored(Option<String>) read(Option<Json>),
                /// When it was recorded.
                recorded_at: Timestamp,
            }
        }
    };
}

pub(crate) use tables;
