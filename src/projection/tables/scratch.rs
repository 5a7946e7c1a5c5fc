//! Temporary databases for tables that are folded again.

use rusqlite::Connection;

use crate::log::bound_columns;

/// Opens a database for tables that are folded again. Nobody needs it after a crash: SQLite keeps it in a temporary
/// file, and removes that by itself.
pub(crate) fn scratch() -> rusqlite::Result<Connection> {
    // An empty name is a temporary file of this connection (<https://sqlite.org/inmemorydb.html#temp_db>). So no
    // other process can see it, and neither journal nor flush is needed.
    let scratch = Connection::open("")?;
    bound_columns(&scratch)?;
    scratch.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         PRAGMA locking_mode = EXCLUSIVE; PRAGMA secure_delete = OFF; PRAGMA cache_size = -32768;",
    )?;
    Ok(scratch)
}
