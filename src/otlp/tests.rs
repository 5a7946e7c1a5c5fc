use std::io::Read as _;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event as SpanEvent, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use serde::de::DeserializeOwned;

use super::*;
use crate::event::{Draft, Event, EventId, Json, Timestamp};
use crate::limits::PAYLOAD_BYTES_MAX;

const BOUNDS: Bounds = Bounds { items: 16_384, item_bytes: PAYLOAD_BYTES_MAX, bytes: 128 << 20 };

pub(super) fn read_all(body: &[u8], signal: Signal, form: Form) -> Request {
    read(body, signal, form, BOUNDS, Attempt::default()).unwrap()
}

fn any(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.into(), value: any(value), ..KeyValue::default() }
}

fn every_value() -> Vec<KeyValue> {
    let inner =
        ArrayValue { values: vec![AnyValue { value: Some(Any::IntValue(-1)) }, AnyValue { value: None }] };
    let map = KeyValueList { values: vec![attribute("inner", Any::ArrayValue(inner.clone()))] };
    vec![
        attribute("text", Any::StringValue("a \"b\"\n\u{1}\u{2028}ü".into())),
        attribute("empty", Any::StringValue(String::new())),
        attribute("yes", Any::BoolValue(true)),
        attribute("no", Any::BoolValue(false)),
        attribute("least", Any::IntValue(i64::MIN)),
        attribute("ratio", Any::DoubleValue(0.1)),
        attribute("bytes", Any::BytesValue(vec![0, 255])),
        attribute("list", Any::ArrayValue(inner)),
        attribute("map", Any::KvlistValue(map)),
        KeyValue { key: "none".into(), value: None, ..KeyValue::default() },
    ]
}

fn span() -> Span {
    Span {
        trace_id: vec![0x5b; 16],
        span_id: vec![0xe1; 8],
        trace_state: "a=b".into(),
        parent_span_id: vec![0xe0; 8],
        flags: 0x301,
        name: "chat".into(),
        kind: 3,
        start_time_unix_nano: 1_795_176_000_000_000_001,
        end_time_unix_nano: 1_795_176_001_000_000_001,
        attributes: every_value(),
        dropped_attributes_count: 1,
        events: vec![SpanEvent {
            time_unix_nano: 7,
            name: "e".into(),
            attributes: every_value(),
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "c=d".into(),
            attributes: every_value(),
            dropped_attributes_count: 4,
            flags: 5,
        }],
        dropped_links_count: 6,
        status: Some(Status { message: "m".into(), code: 2 }),
    }
}

fn log_record() -> LogRecord {
    LogRecord {
        time_unix_nano: 1_795_176_000_000_000_001,
        observed_time_unix_nano: 1_795_176_000_000_000_002,
        severity_number: 13,
        severity_text: "WARN".into(),
        body: any(Any::KvlistValue(KeyValueList { values: every_value() })),
        attributes: every_value(),
        dropped_attributes_count: 1,
        flags: 1,
        trace_id: vec![0x5b; 16],
        span_id: vec![0xe1; 8],
        event_name: "e".into(),
    }
}

fn resource() -> Resource {
    Resource { attributes: every_value(), dropped_attributes_count: 9, ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "s".into(),
        version: "1".into(),
        attributes: every_value(),
        dropped_attributes_count: 9,
    }
}

fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource()),
            scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, schema_url: "https://s".into() }],
            schema_url: "https://r".into(),
        }],
    }
}

fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource()),
            scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    }
}

