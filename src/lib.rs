//! Annals is an embedded, append-only audit log for reasoning pipelines: one SQLite file that holds a hash-chained log
//! of immutable events, and the SQL tables that are derived from it.
//!
//! ```text
//! caller's thread          writer's thread              projections' thread     readers
//! Draft ─ prepare ─▶ bounded ─▶ seal ─▶ append ─▶ ack ─▶ wake ─▶ read log ─▶ fold ─▶ read tables ─▶ query,
//!  typed   encode,    channel    seq,     one transaction         from cursor   pure    + cursor       verify,
//!  event   salt,                 chain    a batch                                                      replay …
//!          digest
//! ```
//!
//! Open a log with [`AuditLog`], and append [`Draft`]s of this crate's events. Wait for the [`Receipt`] of an event
//! that must not be lost. To instrument a pipeline by hand, use [`AuditLog::session`], which makes the drafts.
//! `docs/architecture.md` explains the design and the invariants; `docs/format.md` specifies the file.
//!
//! # The shape of the API
//!
//! - The root has the handles ([`AuditLog`], [`Session`], [`Step`], [`Reader`]), the events, and the errors. Rows that
//!   are read from the log are in [`query`], and each further task has a module: [`verify`], [`evidence`], [`replay`] …
//! - The most frequent methods that block have an asynchronous variant, whose name ends in `_async`. It runs on any
//!   executor. A [`Receipt`] can be awaited.
//! - A caller writes events, filters, settings and requests as literals, with `..Default::default()` at the end: a later
//!   version may add fields. Values that the library returns, and errors, are `#[non_exhaustive]`, unless the format of
//!   the log fixes them.
//! - A setter of a builder or of a [`Draft`] has the name of the value that it sets. It returns the builder or the
//!   draft.
//!
//! # Features
//!
//! - `cli`, the default: the program `annals`. For the library alone, use `default-features = false`.
//! - `client`: a log behind `annals serve`, with a spool on the disk.
//! - `http`: anchors over HTTP, which are witnesses and timestamping authorities.
//! - `map`: records of any program as events, as a TOML file describes it ([`import::map`]).
//! - `server`: HTTP and OTLP over a log.
//! - `tracing`: a layer of `tracing_subscriber` that records spans and events.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Some items of modules without a feature are called only by modules of a feature. So the lint for dead code is on only
// if all callers are compiled, as in the tests.
#![cfg_attr(not(all(feature = "client", feature = "cli", feature = "tracing")), allow(dead_code))]

// In the order of use: a module uses only modules above it.
pub mod limits;
mod text;
mod lines;
mod encoding;
mod canonical;
mod event;
pub mod entry;
pub mod chain;
pub mod merkle;
pub mod note;
pub mod otel;
mod prepare;
pub mod proof;
mod file;
mod storage;
mod new_file;
mod log;
mod progress;
mod receipt;
mod blocking;
pub mod apikey;
mod writer;
mod projection;
pub mod import;
#[cfg(feature = "server")]
pub mod otlp;
#[cfg(any(feature = "http", feature = "client"))]
mod tls_roots;
pub mod evidence;
mod audit;
pub mod query;
mod reader;
pub mod replay;
pub mod verify;
pub mod export;
pub mod copy;
pub mod prove;
pub mod publish;
mod own_thread;
mod destination;
mod session;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "tracing")]
pub mod tracing;
#[cfg(feature = "cli")]
mod demo;
mod watch;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "cli")]
pub mod cli;

#[cfg(test)]
mod encoding_tests;
#[cfg(test)]
mod golden_tests;

pub use audit::{AuditLog, Builder, CloseError, ProjectionError, Projections, RedactionRequest, SkipRequest};
pub use destination::Destination;
pub use encoding::{DecodeError, EncodeError};
pub use event::{
    ActionOutcome, ActionRecorded, Actor, ApiKeyCreated, ApiKeyRevoked, ApiKeyScope, ArtifactAttached,
    Attributes, Basis, Changes, ConsideredOption, Content, Continues, Correction, CoverageDeclared, Custom,
    DecisionId, DecisionMade, Delegation, Digest, Draft, Event, EventId, EventsLost, FieldProblem, FindingId,
    FindingRaised, FindingStatus, FindingUpdated, IdError, InvalidField, Json, JsonEventError, JsonTextError,
    KeyChangeCause, KeyChanged, KeyRole, Kind, LogCreated, MetricRecorded, NoteLogged, OtelLog, OtelSpan,
    Outcome, ParseError, PayloadError, PayloadRedacted, PolicyDecided, PolicyEffect, ProjectionSkipped,
    Recorded, RequestContext, ReviewId, ReviewRecorded, Seq, SessionEnd, SessionEnded, SessionId,
    SessionProgress, SessionStarted, SessionUpdated, Severity, StepEnd, StepEnded, StepId, StepKind,
    StepStarted, SubjectKind, Timestamp, Verdict, is_reserved, kind_name, parse_draft,
};
pub use log::{Durability, Head, OpenError, ReadError};
pub use new_file::NewFileError;
pub use prepare::PrepareError;
pub use progress::CatchUpError;
pub use reader::Reader;
pub use receipt::{
    AppendError, AppendOutcome, Appended, BatchReceipt, BatchReceiptFuture, Delivery, Receipt, ReceiptFuture,
    TryAppendError,
};
pub use session::{Recording, Session, SessionBuilder, SessionEnding, Step, StepBuilder, StepEnding};
pub use storage::{StorageError, StorageErrorKind};
pub use watch::Watch;

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples for Rust programs, compiled.
#[cfg(all(doctest, feature = "client", feature = "tracing"))]
#[doc = include_str!("../docs/instrumenting.md")]
struct Instrumenting;
