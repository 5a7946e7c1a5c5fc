//! tools/verify.py, which was written from docs/format.md alone, and the verifier of this library say the same of the
//! same files: where they differ, one of them, or the page, is wrong.

use crate::support::trust;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::rows::Rows;
use crate::support::verifiers::{Given, Verdict, Verifiers};
use crate::support::{is_heavy, json, new_path, note, sqlite};
use annals::evidence::{Epochs, Evidence, KeyChangeRequest, KeyFolder, Signing};
use annals::note::{Algorithm, Signature, SignedCheckpoint, SignedNote, SigningKey, VerifierKey};
use annals::{AuditLog, EventId, KeyChangeCause, KeyRole, Projections, RedactionRequest, Seq, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;

const ORIGIN: &str = "example.org/independent";
/// So long that only asking signs.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// A log that the library made, with every sort of row that matters to verifiers, and what its auditors keep.
struct Fixture {
    file: Vec<u8>,
    rows: Rows,
    kept: Given,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let (folder, path) = new_path();
        let keys = KeyFolder::at(folder.path().join("keys"));
        let first = keys.generate(ORIGIN, Epochs::Kept, Timestamp::now()).unwrap();
        let signing = Signing::new(keys).every(NEVER).every_events(u64::MAX);
        let log = AuditLog::builder(&path)
            .origin(ORIGIN)
            .evidence(Evidence::Signed(Box::new(signing)))
            .projections(Projections::Off)
            .open()
            .unwrap();
        let append = |text: &str| log.append(json(text)).unwrap().wait().unwrap();
        let change = |role| {
            let (actor, reason) = ("ann".to_owned(), Some("yearly".to_owned()));
            log.change_key(&KeyChangeRequest { role, cause: KeyChangeCause::Rotated, actor, reason }).unwrap();
        };
        append(r#"{"type":"session.started","session":"a","input":"why","labels":{"k":"v","l":"w"}}"#);
        append(r#"{"type":"step.started","session":"a","step":"1","module":"plan","kind":"llm","at":"2026-11-20T12:00:00Z"}"#);
        append(r#"{"type":"decision.made","session":"a","decision":"d","step":"1","options_considered":["x",{"option":"y","score":0.5}],"chosen_option":"x","confidence":0.75}"#);
        append(r#"{"type":"step.ended","session":"a","step":"1","status":"ok","tokens_input":300,"tokens_output":4,"cost_usd":0.25}"#);
        append(r#"{"type":"note.logged","session":"a","message":"to be erased"}"#);
        let mut kept = log.checkpoint().unwrap().to_string();
        append(r#"{"type":"session.ended","session":"a","status":"completed","scores":{"s":0.5}}"#);
        change(KeyRole::Stable);
        append(r#"{"type":"note.logged","session":"b","message":"this one too"}"#);
        log.redact(RedactionRequest {
            seqs: vec![Seq::new(6)],
            actor: "ann".into(),
            reason: "asked for".into(),
            authority: Some("law".into()),
        })
        .unwrap();
        change(KeyRole::Epoch);
        log.redact(RedactionRequest {
            seqs: vec![Seq::new(9)],
            actor: "bob".into(),
            reason: "asked for".into(),
            ..Default::default()
        })
        .unwrap();
        append(r#"{"type":"metric.recorded","name":"latency","value":1.5,"labels":{"host":"h"}}"#);
        kept = format!("{kept}\n{}", log.checkpoint().unwrap());
        log.append(note("last words")).unwrap().wait().unwrap();
        log.close().unwrap();
        // An archived log. It is read faster, too.
        sqlite(&path).pragma_update(None, "journal_mode", "delete").unwrap();
        let keys = vec![
            (KeyRole::Stable, first.stable.to_string()),
            (KeyRole::Epoch, first.epoch.unwrap().to_string()),
        ];
        let kept = Given { keys, checkpoints: Some(kept) };
        Fixture { file: std::fs::read(&path).unwrap(), rows: Rows::read(&path), kept }
    })
}

/// The log that every version must be able to read.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1.db")
}

/// A copy of the fixture.
fn copy() -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    std::fs::write(&path, &fixture().file).unwrap();
    (folder, path)
}

/// What both say of the fixture's file with other rows to somebody who kept keys and checkpoints; and where only those
/// told that something is wrong, what they say to somebody who kept nothing. None if the table does not take the rows.
fn judge_rows(verifiers: &mut Verifiers, what: &str, rows: &Rows) -> Option<Verdict> {
    let (_folder, path) = copy();
    rows.write(&path).then(|| {
        let verdict = verifiers.judge(&format!("{what}, with what was kept"), &path, &fixture().kept);
        match verdict.check() {
            Some(check) if !check.starts_with("checkpoint-") && check != "key-change" => verdict,
            _ => verifiers.judge(what, &path, &Given::default()),
        }
    })
}

/// Both verdicts on the fixture after some SQL, with no trigger in the way.
fn judge_sql(verifiers: &mut Verifiers, sql: &str) -> Verdict {
    let (_folder, path) = copy();
    {
        let connection = sqlite(&path);
        let triggers: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for name in triggers {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        connection.execute_batch(sql).unwrap();
    }
    verifiers.judge(sql, &path, &Given::default())
}

#[test]
fn of_sound_logs_they_say_the_same() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let (_folder, made) = copy();
    for (what, path) in [("golden", &golden()), ("made", &made)] {
        let verdict = verifiers.judge(what, path, &Given::default());
        assert_eq!(verdict.check(), None, "{verdict:?}");
    }
    let verdict = verifiers.judge("kept", &made, &fixture().kept);
    let Verdict::Judged {
        failure: None,
        anchored_to: Some(anchored),
        signed_to: Some(signed),
        key_changes,
        ..
    } = verdict
    else {
        panic!("{verdict:?}")
    };
    let events = fixture().rows.rows.len() as u64;
    assert_eq!((anchored, signed), (events - 1, events));
    assert!(key_changes.iter().all(|(_, is_certified, _)| *is_certified));
    verifiers.agree();
}

#[test]
fn a_changed_bit_in_any_column_of_any_row_is_the_same_failure_to_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let sound = &fixture().rows;
    for (at, row) in sound.rows.iter().enumerate() {
        let mut bit = at;
        let mut flip = |bytes: &mut Vec<u8>| {
            bit = bit * 31 + 7;
            let place = bit % bytes.len();
            bytes[place] ^= 1 << (bit / 5 % 8);
        };
        let mut changed: Vec<Rows> = (0..7).map(|_| sound.clone()).collect();
        flip(&mut changed[0].rows[at].event_id);
        for copy in &mut changed[1..4] {
            flip(&mut copy.rows[at].entry);
        }
        flip(&mut changed[4].rows[at].hash);
        for copy in &mut changed[5..] {
            if let Some(payload) = &mut copy.rows[at].payload {
                flip(payload);
            }
        }
        for (which, rows) in changed.iter().enumerate().filter(|(_, rows)| *rows != sound) {
            let verdict =
                judge_rows(&mut verifiers, &format!("row {}, change {which}", row.seq), rows).unwrap();
            assert!(verdict.check().is_some());
        }
    }
    verifiers.agree();
}

#[test]
fn rows_that_are_missing_exchanged_or_written_anew_are_the_same_failure_to_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let sound = &fixture().rows;
    let count = sound.rows.len();
    let mut judge = |what: String, rows: &Rows| judge_rows(&mut verifiers, &what, rows).unwrap();
    for at in 0..count {
        let mut rows = sound.clone();
        rows.rows.remove(at);
        judge(format!("without row {at}"), &rows);

        let mut rows = sound.clone();
        rows.rows.truncate(at);
        rows.redactions.retain(|seq| usize::try_from(*seq).unwrap() <= at);
        judge(format!("cut off after {at}"), &rows);

        let mut rows = sound.clone();
        let mut inserted = rows.rows[at].clone();
        inserted.event_id[15] ^= 1;
        inserted.change(|entry| {
            entry.seq += 1;
            let mut id = *entry.event_id.bytes();
            id[15] ^= 1;
            entry.event_id = EventId::from_bytes(id);
        });
        inserted.seq += 1;
        rows.rows[at + 1..].iter_mut().for_each(|row| {
            row.seq += 1;
            row.change(|entry| entry.seq += 1);
        });
        rows.rows.insert(at + 1, inserted);
        judge(format!("a row after {at}"), &rows);
        rows.link_again(at);
        judge(format!("a row after {at}, chained"), &rows);

        let other = (at * 5 + 3) % count;
        let mut rows = sound.clone();
        let (one, another) = (rows.rows[at].payload.clone(), rows.rows[other].payload.clone());
        (rows.rows[at].payload, rows.rows[other].payload) = (another, one);
        judge(format!("payloads of {at} and {other}"), &rows);

        let mut rows = sound.clone();
        rows.rows.swap(at, other);
        (rows.rows[at].seq, rows.rows[other].seq) = (sound.rows[at].seq, sound.rows[other].seq);
        judge(format!("rows {at} and {other}"), &rows);

        let mut rows = sound.clone();
        if let Some(payload) = &mut rows.rows[at].payload {
            payload[3] ^= 1; // of the salt
        }
        rows.rows[at].digest_again();
        rows.rows[at].change(|entry| entry.recorded_at = Timestamp::from_micros(5));
        judge(format!("another event {at}"), &rows);
        rows.link_again(at);
        judge(format!("another event {at}, chained"), &rows);
    }
    let good = verifiers.seen.contains("good");
    assert!(good, "a log that was written anew is sound in itself");
    verifiers.agree();
}

/// The number in this byte, in a longer form.
fn lengthen(bytes: &mut Vec<u8>, at: usize) {
    let number = bytes[at];
    bytes.splice(at..=at, [0xfb, number, 0]);
}

#[test]
fn values_that_are_not_in_their_only_form_are_the_same_failure_to_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let sound = &fixture().rows;
    for at in 0..sound.rows.len() {
        for place in (0..sound.rows[at].entry.len()).filter(|place| place % 11 < 2) {
            let mut rows = sound.clone();
            lengthen(&mut rows.rows[at].entry, place);
            rows.link_again(at);
            judge_rows(&mut verifiers, &format!("entry of row {at}, longer at {place}"), &rows);
        }
        let payload = sound.rows[at].payload.as_ref().map_or(0, Vec::len);
        for place in (16..payload).step_by(7) {
            let mut rows = sound.clone();
            lengthen(rows.rows[at].payload.as_mut().unwrap(), place);
            rows.rows[at].digest_again();
            rows.link_again(at);
            judge_rows(&mut verifiers, &format!("payload of row {at}, longer at {place}"), &rows);
        }
        for length in [0, 15, 16, 17, payload.max(1) - 1] {
            let mut rows = sound.clone();
            let Some(payload) = &mut rows.rows[at].payload else { continue };
            payload.truncate(length);
            rows.rows[at].digest_again();
            rows.link_again(at);
            judge_rows(&mut verifiers, &format!("payload of row {at}, {length} bytes of it"), &rows);
        }
    }
    assert!(verifiers.seen.contains("payload") && verifiers.seen.contains("entry"));
    verifiers.agree();
}

#[test]
fn formats_kinds_and_encodings_that_are_not_known_are_the_same_to_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let sound = &fixture().rows;
    for at in 0..sound.rows.len() {
        for change in 0..9 {
            let mut rows = sound.clone();
            let row = &mut rows.rows[at];
            match change {
                0 => row.entry[0] = 2,
                1 => row.entry[0] = 0,
                2 => row.change(|entry| entry.kind = 239),
                3 => row.change(|entry| entry.kind = 250),
                4 => row.change(|entry| entry.kind_version = 2),
                5 => row.change(|entry| entry.kind_version = 0),
                6 => row.change(|entry| entry.encoding = 1),
                7 => row.change(|entry| entry.kind = 1),
                _ => row.change(|entry| entry.session = Some("x".parse().unwrap())),
            }
            judge_rows(&mut verifiers, &format!("row {at}, change {change}"), &rows);
            rows.link_again(at);
            judge_rows(&mut verifiers, &format!("row {at}, change {change}, chained"), &rows);
        }
        let mut rows = sound.clone();
        rows.rows[at].entry = vec![1; 65_504];
        judge_rows(&mut verifiers, &format!("row {at}, too long"), &rows);
    }
    for check in ["good", "format", "first-event"] {
        assert!(verifiers.seen.contains(check), "{check}");
    }
    verifiers.agree();
}

#[test]
fn licences_and_the_table_of_redactions_are_judged_alike() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let sound = &fixture().rows;
    let last = u64::try_from(sound.rows.len()).unwrap();
    let licences: &[&[u64]] = &[
        &[],
        &[0],
        &[1],
        &[2],
        &[2, 2, 3],
        &[2, 1],
        &[6],
        &[2, 6, 9],
        &[8],
        &[10, 3],
        &[last],
        &[last + 1],
        &[last + 2],
        &[u64::MAX],
        &[1 << 63, 2],
    ];
    for licence in licences {
        for spoiled in [None, Some(2), Some(4), Some(12)] {
            for erased in [None, Some(2), Some(3), Some(8)] {
                let mut rows = sound.clone();
                rows.licence(licence);
                if let Some(seq) = erased {
                    rows.row(seq).payload = None;
                    rows.redactions.push(seq);
                }
                if let Some(seq) = spoiled {
                    rows.row(seq).hash[0] ^= 1;
                }
                let what = format!("licence {licence:?}, erased {erased:?}, spoiled {spoiled:?}");
                judge_rows(&mut verifiers, &what, &rows);
                if spoiled == Some(4) {
                    rows.row(4).event_id[0] ^= 1;
                    judge_rows(&mut verifiers, &format!("{what}, identity"), &rows);
                }
            }
        }
    }
    for table in [&[][..], &[6], &[9], &[6, 9, 10], &[2, 6, 9], &[-4, 6, 9], &[6, 9, 1 << 60]] {
        let mut rows = sound.clone();
        rows.redactions = table.to_vec();
        let verdict = judge_rows(&mut verifiers, &format!("table {table:?}"), &rows).unwrap();
        assert_eq!(verdict.check(), Some("redaction"));
    }
    assert!(verifiers.seen.contains("good"));
    verifiers.agree();
}

