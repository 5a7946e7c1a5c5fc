//! Checkpoints: signed for what is on the disk and for nothing that contradicts what was signed before, and
//! kept outside the log whatever dies in between.

use crate::support;
use crate::support::executor::block_on;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{
    child_command, is_heavy, new_path, note, sqlite, start_child, tell, told, verify_whole, within,
};
use annals::evidence::{
    Anchor, AnchorAnswer, AnchorError, Consistency, Epochs, Evidence, FileAnchor, KeyChangeRequest,
    KeyFolder, PublicKeys, SignError, Signing,
};
use annals::merkle::{CompactRange, NodeHash, hashes_to_bytes, leaf_hash, root_of, verify_consistency};
use annals::note::{CheckpointFile, SignedCheckpoint, SignedNote};
use annals::{AuditLog, Builder, KeyChangeCause, KeyRole, Timestamp};

const ORIGIN: &str = "example.org/audit";
const PATIENCE: Duration = Duration::from_secs(600);
/// So long that only closing and asking sign.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// A log that signs only when it is closed or asked.
fn signed(path: &Path, keys: &KeyFolder) -> Builder {
    with(path, Signing::new(keys.clone()).every(NEVER).every_events(u64::MAX))
}

fn with(path: &Path, signing: Signing) -> Builder {
    AuditLog::builder(path).origin(ORIGIN).evidence(Evidence::Signed(Box::new(signing)))
}

fn new_keys(folder: &Path) -> (KeyFolder, PublicKeys) {
    let keys = KeyFolder::at(folder.join("keys"));
    let public = keys.generate(ORIGIN, Epochs::None, Timestamp::now()).unwrap();
    (keys, public)
}

fn append(log: &AuditLog, events: u64) {
    let receipts: Vec<_> = (0..events).map(|number| log.append(note(number.to_string())).unwrap()).collect();
    for receipt in receipts {
        receipt.wait().unwrap();
    }
}

/// The leaves of a log, read by SQL alone.
fn leaves(path: &Path) -> Vec<Vec<u8>> {
    let connection = sqlite(path);
    let mut statement = connection.prepare("SELECT entry, hash FROM log ORDER BY seq").unwrap();
    let mut previous = vec![0; 32];
    let leaves = statement
        .query_map([], |row| {
            let entry: Vec<u8> = row.get(0)?;
            let leaf = [std::mem::replace(&mut previous, row.get(1)?), entry].concat();
            Ok(leaf)
        })
        .unwrap();
    leaves.collect::<Result<_, _>>().unwrap()
}

fn root_of_first(path: &Path, size: u64) -> NodeHash {
    let mut range = CompactRange::new();
    leaves(path).iter().take(usize::try_from(size).unwrap()).for_each(|leaf| range.append(leaf_hash(leaf)));
    range.root()
}

/// The checkpoints that are in the file, each verified and held against the log.
fn good_checkpoints(path: &Path, keys: &PublicKeys) -> Vec<SignedCheckpoint> {
    let connection = sqlite(path);
    let mut statement = connection.prepare("SELECT note FROM checkpoints ORDER BY size").unwrap();
    let notes: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let checkpoints: Vec<SignedCheckpoint> = notes.iter().map(|note| note.parse().unwrap()).collect();
    assert_all_good(path, checkpoints.clone(), keys);
    checkpoints
}

#[track_caller]
fn assert_good(path: &Path, checkpoint: &SignedCheckpoint, keys: &PublicKeys) {
    assert_all_good(path, vec![checkpoint.clone()], keys);
}

/// Checkpoints of the log as it is now, which is read once for all of them.
fn assert_all_good(path: &Path, mut checkpoints: Vec<SignedCheckpoint>, keys: &PublicKeys) {
    checkpoints.sort_by_key(SignedCheckpoint::size);
    let leaves = leaves(path);
    let (mut range, mut appended) = (CompactRange::new(), 0);
    for checkpoint in checkpoints {
        checkpoint.verify(std::slice::from_ref(&keys.stable)).unwrap();
        assert_eq!(checkpoint.origin(), ORIGIN);
        let size = usize::try_from(checkpoint.size()).unwrap();
        leaves[appended..size].iter().for_each(|leaf| range.append(leaf_hash(leaf)));
        appended = size;
        assert_eq!(*checkpoint.root(), range.root());
    }
}

