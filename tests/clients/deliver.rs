//! The client of a server that is well, slow, away, or refuses: every event is delivered in order and
//! once, or its owner hears why not.

use crate::support;
use crate::support::executor::block_on;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::event_server::{EventServer, Mode, free_address};
use crate::support::{note, start_child, tell, told, within};
use annals::client::{Builder, CloseError, OpenError, RemoteLog};
use annals::{AppendError, AppendOutcome, Delivery, Digest, Draft, StepKind};

/// Only a hang reaches these.
const LIMIT: Duration = Duration::from_secs(900);
const SOON: Duration = Duration::from_secs(600);

/// A client that soon goes to its spool.
fn client(url: &str, spool: &Path) -> Builder {
    RemoteLog::builder().url(url).spool(spool).spool_after(Duration::from_millis(100)).request_timeout(SOON)
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

fn append(log: &RemoteLog, numbers: std::ops::Range<usize>) {
    for number in numbers {
        drop(log.append(note(number.to_string())).unwrap());
    }
}

/// What is in the way, once the client knows of it.
fn last_error(log: &RemoteLog) -> Arc<str> {
    loop {
        match log.last_error() {
            Some(last_error) => return last_error,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn refused(spool: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(spool.join("refused.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An address at which nobody ever serves.
const NOBODY: &str = "http://127.0.0.1:1";

/// KiB of a file that this process may write, the unit of `ulimit -f`.
const FILE_KIBIBYTES_MAX: usize = 4;

/// Appends until the spool cannot be written: one event is longer than any of its files may be.
fn fill(spool: &Path) {
    let log = client(NOBODY, spool).open().unwrap();
    append(&log, 0..10);
    assert_eq!(log.flush().unwrap().spooled, 10);
    drop(log.append(note("w".repeat(2 * FILE_KIBIBYTES_MAX * 1024))).unwrap());
    let mut taken = 11;
    let error = loop {
        match log.append(note(taken.to_string())) {
            Ok(_receipt) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, AppendError::NoRoom { .. }), "{error}");
    let error = log.close().unwrap_err();
    let CloseError::NotKept { events, .. } = error else { panic!("{error}") };
    tell(taken);
    tell(events);
}

#[test]
fn a_disk_that_takes_half_of_a_write_keeps_whole_events_and_the_rest_is_owned_up_to() {
    within(LIMIT, || {
        let folder = tempfile::tempdir().unwrap();
        // A write that would make a file larger than this stops half-way.
        let mut command = Command::new("bash");
        command.args(["-c", &format!(r#"trap '' XFSZ; ulimit -f {FILE_KIBIBYTES_MAX}; exec "$0" "$@""#)]);
        command.arg(std::env::current_exe().unwrap());
        support::prepare_child(&mut command, module_path!(), NOBODY, folder.path());
        let mut child = command.spawn().unwrap();
        let told: Vec<usize> = told(child.stdout.take().unwrap()).map(|line| line.parse().unwrap()).collect();
        child.wait().unwrap();
        let [taken, lost] = told[..] else { panic!("{told:?}") };
        assert_eq!(taken - lost, 10, "{told:?}");

        let server = EventServer::start(Mode::Honest);
        let log = client(&server.url(), folder.path()).open().unwrap();
        assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
        assert_eq!((server.messages(), log.refused()), (numbered(0..taken - lost), 0));
        log.close().unwrap();
    });
}

#[test]
fn without_a_spool_that_can_be_written_events_wait_in_memory() {
    within(LIMIT, || {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let spool = folder.path().join("spool");
        let log = client(&format!("http://{address}"), &spool).open().unwrap();
        std::fs::remove_dir_all(&spool).unwrap();
        append(&log, 0..10);
        while !matches!(log.append(note("more")), Err(AppendError::NoRoom { .. })) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let server = EventServer::start_at(&address, Mode::Honest);
        while server.messages().len() < 10 {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(server.messages()[..10], numbered(0..10));
        assert_eq!(log.close().unwrap().spooled, 0);
    });
}

/// Not a test by itself: the process that is killed.
#[test]
fn child() {
    let Some((url, spool)) = support::role() else { return };
    if url == NOBODY {
        return fill(&spool);
    }
    let log = client(&url, &spool).open().unwrap();
    for number in 0.. {
        drop(log.append(note(number.to_string())).unwrap());
        if number % 50 == 0 {
            log.flush().unwrap();
            tell(number);
        }
    }
}

#[test]
fn a_receipt_says_where_in_the_servers_log_the_event_is() {
    let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Honest));
    let log = client(&server.url(), folder.path()).open().unwrap();
    for number in 0..3 {
        let receipt = log.append(note(number.to_string())).unwrap();
        let id = receipt.event_id();
        let appended = receipt.wait().unwrap();
        assert_eq!((appended.seq.get(), appended.event_id), (number + 1, id));
        assert_eq!((appended.hash, appended.outcome), (Digest::of(id.to_string()), AppendOutcome::New));
    }
    assert_eq!(log.close().unwrap().spooled, 0);
    assert_eq!(server.messages(), numbered(0..3));
}

#[test]
fn what_blocks_can_be_awaited_on_any_executor() {
    let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Honest));
    let log = client(&server.url(), folder.path()).open().unwrap();
    block_on(async {
        for number in 0..3 {
            drop(log.append_async(note(number.to_string())).await.unwrap());
        }
        assert_eq!(log.flush_async().await.unwrap().spooled, 0);
        assert_eq!(server.messages(), numbered(0..3));
        drop(log.append_async(note("3")).await.unwrap());
        assert_eq!(log.clone().close_async().await.unwrap().spooled, 0);
        assert!(matches!(log.flush_async().await, Err(AppendError::Closed)));
    });
    assert_eq!(server.messages(), numbered(0..4));
}

#[test]
fn events_are_sent_many_at_a_time_and_in_order() {
    let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Honest));
    let log = client(&server.url(), folder.path()).open().unwrap();
    append(&log, 0..2_000);
    assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
    assert_eq!(server.messages(), numbered(0..2_000));
    assert!(server.requests().len() < 200, "{} requests", server.requests().len());
    log.close().unwrap();
}

#[test]
fn events_for_a_server_that_is_away_are_spooled_and_sent_in_order_when_it_is_back() {
    within(LIMIT, || {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let log = client(&format!("http://{address}"), folder.path()).open().unwrap();
        append(&log, 0..100);
        let receipt = log.append(note("100")).unwrap();
        let Delivery::Spooled(receipt) = receipt.delivery().unwrap() else { panic!("nobody is there") };
        assert_eq!(log.flush().unwrap().spooled, 101);
        assert!(last_error(&log).contains("cannot be reached"), "{:?}", log.last_error());

        let server = EventServer::start_at(&address, Mode::Honest);
        append(&log, 101..200);
        assert_eq!(receipt.wait().unwrap().seq.get(), 101);
        assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
        assert_eq!((server.messages(), server.again()), (numbered(0..200), 0));
        assert_eq!((log.last_error(), log.spooled(), log.refused()), (None, 0, 0));
        log.close().unwrap();
    });
}

#[test]
fn the_next_process_sends_what_the_last_one_left() {
    within(LIMIT, || {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let url = format!("http://{address}");
        let log = client(&url, folder.path()).open().unwrap();
        append(&log, 0..100);
        let receipt = log.append(note("100")).unwrap();
        assert_eq!(log.close().unwrap().spooled, 101);
        assert!(matches!(receipt.wait(), Err(AppendError::Spooled)));

        let server = EventServer::start_at(&address, Mode::Honest);
        let log = client(&url, folder.path()).open().unwrap();
        append(&log, 101..110);
        assert_eq!(log.close().unwrap().spooled, 0);
        assert_eq!(server.messages(), numbered(0..110));
    });
}

#[test]
fn a_process_that_is_killed_leaves_what_it_flushed_to_the_next_one() {
    within(LIMIT, || {
        let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Away(503, None)));
        let mut child = start_child(module_path!(), &server.url(), folder.path());
        let mut told = told(child.stdout.take().unwrap());
        let flushed: usize = told.nth(5).unwrap().parse().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let flushed = told.last().map_or(flushed, |last| last.parse().unwrap());

        server.set(Mode::Honest);
        let log = client(&server.url(), folder.path()).open().unwrap();
        assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
        log.close().unwrap();
        let messages = server.messages();
        assert!(messages.len() > flushed, "{} events, {flushed} were flushed", messages.len());
        assert_eq!(messages, numbered(0..messages.len()));
    });
}

#[test]
fn a_process_that_is_killed_while_the_server_answers_sends_nothing_twice_into_the_log() {
    within(LIMIT, || {
        let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Honest));
        for round in 0..3 {
            let mut child = start_child(module_path!(), &server.url(), folder.path());
            let mut told = told(child.stdout.take().unwrap());
            assert!(told.nth(10).is_some(), "round {round}");
            server.set(Mode::AnswerLost);
            assert!(told.nth(2).is_some(), "round {round}");
            child.kill().unwrap();
            child.wait().unwrap();
            server.set(Mode::Honest);
            let log = client(&server.url(), folder.path()).open().unwrap();
            assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
            log.close().unwrap();
        }
        // Three runs, each from zero and without a gap.
        let mut messages = server.messages().into_iter().peekable();
        let mut runs = 0;
        while messages.next_if_eq("0").is_some() {
            runs += 1;
            let mut next = 1;
            while messages.next_if(|message| *message == next.to_string()).is_some() {
                next += 1;
            }
        }
        assert_eq!((runs, messages.next()), (3, None));
    });
}

#[test]
fn a_server_that_asks_to_be_left_alone_is_left_alone() {
    within(LIMIT, || {
        for status in [429, 503] {
            let (folder, server) =
                (tempfile::tempdir().unwrap(), EventServer::start(Mode::Away(status, Some(2))));
            let log = client(&server.url(), folder.path()).open().unwrap();
            append(&log, 0..10);
            assert_eq!(log.flush().unwrap().spooled, 10);
            assert!(last_error(&log).contains("not now"), "{:?}", log.last_error());
            server.set(Mode::Honest);
            assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
            let requests = server.requests();
            assert!(requests[1] - requests[0] >= Duration::from_secs(2), "{requests:?}");
            assert_eq!(server.messages(), numbered(0..10));
            log.close().unwrap();
        }
    });
}

#[test]
fn events_whose_answer_was_lost_are_sent_again_and_are_there_once() {
    within(LIMIT, || {
        let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::AnswerLost));
        // The connection stays, and nothing more comes.
        let log =
            client(&server.url(), folder.path()).request_timeout(Duration::from_millis(500)).open().unwrap();
        append(&log, 0..50);
        let receipt = log.append(note("50")).unwrap();
        assert!(log.flush().unwrap().spooled > 0);
        while server.messages().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server.set(Mode::Honest);
        receipt.wait().unwrap();
        assert_eq!(log.close().unwrap().spooled, 0);
        assert_eq!(server.messages(), numbered(0..51));
        assert!(server.again() > 0);
    });
}