#[test]
fn a_licence_behind_the_first_failure_may_not_name_an_event_of_a_reserved_kind() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    for is_itself in [true, false] {
        let mut rows = fixture().rows.clone();
        rows.row(2).payload = None;
        // Event 8 changes a key. As another row's entry it says nothing of what the licence names.
        if !is_itself {
            rows.row(8).event_id[0] ^= 1;
        }
        rows.row(4).hash[0] ^= 1;
        rows.licence(&[2, 8]);
        judge_rows(&mut verifiers, &format!("itself: {is_itself}"), &rows).unwrap();
    }
    verifiers.agree();
}

/// What somebody may do to the rows of a log.
#[derive(Clone, Debug)]
enum Tampering {
    Flip { at: prop::sample::Index, column: u8, bit: prop::sample::Index },
    Delete(prop::sample::Index),
    SwapPayloads(prop::sample::Index, prop::sample::Index),
    SwapRows(prop::sample::Index, prop::sample::Index),
    Erase(prop::sample::Index),
    CutOff(prop::sample::Index),
    Licence(Vec<u64>),
    Kind(prop::sample::Index, u16),
    Number(prop::sample::Index, i64),
    SetBackClock(prop::sample::Index),
    Lengthen(prop::sample::Index, prop::sample::Index),
    Append(u16, u8, Vec<u8>),
    DigestAgain(prop::sample::Index),
    LinkAgain(prop::sample::Index),
    Table(i64),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = any::<prop::sample::Index>;
    let seq = || 0..24_u64;
    prop_oneof![
        (at(), 0..4_u8, at()).prop_map(|(at, column, bit)| Tampering::Flip { at, column, bit }),
        at().prop_map(Tampering::Delete),
        (at(), at()).prop_map(|(one, other)| Tampering::SwapPayloads(one, other)),
        (at(), at()).prop_map(|(one, other)| Tampering::SwapRows(one, other)),
        at().prop_map(Tampering::Erase),
        at().prop_map(Tampering::Erase),
        at().prop_map(Tampering::CutOff),
        prop::collection::vec(seq(), 0..4).prop_map(Tampering::Licence),
        prop::collection::vec(seq(), 0..4).prop_map(Tampering::Licence),
        (at(), prop_oneof![Just(1_u16), Just(112), Just(241), Just(243), any::<u16>()])
            .prop_map(|(at, kind)| Tampering::Kind(at, kind)),
        (at(), -3..30_i64).prop_map(|(at, seq)| Tampering::Number(at, seq)),
        at().prop_map(Tampering::SetBackClock),
        (at(), at()).prop_map(|(at, place)| Tampering::Lengthen(at, place)),
        (prop_oneof![Just(112_u16), Just(241), Just(243), any::<u16>()], 1..3_u8, any::<Vec<u8>>())
            .prop_map(|(kind, version, payload)| Tampering::Append(kind, version, payload)),
        at().prop_map(Tampering::DigestAgain),
        at().prop_map(Tampering::LinkAgain),
        (-1..24_i64).prop_map(Tampering::Table),
    ]
}

