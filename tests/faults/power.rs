//! A loss of power after any change to the files: every state that the disk may be left in is opened as the
//! next process would, and holds what was acknowledged.
//!
//! One run of the log is recorded, change by change, by the shim between SQLite and the file system. From
//! that the files are made as they may be found after each change: as after a kill, with nothing that was not
//! flushed, and with any part of it. The order of the changes is that of the threads in that run, which
//! nothing here controls; what is made of it is given by a seed.

use crate::support;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use crate::support::fault_vfs::{Change, install, record};
use crate::support::{is_heavy, new_path, note, sqlite, verify_whole};
use annals::{AuditLog, EventId, Projections};

/// What a disk writes whole.
const SECTOR: usize = 512;

/// A file as programs see it, and as the disk has it for certain.
#[derive(Clone, Default)]
struct File {
    now: Option<Vec<u8>>,
    flushed: Option<Vec<u8>>,
}

type Files = BTreeMap<String, File>;

fn apply(files: &mut Files, change: &Change) {
    match change {
        Change::Write { file, offset, bytes } => {
            let now = files.entry(file.clone()).or_default().now.get_or_insert_default();
            now.resize(now.len().max(offset + bytes.len()), 0);
            now[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Change::Truncate { file, size } => {
            files.entry(file.clone()).or_default().now.get_or_insert_default().truncate(*size);
        }
        Change::Delete { file } => files.entry(file.clone()).or_default().now = None,
        Change::Sync { file } => {
            let file = files.entry(file.clone()).or_default();
            file.flushed.clone_from(&file.now);
        }
        Change::Said(_) => {}
    }
}

/// What is left of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// The process ended, and the system did not.
    Nothing,
    /// Everything that was not flushed.
    All,
    /// Of each sector that was not flushed one of the two.
    Some,
}

fn left(file: &File, loss: Loss, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let (now, flushed) = (&file.now, &file.flushed);
    match loss {
        Loss::Nothing => now.clone(),
        Loss::All => flushed.clone(),
        Loss::Some if now.is_none() || flushed.is_none() => {
            let is_there = random.bool();
            if is_there { now.clone().or(flushed.clone()) } else { flushed.clone() }
        }
        Loss::Some => {
            let (now, flushed) = (now.as_deref().unwrap_or_default(), flushed.as_deref().unwrap_or_default());
            let length = if random.bool() { now.len() } else { flushed.len().max(now.len()) };
            let mut left = vec![0; length];
            for (number, sector) in left.chunks_mut(SECTOR).enumerate() {
                let source = if random.bool() { now } else { flushed };
                let from = number * SECTOR;
                let there = source.get(from..(from + sector.len()).min(source.len())).unwrap_or_default();
                sector[..there.len()].copy_from_slice(there);
            }
            Some(left)
        }
    }
}

/// What happens to a log: some events alone and some together, a rebuild, an erasure, a restart.
fn run(seed: u64) -> (Vec<Change>, Files, HashSet<EventId>) {
    install();
    let mut random = fastrand::Rng::with_seed(seed);
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    log.append(note("from before")).unwrap().wait().unwrap();
    log.close().unwrap();
    let content = std::fs::read(&path).unwrap();
    let before = File { now: Some(content.clone()), flushed: Some(content) };
    let name = path.to_str().unwrap().to_owned();
    let mut sent = HashSet::new();

    let recorded = record(&path);
    let projections = if seed.is_multiple_of(2) { Projections::Off } else { Projections::On };
    for _ in 0..2 {
        let log = AuditLog::builder(&path).projections(projections).open().unwrap();
        for _ in 0..random.usize(1..5) {
            let drafts: Vec<_> = (0..random.usize(1..4))
                .map(|_| note("x".repeat(random.usize(0..9_000))).id(EventId::generate()))
                .collect();
            sent.extend(drafts.iter().filter_map(|draft| draft.id));
            let receipts: Vec<_> = drafts.into_iter().map(|draft| log.append(draft).unwrap()).collect();
            for receipt in receipts {
                recorded.say(receipt.wait().unwrap().event_id.to_string());
            }
        }
        if projections == Projections::On {
            log.wait_caught_up(log.committed()).unwrap();
            log.rebuild("activity").unwrap();
        }
        log.close().unwrap();
    }
    (recorded.end(), Files::from([(name, before)]), sent)
}

/// Opens what is left as the next process does, and holds it against what was acknowledged.
fn holds(files: &[(String, Vec<u8>)], acknowledged: &[EventId], sent: &HashSet<EventId>) {
    let (_folder, path) = new_path();
    for (ending, content) in files {
        std::fs::write(support::beside(&path, ending), content).unwrap();
    }
    let log = AuditLog::open(&path).unwrap();
    let after = log.append(note("after the loss")).unwrap().wait().unwrap();
    log.wait_caught_up(after.seq).unwrap();
    log.close().unwrap();
    verify_whole(&path);
    let found = found(&path);
    let missing: Vec<_> = acknowledged.iter().filter(|id| !found.contains(id)).collect();
    assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
    let strange = found.iter().filter(|id| !sent.contains(id) && **id != after.event_id).count();
    // The log's first event, and the one from before.
    assert_eq!(strange, 2);
}

fn found(path: &Path) -> HashSet<EventId> {
    let connection = sqlite(path);
    let mut ids = connection.prepare("SELECT event_id FROM log").unwrap();
    let ids = ids.query_map([], |row| Ok(EventId::from_bytes(row.get(0)?))).unwrap();
    ids.map(Result::unwrap).collect()
}

/// Half of a write, which a kill in the middle of it leaves.
fn half(change: &Change) -> Option<Change> {
    let Change::Write { file, offset, bytes } = change else { return None };
    let bytes = bytes.get(..bytes.len() / 2)?.to_vec();
    Some(Change::Write { file: file.clone(), offset: *offset, bytes })
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power_after_any_change() {
    let (seeds, places) = if is_heavy() { (20, usize::MAX) } else { (2, 25) };
    let mut states = 0;
    for seed in 0..seeds {
        let (changes, mut files, sent) = run(seed);
        let log = files.keys().next().unwrap().clone();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut acknowledged = Vec::new();
        for (place, change) in changes.iter().enumerate() {
            let is_looked_at = changes.len() <= places || random.usize(0..changes.len()) < places;
            let mut cases = Vec::new();
            if let Some(half) = half(change).filter(|_| is_looked_at) {
                let mut torn = files.clone();
                apply(&mut torn, &half);
                cases.push((torn, Loss::Nothing));
            }
            apply(&mut files, change);
            if let Change::Said(id) = change {
                acknowledged.push(id.parse().unwrap());
            }
            if is_looked_at {
                cases.extend(
                    [Loss::Nothing, Loss::All, Loss::Some, Loss::Some].map(|loss| (files.clone(), loss)),
                );
            }
            for (files, loss) in cases {
                let left: Vec<_> = files
                    .iter()
                    .filter_map(|(name, file)| {
                        Some((name.strip_prefix(&log)?.to_owned(), left(file, loss, &mut random)?))
                    })
                    .collect();
                let lengths: Vec<_> = left.iter().map(|(ending, content)| (ending, content.len())).collect();
                eprintln!("seed {seed}, after change {place} of {}, {loss:?}: {lengths:?}", changes.len());
                holds(&left, &acknowledged, &sent);
                states += 1;
            }
        }
    }
    println!("{states} states after a loss of power");
}
