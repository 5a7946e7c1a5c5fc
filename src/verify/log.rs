//! The walk along the log: one thread reads, the others check, and the results are put together in
//! order.
//!
//! A row's link is checked against the stored link before it. If that holds for every row the chain
//! is one line, so rows can be checked in any order and by several threads.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, OptionalExtension};

use super::chunk::Chunk;
use super::report::{BackwardSteps, Check, Failure, Redaction};
use super::row::{self, Before, Fault, RowRef};
use super::tree::{Piece, Tree, Wanted};
use super::{VerifyError, is_damage};
use crate::entry::Entry;
use crate::event::{Digest, Event, EventId, KeyChanged, Seq, Timestamp, is_reserved};
use crate::merkle::{RangeError, leaf_hash_of};

/// What the walk found.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) events: u64,
    pub(super) head: Option<Digest>,
    pub(super) log_id: Option<EventId>,
    pub(super) origin: Option<String>,
    pub(super) first_recorded_at: Option<Timestamp>,
    pub(super) last_recorded_at: Option<Timestamp>,
    pub(super) failure: Option<Failure>,
    pub(super) redactions: Vec<Redaction>,
    pub(super) backward_steps: BackwardSteps,
    pub(super) events_lost: u64,
    /// Projection, version and event.
    pub(super) skips: BTreeSet<(String, u32, u64)>,
    pub(super) key_changes: Vec<(Seq, KeyChanged)>,
    /// The events that say what became of API keys.
    pub(super) api_keys: BTreeSet<u64>,
    /// The tree of the events up to the first bad one, if it was asked for.
    pub(super) tree: Option<Tree>,
    /// Rows that were read.
    pub(super) rows_read: u64,
}

/// Where a walk begins.
pub(super) struct Start {
    /// Events before it, which are not walked along.
    pub(super) events: u64,
    /// The link of the last of them.
    pub(super) hash: Digest,
    /// Their tree, if roots are wanted.
    pub(super) tree: Option<Tree>,
}

impl Start {
    /// At the first event.
    pub(super) fn first(wanted: Option<&Wanted>) -> Start {
        Start { events: 0, hash: Digest::ZERO, tree: wanted.map(|wanted| Tree::new(wanted.clone())) }
    }
}

/// What the check of a chunk says, in the order of its rows.
#[derive(Default)]
struct Checked {
    rows: u64,
    bytes_of_last_hash: Vec<u8>,
    first_bad: Option<Fault>,
    /// Rows up to the first bad one whose payload is NULL.
    redacted: Vec<i64>,
    licences: Vec<(i64, Vec<u64>)>,
    own: Vec<(i64, Event)>,
    first: Option<(EventId, Timestamp)>,
    last_recorded_at: Option<Timestamp>,
    first_recorded_at: Option<Timestamp>,
    backward_steps: BackwardSteps,
    /// The leaves up to the first bad row, if a tree is made of them.
    leaves: Option<Piece>,
}

fn check(chunk: &Chunk, wanted: Option<&Wanted>) -> Checked {
    let mut checked = Checked { rows: chunk.rows.len() as u64, ..Checked::default() };
    checked.leaves = wanted.map(|_| Piece::after(Seq::from_sql(chunk.before_seq).get()));
    let mut before = Before { seq: chunk.before_seq, hash: &chunk.before_hash };
    for at in &chunk.rows {
        let row = chunk.row(at);
        if checked.first_bad.is_none() {
            match row::check(before, row) {
                Ok(good) => {
                    if let (Some(leaves), Some(wanted)) = (&mut checked.leaves, wanted) {
                        leaves.push(leaf_hash_of(&[before.hash, row.entry]), wanted);
                    }
                    checked.add(row, good.entry, good.own);
                }
                Err(fault) => {
                    if fault.check == Check::Link && row.payload.is_none() {
                        checked.redacted.push(row.seq);
                    }
                    checked.first_bad = Some(fault);
                }
            }
        }
        if checked.first_bad.is_some() {
            checked.licences.extend(row::licence(row));
        }
        before = Before { seq: row.seq, hash: row.hash };
    }
    checked.bytes_of_last_hash = before.hash.to_vec();
    checked
}

