//! What an append costs its caller, and how many are committed in a second.
//!
//! Each group has its own limit in it, measured in the same run: only the ratio says something.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot go on ends"
)]

mod support;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use annals::{AppendError, Appended, BatchReceipt, chain};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::Rng;
use rusqlite::{Connection, params};

use support::{Scratch, log_only, note};

/// The caller's side alone: the queue has room for every event of a measurement.
fn caller(criterion: &mut Criterion) {
    const EVENTS: u64 = 10_000;
    let mut group = criterion.benchmark_group("append, caller's cost");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    let mut scratch = Scratch::new();
    let log = log_only(&scratch.path()).queue_events(4 * EVENTS as usize).open().expect("a log");
    group.bench_function("append", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let drafts: Vec<_> = (0..EVENTS).map(|_| note()).collect();
                let started = Instant::now();
                for draft in drafts {
                    drop(log.append(draft).expect("appended"));
                }
                spent += started.elapsed();
                log.flush().expect("flushed");
            }
            spent
        });
    });
    group.bench_function("limit: salt, UUIDv7, digest, send", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let (sender, receiver) = crossbeam_channel::bounded(4 * EVENTS as usize);
                let counting = std::thread::Builder::new().spawn(move || receiver.iter().count());
                let reader = counting.expect("a thread");
                let payloads: Vec<_> = (0..EVENTS).map(|_| vec![0_u8; 256]).collect();
                let started = Instant::now();
                for payload in payloads {
                    let mut salt = [0; 16];
                    rand::rng().fill_bytes(&mut salt);
                    #[allow(clippy::disallowed_methods, reason = "who writes by hand has no other ids")]
                    let id = uuid::Uuid::now_v7();
                    let cell = [salt.as_slice(), &payload].concat();
                    let digest = chain::payload_digest(&cell);
                    sender.send((id, digest, cell)).expect("sent");
                }
                spent += started.elapsed();
                drop(sender);
                reader.join().expect("read");
            }
            spent
        });
    });
    group.finish();
}

/// How long single calls take, of which criterion gives the mean alone: printed, and held to nothing. The
/// queue is as long as it is by default and has room for a round, after which it is emptied.
fn caller_percentiles(_: &mut Criterion) {
    const ROUNDS: usize = 20;
    const EVENTS: usize = 10_000;
    let mut scratch = Scratch::new();
    let log = log_only(&scratch.path()).open().expect("a log");
    let mut times: Vec<u64> = Vec::with_capacity(ROUNDS * EVENTS);
    for _ in 0..ROUNDS {
        let drafts: Vec<_> = (0..EVENTS).map(|_| note()).collect();
        times.extend(drafts.into_iter().map(|draft| {
            let started = Instant::now();
            drop(log.append(draft).expect("appended"));
            started.elapsed().as_nanos() as u64
        }));
        log.flush().expect("flushed");
    }
    log.close().expect("closed");
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "append, caller's cost: p50 {} ns, p99 {} ns, p99.9 {} ns, the queue not full",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

/// Events committed at full durability, each producer waiting for its receipt.
fn durable(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append, durable");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    for producers in [1_u64, 4, 16, 64] {
        let mut scratch = Scratch::new();
        let log = log_only(&scratch.path()).open().expect("a log");
        let events = 64.max(producers * 32);
        group.throughput(Throughput::Elements(events));
        group.bench_function(BenchmarkId::new("producers", producers), |bencher| {
            bencher.iter_custom(|rounds| {
                let each = rounds * events / producers;
                let start = Barrier::new(producers as usize + 1);
                std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..producers)
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
    }
    group.finish();
}

/// Batches of a thousand, one being made ready while another is committed, against the same rows written
/// by hand.
fn batches(criterion: &mut Criterion) {
    const EVENTS: usize = 1_000;
    let mut group = criterion.benchmark_group("append, durable batches of 1000");
    group
        .throughput(Throughput::Elements(EVENTS as u64))
        .sample_size(20)
        .measurement_time(Duration::from_secs(8));
    let mut scratch = Scratch::new();
    let log = log_only(&scratch.path()).open().expect("a log");
    group.bench_function("append", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut under_way = None;
            let started = Instant::now();
            for _ in 0..rounds {
                let drafts = (0..EVENTS).map(|_| note()).collect();
                let before = under_way.replace(log.append_batch(drafts).expect("appended"));
                before.map_or_else(Vec::new, BatchReceipt::wait).into_iter().for_each(require_committed);
            }
            under_way.map_or_else(Vec::new, BatchReceipt::wait).into_iter().for_each(require_committed);
            started.elapsed()
        });
    });
    let mut by_hand = ByHand::open(&scratch.path());
    group.bench_function("limit: rusqlite by hand", |bencher| {
        bencher.iter(|| by_hand.write(EVENTS));
    });
    group.finish();
}

fn require_committed(outcome: Result<Appended, AppendError>) {
    outcome.expect("committed");
}

/// A loop that anybody would write: same columns, same settings, same batch, nothing checked.
struct ByHand {
    connection: Connection,
    seq: i64,
}

impl ByHand {
    fn open(path: &std::path::Path) -> ByHand {
        let connection = Connection::open(path).expect("a database");
        connection
            .execute_batch(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA wal_autocheckpoint = 0;
                 CREATE TABLE log (seq INTEGER PRIMARY KEY, event_id BLOB NOT NULL UNIQUE, entry BLOB NOT NULL,
                                   payload BLOB, hash BLOB NOT NULL) STRICT;",
            )
            .expect("a table");
        ByHand { connection, seq: 0 }
    }

    fn write(&mut self, events: usize) {
        let tx = self.connection.transaction().expect("begun");
        {
            let mut insert =
                tx.prepare_cached("INSERT INTO log VALUES (?, ?, ?, ?, ?)").expect("a statement");
            for _ in 0..events {
                self.seq += 1;
                #[allow(clippy::disallowed_methods, reason = "who writes by hand has no other ids")]
                let id = uuid::Uuid::now_v7();
                let (entry, payload) = ([1_u8; 80], [2_u8; 272]);
                let digest = chain::payload_digest(&payload);
                insert
                    .execute(params![self.seq, id.as_bytes(), entry, payload, digest.bytes()])
                    .expect("inserted");
            }
        }
        tx.commit().expect("committed");
        if self.seq % 100_000 == 0 {
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
    }
}

criterion_group!(benches, caller, caller_percentiles, durable, batches);
criterion_main!(benches);
