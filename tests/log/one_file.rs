//! One file, one writer's view of it: what lies at the path, beside it and around it, and what other programs
//! do to it. Nothing acknowledged is lost, and nothing is appended to a mixture.

use crate::support;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command};
use std::time::Duration;

use crate::support::{beside, new_path, note, sqlite, start_child, tell, told, verify_whole, within};
use annals::verify::{self, Scope, VerifyError};
use annals::{AppendError, Appended, AuditLog, OpenError, Reader, Seq};
use rusqlite::Connection;

/// Only a hang takes as long as this.
const LIMIT: Duration = Duration::from_secs(120);

/// Not a test by itself: what other processes do, told line by line.
#[test]
fn child() {
    let Some((role, path)) = support::role() else { return };
    match role.as_str() {
        "hold" => hold(&path),
        // As any other program would: a connection that has read something.
        "sqlite" => {
            let connection = sqlite(&path);
            let _: i64 = connection.query_row("SELECT max(seq) FROM log", [], |row| row.get(0)).unwrap();
            tell("ready");
            let _ = std::io::stdin().lines().next();
        }
        role => panic!("unknown role {role}"),
    }
}

fn hold(path: &Path) {
    let log = AuditLog::open(path).unwrap();
    append(&log, "held").unwrap();
    tell("ready");
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "append" => match append(&log, "more") {
                Ok(appended) => tell(format_args!("acknowledged {}", appended.seq)),
                Err(error) => tell(format_args!("refused: {error}")),
            },
            _ => break,
        }
    }
    let closed = log.close();
    tell(format_args!("closed {closed:?}"));
}

/// Another process, and what it says.
struct Other {
    child: Child,
    orders: ChildStdin,
    told: Box<dyn Iterator<Item = String>>,
}

impl Other {
    fn start(role: &str, path: &Path) -> Other {
        let mut child = start_child(module_path!(), role, path);
        let mut told = told(child.stdout.take().unwrap());
        assert_eq!(told.next().as_deref(), Some("ready"));
        Other { orders: child.stdin.take().unwrap(), told: Box::new(told), child }
    }

    fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.told.next().unwrap()
    }

    fn end(mut self) {
        writeln!(self.orders, "end").unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn append(log: &AuditLog, message: &str) -> Result<Appended, AppendError> {
    log.append(note(message)).unwrap().wait()
}

/// Appends until one is acknowledged; what the first refusal said, if there was one.
fn append_in_the_end(log: &AuditLog) -> Option<String> {
    let mut refusal = None;
    loop {
        match append(log, "in the end") {
            Ok(_) => return refusal,
            Err(error) => refusal = refusal.or_else(|| Some(error.to_string())),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn count(path: &Path, message: &str) -> i64 {
    let query = "SELECT count(*) FROM notes WHERE message = ?1";
    sqlite(path).query_row(query, [message], |row| row.get(0)).unwrap()
}

/// A log with 300 events in its file.
fn log_of_300() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = new_path();
    let path = path.parent().unwrap().canonicalize().unwrap().join("audit.db");
    let log = AuditLog::open(&path).unwrap();
    for number in 0..300 {
        drop(log.append(note(number.to_string())).unwrap());
    }
    log.close().unwrap();
    (folder, path)
}

/// The errors by which appending, reading and verifying refuse a log.
fn refusals(path: &Path) -> [OpenError; 3] {
    [
        AuditLog::open(path).unwrap_err(),
        Reader::open(path).unwrap_err(),
        match verify::verify(path, Scope::LogOnly, &mut |_, _| {}).unwrap_err() {
            VerifyError::Open(error) => error,
            error => panic!("{error}"),
        },
    ]
}

/// A backup of the log as it is, whole in one file.
fn backup(path: &Path) -> PathBuf {
    let backup = path.with_file_name("backup.db");
    fs::copy(path, &backup).unwrap();
    backup
}

#[test]
fn a_write_ahead_log_removed_under_a_writer_costs_nothing() {
    within(LIMIT, || {
        for endings in [&["-wal"][..], &["-shm"], &["-wal", "-shm"]] {
            let (_folder, path) = log_of_300();
            let log = AuditLog::open(&path).unwrap();
            for _ in 0..3 {
                append(&log, "acknowledged").unwrap();
                for ending in endings {
                    fs::remove_file(beside(&path, ending)).unwrap();
                }
                append_in_the_end(&log);
            }
            log.close().unwrap();
            let report = verify_whole(&path);
            assert!(report.log.events >= 307, "{endings:?}: {}", report.log.events);
            assert_eq!(count(&path, "acknowledged"), 3, "{endings:?}");
            assert_eq!(count(&path, "in the end"), 3, "{endings:?}");
        }
    });
}

#[test]
fn a_writer_that_closes_without_its_write_ahead_log_loses_nothing() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let log = AuditLog::open(&path).unwrap();
        append(&log, "acknowledged").unwrap();
        fs::remove_file(beside(&path, "-wal")).unwrap();
        log.close().unwrap();
        assert_eq!(verify_whole(&path).log.events, 302);
    });
}

