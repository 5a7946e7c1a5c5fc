//! What was changed behind the log's back is found, and named for what it is.

use crate::support;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::forge::{link_again, tamper};
use crate::support::{OWN_TABLES, is_heavy, json, new_path, note, sqlite, unindex, verify, within};
use annals::chain;
use annals::entry::Entry;
use annals::verify::{self, Check, Failure, Outcome, Report, Scope, VerifyError};
use annals::{
    AuditLog, Digest, EventId, Json, Kind, NoteLogged, PayloadRedacted, RedactionRequest, Seq, Timestamp,
};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use tempfile::TempDir;

/// The redacted event of the fixture, and the event that licenses it.
const REDACTED: i64 = 19;
const LICENCE: i64 = 20;
/// The fixture's last event.
const HEAD: i64 = 22;

/// A log with every kind of row, closed.
fn fixture() -> &'static [u8] {
    static FIXTURE: OnceLock<Vec<u8>> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let (_folder, path) = new_path();
        let log = AuditLog::open(&path).unwrap();
        let at = r#""at":"2026-11-20T12:00:00Z""#;
        for event in [
            format!(r#"{{"type":"session.started","session":"a","profile":"deep","input":"why","labels":{{"k":"v"}},{at}}}"#),
            r#"{"type":"session.updated","session":"a","progress":0.5,"message":"half","extra":1}"#.to_owned(),
            format!(r#"{{"type":"step.started","session":"a","step":"1","module":"plan","kind":"llm","model":"m","input":"ask",{at}}}"#),
            format!(r#"{{"type":"step.ended","session":"a","step":"1","status":"ok","output":"answer","confidence":0.6,"tokens_input":3,"tokens_output":4,"cost_usd":0.25,{at}}}"#),
            r#"{"type":"step.started","session":"a","step":"2","parent_step":"1","kind":"tool"}"#.to_owned(),
            r#"{"type":"step.ended","session":"a","step":"2","status":"error","error":"timeout"}"#.to_owned(),
            r#"{"type":"decision.made","session":"a","decision":"d","step":"1","decision_type":"route","options_considered":["x",{"option":"y","score":0.5}],"chosen_option":"x","rationale":"cheaper","confidence":0.75,"actor":"planner"}"#.to_owned(),
            r#"{"type":"finding.raised","session":"a","finding":"f","step":"1","category":"gate","pattern_type":"urgency","severity":"high","outcome":"fail","confidence":0.5,"title":"t","description":"d","plain_english":"p","suggestion":"s","legal_source":"l","evidence":{"e":1},"scope":"page","rule_version":"2"}"#.to_owned(),
            format!(r#"{{"type":"finding.updated","session":"a","finding":"f","status":"applied","actor":"ann","reason":"ok","correction":{{"original":"o","corrected":"c","strategy":"hand"}},{at}}}"#),
            r#"{"type":"review.recorded","session":"a","review":"r","actor":"ann","subject_kind":"finding","subject_id":"f","verdict":"approved","reason":"fine"}"#.to_owned(),
            format!(r#"{{"type":"artifact.attached","session":"a","artifact":"{}","step":"1","label":"shot","position":1,"media_type":"image/png","size":10}}"#, "ab".repeat(32)),
            r#"{"type":"metric.recorded","name":"latency","value":1.5,"unit":"ms","labels":{"host":"h"}}"#.to_owned(),
            r#"{"type":"note.logged","session":"a","step":"1","level":"info","message":"hello","data":[1]}"#.to_owned(),
            r#"{"type":"action.recorded","actor":{"id":"ann","kind":"user"},"action":"login","entity_type":"site","entity_id":"1","outcome":"success","reason":"r","changes":{"before":1,"after":2},"context":{"ip":"::1","user_agent":"ua","request_id":"q"},"tenant":"t"}"#.to_owned(),
            r#"{"type":"custom","session":"a","name":"own","data":{"x":1}}"#.to_owned(),
            r#"{"type":"session.ended","session":"a","status":"completed","summary":"done","risk_level":"low","scores":{"s":0.5},"tokens_input":30,"tokens_output":40,"cost_usd":2.5}"#.to_owned(),
            r#"{"type":"session.started","session":"b","conversation":"c","parent_session":"a","agent":"ag","agent_version":"1","model":"m","source":"s","tenant":"t","input_hash":"h"}"#.to_owned(),
            r#"{"type":"note.logged","session":"b","message":"secretword"}"#.to_owned(),
        ] {
            log.append(json(&event)).unwrap().wait().unwrap();
        }
        let licence = log
            .redact(RedactionRequest {
                seqs: vec![Seq::new(19)],
                actor: "ann".into(),
                reason: "asked for".into(),
                authority: Some("law".into()),
            })
            .unwrap();
        assert_eq!(licence.seq, Seq::new(20));
        let judged = r#"{"type":"policy.decided","session":"a","policy":"limits","effect":"deny","reason":"after"}"#;
        log.append(json(judged)).unwrap().wait().unwrap();
        log.append(note("last words")).unwrap().wait().unwrap();
        log.close().unwrap();
        support::verify_whole(&path);
        std::fs::read(&path).unwrap()
    })
}

/// A copy of the fixture.
fn copy() -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    std::fs::write(&path, fixture()).unwrap();
    (folder, path)
}

/// What a verification says of the fixture after a change, which the triggers do not hinder.
fn after(change: impl FnOnce(&Connection)) -> Report {
    let (_folder, path) = copy();
    tamper(&path, change);
    verify(&path)
}

/// What a verification says of the fixture after some SQL.
fn after_sql(sql: &str) -> Report {
    after(|connection| connection.execute_batch(sql).unwrap())
}

fn found(report: &Report) -> Vec<(Check, Option<u64>)> {
    assert_eq!(report.outcome == Outcome::Wrong, !report.failures.is_empty());
    report
        .failures
        .iter()
        .map(|failure| (failure.check, failure.seq.map(|seq| u64::try_from(seq.get()).unwrap())))
        .collect()
}

/// That one failure was found, and no other.
#[track_caller]
fn assert_found(report: &Report, check: Check, seq: impl Into<Option<u64>>) {
    assert_eq!(found(report), [(check, seq.into())], "{:?}", report.failures);
}

#[track_caller]
fn only(report: &Report) -> &Failure {
    match report.failures.as_slice() {
        [failure] => failure,
        failures => panic!("{failures:?}"),
    }
}

fn entry_at(connection: &Connection, seq: i64) -> Entry {
    let bytes: Vec<u8> =
        connection.query_row("SELECT entry FROM log WHERE seq = ?1", [seq], |row| row.get(0)).unwrap();
    Entry::decode(&bytes).unwrap()
}

fn bytes_of(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    bytes
}

/// Puts an entry in the place of another and links the log again.
fn forge_entry(connection: &Connection, seq: i64, entry: &[u8]) {
    connection.execute("UPDATE log SET entry = ?2 WHERE seq = ?1", params![seq, entry]).unwrap();
    link_again(connection);
}

/// Puts payload bytes in the place of others, with digest and links that follow from them.
fn forge_payload(connection: &Connection, seq: i64, kind: Kind, bytes: &[u8]) {
    let cell = [&[7; 16], bytes].concat();
    connection.execute("UPDATE log SET payload = ?2 WHERE seq = ?1", params![seq, cell]).unwrap();
    let entry = Entry {
        kind: kind.code(),
        payload_digest: chain::payload_digest(&cell),
        ..entry_at(connection, seq)
    };
    forge_entry(connection, seq, &bytes_of(&entry));
}

fn encoded<T: bincode::Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard()).unwrap()
}