impl Tampering {
    fn change(&self, rows: &mut Rows) {
        let count = rows.rows.len();
        if count == 0 {
            return;
        }
        match self {
            Tampering::Flip { at, column, bit } => {
                let row = at.get_mut(&mut rows.rows);
                let bytes = match column {
                    0 => Some(&mut row.event_id),
                    1 => Some(&mut row.entry),
                    2 => row.payload.as_mut(),
                    _ => Some(&mut row.hash),
                };
                if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
                    let bit = bit.index(bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
            Tampering::Delete(at) => drop(rows.rows.remove(at.index(count))),
            Tampering::SwapPayloads(one, other) => {
                let (one, other) = (one.index(count), other.index(count));
                let payload = rows.rows[one].payload.clone();
                rows.rows[one].payload = rows.rows[other].payload.clone();
                rows.rows[other].payload = payload;
            }
            Tampering::SwapRows(one, other) => {
                let (one, other) = (one.index(count), other.index(count));
                let seqs = (rows.rows[one].seq, rows.rows[other].seq);
                rows.rows.swap(one, other);
                (rows.rows[one].seq, rows.rows[other].seq) = seqs;
            }
            Tampering::Erase(at) => at.get_mut(&mut rows.rows).payload = None,
            Tampering::CutOff(at) => rows.rows.truncate(at.index(count)),
            Tampering::Licence(seqs) => drop(rows.licence(seqs)),
            Tampering::Kind(at, kind) => at.get_mut(&mut rows.rows).change(|entry| entry.kind = *kind),
            Tampering::Number(at, seq) => {
                at.get_mut(&mut rows.rows).seq = *seq;
                rows.rows.sort_by_key(|row| row.seq);
            }
            Tampering::SetBackClock(at) => {
                at.get_mut(&mut rows.rows).change(|entry| entry.recorded_at = Timestamp::from_micros(-1));
            }
            Tampering::Lengthen(at, place) => {
                let entry = &mut at.get_mut(&mut rows.rows).entry;
                lengthen(entry, place.index(entry.len()));
            }
            Tampering::Append(kind, version, payload) => drop(rows.append(*kind, *version, payload)),
            Tampering::DigestAgain(at) => at.get_mut(&mut rows.rows).digest_again(),
            Tampering::LinkAgain(at) => rows.link_again(at.index(count)),
            Tampering::Table(seq) => match rows.redactions.iter().position(|held| held == seq) {
                Some(at) => drop(rows.redactions.remove(at)),
                None => rows.redactions.push(*seq),
            },
        }
    }
}

#[test]
fn whatever_is_done_to_the_rows_they_say_the_same() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = (prop::collection::vec(tampering(), 1..6), any::<bool>());
    for _ in 0..if is_heavy() { 10_000 } else { 400 } {
        let (changes, is_chained) = strategy.new_tree(&mut runner).unwrap().current();
        let mut rows = fixture().rows.clone();
        changes.iter().for_each(|change| change.change(&mut rows));
        if is_chained {
            rows.link_again(0);
        }
        judge_rows(&mut verifiers, &format!("chained: {is_chained}, {changes:?}"), &rows);
    }
    let sorts =
        ["sequence", "entry", "identity", "first-event", "payload-digest", "payload", "redaction", "link"];
    for sort in sorts {
        assert!(verifiers.seen.contains(sort), "{sort}");
    }
    verifiers.agree();
}

#[test]
fn files_that_are_no_logs_and_logs_without_their_tables_are_the_same_to_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    for sql in [
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 5",
        "PRAGMA user_version = -1",
        "PRAGMA user_version = 1",
        "DROP TABLE log",
        "DROP TABLE redactions",
        "DROP TABLE checkpoints",
        "DROP TABLE tiles",
        "DELETE FROM log",
        "ALTER TABLE log RENAME TO kept; CREATE VIEW log AS SELECT * FROM kept",
        "ALTER TABLE redactions RENAME TO kept; CREATE VIEW redactions AS SELECT * FROM kept",
        "ALTER TABLE log RENAME COLUMN hash TO link",
        "DROP VIEW sessions; DROP VIEW steps; DROP VIEW findings; ALTER TABLE log DROP COLUMN payload",
        "CREATE VIEW extra AS SELECT * FROM log; CREATE TABLE more (x)",
    ] {
        judge_sql(&mut verifiers, sql);
    }
    let (folder, path) = copy();
    let size = fixture().file.len();
    let page = 4096;
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("text", b"no database, and longer than a header".repeat(20)),
        ("the header alone", fixture().file[..100].to_vec()),
        ("a page", fixture().file[..page].to_vec()),
        ("half", fixture().file[..size / 2 / page * page].to_vec()),
        ("zeroes", vec![0; 8192]),
    ] {
        std::fs::write(&path, bytes).unwrap();
        verifiers.judge(what, &path, &Given::default());
    }
    verifiers.judge("a folder", folder.path(), &Given::default());
    verifiers.judge("nothing", &folder.path().join("nowhere"), &Given::default());
    verifiers.agree();
}

