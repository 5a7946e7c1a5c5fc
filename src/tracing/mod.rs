//! A layer for `tracing_subscriber` that records the work of an instrumented program.
//!
//! ```
//! use annals::AuditLog;
//! use annals::tracing::AuditLayer;
//! use tracing::{info, info_span, instrument};
//! use tracing_subscriber::layer::{Layer, SubscriberExt};
//!
//! #[instrument(fields(annals.kind = "retrieval"), ret)]
//! fn search(input: &str) -> usize {
//!     3
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("audit.db");
//! let log = AuditLog::open(path)?;
//! // Others' spans stay out; a filter of the layer's own leaves other layers alone.
//! let ours = tracing_subscriber::filter::Targets::new().with_default(tracing::Level::INFO).with_target("hyper", None);
//! let layer = AuditLayer::new(log.clone()).on_loss(|loss| eprintln!("not recorded: {loss:?}"));
//! let watch = layer.watch();
//! let subscriber = tracing_subscriber::registry().with(layer.with_filter(ours));
//!
//! tracing::subscriber::with_default(subscriber, || {
//!     // Outside of all others: a session.
//!     let session = info_span!("claims", input = "Is claim 17 covered?", agent = "adjuster");
//!     let _entered = session.enter();
//!     search("water damage");
//!     let step = info_span!("assess", annals.kind = "llm", model = "small-1", tokens_output = tracing::field::Empty);
//!     let _entered = step.enter();
//!     info!(
//!         annals.decision = "coverage",
//!         option.covered = 0.8,
//!         option.refused = 0.2,
//!         chosen_option = "covered",
//!         "the policy names water damage"
//!     );
//!     info!(annals.finding = "missing-evidence", severity = "low", "no photograph attached");
//!     step.record("tokens_output", 64);
//! });
//! assert_eq!(watch.lost(), 0);
//! log.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From the program to the log
//!
//! | in the program | in the log |
//! | --- | --- |
//! | a root span (with no recorded span around it), or a span with the field `annals.session` | a session, from the creation of the span to its closing. A text in that field is the session's id. `true` only marks the span; `false` leaves a root span out. A session within another one has that one as `parent_session` |
//! | any other span | a step of the session that it is in; its parent is the nearest enclosing span that is a step |
//! | an event with the field `annals.decision`, or the target `annals::decision` | `decision.made`; a text in the field is the `decision_type` |
//! | an event with the field `annals.finding`, or the target `annals::finding` | `finding.raised`; a text in the field is the `category` |
//! | any other event, at the level of [`AuditLayer::notes`] or above | `note.logged`, also outside of all sessions |
//! | an event at level ERROR that is neither decision nor finding | also the `error` of the enclosing step, or session, which counts as failed |
//! | an event with the field `return`, as `#[instrument(ret)]` makes it | the `output` of the step, or `summary` of the session |
//! | a span that a panic leaves | `error` is `panicked` |
//! | `follows_from` | the attribute `follows_from`: ids of steps |
//!
//! # Names of fields
//!
//! They are the names of the events' own fields in `docs/events.md`. The prefix `annals.` may stand before each.
//!
//! | of | fields |
//! | --- | --- |
//! | a session | `profile` (default: the span's name), `input`, `input_hash`, `conversation`, `parent_session`, `agent`, `agent_version`, `model`, `source`, `tenant`, `labels.…`; `summary` or `output`, `status`, `error`, `risk_level`, `scores.…`, `tokens_input`, `tokens_output`, `cost_usd` |
//! | a step | `module` (default: the span's name), `kind` (default: that of the target, which is `annals::llm` or similar, or set with [`AuditLayer::kind_of`]), `model`, `input`, `input_summary`; `output`, `output_summary`, `status`, `error`, `confidence`, `tokens_input`, `tokens_output`, `tokens_cache_read`, `tokens_cache_write`, `tokens_reasoning`, `cost_usd`, `basis` |
//! | a decision | `decision_type`, `options_considered` (a JSON list), `option.…` (its score), `chosen_option`, `chosen_options` (a JSON list), `rationale` (default: the message), `confidence`, `actor`, `basis`, `annals.id` |
//! | a finding | `category`, `pattern_type`, `severity`, `outcome`, `confidence`, `title` (default: the message), `description`, `plain_english`, `suggestion`, `legal_source`, `evidence` (JSON), `scope`, `rule_version`, `annals.id` |
//! | a note | the message, `data` (JSON) |
//!
//! The field `annals.step` sets the id of a step. **Every other field, and one with a value that does not fit, is
//! kept as an attribute** under its own name. `tracing.target` is the place in the program that the record comes
//! from. Values that [`Span::record`](tracing::Span::record) sets later are recorded when the span closes. A text
//! has quotes around it if it was recorded with `?`, as `#[instrument]` does with an argument of type `String`.
//!
//! # Cost
//!
//! A span is two events. They are made on the thread that creates and closes the span, and sent to the
//! log's queue. Sending blocks only while the queue is full, and never with [`WhenFull::Lose`]. An event
//! that the log does not take is counted by [`LayerWatch::lost`]; the first one is reported to
//! [`AuditLayer::on_loss`]. Events that the log takes and then cannot write are counted by the log. The
//! layer writes nothing to standard error and logs nothing. Records that are logged on its behalf, by a
//! filter of the log or by the formatting of a value, are not recorded.
//!
//! A span that never closes never ends: if a program exits while a span is open, its session stays running. A
//! parent closes after its last child, through the subscriber of the thread that drops that child. If the
//! subscriber was set for one thread or one scope alone, other threads have none, and the parent stays open.

mod fields;
mod losses;
mod map;
mod reentry;
mod settings;
mod span;
mod layer;

pub use losses::Loss;
pub use settings::{AuditLayer, LayerWatch, Sessions, WhenFull};
