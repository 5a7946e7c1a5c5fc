//! Rows of the read tables as a program sees them. Ids are texts, as the file has them.

use super::column::records;
use crate::event::{Json, Seq, Timestamp};
use crate::projection::fold::columns::tables;

records! {
    /// A session in a list. It has the columns that distinguish it, and no long texts.
    SessionSummary from "sessions" {
        /// Its id.
        id: String,
        /// Id of the conversation that it shares with other sessions.
        conversation_id: Option<String>,
        /// The pipeline, or one of its configurations.
        profile: Option<String>,
        /// The status: queued, running, paused, completed, failed, cancelled, disconnected, erased.
        status: String,
        /// Time of its start, by the producer's clock.
        started_at: Option<Timestamp>,
        /// Time of its end, by the producer's clock.
        ended_at: Option<Timestamp>,
        /// Its duration, in microseconds.
        duration_us: Option<i64>,
        /// The first 200 characters of its input.
        input_summary = "substr(input, 1, 200)": Option<String>,
        /// Name of the agent.
        agent: Option<String>,
        /// The model that it works with.
        model: Option<String>,
        /// The risk of its outcome.
        risk_level: Option<String>,
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
        /// The lowest confidence of its steps.
        lowest_confidence = "(SELECT min(confidence) FROM steps WHERE steps.session_id = sessions.id)": Option<f64>,
        /// Tokens read and written by models.
        tokens_used: Option<i64>,
        /// Cost in US dollars.
        cost_usd: Option<f64>,
        /// Time at which its first event was recorded.
        first_recorded_at: Timestamp,
        /// Sequence number of its first event.
        first_seq: Seq,
        /// Sequence number of its last event.
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
