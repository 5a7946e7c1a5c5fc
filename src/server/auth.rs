//! Who asks, and whether they may.
//!
//! A key is shown as `Authorization: Bearer annals_…`. Whether it is good is known to
//! [`Keys`](crate::apikey::Keys); here it is counted who is turned away, and recorded what is done with
//! some keys that are good.

mod page;
mod recorded;

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use zeroize::Zeroizing;

use super::connection::Peer;
use super::problem::{Kind, Problem};
use super::state::App;
use crate::apikey::{self, Denied, Keys, KeysError, Uses};
use crate::audit::AuditLog;
use crate::event::{ApiKeyScope, EventId};

/// How often it is looked whether there are keys.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whether keys are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// From when the log has a key. Until then nobody is let in whom a web page may have sent.
    #[default]
    WhereThereAreKeys,
    /// Never: whoever reaches the server may do everything.
    Never,
}

/// Requests that were turned away since the server began, by why.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    /// No key was shown.
    missing: AtomicU64,
    /// What was shown is no key of this log.
    wrong: AtomicU64,
    /// The key was good once.
    expired: AtomicU64,
    revoked: AtomicU64,
    /// The key is good, and not for this.
    scope: AtomicU64,
    /// No key was needed, and a web page may have asked.
    page: AtomicU64,
}

impl TurnedAway {
    /// Each reason, and how often it was one.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 6] {
        [
            ("missing", &self.missing),
            ("wrong", &self.wrong),
            ("expired", &self.expired),
            ("revoked", &self.revoked),
            ("scope", &self.scope),
            ("page", &self.page),
        ]
        .map(|(why, count)| (why, count.load(Ordering::Relaxed)))
    }
}

/// The keys of the log, and whether one is needed.
pub(crate) struct Gate {
    authentication: Authentication,
    keys: Arc<Keys>,
    /// Whether a key was ever created, as of the last look.
    any: AtomicBool,
    /// Set while the last look failed: until one succeeds nobody is let in.
    unreadable: AtomicBool,
    /// Whether it is recorded who reads what.
    record_reads: bool,
    pub(crate) turned_away: TurnedAway,
}

impl Gate {
    /// Reads the keys of a log.
    pub(super) fn open(
        path: &Path,
        authentication: Authentication,
        record_reads: bool,
    ) -> Result<Gate, KeysError> {
        let keys = Arc::new(Keys::open(path)?);
        let any = AtomicBool::new(keys.any_ever()?);
        let unreadable = AtomicBool::new(false);
        Ok(Gate { authentication, keys, any, unreadable, record_reads, turned_away: TurnedAway::default() })
    }

    /// Closes the file: nobody is let in by a key from then on.
    pub(super) fn close(&self) {
        self.keys.close();
    }

    /// Closes the file until keys are asked for again.
    pub(super) fn let_go(&self) {
        self.keys.let_go();
    }

    /// Looks whether there are keys.
    fn look(&self) {
        if self.any.load(Ordering::Acquire) {
            return;
        }
        let found = self.keys.any_ever();
        self.unreadable.store(found.is_err(), Ordering::Release);
        if let Ok(true) = found {
            self.any.store(true, Ordering::Release);
        }
    }

    /// Makes sure that it is known whether a key is needed.
    fn require_known(&self) -> Result<(), Problem> {
        let is_asked = self.authentication == Authentication::WhereThereAreKeys;
        if is_asked && self.unreadable.load(Ordering::Acquire) && !self.any.load(Ordering::Acquire) {
            return Err(Problem::new(Kind::Unavailable, "whether the log has API keys cannot be read now"));
        }
        Ok(())
    }

    /// Whether a key is needed now.
    pub(crate) fn is_closed(&self) -> bool {
        match self.authentication {
            Authentication::Never => false,
            Authentication::WhereThereAreKeys => self.any.load(Ordering::Acquire),
        }
    }

    /// While there are no keys, everybody on this machine may do everything, and no web page that somebody
    /// looks at there.
    fn keep_pages_out(&self, parts: &Parts, peer: &Peer) -> Result<(), Problem> {
        if self.authentication == Authentication::Never || *peer == Peer::Unix {
            return Ok(());
        }
        if page::may_have_sent(&parts.uri, &parts.headers) {
            self.turned_away.page.fetch_add(1, Ordering::Relaxed);
            return Err(Problem::new(
                Kind::Forbidden,
                "a web page may have sent this: the header Host (in HTTP/2 :authority) or Origin is no name of this machine; ask for 127.0.0.1 or localhost, or create a key with `annals apikey create`",
            ));
        }
        Ok(())
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
            at_work.gate.look();
            at_work.gate.keys.keep_uses(&at_work.log, which)
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

/// The key, or where there is none, the address.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.principal {
            Some(key) => key.fmt(f),
            None => self.peer.fmt(f),
        }
    }
}

