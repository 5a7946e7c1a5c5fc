//! Requests that are themselves events of the log, with the caller and the target.

use axum::http::request::Parts;

use crate::event::{ActionRecorded, Actor, ApiKeyScope, Draft, RequestContext};
use crate::server::app::App;
use crate::server::problem::{Kind, Problem};
use crate::server::request::caller::Caller;
use crate::server::request::observe::RequestId;

/// Records a request before it is carried out. Its result is not known then: the event has what was asked
/// for.
///
/// # Errors
/// If the request is not known to be recorded. The caller must not carry it out then.
pub(super) async fn record(
    app: &App,
    caller: &Caller,
    scope: ApiKeyScope,
    parts: &Parts,
) -> Result<(), Problem> {
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request_id = parts.extensions.get::<RequestId>();
    let event = ActionRecorded {
        actor: Actor {
            id: caller.to_string(),
            kind: Some(if caller.principal.is_some() { "apikey" } else { "address" }.to_owned()),
        },
        action: format!("http.{scope}"),
        entity_type: Some(parts.method.to_string()),
        // With the query: it shows which events were asked for.
        entity_id: parts.uri.path_and_query().map(|target| target.as_str().to_owned()),
        context: Some(RequestContext {
            ip: caller.peer.ip().map(|ip| ip.to_string()),
            user_agent: header("user-agent"),
            request_id: request_id.and_then(|id| id.0.to_str().ok()).map(str::to_owned),
        }),
        ..Default::default()
    };
    let not_recorded = |why: String| {
        Problem::new(
            Kind::Unavailable,
            format!("the request cannot be recorded, so it was not carried out: {why}"),
        )
    };
    let log = caller.log(app);
    // After a timeout of the commit the event may still be in the log, for a request that was refused. The
    // reverse cannot happen: a request is carried out only after its commit.
    let sending = tokio::time::timeout(app.limits.queue, log.append_async(Draft::new(event))).await;
    let receipt = sending
        .map_err(|_| not_recorded("the log's queue is full".to_owned()))?
        .map_err(|error| not_recorded(error.to_string()))?;
    tokio::time::timeout(app.limits.commit, receipt)
        .await
        .map_err(|_| not_recorded("the commit takes too long".to_owned()))?
        .map(drop)
        .map_err(|error| not_recorded(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::Router;
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::routing::post;
    use tower::ServiceExt as _;

    use crate::apikey::{ApiKey, ApiKeyRequest};
    use crate::audit::AuditLog;
    use crate::event::{ApiKeyScope, Content, Event, Recorded};
    use crate::query::EventFilter;
    use crate::reader::Reader;
    use crate::server::Limits;
    use crate::server::app::access::{Access, Authentication};
    use crate::server::app::log_file::LogFile;
    use crate::server::app::{App, OtlpMetrics};
    use crate::server::request::auth::{Admin, Allowed};

    fn last(path: &std::path::Path) -> Recorded {
        Reader::open(path).unwrap().last_events(&EventFilter::default(), 1).unwrap().remove(0)
    }

    /// A log with a key that administers and a key that reads and verifies, and a route for administration.
    struct Scene {
        folder: tempfile::TempDir,
        app: App,
        router: Router,
        carried_out: Arc<AtomicU32>,
        admin: ApiKey,
        auditor: ApiKey,
    }

    impl Scene {
        fn new() -> Scene {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("audit.db");
            let log = AuditLog::open(&path).unwrap();
            let key = |scopes: &[ApiKeyScope]| {
                let request = ApiKeyRequest {
                    name: format!("{scopes:?}"),
                    scopes: scopes.to_vec(),
                    expires_at: None,
                    actor: "ops".into(),
                    reason: None,
                };
                log.create_api_key(&request).unwrap().0
            };
            let admin = key(&[ApiKeyScope::Admin]);
            let auditor = key(&[ApiKeyScope::Read, ApiKeyScope::Verify]);
            let access = Access::open(&path, Authentication::WhereThereAreKeys, false).unwrap();
            let file = LogFile::open(&log).unwrap();
            let app = App::new(log, file, Limits::default(), access, OtlpMetrics::Drop, Vec::new());
            let carried_out = Arc::new(AtomicU32::new(0));
            let counter = carried_out.clone();
            let handler = move |_: Allowed<Admin>| async move {
                counter.fetch_add(1, Ordering::Relaxed);
            };
            let router = Router::new().route("/v1/redactions", post(handler)).with_state(app.clone());
            Scene { folder, app, router, carried_out, admin, auditor }
        }

        async fn ask(&self, key: &ApiKey) -> StatusCode {
            let request = Request::post("/v1/redactions?x=1")
                .header("authorization", format!("Bearer {}", *key.reveal()))
                .body(Body::empty())
                .unwrap();
            self.router.clone().oneshot(request).await.unwrap().status()
        }
    }

    #[tokio::test]
    async fn who_administers_leaves_an_event_and_who_may_not_does_neither() {
        let scene = Scene::new();
        let path = scene.folder.path().join("audit.db");
        let before = last(&path).seq;
        assert_eq!(scene.ask(&scene.auditor).await, StatusCode::FORBIDDEN);
        assert_eq!((last(&path).seq, scene.carried_out.load(Ordering::Relaxed)), (before, 0));
        assert_eq!(scene.app.access.turned_away.counts()[4], ("scope", 1));

        assert_eq!(scene.ask(&scene.admin).await, StatusCode::OK);
        let event = last(&path);
        assert_eq!(event.principal, Some(scene.admin.id()));
        let Content::Event(Event::ActionRecorded(action)) = event.content else { panic!("{event:?}") };
        assert_eq!(action.actor.id, scene.admin.id().to_string());
        assert_eq!(action.action, "http.admin");
        assert_eq!(action.entity_id.as_deref(), Some("/v1/redactions?x=1"));
        assert_eq!(scene.carried_out.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_recorded_is_not_carried_out() {
        let scene = Scene::new();
        scene.app.log.clone().close().unwrap();
        assert_eq!(scene.ask(&scene.admin).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(scene.carried_out.load(Ordering::Relaxed), 0);
    }
}
