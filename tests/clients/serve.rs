//! The client and `annals serve`, as it is: what goes in through one comes out of the other's log.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::server::Served;
use crate::support::{new_path, note, verify_whole, within};
use annals::client::RemoteLog;
use annals::query::EventFilter;
use annals::tracing::AuditLayer;
use annals::{AppendError, Content, Delivery, Event, Reader, Recorded, Seq};
use tracing::{info, info_span};
use tracing_subscriber::layer::SubscriberExt;

/// Only a hang reaches these.
const LIMIT: Duration = Duration::from_secs(900);
const SOON: Duration = Duration::from_secs(600);

fn events(path: &Path) -> Vec<Recorded> {
    let reader = Reader::open(path).unwrap();
    let head = reader.head().unwrap().seq.get();
    reader.events(&EventFilter::ALL, Seq::ZERO, usize::try_from(head).unwrap()).unwrap()
}

fn message(event: &Recorded) -> Option<&str> {
    match &event.content {
        Content::Event(Event::NoteLogged(note)) => Some(&note.message),
        _ => None,
    }
}

#[test]
fn events_of_many_threads_survive_a_server_that_is_killed_again_and_again() {
    const THREADS: usize = 4;
    within(LIMIT, || {
        let ((_folder, path), spool) = (new_path(), tempfile::tempdir().unwrap());
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut served = Served::start_with(&path, &["--listen", &address]);
        let builder = RemoteLog::builder().url(format!("http://{address}")).spool(spool.path());
        // Many requests, so that a server dies in the middle of one.
        let log = builder.request_events(16).spool_after(Duration::from_millis(200)).open().unwrap();
        let enough = AtomicBool::new(false);
        let sent: Vec<AtomicUsize> = (0..THREADS).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for (thread, sent) in sent.iter().enumerate() {
                let (log, enough) = (&log, &enough);
                scope.spawn(move || {
                    for number in 0.. {
                        if enough.load(Ordering::SeqCst) {
                            break;
                        }
                        let receipt = log.append(note(format!("{thread} {number}"))).unwrap();
                        match number % 100 {
                            // Some wait for the server, however long it is away; the others do not.
                            50 => drop(receipt.wait().unwrap()),
                            _ => drop(receipt),
                        }
                        sent.store(number + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(4));
                    }
                });
            }
            for _ in 0..5 {
                std::thread::sleep(Duration::from_millis(300));
                served.signal("KILL");
                served.wait();
                // Until the client has noticed.
                while log.spooled() == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                served = Served::start_with(&path, &["--listen", &address]);
            }
            enough.store(true, Ordering::SeqCst);
        });
        assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
        assert_eq!((log.refused(), log.close().unwrap().spooled), (0, 0));
        served.stop();

        let mut next: HashMap<usize, usize> = HashMap::new();
        for event in &events(&path) {
            let Some(message) = message(event) else { continue };
            let (thread, number) = message.split_once(' ').unwrap();
            let expected = next.entry(thread.parse().unwrap()).or_default();
            assert_eq!(number.parse(), Ok(*expected), "thread {thread}");
            *expected += 1;
        }
        for (thread, sent) in sent.iter().enumerate() {
            assert_eq!(
                next.get(&thread).copied().unwrap_or_default(),
                sent.load(Ordering::SeqCst),
                "{next:?}"
            );
        }
        verify_whole(&path);
    });
}

#[test]
fn what_the_server_refuses_is_told_with_its_reason_and_the_rest_is_committed() {
    within(LIMIT, || {
        let ((_folder, path), spool) = (new_path(), tempfile::tempdir().unwrap());
        let served = Served::start(&path);
        let builder = RemoteLog::builder().url(format!("http://{}", served.address));
        let log = builder.spool(spool.path()).open().unwrap();
        let first = log.append(note("first")).unwrap();
        let (id, seq) = (first.event_id(), first.wait().unwrap().seq);
        let conflict = log.append(note("another").id(id)).unwrap();
        let again = log.append(note("first").id(id)).unwrap();
        let error = conflict.wait().unwrap_err();
        assert!(
            matches!(&error, AppendError::Rejected { reason } if reason.contains(&id.to_string())),
            "{error}"
        );
        let Delivery::Committed(again) = again.delivery().unwrap() else { panic!("the server is there") };
        assert_eq!(again.seq, seq);
        assert_eq!(log.refused(), 1);
        log.close().unwrap();
        served.stop();
        assert_eq!(events(&path).iter().filter_map(message).collect::<Vec<_>>(), ["first"]);
    });
}

#[test]
fn a_traced_program_records_in_a_log_behind_a_server_and_not_what_the_client_itself_does() {
    within(LIMIT, || {
        let ((_folder, path), spool) = (new_path(), tempfile::tempdir().unwrap());
        let served = Served::start(&path);
        let builder = RemoteLog::builder().url(format!("http://{}", served.address));
        let log = builder.spool(spool.path()).open().unwrap();
        let layer = AuditLayer::new(log.clone()).notes(tracing::Level::TRACE);
        let watch = layer.watch();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _session = info_span!("claims", annals.session = "c-1").entered();
            let _step = info_span!("assess", kind = "llm").entered();
            info!(annals.decision = "coverage", chosen_option = "covered");
        });
        assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
        assert_eq!(watch.lost(), 0);
        log.close().unwrap();
        served.stop();
        let types: Vec<_> = events(&path).iter().skip(1).map(Recorded::kind_name).collect();
        let expected = ["session.started", "step.started", "decision.made", "step.ended", "session.ended"];
        assert_eq!(types, expected);
        verify_whole(&path);
    });
}

/// The program, on the log at `path`; what it says on standard output.
fn annals(path: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    let output = command.arg("--db").arg(path).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn events_that_a_revoked_key_could_not_send_are_sent_with_the_next_one() {
    within(LIMIT, || {
        let ((_folder, path), spool) = (new_path(), tempfile::tempdir().unwrap());
        let create = |name| annals(&path, &["apikey", "create", "--name", name, "--scopes", "emit"]);
        let (old, new) = (create("old"), create("new"));
        let served = Served::start(&path);
        let client = |key: &str| {
            let builder = RemoteLog::builder().url(format!("http://{}", served.address)).api_key(key);
            builder.spool(spool.path()).open().unwrap()
        };
        let log = client(&old);
        let first = log.append(note("first")).unwrap().wait().unwrap();
        annals(&path, &["apikey", "revoke", "old"]);
        // The server knows of it within moments.
        let spooled = std::iter::from_fn(|| Some(log.append(note("later")).unwrap().delivery().unwrap()))
            .take(10_000)
            .position(|delivery| matches!(delivery, Delivery::Spooled(_)));
        // An event may go to the spool before the answer comes.
        while log.last_error().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(log.last_error().unwrap().contains("401"), "{:?}", log.last_error());
        assert_eq!(log.close().unwrap().spooled, 1);
        let log = client(&new);
        assert_eq!(log.flush_to_server(SOON).unwrap().spooled, 0);
        assert_eq!((log.refused(), log.last_error()), (0, None));
        log.close().unwrap();
        served.stop();

        let events = events(&path);
        let notes: Vec<_> = events.iter().filter(|event| message(event).is_some()).collect();
        assert_eq!(notes.len(), spooled.unwrap() + 2);
        assert_eq!(notes[0].seq, first.seq);
        assert!(notes[0].principal.is_some() && notes[0].principal != notes[notes.len() - 1].principal);
        verify_whole(&path);
    });
}
