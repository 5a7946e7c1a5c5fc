//! `annals serve` under load from another process: what was answered is in the log, once.

#![allow(clippy::cast_possible_truncation, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::time::Duration;

use crate::support::load::{self, Batch, Outcome};
use crate::support::program;
use crate::support::server::Served;

/// How hard: a few seconds, or with `ANNALS_TEST_HEAVY=1` a minute at full breadth.
struct Effort {
    connections: u16,
    time: Duration,
    kills: u32,
}

fn effort() -> Effort {
    if std::env::var_os("ANNALS_TEST_HEAVY").is_some_and(|heavy| heavy == "1") {
        Effort { connections: 64, time: Duration::from_secs(60), kills: 10 }
    } else {
        Effort { connections: 16, time: Duration::from_secs(3), kills: 3 }
    }
}

/// Every event that was answered is there once, and nothing else is.
fn assert_each_is_there_once(path: &Path, outcome: &Outcome) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut seen: Vec<Vec<bool>> =
        outcome.answered.iter().map(|&events| vec![false; events as usize]).collect();
    let mut ids = connection.prepare("SELECT event_id FROM log WHERE seq > 1").unwrap();
    let mut ids = ids.query([]).unwrap();
    let mut events = 0;
    while let Some(row) = ids.next().unwrap() {
        let (connection, number) = load::event_of(&row.get::<_, [u8; 16]>(0).unwrap());
        let there = &mut seen[usize::from(connection)][number as usize];
        assert!(!*there, "event {number} of connection {connection} is there twice");
        *there = true;
        events += 1;
    }
    assert_eq!(events, outcome.events(), "every event that was answered, and no other");
    let notes: i64 = connection.query_row("SELECT count(*) FROM notes", [], |row| row.get(0)).unwrap();
    assert_eq!(notes.cast_unsigned(), events, "the read tables hold them all when the server has stopped");
}

fn report(outcome: &Outcome) {
    println!(
        "{} events, {:.0} a second; an answer took {:?} (half), {:?} (99 %); {} sent again",
        outcome.events(),
        outcome.a_second(),
        outcome.quantile(0.5),
        outcome.quantile(0.99),
        outcome.retried
    );
}

#[test]
fn every_event_that_was_answered_is_in_the_log_once_and_memory_stays_flat() {
    let effort = effort();
    let log = program::Log::new();
    let server = Served::start(&log.path());
    let batch = Batch::notes(100);
    // Buffers and caches have their size when as much again has been posted.
    let warm = load::run(server.address, None, effort.connections, &batch, effort.time / 3);
    let before = server.resident_bytes();
    let batch = batch.continued(&warm);
    let mut outcome = load::run(server.address, None, effort.connections, &batch, effort.time);
    let after = server.resident_bytes();
    report(&outcome);
    outcome.add_before(&warm);
    println!("resident: {} MiB, then {} MiB", before >> 20, after >> 20);
    assert!(after < before + (128 << 20), "{before} bytes, then {after}");
    server.stop_within(10 * effort.time + Duration::from_secs(600));
    assert_each_is_there_once(&log.path(), &outcome);
    log.annals(&["verify"]).assert().success();
}

#[test]
fn a_server_that_is_killed_and_started_again_loses_and_repeats_nothing_under_clients_that_retry() {
    let effort = effort();
    let log = program::Log::new();
    let mut server = Served::start(&log.path());
    let address = server.address;
    let same_place = address.to_string();
    let batch = Batch::notes(100);
    let (outcome, server) = std::thread::scope(|scope| {
        let posting = scope.spawn(|| load::run(address, None, effort.connections, &batch, effort.time));
        for _ in 0..effort.kills {
            std::thread::sleep(effort.time / (effort.kills + 1));
            server.kill();
            server = Served::start_with(&log.path(), &["--listen", &same_place]);
        }
        (posting.join().unwrap(), server)
    });
    report(&outcome);
    assert!(outcome.retried > 0, "the kills were felt");
    server.stop_within(10 * effort.time + Duration::from_secs(600));
    assert_each_is_there_once(&log.path(), &outcome);
    log.annals(&["verify"]).assert().success();
}
