//! Keys, and their text forms: vkeys (public) and skeys (private).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::signature::{KeyId, Signature, parse_id};
use super::text::{NameError, base64_decode, base64_encode, check_key_name};

/// Number of bytes of a public key of ML-DSA-44.
const ML_DSA_44_BYTES: usize = 1_312;

/// The beginning of every skey.
const PRIVATE: &str = "PRIVATE+KEY+";

/// A key that cannot be used, and the reason. The error never holds the text of a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not a public key.
    #[error("this is not a public key like `<name>+<8 hexadecimal digits>+<base64>`")]
    NotAVerifierKey,
    /// The text is a private key, but a public one was expected.
    #[error(
        "this is a private key, which only the signer may have; give the public one, which does not begin \
         with `PRIVATE+KEY`"
    )]
    Private,
    /// The text is not a private key.
    #[error("this is not a private key like `PRIVATE+KEY+<name>+<8 hexadecimal digits>+<base64>`")]
    NotASigningKey,
    /// The name cannot be that of a key.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The algorithm is unknown, or not usable for this key.
    #[error(
        "the key's algorithm {0:#04x} is not known here; known are Ed25519 (0x01), and for witnesses Ed25519 \
         with time (0x04) and ML-DSA-44 (0x06)"
    )]
    Algorithm(u8),
    /// The number of bytes is not that of the algorithm's keys.
    #[error("a key of algorithm {algorithm} has {expected} bytes, this one has {bytes}")]
    Length {
        /// The key's algorithm.
        algorithm: Algorithm,
        /// The key's length in bytes.
        bytes: usize,
        /// The length of its algorithm's keys.
        expected: usize,
    },
    /// The bytes are not a key, or are a key with which anybody can sign.
    #[error("the bytes of this key are not a usable point of Ed25519")]
    Point,
    /// The key id does not match the name and the bytes: a part of the key was changed.
    #[error(
        "the key id is {found}, but this name and key have the id {expected}: a part of the key was changed"
    )]
    Id {
        /// The id in the text.
        found: KeyId,
        /// The id of the name and the bytes.
        expected: KeyId,
    },
    /// The system gives no random bytes.
    #[error("the system gave no random bytes for a new key: {0}")]
    Random(String),
}

/// Computes the id of a key: the first four bytes of SHA-256 over the name, a newline, the algorithm's byte
/// and the public key.
fn key_id(name: &str, algorithm: Algorithm, public: &[u8]) -> KeyId {
    let mut hasher = Sha256::new();
    hasher.update(name);
    hasher.update(b"\n");
    hasher.update([algorithm.byte()]);
    hasher.update(public);
    let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
    KeyId::from_bytes([a, b, c, d])
}

/// A signature algorithm, and the message that it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ed25519 over the text of a note. Logs sign with it.
    Ed25519,
    /// Ed25519 over a time and the text of a checkpoint. Most witnesses sign with it.
    CosignatureV1,
    /// ML-DSA-44 over a time and the content of a checkpoint. Witnesses and logs sign with it.
    MlDsa44,
}

impl Algorithm {
    /// The byte for the algorithm, which stands before a public key.
    pub const fn byte(self) -> u8 {
        match self {
            Algorithm::Ed25519 => 0x01,
            Algorithm::CosignatureV1 => 0x04,
            Algorithm::MlDsa44 => 0x06,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.byte())
    }
}

/// A public key in the form that verification needs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum PublicKey {
    Ed25519(ed25519_dalek::VerifyingKey),
    CosignatureV1(ed25519_dalek::VerifyingKey),
    MlDsa44(Box<[u8; ML_DSA_44_BYTES]>),
}

