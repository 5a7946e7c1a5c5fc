//! OTLP over HTTP: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>. Answers and errors are in the
//! encoding of the request.

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use prost::Message as _;

use crate::limits::PAYLOAD_BYTES_MAX;
use crate::otlp::{self, Bounds, Form, Rejected, Round, Signal, Unreadable};
use crate::prepare::{PrepareError, SentBy};
use crate::receipt::AppendError;
use crate::server::app::{App, OtlpMetrics};
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::append::{self, Sent};
use crate::server::request::auth::{Allowed, Emit};
use crate::server::request::body::{Received, Unread};
use crate::server::request::caller::Caller;

/// The factor by which events may be larger than their request. Each event has the resource and the scope,
/// which the request has once for many.
const GROWTH_MAX: usize = 4;

/// Rejected items that an answer names, and dropped metrics that the server's log names. Of the others there is the
/// number.
const NAMED_MAX: usize = 5;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// The result of a request: everything is committed, except items that can never be.
#[derive(Debug, Default)]
pub(in crate::server) struct Recorded {
    rejected: i64,
    /// The rejected items with their reasons, or the reason for which nothing was found. Empty if the request
    /// was recorded whole.
    message: String,
}

/// `ExportTraceServiceResponse`, `ExportLogsServiceResponse` and `ExportMetricsServiceResponse`, which are the same on
/// the wire.
#[derive(Clone, PartialEq, prost::Message)]
struct ServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`, `ExportLogsPartialSuccess` and `ExportMetricsPartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

impl Recorded {
    fn new(signal: Signal, rejected: &[Rejected], nothing_found: Option<String>) -> Recorded {
        let named: Vec<String> = rejected
            .iter()
            .take(NAMED_MAX)
            .map(|Rejected { place, name, reason }| format!("{} {place} `{name}`: {reason}", signal.item()))
            .collect();
        let mut message = named.join("; ");
        if rejected.len() > NAMED_MAX {
            message += &format!("; and {} more", rejected.len() - NAMED_MAX);
        }
        // Where nothing was found, nothing was rejected.
        message += &nothing_found.unwrap_or_default();
        Recorded { rejected: i64::try_from(rejected.len()).unwrap_or(i64::MAX), message }
    }

    /// The response message of a service.
    pub(in crate::server) fn to_protobuf(&self) -> Vec<u8> {
        // A message without rejected items is a warning.
        let partial = PartialSuccess { rejected: self.rejected, error_message: self.message.clone() };
        ServiceResponse { partial_success: (!self.message.is_empty()).then_some(partial) }.encode_to_vec()
    }

    fn to_json(&self, signal: Signal) -> Vec<u8> {
        if self.message.is_empty() {
            return b"{}".to_vec();
        }
        let rejected = match signal {
            Signal::Traces => "rejectedSpans",
            Signal::Logs => "rejectedLogRecords",
            Signal::Metrics => "rejectedDataPoints",
        };
        // The JSON form of protobuf has 64-bit integers as texts.
        let partial =
            serde_json::json!({ rejected: self.rejected.to_string(), "errorMessage": self.message });
        serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
    }
}

/// Records the items of a request.
///
/// # Errors
/// If the request cannot be read, or not all of it is known to be committed.
pub(in crate::server) async fn record(
    app: &App,
    caller: &Caller,
    received: Received,
    signal: Signal,
    form: Form,
) -> Result<Recorded, Problem> {
    let bounds = Bounds {
        items: app.limits.request_events,
        item_bytes: PAYLOAD_BYTES_MAX,
        // Events for which there can never be room are too large: a client that is asked to come again would
        // do so forever.
        bytes: app.limits.body_bytes.saturating_mul(GROWTH_MAX).min(app.memory.all_bytes() / 2),
    };
    let mut rejected = Vec::new();
    let mut nothing_found = None;
    let mut round = Round::first();
    loop {
        let reading = round.clone();
        let ((names, unfit, reason, without_value), sent) =
            append::append(app, caller, &received, SentBy::Anybody, move |bytes, made| {
                let mut room = |bytes| made.take(bytes).is_ok();
                let read = reading.read(bytes, signal, form, bounds, &mut room);
                let otlp::Request { items, rejected, nothing_found, without_value } =
                    read.map_err(|error| unreadable(&error, form))?;
                let (names, drafts): (Vec<_>, Vec<_>) =
                    items.into_iter().map(|item| ((item.place, item.name), item.draft)).unzip();
                Ok(((names, rejected, nothing_found, without_value), drafts))
            })
            .await?;
        // Every round reads the whole body and finds the same bad items. They count once.
        if round.is_first() {
            // Items that reach the log are counted there.
            app.metrics.rejected(Kind::InvalidEvent.name(), unfit.len().try_into().unwrap_or(u64::MAX));
            app.metrics.without_value(without_value);
            (rejected, nothing_found) = (unfit, reason);
        }
        let mut taken = Vec::new();
        hear(names, sent, &mut rejected, &mut taken)?;
        if taken.is_empty() {
            break;
        }
        round = round.next(taken);
    }
    rejected.sort_unstable_by_key(|rejected| rejected.place);
    if nothing_found.is_some() {
        app.metrics.nothing_found();
    }
    let recorded = Recorded::new(signal, &rejected, nothing_found);
    if !recorded.message.is_empty() {
        // Exporters often do not report the answer. The message has names that the client sent.
        let (signal, rejected, message) = (signal.path(), recorded.rejected, &recorded.message);
        tracing::info!(signal, rejected, ?message, "not everything of a request was recorded");
    }
    Ok(recorded)
}

