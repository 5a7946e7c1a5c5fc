//! Time-stamp tokens, verified offline: RFC 3161, in the Cryptographic Message Syntax of RFC 5652.
//!
//! A token holds a `TSTInfo` (what was stamped, and when) and the signature of an authority. The signature is over
//! *signed attributes*, one of which is the digest of the `TSTInfo`. The verifier has the certificate that verifies
//! the token: no chain is followed, and certificates in the token are ignored.

use cms::cert::x509::Certificate;
use cms::cert::x509::ext::pkix::{ExtendedKeyUsage, SubjectKeyIdentifier};
use der::asn1::{AnyRef, BitStringRef};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode, Reader as _, SliceReader, Tag, TagNumber};
use ring::digest;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use ureq::tls::{PemItem, parse_pem};

use crate::event::Timestamp;
use crate::limits::TOKEN_BYTES_MAX;
use crate::note::SignedCheckpoint;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

pub(super) const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ECDSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// The reason why a file of certificates cannot verify any token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file cannot be read.
    #[error("the certificate of the time-stamp authority cannot be read: {0}")]
    Unreadable(String),
    /// None of the certificates is for time-stamping.
    #[error(
        "this file has no certificate for time-stamping; give the certificate of the time-stamp authority \
         itself, not only that of the authority that certified it"
    )]
    NoneForTimestamping,
}

/// The reason why a time-stamp token proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is longer than the bound.
    #[error("a time-stamp token has at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// The length of the token in bytes.
        bytes: usize,
        /// The longest token that is read, in bytes.
        max: usize,
    },
    /// The bytes are not DER.
    #[error("this is not a time-stamp token in DER: {0}")]
    Encoding(der::Error),
    /// The bytes are DER, but not of a time-stamp token.
    #[error("this is not a time-stamp token: {0}")]
    Form(&'static str),
    /// Another authority signed the token.
    #[error("the token was not signed by the time-stamp authority whose certificate was given")]
    OtherSigner,
    /// The token names another certificate than the one that verifies it.
    #[error("the token names another certificate of this authority as the one that signed it")]
    OtherCertificate,
    /// The algorithm of the token is unknown.
    #[error(
        "the token uses the algorithm {0}; known are SHA-256, SHA-384 and SHA-512, with RSA (PKCS#1) or ECDSA \
         on P-256 and P-384"
    )]
    Algorithm(ObjectIdentifier),
    /// The content of the token is not what was signed.
    #[error("the token was changed: its content is not what its authority signed")]
    Digest,
    /// The signature is not by the authority.
    #[error("the signature of the token is not by its authority, or the token was changed")]
    Signature,
    /// The token is about another text.
    #[error("the token is not for this checkpoint with these signatures")]
    Imprint,
    /// The token is the answer to another request.
    #[error("the token is the answer to another request")]
    Nonce,
    /// The certificate was not valid at the time of the token.
    #[error("the token is of {time}, and the certificate of its authority was not valid at that time")]
    Validity {
        /// The time of the token.
        time: Timestamp,
    },
}

impl From<der::Error> for TokenError {
    fn from(error: der::Error) -> TokenError {
        TokenError::Encoding(error)
    }
}

/// The certificates of an authority: the present one and earlier ones.
#[derive(Clone, Debug)]
pub struct AuthorityCertificates {
    certificates: Vec<Authority>,
}

/// One certificate: its bytes and its decoded form.
#[derive(Clone, Debug)]
struct Authority {
    der: Vec<u8>,
    certificate: Certificate,
}

