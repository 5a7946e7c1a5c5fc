//! Peak memory with files that somebody else made: texts and lists in them may be as long as a disk is large, and
//! lead to an error or a short answer.
//!
//! Each test prints what it measured: `cargo test --test cli memory_hostile -- --nocapture`. With `ANNALS_TEST_HEAVY=1`
//! the texts have half a gigabyte, and the tables a million rows.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};

use crate::support::forge::{self, tamper};
use crate::support::measured::{PEAK_MIB, Ran, run};
use crate::support::server::Served;
use crate::support::{is_heavy, new_path, sqlite};
use annals::{ApiKeyRevoked, AuditLog, EventId, KeyRole, Kind, ProjectionSkipped};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Bytes of a text that no Annals writes.
fn text_bytes() -> i64 {
    if is_heavy() { 500_000_000 } else { 80_000_000 }
}

/// The same of one that no Annals reads: shorter ones may be rows of a log with large events.
fn unread_bytes() -> i64 {
    text_bytes().max(300_000_000)
}

/// A text of so many bytes, as SQL.
fn text(bytes: i64) -> String {
    format!("printf('%.*c', {bytes}, 'x')")
}

/// Runs a command that must come to an end by itself, with a short answer, in little memory.
fn run_bounded(path: &Path, args: &[&str]) -> Ran {
    let ran = run(path, args);
    assert!(ran.status.is_some(), "{args:?} was ended by a signal: {}", ran.said);
    assert!(ran.said_bytes < 100_000, "{args:?}: {} bytes", ran.said_bytes);
    assert!(ran.peak_mib < PEAK_MIB, "{args:?}: {} MiB", ran.peak_mib);
    ran
}

/// Runs a command that must work.
fn run_well(path: &Path, args: &[&str]) {
    let ran = run(path, args);
    assert_eq!(ran.status, Some(0), "{args:?}: {}", ran.said);
}

/// A log with a checkpoint and one session, rows in every read table, and an API key that may read.
fn log_of_all() -> (TempDir, PathBuf, String) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    for event in [
        json!({"type": "session.started", "session": "s", "input": "words"}),
        json!({"type": "step.started", "session": "s", "step": "1", "module": "m"}),
        json!({"type": "decision.made", "session": "s", "step": "1", "rationale": "r"}),
        json!({"type": "finding.raised", "session": "s", "finding": "f", "category": "c"}),
        json!({"type": "finding.updated", "session": "s", "finding": "f", "status": "confirmed"}),
        json!({"type": "review.recorded", "session": "s", "actor": "a", "subject_kind": "session", "verdict": "approved"}),
        json!({"type": "artifact.attached", "session": "s", "artifact": "a".repeat(64)}),
        json!({"type": "metric.recorded", "session": "s", "name": "n", "value": 1}),
        json!({"type": "note.logged", "session": "s", "message": "words"}),
        json!({"type": "action.recorded", "session": "s", "actor": {"id": "a"}, "action": "b"}),
        json!({"type": "custom", "session": "s", "name": "own.kind", "data": {"words": 1}}),
    ] {
        drop(log.append(crate::support::json(&event.to_string())).unwrap());
    }
    log.close().unwrap();
    let created = run(&path, &["apikey", "create", "--name", "reader", "--scopes", "read"]).said;
    let key = created.split_whitespace().find(|word| word.starts_with("annals_")).unwrap().to_owned();
    run_well(&path, &["key", "generate"]);
    run_well(&path, &["checkpoint"]);
    (folder, path, key)
}

/// One column of each read table that only a file of somebody else fills.
const READ_TABLES: [(&str, &str); 16] = [
    ("annals_sessions", "summary_text"),
    ("annals_steps", "error"),
    ("decisions", "rationale"),
    ("annals_findings", "title"),
    ("finding_updates", "reason"),
    ("timeline", "subject_id"),
    ("reviews", "reason"),
    ("artifacts", "label"),
    ("metrics", "unit"),
    ("notes", "message"),
    ("actions", "reason"),
    ("policy_decisions", "reason"),
    ("coverage_declarations", "source"),
    ("custom_events", "data"),
    ("api_keys", "reason"),
    ("search_documents", "subject_id"),
];

