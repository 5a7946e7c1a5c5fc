//! Rows of the read tables as a program sees them. Ids are texts, as the file has them.

use super::column::records;
use crate::event::{Json, Seq, Timestamp};
use crate::projection::fold::columns::tables;

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
}

/// Makes the records of declared tables from the columns that are read.
macro_rules! records_of_tables {
    ($(
        $(#[$doc:meta])*
        $row:ident in $table:literal => $record:ident in $shown:literal, key $key:tt {$(
            #[$column_doc:meta]
            $column:ident $(stored($stored:ty))? $(read($read:ty))? $(: $both:ty)?,
        )*}
    )*) => {
        records! {$(
            $(#[$doc])*
            $record from $shown {$(
                $(#[$column_doc] $column: $both,)?
                $(#[$column_doc] $column: $read,)?
            )*}
        )*}
    };
}

tables!(records_of_tables);
