//! Metrics of OpenTelemetry: dropped and counted, or recorded.

use std::path::Path;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Value, json};

use crate::otlp_leniency::rows;
use crate::support::otlp::{self, Client};
use crate::support::server::{Answer, Served};
use crate::support::{new_path, verify_whole};

const RECORD: &[&str] = &["--otlp-metrics", "record"];
const PROTOBUF: &str = "application/x-protobuf";
const START: u64 = 1_795_176_000_000_000_000;
const AT: u64 = 1_795_176_060_000_000_000;

/// Sends the captured metrics of a program, and gives the answers.
fn send_captured(served: &Served, client: &Client) -> Vec<Answer> {
    let mut requests = client.requests();
    requests.retain(|request| request.path == "/v1/metrics");
    assert!(!requests.is_empty(), "{}", client.name);
    requests
        .iter()
        .map(|request| {
            let mut headers = vec![("content-type", request.content_type.as_str())];
            headers
                .extend(request.content_encoding.as_deref().map(|encoding| ("content-encoding", encoding)));
            served.request("POST", &request.path, &headers, &request.body)
        })
        .collect()
}

fn post(served: &Served, request: &ExportMetricsServiceRequest) -> Answer {
    served.request("POST", "/v1/metrics", &[("content-type", PROTOBUF)], &request.encode_to_vec())
}

/// The events of metrics in a log that no server has open, which verifies.
fn recorded(log: &Path, query: &str) -> Vec<String> {
    verify_whole(log);
    rows(log, query)
}

fn has_line(served: &Served, line: &str) {
    let metrics = served.get("/metrics");
    assert!(metrics.text().lines().any(|own| own == line), "{line} is not in:\n{}", metrics.text());
}

