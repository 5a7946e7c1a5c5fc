//! Annals
mod audit;
pub mod chain;
mod encoding;
pub mod entry;
mod event;
pub mod limits;
mod log;
mod prepare;
mod progress;
mod projection;
mod session;
mod writer;

pub use audit::{AuditLog, Builder, CloseError, ProjectionError, Projections};
pub use encoding::{DecodeError, EncodeError};
pub use event::*;
pub use log::{Durability, Head, OpenError, ReadError};
pub use prepare::PrepareError;
pub use progress::CatchUpError;
pub use session::{Recording, Session, SessionBuilder, SessionEnding, Step, StepBuilder, StepEnding};
pub use writer::{AppendError, AppendOutcome, Appended, Receipt, ReceiptFuture, TryAppendError};