/// Sorts the outcomes of items. `taken` gets the positions of those whose id another event has.
fn hear(
    names: Vec<(usize, String)>,
    sent: Vec<Sent>,
    rejected: &mut Vec<Rejected>,
    taken: &mut Vec<usize>,
) -> Result<(), Problem> {
    for ((place, name), Sent { outcome, .. }) in names.into_iter().zip(sent) {
        match outcome {
            Ok(_) => {}
            Err(AppendError::Conflict { .. }) => taken.push(place),
            Err(
                error @ (AppendError::Unfit(
                    PrepareError::TooLarge { .. } | PrepareError::Invalid(_) | PrepareError::Encode(_),
                )
                | AppendError::Refused(_)
                | AppendError::Reserved(_)
                | AppendError::NotRedactable { .. }
                | AppendError::KeyNameTaken { .. }),
            ) => rejected.push(Rejected { place, name, reason: error.to_string() }),
            // The client sends all of it again. Items that are committed by now are known by their ids then,
            // except those with new ids.
            Err(error) => {
                return Err(Problem::new(
                    Kind::NotWritten,
                    format!("it is not known whether everything is committed: {error}; send all of it again"),
                ));
            }
        }
    }
    Ok(())
}

fn unreadable(error: &Unreadable, form: Form) -> Problem {
    let kind = match (error, form) {
        (Unreadable::TooMany { .. } | Unreadable::TooLarge { .. }, _) => Kind::TooLarge,
        (Unreadable::NoRoom, _) => Kind::Overloaded,
        (_, Form::Json) => Kind::NotJson,
        (_, Form::Protobuf) => Kind::BadRequest,
    };
    Problem::new(kind, format!("{error}; nothing was recorded"))
}

/// Makes a timeout an overload: exporters give up after 408, and send again after 503.
fn retryable(problem: Problem) -> Problem {
    match problem.kind {
        Kind::Timeout => Problem::new(Kind::Overloaded, problem.detail),
        _ => problem,
    }
}

/// The encoding of a request, and of its answer.
fn form(headers: &HeaderMap) -> Option<Form> {
    let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case(PROTOBUF) || essence.eq_ignore_ascii_case("application/protobuf") {
        Some(Form::Protobuf)
    } else if essence.eq_ignore_ascii_case(JSON) {
        Some(Form::Json)
    } else {
        None
    }
}

/// `google.rpc.Status`, the body of an error.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// A code of `google.rpc.Code` for a problem.
pub(in crate::server) fn code(problem: &Problem) -> tonic::Code {
    match problem.status {
        StatusCode::BAD_REQUEST
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::PAYLOAD_TOO_LARGE => tonic::Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => tonic::Code::Unauthenticated,
        StatusCode::FORBIDDEN => tonic::Code::PermissionDenied,
        StatusCode::REQUEST_TIMEOUT => tonic::Code::DeadlineExceeded,
        StatusCode::TOO_MANY_REQUESTS => tonic::Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
        _ => tonic::Code::Internal,
    }
}

