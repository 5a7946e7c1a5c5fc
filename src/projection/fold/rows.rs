//! The rows of the read tables, as the fold has them and as they are stored.

use crate::event::Timestamp;
use crate::projection::fold::cell::table;
use crate::projection::fold::claims::Claims;
use crate::projection::fold::columns::tables;

/// Makes the rows of declared tables from the columns that are stored.
macro_rules! rows {
    ($(
        $(#[$doc:meta])*
        $row:ident in $table:literal => $record:ident in $shown:literal, key $key:tt {$(
            #[$column_doc:meta]
            $column:ident $(stored($stored:ty))? $(read($read:ty))? $(: $both:ty)?,
        )*}
    )*) => {
        table! {$(
            $(#[$doc])*
            $row in $table, key $key {$(
                $(#[$column_doc] $column: $both,)?
                $(#[$column_doc] $column: $stored,)?
            )*}
        )*}
    };
}

tables!(rows);

// Tables that no program reads as records.
table! {
    /// The reports of the steps below a step.
    BelowRow in "annals_below", key ("session_id", "id") {
        id: String,
        session_id: String,
        tokens_input: i64,
        tokens_output: i64,
        cost: i64,
        agent_tokens_input: i64,
        agent_tokens_output: i64,
        agent_cost: i64,
        model_tokens_input: i64,
        model_tokens_output: i64,
        model_cost: i64,
        errors: Option<String>,
        first_seq: i64,
    }

    /// An event of a custom kind, which its producer named.
    CustomRow in "custom_events", key ("seq") {
        seq: i64,
        session_id: Option<String>,
        name: String,
        data: Option<String>,
        occurred_at: Option<Timestamp>,
        attributes: Option<String>,
        recorded_at: Timestamp,
    }

    /// An event with texts that can be searched.
    DocumentRow in "search_documents", key ("seq") {
        seq: i64,
        session_id: Option<String>,
        kind: String,
        subject_id: Option<String>,
    }

    /// An API key.
    ApiKeyRow in "api_keys", key ("id") {
        id: String,
        name: String,
        scopes: String,
        secret_hash: String,
        expires_at: Option<Timestamp>,
        created_at: Timestamp,
        created_by: String,
        reason: Option<String>,
        revoked_at: Option<Timestamp>,
        revoked_by: Option<String>,
        revoked_reason: Option<String>,
        first_seq: i64,
        last_seq: i64,
    }
}