#[test]
fn metrics_are_dropped_counted_and_named_once() {
    let (_folder, log) = new_path();
    let served = Served::start(&log);
    for client in [&otlp::NODE_OPENAI_OTEL_JSON, &otlp::NODE_OPENAI_OTEL, &otlp::GEMINI_CLI] {
        for answer in send_captured(&served, client) {
            assert_eq!(answer.status, 200);
        }
    }
    // 2 and 2 and 10 metrics, whatever their points.
    has_line(&served, "annals_otlp_metrics_dropped_total 14");
    let said = served.stop();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("--otlp-metrics record")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(
        lines[0].contains(r#"["gen_ai.client.operation.duration", "gen_ai.client.token.usage"]"#),
        "{said}"
    );
    assert_eq!(recorded(&log, "SELECT count(*) FROM metrics"), ["0"]);
}

#[test]
fn captured_histograms_are_recorded_once() {
    let (_folder, log) = new_path();
    let served = Served::start_with(&log, RECORD);
    for _ in 0..2 {
        for answer in send_captured(&served, &otlp::NODE_OPENAI_OTEL_JSON) {
            assert_eq!((answer.status, answer.text()), (200, "{}"));
        }
    }
    has_line(&served, "annals_otlp_metrics_dropped_total 0");
    served.stop();
    assert_eq!(
        recorded(
            &log,
            "SELECT name, value, unit, session_id, measured_at, labels ->> '$.\"gen_ai.request.model\"', labels ->> '$.\"server.port\"', attributes ->> '$.\"otel.metric.count\"' FROM metrics ORDER BY seq"
        ),
        [
            "gen_ai.client.operation.duration | 0.043128935000000014 | s | - | 2026-11-21 08:12:03.011000 | embed-1 | 43709 | 1",
            "gen_ai.client.operation.duration | 0.016077229999999988 | s | - | 2026-11-21 08:12:03.011000 | fake-1 | 43709 | 2",
            "gen_ai.client.operation.duration | 0.0034740659999999935 | s | - | 2026-11-21 08:12:03.011000 | broken-1 | 43709 | 1",
            "gen_ai.client.token.usage | 6 | {token} | - | 2026-11-21 08:12:03.011000 | embed-1 | 43709 | 1",
            "gen_ai.client.token.usage | 65 | {token} | - | 2026-11-21 08:12:03.011000 | fake-1 | 43709 | 2",
            "gen_ai.client.token.usage | 16 | {token} | - | 2026-11-21 08:12:03.011000 | fake-1 | 43709 | 2",
        ]
    );
    let attributes = rows(&log, "SELECT attributes FROM metrics WHERE value = 6");
    let attributes: Value = serde_json::from_str(&attributes[0]).unwrap();
    assert_eq!(
        attributes,
        json!({
            "otel.metric.kind": "histogram",
            "otel.metric.temporality": "cumulative",
            "otel.metric.description": "Measures number of input and output tokens used",
            "otel.metric.start": "2026-11-21T08:12:02.987000Z",
            "otel.metric.count": 1, "otel.metric.min": 6.0, "otel.metric.max": 6.0,
            "otel.metric.bounds": [
                1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0,
                16_777_216.0, 67_108_864.0
            ],
            "otel.metric.bucket_counts": [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            "otel.resource.attributes": {
                "service.name": "weather-desk", "telemetry.sdk.language": "nodejs",
                "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.version": "2.12.0",
            },
            "otel.scope.name": "@opentelemetry/instrumentation-openai", "otel.scope.version": "0.21.0",
        })
    );
}

#[test]
fn protocol_buffers_give_the_same_as_json() {
    // Two runs: ports, times and durations differ.
    let query = r#"SELECT name, unit, json_remove(labels, '$."server.port"'), json_remove(attributes,
        '$."otel.metric.start"', '$."otel.metric.min"', '$."otel.metric.max"', '$."otel.metric.bucket_counts"')
        FROM metrics ORDER BY seq"#;
    let of = |client: &Client| {
        let (_folder, log) = new_path();
        let served = Served::start_with(&log, RECORD);
        for answer in send_captured(&served, client) {
            assert_eq!(answer.status, 200);
            assert!(answer.body.is_empty() || answer.text() == "{}");
        }
        served.stop();
        recorded(&log, query)
    };
    let json = of(&otlp::NODE_OPENAI_OTEL_JSON);
    assert_eq!(json.len(), 6);
    assert_eq!(of(&otlp::NODE_OPENAI_OTEL), json);
}

#[test]
fn captured_sums_are_recorded() {
    let (_folder, log) = new_path();
    let served = Served::start_with(&log, RECORD);
    for answer in send_captured(&served, &otlp::GEMINI_CLI) {
        assert_eq!((answer.status, answer.text()), (200, "{}"));
    }
    served.stop();
    assert_eq!(recorded(&log, "SELECT count(*) FROM metrics"), ["27"]);
    assert_eq!(
        rows(
            &log,
            "SELECT labels ->> '$.type', value, unit, attributes ->> '$.\"otel.metric.kind\"', attributes ->> '$.\"otel.metric.monotonic\"', labels ->> '$.interactive' FROM metrics WHERE name = 'gemini_cli.token.usage' ORDER BY seq"
        ),
        [
            "input | 2065 | - | sum | 1 | false",
            "output | 59 | - | sum | 1 | false",
            "cache | 1010 | - | sum | 1 | false",
            "thought | 20 | - | sum | 1 | false",
            "tool | 0 | - | sum | 1 | false",
        ]
    );
}

fn label(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

fn metrics(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope = Some(InstrumentationScope { name: "lib".into(), ..InstrumentationScope::default() });
    let resource = Some(Resource { attributes: vec![label("service.name", "desk")], ..Resource::default() });
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource,
            scope_metrics: vec![ScopeMetrics { scope, metrics, schema_url: "s".into() }],
            schema_url: String::new(),
        }],
    }
}

fn one(name: &str, data: metric::Data) -> Metric {
    Metric { name: name.into(), unit: "1".into(), data: Some(data), ..Metric::default() }
}

