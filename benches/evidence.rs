//! What the tree, checkpoints and proofs cost.
//!
//! The log of the proofs has a million events; ANNALS_BENCH_EVENTS says another number.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot go on ends"
)]

mod support;

use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use annals::evidence::{Epochs, Evidence, FileAnchor, KeyFolder, PublicKeys, Signing};
use annals::note::CheckpointFile;

use annals::prove::Payloads;
use annals::verify::{self, Options, Scope};
use annals::{AuditLog, Reader, Seq, Timestamp};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use support::{Scratch, fill, log_only, note};

const ORIGIN: &str = "example.org/bench";

/// Keys for the log at a path, and how it is signed for: far more often than anybody would.
fn keys(path: &Path) -> (KeyFolder, PublicKeys) {
    let keys = KeyFolder::at(path.with_extension("keys"));
    let public = keys.generate(ORIGIN, Epochs::None, Timestamp::now()).expect("a key");
    (keys, public)
}

fn signed(path: &Path, keys: &KeyFolder) -> AuditLog {
    let signing = Signing::new(keys.clone())
        .every(Duration::from_secs(1))
        .anchor(FileAnchor::new(keys.checkpoints_file()));
    let evidence = Evidence::Signed(Box::new(signing));
    log_only(path).origin(ORIGIN).evidence(evidence).open().expect("a log")
}

/// Hashing and storing every full tile of a log that has none.
fn upkeep(criterion: &mut Criterion) {
    const EVENTS: u64 = 1 << 18;
    let mut group = criterion.benchmark_group("tree");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10);
    let mut scratch = Scratch::new();
    let path = scratch.path();
    let log = log_only(&path).open().expect("a log");
    fill(&log, (1..EVENTS).map(|_| note()));
    log.close().expect("closed");
    group.bench_function("upkeep", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let log = log_only(&path).open().expect("a log");
                log.rebuild("tree").expect("forgotten");
                log.close().expect("closed");
                let reader = Reader::open(&path).expect("a reader");
                let started = Instant::now();
                let log = log_only(&path).evidence(Evidence::Tree).open().expect("a log");
                while reader.evidence().expect("a status").tree_size < EVENTS {
                    std::thread::sleep(Duration::from_micros(200));
                }
                spent += started.elapsed();
                log.close().expect("closed");
            }
            spent
        });
    });
    group.finish();
}

/// Making proofs of a large log, and checking them.
fn proofs(criterion: &mut Criterion) {
    let events: u64 =
        std::env::var("ANNALS_BENCH_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(1_000_000);
    let mut group = criterion.benchmark_group(format!("proofs, {events} events"));
    let mut scratch = Scratch::new();
    let path = scratch.path();
    let log = log_only(&path).origin(ORIGIN).open().expect("a log");
    fill(&log, (1..events).map(|_| note()));
    log.close().expect("closed");
    let (keys, _) = keys(&path);
    let log = signed(&path, &keys);
    log.checkpoint().expect("signed");
    let reader = Reader::open(&path).expect("a reader");
    while reader.evidence().expect("a status").tree_size < events / 256 * 256 {
        std::thread::sleep(Duration::from_millis(10));
    }
    // Places that have nothing to do with each other, the same in every run.
    let mut places = (1_u64..).map(|number| 1 + number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % events);
    group.bench_function("prove an event", |bencher| {
        bencher.iter_batched(
            || places.next().expect("a place"),
            |place| reader.prove_event(Seq::new(place), Payloads::LeftOut).expect("a proof"),
            criterion::BatchSize::SmallInput,
        );
    });
    let proof = reader.prove_event(Seq::new(events / 3), Payloads::LeftOut).expect("a proof");
    group.bench_function("check an event's proof", |bencher| {
        bencher.iter(|| proof.check().expect("a good proof"));
    });
    group.bench_function("prove consistency", |bencher| {
        bencher.iter_batched(
            || places.next().expect("a size"),
            |old| reader.prove_consistency(old, None).expect("a proof"),
            criterion::BatchSize::SmallInput,
        );
    });
    log.close().expect("closed");
    group.finish();
}

/// The chain alone, and with a checkpoint that covers all of it.
fn verification(criterion: &mut Criterion) {
    const EVENTS: u64 = 200_000;
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10).measurement_time(Duration::from_secs(10));
    let mut scratch = Scratch::new();
    let path = scratch.path();
    let (keys, public) = keys(&path);
    let log = signed(&path, &keys);
    fill(&log, (1..EVENTS).map(|_| note()));
    let checkpoint = log.checkpoint().expect("signed");
    log.close().expect("closed");
    let without = || Options::new().scope(Scope::LogOnly);
    let with = || {
        let kept: CheckpointFile = [checkpoint.clone()].into_iter().collect();
        without().key(public.stable.clone()).checkpoints("kept", kept)
    };
    for (name, options) in [("without a checkpoint", without()), ("with a checkpoint", with())] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let report = verify::verify(&path, options.clone(), &mut |_, _| {}).expect("verified");
                assert!(report.is_good());
            });
        });
    }
    group.finish();
}

/// Durable appends while nothing else is done, and while the tree is kept and checkpoints are signed.
fn appending(criterion: &mut Criterion) {
    const PRODUCERS: u64 = 64;
    const EVENTS: u64 = PRODUCERS * 32;
    let mut group = criterion.benchmark_group("append, durable, 64 producers");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10).measurement_time(Duration::from_secs(10));
    let mut scratch = Scratch::new();
    let off = log_only(&scratch.path()).open().expect("a log");
    let path = scratch.path();
    let (keys, _) = keys(&path);
    for (name, log) in [("evidence off", off), ("tree and checkpoints", signed(&path, &keys))] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|rounds| {
                let each = rounds * EVENTS / PRODUCERS;
                let start = Barrier::new(PRODUCERS as usize + 1);
                std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..PRODUCERS)
                        .map(|_| {
                            scope.spawn(|| {
                                start.wait();
                                for _ in 0..each {
                                    log.append(note()).expect("appended").wait().expect("committed");
                                }
                            })
                        })
                        .collect();
                    start.wait();
                    let started = Instant::now();
                    for thread in threads {
                        thread.join().expect("appended");
                    }
                    started.elapsed()
                })
            });
        });
        log.close().expect("closed");
    }
    group.finish();
}

criterion_group!(benches, upkeep, proofs, verification, appending);
criterion_main!(benches);
