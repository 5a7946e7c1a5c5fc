//! The thread between the callers and the server. It holds events in memory, and moves them to the spool when
//! the server does not take them in time.
//!
//! All events are in one order: the spool has the oldest, memory has newer ones, and the queue has the
//! newest. A request has the oldest events, and they are removed only when its answer has come. The events in
//! memory move to the spool when the server is away, when the spool is not empty, or when one of them has
//! waited for too long. So an event is in memory alone for a bounded time, and this thread never waits for
//! the network.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};

use super::backoff::Backoff;
use super::close::CloseError;
use super::item::{Flush, Flushed, Item, Message, Queue, Until};
use super::refusal::{Refusal, Refusals};
use super::reply::Reply;
use super::sender::{Request, Sender};
use super::spool::{Head, Line, Spool};
use super::status::ClientStatus;
use crate::event::EventId;
use crate::receipt::{Ack, AppendError, Appended};

/// Shortest time between two attempts to write to a spool that takes no events.
const SPOOL_PAUSE: Duration = Duration::from_secs(1);

/// Number of receipts of spooled events above which the courier first looks for receipts that no caller holds
/// any more, and drops them.
const SPOOLED_RECEIPTS_MIN: usize = 1_024;

/// The bounds of the courier's work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) request_events: usize,
    pub(super) request_bytes: usize,
    pub(super) spool_after: Duration,
    pub(super) close_timeout: Duration,
}

/// The state that the courier shares with the callers.
pub(super) struct Shared {
    pub(super) queue: Arc<Queue>,
    pub(super) status: Arc<ClientStatus>,
    /// Signals that the client is to be closed. A disconnected channel means the same.
    pub(super) close: Receiver<()>,
}

struct Held {
    item: Item,
    since: Instant,
}

/// The events of the request under way.
enum Flight {
    /// This many events at the front of memory.
    Memory(usize),
    /// These lines at the front of the spool.
    Spool(Vec<Line>),
}

pub(super) struct Courier {
    config: Config,
    shared: Shared,
    sender: Sender,
    sender_is_gone: bool,
    spool: Spool,
    refusals: Refusals,
    memory: VecDeque<Held>,
    memory_bytes: usize,
    flight: Option<Flight>,
    /// Receipts of events in the spool, for callers that may still wait for them.
    spooled_receipts: HashMap<EventId, Ack>,
    sweep_above: usize,
    backoff: Backoff,
    /// Largest number of events in the next request. It is halved after a request that was too large.
    request_events: usize,
    /// The reason why the spool takes no events, and the time of the next attempt.
    no_room: Option<(Arc<str>, Instant)>,
    /// Three counts of events since the start: those that entered, including those that the spool had at the
    /// start; of these, those that are safe; and those that left, because they were committed, refused or
    /// lost. All three follow the order of events, so each count is also an index in it.
    entered: u64,
    safe: u64,
    left: u64,
    flushes: VecDeque<(u64, Flush)>,
    /// The first error since the last flush, for the next flush to return.
    unflushed: Option<AppendError>,
    /// The time at which closing gives up, once closing has begun.
    closing: Option<Instant>,
}

impl Courier {
    pub(super) fn new(
        config: Config,
        shared: Shared,
        sender: Sender,
        spool: Spool,
        refusals: Refusals,
    ) -> Courier {
        let found = spool.events();
        Courier {
            config,
            shared,
            sender,
            sender_is_gone: false,
            spool,
            refusals,
            memory: VecDeque::new(),
            memory_bytes: 0,
            flight: None,
            spooled_receipts: HashMap::new(),
            sweep_above: SPOOLED_RECEIPTS_MIN,
            backoff: Backoff::default(),
            request_events: config.request_events,
            no_room: None,
            entered: found,
            safe: found,
            left: 0,
            flushes: VecDeque::new(),
            unflushed: None,
            closing: None,
        }
    }

    /// Works until the client is closed.
    pub(super) fn run(mut self) -> Result<Flushed, CloseError> {
        // `spool_memory` comes before `dispatch`. While the spool is not empty, the events in memory move into it,
        // and requests have only events of the spool. This keeps the order.
        loop {
            self.spool_memory();
            self.dispatch();
            self.publish();
            if self.is_done() {
                return self.end();
            }
            self.wait();
        }
    }