impl Checked {
    fn add(&mut self, row: RowRef<'_>, entry: Entry, own: Option<Event>) {
        if row.payload.is_none() {
            self.redacted.push(row.seq);
        }
        if self.last_recorded_at.is_some_and(|last| entry.recorded_at < last) {
            self.backward_steps.count += 1;
            self.backward_steps.first.get_or_insert(Seq::from_sql(row.seq));
        }
        self.last_recorded_at = Some(entry.recorded_at);
        self.first_recorded_at.get_or_insert(entry.recorded_at);
        if entry.seq == 1 {
            self.first = Some((entry.event_id, entry.recorded_at));
        }
        if let Some(event) = own {
            if let Event::PayloadRedacted(redacted) = &event {
                self.licences.push((row.seq, redacted.seqs.clone()));
            }
            self.own.push((row.seq, event));
        }
    }
}

/// Walks along the log to its end, on as many threads as there are processors, or as the system lets
/// start.
pub(super) fn walk(
    connection: &Connection,
    start: Start,
    progress: &mut dyn FnMut(u64),
) -> Result<Walk, VerifyError> {
    let first = Chunk::after(Seq::new(start.events), &start.hash);
    let wanted = start.tree.as_ref().map(Tree::wanted);
    let walk = Walk { events: start.events, tree: start.tree, ..Walk::default() };
    let merge = Merge { walk, ..Merge::default() };
    std::thread::scope(|scope| {
        let mut checkers = Checkers::start(scope, merge, wanted);
        let read = read_chunks(connection, first, &mut checkers, progress);
        checkers.finish()?.finish(connection, read?)
    })
}

/// The threads that check, and the results, which are put together as they come.
struct Checkers {
    /// None if not one thread could be started: then the reading thread checks too.
    chunks: Option<Sender<(usize, Chunk)>>,
    results: Receiver<(usize, Checked)>,
    /// The place of the next chunk.
    next: usize,
    merge: Merge,
    /// The roots that are wanted, if a tree is made.
    wanted: Option<Wanted>,
}

impl Checkers {
    fn start<'s>(scope: &'s Scope<'s, '_>, merge: Merge, wanted: Option<Wanted>) -> Checkers {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (chunks, work) = crossbeam_channel::bounded::<(usize, Chunk)>(2 * threads);
        let (done, results) = crossbeam_channel::unbounded::<(usize, Checked)>();
        let is_started = |_: &usize| {
            let (work, done, wanted) = (work.clone(), done.clone(), wanted.clone());
            let thread = std::thread::Builder::new().name("annals-verify".to_owned());
            thread.spawn_scoped(scope, move || check_all(&work, &done, wanted.as_ref())).is_ok()
        };
        let started = (0..threads).take_while(is_started).count();
        Checkers { chunks: (started > 0).then_some(chunks), results, next: 0, merge, wanted }
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), VerifyError> {
        let place = self.next;
        self.next += 1;
        match &self.chunks {
            None => self.merge.take(place, check(&chunk, self.wanted.as_ref()))?,
            Some(chunks) => chunks.send((place, chunk)).map_err(|_| VerifyError::ThreadGone)?,
        }
        while let Ok((place, checked)) = self.results.try_recv() {
            self.merge.take(place, checked)?;
        }
        Ok(())
    }

    /// Waits for the last results.
    fn finish(mut self) -> Result<Merge, VerifyError> {
        // The threads end when no chunk can come any more.
        self.chunks = None;
        for (place, checked) in &self.results {
            self.merge.take(place, checked)?;
        }
        Ok(self.merge)
    }
}

fn check_all(work: &Receiver<(usize, Chunk)>, done: &Sender<(usize, Checked)>, wanted: Option<&Wanted>) {
    for (place, chunk) in work {
        if done.send((place, check(&chunk, wanted))).is_err() {
            return;
        }
    }
}

/// How the reading ended.
enum ReadTo {
    End,
    /// The file is damaged after this row.
    Damage {
        after: i64,
        error: String,
    },
}

