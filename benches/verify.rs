//! Verification against its limits, and opening.
//!
//! The log alone is held against reading and hashing the same bytes and nothing else, the check of the read
//! tables against their rebuild.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot go on ends"
)]

mod support;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annals::verify::{self, Options, Scope};
use annals::{AuditLog, Digest, chain};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use rusqlite::Connection;

use support::sessions::Sessions;
use support::{Scratch, fill, log_only, note};

/// Events of 256 bytes that the log has: more bytes than any cache of the processor holds.
const EVENTS: u64 = 1_000_000;

/// Events of realistic sessions in the log whose read tables are checked.
const IN_TABLES: u64 = 50_000;

const PROJECTIONS: [&str; 4] = ["sessions", "activity", "search", "keys"];

fn log_of_notes(scratch: &mut Scratch) -> PathBuf {
    let path = scratch.path();
    let log = log_only(&path).open().expect("a log");
    // The first event says that the log was created.
    fill(&log, (1..EVENTS).map(|_| note()));
    log.close().expect("closed");
    path
}

fn verify(path: &Path, scope: Scope, threads: NonZeroUsize) -> Duration {
    let started = Instant::now();
    let options = Options::new().scope(scope).threads(threads);
    let report = verify::verify(path, options, &mut |_, _| {}).expect("verified");
    assert!(report.self_consistent, "{:?}", report.failures);
    started.elapsed()
}

/// The least that there is to do, by the rows that SQLite hands out: each thread reads its part of the log and
/// hashes payloads and leaves. Nothing is decoded or compared.
fn read_and_hash(path: &Path, threads: u64) {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let connection = Connection::open(path).expect("a connection");
                let sql = "SELECT entry, payload, hash FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";
                let mut statement = connection.prepare(sql).expect("a statement");
                let part = |thread| i64::try_from(EVENTS * thread / threads).expect("a seq");
                let mut rows = statement.query([part(thread), part(thread + 1)]).expect("rows");
                let mut before = Digest::ZERO;
                while let Some(row) = rows.next().expect("a row") {
                    let blob = |column| {
                        row.get_ref(column).ok().and_then(|cell| cell.as_blob().ok()).expect("bytes")
                    };
                    std::hint::black_box(chain::payload_digest(blob(1)));
                    std::hint::black_box(chain::link(&before, blob(0)));
                    before = Digest::from_bytes(blob(2).try_into().expect("a link"));
                }
            });
        }
    });
}

/// The log, against reading and hashing the same bytes and nothing else, on as many threads.
fn log(criterion: &mut Criterion) {
    let all = std::thread::available_parallelism().expect("a number");
    let mut threads = vec![NonZeroUsize::MIN, all];
    threads.dedup();
    let mut group = criterion.benchmark_group("verify, log");
    group
        .throughput(Throughput::Elements(EVENTS))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .measurement_time(Duration::from_secs(6));
    let mut scratch = Scratch::new();
    let path = log_of_notes(&mut scratch);
    for threads in threads {
        group.bench_function(BenchmarkId::new("limit: read and hash", threads), |bencher| {
            bencher.iter(|| read_and_hash(&path, threads.get() as u64));
        });
        group.bench_function(BenchmarkId::new("verify", threads), |bencher| {
            bencher.iter(|| verify(&path, Scope::LogOnly, threads));
        });
    }
    group.finish();
}

/// The check of the read tables, which is what the verification of everything takes longer than that of
/// the log alone, against a rebuild of all of them.
fn tables(criterion: &mut Criterion) {
    let all = std::thread::available_parallelism().expect("a number");
    let mut group = criterion.benchmark_group("verify, read tables");
    group
        .throughput(Throughput::Elements(IN_TABLES))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .measurement_time(Duration::from_secs(6));
    let mut scratch = Scratch::new();
    let path = scratch.path();
    let log = AuditLog::open(&path).expect("a log");
    fill(&log, Sessions::new(1).take(IN_TABLES as usize));
    log.wait_caught_up(log.committed()).expect("visible");
    group.bench_function("limit: rebuild", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| rebuild(&log)).sum());
    });
    log.close().expect("closed");
    for threads in [NonZeroUsize::MIN, all] {
        group.bench_function(BenchmarkId::new("check", threads), |bencher| {
            bencher.iter_custom(|rounds| {
                let check = |_| {
                    let log = verify(&path, Scope::LogOnly, threads);
                    verify(&path, Scope::Everything, threads).saturating_sub(log)
                };
                (0..rounds).map(check).sum()
            });
        });
    }
    group.finish();
}

fn rebuild(log: &AuditLog) -> Duration {
    let watch = Connection::open(log.path()).expect("a connection");
    let started = Instant::now();
    for projection in PROJECTIONS {
        log.rebuild(projection).expect("begun");
    }
    let building = "SELECT count(*) FROM projections WHERE stage = 'building'";
    while watch.query_row(building, [], |row| row.get::<_, u32>(0)).expect("a count") > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    started.elapsed()
}

/// Opening a log of a million events for appending, and closing it.
fn opening(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    let mut scratch = Scratch::new();
    let path = log_of_notes(&mut scratch);
    group.bench_function("a million events", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let started = Instant::now();
                let log = log_only(&path).open().expect("opened");
                spent += started.elapsed();
                log.close().expect("closed");
            }
            spent
        });
    });
    group.finish();
}

criterion_group!(benches, log, tables, opening);
criterion_main!(benches);