#[test]
fn an_idle_writer_lets_go_of_a_write_ahead_log_that_was_removed() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let mut idle = Other::start("hold", &path);
        fs::remove_file(beside(&path, "-wal")).unwrap();
        // Nobody asks it for anything; this one waits until it has let go.
        let log = loop {
            match AuditLog::open(&path) {
                Ok(log) => break log,
                Err(OpenError::OpenElsewhere { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        append(&log, "beside it").unwrap();
        log.close().unwrap();
        while !idle.ask("append").starts_with("acknowledged") {
            std::thread::sleep(Duration::from_millis(20));
        }
        idle.end();
        verify_whole(&path);
        assert_eq!([count(&path, "held"), count(&path, "beside it"), count(&path, "more")], [1, 1, 1]);
    });
}

#[test]
fn several_processes_lose_nothing_with_the_write_ahead_log() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let mut others: Vec<_> = (0..3).map(|_| Other::start("hold", &path)).collect();
        let mut acknowledged = 0;
        for round in 0..4 {
            fs::remove_file(beside(&path, if round == 2 { "-shm" } else { "-wal" })).unwrap();
            for other in &mut others {
                loop {
                    let said = other.ask("append");
                    if said.starts_with("acknowledged") {
                        acknowledged += 1;
                        break;
                    }
                    assert!(said.starts_with("refused"), "{said}");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
        others.into_iter().for_each(Other::end);
        assert_eq!(acknowledged, 12);
        verify_whole(&path);
        assert_eq!(count(&path, "held"), 3);
        assert_eq!(count(&path, "more"), acknowledged);
    });
}

#[test]
fn nothing_is_opened_while_another_program_holds_a_removed_write_ahead_log() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let log = AuditLog::open(&path).unwrap();
        append(&log, "acknowledged").unwrap();
        let other = Other::start("sqlite", &path);
        fs::remove_file(beside(&path, "-wal")).unwrap();
        let refusal = append(&log, "refused").unwrap_err();
        assert!(refusal.to_string().contains("-wal"), "{refusal}");
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(200));
            append(&log, "refused").unwrap_err();
        }
        let error = AuditLog::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::OpenElsewhere { .. }), "{error}");
        let error = Reader::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::OpenElsewhere { .. }), "{error}");
        assert!(!beside(&path, "-wal").exists(), "nobody makes a second one");
        other.end();
        append_in_the_end(&log);
        log.close().unwrap();
        verify_whole(&path);
        assert_eq!([count(&path, "acknowledged"), count(&path, "refused")], [1, 0]);
    });
}

#[test]
fn a_reader_of_the_same_program_is_waited_for() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let log = AuditLog::open(&path).unwrap();
        append(&log, "acknowledged").unwrap();
        let reader = Reader::open(&path).unwrap();
        fs::remove_file(beside(&path, "-wal")).unwrap();
        append(&log, "refused").unwrap_err();
        std::thread::sleep(Duration::from_millis(500));
        append(&log, "refused").unwrap_err();
        drop(reader);
        append_in_the_end(&log);
        log.close().unwrap();
        verify_whole(&path);
        assert_eq!(count(&path, "acknowledged"), 1);
    });
}