/// The checks that may name a changed bit of a column.
fn checks_of(column: &str) -> &'static [Check] {
    match column {
        "event_id" => &[Check::Identity],
        "entry" => &[
            Check::Format,
            Check::Entry,
            Check::Identity,
            Check::FirstEvent,
            Check::PayloadDigest,
            Check::Payload,
            Check::Redaction,
            Check::Link,
        ],
        "payload" => &[Check::PayloadDigest],
        _ => &[Check::Link],
    }
}

/// Flips one bit of a cell of `log`; None where it is NULL. `place` says which, modulo its length.
fn flip(seq: i64, column: &str, place: usize) -> Option<Report> {
    let mut was_there = true;
    let report = after(|connection| {
        let cell: Option<Vec<u8>> = connection
            .query_row(&format!("SELECT {column} FROM log WHERE seq = ?1"), [seq], |row| row.get(0))
            .unwrap();
        let Some(mut cell) = cell else {
            was_there = false;
            return;
        };
        let place = place % (8 * cell.len());
        cell[place / 8] ^= 1 << (place % 8);
        connection
            .execute(&format!("UPDATE log SET {column} = ?2 WHERE seq = ?1"), params![seq, cell])
            .unwrap();
    });
    was_there.then_some(report)
}

#[track_caller]
fn assert_flip_is_found(seq: i64, column: &str, place: usize) {
    let Some(report) = flip(seq, column, place) else { return };
    let failure = only(&report);
    // A licence that is not good licenses nothing.
    let licensed_gone = seq == LICENCE
        && failure.check == Check::Redaction
        && failure.seq.is_some_and(|seq| seq.get() == REDACTED);
    let named =
        failure.seq.is_some_and(|found| found.get() == seq) && checks_of(column).contains(&failure.check);
    assert!(named || licensed_gone, "bit {place} of {column} of event {seq}: {failure:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_heavy() { 1_000 } else { 50 }, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_changed_bit_of_any_row_is_found_and_named(
        seq in 1..=HEAD,
        column in prop::sample::select(vec!["event_id", "entry", "payload", "hash"]),
        place in any::<usize>(),
    ) {
        assert_flip_is_found(seq, column, place);
    }
}

#[test]
fn a_changed_byte_anywhere_in_a_row_is_found_and_named() {
    let rows: &[i64] = if is_heavy() { &[1, 2, 14, REDACTED, LICENCE, HEAD] } else { &[14] };
    let (_folder, path) = copy();
    for &seq in rows {
        for column in ["event_id", "entry", "payload", "hash"] {
            let length: Option<u32> = sqlite(&path)
                .query_row(&format!("SELECT length({column}) FROM log WHERE seq = ?1"), [seq], |row| {
                    row.get(0)
                })
                .unwrap();
            for byte in 0..length.unwrap_or(0) as usize {
                assert_flip_is_found(seq, column, 8 * byte + byte % 8);
            }
        }
    }
}