impl PublicKey {
    fn parse(algorithm: Algorithm, bytes: &[u8]) -> Result<PublicKey, KeyError> {
        match algorithm {
            Algorithm::Ed25519 => ed25519(algorithm, bytes).map(PublicKey::Ed25519),
            Algorithm::CosignatureV1 => ed25519(algorithm, bytes).map(PublicKey::CosignatureV1),
            // Every sequence of this length is a key.
            Algorithm::MlDsa44 => sized(algorithm, bytes).map(Box::new).map(PublicKey::MlDsa44),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            PublicKey::Ed25519(_) => Algorithm::Ed25519,
            PublicKey::CosignatureV1(_) => Algorithm::CosignatureV1,
            PublicKey::MlDsa44(_) => Algorithm::MlDsa44,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            PublicKey::Ed25519(key) | PublicKey::CosignatureV1(key) => key.as_bytes(),
            PublicKey::MlDsa44(bytes) => bytes.as_slice(),
        }
    }
}

fn sized<const N: usize>(algorithm: Algorithm, bytes: &[u8]) -> Result<[u8; N], KeyError> {
    bytes.try_into().map_err(|_| KeyError::Length { algorithm, bytes: bytes.len(), expected: N })
}

/// Reads an Ed25519 point. A point of small order is refused, because it verifies signatures that nobody
/// made. A point that is not in its canonical encoding is refused, because it would be a second text, and
/// have a second id, for the same key.
fn ed25519(algorithm: Algorithm, bytes: &[u8]) -> Result<ed25519_dalek::VerifyingKey, KeyError> {
    // `from_bytes` accepts both kinds of points. They are refused here, where all keys are read.
    let bytes = sized(algorithm, bytes)?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Point)?;
    if key.is_weak() || key.to_edwards().compress().to_bytes() != bytes {
        return Err(KeyError::Point);
    }
    Ok(key)
}

/// A public key with a name, which a verifier may trust. Its text form is the *vkey* `<name>+<key
/// id>+<base64(algorithm ‖ public key)>`.
///
/// ```
/// use annals::note::{Algorithm, VerifierKey};
///
/// let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// let key: VerifierKey = vkey.parse()?;
/// assert_eq!((key.name(), key.algorithm()), ("PeterNeumann", Algorithm::Ed25519));
/// assert_eq!(key.to_string(), vkey);
/// # Ok::<(), annals::note::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    public: PublicKey,
}

impl VerifierKey {
    /// Makes a key from its name and bytes.
    ///
    /// # Errors
    /// If the name cannot be that of a key, or the bytes are not a key of this algorithm.
    pub fn new(name: &str, algorithm: Algorithm, public: &[u8]) -> Result<VerifierKey, KeyError> {
        check_key_name(name)?;
        let public = PublicKey::parse(algorithm, public)?;
        let id = key_id(name, algorithm, public.bytes());
        Ok(VerifierKey { name: name.to_owned(), id, public })
    }

    /// The name of the key. For a log's key, it is the origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key. Name and id together mark the key's signatures.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The algorithm of the key.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The bytes of the public key, without name and algorithm.
    pub fn public_bytes(&self) -> &[u8] {
        self.public.bytes()
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns whether the key can be one of the log with this origin: it has the log's name and a log's
    /// algorithm. Signatures by other keys on its checkpoints count only as those of witnesses.
    pub fn signs_for(&self, origin: &str) -> bool {
        self.name == origin && self.algorithm() == Algorithm::Ed25519
    }

    /// Wraps bytes as a signature of this key.
    pub(super) fn signature(&self, bytes: Vec<u8>) -> Signature {
        Signature { name: self.name.clone(), id: self.id, bytes }
    }

    /// Returns whether a signature claims to be by this key. The claim itself proves nothing.
    pub fn made(&self, signature: &Signature) -> bool {
        self.name == signature.name() && self.id == signature.id()
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<VerifierKey, KeyError> {
        if text.starts_with(PRIVATE) {
            return Err(KeyError::Private);
        }
        let (name, id, bytes) = parts(text).ok_or(KeyError::NotAVerifierKey)?;
        check_key_name(name)?;
        let bytes = base64_decode(bytes).ok_or(KeyError::NotAVerifierKey)?;
        let (&algorithm, public) = bytes.split_first().ok_or(KeyError::NotAVerifierKey)?;
        let algorithm = match algorithm {
            0x01 => Algorithm::Ed25519,
            0x04 => Algorithm::CosignatureV1,
            0x06 => Algorithm::MlDsa44,
            other => return Err(KeyError::Algorithm(other)),
        };
        // The id is computed anew from name and bytes. One in the text that differs shows a change or a
        // typing error.
        let key = VerifierKey::new(name, algorithm, public)?;
        if key.id != id {
            return Err(KeyError::Id { found: id, expected: key.id });
        }
        Ok(key)
    }
}

/// Splits a key into name, id and base64. Base64 may contain plus signs, so the text is split only at the
/// first two.
fn parts(text: &str) -> Option<(&str, KeyId, &str)> {
    let (name, rest) = text.split_once('+')?;
    let (id, bytes) = rest.split_once('+')?;
    Some((name, parse_id(id)?, bytes))
}

/// Prints the vkey.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.algorithm().byte()], self.public.bytes()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, base64_encode(bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({}+{})", self.name, self.id)
    }
}

