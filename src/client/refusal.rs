//! Events that a server refused for good, and the file that keeps them.

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

/// An event that the server refused for good, or a line of the spool that is not an event. It is also
/// written to the spool's `refused.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The event's id; `None` if it cannot be read.
    pub event_id: Option<EventId>,
    /// The reason for the refusal.
    pub reason: Arc<str>,
    /// The event's JSON form, or the text of the line.
    pub event: String,
}

/// The caller's function that is called for every refusal.
pub(super) type OnRefused = Arc<dyn Fn(&Refusal) + Send + Sync>;

/// The writer of `refused.jsonl`.
pub(super) struct Refusals {
    path: PathBuf,
    reserve: Reserve,
    callback: Option<OnRefused>,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Refusals {
    pub(super) fn new(folder: &Path, callback: Option<OnRefused>) -> Refusals {
        Refusals { path: folder.join("refused.jsonl"), reserve: Reserve::new(folder), callback }
    }

    /// Writes refusals durably, and then calls the caller's function for each. After an error, none counts as
    /// written.
    pub(super) fn add(&self, refusals: &[Refusal]) -> io::Result<()> {
        if refusals.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for refusal in refusals {
            write_line(&mut bytes, refusal)?;
        }
        self.reserve.yield_to(|| append(&self.path, &bytes))?;
        for (refusal, callback) in refusals.iter().zip(std::iter::repeat(&self.callback)) {
            // The function is the caller's code. A panic in it must not end the courier's thread, which
            // callers wait for.
            let _ = callback.as_ref().map(|callback| catch_unwind(AssertUnwindSafe(|| callback(refusal))));
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
    // A `RawValue` repeats the event byte for byte. A line of the spool that is not JSON goes into `text` instead.
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

/// Appends lines to a file, durably. After an error of writing, the file is as it was before. If only the
/// flush of a new file's folder fails, the lines stay.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let is_new = !path.try_exists()?;
    let mut file: File = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // A part of a line would make the next line unreadable.
        let _ = file.set_len(before);
    } else if is_new && let Some(folder) = path.parent() {
        // Without this, a loss of power could take the name of a new file although its bytes are on the disk.
        File::open(folder)?.sync_all()?;
    }
    written
}