#[test]
fn a_row_that_is_gone_is_named_by_its_place() {
    assert_found(&after_sql("DELETE FROM log WHERE seq = 5"), Check::Sequence, 5);
    assert_found(&after_sql("DELETE FROM log WHERE seq = 1"), Check::Sequence, 1);
    assert_found(&after_sql("UPDATE log SET seq = 1000 WHERE seq = 7"), Check::Sequence, 7);
    assert_found(&after_sql("UPDATE log SET seq = -3 WHERE seq = 7"), Check::Sequence, 1);
    assert_found(&after_sql("DELETE FROM log"), Check::Sequence, 1);
}

#[test]
fn a_licence_that_is_gone_licenses_nothing() {
    assert_found(&after_sql("DELETE FROM log WHERE seq = 20"), Check::Redaction, 19);
}

#[test]
fn read_tables_that_are_ahead_of_the_log_give_a_cut_off_end_away() {
    let report = after_sql("DELETE FROM log WHERE seq = 22");
    let ahead: Vec<&Failure> =
        report.failures.iter().filter(|failure| failure.detail.contains("the log ends at 21")).collect();
    assert_eq!(ahead.len(), 4, "{:?}", report.failures);
    assert!(report.failures.iter().all(|failure| failure.seq.is_none()));
    assert!(
        report.failures.iter().all(|failure| matches!(failure.check, Check::ReadTable | Check::SearchIndex))
    );
    assert_eq!(report.log.events, 21);
}

#[test]
fn a_log_cut_off_with_its_read_tables_is_self_consistent_and_the_report_says_what_that_is_worth() {
    let (_folder, path) = copy();
    tamper(&path, |connection| {
        connection.execute_batch(&unindex(22)).unwrap();
        connection
            .execute_batch(
                "DELETE FROM search_documents WHERE seq = 22;
                 DELETE FROM notes WHERE seq = 22;
                 DELETE FROM timeline WHERE seq = 22;
                 DELETE FROM log WHERE seq = 22;
                 UPDATE projections SET position = 21;",
            )
            .unwrap();
    });
    let report = verify(&path);
    assert_eq!(found(&report), []);
    assert_eq!(report.anchored.anchored_to, None);
    assert!(report.anchored.note.contains("its end was cut off"));
}

#[test]
fn rows_that_changed_places_are_found() {
    let swap = |columns: &str| {
        format!(
            "CREATE TEMP TABLE a AS SELECT * FROM log WHERE seq IN (5, 6);
             DELETE FROM log WHERE seq IN (5, 6);
             INSERT INTO log (seq, event_id, entry, payload, hash) SELECT {columns} FROM a;"
        )
    };
    assert_found(&after_sql(&swap("11 - seq, event_id, entry, payload, hash")), Check::Identity, 5);
    let other = "(SELECT payload FROM a AS b WHERE b.seq = 11 - a.seq)";
    assert_found(&after_sql(&swap(&format!("seq, event_id, entry, {other}, hash"))), Check::PayloadDigest, 5);
}

#[test]
fn a_forged_row_at_the_end_is_found() {
    let forged = |link: fn(&Digest, &[u8]) -> Digest| {
        after(|connection| {
            let head: Vec<u8> =
                connection.query_row("SELECT hash FROM log WHERE seq = 22", [], |row| row.get(0)).unwrap();
            let head = Digest::from_bytes(head.try_into().unwrap());
            let said = NoteLogged { message: "forged".into(), ..Default::default() };
            let cell = [&[7; 16], encoded(&said).as_slice()].concat();
            let entry = Entry {
                format: 1,
                seq: 23,
                event_id: EventId::generate(),
                kind: Kind::NoteLogged.code(),
                kind_version: 1,
                session: None,
                occurred_at: None,
                recorded_at: Timestamp::now(),
                principal: None,
                encoding: 0,
                payload_digest: chain::payload_digest(&cell),
            };
            let bytes = bytes_of(&entry);
            connection
                .execute(
                    "INSERT INTO log VALUES (23, ?1, ?2, ?3, ?4)",
                    params![entry.event_id.bytes(), bytes, cell, link(&head, &bytes).bytes()],
                )
                .unwrap();
        })
    };
    assert_found(&forged(|_, entry| chain::link(&Digest::ZERO, entry)), Check::Link, 23);
    // Who can write the file can append: that is what checkpoints are for.
    assert_eq!(found(&forged(chain::link)), []);
}

#[test]
fn a_payload_that_is_gone_needs_a_licence() {
    assert_found(&after_sql("UPDATE log SET payload = NULL WHERE seq = 14"), Check::Redaction, 14);
    assert_found(
        &after_sql("UPDATE log SET payload = NULL WHERE seq = 14; INSERT INTO redactions VALUES (14)"),
        Check::Redaction,
        14,
    );
    // A reserved event never has one.
    assert_found(&after_sql("UPDATE log SET payload = NULL WHERE seq = 1"), Check::Redaction, 1);
    // It is looked for before the link.
    assert_found(
        &after_sql("UPDATE log SET payload = NULL, hash = zeroblob(32) WHERE seq = 14"),
        Check::Redaction,
        14,
    );
}