/// An Ed25519 key that signs notes. Its memory is overwritten when it is dropped. Only
/// [`SigningKey::to_skey`] prints it.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    verifier: VerifierKey,
}

impl SigningKey {
    /// Makes a new key from the system's random bytes.
    ///
    /// # Errors
    /// If the name cannot be that of a key, or the system gives no random bytes.
    pub fn generate(name: &str) -> Result<SigningKey, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| KeyError::Random(error.to_string()))?;
        SigningKey::from_seed(name, &seed)
    }

    /// Makes the key of a seed, as in RFC 8032.
    ///
    /// # Errors
    /// If the name cannot be that of a key.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<SigningKey, KeyError> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, Algorithm::Ed25519, key.verifying_key().as_bytes())?;
        Ok(SigningKey { key, verifier })
    }

    /// Reads an skey: `PRIVATE+KEY+<name>+<key id>+<base64(0x01 ‖ seed)>`.
    ///
    /// # Errors
    /// If the text is not an skey, or its id does not match its name and public key.
    pub fn from_skey(text: &str) -> Result<SigningKey, KeyError> {
        let text = text.strip_prefix(PRIVATE).ok_or(KeyError::NotASigningKey)?;
        let (name, id, bytes) = parts(text).ok_or(KeyError::NotASigningKey)?;
        check_key_name(name)?;
        // From here on the seed exists only in memory that is cleared when it is dropped.
        let bytes = Zeroizing::new(base64_decode(bytes).ok_or(KeyError::NotASigningKey)?);
        let (&algorithm, seed) = bytes.split_first().ok_or(KeyError::NotASigningKey)?;
        if algorithm != Algorithm::Ed25519.byte() {
            return Err(KeyError::Algorithm(algorithm));
        }
        let seed = Zeroizing::new(sized(Algorithm::Ed25519, seed)?);
        let key = SigningKey::from_seed(name, &seed)?;
        if key.verifier.id != id {
            return Err(KeyError::Id { found: id, expected: key.verifier.id });
        }
        Ok(key)
    }

    /// Returns the skey, the content of a key's file. It is the private key: whoever has it can sign.
    pub fn to_skey(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 33]);
        if let Some((algorithm, seed)) = bytes.split_first_mut() {
            *algorithm = Algorithm::Ed25519.byte();
            seed.copy_from_slice(self.key.as_bytes());
        }
        let head = format!("{PRIVATE}{}+{}+", self.verifier.name, self.verifier.id);
        // Has its full capacity from the beginning: a text that grows leaves its old bytes in memory.
        let mut text = Zeroizing::new(String::with_capacity(head.len() + 64));
        text.push_str(&head);
        STANDARD.encode_string(bytes.as_slice(), &mut text);
        text
    }

    /// The name of the key.
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// The public key, which verifies this key's signatures.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs the text of a note.
    pub fn sign(&self, text: &str) -> Signature {
        self.verifier.signature(self.key.sign(text.as_bytes()).to_bytes().to_vec())
    }

    pub(super) fn raw(&self) -> &ed25519_dalek::SigningKey {
        &self.key
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}+{}, private)", self.verifier.name, self.verifier.id)
    }
}
