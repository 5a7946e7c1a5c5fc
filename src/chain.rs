//! The chain: each event's link is a hash over the previous link and the event's own entry.
//!
//! The entry holds the digest of the payload, not the payload, so the chain can still be checked after a payload was
//! redacted. The random salt before each payload keeps the digest from revealing anything about a redacted payload.

use std::cell::RefCell;
use std::thread::LocalKey;

use blake3::Hasher;

use crate::event::Digest;

/// Context of payload digests, for BLAKE3's `derive_key` mode.
pub const PAYLOAD_CONTEXT: &str = "annals 2026-11-20 v1 payload";

/// Context of links, for BLAKE3's `derive_key` mode.
pub const LINK_CONTEXT: &str = "annals 2026-11-20 v1 link";

thread_local! {
    // Made once per thread: making a hasher costs a noticeable part of hashing an event's few hundred bytes.
    static PAYLOAD: RefCell<Hasher> = RefCell::new(Hasher::new_derive_key(PAYLOAD_CONTEXT));
    static LINK: RefCell<Hasher> = RefCell::new(Hasher::new_derive_key(LINK_CONTEXT));
}

fn derive(hasher: &'static LocalKey<RefCell<Hasher>>, parts: &[&[u8]]) -> Digest {
    hasher.with_borrow_mut(|hasher| {
        // A reset keeps the derived key and drops all input, so each use starts from the same state.
        hasher.reset();
        for part in parts {
            hasher.update(part);
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    })
}

/// The digest of a payload cell: salt, then payload bytes.
pub fn payload_digest(cell: &[u8]) -> Digest {
    derive(&PAYLOAD, &[cell])
}

/// The link of an event: the hash over its leaf, which is the previous link followed by the bytes of its entry.
/// The link before the first event is [`Digest::ZERO`].
///
/// ```
/// use annals::chain::{LINK_CONTEXT, link};
/// use annals::Digest;
///
/// let leaf = [Digest::ZERO.bytes().as_slice(), b"entry"].concat();
/// assert_eq!(link(&Digest::ZERO, b"entry").bytes(), &blake3::derive_key(LINK_CONTEXT, &leaf));
/// ```
pub fn link(previous: &Digest, entry: &[u8]) -> Digest {
    derive(&LINK, &[previous.bytes(), entry])
}