impl Caller {
    /// The log as this caller appends to it: its events carry the key's id.
    pub(crate) fn log(&self, app: &App) -> AuditLog {
        app.log.with_principal(self.principal)
    }

    /// Whether what was allowed when a long answer began is allowed still: keys expire and are revoked, and
    /// may be needed where none was.
    pub(crate) async fn is_still_allowed(&self, app: &App) -> bool {
        let Some(key) = self.principal else {
            return app.gate.require_known().is_ok() && !app.gate.is_closed();
        };
        let (keys, now) = (app.gate.keys.clone(), app.log.now());
        match keys.recall_good(key, now) {
            Some(is_good) => is_good,
            None => tokio::task::spawn_blocking(move || keys.is_good(key, now)).await.unwrap_or(false),
        }
    }
}

/// Finds out who sent a request, and whether they may do what needs `scope`.
///
/// # Errors
/// If a key is needed and there is none, or it is not good for this; or if the caller asks too often.
pub(crate) async fn authenticate(
    app: &App,
    parts: &Parts,
    peer: &Peer,
    scope: ApiKeyScope,
) -> Result<Caller, Problem> {
    app.gate.require_known()?;
    let principal = if app.gate.is_closed() {
        Some(key(app, &parts.headers, peer, scope).await?)
    } else {
        app.gate.keep_pages_out(parts, peer)?;
        None
    };
    app.rates.request(principal, peer)?;
    Ok(Caller { principal, peer: peer.clone() })
}

async fn key(app: &App, headers: &HeaderMap, peer: &Peer, scope: ApiKeyScope) -> Result<EventId, Problem> {
    let turned_away = &app.gate.turned_away;
    let count = |reason: &AtomicU64| reason.fetch_add(1, Ordering::Relaxed);
    let Some(token) = bearer(headers) else {
        count(&turned_away.missing);
        return Err(Problem::new(
            Kind::Unauthorized,
            format!("send `Authorization: Bearer annals_…` with a key of the scope `{scope}`"),
        ));
    };
    let denied = match checked(app, token).await? {
        Ok(allowed) if allowed.may(scope) => return Ok(allowed.id),
        Ok(allowed) => {
            count(&turned_away.scope);
            let has: Vec<&str> = allowed.scopes.iter().map(|scope| scope.as_str()).collect();
            let detail = format!("this needs a key of the scope `{scope}`; this one has {}", has.join(", "));
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        Err(denied) => denied,
    };
    count(match &denied {
        // Nobody is turned away for what they showed.
        Denied::Unreadable { reason } => {
            tracing::error!(%reason, "the API keys cannot be read: nobody is let in");
            return Err(Problem::new(Kind::Unavailable, denied.to_string()));
        }
        Denied::Expired { .. } => &turned_away.expired,
        Denied::Revoked { .. } => &turned_away.revoked,
        Denied::Malformed | Denied::Unknown | Denied::WrongSecret => &turned_away.wrong,
    });
    tracing::debug!(%peer, %denied, "a key was refused");
    app.rates.wrong_key(peer)?;
    let detail = match denied {
        Denied::Expired { .. } | Denied::Revoked { .. } => denied.to_string(),
        // Which ids there are is nobody's business who has none of the secrets.
        _ => "the log has no such key".to_owned(),
    };
    Err(Problem::new(Kind::Unauthorized, detail))
}

/// Whether a key is good: mostly from memory, and else from the log, which may take a moment.
async fn checked(app: &App, token: &str) -> Result<Result<apikey::Allowed, Denied>, Problem> {
    let (keys, now) = (&app.gate.keys, app.log.now());
    if let Some(allowed) = keys.recall(token, now) {
        return Ok(Ok(allowed));
    }
    let (keys, token) = (keys.clone(), Zeroizing::new(token.to_owned()));
    tokio::task::spawn_blocking(move || keys.check(&token, now))
        .await
        .map_err(|_| Problem::new(Kind::Internal, "the key could not be checked"))
}

/// The token of a header `Authorization: Bearer …`. One that is no text is one that is wrong.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().unwrap_or("bearer ?").split_once(' ')?;
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
        let caller = authenticate(app, parts, &peer, S::SCOPE).await?;
        let on_record = match S::ON_RECORD {
            OnRecord::Never => false,
            OnRecord::IfWanted => app.gate.record_reads,
            OnRecord::Always => true,
        };
        if on_record {
            recorded::record(app, &caller, S::SCOPE, parts).await?;
        }
        Ok(Allowed { caller, scope: PhantomData })
    }
}
