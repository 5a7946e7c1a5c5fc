//! The walk along the log: one thread reads, the others check, and the results are put together in
//! order.
//!
//! A row's link is checked against the stored link before it. If that holds for every row the chain
//! is one line, so rows can be checked in any order and by several threads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use super::VerifyError;
use super::report::{BackwardSteps, Check, Failure, Redaction};
use super::row::{self, Before, Fault, RowRef};
use crate::entry::Entry;
use crate::event::{Digest, Event, EventId, Seq, Timestamp, is_reserved};
use crate::log::rows::seq_from_sql;

/// Rows and bytes that are handed from thread to thread at once: enough that handing over costs
/// nothing, little enough that memory stays flat.
const CHUNK_ROWS: usize = 1_024;
const CHUNK_BYTES: usize = 1 << 20;

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
}

/// Rows in one piece of memory.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    rows: Vec<StoredAt>,
    before_seq: i64,
    before_hash: Vec<u8>,
}

struct StoredAt {
    seq: i64,
    event_id: Range<usize>,
    entry: Range<usize>,
    payload: Option<Range<usize>>,
    hash: Range<usize>,
}

impl Chunk {
    fn push(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let seq = row.get(0)?;
        let mut keep = |column: usize| -> rusqlite::Result<Option<Range<usize>>> {
            let Some(blob) = row.get_ref(column)?.as_blob_or_null()? else { return Ok(None) };
            let start = self.bytes.len();
            self.bytes.extend_from_slice(blob);
            Ok(Some(start..self.bytes.len()))
        };
        let (event_id, entry, payload, hash) = (keep(1)?, keep(2)?, keep(3)?, keep(4)?);
        // A column that must not be NULL and is counts as empty, which no check lets pass.
        self.rows.push(StoredAt {
            seq,
            event_id: event_id.unwrap_or_default(),
            entry: entry.unwrap_or_default(),
            payload,
            hash: hash.unwrap_or_default(),
        });
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= CHUNK_ROWS || self.bytes.len() >= CHUNK_BYTES
    }

    fn row(&self, at: &StoredAt) -> RowRef<'_> {
        let bytes = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        RowRef {
            seq: at.seq,
            event_id: bytes(&at.event_id),
            entry: bytes(&at.entry),
            payload: at.payload.as_ref().map(bytes),
            hash: bytes(&at.hash),
        }
    }

    /// The chunk that follows: it starts after this one's last row.
    fn next(&self) -> Chunk {
        let (before_seq, before_hash) = match self.rows.last() {
            Some(last) => (last.seq, self.row(last).hash.to_vec()),
            None => (self.before_seq, self.before_hash.clone()),
        };
        Chunk { before_seq, before_hash, ..Chunk::default() }
    }
}

/// What the check of a chunk says, in the order of its rows.
#[derive(Default)]
struct Checked {
    rows: u64,
    bytes_of_last_hash: Vec<u8>,
    first_bad: Option<(i64, Fault)>,
    /// Rows before the first bad one whose payload is NULL.
    redacted: Vec<(i64, u16)>,
    licences: Vec<(i64, Vec<u64>)>,
    own: Vec<(i64, Event)>,
    first: Option<(EventId, Timestamp)>,
    last_recorded_at: Option<Timestamp>,
    first_recorded_at: Option<Timestamp>,
    backward_steps: BackwardSteps,
}