#[test]
fn values_of_another_type_are_the_same_failure_to_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let loose = "ALTER TABLE log RENAME TO kept;
        CREATE TABLE log (seq INTEGER PRIMARY KEY, event_id, entry, payload, hash);
        INSERT INTO log SELECT * FROM kept;";
    for column in ["event_id", "entry", "payload", "hash"] {
        for value in ["NULL", "'text'", "7", "0.5", "''", "CAST(x'ff' AS TEXT)", "x''"] {
            for seq in [1, 5, 8, 10, 16] {
                let sql = format!("{loose} UPDATE log SET {column} = {value} WHERE seq = {seq}");
                judge_sql(&mut verifiers, &sql);
            }
        }
    }
    // Seqs that are no integers, or none that an event has, and of which the table takes any.
    for value in ["NULL", "'text'", "0.5", "x'01'", "-3", "0", "'7'"] {
        let sql = format!(
            "ALTER TABLE redactions RENAME TO others; CREATE TABLE redactions (seq);
             INSERT INTO redactions SELECT seq FROM others; INSERT INTO redactions VALUES ({value})"
        );
        assert_eq!(judge_sql(&mut verifiers, &sql).check(), Some("redaction"), "{value}");
        for seq in [1, 8] {
            let sql = format!(
                "ALTER TABLE log RENAME TO kept; CREATE TABLE log (seq, event_id, entry, payload, hash);
                 INSERT INTO log SELECT * FROM kept; UPDATE log SET seq = {value} WHERE seq = {seq}"
            );
            assert_eq!(judge_sql(&mut verifiers, &sql).check(), Some("sequence"), "{value}");
        }
    }
    verifiers.agree();
}

