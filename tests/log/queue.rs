//! The queue between the callers and the writer: what blocks, what comes back, what closing does, and
//! what sending an event twice does.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::support::executor::{Unpark, block_on};
use crate::support::{new_path, note, verify_whole, within};
use annals::{
    AppendError, AppendOutcome, AuditLog, CloseError, Draft, Event, EventId, PayloadRedacted, PrepareError,
    RedactionRequest, Seq, Timestamp, TryAppendError,
};
use rusqlite::Connection;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(600);

/// Long enough for what should not happen to happen.
const A_WHILE: Duration = Duration::from_millis(50);

/// Holds the writer where it asks for the time.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    shut: bool,
    panics: bool,
    inside: bool,
}

impl Gate {
    fn clock(&self) -> impl Fn() -> Timestamp + Send + Sync + 'static {
        let gate = self.clone();
        move || {
            let (state, changed) = &*gate.0;
            let mut state = state.lock().unwrap();
            state.inside = true;
            changed.notify_all();
            while state.shut {
                state = changed.wait(state).unwrap();
            }
            let panics = state.panics;
            drop(state);
            assert!(!panics, "the clock is broken");
            Timestamp::now()
        }
    }

    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn shut(&self) {
        self.change(|state| *state = GateState { shut: true, ..Default::default() });
    }

    fn open(&self) {
        self.change(|state| state.shut = false);
    }

    fn break_clock(&self) {
        self.change(|state| *state = GateState { panics: true, ..Default::default() });
    }

    fn wait_until_writer_is_inside(&self) {
        let (state, changed) = &*self.0;
        drop(changed.wait_while(state.lock().unwrap(), |state| !state.inside).unwrap());
    }
}

/// A log whose writer is held, with one event in its hands and `queue_events` in the queue.
struct FullQueue {
    _folder: TempDir,
    path: PathBuf,
    log: AuditLog,
    gate: Gate,
    receipts: Vec<annals::Receipt>,
}

impl FullQueue {
    fn new(queue_events: usize) -> FullQueue {
        let (folder, path) = new_path();
        let gate = Gate::default();
        let log = AuditLog::builder(&path)
            .queue_events(queue_events)
            .batch_events(1)
            .clock(gate.clock())
            .open()
            .unwrap();
        gate.shut();
        let mut receipts = vec![log.append(note("in the writer's hands")).unwrap()];
        gate.wait_until_writer_is_inside();
        for _ in 0..queue_events {
            receipts.push(log.try_append(note("in the queue")).unwrap());
        }
        FullQueue { _folder: folder, path, log, gate, receipts }
    }
}

fn events(path: &Path) -> i64 {
    Connection::open(path).unwrap().query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap()
}

/// Runs in a thread, and tells when it is done.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().spawn(move || sender.send(work())).unwrap();
    receiver
}

#[test]
fn append_blocks_while_the_queue_is_full() {
    let full = FullQueue::new(3);
    let log = full.log.clone();
    let done = in_thread(move || log.append(note("one too many")).unwrap().wait().unwrap().seq);
    assert!(done.recv_timeout(A_WHILE).is_err(), "it did not block");
    full.gate.open();
    assert_eq!(done.recv_timeout(LIMIT).unwrap(), Seq::new(6));
}

#[test]
fn try_append_gives_the_draft_back_with_its_id() {
    let full = FullQueue::new(2);
    let Err(TryAppendError::Full(draft)) = full.log.try_append(note("again")) else { panic!("not full") };
    let id = draft.id.expect("it has an id now");
    let Err(TryAppendError::Full(draft)) = full.log.try_append(*draft) else { panic!("not full") };
    assert_eq!(draft.id, Some(id));
    full.gate.open();
    full.receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
    let appended = full.log.try_append(*draft).unwrap().wait().unwrap();
    assert_eq!((appended.event_id, appended.outcome), (id, AppendOutcome::New));
}

#[test]
fn append_async_leaves_the_executor_to_other_tasks_while_it_waits() {
    let appended = within(LIMIT, || {
        let full = FullQueue::new(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let append = async { full.log.append_async(note("async")).await.unwrap().await.unwrap() };
            // Polled only after the append found the queue full.
            let other = async { full.gate.open() };
            tokio::join!(append, other).0
        })
    });
    assert_eq!(appended.seq, Seq::new(4));
}