#[test]
fn a_read_table_with_an_endless_text_leads_to_an_error_or_a_short_answer() {
    let (folder, path, key) = log_of_all();
    let key = [("authorization", format!("Bearer {key}"))];
    let key = key.each_ref().map(|(name, value)| (*name, value.as_str()));
    let file = |name: String| folder.path().join(name).display().to_string();
    let served = Served::start(&path);
    // Each takes a while; one of each projection stands for the others.
    let all = READ_TABLES.into_iter().enumerate();
    for (number, (table, column)) in all.filter(|(number, _)| is_heavy() || [0, 9, 13].contains(number)) {
        let change = |value: &str| {
            let changed =
                sqlite(&path).execute(&format!("UPDATE {table} SET {column} = {value}"), []).unwrap();
            assert!(changed > 0, "{table}");
        };
        let shown = table.strip_prefix("annals_").unwrap_or(table);
        println!("{table}.{column}");
        change(&text(unread_bytes()));
        for args in [
            &["show", "s"] as &[&str],
            &["--json", "show", "s"],
            &["--json", "sessions"],
            &["--json", "search", "words"],
            &["sql", &format!("SELECT * FROM {shown}")],
            &["export", "--table", shown, "-o", &file(format!("exported-{number}"))],
        ] {
            run_bounded(&path, args);
        }
        let ran = run_bounded(&path, &["--json", "verify"]);
        assert_eq!(ran.status, Some(1), "{}", ran.said);
        for target in [
            "/v1/sessions/s",
            "/v1/sessions/s/replay",
            "/v1/sessions/s/steps",
            "/v1/sessions/s/findings",
            "/v1/sessions/s/timeline",
            "/v1/sessions",
            "/v1/steps",
            "/v1/decisions",
            "/v1/findings",
            "/v1/search?q=words",
            "/v1/events",
            "/v1/log",
        ] {
            let answer = served.request("GET", target, &key, b"");
            assert!([200, 500, 503].contains(&answer.status), "{target}: {}", answer.text());
            assert!(answer.body.len() < 100_000, "{target}: {} bytes", answer.body.len());
        }
        let peak = served.peak_mib();
        println!("{peak:>6} MiB                      annals serve");
        assert!(peak < PEAK_MIB, "{table}: {peak} MiB");
        change("'short'");
    }
}