#[test]
fn events_that_wait_for_a_slow_server_are_on_the_disk_and_sent_once() {
    within(LIMIT, || {
        let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Held));
        let log = client(&server.url(), folder.path()).open().unwrap();
        let receipt = log.append(note("0")).unwrap();
        while server.requests().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        append(&log, 1..20);
        // While the request is under way.
        assert_eq!(log.flush().unwrap().spooled, 20);
        server.set(Mode::Honest);
        assert_eq!(receipt.wait().unwrap().seq.get(), 1);
        assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
        assert_eq!((server.messages(), server.again()), (numbered(0..20), 0));
        log.close().unwrap();
    });
}

#[test]
fn an_event_that_the_server_refuses_is_kept_with_the_reason_and_its_owner_hears() {
    within(LIMIT, || {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&heard);
        let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Away(503, None)));
        let log = client(&server.url(), folder.path());
        let log = log.on_refused(move |refusal| hear.lock().unwrap().push(refusal.clone())).open().unwrap();
        // Some of them from the spool, and some from memory.
        for round in 0..2 {
            let good = log.append(note("good")).unwrap();
            let bad = log.append(note(format!("bad {round}"))).unwrap();
            let id = bad.event_id();
            if round == 0 {
                assert_eq!(log.flush().unwrap().spooled, 2);
                server.set(Mode::Honest);
            }
            good.wait().unwrap();
            let error = bad.wait().unwrap_err();
            assert!(
                matches!(&error, AppendError::Rejected { reason } if &**reason == "it is bad"),
                "{error}"
            );
            assert!(matches!(log.flush(), Err(AppendError::Rejected { .. })));
            assert_eq!(log.flush().unwrap().spooled, 0);
            let kept = &refused(folder.path())[round];
            assert_eq!(
                (&kept["reason"], &kept["event"]["id"]),
                (&"it is bad".into(), &id.to_string().into())
            );
            assert_eq!(heard.lock().unwrap()[round].event_id, Some(id));
        }
        assert_eq!((log.refused(), server.messages()), (2, vec!["good".to_owned(), "good".to_owned()]));
        log.close().unwrap();
    });
}

