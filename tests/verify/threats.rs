//! The rows of docs/threat-model.md: what somebody does to a log, what the chain alone says of it, and what a
//! checkpoint that was kept elsewhere says. The page names these tests.

use crate::support;
use crate::support::rows;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::rows::Rows;
use crate::support::{note, sqlite};
use annals::apikey::ApiKeyRequest;
use annals::apikey::{ApiKey, Keys};
use annals::evidence::{Epochs, Evidence, KeyFolder, PublicKeys, Signing};
use annals::note::{Checkpoint, CheckpointFile, Cosigner, Policy, SignedCheckpoint, SigningKey};
use annals::verify::{self, Check, Memory, Options, Outcome, Report, Scope};
use annals::{
    ApiKeyScope, AuditLog, EventId, KeyChangeCause, KeyRole, Projections, RedactionRequest, Timestamp,
};
use tempfile::TempDir;

const ORIGIN: &str = "example.org/audit";
/// Events when the checkpoint was taken away, and at the end.
const KEPT: u64 = 21;
const EVENTS: u64 = 31;

/// A log, its keys, and the checkpoint that somebody else keeps.
struct Scene {
    folder: TempDir,
    path: PathBuf,
    keys: KeyFolder,
    public: PublicKeys,
    kept: SignedCheckpoint,
}

fn signed(path: &Path, keys: &KeyFolder) -> annals::Builder {
    let never = Duration::from_secs(1_000_000);
    let signing = Signing::new(keys.clone()).every(never).every_events(u64::MAX);
    AuditLog::builder(path).origin(ORIGIN).evidence(Evidence::Signed(Box::new(signing)))
}

fn append(log: &AuditLog, events: u64) {
    for number in 0..events {
        log.append(note(format!("note {number}"))).unwrap().wait().unwrap();
    }
}

impl Scene {
    fn new() -> Scene {
        Scene::with(Epochs::None)
    }

    fn with(epochs: Epochs) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let keys = KeyFolder::at(folder.path().join("keys"));
        let public = keys.generate(ORIGIN, epochs, Timestamp::now()).unwrap();
        let log = signed(&path, &keys).open().unwrap();
        append(&log, KEPT - 1);
        let kept = log.checkpoint().unwrap();
        append(&log, EVENTS - KEPT);
        log.close().unwrap();
        Scene { folder, path, keys, public, kept }
    }

    /// Rewrites the log, with everything in the file that could give it away.
    fn rewrite(&self, change: impl FnOnce(&mut Rows)) {
        let mut rows = Rows::read(&self.path);
        change(&mut rows);
        assert!(rows.write(&self.path));
        sqlite(&self.path)
            .execute_batch("DELETE FROM tiles; DELETE FROM checkpoints; DELETE FROM anchors;")
            .unwrap();
    }

    /// Takes the log away, with what SQLite keeps beside it.
    fn remove(&self) {
        fs::remove_file(&self.path).unwrap();
        for ending in ["-wal", "-shm"] {
            // There is none where nobody has it open.
            let _ = fs::remove_file(support::beside(&self.path, ending));
        }
    }

    /// What the chain alone says.
    fn chain(&self) -> Report {
        verify::verify(&self.path, Scope::LogOnly, &mut |_, _| {}).unwrap()
    }

    /// What the checkpoint says that was kept elsewhere.
    fn checkpoint(&self) -> Report {
        self.given([self.kept.clone()])
    }

    fn given(&self, checkpoints: impl IntoIterator<Item = SignedCheckpoint>) -> Report {
        let options = Options::new()
            .scope(Scope::LogOnly)
            .key(self.public.stable.clone())
            .checkpoints("kept", checkpoints.into_iter().collect::<CheckpointFile>());
        verify::verify(&self.path, options, &mut |_, _| {}).unwrap()
    }
}

#[track_caller]
fn assert_passes(report: &Report) {
    assert!(report.is_good(), "{:?} {:?}", report.failures, report.anchored.failures);
}