fn parsed<T: DeserializeOwned>(json: &Json) -> T {
    serde_json::from_str(json.as_str()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// Compares with another implementation, which reads the JSON that is written here.
#[test]
fn a_span_from_protocol_buffers_is_whole() {
    let request = read_all(&traces(vec![span()]).encode_to_vec(), Signal::Traces, Form::Protobuf);
    let [Item { place: 1, name, draft }] = request.items.as_slice() else { panic!("{request:?}") };
    assert_eq!(name, "chat");
    let Event::OtelSpan(event) = &draft.event else { panic!() };
    assert_eq!(parsed::<Span>(&event.span), span());
    assert_eq!(parsed::<Resource>(event.resource.as_ref().unwrap()), resource());
    assert_eq!(parsed::<InstrumentationScope>(event.scope.as_ref().unwrap()), scope());
    assert_eq!(event.resource_schema_url.as_deref(), Some("https://r"));
    assert_eq!(event.scope_schema_url.as_deref(), Some("https://s"));
    assert_eq!(draft.session.as_ref().unwrap().as_str(), "5b".repeat(16));
    assert_eq!(draft.at.unwrap().to_string(), "2026-11-20T12:00:01.000000Z");
    assert_eq!(draft.check(), Ok(()));
}

#[test]
fn a_log_record_from_protocol_buffers_is_whole() {
    let request = read_all(&logs(vec![log_record()]).encode_to_vec(), Signal::Logs, Form::Protobuf);
    let [Item { draft, .. }] = request.items.as_slice() else { panic!("{request:?}") };
    let Event::OtelLog(event) = &draft.event else { panic!() };
    assert_eq!(parsed::<LogRecord>(&event.log_record), log_record());
    assert_eq!((event.resource_schema_url.as_ref(), event.scope_schema_url.as_ref()), (None, None));
    assert_eq!(draft.session.as_ref().unwrap().as_str(), "5b".repeat(16));
    assert_eq!(draft.at.unwrap().to_string(), "2026-11-20T12:00:00.000000Z");
}

#[test]
fn numbers_that_json_does_not_have_are_the_texts_that_otlp_has() {
    let values = [(f64::NAN, "NaN"), (f64::INFINITY, "Infinity"), (f64::NEG_INFINITY, "-Infinity")];
    for (number, text) in values {
        let sent = Span { attributes: vec![attribute("n", Any::DoubleValue(number))], ..span() };
        let request = read_all(&traces(vec![sent]).encode_to_vec(), Signal::Traces, Form::Protobuf);
        let Event::OtelSpan(event) = &request.items[0].draft.event else { panic!() };
        assert!(event.span.as_str().contains(&format!(r#"{{"doubleValue":"{text}"}}"#)), "{}", event.span);
    }
}

#[test]
fn fields_may_come_in_any_order() {
    // The name after the attributes, and the trace id last: field 5 with `chat`, and field 1 with 16 bytes.
    let one = traces(vec![Span { trace_id: Vec::new(), name: String::new(), ..span() }]).encode_to_vec();
    let whole = span();
    let mut message = Span { trace_id: Vec::new(), name: String::new(), ..whole.clone() }.encode_to_vec();
    message.extend_from_slice(&[0x2a, 4, b'c', b'h', b'a', b't', 0x0a, 16]);
    message.extend_from_slice(&whole.trace_id);
    assert_ne!(one, message);
    let head = protobuf::span_head(&message).unwrap();
    let mut json = String::new();
    protobuf::span(&message, &head, &mut json, usize::MAX).unwrap();
    assert_eq!(serde_json::from_str::<Span>(&json).unwrap(), whole);
}

#[test]
fn json_is_kept_as_it_was_sent() {
    let sent = r#"{ "traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",  "name":"n\u0041","startTimeUnixNano":1795176000000000000,"endTimeUnixNano":"1795176001000000000","new":[1.10]}"#;
    let body = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[ ]}},"scopeSpans":[{{"spans":[{sent}]}}]}}]}}"#
    );
    let request = read_all(body.as_bytes(), Signal::Traces, Form::Json);
    let [Item { name, draft, .. }] = request.items.as_slice() else { panic!("{request:?}") };
    let Event::OtelSpan(event) = &draft.event else { panic!() };
    assert_eq!((event.span.as_str(), name.as_str()), (sent, "nA"));
    assert_eq!(event.resource.as_ref().unwrap().as_str(), r#"{"attributes":[ ]}"#);
    assert_eq!(event.scope, None);
    assert_eq!(draft.session.as_ref().unwrap().as_str(), "5b8efff798038103d269b633813fc60c");
    assert_eq!(draft.at.unwrap().to_string(), "2026-11-20T12:00:01.000000Z");
    // A request of logs has no spans.
    let request = read_all(body.as_bytes(), Signal::Logs, Form::Json);
    assert_eq!((request.items.len(), request.rejected.len()), (0, 1));
    assert_eq!(request.rejected[0].reason, "it is a span; send it to /v1/traces");
}