#[test]
fn append_async_works_on_any_executor() {
    let appended = within(LIMIT, || {
        let full = FullQueue::new(1);
        let gate = full.gate.clone();
        let mut append = Box::pin(full.log.append_async(note("async")));
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        assert!(append.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        gate.open();
        block_on(async { append.await.unwrap().await.unwrap() })
    });
    assert_eq!(appended.seq, Seq::new(4));
}

#[test]
fn append_async_finds_room_while_the_writer_lingers() {
    within(LIMIT, || {
        let (_folder, path) = new_path();
        let log = AuditLog::builder(&path)
            .queue_events(1)
            .batch_events(50)
            .linger(Duration::from_secs(3600))
            .open()
            .unwrap();
        let receipts = block_on(async {
            let mut receipts = Vec::new();
            for number in 0..50 {
                receipts.push(log.append_async(note(number.to_string())).await.unwrap());
            }
            receipts
        });
        receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
    });
}

#[test]
fn an_event_is_appended_though_nobody_waits_for_it() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    for number in 0..100 {
        drop(log.append(note(number.to_string())).unwrap());
    }
    assert_eq!(log.flush().unwrap(), Seq::new(101));
    assert_eq!(events(&path), 101);
}

#[test]
fn dropping_the_last_clone_commits_everything() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let clone = log.clone();
    for number in 0..1_000 {
        drop(log.append(note(number.to_string())).unwrap());
    }
    drop(log);
    drop(clone.append(note("the last")).unwrap());
    drop(clone);
    let report = verify_whole(&path);
    assert_eq!(report.log.events, 1_002);
    assert!(report.completeness.complete, "{:?}", report.completeness);
}

/// Events that were committed when each event was sealed: batches begin where it changes.
fn committed_when_sealed(
    configure: impl FnOnce(annals::Builder) -> annals::Builder + Send + 'static,
) -> Vec<i64> {
    within(LIMIT, move || {
        let (_folder, path) = new_path();
        drop(AuditLog::open(&path).unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let clock = {
            let (seen, path) = (seen.clone(), path.clone());
            move || {
                seen.lock().unwrap().push(events(&path));
                Timestamp::now()
            }
        };
        // Nothing but a full batch is committed before the end.
        let builder = AuditLog::builder(&path).linger(Duration::from_secs(3600)).clock(clock);
        let log = configure(builder).open().unwrap();
        for _ in 0..5 {
            drop(log.append(note("x".repeat(1_000))).unwrap());
        }
        log.close().unwrap();
        seen.lock().unwrap().clone()
    })
}

#[test]
fn a_batch_has_no_more_events_than_it_may() {
    assert_eq!(committed_when_sealed(|builder| builder.batch_events(2)), [1, 1, 3, 3, 5]);
}

#[test]
fn a_batch_is_closed_when_it_has_its_bytes() {
    assert_eq!(committed_when_sealed(|builder| builder.batch_bytes(2_500)), [1, 1, 1, 4, 4]);
}

#[test]
fn a_flush_does_not_linger() {
    within(LIMIT, || {
        let (_folder, path) = new_path();
        let log = AuditLog::builder(&path).linger(Duration::from_secs(3600)).open().unwrap();
        drop(log.append(note("first")).unwrap());
        assert_eq!(log.flush().unwrap(), Seq::new(2));
        drop(log.append(note("second")).unwrap());
        log.close().unwrap();
        assert_eq!(events(&path), 3);
    });
}

#[test]
fn a_flush_says_once_that_something_was_refused() {
    within(LIMIT, || {
        let (folder, path) = new_path();
        let log = AuditLog::open(&path).unwrap();
        let elsewhere = folder.path().join("elsewhere.db");
        std::fs::rename(&path, &elsewhere).unwrap();
        let refused = log.append(note("refused")).unwrap().wait();
        assert!(matches!(refused, Err(AppendError::NotWritten { .. })), "{refused:?}");
        std::fs::rename(&elsewhere, &path).unwrap();
        while log.last_error().is_some() {
            std::thread::yield_now();
        }
        let flushed = log.flush();
        assert!(matches!(flushed, Err(AppendError::NotWritten { .. })), "{flushed:?}");
        // The second event says that one was lost.
        assert_eq!(log.flush().unwrap(), Seq::new(2));
        assert_eq!(log.refused(), 1);
        log.close().unwrap();
        assert_eq!(verify_whole(&path).completeness.events_lost, 1, "it was not sent again");
    });
}

#[test]
fn closing_one_clone_closes_every_other() {
    within(LIMIT, || {
        let (_folder, path) = new_path();
        let log = AuditLog::open(&path).unwrap();
        let clone = log.clone();
        drop(log.append(note("before")).unwrap());
        log.close().unwrap();
        assert_eq!(events(&path), 2);
        assert!(matches!(clone.append(note("after")), Err(AppendError::Closed)));
        let tried = clone.try_append(note("after"));
        assert!(matches!(tried, Err(TryAppendError::Append(AppendError::Closed))), "{tried:?}");
        assert!(matches!(block_on(clone.append_async(note("after"))), Err(AppendError::Closed)));
        assert!(matches!(
            clone.redact(RedactionRequest {
                seqs: vec![Seq::new(2)],
                actor: "a".into(),
                reason: "b".into(),
                ..Default::default()
            }),
            Err(AppendError::Closed)
        ));
        assert!(matches!(clone.flush(), Err(AppendError::Closed)));
        clone.wait_caught_up(Seq::new(2)).unwrap();
        clone.close().unwrap();
        assert_eq!(verify_whole(&path).log.events, 2);
    });
}

#[test]
fn what_blocks_can_be_awaited_on_any_executor() {
    within(LIMIT, || {
        let (_folder, path) = new_path();
        let log = AuditLog::open(&path).unwrap();
        block_on(async {
            let appended = log.append_async(note("one")).await.unwrap().await.unwrap();
            let batch = log.append_batch_async(vec![note("two"), note("three")]).await.unwrap().await;
            assert!(batch.iter().all(Result::is_ok), "{batch:?}");
            let head = log.flush_async().await.unwrap();
            assert_eq!(head, Seq::new(appended.seq.get() + 2));
            log.wait_caught_up_async(head).await.unwrap();
            let notes = "SELECT count(*) FROM notes";
            let notes: u32 = Connection::open(&path).unwrap().query_row(notes, [], |row| row.get(0)).unwrap();
            assert_eq!(notes, 3);
            log.clone().close_async().await.unwrap();
            assert!(matches!(log.flush_async().await, Err(AppendError::Closed)));
        });
        assert_eq!(verify_whole(&path).log.events, 4);
    });
}

#[test]
fn awaiting_a_flush_or_a_close_leaves_the_executor_to_other_tasks() {
    let (first, second) = (FullQueue::new(1), FullQueue::new(1));
    within(LIMIT, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            // Polled only after the flush waits for the writer.
            let open = async { first.gate.open() };
            assert_eq!(tokio::join!(first.log.flush_async(), open).0.unwrap(), Seq::new(3));
            let open = async { second.gate.open() };
            tokio::join!(second.log.clone().close_async(), open).0.unwrap();
        });
    });
}