fn read_chunks(
    connection: &Connection,
    first: Chunk,
    checkers: &mut Checkers,
    progress: &mut dyn FnMut(u64),
) -> Result<ReadTo, VerifyError> {
    let damage = |chunk: &Chunk, error: rusqlite::Error| match is_damage(&error) {
        true => Ok(ReadTo::Damage {
            after: chunk.rows.last().map_or(chunk.before_seq, |row| row.seq),
            error: error.to_string(),
        }),
        false => Err(VerifyError::Sqlite(error)),
    };
    let mut chunk = first;
    // No event is before the first, and if one is it must be seen.
    let from = if chunk.before_seq == 0 { i64::MIN } else { chunk.before_seq.saturating_add(1) };
    let sql = "SELECT seq, event_id, entry, payload, hash FROM log WHERE seq >= ?1 ORDER BY seq";
    let mut statement = match connection.prepare(sql) {
        Ok(statement) => statement,
        Err(error) => return damage(&chunk, error),
    };
    let mut rows = statement.query([from])?;
    let mut ended = ReadTo::End;
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                if let Err(error) = chunk.push(row) {
                    ended = damage(&chunk, error)?;
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                ended = damage(&chunk, error)?;
                break;
            }
        }
        if chunk.is_full() {
            let next = chunk.next();
            progress(chunk.rows.len() as u64);
            checkers.take(std::mem::replace(&mut chunk, next))?;
        }
    }
    progress(chunk.rows.len() as u64);
    checkers.take(chunk)?;
    Ok(ended)
}

/// Puts the results together in the order of the log.
#[derive(Default)]
struct Merge {
    early: BTreeMap<usize, Checked>,
    next: usize,
    walk: Walk,
    last_hash: Vec<u8>,
    first_bad: Option<Fault>,
    /// NULL payloads that no licence was found for yet.
    unlicensed: BTreeSet<i64>,
    /// Every licence, also behind the first bad row.
    licences: Vec<(i64, Vec<u64>)>,
}

impl Merge {
    fn take(&mut self, place: usize, checked: Checked) -> Result<(), RangeError> {
        self.early.insert(place, checked);
        while let Some(checked) = self.early.remove(&self.next) {
            self.next += 1;
            self.add(checked)?;
        }
        Ok(())
    }

    fn add(&mut self, checked: Checked) -> Result<(), RangeError> {
        self.walk.events += checked.rows;
        self.walk.rows_read += checked.rows;
        self.last_hash = checked.bytes_of_last_hash;
        if self.first_bad.is_some() {
            self.licences.extend(checked.licences);
            return Ok(());
        }
        if let (Some(tree), Some(leaves)) = (&mut self.walk.tree, checked.leaves) {
            tree.append(leaves)?;
        }
        if let (Some(last), Some(first)) = (self.walk.last_recorded_at, checked.first_recorded_at)
            && first < last
        {
            self.walk.backward_steps.count += 1;
        }
        self.walk.backward_steps.count += checked.backward_steps.count;
        if self.walk.backward_steps.first.is_none() {
            self.walk.backward_steps.first = checked.backward_steps.first;
        }
        if let Some((log_id, recorded_at)) = checked.first {
            self.walk.log_id = Some(log_id);
            self.walk.first_recorded_at = Some(recorded_at);
        }
        self.walk.last_recorded_at = checked.last_recorded_at.or(self.walk.last_recorded_at);
        self.unlicensed.extend(checked.redacted);
        self.licences.extend(checked.licences);
        for (seq, event) in checked.own {
            self.add_own(Seq::from_sql(seq), event);
        }
        self.first_bad = checked.first_bad;
        Ok(())
    }

    fn add_own(&mut self, seq: Seq, event: Event) {
        match event {
            Event::LogCreated(created) => self.walk.origin = Some(created.origin),
            Event::EventsLost(lost) => {
                self.walk.events_lost = self.walk.events_lost.saturating_add(lost.count)
            }
            Event::ProjectionSkipped(skipped) => {
                self.walk.skips.insert((skipped.projection, skipped.version, skipped.seq));
            }
            Event::PayloadRedacted(redacted) => self.walk.redactions.push(Redaction {
                licence: seq,
                actor: redacted.actor,
                reason: redacted.reason,
                authority: redacted.authority,
                seqs: redacted.seqs,
            }),
            Event::KeyChanged(changed) => self.walk.key_changes.push((seq, changed)),
            Event::ApiKeyCreated(_) | Event::ApiKeyRevoked(_) => {
                self.walk.api_keys.insert(seq.get());
            }
            _ => {}
        }
    }

