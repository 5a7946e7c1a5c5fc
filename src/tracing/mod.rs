//! A layer for `tracing_subscriber` that records what an instrumented program does.
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
//! # What becomes of what
//!
//! | in the program | in the log |
//! | --- | --- |
//! | a span outside of all others, or with the field `annals.session` | a session, from the span's making to its closing. A text in that field is the session's id, and `true` only marks; `false` passes the span over. One within another session has that as `parent_session` |
//! | any other span | a step of the session that it is in; its parent is the nearest span around it that is a step |
//! | an event with the field `annals.decision`, or the target `annals::decision` | `decision.made`; a text in the field is the `decision_type` |
//! | an event with the field `annals.finding`, or the target `annals::finding` | `finding.raised`; a text in the field is the `category` |
//! | any other event, at [`AuditLayer::notes`]' level or above | `note.logged`, outside of all sessions too |
//! | an event at level ERROR that is neither decision nor finding | also the `error` of the step, or session, that it happens in, which has failed |
//! | an event with the field `return`, as `#[instrument(ret)]` makes it | the `output` of the step, or `summary` of the session |
//! | a span that a panic leaves | `error` is `panicked` |
//! | `follows_from` | the attribute `follows_from`: ids of steps |
//!
//! # Names of fields
//!
//! They are those of the events' own fields, as `docs/events.md` lists them; `annals.` may stand before each.
//!
//! | of | fields |
//! | --- | --- |
//! | a session | `profile` (else the span's name), `input`, `input_hash`, `conversation`, `parent_session`, `agent`, `agent_version`, `model`, `source`, `tenant`, `labels.…`; `summary` or `output`, `status`, `error`, `risk_level`, `scores.…`, `tokens_input`, `tokens_output`, `cost_usd` |
//! | a step | `module` (else the span's name), `kind` (else that of the target: `annals::llm`, or as [`AuditLayer::kind_of`] says), `model`, `input`, `input_summary`; `output`, `output_summary`, `status`, `error`, `confidence`, `tokens_input`, `tokens_output`, `cost_usd` |
//! | a decision | `decision_type`, `options_considered` (a JSON list), `option.…` (its score), `chosen_option`, `chosen_options` (a JSON list), `rationale` (else the message), `confidence`, `actor`, `annals.id` |
//! | a finding | `category`, `pattern_type`, `severity`, `outcome`, `confidence`, `title` (else the message), `description`, `plain_english`, `suggestion`, `legal_source`, `evidence` (JSON), `scope`, `rule_version`, `annals.id` |
//! | a note | the message, `data` (JSON) |
//!
//! A step has its own id from the field `annals.step`. **Every other field, and one whose value does not
//! fit, is kept as an attribute** under its own name; `tracing.target` says where in the program it comes from.
//! What [`Span::record`](tracing::Span::record) says later is recorded when the span closes. A text has quotes around
//! it where `?` recorded it, as `#[instrument]` does with an argument of type `String`.
//!
//! # What it costs
//!
//! A span is two events, made on the thread that makes and closes it, and sent to the log's queue. That
//! blocks only while the queue is full, or not even then with [`WhenFull::Lose`]. What the log does not take
//! is counted by [`LayerWatch::lost`], and told once to [`AuditLayer::on_loss`]; what it takes and then
//! cannot write it counts itself. The layer writes nothing to standard error and logs nothing; what is logged on
//! its account, by a filter of the log or a value that is being formatted, is not recorded.
//!
//! A span that never closes never ends: a program that exits while a span is open leaves its session running.
//! A parent closes after its last child, through the subscriber of the thread that drops that; where threads
//! have none, as with one that was set for a thread or a scope alone, the parent stays open.

mod fields;
mod losses;
mod map;
mod reentry;
mod settings;
mod span;
mod layer;

pub use losses::Loss;
pub use settings::{AuditLayer, LayerWatch, Sessions, WhenFull};