#[test]
fn a_close_whose_future_is_dropped_closes_the_log_all_the_same() {
    let full = FullQueue::new(2);
    let other = full.log.clone();
    let mut close = Box::pin(full.log.close_async());
    assert!(close.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(close);
    full.gate.open();
    full.receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
    within(LIMIT, move || {
        // The second close waits for the first.
        other.clone().close().unwrap();
        assert!(matches!(other.append(note("after")), Err(AppendError::Closed)));
    });
}

#[test]
fn who_closes_second_waits_for_the_first() {
    let full = FullQueue::new(3);
    let [first, second] = [full.log.clone(), full.log].map(|log| in_thread(move || log.close().unwrap()));
    assert!(first.recv_timeout(A_WHILE).is_err() && second.recv_timeout(A_WHILE).is_err());
    full.gate.open();
    // Whichever came second.
    second.recv_timeout(LIMIT).unwrap();
    assert_eq!(events(&full.path), 5);
    first.recv_timeout(LIMIT).unwrap();
    full.receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
}

#[test]
fn a_log_closes_while_others_go_on_appending() {
    within(LIMIT, || {
        let (_folder, path) = new_path();
        let log = AuditLog::builder(&path).queue_events(16).open().unwrap();
        let appenders: Vec<_> = (0..4)
            .map(|_| {
                let log = log.clone();
                in_thread(move || {
                    let mut receipts = Vec::new();
                    while let Ok(receipt) = log.append(note("on and on")) {
                        receipts.push(receipt);
                    }
                    receipts.into_iter().map(annals::Receipt::wait).collect::<Vec<_>>()
                })
            })
            .collect();
        log.append(note("among others")).unwrap().wait().unwrap();
        log.close().unwrap();
        let outcomes: Vec<_> = appenders.into_iter().flat_map(|appender| appender.recv().unwrap()).collect();
        let appended = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(AppendError::Closed))));
        assert_eq!(events(&path), i64::try_from(appended).unwrap() + 2);
    });
}

