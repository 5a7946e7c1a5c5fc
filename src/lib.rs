//! Annals
mod audit;
pub mod chain;
mod copy;
mod encoding;
pub mod entry;
mod event;
mod export;
pub mod import;
pub mod limits;
mod log;
mod prepare;
mod progress;
mod projection;
mod query;
mod reader;
mod writer;

pub use audit::{AuditLog, Builder, CloseError, ProjectionError, Projections};
pub use copy::CopyError;
pub use encoding::{DecodeError, EncodeError};
pub use event::*;
pub use export::{Export, ExportError, Exported, LeftOut};
pub use log::{Durability, Head, OpenError, ReadError};
pub use prepare::PrepareError;
pub use progress::CatchUpError;
pub use query::{
    Action, Artifact, Decision, EventFilter, Finding, FindingUpdate, Found, Fragment, Hit, Info, Metric,
    Note, OutlinedStep, ProjectionStatus, QueryError, Rebuild, Review, RowSink, SearchFilter, SearchOrder,
    Session, SessionFilter, SessionPage, SessionRecord, SessionSummary, SqlError, SqlValue, Step,
    StoppedProjection,
};
pub use reader::Reader;
pub use writer::{AppendError, AppendOutcome, Appended, Receipt, ReceiptFuture, TryAppendError};