/// Waits until something holds.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_log_is_signed_for_when_it_is_closed() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 300);
    log.close().unwrap();

    let checkpoints = good_checkpoints(&path, &public);
    assert_eq!(checkpoints.iter().map(SignedCheckpoint::size).collect::<Vec<_>>(), [301]);
    assert_eq!(keys.last_signed().unwrap().as_ref(), checkpoints.last());
    verify_whole(&path);
}

#[test]
fn nothing_new_is_signed_where_nothing_was_appended() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    let first = log.checkpoint().unwrap();
    assert_eq!(log.checkpoint().unwrap(), first);
    assert_eq!(block_on(log.checkpoint_async()).unwrap(), first);
    log.close().unwrap();
    signed(&path, &keys).open().unwrap().close().unwrap();

    assert_eq!(good_checkpoints(&path, &public), [first]);
}

#[test]
fn a_checkpoint_is_made_after_so_many_events_and_after_so_long() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    let log = with(&path, Signing::new(keys.clone()).every(NEVER).every_events(100)).open().unwrap();
    append(&log, 100);
    eventually("a checkpoint after 100 events", || !good_checkpoints(&path, &public).is_empty());
    log.close().unwrap();
    let before = good_checkpoints(&path, &public).len();

    let soon = Duration::from_millis(1);
    let log = with(&path, Signing::new(keys).every(soon).every_events(u64::MAX)).open().unwrap();
    append(&log, 1);
    eventually("a checkpoint after a while", || good_checkpoints(&path, &public).len() > before);
    log.close().unwrap();
}

#[test]
fn the_tiles_are_those_of_the_leaves() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    append(&log, 1_000);
    let stored =
        || -> u32 { sqlite(&path).query_row("SELECT count(*) FROM tiles", [], |row| row.get(0)).unwrap() };
    eventually("three full tiles and one above", || stored() == 4);
    log.close().unwrap();

    let leaves: Vec<NodeHash> = leaves(&path).iter().map(|leaf| leaf_hash(leaf)).collect();
    let connection = sqlite(&path);
    let tile = |level: u8, tile: u8| -> Vec<u8> {
        let sql = "SELECT hashes FROM tiles WHERE level = ?1 AND tile = ?2";
        connection.query_row(sql, [level, tile], |row| row.get(0)).unwrap()
    };
    let mut roots = Vec::new();
    for (number, hashes) in (0..3).zip(leaves.chunks(256)) {
        assert_eq!(tile(0, number), hashes_to_bytes(hashes));
        roots.push(root_of(hashes.iter().copied()));
    }
    assert_eq!(tile(1, 0), hashes_to_bytes(&roots));
}

#[test]
fn roots_do_not_depend_on_how_far_the_tiles_are() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    let log = AuditLog::builder(&path).origin(ORIGIN).evidence(Evidence::Off).open().unwrap();
    append(&log, 70_000);
    log.close().unwrap();

    let log = signed(&path, &keys).open().unwrap();
    log.checkpoint().unwrap();
    let stored = || -> u32 {
        sqlite(&path).query_row("SELECT count(*) FROM tiles WHERE level = 0", [], |row| row.get(0)).unwrap()
    };
    eventually("all full tiles", || stored() == 273);
    append(&log, 1);
    log.close().unwrap();
    assert_eq!(good_checkpoints(&path, &public).len(), 2);
}

#[test]
fn a_log_that_was_set_back_is_not_signed_for() {
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 10);
    log.close().unwrap();
    let backup = folder.path().join("backup.db");
    fs::copy(&path, &backup).unwrap();
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 10);
    log.close().unwrap();

    fs::rename(&backup, &path).unwrap();
    let log = signed(&path, &keys).open().unwrap();
    let shorter = log.checkpoint().unwrap_err();
    assert!(matches!(shorter, SignError::RolledBack { events: 11, signed: 21 }), "{shorter}");
    append(&log, 30);
    let other = log.checkpoint().unwrap_err();
    assert!(matches!(other, SignError::Contradicts { signed: 21 }), "{other}");
    assert!(log.close().unwrap_err().to_string().contains("rewritten"));
    assert_eq!(keys.last_signed().unwrap().unwrap().size(), 21);
}

