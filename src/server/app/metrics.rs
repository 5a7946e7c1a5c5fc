//! Metrics for Prometheus: requests, commits of the writer, and the lag of the read tables.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

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
pub(in crate::server) struct Reason {
    pub(in crate::server) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in crate::server) struct Projection {
    pub(in crate::server) projection: &'static str,
}

/// A histogram of durations, with buckets from 0.1 ms to 13 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 18))
}

/// The counters of a server.
pub(crate) struct Metrics {
    pub(in crate::server) registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram, fn() -> Histogram>,
    events: Family<Outcome, Counter>,
    rejected: Family<Reason, Counter>,
    nothing_found: Counter,
    metrics_dropped: Counter,
    /// True once it was logged that metrics are dropped.
    drop_is_known: AtomicBool,
    without_value: Counter,
    pub(in crate::server) lag: Family<Projection, Gauge<u64, AtomicU64>>,
    pub(in crate::server) stopped: Family<Projection, Gauge>,
}

impl Metrics {
    /// Starts to count, including the commits of the log's writer.
    pub(in crate::server) fn new(log: &AuditLog) -> Metrics {
        let mut registry = Registry::with_prefix("annals");
        let metrics = Metrics {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            events: Family::default(),
            rejected: Family::default(),
            nothing_found: Counter::default(),
            metrics_dropped: Counter::default(),
            drop_is_known: AtomicBool::new(false),
            without_value: Counter::default(),
            lag: Family::default(),
            stopped: Family::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests that got an answer", metrics.requests.clone());
        registry.register(
            "http_request_seconds",
            "Time from a request to the beginning of its answer",
            metrics.request_seconds.clone(),
        );
        registry.register(
            "events",
            "Events that were sent and are in the log, new or recorded before",
            metrics.events.clone(),
        );
        registry.register("events_rejected", "Events that were refused", metrics.rejected.clone());
        registry.register(
            "otlp_requests_not_understood",
            "Requests of OTLP that are not empty and in which no item was found",
            metrics.nothing_found.clone(),
        );
        registry.register(
            "otlp_metrics_dropped",
            "Metrics in requests of OTLP that were not recorded, because the server does not record metrics",
            metrics.metrics_dropped.clone(),
        );
        registry.register(
            "otlp_points_without_value",
            "Data points of metrics that were not recorded, because they have no value",
            metrics.without_value.clone(),
        );
        registry.register(
            "projection_lag_events",
            "Events of the log that the projection does not hold yet",
            metrics.lag.clone(),
        );
        registry.register(
            "projection_stopped",
            "1 if the projection has stopped and does not go on by itself, else 0",
            metrics.stopped.clone(),
        );
        let (batch_events, commit_seconds) = (Histogram::new(exponential_buckets(1.0, 2.0, 13)), seconds());
        registry.register("batch_events", "Number of events in a commit", batch_events.clone());
        registry.register("commit_seconds", "Duration of a commit", commit_seconds.clone());
        // A log keeps its first observer only: of two servers over one handle, the first counts commits.
        log.observe_commits(move |events, took: Duration| {
            batch_events.observe(events as f64);
            commit_seconds.observe(took.as_secs_f64());
        });
        Metrics { registry, ..metrics }
    }

    pub(in crate::server) fn request(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let labels = Request { route: route.to_owned(), method: known(method), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    pub(in crate::server) fn recorded(&self, new: u64, already: u64) {
        for (outcome, events) in [("new", new), ("already_recorded", already)] {
            if events > 0 {
                self.events.get_or_create(&Outcome { outcome }).inc_by(events);
            }
        }
    }

    pub(crate) fn rejected(&self, reason: &'static str, events: u64) {
        if events > 0 {
            self.rejected.get_or_create(&Reason { reason }).inc_by(events);
        }
    }

    /// Counts metrics that are dropped. Returns true for the first ones.
    pub(in crate::server) fn dropped(&self, metrics: u64) -> bool {
        self.metrics_dropped.inc_by(metrics);
        metrics > 0 && !self.drop_is_known.swap(true, Ordering::Relaxed)
    }

    pub(in crate::server) fn without_value(&self, points: usize) {
        self.without_value.inc_by(points.try_into().unwrap_or(u64::MAX));
    }

    pub(in crate::server) fn nothing_found(&self) {
        self.nothing_found.inc();
    }
}

/// The method as a label. All unknown methods share one: otherwise each word that a client sends would make a
/// series.
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