fn number(value: Option<number_data_point::Value>) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: START,
        time_unix_nano: AT,
        value,
        attributes: vec![label("k", "v")],
        ..NumberDataPoint::default()
    }
}

fn gauge(name: &str, points: Vec<NumberDataPoint>) -> Metric {
    one(name, metric::Data::Gauge(Gauge { data_points: points }))
}

/// A metric of each kind.
fn of_each_kind() -> ExportMetricsServiceRequest {
    let integer = number_data_point::Value::AsInt;
    let sum = Sum {
        data_points: vec![NumberDataPoint {
            exemplars: vec![Exemplar::default()],
            ..number(Some(integer(-7)))
        }],
        aggregation_temporality: 1,
        is_monotonic: false,
    };
    let histogram = HistogramDataPoint {
        time_unix_nano: AT,
        count: 3,
        sum: Some(1.5),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        min: Some(0.25),
        ..HistogramDataPoint::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        time_unix_nano: AT,
        count: 4,
        sum: None,
        scale: -2,
        zero_count: 1,
        positive: Some(Buckets { offset: -3, bucket_counts: vec![1, 300] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let summary = SummaryDataPoint {
        time_unix_nano: AT,
        count: 2,
        sum: 9.0,
        quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: 4.5 }],
        ..SummaryDataPoint::default()
    };
    metrics(vec![
        gauge("g", vec![number(Some(number_data_point::Value::AsDouble(0.5)))]),
        one("s", metric::Data::Sum(sum)),
        one(
            "h",
            metric::Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 2 }),
        ),
        one(
            "e",
            metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: 2,
            }),
        ),
        one("q", metric::Data::Summary(Summary { data_points: vec![summary] })),
    ])
}

#[test]
fn every_kind_is_recorded_over_http_and_grpc_as_one_event() {
    let (_folder, log) = new_path();
    let served = Served::start_with(&log, &["--otlp-metrics", "record", "--grpc", "127.0.0.1:0"]);
    let request = of_each_kind();
    let answer = post(&served, &request);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let answer = served.post_json("/v1/metrics", serde_json::to_vec(&request).unwrap());
    assert_eq!((answer.status, answer.text()), (200, "{}"));
    let address = served.announced["grpc"][0].as_str().unwrap().to_owned();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut client = MetricsServiceClient::connect(address).await.unwrap();
        assert_eq!(client.export(request.clone()).await.unwrap().into_inner().partial_success, None);
    });
    served.stop();
    // The same over each: recorded once.
    let common = r#""otel.resource.attributes":{"service.name":"desk"},"otel.scope.name":"lib","otel.scope.schema_url":"s"}"#;
    assert_eq!(
        recorded(&log, "SELECT name, value, labels, attributes FROM metrics ORDER BY seq"),
        [
            format!(
                r#"g | 0.5 | {{"k":"v"}} | {{"otel.metric.kind":"gauge","otel.metric.start":"2026-11-20T12:00:00.000000Z",{common}"#
            ),
            format!(
                r#"s | -7 | {{"k":"v"}} | {{"otel.metric.exemplars_left_out":1,"otel.metric.kind":"sum","otel.metric.monotonic":false,"otel.metric.start":"2026-11-20T12:00:00.000000Z","otel.metric.temporality":"delta",{common}"#
            ),
            format!(
                r#"h | 1.5 | - | {{"otel.metric.bounds":[0.5],"otel.metric.bucket_counts":[1,2],"otel.metric.count":3,"otel.metric.kind":"histogram","otel.metric.min":0.25,"otel.metric.temporality":"cumulative",{common}"#
            ),
            format!(
                r#"e | 4 | - | {{"otel.metric.count":4,"otel.metric.kind":"exponential_histogram","otel.metric.positive":{{"offset":-3,"bucket_counts":[1,300]}},"otel.metric.scale":-2,"otel.metric.temporality":"cumulative","otel.metric.value":"count","otel.metric.zero_count":1,{common}"#
            ),
            format!(
                r#"q | 9 | - | {{"otel.metric.count":2,"otel.metric.kind":"summary","otel.metric.quantiles":[{{"quantile":0.5,"value":4.5}}],{common}"#
            ),
        ]
    );
}