#[test]
fn what_is_still_in_the_wal_belongs_to_the_log_for_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let (_folder, path) = copy();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    log.append(note("in the wal")).unwrap().wait().unwrap();
    let Verdict::Judged { facts: Some(facts), .. } = verifiers.judge("open", &path, &Given::default()) else {
        panic!("a log that is open is sound");
    };
    assert_eq!(facts.events, fixture().rows.rows.len() as u64 + 1);
    let tampering = sqlite(&path);
    tampering.execute_batch("DROP TRIGGER log_rows_never_change").unwrap();
    tampering.execute_batch("UPDATE log SET hash = zeroblob(32) WHERE seq = 3").unwrap();
    assert_eq!(verifiers.judge("tampered with", &path, &Given::default()).check(), Some("link"));
    drop(tampering);
    log.close().unwrap();
    verifiers.agree();
}

/// A checkpoint of the fixture's, with a cosignature by ML-DSA-44, and the key of that.
fn cosigned_by_ml_dsa(of: &str, time: u64) -> (String, String) {
    use ml_dsa::{KeyExport as _, Keypair as _, MlDsa44, SigningKey};

    let name = "witness.example/pq";
    let mut checkpoint: SignedCheckpoint = of.parse().unwrap();
    let key = SigningKey::<MlDsa44>::from_seed(&[9; 32].into());
    let public = VerifierKey::new(name, Algorithm::MlDsa44, &key.verifying_key().to_bytes()).unwrap();
    let short = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let message = [
        b"subtree/v1\n\0".to_vec(),
        short(name),
        time.to_be_bytes().to_vec(),
        short(checkpoint.origin()),
        0_u64.to_be_bytes().to_vec(),
        checkpoint.size().to_be_bytes().to_vec(),
        checkpoint.root().bytes().to_vec(),
    ]
    .concat();
    let signature = key.expanded_key().sign_deterministic(&message, &[]).unwrap().encode();
    let bytes = [public.id().bytes().as_slice(), &time.to_be_bytes(), &signature].concat();
    let line = format!("\u{2014} {name} {}\n", STANDARD.encode(bytes));
    checkpoint.add_signatures(Signature::parse_lines(&line).unwrap());
    (checkpoint.to_string(), public.to_string())
}

