//! What is no log, or not as it should be: a clear error, and nothing changed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use crate::support;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::support::{new_path, note};
use annals::verify::{self, Scope, VerifyError};
use annals::{AuditLog, OpenError};
use rusqlite::Connection;
use tempfile::TempDir;

/// Every file of a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let read = |entry: std::fs::DirEntry| {
        let path = entry.path();
        (entry.file_name(), if path.is_dir() { Vec::new() } else { std::fs::read(path).unwrap() })
    };
    folder.read_dir().unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// The error of opening what `make` puts at the path, in each way of opening; it names the path, and
/// nothing in the folder changes.
fn error_of(make: impl FnOnce(&Path)) -> OpenError {
    let (folder, path) = new_path();
    make(&path);
    let before = contents(folder.path());
    let error = AuditLog::open(&path).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(contents(folder.path()), before, "{error}");
    let again = AuditLog::builder(&path).open_existing().unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    assert_eq!(contents(folder.path()), before, "{error}");
    let Err(VerifyError::Open(read)) = verify::verify(&path, Scope::LogOnly, &mut |_, _| {}) else {
        // An altered schema is for verification to report.
        return error;
    };
    assert!(read.to_string().contains(path.to_str().unwrap()), "{read}");
    assert_eq!(contents(folder.path()), before, "{read}");
    error
}

/// A log with an event, changed by a script.
fn log_with(statements: &'static str) -> impl FnOnce(&Path) {
    move |path| {
        let log = AuditLog::open(path).unwrap();
        drop(log.append(note("first")).unwrap());
        log.close().unwrap();
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(statements).unwrap();
    }
}

#[test]
fn a_file_that_is_not_a_database() {
    let error = error_of(|path| std::fs::write(path, "Dear diary,\n".repeat(1_000)).unwrap());
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
}

#[test]
fn a_few_bytes() {
    let error = error_of(|path| std::fs::write(path, "x").unwrap());
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
}

#[test]
fn an_empty_file() {
    let error = error_of(|path| std::fs::write(path, "").unwrap());
    assert!(matches!(error, OpenError::Empty { .. }), "{error:?}");
    assert!(error.to_string().contains("delete it"), "{error}");
}

#[test]
fn a_folder() {
    let error = error_of(|path| std::fs::create_dir(path).unwrap());
    assert!(matches!(error, OpenError::Folder { .. }), "{error:?}");
}

#[test]
fn somebody_elses_database() {
    let error = error_of(|path| {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("CREATE TABLE log (seq); INSERT INTO log VALUES (1)").unwrap();
    });
    assert!(matches!(error, OpenError::NotALog { application_id: 0, .. }), "{error:?}");
}

/// SQLite would apply what the journal or the write-ahead log holds as soon as it reads the file.
#[test]
fn somebody_elses_database_after_a_crash() {
    for journal in ["wal", "delete"] {
        let error = error_of(|path| {
            let source = path.with_extension("source");
            let mut connection = Connection::open(&source).unwrap();
            connection.pragma_update(None, "journal_mode", journal).unwrap();
            connection.execute_batch("PRAGMA cache_size = 1; CREATE TABLE t (x)").unwrap();
            let tx = connection.transaction().unwrap();
            for _ in 0..100 {
                tx.execute("INSERT INTO t VALUES (zeroblob(3000))", []).unwrap();
            }
            if journal == "wal" {
                tx.commit().unwrap();
            }
            // As they would lie there had the process died now.
            for ending in ["", "-wal", "-journal"] {
                let from = support::beside(&source, ending);
                if from.exists() {
                    std::fs::copy(from, support::beside(path, ending)).unwrap();
                }
            }
        });
        assert!(matches!(error, OpenError::NotALog { .. }), "{error:?}");
    }
}

#[test]
fn a_log_of_a_newer_version() {
    let error = error_of(log_with("PRAGMA user_version = 1000"));
    assert!(matches!(error, OpenError::NewerSchema { found: 1000, .. }), "{error:?}");
    assert!(error.to_string().contains("use a newer one"), "{error}");
}