#[track_caller]
fn assert_chain_breaks(report: &Report, check: Check, seq: u64) {
    let first = report.failures.first().expect("a failure");
    assert_eq!(
        (first.check, first.seq.map(|seq| u64::try_from(seq.get()).unwrap())),
        (check, Some(seq)),
        "{first:?}"
    );
}

#[track_caller]
fn assert_checkpoint_fails(report: &Report, check: Check) {
    let checks: Vec<Check> = report.anchored.failures.iter().map(|failure| failure.check).collect();
    assert_eq!(checks, [check], "{:?}", report.anchored.failures);
    assert_eq!(report.anchored.anchored_to, None);
}

/// Says something else in an event, as its payload and digest.
fn say(rows: &mut Rows, seq: i64, message: &str) {
    let row = rows.row(seq);
    let mut cell = row.payload.clone().unwrap();
    let text = cell.windows(4).position(|window| window == b"note").unwrap();
    let length = message.len().min(cell.len() - text);
    cell[text..text + length].copy_from_slice(&message.as_bytes()[..length]);
    row.payload = Some(cell);
}

#[test]
fn a_log_that_nobody_touched_passes() {
    let scene = Scene::new();
    assert_passes(&scene.chain());
    let report = scene.checkpoint();
    assert_passes(&report);
    assert_eq!(report.anchored.anchored_to, Some(KEPT));
}

#[test]
fn an_edited_event_breaks_the_chain() {
    let scene = Scene::new();
    scene.rewrite(|rows| say(rows, 7, "fine"));
    assert_chain_breaks(&scene.chain(), Check::PayloadDigest, 7);
    assert_chain_breaks(&scene.checkpoint(), Check::PayloadDigest, 7);
}

#[test]
fn reordered_events_break_the_chain() {
    let scene = Scene::new();
    scene.rewrite(|rows| {
        let (a, b) = (rows.row(7).clone(), rows.row(8).clone());
        *rows.row(7) = rows::Row { seq: 7, ..b };
        *rows.row(8) = rows::Row { seq: 8, ..a };
    });
    assert_chain_breaks(&scene.chain(), Check::Identity, 7);
}

#[test]
fn a_deleted_event_breaks_the_chain() {
    let scene = Scene::new();
    scene.rewrite(|rows| rows.rows.retain(|row| row.seq != 7));
    assert_chain_breaks(&scene.chain(), Check::Sequence, 7);
}

#[test]
fn an_inserted_event_breaks_the_chain() {
    let scene = Scene::new();
    scene.rewrite(|rows| {
        let mut forged = rows.row(7).clone();
        for row in rows.rows.iter_mut().filter(|row| row.seq >= 7) {
            row.seq += 1;
        }
        forged.event_id = EventId::generate().bytes().to_vec();
        forged.seq = 7;
        rows.rows.insert(6, forged);
    });
    assert_chain_breaks(&scene.chain(), Check::Identity, 7);
}

#[test]
fn a_log_cut_off_at_its_end_passes_alone_and_not_with_a_checkpoint() {
    let scene = Scene::new();
    scene.rewrite(|rows| rows.rows.truncate(15));
    assert_passes(&scene.chain());
    assert_checkpoint_fails(&scene.checkpoint(), Check::CheckpointSize);
}

#[test]
fn what_is_cut_off_after_the_last_checkpoint_is_not_missed() {
    let scene = Scene::new();
    scene.rewrite(|rows| rows.rows.truncate(usize::try_from(KEPT).unwrap() + 3));
    assert_passes(&scene.chain());
    assert_passes(&scene.checkpoint());
}

#[test]
fn a_suffix_rewritten_at_its_length_passes_alone_and_not_with_a_checkpoint() {
    let scene = Scene::new();
    scene.rewrite(|rows| {
        say(rows, 15, "fine");
        rows.row(15).digest_again();
        rows.link_again(14);
    });
    assert_passes(&scene.chain());
    assert_checkpoint_fails(&scene.checkpoint(), Check::CheckpointRoot);
}

