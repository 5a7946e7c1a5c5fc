//! Notes, checkpoints, keys and certificates that are accepted print as they were read.

use std::fmt::Display;
use std::str::FromStr;

use annals::note::{Checkpoint, KeyChange, SignedCheckpoint, SignedNote, VerifierKey};

fn prints_as_read<T: FromStr + Display>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    assert_eq!(value.to_string(), text);
    Some(value)
}

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    prints_as_read::<SignedNote>(text);
    prints_as_read::<Checkpoint>(text);
    prints_as_read::<VerifierKey>(text);
    prints_as_read::<KeyChange>(text);
    prints_as_read::<SignedCheckpoint>(text);
    // A key on the first line, and a note that it may have signed.
    if let Some((key, note)) = text.split_once('\n')
        && let (Ok(key), Ok(note)) = (key.parse::<VerifierKey>(), note.parse::<SignedNote>())
    {
        let _ = note.verify(&[key]);
    }
}