    /// Judges the redactions, and names the first bad row.
    fn finish(mut self, connection: &Connection, read: ReadTo) -> Result<Walk, VerifyError> {
        let mut first_bad = self.first_bad.take();
        for (licence, seqs) in std::mem::take(&mut self.licences) {
            let problem = match licence_problem(connection, licence, &seqs)? {
                LicenceProblem::None => None,
                LicenceProblem::StillThere(problem) => Some((problem, true)),
                LicenceProblem::Invalid(problem) => Some((problem, false)),
            };
            if problem.as_ref().is_none_or(|(_, is_valid)| *is_valid) {
                for seq in seqs {
                    self.unlicensed.remove(&i64::try_from(seq).unwrap_or(i64::MAX));
                }
            }
            let redaction_comes_first = first_bad.as_ref().is_none_or(|fault| {
                licence < fault.seq || (licence == fault.seq && fault.check == Check::Link)
            });
            if let Some((detail, _)) = problem.filter(|_| redaction_comes_first) {
                first_bad = Some(Fault { seq: licence, check: Check::Redaction, detail });
            }
        }
        // A licence may lie where the file cannot be read.
        if let (Some(&seq), ReadTo::End) = (self.unlicensed.first(), &read)
            && first_bad.as_ref().is_none_or(|fault| seq <= fault.seq)
        {
            let detail = "the payload is gone, and no redaction is recorded that allows it".to_owned();
            first_bad = Some(Fault { seq, check: Check::Redaction, detail });
        }
        if let Some(fault) = &first_bad {
            self.walk.key_changes.retain(|(seq, _)| seq.to_sql() < fault.seq);
        }
        self.walk.failure = first_bad.map(|fault| Failure {
            check: fault.check,
            seq: Some(Seq::from_sql(fault.seq)),
            affected: format!("event {}; the events after it were not judged", fault.seq),
            detail: fault.detail,
        });
        if self.walk.failure.is_none() {
            self.walk.failure = match read {
                ReadTo::End if self.walk.events == 0 => Some(Failure {
                    check: Check::Sequence,
                    seq: Some(Seq::FIRST),
                    detail: "the log has no events, not even the first, which says that it was created"
                        .to_owned(),
                    affected: "the whole log".to_owned(),
                }),
                ReadTo::End => None,
                ReadTo::Damage { after, error } => Some(Failure {
                    check: Check::Damage,
                    seq: None,
                    detail: format!("the file cannot be read on after event {after}: {error}"),
                    affected: format!("every event after {after}"),
                }),
            };
        }
        self.walk.head = <[u8; 32]>::try_from(self.last_hash.as_slice()).ok().map(Digest::from_bytes);
        Ok(self.walk)
    }
}

/// What is wrong with a licence.
enum LicenceProblem {
    None,
    /// It is valid, and a payload that it names is still there.
    StillThere(String),
    /// It names what no licence can, and licenses nothing.
    Invalid(String),
}

fn licence_problem(
    connection: &Connection,
    licence: i64,
    seqs: &[u64],
) -> Result<LicenceProblem, VerifyError> {
    let mut still_there = None;
    for &seq in seqs {
        let Some(number) = i64::try_from(seq).ok().filter(|number| (1..licence).contains(number)) else {
            let problem = format!("it redacts event {seq}, which is not an event earlier than itself");
            return Ok(LicenceProblem::Invalid(problem));
        };
        let named = connection
            .prepare_cached("SELECT event_id, entry, payload IS NOT NULL FROM log WHERE seq = ?1")?
            .query_row([number], |row| {
                let (event_id, entry): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
                Ok((row::own_entry(number, &event_id, &entry), row.get(2)?))
            })
            .optional();
        match named {
            // A row that is missing, or cannot be read, has a failure of its own.
            Ok(None) => {}
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error.into()),
            Ok(Some((entry, is_there))) => {
                if entry.is_some_and(|entry| is_reserved(entry.kind)) {
                    let problem = format!("it redacts event {seq}, which can never be redacted");
                    return Ok(LicenceProblem::Invalid(problem));
                }
                if is_there {
                    still_there.get_or_insert(seq);
                }
            }
        }
    }
    Ok(match still_there {
        Some(seq) => {
            LicenceProblem::StillThere(format!("it redacts event {seq}, whose payload is still there"))
        }
        None => LicenceProblem::None,
    })
}
