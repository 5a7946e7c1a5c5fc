//! A client of `annals serve` with the methods of an [`AuditLog`](crate::AuditLog).
//!
//! ```no_run
//! use annals::client::RemoteLog;
//!
//! // The server's address and the API key come from $ANNALS_URL and $ANNALS_API_KEY.
//! let log = RemoteLog::builder().spool("/var/lib/adjuster/spool").open()?;
//! let session = log.session("claims").input("Is claim 17 covered?").start()?;
//! let step = session.step("assess").start()?;
//! step.end().output("covered").succeeded()?;
//! let receipt = session.end().summary("covered").completed()?;
//! receipt.wait()?; // committed in the server's log
//! log.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A thread sends events in the order in which they were appended, many in one request. While the server is
//! away, slow, or asks for a pause, events go to the *spool*: files in a folder of this machine. From there
//! they are sent, still in order, when the server is back: by this program, or by the next one that opens
//! the spool. Every event gets its id before it is sent. An event that is sent twice, because an answer was
//! lost or a program was killed, is therefore in the log once.
//!
//! # Guarantees for an event
//!
//! | after | an event is |
//! | --- | --- |
//! | [`append`](RemoteLog::append) | in this process's memory, for at most the time of [`Builder::spool_after`] |
//! | [`Receipt::delivery`](crate::Receipt::delivery), [`RemoteLog::flush`] | committed by the server, or flushed to this machine's disk |
//! | [`Receipt::wait`](crate::Receipt::wait) | committed by the server |
//!
//! `wait` blocks until the server has answered, however long the server is away. If the client is closed
//! before that, `wait` returns [`AppendError::Spooled`](crate::AppendError::Spooled).
//! [`Recording::commit`](crate::Recording::commit) waits in the same way.
//!
//! # Failures
//!
//! - The server **refuses** an event for good: the receipt and the next flush return
//!   [`AppendError::Rejected`](crate::AppendError::Rejected). The event goes to `refused.jsonl` in the spool,
//!   with the reason; it is counted in [`RemoteLog::refused`] and reported to [`Builder::on_refused`].
//! - The server does not accept the **key**, the address is not an Annals server, or a proxy refuses everything:
//!   the events stay in the spool, and [`RemoteLog::last_error`] returns the reason.
//! - The spool is **full** or cannot be written: `append` returns
//!   [`AppendError::NoRoom`](crate::AppendError::NoRoom) until the server is back. Events that `append` has
//!   accepted already stay in memory.
//! - The **key changes** while the spool still has events that the server has committed, because an answer
//!   was lost. An event's id belongs to the key that sent it first, so the server refuses these events,
//!   although it has them.

mod backoff;
mod close;
mod item;
mod reply;
mod sender;
mod spool;
mod refusal;
mod status;
mod courier;
mod handle;
mod builder;

pub use builder::{Builder, OpenError};
pub use close::CloseError;
pub use handle::RemoteLog;
pub use item::Flushed;
pub use refusal::Refusal;
pub use spool::SpoolError;