impl AuthorityCertificates {
    /// Reads a PEM file, and keeps its certificates for time-stamping.
    ///
    /// # Errors
    /// If it cannot be read, or has none.
    pub fn from_pem(pem: &[u8]) -> Result<AuthorityCertificates, CertificateError> {
        let mut certificates = Vec::new();
        for item in parse_pem(pem) {
            let item = item.map_err(|error| CertificateError::Unreadable(error.to_string()))?;
            let PemItem::Certificate(item) = item else { continue };
            let certificate = Certificate::from_der(item.der())
                .map_err(|error| CertificateError::Unreadable(error.to_string()))?;
            // Files often have the certificates of the authorities above as well. No token is verified by those.
            if is_for_timestamping(&certificate) {
                certificates.push(Authority { der: item.der().to_vec(), certificate });
            }
        }
        if certificates.is_empty() {
            return Err(CertificateError::NoneForTimestamping);
        }
        Ok(AuthorityCertificates { certificates })
    }
}

fn is_for_timestamping(certificate: &Certificate) -> bool {
    let usage: Result<Option<(bool, ExtendedKeyUsage)>, _> = certificate.tbs_certificate.get();
    matches!(usage, Ok(Some((_, usage))) if usage.0.contains(&TIME_STAMPING))
}

/// The text of a checkpoint that is stamped: the note as it is printed, with only the signatures under the log's
/// own name. All other signatures come later and in any order.
pub fn stamped_text(checkpoint: &SignedCheckpoint) -> String {
    let mut own = SignedCheckpoint::unsigned(checkpoint.checkpoint().clone());
    let signatures = checkpoint.signatures().iter();
    own.add_signatures(signatures.filter(|signature| signature.name() == checkpoint.origin()).cloned());
    own.to_string()
}

/// Verifies that a token is for this text, and returns the time of the stamp. For a checkpoint, pass the text
/// that [`stamped_text`] returns.
///
/// # Errors
/// If the token is not a valid stamp of this text by one of these certificates.
pub fn verify(token: &[u8], text: &str, by: &AuthorityCertificates) -> Result<Timestamp, TokenError> {
    check(token, text, by, None)
}

/// Verifies a token as [`verify`] does. For the answer to a request, the token must have the request's nonce.
pub(super) fn check(
    token: &[u8],
    text: &str,
    by: &AuthorityCertificates,
    nonce: Option<&[u8]>,
) -> Result<Timestamp, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong { bytes: token.len(), max: TOKEN_BYTES_MAX });
    }
    let signed = SignedData::read(token)?;
    // The signature comes first: nothing in the `TSTInfo` is believed before it is good.
    let authority = signed.check_signature(by)?;
    let info = TstInfo::read(signed.info)?;
    // Requests ask for SHA-256, so a token with another imprint is not an answer to one of ours.
    if info.imprint_algorithm != SHA_256 || info.imprint != hash(SHA_256, text.as_bytes())? {
        return Err(TokenError::Imprint);
    }
    if nonce.is_some() && info.nonce != nonce {
        return Err(TokenError::Nonce);
    }
    // The signed time must lie within the certificate's validity. The present time does not matter, because a
    // token outlives its certificate.
    let validity = &authority.certificate.tbs_certificate.validity;
    let micros = |time: cms::cert::x509::time::Time| {
        i64::try_from(time.to_unix_duration().as_micros()).map_or(i64::MAX, |micros| micros)
    };
    if !(micros(validity.not_before)..=micros(validity.not_after)).contains(&info.time.micros()) {
        return Err(TokenError::Validity { time: info.time });
    }
    Ok(info.time)
}

/// A value with its tag.
#[derive(Clone, Copy)]
struct Tlv<'a> {
    tag: Tag,
    value: &'a [u8],
    /// All bytes: tag, length and value.
    whole: &'a [u8],
}

/// Splits `bytes` into the values that it consists of. Nothing may be left over.
fn values(bytes: &[u8]) -> Result<Vec<Tlv<'_>>, TokenError> {
    let mut reader = SliceReader::new(bytes)?;
    let mut values = Vec::new();
    while !reader.is_finished() {
        let tag = reader.peek_tag()?;
        let whole = reader.tlv_bytes()?;
        values.push(Tlv { tag, value: AnyRef::from_der(whole)?.value(), whole });
    }
    Ok(values)
}