#[test]
fn the_same_span_has_the_same_id_however_it_comes() {
    let protobuf = read_all(&traces(vec![span()]).encode_to_vec(), Signal::Traces, Form::Protobuf);
    let json = serde_json::to_vec(&traces(vec![span()])).unwrap();
    let json = read_all(&json, Signal::Traces, Form::Json);
    let id = protobuf.items[0].draft.id.unwrap();
    assert_eq!(json.items[0].draft.id, Some(id));
    // Version 8, and the start of the span before all else, in milliseconds.
    let [t0, t1, t2, t3, t4, t5, version, _, variant, ..] = *id.bytes();
    assert_eq!((version >> 4, variant >> 6), (8, 0b10));
    assert_eq!(u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]), 1_795_176_000_000);
    let body = traces(vec![span()]).encode_to_vec();
    let with =
        |attempt| read(&body, Signal::Traces, Form::Protobuf, BOUNDS, attempt).unwrap().items[0].draft.id;
    // The first attempt and the 16 after it: all ids differ.
    let attempts = std::iter::successors(Some(Attempt::default()), |attempt| attempt.next());
    let ids: Vec<EventId> = attempts.map(|attempt| with(attempt).unwrap()).collect();
    assert_eq!(ids.len(), 17);
    assert_eq!(ids[0], id);
    assert!(ids.iter().enumerate().all(|(place, id)| !ids[..place].contains(id)));
}

#[test]
fn log_records_with_the_same_times_have_ids_of_their_own_and_keep_them() {
    let ids = || -> Vec<_> {
        // Two records with equal keys, and one with another time.
        let body = logs(vec![log_record(), log_record(), LogRecord { time_unix_nano: 5, ..log_record() }]);
        read_all(&body.encode_to_vec(), Signal::Logs, Form::Protobuf)
            .items
            .iter()
            .map(|item| item.draft.id)
            .collect()
    };
    let first = ids();
    assert_eq!(first, ids());
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
}

#[test]
fn a_log_record_without_a_trace_belongs_to_no_session() {
    for trace_id in [Vec::new(), vec![0; 16]] {
        let sent = LogRecord { trace_id, span_id: Vec::new(), ..log_record() };
        let request = read_all(&logs(vec![sent]).encode_to_vec(), Signal::Logs, Form::Protobuf);
        assert_eq!(request.items[0].draft.session, None);
    }
    let body = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}},{"traceId":"","spanId":""}]}]}]}"#;
    let request = read_all(body, Signal::Logs, Form::Json);
    assert!(request.items.iter().all(|item| item.draft.session.is_none()));
    assert_eq!(request.items.len(), 2);
}

#[test]
fn what_cannot_be_recorded_is_rejected_by_name_and_the_rest_is_not() {
    let named = |name: &str| Span { name: name.into(), ..span() };
    let spans = vec![
        Span { trace_id: vec![0; 16], ..named("zero") },
        Span { trace_id: vec![1; 15], ..named("short") },
        named("good"),
        Span { span_id: Vec::new(), ..named("no span") },
    ];
    let expected = [
        (1, "zero", "the trace id must have 16 bytes, not all of them zero"),
        (2, "short", "the trace id must have 16 bytes, not all of them zero"),
        (4, "no span", "the span id must have 8 bytes, not all of them zero"),
    ];
    let body = traces(spans);
    for (body, form) in
        [(body.encode_to_vec(), Form::Protobuf), (serde_json::to_vec(&body).unwrap(), Form::Json)]
    {
        let request = read_all(&body, Signal::Traces, form);
        let rejected: Vec<_> =
            request.rejected.iter().map(|r| (r.place, r.name.as_str(), r.reason.as_str())).collect();
        assert_eq!(rejected, expected, "{form:?}");
        assert_eq!((request.items[0].place, request.items[0].name.as_str()), (3, "good"));
    }
    let odd = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[7,{"traceId":"xy"},{"traceId":"abc"},{"traceId":1}]}]}]}"#;
    let request = read_all(odd, Signal::Traces, Form::Json);
    assert_eq!((request.items.len(), request.rejected.len()), (0, 4));
    assert!(request.rejected[0].reason.starts_with("it is not a span"));
}

