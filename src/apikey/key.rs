//! The text form of a key: `annals_<id>_<secret>`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::event::{Digest, EventId};

/// The beginning of every key. Scanners for leaked secrets find keys by it.
const PREFIX: &str = "annals_";

/// Number of hexadecimal digits of an id.
const ID_CHARS: usize = 32;

/// Number of bytes of a secret, and of its characters in base64.
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 43;

/// The context from which the hash of secrets is derived. It is part of the file's format, and never changes.
const CONTEXT: &str = "annals 2026-11-21 v1 api key";

/// A text that is not an API key. The error never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an API key like `annals_<32 hexadecimal digits>_<43 characters of base64url>`")]
pub struct NotAnApiKey;

/// An API key with its secret. Whoever has it may use all its scopes.
///
/// Only [`ApiKey::reveal`] prints the secret. Its memory is cleared when the key is dropped.
///
/// ```
/// use annals::apikey::ApiKey;
///
/// let key = ApiKey::generate()?;
/// let again: ApiKey = key.reveal().parse()?;
/// assert_eq!(again.hash(), key.hash());
/// assert!(!format!("{key:?}").contains(key.reveal().get(40..).unwrap()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ApiKey {
    id: EventId,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl ApiKey {
    /// Makes a fresh key, which no log knows yet.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn generate() -> Result<ApiKey, getrandom::Error> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(secret.as_mut_slice())?;
        Ok(ApiKey { id: EventId::generate(), secret })
    }

    /// The id of the key: that of the event that creates it. It is not secret.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The hash of the secret, as the log has it.
    pub fn hash(&self) -> ApiKeyHash {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(self.secret.as_slice());
        ApiKeyHash(hasher.finalize())
    }

    /// The text of the key, which is handed out once.
    pub fn reveal(&self) -> Zeroizing<String> {
        // Has its full capacity from the beginning: a text that grows leaves its old bytes in memory.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS));
        text.push_str(PREFIX);
        for byte in self.id.bytes() {
            for half in [byte >> 4, byte & 0xf] {
                text.extend(char::from_digit(half.into(), 16));
            }
        }
        text.push('_');
        URL_SAFE_NO_PAD.encode_string(self.secret.as_slice(), &mut text);
        text
    }
}

/// Prints the id alone.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for ApiKey {
    type Err = NotAnApiKey;

    /// Reads the text that [`ApiKey::reveal`] returns, and no other spelling of it. The secret may contain
    /// `_`, so the parts are separated by their lengths.
    fn from_str(text: &str) -> Result<ApiKey, NotAnApiKey> {
        let rest = text.strip_prefix(PREFIX).ok_or(NotAnApiKey)?;
        let (id, secret) = rest.split_at_checked(ID_CHARS).ok_or(NotAnApiKey)?;
        let secret =
            secret.strip_prefix('_').filter(|secret| secret.len() == SECRET_CHARS).ok_or(NotAnApiKey)?;
        // The decoder refuses padding and unused bits that are not zero, so every secret has one spelling.
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        let length = URL_SAFE_NO_PAD.decode_slice(secret, bytes.as_mut_slice()).map_err(|_| NotAnApiKey)?;
        if length != SECRET_BYTES {
            return Err(NotAnApiKey);
        }
        Ok(ApiKey { id: parse_id(id).ok_or(NotAnApiKey)?, secret: bytes })
    }
}

fn parse_id(text: &str) -> Option<EventId> {
    // `EventId` accepts other spellings too. An API key has only this one.
    let is_spelled_so = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == ID_CHARS && text.bytes().all(is_spelled_so)).then(|| text.parse().ok()).flatten()
}

/// The hash of a key's secret, as the log has it: BLAKE3 in its key derivation mode, over the 32 bytes. The
/// secret is random, so a slow hash is not needed. The comparison takes the same time for every difference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApiKeyHash(blake3::Hash);

impl From<Digest> for ApiKeyHash {
    fn from(digest: Digest) -> ApiKeyHash {
        ApiKeyHash(blake3::Hash::from_bytes(*digest.bytes()))
    }
}

impl From<ApiKeyHash> for Digest {
    fn from(hash: ApiKeyHash) -> Digest {
        Digest::from_bytes(*hash.0.as_bytes())
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeyHash({})", self.0.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "annals_019f00000000700080000000000000ab_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn a_key_is_read_and_printed_as_it_was() {
        let key: ApiKey = KEY.parse().unwrap();
        assert_eq!(key.id().to_string(), "019f0000-0000-7000-8000-0000000000ab");
        assert_eq!(*key.reveal(), KEY);
        let fresh = ApiKey::generate().unwrap();
        let again: ApiKey = fresh.reveal().parse().unwrap();
        assert_eq!((again.id(), again.hash()), (fresh.id(), fresh.hash()));
    }

    #[test]
    fn the_hash_is_the_one_of_the_format() {
        let secret: Vec<u8> = (0..32).collect();
        let expected = blake3::derive_key("annals 2026-11-21 v1 api key", &secret);
        let key: ApiKey = KEY.parse().unwrap();
        assert_eq!(key.hash(), ApiKeyHash::from(Digest::from_bytes(expected)));
        assert_eq!(*Digest::from(key.hash()).bytes(), expected);
    }

    #[test]
    fn no_other_spelling_is_a_key() {
        let upper = KEY.replace("ab_", "AB_");
        let dashes = KEY.replace("019f00000000700080000000000000ab", "019f0000-0000-7000-8000-0000000000ab");
        // The last two bits belong to no byte.
        let bits = KEY.replace("Hh8", "Hh9");
        for text in [
            "",
            "annals_",
            &upper,
            &dashes,
            &bits,
            &KEY.replace("annals", "Annals"),
            &format!("{KEY}="),
            &format!("{KEY}A"),
            &format!(" {KEY}"),
            KEY.get(..82).unwrap(),
            &KEY.replace('Q', "+"),
            "annals_019f000000007000800000000000é_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ] {
            assert_eq!(text.parse::<ApiKey>().err(), Some(NotAnApiKey), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_as_a_key_is_what_it_is_printed_as(text in "(annals_[0-9a-f]{32}_[0-9a-zA-Z_-]{43}|.{0,90})") {
            if let Ok(key) = text.parse::<ApiKey>() {
                proptest::prop_assert_eq!((*key.reveal()).clone(), text);
            }
        }
    }

    #[test]
    fn what_is_printed_for_debugging_has_no_secret() {
        let key: ApiKey = KEY.parse().unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey { id: EventId(019f0000-0000-7000-8000-0000000000ab), .. }");
    }
}
