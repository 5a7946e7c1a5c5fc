//! How fast the host makes 4 KiB durable: what bounds every store that acknowledges durable events one at a time.
//!
//! Appending changes the file's size, which the file system's journal has to carry as well; writing in place does
//! not. SQLite's write-ahead log does the one while it grows and the other once it is used again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use annals_peer_harness::{Latency, Timing, anyhow};
use anyhow::Context as _;
use clap::Parser;
use serde::Serialize;

const WRITE_BYTES: usize = 4_096;

/// The file that is written in place: the size of a write-ahead log in use.
const PLACES: u64 = 1_024;

/// Writes 4 KiB and calls fdatasync, again and again, and prints one line of JSON about it.
#[derive(Parser)]
struct Arguments {
    /// How long to do each.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The folder for the file, on the file system that shall be measured.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

#[derive(Serialize)]
struct Host {
    append: Rate,
    in_place: Rate,
}

#[derive(Serialize)]
struct Rate {
    per_second: f64,
    latency_us: Latency,
}

fn main() -> ExitCode {
    match host(&Arguments::parse()) {
        Ok(host) => {
            println!("{}", serde_json::json!(host));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn host(arguments: &Arguments) -> anyhow::Result<Host> {
    let span = Duration::try_from_secs_f64(arguments.seconds).context("the time to write for")?;
    let folder = tempfile::Builder::new().prefix("host-").tempdir_in(&arguments.folder)?;
    let open = |name: &str| OpenOptions::new().create_new(true).write(true).open(folder.path().join(name));

    let append = rate(&open("append")?, span, |write| write * WRITE_BYTES as u64)?;
    let in_place = open("in-place")?;
    in_place.write_all_at(&vec![1; PLACES as usize * WRITE_BYTES], 0)?;
    in_place.sync_all()?;
    let in_place = rate(&in_place, span, |write| write % PLACES * WRITE_BYTES as u64)?;
    Ok(Host { append, in_place })
}

fn rate(file: &File, span: Duration, place: impl Fn(u64) -> u64) -> anyhow::Result<Rate> {
    let bytes = [2_u8; WRITE_BYTES];
    let mut timing = Timing::new()?;
    let first = Instant::now();
    let mut last = first;
    while last - first < span {
        file.write_all_at(&bytes, place(timing.calls()))?;
        file.sync_data()?;
        let now = Instant::now();
        timing.add(now - last);
        last = now;
    }
    let per_second = timing.calls() as f64 / (last - first).as_secs_f64();
    Ok(Rate { per_second, latency_us: timing.latency() })
}
