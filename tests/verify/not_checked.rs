//! What could not be checked is never taken for good, unless the caller left it out.

use std::path::{Path, PathBuf};

use crate::support::program::annals;
use crate::support::{json, new_path, sqlite, unindex, verify as verify_all};
use annals::verify::{self, Check, Options, Outcome, Report, Scope};
use annals::{AuditLog, Projections, RedactionRequest, Seq};
use predicates::prelude::*;
use tempfile::TempDir;

/// A decision of a session of its own.
fn decision(session: &str, chosen: &str) -> annals::Draft {
    json(&format!(
        r#"{{"type":"decision.made","session":"{session}","decision":"d","chosen_option":"{chosen}","rationale":"words of {session}"}}"#
    ))
}

/// A log of two sessions with a decision each, and a note in each. The events of the first are erased,
/// which the read tables have not come to.
fn erased_behind_the_tables() -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let mut erased = Vec::new();
    for session in ["a", "b"] {
        let note = json(&format!(
            r#"{{"type":"note.logged","session":"{session}","message":"a remark on {session}"}}"#
        ));
        for draft in [decision(session, "deny"), note] {
            let seq = log.append(draft).unwrap().wait().unwrap().seq;
            if session == "a" {
                erased.push(seq);
            }
        }
    }
    log.close().unwrap();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    log.redact(RedactionRequest {
        seqs: erased.to_vec(),
        actor: "ada".into(),
        reason: "asked for".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    (folder, path)
}

fn forged(path: &Path, sql: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("audit.db");
    std::fs::copy(path, &copy).unwrap();
    sqlite(&copy).execute_batch(sql).unwrap();
    verify_all(&copy)
}

fn with(path: &Path, options: Options) -> Report {
    verify::verify(path, options, &mut |_, _| {}).unwrap()
}

#[test]
fn forged_rows_in_tables_of_another_version_do_not_pass() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    log.append(decision("a", "deny")).unwrap().wait().unwrap();
    log.close().unwrap();
    for version in [1, 99] {
        sqlite(&path)
            .execute_batch(&format!(
                "UPDATE decisions SET chosen_option = 'approve'; UPDATE projections SET version = {version} WHERE name = 'sessions'"
            ))
            .unwrap();
        let report = verify_all(&path);
        assert_eq!(report.outcome, Outcome::NotAllChecked, "{report:?}");
        assert!(!report.self_consistent && !report.is_good() && report.failures.is_empty());
        assert_eq!(report.not_checked.len(), 1);
        assert_eq!(report.not_checked[0].what, "the read tables of `sessions`");
        assert!(report.not_checked[0].why.contains(&format!("version {version}")), "{report:?}");
        for options in [Options::new().skip("sessions"), Options::new().scope(Scope::LogOnly)] {
            let report = with(&path, options);
            assert!(report.is_good() && report.tables[0].left_out.is_some(), "{report:?}");
            assert!(!report.completeness.complete);
        }
        annals(&path).arg("verify").assert().code(2).stdout(
            predicate::str::contains("not checked")
                .and(predicate::str::contains("the read tables of `sessions`"))
                .and(predicate::str::contains("self-consistent   yes").not()),
        );
        annals(&path).args(["verify", "--require-complete"]).assert().code(2);
        annals(&path).args(["verify", "--skip", "sessions"]).assert().success();
        annals(&path).args(["verify", "--skip", "nothing"]).assert().code(2);
        let word = if version == 99 { "newer" } else { "outdated" };
        for command in ["info", "projections"] {
            annals(&path).arg(command).assert().success().stdout(predicate::str::contains(word));
        }
        annals(&path)
            .args(["show", "a"])
            .assert()
            .success()
            .stderr(predicate::str::contains(format!("have version {version}")));
    }
}

#[test]
fn tables_that_a_rebuild_is_filling_are_neither_judged_nor_vouched_for() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    log.append(crate::support::note("said")).unwrap().wait().unwrap();
    log.close().unwrap();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    log.rebuild("activity").unwrap();
    log.close().unwrap();
    let before = verify_all(&path);
    assert!(before.is_good(), "{before:?}");
    // What a program with the file in its hands may write there.
    sqlite(&path)
        .execute_batch(
            "INSERT INTO building_notes SELECT * FROM notes; UPDATE building_notes SET message = 'not said'",
        )
        .unwrap();
    let report = verify_all(&path);
    assert!(report.is_good(), "{report:?}");
    let said = |report: &Report| format!("{:?} {:?}", report.completeness, report.tables);
    assert_eq!(said(&report), said(&before), "of the read tables, and no others");
}

#[test]
fn tables_that_have_not_come_to_an_erasure_are_folded_but_for_what_was_erased() {
    let (_folder, path) = erased_behind_the_tables();
    let report = verify_all(&path);
    assert_eq!(report.outcome, Outcome::NotAllChecked, "{report:?}");
    let whys: Vec<&str> = report.not_checked.iter().map(|part| part.why.as_str()).collect();
    assert_eq!(whys.len(), 3, "{whys:?}");
    assert!(whys[0].contains("session `a`"), "{whys:?}");
    assert!(whys[1].contains("event 3") && whys[2].contains("events 2, 3"), "{whys:?}");
    for sql in [
        "UPDATE decisions SET chosen_option = 'approve' WHERE session_id = 'b'",
        "DELETE FROM decisions WHERE session_id = 'b'",
        "UPDATE annals_sessions SET own_status = 'completed' WHERE id = 'b'",
        "UPDATE timeline SET session_id = 'a' WHERE seq = 4",
        "UPDATE notes SET message = 'praise' WHERE session_id = 'b'",
        "UPDATE search_documents SET kind = 'praise' WHERE session_id = 'b'",
        "INSERT INTO search (rowid, text) VALUES (4, 'praise')",
        &unindex(2),
    ] {
        let report = forged(&path, sql);
        assert_eq!(report.outcome, Outcome::Wrong, "{sql}");
        let check = report.failures[0].check;
        assert!(matches!(check, Check::ReadTable | Check::SearchIndex), "{sql}: {report:?}");
    }
    // Once the tables have come to it, all of them are checked.
    AuditLog::open(&path).unwrap().close().unwrap();
    assert_eq!(verify_all(&path).outcome, Outcome::Good);
}

#[test]
fn a_cursor_set_back_before_an_erasure_does_not_hide_what_is_forged() {
    let (_folder, path) = erased_behind_the_tables();
    AuditLog::open(&path).unwrap().close().unwrap();
    let licence = verify_all(&path).redactions[0].licence;
    let before = Seq::new(licence.get() - 1);
    let report = forged(
        &path,
        &format!(
            "UPDATE decisions SET chosen_option = 'approve' WHERE session_id = 'b';
             DELETE FROM timeline WHERE seq >= {licence};
             UPDATE projections SET position = {before}"
        ),
    );
    assert_eq!(report.outcome, Outcome::Wrong, "{report:?}");
    assert!(report.failures[0].detail.contains("chosen_option"), "{report:?}");
}
