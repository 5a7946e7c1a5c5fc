//! `GET /metrics`: counters, and values that are read when they are asked for.

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::server::app::App;
use crate::server::app::metrics::{Projection, Reason};
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::auth::{Allowed, Read};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Anchor {
    anchor: String,
}

/// Returns metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "The metrics, in the text format of OpenMetrics", body = String, content_type = "application/openmetrics-text"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `read` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics(State(app): State<App>, _: Allowed<Read>) -> Result<Response, Problem> {
    let metrics = &app.metrics;
    let committed = app.log.committed().get();
    for (projection, place) in app.log.progress().projections() {
        let labels = Projection { projection };
        metrics.lag.get_or_create(&labels).set(committed.saturating_sub(place.position.get()));
        metrics.stopped.get_or_create(&labels).set(i64::from(place.stopped.is_some()));
    }
    // A registry for this answer alone: an anchor that no longer exists leaves no series behind.
    let mut now = Registry::with_prefix("annals");
    let mut gauge = |name: &str, help: &str, value: usize| {
        now.register(name, help, ConstGauge::new(u64::try_from(value).unwrap_or(u64::MAX)));
    };
    gauge("queue_messages", "Requests and events that wait for the writer", app.log.queued());
    gauge("connections", "Connections that are open", app.open_connections());
    gauge(
        "body_memory_bytes",
        "Bytes in the memory budget: bodies, the events made of them, and answers in memory",
        app.memory.used_bytes(),
    );
    gauge(
        "answer_disk_bytes",
        "Bytes of long answers that wait in temporary files until clients read them",
        app.disk.used_bytes(),
    );
    gauge("tail_clients", "Clients that follow the log", app.tails.clients());
    gauge(
        "log_in_place",
        "1 if the log's file is in its place, 0 if it was replaced, cut off or removed",
        usize::from(app.file.require().is_ok()),
    );
    gauge(
        "log_writable",
        "1 if events can be appended now, else 0",
        usize::from(app.log.last_error().is_none()),
    );
    gauge(
        "insecure_settings",
        "Settings that are not safe by themselves; /readyz names them",
        app.warnings.len(),
    );
    gauge(
        "signing_failing",
        "1 if the log's tree cannot be stored or no checkpoint can be signed, else 0",
        usize::from(app.log.last_evidence_error().is_some()),
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
    now.register("anchor_failing", "1 if the anchor did not take the last checkpoint, else 0", failing);
    now.register("anchor_events", "Number of events that the anchor's last checkpoint covers", events);
    now.register("anchor_behind_seconds", "Time for which the anchor has lacked committed events", behind);
    let turned_away = Family::<Reason, Counter>::default();
    for (reason, requests) in app.access.turned_away.counts() {
        turned_away.get_or_create(&Reason { reason }).inc_by(requests);
    }
    now.register(
        "auth_failures",
        "Requests that were refused, by reason: the key, its scope, or a web page as the sender",
        turned_away,
    );
    now.register("log_events", "Sequence number of the last committed event", ConstGauge::new(committed));
    now.register(
        "events_lost",
        "Events that were not, or perhaps not, written since the server started; their senders got errors",
        ConstCounter::new(app.log.refused()),
    );
    // OpenMetrics has one end mark. It follows both registries.
    let mut body = String::new();
    let written = text::encode_registry(&mut body, &metrics.registry)
        .and_then(|()| text::encode_registry(&mut body, &now))
        .and_then(|()| text::encode_eof(&mut body));
    written.map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, media_type)], body).into_response())
}