#[test]
fn a_fresh_log_in_the_place_of_the_old_one_is_not_signed_for() {
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 5);
    log.close().unwrap();
    fs::remove_file(&path).unwrap();

    let log = signed(&path, &keys).open().unwrap();
    append(&log, 50);
    assert!(matches!(log.checkpoint().unwrap_err(), SignError::Contradicts { signed: 6 }));
    drop(log);
}

#[test]
fn a_broken_chain_is_not_signed_for() {
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 20);
    sqlite(&path)
        .execute_batch(
            "DROP TRIGGER log_rows_never_change;
             UPDATE log SET entry = (SELECT entry FROM log WHERE seq = 8) WHERE seq = 7;",
        )
        .unwrap();
    let error = log.checkpoint().unwrap_err();
    assert!(error.to_string().contains("event 7 does not follow"), "{error}");
    drop(log);
    assert!(keys.last_signed().unwrap().is_none());
}

#[test]
fn a_checkpoint_that_somebody_wrote_into_the_file_is_neither_believed_nor_given_to_anchors() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    let outside = folder.path().join("outside");
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 3);
    log.close().unwrap();
    let forged = good_checkpoints(&path, &public)[0].to_string().replacen("\n4\n", "\n999999\n", 1);
    sqlite(&path)
        .execute("INSERT INTO checkpoints (size, note, made_at) VALUES (999999, ?1, 0)", [&forged])
        .unwrap();
    sqlite(&path)
        .execute(
            "INSERT INTO anchors (name, size) VALUES (?1, 999999)",
            [format!("file {}", outside.display())],
        )
        .unwrap();

    let signing = Signing::new(keys.clone()).every(NEVER).anchor(FileAnchor::new(&outside));
    let log = with(&path, signing).open().unwrap();
    append(&log, 3);
    log.close().unwrap();
    assert_eq!(keys.last_signed().unwrap().unwrap().size(), 7);
    let kept: CheckpointFile = fs::read_to_string(outside).unwrap().parse().unwrap();
    assert_eq!(kept.checkpoints, [keys.last_signed().unwrap().unwrap()]);
}

#[test]
fn a_damaged_tile_is_not_signed_for() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 600);
    let stored = || -> u32 {
        sqlite(&path).query_row("SELECT count(*) FROM tiles WHERE level = 0", [], |row| row.get(0)).unwrap()
    };
    eventually("two full tiles", || stored() == 2);
    sqlite(&path)
        .execute("UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 0 AND tile = 1", [])
        .unwrap();
    let checkpoint = log.checkpoint().unwrap();
    assert_good(&path, &checkpoint, &public);
    drop(log);
}

#[test]
fn a_copy_is_not_signed_for_while_the_log_is_there_and_a_log_that_was_moved_is() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 5);
    log.close().unwrap();
    let copy = folder.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();

    let other = signed(&copy, &keys).open().unwrap();
    append(&other, 1);
    let error = other.checkpoint().unwrap_err();
    assert!(matches!(error, SignError::Copy { .. }), "{error}");
    drop(other);
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 2);
    assert_good(&path, &log.checkpoint().unwrap(), &public);
    log.close().unwrap();

    let moved = folder.path().join("moved.db");
    fs::rename(&path, &moved).unwrap();
    let log = signed(&moved, &keys).open().unwrap();
    append(&log, 2);
    assert_good(&moved, &log.checkpoint().unwrap(), &public);
    log.close().unwrap();
}

#[test]
fn where_the_last_signature_is_forgotten_the_files_own_checkpoints_remind_of_it() {
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 9);
    log.close().unwrap();
    fs::remove_file(keys.path().join("signed")).unwrap();
    let connection = sqlite(&path);
    let guard: String = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'log_rows_stay'", [], |row| row.get(0))
        .unwrap();
    connection.execute_batch("DROP TRIGGER log_rows_stay; DELETE FROM log WHERE seq > 5;").unwrap();
    connection.execute_batch(&guard).unwrap();
    drop(connection);
    let log = signed(&path, &keys).open().unwrap();
    let error = log.checkpoint().unwrap_err();
    assert!(matches!(error, SignError::RolledBack { events: 5, signed: 10 }), "{error}");
    drop(log);
}