#[test]
fn a_redacted_payload_that_comes_back_is_found() {
    assert_found(
        &after_sql("UPDATE log SET payload = zeroblob(40) WHERE seq = 19"),
        Check::PayloadDigest,
        19,
    );
    // The right one, from a copy made before: the licence says that it is gone.
    let report = after(|connection| {
        let cell = b"0123456789abcdef-and-what-was-erased".to_vec();
        let entry = Entry {
            kind: 30_000,
            payload_digest: chain::payload_digest(&cell),
            ..entry_at(connection, REDACTED)
        };
        connection.execute("UPDATE log SET payload = ?1 WHERE seq = 19", [cell]).unwrap();
        forge_entry(connection, REDACTED, &bytes_of(&entry));
    });
    assert_found(&report, Check::Redaction, 20);
}

#[test]
fn a_licence_that_names_what_it_must_not_is_found() {
    for seqs in [vec![21], vec![22], vec![19, 21], vec![1], vec![20], vec![0], vec![u64::MAX]] {
        let report = after(|connection| {
            let redacted = PayloadRedacted {
                seqs: seqs.clone(),
                actor: "a".into(),
                reason: "r".into(),
                authority: None,
            };
            forge_payload(connection, 21, Kind::PayloadRedacted, &encoded(&redacted));
        });
        assert_found(&report, Check::Redaction, 21);
    }
    // One that names an event whose payload is still there.
    let report = after(|connection| {
        let redacted =
            PayloadRedacted { seqs: vec![3], actor: "a".into(), reason: "r".into(), authority: None };
        forge_payload(connection, 21, Kind::PayloadRedacted, &encoded(&redacted));
    });
    assert_found(&report, Check::Redaction, 21);
}

#[test]
fn an_invalid_licence_licenses_nothing_of_what_it_names() {
    let report = after(|connection| {
        let redacted =
            PayloadRedacted { seqs: vec![19, 20], actor: "a".into(), reason: "r".into(), authority: None };
        forge_payload(connection, LICENCE, Kind::PayloadRedacted, &encoded(&redacted));
    });
    assert_found(&report, Check::Redaction, 19);
}

#[test]
fn a_licence_behind_a_bad_row_still_licenses_what_is_before_it() {
    let report = after_sql(
        "UPDATE log SET hash = zeroblob(32) WHERE seq = 16;
         UPDATE log SET hash = zeroblob(32) WHERE seq = 19;",
    );
    assert_found(&report, Check::Link, 16);
    let report = after(|connection| {
        let redacted =
            PayloadRedacted { seqs: vec![14], actor: "a".into(), reason: "r".into(), authority: None };
        forge_payload(connection, 21, Kind::PayloadRedacted, &encoded(&redacted));
        connection
            .execute_batch(
                "UPDATE log SET payload = NULL WHERE seq = 14; UPDATE log SET hash = zeroblob(32) WHERE seq = 16",
            )
            .unwrap();
    });
    assert_found(&report, Check::Link, 16);
}

#[test]
fn nothing_fails_by_a_licence_that_stands_again_behind_the_first_bad_row() {
    let (_folder, path) = copy();
    tamper(&path, |connection| {
        let redacted =
            PayloadRedacted { seqs: vec![3], actor: "a".into(), reason: "r".into(), authority: None };
        forge_payload(connection, 21, Kind::PayloadRedacted, &encoded(&redacted));
    });
    let report = after(|connection| {
        // A table that takes a seq twice.
        connection.execute("ATTACH ?1 AS forged", [path.to_str()]).unwrap();
        connection
            .execute_batch(
                "PRAGMA legacy_alter_table = ON;
                 CREATE TABLE loose AS SELECT * FROM log;
                 DROP TABLE log;
                 ALTER TABLE loose RENAME TO log;
                 INSERT INTO log SELECT * FROM forged.log WHERE seq = 21;
                 DETACH forged;",
            )
            .unwrap();
    });
    assert_eq!(found(&report)[0], (Check::Sequence, Some(22)), "{:?}", report.failures);
}

#[test]
fn an_entry_that_is_not_its_own_encoding_is_malformed_though_the_chain_holds() {
    let forged = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        after(|connection| {
            let entry = bytes_of(&entry_at(connection, 14));
            forge_entry(connection, 14, &change(entry));
        })
    };
    // The sequence number 14 in three bytes where one is enough.
    let long = |entry: Vec<u8>| [&entry[..1], &[251, 14, 0], &entry[2..]].concat();
    assert_found(&forged(&long), Check::Entry, 14);
    assert_found(&forged(&|entry| [entry.as_slice(), &[0]].concat()), Check::Entry, 14);
    assert_found(&forged(&|entry| entry[..entry.len() - 1].to_vec()), Check::Entry, 14);
    assert_found(&forged(&|_| Vec::new()), Check::Entry, 14);
    assert_found(&forged(&|entry| [&[2], &entry[1..]].concat()), Check::Format, 14);
    // Another format comes first, whatever its bytes are.
    assert_found(&forged(&|_| vec![2, 255, 255]), Check::Format, 14);
    let long_session = |entry: Vec<u8>| {
        let [start, end] = [&entry[..22], &entry[24..]];
        [start, &[1, 252, 0, 0, 1, 0], "x".repeat(65_536).as_bytes(), end].concat()
    };
    assert_found(&forged(&long_session), Check::Entry, 14);
}