#[test]
fn requests_that_are_too_large_are_cut_down_to_the_event_that_is() {
    within(LIMIT, || {
        let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::AtMost(7)));
        let log = client(&server.url(), folder.path()).open().unwrap();
        append(&log, 0..50);
        let bad = log.append(note("bad")).unwrap();
        append(&log, 50..100);
        assert!(matches!(bad.wait(), Err(AppendError::Rejected { .. })));
        assert!(matches!(log.flush_to_server(SOON), Err(AppendError::Rejected { .. })));
        assert_eq!(log.close().unwrap().spooled, 0);
        assert_eq!(server.messages(), numbered(0..100));
    });
}

#[test]
fn a_full_spool_is_an_error_to_the_caller_and_loses_nothing_that_was_taken() {
    within(LIMIT, || {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        let log = client(&format!("http://{address}"), folder.path());
        let log = log.spool_bytes_max(20_000).queue_events(100).request_events(50).open().unwrap();
        let mut taken = 0;
        let error = loop {
            match log.append(note(taken.to_string())) {
                Ok(_receipt) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AppendError::NoRoom { .. }), "{error}");
        assert!(taken > 100, "{taken}");
        let blocked = log.append(note("x".repeat(50_000)));
        assert!(matches!(blocked, Err(AppendError::NoRoom { .. })));

        let server = EventServer::start_at(&address, Mode::Honest);
        let next = loop {
            match log.append(note(taken.to_string())) {
                Ok(receipt) => break receipt,
                Err(AppendError::NoRoom { .. }) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(next.wait().unwrap().seq.get(), taken as u64 + 1);
        assert_eq!(log.close().unwrap().spooled, 0);
        assert_eq!(server.messages(), numbered(0..taken + 1));
    });
}

#[test]
fn closing_says_how_many_events_found_no_place_at_all() {
    within(LIMIT, || {
        let folder = tempfile::tempdir().unwrap();
        let log =
            client(&format!("http://{}", free_address()), folder.path()).spool_bytes_max(10).open().unwrap();
        let receipt = log.append(note("too long for the spool")).unwrap();
        let status = log.clone();
        let error = log.close().unwrap_err();
        assert!(error.to_string().starts_with("1 events could neither be sent nor spooled"), "{error}");
        assert!(matches!(receipt.wait(), Err(AppendError::NotWritten { .. })));
        assert_eq!(status.refused(), 1);
        assert!(matches!(status.append(note("late")), Err(AppendError::Closed)));
    });
}

#[test]
fn events_wait_for_a_key_that_the_server_takes() {
    within(LIMIT, || {
        let (folder, server) =
            (tempfile::tempdir().unwrap(), EventServer::start(Mode::Key("right".to_owned())));
        let log = client(&server.url(), folder.path()).api_key("wrong").open().unwrap();
        append(&log, 0..10);
        assert_eq!(log.flush().unwrap().spooled, 10);
        assert!(last_error(&log).contains("401: no such key"), "{:?}", log.last_error());
        assert_eq!(log.close().unwrap().spooled, 10);
        let log = client(&server.url(), folder.path()).api_key("right").open().unwrap();
        assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
        assert_eq!(server.messages(), numbered(0..10));
        log.close().unwrap();
    });
}

#[test]
fn sessions_and_steps_are_recorded_as_in_a_log_of_ones_own() {
    let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Honest));
    let log = client(&server.url(), folder.path()).open().unwrap();
    let session = log.session("claims").input("Is claim 17 covered?").start().unwrap();
    let step = session.step("assess").kind(StepKind::Llm).start().unwrap();
    step.decide("coverage").chose("covered").commit().unwrap();
    step.finding("evidence").title("No photograph").record().unwrap();
    step.end().succeeded().unwrap();
    drop(session.step("forgotten").start().unwrap());
    session.end().completed().unwrap().wait().unwrap();
    let expected = [
        "session.started",
        "step.started",
        "decision.made",
        "finding.raised",
        "step.ended",
        "step.started",
        "step.ended",
        "session.ended",
    ];
    assert_eq!(server.types(), expected);
    log.close().unwrap();
}