#[test]
fn closing_answers_who_waits_for_room() {
    within(LIMIT, || {
        let full = FullQueue::new(1);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut waiting: Vec<_> =
            (0..20).map(|_| Box::pin(full.log.append_async(note("waits for room")))).collect();
        for append in &mut waiting {
            assert!(append.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let closed = in_thread({
            let log = full.log.clone();
            move || log.close().unwrap()
        });
        full.gate.open();
        for append in waiting {
            let outcome = block_on(async { append.await?.await });
            assert!(matches!(outcome, Ok(_) | Err(AppendError::Closed)), "{outcome:?}");
        }
        closed.recv().unwrap();
    });
}

#[test]
fn a_filter_changes_drafts_and_refuses_them() {
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path)
        .filter(|draft| match &mut draft.event {
            Event::NoteLogged(note) if note.message.contains("secret") => Err("it is secret".to_owned()),
            Event::NoteLogged(note) => {
                note.message = note.message.replace("4111", "[card]");
                Ok(())
            }
            _ => Ok(()),
        })
        .open()
        .unwrap();
    let refused = log.append(note("a secret"));
    assert!(matches!(&refused, Err(AppendError::Refused(reason)) if reason == "it is secret"));
    let appended = log.append(note("paid with 4111")).unwrap().wait().unwrap();
    log.wait_caught_up(appended.seq).unwrap();
    let message: String = Connection::open(&path)
        .unwrap()
        .query_row("SELECT message FROM notes", [], |row| row.get(0))
        .unwrap();
    assert_eq!(message, "paid with [card]");
}

fn sample(id: EventId) -> Draft {
    note("the same").id(id).session("s".parse().unwrap()).at(Timestamp::from_micros(1))
}

#[test]
fn the_same_event_sent_again_is_already_recorded() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let id = EventId::generate();
    let first = log.append(sample(id)).unwrap().wait().unwrap();
    assert_eq!(first.outcome, AppendOutcome::New);
    // Once more alone, and twice in what may be one batch.
    let again: Vec<_> = (0..3).map(|_| log.append(sample(id)).unwrap()).collect();
    for receipt in again {
        let again = receipt.wait().unwrap();
        assert_eq!(again.outcome, AppendOutcome::AlreadyRecorded);
        assert_eq!((again.seq, again.event_id, again.hash), (first.seq, first.event_id, first.hash));
    }
    assert_eq!(events(&path), 2);
}

#[test]
fn another_event_with_a_used_id_is_a_conflict_that_names_the_first() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let id = EventId::generate();
    let first = log.append(sample(id)).unwrap().wait().unwrap();
    let custom =
        Draft { event: annals::Custom { name: "n".into(), ..Default::default() }.into(), ..sample(id) };
    let others = [
        Draft { event: note("another").event, ..sample(id) },
        Draft { session: Some("t".parse().unwrap()), ..sample(id) },
        Draft { session: None, ..sample(id) },
        Draft { at: Some(Timestamp::from_micros(2)), ..sample(id) },
        Draft { at: None, ..sample(id) },
        custom,
    ];
    for other in others {
        let outcome = log.append(other.clone()).unwrap().wait();
        let Err(AppendError::Conflict { event_id, seq }) = outcome else { panic!("{other:?}: {outcome:?}") };
        assert_eq!((event_id, seq), (id, first.seq));
    }
    log.close().unwrap();
    let key = AuditLog::builder(&path).principal(EventId::generate()).open().unwrap();
    let outcome = key.append(sample(id)).unwrap().wait();
    assert!(matches!(outcome, Err(AppendError::Conflict { seq, .. }) if seq == first.seq), "{outcome:?}");
    // The log can still be written.
    assert_eq!(key.append(note("new")).unwrap().wait().unwrap().seq, Seq::new(3));
}

#[test]
fn a_redacted_event_sent_again_is_already_recorded() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let id = EventId::generate();
    let first = log.append(sample(id)).unwrap().wait().unwrap();
    log.redact(RedactionRequest {
        seqs: vec![first.seq],
        actor: "the officer".into(),
        reason: "a request".into(),
        ..Default::default()
    })
    .unwrap();
    let again = log.append(sample(id)).unwrap().wait().unwrap();
    assert_eq!((again.outcome, again.seq), (AppendOutcome::AlreadyRecorded, first.seq));
    log.close().unwrap();
    let key = AuditLog::builder(&path).principal(EventId::generate()).open().unwrap();
    let outcome = key.append(sample(id)).unwrap().wait();
    assert!(matches!(outcome, Err(AppendError::Conflict { .. })), "{outcome:?}");
}

