//! Numbers for Prometheus: what the server is asked, what the writer does, and how far the read tables are.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::auth::{Allowed, Read};
use super::openapi::ProblemDetails;
use super::problem::{Kind, Problem};
use super::state::App;
use crate::audit::AuditLog;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Projection {
    projection: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Anchor {
    anchor: String,
}

/// From a tenth of a millisecond to some ten seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 18))
}

/// What is counted.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram, fn() -> Histogram>,
    events: Family<Outcome, Counter>,
    rejected: Family<Reason, Counter>,
    lag: Family<Projection, Gauge<u64, AtomicU64>>,
    stopped: Family<Projection, Gauge>,
}

impl Metrics {
    /// Counts from now on, also what the log's writer does.
    pub(super) fn new(log: &AuditLog) -> Metrics {
        let mut registry = Registry::with_prefix("annals");
        let metrics = Metrics {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            events: Family::default(),
            rejected: Family::default(),
            lag: Family::default(),
            stopped: Family::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests that were answered", metrics.requests.clone());
        registry.register(
            "http_request_seconds",
            "Time until the answer began",
            metrics.request_seconds.clone(),
        );
        registry.register(
            "events",
            "Events that are in the log, by whether they were new",
            metrics.events.clone(),
        );
        registry.register("events_rejected", "Events that were refused", metrics.rejected.clone());
        registry.register(
            "projection_lag_events",
            "Events of the log that the projection does not hold yet",
            metrics.lag.clone(),
        );
        registry.register(
            "projection_stopped",
            "1 where the projection does not go on by itself",
            metrics.stopped.clone(),
        );
        let (batch_events, commit_seconds) = (Histogram::new(exponential_buckets(1.0, 2.0, 13)), seconds());
        registry.register("batch_events", "Events of a commit", batch_events.clone());
        registry.register("commit_seconds", "Time that a commit took", commit_seconds.clone());
        log.observe_commits(move |events, took: Duration| {
            batch_events.observe(events as f64);
            commit_seconds.observe(took.as_secs_f64());
        });
        Metrics { registry, ..metrics }
    }

    pub(super) fn request(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let labels = Request { route: route.to_owned(), method: known(method), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    pub(super) fn recorded(&self, new: u64, already: u64) {
        for (outcome, events) in [("new", new), ("already_recorded", already)] {
            if events > 0 {
                self.events.get_or_create(&Outcome { outcome }).inc_by(events);
            }
        }
    }

    pub(crate) fn rejected(&self, reason: &'static str, events: u64) {
        self.rejected.get_or_create(&Reason { reason }).inc_by(events);
    }
}

/// Any other word would be a client's to choose, and each would be a series of its own.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "In the text form of OpenMetrics", body = String, content_type = "application/openmetrics-text"),
    (status = 401, description = "A key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key has not the scope read", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "Not now", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics(State(app): State<App>, _: Allowed<Read>) -> Result<Response, Problem> {
    let metrics = &app.metrics;
    let committed = app.log.committed().get();
    for (projection, place) in app.log.progress().places() {
        let labels = Projection { projection };
        metrics.lag.get_or_create(&labels).set(committed.saturating_sub(place.position.get()));
        metrics.stopped.get_or_create(&labels).set(i64::from(place.stopped.is_some()));
    }
    // What is known only when it is asked for.
    let mut now = Registry::with_prefix("annals");
    let mut gauge = |name: &str, help: &str, value: usize| {
        now.register(name, help, ConstGauge::new(u64::try_from(value).unwrap_or(u64::MAX)));
    };
    gauge("queue_messages", "Requests and events that wait for the writer", app.log.queued());
    gauge("connections", "Connections that are open", app.open_connections());
    gauge(
        "body_memory_bytes",
        "Bytes of bodies that are being handled, of the events made of them, and of answers in memory",
        app.memory.used_bytes(),
    );
    gauge(
        "answer_disk_bytes",
        "Bytes of long answers that wait in temporary files to be read",
        app.disk.used_bytes(),
    );
    gauge("tail_clients", "Clients that follow the log", app.tails.clients());
    gauge(
        "log_in_place",
        "0 where the log's file was replaced, cut or taken away",
        usize::from(app.file.require().is_ok()),
    );
    gauge("log_writable", "0 where nothing can be appended now", usize::from(app.log.trouble().is_none()));
    gauge(
        "insecure_settings",
        "Settings that are not safe by themselves; /readyz names them",
        app.warnings.len(),
    );
    gauge(
        "signing_failing",
        "1 where the log's tree is not kept, or no checkpoint signed",
        usize::from(app.log.evidence_trouble().is_some()),
    );
    let failing = Family::<Anchor, Gauge>::default();
    let events = Family::<Anchor, Gauge<u64, AtomicU64>>::default();
    let behind = Family::<Anchor, Gauge<f64, AtomicU64>>::default();
    for health in app.log.anchors() {
        let labels = Anchor { anchor: health.name.clone() };
        failing.get_or_create(&labels).set(i64::from(health.error.is_some()));
        events.get_or_create(&labels).set(health.size.unwrap_or(0));
        behind.get_or_create(&labels).set(health.behind(committed).as_secs_f64());
    }
    now.register("anchor_failing", "1 where the anchor did not take the last checkpoint", failing);
    now.register("anchor_events", "Events that the last checkpoint covers that the anchor took", events);
    now.register("anchor_behind_seconds", "For how long the anchor has lacked committed events", behind);
    let turned_away = Family::<Reason, Counter>::default();
    for (reason, requests) in app.gate.turned_away.counts() {
        turned_away.get_or_create(&Reason { reason }).inc_by(requests);
    }
    now.register("auth_failures", "Requests without a key that allows them", turned_away);
    now.register("log_events", "The last event that is committed", ConstGauge::new(committed));
    now.register(
        "events_lost",
        "Events that were not, or perhaps not, written since the server began, and whose senders were told",
        ConstCounter::new(app.log.refused()),
    );
    let mut body = String::new();
    let written = text::encode_registry(&mut body, &metrics.registry)
        .and_then(|()| text::encode_registry(&mut body, &now))
        .and_then(|()| text::encode_eof(&mut body));
    written.map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, media_type)], body).into_response())
}
