//! Queries of the read tables and of the log.
//!
//! Every function here takes a connection, and runs on any database that has the tables it asks for: the
//! log's own file, or a scratch database that was filled up to some earlier event. A page of results is found
//! through an index, however long the log is. Programs use them through [`Reader`](crate::Reader).

mod column;
mod error;
pub(crate) mod events;
pub(crate) mod find;
pub(crate) mod guard;
pub(crate) mod projections;
pub(crate) mod info;
mod records;
pub(crate) mod coverage;
mod margin;
pub(crate) mod lists;
pub(crate) mod session;
pub(crate) mod diff;
pub(crate) mod sql;
mod words;
mod excerpt;
pub(crate) mod search;
pub(crate) mod sessions;

pub use coverage::CoverageGap;
pub use diff::{Aligned, DiffDecision, DiffStep, Relation, SessionDiff};
pub use error::QueryError;
pub use events::EventFilter;
pub use excerpt::Fragment;
pub use find::Found;
pub use info::Info;
pub use projections::{LeftOutObject, ProjectionStatus, Rebuild, StoppedProjection};
pub use records::{
    Action, Artifact, CoverageDeclaration, Decision, Finding, FindingUpdate, Metric, Note, PolicyDecision,
    Review, Session, SessionSummary, Step, TimelineEntry,
};
pub use search::{Hit, SearchFilter, SearchOrder};
pub(crate) use session::{ExtractBounds, SessionExtract, WriteError};
pub use session::{OutlinedStep, SessionRecord};
pub use sessions::{SessionFilter, SessionPage};
pub use sql::{RowSink, SqlError, SqlValue};