#[test]
fn a_log_rewritten_whole_passes_alone_and_not_with_a_checkpoint() {
    let scene = Scene::new();
    scene.rewrite(|rows| {
        for seq in 2..=31 {
            say(rows, seq, "fine");
            rows.row(seq).digest_again();
        }
        rows.link_again(0);
    });
    assert_passes(&scene.chain());
    assert_checkpoint_fails(&scene.checkpoint(), Check::CheckpointRoot);
}

#[test]
fn a_fresh_log_under_another_id_passes_alone_and_not_with_a_checkpoint() {
    let scene = Scene::new();
    scene.remove();
    let log = AuditLog::builder(&scene.path).origin(ORIGIN).open().unwrap();
    append(&log, EVENTS);
    log.close().unwrap();
    assert_passes(&scene.chain());
    assert_checkpoint_fails(&scene.checkpoint(), Check::CheckpointRoot);

    scene.remove();
    let log = AuditLog::open(&scene.path).unwrap();
    append(&log, EVENTS);
    log.close().unwrap();
    assert_checkpoint_fails(&scene.checkpoint(), Check::CheckpointOrigin);
}

#[test]
fn an_older_copy_passes_alone_and_not_with_a_checkpoint_or_a_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.db");
    let memory = || Memory::at(folder.path().join("seen"));
    let keys = KeyFolder::at(folder.path().join("keys"));
    let public = keys.generate(ORIGIN, Epochs::None, Timestamp::now()).unwrap();
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 5);
    log.close().unwrap();
    let backup = fs::read(&path).unwrap();
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 5);
    let kept = log.checkpoint().unwrap();
    log.close().unwrap();
    let remembering = || Options::new().scope(Scope::LogOnly).memory(memory());
    assert_passes(&verify::verify(&path, remembering(), &mut |_, _| {}).unwrap());

    fs::write(&path, backup).unwrap();
    let scene = Scene { folder: tempfile::tempdir().unwrap(), path, keys, public, kept };
    assert_passes(&scene.chain());
    assert_checkpoint_fails(&scene.checkpoint(), Check::CheckpointSize);
    let report = verify::verify(&scene.path, remembering(), &mut |_, _| {}).unwrap();
    assert!(!report.is_good());
    assert_eq!(report.remembered.unwrap().failures[0].check, Check::RememberedSize);
}

#[test]
fn two_histories_under_one_key_contradict_each_other() {
    let scene = Scene::new();
    // The operator shows another log to somebody else, and signs for it with the same key.
    let other = scene.folder.path().join("other.db");
    let log = AuditLog::builder(&other).origin(ORIGIN).open().unwrap();
    append(&log, KEPT - 1);
    log.close().unwrap();
    let root = annals::Reader::open(&other).unwrap().as_continued().unwrap().root;
    let root = annals::merkle::NodeHash::from_bytes(*root.bytes());
    let mut shown = SignedCheckpoint::unsigned(Checkpoint::new(ORIGIN, KEPT, root).unwrap());
    shown.sign(&SigningKey::from_skey(fs::read_to_string(scene.keys.key_file()).unwrap().trim()).unwrap());

    let report = scene.given([scene.kept.clone(), shown]);
    assert!(!report.is_good());
    assert_eq!(report.anchored.split_views.len(), 1);
    assert_eq!(report.anchored.split_views[0].size, KEPT);
}

