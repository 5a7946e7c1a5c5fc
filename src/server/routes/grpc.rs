//! OTLP over gRPC: three services with one unary method each. The HTTP server serves them, within the same
//! bounds of bytes, time and memory.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> has the framing: a byte that shows
//! whether the message is compressed, four bytes of its length, the one message, and the status in the
//! trailers.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tonic::{Code, Status};

use crate::event::ApiKeyScope;
use crate::otlp::{Form, Signal};
use crate::server::app::{App, OtlpMetrics};
use crate::server::peer::Peer;
use crate::server::problem::Problem;
use crate::server::request::auth;
use crate::server::request::body::{self, Received};
use crate::server::routes::otlp;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

/// Bytes before a message: one for compression, four for the length.
const PREFIX_BYTES: usize = 5;

/// The routes of the services.
pub(in crate::server) fn routes() -> Router<App> {
    let traces = |State(app), request| answer(app, request, Signal::Traces);
    let logs = |State(app), request| answer(app, request, Signal::Logs);
    let metrics = |State(app), request| answer(app, request, Signal::Metrics);
    Router::new()
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", post(traces))
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", post(logs))
        .route("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", post(metrics))
}

/// An answer that has a status, in its headers, and no message.
fn refused(status: &Status) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(ACCEPTED, ENCODINGS);
    if let Err(error) = status.add_header(&mut headers) {
        headers.insert("grpc-status", HeaderValue::from(i32::from(error.code())));
    }
    (StatusCode::OK, headers).into_response()
}

/// A problem as a status. As OTLP specifies, `RetryInfo` makes clients send again after the time that it
/// gives.
fn status(problem: &Problem) -> Status {
    let code = otlp::code(problem);
    match problem.retry_after {
        Some(seconds) => retry_info(code, &problem.detail, Duration::from_secs(seconds)),
        None => Status::new(code, problem.detail.clone()),
    }
}

/// `google.rpc.Status` with a `google.rpc.RetryInfo` among its details.
fn retry_info(code: Code, message: &str, delay: Duration) -> Status {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Delay {
        #[prost(int64, tag = "1")]
        seconds: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        delay: Option<Delay>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Details {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    use prost::Message as _;
    let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
    let info = RetryInfo { delay: Some(Delay { seconds }) };
    let any =
        Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
    let details = Details { code: code.into(), message: message.to_owned(), details: vec![any] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

async fn answer(app: App, request: Request, signal: Signal) -> Response {
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|media_type| media_type.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    match handle(&app, request, signal).await {
        Ok(message) => {
            // The first byte: not compressed.
            let mut frame = vec![0];
            frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
            frame.extend_from_slice(&message);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(Some(Ok(trailers))));
            ([(CONTENT_TYPE, GRPC), (ACCEPTED, ENCODINGS)], Body::new(body)).into_response()
        }
        Err(status) => refused(&status),
    }
}

async fn handle(app: &App, request: Request, signal: Signal) -> Result<Vec<u8>, Status> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned().unwrap_or(Peer::Unknown);
    let wrong = |problem: Problem| status(&problem);
    // Before the body is read, as `Allowed` does elsewhere. Requests with the scope emit are never recorded,
    // so nothing else of `Allowed` is needed.
    let caller = auth::authenticate(app, &parts, &peer, ApiKeyScope::Emit).await.map_err(wrong)?;
    // No header: in gRPC the message is compressed, not the body around it.
    let frame = body::receive(app, &HeaderMap::new(), body).await.map_err(wrong)?;
    let received = message(app, &parts.headers, frame).await?;
    if signal == Signal::Metrics && app.otlp_metrics == OtlpMetrics::Drop {
        otlp::drop_metrics(app, &received, Form::Protobuf).await;
        return Ok(Vec::new());
    }
    let recorded = otlp::record(app, &caller, received, signal, Form::Protobuf).await.map_err(wrong)?;
    Ok(recorded.to_protobuf())
}

/// The one message of a unary call, decompressed.
async fn message(app: &App, headers: &HeaderMap, mut frame: Received) -> Result<Received, Status> {
    let broken = || Status::invalid_argument("the body is not one message of gRPC; nothing was recorded");
    let (prefix, message) = frame.bytes.split_at_checked(PREFIX_BYTES).ok_or_else(broken)?;
    let [flag, length @ ..] = <[u8; PREFIX_BYTES]>::try_from(prefix).map_err(|_| broken())?;
    if usize::try_from(u32::from_be_bytes(length)).ok() != Some(message.len()) {
        return Err(broken());
    }
    if flag == 0 {
        // The slice shares the frame's memory, which stays counted.
        frame.bytes = frame.bytes.slice(PREFIX_BYTES..);
        return Ok(frame);
    }
    let encoding = headers.get(ENCODING).ok_or_else(broken)?;
    if !["gzip", "zstd"].iter().any(|known| encoding.as_bytes() == known.as_bytes()) {
        return Err(Status::unimplemented(
            "a message may be compressed with gzip or zstd; nothing was recorded",
        ));
    }
    let inner = HeaderMap::from_iter([(CONTENT_ENCODING, encoding.clone())]);
    // The frame counts beside the decompressed message until this function returns.
    let body = Body::from(frame.bytes.slice(PREFIX_BYTES..));
    body::receive(app, &inner, body).await.map_err(|problem| status(&problem))
}