#[test]
fn another_write_ahead_log_in_the_place_of_the_one_in_use_is_not_joined() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let log = AuditLog::open(&path).unwrap();
        append(&log, "acknowledged").unwrap();
        let other = Other::start("sqlite", &path);
        fs::remove_file(beside(&path, "-wal")).unwrap();
        fs::write(beside(&path, "-wal"), b"").unwrap();
        let error = Reader::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::OpenElsewhere { .. }), "{error}");
        append(&log, "refused").unwrap_err();
        other.end();
        append_in_the_end(&log);
        log.close().unwrap();
        verify_whole(&path);
        assert_eq!(count(&path, "acknowledged"), 1);
    });
}

/// A log whose process was killed with events in the write-ahead log, and a backup from before.
fn killed_with_backup() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (folder, path) = log_of_300();
    let old = backup(&path);
    let log = AuditLog::open(&path).unwrap();
    append(&log, "after the backup").unwrap();
    log.close().unwrap();
    let mut killed = Other::start("hold", &path);
    for _ in 0..20 {
        killed.ask("append");
    }
    killed.kill();
    assert!(beside(&path, "-wal").metadata().unwrap().len() > 0);
    (folder, path, old)
}

#[test]
fn a_backup_put_beside_a_left_write_ahead_log_is_refused() {
    let (_folder, path, old) = killed_with_backup();
    fs::copy(&old, &path).unwrap();
    let before = [fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap()];
    for error in refusals(&path) {
        assert!(matches!(error, OpenError::ForeignWal { .. }), "{error}");
        let wal = beside(&path, "-wal");
        assert!(error.to_string().starts_with(wal.to_str().unwrap()), "{error}");
    }
    assert!([fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap()] == before);

    // What the error says: without the write-ahead log the backup is good.
    fs::rename(beside(&path, "-wal"), path.with_file_name("kept-wal")).unwrap();
    let log = AuditLog::open(&path).unwrap();
    append(&log, "after the restore").unwrap();
    log.close().unwrap();
    assert_eq!(verify_whole(&path).log.events, 302);
}

#[test]
fn a_write_ahead_log_of_a_crash_is_its_files_own() {
    let (_folder, path, _) = killed_with_backup();
    verify_whole(&path);
    let log = AuditLog::open(&path).unwrap();
    append(&log, "after the crash").unwrap();
    log.close().unwrap();
    verify_whole(&path);
    assert_eq!([count(&path, "more"), count(&path, "after the crash")], [20, 1]);
}

#[test]
fn a_copy_beside_the_write_ahead_log_of_its_original_is_refused() {
    let (_folder, path) = log_of_300();
    let killed = Other::start("hold", &path);
    let copy = path.with_file_name("copy.db");
    Reader::open(&path).unwrap().copy_to(&copy, &mut |_, _| {}).unwrap();
    killed.kill();
    fs::rename(&copy, &path).unwrap();
    let error = AuditLog::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::ForeignWal { .. }), "{error}");
}

fn generation(path: &Path) -> (Vec<u8>, Vec<u8>, bool, String) {
    sqlite(path)
        .query_row("SELECT id, previous, is_open, machine FROM generation", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap()
}

#[test]
fn each_run_of_the_write_ahead_log_names_the_one_before() {
    let (_folder, path) = log_of_300();
    let closed = generation(&path);
    assert!(!closed.2, "it was closed");
    let log = AuditLog::open(&path).unwrap();
    append(&log, "opens it").unwrap();
    let open = generation(&path);
    assert_eq!(open.1, closed.0);
    assert!(open.2);
    append(&log, "in the same run").unwrap();
    let copy = path.with_file_name("copy.db");
    Reader::open(&path).unwrap().copy_to(&copy, &mut |_, _| {}).unwrap();
    log.close().unwrap();
    let copied = generation(&copy);
    assert_ne!(copied.0, open.0);
    assert_eq!((copied.1, copied.2, copied.3), (vec![0; 16], false, String::new()));
    verify_whole(&copy);
}

#[test]
fn a_log_that_another_machine_has_open_is_taken_over_only_on_demand() {
    let (_folder, path) = log_of_300();
    sqlite(&path).execute_batch("UPDATE generation SET is_open = 1, machine = 'another'").unwrap();
    if generation_machine_is_unknown(&path) {
        return eprintln!("skipped: this machine has no id");
    }
    let error = AuditLog::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::OtherMachine { .. }), "{error}");
    assert!(error.to_string().contains("--take-over"), "{error}");
    verify_whole(&path);
    let log = AuditLog::builder(&path).take_over().open_existing().unwrap();
    append(&log, "taken over").unwrap();
    log.close().unwrap();
    assert_ne!(generation(&path).3, "another");
    AuditLog::open(&path).unwrap().close().unwrap();
}

