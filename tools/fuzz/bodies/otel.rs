//! Whatever JSON is recorded as a span or a log record, what it means can be recorded.

use annals::otel::Meanings;
use annals::{Content, Draft, Event, EventId, Json, OtelLog, OtelSpan, Recorded, Seq, SessionId, Timestamp};

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
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(json) = text.parse::<Json>() else { return };
    if !json.is_object() {
        return;
    }
    let session = SessionId::new("s").ok();
    check(session, OtelSpan { span: json.clone(), ..OtelSpan::default() }.into());
    check(None, OtelLog { log_record: json, ..OtelLog::default() }.into());
}