#[test]
fn a_split_view_lacks_the_witness_that_saw_the_other() {
    let scene = Scene::new();
    let witness = Cosigner::from_seed("witness.example/w", &[9; 32]).unwrap();
    let policy = format!("log {}\nwitness w {}\nquorum w\n", scene.public.stable, witness.verifier());
    let verified = |checkpoint: SignedCheckpoint| {
        let options = Options::new()
            .scope(Scope::LogOnly)
            .policy(Policy::parse(policy.as_bytes()).unwrap())
            .checkpoints("kept", [checkpoint].into_iter().collect());
        verify::verify(&scene.path, options, &mut |_, _| {}).unwrap()
    };
    let unwitnessed = verified(scene.kept.clone());
    assert!(!unwitnessed.is_good());
    assert_eq!(unwitnessed.anchored.anchored_to, None);

    let mut witnessed = scene.kept.clone();
    witnessed.add_signatures([witness.cosign(&scene.kept, 1_795_176_000)]);
    let report = verified(witnessed);
    assert_passes(&report);
    assert_eq!(report.anchored.witnesses.len(), 1);
}

#[test]
fn times_that_were_set_back_before_a_checkpoint_are_found_and_those_after_it_are_not() {
    let scene = Scene::new();
    let backdate = |rows: &mut Rows, seq: i64| {
        let hour = 3_600_000_000;
        rows.row(seq).change(|entry| {
            entry.recorded_at = Timestamp::from_micros(entry.recorded_at.micros() - hour);
        });
        rows.link_again(usize::try_from(seq).unwrap() - 1);
    };
    scene.rewrite(|rows| backdate(rows, 25));
    let report = scene.checkpoint();
    assert_passes(&report);
    assert_eq!(report.backward_steps.count, 1, "a step back is reported all the same");

    scene.rewrite(|rows| backdate(rows, 15));
    assert_passes(&scene.chain());
    assert_checkpoint_fails(&scene.checkpoint(), Check::CheckpointRoot);
}

#[test]
fn what_was_never_appended_is_missed_by_nothing() {
    let scene = Scene::new();
    // The pipeline did something and said nothing. The log is as good as any.
    assert_passes(&scene.chain());
    assert_passes(&scene.checkpoint());
}

#[test]
fn a_stolen_key_signs_another_history_which_the_kept_checkpoint_contradicts() {
    let scene = Scene::new();
    let key = SigningKey::from_skey(fs::read_to_string(scene.keys.key_file()).unwrap().trim()).unwrap();
    scene.rewrite(|rows| {
        say(rows, 15, "fine");
        rows.row(15).digest_again();
        rows.link_again(14);
    });
    let head = annals::Reader::open(&scene.path).unwrap().as_continued().unwrap();
    let root = annals::merkle::NodeHash::from_bytes(*head.root.bytes());
    let mut forged = SignedCheckpoint::unsigned(Checkpoint::new(ORIGIN, head.size, root).unwrap());
    forged.sign(&key);

    // Who has nothing but what the thief gives them believes it.
    assert_passes(&scene.given([forged.clone()]));
    // Who kept anything does not.
    assert!(!scene.given([scene.kept.clone(), forged]).is_good());
}