fn generation_machine_is_unknown(path: &Path) -> bool {
    let (_folder, own) = new_path();
    let log = AuditLog::open(&own).unwrap();
    append(&log, "opens it").unwrap();
    log.close().unwrap();
    let _ = path;
    generation(&own).3.is_empty()
}

#[test]
fn a_copy_taken_without_its_write_ahead_log_is_said_to_be_one() {
    let (_folder, path) = log_of_300();
    assert_eq!(Reader::open(&path).unwrap().caution(), None);
    let log = AuditLog::open(&path).unwrap();
    append(&log, "opens it").unwrap();
    // Whoever reads an older state keeps what came after it from being moved.
    let connection = sqlite(&path);
    let is_moved = || {
        let moved = connection.query_row("PRAGMA wal_checkpoint", [], |row| Ok((row.get(1)?, row.get(2)?)));
        let (frames, moved): (i64, i64) = moved.unwrap();
        frames == moved
    };
    while !is_moved() {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(connection);
    let copy = backup(&path);
    assert_eq!(Reader::open(&path).unwrap().caution(), None, "its write-ahead log is there");
    let caution = Reader::open(&copy).unwrap().caution().unwrap();
    assert!(caution.contains("without the `-wal` file"), "{caution}");
    log.close().unwrap();
    assert_eq!(Reader::open(&path).unwrap().caution(), None);
}

/// The header of a journal as SQLite writes it: what begins with anything but zero is applied.
fn put_journal(path: &Path, first: u8) {
    let mut journal = vec![0; 4_096];
    journal[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    journal[0] = first;
    fs::write(beside(path, "-journal"), journal).unwrap();
}

#[test]
fn a_hot_journal_is_refused_by_everybody_alike() {
    let (_folder, path) = log_of_300();
    put_journal(&path, 0xd9);
    let before = fs::read(&path).unwrap();
    for error in refusals(&path) {
        assert!(matches!(error, OpenError::HotJournal { .. }), "{error}");
        assert!(error.to_string().contains("audit.db-journal"), "{error}");
    }
    assert!(fs::read(&path).unwrap() == before);
    assert!(beside(&path, "-journal").exists());
}

#[test]
fn a_journal_that_begins_with_zero_is_not_hot() {
    let (_folder, path) = log_of_300();
    put_journal(&path, 0);
    assert_eq!(verify_whole(&path).log.events, 301);
    let log = AuditLog::open(&path).unwrap();
    append(&log, "beside it").unwrap();
    log.close().unwrap();
    assert_eq!(verify_whole(&path).log.events, 302);
}

#[test]
fn opening_a_copy_for_appending_leaves_no_journal() {
    let (_folder, path) = log_of_300();
    let copy = path.with_file_name("copy.db");
    Reader::open(&path).unwrap().copy_to(&copy, &mut |_, _| {}).unwrap();
    let log = AuditLog::open(&copy).unwrap();
    append(&log, "to the copy").unwrap();
    assert!(!beside(&copy, "-journal").exists());
    log.close().unwrap();
    assert_eq!(verify_whole(&copy).log.events, 302);
}

#[test]
fn a_file_that_was_cut_off_is_damaged() {
    let (_folder, path) = log_of_300();
    let bytes = path.metadata().unwrap().len();
    for kept in [bytes / 2, bytes / 4, 8_192] {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(kept).unwrap();
        let report = verify::verify(&path, Scope::LogOnly, &mut |_, _| {}).unwrap();
        assert!(!report.is_good(), "{kept} of {bytes} bytes");
    }
}

#[test]
fn a_link_at_a_place_beside_the_log_is_not_followed() {
    for ending in ["-wal", "-shm"] {
        let (folder, path) = log_of_300();
        let target = folder.path().join("target");
        fs::write(&target, b"").unwrap();
        symlink(&target, beside(&path, ending)).unwrap();
        AuditLog::open(&path).unwrap_err();
        assert_eq!(fs::read(&target).unwrap(), b"");
        fs::remove_file(beside(&path, ending)).unwrap();
        verify_whole(&path);
    }
}

#[test]
fn a_log_under_a_second_name_is_not_opened_while_it_is_in_use() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let log = AuditLog::open(&path).unwrap();
        append(&log, "acknowledged").unwrap();
        // A link is left in the place of the log, and the newcomer follows it.
        let real = path.with_file_name("real.db");
        fs::rename(&path, &real).unwrap();
        symlink(&real, &path).unwrap();
        for name in [&path, &real] {
            let error = AuditLog::open(name).unwrap_err();
            assert!(matches!(error, OpenError::OpenElsewhere { .. }), "{error}");
            let error = Reader::open(name).unwrap_err();
            assert!(matches!(error, OpenError::OpenElsewhere { .. }), "{error}");
        }
        append(&log, "refused").unwrap_err();
        fs::remove_file(&path).unwrap();
        fs::rename(&real, &path).unwrap();
        append_in_the_end(&log);
        log.close().unwrap();
        verify_whole(&path);
        assert_eq!([count(&path, "acknowledged"), count(&path, "refused")], [1, 0]);
    });
}

