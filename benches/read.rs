//! Verification, and opening.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot go on ends"
)]

mod support;

use std::time::{Duration, Instant};

use annals::verify::{self, Scope};
use annals::{AuditLog, chain};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rusqlite::Connection;

use support::{Scratch, fill, log_only, note, session_events};

/// The chain, against reading and hashing the same bytes and nothing else.
fn verification(criterion: &mut Criterion) {
    const EVENTS: usize = 200_000;
    let mut group = criterion.benchmark_group("verify");
    group
        .throughput(Throughput::Elements(EVENTS as u64))
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    let mut scratch = Scratch::new();
    let path = scratch.path();
    let log = log_only(&path).open().expect("a log");
    fill(&log, (0..EVENTS).map(|_| note()));
    log.close().expect("closed");
    group.bench_function("log", |bencher| {
        bencher.iter(|| {
            let report = verify::verify(&path, Scope::LogOnly, &mut |_, _| {}).expect("verified");
            assert!(report.self_consistent);
        });
    });
    group.bench_function("limit: read and hash", |bencher| {
        bencher.iter(|| {
            let connection = Connection::open(&path).expect("a connection");
            let mut statement =
                connection.prepare("SELECT entry, payload, hash FROM log ORDER BY seq").expect("a statement");
            let mut rows = statement.query([]).expect("rows");
            let mut last = annals::Digest::ZERO;
            while let Some(row) = rows.next().expect("a row") {
                let entry = row.get_ref(0).and_then(|cell| Ok(cell.as_blob()?)).expect("bytes");
                let payload = row.get_ref(1).and_then(|cell| Ok(cell.as_blob()?)).expect("bytes");
                std::hint::black_box(chain::payload_digest(payload));
                last = chain::link(&last, entry);
            }
            std::hint::black_box(last)
        });
    });
    let tables = scratch.path();
    let log = AuditLog::open(&tables).expect("a log");
    fill(&log, session_events(20_000));
    log.close().expect("closed");
    group.throughput(Throughput::Elements(20_000));
    group.bench_function("log and read tables", |bencher| {
        bencher.iter(|| {
            let report = verify::verify(&tables, Scope::Everything, &mut |_, _| {}).expect("verified");
            assert!(report.self_consistent);
        });
    });
    group.finish();
}

/// Opening a log of a million events for appending, and closing it.
fn opening(criterion: &mut Criterion) {
    const EVENTS: usize = 1_000_000;
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    let mut scratch = Scratch::new();
    let path = scratch.path();
    let log = log_only(&path).open().expect("a log");
    fill(&log, (0..EVENTS).map(|_| note()));
    log.close().expect("closed");
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

criterion_group!(benches, verification, opening);
criterion_main!(benches);
