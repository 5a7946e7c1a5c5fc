//! What somebody may do to a log in use, and what a producer may send: nothing acknowledged is lost in
//! silence.

use crate::support;
use std::path::Path;

use crate::support::{beside, json, new_path, note, sqlite, verify, verify_whole};
use annals::limits::TOKENS_MAX;
use annals::verify::Check;
use annals::{AppendError, AuditLog, OpenError};

fn append(log: &AuditLog, message: &str) -> Result<annals::Appended, AppendError> {
    log.append(note(message)).unwrap().wait()
}

/// Tries until the writer has come to terms with what happened, or for ever has not.
fn refused(log: &AuditLog) -> AppendError {
    append(log, "into the void").unwrap_err()
}

#[test]
fn memory_that_was_taken_away_from_under_a_writer_is_noticed() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, "before").unwrap();
    std::fs::remove_file(beside(&path, "-shm")).unwrap();
    let error = refused(&log);
    assert!(error.to_string().contains("-shm"), "{error}");
}

#[test]
fn older_bytes_written_over_the_file_are_noticed() {
    let (folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    let older = folder.path().join("older");
    std::fs::copy(&path, &older).unwrap();
    // As a restored backup would be: the same file, with the bytes of an earlier day.
    let log = AuditLog::open(&path).unwrap();
    let last = append(&log, "acknowledged").unwrap();
    log.wait_caught_up(last.seq).unwrap();
    let connection = sqlite(&path);
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    std::fs::write(&path, std::fs::read(&older).unwrap()).unwrap();
    let error = refused(&log);
    assert!(matches!(error, AppendError::NotWritten { .. }), "{error}");
}

#[test]
fn a_log_with_two_names_is_not_appended_to() {
    let (folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    std::fs::hard_link(&path, folder.path().join("other.db")).unwrap();
    let error = AuditLog::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::SeveralNames { .. }), "{error}");
}

#[test]
fn the_name_under_which_a_log_was_made_is_taken_away_if_its_maker_could_not() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    let left = beside(&path, &format!(".{}.new", annals::EventId::generate()));
    std::fs::hard_link(&path, &left).unwrap();
    let log = AuditLog::open(&path).unwrap();
    append(&log, "after the crash").unwrap();
    log.close().unwrap();
    assert!(!left.exists());
    assert_eq!(verify_whole(&path).log.events, 2);
}

#[test]
fn other_names_and_other_files_are_left_alone() {
    let (folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    let id = annals::EventId::generate();
    for other in
        ["audit.db.new".to_owned(), "audit.db.not-an-id.new".to_owned(), format!("other.db.{id}.new")]
    {
        let other = folder.path().join(other);
        std::fs::hard_link(&path, &other).unwrap();
        let error = AuditLog::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::SeveralNames { .. }), "{error}");
        std::fs::remove_file(&other).unwrap();
    }
    // A name like that of a log being made, of another file: somebody else makes that one just now.
    let others = beside(&path, &format!(".{id}.new"));
    std::fs::write(&others, b"another file").unwrap();
    AuditLog::open(&path).unwrap().close().unwrap();
    assert!(others.exists());
}

#[test]
fn a_log_can_be_named_through_a_symbolic_link() {
    let (folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let log = AuditLog::open(&link).unwrap();
    append(&log, "through the link").unwrap();
    log.close().unwrap();
    assert_eq!(verify_whole(&path).log.events, 2);
    assert!(!beside(&link, "-turn").exists(), "what is beside the log is beside the log");
}

#[test]
fn an_insert_that_a_foreign_trigger_swallows_is_not_acknowledged() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    sqlite(&path)
        .execute_batch("CREATE TRIGGER swallow BEFORE INSERT ON log BEGIN SELECT RAISE(IGNORE); END")
        .unwrap();
    let log = AuditLog::open(&path).unwrap();
    assert!(matches!(refused(&log), AppendError::NotWritten { .. }));
}

#[test]
fn the_largest_counts_stop_no_projection() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    for step in 0..3 {
        for event in [
            format!(r#"{{"type":"step.started","session":"s","step":"{step}","kind":"llm"}}"#),
            format!(
                r#"{{"type":"step.ended","session":"s","step":"{step}","status":"ok","tokens_input":{TOKENS_MAX},"tokens_output":{TOKENS_MAX}}}"#
            ),
        ] {
            log.append(json(&event)).unwrap().wait().unwrap();
        }
    }
    log.close().unwrap();
    verify_whole(&path);
    let more = format!(
        r#"{{"type":"step.ended","session":"s","step":"1","status":"ok","tokens_input":{}}}"#,
        TOKENS_MAX + 1
    );
    assert!(annals::parse_draft(&more).unwrap_err().to_string().contains("tokens_input"));
}

