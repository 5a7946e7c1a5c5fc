//! OTLP: what is answered over HTTP and gRPC, and that it is true.

use crate::support::server;
use std::path::Path;

use crate::support::server::{Answer, Served};
use crate::support::{new_path, sqlite, verify_whole};
use annals::query::EventFilter;
use annals::{Kind, Reader, Seq};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;

const PROTOBUF: &str = "application/x-protobuf";

fn span(id: u8, name: &str) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        name: name.into(),
        start_time_unix_nano: 1_795_176_000_000_000_000,
        end_time_unix_nano: 1_795_176_001_000_000_000,
        ..Span::default()
    }
}

fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn post(served: &Served, path: &str, message: &impl Message) -> Answer {
    served.request("POST", path, &[("content-type", PROTOBUF)], &message.encode_to_vec())
}

/// Spans and log records that are in the log.
fn recorded(path: &Path) -> usize {
    let events = Reader::open(path).unwrap().events(&EventFilter::ALL, Seq::ZERO, 1_000).unwrap();
    events.iter().filter(|event| [Kind::OtelSpan.code(), Kind::OtelLog.code()].contains(&event.kind)).count()
}

#[test]
fn an_answer_is_in_the_form_of_its_request() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let answer = post(&served, "/v1/traces", &traces(vec![span(1, "a")]));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(PROTOBUF)));
    assert_eq!(ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap().partial_success, None);
    let answer =
        post(&served, "/v1/logs", &logs(vec![LogRecord { time_unix_nano: 1, ..LogRecord::default() }]));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(PROTOBUF)));

    let body = serde_json::to_vec(&traces(vec![span(2, "b")])).unwrap();
    let answer =
        served.request("POST", "/v1/traces", &[("content-type", "application/json; charset=utf-8")], &body);
    assert_eq!((answer.text(), answer.header("content-type")), ("{}", Some("application/json")));
    let answer = served.post_json("/v1/logs", "{}");
    assert_eq!((answer.status, answer.text()), (200, "{}"));
    for (media_type, body) in [(PROTOBUF, ""), ("application/json", "{}")] {
        let answer = served.request("POST", "/v1/metrics", &[("content-type", media_type)], body.as_bytes());
        assert_eq!(
            (answer.status, answer.text(), answer.header("content-type")),
            (200, body, Some(media_type))
        );
    }
    assert_eq!(recorded(&path), 3);
    served.stop();
    verify_whole(&path);
}

#[test]
fn what_can_never_be_recorded_is_counted_and_named_and_the_rest_is_committed() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let spans: Vec<Span> =
        (0..9).map(|place| Span { trace_id: vec![0; 16], ..span(place + 1, "bad") }).collect();
    let request = traces([vec![span(1, "good")], spans].concat());
    let answer = post(&served, "/v1/traces", &request);
    assert_eq!(answer.status, 200);
    let partial =
        ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 9);
    assert!(
        partial.error_message.starts_with("span 2 `bad`: the trace id must have"),
        "{}",
        partial.error_message
    );
    assert!(partial.error_message.ends_with("; and 4 more"), "{}", partial.error_message);

    let bad = LogRecord { trace_id: vec![1; 3], event_name: "e".into(), ..LogRecord::default() };
    let answer = post(&served, "/v1/logs", &logs(vec![bad.clone()]));
    let partial = ExportLogsServiceResponse::decode(answer.body.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 1);
    let answer = served.post_json("/v1/logs", serde_json::to_vec(&logs(vec![bad])).unwrap()).expect(200);
    assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], "1");
    assert!(answer["partialSuccess"]["errorMessage"].as_str().unwrap().starts_with("log record 1 `e`: "));

    // One that is larger than the log takes.
    let large = Span { name: "x".repeat(5 << 20), ..span(3, "") };
    let answer =
        served.post_json("/v1/traces", serde_json::to_vec(&traces(vec![large])).unwrap()).expect(200);
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1");
    assert_eq!(recorded(&path), 1);
    served.stop();
    verify_whole(&path);
}

