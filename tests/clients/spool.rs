//! The client's spool on a disk that is full, and in hands other than its own.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use crate::support::event_server::{EventServer, Mode, free_address};
use crate::support::volume::Volume;
use crate::support::{note, within};
use annals::client::{Builder, RemoteLog};
use annals::{AppendError, Delivery};

/// Only a hang reaches these.
const LIMIT: Duration = Duration::from_secs(300);
const LONG: Duration = Duration::from_secs(200);

fn client(address: &str, spool: &Path) -> Builder {
    RemoteLog::builder()
        .url(format!("http://{address}"))
        .spool(spool)
        .spool_after(Duration::from_millis(50))
        .close_timeout(LONG)
}

/// Appends until the spool takes no more. Returns the messages that were taken.
fn fill(log: &RemoteLog, message: impl Fn(usize) -> String) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        let message = message(taken.len());
        match log.append(note(message.clone())) {
            Ok(_receipt) => taken.push(message),
            Err(AppendError::NoRoom { reason }) => {
                assert!(reason.contains("No space left"), "{reason}");
                return taken;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn long(number: usize) -> String {
    format!("{number} {}", "x".repeat(20_000))
}

#[test]
fn a_spool_that_filled_its_volume_empties_itself_and_takes_events_again() {
    let Some(volume) = Volume::mount("12m") else { return };
    within(LIMIT, move || {
        let address = free_address();
        let log = client(&address, &volume.path().join("spool")).open().unwrap();
        let taken = fill(&log, long);
        let server = EventServer::start_at(&address, Mode::Honest);
        assert_eq!(log.flush_to_server(LONG).unwrap().spooled, 0);
        assert_eq!(server.messages(), taken);
        assert_eq!((log.last_error(), log.refused()), (None, 0));
        // What was sent takes no more room: as much fits once more.
        drop(server);
        let more = fill(&log, long);
        assert!(more.len() > taken.len() / 2, "{} and then {}", taken.len(), more.len());
        let server = EventServer::start_at(&address, Mode::Honest);
        assert_eq!(log.close().unwrap().spooled, 0);
        assert_eq!(server.messages(), more);
    });
}

#[test]
fn a_spool_on_a_volume_without_a_byte_left_is_opened_and_sent() {
    let Some(volume) = Volume::mount("12m") else { return };
    within(LIMIT, move || {
        let (address, spool) = (free_address(), volume.path().join("spool"));
        let log = client(&address, &spool).close_timeout(Duration::ZERO).open().unwrap();
        for number in 0..100 {
            drop(log.append(note(number.to_string())).unwrap());
        }
        assert_eq!(log.flush().unwrap().spooled, 100);
        log.close().unwrap();
        // A line that a crash cut off, which is no event and has to be kept.
        let segment = spool.join(format!("{:020}.jsonl", 1));
        let mut content = std::fs::read(&segment).unwrap();
        content.truncate(content.len() - 10);
        std::fs::write(&segment, content).unwrap();
        let _full = volume.fill();

        let server = EventServer::start_at(&address, Mode::Honest);
        let log = client(&address, &spool).open().unwrap();
        assert_eq!(log.flush_to_server(LONG).unwrap().spooled, 0);
        assert_eq!(server.messages(), (0..99).map(|number| number.to_string()).collect::<Vec<_>>());
        assert_eq!(log.refused(), 1);
        log.close().unwrap();
        assert_eq!(std::fs::read_to_string(spool.join("refused.jsonl")).unwrap().lines().count(), 1);
    });
}

#[test]
fn an_event_that_is_refused_while_the_volume_is_full_is_kept_and_holds_up_no_other_for_good() {
    let Some(volume) = Volume::mount("12m") else { return };
    within(LIMIT, move || {
        let (address, spool) = (free_address(), volume.path().join("spool"));
        let log = client(&address, &spool).open().unwrap();
        let is_bad = |number: usize| number % 50 == 7;
        let taken = fill(&log, |number| if is_bad(number) { format!("bad {number}") } else { long(number) });
        let _full = volume.fill();
        let server = EventServer::start_at(&address, Mode::Honest);
        // The flush tells of the first that was refused, and then nothing is left.
        assert!(matches!(log.flush_to_server(LONG), Err(AppendError::Rejected { .. })));
        let (bad, good): (Vec<String>, Vec<String>) =
            taken.into_iter().partition(|message| message.starts_with("bad"));
        assert_eq!((server.messages(), log.refused()), (good, bad.len() as u64));
        assert_eq!(log.close().unwrap().spooled, 0);
        let refused = std::fs::read_to_string(spool.join("refused.jsonl")).unwrap();
        let refused: Vec<serde_json::Value> =
            refused.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages: Vec<_> =
            refused.iter().map(|line| line["event"]["message"].as_str().unwrap()).collect();
        assert_eq!(messages, bad);
    });
}

#[test]
fn an_event_that_is_refused_stays_in_the_spool_until_it_can_be_kept() {
    within(LIMIT, || {
        let folder = tempfile::tempdir().unwrap();
        let server = EventServer::start(Mode::Honest);
        let address = server.url().replace("http://", "");
        // A folder in its place: nothing can be written to it.
        let refused = folder.path().join("refused.jsonl");
        std::fs::create_dir(&refused).unwrap();
        let log = client(&address, folder.path()).open().unwrap();
        for message in ["1", "2", "bad 3", "4"] {
            drop(log.append(note(message)).unwrap());
        }
        while !log.last_error().is_some_and(|last_error| last_error.contains("refused.jsonl")) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(log.refused(), 0);
        std::fs::remove_dir(&refused).unwrap();
        assert!(matches!(log.flush_to_server(LONG), Err(AppendError::Rejected { .. })));
        assert_eq!((server.messages(), log.refused()), (vec!["1".into(), "2".into(), "4".into()], 1));
        assert_eq!(std::fs::read_to_string(refused).unwrap().lines().count(), 1);
        log.close().unwrap();
    });
}

#[test]
fn events_of_segments_that_somebody_deleted_are_owned_up_to_and_the_others_are_sent() {
    within(LIMIT, || {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        // An eighth of it is a segment: few events each.
        let log = client(&address, folder.path()).spool_bytes_max(40_000).open().unwrap();
        let receipts: Vec<_> = (0..40)
            .map(|number| {
                let receipt = log.append(note(format!("{number} {}", "x".repeat(400)))).unwrap();
                let Delivery::Spooled(receipt) = receipt.delivery().unwrap() else {
                    panic!("nobody is there")
                };
                receipt
            })
            .collect();
        let is_segment = |name: &str| name.ends_with(".jsonl") && name.len() == 26;
        let mut segments: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap()).collect();
        segments.retain(|entry| is_segment(entry.file_name().to_str().unwrap()));
        segments.sort_by_key(std::fs::DirEntry::file_name);
        assert!(segments.len() > 2, "{segments:?}");
        let gone = std::fs::read_to_string(segments[1].path()).unwrap().lines().count();
        std::fs::remove_file(segments[1].path()).unwrap();

        let server = EventServer::start_at(&address, Mode::Honest);
        let flushed = log.flush_to_server(LONG);
        // A request that was under way when they were deleted still has its events.
        let lost = usize::try_from(log.refused()).unwrap();
        assert!(lost <= gone, "{lost} of {gone}");
        match flushed {
            Ok(_) => assert_eq!(lost, 0),
            Err(error) => {
                assert!(
                    error.to_string().contains(&format!("{lost} events are no longer in the spool")),
                    "{error}"
                );
            }
        }
        assert_eq!(server.messages().len(), 40 - lost);
        let told = receipts
            .into_iter()
            .map(annals::Receipt::wait)
            .filter(|outcome| matches!(outcome, Err(AppendError::NotWritten { .. })))
            .count();
        assert_eq!(told, lost);
        let after = log.append(note("after")).unwrap().wait().unwrap();
        assert_eq!(after.seq.get(), 41 - lost as u64);
        log.close().unwrap();
    });
}

#[test]
fn the_longest_patience_that_can_be_said_is_no_error() {
    within(LIMIT, || {
        let folder = tempfile::tempdir().unwrap();
        let server = EventServer::start(Mode::Honest);
        let log = client(&server.url().replace("http://", ""), folder.path())
            .spool_after(Duration::MAX)
            .request_timeout(Duration::MAX)
            .close_timeout(Duration::MAX)
            .open()
            .unwrap();
        let ids: HashSet<_> =
            (0..10).map(|_| log.append(note("x")).unwrap().wait().unwrap().event_id).collect();
        assert_eq!(ids.len(), 10);
        log.close().unwrap();
    });
}
