//! The thread between the callers and the server: what it holds in memory, and when it goes to the disk.
//!
//! Events stay in one order all the way: first the spool, then what is in memory, then the queue. A
//! request takes events from the front, and they leave only with its answer. Memory goes to the spool when
//! the server is away, when there is something in the spool already, and when an event has waited for
//! too long: so an event is in memory alone for a bounded time, and nothing here waits for the network.

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
use super::status::Status;
use crate::event::EventId;
use crate::receipt::{Ack, AppendError, Appended};

/// Least time between two attempts to write to a spool that takes nothing.
const SPOOL_PAUSE: Duration = Duration::from_secs(1);

/// Receipts of spooled events above which those that nobody holds any more are looked for.
const HEARD_MIN: usize = 1_024;

/// How the courier works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) request_events: usize,
    pub(super) request_bytes: usize,
    pub(super) spool_after: Duration,
    pub(super) close_patience: Duration,
}

/// What the courier shares with the callers.
pub(super) struct Shared {
    pub(super) queue: Arc<Queue>,
    pub(super) status: Arc<Status>,
    /// Told to close, or disconnected.
    pub(super) close: Receiver<()>,
}

struct Held {
    item: Item,
    since: Instant,
}

/// What the request under way is about: so many events at the front of the memory, or these at the front
/// of the spool.
enum Flight {
    Memory(usize),
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
    /// Receipts of events in the spool that somebody may still wait for.
    heard: HashMap<EventId, Ack>,
    heard_max: usize,
    backoff: Backoff,
    /// Events of the next request: fewer after one that was too large.
    request_events: usize,
    /// Why the spool takes nothing, and when it is tried again.
    no_room: Option<(Arc<str>, Instant)>,
    /// Events that came, those in the spool at the start included; of these, how many are safe, and how
    /// many are gone. All three follow the one order.
    entered: u64,
    safe: u64,
    left: u64,
    flushes: VecDeque<(u64, Flush)>,
    /// What was refused and nobody has heard of by a flush.
    unflushed: Option<AppendError>,
    /// When closing gives up, if it was told to close.
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
            heard: HashMap::new(),
            heard_max: HEARD_MIN,
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

    /// Works until it is told to close.
    pub(super) fn run(mut self) -> Result<Flushed, CloseError> {
        loop {
            self.keep();
            self.dispatch();
            self.tell();
            if self.is_done() {
                return self.end();
            }
            self.wait();
        }
    }

    /// Waits for whatever is next.
    fn wait(&mut self) {
        let queue = if self.has_room() { self.shared.queue.waiting().clone() } else { never() };
        let replies = if self.sender_is_gone { never() } else { self.sender.replies.clone() };
        let close = if self.closing.is_some() { never() } else { self.shared.close.clone() };
        let alarm = self.next_look().map_or_else(never, crossbeam_channel::at);
        select! {
            recv(queue) -> message => {
                message.into_iter().for_each(|message| self.take(message));
                while self.has_room() && let Some(message) = self.shared.queue.try_take() {
                    self.take(message);
                }
                self.shared.queue.tell_of_room();
            }
            recv(replies) -> reply => match reply {
                Ok(reply) => self.hear(reply),
                Err(_) => {
                    self.sender_is_gone = true;
                    let why = "the thread that asks the server ended".into();
                    self.hear(Reply::Away { why, retry_after: None });
                }
            },
            recv(close) -> _ => self.begin_to_close(),
            recv(alarm) -> _ => {}
        }
    }