/// Returns the only value in `bytes`, which must have this tag.
fn value<'a>(bytes: &'a [u8], tag: Tag, otherwise: &'static str) -> Result<Tlv<'a>, TokenError> {
    match values(bytes)?.as_slice() {
        [one] if one.tag == tag => Ok(*one),
        _ => Err(TokenError::Form(otherwise)),
    }
}

fn oid(value: Tlv<'_>) -> Result<ObjectIdentifier, TokenError> {
    Ok(ObjectIdentifier::from_der(value.whole)?)
}

/// The algorithm of an `AlgorithmIdentifier`. The parameters are ignored: they mean nothing for the known algorithms.
fn algorithm(value: Tlv<'_>) -> Result<ObjectIdentifier, TokenError> {
    match values(value.value)?.first() {
        Some(algorithm) if value.tag == Tag::Sequence => oid(*algorithm),
        _ => Err(TokenError::Form("an algorithm is missing")),
    }
}

fn context(number: u8) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber::new(number) }
}

fn hash(algorithm: ObjectIdentifier, bytes: &[u8]) -> Result<Vec<u8>, TokenError> {
    let algorithm = match algorithm {
        SHA_256 => &digest::SHA256,
        SHA_384 => &digest::SHA384,
        SHA_512 => &digest::SHA512,
        other => return Err(TokenError::Algorithm(other)),
    };
    Ok(digest::digest(algorithm, bytes).as_ref().to_vec())
}

/// The parts that matter of a `SignedData` with one signer.
struct SignedData<'a> {
    /// The `TSTInfo`.
    info: &'a [u8],
    /// The signer: issuer and serial number, or the identifier of a key.
    signer: Tlv<'a>,
    digest_algorithm: ObjectIdentifier,
    /// The signed attributes, with the bytes that they have in the token.
    attributes: Tlv<'a>,
    signature_algorithm: ObjectIdentifier,
    signature: &'a [u8],
}

impl<'a> SignedData<'a> {
    fn read(token: &'a [u8]) -> Result<SignedData<'a>, TokenError> {
        // `value` refuses bytes after the one value, and the slice patterns refuse further values, except where `..`
        // stands for optional fields.
        let content_info = value(token, Tag::Sequence, "it is no SEQUENCE")?;
        let content_info = values(content_info.value)?;
        let [kind, content] = content_info.as_slice() else {
            return Err(TokenError::Form("it is no ContentInfo"));
        };
        if oid(*kind)? != SIGNED_DATA || content.tag != context(0) {
            return Err(TokenError::Form("it holds no SignedData"));
        }
        let signed_data = value(content.value, Tag::Sequence, "it holds no SignedData")?;
        let signed_data = values(signed_data.value)?;
        // Version, digest algorithms and content; optional certificates and lists of revoked ones; signers.
        let [_, _, content, .., signers] = signed_data.as_slice() else {
            return Err(TokenError::Form("its SignedData is incomplete"));
        };
        let content = values(content.value)?;
        let [kind, content] = content.as_slice() else {
            return Err(TokenError::Form("it holds no content"));
        };
        if oid(*kind)? != TST_INFO || content.tag != context(0) {
            return Err(TokenError::Form("its content is no TSTInfo"));
        }
        let info = value(content.value, Tag::OctetString, "its content is no OCTET STRING")?.value;
        if signers.tag != Tag::Set {
            return Err(TokenError::Form("it has no signers"));
        }
        let signer = value(signers.value, Tag::Sequence, "it does not have exactly one signer")?;
        let signer = values(signer.value)?;
        let [_, sid, digest_algorithm, attributes, signature_algorithm, signature, ..] = signer.as_slice()
        else {
            return Err(TokenError::Form("its SignerInfo is incomplete"));
        };
        if attributes.tag != context(0) || signature.tag != Tag::OctetString {
            return Err(TokenError::Form("its SignerInfo has no signed attributes"));
        }
        Ok(SignedData {
            info,
            signer: *sid,
            digest_algorithm: algorithm(*digest_algorithm)?,
            attributes: *attributes,
            signature_algorithm: algorithm(*signature_algorithm)?,
            signature: signature.value,
        })
    }

    /// Verifies the signature on the `TSTInfo`, and returns the certificate that verified it.
    fn check_signature<'c>(&self, by: &'c AuthorityCertificates) -> Result<&'c Authority, TokenError> {
        let mut authority = None;
        for candidate in &by.certificates {
            if self.is_by(&candidate.certificate)? {
                authority = Some(candidate);
                break;
            }
        }
        let authority = authority.ok_or(TokenError::OtherSigner)?;