#[test]
fn cosignatures_by_ml_dsa_44_are_judged_alike() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let (_folder, path) = copy();
    let kept = fixture().kept.checkpoints.as_deref().unwrap();
    let first = kept.split_inclusive("\n\n").take(2).collect::<String>();
    let first = first.trim_end_matches('\n').to_owned() + "\n";
    let (good, key) = cosigned_by_ml_dsa(&first, 1_800_000_000);
    let keys = || [fixture().kept.keys.clone(), vec![(KeyRole::Stable, key.clone())]].concat();
    let mut judge = |what: &str, checkpoint: &str, keys: Vec<(KeyRole, String)>| {
        let given = Given { keys, checkpoints: Some(checkpoint.to_owned()) };
        verifiers.judge(what, &path, &given)
    };
    let Verdict::Judged { failure: None, anchored_to: Some(_), .. } = judge("good", &good, keys()) else {
        panic!("a good cosignature is nothing against a checkpoint")
    };
    // A cosigner stands for no log.
    let alone = vec![(KeyRole::Stable, key.clone())];
    let alone = judge("alone", &good, alone);
    assert!(matches!(alone, Verdict::Judged { failure: None, anchored_to: None, not_checked: 1.., .. }));
    let dash = good.rfind('\u{2014}').unwrap();
    for (what, at) in [("the time", 40), ("the signature", 1_000), ("its last byte", good.len() - dash - 8)] {
        let mut bad = good.clone().into_bytes();
        bad[dash + at] = if bad[dash + at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).unwrap();
        assert_eq!(judge(what, &bad, keys()).check(), Some("checkpoint-signature"), "{what}");
        assert_eq!(judge(what, &bad, fixture().kept.keys.clone()).check(), None, "{what}");
    }
    for (time, check) in [(0, None), ((1 << 63) - 1, None), (1 << 63, Some("checkpoint-signature"))] {
        let (checkpoint, _) = cosigned_by_ml_dsa(&first, time);
        assert_eq!(judge(&format!("time {time}"), &checkpoint, keys()).check(), check);
    }
    verifiers.agree();
}

