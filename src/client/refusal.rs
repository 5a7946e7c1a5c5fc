//! What a server refused for good, and where it is kept.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::spool::Reserve;
use crate::event::{EventId, Timestamp};

/// An event that the server refused for good, or a line of the spool that is no event. It stands in the
/// spool's `refused.jsonl` too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The event's id; none where it cannot be read.
    pub event_id: Option<EventId>,
    /// What is wrong with it.
    pub reason: Arc<str>,
    /// The event's JSON form, or the text of the line.
    pub event: String,
}

/// Hears of every refusal.
pub(super) type OnRefused = Arc<dyn Fn(&Refusal) + Send + Sync>;

/// Writes `refused.jsonl`.
pub(super) struct Refusals {
    path: PathBuf,
    reserve: Reserve,
    hear: Option<OnRefused>,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Refusals {
    pub(super) fn new(folder: &Path, hear: Option<OnRefused>) -> Refusals {
        Refusals { path: folder.join("refused.jsonl"), reserve: Reserve::new(folder), hear }
    }

    /// Keeps what was refused, durably, and then tells whoever wants to hear of it. All of it or, with an
    /// error, none.
    pub(super) fn add(&self, refusals: &[Refusal]) -> io::Result<()> {
        if refusals.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for refusal in refusals {
            write_line(&mut bytes, refusal)?;
        }
        self.reserve.yield_to(|| append(&self.path, &bytes))?;
        for (refusal, hear) in refusals.iter().zip(std::iter::repeat(&self.hear)) {
            // The caller's own code, on a thread that others wait for.
            let _ = hear.as_ref().map(|hear| catch_unwind(AssertUnwindSafe(|| hear(refusal))));
        }
        Ok(())
    }
}

fn write_line(bytes: &mut Vec<u8>, refusal: &Refusal) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        refused_at: String,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
    }
    let event = serde_json::from_str::<&RawValue>(&refusal.event).ok();
    let line = Line {
        refused_at: Timestamp::now().to_string(),
        reason: &refusal.reason,
        event,
        text: event.is_none().then_some(&refusal.event),
    };
    serde_json::to_writer(&mut *bytes, &line)?;
    bytes.push(b'\n');
    Ok(())
}

/// Appends lines to a file, durably. Of an error nothing stays.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let is_new = !path.try_exists()?;
    let mut file: File = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a line would spoil the next one.
        let _ = file.set_len(before);
    } else if is_new && let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    written
}
