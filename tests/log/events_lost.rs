//! Lost are the events that the log says were refused and that are not in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{new_path, note, verify_whole, within};
use annals::{
    AppendError, AuditLog, Content, Draft, Event, EventId, EventsLost, Reader, RedactionRequest, Seq,
};

const LIMIT: Duration = Duration::from_secs(120);

fn event(name: &str) -> Draft {
    note(name).id(EventId::from_name(name))
}

fn refuse(log: &AuditLog, draft: &Draft) {
    let outcome = log.append(draft.clone()).unwrap().wait();
    assert!(matches!(outcome, Err(AppendError::NotWritten { .. })), "{outcome:?}");
}

/// Moves the log away, so that nothing can be written, and back.
struct Away<'p>(&'p Path, PathBuf);

impl Away<'_> {
    fn begin(path: &Path) -> Away<'_> {
        let elsewhere = path.with_file_name("elsewhere.db");
        std::fs::rename(path, &elsewhere).unwrap();
        Away(path, elsewhere)
    }

    fn end(self, log: &AuditLog) {
        std::fs::rename(&self.1, self.0).unwrap();
        while log.last_error().is_some() {
            std::thread::yield_now();
        }
    }
}

fn records(path: &Path) -> Vec<EventsLost> {
    let events = verify_whole(path).log.events;
    let reader = Reader::open(path).unwrap();
    (1..=events)
        .filter_map(|seq| match reader.event(Seq::new(seq)).unwrap()?.content {
            Content::Event(Event::EventsLost(lost)) => Some(lost),
            _ => None,
        })
        .collect()
}

#[test]
fn events_that_were_refused_and_sent_again_under_their_ids_are_not_lost() {
    within(LIMIT, || {
        let (_folder, path) = new_path();
        let log = AuditLog::open(&path).unwrap();
        let away = Away::begin(&path);
        for name in ["sent again", "never", "another later", "sent again", "sent again"] {
            refuse(&log, &event(name));
        }
        away.end(&log);
        log.append(event("sent again")).unwrap().wait().unwrap();
        // Whatever it says: it has the id.
        let other = note("not what was refused").id(EventId::from_name("another later"));
        let appended = log.append(other).unwrap().wait().unwrap();
        log.wait_caught_up(appended.seq).unwrap();
        // What is erased was there.
        log.redact(RedactionRequest {
            seqs: vec![appended.seq],
            actor: "ada".into(),
            reason: "asked for".into(),
            ..Default::default()
        })
        .unwrap();
        log.close().unwrap();
        let records = records(&path);
        assert_eq!((records.len(), records[0].count, records[0].ids.len()), (1, 3, 3), "{records:?}");
        let complete = verify_whole(&path).completeness;
        assert_eq!((complete.events_lost, complete.complete), (1, false), "{complete:?}");
    });
}

#[test]
fn an_event_that_was_refused_in_several_outages_is_one_event() {
    within(LIMIT, || {
        let (_folder, path) = new_path();
        let log = AuditLog::open(&path).unwrap();
        for _ in 0..2 {
            let away = Away::begin(&path);
            refuse(&log, &event("again"));
            away.end(&log);
            log.append(note("between")).unwrap().wait().unwrap();
        }
        log.flush().unwrap_err();
        assert_eq!(records(&path).len(), 2);
        assert_eq!(verify_whole(&path).completeness.events_lost, 1);
        log.append(event("again")).unwrap().wait().unwrap();
        log.close().unwrap();
        let complete = verify_whole(&path).completeness;
        assert!(complete.complete && complete.events_lost == 0, "{complete:?}");
    });
}
