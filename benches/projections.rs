//! From the log to the read tables: how many events a second, and how soon one can be seen.
//!
//! Each figure has its limit in the same run: the loop that anybody would write, and the full-text index
//! alone. The events are realistic sessions, see `support/sessions.rs`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot go on ends"
)]

mod support;

use std::cell::LazyCell;
use std::path::Path;
use std::time::{Duration, Instant};

use annals::evidence::Evidence;
use annals::{AuditLog, CatchUpError, Draft, Projections, Receipt, Seq};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use rusqlite::Connection;

use support::by_hand::{ByHand, Document};
use support::sessions::Sessions;
use support::{Scratch, fill, log_only};

/// Events of one measurement: some tens of megabytes, more than any cache of pages.
const EVENTS: usize = 50_000;

/// Events a second at which delays are measured.
const PACE: u32 = 10_000;

/// How long delays are measured.
const PACED: Duration = Duration::from_secs(5);

fn sessions(events: usize) -> Vec<Draft> {
    Sessions::new(1).take(events).collect()
}

/// A log with the events in it and in its read tables.
fn filled(path: &Path, events: usize) -> AuditLog {
    let log = AuditLog::open(path).expect("a log");
    fill(&log, Sessions::new(1).take(events));
    log.wait_caught_up(log.committed()).expect("visible");
    log
}

/// A log with the events in it and nothing in its read tables, of which some projections will stay empty:
/// they have stopped.
fn behind(path: &Path, left_out: &[&str]) {
    AuditLog::open(path).expect("a log").close().expect("closed");
    let connection = Connection::open(path).expect("a connection");
    for projection in left_out {
        let stop = "UPDATE projections SET stopped_at = 1, error = 'left out' WHERE name = ?";
        connection.execute(stop, [projection]).expect("stopped");
    }
    drop(connection);
    let log = log_only(path).open().expect("a log");
    fill(&log, Sessions::new(1).take(EVENTS));
    log.close().expect("closed");
}

/// How long projections take to fill the tables of a log that they are behind.
fn catch_up(template: &Path) -> Duration {
    let path = template.with_extension("copy");
    std::fs::copy(template, &path).expect("copied");
    let started = Instant::now();
    let log = AuditLog::builder(&path).evidence(Evidence::Off).open().expect("a log");
    // Who waits hears of those that have stopped once the others are there.
    let _ = log.wait_caught_up(log.committed());
    let spent = started.elapsed();
    let _ = log.close();
    std::fs::remove_file(path).expect("removed");
    spent
}

/// From the call to the read tables, and from the log to them, against a loop by hand.
fn tables(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("projections");
    group
        .throughput(Throughput::Elements(EVENTS as u64))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5));
    let mut scratch = Scratch::new();
    let filled_at = scratch.path();
    let log = LazyCell::new(|| filled(&filled_at, EVENTS));
    group.bench_function("append to visible", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let events = sessions(EVENTS);
                let path = scratch.path();
                let log = AuditLog::open(&path).expect("a log");
                let started = Instant::now();
                fill(&log, events.into_iter());
                log.wait_caught_up(log.committed()).expect("visible");
                spent += started.elapsed();
                log.close().expect("closed");
                std::fs::remove_file(path).expect("removed");
            }
            spent
        });
    });
    for (name, left_out) in [
        ("fill all tables", &[][..]),
        ("fill all tables but the full-text index", &["search"]),
        ("fill the full-text index", &["sessions", "activity", "keys"]),
        ("fill the tables of activity", &["sessions", "search", "keys"]),
    ] {
        if !wanted(&format!("projections/{name}")) {
            continue;
        }
        let template = scratch.path();
        behind(&template, left_out);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| catch_up(&template)).sum());
        });
        std::fs::remove_file(template).expect("removed");
    }
    for rebuilt in [&["sessions", "activity"][..], &["search"], ALL] {
        group.bench_function(format!("rebuild {}", rebuilt.join(", ")), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| rebuild(&log, rebuilt)).sum());
        });
    }
    group.bench_function("limit: sessions by hand", |bencher| {
        bencher.iter_custom(|rounds| {
            let events = sessions(EVENTS);
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let path = scratch.path();
                let mut by_hand = ByHand::open(&path);
                let started = Instant::now();
                by_hand.write(&events);
                spent += started.elapsed();
                drop(by_hand);
                std::fs::remove_file(path).expect("removed");
            }
            spent
        });
    });
    group.bench_function("limit: full-text index by hand", |bencher| {
        bencher.iter_custom(|rounds| {
            let documents = Document::all_of(log.path());
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let path = scratch.path();
                let mut by_hand = ByHand::open(&path);
                let started = Instant::now();
                by_hand.index(&documents);
                spent += started.elapsed();
                drop(by_hand);
                std::fs::remove_file(path).expect("removed");
            }
            spent
        });
    });
    group.finish();
}

