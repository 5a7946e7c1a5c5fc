//! Events on their way into the log: sent without waiting for each, and every answer heard.

use std::collections::VecDeque;

use annals::limits::PAYLOAD_BYTES_DEFAULT;
use annals::{AppendError, AppendOutcome, Appended, AuditLog, CloseError, Draft, PrepareError, Receipt, Seq};
use serde::Serialize;

use super::ending;
use super::place::Place;

/// Events whose answer may be outstanding: some batches of the writer.
const PENDING_EVENTS_MAX: usize = 8_192;

/// Bytes of input whose answer may be outstanding, so that large events do not fill the memory.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// What became of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Appended to the log.
    pub(crate) appended: u64,
    /// There already, the same with the same id.
    pub(crate) already_recorded: u64,
    /// Refused.
    pub(crate) refused: u64,
    /// The first that was appended.
    pub(crate) first_seq: Option<Seq>,
    /// The last that was appended.
    pub(crate) last_seq: Option<Seq>,
}

/// An event that was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The place in the source that it came from.
    pub(crate) place: u64,
    pub(crate) error: AppendError,
}

impl Refusal {
    /// Whether the log is to blame, so that the next event would fare no better.
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

/// Sends events and hears the answers, in order.
pub(crate) struct Feed<'p> {
    place: &'p Place,
    /// None until there is something to record, where there was no log: of input that is bad from its
    /// beginning no log is left.
    log: Option<AuditLog>,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    counts: Counts,
}

impl<'p> Feed<'p> {
    /// Opens the log, if there is one.
    pub(crate) fn new(place: &'p Place) -> anyhow::Result<Feed<'p>> {
        let log = place.path().symlink_metadata().is_ok().then(|| place.append()).transpose()?;
        Ok(Feed { place, log, pending: VecDeque::new(), pending_bytes: 0, counts: Counts::default() })
    }

    /// Sends an event; waits for the answers to earlier ones while too many are outstanding. What is
    /// refused, this one or an earlier one, is told. An error is that of making the log.
    pub(crate) fn send(
        &mut self,
        place: u64,
        bytes: usize,
        draft: Draft,
        refused: &mut dyn FnMut(Refusal),
    ) -> anyhow::Result<()> {
        while self.pending.len() >= PENDING_EVENTS_MAX
            || (self.pending_bytes > 0 && self.pending_bytes.saturating_add(bytes) > PENDING_BYTES_MAX)
        {
            self.hear_oldest(refused);
        }
        let appended = match &self.log {
            Some(log) => log.append(draft),
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
        let Some(Pending { place, bytes, receipt }) = self.pending.pop_front() else { return };
        self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
        match receipt.wait() {
            Ok(Appended { outcome: AppendOutcome::New, seq, .. }) => {
                self.counts.appended += 1;
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

    /// Makes the log if there is none: input that had nothing to record was good, too.
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

    /// Counts an event that could not even be sent.
    pub(crate) fn count_refused(&mut self) {
        self.counts.refused += 1;
    }

    /// What became of the events so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Closes the log: the read tables hold what was committed when this returns.
    pub(crate) fn close(self) -> Result<(), CloseError> {
        self.log.map_or(Ok(()), ending::close)
    }
}

/// Checks that a log would take an event that could be read, by its size.
pub(crate) fn fits(draft: &Draft) -> Result<(), PrepareError> {
    match draft.payload_bytes()? {
        bytes if bytes > PAYLOAD_BYTES_DEFAULT => {
            Err(PrepareError::TooLarge { bytes, max: PAYLOAD_BYTES_DEFAULT })
        }
        _ => Ok(()),
    }
}