/// A log with a checkpoint, in whose tables beside the log somebody wrote long texts and many rows.
fn hostile() -> (TempDir, PathBuf) {
    let (folder, path, _) = log_of_all();
    let rows = if is_heavy() { 1_000_000 } else { 50_000 };
    let (bytes, long) = (text_bytes(), text(text_bytes()));
    tamper(&path, |connection| {
        let numbers =
            format!("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})");
        for sql in [
            "BEGIN".to_owned(),
            format!("{numbers} INSERT INTO anchors (name, error) SELECT 'anchor ' || n, 'a reason' FROM n"),
            format!(
                "{numbers} INSERT INTO projections SELECT 'projection ' || n, 'live', 1, 1, 1, NULL, NULL FROM n"
            ),
            format!("{numbers} INSERT INTO checkpoints SELECT n + 1000, 'a note', 1 FROM n"),
            format!("{numbers} INSERT INTO redactions SELECT n + 1000 FROM n"),
            format!("{numbers} INSERT INTO api_key_events SELECT n + 1000 FROM n"),
            format!("{numbers} INSERT INTO api_key_uses SELECT 'key ' || n, 'never' FROM n"),
            // After the many rows: each of those would be compared with the long keys.
            format!("UPDATE checkpoints SET note = {long} WHERE size < 1000"),
            format!("INSERT INTO anchors (name, error) VALUES ('long', {long})"),
            format!("INSERT INTO anchors (name) VALUES ({long})"),
            format!(
                "INSERT INTO anchor_receipts (name, size, receipt) VALUES ('long', 2, zeroblob({bytes}))"
            ),
            format!("UPDATE projections SET stopped_at = 2, error = {long} WHERE name = 'search'"),
            format!("INSERT INTO projections VALUES ({long}, 'live', 1, 1, 1, NULL, NULL)"),
            format!("INSERT INTO projection_skips VALUES ({long}, 1, 1)"),
            format!("INSERT INTO api_key_uses VALUES ({long}, 'never')"),
            "COMMIT".to_owned(),
        ] {
            connection.execute_batch(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    });
    (folder, path)
}

#[test]
fn a_file_with_endless_texts_and_rows_beside_the_log_takes_no_memory_and_little_paper() {
    let (folder, path) = hostile();
    let file = |name: &str| folder.path().join(name).display().to_string();
    for args in [
        &["info"] as &[&str],
        &["--json", "info"],
        &["anchor"],
        &["--json", "anchor"],
        &["anchor", "stamps", &file("stamps")],
        &["projections"],
        &["apikey", "list"],
        &["checkpoint", "--last"],
        &["key", "show"],
        &["verify"],
        &["--json", "verify"],
        &["verify", "--log-only"],
        &["show", "s"],
        &["sessions"],
        &["replay", "s"],
        &["search", "words"],
        &["tail"],
        &["export"],
        &["sql", "SELECT count(*) FROM notes"],
        &["prove", "2"],
        &["consistency", "1"],
        &["tiles", &file("tiles")],
    ] {
        let ran = run_bounded(&path, args);
        if args.contains(&"verify") {
            assert_eq!(ran.status, Some(1), "{}", ran.said);
        }
        if matches!(args, ["info" | "anchor"]) {
            assert_eq!(ran.status, Some(0), "{}", ran.said);
            assert!(ran.said.contains(" more"), "of the others there is the count: {}", ran.said);
        }
    }
}

#[test]
fn a_value_beside_the_log_that_no_annals_writes_is_damage_and_nothing_is_written_beside_it() {
    let (_folder, path, _) = log_of_all();
    let long = text(text_bytes());
    for (table, column, insert) in [
        ("projections", "name", format!("VALUES ({long}, 'live', 1, 1, 1, NULL, NULL)")),
        ("projections", "error", format!("VALUES ('other', 'live', 1, 1, 1, 1, {long})")),
        ("projection_skips", "projection", format!("VALUES ({long}, 1, 1)")),
        ("anchors", "name", format!("VALUES ({long}, 1, 1, NULL, NULL)")),
        ("anchors", "error", format!("VALUES ('other', 1, 1, 1, {long})")),
        ("anchor_receipts", "receipt", format!("VALUES ('other', 1, zeroblob({}))", text_bytes())),
        ("api_key_uses", "key", format!("VALUES ({long}, 'never')")),
        ("api_key_uses", "last_used_at", format!("VALUES ('other', {long})")),
    ] {
        tamper(&path, |connection| {
            connection.execute_batch(&format!("INSERT INTO {table} {insert}")).unwrap();
        });
        for args in [
            &["checkpoint"] as &[&str],
            &["redact", "2", "--reason", "r", "--actor", "a", "-y"],
            &["apikey", "create", "--name", "other", "--scopes", "read"],
            &["projections", "rebuild", "sessions"],
            &["key", "rotate"],
            &["serve", "--listen", "127.0.0.1:0"],
        ] {
            let ran = run_bounded(&path, args);
            assert_ne!(ran.status, Some(0), "{args:?}: {}", ran.said);
            let named = format!("`{column}` in a row of `{table}`");
            assert!(ran.said.contains(&named), "{args:?}: {}", ran.said);
        }
        let ran = run_bounded(&path, &["--json", "verify"]);
        assert_eq!(ran.status, Some(1), "{}", ran.said);
        let report: Value = serde_json::from_str(ran.said.lines().next().unwrap()).unwrap();
        let damage =
            report["failures"].as_array().unwrap().iter().find(|failure| failure["check"] == "damage");
        assert!(damage.unwrap()["detail"].as_str().unwrap().contains(&format!("`{column}`")), "{report}");
        tamper(&path, |connection| {
            let sql = format!("DELETE FROM {table} WHERE octet_length({column}) > 1000000");
            connection.execute_batch(&sql).unwrap();
        });
    }
    run_well(&path, &["checkpoint"]);
}

#[test]
fn tiles_that_are_longer_than_a_tile_are_named() {
    let (folder, path) = new_path();
    forge::make(&path, 600, "a note");
    run_well(&path, &["key", "generate"]);
    run_well(&path, &["checkpoint"]);
    tamper(&path, |connection| {
        let bytes = text_bytes();
        let changed = connection.execute("UPDATE tiles SET hashes = zeroblob(?1) WHERE tile = 1", [bytes]);
        assert_eq!(changed.unwrap(), 1);
    });
    let tiles = folder.path().join("tiles").display().to_string();
    // SQLite has a row of this table in memory, to compare its key with the one that it looks for.
    let bound = PEAK_MIB + text_bytes().cast_unsigned() / 1_000_000;
    for args in [&["prove", "300"] as &[&str], &["consistency", "10"], &["tiles", &tiles]] {
        let ran = run(&path, args);
        assert!(ran.status.is_some(), "{args:?} was ended by a signal: {}", ran.said);
        assert!(ran.peak_mib < bound, "{args:?}: {} MiB", ran.peak_mib);
    }
    let ran = run(&path, &["--json", "verify"]);
    assert_eq!(ran.status, Some(1), "{}", ran.said);
    assert!(ran.peak_mib < bound, "{} MiB", ran.peak_mib);
    let report: Value = serde_json::from_str(ran.said.lines().next().unwrap()).unwrap();
    assert!(report["failures"][0]["detail"].as_str().unwrap().contains("tile 1 of level 0"), "{report}");
}

#[test]
fn long_texts_in_events_of_annals_own_are_not_kept() {
    let (_folder, path) = new_path();
    forge::make(&path, 3, "a note");
    let long = || "x".repeat(8 << 20);
    let short = || "short".to_owned();
    for number in 0..8 {
        let mut change = forge::key_changed(KeyRole::Stable, Some(&forge::key(1)), &forge::key(2), None);
        match number % 4 {
            0 => change.vkey = long(),
            1 => change.previous = Some(long()),
            2 => change.certificate = Some(long()),
            _ => change.actor = long(),
        }
        forge::append(&path, Kind::KeyChanged, &change);
        let skipped = |projection, actor, reason| ProjectionSkipped {
            projection,
            version: number,
            seq: 2,
            actor,
            reason,
        };
        forge::append(&path, Kind::ProjectionSkipped, &skipped(long(), short(), short()));
        forge::append(&path, Kind::ProjectionSkipped, &skipped(short(), long(), long()));
        let revoked = ApiKeyRevoked { key: EventId::generate(), actor: short(), reason: Some(long()) };
        forge::append(&path, Kind::ApiKeyRevoked, &revoked);
    }
    for args in [&["verify"] as &[&str], &["--json", "verify"], &["verify", "--log-only"]] {
        let ran = run_bounded(&path, args);
        assert_eq!(ran.status, Some(1), "{}", ran.said);
        assert!(ran.said.contains("skips"), "{}", ran.said);
    }
}

#[test]
fn a_verification_since_a_checkpoint_reads_no_endless_payload() {
    let (_folder, path) = new_path();
    forge::make(&path, 20, "a note");
    forge::store_tiles(&path);
    let kept = path.with_file_name("kept");
    std::fs::write(&kept, forge::checkpoint(&path, 20, &[&forge::key(1)]).to_string()).unwrap();
    let vkey = forge::key(1).verifier().to_string();
    let args = ["verify", "--from-checkpoint", &kept.display().to_string(), "--key", &vkey];
    tamper(&path, |connection| {
        let sql = "UPDATE log SET payload = zeroblob(?1) WHERE seq IN (19, 20)";
        connection.execute(sql, [text_bytes()]).unwrap();
    });
    let ran = run_bounded(&path, &args);
    assert_eq!(ran.status, Some(0), "{}", ran.said);
}

#[test]
fn a_log_with_endless_values_is_named_as_bad_at_their_row() {
    for (column, check) in
        [("payload", "payload"), ("entry", "entry"), ("hash", "link"), ("event_id", "identity")]
    {
        let (_folder, path) = new_path();
        forge::make(&path, 20, "a note");
        tamper(&path, |connection| {
            let sql = format!("UPDATE log SET {column} = zeroblob(?1) WHERE seq = 7");
            connection.execute(&sql, [text_bytes()]).unwrap();
        });
        let ran = run(&path, &["--json", "verify"]);
        assert_eq!(ran.status, Some(1), "{}", ran.said);
        // SQLite's own check of the index has two keys of it in memory.
        let peak = if column == "event_id" { 4 * PEAK_MIB } else { PEAK_MIB };
        assert!(ran.peak_mib < peak, "{column}: {} MiB", ran.peak_mib);
        let report: Value = serde_json::from_str(ran.said.lines().next().unwrap()).unwrap();
        let first = &report["failures"][0];
        assert_eq!((&first["check"], &first["seq"]), (&json!(check), &json!(7)), "{first}");
    }
}
