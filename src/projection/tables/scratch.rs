//! A database for what is made anew.

use rusqlite::Connection;

use crate::log::bound_columns;

/// A database for what is made anew, which nobody needs after a crash: SQLite keeps it in a temporary file
/// and removes that by itself.
pub(crate) fn scratch() -> rusqlite::Result<Connection> {
    let scratch = Connection::open("")?;
    bound_columns(&scratch)?;
    scratch.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         PRAGMA locking_mode = EXCLUSIVE; PRAGMA secure_delete = OFF; PRAGMA cache_size = -32768;",
    )?;
    Ok(scratch)
}
