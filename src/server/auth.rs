//! Who asks, and whether they may.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::connection::Peer;
use super::observe::RequestId;
use super::problem::{Kind, Problem};
use super::state::App;
use crate::apikey::{Denied, Keys, KeysError, Uses};
use crate::audit::AuditLog;
use crate::event::{ActionRecorded, Actor, ApiKeyScope, Draft, EventId, RequestContext};
use crate::writer::AppendError;

/// How often it is looked whether there are keys.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whether keys are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// From when the log has a key.
    #[default]
    WhereThereAreKeys,
    /// Never: whoever reaches the server may do everything.
    Never,
}

/// The keys of the log, and whether one is needed.
pub(crate) struct Gate {
    authentication: Authentication,
    keys: Arc<Keys>,
    /// Whether a key was ever created, as of the last look.
    any: AtomicBool,
    /// Whether it is recorded who reads what.
    record_reads: bool,
}

impl Gate {
    /// Reads the keys of a log.
    pub(super) fn open(
        path: &Path,
        authentication: Authentication,
        record_reads: bool,
    ) -> Result<Gate, KeysError> {
        let keys = Arc::new(Keys::open(path)?);
        let any = AtomicBool::new(keys.any_ever());
        Ok(Gate { authentication, keys, any, record_reads })
    }

    /// Whether a key is needed now.
    pub(crate) fn is_closed(&self) -> bool {
        match self.authentication {
            Authentication::Never => false,
            Authentication::WhereThereAreKeys => self.any.load(Ordering::Acquire),
        }
    }
}

/// Looks whether there are keys, and writes down when they were used, until the server stops.
pub(super) async fn watch(app: App) {
    let mut running = true;
    while running {
        tokio::select! {
            () = app.stopping.cancelled() => running = false,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let which = if running { Uses::Due } else { Uses::All };
        let at_work = app.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let Gate { keys, any, .. } = &at_work.gate;
            if !any.load(Ordering::Acquire) && keys.any_ever() {
                any.store(true, Ordering::Release);
            }
            keys.keep_uses(&at_work.log, which)
        });
        if let Ok(Err(error)) = looked.await {
            tracing::debug!(error = %error, "when keys were used cannot be written now");
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key; none where none is needed.
    pub(crate) principal: Option<EventId>,
    pub(crate) peer: Peer,
}

impl Caller {
    /// The log as this caller appends to it: its events carry the key's id.
    pub(crate) fn log(&self, app: &App) -> AuditLog {
        app.log.with_principal(self.principal)
    }
}

/// Finds out who sent a request with these headers, and whether they may do what needs `scope`.
///
/// # Errors
/// If a key is needed and there is none, or it is not good for this; or if the caller asks too often.
pub(crate) async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    peer: &Peer,
    scope: ApiKeyScope,
) -> Result<Caller, Problem> {
    let principal = if app.gate.is_closed() { Some(key(app, headers, peer, scope).await?) } else { None };
    app.rates.request(principal, peer)?;
    Ok(Caller { principal, peer: peer.clone() })
}

async fn key(app: &App, headers: &HeaderMap, peer: &Peer, scope: ApiKeyScope) -> Result<EventId, Problem> {
    let Some(token) = bearer(headers).map(str::to_owned) else {
        return Err(Problem::new(
            Kind::Unauthorized,
            format!("send `Authorization: Bearer annals_…` with a key of the scope `{}`", scope.as_str()),
        ));
    };
    let (keys, now) = (app.gate.keys.clone(), app.log.now());
    // It may have to look into the log.
    let checked = tokio::task::spawn_blocking(move || keys.check(&token, now)).await;
    let checked = checked.map_err(|_| Problem::new(Kind::Internal, "the key could not be checked"))?;
    let allowed = match checked {
        Ok(allowed) => allowed,
        Err(denied @ Denied::Unreadable { .. }) => {
            return Err(Problem::new(Kind::Unavailable, denied.to_string()));
        }
        Err(denied) => {
            app.rates.wrong_key(peer)?;
            let detail = match denied {
                Denied::Expired { .. } | Denied::Revoked { .. } => denied.to_string(),
                // Nobody hears which ids there are.
                _ => "the log has no such key".to_owned(),
            };
            return Err(Problem::new(Kind::Unauthorized, detail));
        }
    };
    if !allowed.may(scope) {
        return Err(Problem::new(Kind::Forbidden, format!("the key has not the scope `{}`", scope.as_str())));
    }
    Ok(allowed.id)
}