/// Unmounts in the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Mounts something, or says why the test is skipped.
fn mount(arguments: &[&str], at: &Path) -> Option<Mounted> {
    let mounted = Command::new("mount").args(arguments).arg(at).output();
    if mounted.is_ok_and(|mounted| mounted.status.success()) {
        return Some(Mounted(at.to_owned()));
    }
    eprintln!("skipped: nothing can be mounted here");
    None
}

#[test]
fn a_log_that_is_mounted_without_its_folder_is_refused() {
    let (folder, path) = log_of_300();
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let alone = inside.join("audit.db");
    fs::write(&alone, b"").unwrap();
    let Some(_mounted) = mount(&["--bind", path.to_str().unwrap()], &alone) else { return };
    let error = AuditLog::open(&alone).unwrap_err();
    assert!(matches!(error, OpenError::MountedAlone { .. }), "{error}");
    let error = Reader::open(&alone).unwrap_err();
    assert!(matches!(error, OpenError::MountedAlone { .. }), "{error}");
    assert!(error.to_string().contains("mount the folder"), "{error}");
    // The side outside of the mount is not concerned.
    let log = AuditLog::open(&path).unwrap();
    append(&log, "outside").unwrap();
    log.close().unwrap();
}

#[test]
fn a_folder_that_is_mounted_is_any_other_folder() {
    let (folder, path) = log_of_300();
    let other = folder.path().canonicalize().unwrap().join("other");
    fs::create_dir(&other).unwrap();
    let source = path.parent().unwrap().to_str().unwrap().to_owned();
    let Some(_mounted) = mount(&["--bind", &source], &other) else { return };
    let one = AuditLog::open(&path).unwrap();
    let two = AuditLog::open(other.join("audit.db")).unwrap();
    append(&one, "by one name").unwrap();
    append(&two, "by the other").unwrap();
    one.close().unwrap();
    two.close().unwrap();
    verify_whole(&path);
    assert_eq!([count(&path, "by one name"), count(&path, "by the other")], [1, 1]);
}

