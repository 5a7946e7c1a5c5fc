//! Verification from a checkpoint on: it costs what the events after it cost, and trusts nothing in
//! the file that the checkpoint does not vouch for.

use crate::support;
use crate::support::forge;
use std::path::Path;

use crate::support::forge::{
    certificate, checkpoint, key, log_of, make, rewrite, rotate, sign, store_tiles, tamper,
};
use annals::note::{CheckpointFile, SignedCheckpoint};
use annals::verify::{self, Check, Options, Report, Scope};
use annals::{AuditLog, KeyRole, RedactionRequest, Seq};

fn since(path: &Path, kept: SignedCheckpoint) -> Report {
    let options = Options::new().key(key(1).verifier().clone()).since("kept", kept);
    verify::verify(path, options, &mut |_, _| {}).unwrap()
}

fn checks(report: &Report) -> Vec<(Check, Option<u64>)> {
    let failures = report.failures.iter().chain(&report.anchored.failures);
    failures
        .map(|failure| (failure.check, failure.seq.map(|seq| u64::try_from(seq.get()).unwrap())))
        .collect()
}

fn changed(path: &Path, sql: &str) {
    tamper(path, |connection| connection.execute_batch(sql).unwrap());
}

#[test]
fn it_reads_the_events_after_the_checkpoint_and_a_handful_more() {
    let (_folder, path) = log_of(3_000);
    store_tiles(&path);
    for size in [1, 255, 256, 257, 1_024, 2_000, 2_990, 3_000] {
        let report = since(&path, checkpoint(&path, size, &[&key(1)]));
        assert_eq!(checks(&report), [], "{size}");
        assert_eq!(report.log.events, 3_000);
        assert_eq!(report.anchored.anchored_to, Some(size));
        let read = report.since.as_ref().unwrap().rows_read;
        // The leaves of the tile that is not full.
        assert!(read <= 3_000 - size + 256 + 5, "{read} rows were read after a checkpoint of {size}");
        assert!(report.log.first_recorded_at.is_some() && report.log.last_recorded_at.is_some());
        assert!(!report.completeness.complete, "what was not looked at cannot be called complete");
        let whole = support::verify(&path);
        assert_eq!((report.log.head, report.log.log_id), (whole.log.head, whole.log.log_id));
        assert!(!report.since.unwrap().not_looked_at.is_empty());
    }
}

#[test]
fn it_finds_its_way_without_tiles_too() {
    let (_folder, path) = log_of(700);
    let kept = checkpoint(&path, 600, &[&key(1)]);
    changed(&path, "DELETE FROM tiles");
    assert_eq!(checks(&since(&path, kept)), []);
}

#[test]
fn what_was_changed_after_the_checkpoint_is_found() {
    let (_folder, path) = log_of(700);
    let kept = checkpoint(&path, 600, &[&key(1)]);
    changed(&path, "UPDATE log SET payload = zeroblob(20) WHERE seq = 650");
    assert_eq!(checks(&since(&path, kept)), [(Check::PayloadDigest, Some(650))]);
}

/// An index with all columns of the log, so small by what the file says that SQLite prefers it.
const COVERING: &str = "CREATE INDEX covering ON log (seq, event_id, entry, payload, hash);
    ANALYZE;
    DELETE FROM sqlite_stat1;
    INSERT INTO sqlite_stat1 VALUES ('log', 'covering', '700 1 1 1 1 1 sz=1'), ('log', NULL, '700 sz=100000')";

