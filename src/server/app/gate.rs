//! The door: whether a key is needed, and who was turned away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::http::request::Parts;

use super::page;
use crate::apikey::{Keys, KeysError};
use crate::server::peer::Peer;
use crate::server::problem::{Kind, Problem};

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
    pub(in crate::server) missing: AtomicU64,
    /// What was shown is no key of this log.
    pub(in crate::server) wrong: AtomicU64,
    /// The key was good once.
    pub(in crate::server) expired: AtomicU64,
    pub(in crate::server) revoked: AtomicU64,
    /// The key is good, and not for this.
    pub(in crate::server) scope: AtomicU64,
    /// No key was needed, and a web page may have asked.
    pub(in crate::server) page: AtomicU64,
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
    pub(in crate::server) keys: Arc<Keys>,
    /// Whether a key was ever created, as of the last look.
    any: AtomicBool,
    /// Set while the last look failed: until one succeeds nobody is let in.
    unreadable: AtomicBool,
    /// Whether it is recorded who reads what.
    pub(in crate::server) record_reads: bool,
    pub(crate) turned_away: TurnedAway,
}

impl Gate {
    /// Reads the keys of a log.
    pub(in crate::server) fn open(
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
    pub(in crate::server) fn close(&self) {
        self.keys.close();
    }

    /// Closes the file until keys are asked for again.
    pub(in crate::server) fn let_go(&self) {
        self.keys.let_go();
    }

    /// Looks whether there are keys.
    pub(in crate::server) fn look(&self) {
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
    pub(in crate::server) fn require_known(&self) -> Result<(), Problem> {
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
    pub(in crate::server) fn keep_pages_out(&self, parts: &Parts, peer: &Peer) -> Result<(), Problem> {
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
