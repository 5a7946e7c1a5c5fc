//! The golden log of format 1, read by nothing but SQLite and BLAKE3, then opened as any other log.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::rows_of;
use annals::entry::Entry;
use annals::{AuditLog, Digest, Draft, NoteLogged, Seq};
use rusqlite::{Connection, OpenFlags};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A copy, because opening a log changes its file.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    fs::copy(golden("format-1.db"), &path).unwrap();
    (folder, path)
}

fn reader(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

struct Row {
    seq: u64,
    event_id: Vec<u8>,
    entry: Vec<u8>,
    payload: Option<Vec<u8>>,
    hash: Vec<u8>,
}

fn rows(connection: &Connection) -> Vec<Row> {
    connection
        .prepare("SELECT seq, event_id, entry, payload, hash FROM log ORDER BY seq")
        .unwrap()
        .query_map([], |row| {
            Ok(Row {
                seq: u64::try_from(row.get::<_, i64>(0)?).unwrap(),
                event_id: row.get(1)?,
                entry: row.get(2)?,
                payload: row.get(3)?,
                hash: row.get(4)?,
            })
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Holds rows against the page: digests, links and the one licence.
fn assert_sound(rows: &[Row]) {
    let mut previous = vec![0; 32];
    for (place, row) in (1..).zip(rows) {
        assert_eq!(row.seq, place);
        let entry = Entry::decode_canonical(&row.entry).unwrap();
        assert_eq!((entry.seq, entry.event_id.bytes().as_slice()), (row.seq, row.event_id.as_slice()));
        match &row.payload {
            Some(cell) => {
                let digest = blake3::derive_key("annals 2026-11-20 v1 payload", cell);
                assert_eq!(entry.payload_digest, Digest::from_bytes(digest), "event {place}");
            }
            None => assert_eq!(place, 5),
        }
        let leaf = [previous.as_slice(), &row.entry].concat();
        assert_eq!(row.hash, blake3::derive_key("annals 2026-11-20 v1 link", &leaf), "event {place}");
        previous.clone_from(&row.hash);
    }
}

#[test]
fn its_digests_and_links_are_as_the_page_says() {
    let connection = reader(&golden("format-1.db"));
    let rows = rows(&connection);
    assert_eq!(rows.len(), 14);
    assert_sound(&rows);
    assert_eq!(rows_of(&connection, "SELECT seq FROM redactions"), ["5"]);
    let pragma = |name: &str| rows_of(&connection, &format!("PRAGMA {name}")).remove(0);
    assert_eq!(pragma("application_id"), "1097755763");
    assert_eq!(pragma("user_version"), "1");
}

#[test]
fn it_opens_for_appending_and_its_chain_goes_on() {
    let (_folder, path) = copy();
    let before = rows(&reader(&path));
    let log = AuditLog::builder(&path).open_existing().unwrap();
    assert_eq!(log.log_id().to_string(), "019f0000-0000-7000-8000-000000000001");
    let note = NoteLogged { message: "appended".to_owned(), ..Default::default() };
    let appended = log.append(Draft::new(note)).unwrap().wait().unwrap();
    assert_eq!(appended.seq, Seq::new(15));
    log.close().unwrap();
    let after = rows(&reader(&path));
    assert_eq!(after.len(), 15);
    assert_sound(&after);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            (&before.entry, &before.payload, &before.hash),
            (&after.entry, &after.payload, &after.hash)
        );
    }
}

#[test]
fn its_events_become_the_rows_of_the_read_tables() {
    let (_folder, path) = copy();
    let log = AuditLog::builder(&path).open_existing().unwrap();
    log.wait_caught_up(Seq::new(14)).unwrap();
    log.close().unwrap();
    let connection = reader(&path);
    let rows = |sql: &str| rows_of(&connection, sql);

    assert_eq!(
        rows(
            "SELECT id, profile, status, started_at, ended_at, duration_us, summary, risk_level, labels, attributes,
                    event_count, step_count, decision_count, finding_count, redacted_count, tokens_input, cost_usd
             FROM sessions ORDER BY first_seq"
        ),
        [
            "review-1 | contracts | completed | 2026-11-20 12:00:00.000000 | 2026-11-20 12:06:00.000000 | 360000000 \
             | one finding | high | {\"env\":\"test\"} | {\"priority\":2} | 8 | 1 | 1 | 1 | 1 | 1200 | 0.25",
            "review-2 | contracts | running | - | - | - | - | - | - | - | 3 | 0 | 0 | 0 | 0 | - | -",
        ]
    );
    assert_eq!(
        rows(
            "SELECT id, session_id, module, kind, status, duration_us, input, output, confidence, tokens_used, last_seq
             FROM steps"
        ),
        ["read | review-1 | reader | llm | ok | 1500000 | Lease, 12 pages | Clause 7 has no cap. | 0.9 | 1280 | 4"]
    );
    assert_eq!(
        rows("SELECT id, decision_type, options_considered, chosen_option, rationale FROM decisions"),
        [
            "route | routing | [{\"option\":\"approve\",\"score\":0.2},{\"option\":\"escalate\",\"score\":0.8}] \
          | escalate | unlimited liability"
        ]
    );
    assert_eq!(
        rows("SELECT id, step_id, category, severity, status, title, updated_by FROM findings"),
        ["cap | read | liability | high | confirmed | No cap | ada"]
    );
    assert_eq!(
        rows("SELECT seq, finding_id, previous_status, status FROM finding_updates"),
        ["8 | cap | open | confirmed"]
    );
    assert_eq!(rows("SELECT seq, name, value, unit FROM metrics"), ["9 | queue | 3.5 | jobs"]);
    assert_eq!(rows("SELECT seq, message FROM notes"), ["14 | the end"], "the other note was redacted");
    assert_eq!(rows("SELECT rowid FROM search WHERE search MATCH 'Mustermann'"), [""; 0]);
    assert_eq!(
        rows("SELECT seq, session_id, kind, subject_id, redacted FROM timeline ORDER BY seq"),
        [
            "1 | - | log.created | - | 0",
            "2 | review-1 | session.started | - | 0",
            "3 | review-1 | step.started | read | 0",
            "4 | review-1 | step.ended | read | 0",
            "5 | review-1 | note.logged | - | 1",
            "6 | review-1 | decision.made | route | 0",
            "7 | review-1 | finding.raised | cap | 0",
            "8 | review-1 | finding.updated | cap | 0",
            "9 | - | metric.recorded | queue | 0",
            "10 | review-1 | session.ended | - | 0",
            "11 | review-2 | session.started | - | 0",
            "12 | review-2 | kind-239 | - | 0",
            "13 | - | payload.redacted | - | 0",
            "14 | review-2 | note.logged | - | 0",
        ]
    );
}

/// Everything that the schema of a file says, but for the read tables, which have versions of their own.
fn schema(path: &Path) -> Vec<(String, String)> {
    let connection = reader(path);
    let mut statement = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        .unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_file_of_the_first_schema_is_verified_without_changing_it() {
    let (_folder, path) = copy();
    let before = fs::read(&path).unwrap();

    let report = annals::verify::verify(&path, annals::verify::Scope::LogOnly, &mut |_, _| {}).unwrap();

    assert!(report.self_consistent, "{:?}", report.failures);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn opening_a_file_of_the_first_schema_makes_it_equal_to_a_fresh_one() {
    let (folder, path) = copy();
    AuditLog::builder(&path).open().unwrap().close().unwrap();
    let fresh = folder.path().join("fresh.db");
    AuditLog::builder(&fresh).open().unwrap().close().unwrap();

    assert_eq!(schema(&path), schema(&fresh));
}
