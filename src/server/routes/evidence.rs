//! Evidence that nobody changed the log: verification, checkpoints, proofs, and the tree in tiles.

use std::fmt::{self, Display};
use std::io::Write as _;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::event::Seq;
use crate::note::{CheckpointFile, SignedCheckpoint, VerifierKey};
use crate::prove::{Completeness, Payloads, ProveError};
use crate::publish::{PublishError, TileFile};
use crate::reader::Reader;
use crate::server::app::App;
use crate::server::app::memory::Held;
use crate::server::app::readers::Length;
use crate::server::problem::{Kind, Problem, ProblemDetails};
use crate::server::request::auth::{Allowed, Verify};
use crate::server::request::body::Received;
use crate::server::request::extract::{Path, Query};
use crate::server::routes::reads::answer::answer_for;
use crate::server::routes::reads::params::SeqParam;
use crate::verify::{self, Options, Scope};

/// Seconds after which a running verification may be over.
const VERIFICATION_RETRY_SECONDS: u64 = 10;

/// The options of a verification. All of them may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wanted {
    /// True to verify only the log, and not the read tables.
    log_only: bool,
    /// Public keys that are trusted to sign for the log.
    keys: Vec<String>,
    /// Checkpoints that were kept elsewhere.
    checkpoints: Vec<String>,
}

impl Wanted {
    fn options(&self) -> Result<Options, Problem> {
        let wrong = |what: &str, error: &dyn std::fmt::Display| {
            Problem::new(Kind::InvalidValue, format!("`{what}`: {error}"))
        };
        let scope = if self.log_only { Scope::LogOnly } else { Scope::Everything };
        let mut options = Options::new().scope(scope);
        for key in &self.keys {
            options = options.key(key.trim().parse::<VerifierKey>().map_err(|error| wrong("keys", &error))?);
        }
        for (number, checkpoint) in (1..).zip(&self.checkpoints) {
            let file = CheckpointFile::from_given(checkpoint.as_bytes())
                .map_err(|error| wrong("checkpoints", &error))?;
            options = options.checkpoints(&format!("checkpoints[{number}]"), file);
        }
        if !self.checkpoints.is_empty() && self.keys.is_empty() {
            return Err(wrong(
                "keys",
                &"a checkpoint proves nothing without the key that signed it; give the key",
            ));
        }
        Ok(options)
    }
}

/// Verifies the log, and answers once the verification has ended. One verification runs at a time.
#[utoipa::path(post, path = "/v1/verification", tag = "evidence",
    request_body(content = Option<Wanted>, description = "The options. The body may be left out"),
    responses(
        (status = 200, description = "The report, even if the log is not intact", body = Object),
        (status = 400, description = "The body is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `verify` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 415, description = "The encoding of the body is not supported", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "A key or a checkpoint is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "Another verification is running", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn verification(
    State(app): State<App>,
    _: Allowed<Verify>,
    body: Received,
) -> Result<Response, Problem> {
    let wanted: Wanted = if body.bytes.trim_ascii().is_empty() {
        Wanted::default()
    } else {
        let wanted: Option<Wanted> = serde_json::from_slice(&body.bytes)
            .map_err(|error| Problem::new(Kind::BadRequest, format!("the body: {error}")))?;
        wanted.unwrap_or_default()
    };
    let options = wanted.options()?;
    let permit = app.verification.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Kind::Overloaded, "another verification is running")
            .retry_after(VERIFICATION_RETRY_SECONDS)
    })?;
    let path = app.log.path().to_owned();
    let report = tokio::task::spawn_blocking(move || {
        // The permit is the thread's: a client that is gone does not let a second verification begin.
        let _permit = permit;
        let report = verify::verify(&path, options, &mut |_, _| {})
            .map_err(|error| Problem::new(Kind::Unavailable, error.to_string()))?;
        serde_json::to_vec(&report).map_err(|error| Problem::new(Kind::Internal, error.to_string()))
    });
    let report = report
        .await
        .map_err(|_| Problem::new(Kind::Internal, "an internal error ended the verification"))??;
    // The verification opened the path again. If another file is there now, the report may be about that
    // file.
    app.file.require()?;
    Ok(([(CONTENT_TYPE, "application/json")], report).into_response())
}

