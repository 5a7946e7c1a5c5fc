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

/// Writes `refused.jsonl`, and counts.
pub(super) struct Refusals {
    path: PathBuf,
    hear: Option<OnRefused>,
    count: u64,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Refusals {
    pub(super) fn new(folder: &Path, hear: Option<OnRefused>) -> Refusals {
        Refusals { path: folder.join("refused.jsonl"), hear, count: 0 }
    }

    /// Keeps an event that was refused, durably, and tells who wants to hear of it. An error is that of
    /// the file alone: the others have heard.
    pub(super) fn add(&mut self, refusal: &Refusal) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            refused_at: String,
            reason: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            event: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            text: Option<&'a str>,
        }
        self.count += 1;
        if let Some(hear) = &self.hear {
            // The caller's own code, on a thread that others wait for.
            let _ = catch_unwind(AssertUnwindSafe(|| hear(refusal)));
        }
        let event = serde_json::from_str::<&RawValue>(&refusal.event).ok();
        let line = Line {
            refused_at: Timestamp::now().to_string(),
            reason: &refusal.reason,
            event,
            text: event.is_none().then_some(&refusal.event),
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        let mut file: File = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        file.write_all(&bytes)?;
        file.sync_data()
    }

    /// Keeps what a crash cut off.
    pub(super) fn torn(&mut self, text: &str) -> io::Result<()> {
        let reason = "cut off by a crash while it was written to the spool; nobody was told that it was safe";
        self.add(&Refusal { event_id: None, reason: reason.into(), event: text.to_owned() })
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
