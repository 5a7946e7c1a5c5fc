//! The caller of a request, and the scope that its key must have.
//!
//! A client sends its key as `Authorization: Bearer annals_…`. [`Keys`](crate::apikey::Keys) decides whether
//! the key is good. This module counts refused requests, and records those that use certain scopes.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

use super::caller::Caller;
use super::recorded;
use crate::apikey::{self, Denied};
use crate::event::{ApiKeyScope, EventId};
use crate::server::app::App;
use crate::server::peer::Peer;
use crate::server::problem::{Kind, Problem};

/// Identifies the caller of a request, and checks that it may do what needs `scope`.
///
/// # Errors
/// If a key is needed and the request has none, the key is not good or lacks the scope, or the caller asks
/// too often.
pub(crate) async fn authenticate(
    app: &App,
    parts: &Parts,
    peer: &Peer,
    scope: ApiKeyScope,
) -> Result<Caller, Problem> {
    app.access.require_known()?;
    let principal = if app.access.is_closed() {
        Some(key(app, &parts.headers, peer, scope).await?)
    } else {
        app.access.keep_pages_out(parts, peer)?;
        None
    };
    // Counted after the check: requests with a wrong key do not use up the rate of the key's owner.
    app.rates.request(principal, peer)?;
    Ok(Caller { principal, peer: peer.clone() })
}

async fn key(app: &App, headers: &HeaderMap, peer: &Peer, scope: ApiKeyScope) -> Result<EventId, Problem> {
    let turned_away = &app.access.turned_away;
    let count = |reason: &AtomicU64| reason.fetch_add(1, Ordering::Relaxed);
    let Some(token) = token(headers) else {
        count(&turned_away.missing);
        return Err(Problem::new(
            Kind::Unauthorized,
            format!("send `Authorization: Bearer annals_…` with a key that has the `{scope}` scope"),
        ));
    };
    let denied = match checked(app, &token).await? {
        Ok(allowed) if allowed.may(scope) => return Ok(allowed.id),
        Ok(allowed) => {
            count(&turned_away.scope);
            let has: Vec<&str> = allowed.scopes.iter().map(|scope| scope.as_str()).collect();
            let detail = format!("the key lacks the `{scope}` scope; it has {}", has.join(", "));
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        Err(denied) => denied,
    };
    count(match &denied {
        // The key may be good: the request does not count as one with a bad key.
        Denied::Unreadable { reason } => {
            tracing::error!(%reason, "the API keys cannot be read, so requests are refused");
            return Err(Problem::new(Kind::Unavailable, denied.to_string()));
        }
        Denied::Expired { .. } => &turned_away.expired,
        Denied::Revoked { .. } => &turned_away.revoked,
        Denied::Malformed | Denied::Unknown | Denied::WrongSecret => &turned_away.wrong,
    });
    tracing::debug!(%peer, %denied, "a key was refused");
    // Only bad keys come here, so a good one is accepted however many bad ones its address has sent.
    app.rates.wrong_key(peer)?;
    let detail = match denied {
        Denied::Expired { .. } | Denied::Revoked { .. } => denied.to_string(),
        // Unknown ids and wrong secrets get the same answer: it does not show which ids exist to a client
        // that has none of the secrets.
        _ => "the log has no such key".to_owned(),
    };
    Err(Problem::new(Kind::Unauthorized, detail))
}

/// Checks a key: mostly from memory, else from the log, which may take a moment.
async fn checked(app: &App, token: &str) -> Result<Result<apikey::Allowed, Denied>, Problem> {
    let (keys, now) = (&app.access.keys, app.log.now());
    // Memory alone only accepts a key. An unknown key may be new: `check` reads the log before it refuses it.
    if let Some(allowed) = keys.recall(token, now) {
        return Ok(Ok(allowed));
    }
    let (keys, token) = (keys.clone(), Zeroizing::new(token.to_owned()));
    tokio::task::spawn_blocking(move || keys.check(&token, now))
        .await
        .map_err(|_| Problem::new(Kind::Internal, "the key could not be checked"))
}

/// The token of a header `Authorization: Bearer …`. A header that is not text counts as a wrong token.
///
/// Some programs send the value of `OTEL_EXPORTER_OTLP_HEADERS` as it is written there, with `%20` for the space. Those
/// that know only a name and a password send `Basic …`: the password is the token.
fn token(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let header = headers.get(AUTHORIZATION)?.to_str().unwrap_or("bearer ?");
    let (scheme, token) = header.split_once(' ').or_else(|| header.split_once("%20"))?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(token.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = BASE64_STANDARD.decode(token.trim()).map(Zeroizing::new);
    let text = bytes.as_ref().ok().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let password = text.and_then(|text| text.split_once(':')).map_or("?", |(_, password)| password);
    Some(Zeroizing::new(password.to_owned()))
}

/// A caller that may do what needs the scope `S`. It is extracted before the body: the body of a refused
/// request is not read.
pub(crate) struct Allowed<S> {
    pub(crate) caller: Caller,
    scope: PhantomData<S>,
}

/// The rule by which requests of a scope become events of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRecord {
    Never,
    /// If the configuration asks for it.
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

/// Reading about events.
pub(crate) struct Read;

impl Needed for Read {
    const SCOPE: ApiKeyScope = ApiKeyScope::Read;
}

/// Reading the content of events.
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

/// Changes to more than the end of the log.
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
            OnRecord::IfWanted => app.access.record_reads,
            OnRecord::Always => true,
        };
        if on_record {
            // The event is committed before the handler runs. Without it the request is refused.
            recorded::record(app, &caller, S::SCOPE, parts).await?;
        }
        Ok(Allowed { caller, scope: PhantomData })
    }
}
