//! An entry that is accepted has no other bytes.

#![no_main]

use annals::entry::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entry) = Entry::decode_canonical(bytes) else { return };
    let mut again = Vec::new();
    entry.encode(&mut again).expect("an entry that was decoded has an encoding");
    assert_eq!(again, bytes);
});