#[test]
fn an_entry_of_another_place_or_kind_is_found_though_the_chain_holds() {
    let forged = |seq: i64, change: &dyn Fn(Entry) -> Entry| {
        after(|connection| {
            let entry = change(entry_at(connection, seq));
            forge_entry(connection, seq, &bytes_of(&entry));
        })
    };
    assert_found(&forged(14, &|entry| Entry { seq: 15, ..entry }), Check::Identity, 14);
    assert_found(&forged(14, &|entry| Entry { event_id: EventId::generate(), ..entry }), Check::Identity, 14);
    assert_found(&forged(14, &|entry| Entry { kind: 1, ..entry }), Check::FirstEvent, 14);
    assert_found(&forged(1, &|entry| Entry { kind: 2, ..entry }), Check::FirstEvent, 1);
    let session = Some("s".try_into().unwrap());
    assert_found(&forged(1, &|entry| Entry { session: session.clone(), ..entry }), Check::FirstEvent, 1);
    assert_found(
        &forged(14, &|entry| Entry { payload_digest: Digest::ZERO, ..entry }),
        Check::PayloadDigest,
        14,
    );
    // Another time makes other rows of the read tables.
    let moved = forged(14, &|entry| Entry { recorded_at: Timestamp::from_micros(0), ..entry });
    assert!(
        found(&moved).contains(&(Check::ReadTable, None)) && moved.failures[0].seq.is_none(),
        "{:?}",
        moved.failures
    );
    assert_eq!(moved.backward_steps.count, 1);
    assert_eq!(moved.backward_steps.first, Some(Seq::new(14)));
}

#[test]
fn a_payload_that_is_not_its_own_encoding_is_malformed_though_the_chain_holds() {
    let forged = |kind: Kind, bytes: &[u8]| after(|connection| forge_payload(connection, 14, kind, bytes));
    let mut note = NoteLogged { message: "m".into(), ..Default::default() };
    let one: Json = "1".parse().unwrap();
    note.attributes.insert("aa".into(), one.clone());
    note.attributes.insert("bb".into(), one);
    let good = encoded(&note);
    let text = String::from_utf8_lossy(&good);
    let (aa, bb) = (text.find("aa").unwrap(), text.find("bb").unwrap());
    let with = |first: u8, second: u8| {
        let mut bytes = good.clone();
        bytes[aa..aa + 2].fill(first);
        bytes[bb..bb + 2].fill(second);
        bytes
    };
    assert_found(&forged(Kind::NoteLogged, &with(b'b', b'a')), Check::Payload, 14);
    assert_found(&forged(Kind::NoteLogged, &with(b'a', b'a')), Check::Payload, 14);
    assert_found(&forged(Kind::NoteLogged, &[good.as_slice(), &[0]].concat()), Check::Payload, 14);
    assert_found(&forged(Kind::NoteLogged, &good[..good.len() - 1]), Check::Payload, 14);
    assert_found(&forged(Kind::NoteLogged, &[]), Check::Payload, 14);
    // A length that no memory has room for.
    let hostile = [[253].as_slice(), &u64::MAX.to_le_bytes()].concat();
    assert_found(&forged(Kind::NoteLogged, &hostile), Check::Payload, 14);
    // Shorter than a salt.
    let report = after(|connection| {
        let cell = [1_u8; 15];
        let entry = Entry { payload_digest: chain::payload_digest(&cell), ..entry_at(connection, 14) };
        connection.execute("UPDATE log SET payload = ?1 WHERE seq = 14", [cell]).unwrap();
        forge_entry(connection, 14, &bytes_of(&entry));
    });
    assert_found(&report, Check::Payload, 14);
}

/// The read tables that hold a row an event, and those that hold a row a thing.
const READ_TABLES: [&str; 14] = [
    "annals_sessions",
    "annals_steps",
    "decisions",
    "annals_findings",
    "finding_updates",
    "timeline",
    "reviews",
    "artifacts",
    "metrics",
    "notes",
    "actions",
    "policy_decisions",
    "custom_events",
    "search_documents",
];

#[test]
fn a_changed_cell_of_any_column_of_a_read_table_is_found() {
    let (_folder, path) = copy();
    let connection = sqlite(&path);
    for table in READ_TABLES {
        let columns: Vec<(String, String, i64)> = connection
            .prepare(&format!("SELECT name, type, pk FROM pragma_table_info('{table}')"))
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for (column, kind, key) in columns {
            let changed = match kind.as_str() {
                "TEXT" => format!("coalesce({column}, '') || 'x'"),
                "REAL" => format!("coalesce({column}, 0.0) + 0.125"),
                _ => format!("coalesce({column}, 0) + 1000"),
            };
            let report = after_sql(&format!(
                "UPDATE {table} SET {column} = {changed} WHERE rowid = (SELECT min(rowid) FROM {table})"
            ));
            // The words of a document are checked too.
            let failure = &report.failures[0];
            assert_eq!((failure.check, failure.seq), (Check::ReadTable, None), "{table}.{column}");
            assert!(failure.detail.contains(&format!("`{table}`")), "{failure:?}");
            if key == 0 {
                assert!(failure.detail.contains(&format!("`{column}`")), "{failure:?}");
            }
            assert_eq!(report.failures.len(), 1, "{:?}", report.failures);
        }
    }
}

