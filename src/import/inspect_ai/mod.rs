//! Logs of Inspect (`inspect_ai`): a JSON document, or an archive `*.eval` with a document for each sample.
//!
//! | in the log | as events |
//! | --- | --- |
//! | the evaluation | a session `inspect-ai/<eval_id>`, whose scores are the metrics of its results |
//! | a sample | a session `inspect-ai/<eval_id>/<id>/<epoch>` within it |
//! | a `model` event | a step of kind llm, `event/<index>` |
//! | a call of a tool in its output | a decision of type tool and a step of kind tool, both with the id of the call |
//! | a `tool` event | the end of that step |
//! | a span | a step `span/<id>`, in which those of its events are |
//! | `scores` | scores of the session; a finding for each that says that the answer is wrong |
//! | `error`, `sample_limit` and rejected calls | findings |
//! | all other events | notes |
//!
//! The fields are those of Inspect itself, 0.3.260 (August 2026): `EvalLog`, `EvalSample` and `EvalSpec` in
//! `src/inspect_ai/log/_log.py`, the events in `src/inspect_ai/event`, `ModelOutput` and `ModelUsage` in
//! `model/_model_output.py`, `ChatMessage` in `model/_chat_message.py`, `Score` and `value_to_float` in `scorer/_metric.py`,
//! the entries of an archive in `log/_recorders/eval.py`, and attachments and pools of messages in `log/_condense.py` and
//! `event/_pool.py`.
//!
//! A sample without events is read from its `messages`. In a sample with events these repeat what the events have. Each
//! sample is read twice, first for everything except its events and messages. Its attachments and its pool of messages
//! wait in a temporary file.

mod content;
mod score;
mod spool;
mod event;
mod log;
mod part;
mod sample;
#[cfg(feature = "cli")]
mod archive;

#[cfg(test)]
mod tests;

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use self::log::{EXPECTED, Log, SAMPLES_MAX};
use self::part::Region;
use super::document::{Document, Path, Want, is_empty_list};
use super::emit::{Emitter, Sink};
use super::error::{ImportError, or_bad};
use super::json_lines::BadLines;
use super::source::{Imported, Source};

/// First bytes of an archive.
const ARCHIVE: [u8; 4] = *b"PK\x03\x04";

/// Reads a log of Inspect, a JSON document or an archive, sample by sample.
///
/// The source names a log without an `eval_id`, as versions before 0.3.70 wrote them.
///
/// # Errors
/// If the file is not such a log, `bad` returns an error for a sample or an event that is malformed or cannot be
/// recorded, or the sink refuses a draft. Drafts from before the error were handed over.
pub fn inspect_ai(
    mut reader: impl Read + Seek,
    source: &Source,
    bad: &mut BadLines<'_>,
    sink: &mut Sink<'_>,
) -> Result<Imported, ImportError> {
    let mut begin = Vec::new();
    reader.by_ref().take(ARCHIVE.len() as u64).read_to_end(&mut begin).map_err(ImportError::Read)?;
    reader.seek(SeekFrom::Start(0)).map_err(ImportError::Read)?;
    let mut emitter = Emitter::new(sink);
    if begin == ARCHIVE {
        #[cfg(feature = "cli")]
        archive::import(reader, source, bad, &mut emitter)?;
        #[cfg(not(feature = "cli"))]
        return Err(ImportError::WrongFile {
            expected: EXPECTED,
            reason: "it is an archive, which needs the feature `cli`".to_owned(),
        });
    } else {
        document(reader, source, bad, &mut emitter)?;
    }
    Ok(emitter.imported())
}

fn document(
    mut reader: impl Read + Seek,
    source: &Source,
    bad: &mut BadLines<'_>,
    emitter: &mut Emitter<'_>,
) -> Result<(), ImportError> {
    let (mut fields, mut samples) = (log::Fields::default(), Vec::new());
    let route = |path: &Path| match path.shape().as_str() {
        "samples" => Want::Within,
        "samples[]" => Want::Region,
        // The scores of all samples once more.
        "reductions" => Want::Nothing,
        _ => Want::Whole,
    };
    Document::new(&mut reader, EXPECTED).walk(&route, &mut |path, json| match path.shape().as_str() {
        "samples[]" => {
            let (begin, end) = serde_json::from_str(json.as_str()).unwrap_or_default();
            if samples.len() >= SAMPLES_MAX {
                let reason = format!("the log has more than {SAMPLES_MAX} samples");
                return Err(ImportError::Malformed { place: path.place(), reason });
            }
            samples.push(Range { start: begin, end });
            Ok(())
        }
        "samples" if is_empty_list(&json) => Ok(()),
        "samples" => Err(ImportError::Malformed { place: path.place(), reason: "is not a list".to_owned() }),
        _ => fields.take(path, json),
    })?;
    let mut log = Log::of(fields, source)?;
    log.begin(emitter)?;
    for (index, bytes) in samples.into_iter().enumerate() {
        let mut part = Region { reader: &mut reader, bytes, base: format!("samples[{index}].") };
        or_bad(sample::import(&mut part, &log, bad, emitter), bad)?;
    }
    or_bad(log.end(emitter), bad)
}