/// An anchor that panics.
#[derive(Debug)]
struct Broken;

impl Anchor for Broken {
    fn name(&self) -> String {
        "broken".to_owned()
    }

    fn submit(&mut self, _: &SignedCheckpoint, _: Consistency<'_>) -> Result<AnchorAnswer, AnchorError> {
        panic!("an anchor of somebody's own");
    }
}

#[test]
fn an_anchor_that_panics_is_told_of_before_the_log_is_closed() {
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    let log = with(&path, Signing::new(keys).every(NEVER).anchor(Broken)).open().unwrap();
    append(&log, 1);
    log.checkpoint().unwrap();
    eventually("it is told of", || log.last_evidence_error().is_some_and(|why| why.contains("panicked")));
    append(&log, 1);
    assert!(log.close().unwrap_err().to_string().contains("panicked"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    assert_eq!(fs::metadata(keys.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(keys.key_file(), fs::Permissions::from_mode(0o640)).unwrap();

    let log = signed(&path, &keys).open().unwrap();
    let error = log.checkpoint().unwrap_err().to_string();
    assert!(error.contains("other users can read this private key"), "{error}");
    drop(log);
}

#[test]
fn a_second_key_is_not_generated_over_the_first() {
    let (folder, _) = new_path();
    let (keys, public) = new_keys(folder.path());
    let error = keys.generate(ORIGIN, Epochs::None, Timestamp::now()).unwrap_err();
    assert!(error.to_string().contains("key rotate"), "{error}");
    assert_eq!(keys.public().unwrap(), public);
}

fn rotation(role: KeyRole, cause: KeyChangeCause) -> KeyChangeRequest {
    KeyChangeRequest { role, cause, actor: "ada".to_owned(), reason: Some("yearly".to_owned()) }
}

#[test]
fn a_rotation_is_recorded_and_signed_by_both_keys() {
    let (folder, path) = new_path();
    let (keys, old) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 5);
    let both = log.change_key(&rotation(KeyRole::Stable, KeyChangeCause::Rotated)).unwrap();
    append(&log, 5);
    log.close().unwrap();

    let new = keys.public().unwrap();
    assert_ne!(new, old);
    assert_eq!(both.verify(&[old.stable.clone(), new.stable.clone()]).unwrap().len(), 2);
    assert_good(&path, &both, &old);
    let last = keys.last_signed().unwrap().unwrap();
    assert_good(&path, &last, &new);
    assert!(last.verify(std::slice::from_ref(&old.stable)).is_err());
    let certificate: String = {
        let reader = annals::Reader::open(&path).unwrap();
        let all = reader.events(&annals::query::EventFilter::default(), annals::Seq::ZERO, 100).unwrap();
        let changed = all.into_iter().find_map(|event| match event.content {
            annals::Content::Event(annals::Event::KeyChanged(changed)) => Some(changed),
            _ => None,
        });
        let changed = changed.unwrap();
        assert_eq!(changed.vkey, new.stable.to_string());
        assert_eq!(changed.previous, Some(old.stable.to_string()));
        changed.certificate.unwrap()
    };
    let certificate: SignedNote = certificate.parse().unwrap();
    certificate.verify(std::slice::from_ref(&old.stable)).unwrap();
    assert!(!keys.path().join("change").exists());
    verify_whole(&path);
}

#[test]
fn a_lost_key_is_replaced_by_one_that_nobody_certifies() {
    let (folder, path) = new_path();
    let (keys, old) = new_keys(folder.path());
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 5);
    log.checkpoint().unwrap();
    fs::remove_file(keys.key_file()).unwrap();
    append(&log, 1);
    assert!(log.checkpoint().unwrap_err().to_string().contains("key generate"));

    let checkpoint = log.change_key(&rotation(KeyRole::Stable, KeyChangeCause::Lost)).unwrap();
    log.close().unwrap();
    assert_good(&path, &checkpoint, &keys.public().unwrap());
    assert!(checkpoint.verify(std::slice::from_ref(&old.stable)).is_err());
}

#[test]
fn an_epoch_key_is_replaced_at_the_end_of_its_epoch_and_gone() {
    let (folder, path) = new_path();
    let keys = KeyFolder::at(folder.path().join("keys"));
    let now = Arc::new(AtomicI64::new(1_795_176_000_000_000));
    let clock = {
        let now = now.clone();
        move || Timestamp::from_micros(now.load(Ordering::Relaxed))
    };
    let first = keys.generate(ORIGIN, Epochs::Kept, clock()).unwrap();
    let first_epoch = first.epoch.clone().unwrap();
    let day = Duration::from_secs(86_400);
    let signing = || Signing::new(keys.clone()).every(NEVER).every_events(u64::MAX).epoch(day);

    let log = with(&path, signing()).clock(clock.clone()).open().unwrap();
    append(&log, 5);
    let before = log.checkpoint().unwrap();
    let epoch: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(keys.path().join("epoch")).unwrap()).unwrap();
    let erased = epoch["skey"].as_str().unwrap().to_owned();
    now.fetch_add(i64::try_from(day.as_micros()).unwrap(), Ordering::Relaxed);
    eventually("a new epoch", || keys.public().unwrap().epoch != first.epoch);
    log.close().unwrap();

    let second_epoch = keys.public().unwrap().epoch.unwrap();
    let both = [first_epoch.clone(), second_epoch];
    assert_eq!(before.verify(&both).unwrap().len(), 1);
    // The checkpoint that covers the change is signed by both, and by the stable key.
    let last = good_checkpoints(&path, &first).pop().unwrap();
    assert_eq!(last.verify(&both).unwrap().len(), 2);
    for file in fs::read_dir(keys.path()).unwrap() {
        let file = file.unwrap();
        assert!(!fs::read_to_string(file.path()).unwrap().contains(&erased), "{:?}", file.path());
    }
}

#[test]
fn a_clock_that_was_ahead_once_does_not_keep_an_epoch_key_for_good() {
    let (folder, path) = new_path();
    let keys = KeyFolder::at(folder.path().join("keys"));
    let right = 1_795_176_000_000_000;
    let year = 365 * 86_400_000_000;
    // The epoch began while the clock was a year ahead.
    let first = keys.generate(ORIGIN, Epochs::Kept, Timestamp::from_micros(right + year)).unwrap();
    let day = Duration::from_secs(86_400);
    let signing = Signing::new(keys.clone()).every(NEVER).every_events(u64::MAX).epoch(day);
    let log = with(&path, signing).clock(move || Timestamp::from_micros(right)).open().unwrap();
    eventually("a new epoch", || keys.public().unwrap().epoch != first.epoch);
    log.close().unwrap();
}

#[test]
fn an_anchor_that_another_process_was_faster_at_is_given_the_newest_checkpoint_and_does_not_fail() {
    struct Overtaken {
        keys: KeyFolder,
        path: PathBuf,
        file: FileAnchor,
        is_first: bool,
    }
    impl std::fmt::Debug for Overtaken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Overtaken")
        }
    }
    impl Anchor for Overtaken {
        fn name(&self) -> String {
            "overtaken".to_owned()
        }
        fn submit(
            &mut self,
            checkpoint: &SignedCheckpoint,
            proof: Consistency<'_>,
        ) -> Result<AnchorAnswer, AnchorError> {
            if std::mem::take(&mut self.is_first) {
                let other = with(
                    &self.path,
                    Signing::new(self.keys.clone())
                        .every(NEVER)
                        .every_events(u64::MAX)
                        .anchor(self.file.clone()),
                );
                let other = other.open().unwrap();
                append(&other, 1);
                other.close().unwrap();
            }
            self.file.submit(checkpoint, proof)
        }
    }
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    let kept = folder.path().join("kept");
    let file = FileAnchor::new(&kept);
    let anchor = Overtaken { keys: keys.clone(), path: path.clone(), file, is_first: true };
    let log =
        with(&path, Signing::new(keys).every(NEVER).every_events(u64::MAX).anchor(anchor)).open().unwrap();
    append(&log, 1);
    let watched = log.clone();
    log.close().unwrap();
    let health = watched.anchors().remove(0);
    assert_eq!((health.size, health.error), (Some(3), None));
    let sizes: Vec<u64> = std::fs::read_to_string(kept)
        .unwrap()
        .parse::<CheckpointFile>()
        .unwrap()
        .checkpoints
        .iter()
        .map(SignedCheckpoint::size)
        .collect();
    assert_eq!(sizes, [3]);
}