#[test]
fn a_payload_beyond_the_limit_is_refused() {
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path).payload_bytes_max(1_000).open().unwrap();
    let refused = log.append(note("x".repeat(2_000)));
    let Err(AppendError::Unfit(PrepareError::TooLarge { bytes, max: 1_000 })) = refused else {
        panic!("{refused:?}")
    };
    assert!(bytes > 2_000);
    assert_eq!(log.flush().unwrap(), Seq::new(1));
}

#[test]
fn kinds_that_annals_itself_writes_are_refused() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let licence =
        PayloadRedacted { seqs: vec![1], actor: "me".into(), reason: "none".into(), authority: None };
    let refused = log.append(Draft::new(licence.clone()));
    assert!(matches!(refused, Err(AppendError::Reserved("payload.redacted"))), "{refused:?}");
    let refused = log.try_append(Draft::new(licence));
    assert!(
        matches!(refused, Err(TryAppendError::Append(AppendError::Reserved("payload.redacted")))),
        "{refused:?}"
    );
}

#[test]
fn a_clock_that_runs_backwards_is_reported_and_not_repaired() {
    let (_folder, path) = new_path();
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = {
        let now = now.clone();
        move || Timestamp::from_micros(now.fetch_sub(100, Ordering::SeqCst))
    };
    let log = AuditLog::builder(&path).clock(clock).open().unwrap();
    for _ in 0..3 {
        log.append(note("later, or so it should be")).unwrap().wait().unwrap();
    }
    log.close().unwrap();
    let report = verify_whole(&path);
    assert_eq!((report.backward_steps.count, report.backward_steps.first), (3, Some(Seq::new(2))));
}

/// Nothing hangs after the writer's thread panicked: neither who waited then nor who calls later.
#[test]
fn a_panic_in_the_writer_ends_the_log_for_everybody() {
    within(LIMIT, || {
        let full = FullQueue::new(2);
        let blocked = in_thread({
            let log = full.log.clone();
            move || log.append(note("blocked")).and_then(annals::Receipt::wait)
        });
        let flushing = in_thread({
            let log = full.log.clone();
            move || log.flush()
        });
        let mut waiting = Box::pin(full.log.append_async(note("waits for room")));
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        full.gate.break_clock();
        let is_refused = |error: &AppendError| {
            matches!(error, AppendError::NotWritten { .. } | AppendError::Ambiguous { .. })
        };
        assert!(is_refused(&blocked.recv().unwrap().unwrap_err()));
        assert!(is_refused(&flushing.recv().unwrap().unwrap_err()));
        assert!(is_refused(&block_on(async { waiting.await?.await }).unwrap_err()));
        for receipt in full.receipts {
            assert!(is_refused(&receipt.wait().unwrap_err()));
        }
        let log = full.log;
        assert!(is_refused(&log.append(note("later")).unwrap_err()));
        assert!(is_refused(&block_on(log.append_async(note("later"))).unwrap_err()));
        let tried = log.try_append(note("later"));
        assert!(matches!(&tried, Err(TryAppendError::Append(error)) if is_refused(error)), "{tried:?}");
        assert!(is_refused(&log.flush().unwrap_err()));
        assert!(is_refused(
            &log.redact(RedactionRequest {
                seqs: vec![Seq::new(1)],
                actor: "a".into(),
                reason: "b".into(),
                ..Default::default()
            })
            .unwrap_err()
        ));
        assert!(log.last_error().is_some_and(|reason| reason.contains("panicked")));
        let closed = std::panic::catch_unwind(AssertUnwindSafe(|| log.close())).unwrap();
        assert!(matches!(closed, Err(CloseError::Panicked(_))), "{closed:?}");
        assert_eq!(verify_whole(&full.path).log.events, 1);
        let log = AuditLog::open(&full.path).unwrap();
        log.append(note("after all")).unwrap().wait().unwrap();
    });
}

#[test]
fn an_invalid_draft_is_refused_before_it_is_queued() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let session = Draft::new(annals::SessionStarted::default());
    assert!(matches!(log.append(session), Err(AppendError::Unfit(PrepareError::Invalid(_)))));
    assert_eq!(log.flush().unwrap(), Seq::new(1));
}

