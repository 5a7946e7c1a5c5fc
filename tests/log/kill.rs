//! Processes that are killed: nothing that they acknowledged is lost, whatever they were doing.

use crate::support;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{is_heavy, new_path, note, start_child, tell, told, verify_whole, within};
use annals::{
    AuditLog, Draft, EventId, SessionEnd, SessionEnded, SessionId, SessionStarted, StepEnded, StepId,
    StepStarted,
};
use rusqlite::Connection;

const LIMIT: Duration = Duration::from_secs(600);
const THREADS: u32 = 8;
const REBUILT: [&str; 4] = ["sessions", "activity", "search", "keys"];

/// Not a test by itself: what the processes do that are killed.
#[test]
fn child() {
    let Some((role, path)) = support::role() else { return };
    tell("ready");
    match role.as_str() {
        "append" => append_for_ever(&AuditLog::open(path).unwrap()),
        "create" => {
            let log = AuditLog::open(path).unwrap();
            let appended = log.append(note("the first")).unwrap().wait().unwrap();
            tell(appended.event_id);
            log.close().unwrap();
        }
        "rebuild" => {
            let log = AuditLog::open(path).unwrap();
            for projection in REBUILT.iter().cycle() {
                log.rebuild(projection).unwrap();
                let appended = log.append(note("during the rebuild")).unwrap().wait().unwrap();
                tell(appended.event_id);
            }
        }
        "close" => {
            let log = AuditLog::open(path).unwrap();
            for number in 0..500 {
                drop(log.append(note(number.to_string())).unwrap());
            }
            tell(log.append(note("the last")).unwrap().wait().unwrap().event_id);
            log.close().unwrap();
            tell("closed");
        }
        role => panic!("unknown role {role}"),
    }
}

/// Eight threads, each with sessions of its own; what is acknowledged is told.
fn append_for_ever(log: &AuditLog) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0.. {
                    let session: SessionId =
                        format!("{}-{thread}-{}", std::process::id(), number / 20).parse().unwrap();
                    let step: StepId = format!("step {}", number / 2).parse().unwrap();
                    let draft = match number % 20 {
                        0 => Draft::new(SessionStarted::default()),
                        19 => {
                            Draft::new(SessionEnded { status: SessionEnd::Completed, ..Default::default() })
                        }
                        10 => note("x".repeat(10_000)),
                        place if place % 2 == 0 => Draft::new(StepStarted { step, ..Default::default() }),
                        _ => Draft::new(StepEnded { step, ..Default::default() }),
                    };
                    let receipt = log.append(draft.session(session)).unwrap();
                    tell(receipt.wait().unwrap().event_id);
                }
            });
        }
    });
}

/// Numbers without a pattern, from the generator of ids.
fn random(below: u64) -> u64 {
    let id = EventId::generate();
    let last: [u8; 8] = id.bytes()[8..].try_into().unwrap();
    u64::from_le_bytes(last) % below
}

fn rounds(normal: u32) -> u32 {
    if is_heavy() { 10 * normal } else { normal }
}

/// Starts a process, kills it some time after it is ready, and returns what it acknowledged.
fn kill_within(role: &str, path: &Path, limit_us: u64) -> Vec<String> {
    let mut child = start_child(module_path!(), role, path);
    let mut told = told(child.stdout.take().unwrap());
    assert_eq!(told.next().as_deref(), Some("ready"));
    let reader = std::thread::Builder::new();
    std::thread::scope(|scope| {
        let acknowledged = reader.spawn_scoped(scope, || told.collect()).unwrap();
        std::thread::sleep(Duration::from_micros(random(limit_us)));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.join().unwrap()
    })
}

/// Opens the log as the next process would, and holds everything against what was acknowledged.
fn holds(path: &Path, acknowledged: &[String]) {
    let path = path.to_owned();
    let acknowledged: Vec<EventId> =
        acknowledged.iter().filter(|line| *line != "closed").map(|id| id.parse().unwrap()).collect();
    within(LIMIT, move || {
        let log = AuditLog::open(&path).unwrap();
        let next = log.append(note("after the kill")).unwrap().wait().unwrap();
        log.wait_caught_up(next.seq).unwrap();
        log.close().unwrap();
        let report = verify_whole(&path);
        assert_eq!(report.completeness.projections_behind, Vec::<String>::new());
        assert_eq!(report.log.events, next.seq.get());
        let found: HashSet<EventId> = Connection::open(&path)
            .unwrap()
            .prepare("SELECT event_id FROM log")
            .unwrap()
            .query_map([], |row| Ok(EventId::from_bytes(row.get(0)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(found.len() as u64, report.log.events);
        let missing: Vec<_> = acknowledged.iter().filter(|id| !found.contains(id)).collect();
        assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let (_folder, path) = new_path();
    let mut acknowledged = Vec::new();
    for round in 0..rounds(10) {
        // Longer than a checkpoint waits, sometimes.
        acknowledged.extend(kill_within("append", &path, 400_000));
        if path.exists() {
            holds(&path, &acknowledged);
        }
        eprintln!("round {round}: {} events acknowledged so far", acknowledged.len());
    }
    assert!(!acknowledged.is_empty());
}

#[test]
fn a_log_is_made_whole_or_not_at_all() {
    let mut found = BTreeMap::new();
    for _ in 0..rounds(20) {
        let (_folder, path) = new_path();
        let acknowledged = kill_within("create", &path, 30_000);
        *found.entry((path.exists(), !acknowledged.is_empty())).or_insert(0) += 1;
        assert!(path.exists() || acknowledged.is_empty());
        holds(&path, &acknowledged);
    }
    eprintln!("(was there, had acknowledged): {found:?}");
}

#[test]
fn a_rebuild_that_is_killed_goes_on_later() {
    let (_folder, path) = new_path();
    {
        let log = AuditLog::open(&path).unwrap();
        let mut receipts = Vec::new();
        for number in 0..3_000 {
            let session: SessionId = format!("session {}", number / 10).parse().unwrap();
            let step: StepId = format!("step {number}").parse().unwrap();
            let draft = Draft::new(StepStarted { step, ..Default::default() }).session(session);
            receipts.push(log.append(draft).unwrap());
        }
        receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
        log.close().unwrap();
    }
    let mut acknowledged = Vec::new();
    for _ in 0..rounds(8) {
        acknowledged.extend(kill_within("rebuild", &path, 400_000));
        holds(&path, &acknowledged);
    }
    let left: Vec<String> = Connection::open(&path)
        .unwrap()
        .prepare(
            "SELECT format('%s at %d: %s', name, position, error) FROM projections WHERE stage = 'building'",
        )
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(left, Vec::<String>::new(), "rebuilds left undone");
    assert!(!acknowledged.is_empty());
}

#[test]
fn a_kill_while_it_closes_loses_nothing() {
    for _ in 0..rounds(10) {
        let (_folder, path) = new_path();
        let mut child = start_child(module_path!(), "close", &path);
        let mut told = told(child.stdout.take().unwrap());
        assert_eq!(told.next().as_deref(), Some("ready"));
        let acknowledged = told.next().unwrap();
        let start = Instant::now();
        std::thread::sleep(Duration::from_micros(random(60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let closed = told.next().is_some();
        eprintln!("killed after {:?}, closed: {closed}", start.elapsed());
        holds(&path, &[acknowledged]);
        assert!(verify_whole(&path).log.events > 502);
    }
}
