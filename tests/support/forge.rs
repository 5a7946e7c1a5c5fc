//! What somebody with the file in their hands, or with a key, can make of a log.

#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and fails where it cannot go on"
)]

use std::path::{Path, PathBuf};

use annals::chain;
use annals::entry::Entry;
use annals::merkle::{CompactRange, NodeHash, hashes_to_bytes, leaf_hash, root_of};
use annals::note::{Checkpoint, KeyChange, SignedCheckpoint, SignedNote, SigningKey};
use annals::{AuditLog, Digest, EventId, KeyChangeCause, KeyChanged, KeyRole, Kind};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::support::{new_path, note, sqlite};

pub(crate) const ORIGIN: &str = "example.org/log";

/// A key of the log, a different one for every number.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[number; 32]).unwrap()
}

/// A log of so many events, closed.
pub(crate) fn log_of(events: u64) -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    make(&path, events, "event");
    (folder, path)
}

/// Makes a log of so many events, or brings one to that size.
pub(crate) fn make(path: &Path, events: u64, says: &str) {
    let log = AuditLog::builder(path).origin(ORIGIN).open().unwrap();
    for seq in log.committed().get() + 1..=events {
        drop(log.append(note(format!("{says} {seq}"))).unwrap());
    }
    log.close().unwrap();
}

/// The tree's hashes of leaves, as anybody can compute them from the rows.
pub(crate) fn leaves(path: &Path) -> Vec<NodeHash> {
    let mut before = Digest::ZERO.bytes().to_vec();
    sqlite(path)
        .prepare("SELECT entry, hash FROM log ORDER BY seq")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(|row| {
            let (entry, hash): (Vec<u8>, Vec<u8>) = row.unwrap();
            leaf_hash(&[std::mem::replace(&mut before, hash), entry].concat())
        })
        .collect()
}

/// The root of the tree of the first events.
pub(crate) fn root(path: &Path, size: u64) -> NodeHash {
    let mut range = CompactRange::new();
    leaves(path).iter().take(usize::try_from(size).unwrap()).for_each(|leaf| range.append(*leaf));
    assert_eq!(range.size(), size);
    range.root()
}

/// A checkpoint of the first events, signed.
pub(crate) fn checkpoint(path: &Path, size: u64, keys: &[&SigningKey]) -> SignedCheckpoint {
    sign(size, root(path, size), keys)
}

/// A checkpoint that says what it is told to.
pub(crate) fn sign(size: u64, root: NodeHash, keys: &[&SigningKey]) -> SignedCheckpoint {
    let text = format!("{ORIGIN}\n{size}\n{root}\n");
    let mut signed = SignedCheckpoint::unsigned(text.parse::<Checkpoint>().unwrap());
    keys.iter().for_each(|key| signed.sign(key));
    signed
}

