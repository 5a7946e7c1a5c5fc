//! What a verification says does not depend on how many threads read the log, nor on what is appended
//! meanwhile.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::forge::tamper;
use crate::support::{new_path, note, sqlite};
use annals::evidence::Evidence;
use annals::verify::{self, Check, Options, Report, Scope};
use annals::{AuditLog, Builder, Projections, RedactionRequest, Seq};
use tempfile::TempDir;

/// Runs have 4,096 rows: three, and a fourth that is not whole.
const EVENTS: u64 = 12_500;
const PAGE: usize = 8_192;

fn log_alone(path: &Path) -> Builder {
    AuditLog::builder(path).projections(Projections::Off).evidence(Evidence::Off)
}

fn append(log: &AuditLog, events: u64) {
    let drafts: Vec<_> = (0..events).map(|event| note(format!("event {event}"))).collect();
    for batch in drafts.chunks(1_000) {
        assert!(log.append_batch(batch.to_vec()).unwrap().wait().iter().all(Result::is_ok));
    }
}

/// A log with a redaction of events in the first runs, closed.
fn fixture() -> &'static [u8] {
    static FIXTURE: OnceLock<Vec<u8>> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let (_folder, path) = new_path();
        let log = log_alone(&path).open().unwrap();
        append(&log, 9_999);
        log.redact(RedactionRequest {
            seqs: [3, 4_096, 4_097].map(Seq::new).to_vec(),
            actor: "ann".into(),
            reason: "asked for".into(),
            ..Default::default()
        })
        .unwrap();
        append(&log, EVENTS - 10_001);
        log.close().unwrap();
        std::fs::read(&path).unwrap()
    })
}

fn copy() -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    std::fs::write(&path, fixture()).unwrap();
    (folder, path)
}

fn verified(path: &Path, threads: usize) -> Report {
    let options = Options::new().scope(Scope::LogOnly).threads(NonZeroUsize::new(threads).unwrap());
    verify::verify(path, options, &mut |_, _| {}).unwrap()
}

/// What every number of threads says of a log.
fn said(path: &Path, what: &str) -> Report {
    let report = verified(path, 1);
    for threads in [2, 5] {
        let other = verified(path, threads);
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::to_value(&other).unwrap(),
            "{what}: {threads} threads"
        );
    }
    report
}

/// Pages of a table or an index that are leaves of its tree, or are not.
fn pages(path: &Path, name: &str, kind: &str) -> Vec<usize> {
    sqlite(path)
        .prepare("SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = ?2 ORDER BY path")
        .unwrap()
        .query_map([name, kind], |row| row.get::<_, u32>(0))
        .unwrap()
        .map(|page| page.unwrap() as usize)
        .collect()
}

/// What is said of the log after its pages were written to.
fn after_bytes(what: &str, change: impl FnOnce(&Path, &mut Vec<u8>)) -> Report {
    let (_folder, path) = copy();
    let mut bytes = std::fs::read(&path).unwrap();
    change(&path, &mut bytes);
    std::fs::write(&path, bytes).unwrap();
    said(&path, what)
}

#[test]
fn a_sound_log_is_sound_to_every_number_of_threads() {
    let (_folder, path) = copy();
    let report = said(&path, "as it is");
    assert!(report.self_consistent, "{:?}", report.failures);
    assert_eq!(report.log.events, EVENTS);
    assert_eq!(report.redactions[0].seqs, [3, 4_096, 4_097]);
}

#[test]
fn what_was_changed_is_named_alike_by_every_number_of_threads() {
    let mut seqs = vec![1, 10_000, 12_500];
    for border in [4_096, 8_192] {
        seqs.extend([border, border + 1]);
    }
    for seq in seqs {
        for change in [
            "UPDATE log SET hash = zeroblob(32) WHERE seq = ",
            "UPDATE log SET hash = zeroblob(3) WHERE seq = ",
            "UPDATE log SET entry = substr(entry, 2) WHERE seq = ",
            "UPDATE log SET event_id = zeroblob(16) WHERE seq = ",
            "UPDATE log SET payload = zeroblob(40) WHERE seq = ",
            "UPDATE log SET payload = NULL WHERE seq = ",
            "DELETE FROM log WHERE seq = ",
            "UPDATE log SET seq = 9223372036854775807 WHERE seq = ",
            "UPDATE log SET seq = -1 WHERE seq = ",
        ] {
            let sql = format!("{change}{seq}");
            let (_folder, path) = copy();
            tamper(&path, |connection| connection.execute_batch(&sql).unwrap());
            let report = said(&path, &sql);
            // What was erased can be erased again, and a log that was cut off is one that ends earlier.
            let is_seen = !((sql.contains("NULL") && [4_096, 4_097].contains(&seq))
                || (sql.contains("DELETE") && seq == 12_500));
            assert_eq!(!report.self_consistent, is_seen, "{sql}: {:?}", report.failures);
        }
    }
}

