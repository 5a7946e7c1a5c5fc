//! What a log costs when it is small and when it is large: how fast it fills, what it takes up, and how
//! long the usual questions take.
//!
//! ```text
//! cargo bench --bench scale -- [--texts realistic|short] [--log-alone] [EVENTS]...
//! ```
//!
//! It makes a log of each size, 10,000 and 1,000,000 events unless others are given, in the folder for
//! temporary files, and removes it. `realistic` are the sessions of `support/sessions.rs`, of about two
//! kilobytes an event; `short` have texts of about two hundred characters. With `--log-alone` there are no
//! read tables. One line of JSON for each size goes to standard output at the end.
//!
//! How fast a log takes more events is measured last, in rounds in which all sizes take turns: a disk is not
//! the same from one minute to the next.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a benchmark that cannot go on ends"
)]

mod support;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annals::query::{SearchFilter, SessionFilter};
use annals::replay::Replay;
use annals::verify::{self, Scope};
use annals::{AuditLog, BatchReceipt, Builder, Draft, Reader, SessionId};
use serde_json::{Map, Value, json};
use support::sessions::Sessions;
use support::{Scratch, log_only, note, session_events};

/// Events of a batch, and batches under way while a log is filled.
const BATCH: usize = 1_000;
const UNDER_WAY: usize = 4;

/// Times that a question is asked.
const ASKED: usize = 20;

/// Rounds in which the logs take turns at being appended to, without read tables.
const ROUNDS: usize = 5;

/// Events of a round that are not counted: after them the write-ahead log has been moved into the file, and
/// is written over instead of made longer.
const WARM_UP: usize = 100_000;

/// Events of a round that are counted: enough for several moves.
const COUNTED: usize = 200_000;

/// A log of which the file is no longer than this is appended to in a copy, so that it stays as small as
/// it is said to be. Of a larger one the rounds make little more.
const COPIED_BYTES_MAX: u64 = 256 << 20;

#[derive(Clone, Copy)]
enum Texts {
    Realistic,
    Short,
}

struct Asked {
    texts: Texts,
    log_alone: bool,
    sizes: Vec<usize>,
}

/// What stands behind the two dashes of `cargo bench`, which adds a flag of its own.
fn asked() -> Asked {
    let mut asked = Asked { texts: Texts::Realistic, log_alone: false, sizes: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => {}
            "--log-alone" => asked.log_alone = true,
            "--texts" => {
                asked.texts = match words.next().as_deref() {
                    Some("realistic") => Texts::Realistic,
                    Some("short") => Texts::Short,
                    other => panic!("--texts is realistic or short, not {other:?}"),
                }
            }
            size => asked.sizes.push(size.replace('_', "").parse().expect("a number of events")),
        }
    }
    if asked.sizes.is_empty() {
        asked.sizes = vec![10_000, 1_000_000];
    }
    asked
}

fn main() {
    let asked = asked();
    let mut scratch = Scratch::new();
    let mut logs: Vec<Log> = asked
        .sizes
        .iter()
        .map(|&events| {
            let mut log = Log { path: scratch.path(), events, found: Map::new() };
            measure(&mut log, asked.texts, asked.log_alone);
            log
        })
        .collect();
    append_in_turns(&mut logs, &mut scratch);
    for log in logs {
        println!("{}", Value::Object(log.found));
    }
}

/// A log, and what was found out about it.
struct Log {
    path: PathBuf,
    events: usize,
    found: Map<String, Value>,
}

impl Log {
    fn say(&mut self, what: &str, value: Value) {
        eprintln!("{:>11} events  {what}: {value}", self.events);
        self.found.insert(what.to_owned(), value);
    }
}

fn measure(measured: &mut Log, texts: Texts, log_alone: bool) {
    let (path, events) = (measured.path.clone(), measured.events);
    let path = path.as_path();
    let open = || -> Builder { if log_alone { log_only(path) } else { AuditLog::builder(path) } };
    let mut say = |what: &str, value: Value| measured.say(what, value);
    say("events", json!(events));
    say("texts", json!(if let Texts::Short = texts { "short" } else { "realistic" }));
    say("read tables", json!(!log_alone));

    let log = open().open().expect("a log");
    let started = Instant::now();
    match texts {
        Texts::Realistic => fill(&log, Sessions::new(1).take(events)),
        Texts::Short => fill(&log, session_events(events)),
    }
    say("appended a second", rate(events, started.elapsed()));
    if !log_alone {
        log.wait_caught_up(log.committed()).expect("visible");
        say("visible a second", rate(events, started.elapsed()));
    }
    log.close().expect("closed");
    let bytes = std::fs::metadata(path).expect("a file").len();
    say("bytes", json!(bytes));
    say("bytes an event", json!(bytes / events as u64));

    say("opening, ms", times(5, |_| drop(open().open().expect("opened"))));
    if !log_alone {
        ask(path, texts, &mut say);
    }
    let started = Instant::now();
    let report = verify::verify(path, Scope::LogOnly, &mut |_, _| {}).expect("verified");
    assert!(report.self_consistent, "{:?}", report.failures);
    say("verified a second", rate(events, started.elapsed()));
    say("most memory so far, MiB", json!(most_memory() >> 20));
}