#[test]
fn what_is_no_request_is_refused_whole() {
    for body in [
        &b"[]"[..],
        b"{",
        b"\xff",
        b"",
        br#"{"resourceSpans":7}"#,
        br#"{"resourceSpans":[{"resource":[],"scopeSpans":[]}]}"#,
    ] {
        let read = read(body, Signal::Traces, Form::Json, BOUNDS, Attempt::default());
        assert!(matches!(read, Err(Unreadable::Json(_))), "{read:?}");
    }
    for body in [&b"{}"[..], b"\x0a\x05", b"\x0a\x02\x12\x05"] {
        let read = read(body, Signal::Traces, Form::Protobuf, BOUNDS, Attempt::default());
        assert_eq!(read, Err(Unreadable::Protobuf));
    }
    assert_eq!(read_all(b"", Signal::Traces, Form::Protobuf), Request::default());
    assert_eq!(read_all(b"{}", Signal::Traces, Form::Json), Request::default());
}

#[test]
fn a_request_is_bounded_in_items_in_bytes_and_in_depth() {
    let body = traces(vec![span(); 3]).encode_to_vec();
    let few = Bounds { items: 2, ..BOUNDS };
    assert_eq!(
        read(&body, Signal::Traces, Form::Protobuf, few, Attempt::default()),
        Err(Unreadable::TooMany { max: 2 })
    );
    // The resource is in the request once, and each event would repeat it.
    let small = Bounds { bytes: 4_000, ..BOUNDS };
    assert_eq!(
        read(&body, Signal::Traces, Form::Protobuf, small, Attempt::default()),
        Err(Unreadable::TooLarge { max: 4_000 })
    );
    let item = Bounds { item_bytes: 2_000, ..BOUNDS };
    let long = Span { attributes: vec![attribute("a", Any::StringValue("x".repeat(3_000)))], ..span() };
    let request =
        read(&traces(vec![long]).encode_to_vec(), Signal::Traces, Form::Protobuf, item, Attempt::default())
            .unwrap();
    assert_eq!(request.rejected[0].reason, "it is larger than the log accepts");

    let deep = |levels: usize| {
        let mut value = AnyValue { value: Some(Any::BoolValue(true)) };
        for _ in 0..levels {
            let list = KeyValueList {
                values: vec![KeyValue { key: "k".into(), value: Some(value), ..KeyValue::default() }],
            };
            value = AnyValue { value: Some(Any::KvlistValue(list)) };
        }
        let attributes = vec![KeyValue { key: "deep".into(), value: Some(value), ..KeyValue::default() }];
        traces(vec![Span { events: vec![SpanEvent { attributes, ..SpanEvent::default() }], ..span() }])
            .encode_to_vec()
    };
    // 27 maps and the value within them are 28 levels, which is the bound. One more map is refused.
    let request = read_all(&deep(27), Signal::Traces, Form::Protobuf);
    assert_eq!(request.items[0].draft.check(), Ok(()), "what is let in can be recorded");
    let request = read_all(&deep(28), Signal::Traces, Form::Protobuf);
    assert_eq!(request.rejected[0].reason, "it is nested too deeply");
    // In JSON the bound is that of free-form JSON: the request is refused, or the span alone.
    let deeper = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"x":{}{}}}]}}]}}]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let request = read(deeper.as_bytes(), Signal::Traces, Form::Json, BOUNDS, Attempt::default());
    assert!(request.is_err() || request.unwrap().rejected.len() == 1);
}

