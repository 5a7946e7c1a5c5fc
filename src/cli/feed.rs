//! Events on their way into the log: sent without waiting for each one, with every answer read.

use std::collections::VecDeque;

use crate::limits::PAYLOAD_BYTES_DEFAULT;
use crate::{AppendError, AppendOutcome, Appended, AuditLog, CloseError, Draft, PrepareError, Receipt, Seq};
use serde::Serialize;

use super::ending;
use super::log_file::LogFile;

/// The treatment of a record that cannot be recorded, and of an event that the log refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnBad {
    End,
    LeaveOut,
}

/// Most events whose answers may be outstanding: some batches of the writer.
const PENDING_EVENTS_MAX: usize = 8_192;

/// Most bytes of input whose answers may be outstanding, which bounds the memory for large events.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// The results, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Events appended to the log.
    pub(crate) appended: u64,
    /// Events that the log already had, the same with the same id.
    pub(crate) already_recorded: u64,
    /// Events refused.
    pub(crate) refused: u64,
    /// The first that was appended.
    pub(crate) first_seq: Option<Seq>,
    /// The last that was appended.
    pub(crate) last_seq: Option<Seq>,
}

/// An event that was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The position in the source that it came from.
    pub(crate) place: u64,
    pub(crate) error: AppendError,
}

impl Refusal {
    /// Returns true if the log is to blame, so that the next event would be refused as well.
    pub(crate) fn is_of_the_log(&self) -> bool {
        matches!(
            self.error,
            AppendError::NotWritten { .. } | AppendError::Ambiguous { .. } | AppendError::Closed
        )
    }
}

struct Pending {
    place: u64,
    bytes: usize,
    receipt: Receipt,
}

/// Sends events and reads the answers, in order.
pub(crate) struct Feed<'p> {
    place: &'p LogFile,
    /// None while there was no log and there is nothing to record: input that is bad from its beginning leaves no log.
    log: Option<AuditLog>,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    counts: Counts,
}

impl<'p> Feed<'p> {
    /// Opens the log, if there is one.
    pub(crate) fn new(place: &'p LogFile) -> anyhow::Result<Feed<'p>> {
        let log = place.path().symlink_metadata().is_ok().then(|| place.append()).transpose()?;
        Ok(Feed { place, log, pending: VecDeque::new(), pending_bytes: 0, counts: Counts::default() })
    }

    /// Sends an event. Waits for the answers to earlier ones while too many are outstanding. Each refused event, this
    /// one or an earlier one, goes to `refused`. An error means that the log cannot be made.
    pub(crate) fn send(
        &mut self,
        place: u64,
        bytes: usize,
        draft: Draft,
        refused: &mut dyn FnMut(Refusal),
    ) -> anyhow::Result<()> {
        // A single event may be larger than the bound on bytes: it then waits until it is alone.
        while self.pending.len() >= PENDING_EVENTS_MAX
            || (self.pending_bytes > 0 && self.pending_bytes.saturating_add(bytes) > PENDING_BYTES_MAX)
        {
            self.hear_oldest(refused);
        }
        let appended = match &self.log {
            Some(log) => log.append(draft),
            // Checked before the log is made: a draft that no log would take must not leave an empty log.
            None => match fits(&draft) {
                Ok(()) => self.log.insert(self.place.append()?).append(draft),
                Err(error) => Err(error.into()),
            },
        };
        match appended {
            Ok(receipt) => {
                self.pending_bytes = self.pending_bytes.saturating_add(bytes);
                self.pending.push_back(Pending { place, bytes, receipt });
            }
            Err(error) => {
                self.counts.refused += 1;
                refused(Refusal { place, error });
            }
        }
        Ok(())
    }

    fn hear_oldest(&mut self, refused: &mut dyn FnMut(Refusal)) {
        // The writer answers in the order of sending, so no later answer is kept waiting.
        let Some(Pending { place, bytes, receipt }) = self.pending.pop_front() else { return };
        self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
        match receipt.wait() {
            Ok(Appended { outcome: AppendOutcome::New, seq, .. }) => {
                self.counts.appended += 1;
                // Answers come in order, so the first one has the lowest position.
                self.counts.first_seq.get_or_insert(seq);
                self.counts.last_seq = Some(seq);
            }
            Ok(Appended { outcome: AppendOutcome::AlreadyRecorded, .. }) => self.counts.already_recorded += 1,
            Err(error) => {
                self.counts.refused += 1;
                refused(Refusal { place, error });
            }
        }
    }

    /// Makes the log if there is none: input without any event is valid, too.
    pub(crate) fn open(&mut self) -> anyhow::Result<()> {
        if self.log.is_none() {
            self.log = Some(self.place.append()?);
        }
        Ok(())
    }

    /// Waits for every answer.
    pub(crate) fn settle(&mut self, refused: &mut dyn FnMut(Refusal)) {
        while !self.pending.is_empty() {
            self.hear_oldest(refused);
        }
    }

    /// Counts an event that could not be sent at all.
    pub(crate) fn count_refused(&mut self) {
        self.counts.refused += 1;
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Closes the log. The read tables hold the committed events when this returns.
    pub(crate) fn close(self) -> Result<(), CloseError> {
        self.log.map_or(Ok(()), ending::close)
    }
}

/// Checks that a log would accept the size of an event's payload.
pub(crate) fn fits(draft: &Draft) -> Result<(), PrepareError> {
    match draft.payload_bytes()? {
        bytes if bytes > PAYLOAD_BYTES_DEFAULT => {
            Err(PrepareError::TooLarge { bytes, max: PAYLOAD_BYTES_DEFAULT })
        }
        _ => Ok(()),
    }
}