fn check(chunk: &Chunk) -> Checked {
    let mut checked = Checked { rows: chunk.rows.len() as u64, ..Checked::default() };
    let mut before = Before { seq: chunk.before_seq, hash: &chunk.before_hash };
    for at in &chunk.rows {
        let row = chunk.row(at);
        if checked.first_bad.is_none() {
            match row::check(before, row) {
                Ok(good) => checked.add(row, good.entry, good.own),
                Err(fault) => checked.first_bad = Some((row.seq, fault)),
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
            self.redacted.push((row.seq, entry.kind));
        }
        if self.last_recorded_at.is_some_and(|last| entry.recorded_at < last) {
            self.backward_steps.count += 1;
            self.backward_steps.first.get_or_insert(seq_from_sql(row.seq));
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

/// Walks the whole log, on as many threads as there are processors.
pub(super) fn walk(connection: &Connection, progress: &mut dyn FnMut(u64)) -> Result<Walk, VerifyError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (chunks, work) = crossbeam_channel::bounded::<(usize, Chunk)>(2 * threads);
    let (done, results) = crossbeam_channel::unbounded::<(usize, Checked)>();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (work, done) = (work.clone(), done.clone());
            scope.spawn(move || check_all(&work, &done));
        }
        drop((work, done));
        let mut merge = Merge::default();
        let read = read_chunks(connection, &chunks, &results, &mut merge, progress);
        drop(chunks);
        for (place, checked) in &results {
            merge.take(place, checked);
        }
        merge.finish(connection, read?)
    })
}

fn check_all(work: &Receiver<(usize, Chunk)>, done: &Sender<(usize, Checked)>) {
    for (place, chunk) in work {
        if done.send((place, check(&chunk))).is_err() {
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
    chunks: &Sender<(usize, Chunk)>,
    results: &Receiver<(usize, Checked)>,
    merge: &mut Merge,
    progress: &mut dyn FnMut(u64),
) -> Result<ReadTo, VerifyError> {
    let damage = |chunk: &Chunk, error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(ReadTo::Damage {
            after: chunk.rows.last().map_or(chunk.before_seq, |row| row.seq),
            error: error.to_string(),
        }),
        _ => Err(VerifyError::Sqlite(error)),
    };
    let mut chunk = Chunk { before_hash: Digest::ZERO.bytes().to_vec(), ..Chunk::default() };
    let mut place = 0;
    let mut statement =
        connection.prepare("SELECT seq, event_id, entry, payload, hash FROM log ORDER BY seq")?;
    let mut rows = statement.query([])?;
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
            send(chunks, place, std::mem::replace(&mut chunk, next))?;
            place += 1;
            while let Ok((place, checked)) = results.try_recv() {
                merge.take(place, checked);
            }
        }
    }
    progress(chunk.rows.len() as u64);
    send(chunks, place, chunk)?;
    Ok(ended)
}

fn send(chunks: &Sender<(usize, Chunk)>, place: usize, chunk: Chunk) -> Result<(), VerifyError> {
    chunks.send((place, chunk)).map_err(|_| VerifyError::ThreadGone)
}

/// Puts the results together in the order of the log.
#[derive(Default)]
struct Merge {
    early: BTreeMap<usize, Checked>,
    next: usize,
    walk: Walk,
    last_hash: Vec<u8>,
    first_bad: Option<(i64, Fault)>,
    /// NULL payloads that no licence was found for yet, with their kinds.
    unlicensed: BTreeMap<i64, u16>,
    /// Every event that a licence names.
    licensed: BTreeSet<u64>,
    /// A licence that names what it must not, or a payload that should be gone.
    bad_licence: Option<(i64, String)>,
    licences: Vec<(i64, Vec<u64>)>,
}

impl Merge {
    fn take(&mut self, place: usize, checked: Checked) {
        self.early.insert(place, checked);
        while let Some(checked) = self.early.remove(&self.next) {
            self.next += 1;
            self.add(checked);
        }
    }

