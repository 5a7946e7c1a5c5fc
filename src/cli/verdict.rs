//! The result of a command, from which `main` makes the exit status.

/// The result of a command that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done, and nothing is wrong.
    Done,
    /// Done, and something that was looked at is wrong.
    FoundWrong,
    /// Nothing wrong was found, but not everything that was requested could be checked.
    NotAllChecked,
}
