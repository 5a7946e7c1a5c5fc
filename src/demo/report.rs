//! The report of a run: its puzzles and the answers to them.

use std::time::Duration;

use super::calls::Calls;
use crate::event::SessionId;

/// Profile of the sessions, and the first part of their ids.
pub(super) const PROFILE: &str = "game-of-24";

/// The results of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub(crate) struct Report {
    /// Its name: the first part of the ids of its sessions.
    pub run: String,
    /// The result of each puzzle, in the order in which they are posed.
    pub puzzles: Vec<PuzzleReport>,
    /// Threads that solved them.
    pub threads: usize,
    /// Events that were recorded.
    pub events: usize,
    /// The time from the first event until the last one was on the disk.
    pub elapsed: Duration,
    /// The cost of recording to the threads that solved.
    pub calls: Calls,
}

/// The result of a puzzle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct PuzzleReport {
    /// Its session.
    pub session: SessionId,
    /// Its numbers, as in `4 5 6 10`.
    pub puzzle: String,
    /// The end of the search.
    pub answer: Solution,
}

/// The end of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Solution {
    /// An expression that passed the check.
    Found(String),
    /// No expression, and there is none.
    NoneExists,
    /// No expression, although there is this one.
    Missed(String),
    /// A wrong expression.
    Wrong(String),
}