#[test]
fn a_thief_of_a_retired_key_reaches_nobody_who_has_the_present_one() {
    let scene = Scene::new();
    let retired = SigningKey::from_skey(fs::read_to_string(scene.keys.key_file()).unwrap().trim()).unwrap();
    let log = signed(&scene.path, &scene.keys).open().unwrap();
    let request = annals::evidence::KeyChangeRequest {
        role: KeyRole::Stable,
        cause: KeyChangeCause::Compromised,
        actor: "ops".to_owned(),
        reason: Some("the laptop was stolen".to_owned()),
    };
    let by_both = log.change_key(&request).unwrap();
    log.close().unwrap();
    let present = scene.keys.public().unwrap().stable;
    let verified = |given: &[&SignedCheckpoint]| {
        let checkpoints: CheckpointFile = given.iter().map(|given| (*given).clone()).collect();
        let options =
            Options::new().scope(Scope::LogOnly).key(present.clone()).checkpoints("given", checkpoints);
        verify::verify(&scene.path, options, &mut |_, _| {}).unwrap()
    };
    // What the old key signed while it was the log's still fits.
    let report = verified(&[&scene.kept, &by_both]);
    assert!(report.is_good(), "{:?}", report.anchored);
    assert_eq!(report.anchored.by_predecessors.len(), 1);

    // The thief signs for another history, which the present log contradicts.
    let root = annals::merkle::NodeHash::from_bytes([7; 32]);
    let mut forged = SignedCheckpoint::unsigned(Checkpoint::new(ORIGIN, KEPT, root).unwrap());
    forged.sign(&retired);
    let report = verified(&[&forged, &by_both]);
    let failures = &report.anchored.failures;
    assert_eq!((failures.len(), failures[0].check), (1, Check::CheckpointRoot));
    assert!(failures[0].detail.contains("which the log says was compromised"), "{failures:?}");
    // And for sizes after it was retired.
    let mut later = SignedCheckpoint::unsigned(Checkpoint::new(ORIGIN, EVENTS + 9, root).unwrap());
    later.sign(&retired);
    let report = verified(&[&later, &by_both]);
    assert_eq!(report.anchored.failures[0].check, Check::CheckpointSignature);

    // In a log of the thief's own nothing is said by what they sign, and the kept checkpoint contradicts it.
    scene.rewrite(|rows| {
        say(rows, 15, "fine");
        rows.row(15).digest_again();
        rows.link_again(14);
    });
    let report = verified(&[&forged]);
    assert!(
        report.outcome == annals::verify::Outcome::NotAllChecked && report.anchored.anchored_to.is_none()
    );
    assert!(!verified(&[&forged, &by_both]).is_good());
}

#[test]
fn a_stolen_machine_cannot_sign_for_an_epoch_that_is_over() {
    let scene = Scene::with(Epochs::Kept);
    let log = signed(&scene.path, &scene.keys).open().unwrap();
    let request = annals::evidence::KeyChangeRequest {
        role: KeyRole::Epoch,
        cause: KeyChangeCause::Rotated,
        actor: "annals".to_owned(),
        reason: None,
    };
    log.change_key(&request).unwrap();
    log.close().unwrap();
    let first_epoch = scene.public.epoch.clone().unwrap();
    let verified = |checkpoint: SignedCheckpoint| {
        let options = Options::new()
            .scope(Scope::LogOnly)
            .key(scene.public.stable.clone())
            .epoch_key(first_epoch.clone())
            .checkpoints("kept", [checkpoint].into_iter().collect());
        verify::verify(&scene.path, options, &mut |_, _| {}).unwrap()
    };
    assert_passes(&verified(scene.kept.clone()));

    // The thief has the stable key and the present epoch's, and signs for yesterday with both.
    let stable = SigningKey::from_skey(fs::read_to_string(scene.keys.key_file()).unwrap().trim()).unwrap();
    let epoch = fs::read_to_string(scene.keys.path().join("epoch")).unwrap();
    let epoch: serde_json::Value = serde_json::from_str(&epoch).unwrap();
    let epoch = SigningKey::from_skey(epoch["skey"].as_str().unwrap()).unwrap();
    let mut forged = SignedCheckpoint::unsigned(scene.kept.checkpoint().clone());
    forged.sign(&stable);
    forged.sign(&epoch);
    let report = verified(forged);
    assert!(report.anchored.failures.iter().any(|failure| failure.check == Check::CheckpointSignature));
}

#[test]
fn changed_read_tables_are_found_by_the_fold() {
    let scene = Scene::new();
    sqlite(&scene.path).execute("UPDATE notes SET message = 'fine' WHERE seq = 7", []).unwrap();
    let report = verify::verify(&scene.path, Scope::Everything, &mut |_, _| {}).unwrap();
    assert!(report.failures.iter().any(|failure| failure.check == Check::ReadTable), "{:?}", report.failures);
}

#[test]
fn changed_read_tables_of_another_version_never_pass() {
    let scene = Scene::new();
    let forged = "UPDATE notes SET message = 'fine' WHERE seq = 7;
         UPDATE projections SET version = 99 WHERE name = 'activity'";
    sqlite(&scene.path).execute_batch(forged).unwrap();
    let report = verify::verify(&scene.path, Scope::Everything, &mut |_, _| {}).unwrap();
    assert_eq!(report.outcome, Outcome::NotAllChecked, "{report:?}");
}

