//! Several processes on one log.

#[allow(unused)]
use crate::support;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{new_path, note, start_child, tell, told, verify_whole};
use annals::verify::{self, Scope};
use annals::{
    AuditLog, Draft, Projections, SessionEnd, SessionEnded, SessionId, SessionStarted, StepEnded, StepId,
    StepStarted,
};
use rusqlite::Connection;

const PROCESSES: usize = 4;
const EVENTS_EACH: usize = 10_000;

/// Not a test by itself: what the processes that the tests start do.
#[test]
fn child() {
    let Some((role, path)) = support::role() else { return };
    match role.as_str() {
        "append" => append(&path),
        "create" => {
            tell("ready");
            wait_for_go();
            tell(AuditLog::open(path).unwrap().log_id());
        }
        // As sqlite3 or a script would.
        "read" => {
            let connection = Connection::open(path).unwrap();
            let last: i64 = connection.query_row("SELECT max(seq) FROM log", [], |row| row.get(0)).unwrap();
            connection.close().unwrap();
            tell(last);
        }
        "open and close" => {
            tell("ready");
            wait_for_go();
            for _ in 0..20 {
                let log = AuditLog::open(&path).unwrap();
                drop(log.append(note("and again")).unwrap());
                log.close().unwrap();
            }
        }
        role => panic!("unknown role {role}"),
    }
}

fn wait_for_go() {
    std::io::stdin().read_exact(&mut [0]).unwrap();
}

/// Sessions of a hundred events each, as an instrumented pipeline would send them.
fn append(path: &Path) {
    tell("ready");
    wait_for_go();
    let log = AuditLog::open(path).unwrap();
    let mut receipts = Vec::new();
    for number in 0..EVENTS_EACH {
        let session: SessionId = format!("{}-{}", std::process::id(), number / 100).parse().unwrap();
        let step: StepId = format!("step {}", number / 2).parse().unwrap();
        let draft = match number % 100 {
            0 => Draft::new(SessionStarted::default()),
            99 => Draft::new(SessionEnded { status: SessionEnd::Completed, ..Default::default() }),
            50 => note("half of it is done"),
            place if place % 2 == 0 => Draft::new(StepStarted { step, ..Default::default() }),
            _ => Draft::new(StepEnded { step, ..Default::default() }),
        };
        receipts.push(log.append(draft.session(session)).unwrap());
    }
    for receipt in receipts {
        receipt.wait().unwrap();
    }
    tell("appended");
    log.close().unwrap();
}

#[test]
fn four_processes_append_to_one_chain() {
    let (_folder, path) = new_path();
    let mut children: Vec<_> = (0..PROCESSES).map(|_| start_child(module_path!(), "append", &path)).collect();
    let mut told: Vec<_> = children.iter_mut().map(|child| told(child.stdout.take().unwrap())).collect();
    for told in &mut told {
        assert_eq!(told.next().as_deref(), Some("ready"));
    }
    let start = Instant::now();
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"!").unwrap();
    }
    let times: Vec<(Duration, Duration)> = std::thread::scope(|scope| {
        let waiting: Vec<_> = children
            .iter_mut()
            .zip(told)
            .map(|(child, mut told)| {
                scope.spawn(move || {
                    assert_eq!(told.next().as_deref(), Some("appended"));
                    let appended = start.elapsed();
                    assert!(child.wait().unwrap().success());
                    (appended, start.elapsed())
                })
            })
            .collect();
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let slowest = times.iter().map(|(appended, _)| *appended).max().unwrap();
    let fastest = times.iter().map(|(appended, _)| *appended).min().unwrap();
    eprintln!(
        "appended and closed after {times:.2?}: the slowest took {:.2} times as long as the fastest",
        slowest.as_secs_f64() / fastest.as_secs_f64()
    );
    assert!(!support::beside(&path, "-wal").exists(), "the last to close left the write-ahead log");
    let report = verify_whole(&path);
    assert_eq!(report.log.events, (PROCESSES * EVENTS_EACH + 1) as u64);
    assert_eq!(report.completeness.events_lost, 0);
    // Each process closed only when the read tables held what it had appended.
    assert_eq!(report.completeness.projections_behind, Vec::<String>::new());
}

#[test]
fn processes_that_create_one_log_at_once_agree_on_its_id() {
    for _ in 0..5 {
        open_at_once(|_| {});
    }
}

/// A copy has no write-ahead log until it is opened for appending: who opens it first changes that.
#[test]
fn processes_may_open_a_copy_at_once() {
    for _ in 0..20 {
        open_at_once(|path| {
            AuditLog::open(path).unwrap().close().unwrap();
            let copy = Connection::open(path).unwrap();
            copy.pragma_update(None, "journal_mode", "DELETE").unwrap();
            copy.close().unwrap();
        });
    }
}

fn open_at_once(make: impl FnOnce(&Path)) {
    let (folder, path) = new_path();
    make(&path);
    let mut children: Vec<_> = (0..8).map(|_| start_child(module_path!(), "create", &path)).collect();
    let mut told: Vec<_> = children.iter_mut().map(|child| told(child.stdout.take().unwrap())).collect();
    for told in &mut told {
        assert_eq!(told.next().as_deref(), Some("ready"));
    }
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"!").unwrap();
    }
    let ids: Vec<_> = told.iter_mut().map(|told| told.next().unwrap()).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(verify_whole(&path).log.events, 1);
    let left: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
}

/// One file is left, which can be copied and sent as it is.
#[test]
fn the_last_to_close_takes_the_write_ahead_log_away() {
    for _ in 0..2 {
        let (_folder, path) = new_path();
        let mut children: Vec<_> =
            (0..3).map(|_| start_child(module_path!(), "open and close", &path)).collect();
        for child in &mut children {
            child.stdin.take().unwrap().write_all(b"!").unwrap();
        }
        for child in &mut children {
            // Read to the end: a pipe that nobody empties would block it.
            assert_eq!(told(child.stdout.take().unwrap()).count(), 1);
            assert!(child.wait().unwrap().success());
        }
        assert!(!support::beside(&path, "-wal").exists());
        assert_eq!(verify_whole(&path).log.events, 61);
    }
}

fn last_event_that_another_process_sees(path: &Path) -> String {
    let mut reader = start_child(module_path!(), "read", path);
    let last: Vec<_> = told(reader.stdout.take().unwrap()).collect();
    assert!(reader.wait().unwrap().success());
    last.concat()
}

/// SQLite's locks are the process's, and closing any descriptor of the file gives all of them up. A
/// process without its lock looks gone to others, who then remove the write-ahead log under it, with
/// everything that it acknowledges from then on.
#[test]
fn a_reader_that_closes_leaves_the_write_ahead_log_to_the_process_that_writes() {
    for projections in [Projections::On, Projections::Off] {
        let (_folder, path) = new_path();
        let log = AuditLog::builder(&path).projections(projections).open().unwrap();
        log.append(note("first")).unwrap().wait().unwrap();
        // Readers of this process come and go, and so do others.
        verify::verify(&path, Scope::LogOnly, &mut |_, _| {}).unwrap();
        assert_eq!(last_event_that_another_process_sees(&path), "2");
        log.append(note("second")).unwrap().wait().unwrap();
        assert_eq!(last_event_that_another_process_sees(&path), "3");
        log.rebuild("activity").unwrap();
        assert_eq!(last_event_that_another_process_sees(&path), "3");
        log.append(note("third")).unwrap().wait().unwrap();
        assert_eq!(last_event_that_another_process_sees(&path), "4");
        log.close().unwrap();
        verify_whole(&path);
    }
}
