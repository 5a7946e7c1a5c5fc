//! Whatever a request of OTLP holds, it is read or refused; what is read can be recorded, and so can what
//! it means.

use annals::otel::Meanings;
use annals::otlp::file::Requests;
use annals::otlp::{self, Attempt, Bounds, Form, Signal};
use annals::{Content, Draft, Event, EventId, Recorded, Seq, SessionId, Timestamp};

fn check(session: Option<SessionId>, event: Event) {
    let recorded = Recorded {
        seq: Seq::FIRST,
        event_id: EventId::from_bytes([0; 16]),
        kind: event.kind().code(),
        session,
        occurred_at: None,
        recorded_at: Timestamp::from_micros(0),
        principal: None,
        content: Content::Event(event),
    };
    for meaning in Meanings::of(&recorded).all() {
        let session = recorded.session.clone();
        let draft = Draft { id: None, session, at: meaning.at, event: meaning.event.clone().into_owned() };
        assert_eq!(draft.check(), Ok(()));
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    // The same bytes as a file of requests, which ends.
    let requests = Requests::of(body).into_iter().flatten();
    assert!(requests.take(bytes.len() + 2).count() <= bytes.len() + 1);
    let signal = match first & 5 {
        0 => Signal::Traces,
        1 => Signal::Logs,
        _ => Signal::Metrics,
    };
    let form = if first & 2 == 0 { Form::Protobuf } else { Form::Json };
    let Ok(request) = otlp::read(body, signal, form, Bounds::default(), Attempt::default()) else { return };
    for item in request.items {
        assert_eq!(item.draft.check(), Ok(()));
        check(item.draft.session, item.draft.event);
    }
}