#[test]
fn several_processes_sign_for_one_log_and_never_contradict_each_other() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    signed(&path, &keys).open().unwrap().close().unwrap();
    let children: Vec<_> = (0..3).map(|_| start_child(module_path!(), "sign", &path)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let checkpoints = good_checkpoints(&path, &public);
    assert!(checkpoints.len() > 10, "{}", checkpoints.len());
    verify_whole(&path);
}

/// Not a test by itself: what the other processes do.
#[test]
fn child() {
    let Some((role, path)) = support::role() else { return };
    let keys = KeyFolder::at(path.parent().unwrap().join("keys"));
    match role.as_str() {
        "sign" => {
            let log = signed(&path, &keys).open().unwrap();
            for _ in 0..20 {
                append(&log, 50);
                log.checkpoint().unwrap();
            }
            log.close().unwrap();
        }
        "sign forever" => {
            let anchor = FileAnchor::new(keys.checkpoints_file());
            let signing = Signing::new(keys).every(Duration::ZERO).anchor(anchor);
            let log = with(&path, signing).open().unwrap();
            tell("ready");
            loop {
                append(&log, 100);
                tell(log.checkpoint().unwrap().size());
            }
        }
        "rotate forever" => {
            let log = signed(&path, &keys).open().unwrap();
            tell("ready");
            loop {
                append(&log, 10);
                log.change_key(&rotation(KeyRole::Stable, KeyChangeCause::Rotated)).unwrap();
            }
        }
        role => panic!("unknown role {role}"),
    }
}