#[test]
fn points_without_a_value_are_counted_and_bad_ones_are_named() {
    let (_folder, log) = new_path();
    let served = Served::start_with(&log, RECORD);
    let good = number_data_point::Value::AsDouble;
    let request = metrics(vec![
        gauge(
            "g",
            vec![
                NumberDataPoint { flags: 1, ..number(None) },
                number(Some(good(f64::NAN))),
                number(Some(good(2.0))),
                number(None),
            ],
        ),
        Metric { name: "empty".into(), ..Metric::default() },
        gauge("", vec![number(Some(good(1.0)))]),
    ]);
    let answer = post(&served, &request);
    assert_eq!(answer.status, 200);
    let partial =
        ExportMetricsServiceResponse::decode(answer.body.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_data_points, 3);
    let reasons: Vec<&str> = partial.error_message.split("; ").collect();
    assert_eq!(
        reasons,
        [
            "data point 2 `g`: the value is NaN, and only finite numbers are recorded",
            "data point 5 `empty`: it has no data of a known kind: gauge, sum, histogram, exponentialHistogram or summary",
            "data point 6 ``: its metric has no name",
        ]
    );
    has_line(&served, "annals_otlp_points_without_value_total 2");

    let answer = served.post_json(
        "/v1/metrics",
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gague":{}}]}]}]}"#,
    );
    let answer = answer.expect(200);
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1");
    let answer = served.post_json("/v1/metrics", r#"{"resourceMetric":[]}"#).expect(200);
    assert_eq!(
        answer["partialSuccess"]["errorMessage"],
        "no data point was found: there is `resourceMetric` where `resourceMetrics` is expected"
    );
    // Metrics at the path of log records, and spans at that of metrics.
    let at_logs = served.request("POST", "/v1/logs", &[("content-type", PROTOBUF)], &request.encode_to_vec());
    let partial =
        ExportMetricsServiceResponse::decode(at_logs.body.as_slice()).unwrap().partial_success.unwrap();
    assert!(
        partial.error_message.contains("it is a metric; send it to /v1/metrics"),
        "{}",
        partial.error_message
    );
    let spans = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"}]}]}]}"#;
    let answer = served.post_json("/v1/metrics", spans).expect(200);
    assert_eq!(
        answer["partialSuccess"]["errorMessage"],
        "data point 1 `a`: it is a span; send it to /v1/traces"
    );
    assert_eq!(served.post_json("/v1/metrics", "[").expect(400)["code"], 3);
    assert_eq!(served.request("POST", "/v1/metrics", &[("content-type", PROTOBUF)], b"\x0a\x05").status, 400);
    let many = metrics(vec![gauge("g", vec![number(None); 16_385])]);
    assert_eq!(post(&served, &many).status, 413);
    served.stop();
    assert_eq!(recorded(&log, "SELECT name, value FROM metrics"), ["g | 2"]);
}

#[test]
fn a_point_of_the_same_time_with_another_value_is_recorded_beside_the_first() {
    let (_folder, log) = new_path();
    let served = Served::start_with(&log, RECORD);
    let of = |value| metrics(vec![gauge("g", vec![number(Some(number_data_point::Value::AsInt(value)))])]);
    for value in [1, 2, 1, 2] {
        assert_eq!(post(&served, &of(value)).status, 200);
    }
    served.stop();
    assert_eq!(
        recorded(&log, "SELECT value, measured_at FROM metrics ORDER BY seq"),
        ["1 | 2026-11-20 12:01:00.000000", "2 | 2026-11-20 12:01:00.000000"]
    );
}