#[test]
fn a_row_too_few_or_too_many_in_a_read_table_is_found() {
    for table in READ_TABLES {
        let report =
            after_sql(&format!("DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})"));
        assert_found(&report, Check::ReadTable, None);
        assert!(only(&report).detail.contains("lacks the row"), "{report:?}");
        let (key, value) = match table {
            "annals_sessions" => ("id", "'zz'"),
            "annals_steps" | "decisions" | "annals_findings" => ("id", "'zz'"),
            _ => ("seq", "9999"),
        };
        let report = after(|connection| {
            let columns: Vec<String> = connection
                .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
                .unwrap()
                .query_map([], |row| row.get(0))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            let values: Vec<&str> =
                columns.iter().map(|column| if column == key { value } else { column.as_str() }).collect();
            connection
                .execute_batch(&format!(
                    "INSERT INTO {table} ({}) SELECT {} FROM {table} LIMIT 1",
                    columns.join(", "),
                    values.join(", ")
                ))
                .unwrap();
        });
        assert_found(&report, Check::ReadTable, None);
        assert!(only(&report).detail.contains("that no event made"), "{report:?}");
    }
}

#[test]
fn a_full_text_index_that_does_not_say_what_the_documents_say_is_found() {
    let report = after_sql(&unindex(14));
    assert_eq!(report.failures[0].check, Check::SearchIndex, "{:?}", report.failures);
    let report = after_sql("INSERT INTO search (rowid, text) VALUES (14, 'planted')");
    assert_eq!(report.failures[0].check, Check::SearchIndex, "{:?}", report.failures);
    let report = after_sql("INSERT INTO search (search) VALUES ('delete-all')");
    assert_eq!(report.failures[0].check, Check::SearchIndex, "{:?}", report.failures);
    for damage in [
        "DELETE FROM search_data WHERE id > 10",
        "DELETE FROM search_data",
        "UPDATE search_data SET block = zeroblob(20)",
        "UPDATE search_docsize SET sz = x'05' WHERE id = 14",
        "DELETE FROM search_config",
        "UPDATE search_config SET v = 99",
    ] {
        let report = after_sql(damage);
        assert!(
            report.failures.iter().any(|failure| failure.check == Check::SearchIndex),
            "{damage}: {:?}",
            report.failures
        );
    }
    // Merging its segments changes nothing that it says.
    assert_eq!(found(&after_sql("INSERT INTO search (search) VALUES ('optimize')")), []);
}

#[test]
fn a_cursor_that_was_moved_is_found_or_reported() {
    let ahead = after_sql("UPDATE projections SET position = 23 WHERE name = 'activity'");
    assert_found(&ahead, Check::ReadTable, None);
    assert!(only(&ahead).detail.contains("up to 23, but the log ends at 22"), "{ahead:?}");
    let back = after_sql("UPDATE projections SET position = 21 WHERE name = 'sessions'");
    assert_found(&back, Check::ReadTable, None);
    assert!(only(&back).detail.contains("no event made"), "{back:?}");
    // Where the tables would be the same, they only have to be folded again.
    let harmless = after_sql(
        "UPDATE projections SET position = 21 WHERE name = 'activity'; DELETE FROM notes WHERE seq = 22",
    );
    assert_eq!(found(&harmless), []);
    assert_eq!(harmless.completeness.projections_behind, ["activity"]);
    // What came after the cursor is in the tables all the same.
    let before_redaction = after_sql("UPDATE projections SET position = 19 WHERE name = 'search'");
    assert_eq!(before_redaction.outcome, Outcome::Wrong, "{before_redaction:?}");
    assert!(!before_redaction.completeness.complete);
    let gone = after_sql("DELETE FROM projections WHERE name = 'search'");
    assert_found(&gone, Check::ReadTable, None);
    assert!(only(&gone).detail.contains("no cursor"), "{gone:?}");
    let unreadable = after_sql("UPDATE projections SET version = -1 WHERE name = 'search'");
    assert_eq!(unreadable.failures[0].check, Check::ReadTable, "{unreadable:?}");
}

#[test]
fn a_skip_by_a_name_that_is_longer_than_that_of_any_projection_is_named() {
    let (_folder, path) = crate::support::forge::log_of(3);
    let projection = "x".repeat(257);
    let sql = format!("INSERT INTO projection_skips VALUES ('{projection}', 1, 2)");
    crate::support::sqlite(&path).execute_batch(&sql).unwrap();
    let (actor, reason) = ("ann".to_owned(), "none".to_owned());
    let skipped = annals::ProjectionSkipped { projection, version: 1, seq: 2, actor, reason };
    crate::support::forge::append(&path, annals::Kind::ProjectionSkipped, &skipped);
    let report = verify::verify(&path, Scope::LogOnly, &mut |_, _| {}).unwrap();
    assert_eq!(report.failures[0].check, Check::Skips, "{:?}", report.failures);
    assert!(report.failures[0].detail.contains("a name that is too long"));
    assert_eq!(report.completeness.skips, 1);
}

#[test]
fn the_lists_that_are_written_with_redactions_and_skips_are_held_against_the_log() {
    assert_found(&after_sql("DELETE FROM redactions"), Check::Redaction, 19);
    assert_found(&after_sql("INSERT INTO redactions VALUES (7)"), Check::Redaction, 7);
    let skip = after_sql("INSERT INTO projection_skips VALUES ('activity', 1, 14)");
    assert_eq!(found(&skip)[0], (Check::Skips, Some(14)), "{skip:?}");
    let skip = after_sql("INSERT INTO projection_skips VALUES ('nobody', -1, 14)");
    assert_found(&skip, Check::Skips, 14);
}

