//! What a run can be asked for.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Appends events to a new store for a while, and prints one line of JSON about it.
#[derive(Clone, Debug, Parser)]
pub struct Arguments {
    /// Print what can be run, as JSON, and run nothing.
    #[arg(long)]
    pub describe: bool,
    /// The way of using the peer, by its name in `--describe`; the first one if absent.
    #[arg(long)]
    pub variant: Option<String>,
    /// Events one at a time, or in batches.
    #[arg(long, value_enum, default_value = "single")]
    pub mode: Mode,
    /// Threads that append, each waiting for one acknowledgement before it goes on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub producers: u16,
    /// Events in a batch.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch_events: u32,
    /// Bytes of an event's payload: an even number, as it is text in hexadecimal.
    #[arg(long, default_value_t = 256)]
    pub payload_bytes: usize,
    /// How long to append.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Events after which a run ends before its time: they bound what it takes of the disk.
    #[arg(long, default_value_t = 10_000_000)]
    pub events_max: u64,
    /// The folder for the store, on the file system that shall be measured. The store is removed after the run.
    #[arg(long, default_value = ".")]
    pub folder: PathBuf,
}

/// How producers hand events over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One event a call.
    Single,
    /// A batch a call, in one transaction.
    Batch,
}

/// What a peer may know of the work before it starts.
#[derive(Clone, Debug)]
pub struct Work {
    /// The name of the variant.
    pub variant: &'static str,
    /// Threads that append.
    pub producers: usize,
    /// How they hand events over.
    pub mode: Mode,
    /// Events in one call.
    pub events_a_call: usize,
}
