//! The proof of a session: its events are in the log, and, if it is complete, there are no others between them.

use std::fmt;

use super::check::ProofError;
use super::leaf::{CheckedEvent, LeafProof, check_entry};
use super::lines::{Lines, ProofFileError, ProofFileFault, base64};
use crate::chain;
use crate::event::{Digest, Seq};
use crate::note::SignedCheckpoint;

/// The first line of the file.
pub(super) const HEADER: &str = "annals session-proof v1";

/// The proof that events of a session are in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionProof {
    /// The session's id.
    pub session: String,
    /// Its events in their order, at least one.
    pub events: Vec<LeafProof>,
    /// The claim about other events between the first and the last of them.
    pub extent: Extent,
    /// The checkpoint whose root the events lead to.
    pub checkpoint: SignedCheckpoint,
}

/// The claim of a session's proof about the events that are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// No claim.
    Partial,
    /// No other event between the first and the last one is of the session. Holds the entries of these other events, in
    /// the order of seq.
    Complete(Vec<Vec<u8>>),
}

/// Events of a session that are in the log, if the checkpoint is the log's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckedSession {
    /// The events in their order.
    pub events: Vec<CheckedEvent>,
    /// True if the session has no others between the first and the last of them.
    pub is_complete: bool,
}

impl SessionProof {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is no proof of a session; the error names the line.
    pub fn parse(file: &[u8]) -> Result<SessionProof, ProofFileError> {
        let mut lines = Lines::of(file)?;
        lines.take_one_of(&[HEADER], "`annals session-proof v1`")?;
        let session = lines.take_after("session ", "`session` and the session's id")?;
        // The parser of JSON accepts white space around the text; the format does not.
        let is_bare = session.starts_with('"') && session.ends_with('"');
        let session = serde_json::from_str(session).ok().filter(|_| is_bare);
        let session = session.ok_or_else(|| lines.wrong(ProofFileFault::Session))?;
        let extent = lines.take_one_of(&["partial", "complete"], "`partial` or `complete`")?;
        lines.take_one_of(&[""], "empty")?;
        let mut events = vec![LeafProof::take(&mut lines)?];
        while lines.next_begins("extra ") {
            events.push(LeafProof::take(&mut lines)?);
        }
        let extent = match extent {
            "complete" => Extent::Complete(take_between(&mut lines)?),
            _ => Extent::Partial,
        };
        Ok(SessionProof { session, events, extent, checkpoint: lines.take_checkpoint()? })
    }

    /// Checks everything except the signatures of the checkpoint.
    ///
    /// # Errors
    /// If the proof does not show what it claims.
    pub fn check(&self) -> Result<CheckedSession, ProofError> {
        let mut events: Vec<CheckedEvent> = Vec::with_capacity(self.events.len());
        for proof in &self.events {
            // The format fixes the order: all checks of one event, then the next event, then the entries between.
            let event = proof.check(&self.checkpoint)?;
            let seq = event.seq();
            if events.last().is_some_and(|last| last.seq() >= seq) {
                return Err(ProofError::Order { seq });
            }
            if event.entry.session.as_ref().map(|session| session.as_str()) != Some(&self.session) {
                return Err(ProofError::Session { seq, session: self.session.clone() });
            }
            // The numbers rise, so no event is counted twice.
            events.push(event);
        }
        if let Extent::Complete(between) = &self.extent {
            self.check_between(between)?;
        }
        Ok(CheckedSession { events, is_complete: self.extent != Extent::Partial })
    }

    /// Follows the links from the first event to the last. The leaves of the events are in the tree, so the link within
    /// each later leaf fixes every entry between.
    fn check_between(&self, between: &[Vec<u8>]) -> Result<(), ProofError> {
        let mut between = between.iter();
        // The number of the last proved event, and the link that the next leaf in the log must begin with.
        let mut before: Option<(Seq, Digest)> = None;
        for event in &self.events {
            let seq = event.seq();
            let (link, entry) = event.parts().ok_or(ProofError::ShortLeaf { seq })?;
            if let Some((last, mut expected)) = before {
                let mut place = last.next();
                while place < seq {
                    let other = between.next().ok_or(ProofError::BetweenMissing { seq: place })?;
                    self.check_other(place, other)?;
                    expected = chain::link(&expected, other);
                    place = place.next();
                }
                // `link` is from a leaf of the tree and covers everything before the event. An entry that was left out,
                // added or changed leads to another link.
                if expected != link {
                    return Err(ProofError::Link { seq });
                }
            }
            before = Some((seq, chain::link(&link, entry)));
        }
        // An entry after the last event is not covered by any link of this proof.
        if between.next().is_some() { Err(ProofError::BetweenLeft) } else { Ok(()) }
    }

    fn check_other(&self, seq: Seq, entry: &[u8]) -> Result<(), ProofError> {
        match check_entry(seq, entry)?.session {
            Some(session) if session.as_str() == self.session => {
                Err(ProofError::NotComplete { seq, session: self.session.clone() })
            }
            _ => Ok(()),
        }
    }
}

fn take_between(lines: &mut Lines<'_>) -> Result<Vec<Vec<u8>>, ProofFileError> {
    lines.take_one_of(&["between"], "`extra` and the next event's leaf, or `between`")?;
    let mut between = Vec::new();
    loop {
        match lines.take()? {
            "" => return Ok(between),
            line => between.push(lines.decode(line)?),
        }
    }
}

impl fmt::Display for SessionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = serde_json::to_string(&self.session).map_err(|_| fmt::Error)?;
        let extent = if self.extent == Extent::Partial { "partial" } else { "complete" };
        writeln!(f, "{HEADER}\nsession {session}\n{extent}\n")?;
        self.events.iter().try_for_each(|event| write!(f, "{event}"))?;
        if let Extent::Complete(between) = &self.extent {
            writeln!(f, "between")?;
            between.iter().try_for_each(|entry| writeln!(f, "{}", base64(entry)))?;
            writeln!(f)?;
        }
        write!(f, "{}", self.checkpoint)
    }
}