/// Changes the file with no trigger in the way.
pub(crate) fn tamper(path: &Path, tamper: impl FnOnce(&Connection)) {
    let connection = sqlite(path);
    let triggers: Vec<(String, String)> = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (name, _) in &triggers {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    tamper(&connection);
    for (_, sql) in &triggers {
        connection.execute_batch(sql).unwrap();
    }
}

/// Gives an event another payload, and links every event from there on anew: the log is sound in
/// itself, but for its read tables.
pub(crate) fn rewrite(path: &Path, seq: i64) {
    tamper(path, |connection| {
        let payload: Vec<u8> = column(connection, "payload", seq);
        let mut forged = payload.clone();
        // The last byte of a message; the payload ends with the number of its attributes.
        let at = forged.iter().rposition(u8::is_ascii_digit).unwrap();
        forged[at] = b'x';
        let mut entry = Entry::decode(&column::<Vec<u8>>(connection, "entry", seq)).unwrap();
        entry.payload_digest = chain::payload_digest(&forged);
        let mut bytes = Vec::new();
        entry.encode(&mut bytes).unwrap();
        connection
            .execute("UPDATE log SET payload = ?2, entry = ?3 WHERE seq = ?1", params![seq, forged, bytes])
            .unwrap();
        link_again(connection);
    });
}

/// Makes the first event one of a later version, which does not say to this one what the log is called, and
/// links every event anew.
pub(crate) fn as_a_newer_version(path: &Path) {
    tamper(path, |connection| {
        let mut entry = Entry::decode(&column::<Vec<u8>>(connection, "entry", 1)).unwrap();
        entry.kind_version = 2;
        let mut bytes = Vec::new();
        entry.encode(&mut bytes).unwrap();
        connection.execute("UPDATE log SET entry = ?1 WHERE seq = 1", [bytes]).unwrap();
        link_again(connection);
    });
}

/// The column of a row.
pub(crate) fn column<T: rusqlite::types::FromSql>(connection: &Connection, name: &str, seq: i64) -> T {
    connection.query_row(&format!("SELECT {name} FROM log WHERE seq = ?1"), [seq], |row| row.get(0)).unwrap()
}

/// Links every row anew from the entries as they stand, as a forger would.
pub(crate) fn link_again(connection: &Connection) {
    let rows: Vec<(i64, Vec<u8>)> = connection
        .prepare("SELECT seq, entry FROM log ORDER BY seq")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut before = Digest::ZERO;
    for (seq, entry) in rows {
        before = chain::link(&before, &entry);
        connection
            .execute("UPDATE log SET hash = ?2 WHERE seq = ?1", params![seq, before.bytes().as_slice()])
            .unwrap();
    }
}

/// Appends an event of a kind that Annals alone writes, and returns its seq.
pub(crate) fn append<T: bincode::Encode>(path: &Path, kind: Kind, event: &T) -> u64 {
    let connection = sqlite(path);
    let (last, before): (i64, [u8; 32]) = connection
        .query_row("SELECT seq, hash FROM log ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let mut cell = vec![7; 16];
    cell.extend(bincode::encode_to_vec(event, bincode::config::standard()).unwrap());
    let mut entry = Entry::decode(&column::<Vec<u8>>(&connection, "entry", last)).unwrap();
    entry.seq = u64::try_from(last).unwrap() + 1;
    entry.event_id = EventId::generate();
    entry.kind = kind.code();
    entry.kind_version = 1;
    entry.session = None;
    entry.payload_digest = chain::payload_digest(&cell);
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    let hash = chain::link(&Digest::from_bytes(before), &bytes);
    connection
        .execute(
            "INSERT INTO log (seq, event_id, entry, payload, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![last + 1, entry.event_id.bytes().as_slice(), bytes, cell, hash.bytes().as_slice()],
        )
        .unwrap();
    entry.seq
}

/// What `previous` says of a new key that follows it, after the first events of a log.
pub(crate) fn certificate(
    path: &Path,
    role: KeyRole,
    previous: &SigningKey,
    new: &SigningKey,
    size: u64,
) -> String {
    let text =
        format!("annals key change\n{ORIGIN}\n{role}\n{}\n{size}\n{}\n", new.verifier(), root(path, size));
    assert!(text.parse::<KeyChange>().is_ok());
    let mut note = SignedNote::unsigned(text).unwrap();
    note.sign(previous);
    note.to_string()
}

/// A change of keys, as an event.
pub(crate) fn key_changed(
    role: KeyRole,
    previous: Option<&SigningKey>,
    new: &SigningKey,
    certificate: Option<String>,
) -> KeyChanged {
    KeyChanged {
        role,
        vkey: new.verifier().to_string(),
        previous: previous.map(|key| key.verifier().to_string()),
        cause: match (&certificate, previous) {
            (Some(_), _) => KeyChangeCause::Rotated,
            (None, Some(_)) => KeyChangeCause::Lost,
            (None, None) => KeyChangeCause::Generated,
        },
        certificate,
        actor: "ann".to_owned(),
        reason: None,
    }
}

/// Rotates a key: the certificate covers everything before the event.
pub(crate) fn rotate(path: &Path, role: KeyRole, previous: &SigningKey, new: &SigningKey) -> u64 {
    let size = leaves(path).len() as u64;
    let certificate = certificate(path, role, previous, new, size);
    append(path, Kind::KeyChanged, &key_changed(role, Some(previous), new, Some(certificate)))
}

/// Keeps the tiles of a log, as the log itself does.
pub(crate) fn store_tiles(path: &Path) {
    let leaves = leaves(path);
    let connection = sqlite(path);
    connection.execute("DELETE FROM tiles", []).unwrap();
    let mut level: Vec<NodeHash> = leaves.chunks_exact(256).flatten().copied().collect();
    let mut number = 0;
    while !level.is_empty() {
        for (tile, hashes) in level.chunks(256).enumerate() {
            connection
                .execute(
                    "INSERT INTO tiles (level, tile, hashes) VALUES (?1, ?2, ?3)",
                    params![number, i64::try_from(tile).unwrap(), hashes_to_bytes(hashes)],
                )
                .unwrap();
        }
        level = level.chunks_exact(256).map(|tile| root_of(tile.iter().copied())).collect();
        number += 1;
    }
}