const TEXT: &str = "text/plain; charset=utf-8";

fn text(text: String) -> Response {
    ([(CONTENT_TYPE, TEXT)], text).into_response()
}

/// Most bytes of a session's proof over HTTP. `annals prove` makes longer ones.
const SESSION_PROOF_BYTES_MAX: usize = 64 << 20;

/// A proof with its share of the memory budget.
struct Counted<P> {
    proof: P,
    _held: Held,
}

impl<P: Display> Display for Counted<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proof.fmt(f)
    }
}

/// Answers with the proof that `prove` makes.
async fn proof<P: Display, E: Into<Problem>>(
    app: &App,
    length: Length,
    prove: impl FnOnce(&Reader) -> Result<P, E> + Send + 'static,
) -> Result<Response, Problem> {
    answer_for(app, length, TEXT, move |reader, _, output| {
        let proof = prove(reader).map_err(Into::into)?;
        write!(output, "{proof}").map_err(|error| output.failed(&error))
    })
    .await
}

impl From<ProveError> for Problem {
    fn from(error: ProveError) -> Problem {
        let kind = match &error {
            ProveError::NoCheckpoint
            | ProveError::NoCheckpointOf { .. }
            | ProveError::NoEvent { .. }
            | ProveError::NotCovered { .. }
            | ProveError::NoSession { .. } => Kind::NotFound,
            ProveError::SizesReversed { .. } => Kind::BadRequest,
            ProveError::TooLong { .. } => Kind::TooLarge,
            ProveError::Unfit { .. }
            | ProveError::Tree(_)
            | ProveError::Read(_)
            | ProveError::Storage(_)
            | ProveError::Refused(_) => Kind::Unavailable,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Problem {
        match error {
            PublishError::Checkpoint(error) => error.into(),
            error => Problem::new(Kind::Unavailable, error.to_string()),
        }
    }
}

async fn last_checkpoint(app: &App) -> Result<Response, Problem> {
    let checkpoint: Option<SignedCheckpoint> =
        app.readers.ask(|reader| Ok(reader.last_checkpoint()?)).await?;
    Ok(text(checkpoint.ok_or(ProveError::NoCheckpoint)?.to_string()))
}

/// Returns the last signed checkpoint, in the form that C2SP tlog-checkpoint defines.
#[utoipa::path(get, path = "/v1/checkpoint", tag = "evidence", responses(
    (status = 200, description = "The checkpoint, as a signed note", body = String, content_type = "text/plain"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `verify` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No checkpoint was signed yet", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn checkpoint(State(app): State<App>, _: Allowed<Verify>) -> Result<Response, Problem> {
    last_checkpoint(&app).await
}

/// Returns the last signed checkpoint, at the path that C2SP tlog-tiles defines.
#[utoipa::path(get, path = "/checkpoint", tag = "tlog-tiles", responses(
    (status = 200, description = "The checkpoint, as a signed note", body = String, content_type = "text/plain"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `verify` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "No checkpoint was signed yet", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn tiles_checkpoint(
    State(app): State<App>,
    _: Allowed<Verify>,
) -> Result<Response, Problem> {
    last_checkpoint(&app).await
}

/// Returns a file of the log's tree, in the form that C2SP tlog-tiles defines.
#[utoipa::path(get, path = "/tile/{path}", tag = "tlog-tiles",
    params(("path" = String, Path, description = "The file: <L>/<N>[.p/<W>] or entries/<N>[.p/<W>]")),
    responses(
        (status = 200, description = "Hashes, or entries without payloads", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "The path is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `verify` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such file, or the last checkpoint does not cover it", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn tile(
    State(app): State<App>,
    _: Allowed<Verify>,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    let none = || Problem::new(Kind::NotFound, "there is no such tile, or no checkpoint covers it");
    let file = TileFile::of_path(&path).ok_or_else(none)?;
    let bytes = app.readers.ask(move |reader| reader.tile(file)?.ok_or_else(none)).await?;
    // A full tile never changes. Clients may keep it for a year.
    let cache = if file.is_full() { "private, max-age=31536000, immutable" } else { "no-cache" };
    Ok(([(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, cache)], bytes).into_response())
}

/// Proves that an event is in the log that the last checkpoint covers. The proof leaves the payload out.
#[utoipa::path(get, path = "/v1/proofs/events/{seq}", tag = "evidence",
    params(("seq" = u64, Path, description = "The sequence number of the event")),
    responses(
        (status = 200, description = "A proof, for `annals verify-proof`", body = String, content_type = "text/plain"),
        (status = 400, description = "The sequence number is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `verify` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such event, or no checkpoint covers it", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn event_proof(
    State(app): State<App>,
    _: Allowed<Verify>,
    Path(seq): Path<u64>,
) -> Result<Response, Problem> {
    let seq = Seq::new(seq.min(i64::MAX as u64));
    proof(&app, Length::Page, move |reader| reader.prove_event(seq, Payloads::LeftOut)).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionProofQuery {
    /// True to also prove that the session has no other events between the first and the last one. The proof then
    /// has the entries of all events in between.
    #[serde(default)]
    complete: bool,
}

/// Proves that the events of a session are in the log that the last checkpoint covers. The proof leaves the
/// payloads out.
#[utoipa::path(get, path = "/v1/proofs/sessions/{id}", tag = "evidence",
    params(("id" = String, Path, description = "The session's id"), SessionProofQuery),
    responses(
        (status = 200, description = "A proof, for `annals verify-proof`", body = String, content_type = "text/plain"),
        (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 403, description = "The key lacks the `verify` scope", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session, or no checkpoint covers it", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 413, description = "The proof would be too large", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn session_proof(
    State(app): State<App>,
    _: Allowed<Verify>,
    Path(id): Path<String>,
    Query(query): Query<SessionProofQuery>,
) -> Result<Response, Problem> {
    let completeness = if query.complete { Completeness::Complete } else { Completeness::Partial };
    // At most two questions about sessions run at a time: their proofs take up half of the budget at most.
    let room = SESSION_PROOF_BYTES_MAX.min(app.memory.all_bytes() / 4);
    let own = app.clone();
    proof(&app, Length::Session, move |reader| {
        // The whole proof is in memory before it is written. Its bound is taken before the work begins.
        let mut held = Held::of(&own.memory);
        held.take(room).map_err(|_| Problem::new(Kind::Overloaded, "the memory budget is used up"))?;
        let proved = reader.prove_session_within(&id, completeness, Payloads::LeftOut, room)?;
        Ok::<_, Problem>(Counted { proof: proved.proof, _held: held })
    })
    .await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsistencyQuery {
    /// The size of the older log: its number of events.
    #[param(inline)]
    from: SeqParam,
    /// The size of the newer checkpoint; if absent, that of the last checkpoint.
    #[param(inline)]
    to: Option<SeqParam>,
}

/// Proves that the log of a checkpoint begins with an older state of this log.
#[utoipa::path(get, path = "/v1/proofs/consistency", tag = "evidence", params(ConsistencyQuery), responses(
    (status = 200, description = "A proof, for `annals verify-proof`", body = String, content_type = "text/plain"),
    (status = 400, description = "A parameter is invalid", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "A valid API key is needed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "The key lacks the `verify` scope", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "There is no such checkpoint", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 429, description = "Too many requests", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "The request cannot be served now; send it again later", body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(crate) async fn consistency_proof(
    State(app): State<App>,
    _: Allowed<Verify>,
    Query(query): Query<ConsistencyQuery>,
) -> Result<Response, Problem> {
    let to = query.to.map(|to| to.0.get());
    proof(&app, Length::Page, move |reader| reader.prove_consistency(query.from.0.get(), to)).await
}