#[test]
fn a_page_that_cannot_be_read_is_named_alike_by_every_number_of_threads() {
    for place in [0, 1, 100, 240] {
        let report = after_bytes("a leaf of the table", |path, bytes| {
            let leaves = pages(path, "log", "leaf");
            let start = PAGE * (leaves[place] - 1);
            bytes[start..start + 12].fill(0xff);
        });
        assert_eq!(report.failures[0].check, Check::Damage, "{:?}", report.failures);
    }
}

#[test]
fn a_bad_page_of_a_read_table_is_named_alike_by_every_number_of_threads() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, 8_300);
    log.close().unwrap();
    let leaf = pages(&path, "search_documents", "leaf")[3];
    let mut bytes = std::fs::read(&path).unwrap();
    // The place of the page's third cell is within the list of places.
    let start = PAGE * (leaf - 1);
    bytes[start + 12..start + 14].copy_from_slice(&[0, 9]);
    std::fs::write(&path, bytes).unwrap();
    let verified = |threads| {
        let options = Options::new().threads(NonZeroUsize::new(threads).unwrap());
        serde_json::to_value(verify::verify(&path, options, &mut |_, _| {}).unwrap()).unwrap()
    };
    let report = verified(1);
    assert_eq!(report["self_consistent"], false);
    assert_eq!(report, verified(3));
}

#[test]
fn an_index_that_names_another_event_is_found_by_every_number_of_threads() {
    for place in [0, 7, 40] {
        let report = after_bytes("a leaf of the index", |path, bytes| {
            let leaves = pages(path, "sqlite_autoindex_log_1", "leaf");
            // The last byte of the page is that of the first key's seq.
            bytes[PAGE * leaves[place] - 1] ^= 1;
        });
        let failure = &report.failures[0];
        assert_eq!((failure.check, failure.seq), (Check::Damage, None), "{failure:?}");
    }
}

#[test]
fn an_index_of_the_users_own_is_checked_too() {
    let (_folder, path) = copy();
    sqlite(&path).execute_batch("CREATE INDEX mine ON log (hash)").unwrap();
    let report = said(&path, "an index of the user's own");
    assert!(report.self_consistent, "{:?}", report.failures);
    assert_eq!(report.foreign_objects, ["index mine"]);
    let leaf = pages(&path, "mine", "leaf")[1];
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[PAGE * leaf - 1] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = said(&path, "a damaged index of the user's own");
    assert_eq!(report.failures[0].check, Check::Damage, "{:?}", report.failures);
}

#[test]
fn a_way_to_the_rows_that_leads_astray_is_found_by_every_number_of_threads() {
    let report = after_bytes("the root of the table", |path, bytes| {
        let [root, ..] = pages(path, "log", "internal")[..] else { panic!("a tree has a root") };
        // The third cell of the root: four bytes of a page, then the key, of two bytes here.
        let start = PAGE * (root - 1);
        let cell = start + usize::from(u16::from_be_bytes([bytes[start + 16], bytes[start + 17]]));
        bytes[cell + 5] ^= 1;
    });
    let failure = report.failures.last().unwrap();
    assert_eq!((failure.check, failure.seq), (Check::Damage, None), "{:?}", report.failures);
}

#[test]
fn a_log_that_grows_and_loses_payloads_meanwhile_is_sound() {
    let (_folder, path) = copy();
    let log = log_alone(&path).open().unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..2_000 {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                append(&log, 3);
                log.redact(RedactionRequest {
                    seqs: vec![Seq::new(5 + round * 6)],
                    actor: "ann".into(),
                    reason: "asked for".into(),
                    ..Default::default()
                })
                .unwrap();
            }
        });
        for _ in 0..20 {
            let report = verified(&path, 4);
            assert!(report.self_consistent, "{:?}", report.failures);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    log.close().unwrap();
}

#[test]
fn the_tree_is_the_same_for_every_number_of_threads() {
    let (_folder, path) = copy();
    let report = |threads| {
        let seen = path.with_file_name(format!("seen by {threads}"));
        let options = Options::new().threads(NonZeroUsize::new(threads).unwrap());
        let options = options.scope(Scope::LogOnly).memory(verify::Memory::at(&seen));
        assert!(verify::verify(&path, options, &mut |_, _| {}).unwrap().remembered.unwrap().is_kept);
        let mut records = std::fs::read_dir(seen.join("logs")).unwrap();
        let text = std::fs::read(records.next().unwrap().unwrap().path()).unwrap();
        let record: verify::Record = serde_json::from_slice(&text).unwrap();
        (record.size, record.root)
    };
    assert_eq!(report(1), report(2));
    assert_eq!(report(1), report(5));
}

#[test]
fn progress_is_told_of_every_event_once() {
    let (_folder, path) = copy();
    for sql in ["", "UPDATE log SET payload = zeroblob(40) WHERE seq = 9000"] {
        tamper(&path, |connection| connection.execute_batch(sql).unwrap());
        for threads in [1, 2, 4] {
            let options = Options::new().scope(Scope::LogOnly).threads(NonZeroUsize::new(threads).unwrap());
            let mut told = 0;
            verify::verify(&path, options, &mut |_, events| told += events).unwrap();
            assert_eq!(told, EVENTS);
        }
    }
}