fn rounds() -> u32 {
    if is_heavy() { 100 } else { 8 }
}

#[test]
fn killed_while_it_stores_tiles_and_signs_it_goes_on_and_nothing_it_let_out_is_lost() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    for round in 0..rounds() {
        let mut child = child_command(module_path!(), "sign forever", &path).spawn().unwrap();
        let mut lines = told(child.stdout.take().unwrap());
        assert_eq!(within(PATIENCE, move || lines.next()).as_deref(), Some("ready"));
        std::thread::sleep(Duration::from_millis(20 + u64::from(round % 8) * 37));
        child.kill().unwrap();
        child.wait().unwrap();

        // Whatever was let out is of the log as it is now.
        let outside = fs::read(keys.checkpoints_file()).unwrap_or_default();
        let mut out = CheckpointFile::recover(&outside).checkpoints;
        out.extend(keys.last_signed().unwrap());
        assert_all_good(&path, out, &public);
    }
    let anchor = FileAnchor::new(keys.checkpoints_file());
    let log = with(&path, Signing::new(keys.clone()).anchor(anchor)).open().unwrap();
    append(&log, 1);
    log.close().unwrap();
    let last = good_checkpoints(&path, &public).pop().unwrap();
    assert_eq!(keys.last_signed().unwrap().unwrap().size(), last.size());
    let outside: CheckpointFile = fs::read_to_string(keys.checkpoints_file()).unwrap().parse().unwrap();
    assert_eq!(outside.checkpoints.last(), Some(&last));
    verify_whole(&path);
}