    /// Waits for a message, an answer, the signal to close, or the time of the next work.
    fn wait(&mut self) {
        // While memory is full the queue is not read. It fills up to its own bound, and callers block there.
        // A disconnected channel is always ready, and would make this loop spin. So `never` replaces it.
        let queue = if self.has_room() { self.shared.queue.waiting().clone() } else { never() };
        let replies = if self.sender_is_gone { never() } else { self.sender.replies.clone() };
        let close = if self.closing.is_some() { never() } else { self.shared.close.clone() };
        let alarm = self.next_work_at().map_or_else(never, crossbeam_channel::at);
        select! {
            recv(queue) -> message => {
                message.into_iter().for_each(|message| self.take(message));
                // Takes all waiting messages at once, because each turn of the loop in `run` may write to the
                // disk.
                while self.has_room() && let Some(message) = self.shared.queue.try_take() {
                    self.take(message);
                }
                self.shared.queue.tell_of_room();
            }
            recv(replies) -> reply => match reply {
                Ok(reply) => self.apply(reply),
                Err(_) => {
                    // From now on every event goes to the spool, and stays there for the next process.
                    self.sender_is_gone = true;
                    let why = "the thread that sends to the server ended".into();
                    self.apply(Reply::Away { why, retry_after: None });
                }
            },
            recv(close) -> _ => self.begin_to_close(),
            recv(alarm) -> _ => {}
        }
    }

    /// The time of the next work, even if no message comes.
    fn next_work_at(&self) -> Option<Instant> {
        let oldest = self.memory.front().and_then(|held| held.since.checked_add(self.config.spool_after));
        let spool = match &self.no_room {
            Some((_, again)) => Some(*again),
            None => oldest,
        };
        let something = !self.memory.is_empty() || !self.spool.is_empty();
        let server = self.backoff.until().filter(|_| something && !self.sender_is_gone);
        let spool = spool.filter(|_| !self.memory.is_empty());
        [spool, server, self.closing].into_iter().flatten().min()
    }

