//! Events on their way into the log: sent without waiting for each, and every answer heard.

use std::collections::VecDeque;

use annals::{AppendError, AppendOutcome, Appended, AuditLog, CloseError, Draft, Receipt, Seq};
use serde::Serialize;

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
pub(crate) struct Feed {
    log: AuditLog,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    counts: Counts,
}

impl Feed {
    pub(crate) fn new(log: AuditLog) -> Feed {
        Feed { log, pending: VecDeque::new(), pending_bytes: 0, counts: Counts::default() }
    }

    /// Sends an event; waits for the answers to earlier ones while too many are outstanding. What is
    /// refused, this one or an earlier one, is told.
    pub(crate) fn send(&mut self, place: u64, bytes: usize, draft: Draft, refused: &mut dyn FnMut(Refusal)) {
        while self.pending.len() >= PENDING_EVENTS_MAX
            || (self.pending_bytes > 0 && self.pending_bytes.saturating_add(bytes) > PENDING_BYTES_MAX)
        {
            self.hear_oldest(refused);
        }
        match self.log.append(draft) {
            Ok(receipt) => {
                self.pending_bytes = self.pending_bytes.saturating_add(bytes);
                self.pending.push_back(Pending { place, bytes, receipt });
            }
            Err(error) => {
                self.counts.refused += 1;
                refused(Refusal { place, error });
            }
        }
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
        self.log.close()
    }
}