#[test]
fn killed_while_a_key_is_changed_the_change_is_brought_to_its_end() {
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    for round in 0..rounds() {
        let mut child = child_command(module_path!(), "rotate forever", &path).spawn().unwrap();
        let mut lines = told(child.stdout.take().unwrap());
        assert_eq!(within(PATIENCE, move || lines.next()).as_deref(), Some("ready"));
        std::thread::sleep(Duration::from_millis(5 + u64::from(round % 8) * 11));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let log = signed(&path, &keys).open().unwrap();
    append(&log, 1);
    // On a busy machine none of them may have come so far.
    let last = log.change_key(&rotation(KeyRole::Stable, KeyChangeCause::Rotated)).unwrap();
    log.close().unwrap();

    assert!(!keys.path().join("change").exists());
    assert_good(&path, &last, &keys.public().unwrap());
    // Each change follows from the one before: none was made twice, and none forgotten.
    let reader = annals::Reader::open(&path).unwrap();
    let mut key: Option<String> = None;
    for event in reader.events(&annals::query::EventFilter::default(), annals::Seq::ZERO, 1_000_000).unwrap()
    {
        if let annals::Content::Event(annals::Event::KeyChanged(changed)) = event.content {
            if let Some(key) = key {
                assert_eq!(changed.previous, Some(key));
            }
            key = Some(changed.vkey);
        }
    }
    assert_eq!(key, Some(keys.public().unwrap().stable.to_string()));
    verify_whole(&path);
}

type TakenAway = (SignedCheckpoint, Vec<NodeHash>);

/// An anchor that is away until it is told to come back, and keeps what it took.
#[derive(Debug)]
struct Away {
    is_away: Arc<AtomicBool>,
    /// Size and root of what it took, and the proof that it follows from a tree of 300 leaves.
    taken: Arc<Mutex<Vec<TakenAway>>>,
}

impl Anchor for Away {
    fn name(&self) -> String {
        "away".to_owned()
    }

    fn submit(
        &mut self,
        checkpoint: &SignedCheckpoint,
        consistency: Consistency<'_>,
    ) -> Result<AnchorAnswer, AnchorError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(AnchorError::new("nobody is there"));
        }
        let proof = consistency(300, checkpoint.size())?;
        self.taken.lock().unwrap().push((checkpoint.clone(), proof));
        Ok(AnchorAnswer::Receipt(b"kept".to_vec()))
    }
}

#[test]
fn an_anchor_that_was_away_gets_the_newest_checkpoint_when_it_is_back() {
    let (folder, path) = new_path();
    let (keys, _) = new_keys(folder.path());
    let is_away = Arc::new(AtomicBool::new(true));
    let taken = Arc::new(Mutex::new(Vec::new()));
    let anchor = Away { is_away: is_away.clone(), taken: taken.clone() };
    let signing = Signing::new(keys).every(Duration::ZERO).every_events(1).anchor(anchor);
    let log = with(&path, signing).open().unwrap();
    for _ in 0..10 {
        append(&log, 100);
        log.checkpoint().unwrap();
    }
    let failing = || -> Option<String> {
        let sql = "SELECT error FROM anchors WHERE name = 'away' AND failed_since IS NOT NULL";
        sqlite(&path).query_row(sql, [], |row| row.get(0)).ok()
    };
    eventually("the failure is in the file", || failing().is_some_and(|error| error.contains("nobody")));
    assert!(taken.lock().unwrap().is_empty());

    is_away.store(false, Ordering::SeqCst);
    eventually("it is tried again", || !taken.lock().unwrap().is_empty());
    eventually("the success is in the file", || failing().is_none());
    log.close().unwrap();
    let (checkpoint, proof) = taken.lock().unwrap().pop().unwrap();
    assert_eq!(checkpoint.size(), 1_001);
    let old_root = root_of_first(&path, 300);
    verify_consistency(300, 1_001, &old_root, checkpoint.root(), &proof).unwrap();
    let receipt: Vec<u8> =
        sqlite(&path).query_row("SELECT receipt FROM anchor_receipts", [], |row| row.get(0)).unwrap();
    assert_eq!(receipt, b"kept");
}

#[test]
fn closing_gives_the_anchors_a_last_chance() {
    let (folder, path) = new_path();
    let (keys, public) = new_keys(folder.path());
    let outside: PathBuf = folder.path().join("outside");
    let signing = Signing::new(keys).every(NEVER).anchor(FileAnchor::new(&outside));
    let log = with(&path, signing).open().unwrap();
    append(&log, 3);
    log.close().unwrap();

    let file: CheckpointFile = fs::read_to_string(outside).unwrap().parse().unwrap();
    assert_eq!(file.checkpoints.len(), 1);
    assert_good(&path, &file.checkpoints[0], &public);
}