/// The token of a header `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A caller who may do what needs the scope `S`. It is read before the body: who may not is not listened to.
pub(crate) struct Allowed<S> {
    pub(crate) caller: Caller,
    scope: PhantomData<S>,
}

/// Whether a use of a key is an event of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRecord {
    Never,
    /// Where the server was told so.
    IfWanted,
    Always,
}

/// A scope, as a type.
pub(crate) trait Needed {
    const SCOPE: ApiKeyScope;
    const ON_RECORD: OnRecord = OnRecord::Never;
}

/// Recording events.
pub(crate) struct Emit;

impl Needed for Emit {
    const SCOPE: ApiKeyScope = ApiKeyScope::Emit;
}

/// Reading about them.
pub(crate) struct Read;

impl Needed for Read {
    const SCOPE: ApiKeyScope = ApiKeyScope::Read;
}

/// Reading what they say.
pub(crate) struct ReadContent;

impl Needed for ReadContent {
    const SCOPE: ApiKeyScope = ApiKeyScope::Read;
    const ON_RECORD: OnRecord = OnRecord::IfWanted;
}

/// Verifying, and reading evidence.
pub(crate) struct Verify;

impl Needed for Verify {
    const SCOPE: ApiKeyScope = ApiKeyScope::Verify;
}

/// Everything that changes more than the end of the log.
pub(crate) struct Admin;

impl Needed for Admin {
    const SCOPE: ApiKeyScope = ApiKeyScope::Admin;
    const ON_RECORD: OnRecord = OnRecord::Always;
}

impl<S: Needed> FromRequestParts<App> for Allowed<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Allowed<S>, Problem> {
        let peer = parts.extensions.get::<Peer>().cloned().unwrap_or(Peer::Unknown);
        let caller = authenticate(app, &parts.headers, &peer, S::SCOPE).await?;
        let on_record = match S::ON_RECORD {
            OnRecord::Never => false,
            OnRecord::IfWanted => app.gate.record_reads,
            OnRecord::Always => true,
        };
        if on_record && let Some(key) = caller.principal {
            record(app, &caller, key, S::SCOPE, parts).await?;
        }
        Ok(Allowed { caller, scope: PhantomData })
    }
}

/// Records that a key is used, before it is: what cannot be recorded is not done.
async fn record(
    app: &App,
    caller: &Caller,
    key: EventId,
    scope: ApiKeyScope,
    parts: &Parts,
) -> Result<(), Problem> {
    let header = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
    let request_id = parts.extensions.get::<RequestId>().and_then(|id| id.0.to_str().ok());
    let used = ActionRecorded {
        actor: Actor { id: key.to_string(), kind: Some("apikey".to_owned()) },
        action: format!("http.{}", scope.as_str()),
        entity_type: Some(parts.method.to_string()),
        entity_id: parts.uri.path_and_query().map(|target| target.as_str().to_owned()),
        context: Some(RequestContext {
            ip: caller.peer.ip().map(|ip| ip.to_string()),
            user_agent: header("user-agent"),
            request_id: request_id.map(str::to_owned),
        }),
        ..ActionRecorded::default()
    };
    let not = |error: AppendError| {
        Problem::new(
            Kind::Unavailable,
            format!("the request cannot be recorded, so it is not answered: {error}"),
        )
    };
    let receipt = caller.log(app).append_async(Draft::new(used)).await.map_err(not)?;
    receipt.await.map(drop).map_err(not)
}