        // Two steps lead to the content: the signature is over the attributes, and one attribute is the digest of the
        // `TSTInfo`. Both must hold.
        let attributes = Attributes::read(self.attributes)?;
        if attributes.digest != hash(self.digest_algorithm, self.info)? {
            return Err(TokenError::Digest);
        }
        // The signature is over the attributes with the tag of a SET, 0x31, in place of the tag [0] that they
        // have in the token (RFC 5652, section 5.4).
        let signed = [&[0x31], self.attributes.whole.get(1..).unwrap_or_default()].concat();
        let key = &authority.certificate.tbs_certificate.subject_public_key_info;
        let algorithm = verification(self.signature_algorithm, self.digest_algorithm, key)?;
        UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes())
            .verify(&signed, self.signature)
            .map_err(|_| TokenError::Signature)?;
        // After the signature, because the name of the certificate is one of the signed attributes.
        attributes.check_certificate(&authority.der)?;
        Ok(authority)
    }

    fn is_by(&self, certificate: &Certificate) -> Result<bool, TokenError> {
        let certificate = &certificate.tbs_certificate;
        if self.signer.tag == Tag::Sequence {
            let named = values(self.signer.value)?;
            let [issuer, serial] = named.as_slice() else {
                return Err(TokenError::Form("its signer is not named"));
            };
            // Compared as bytes: DER has one encoding for each value.
            return Ok(issuer.whole == certificate.issuer.to_der()?
                && serial.whole == certificate.serial_number.to_der()?);
        }
        // The identifier of a key is [0] IMPLICIT: it lacks the tag of an OCTET STRING.
        let key: Option<(bool, SubjectKeyIdentifier)> = certificate.get()?;
        Ok(key.is_some_and(|(_, key)| key.0.as_bytes() == self.signer.value))
    }
}

/// The signed attributes that a token must have.
struct Attributes<'a> {
    digest: &'a [u8],
    certificate: Tlv<'a>,
    certificate_version: ObjectIdentifier,
}