#[test]
fn tables_that_a_rebuild_is_filling_are_judged_once_they_are_the_read_tables() {
    let scene = Scene::new();
    let log = signed(&scene.path, &scene.keys).projections(Projections::Off).open().unwrap();
    log.rebuild("activity").unwrap();
    log.close().unwrap();
    // As if the rebuild had come to the end of the log with this.
    let forged = "INSERT INTO building_notes SELECT * FROM notes;
         UPDATE building_notes SET message = 'fine' WHERE seq = 7;
         UPDATE projections SET position = (SELECT max(seq) FROM log) WHERE stage = 'building'";
    sqlite(&scene.path).execute_batch(forged).unwrap();
    let whole = || verify::verify(&scene.path, Scope::Everything, &mut |_, _| {}).unwrap();
    assert_eq!(whole().outcome, Outcome::Good);
    signed(&scene.path, &scene.keys).open().unwrap().close().unwrap();
    let report = whole();
    assert!(report.failures.iter().any(|failure| failure.check == Check::ReadTable), "{report:?}");
}

#[test]
fn evidence_is_read_from_ordinary_tables_alone() {
    for table in [
        "CREATE VIEW log AS SELECT * FROM kept",
        "CREATE VIRTUAL TABLE log USING fts5(seq, event_id, entry, payload, hash)",
        // With the number of a page that is another's, it looks like a table with pages of its own.
        "CREATE VIEW told AS SELECT seq, event_id, iif(random(), entry, hash) AS entry, payload, hash FROM kept;
         CREATE VIRTUAL TABLE log USING fts5(
             seq, event_id, entry, payload, hash, content = 'told', content_rowid = 'seq'
         );
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'log'",
    ] {
        let scene = Scene::new();
        sqlite(&scene.path).execute_batch(&format!("ALTER TABLE log RENAME TO kept; {table}")).unwrap();
        let first = &scene.chain().failures[0];
        assert_eq!((first.check, first.seq), (Check::Damage, None), "{first:?}");
    }
}

#[test]
fn swapped_payloads_break_the_chain() {
    let scene = Scene::new();
    scene.rewrite(|rows| {
        let other = rows.row(8).payload.clone();
        let one = std::mem::replace(&mut rows.row(7).payload, other);
        rows.row(8).payload = one;
    });
    assert_chain_breaks(&scene.chain(), Check::PayloadDigest, 7);
}

#[test]
fn another_format_breaks_the_chain_even_where_it_is_linked_anew() {
    let scene = Scene::new();
    scene.rewrite(|rows| {
        rows.row(7).entry[0] = 0;
        rows.link_again(6);
    });
    assert_chain_breaks(&scene.chain(), Check::Format, 7);
    assert_chain_breaks(&scene.checkpoint(), Check::Format, 7);
}

#[test]
fn what_the_file_says_of_itself_anchors_nothing() {
    let scene = Scene::new();
    let stranger = SigningKey::from_seed(ORIGIN, &[5; 32]).unwrap();
    let mut forged = SignedCheckpoint::unsigned(scene.kept.checkpoint().clone());
    forged.sign(&stranger);
    sqlite(&scene.path)
        .execute("UPDATE checkpoints SET note = ?1 WHERE size = 21", [forged.to_string()])
        .unwrap();
    let options = Options::new().scope(Scope::LogOnly).key(scene.public.stable.clone());
    let report = verify::verify(&scene.path, options, &mut |_, _| {}).unwrap();
    assert_eq!(report.anchored.anchored_to, None);
}