#[test]
fn a_span_sent_again_is_one_event_and_with_other_content_one_more() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let started = Span { end_time_unix_nano: 0, ..span(1, "work") };
    let ended = span(1, "work");
    let otherwise = span(1, "work, renamed");
    for _ in 0..2 {
        // One that has ended stands, whichever comes first.
        for sent in [&ended, &otherwise, &started] {
            assert_eq!(post(&served, "/v1/traces", &traces(vec![sent.clone()])).status, 200);
        }
    }
    // All in one request.
    let all = traces(vec![started, ended, otherwise]);
    assert_eq!(post(&served, "/v1/traces", &all).status, 200);
    assert_eq!(recorded(&path), 3);
    served.stop();
    let (count, name, status): (i64, String, String) = sqlite(&path)
        .query_row("SELECT count(*), max(module), max(status) FROM steps", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!((count, name.as_str(), status.as_str()), (1, "work, renamed", "ok"));
    verify_whole(&path);
}

#[test]
fn log_records_that_are_the_same_but_for_their_place_are_all_kept() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let record = |text: &str| LogRecord {
        time_unix_nano: 1_795_176_000_000_000_000,
        event_name: text.into(),
        ..LogRecord::default()
    };
    for _ in 0..2 {
        let answer = post(&served, "/v1/logs", &logs(vec![record("a"), record("a"), record("b")]));
        assert_eq!(answer.status, 200);
    }
    assert_eq!(recorded(&path), 3);
    // The same time, and another text.
    assert_eq!(post(&served, "/v1/logs", &logs(vec![record("c")])).status, 200);
    assert_eq!(recorded(&path), 4);
    served.stop();
    verify_whole(&path);
}

/// Code and message of `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[test]
fn an_error_is_a_status_in_the_form_of_its_request() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    for target in ["/v1/traces", "/v1/logs"] {
        let answer = served.request("POST", target, &[("content-type", PROTOBUF)], b"\x0a\x05");
        assert_eq!((answer.status, answer.header("content-type")), (400, Some(PROTOBUF)));
        let status = Status::decode(answer.body.as_slice()).unwrap();
        assert_eq!(status.code, 3);
        assert!(status.message.contains("nothing was recorded"), "{}", status.message);
        let answer = served.post_json(target, "[");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.expect(400)["code"], 3);
        let answer = served.request("POST", target, &[("content-type", "text/plain")], b"");
        assert_eq!(answer.expect(415)["code"], 3);
        let headers = [("content-type", PROTOBUF), ("content-encoding", "br")];
        assert_eq!(served.request("POST", target, &headers, b"x").status, 415);
        let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
        assert_eq!(served.request("POST", target, &headers, b"x").status, 400);
    }
    // 16,385 empty spans: more than a request may have.
    let many = traces(vec![Span::default(); 16_385]);
    let answer = post(&served, "/v1/traces", &many);
    assert_eq!(answer.status, 413);
    assert!(Status::decode(answer.body.as_slice()).unwrap().message.contains("send fewer at once"));
    assert_eq!(recorded(&path), 0);
    served.stop();
}

#[test]
fn memory_stays_flat_when_a_request_is_made_of_nothing() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let before = served.resident_bytes();
    // Two bytes each: as decoded by others, hundreds.
    let nothing = |field: u8| [field << 3 | 2, 0].repeat(4 << 20);
    let within = |field: u8, inner: Vec<u8>| {
        let mut outer = vec![field << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    };
    let spans = within(1, within(2, nothing(2)));
    let value = within(2, within(5, nothing(1)));
    let list = within(1, within(2, within(2, within(9, value))));
    for (body, status) in [(spans, 413), (list, 200)] {
        let answer = served.request("POST", "/v1/traces", &[("content-type", PROTOBUF)], &body);
        assert_eq!(answer.status, status);
    }
    assert!(served.resident_bytes() < before + (100 << 20), "{}", served.resident_bytes() >> 20);
    served.stop();
}

fn grpc<T>(request: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(request)
}

