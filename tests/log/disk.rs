//! A disk that is full, files and folders that may only be read, and files that others move, replace
//! or delete under the writer.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{
    beside, child_command, is_heavy, new_path, note, prepare_child, role, tell, told, verify_whole, within,
};
use annals::verify::{self, Scope};
use annals::{AppendError, AuditLog, Draft, EventId, Seq};

const LIMIT: Duration = Duration::from_secs(600);

/// A user who owns nothing else.
const NOBODY: u32 = 65_534;

/// Not a test by itself: what the processes do that have fewer rights, or a limit.
#[test]
fn child() {
    let Some((role, path)) = role() else { return };
    match role.as_str() {
        "append" => match AuditLog::open(&path) {
            Ok(log) => {
                tell(log.append(note("by a child")).unwrap().wait().unwrap().seq);
                log.close().unwrap();
            }
            Err(error) => tell(format!("{error} / {error:?}")),
        },
        "verify" => match verify::verify(&path, Scope::Everything, &mut |_, _| {}) {
            Ok(report) => tell(format!("{} {:?}", report.log.events, report.failures)),
            Err(error) => tell(format!("{error} / {error:?}")),
        },
        "fill" => {
            let log = AuditLog::open(&path).unwrap();
            let refused = fill(&log);
            tell("full");
            std::io::Read::read_exact(&mut std::io::stdin(), &mut [0]).unwrap();
            send_again(&log, refused);
            log.close().unwrap();
            tell("written");
        }
        role => panic!("unknown role {role}"),
    }
}

/// Appends until something is refused, and returns what was.
fn fill(log: &AuditLog) -> Vec<Draft> {
    loop {
        let drafts: Vec<Draft> = (0..10).map(|_| note("x".repeat(20_000)).id(EventId::generate())).collect();
        let receipts: Vec<_> = drafts.iter().map(|draft| log.append(draft.clone()).unwrap()).collect();
        let outcomes = receipts.into_iter().map(annals::Receipt::wait);
        let refused: Vec<Draft> = drafts
            .iter()
            .zip(outcomes)
            .filter_map(|(draft, outcome)| match outcome {
                Ok(_) => None,
                Err(AppendError::NotWritten { .. } | AppendError::Ambiguous { .. }) => Some(draft.clone()),
                Err(error) => panic!("{error}"),
            })
            .collect();
        if !refused.is_empty() {
            return refused;
        }
    }
}

fn send_again(log: &AuditLog, refused: Vec<Draft>) {
    for draft in refused {
        while log.append(draft.clone()).unwrap().wait().is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Why a test cannot be made here.
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|process| process.uid() == 0)
}

/// Unmounts in the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_disk_that_is_full_costs_nothing_that_was_acknowledged() {
    let (folder, _) = new_path();
    let size = ["-t", "tmpfs", "-o", "size=64m", "annals-test"];
    let mounted = Command::new("mount").args(size).arg(folder.path()).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        return skip("no file system can be mounted");
    }
    let mounted = Mounted(folder.path().to_owned());
    let path = folder.path().join("audit.db");
    within(LIMIT, move || {
        let log = AuditLog::open(&path).unwrap();
        let filler = path.with_file_name("filler");
        std::fs::write(&filler, vec![0; 60 << 20]).unwrap();
        let refused = fill(&log);
        assert!(log.last_error().is_some());
        std::fs::remove_file(filler).unwrap();
        send_again(&log, refused);
        let last = log.append(note("the last")).unwrap().wait().unwrap();
        log.wait_caught_up(last.seq).unwrap();
        assert!(log.refused() > 0);
        log.close().unwrap();
        let report = verify_whole(&path);
        assert_eq!(report.completeness.events_lost, 0, "all were sent again: {:?}", report.completeness);
    });
    drop(mounted);
}

#[test]
fn a_file_that_may_not_grow_costs_nothing_that_was_acknowledged() {
    if !Command::new("prlimit").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return skip("there is no prlimit to lift the limit with");
    }
    let (_folder, path) = new_path();
    // 2 MiB, and an error in place of the signal.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 4096; exec \"$@\"", "sh"]);
    command.arg(std::env::current_exe().unwrap());
    prepare_child(&mut command, module_path!(), "fill", &path);
    let mut child = command.spawn().unwrap();
    let mut told = told(child.stdout.take().unwrap());
    assert_eq!(told.next().as_deref(), Some("full"));
    let pid = child.id().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status().unwrap();
    assert!(lifted.success());
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"!").unwrap();
    assert_eq!(told.next().as_deref(), Some("written"));
    assert!(child.wait().unwrap().success());
    assert_eq!(verify_whole(&path).completeness.events_lost, 0, "all were sent again");
}