impl<'a> Attributes<'a> {
    fn read(attributes: Tlv<'a>) -> Result<Attributes<'a>, TokenError> {
        let (mut content_type, mut digest, mut certificate) = (None, None, None);
        for attribute in values(attributes.value)? {
            let parts = values(attribute.value)?;
            let [kind, set] = parts.as_slice() else {
                return Err(TokenError::Form("an attribute is malformed"));
            };
            let kind = oid(*kind)?;
            let slot = match kind {
                CONTENT_TYPE => &mut content_type,
                MESSAGE_DIGEST => &mut digest,
                SIGNING_CERTIFICATE | SIGNING_CERTIFICATE_V2 => &mut certificate,
                _ => continue,
            };
            let parts = values(set.value)?;
            let ([one], Tag::Set) = (parts.as_slice(), set.tag) else {
                return Err(TokenError::Form("an attribute does not have exactly one value"));
            };
            // If the certificate is named in both versions, version 2 counts, whichever comes first.
            if slot.is_none() || kind == SIGNING_CERTIFICATE_V2 {
                *slot = Some((kind, *one));
            }
        }
        match (content_type, digest, certificate) {
            (Some((_, content_type)), Some((_, digest)), Some((certificate_version, certificate))) => {
                if oid(content_type)? != TST_INFO || digest.tag != Tag::OctetString {
                    return Err(TokenError::Form("its attributes are for content of another type"));
                }
                Ok(Attributes { digest: digest.value, certificate, certificate_version })
            }
            _ => Err(TokenError::Form("it lacks the attributes of a time-stamp token")),
        }
    }

    /// Checks that the first certificate that the token names is the one that verified it: another certificate may
    /// have the same key.
    fn check_certificate(&self, certificate: &[u8]) -> Result<(), TokenError> {
        let missing = TokenError::Form("it does not name its certificate");
        // The levels of the encoding: SigningCertificate, certs, the first of them, its hash. In version 2 an algorithm
        // may come before the hash.
        let certs = values(self.certificate.value)?;
        let first = certs.first().map(|certs| values(certs.value)).transpose()?;
        let first = first.and_then(|certs| certs.first().copied()).ok_or(missing.clone())?;
        let parts = values(first.value)?;
        let (algorithm, named) = match parts.as_slice() {
            [algorithm_identifier, named, ..] if algorithm_identifier.tag == Tag::Sequence => {
                (Some(algorithm(*algorithm_identifier)?), named)
            }
            [named, ..] => (None, named),
            [] => return Err(missing),
        };
        // Without an algorithm version 2 means SHA-256 (RFC 5035). Version 1 always means SHA-1.
        let hash = match algorithm {
            Some(algorithm) => hash(algorithm, certificate)?,
            None if self.certificate_version == SIGNING_CERTIFICATE_V2 => hash(SHA_256, certificate)?,
            None => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate).as_ref().to_vec(),
        };
        if named.value == hash { Ok(()) } else { Err(TokenError::OtherCertificate) }
    }
}

/// Returns the verifier for a signature of this algorithm by this key.
fn verification(
    algorithm: ObjectIdentifier,
    digest: ObjectIdentifier,
    key: &AlgorithmAndKey,
) -> Result<&'static dyn VerificationAlgorithm, TokenError> {
    let unknown = || TokenError::Algorithm(algorithm);
    let curve: Option<ObjectIdentifier> =
        key.algorithm.parameters.as_ref().and_then(|parameters| parameters.decode_as().ok());
    // Some authorities name only the algorithm of the key here; the hash algorithm is then that of the other
    // field.
    let hash = match algorithm {
        RSA | EC => digest,
        RSA_SHA_256 | ECDSA_SHA_256 => SHA_256,
        RSA_SHA_384 | ECDSA_SHA_384 => SHA_384,
        RSA_SHA_512 => SHA_512,
        _ => return Err(unknown()),
    };
    let is_rsa = matches!(algorithm, RSA | RSA_SHA_256 | RSA_SHA_384 | RSA_SHA_512);
    // The token chooses among the algorithms of the certificate's key, and cannot choose another type of key.
    match (is_rsa, key.algorithm.oid) {
        (true, RSA) => match hash {
            SHA_256 => Ok(&signature::RSA_PKCS1_2048_8192_SHA256),
            SHA_384 => Ok(&signature::RSA_PKCS1_2048_8192_SHA384),
            SHA_512 => Ok(&signature::RSA_PKCS1_2048_8192_SHA512),
            _ => Err(unknown()),
        },
        (false, EC) => match (curve, hash) {
            (Some(P_256), SHA_256) => Ok(&signature::ECDSA_P256_SHA256_ASN1),
            (Some(P_256), SHA_384) => Ok(&signature::ECDSA_P256_SHA384_ASN1),
            (Some(P_384), SHA_256) => Ok(&signature::ECDSA_P384_SHA256_ASN1),
            (Some(P_384), SHA_384) => Ok(&signature::ECDSA_P384_SHA384_ASN1),
            _ => Err(unknown()),
        },
        _ => Err(TokenError::Signature),
    }
}

type AlgorithmAndKey = cms::cert::x509::spki::SubjectPublicKeyInfoOwned;

/// The statement of an authority: this digest existed at this time.
struct TstInfo<'a> {
    imprint_algorithm: ObjectIdentifier,
    imprint: &'a [u8],
    time: Timestamp,
    /// The bytes of the INTEGER.
    nonce: Option<&'a [u8]>,
}

