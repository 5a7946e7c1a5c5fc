//! What is erased is erased from the full-text index too, which keeps words and no texts: wherever the index is when
//! the event is erased, and whatever happens meanwhile.

use std::path::Path;
use std::time::Duration;

use annals::{AuditLog, Projections, RedactionRequest, Seq};
use rusqlite::Connection;

use crate::support::{self, beside, is_heavy, new_path, note, sqlite, start_child, tell, told, verify_whole};

const PATIENCE: Duration = Duration::from_secs(60);

/// A word that stands in one event alone, and begins as no other does: of a word an index keeps what the one before
/// it has not.
fn secret(number: u64) -> String {
    let hash = blake3::hash(&number.to_le_bytes()).to_hex();
    // Letters of which no other word has so many.
    format!("z{}", hash.as_str()).replace(|c: char| c.is_ascii_digit(), "q")
}

fn append(log: &AuditLog, text: String) -> Seq {
    log.append(note(text)).unwrap().wait().unwrap().seq
}

fn append_secret(log: &AuditLog, number: u64) -> Seq {
    append(log, format!("Some words, {} and others", secret(number)))
}

fn erase(log: &AuditLog, seqs: &[Seq]) -> Seq {
    log.redact(RedactionRequest {
        seqs: seqs.to_vec(),
        actor: "somebody".into(),
        reason: "a request".into(),
        ..Default::default()
    })
    .unwrap()
    .seq
}

/// The places in which the file, or what stands beside it, has the end of a word.
fn bytes_have(path: &Path, word: &str) -> usize {
    let end = &word.as_bytes()[word.len() - 24..];
    ["", "-wal", "-shm"]
        .iter()
        .filter_map(|ending| std::fs::read(beside(path, ending)).ok())
        .map(|bytes| memchr::memmem::find_iter(&bytes, end).count())
        .sum()
}

fn finds(connection: &Connection, word: &str) -> bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM search WHERE search MATCH ?1)";
    connection.query_row(sql, [word], |row| row.get(0)).unwrap()
}

/// Holds a closed log to be without these secrets, and to have these others.
fn holds(path: &Path, erased: &[u64], kept: &[u64]) {
    let connection = sqlite(path);
    for number in erased {
        assert!(!finds(&connection, &secret(*number)), "{number} is found");
    }
    for number in kept {
        assert!(finds(&connection, &secret(*number)), "{number} is not found any more");
    }
    drop(connection);
    for number in kept {
        assert!(bytes_have(path, &secret(*number)) >= 2, "{number} is in the log and in the index");
    }
    for number in erased {
        assert_eq!(bytes_have(path, &secret(*number)), 0, "{number} is in the file");
    }
    verify_whole(path);
}

#[test]
fn what_is_erased_before_the_index_comes_to_it_is_never_found() {
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    append_secret(&log, 0);
    let erased = append_secret(&log, 1);
    erase(&log, &[erased]);
    log.close().unwrap();
    AuditLog::open(&path).unwrap().close().unwrap();
    holds(&path, &[1], &[0]);
}

#[test]
fn what_the_index_knows_is_forgotten_when_it_comes_to_the_erasure() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let secrets: Vec<Seq> = (0..40).map(|number| append_secret(&log, number)).collect();
    log.close().unwrap();
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    erase(&log, &secrets[3..5]);
    erase(&log, &secrets[20..21]);
    log.close().unwrap();
    let left = |connection: &Connection| [3, 4, 20].map(|number| finds(connection, &secret(number)));
    assert_eq!(left(&sqlite(&path)), [true; 3], "the index has not come to it");
    AuditLog::open(&path).unwrap().close().unwrap();
    holds(&path, &[3, 4, 20], &[0, 2, 5, 19, 21, 39]);
}

#[test]
fn an_erasure_while_the_index_is_rebuilt_reaches_both_indexes() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let secrets: Vec<Seq> = (0..50).map(|number| append_secret(&log, number)).collect();
    for number in 0..4_000 {
        drop(log.append(note(format!("many words of event {number}, so that it takes a while"))).unwrap());
    }
    log.wait_caught_up_within(log.flush().unwrap(), PATIENCE).unwrap();
    for part in secrets.chunks(10) {
        log.rebuild("search").unwrap();
        erase(&log, &part[..5]);
    }
    log.close().unwrap();
    let erased: Vec<u64> = (0..50).filter(|number| number % 10 < 5).collect();
    let kept: Vec<u64> = (0..50).filter(|number| number % 10 >= 5).collect();
    holds(&path, &erased, &kept);
}