/// A problem as an error of OTLP.
fn error(problem: &Problem, form: Form) -> Response {
    let status = RpcStatus { code: i32::from(code(problem)), message: problem.detail.clone() };
    let (media_type, body) = match form {
        Form::Protobuf => (PROTOBUF, status.encode_to_vec()),
        Form::Json => {
            let body = serde_json::json!({ "code": status.code, "message": status.message });
            (JSON, body.to_string().into_bytes())
        }
    };
    let mut response = (problem.status, [(CONTENT_TYPE, media_type)], body).into_response();
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Counts the metrics of a request, and drops them. The server's log names the first ones.
pub(in crate::server) async fn drop_metrics(app: &App, received: &Received, form: Form) {
    let bytes = received.bytes.clone();
    let names = app.work(bytes.len(), move || otlp::names_of_metrics(&bytes, form, NAMED_MAX)).await;
    // An error is the end of the server, at which nobody reads the count any more.
    let Ok(otlp::Names { metrics, first: names }) = names else { return };
    if app.metrics.dropped(metrics) {
        tracing::info!(?names, "metrics of OpenTelemetry are dropped; --otlp-metrics record records them");
    }
}

async fn answer(
    app: &App,
    allowed: Result<Allowed<Emit>, Problem>,
    headers: &HeaderMap,
    body: Unread,
    signal: Signal,
) -> Response {
    let Some(form) = form(headers) else {
        let problem = Problem::new(
            Kind::UnsupportedMediaType,
            "send application/x-protobuf or application/json; nothing was recorded",
        );
        return error(&problem, Form::Json);
    };
    // `allowed` is a result, not an extractor that refuses: refusals are in the request's encoding too.
    let recorded = async {
        let Allowed { caller, .. } = allowed?;
        let received = body.receive(app, headers).await.map_err(retryable)?;
        record(app, &caller, received, signal, form).await
    };
    match (recorded.await, form) {
        (Ok(recorded), Form::Protobuf) => {
            ([(CONTENT_TYPE, PROTOBUF)], recorded.to_protobuf()).into_response()
        }
        (Ok(recorded), Form::Json) => ([(CONTENT_TYPE, JSON)], recorded.to_json(signal)).into_response(),
        (Err(problem), form) => error(&problem, form),
    }
}

macro_rules! route {
    ($(#[$doc:meta])* $name:ident, $path:literal, $signal:expr) => {
        $(#[$doc])*
        #[utoipa::path(
            post,
            path = $path,
            tag = "opentelemetry",
            request_body(
                content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json")),
                description = "An OTLP request, plain or compressed with gzip or zstd.",
            ),
            responses(
                (status = 200, description = "Everything is committed, except the items that `partial_success` counts and names", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
                (status = 400, description = "The body is not an OTLP request; nothing was recorded", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
                (status = 401, description = "A valid API key is needed", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
                (status = 403, description = "The key lacks the `emit` scope", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
                (status = 413, description = "The request is too large; nothing was recorded", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
                (status = 415, description = "The body is neither protocol buffers nor JSON, or its encoding is not supported", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
                (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
                (status = 503, description = "It is not known whether everything is committed; send all of it again", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
            )
        )]
        pub(crate) async fn $name(
            State(app): State<App>,
            allowed: Result<Allowed<Emit>, Problem>,
            headers: HeaderMap,
            body: Unread,
        ) -> Response {
            answer(&app, allowed, &headers, body, $signal).await
        }
    };
}

route! {
    /// Records the spans of OpenTelemetry traces.
    ///
    /// Status 200 means that every span is committed, except those that can never be recorded. The answer counts
    /// and names these. A span that is sent again is recorded once.
    traces, "/v1/traces", Signal::Traces
}

route! {
    /// Records OpenTelemetry's log records.
    ///
    /// Status 200 means that every log record is committed, except those that can never be recorded. The answer
    /// counts and names these.
    logs, "/v1/logs", Signal::Logs
}

/// Records OpenTelemetry's metrics, or drops them.
///
/// By default the server drops metrics. An exporter that is configured for all signals also sends metrics, and without
/// this path it would report errors. With `annals serve --otlp-metrics record`, status 200 means that every data point
/// is committed, except those that can never be recorded, which the answer counts and names, and those without a value.
#[utoipa::path(
    post,
    path = "/v1/metrics",
    tag = "opentelemetry",
    request_body(
        content((Option<Vec<u8>> = "application/x-protobuf"), (Option<serde_json::Value> = "application/json")),
        description = "An OTLP request, plain or compressed with gzip or zstd.",
    ),
    responses(
        (status = 200, description = "Everything is committed, except the data points that `partial_success` counts and names; or the server does not record metrics", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
        (status = 400, description = "The body is not in the encoding that it names, or not an OTLP request", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
        (status = 401, description = "A valid API key is needed", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
        (status = 403, description = "The key lacks the `emit` scope", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
        (status = 413, description = "The request is too large", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
        (status = 415, description = "The body is neither protocol buffers nor JSON, or its encoding is not supported", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "It is not known whether everything is committed; send all of it again", content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))),
    )
)]
pub(crate) async fn metrics(
    State(app): State<App>,
    allowed: Result<Allowed<Emit>, Problem>,
    headers: HeaderMap,
    body: Unread,
) -> Response {
    if app.otlp_metrics == OtlpMetrics::Record {
        return answer(&app, allowed, &headers, body, Signal::Metrics).await;
    }
    let form = form(&headers).unwrap_or(Form::Json);
    let dropped = async {
        allowed?;
        // The body is read to its end: an earlier answer would break the connection.
        let received = body.receive(&app, &headers).await.map_err(retryable)?;
        drop_metrics(&app, &received, form).await;
        Ok::<(), Problem>(())
    };
    match (dropped.await, form) {
        (Ok(()), Form::Protobuf) => ([(CONTENT_TYPE, PROTOBUF)], Vec::new()).into_response(),
        (Ok(()), Form::Json) => ([(CONTENT_TYPE, JSON)], "{}").into_response(),
        (Err(problem), form) => error(&problem, form),
    }
}
