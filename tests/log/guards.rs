//! The guard rails: what the file itself refuses, whoever has it open.

use crate::support::{new_path, note, verify_whole};
use annals::{AuditLog, RedactionRequest, Seq};
use rusqlite::Connection;

/// A log with three events, of which the second is redacted, and a connection as a script would open
/// it, but for the setting that ours have.
fn log() -> (tempfile::TempDir, std::path::PathBuf, Connection) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let second = log.append(note("to be redacted")).unwrap().wait().unwrap();
    log.append(note("to stay")).unwrap().wait().unwrap();
    log.redact(RedactionRequest {
        seqs: vec![second.seq],
        actor: "the officer".into(),
        reason: "a request".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "recursive_triggers", true).unwrap();
    (folder, path, connection)
}

#[test]
fn the_log_refuses_every_other_change() {
    let (_folder, path, connection) = log();
    let statements = [
        "DELETE FROM log WHERE seq = 3",
        "DELETE FROM log",
        "UPDATE log SET seq = 10 WHERE seq = 3",
        "UPDATE log SET event_id = x'00' WHERE seq = 3",
        "UPDATE log SET entry = x'00' WHERE seq = 3",
        "UPDATE log SET hash = x'00' WHERE seq = 3",
        "UPDATE log SET payload = x'00' WHERE seq = 3",
        "UPDATE log SET payload = payload WHERE seq = 3",
        // Not redacted.
        "UPDATE log SET payload = NULL WHERE seq = 3",
        // Redacted, and nothing else may change with it, or come back.
        "UPDATE log SET payload = x'00' WHERE seq = 2",
        "UPDATE log SET payload = NULL, hash = x'00' WHERE seq = 2",
        "INSERT OR REPLACE INTO log SELECT seq, event_id, entry, payload, hash FROM log WHERE seq = 3",
        "INSERT OR REPLACE INTO log SELECT 9, event_id, entry, payload, hash FROM log WHERE seq = 3",
        "REPLACE INTO log VALUES (3, x'01', x'02', x'03', x'04')",
        "UPDATE OR REPLACE log SET seq = 3 WHERE seq = 2",
        "INSERT INTO log SELECT seq, event_id, entry, NULL, hash FROM log WHERE seq = 3
           ON CONFLICT DO UPDATE SET payload = NULL",
        "DELETE FROM redactions",
        "UPDATE redactions SET seq = 3",
        "INSERT OR REPLACE INTO redactions VALUES (2)",
    ];
    for statement in statements {
        let error = connection.execute(statement, []).expect_err(statement).to_string();
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
    drop(connection);
    let report = verify_whole(&path);
    assert_eq!(report.log.events, 4);
    assert_eq!(report.redactions.len(), 1);
    assert_eq!(report.redactions[0].seqs, [2]);
}

#[test]
fn what_annals_itself_writes_cannot_be_redacted() {
    let (_folder, path, connection) = log();
    drop(connection);
    let log = AuditLog::open(&path).unwrap();
    // The first event, a licence, one that is not there, and the licence itself.
    for seq in [1, 4, 99, 5] {
        log.redact(RedactionRequest {
            seqs: vec![Seq::new(3), Seq::new(seq)],
            actor: "the officer".into(),
            reason: "a request".into(),
            ..Default::default()
        })
        .unwrap_err();
    }
    log.close().unwrap();
    assert_eq!(verify_whole(&path).redactions.len(), 1);
}