#[test]
fn rows_are_those_of_the_table_and_not_of_an_index_that_was_made_beside_it() {
    let (_folder, path) = log_of(700);
    let kept = checkpoint(&path, 600, &[&key(1)]);
    changed(&path, COVERING);
    assert_eq!(checks(&since(&path, kept.clone())), []);
    // As long as the schema does not name the index, what is written to the table is not written there.
    let hidden: (String, i64, String) = support::sqlite(&path)
        .query_row("SELECT name, rootpage, sql FROM sqlite_schema WHERE name = 'covering'", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    changed(&path, "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'covering'");
    changed(&path, "UPDATE log SET payload = zeroblob(20) WHERE seq = 650");
    tamper(&path, |connection| {
        connection.execute_batch("PRAGMA writable_schema = ON").unwrap();
        connection
            .execute("INSERT INTO sqlite_schema VALUES ('index', ?1, 'log', ?2, ?3)", hidden.clone())
            .unwrap();
    });
    assert_eq!(checks(&since(&path, kept)), [(Check::PayloadDigest, Some(650))]);
    assert_eq!(checks(&support::verify(&path)).first(), Some(&(Check::PayloadDigest, Some(650))));
}

#[test]
fn a_log_that_was_cut_off_or_written_anew_has_no_place_to_begin() {
    let (_folder, path) = log_of(700);
    let kept = checkpoint(&path, 600, &[&key(1)]);
    store_tiles(&path);
    rewrite(&path, 300);
    // The tiles are still those of the log that was signed for.
    let report = since(&path, kept.clone());
    assert_eq!(checks(&report), [(Check::CheckpointRoot, None)]);
    assert!(!report.is_good() && report.anchored.anchored_to.is_none());
    store_tiles(&path);
    assert_eq!(checks(&since(&path, kept.clone())), [(Check::CheckpointRoot, None)]);
    changed(&path, "DELETE FROM log WHERE seq > 599");
    assert_eq!(checks(&since(&path, kept)), [(Check::CheckpointSize, None)]);
}

#[test]
fn tiles_that_do_not_lead_to_the_root_are_not_believed() {
    let (_folder, path) = log_of(700);
    let kept = checkpoint(&path, 600, &[&key(1)]);
    store_tiles(&path);
    changed(&path, "UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE level = 1");
    assert_eq!(checks(&since(&path, kept)), [(Check::CheckpointRoot, None)]);
}

#[test]
fn tiles_are_read_from_an_ordinary_table_alone() {
    let (_folder, path) = log_of(700);
    let kept = checkpoint(&path, 600, &[&key(1)]);
    store_tiles(&path);
    // A virtual table that has the right hashes, and could have others the next time.
    changed(
        &path,
        "ALTER TABLE tiles RENAME TO kept;
         CREATE VIEW told AS SELECT rowid AS place, level, tile, hashes FROM
             (SELECT row_number() OVER (ORDER BY level, tile) AS rowid, level, tile, hashes FROM kept);
         CREATE VIRTUAL TABLE tiles USING fts5(
             level, tile, hashes, content = 'told', content_rowid = 'place'
         )",
    );
    let read = |report: Report| report.since.unwrap().rows_read;
    let with_a_virtual_table = read(since(&path, kept.clone()));
    changed(&path, "DROP TABLE tiles");
    assert_eq!(with_a_virtual_table, read(since(&path, kept)));
}

#[test]
fn the_last_event_that_is_covered_and_the_first_are_those_that_were_signed_for() {
    let (_folder, path) = log_of(700);
    let kept = checkpoint(&path, 512, &[&key(1)]);
    store_tiles(&path);
    for wrong in [
        "UPDATE log SET hash = zeroblob(32) WHERE seq = 512",
        "UPDATE log SET hash = zeroblob(32) WHERE seq = 511",
        "UPDATE log SET entry = (SELECT entry FROM log WHERE seq = 2) WHERE seq = 1",
        "UPDATE log SET payload = (SELECT payload FROM log WHERE seq = 2) WHERE seq = 1",
    ] {
        let saved = std::fs::read(&path).unwrap();
        changed(&path, wrong);
        let report = since(&path, kept.clone());
        assert!(!report.is_good(), "{wrong}");
        std::fs::write(&path, saved).unwrap();
    }
    assert!(since(&path, kept).is_good());
}

#[test]
fn the_checkpoint_must_be_signed_by_a_trusted_key() {
    let (_folder, path) = log_of(10);
    // One by a key that nobody gave says nothing, for or against.
    let options = Options::new().scope(Scope::LogOnly).key(key(1).verifier().clone());
    let options = options.since("kept", checkpoint(&path, 5, &[&key(2)]));
    let refused = verify::verify(&path, options, &mut |_, _| {}).unwrap_err().to_string();
    assert!(
        refused.contains("cannot begin") && refused.contains(&key(2).verifier().id().to_string()),
        "{refused}"
    );
    let mut forged = checkpoint(&path, 5, &[]);
    forged.add_signatures(checkpoint(&path, 4, &[&key(1)]).signatures().to_vec());
    assert_eq!(checks(&since(&path, forged)), [(Check::CheckpointSignature, None)]);
    let nothing = sign(0, annals::merkle::EMPTY_ROOT, &[&key(1)]);
    assert_eq!(checks(&since(&path, nothing)), [(Check::CheckpointSize, None)]);
}

#[test]
fn an_erased_payload_needs_a_licence_and_a_licence_erases() {
    let (_folder, path) = log_of(20);
    let kept = checkpoint(&path, 10, &[&key(1)]);
    let log = AuditLog::open(&path).unwrap();
    log.redact(RedactionRequest {
        seqs: vec![Seq::new(5), Seq::new(15)],
        actor: "ann".into(),
        reason: "asked for".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    let report = since(&path, kept.clone());
    assert_eq!(checks(&report), []);
    assert_eq!(report.redactions[0].seqs, [5, 15]);
    let saved = std::fs::read(&path).unwrap();
    changed(&path, "UPDATE log SET payload = zeroblob(20) WHERE seq = 5");
    assert_eq!(checks(&since(&path, kept.clone())), [(Check::Redaction, Some(21))]);
    std::fs::write(&path, saved).unwrap();
    changed(&path, "UPDATE log SET payload = NULL WHERE seq = 16");
    assert_eq!(checks(&since(&path, kept)), [(Check::Redaction, Some(16))]);
}

#[test]
fn keys_are_handed_on_after_the_checkpoint() {
    let (_folder, path) = log_of(400);
    let kept = checkpoint(&path, 300, &[&key(1)]);
    store_tiles(&path);
    rotate(&path, KeyRole::Stable, &key(1), &key(2));
    let newer = checkpoint(&path, 401, &[&key(2)]);
    let options = Options::new().key(key(1).verifier().clone());
    let options = options.checkpoints("newer", CheckpointFile { checkpoints: vec![newer] });
    let report = verify::verify(&path, options.since("kept", kept.clone()), &mut |_, _| {}).unwrap();
    assert_eq!(checks(&report), []);
    assert_eq!(report.anchored.anchored_to, Some(401));

    // A certificate may cover less than the checkpoint, if it covers what the log begins with.
    let certificate = certificate(&path, KeyRole::Stable, &key(1), &key(3), 299);
    let event = forge::key_changed(KeyRole::Stable, Some(&key(1)), &key(3), Some(certificate));
    let (_other_folder, other) = support::new_path();
    std::fs::copy(&path, &other).unwrap();
    changed(&other, "DELETE FROM log WHERE seq = 401");
    forge::append(&other, annals::Kind::KeyChanged, &event);
    let report = since(&other, kept);
    assert_eq!(checks(&report), []);
    assert!(report.anchored.key_changes[0].is_certified);
}

#[test]
fn it_goes_on_from_one_checkpoint_to_the_next() {
    let (_folder, path) = log_of(100);
    let mut kept = checkpoint(&path, 100, &[&key(1)]);
    for size in [300, 700, 1_500] {
        make(&path, size, "more");
        store_tiles(&path);
        let report = since(&path, kept);
        assert_eq!(checks(&report), []);
        assert_eq!(report.log.events, size);
        kept = checkpoint(&path, size, &[&key(1)]);
    }
}
