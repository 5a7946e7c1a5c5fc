//! Who asks, and whether they may.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::connection::Peer;
use super::problem::{Kind, Problem};
use super::state::App;
use crate::audit::AuditLog;
use crate::event::EventId;

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Emit,
    Read,
    Verify,
    Admin,
}

impl Scope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scope::Emit => "emit",
            Scope::Read => "read",
            Scope::Verify => "verify",
            Scope::Admin => "admin",
        }
    }
}

/// Whether keys are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// From when the log has a key.
    #[default]
    WhereThereAreKeys,
    /// Never: whoever reaches the server may do everything.
    Never,
}

/// The keys that the log knows.
pub(crate) struct Keys {
    authentication: Authentication,
}

impl Keys {
    pub(super) fn new(authentication: Authentication) -> Keys {
        Keys { authentication }
    }

    /// Whether a key is needed now.
    pub(crate) fn are_needed(&self) -> bool {
        match self.authentication {
            Authentication::Never => false,
            Authentication::WhereThereAreKeys => false,
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
pub(crate) fn authenticate(
    app: &App,
    headers: &HeaderMap,
    peer: &Peer,
    scope: Scope,
) -> Result<Caller, Problem> {
    if !app.keys.are_needed() {
        return Ok(Caller { principal: None, peer: peer.clone() });
    }
    let Some(_token) = bearer(headers) else {
        return Err(Problem::new(
            Kind::Unauthorized,
            format!("send `Authorization: Bearer annals_…` with a key of the scope `{}`", scope.name()),
        ));
    };
    Err(Problem::new(Kind::Unauthorized, "the log has no such key"))
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

/// A scope, as a type.
pub(crate) trait Needed {
    const SCOPE: Scope;
}

macro_rules! needed {
    ($( $(#[$doc:meta])* $name:ident ),*) => { $(
        $(#[$doc])*
        pub(crate) struct $name;

        impl Needed for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )* };
}

needed!(
    /// Recording events.
    Emit,
    /// Reading them.
    Read,
    /// Verifying, and reading evidence.
    Verify,
    /// Everything that changes more than the end of the log.
    Admin
);

impl<S: Needed> FromRequestParts<App> for Allowed<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Allowed<S>, Problem> {
        let peer = parts.extensions.get::<Peer>().cloned().unwrap_or(Peer::Unknown);
        let caller = authenticate(app, &parts.headers, &peer, S::SCOPE)?;
        Ok(Allowed { caller, scope: PhantomData })
    }
}