#[test]
fn texts_at_the_edges_of_what_is_a_note_are_the_same_to_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let (_folder, path) = copy();
    let signer = SigningKey::from_seed(ORIGIN, &[5; 32]).unwrap();
    let key = signer.verifier().to_string();
    let signed = |text: &str| {
        let mut note = SignedNote::unsigned(text).unwrap();
        note.sign(&signer);
        note.to_string()
    };
    let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let text = format!("{ORIGIN}\n0\n{root}\n");
    let good = signed(&text);
    let line = good.lines().last().unwrap().to_owned() + "\n";
    let other = |name: &str| format!("\u{2014} {name} {}\n", STANDARD.encode([7; 68]));
    let origin = |length: usize| signed(&format!("{}\n0\n{root}\n", "o".repeat(length)));
    let notes = [
        good.clone(),
        good.replace("\n0\n", "\n00\n"),
        good.replace("\n0\n", "\n+0\n"),
        signed(&format!("{ORIGIN}\n18446744073709551615\n{root}\n")),
        signed(&format!("{ORIGIN}\n18446744073709551616\n{root}\n")),
        signed(&format!("{text}more\n")),
        signed(&format!("{text}\nmore\n")),
        signed(&text.replace('=', "")),
        signed(&text.replace("FU=", "FV=")),
        signed(&text.replace('\n', "\r\n").replace('\r', "\u{7f}")),
        origin(255),
        origin(256),
        good.clone() + &other("a\u{a0}b"),
        good.clone() + &other("a\u{85}b"),
        good.clone() + &other("a\u{200b}b"),
        good.clone() + &other("a+b"),
        good.clone() + &other(&"n".repeat(300)),
        good.clone() + &other("\u{feff}"),
        good.clone() + "\u{2014} a AAAAAA==\n",
        good.clone() + "\u{2014} a AAAAAAA=\n",
        good.clone() + "\u{2014} a AAAAAAB=\n",
        good.clone() + &other("a").repeat(65),
        good.clone() + &other("a").repeat(66),
        good.clone() + &line,
        good.clone() + &line.replace('=', ""),
        good.clone()
            + &format!(
                "\u{2014} {ORIGIN} {}\n",
                STANDARD.encode([signer.verifier().id().bytes().as_slice(), &[7; 64]].concat())
            ),
        good.trim_end().to_owned(),
        good.replace("\n\n", "\n"),
        format!("{good}\n{good}"),
        format!("{text}{}", "\n".repeat(3)),
        "x".repeat((1 << 20) - 300) + "\n" + &good,
        "x".repeat(1 << 20) + "\n" + &good,
        String::new(),
    ];
    for (number, checkpoints) in notes.into_iter().enumerate() {
        let keys = vec![(KeyRole::Stable, key.clone())];
        let given = Given { keys, checkpoints: Some(checkpoints) };
        verifiers.judge(&format!("note {number}"), &path, &given);
    }
    for seen in ["could not check", "good", "checkpoint-signature", "checkpoint-size"] {
        assert!(verifiers.seen.contains(seen), "{seen}");
    }
    verifiers.agree();
}

