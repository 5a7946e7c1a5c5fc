//! What verifications remember: without any key, a log that was set back, written anew or replaced
//! is noticed by the next one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::beside;
use crate::support::forge::{
    as_a_newer_version, checkpoint, key, log_of, make, rewrite, store_tiles, tamper,
};
use annals::AuditLog;
use annals::verify::{self, Check, Memory, Options, Outcome, Remembered, Scope};

fn memory(path: &Path) -> Memory {
    Memory::at(path.with_file_name("seen"))
}

fn with(path: &Path, memory: Memory) -> Remembered {
    let options = Options::new().scope(Scope::LogOnly).memory(memory);
    let report = verify::verify(path, options, &mut |_, _| {}).unwrap();
    assert!(report.self_consistent, "{:?}", report.failures);
    report.remembered.unwrap()
}

fn verified(path: &Path) -> Remembered {
    with(path, memory(path))
}

fn checks(remembered: &Remembered) -> Vec<Check> {
    remembered.failures.iter().map(|failure| failure.check).collect()
}

#[test]
fn a_log_that_grows_is_remembered_as_it_grows() {
    let (_folder, path) = log_of(3);
    assert_eq!(verified(&path).before, None);
    for size in [3, 300, 301] {
        make(&path, size, "more");
        let remembered = verified(&path);
        assert_eq!(checks(&remembered), []);
        assert!(remembered.is_kept && remembered.warning.is_none());
    }
    assert_eq!(verified(&path).before.unwrap().size, 301);
}

#[test]
fn a_log_that_was_set_back_to_an_older_copy_is_noticed() {
    let (folder, path) = log_of(5);
    let older = folder.path().join("older");
    std::fs::copy(&path, &older).unwrap();
    make(&path, 9, "acknowledged");
    verified(&path);
    std::fs::copy(&older, &path).unwrap();
    for _ in 0..2 {
        let remembered = verified(&path);
        assert_eq!(checks(&remembered), [Check::RememberedSize], "and stays noticed");
        assert!(!remembered.is_kept);
    }
    // Also after as many events as there were.
    make(&path, 9, "in their place");
    assert_eq!(checks(&verified(&path)), [Check::RememberedRoot]);
}

#[test]
fn a_log_that_was_written_anew_is_noticed() {
    let (_folder, path) = log_of(300);
    verified(&path);
    rewrite(&path, 7);
    assert_eq!(checks(&verified(&path)), [Check::RememberedRoot]);
}

#[test]
fn another_log_in_the_place_of_the_old_one_is_noticed() {
    let (_folder, path) = log_of(5);
    verified(&path);
    std::fs::remove_file(&path).unwrap();
    let _ = std::fs::remove_file(beside(&path, "-wal"));
    AuditLog::open(&path).unwrap().close().unwrap();
    assert_eq!(checks(&verified(&path)), [Check::RememberedLog]);
}

#[test]
fn a_log_whose_first_event_does_not_say_its_name_is_compared_all_the_same() {
    let (folder, path) = log_of(5);
    verified(&path);
    let whole = std::fs::read(&path).unwrap();
    as_a_newer_version(&path);
    assert_eq!(checks(&verified(&path)), [Check::RememberedRoot], "its first event is another");
    std::fs::write(&path, whole).unwrap();
    tamper(&path, |connection| connection.execute_batch("DELETE FROM log WHERE seq > 2").unwrap());
    as_a_newer_version(&path);
    assert_eq!(checks(&verified(&path)), [Check::RememberedSize]);
    let fresh = folder.path().join("fresh.db");
    make(&fresh, 1, "a fresh log");
    as_a_newer_version(&fresh);
    std::fs::copy(&fresh, &path).unwrap();
    let remembered = verified(&path);
    assert_eq!(checks(&remembered), [Check::RememberedLog]);
    let detail = &remembered.failures[0].detail;
    assert!(detail.contains("does not give the name of the log"), "{detail}");
}

#[test]
fn a_log_whose_first_event_does_not_say_its_name_is_not_remembered_and_that_is_said() {
    let (_folder, path) = log_of(3);
    as_a_newer_version(&path);
    let remembered = verified(&path);
    assert!(!remembered.is_kept);
    assert!(remembered.warning.unwrap().contains("does not give the name of the log"));
}

#[test]
fn a_log_that_is_bad_before_the_remembered_size_was_not_compared() {
    for (sql, is_first) in [
        ("UPDATE log SET hash = zeroblob(32) WHERE seq = 4", false),
        ("UPDATE log SET entry = x'ff' WHERE seq = 1", true),
    ] {
        let (_folder, path) = log_of(9);
        verified(&path);
        tamper(&path, |connection| connection.execute_batch(sql).unwrap());
        let options = Options::new().scope(Scope::LogOnly).memory(memory(&path));
        let report = verify::verify(&path, options, &mut |_, _| {}).unwrap();
        assert_eq!(report.log.log_id.is_none(), is_first);
        let remembered = report.remembered.unwrap();
        assert_eq!(checks(&remembered), []);
        assert!(remembered.not_compared.is_some(), "{sql}");
        let what = &report.not_checked[0].what;
        assert_eq!(what, "agreement with earlier verifications", "{sql}");
    }
}