#[test]
fn events_sent_together_stand_together_and_a_bad_one_keeps_no_other_out() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let (known, conflicting) = (EventId::generate(), EventId::generate());
    let first = log.append(sample(known)).unwrap().wait().unwrap();
    log.append(note("another").id(conflicting)).unwrap().wait().unwrap();
    let without_session = Draft::new(annals::SessionStarted::default());
    let drafts = vec![note("a"), without_session, sample(known), note("other").id(conflicting), note("b")];
    let answers = log.append_batch(drafts).unwrap().wait();
    let [Ok(a), Err(AppendError::Unfit(_)), Ok(again), Err(AppendError::Conflict { .. }), Ok(b)] =
        &answers[..]
    else {
        panic!("{answers:?}");
    };
    assert_eq!((again.seq, again.outcome), (first.seq, AppendOutcome::AlreadyRecorded));
    assert_eq!((a.outcome, b.outcome), (AppendOutcome::New, AppendOutcome::New));
    assert_eq!(b.seq, a.seq.next());
    assert!(log.append_batch(Vec::new()).unwrap().wait().is_empty());
    log.close().unwrap();
    assert_eq!(verify_whole(&path).log.events, 5);
}

#[test]
fn a_batch_takes_one_place_in_the_queue_and_leaves_the_executor_alone_while_it_waits_for_one() {
    within(LIMIT, || {
        let full = FullQueue::new(2);
        let drafts = || (0..100).map(|number| note(number.to_string())).collect::<Vec<_>>();
        let dropped = full.log.append_batch_async(drafts());
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        assert!(pin!(dropped).as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut waiting = Box::pin(full.log.append_batch_async(drafts()));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        full.gate.open();
        let answers = block_on(async { waiting.await.unwrap().await });
        assert!(answers.len() == 100 && answers.iter().all(Result::is_ok), "{answers:?}");
        let before = i64::try_from(full.receipts.len()).unwrap();
        full.log.close().unwrap();
        assert_eq!(events(&full.path), 1 + before + 100, "what was dropped while it waited was not sent");
    });
}

#[test]
fn events_of_another_principal_carry_its_id_and_are_other_events() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let (id, key) = (EventId::generate(), EventId::generate());
    let of_key = log.with_principal(Some(key));
    let appended = of_key.append(sample(id)).unwrap().wait().unwrap();
    assert!(matches!(log.append(sample(id)).unwrap().wait(), Err(AppendError::Conflict { .. })));
    let again = of_key.append_batch(vec![sample(id)]).unwrap().wait();
    assert_eq!(again[0].as_ref().unwrap().outcome, AppendOutcome::AlreadyRecorded);
    log.close().unwrap();
    let event = annals::Reader::open(&path).unwrap().event(appended.seq).unwrap().unwrap();
    assert_eq!(event.principal, Some(key));
}

#[test]
fn a_queue_of_large_events_is_full_by_their_bytes() {
    let (_folder, path) = new_path();
    let gate = Gate::default();
    let log = AuditLog::builder(&path).batch_events(1).clock(gate.clock()).open().unwrap();
    gate.shut();
    let mut receipts = vec![log.append(note("in the writer's hands")).unwrap()];
    gate.wait_until_writer_is_inside();
    let large = || note("x".repeat(4_000_000));
    let mut queued = 0;
    let refused = loop {
        match log.try_append(large()) {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => break error,
        }
        queued += 4_000_000;
        assert!(queued < 2 * annals::limits::QUEUE_BYTES_MAX);
    };
    assert!(matches!(refused, TryAppendError::Full(_)), "{refused:?}");
    assert!(queued >= annals::limits::QUEUE_BYTES_MAX);
    // Who waits is let in when the writer has taken enough.
    let (blocking, waiting) = (log.clone(), log.clone());
    let blocked = in_thread(move || blocking.append(large()).unwrap().wait());
    let awaited = in_thread(move || block_on(async { waiting.append_async(large()).await.unwrap().await }));
    assert!(blocked.recv_timeout(A_WHILE).is_err() && awaited.recv_timeout(A_WHILE).is_err());
    gate.open();
    assert!(blocked.recv_timeout(LIMIT).unwrap().is_ok() && awaited.recv_timeout(LIMIT).unwrap().is_ok());
    assert!(receipts.into_iter().all(|receipt| receipt.wait().is_ok()));
    log.close().unwrap();
    verify_whole(&path);
}