#[test]
fn what_is_missing_or_altered_in_the_schema_is_named() {
    for (sql, what) in [
        ("DROP TABLE redactions", "the table `redactions` is missing"),
        ("DROP TABLE projection_skips", "the table `projection_skips` is missing"),
        ("DROP INDEX steps_by_module", "the index `steps_by_module` is missing"),
        (
            "DROP INDEX steps_by_module; CREATE INDEX steps_by_module ON annals_steps (module)",
            "the index `steps_by_module` was altered",
        ),
        ("ALTER TABLE notes ADD COLUMN mine TEXT", "the table `notes` was altered"),
        ("DROP VIEW steps", "the view `steps` is missing"),
        (
            "DROP VIEW sessions; CREATE VIEW sessions AS SELECT id, 'completed' AS status FROM annals_sessions",
            "the view `sessions` was altered",
        ),
    ] {
        let (_folder, path) = copy();
        sqlite(&path).execute_batch(sql).unwrap();
        let report = verify(&path);
        assert_eq!(report.failures[0].detail, what);
        // With a table its triggers are gone too.
        let others = report.failures.iter().filter(|failure| !failure.detail.contains("trigger"));
        // Evidence that is missing is damage.
        let check = if sql == "DROP TABLE redactions" { Check::Damage } else { Check::Schema };
        assert!(others.clone().all(|failure| failure.check == check), "{:?}", report.failures);
    }
    for (sql, what) in [
        ("DROP TRIGGER log_rows_stay", "the trigger `log_rows_stay` is missing"),
        (
            "DROP TRIGGER log_rows_stay; CREATE TRIGGER log_rows_stay BEFORE DELETE ON log BEGIN SELECT 1; END",
            "the trigger `log_rows_stay` was altered",
        ),
        (
            // In quotes a condition is a text, which is not true.
            "DROP TRIGGER redactions_stay; CREATE TRIGGER redactions_stay BEFORE DELETE ON redactions WHEN \"1\" BEGIN SELECT RAISE(ABORT, 'no'); END",
            "the trigger `redactions_stay` was altered",
        ),
    ] {
        let (_folder, path) = copy();
        sqlite(&path).execute_batch(sql).unwrap();
        let report = verify(&path);
        assert_found(&report, Check::Schema, None);
        assert_eq!(only(&report).detail, what);
    }
    for table in READ_TABLES.iter().chain(&["search"]) {
        let (_folder, path) = copy();
        sqlite(&path).execute_batch(&format!("DROP TABLE {table}")).unwrap();
        let report = verify(&path);
        assert_eq!(report.failures[0].check, Check::Schema, "{table}: {:?}", report.failures);
        assert!(
            report.failures.iter().any(|failure| failure.detail == format!("the table `{table}` is missing")),
            "{table}: {:?}",
            report.failures
        );
    }
    let (_folder, path) = copy();
    sqlite(&path).execute_batch("DROP TABLE projections").unwrap();
    let report = verify(&path);
    assert_eq!(report.failures[0].detail, "the table `projections` is missing");
    assert_eq!(report.tables.iter().filter(|tables| tables.not_checked.is_some()).count(), 4);
    let (_folder, path) = copy();
    sqlite(&path).execute_batch("DROP TABLE log").unwrap();
    let report = verify(&path);
    assert_eq!((report.failures[0].check, report.failures[0].seq), (Check::Damage, None));
}

#[test]
fn evidence_that_is_no_ordinary_table_or_lacks_a_column_is_damage_and_nothing_of_it_is_judged() {
    for (sql, table) in [
        (
            "ALTER TABLE log RENAME TO kept; CREATE VIRTUAL TABLE log USING fts5(seq, event_id, entry, payload, hash)",
            "log",
        ),
        ("ALTER TABLE log RENAME TO kept; CREATE VIEW log AS SELECT * FROM kept", "log"),
        ("ALTER TABLE log RENAME TO kept; CREATE TABLE Log AS SELECT * FROM kept", "log"),
        ("ALTER TABLE log RENAME COLUMN hash TO link", "log"),
        (
            "ALTER TABLE redactions RENAME TO kept; CREATE VIRTUAL TABLE redactions USING fts5(seq)",
            "redactions",
        ),
        ("ALTER TABLE redactions RENAME TO kept; CREATE VIEW redactions AS SELECT * FROM kept", "redactions"),
        ("ALTER TABLE redactions RENAME COLUMN seq TO event", "redactions"),
    ] {
        let (_folder, path) = copy();
        sqlite(&path).execute_batch(sql).unwrap();
        let report = verify(&path);
        let first = &report.failures[0];
        assert_eq!((first.check, first.seq), (Check::Damage, None), "{sql}: {:?}", report.failures);
        assert!(first.detail.contains(&format!("`{table}`")), "{sql}: {first:?}");
        assert_eq!(report.log.events, 0, "{sql}");
        let others = &report.failures[1..];
        assert!(others.iter().all(|failure| failure.check == Check::Schema), "{sql}: {others:?}");
    }
}