    /// Returns whether memory has less than two requests: one under way, and one that is being filled. All
    /// other events wait in the queue, whose bound the caller chose.
    fn has_room(&self) -> bool {
        self.memory.len() < 2 * self.config.request_events
            && self.memory_bytes < 2 * self.config.request_bytes
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Append(item) => {
                self.entered += 1;
                self.memory_bytes += item.line.len();
                self.memory.push_back(Held { item, since: Instant::now() });
            }
            Message::Flush(flush) => self.flushes.push_back((self.entered, flush)),
            Message::Close => self.begin_to_close(),
        }
    }

    /// Moves the events in memory to the spool, if there is a reason for it.
    fn spool_memory(&mut self) {
        let Some(oldest) = self.memory.front() else { return };
        // An event in memory is newer than every event in the spool. It must not be sent before them.
        let must = !self.spool.is_empty()
            || self.backoff.is_away()
            || oldest.since.elapsed() >= self.config.spool_after
            || self.is_too_late();
        let may = self.no_room.as_ref().is_none_or(|(_, again)| *again <= Instant::now());
        if !must || !(may || self.is_too_late()) {
            return;
        }
        // The events of the request under way move together or not at all: its answer is applied either to
        // memory or to the spool.
        let least = if let Some(Flight::Memory(events)) = self.flight { events } else { 1 };
        let lines = self.memory.iter().map(|held| held.item.line.as_str());
        match self.spool.append(lines, least) {
            Ok(count) => {
                self.leave_memory(count);
                if self.memory.is_empty() {
                    self.set_no_room(None);
                }
            }
            // Nothing was taken: all events stay in memory, in order.
            Err(error) => self.set_no_room(Some(error.to_string().into())),
        }
    }

    /// Takes the first events out of memory, because they are in the spool now.
    fn leave_memory(&mut self, count: usize) {
        let asked = if let Some(Flight::Memory(events)) = self.flight { events } else { 0 };
        let mut lines = Vec::with_capacity(asked);
        for (index, Held { item, .. }) in self.memory.drain(..count).enumerate() {
            self.memory_bytes -= item.line.len();
            // The caller learns that the event is on the disk. Its receipt stays open for the server's answer.
            if !item.ack.is_unheard()
                && let Some(ack) = item.ack.spooled()
            {
                self.spooled_receipts.insert(item.event_id, ack);
            }
            if index < asked {
                lines.push(Line { event_id: item.event_id, text: item.line });
            }
        }
        // A request from memory is sent only while the spool is empty. So its events are the front of the
        // spool now.
        if asked > 0 {
            self.flight = Some(Flight::Spool(lines));
        }
        self.safe += count as u64;
        // A sweep looks at every receipt. The next sweep waits until their number has doubled, so the cost
        // for each event stays constant.
        if self.spooled_receipts.len() > self.sweep_above {
            self.spooled_receipts.retain(|_, ack| !ack.is_unheard());
            self.sweep_above = SPOOLED_RECEIPTS_MIN.max(2 * self.spooled_receipts.len());
        }
    }

    /// Sets the reason why the spool takes no events. While there is a reason, the queue refuses events at
    /// once.
    fn set_no_room(&mut self, reason: Option<Arc<str>>) {
        if reason.is_some() || self.no_room.is_some() {
            self.shared.queue.set_refusing(reason.clone().map(|reason| AppendError::NoRoom { reason }));
        }
        self.no_room = reason.map(|reason| (reason, Instant::now() + SPOOL_PAUSE));
    }

    /// Sends a request, if there are events to send and the server may be reachable.
    fn dispatch(&mut self) {
        if self.flight.is_some()
            || self.sender_is_gone
            || self.is_too_late()
            || self.backoff.until().is_some()
        {
            return;
        }
        // The spool is older than memory. Memory is sent below only when the spool is empty.
        while !self.spool.is_empty() {
            match self.spool.head(self.request_events, self.config.request_bytes) {
                Ok(Head::Lines(lines)) => {
                    let events = lines.iter().map(|line| (line.event_id, line.text.as_str()));
                    self.sender.send(Request::of(events));
                    self.flight = Some(Flight::Spool(lines));
                    return;
                }
                Ok(Head::Unreadable(text)) => {
                    let reason = "this line of the spool is not an event: it was cut off while it was \
                                  written, before its receipt reported it as safe, or it was damaged later";
                    let event = text.clone();
                    // The line leaves the spool only once it is kept in `refused.jsonl`.
                    if !self.refuse(&[Refusal { event_id: None, reason: reason.into(), event }]) {
                        return;
                    }
                    self.advance(std::iter::once(text.as_str()));
                }
                // The spool counts events that are in no file any more. `report_missing` sets the count to zero,
                // which ends the loop.
                Ok(Head::Nothing) => self.report_missing(),
                Err(error) => {
                    self.note_error(format!("the spool cannot be read: {error}"));
                    self.backoff.failed(None);
                    return;
                }
            }
        }
        let mut bytes = 0;
        let fits = |held: &&Held| {
            bytes += held.item.line.len();
            // The first event is taken whatever its size, so a large one cannot block the rest forever.
            bytes <= self.config.request_bytes || bytes == held.item.line.len()
        };
        let events = self.memory.iter().take(self.request_events).take_while(fits).count();
        if events > 0 {
            let events_of = self.memory.iter().take(events);
            self.sender
                .send(Request::of(events_of.map(|held| (held.item.event_id, held.item.line.as_str()))));
            self.flight = Some(Flight::Memory(events));
        }
    }

    /// Applies the answer to the request under way.
    fn apply(&mut self, reply: Reply) {
        let Some(flight) = self.flight.take() else { return };
        let events = match &flight {
            Flight::Memory(events) => *events,
            Flight::Spool(lines) => lines.len(),
        };
        let outcomes = match reply {
            Reply::Each(outcomes) => outcomes,
            // The request had one event, so its refusal is the refusal of that event.
            Reply::Whole(why) if events <= 1 => vec![Err(why)],
            Reply::Whole(_) => {
                // It is not known which event was refused, so the same events are sent again in smaller
                // requests. Halving ends at a request of one event.
                self.request_events = events / 2;
                return;
            }
            Reply::Away { why, retry_after } => {
                // `flight` is empty now, and its events are still at the front: the next request takes them again.
                self.backoff.failed(retry_after);
                self.shared.status.set_last_error(Some(why));
                return;
            }
        };
        self.backoff.answered();
        self.shared.status.set_last_error(None);
        self.request_events = self.config.request_events.min(self.request_events.saturating_mul(2));
        // A refused event leaves only once it is kept in `refused.jsonl`. If that fails, only the events
        // before it leave. A crash in between sends the event again; at worst its refusal is kept twice.
        let refused = self.refused_of(&flight, &outcomes);
        let settled = match outcomes.iter().position(Result::is_err) {
            Some(first) if !self.refuse(&refused) => first,
            _ => events,
        };
        // Receipts are answered before the spool moves on. After a crash in between, these events are sent
        // again, and the server recognizes their ids.
        let acks: Vec<Option<Ack>> = match &flight {
            Flight::Spool(lines) => {
                lines.iter().take(settled).map(|line| self.spooled_receipts.remove(&line.event_id)).collect()
            }
            Flight::Memory(_) => {
                let held = self.memory.drain(..settled).map(|Held { item, .. }| {
                    self.memory_bytes -= item.line.len();
                    Some(item.ack)
                });
                held.collect()
            }
        };
        for (ack, outcome) in acks.into_iter().zip(outcomes) {
            let outcome = outcome.map_err(|reason| {
                let error = AppendError::Rejected { reason };
                self.unflushed.get_or_insert(error).clone()
            });
            if let Some(ack) = ack {
                ack.send(outcome);
            }
        }
        match flight {
            Flight::Spool(lines) => {
                let sent = lines.get(..settled).unwrap_or(&lines);
                if !sent.is_empty() {
                    self.advance(sent.iter().map(|line| line.text.as_str()));
                }
            }
            Flight::Memory(_) => {
                self.safe += settled as u64;
                self.left += settled as u64;
            }
        }
        match &mut self.no_room {
            // Events left the spool or memory, so there may be room, and the next attempt need not wait.
            Some(_) if self.memory.is_empty() => self.set_no_room(None),
            Some((_, again)) => *again = Instant::now(),
            None => {}
        }
    }

    /// Removes lines from the front of the spool.
    fn advance<'l>(&mut self, lines: impl ExactSizeIterator<Item = &'l str>) {
        // The server has these events even if the spool cannot record it. At worst they are sent again.
        self.left += lines.len() as u64;
        if let Err(error) = self.spool.advance(lines) {
            self.note_error(format!(
                "the spool cannot be written, so events that were sent may be sent again: {error}"
            ));
        }
    }

    fn refused_of(&self, flight: &Flight, outcomes: &[Result<Appended, Arc<str>>]) -> Vec<Refusal> {
        let refusal = |event_id, text: &str, outcome: &Result<_, Arc<str>>| {
            let reason = outcome.as_ref().err()?.clone();
            Some(Refusal { event_id: Some(event_id), reason, event: text.to_owned() })
        };
        match flight {
            Flight::Memory(events) => {
                let held = self.memory.iter().take(*events).zip(outcomes);
                held.filter_map(|(Held { item, .. }, outcome)| refusal(item.event_id, &item.line, outcome))
                    .collect()
            }
            Flight::Spool(lines) => {
                let lines = lines.iter().zip(outcomes);
                lines.filter_map(|(line, outcome)| refusal(line.event_id, &line.text, outcome)).collect()
            }
        }
    }

    /// Writes refusals to `refused.jsonl`. Returns false if that fails; the events are then sent again later.
    fn refuse(&mut self, refusals: &[Refusal]) -> bool {
        match self.refusals.add(refusals) {
            Ok(()) => {
                self.shared.status.add_refused(refusals.len() as u64);
                true
            }
            Err(error) => {
                self.note_error(format!(
                    "refused.jsonl in the spool cannot be written; free space on its disk: {error}"
                ));
                self.backoff.failed(None);
                false
            }
        }
    }

    /// Reports events that are gone from the spool, to their receipts and to the next flush.
    fn report_missing(&mut self) {
        let lost = self.spool.give_up();
        self.left += lost;
        self.shared.status.add_refused(lost);
        let reason: Arc<str> =
            format!("{lost} events are no longer in the spool: another program changed it").into();
        let error = AppendError::NotWritten { reason: reason.clone() };
        // The spool is empty now, so every receipt that is left belongs to an event that is gone.
        for (_, ack) in self.spooled_receipts.drain() {
            ack.send(Err(error.clone()));
        }
        self.unflushed.get_or_insert(error);
        self.shared.status.set_last_error(Some(reason));
    }

    fn note_error(&self, error: String) {
        self.shared.status.set_last_error(Some(error.into()));
    }

    /// Publishes the state, and answers the flushes that have reached their goal.
    fn publish(&mut self) {
        self.shared.status.set_spooled(self.spool.events());
        // Every flush is looked at: one that waits for the disk may be done before an older one that waits
        // for the server.
        while let Some(index) = self.flushes.iter().position(|(goal, flush)| match flush.until {
            Until::Safe => self.safe >= *goal,
            Until::Sent => self.left >= *goal,
        }) {
            let Some((_, flush)) = self.flushes.remove(index) else { break };
            let answer = self.unflushed.take().map_or(Ok(self.flushed()), Err);
            if let Err(unsent) = flush.answer.send(answer) {
                // The caller no longer waits for this flush, so the next flush returns the error.
                self.unflushed = unsent.into_inner().err();
            }
        }
    }

    fn flushed(&self) -> Flushed {
        Flushed { spooled: self.spool.events() }
    }

    /// Begins to close. The queue is closed first and then emptied, so that no event that a caller put in
    /// before is left in it.
    fn begin_to_close(&mut self) {
        self.closing = Some(Instant::now() + self.config.close_timeout);
        self.shared.queue.close();
        self.take_all();
    }

    fn take_all(&mut self) {
        while let Some(message) = self.shared.queue.try_take() {
            self.take(message);
        }
        self.shared.queue.tell_of_room();
    }

    /// Returns whether the deadline of closing has passed.
    fn is_too_late(&self) -> bool {
        self.closing.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Returns whether closing has begun and further waiting is useless.
    fn is_done(&self) -> bool {
        let nothing_left = self.memory.is_empty() && self.spool.is_empty();
        // Events that found no room in the spool are lost with the process, so they wait for the server
        // until the deadline.
        let hopeless = self.sender_is_gone || (self.backoff.is_away() && self.memory.is_empty());
        let idle = self.flight.is_none() && (nothing_left || hopeless);
        self.closing.is_some() && (idle || self.is_too_late())
    }

    /// Ends the client: every event is either kept or answered with an error.
    fn end(mut self) -> Result<Flushed, CloseError> {
        // A caller that passed the check before `close` may have put in one more event.
        self.take_all();
        // A deadline that is over makes `spool_memory` write at once, without the pause after a failure.
        self.closing = Some(Instant::now());
        self.spool_memory();
        self.publish();
        let lost = self.memory.len() as u64;
        let reason =
            self.no_room.as_ref().map_or_else(|| "the client was closed".into(), |(why, _)| why.clone());
        for held in self.memory.drain(..) {
            held.item.ack.send(Err(AppendError::NotWritten { reason: Arc::clone(&reason) }));
        }
        self.shared.status.add_refused(lost);
        for (_, ack) in self.spooled_receipts.drain() {
            ack.send(Err(AppendError::Spooled));
        }
        let flushed = self.flushed();
        for (_, flush) in self.flushes.drain(..) {
            // An event that this flush was to wait for may be among those that are lost.
            let answer = match self.unflushed.take() {
                Some(error) => Err(error),
                None if lost > 0 => Err(AppendError::NotWritten { reason: Arc::clone(&reason) }),
                None => Ok(flushed),
            };
            let _ = flush.answer.send(answer);
        }
        // From here on, the caller that puts a message into the queue also answers it.
        self.shared.queue.end(AppendError::Closed);
        // The thread is not joined while it waits for the server: its timeout may be longer than that of closing.
        self.sender.end(self.flight.is_some());
        if lost > 0 { Err(CloseError::NotKept { events: lost, reason }) } else { Ok(flushed) }
    }
}
