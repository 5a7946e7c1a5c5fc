//! The report of a run: its puzzles and the answers to them.

use std::time::Duration;

use super::calls::Calls;
use crate::event::{Seq, SessionId};

/// Profile of the sessions, and the first part of their ids.
pub(super) const PROFILE: &str = "game-of-24";

/// What a run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Its name: the first part of the ids of its sessions.
    pub run: String,
    /// What came of each puzzle, in the order in which they are posed.
    pub puzzles: Vec<PuzzleReport>,
    /// Threads that solved them.
    pub threads: usize,
    /// Events that were recorded.
    pub events: usize,
    /// From the first event until the last one was on the disk.
    pub elapsed: Duration,
    /// What recording cost the threads that solved.
    pub calls: Calls,
    /// The end of the log after the run. The read tables hold everything up to it.
    pub last: Seq,
}

/// What came of a puzzle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PuzzleReport {
    /// Its session.
    pub session: SessionId,
    /// Its numbers, as in `4 5 6 10`.
    pub puzzle: String,
    /// How the search ended.
    pub answer: Answer,
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// With this expression, which was checked.
    Found(String),
    /// With nothing, and there is nothing.
    NoneExists,
    /// With nothing, and this expression was missed.
    Missed(String),
    /// With this expression, which is wrong.
    Wrong(String),
}