impl<'a> TstInfo<'a> {
    fn read(info: &'a [u8]) -> Result<TstInfo<'a>, TokenError> {
        let info = value(info, Tag::Sequence, "its TSTInfo is malformed")?;
        let parts = values(info.value)?;
        // Version, policy, imprint, serial number and time; then the optional fields.
        let [version, _, imprint, _, time, rest @ ..] = parts.as_slice() else {
            return Err(TokenError::Form("its TSTInfo is incomplete"));
        };
        if version.value != [1] {
            return Err(TokenError::Form("its version is not 1"));
        }
        let imprint = values(imprint.value)?;
        let [imprint_algorithm, imprint] = imprint.as_slice() else {
            return Err(TokenError::Form("it has no imprint"));
        };
        let time = match std::str::from_utf8(time.value) {
            Ok(text) if time.tag == Tag::GeneralizedTime => generalized_time(text),
            _ => None,
        };
        Ok(TstInfo {
            imprint_algorithm: algorithm(*imprint_algorithm)?,
            imprint: imprint.value,
            time: time.ok_or(TokenError::Form("it has no time"))?,
            // The nonce is the only optional field that is an INTEGER.
            nonce: rest.iter().find(|part| part.tag == Tag::Integer).map(|nonce| nonce.value),
        })
    }
}

/// Parses `20261120120000Z` or `20261120120000.125Z`. The fraction is the reason why no library does this.
fn generalized_time(text: &str) -> Option<Timestamp> {
    let time = chrono::NaiveDateTime::parse_from_str(text.strip_suffix('Z')?, "%Y%m%d%H%M%S%.f").ok()?;
    Timestamp::from_calendar(time.and_utc())
}

/// The status of a `TimeStampResp`, the texts with it, and the token if there is one.
pub(super) struct Response<'a> {
    pub(super) status: u8,
    pub(super) reason: String,
    pub(super) token: Option<&'a [u8]>,
}

impl<'a> Response<'a> {
    pub(super) fn read(response: &'a [u8]) -> Result<Response<'a>, TokenError> {
        let response = value(response, Tag::Sequence, "the answer is no TimeStampResp")?;
        let parts = values(response.value)?;
        let (status, token) = match parts.as_slice() {
            [status] => (status, None),
            [status, token] => (status, Some(token.whole)),
            _ => return Err(TokenError::Form("the answer is no TimeStampResp")),
        };
        let parts = values(status.value)?;
        let (status, more) = match parts.split_first() {
            Some((status, more)) if status.tag == Tag::Integer => (u8::from_der(status.whole)?, more),
            _ => return Err(TokenError::Form("the answer has no status")),
        };
        let mut reasons = Vec::new();
        for part in more {
            // A SEQUENCE has texts; the other optional field is the bit string `PKIFailureInfo`.
            if part.tag == Tag::Sequence {
                let texts = values(part.value)?;
                reasons.extend(texts.iter().map(|text| String::from_utf8_lossy(text.value).into_owned()));
            } else {
                let bits = BitStringRef::from_der(part.whole)?;
                let set = bits.bits().zip(0_u8..).filter(|(is_set, _)| *is_set);
                reasons.extend(set.map(|(_, bit)| failure(bit)));
            }
        }
        Ok(Response { status, reason: reasons.join("; "), token })
    }
}

/// The reason for a bit of `PKIFailureInfo`, for the bits that RFC 3161 defines.
fn failure(bit: u8) -> String {
    match bit {
        0 => "it does not know the algorithm".to_owned(),
        2 => "it does not take such requests".to_owned(),
        5 => "it finds the request malformed".to_owned(),
        14 => "its clock is not available".to_owned(),
        15 => "it does not have the policy".to_owned(),
        16 => "it does not know the extension".to_owned(),
        17 => "it does not have the additional information that was requested".to_owned(),
        25 => "it cannot answer now".to_owned(),
        bit => format!("failure {bit}"),
    }
}