#[test]
fn a_row_that_sqlite_gives_out_of_order_fails_where_it_is_given() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1.db");
    let mut bytes = std::fs::read(golden).unwrap();
    // Where the row of event 11 lies on its page: what is there has the seq 0.
    bytes[10_248] = 12;
    let report = judge(bytes).unwrap();
    let first = &report.failures[0];
    assert_eq!((first.check, first.seq.map(|seq| seq.get())), (Check::Sequence, Some(11)), "{report:?}");
}

#[test]
fn a_condition_in_quotes_does_not_pass_for_the_condition() {
    let (_folder, path) = copy();
    let connection = sqlite(&path);
    let sql: String = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'log_rows_never_change'", [], |row| row.get(0))
        .unwrap();
    let weakened = sql.replace("NEW.entry <> OLD.entry", "\"NEW.entry <> OLD.entry\"");
    assert_ne!(sql, weakened);
    connection.execute_batch(&format!("DROP TRIGGER log_rows_never_change; {weakened}")).unwrap();
    drop(connection);
    assert_found(&verify(&path), Check::Schema, None);
}

#[test]
fn a_page_of_any_table_of_annals_that_cannot_be_read_is_damage() {
    for table in OWN_TABLES {
        let (_folder, path) = copy();
        let (page, page_bytes): (u32, u32) = sqlite(&path)
            .query_row(
                "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE name = ?1",
                [table],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // Its first byte says of what kind a page is, and none is of this one.
        bytes[usize::try_from((page - 1) * page_bytes).unwrap()] = 7;
        let report = judge(bytes).unwrap();
        assert!(report.failures.iter().any(|failure| failure.check == Check::Damage), "{table}: {report:?}");
    }
}

#[test]
fn objects_of_the_users_own_are_named_and_no_failure() {
    let (_folder, path) = copy();
    sqlite(&path)
        .execute_batch(
            "CREATE VIEW my_view AS SELECT * FROM sessions;
             CREATE INDEX my_index ON annals_steps (model);
             CREATE TABLE my_table (x);
             CREATE TRIGGER log AFTER INSERT ON notes BEGIN SELECT 1; END;",
        )
        .unwrap();
    let report = verify(&path);
    assert_eq!(found(&report), []);
    assert_eq!(report.foreign_objects, ["trigger log", "index my_index", "table my_table", "view my_view"]);
}

#[test]
fn an_event_that_this_version_does_not_know_is_no_failure() {
    let report =
        after(|connection| forge_payload(connection, 14, Kind::NoteLogged, b"what a newer one wrote"));
    assert_found(&report, Check::Payload, 14);
    let report = after(|connection| {
        let cell = b"0123456789abcdefwhat a newer one wrote";
        let entry = Entry {
            kind_version: 2,
            payload_digest: chain::payload_digest(cell),
            ..entry_at(connection, 14)
        };
        connection.execute("UPDATE log SET payload = ?1 WHERE seq = 14", [cell.as_slice()]).unwrap();
        forge_entry(connection, 14, &bytes_of(&entry));
    });
    assert_eq!(found(&report), []);
    assert_eq!((report.outcome, report.not_checked.len()), (Outcome::NotAllChecked, 4));
    for tables in &report.tables {
        assert!(tables.not_checked.as_deref().unwrap().contains("newer than this version"), "{tables:?}");
    }
}

/// What a verification makes of bytes that are not quite a log.
fn judge(bytes: Vec<u8>) -> Result<Report, VerifyError> {
    within(Duration::from_secs(60), move || {
        let (_folder, path) = new_path();
        std::fs::write(&path, bytes).unwrap();
        verify::verify(&path, Scope::Everything, &mut |_, _| {})
    })
}

#[track_caller]
fn assert_judged(bytes: Vec<u8>) {
    match judge(bytes) {
        Ok(report) => assert_eq!(report.self_consistent, report.failures.is_empty()),
        Err(VerifyError::Open(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_heavy() { 2_000 } else { 60 }, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_damaged_file_gets_a_report_or_cannot_be_opened(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        let mut bytes = fixture().to_vec();
        for (place, change) in changes {
            let place = place.index(bytes.len());
            bytes[place] ^= change;
        }
        assert_judged(bytes);
    }

    #[test]
    fn a_file_that_was_cut_off_gets_a_report_or_cannot_be_opened(length in any::<prop::sample::Index>()) {
        let mut bytes = fixture().to_vec();
        bytes.truncate(length.index(bytes.len()));
        assert_judged(bytes);
    }
}

#[test]
fn damage_to_the_head_of_every_page_gets_a_report_or_cannot_be_opened() {
    let page = 8_192;
    for start in (0..fixture().len()).step_by(page) {
        let mut bytes = fixture().to_vec();
        let head = if start == 0 { 100 } else { start };
        bytes[head..head + 12].fill(0xff);
        assert_judged(bytes);
    }
}

#[test]
fn an_index_that_has_lost_a_row_is_found() {
    // The index's page is emptied: its table still has every row, and what is looked up through the
    // index is no longer there.
    let (_folder, path) = copy();
    let root: u32 = sqlite(&path)
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'timeline_by_kind'", [], |row| row.get(0))
        .unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let start = 8_192 * (root as usize - 1);
    // No free block, no cell, content from the page's end.
    bytes[start + 1..start + 8].copy_from_slice(&[0, 0, 0, 0, 0x20, 0, 0]);
    let report = judge(bytes).unwrap();
    assert_found(&report, Check::Damage, None);
    assert!(only(&report).detail.contains("`timeline`"), "{report:?}");
}
