//! The result of a command, from which `main` makes the exit status.

/// What a command came to, where it could be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done, and nothing is wrong.
    Done,
    /// Done, and something is wrong with what was looked at.
    FoundWrong,
    /// Nothing wrong was found, and not all that was asked for could be looked at.
    NotAllChecked,
}
