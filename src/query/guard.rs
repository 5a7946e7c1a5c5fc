//! The guard of SQL that users wrote: it may read, and nothing else.

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Pragmas that only report something, with or without an argument.
const TELLING: [&str; 14] = [
    "collation_list",
    "compile_options",
    "database_list",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "module_list",
    "pragma_list",
    "quick_check",
    "table_info",
    "table_xinfo",
];

/// Pragmas that report something without an argument. With one they would set it.
const TELLING_WITHOUT_ARGUMENT: [&str; 14] = [
    "application_id",
    "cache_size",
    "data_version",
    "encoding",
    "freelist_count",
    "journal_mode",
    "journal_size_limit",
    "page_count",
    "page_size",
    "query_only",
    "schema_version",
    "synchronous",
    "table_list",
    "user_version",
];

/// Lets a connection prepare only statements that read. The connection is read-only besides: this is for what that
/// does not cover, such as other files.
pub(crate) fn only_reads(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.authorizer(Some(judge))
}

// A function: the lifetime of a closure's argument would be inferred too narrow.
fn judge(context: AuthContext<'_>) -> Authorization {
    if may(&context.action) { Authorization::Allow } else { Authorization::Deny }
}

fn may(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        // This function runs code from a file.
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let is = |known: &&str| pragma_name.eq_ignore_ascii_case(known);
            TELLING.iter().any(is) || (pragma_value.is_none() && TELLING_WITHOUT_ARGUMENT.iter().any(is))
        }
        // Everything else is denied, also what later versions of SQLite add. ATTACH would open another file.
        _ => false,
    }
}
