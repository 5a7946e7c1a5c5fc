//! A file system that fails at any one call, or for a while, and then works again.

use crate::support;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::fault_vfs::{Done, Fault, Operation, inject, install};
use crate::support::{is_heavy, new_path, note, start_child, tell, told, verify_whole, within};
use annals::evidence::{Epochs, Evidence, KeyFolder, Signing};
use annals::{
    AppendError, AppendOutcome, Appended, AuditLog, Draft, Durability, EventId, Projections, Timestamp,
};
use rusqlite::{Connection, ffi};

const LIMIT: Duration = Duration::from_secs(600);

/// Until the file system is healed.
const FOR_A_WHILE: u64 = u64::MAX;

const WRITER: Option<&str> = Some("annals-writer");

/// Not a test by itself: what a process does that dies after a commit of which it does not know.
#[test]
fn child() {
    let Some((_, path)) = support::role() else { return };
    install();
    let log = AuditLog::open(&path).unwrap();
    let certain = log.append(note("certain")).unwrap().wait().unwrap();
    // A projection that commits after the failure would write over what took effect.
    log.wait_caught_up(certain.seq).unwrap();
    let fault = Fault {
        operation: Operation::Sync,
        nth: 1,
        times: FOR_A_WHILE,
        done: Done::All,
        code: ffi::SQLITE_IOERR_FSYNC,
        thread: WRITER,
    };
    let _injected = inject(&path, fault);
    let outcome = log.append(unsure()).unwrap().wait();
    assert!(matches!(outcome, Err(AppendError::Ambiguous { .. })), "{outcome:?}");
    tell("unsure");
    std::process::abort();
}

fn unsure() -> Draft {
    note("unsure").id(EventId::from_name("unsure"))
}

/// An event, and everything that was answered when it was sent, until it was acknowledged.
struct Sent {
    draft: Draft,
    refusals: Vec<AppendError>,
    appended: Option<Appended>,
}

