//! The guard for SQL that users wrote: such SQL may only read.

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Pragmas that only report something, with or without an argument.
const REPORTING: [&str; 14] = [
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
const REPORTING_WITHOUT_ARGUMENT: [&str; 14] = [
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

/// Lets a connection prepare only statements that read. The connection is read-only as well. The guard denies
/// the rest, such as access to other files.
pub(crate) fn only_reads(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.authorizer(Some(authorize))
}

// A function and not a closure: the compiler would infer too narrow a lifetime for a closure's argument.
fn authorize(context: AuthContext<'_>) -> Authorization {
    if is_allowed(&context.action) { Authorization::Allow } else { Authorization::Deny }
}

fn is_allowed(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        // This function runs code from a file.
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let is = |known: &&str| pragma_name.eq_ignore_ascii_case(known);
            REPORTING.iter().any(is) || (pragma_value.is_none() && REPORTING_WITHOUT_ARGUMENT.iter().any(is))
        }
        // Everything else is denied, also what later versions of SQLite add. ATTACH would open another file.
        _ => false,
    }
}