#[test]
fn a_log_from_the_lower_side_of_an_overlay_is_appended_to() {
    let (folder, _) = new_path();
    let folder = folder.path().canonicalize().unwrap();
    let Some(_ground) = mount(&["-t", "tmpfs", "annals-test"], &folder) else { return };
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|name| folder.join(name));
    for made in [&lower, &upper, &work, &merged] {
        fs::create_dir(made).unwrap();
    }
    let log = AuditLog::open(lower.join("audit.db")).unwrap();
    append(&log, "in the image").unwrap();
    log.close().unwrap();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let Some(_overlay) = mount(&["-t", "overlay", "-o", &options, "annals-overlay"], &merged) else { return };
    let path = merged.join("audit.db");
    // Only now does the file move from the lower side to the upper one.
    let log = AuditLog::open(&path).unwrap();
    append(&log, "in the container").unwrap();
    append(&log, "in the container").unwrap();
    log.close().unwrap();
    assert_eq!(verify_whole(&path).log.events, 4);
    assert_eq!(verify_whole(&lower.join("audit.db")).log.events, 2);
}

#[test]
fn a_restore_into_a_log_in_use_is_noticed() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let old = backup(&path);
        let log = AuditLog::open(&path).unwrap();
        let last = append(&log, "acknowledged").unwrap();
        log.wait_caught_up(last.seq).unwrap();
        // As the command .restore of sqlite3 does.
        let source = Connection::open(&old).unwrap();
        let mut target = sqlite(&path);
        let restored = rusqlite::backup::Backup::new(&source, &mut target).unwrap().run_to_completion(
            1_000,
            Duration::from_millis(5),
            None,
        );
        restored.unwrap();
        drop(target);
        let error = append(&log, "refused").unwrap_err();
        assert!(error.to_string().contains("no longer has event"), "{error}");
        // Also where nobody appends.
        while log.last_error().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(log.close().is_err());
        assert_eq!(count(&path, "refused"), 0);
    });
}

#[test]
fn tools_that_checkpoint_vacuum_or_change_the_journal_mode_do_no_harm() {
    within(LIMIT, || {
        let (_folder, path) = log_of_300();
        let log = AuditLog::open(&path).unwrap();
        let tool = sqlite(&path);
        tool.busy_timeout(Duration::from_millis(50)).unwrap();
        for statement in
            ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA journal_mode = DELETE", "PRAGMA optimize"]
        {
            append(&log, "before").unwrap();
            // One that meets somebody at work is refused by SQLite.
            drop(tool.execute_batch(statement));
            append(&log, "after").unwrap();
        }
        drop(tool);
        log.close().unwrap();
        verify_whole(&path);
        assert_eq!([count(&path, "before"), count(&path, "after")], [4, 4]);
        for statement in ["VACUUM", "PRAGMA journal_mode = DELETE", "PRAGMA wal_checkpoint(TRUNCATE)"] {
            sqlite(&path).execute_batch(statement).unwrap();
            let log = AuditLog::open(&path).unwrap();
            let appended = append(&log, "later").unwrap();
            log.wait_caught_up(appended.seq).unwrap();
            log.close().unwrap();
            verify_whole(&path);
        }
        assert_eq!(count(&path, "later"), 3);
        assert!(AuditLog::open(&path).unwrap().committed() > Seq::new(300));
    });
}

/// Everything in the sources under a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).unwrap();
        }
    }
    text
}

#[test]
fn the_table_of_the_file_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = sources(&root.join("tests")) + &sources(&root.join("src/log"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let (_, section) = page.split_once("## The file and what lies beside it").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() >= 24, "{}", rows.len());
    for row in rows {
        let names: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|name| is_test_name(name)).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}()")), "{name}");
        }
    }
}

#[test]
fn the_contract_of_the_store_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = sources(&root.join("tests")) + &sources(&root.join("src"));
    let page = fs::read_to_string(root.join("src/log/store.rs")).unwrap();
    let page: String = page.lines().filter(|line| line.starts_with("//!")).collect();
    let names: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|name| is_test_name(name)).collect();
    assert!(names.len() >= 25, "{}", names.len());
    for name in names {
        assert!(tests.contains(&format!("fn {name}()")), "{name}");
    }
}

fn is_test_name(name: &str) -> bool {
    name.contains('_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() > 20
}
