//! Events on their way into the log: sent without waiting for each one, with every answer read.

use std::collections::VecDeque;

use crate::import::{Change, fits, later_id};
use crate::{AppendError, AppendOutcome, Appended, AuditLog, CloseError, Draft, Receipt, Seq};
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

/// Most states of one event. Each import looks for the last one from the first on, so more would make it slow.
const STATES_MAX: u64 = 1_024;

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
pub(crate) struct Refusal<P> {
    /// The position in the source that it came from.
    pub(crate) place: P,
    pub(crate) error: AppendError,
}

impl<P> Refusal<P> {
    /// Returns true if the log is to blame, so that the next event would be refused as well.
    pub(crate) fn is_of_the_log(&self) -> bool {
        matches!(
            self.error,
            AppendError::NotWritten { .. } | AppendError::Ambiguous { .. } | AppendError::Closed
        )
    }
}

/// Events of one record whose answers are outstanding.
struct Pending<P> {
    place: P,
    bytes: usize,
    answers: Vec<Result<Receipt, AppendError>>,
    /// The events again, if they may be a later state of those that the log has.
    states: Option<States>,
}

/// Events that are sent until each has the id of a state for which the log has no other event.
struct States {
    /// With the ids of their first states.
    drafts: Vec<Draft>,
    round: u64,
}

impl States {
    /// The events from the one at `first` on, as the next states.
    fn later(mut self, first: usize) -> States {
        self.drafts.drain(..first.min(self.drafts.len()));
        States { drafts: self.drafts, round: self.round.saturating_add(1) }
    }

    fn to_send(&self) -> Vec<Draft> {
        let drafts = self.drafts.iter().cloned();
        drafts.map(|draft| Draft { id: draft.id.map(|id| later_id(id, self.round)), ..draft }).collect()
    }
}

/// Sends events and reads the answers, in order. `P` is a position in the source.
pub(crate) struct Feed<'p, P> {
    place: &'p LogFile,
    /// None while there was no log and there is nothing to record: input that is bad from its beginning leaves no log.
    log: Option<AuditLog>,
    pending: VecDeque<Pending<P>>,
    pending_events: usize,
    pending_bytes: usize,
    counts: Counts,
}

impl<'p, P: Clone> Feed<'p, P> {
    /// Opens the log, if there is one.
    pub(crate) fn new(place: &'p LogFile) -> anyhow::Result<Feed<'p, P>> {
        let log = place.path().symlink_metadata().is_ok().then(|| place.append()).transpose()?;
        Ok(Feed {
            place,
            log,
            pending: VecDeque::new(),
            pending_events: 0,
            pending_bytes: 0,
            counts: Counts::default(),
        })
    }

    /// Sends the events of a record, which have this many bytes together. Waits for the answers to earlier ones while too
    /// many are outstanding. Each refused event, one of these or an earlier one, goes to `refused`. An error means that
    /// the log cannot be made.
    pub(crate) fn send(
        &mut self,
        place: P,
        bytes: usize,
        drafts: Vec<Draft>,
        change: Change,
        refused: &mut dyn FnMut(Refusal<P>),
    ) -> anyhow::Result<()> {
        // A single record may be larger than the bounds: it then waits until it is alone.
        while self.pending_events > 0
            && (self.pending_events.saturating_add(drafts.len()) > PENDING_EVENTS_MAX
                || self.pending_bytes.saturating_add(bytes) > PENDING_BYTES_MAX)
        {
            self.read_oldest(refused);
        }
        let states = match change {
            Change::Never => None,
            Change::May => Some(States { drafts: drafts.clone(), round: 0 }),
        };
        self.append(place, bytes, drafts, states)
    }

    fn append(
        &mut self,
        place: P,
        bytes: usize,
        drafts: Vec<Draft>,
        states: Option<States>,
    ) -> anyhow::Result<()> {
        let mut answers = Vec::with_capacity(drafts.len());
        for draft in drafts {
            answers.push(match &self.log {
                Some(log) => log.append(draft),
                // Checked before the log is made: a draft that no log would take must not leave an empty log.
                None => match fits(&draft) {
                    Ok(_) => self.log.insert(self.place.append()?).append(draft),
                    Err(error) => Err(error.into()),
                },
            });
        }
        self.wait_for(Pending { place, bytes, answers, states });
        Ok(())
    }

    fn wait_for(&mut self, pending: Pending<P>) {
        self.pending_events = self.pending_events.saturating_add(pending.answers.len());
        self.pending_bytes = self.pending_bytes.saturating_add(pending.bytes);
        self.pending.push_back(pending);
    }

    fn read_oldest(&mut self, refused: &mut dyn FnMut(Refusal<P>)) {
        // The writer answers in the order of sending, so no later answer is kept waiting.
        let Some(Pending { place, bytes, answers, states }) = self.pending.pop_front() else { return };
        self.pending_events = self.pending_events.saturating_sub(answers.len());
        self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
        let states = states.filter(|states| states.round < STATES_MAX);
        let mut later = None;
        for (index, answer) in answers.into_iter().enumerate() {
            match answer.and_then(Receipt::wait) {
                Ok(Appended { outcome: AppendOutcome::New, seq, .. }) => {
                    self.counts.appended += 1;
                    // Answers come in order, so the first one has the lowest position.
                    self.counts.first_seq.get_or_insert(seq);
                    self.counts.last_seq = Some(seq);
                }
                // Everything from the first conflict on is sent again, and answered then.
                _ if later.is_some() => {}
                Ok(Appended { outcome: AppendOutcome::AlreadyRecorded, .. }) => {
                    self.counts.already_recorded += 1;
                }
                Err(AppendError::Conflict { .. }) if states.is_some() => later = Some(index),
                Err(error) => {
                    self.counts.refused += 1;
                    refused(Refusal { place: place.clone(), error });
                }
            }
        }
        // A conflict comes from a log that is open.
        if let (Some(first), Some(states), Some(log)) = (later, states, &self.log) {
            let states = states.later(first);
            // The order counts: an end that is recorded before a later start would not be the last word.
            let answers = states.to_send().into_iter().map(|draft| log.append(draft)).collect();
            self.wait_for(Pending { place, bytes, answers, states: Some(states) });
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
    pub(crate) fn settle(&mut self, refused: &mut dyn FnMut(Refusal<P>)) {
        while !self.pending.is_empty() {
            self.read_oldest(refused);
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