impl Sent {
    fn answer(&mut self, outcome: Result<Appended, AppendError>) {
        match outcome {
            Ok(appended) => self.appended = Some(appended),
            Err(error @ (AppendError::NotWritten { .. } | AppendError::Ambiguous { .. })) => {
                self.refusals.push(error);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// When the file system is well again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Healed {
    /// When the events were answered, whether there was a call to fail or not.
    AfterTheAnswers,
    /// When a call failed, too.
    AfterAFailure,
}

/// Appends while a fault is in force, heals it, sends again what was refused, and checks everything.
/// Returns whether there was a call to fail.
fn survives(template: &Path, fault: Fault, projections: Projections, healed: Healed) -> bool {
    let (_folder, path) = new_path();
    std::fs::copy(template, &path).unwrap();
    let log = AuditLog::builder(&path).projections(projections).open().unwrap();
    let mut all: Vec<Sent> = (0..9)
        .map(|number| {
            // Some take several pages.
            let message = format!("note {number}").repeat(if number % 3 == 1 { 2_000 } else { 1 });
            let draft = note(message).id(EventId::generate());
            Sent { draft, refusals: Vec::new(), appended: None }
        })
        .collect();
    let injected = inject(&path, fault);
    for batch in all.chunks_mut(3) {
        let receipts: Vec<_> = batch.iter().map(|sent| log.append(sent.draft.clone()).unwrap()).collect();
        batch.iter_mut().zip(receipts).for_each(|(sent, receipt)| sent.answer(receipt.wait()));
    }
    // The projections have what was committed to fold, and come to it when there is a processor for them.
    while healed == Healed::AfterAFailure && !injected.fired() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let fired = injected.fired();
    drop(injected);
    for sent in &mut all {
        while sent.appended.is_none() {
            sent.answer(log.append(sent.draft.clone()).unwrap().wait());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let last = log.append(note("the last")).unwrap().wait().unwrap();
    assert_eq!(log.last_error(), None);
    let refused: u64 = all.iter().map(|sent| sent.refusals.len() as u64).sum();
    assert_eq!(log.refused(), refused);
    if projections == Projections::On {
        log.wait_caught_up_within(last.seq, LIMIT).unwrap();
    }
    log.close().unwrap();

    let report = verify_whole(&path);
    // All of them were sent again, under the same ids.
    assert_eq!(report.completeness.events_lost, 0);
    let connection = Connection::open(&path).unwrap();
    let mut find = connection.prepare("SELECT seq FROM log WHERE event_id = ?1").unwrap();
    for sent in &all {
        let appended = sent.appended.unwrap();
        let seqs: Vec<i64> = find
            .query_map([appended.event_id.bytes()], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(seqs, [i64::try_from(appended.seq.get()).unwrap()]);
    }
    if projections == Projections::On {
        assert_eq!(report.completeness.projections_behind, Vec::<String>::new());
    }
    fired
}

fn template() -> (tempfile::TempDir, PathBuf) {
    install();
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    drop(log.append(note("from before")).unwrap());
    log.close().unwrap();
    (folder, path)
}

/// Runs `survives` with the fault at call 1, 2, 3 … until there is no such call.
fn survives_at_every_call(fault: Fault, projections: Projections) {
    let (_folder, template) = template();
    let next = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    let calls = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let fault = Fault { nth: next.fetch_add(1, Ordering::SeqCst), ..fault };
                    let template = template.clone();
                    if within(LIMIT * 2, move || {
                        survives(&template, fault, projections, Healed::AfterTheAnswers)
                    }) {
                        calls.fetch_add(1, Ordering::SeqCst);
                    } else {
                        done.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    eprintln!("{fault:?}: {calls:?} calls");
    assert!(calls.into_inner() > 0, "no call ever failed");
}

fn once(operation: Operation, done: Done, code: c_int) -> Fault {
    Fault { operation, nth: 1, times: 1, done, code, thread: WRITER }
}

fn for_a_while(operation: Operation, done: Done, code: c_int) -> Fault {
    Fault { times: FOR_A_WHILE, ..once(operation, done, code) }
}

#[test]
fn a_write_that_fails() {
    survives_at_every_call(once(Operation::Write, Done::Nothing, ffi::SQLITE_IOERR_WRITE), Projections::On);
}

#[test]
fn a_write_that_is_torn() {
    survives_at_every_call(once(Operation::Write, Done::Half, ffi::SQLITE_IOERR_WRITE), Projections::Off);
}

#[test]
fn a_write_that_was_done_and_reported_as_failed() {
    survives_at_every_call(once(Operation::Write, Done::All, ffi::SQLITE_IOERR_WRITE), Projections::Off);
}

#[test]
fn a_disk_that_is_full_for_a_while() {
    survives_at_every_call(for_a_while(Operation::Write, Done::Nothing, ffi::SQLITE_FULL), Projections::On);
}

#[test]
fn a_sync_that_fails() {
    survives_at_every_call(once(Operation::Sync, Done::Nothing, ffi::SQLITE_IOERR_FSYNC), Projections::On);
    survives_at_every_call(once(Operation::Sync, Done::Nothing, ffi::SQLITE_IOERR_FSYNC), Projections::Off);
}

#[test]
fn a_sync_that_was_done_and_reported_as_failed() {
    survives_at_every_call(once(Operation::Sync, Done::All, ffi::SQLITE_IOERR_FSYNC), Projections::On);
}

#[test]
fn syncs_that_fail_for_a_while() {
    survives_at_every_call(
        for_a_while(Operation::Sync, Done::Nothing, ffi::SQLITE_IOERR_FSYNC),
        Projections::On,
    );
    survives_at_every_call(
        for_a_while(Operation::Sync, Done::All, ffi::SQLITE_IOERR_FSYNC),
        Projections::Off,
    );
}

#[test]
fn a_lock_that_cannot_be_had() {
    survives_at_every_call(
        once(Operation::ShmLock, Done::Nothing, ffi::SQLITE_IOERR_SHMLOCK),
        Projections::On,
    );
    survives_at_every_call(once(Operation::ShmLock, Done::Nothing, ffi::SQLITE_BUSY), Projections::Off);
}

#[test]
fn a_read_that_fails() {
    let fault = Fault { thread: None, ..once(Operation::Read, Done::Nothing, ffi::SQLITE_IOERR_READ) };
    survives_at_every_call(fault, Projections::On);
}

#[test]
fn a_disk_that_fails_the_projections_for_a_while() {
    for operation in [Operation::Write, Operation::ShmLock] {
        let fault = Fault {
            thread: Some("annals-projections"),
            ..for_a_while(operation, Done::Nothing, ffi::SQLITE_IOERR)
        };
        let (_folder, template) = template();
        assert!(within(LIMIT, move || {
            survives(&template, fault, Projections::On, Healed::AfterAFailure)
        }));
    }
}

#[test]
fn checkpoints_that_fail_for_a_while_cost_nothing() {
    within(LIMIT, || {
        let (_folder, template) = template();
        for (done, code) in [(Done::Nothing, ffi::SQLITE_FULL), (Done::Half, ffi::SQLITE_IOERR_WRITE)] {
            let (_folder, path) = new_path();
            std::fs::copy(&template, &path).unwrap();
            let log = AuditLog::open(&path).unwrap();
            let injected = inject(&path, for_a_while(Operation::WriteDatabase, done, code));
            for _ in 0..3 {
                log.append(note("x".repeat(50_000))).unwrap().wait().unwrap();
            }
            // The writer has nothing else to do, and tries one.
            while !injected.fired() {
                std::thread::yield_now();
            }
            let last = log.append(note("not in the way of others")).unwrap().wait().unwrap();
            log.wait_caught_up(last.seq).unwrap();
            assert_eq!((log.last_error(), log.refused()), (None, 0));
            drop(injected);
            log.close().unwrap();
            assert_eq!(verify_whole(&path).log.events, 6);
        }
    });
}

/// Every way in which opening, and making, a log can fail.
#[test]
fn an_opening_that_failed_can_be_tried_again() {
    let (_folder, template) = template();
    let operations = [
        (Operation::Open, ffi::SQLITE_CANTOPEN),
        (Operation::Read, ffi::SQLITE_IOERR_READ),
        (Operation::Write, ffi::SQLITE_FULL),
        (Operation::Sync, ffi::SQLITE_IOERR_FSYNC),
        (Operation::FileSize, ffi::SQLITE_IOERR_FSTAT),
        (Operation::Lock, ffi::SQLITE_IOERR_LOCK),
        (Operation::Lock, ffi::SQLITE_BUSY),
        (Operation::ShmMap, ffi::SQLITE_IOERR_SHMMAP),
        (Operation::ShmLock, ffi::SQLITE_IOERR_SHMLOCK),
        (Operation::Truncate, ffi::SQLITE_IOERR_TRUNCATE),
        (Operation::Delete, ffi::SQLITE_IOERR_DELETE),
    ];
    for is_new in [true, false] {
        for (operation, code) in operations {
            let mut calls = 0;
            loop {
                let (folder, path) = new_path();
                if !is_new {
                    std::fs::copy(&template, &path).unwrap();
                }
                let fault =
                    Fault { operation, nth: calls + 1, times: 1, done: Done::Nothing, code, thread: None };
                let injected = inject(&path, fault);
                let builder = AuditLog::builder(&path).projections(Projections::Off);
                let opened = within(LIMIT, move || builder.open());
                let fired = injected.fired();
                drop(injected);
                match opened {
                    Ok(log) => log.close().unwrap(),
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains(path.to_str().unwrap()), "{error}");
                        assert!(fired, "{error}");
                    }
                }
                let log = AuditLog::open(&path).unwrap();
                log.append(note("after all")).unwrap().wait().unwrap();
                log.close().unwrap();
                let mut left: Vec<_> =
                    folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
                left.sort();
                assert_eq!(left, ["audit.db", "audit.db-next", "audit.db-turn"], "{fault:?}");
                verify_whole(&path);
                if !fired {
                    break;
                }
                // Making a log takes many writes that are alike.
                calls += if operation == Operation::Write && !is_heavy() { 4 } else { 1 };
            }
            eprintln!("{operation:?}, new {is_new}: {calls} calls");
        }
    }
}

/// Moves the file away while the writer is between the beginning and the end of a batch: the commit
/// takes effect, and the writer cannot know for whom.
#[test]
fn events_of_a_commit_that_took_effect_are_not_counted_as_lost() {
    within(LIMIT, || {
        let (folder, path) = new_path();
        let elsewhere = folder.path().join("elsewhere.db");
        let trap = Arc::new(AtomicBool::new(false));
        let clock = {
            let (trap, path, elsewhere) = (trap.clone(), path.clone(), elsewhere.clone());
            move || {
                if trap.swap(false, Ordering::SeqCst) {
                    std::fs::rename(&path, &elsewhere).unwrap();
                }
                Timestamp::now()
            }
        };
        let log = AuditLog::builder(&path).clock(clock).open().unwrap();
        let send = |draft: &Draft| log.append(draft.clone()).unwrap().wait();
        let send_until_acknowledged = |draft: &Draft| {
            loop {
                match send(draft) {
                    Ok(appended) => return appended,
                    Err(AppendError::NotWritten { .. }) => std::thread::sleep(Duration::from_millis(10)),
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let draft = |text: &str| note(text).id(EventId::from_name(text));

        // One event is not written, and one is, though nobody can say so.
        std::fs::rename(&path, &elsewhere).unwrap();
        let outcome = send(&draft("first"));
        assert!(matches!(outcome, Err(AppendError::NotWritten { .. })), "{outcome:?}");
        trap.store(true, Ordering::SeqCst);
        std::fs::rename(&elsewhere, &path).unwrap();
        // The next commit is that of `events.lost`, and falls into the trap.
        while trap.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        while !elsewhere.exists() {
            std::thread::yield_now();
        }
        std::fs::rename(&elsewhere, &path).unwrap();
        let refused = log.refused();
        let first = send_until_acknowledged(&draft("first"));
        assert_eq!(first.outcome, AppendOutcome::New);

        trap.store(true, Ordering::SeqCst);
        let outcome = send(&draft("second"));
        assert!(matches!(outcome, Err(AppendError::Ambiguous { .. })), "{outcome:?}");
        let flushed = log.flush();
        assert!(matches!(flushed, Err(AppendError::Ambiguous { .. })), "{flushed:?}");
        std::fs::rename(&elsewhere, &path).unwrap();
        let second = send_until_acknowledged(&draft("second"));
        assert_eq!(second.outcome, AppendOutcome::AlreadyRecorded);
        log.close().unwrap();
        let report = verify_whole(&path);
        assert_eq!(report.completeness.events_lost, 0, "{refused} were refused");
    });
}

/// What a process did not know, its successor reads in the write-ahead log.
#[test]
fn an_event_of_a_commit_that_took_effect_before_the_process_died_is_already_recorded() {
    let (_folder, path) = new_path();
    let mut child = start_child(module_path!(), "die", &path);
    assert_eq!(told(child.stdout.take().unwrap()).next().as_deref(), Some("unsure"));
    assert!(!child.wait().unwrap().success());
    let log = AuditLog::open(&path).unwrap();
    let appended = log.append(unsure()).unwrap().wait().unwrap();
    assert_eq!(appended.outcome, AppendOutcome::AlreadyRecorded);
    log.close().unwrap();
    verify_whole(&path);
}

/// A log that signs when it is asked, and a fault that its evidence's thread meets.
fn signing_with(fault: Fault) {
    let (folder, template) = template();
    let (_folder, path) = new_path();
    std::fs::copy(&template, &path).unwrap();
    let origin = annals::Reader::open(&path).unwrap().origin().unwrap();
    let keys = KeyFolder::at(folder.path().join("keys"));
    let public = keys.generate(&origin, Epochs::None, Timestamp::now()).unwrap();
    let signing = Signing::new(keys.clone()).every(Duration::from_secs(1_000_000)).every_events(u64::MAX);
    // Even where an acknowledgement does not mean flushed, a signature does.
    let builder = AuditLog::builder(&path).durability(Durability::Normal).projections(Projections::Off);
    let log = builder.evidence(Evidence::Signed(Box::new(signing))).open().unwrap();
    let appended = log.append(note("not flushed yet")).unwrap().wait().unwrap();

    let injected = inject(&path, fault);
    let refused = log.checkpoint();
    assert!(injected.fired(), "{fault:?}");
    assert!(refused.is_err(), "{fault:?}: {refused:?}");
    assert_eq!(keys.last_signed().unwrap(), None, "{fault:?}");
    drop(injected);

    let checkpoint = log.checkpoint().unwrap();
    assert_eq!(checkpoint.size(), appended.seq.get());
    checkpoint.verify(std::slice::from_ref(&public.stable)).unwrap();
    let last = log.append(note("the last")).unwrap().wait().unwrap();
    log.close().unwrap();
    assert_eq!(keys.last_signed().unwrap().unwrap().size(), last.seq.get());
    verify_whole(&path);
}

#[test]
fn what_could_not_be_flushed_is_not_signed_for() {
    within(LIMIT, || {
        for (operation, code) in
            [(Operation::Sync, ffi::SQLITE_IOERR_FSYNC), (Operation::Write, ffi::SQLITE_FULL)]
        {
            let thread = Some("annals-evidence");
            signing_with(Fault { thread, ..for_a_while(operation, Done::Nothing, code) });
        }
    });
}