#[test]
fn a_log_whose_tables_or_guards_were_altered() {
    for (statements, named) in [
        ("DROP TRIGGER log_rows_never_change", "log_rows_never_change"),
        ("DROP TRIGGER log_rows_stay", "log_rows_stay"),
        (
            "DROP TRIGGER log_rows_stay;
             CREATE TRIGGER log_rows_stay BEFORE DELETE ON log BEGIN SELECT 1; END",
            "log_rows_stay",
        ),
        ("ALTER TABLE log ADD COLUMN note TEXT", "log"),
        ("ALTER TABLE log RENAME TO old", "log"),
        ("DROP TABLE projection_skips", "projection_skips"),
    ] {
        let error = error_of(log_with(statements));
        assert!(matches!(&error, OpenError::Damaged { what, .. } if what.contains(named)), "{error:?}");
    }
}

#[test]
fn a_file_that_is_not_there() {
    let (folder, path) = new_path();
    let error = AuditLog::builder(&path).open_existing().unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    let error = verify::verify(&path, Scope::LogOnly, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, VerifyError::Open(OpenError::Missing { .. })), "{error:?}");
    assert_eq!(contents(folder.path()), BTreeMap::new());
}

#[test]
fn a_path_through_a_file() {
    let (folder, path) = new_path();
    std::fs::write(&path, "not a folder").unwrap();
    let error = AuditLog::open(path.join("audit.db")).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(contents(folder.path()).len(), 1);
}

#[test]
fn a_name_that_cannot_be_the_origin() {
    for origin in ["", "two words", "a+b", "a\nb", &"x".repeat(256)] {
        let (folder, path) = new_path();
        let error = AuditLog::builder(&path).origin(origin).open().unwrap_err();
        assert!(matches!(error, OpenError::Origin { .. }), "{error:?}");
        assert_eq!(contents(folder.path()), BTreeMap::new());
    }
}

/// What a process that was killed leaves, without the log that it belongs to.
fn left_wal() -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    log.append(note("first")).unwrap().wait().unwrap();
    let (left, left_path) = new_path();
    std::fs::copy(support::beside(&path, "-wal"), support::beside(&left_path, "-wal")).unwrap();
    log.close().unwrap();
    drop(folder);
    (left, left_path)
}

#[test]
fn a_write_ahead_log_whose_log_was_deleted_is_not_applied_to_a_new_one() {
    let (folder, path) = left_wal();
    let before = contents(folder.path());
    let error = AuditLog::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::LeftWal { .. }), "{error:?}");
    assert_eq!(contents(folder.path()), before);
    std::fs::remove_file(support::beside(&path, "-wal")).unwrap();
    AuditLog::open(&path).unwrap().close().unwrap();
    support::verify_whole(&path);
}

#[test]
fn an_empty_write_ahead_log_that_a_reader_left_is_in_nobodys_way() {
    let (_folder, path) = new_path();
    std::fs::write(support::beside(&path, "-wal"), b"").unwrap();
    AuditLog::open(&path).unwrap().close().unwrap();
    support::verify_whole(&path);
}

#[test]
fn paths_that_a_uri_would_read_differently() {
    for name in ["a b.db", "a?b.db", "a#b.db", "a%41.db", "ü.db", "-.db"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let log = AuditLog::open(&path).unwrap();
        log.append(note("first")).unwrap().wait().unwrap();
        log.close().unwrap();
        assert_eq!(support::verify_whole(&path).log.events, 2);
        assert!(path.exists());
    }
    let (_folder, path) = new_path();
    let doubled = PathBuf::from(format!("/{}", path.display()));
    AuditLog::open(&doubled).unwrap().close().unwrap();
    assert_eq!(support::verify_whole(&doubled).log.events, 1);
}

#[test]
fn a_damaged_first_event_is_named() {
    for damage in [
        "DROP TRIGGER log_rows_never_change; UPDATE log SET entry = zeroblob(40) WHERE seq = 1",
        "DROP TRIGGER log_rows_never_change; UPDATE log SET payload = NULL WHERE seq = 1",
    ] {
        let (_folder, path) = new_path();
        log_with(damage)(&path);
        let error = annals::Reader::open(&path).unwrap().origin().unwrap_err().to_string();
        assert!(error.contains("event 1") && error.contains("`annals verify` says more"), "{error}");
    }
}