#[test]
fn grpc_has_the_three_services_plain_and_compressed() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--grpc", "127.0.0.1:0"]);
    let address = served.announced["grpc"][0].as_str().unwrap().to_owned();
    grpc(async {
        for (id, encoding) in
            [(1, None), (2, Some(CompressionEncoding::Gzip)), (3, Some(CompressionEncoding::Zstd))]
        {
            let mut client = TraceServiceClient::connect(address.clone()).await.unwrap();
            if let Some(encoding) = encoding {
                client = client.send_compressed(encoding);
            }
            let bad = Span { span_id: Vec::new(), ..span(9, "bad") };
            let answer = client.export(traces(vec![span(id, "a"), bad])).await.unwrap().into_inner();
            assert_eq!(answer.partial_success.unwrap().rejected_spans, 1);
        }
        let mut client = LogsServiceClient::connect(address.clone()).await.unwrap();
        let record = LogRecord { time_unix_nano: 1, ..LogRecord::default() };
        assert_eq!(client.export(logs(vec![record])).await.unwrap().into_inner().partial_success, None);
        let mut client = MetricsServiceClient::connect(address.clone()).await.unwrap();
        client.export(ExportMetricsServiceRequest::default()).await.unwrap();

        let many = traces(vec![Span::default(); 16_385]);
        let status =
            TraceServiceClient::connect(address.clone()).await.unwrap().export(many).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains("send fewer at once"), "{status}");
    });
    assert_eq!(recorded(&path), 4);
    served.stop();
    verify_whole(&path);
}

#[test]
fn each_address_serves_both_protocols_so_that_who_mixes_them_up_loses_nothing() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--grpc", "127.0.0.1:0"]);
    let grpc_address = served.announced["grpc"][0].as_str().unwrap().to_owned();
    let body = traces(vec![span(1, "over HTTP")]).encode_to_vec();
    let mut stream = std::net::TcpStream::connect(grpc_address.split_once("://").unwrap().1).unwrap();
    let headers = [("content-type", "application/x-protobuf")];
    let answer = server::ask(&mut stream, "POST", "/v1/traces", &headers, &body).unwrap();
    assert_eq!(answer.status, 200);
    grpc(async {
        let address = format!("http://{}", served.address);
        let mut client = TraceServiceClient::connect(address).await.unwrap();
        client.export(traces(vec![span(2, "over gRPC")])).await.unwrap();
    });
    assert_eq!(recorded(&path), 2);
    served.stop();
}

#[test]
fn a_span_that_comes_with_ever_other_contents_is_never_dropped() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    for number in 0..20 {
        let answer = post(&served, "/v1/traces", &traces(vec![span(1, &format!("beat {number}"))]));
        assert_eq!((answer.status, answer.body.len()), (200, 0), "nothing is rejected");
    }
    assert_eq!(recorded(&path), 20);
    served.stop();
    verify_whole(&path);
}

#[test]
fn who_may_not_emit_is_told_so_in_the_words_of_the_protocol() {
    let (_folder, path) = new_path();
    let created = std::process::Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["--json", "--db"])
        .arg(&path)
        .args(["apikey", "create", "--name", "reader", "--scopes", "read"])
        .env("ANNALS_HOME", path.with_file_name("home"))
        .output()
        .unwrap();
    let created: Value = serde_json::from_slice(&created.stdout).unwrap();
    let bearer = format!("Bearer {}", created["key"].as_str().unwrap());
    let served = Served::start_with(&path, &["--grpc", "127.0.0.1:0"]);
    let answer = post(&served, "/v1/traces", &traces(vec![span(1, "a")]));
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(Status::decode(answer.body.as_slice()).unwrap().code, 16);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let answer = served.request("POST", "/v1/traces", &headers, json!({}).to_string().as_bytes());
    assert_eq!(answer.expect(403)["code"], 7);
    let address = served.announced["grpc"][0].as_str().unwrap().to_owned();
    grpc(async {
        let mut client = TraceServiceClient::connect(address).await.unwrap();
        let status = client.export(traces(vec![span(1, "a")])).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        let mut request = tonic::Request::new(traces(vec![span(1, "a")]));
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        assert_eq!(client.export(request).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    });
    assert_eq!(recorded(&path), 0);
    served.stop();
}