/// How many events of 256 bytes are appended a second to each log, without read tables.
fn append_in_turns(logs: &mut [Log], scratch: &mut Scratch) {
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); logs.len()];
    for round in 0..ROUNDS {
        for (log, rates) in logs.iter().zip(&mut rates) {
            let is_copied = std::fs::metadata(&log.path).expect("a file").len() <= COPIED_BYTES_MAX;
            let path = if is_copied { scratch.path() } else { log.path.clone() };
            if is_copied {
                std::fs::copy(&log.path, &path).expect("a copy");
            }
            rates.push(append_to(&path));
            if is_copied {
                std::fs::remove_file(&path).expect("removed");
            }
            eprintln!("{:>11} events  round {round}: {:.0} appended a second", log.events, rates[round]);
        }
    }
    for (log, mut rates) in logs.iter_mut().zip(rates) {
        rates.sort_by(f64::total_cmp);
        log.say("appended a second to it, 256 bytes, without read tables", json!(rates[ROUNDS / 2].round()));
    }
}

fn append_to(path: &Path) -> f64 {
    let log = log_only(path).open().expect("a log");
    fill(&log, (0..WARM_UP).map(|_| note()));
    let started = Instant::now();
    fill(&log, (0..COUNTED).map(|_| note()));
    let rate = COUNTED as f64 / started.elapsed().as_secs_f64();
    log.close().expect("closed");
    rate
}

/// The questions that people ask a log on a terminal.
fn ask(path: &Path, texts: Texts, say: &mut impl FnMut(&str, Value)) {
    let reader = Reader::open(path).expect("a reader");
    let page = |filter: &SessionFilter| reader.sessions(filter).expect("sessions");
    say("sessions, first page, ms", times(ASKED, |_| drop(page(&SessionFilter::default()))));
    let failed = SessionFilter { status: Some("failed".to_owned()), ..SessionFilter::default() };
    say("sessions that failed, first page, ms", times(ASKED, |_| drop(page(&failed))));
    let ids: Vec<String> =
        page(&SessionFilter::default()).sessions.into_iter().map(|session| session.id).collect();
    let id = |number: usize| ids[number % ids.len()].as_str();
    say("show of a session, ms", times(ASKED, |number| drop(reader.session(id(number)).expect("a session"))));
    say(
        "replay of a session, ms",
        times(ASKED, |number| {
            let session = SessionId::new(id(number)).expect("an id");
            drop(Replay::open(path, &session).and_then(|replay| replay.events(None)).expect("events"));
        }),
    );
    let frequent = match texts {
        // The profile of two thirds of the sessions.
        Texts::Realistic => "conversation",
        Texts::Short => "offers",
    };
    for (what, text, is_there) in
        [("a frequent word", frequent, true), ("a word that is nowhere", "zzyzx", false)]
    {
        let filter = SearchFilter::new(text);
        assert_eq!(reader.search(&filter).expect("hits").is_empty(), !is_there, "{text}");
        say(
            &format!("search for {what}, newest first, ms"),
            times(ASKED, |_| drop(reader.search(&filter).expect("hits"))),
        );
    }
}

/// Appends in batches, some of which are under way while the next is made.
fn fill(log: &AuditLog, mut events: impl Iterator<Item = Draft>) {
    let mut under_way: VecDeque<BatchReceipt> = VecDeque::new();
    let wait = |receipt: BatchReceipt| {
        receipt.wait().into_iter().for_each(|outcome| {
            outcome.expect("committed");
        });
    };
    loop {
        let drafts: Vec<Draft> = events.by_ref().take(BATCH).collect();
        if drafts.is_empty() {
            break;
        }
        under_way.push_back(log.append_batch(drafts).expect("appended"));
        if under_way.len() > UNDER_WAY {
            under_way.pop_front().into_iter().for_each(wait);
        }
    }
    under_way.into_iter().for_each(wait);
}

fn rate(events: usize, spent: Duration) -> Value {
    json!((events as f64 / spent.as_secs_f64()).round())
}

/// The median and the longest of some attempts, in milliseconds.
fn times(attempts: usize, mut attempt: impl FnMut(usize)) -> Value {
    let mut spent: Vec<f64> = (0..attempts)
        .map(|number| {
            let started = Instant::now();
            attempt(number);
            started.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    spent.sort_by(f64::total_cmp);
    let rounded = |millis: f64| (millis * 1_000.0).round() / 1_000.0;
    json!({ "median": rounded(spent[spent.len() / 2]), "longest": rounded(spent[spent.len() - 1]) })
}

/// The most memory that this process has had, in bytes, as Linux counts it; elsewhere nothing.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}
