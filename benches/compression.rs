//! What compressed payloads would save and cost: zstd, event by event, because each payload can be erased
//! by itself. Salts are left as they are.
//!
//! ```text
//! cargo bench --bench compression -- [EVENTS]
//! ```
//!
//! It makes logs of 20,000 events unless another number is given, with and without read tables, and puts
//! compressed payloads in their place. The dictionary is trained on the first tenth of the events and
//! used for all, as a log's own dictionary would be at best. Files are compared after VACUUM.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark that cannot go on ends"
)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Instant;

use annals::evidence::Evidence;
use annals::{AuditLog, Draft};
use rusqlite::{Connection, params};
use support::sessions::Sessions;
use support::{Scratch, fill, log_only, session_events};
use zstd::bulk::{Compressor, Decompressor};

/// Events unless the command line says otherwise.
const EVENTS: usize = 20_000;

/// Random bytes before each payload, which nothing compresses.
const SALT_BYTES: usize = 16;

/// Longest dictionary: what zstd itself makes unless told otherwise.
const DICTIONARY_BYTES: usize = 112_640;

/// One event in so many is learnt from: the first of them.
const LEARNT: usize = 10;

const LEVELS: [i32; 2] = [1, 3];

fn main() {
    let events = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(EVENTS);
    measure("realistic", events, || Box::new(Sessions::new(1).take(events)));
    measure("short", events, || Box::new(session_events(events)));
}

fn measure(texts: &str, events: usize, drafts: impl Fn() -> Box<dyn Iterator<Item = Draft>>) {
    let mut scratch = Scratch::new();
    let (alone, with_tables) = (scratch.path(), scratch.path());
    let log = log_only(&alone).open().expect("a log");
    fill(&log, drafts());
    log.close().expect("closed");
    let log = AuditLog::builder(&with_tables).evidence(Evidence::Off).open().expect("a log");
    fill(&log, drafts());
    log.wait_caught_up(log.committed()).expect("visible");
    log.close().expect("closed");

    let payloads = payloads(&alone);
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    let (alone_bytes, with_tables_bytes) = (vacuumed_bytes(&alone), vacuumed_bytes(&with_tables));
    println!(
        "{texts} texts: {events} events, payloads of {} bytes on average, {} bytes of file an event without read \
         tables, {} with them",
        bytes / payloads.len(),
        alone_bytes / events as u64,
        with_tables_bytes / events as u64,
    );
    let learnt: Vec<&Vec<u8>> = payloads.iter().take(payloads.len() / LEARNT).collect();
    let dictionary = zstd::dict::from_samples(&learnt, DICTIONARY_BYTES).expect("a dictionary");
    for level in LEVELS {
        for dictionary in [&[], dictionary.as_slice()] {
            let Compressed { packed, pack_ns, unpack_ns } = compress(&payloads, level, dictionary);
            let packed_bytes: usize = packed.iter().map(Vec::len).sum();
            let saved = |path: &Path, before: u64, scratch: &mut Scratch| {
                let after = bytes_with(path, &packed, scratch.path());
                100.0 * (1.0 - after as f64 / before as f64)
            };
            println!(
                "{texts} texts, zstd {level}{}: payloads to {:.0} %, file {:.0} % smaller without read tables, \
                 {:.0} % with them; an event {:.1} µs to compress, {:.1} µs to decompress",
                if dictionary.is_empty() { "" } else { " with a dictionary" },
                100.0 * packed_bytes as f64 / bytes as f64,
                saved(&alone, alone_bytes, &mut scratch),
                saved(&with_tables, with_tables_bytes, &mut scratch),
                pack_ns / 1_000.0,
                unpack_ns / 1_000.0,
            );
        }
    }
}

/// The payloads of a log, without their salts.
fn payloads(log: &Path) -> Vec<Vec<u8>> {
    let connection = Connection::open(log).expect("a connection");
    let mut statement = connection.prepare("SELECT payload FROM log ORDER BY seq").expect("a statement");
    let cells = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
    cells.map(|cell| cell.expect("a payload").split_off(SALT_BYTES)).collect()
}

struct Compressed {
    packed: Vec<Vec<u8>>,
    /// Nanoseconds an event.
    pack_ns: f64,
    unpack_ns: f64,
}

fn compress(payloads: &[Vec<u8>], level: i32, dictionary: &[u8]) -> Compressed {
    let mut compressor = Compressor::with_dictionary(level, dictionary).expect("a compressor");
    let mut decompressor = Decompressor::with_dictionary(dictionary).expect("a decompressor");
    let ns = |started: Instant| started.elapsed().as_nanos() as f64 / payloads.len() as f64;
    let started = Instant::now();
    let packed: Vec<Vec<u8>> =
        payloads.iter().map(|payload| compressor.compress(payload).expect("compressed")).collect();
    let pack_ns = ns(started);
    let longest = payloads.iter().map(Vec::len).max().unwrap_or_default();
    let mut buffer = Vec::with_capacity(longest);
    let started = Instant::now();
    for (packed, payload) in packed.iter().zip(payloads) {
        buffer.clear();
        let bytes = decompressor.decompress_to_buffer(packed, &mut buffer).expect("decompressed");
        assert_eq!(bytes, payload.len());
    }
    Compressed { packed, pack_ns, unpack_ns: ns(started) }
}

/// Size of a log's file, compacted.
fn vacuumed_bytes(log: &Path) -> u64 {
    Connection::open(log).and_then(|connection| connection.execute_batch("VACUUM")).expect("compacted");
    std::fs::metadata(log).expect("a file").len()
}

/// Size of a copy of a log's file with other payloads, compacted. What does not become shorter stays.
fn bytes_with(log: &Path, packed: &[Vec<u8>], copy: PathBuf) -> u64 {
    std::fs::copy(log, &copy).expect("a copy");
    let mut connection = Connection::open(&copy).expect("a connection");
    connection
        .execute_batch("PRAGMA synchronous = OFF; DROP TRIGGER log_rows_never_change;")
        .expect("no guard rail");
    let tx = connection.transaction().expect("begun");
    {
        let mut update = tx
            .prepare(
                "UPDATE log SET payload = CAST(substr(payload, 1, ?3) || ?2 AS BLOB)
                 WHERE seq = ?1 AND length(payload) > ?3 + length(?2)",
            )
            .expect("a statement");
        for (row, packed) in packed.iter().enumerate() {
            update.execute(params![row as i64 + 1, packed, SALT_BYTES as i64]).expect("updated");
        }
    }
    tx.commit().expect("committed");
    drop(connection);
    let bytes = vacuumed_bytes(&copy);
    std::fs::remove_file(&copy).expect("removed");
    bytes
}