#[test]
fn what_one_handle_erases_is_forgotten_by_the_index_that_another_fills() {
    let (_folder, path) = new_path();
    let (one, other) = (AuditLog::open(&path).unwrap(), AuditLog::open(&path).unwrap());
    let mut secrets = Vec::new();
    for number in 0..60 {
        let log = if number % 2 == 0 { &one } else { &other };
        secrets.push(append_secret(log, number));
        if number % 3 == 2 {
            let seq = secrets[usize::try_from(number).unwrap() - 1];
            erase(if number % 2 == 0 { &other } else { &one }, &[seq]);
        }
    }
    one.close().unwrap();
    other.close().unwrap();
    let (erased, kept): (Vec<u64>, Vec<u64>) = (0..60).partition(|number| number % 3 == 1);
    holds(&path, &erased, &kept);
}

#[test]
fn words_of_the_longest_kind_and_of_any_script_are_forgotten() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let texts = [
        format!("{}{}", secret(1), "漢字".repeat(20_000)),
        format!("{}{}", "Ⱥ".repeat(30_000), secret(2)),
        format!("{} ÀÉÎ ﬁ ẞ İ \u{301}e\u{301} 𝕏 {}", secret(3), "e\u{301}".repeat(20_000)),
        format!("\0{}\0\0", secret(4)),
    ];
    let seqs: Vec<Seq> = texts.into_iter().map(|text| append(&log, text)).collect();
    let kept = append_secret(&log, 0);
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    erase(&log, &seqs);
    log.close().unwrap();
    // The first event has the log's random name, any part of which may begin with an e.
    let found: Vec<i64> = sqlite(&path)
        .prepare("SELECT rowid FROM search WHERE search MATCH '漢* OR ⱥ* OR z* OR e*' AND rowid > 1")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(found, [i64::try_from(kept.get()).unwrap()]);
    holds(&path, &[1, 2, 3, 4], &[0]);
    assert_eq!(bytes_have(&path, &"漢字".repeat(4)), 0);
}

/// Not a test by itself: the process that is killed.
#[test]
fn child() {
    let Some((_, path)) = support::role() else { return };
    let log = AuditLog::open(path).unwrap();
    let first = log.committed().get();
    for number in first.. {
        let kept = append_secret(&log, number * 2);
        let seq = append_secret(&log, number * 2 + 1);
        if number % 3 == 0 {
            log.wait_caught_up_within(kept, PATIENCE).unwrap();
        }
        erase(&log, &[seq]);
        tell(number);
    }
}

#[test]
fn a_process_that_is_killed_while_it_erases_leaves_nothing_behind() {
    let (_folder, path) = new_path();
    let mut numbers = Vec::new();
    for round in 0..if is_heavy() { 60 } else { 6 } {
        let mut child = start_child(module_path!(), "erase", &path);
        let limit = Duration::from_millis(50 + 37 * (round % 9));
        let mut told = told(child.stdout.take().unwrap());
        numbers.extend(told.next().map(|line| line.parse::<u64>().unwrap()));
        std::thread::sleep(limit);
        child.kill().unwrap();
        child.wait().unwrap();
        numbers.extend(told.map(|line| line.parse::<u64>().unwrap()));
        AuditLog::open(&path).unwrap().close().unwrap();
        let erased: Vec<u64> = numbers.iter().map(|number| number * 2 + 1).collect();
        let kept: Vec<u64> = numbers.iter().map(|number| number * 2).collect();
        holds(&path, &erased, &kept);
    }
    assert!(numbers.len() > 6, "{numbers:?}");
}

#[test]
fn what_somebody_took_out_of_the_documents_is_forgotten_all_the_same() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let secrets: Vec<Seq> = (0..3).map(|number| append_secret(&log, number)).collect();
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    sqlite(&path)
        .execute("DELETE FROM search_documents WHERE seq = ?1", [secrets[1].get().cast_signed()])
        .unwrap();
    erase(&log, &secrets[1..2]);
    log.close().unwrap();
    holds(&path, &[1], &[0, 2]);
}