const ALL: &[&str] = &["sessions", "activity", "search", "keys"];

/// Rebuilds projections, all at once.
fn rebuild(log: &AuditLog, projections: &[&str]) -> Duration {
    let watch = Connection::open(log.path()).expect("a connection");
    let started = Instant::now();
    for projection in projections {
        log.rebuild(projection).expect("begun");
    }
    let building = "SELECT count(*) FROM projections WHERE stage = 'building'";
    while watch.query_row(building, [], |row| row.get::<_, u32>(0)).expect("a count") > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    started.elapsed()
}

/// Percentiles of delays, printed: criterion has none.
fn say(name: &str, mut delays: Vec<Duration>) {
    delays.sort_unstable();
    let at = |part: f64| {
        let place = ((delays.len() as f64) * part) as usize;
        delays.get(place.min(delays.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    println!(
        "{name}: median {:?}, p99 {:?}, p99.9 {:?}, largest {:?} ({} measured)",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        delays.len()
    );
}

/// How long it takes from the call until an event is in the read tables, and until it can be searched, at a
/// steady pace.
fn delay(_: &mut Criterion) {
    if !wanted("delay") {
        return;
    }
    type Wait = fn(&AuditLog, Seq) -> Result<(), CatchUpError>;
    for (name, wait_caught_up) in [
        ("the tables", AuditLog::wait_tables_caught_up as Wait),
        ("the full-text index too", AuditLog::wait_caught_up),
    ] {
        let mut scratch = Scratch::new();
        let log = AuditLog::open(scratch.path()).expect("a log");
        let (sender, receiver) = crossbeam_channel::unbounded::<(Instant, Receipt)>();
        let mut visible = Vec::new();
        std::thread::scope(|scope| {
            let paced = || {
                pace(|draft, count| {
                    let called = Instant::now();
                    let receipt = log.append(draft).expect("appended");
                    if count % 50 == 0 {
                        sender.send((called, receipt)).expect("sent");
                    }
                });
                drop(sender);
            };
            scope.spawn(paced);
            for (called, receipt) in receiver {
                let appended = receipt.wait().expect("committed");
                wait_caught_up(&log, appended.seq).expect("visible");
                visible.push(called.elapsed());
            }
        });
        say(&format!("append to visible in {name} at {PACE} events a second"), visible);
    }
}

/// Calls at a steady pace.
fn pace(mut append: impl FnMut(Draft, u32)) {
    let mut events = Sessions::new(2);
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < PACED {
        let due = (started.elapsed().as_secs_f64() * f64::from(PACE)) as u32;
        while count < due {
            append(events.next().expect("an event"), count);
            count += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// How long a durable append takes with projections at work, and without.
fn durable(_: &mut Criterion) {
    if !wanted("durable") {
        return;
    }
    for producers in [1, 16, 64] {
        for projections in [Projections::Off, Projections::On] {
            let mut scratch = Scratch::new();
            let log = AuditLog::builder(scratch.path()).projections(projections).open().expect("a log");
            let started = Instant::now();
            let delays: Vec<Duration> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..producers)
                    .map(|producer| {
                        let log = &log;
                        scope.spawn(move || {
                            let mut delays = Vec::new();
                            for draft in Sessions::new(producer) {
                                if started.elapsed() > PACED {
                                    break;
                                }
                                let called = Instant::now();
                                log.append(draft).expect("appended").wait().expect("committed");
                                delays.push(called.elapsed());
                            }
                            delays
                        })
                    })
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("appended")).collect()
            });
            let with = if projections == Projections::On { "with" } else { "without" };
            say(&format!("durable append, {producers} producers, {with} projections"), delays);
        }
    }
}

/// Whether the command line asks for what criterion does not measure.
fn wanted(name: &str) -> bool {
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    names.is_empty() || names.iter().any(|wanted| name.contains(wanted.as_str()))
}

criterion_group!(benches, tables, delay, durable);
criterion_main!(benches);