/// Creates a key that may emit, and returns what a request shows.
fn emitter(path: &Path, name: &str) -> String {
    let created = std::process::Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["--json", "--db"])
        .arg(path)
        .args(["apikey", "create", "--name", name, "--scopes", "emit"])
        .env("ANNALS_HOME", path.with_file_name("home"))
        .output()
        .unwrap();
    let created: Value = serde_json::from_slice(&created.stdout).unwrap();
    format!("Bearer {}", created["key"].as_str().unwrap())
}

#[test]
fn what_is_sent_again_after_a_change_of_keys_is_recorded_once() {
    let (_folder, path) = new_path();
    let keys = [emitter(&path, "old"), emitter(&path, "new")];
    let served = Served::start(&path);
    let spans = traces(vec![span(1, "a"), span(2, "b")]).encode_to_vec();
    let record = LogRecord { time_unix_nano: 1, ..LogRecord::default() };
    let records = logs(vec![record.clone(), record]).encode_to_vec();
    for key in &keys {
        let headers = [("content-type", PROTOBUF), ("authorization", key.as_str())];
        for (target, body) in [("/v1/traces", &spans), ("/v1/logs", &records)] {
            assert_eq!(served.request("POST", target, &headers, body).status, 200);
        }
        assert_eq!(recorded(&path), 4);
    }
    // What is another span is recorded beside it, whoever sends it.
    let headers = [("content-type", PROTOBUF), ("authorization", keys[1].as_str())];
    let other = traces(vec![span(1, "another")]).encode_to_vec();
    assert_eq!(served.request("POST", "/v1/traces", &headers, &other).status, 200);
    assert_eq!(recorded(&path), 5);
    served.stop();
    verify_whole(&path);
}

#[test]
fn a_log_record_without_any_time_is_recorded_each_time_that_it_is_sent() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    for _ in 0..2 {
        let record = LogRecord { event_name: "e".into(), ..LogRecord::default() };
        assert_eq!(post(&served, "/v1/logs", &logs(vec![record])).status, 200);
    }
    assert_eq!(recorded(&path), 2, "two that say the same may be two");
}

#[test]
fn a_client_of_grpc_that_sends_too_much_is_told_when_to_come_again() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--rate", "1", "--grpc", "127.0.0.1:0"]);
    let address = served.announced["grpc"][0].as_str().unwrap().to_owned();
    let status = grpc(async {
        let mut client = TraceServiceClient::connect(address).await.unwrap();
        loop {
            if let Err(status) = client.export(traces(vec![span(1, "a")])).await {
                return status;
            }
        }
    });
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert!(details.contains("type.googleapis.com/google.rpc.RetryInfo"), "{details:?}");
}

#[test]
fn what_is_made_of_a_request_counts_as_memory() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--max-memory", "4"]);
    // Each span has the resource that the request has once.
    let mut request = traces((1..=200).map(|id| span(id, "a")).collect());
    let attribute =
        opentelemetry_proto::tonic::common::v1::KeyValue { key: "k".repeat(20_000), ..Default::default() };
    request.resource_spans[0].resource = Some(opentelemetry_proto::tonic::resource::v1::Resource {
        attributes: vec![attribute],
        ..Default::default()
    });
    let answer = post(&served, "/v1/traces", &request);
    assert_eq!(answer.status, 413, "twice 2 MiB can never find room");
    request.resource_spans[0].scope_spans[0].spans.truncate(50);
    assert_eq!(post(&served, "/v1/traces", &request).status, 200);
    assert_eq!(recorded(&path), 50);
}

#[test]
fn a_span_with_a_number_that_readers_cannot_follow_is_rejected_and_the_others_are_recorded() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let mut request = serde_json::to_string(&traces(vec![span(1, "good"), span(2, "bad")])).unwrap();
    request =
        request.replacen("\"name\":\"bad\"", &format!("\"name\":\"bad\",\"x\":{}", "9".repeat(3_000_000)), 1);
    let answer = served.post_json("/v1/traces", &request).expect(200);
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1");
    let said = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    assert!(said.contains("`bad`") && said.contains("a number of more than 4000 characters"), "{said}");
    assert_eq!(recorded(&path), 1);
}