    /// When something is to be done even if nothing comes.
    fn next_look(&self) -> Option<Instant> {
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

    /// Twice a request: one under way, and one that gathers meanwhile. What is more waits in the queue,
    /// whose bound the callers chose.
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

    /// Moves what is in memory to the spool, if it must go there.
    fn keep(&mut self) {
        let Some(oldest) = self.memory.front() else { return };
        let must = !self.spool.is_empty()
            || self.backoff.is_away()
            || oldest.since.elapsed() >= self.config.spool_after
            || self.is_too_late();
        let may = self.no_room.as_ref().is_none_or(|(_, again)| *again <= Instant::now());
        if !must || !(may || self.is_too_late()) {
            return;
        }
        // A request is about the front of one of them: its events go together.
        let least = if let Some(Flight::Memory(events)) = self.flight { events } else { 1 };
        let lines = self.memory.iter().map(|held| held.item.line.as_str());
        match self.spool.append(lines, least) {
            Ok(count) => {
                self.moved(count);
                if self.memory.is_empty() {
                    self.set_no_room(None);
                }
            }
            Err(error) => self.set_no_room(Some(error.to_string().into())),
        }
    }

    /// The first events in memory are in the spool now.
    fn moved(&mut self, count: usize) {
        let asked = if let Some(Flight::Memory(events)) = self.flight { events } else { 0 };
        let mut lines = Vec::with_capacity(asked);
        for (place, Held { item, .. }) in self.memory.drain(..count).enumerate() {
            self.memory_bytes -= item.line.len();
            if !item.ack.is_unheard()
                && let Some(ack) = item.ack.spooled()
            {
                self.heard.insert(item.event_id, ack);
            }
            if place < asked {
                lines.push(Line { event_id: item.event_id, text: item.line });
            }
        }
        if asked > 0 {
            self.flight = Some(Flight::Spool(lines));
        }
        self.safe += count as u64;
        if self.heard.len() > self.heard_max {
            self.heard.retain(|_, ack| !ack.is_unheard());
            self.heard_max = HEARD_MIN.max(2 * self.heard.len());
        }
    }

    /// Callers hear at once that nothing more can be kept, and when it can again.
    fn set_no_room(&mut self, reason: Option<Arc<str>>) {
        if reason.is_some() || self.no_room.is_some() {
            self.shared.queue.set_refusing(reason.clone().map(|reason| AppendError::NoRoom { reason }));
        }
        self.no_room = reason.map(|reason| (reason, Instant::now() + SPOOL_PAUSE));
    }

    /// Sends a request, if there is something to send and the server may be there.
    fn dispatch(&mut self) {
        if self.flight.is_some()
            || self.sender_is_gone
            || self.is_too_late()
            || self.backoff.until().is_some()
        {
            return;
        }
        while !self.spool.is_empty() {
            match self.spool.head(self.request_events, self.config.request_bytes) {
                Ok(Head::Lines(lines)) => {
                    let events = lines.iter().map(|line| (line.event_id, line.text.as_str()));
                    self.sender.send(Request::of(events));
                    self.flight = Some(Flight::Spool(lines));
                    return;
                }
                Ok(Head::Unreadable(text)) => {
                    let reason = "this line of the spool is no event: cut off while it was written, before \
                                  anybody was told that it is safe, or damaged later";
                    let event = text.clone();
                    if !self.refuse(&[Refusal { event_id: None, reason: reason.into(), event }]) {
                        return;
                    }
                    self.advance(std::iter::once(text.as_str()));
                }
                Ok(Head::Nothing) => self.miss(),
                Err(error) => {
                    self.trouble(format!("the spool cannot be read: {error}"));
                    self.backoff.failed(None);
                    return;
                }
            }
        }
        let mut bytes = 0;
        let fits = |held: &&Held| {
            bytes += held.item.line.len();
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

    fn hear(&mut self, reply: Reply) {
        let Some(flight) = self.flight.take() else { return };
        let events = match &flight {
            Flight::Memory(events) => *events,
            Flight::Spool(lines) => lines.len(),
        };
        let outcomes = match reply {
            Reply::Each(outcomes) => outcomes,
            Reply::Whole(why) if events <= 1 => vec![Err(why)],
            Reply::Whole(_) => {
                // Which of them it is shows by sending fewer.
                self.request_events = events / 2;
                return;
            }
            Reply::Away { why, retry_after } => {
                self.backoff.failed(retry_after);
                self.shared.status.set_trouble(Some(why));
                return;
            }
        };
        self.backoff.answered();
        self.shared.status.set_trouble(None);
        self.request_events = self.config.request_events.min(self.request_events.saturating_mul(2));
        // An event that was refused leaves only once it is kept. Until then those before it do.
        let refused = self.refused_of(&flight, &outcomes);
        let settled = match outcomes.iter().position(Result::is_err) {
            Some(first) if !self.refuse(&refused) => first,
            _ => events,
        };
        let acks: Vec<Option<Ack>> = match &flight {
            Flight::Spool(lines) => {
                lines.iter().take(settled).map(|line| self.heard.remove(&line.event_id)).collect()
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
            Some(_) if self.memory.is_empty() => self.set_no_room(None),
            Some((_, again)) => *again = Instant::now(),
            None => {}
        }
    }

    /// Goes past lines at the front of the spool.
    fn advance<'l>(&mut self, lines: impl ExactSizeIterator<Item = &'l str>) {
        self.left += lines.len() as u64;
        if let Err(error) = self.spool.advance(lines) {
            self.trouble(format!("the spool cannot be written; what was sent may be sent again: {error}"));
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
                held.filter_map(|(Held { item, .. }, it)| refusal(item.event_id, &item.line, it)).collect()
            }
            Flight::Spool(lines) => {
                let lines = lines.iter().zip(outcomes);
                lines.filter_map(|(line, it)| refusal(line.event_id, &line.text, it)).collect()
            }
        }
    }

    /// Keeps what was refused, and says whether that worked. If not, everything is tried again later.
    fn refuse(&mut self, refusals: &[Refusal]) -> bool {
        match self.refusals.add(refusals) {
            Ok(()) => {
                self.shared.status.add_refused(refusals.len() as u64);
                true
            }
            Err(error) => {
                self.trouble(format!("refused.jsonl in the spool cannot be written; make room: {error}"));
                self.backoff.failed(None);
                false
            }
        }
    }

    /// Owns up to events of the spool that are gone: to their receipts, and to the next flush.
    fn miss(&mut self) {
        let lost = self.spool.give_up();
        self.left += lost;
        self.shared.status.add_refused(lost);
        let reason: Arc<str> =
            format!("{lost} events are not in the spool any more: somebody else changed it").into();
        let error = AppendError::NotWritten { reason: reason.clone() };
        // Events of the spool that are not gone were answered before.
        for (_, ack) in self.heard.drain() {
            ack.send(Err(error.clone()));
        }
        self.unflushed.get_or_insert(error);
        self.shared.status.set_trouble(Some(reason));
    }

    fn trouble(&self, what: String) {
        self.shared.status.set_trouble(Some(what.into()));
    }

    /// Says how far it is to those who ask and those who wait.
    fn tell(&mut self) {
        self.shared.status.set_spooled(self.spool.events());
        while let Some(place) = self.flushes.iter().position(|(goal, flush)| match flush.until {
            Until::Safe => self.safe >= *goal,
            Until::Sent => self.left >= *goal,
        }) {
            let Some((_, flush)) = self.flushes.remove(place) else { break };
            let answer = self.unflushed.take().map_or(Ok(self.flushed()), Err);
            // The caller no longer waits for the flush; there is nobody to notify.
            let _ = flush.answer.send(answer);
        }
    }

    fn flushed(&self) -> Flushed {
        Flushed { spooled: self.spool.events() }
    }

    fn begin_to_close(&mut self) {
        self.closing = Some(Instant::now() + self.config.close_patience);
        self.shared.queue.close();
        self.take_all();
    }

    fn take_all(&mut self) {
        while let Some(message) = self.shared.queue.try_take() {
            self.take(message);
        }
        self.shared.queue.tell_of_room();
    }

    /// Whether closing has waited long enough.
    fn is_too_late(&self) -> bool {
        self.closing.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Whether it was told to close, and waiting is of no more use.
    fn is_done(&self) -> bool {
        let nothing_left = self.memory.is_empty() && self.spool.is_empty();
        // What found no room in the spool is lost with the process: that waits for the server as long as it may.
        let hopeless = self.sender_is_gone || (self.backoff.is_away() && self.memory.is_empty());
        let idle = self.flight.is_none() && (nothing_left || hopeless);
        self.closing.is_some() && (idle || self.is_too_late())
    }

    fn end(mut self) -> Result<Flushed, CloseError> {
        self.take_all();
        self.closing = Some(Instant::now());
        self.keep();
        self.tell();
        let lost = self.memory.len() as u64;
        let reason =
            self.no_room.as_ref().map_or_else(|| "the client was closed".into(), |(why, _)| why.clone());
        for held in self.memory.drain(..) {
            held.item.ack.send(Err(AppendError::NotWritten { reason: Arc::clone(&reason) }));
        }
        self.shared.status.add_refused(lost);
        for (_, ack) in self.heard.drain() {
            ack.send(Err(AppendError::Spooled));
        }
        let flushed = self.flushed();
        for (_, flush) in self.flushes.drain(..) {
            let _ = flush.answer.send(Ok(flushed));
        }
        self.shared.queue.end(AppendError::Closed);
        self.sender.end(self.flight.is_some());
        if lost > 0 { Err(CloseError::NotKept { events: lost, reason }) } else { Ok(flushed) }
    }
}