    fn add(&mut self, checked: Checked) {
        self.walk.events += checked.rows;
        self.last_hash = checked.bytes_of_last_hash;
        if self.first_bad.is_some() {
            self.licences.extend(checked.licences);
            return;
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
            self.add_own(seq_from_sql(seq), event);
        }
        self.first_bad = checked.first_bad;
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
            _ => {}
        }
    }

    /// Judges the redactions, and names the first bad row.
    fn finish(mut self, connection: &Connection, read: ReadTo) -> Result<Walk, VerifyError> {
        let last_good = self.first_bad.as_ref().map_or(i64::MAX, |(seq, _)| *seq);
        for (licence, seqs) in std::mem::take(&mut self.licences) {
            let before_failure = licence < last_good;
            for seq in seqs {
                let problem = licence_problem(connection, licence, seq)?;
                match problem {
                    None => {
                        self.licensed.insert(seq);
                        self.unlicensed.remove(&i64::try_from(seq).unwrap_or(i64::MAX));
                    }
                    Some(problem)
                        if before_failure
                            && self.bad_licence.as_ref().is_none_or(|(seq, _)| *seq > licence) =>
                    {
                        self.bad_licence = Some((licence, problem));
                    }
                    Some(_) => {}
                }
            }
        }
        let mut faults: Vec<(i64, Fault)> = self.first_bad.take().into_iter().collect();
        if let Some((seq, _)) = self.unlicensed.first_key_value() {
            let detail = "the payload is gone, and no redaction is recorded that allows it".to_owned();
            faults.push((*seq, Fault { check: Check::Redaction, detail }));
        }
        if let Some((licence, detail)) = self.bad_licence.take() {
            faults.push((licence, Fault { check: Check::Redaction, detail }));
        }
        self.walk.failure = faults.into_iter().min_by_key(|(seq, _)| *seq).map(|(seq, fault)| Failure {
            check: fault.check,
            seq: Some(seq_from_sql(seq)),
            detail: fault.detail,
            affected: format!("event {seq} and every event after it"),
        });
        if self.walk.failure.is_none() {
            self.walk.failure = match read {
                ReadTo::End if self.walk.events == 0 => Some(Failure {
                    check: Check::FirstEvent,
                    seq: Some(Seq::FIRST),
                    detail: "the log has no events: its first says that it was created".to_owned(),
                    affected: "the whole log".to_owned(),
                }),
                ReadTo::End => redactions_table(connection, &self.licensed)?,
                ReadTo::Damage { after, error } => Some(Failure {
                    check: Check::File,
                    seq: Some(seq_from_sql(after).next()),
                    detail: format!("the file cannot be read on: {error}"),
                    affected: format!("every event after {after}"),
                }),
            };
        }
        self.walk.head = <[u8; 32]>::try_from(self.last_hash.as_slice()).ok().map(Digest::from_bytes);
        Ok(self.walk)
    }
}

/// What is wrong with a licence's naming of an event.
fn licence_problem(connection: &Connection, licence: i64, seq: u64) -> Result<Option<String>, VerifyError> {
    let Some(number) = i64::try_from(seq).ok().filter(|number| *number < licence) else {
        return Ok(Some(format!("it redacts event {seq}, which is not earlier than itself")));
    };
    let row: Option<(Vec<u8>, bool)> = connection
        .prepare_cached("SELECT entry, payload IS NOT NULL FROM log WHERE seq = ?1")?
        .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match row {
        None => Some(format!("it redacts event {seq}, which is not there")),
        Some((entry, _)) if Entry::decode(&entry).is_ok_and(|entry| is_reserved(entry.kind)) => {
            Some(format!("it redacts event {seq}, which can never be redacted"))
        }
        Some((_, true)) => Some(format!("it redacts event {seq}, whose payload is still there")),
        Some((_, false)) => None,
    })
}

/// Holds the table that the trigger reads against the licences.
fn redactions_table(
    connection: &Connection,
    licensed: &BTreeSet<u64>,
) -> Result<Option<Failure>, VerifyError> {
    let table: BTreeSet<u64> = connection
        .prepare("SELECT seq FROM redactions")?
        .query_map([], |row| row.get::<_, i64>(0))?
        .map(|seq| seq.map(|seq| u64::try_from(seq).unwrap_or(0)))
        .collect::<rusqlite::Result<_>>()?;
    Ok(table.symmetric_difference(licensed).next().map(|seq| Failure {
        check: Check::Redaction,
        seq: Some(Seq::new(*seq)),
        detail: if table.contains(seq) {
            format!("the table `redactions` names event {seq}, and no redaction of it is recorded")
        } else {
            format!("the table `redactions` does not name event {seq}, and a redaction of it is recorded")
        },
        affected: "the guard against changes of the log".to_owned(),
    }))
}
