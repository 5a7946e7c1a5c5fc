//! An entry that is accepted has no other bytes.

use annals::entry::Entry;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(entry) = Entry::decode_canonical(bytes) else { return };
    let mut again = Vec::new();
    entry.encode(&mut again).expect("an entry that was decoded has an encoding");
    assert_eq!(again, bytes);
}