#[test]
fn a_log_of_the_same_name_elsewhere_is_the_same_log_or_a_failure() {
    let (folder, path) = log_of(5);
    let elsewhere = folder.path().join("elsewhere.db");
    std::fs::rename(&path, &elsewhere).unwrap();
    verified(&elsewhere);
    std::fs::rename(&elsewhere, &path).unwrap();
    let remembered = verified(&path);
    assert_eq!(checks(&remembered), []);
    assert_eq!(remembered.before.unwrap().size, 5);
    std::fs::remove_file(&path).unwrap();
    let new = folder.path().join("new.db");
    make(&new, 5, "another");
    assert_eq!(checks(&verified(&new)), [Check::RememberedLog]);
}

#[test]
fn what_is_there_now_is_taken_for_right_if_somebody_says_so() {
    let (_folder, path) = log_of(300);
    verified(&path);
    rewrite(&path, 7);
    let remembered = with(&path, memory(&path).forget());
    assert_eq!(checks(&remembered), []);
    assert!(remembered.is_kept);
    assert_eq!(checks(&verified(&path)), []);
}

#[test]
fn a_log_that_is_not_good_is_not_remembered() {
    let (_folder, path) = log_of(9);
    tamper(&path, |connection| connection.execute_batch("DELETE FROM log WHERE seq = 5").unwrap());
    let options = Options::new().scope(Scope::LogOnly).memory(memory(&path));
    let report = verify::verify(&path, options, &mut |_, _| {}).unwrap();
    assert!(!report.remembered.unwrap().is_kept);
    assert!(!path.with_file_name("seen").exists());
}

#[test]
fn a_verification_since_a_checkpoint_remembers_and_compares_too() {
    let (_folder, path) = log_of(300);
    store_tiles(&path);
    let since = |size| {
        let options = Options::new().key(key(1).verifier().clone()).memory(memory(&path));
        let options = options.since("kept", checkpoint(&path, size, &[&key(1)]));
        verify::verify(&path, options, &mut |_, _| {}).unwrap().remembered.unwrap()
    };
    assert!(since(100).is_kept);
    make(&path, 400, "more");
    // What was remembered is before the checkpoint now.
    let remembered = since(350);
    assert_eq!((checks(&remembered), remembered.before.unwrap().size), (vec![], 300));
    assert_eq!(verified(&path).before.unwrap().size, 400);
    rewrite(&path, 200);
    store_tiles(&path);
    assert_eq!(checks(&since(399)), [Check::RememberedRoot]);
}

#[test]
fn the_memory_is_for_its_owner_alone() {
    let (_folder, path) = log_of(2);
    verified(&path);
    let mut folders = vec![path.with_file_name("seen")];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() { folders.push(entry) } else { files.push(entry) }
        }
    }
    assert_eq!(files.len(), 3, "one by the path, one by the name, and the lock: {files:?}");
    for file in files {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_memory_that_cannot_be_written_or_read_is_a_warning_and_what_was_not_compared_is_not_good() {
    let (_folder, path) = log_of(2);
    let blocked = beside(&path, "-blocked");
    std::fs::write(&blocked, b"a file where the folder should be").unwrap();
    let remembered = with(&path, Memory::at(&blocked));
    assert!(!remembered.is_kept);
    assert!(remembered.warning.unwrap().contains("audit.db-blocked"));

    verified(&path);
    for kind in ["paths", "logs"] {
        for entry in std::fs::read_dir(path.with_file_name("seen").join(kind)).unwrap() {
            std::fs::write(entry.unwrap().path(), b"{").unwrap();
        }
    }
    let remembered = verified(&path);
    assert_eq!(checks(&remembered), []);
    assert!(remembered.warning.unwrap().contains("--reset-memory"));
    let options = Options::new().scope(Scope::LogOnly).memory(memory(&path));
    let report = verify::verify(&path, options, &mut |_, _| {}).unwrap();
    assert_eq!(report.outcome, Outcome::NotAllChecked, "what was seen before may contradict the log");
}

#[test]
fn a_slow_verification_does_not_forget_what_a_later_one_saw() {
    let (_folder, path) = log_of(300);
    let outer = |memory: Memory| {
        let mut is_first = true;
        let options = Options::new().scope(Scope::LogOnly).memory(memory);
        let mut grow = |_, _| {
            if std::mem::take(&mut is_first) {
                make(&path, 400, "while the other verifies");
                assert!(verified(&path).is_kept);
            }
        };
        verify::verify(&path, options, &mut grow).unwrap().log.events
    };
    assert_eq!(outer(memory(&path)), 300, "it looks at one moment");
    assert_eq!(verified(&path).before.unwrap().size, 400);
}
