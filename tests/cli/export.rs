//! What leaves the log: exports, copies, and what is erased.

use crate::support::program::{EVENTS, Log, annals};
use predicates::prelude::*;

/// A read table without what another log numbers and times itself.
fn table(log: &Log, name: &str) -> Vec<serde_json::Value> {
    let rows = log.out(&["export", "--table", name]);
    rows.lines()
        .map(|line| {
            let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
            row.as_object_mut()
                .unwrap()
                .retain(|column, _| !column.ends_with("seq") && !column.ends_with("recorded_at"));
            row
        })
        .collect()
}

const TABLES: [&str; 8] =
    ["sessions", "steps", "decisions", "findings", "reviews", "notes", "timeline", "search_documents"];

#[test]
fn an_export_recorded_elsewhere_gives_the_same_read_tables() {
    let log = Log::with(EVENTS);
    let events = log.out(&["export"]);
    assert_eq!(events.lines().count(), 12);
    let other = Log::new();
    // Something else comes first, so that every number is another one.
    other
        .annals(&["record"])
        .write_stdin(r#"{"type":"metric.recorded","name":"m","value":1}"#)
        .assert()
        .success();
    other.annals(&["record"]).write_stdin(events.clone()).assert().success();
    for name in TABLES {
        let mut found = table(&other, name);
        if matches!(name, "timeline" | "search_documents") {
            // The other log's own first events.
            found.retain(|row| row["kind"] != "metric.recorded" && row["kind"] != "log.created");
        }
        let mut expected = table(&log, name);
        expected.retain(|row| row["kind"] != "log.created");
        assert_eq!(found, expected, "{name}");
    }
    log.annals(&["record"])
        .write_stdin(events)
        .assert()
        .success()
        .stdout("0 events recorded, 12 already recorded\n");
}

#[test]
fn every_read_table_is_exported_in_the_order_of_the_log() {
    let log = Log::with(EVENTS);
    for name in ["first", "second"] {
        log.annals(&["apikey", "create", "--name", name, "--scopes", "read"]).assert().success();
    }
    let refused = log.annals(&["export", "--table", "no such"]).assert().failure();
    let refused = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    let (_, names) = refused.split_once("the read tables are ").unwrap();
    let names: Vec<&str> = names.trim_end().split(", ").collect();
    assert!(names.len() >= 14, "{refused}");
    let sessions = table(&log, "sessions");
    let session = sessions[0]["id"].as_str().unwrap().to_owned();
    for name in names {
        let rows = log.out(&["export", "--table", name]);
        let places: Vec<i64> = rows
            .lines()
            .map(|line| {
                let row: serde_json::Value = serde_json::from_str(line).unwrap();
                row.get("seq").or_else(|| row.get("first_seq")).unwrap().as_i64().unwrap()
            })
            .collect();
        assert!(places.is_sorted(), "{name}: {places:?}");
        assert!(name != "api_keys" || places.len() == 2, "{rows}");
    }
    log.annals(&["export", "--table", "api_keys", "--session", &session])
        .assert()
        .failure()
        .stderr(predicate::str::contains("belong to no session"));
}

#[test]
fn json_of_several_lines_is_exported_in_one() {
    let log = Log::new();
    let writer = annals::AuditLog::open(log.path()).unwrap();
    let data = Some("{\n  \"a\": [1,\n 2]\n}".parse().unwrap());
    let note = annals::NoteLogged { message: "m".into(), data, ..Default::default() };
    drop(writer.append(annals::Draft::new(note)).unwrap());
    writer.close().unwrap();
    assert_eq!(log.out(&["export"]).lines().count(), 1);
    log.annals(&["record"])
        .write_stdin(log.out(&["export"]))
        .assert()
        .success()
        .stdout("0 events recorded, 1 already recorded\n");
}

#[test]
fn a_session_can_be_exported_alone() {
    let log = Log::with(EVENTS);
    assert_eq!(log.out(&["export", "--session", "good"]).lines().count(), 4);
    assert_eq!(log.out(&["export", "--session", "good", "--table", "sessions"]).lines().count(), 1);
    assert_eq!(
        log.out(&["export", "--session", "bad", "--table", "steps", "--format", "csv"]).lines().count(),
        3
    );
}

#[test]
fn files_are_replaced_only_when_told_to() {
    let log = Log::with(EVENTS);
    let file = log.file("steps.csv");
    let path = file.to_str().unwrap();
    let args = ["export", "--table", "steps", "--format", "csv", "--output", path];
    log.annals(&args).assert().success();
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("id,session_id,parent_step_id,"), "{written}");
    std::fs::write(&file, "mine").unwrap();
    log.annals(&args).assert().code(2).stderr(predicate::str::contains("--force"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    log.annals(&[&args[..], &["--force"]].concat()).assert().success();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    log.annals(&["export", "--table", "nothing", "--output", log.file("x").to_str().unwrap()])
        .assert()
        .code(2);
    let left: Vec<_> = std::fs::read_dir(log.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".new") || name == "x")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_erased_is_gone_from_every_answer_and_from_the_file() {
    let secret = "card-4111".repeat(2_000);
    let log = Log::with(&format!(
        "{EVENTS}{{\"type\":\"note.logged\",\"session\":\"bad\",\"message\":\"{secret} word\"}}\n"
    ));
    let erase = ["redact", "14", "--reason", "asked for", "--authority", "GDPR"];
    log.annals(&erase).write_stdin("").assert().code(2).stderr(predicate::str::contains("--yes"));
    log.annals(&[&erase[..], &["--yes"]].concat()).assert().success();
    assert_eq!(log.json(&["search", "word"]), serde_json::json!([]));
    assert!(log.out(&["tail"]).contains("(erased)"));
    log.annals(&["export"])
        .assert()
        .success()
        .stdout(predicate::str::contains("card").not())
        .stderr(predicate::str::contains("left out: event 14, note.logged"));
    log.annals(&["redact", "1", "--reason", "r", "--yes"]).assert().code(2);
    log.annals(&["redact", "99", "--reason", "r", "--yes"]).assert().code(2);
    for name in ["audit.db", "audit.db-wal"] {
        let bytes = std::fs::read(log.file(name)).unwrap_or_default();
        let found = bytes.windows(9).filter(|window| window == b"card-4111").count();
        assert_eq!(found, 0, "{name}");
    }
}

#[test]
fn a_copy_is_whole_while_others_append() {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicBool, Ordering};
    let log = Log::with(EVENTS);
    let writer = annals::AuditLog::open(log.path()).unwrap();
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                let message = "x".repeat(2_000);
                drop(
                    writer
                        .append(annals::Draft::new(annals::NoteLogged { message, ..Default::default() }))
                        .unwrap(),
                );
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        for number in 0..3 {
            log.annals(&["copy", log.file(&format!("copy-{number}.db")).to_str().unwrap()])
                .assert()
                .success();
        }
        enough.store(true, Ordering::Relaxed);
    });
    writer.close().unwrap();
    let mut sizes = Vec::new();
    for number in 0..3 {
        let path = log.file(&format!("copy-{number}.db"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let info = annals(&path).args(["--json", "info"]).assert().success();
        let info: serde_json::Value = serde_json::from_slice(&info.get_output().stdout).unwrap();
        sizes.push(info["events"].as_u64().unwrap());
        annals(&path)
            .args(["sql", "PRAGMA integrity_check"])
            .assert()
            .success()
            .stdout(predicate::str::contains("ok"));
        annals(&path)
            .args(["sql", "--csv", "SELECT count(*) = max(seq) FROM log"])
            .assert()
            .success()
            .stdout(predicate::str::contains("\n1\n"));
        annals(&path)
            .arg("record")
            .write_stdin(r#"{"type":"note.logged","message":"on"}"#)
            .assert()
            .success();
    }
    assert!(sizes.is_sorted() && sizes[0] >= 13, "{sizes:?}");
    log.annals(&["copy", log.file("copy-0.db").to_str().unwrap()])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("already exists"));
}

#[test]
fn an_export_never_takes_the_place_of_the_log() {
    let log = Log::with(EVENTS);
    std::os::unix::fs::symlink(log.path(), log.file("link")).unwrap();
    for name in ["audit.db", "audit.db-wal", "audit.db-turn", "link"] {
        let target = log.file(name);
        log.annals(&["export", "--output", target.to_str().unwrap(), "--force"])
            .assert()
            .code(2)
            .stderr(predicate::str::contains("belongs to it"));
    }
    log.annals(&["verify"]).assert().success();
}
