//! Admission: the rule for API keys, and counts of refused requests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::http::request::Parts;

use super::page;
use crate::apikey::{Keys, KeysError};
use crate::server::peer::Peer;
use crate::server::problem::{Kind, Problem};

/// The rule by which requests need an API key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Keys are needed once the log has one. Until then, requests that a web page may have sent are refused.
    #[default]
    WhereThereAreKeys,
    /// Keys are never needed: whoever reaches the server may do everything.
    Never,
}

/// Refused requests since the start of the server, by reason.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    /// The request has no key.
    pub(in crate::server) missing: AtomicU64,
    /// The key is not a key of this log.
    pub(in crate::server) wrong: AtomicU64,
    /// The key has expired.
    pub(in crate::server) expired: AtomicU64,
    pub(in crate::server) revoked: AtomicU64,
    /// The key lacks the scope.
    pub(in crate::server) scope: AtomicU64,
    /// No key is needed, and a web page may have sent the request.
    pub(in crate::server) page: AtomicU64,
}

impl TurnedAway {
    /// Each reason with the number of its requests.
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

/// The keys of the log, and the state of the rule that requests need one.
pub(crate) struct Access {
    authentication: Authentication,
    pub(in crate::server) keys: Arc<Keys>,
    /// Set once a look finds that a key was ever created. Never cleared.
    any: AtomicBool,
    /// Set while the last look failed. Every request is refused until one succeeds.
    unreadable: AtomicBool,
    /// Records the requests that read the content of events.
    pub(in crate::server) record_reads: bool,
    pub(crate) turned_away: TurnedAway,
}

impl Access {
    /// Reads the keys of a log.
    pub(in crate::server) fn open(
        path: &Path,
        authentication: Authentication,
        record_reads: bool,
    ) -> Result<Access, KeysError> {
        let keys = Arc::new(Keys::open(path)?);
        let any = AtomicBool::new(keys.any_ever()?);
        let unreadable = AtomicBool::new(false);
        Ok(Access { authentication, keys, any, unreadable, record_reads, turned_away: TurnedAway::default() })
    }

    /// Closes the file for good. Afterwards keys are refused, except for a moment those in memory.
    pub(in crate::server) fn close(&self) {
        self.keys.close();
    }

    /// Closes the file. The next look or check of a key opens it again.
    pub(in crate::server) fn let_go(&self) {
        self.keys.let_go();
    }

    /// Looks for a key in the log, if none was found yet. May block on the file.
    pub(in crate::server) fn look(&self) {
        // A created key stays created, also when it is revoked: once one was found, no further look is
        // needed.
        if self.any.load(Ordering::Acquire) {
            return;
        }
        let found = self.keys.any_ever();
        // Before `unreadable` is cleared: a request in between would find neither set, and pass without a key.
        if let Ok(true) = found {
            self.any.store(true, Ordering::Release);
        }
        self.unreadable.store(found.is_err(), Ordering::Release);
    }

    /// Refuses a request while it is not known whether requests need a key.
    pub(in crate::server) fn require_known(&self) -> Result<(), Problem> {
        let is_asked = self.authentication == Authentication::WhereThereAreKeys;
        if is_asked && self.unreadable.load(Ordering::Acquire) && !self.any.load(Ordering::Acquire) {
            return Err(Problem::new(
                Kind::Unavailable,
                "the server cannot find out now whether the log has API keys; send the request again later",
            ));
        }
        Ok(())
    }

    /// Returns true if requests need a key now.
    pub(crate) fn is_closed(&self) -> bool {
        match self.authentication {
            Authentication::Never => false,
            Authentication::WhereThereAreKeys => self.any.load(Ordering::Acquire),
        }
    }

    /// Refuses a request that a web page may have sent. While there are no keys, every program on this
    /// machine may do everything; a page in somebody's browser there may not.
    pub(in crate::server) fn keep_pages_out(&self, parts: &Parts, peer: &Peer) -> Result<(), Problem> {
        // A page cannot open a unix socket.
        if self.authentication == Authentication::Never || *peer == Peer::Unix {
            return Ok(());
        }
        if page::may_have_sent(&parts.uri, &parts.headers) {
            self.turned_away.page.fetch_add(1, Ordering::Relaxed);
            return Err(Problem::new(
                Kind::Forbidden,
                "a web page may have sent this request, because the header Host (in HTTP/2 :authority) or Origin does not name this machine; use the address 127.0.0.1 or localhost, or create a key with `annals apikey create`",
            ));
        }
        Ok(())
    }
}