#[test]
fn what_a_log_refuses_is_refused_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let log = client(&format!("http://{}", free_address()), folder.path())
        .filter(|draft| if draft.at.is_some() { Err("no times".to_owned()) } else { Ok(()) })
        .open()
        .unwrap();
    let unfit = Draft::new(annals::MetricRecorded { name: String::new(), ..Default::default() });
    assert!(matches!(log.append(unfit), Err(AppendError::Unfit(_))));
    let timed = note("x").at(annals::Timestamp::now());
    assert!(matches!(log.append(timed), Err(AppendError::Refused(_))));
    assert_eq!(log.close().unwrap().spooled, 0);
}

#[test]
fn events_can_be_appended_and_awaited_on_an_executor() {
    let (folder, server) = (tempfile::tempdir().unwrap(), EventServer::start(Mode::Away(503, None)));
    let log = client(&server.url(), folder.path()).queue_events(4).open().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut receipts = Vec::new();
        for number in 0..100 {
            receipts.push(log.append_async(note(number.to_string())).await.unwrap());
        }
        server.set(Mode::Honest);
        for receipt in receipts {
            receipt.await.unwrap();
        }
    });
    assert_eq!(server.messages(), numbered(0..100));
    log.close().unwrap();
}

#[test]
fn a_client_says_what_it_lacks_and_never_says_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let open = |builder: Builder| builder.open().unwrap_err();
    assert!(matches!(open(RemoteLog::builder().url("ftp://x").spool(folder.path())), OpenError::Url { .. }));
    assert!(matches!(open(RemoteLog::builder().url("http://127.0.0.1:1")), OpenError::NoSpool));
    let builder = || client("http://127.0.0.1:1", folder.path());
    assert!(matches!(open(builder().api_key("a\nb")), OpenError::Key));
    assert!(matches!(open(builder().authorities("no certificate")), OpenError::Authorities(_)));
    let log = builder().api_key("secret-key").open().unwrap();
    assert!(matches!(open(builder()), OpenError::Spool(_)), "another one has it");
    assert!(!format!("{log:?} {:?}", builder().api_key("secret-key")).contains("secret-key"));
    log.close().unwrap();
}