/// Changes the schema behind SQLite's back.
fn forge_schema(path: &Path, change: &str) {
    let connection = sqlite(path);
    connection
        .execute_batch(&format!("PRAGMA writable_schema = ON; {change}; PRAGMA writable_schema = RESET;"))
        .unwrap();
}

#[test]
fn a_guard_that_was_turned_into_a_text_is_an_altered_guard() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    forge_schema(
        &path,
        "UPDATE sqlite_schema SET sql = replace(sql, '''the log is append-only: rows are never deleted'');',
         '''the log --'') WHERE 0; SELECT ('''||char(10)||' is append-only: rows are never deleted'');')
         WHERE name = 'log_rows_stay'",
    );
    let report = verify(&path);
    assert_eq!(report.failures.first().map(|failure| failure.check), Some(Check::Schema), "{report:?}");
}

#[test]
fn objects_that_hide_behind_the_names_of_sqlite_are_named() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    forge_schema(
        &path,
        "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
         VALUES ('view', 'sqlite_v', 'sqlite_v', 0, 'CREATE VIEW sqlite_v AS SELECT 1')",
    );
    assert!(verify(&path).foreign_objects.iter().any(|object| object.contains("sqlite_v")));
}

#[test]
fn a_search_that_no_longer_finds_its_way_is_named() {
    for change in [
        "DELETE FROM search_idx",
        "INSERT INTO search (search, rank) VALUES ('rank', 'bm25(0.0)')",
        "UPDATE search_data SET block = x'00000000' WHERE id = 1",
    ] {
        let (_folder, path) = new_path();
        let log = AuditLog::open(&path).unwrap();
        for number in 0..2_000 {
            drop(log.append(note(format!("word{number} and others"))).unwrap());
        }
        log.close().unwrap();
        sqlite(&path).execute_batch(change).unwrap();
        let report = verify(&path);
        let checks: Vec<_> = report.failures.iter().map(|failure| failure.check).collect();
        assert_eq!(checks, [Check::SearchIndex], "{change}");
    }
}

#[test]
fn a_cursor_that_no_annals_writes_is_named() {
    for change in [
        "UPDATE projections SET version = 0 WHERE name = 'sessions'",
        "INSERT INTO projections (name, stage, version, generation, position) VALUES ('foo', 'live', 1, 1, 0)",
    ] {
        let (_folder, path) = new_path();
        AuditLog::open(&path).unwrap().close().unwrap();
        sqlite(&path).execute_batch(change).unwrap();
        let report = verify(&path);
        assert!(report.failures.iter().any(|failure| failure.check == Check::Schema), "{change}");
    }
}

#[test]
fn a_view_without_end_in_the_place_of_a_table_holds_nobody_up() {
    let (_folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    sqlite(&path)
        .execute_batch(
            "DROP TABLE checkpoints;
             CREATE VIEW checkpoints AS
             WITH RECURSIVE n(size, note, made_at) AS (SELECT 1, '', 0 UNION ALL SELECT size + 1, '', 0 FROM n)
             SELECT * FROM n;",
        )
        .unwrap();
    let report = support::within(std::time::Duration::from_secs(60), move || {
        annals::Reader::open(&path).unwrap().info().unwrap();
        verify(&path)
    });
    assert!(report.failures.iter().any(|failure| failure.check == Check::Schema), "{:?}", report.failures);
}

/// A log that is named by a link, open, and another log.
fn named_by_a_link() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf, AuditLog) {
    let (folder, path) = new_path();
    AuditLog::open(&path).unwrap().close().unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let log = AuditLog::open(&link).unwrap();
    append(&log, "through the link").unwrap();
    (folder, path, link, log)
}

#[test]
fn a_link_that_was_turned_to_another_log_is_noticed() {
    let (folder, path, link, log) = named_by_a_link();
    let other = folder.path().join("other.db");
    AuditLog::open(&other).unwrap().close().unwrap();
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    let error = refused(&log);
    assert!(error.to_string().contains("link.db: now leads to another file"), "{error}");
    drop(log);
    assert_eq!(verify_whole(&path).log.events, 2);
    assert_eq!(verify_whole(&other).log.events, 1);
}

#[test]
fn a_log_renamed_with_a_link_left_in_its_place_is_noticed() {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, "before").unwrap();
    let real = folder.path().join("real.db");
    std::fs::rename(&path, &real).unwrap();
    std::os::unix::fs::symlink(&real, &path).unwrap();
    let error = refused(&log);
    assert!(error.to_string().contains("another file took its place"), "{error}");
}

#[test]
fn an_idle_writer_notices_that_its_file_was_replaced() {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, "before").unwrap();
    std::fs::rename(&path, folder.path().join("elsewhere.db")).unwrap();
    support::within(std::time::Duration::from_secs(60), move || {
        while log.last_error().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
}
