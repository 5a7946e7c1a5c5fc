//! A file with one JSON object a line: what people use instead of a database.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use annals_peer_harness::anyhow;
use annals_peer_harness::group::{Committer, Handle, Sink};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use serde::Serialize;
use uuid::Uuid;

const EACH: &str = "fdatasync-each";
const GROUP: &str = "fdatasync-group";
const NONE: &str = "no-sync";

const SOURCE: &str = "std::fs::File::sync_data, which is fdatasync(2) on Linux";

const ABOUT: About = About {
    peer: "JSON lines",
    package: None,
    lock: include_str!("../Cargo.lock"),
    variants: &[
        Variant {
            name: EACH,
            label: "JSON lines, fdatasync each",
            durability: "fdatasync after each line; in batches after each batch",
            source: SOURCE,
            durable: true,
            batches: true,
            note: "Producers take turns at a lock.",
        },
        Variant {
            name: GROUP,
            label: "JSON lines, fdatasync a group",
            durability: "fdatasync after each group of lines",
            source: SOURCE,
            durable: true,
            batches: true,
            note: "One thread writes what all producers have sent meanwhile.",
        },
        Variant {
            name: NONE,
            label: "JSON lines, no sync",
            durability: "none: what was acknowledged is in the system's memory",
            source: "write(2)",
            durable: false,
            batches: true,
            note: "Survives the end of the process, not a loss of power. Producers take turns at a lock.",
        },
    ],
};

const FILE: &str = "log.jsonl";

#[derive(Serialize)]
struct Line<'a> {
    id: Uuid,
    payload: &'a str,
}

/// A line with its end.
fn line(payload: &str) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Line { id: Uuid::now_v7(), payload })?;
    line.push(b'\n');
    Ok(line)
}

#[derive(Clone, Copy)]
enum Sync {
    Each,
    Never,
}

struct Lines {
    file: File,
    sync: Sync,
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes)?;
        if matches!(self.sync, Sync::Each) {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl Sink for Lines {
    type Item = Vec<u8>;

    fn commit(&mut self, lines: &mut Vec<Vec<u8>>) -> anyhow::Result<()> {
        self.write(&lines.concat())
    }
}

enum JsonLines {
    Locked(Arc<Mutex<Lines>>),
    Grouped(Committer<Lines>),
}

impl Peer for JsonLines {
    type Producer = Writer;

    fn open(folder: &Path, work: &Work) -> anyhow::Result<JsonLines> {
        let file = OpenOptions::new().create_new(true).append(true).open(folder.join(FILE))?;
        let sync = if work.variant == NONE { Sync::Never } else { Sync::Each };
        let lines = Lines { file, sync };
        Ok(match work.variant {
            GROUP => JsonLines::Grouped(Committer::start(lines)?),
            _ => JsonLines::Locked(Arc::new(Mutex::new(lines))),
        })
    }

    fn producer(&self, _number: usize) -> anyhow::Result<Writer> {
        Ok(match self {
            JsonLines::Locked(lines) => Writer::Locked(Arc::clone(lines)),
            JsonLines::Grouped(committer) => Writer::Grouped(committer.handle()),
        })
    }

    fn close(self) -> anyhow::Result<()> {
        if let JsonLines::Grouped(committer) = self {
            committer.stop()?;
        }
        Ok(())
    }

    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        let file = BufReader::new(File::open(folder.join(FILE))?);
        let mut lines = 0;
        for line in file.lines() {
            line?;
            lines += 1;
        }
        Ok(lines)
    }
}

enum Writer {
    Locked(Arc<Mutex<Lines>>),
    Grouped(Handle<Vec<u8>>),
}

impl Producer for Writer {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        let line = line(payload)?;
        match self {
            Writer::Locked(lines) => lines.lock().unwrap_or_else(PoisonError::into_inner).write(&line),
            Writer::Grouped(handle) => handle.commit(line),
        }
    }

    fn append_batch(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        let lines = payloads.iter().map(|payload| line(payload)).collect::<anyhow::Result<Vec<_>>>()?;
        match self {
            Writer::Locked(file) => {
                file.lock().unwrap_or_else(PoisonError::into_inner).write(&lines.concat())
            }
            Writer::Grouped(handle) => handle.commit_several(lines),
        }
    }
}

fn main() -> ExitCode {
    measure::<JsonLines>(&ABOUT)
}