#[test]
fn an_erasure_nobody_asked_for_is_listed_with_who_did_it() {
    let scene = Scene::new();
    let log = signed(&scene.path, &scene.keys).open().unwrap();
    log.redact(RedactionRequest {
        seqs: vec![annals::Seq::new(7)],
        actor: "mallory".into(),
        reason: "none of your business".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    let report = scene.checkpoint();
    assert_passes(&report);
    assert_eq!(report.redactions[0].actor, "mallory");
    assert_eq!(report.redactions[0].seqs, [7]);
}

/// The scene with one key that is revoked and one that is not.
fn with_api_keys(scene: &Scene) -> [ApiKey; 2] {
    let log = signed(&scene.path, &scene.keys).open().unwrap();
    let keys = ["revoked", "good"].map(|name| {
        let request = ApiKeyRequest {
            name: name.to_owned(),
            scopes: vec![ApiKeyScope::Emit],
            expires_at: None,
            actor: "ops".to_owned(),
            reason: None,
        };
        log.create_api_key(&request).unwrap().0
    });
    log.revoke_api_key(keys[0].id(), "ops", None).unwrap();
    log.close().unwrap();
    keys
}

#[test]
fn a_key_that_is_made_or_restored_in_the_file_is_found_by_the_chain_or_lets_nobody_in() {
    let everything = |scene: &Scene| verify::verify(&scene.path, Scope::Everything, &mut |_, _| {}).unwrap();
    let revocation = i64::try_from(EVENTS).unwrap() + 3;

    // The list that servers go by no longer has the revocation.
    let scene = Scene::new();
    let [revoked, _] = with_api_keys(&scene);
    sqlite(&scene.path)
        .execute_batch(&format!(
            "DROP TRIGGER api_key_events_stay; DELETE FROM api_key_events WHERE seq = {revocation}"
        ))
        .unwrap();
    assert!(Keys::open(&scene.path).unwrap().check(&revoked.reveal(), Timestamp::now()).is_ok());
    assert!(everything(&scene).failures.iter().any(|failure| failure.check == Check::ApiKeys));

    // The event is gone, and the list has it still.
    let scene = Scene::new();
    with_api_keys(&scene);
    scene.rewrite(|rows| rows.rows.retain(|row| row.seq != revocation));
    assert!(Keys::open(&scene.path).is_err());

    // A key has the secret of whoever wrote the file.
    let scene = Scene::new();
    let [_, good] = with_api_keys(&scene);
    let forged = ApiKey::generate().unwrap();
    let created = revocation - 1;
    scene.rewrite(|rows| {
        let cell = rows.row(created).payload.as_mut().unwrap();
        let bytes = *annals::Digest::from(good.hash()).bytes();
        let place = cell.windows(32).position(|window| window == bytes).unwrap();
        cell[place..place + 32].copy_from_slice(annals::Digest::from(forged.hash()).bytes());
    });
    assert!(Keys::open(&scene.path).unwrap().check(&good.reveal(), Timestamp::now()).is_err());
    assert_chain_breaks(&scene.chain(), Check::PayloadDigest, created.cast_unsigned());
}

#[test]
fn what_was_submitted_with_a_stolen_key_carries_its_id() {
    let scene = Scene::new();
    let [_, stolen] = with_api_keys(&scene);
    let log = signed(&scene.path, &scene.keys).open().unwrap();
    log.with_principal(Some(stolen.id())).append(note("by the thief")).unwrap().wait().unwrap();
    log.revoke_api_key(stolen.id(), "ops", Some("stolen")).unwrap();
    log.close().unwrap();
    let keys = Keys::open(&scene.path).unwrap();
    assert!(keys.check(&stolen.reveal(), Timestamp::now()).is_err());
    let reader = annals::Reader::open(&scene.path).unwrap();
    let events = reader.last_events(&annals::query::EventFilter::default(), 2).unwrap();
    assert_eq!(events[0].principal, Some(stolen.id()));
    assert_passes(&scene.chain());
}

#[test]
fn the_page_names_a_test_for_each_of_its_rows() {
    let page = include_str!("../../docs/threat-model.md");
    let tests = include_str!("threats.rs");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() >= 16, "{}", rows.len());
    for row in rows {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}()")), "{name}");
        }
    }
}
