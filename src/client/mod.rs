//! A client of `annals serve`, with the surface of an [`AuditLog`](crate::AuditLog).
//!
//! ```no_run
//! use annals::client::RemoteLog;
//!
//! // The server and the key from $ANNALS_URL and $ANNALS_API_KEY.
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
//! A thread sends events in the order in which they were appended, many in a request. When the server is
//! away, slow, or asks to be left alone, they go to the *spool*: files in a folder of this machine. They
//! are sent from there, still in order, when the server is back: by this program, or by the next one that
//! opens the spool. Every event has its id from the beginning, so that one that is sent twice, because an
//! answer was lost or a program was killed, is in the log once.
//!
//! # How safe an event is
//!
//! | after | it is |
//! | --- | --- |
//! | [`append`](RemoteLog::append) | in this process's memory, for as long as [`Builder::spool_after`] says at most |
//! | [`Receipt::delivery`](crate::Receipt::delivery), [`RemoteLog::flush`] | committed by the server, or flushed to this machine's disk |
//! | [`Receipt::wait`](crate::Receipt::wait) | committed by the server |
//!
//! `wait` blocks until the server has answered, however long it is away; when the log is closed before, it
//! says [`AppendError::Spooled`](crate::AppendError::Spooled). [`Recording::commit`](crate::Recording::commit) waits in the same way.
//!
//! # What can go wrong
//!
//! - The server **refuses** an event for good: the receipt and the next flush say
//!   [`AppendError::Rejected`](crate::AppendError::Rejected), and the event goes to `refused.jsonl` in the spool with the reason, is counted in
//!   [`RemoteLog::refused`] and told to [`Builder::on_refused`].
//! - The server does not take the **key**, is no server of Annals, or something before it refuses everything:
//!   the events stay in the spool, and [`RemoteLog::trouble`] says why.
//! - The spool is **full**, or cannot be written: `append` says [`AppendError::NoRoom`](crate::AppendError::NoRoom) until the server is back.
//!   What `append` took before stays in memory.
//! - A new **key** while events are in the spool that the server has already, because its answer was
//!   lost: an id belongs to the key that sent it first, so the server refuses these, and has them.

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