#[test]
fn damage_to_the_file_is_damage_to_both() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[6; 32]);
    let (_folder, path) = new_path();
    // Of the same bytes the same is said in every run.
    let sound = std::fs::read(golden()).unwrap();
    for round in 0..if is_heavy() { 5_000 } else { 300 } {
        let mut file = sound.clone();
        for _ in 0..[1, 4, 40][round % 3] {
            let at = rng.random_range(0..file.len());
            file[at] = rng.random();
        }
        std::fs::write(&path, &file).unwrap();
        verifiers.judge(&format!("round {round}"), &path, &Given::default());
    }
    verifiers.agree();
}

#[test]
fn whichever_keys_follow_each_other_they_trust_the_same() {
    let Some(mut verifiers) = Verifiers::start() else { return };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (any, rotations) = (trust::story().boxed(), trust::rotations().boxed());
    let mut beginning = fixture().rows.clone();
    beginning.rows.truncate(4);
    beginning.redactions.clear();
    let (mut anchored, mut signed, mut certified, mut led_back, mut fit_before) = (0, 0, 0, 0, 0);
    for round in 0..if is_heavy() { 20_000 } else { 600 } {
        let strategy = if round % 3 == 2 { &rotations } else { &any };
        let story = strategy.new_tree(&mut runner).unwrap().current();
        let mut rows = beginning.clone();
        let (given, stored) = story.tell(ORIGIN, &mut rows);
        let (_folder, path) = copy();
        assert!(rows.write(&path));
        let connection = sqlite(&path);
        connection.execute_batch("PRAGMA synchronous = off; DELETE FROM checkpoints").unwrap();
        for (size, note) in (0_i64..).zip(&stored) {
            let sql = "INSERT INTO checkpoints (size, note, made_at) VALUES (?1, ?2, 0)";
            connection.execute(sql, rusqlite::params![size, note]).unwrap();
        }
        drop(connection);
        if let Verdict::Judged { anchored_to, signed_to, key_changes, before, .. } =
            verifiers.judge(&format!("{story:?}"), &path, &given)
        {
            anchored += u32::from(anchored_to.is_some());
            signed += u32::from(signed_to.is_some());
            certified += u32::from(key_changes.iter().any(|(_, is_certified, _)| *is_certified));
            led_back += u32::from(key_changes.iter().any(|(_, _, leads_back)| *leads_back));
            fit_before += u32::from(before > 0);
        }
    }
    verifiers.agree();
    assert!(anchored > 30 && signed > 30 && certified > 30, "{anchored} {signed} {certified}");
    assert!(led_back > 10 && fit_before > 5, "{led_back} {fit_before}");
    for check in ["signature", "origin", "size", "root"] {
        assert!(verifiers.seen.contains(&format!("checkpoint-{check}")), "{check}");
    }
    assert!(verifiers.seen.contains("key-change"));
}