/// Runs a role as a user for whom permissions count; what it told, or None where that cannot be.
fn as_nobody(role: &str, path: &Path) -> Option<String> {
    let mut command = if is_root() {
        let ids = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        let mut command = Command::new("setpriv");
        command.args(ids).arg(std::env::current_exe().unwrap());
        prepare_child(&mut command, module_path!(), role, path);
        command
    } else {
        child_command(module_path!(), role, path)
    };
    let mut child: Child = command.spawn().ok()?;
    let said: Vec<String> = told(child.stdout.take().unwrap()).collect();
    // Who cannot even start the binary says nothing.
    child.wait().unwrap().success().then(|| said.concat()).filter(|said| !said.is_empty())
}

/// A log of somebody for whom permissions count, in a folder of theirs.
fn log_of_nobody() -> (tempfile::TempDir, PathBuf) {
    let (folder, _) = new_path();
    let inner = folder.path().join("logs");
    std::fs::create_dir(&inner).unwrap();
    let path = inner.join("audit.db");
    let log = AuditLog::open(&path).unwrap();
    drop(log.append(note("first")).unwrap());
    log.close().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for ending in ["-turn", "-next"] {
        std::fs::remove_file(beside(&path, ending)).unwrap();
    }
    if is_root() {
        for owned in [&inner, &path] {
            std::os::unix::fs::chown(owned, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    (folder, path)
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// What a user for whom permissions count is told, with the file and its folder in these modes.
fn told_with(role: &str, file: u32, folder: u32, make: impl FnOnce(&Path)) -> Option<String> {
    let (_folder, path) = log_of_nobody();
    make(&path);
    let before = std::fs::read(&path).unwrap();
    permit(&path, file);
    permit(path.parent().unwrap(), folder);
    let said = as_nobody(role, &path);
    permit(path.parent().unwrap(), 0o700);
    permit(&path, 0o600);
    if role == "verify" || file & 0o200 == 0 || folder & 0o200 == 0 {
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    if said.is_none() {
        skip("no process with fewer rights can be started");
    }
    said
}

#[test]
fn a_file_that_may_only_be_read_is_not_appended_to() {
    let Some(said) = told_with("append", 0o400, 0o700, |_| {}) else { return };
    assert!(said.contains("audit.db: this user may read it, but not write it"), "{said}");
}

#[test]
fn a_log_in_a_folder_that_may_only_be_read_is_not_appended_to() {
    let Some(said) = told_with("append", 0o600, 0o500, |_| {}) else { return };
    assert!(said.contains("audit.db") && said.contains("make its folder writable"), "{said}");
}

#[test]
fn a_log_in_a_folder_that_may_only_be_read_is_verified() {
    let Some(said) = told_with("verify", 0o400, 0o500, |_| {}) else { return };
    assert_eq!(said, "2 []");
}

#[test]
fn a_write_ahead_log_in_a_folder_that_may_only_be_read_is_an_error_that_says_so() {
    let leave_wal = |path: &Path| {
        let copy = path.with_file_name("copy.db");
        std::fs::copy(path, &copy).unwrap();
        let log = AuditLog::open(&copy).unwrap();
        log.append(note("in the write-ahead log")).unwrap().wait().unwrap();
        std::fs::copy(beside(&copy, "-wal"), beside(path, "-wal")).unwrap();
        if is_root() {
            std::os::unix::fs::chown(beside(path, "-wal"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        log.close().unwrap();
    };
    let Some(said) = told_with("verify", 0o600, 0o500, leave_wal) else { return };
    assert!(said.contains("write-ahead log beside it") && said.contains("copy the file"), "{said}");
}

#[test]
fn a_file_or_folder_without_permission_is_an_error_that_says_so() {
    for role in ["append", "verify"] {
        for (file, folder) in [(0o000, 0o700), (0o600, 0o000)] {
            let Some(said) = told_with(role, file, folder, |_| {}) else { return };
            assert!(said.contains("audit.db") && said.contains("Permission denied"), "{said}");
        }
    }
}

/// A log with three events, open, and a copy of it from when it had two.
fn log_with_older_copy() -> (tempfile::TempDir, PathBuf, AuditLog, PathBuf) {
    let (folder, path) = new_path();
    let older = folder.path().join("older.db");
    let log = AuditLog::open(&path).unwrap();
    log.append(note("second")).unwrap().wait().unwrap();
    log.close().unwrap();
    std::fs::copy(&path, &older).unwrap();
    let log = AuditLog::open(&path).unwrap();
    log.append(note("third")).unwrap().wait().unwrap();
    (folder, path, log, older)
}

/// Appends until what keeps the writer from it is that it could not open the log again; at least 20 events.
fn assert_refused(log: &AuditLog, reason: &str) {
    let mut said = String::new();
    for tries in 0.. {
        if tries >= 20 && said.contains(reason) {
            break;
        }
        assert!(tries < 10_000, "{said}");
        let outcome = log.append(note("refused")).unwrap().wait();
        let Err(AppendError::NotWritten { reason } | AppendError::Ambiguous { reason }) = outcome else {
            panic!("{outcome:?}")
        };
        said = reason.to_string();
        std::thread::sleep(Duration::from_millis(20));
    }
    log.flush().unwrap_err();
    log.rebuild("sessions").unwrap_err();
}

#[test]
fn another_log_in_the_place_of_the_file_is_left_alone() {
    within(LIMIT, || {
        let (folder, path) = new_path();
        let other = folder.path().join("other.db");
        AuditLog::open(&other).unwrap().close().unwrap();
        let bytes = std::fs::read(&other).unwrap();
        let log = AuditLog::open(&path).unwrap();
        log.append(note("acknowledged")).unwrap().wait().unwrap();
        let kept = folder.path().join("kept.db");
        std::fs::hard_link(&path, &kept).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_refused(&log, "another file took its place");
        log.close().unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        // What was acknowledged is where it was, in the write-ahead log.
        std::fs::rename(beside(&path, "-wal"), beside(&kept, "-wal")).unwrap();
        std::fs::remove_file(beside(&path, "-shm")).unwrap();
        assert_eq!(verify_whole(&path).log.events, 1);
        let log = AuditLog::open(&kept).unwrap();
        log.wait_caught_up(Seq::new(2)).unwrap();
        log.close().unwrap();
        assert_eq!(verify_whole(&kept).log.events, 2);
    });
}

#[test]
fn an_older_copy_in_the_place_of_the_file_is_not_appended_to() {
    within(LIMIT, || {
        let (_folder, path, log, older) = log_with_older_copy();
        let bytes = std::fs::read(&older).unwrap();
        std::fs::rename(&older, &path).unwrap();
        assert_refused(&log, "another file took its place");
        log.close().unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    });
}

#[test]
fn a_file_that_was_deleted_is_not_made_anew() {
    within(LIMIT, || {
        let (_folder, path, log, _older) = log_with_older_copy();
        std::fs::remove_file(&path).unwrap();
        assert_refused(&log, "is no longer where it was");
        log.close().unwrap_err();
        assert!(!path.exists());
    });
}

#[test]
fn nothing_is_acknowledged_without_the_write_ahead_log() {
    within(LIMIT, || {
        let (_folder, path, log, _older) = log_with_older_copy();
        std::fs::remove_file(beside(&path, "-wal")).unwrap();
        let outcome = log.append(note("refused")).unwrap().wait();
        assert!(matches!(outcome, Err(AppendError::NotWritten { .. })), "{outcome:?}");
        drop(log.close());
        // The last to close still had it.
        assert!(verify_whole(&path).log.events >= 3);
    });
}

#[test]
fn a_file_that_comes_back_is_appended_to_again() {
    within(LIMIT, || {
        let (folder, path, log, _older) = log_with_older_copy();
        let elsewhere = folder.path().join("elsewhere.db");
        std::fs::rename(&path, &elsewhere).unwrap();
        assert_refused(&log, "is no longer where it was");
        std::fs::rename(&elsewhere, &path).unwrap();
        send_again(&log, vec![note("after all")]);
        assert_eq!(log.last_error(), None);
        log.wait_caught_up(log.committed()).unwrap();
        log.close().unwrap();
        assert!(verify_whole(&path).completeness.events_lost >= 20);
    });
}

/// Readers that overlap never leave a moment in which the write-ahead log can be used from its
/// beginning again.
#[test]
fn the_write_ahead_log_stays_bounded_while_readers_overlap() {
    if !is_heavy() {
        return skip("it writes a gigabyte: ANNALS_TEST_HEAVY=1 asks for it");
    }
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let done = AtomicBool::new(false);
    let mut largest = 0;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let reader = rusqlite::Connection::open(&path).unwrap();
                while !done.load(Ordering::SeqCst) {
                    reader.execute_batch("BEGIN; SELECT count(*) FROM redactions").unwrap();
                    std::thread::sleep(Duration::from_millis(50));
                    reader.execute_batch("COMMIT").unwrap();
                }
            });
        }
        for _ in 0..400 {
            log.append(note("x".repeat(1 << 20))).unwrap().wait().unwrap();
            largest = largest.max(beside(&path, "-wal").metadata().unwrap().len());
        }
        done.store(true, Ordering::SeqCst);
    });
    eprintln!("the write-ahead log had at most {} MiB", largest >> 20);
    assert!(largest < 2 * annals::limits::WAL_BYTES_RESTART);
}

#[test]
fn a_hot_journal_in_a_folder_that_may_only_be_read_is_refused_as_everywhere() {
    let leave_journal = |path: &Path| {
        let journal = beside(path, "-journal");
        std::fs::write(&journal, [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]).unwrap();
        permit(&journal, 0o644);
    };
    let Some(said) = told_with("verify", 0o600, 0o500, leave_journal) else { return };
    assert!(said.contains("audit.db-journal"), "{said}");
    let Some(said) = told_with("verify", 0o400, 0o700, leave_journal) else { return };
    assert!(said.contains("audit.db-journal"), "{said}");
}
