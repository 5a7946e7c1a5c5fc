//! Events out of a log into a file and back, and the pages that people read.
//!
//! An export is held against reading the log's rows and writing their bytes, an import against appending the
//! same events from memory. The events are realistic sessions, see `support/sessions.rs`: 10,000 of them;
//! ANNALS_BENCH_EVENTS says another number.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot go on ends")]

mod support;

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use annals::export::Export;
use annals::query::{SearchFilter, SessionFilter};
use annals::replay::Replay;
use annals::{AuditLog, Builder, Draft, Reader, SessionId, parse_draft};
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main,
};
use rusqlite::Connection;

use support::sessions::Sessions;
use support::{Scratch, fill, log_only};

fn events() -> usize {
    std::env::var("ANNALS_BENCH_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(10_000)
}

/// A log with the events in it and in its read tables.
fn filled(path: &Path) {
    let log = AuditLog::open(path).expect("a log");
    fill(&log, Sessions::new(1).take(events()));
    log.close().expect("closed");
}

/// A group whose measures handle all events, which are as many bytes in a file.
fn group<'a>(criterion: &'a mut Criterion, name: &str, file: &Path) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(format!("{name}, {} events", events()));
    let bytes = std::fs::metadata(file).expect("a file").len();
    group
        .throughput(Throughput::ElementsAndBytes { elements: events() as u64, bytes })
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .measurement_time(Duration::from_secs(8))
        .warm_up_time(Duration::from_millis(500));
    group
}

/// As `annals export`.
fn export(log: &Path, file: &Path) {
    let mut to = BufWriter::new(File::create(file).expect("a file"));
    let reader = Reader::open(log).expect("a reader");
    let exported = reader
        .export_events(None, &mut |export| match export {
            Export::Event(json) => writeln!(to, "{json}"),
            Export::LeftOut { seq, .. } => Err(std::io::Error::other(format!("{seq} was left out"))),
        })
        .expect("exported");
    to.flush().expect("written");
    assert_eq!(exported.events, events() as u64);
}

/// What an export cannot do without: the rows are read, and bytes are written.
fn write_rows(log: &Path, file: &Path) {
    let mut to = BufWriter::new(File::create(file).expect("a file"));
    let connection = Connection::open(log).expect("a connection");
    let mut statement =
        connection.prepare("SELECT entry, payload FROM log ORDER BY seq").expect("a statement");
    let mut rows = statement.query([]).expect("rows");
    while let Some(row) = rows.next().expect("a row") {
        for column in 0..2 {
            let cell = row.get_ref(column).expect("a cell");
            to.write_all(cell.as_blob().expect("bytes")).expect("written");
        }
    }
    to.flush().expect("written");
}

fn exporting(criterion: &mut Criterion) {
    let mut scratch = Scratch::new();
    let (log, file) = (scratch.path(), scratch.path());
    filled(&log);
    export(&log, &file);
    let mut group = group(criterion, "export", &file);
    group.bench_function("export", |bencher| bencher.iter(|| export(&log, &file)));
    group.bench_function("limit: rows by hand", |bencher| bencher.iter(|| write_rows(&log, &file)));
    group.finish();
}

/// The lines of a file as events, as `annals record` reads them.
fn drafts(file: &Path) -> impl Iterator<Item = Draft> {
    let lines = BufReader::new(File::open(file).expect("a file")).lines();
    lines.map(|line| parse_draft(&line.expect("a line")).expect("an event"))
}

/// How long new logs take for events: until they are in the read tables too, where there are any.
fn append<I: Iterator<Item = Draft>>(
    scratch: &mut Scratch,
    rounds: u64,
    builder: fn(&Path) -> Builder,
    events: impl Fn() -> I,
) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let path = scratch.path();
        let log = builder(&path).open().expect("a log");
        let events = events();
        let started = Instant::now();
        fill(&log, events);
        log.close().expect("closed");
        spent += started.elapsed();
        std::fs::remove_file(path).expect("removed");
    }
    spent
}

fn importing(criterion: &mut Criterion) {
    let mut scratch = Scratch::new();
    let (log, file) = (scratch.path(), scratch.path());
    filled(&log);
    export(&log, &file);
    let in_memory: Vec<Draft> = drafts(&file).collect();
    let mut group = group(criterion, "import", &file);
    let with_tables: fn(&Path) -> Builder = |path| AuditLog::builder(path);
    for (name, builder) in [("with read tables", with_tables), ("the log alone", log_only)] {
        group.bench_function(BenchmarkId::new("import", name), |bencher| {
            bencher.iter_custom(|rounds| append(&mut scratch, rounds, builder, || drafts(&file)));
        });
        group.bench_function(BenchmarkId::new("limit: from memory", name), |bencher| {
            let events = || in_memory.clone().into_iter();
            bencher.iter_custom(|rounds| append(&mut scratch, rounds, builder, events));
        });
    }
    group.finish();
}

/// The pages that people read, each by a reader that is open already.
fn reading(criterion: &mut Criterion) {
    let mut scratch = Scratch::new();
    let path = scratch.path();
    filled(&path);
    let reader = Reader::open(&path).expect("a reader");
    let page = || reader.sessions(&SessionFilter::default()).expect("sessions");
    let mut ids = page().sessions.into_iter().map(|session| session.id).cycle();
    let mut group = criterion.benchmark_group(format!("read, {} events", events()));
    group.bench_function("the first page of sessions", |bencher| bencher.iter(page));
    group.bench_function("a session", |bencher| {
        bencher.iter_batched(
            || ids.next().expect("an id"),
            |id| reader.session(&id).expect("read").expect("a session"),
            BatchSize::SmallInput,
        );
    });
    // The profile of two thirds of the sessions.
    let filter = SearchFilter::new("conversation");
    group.bench_function("the first page of a search, newest first", |bencher| {
        bencher.iter(|| reader.search(&filter).expect("hits"));
    });
    group.bench_function("replay of a session", |bencher| {
        bencher.iter_batched(
            || SessionId::new(ids.next().expect("an id")).expect("an id"),
            |id| {
                let replay = Replay::open(&path, &id).expect("a replay");
                (replay.events(None).expect("events"), replay.state(None).expect("a state"))
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, exporting, importing, reading);
criterion_main!(benches);