/// Requests of real programs, in the order in which they came.
pub(super) fn fixtures() -> Vec<(String, Signal, Form, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/otlp");
    let mut files: Vec<PathBuf> = Vec::new();
    for program in
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        files.extend(std::fs::read_dir(program).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    files
        .into_iter()
        .filter_map(|path| {
            let name = path.to_str()?.split("/otlp/").last()?.to_owned();
            let signal = if name.contains(".traces.") {
                Signal::Traces
            } else if name.contains(".logs.") {
                Signal::Logs
            } else if name.contains(".metrics.") {
                Signal::Metrics
            } else {
                return None;
            };
            let form = if name.contains(".json") { Form::Json } else { Form::Protobuf };
            let mut body = std::fs::read(&path).unwrap();
            if name.ends_with(".gz") {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
                body = plain;
            }
            Some((name, signal, form, body))
        })
        .collect()
}

#[test]
fn requests_of_real_programs_are_read_whole_by_both_implementations() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 10);
    for (name, signal, form, body) in fixtures {
        let request = read_all(&body, signal, form);
        assert_eq!(request.rejected, [], "{name}");
        assert!(!request.items.is_empty(), "{name}");
        for item in &request.items {
            assert_eq!(item.draft.check(), Ok(()), "{name}");
        }
        // The generated types read protocol buffers; requests in JSON are only read by this implementation.
        if form != Form::Protobuf {
            continue;
        }
        let theirs: usize = match signal {
            Signal::Traces => {
                let sent = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                let spans: Vec<Span> = sent
                    .resource_spans
                    .into_iter()
                    .flat_map(|r| r.scope_spans)
                    .flat_map(|s| s.spans)
                    .collect();
                for (item, span) in request.items.iter().zip(&spans) {
                    let Event::OtelSpan(event) = &item.draft.event else { panic!() };
                    assert_eq!(&parsed::<Span>(&event.span), span, "{name}");
                }
                spans.len()
            }
            Signal::Logs => {
                let sent = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
                sent.resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum()
            }
            Signal::Metrics => {
                let sent = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
                let scopes = sent.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
                let sums: Vec<(&str, f64)> = scopes
                    .flat_map(|s| &s.metrics)
                    .flat_map(|metric| {
                        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{name}") };
                        histogram.data_points.iter().map(|point| (metric.name.as_str(), point.sum.unwrap()))
                    })
                    .collect();
                for (item, (name, sum)) in request.items.iter().zip(&sums) {
                    let Event::MetricRecorded(event) = &item.draft.event else { panic!() };
                    assert_eq!((event.name.as_str(), event.value), (*name, *sum));
                }
                sums.len()
            }
        };
        assert_eq!(request.items.len(), theirs, "{name}");
    }
}

fn assert_recordable(request: Request) {
    for Item { draft, .. } in request.items {
        assert_eq!(draft.check(), Ok(()));
        let recorded = crate::event::Recorded {
            seq: crate::event::Seq::FIRST,
            event_id: EventId::from_bytes([0; 16]),
            kind: draft.event.kind().code(),
            session: draft.session,
            occurred_at: draft.at,
            recorded_at: Timestamp::from_micros(0),
            principal: None,
            content: crate::event::Content::Event(draft.event),
        };
        for meaning in crate::otel::Meanings::of(&recorded).all() {
            let session = recorded.session.clone();
            let event = meaning.event.clone().into_owned();
            assert_eq!(Draft { id: None, session, at: meaning.at, event }.check(), Ok(()));
        }
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_wrong_with_a_request_what_is_read_of_it_can_be_recorded(
        which in proptest::prelude::any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 0..8),
        cut in proptest::option::of(proptest::prelude::any::<proptest::sample::Index>()),
    ) {
        thread_local!(static FIXTURES: Vec<(String, Signal, Form, Vec<u8>)> = fixtures());
        let (signal, form, mut body) = FIXTURES.with(|fixtures| {
            let (_, signal, form, body) = which.get(fixtures);
            (*signal, *form, body.clone())
        });
        // Bytes at random positions are changed, and the end may be cut off.
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(request) = read(&body, signal, form, BOUNDS, Attempt::default()) {
            assert_recordable(request);
        }
    }
}

/// Measures the time per span: `cargo test --release --lib otlp::tests::speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let sent = Span {
        attributes: (0..12)
            .map(|n| attribute(&format!("gen_ai.some.attribute.{n}"), Any::StringValue("x".repeat(70))))
            .collect(),
        events: Vec::new(),
        links: Vec::new(),
        ..span()
    };
    let body = traces(vec![sent; 512]).encode_to_vec();
    for (form, body) in [
        (Form::Protobuf, body.clone()),
        (
            Form::Json,
            serde_json::to_vec(&ExportTraceServiceRequest::decode(body.as_slice()).unwrap()).unwrap(),
        ),
    ] {
        let begun = std::time::Instant::now();
        for _ in 0..50 {
            std::hint::black_box(read_all(&body, Signal::Traces, form));
        }
        let micros = begun.elapsed().as_secs_f64() * 1e6 / (50.0 * 512.0);
        println!("{form:?}: {micros:.2} us a span of {} bytes", body.len() / 512);
    }
}
