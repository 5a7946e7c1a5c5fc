//! The chain: each event's link is a hash over the link before it and its own entry.
//!
//! The entry holds the digest of the payload, not the payload, so that the chain can still be
//! checked when a payload was redacted. The salt before each payload makes its digest say nothing
//! about it then.

use std::cell::RefCell;
use std::thread::LocalKey;

use blake3::Hasher;

use crate::event::Digest;

/// Context of payload digests, for BLAKE3's `derive_key` mode.
pub const PAYLOAD_CONTEXT: &str = "annals 2026-11-20 v1 payload";

/// Context of links, for BLAKE3's `derive_key` mode.
pub const LINK_CONTEXT: &str = "annals 2026-11-20 v1 link";

thread_local! {
    // Made once: beside the hashing of an event's few hundred bytes, making a hasher can be told.
    static PAYLOAD: RefCell<Hasher> = RefCell::new(Hasher::new_derive_key(PAYLOAD_CONTEXT));
    static LINK: RefCell<Hasher> = RefCell::new(Hasher::new_derive_key(LINK_CONTEXT));
}

fn derive(hasher: &'static LocalKey<RefCell<Hasher>>, parts: &[&[u8]]) -> Digest {
    hasher.with_borrow_mut(|hasher| {
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

/// The link of an event: over its leaf, which is the link before it, then the bytes of its entry.
/// Before the first event stands [`Digest::ZERO`].
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
