//! Time-stamp tokens, verified offline: RFC 3161, in the Cryptographic Message Syntax of RFC 5652.
//!
//! A token holds a `TSTInfo` (what was stamped, and when) and the signature of an authority, over
//! *signed attributes* of which one is the digest of the `TSTInfo`. It is verified by a certificate
//! that the verifier has: no chain is followed, and what certificates come with the token does not
//! matter.

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

/// A file of certificates by which no token can be verified, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It cannot be read.
    #[error("the certificate of the time-stamp authority cannot be read: {0}")]
    Unreadable(String),
    /// None of its certificates is for time-stamping.
    #[error(
        "there is no certificate for time-stamping in this file; give that of the authority itself, not only \
         that of who certified it"
    )]
    NoneForTimestamping,
}

/// A time-stamp token that proves nothing, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is longer than tokens are.
    #[error("a time-stamp token has at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest that is read.
        max: usize,
    },
    /// It is not encoded as tokens are.
    #[error("this is not a time-stamp token in DER: {0}")]
    Encoding(der::Error),
    /// It is something else.
    #[error("this is not a time-stamp token: {0}")]
    Form(&'static str),
    /// It is by another authority.
    #[error("the token was not signed by the time-stamp authority whose certificate was given")]
    OtherSigner,
    /// It names another certificate than the one that it is verified by.
    #[error("the token says that it was signed with another certificate of this authority")]
    OtherCertificate,
    /// Its algorithm is not known here.
    #[error(
        "the token uses the algorithm {0}; known are SHA-256, SHA-384 and SHA-512, with RSA (PKCS#1) or ECDSA \
         on P-256 and P-384"
    )]
    Algorithm(ObjectIdentifier),
    /// What it says is not what was signed.
    #[error("the token was changed: what it says is not what its authority signed")]
    Digest,
    /// The signature is not by the authority.
    #[error("the signature of the token is not by its authority, or the token was changed")]
    Signature,
    /// It is about something else.
    #[error("the token is about something else than this checkpoint, with these signatures")]
    Imprint,
    /// It is the answer to another request.
    #[error("the token is the answer to another request")]
    Nonce,
    /// It was made when its certificate was not valid.
    #[error("the token is of {time}, when the certificate of its authority was not valid")]
    Validity {
        /// Its time.
        time: Timestamp,
    },
}

impl From<der::Error> for TokenError {
    fn from(error: der::Error) -> TokenError {
        TokenError::Encoding(error)
    }
}

/// The certificates of an authority: the present one, and those that it had before.
#[derive(Clone, Debug)]
pub struct AuthorityCertificates {
    certificates: Vec<Authority>,
}

/// One of them.
#[derive(Clone, Debug)]
struct Authority {
    der: Vec<u8>,
    certificate: Certificate,
}

impl AuthorityCertificates {
    /// Reads a PEM file, and keeps the certificates in it that are for time-stamping.
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

/// What is stamped of a checkpoint: the note as it is printed, with the signatures under the log's own
/// name and without all others, which come later and in any order.
pub fn stamped_text(checkpoint: &SignedCheckpoint) -> String {
    let mut own = SignedCheckpoint::unsigned(checkpoint.checkpoint().clone());
    let signatures = checkpoint.signatures().iter();
    own.add_signatures(signatures.filter(|signature| signature.name() == checkpoint.origin()).cloned());
    own.to_string()
}

/// Verifies that a token is about this text, and says when the text was stamped. The text of a
/// checkpoint is [`stamped_text`].
///
/// # Errors
/// If the token proves nothing about this text by these certificates.
pub fn verify(token: &[u8], text: &str, by: &AuthorityCertificates) -> Result<Timestamp, TokenError> {
    check(token, text, by, None)
}

/// As [`verify`]; of an answer to a request, the nonce must be the request's.
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
    let authority = signed.check_signature(by)?;
    let info = TstInfo::read(signed.info)?;
    if info.imprint_algorithm != SHA_256 || info.imprint != hash(SHA_256, text.as_bytes())? {
        return Err(TokenError::Imprint);
    }
    if nonce.is_some() && info.nonce != nonce {
        return Err(TokenError::Nonce);
    }
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
    /// All of it: tag, length and value.
    whole: &'a [u8],
}

/// The values one after the other of which `bytes` consists.
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

/// The one value of which `bytes` consists.
fn value<'a>(bytes: &'a [u8], tag: Tag, otherwise: &'static str) -> Result<Tlv<'a>, TokenError> {
    match values(bytes)?.as_slice() {
        [one] if one.tag == tag => Ok(*one),
        _ => Err(TokenError::Form(otherwise)),
    }
}

fn oid(value: Tlv<'_>) -> Result<ObjectIdentifier, TokenError> {
    Ok(ObjectIdentifier::from_der(value.whole)?)
}

/// The algorithm of an `AlgorithmIdentifier`. The parameters of those that are known here say nothing.
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

/// The parts of a `SignedData` with one signer that matter.
struct SignedData<'a> {
    /// The `TSTInfo`.
    info: &'a [u8],
    /// Who signed: issuer and serial number, or the identifier of a key.
    signer: Tlv<'a>,
    digest_algorithm: ObjectIdentifier,
    /// The signed attributes, as they stand in the token.
    attributes: Tlv<'a>,
    signature_algorithm: ObjectIdentifier,
    signature: &'a [u8],
}

impl<'a> SignedData<'a> {
    fn read(token: &'a [u8]) -> Result<SignedData<'a>, TokenError> {
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
        // Version, digest algorithms, content; then perhaps certificates and lists of revoked ones.
        let [_, _, content, .., signers] = signed_data.as_slice() else {
            return Err(TokenError::Form("its SignedData is not whole"));
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
        let signer = value(signers.value, Tag::Sequence, "it has not one signer")?;
        let signer = values(signer.value)?;
        let [_, sid, digest_algorithm, attributes, signature_algorithm, signature, ..] = signer.as_slice()
        else {
            return Err(TokenError::Form("its SignerInfo is not whole"));
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

    /// Verifies the signature on the `TSTInfo`, and says by which certificate.
    fn check_signature<'c>(&self, by: &'c AuthorityCertificates) -> Result<&'c Authority, TokenError> {
        let mut authority = None;
        for candidate in &by.certificates {
            if self.is_by(&candidate.certificate)? {
                authority = Some(candidate);
                break;
            }
        }
        let authority = authority.ok_or(TokenError::OtherSigner)?;

        let attributes = Attributes::read(self.attributes)?;
        if attributes.digest != hash(self.digest_algorithm, self.info)? {
            return Err(TokenError::Digest);
        }
        // What is signed is the set of attributes, with its own tag instead of that of its place.
        let signed = [&[0x31], self.attributes.whole.get(1..).unwrap_or_default()].concat();
        let key = &authority.certificate.tbs_certificate.subject_public_key_info;
        let algorithm = verification(self.signature_algorithm, self.digest_algorithm, key)?;
        UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes())
            .verify(&signed, self.signature)
            .map_err(|_| TokenError::Signature)?;
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
            return Ok(issuer.whole == certificate.issuer.to_der()?
                && serial.whole == certificate.serial_number.to_der()?);
        }
        // [0] IMPLICIT, without the tag of the OCTET STRING within.
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
            let [kind, set] = parts.as_slice() else { return Err(TokenError::Form("an attribute is none")) };
            let kind = oid(*kind)?;
            let place = match kind {
                CONTENT_TYPE => &mut content_type,
                MESSAGE_DIGEST => &mut digest,
                SIGNING_CERTIFICATE | SIGNING_CERTIFICATE_V2 => &mut certificate,
                _ => continue,
            };
            let parts = values(set.value)?;
            let ([one], Tag::Set) = (parts.as_slice(), set.tag) else {
                return Err(TokenError::Form("an attribute has not one value"));
            };
            // A newer one beside an older one is the one that counts.
            if place.is_none() || kind == SIGNING_CERTIFICATE_V2 {
                *place = Some((kind, *one));
            }
        }
        match (content_type, digest, certificate) {
            (Some((_, content_type)), Some((_, digest)), Some((certificate_version, certificate))) => {
                if oid(content_type)? != TST_INFO || digest.tag != Tag::OctetString {
                    return Err(TokenError::Form("its attributes are about something else"));
                }
                Ok(Attributes { digest: digest.value, certificate, certificate_version })
            }
            _ => Err(TokenError::Form("it lacks the attributes of a time-stamp token")),
        }
    }

    /// Whether the first certificate that the token names is the one that it was verified by: another
    /// certificate may be for the same key.
    fn check_certificate(&self, certificate: &[u8]) -> Result<(), TokenError> {
        let missing = TokenError::Form("it does not name its certificate");
        // SigningCertificate, certs, the first, hash (after the algorithm, from version 2 on).
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
        let hash = match algorithm {
            Some(algorithm) => hash(algorithm, certificate)?,
            None if self.certificate_version == SIGNING_CERTIFICATE_V2 => hash(SHA_256, certificate)?,
            None => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate).as_ref().to_vec(),
        };
        if named.value == hash { Ok(()) } else { Err(TokenError::OtherCertificate) }
    }
}

/// How a signature of this algorithm by this key is verified.
fn verification(
    algorithm: ObjectIdentifier,
    digest: ObjectIdentifier,
    key: &AlgorithmAndKey,
) -> Result<&'static dyn VerificationAlgorithm, TokenError> {
    let unknown = || TokenError::Algorithm(algorithm);
    let curve: Option<ObjectIdentifier> =
        key.algorithm.parameters.as_ref().and_then(|parameters| parameters.decode_as().ok());
    // Some name the key's algorithm alone, and leave the hash to the other field.
    let hash = match algorithm {
        RSA | EC => digest,
        RSA_SHA_256 | ECDSA_SHA_256 => SHA_256,
        RSA_SHA_384 | ECDSA_SHA_384 => SHA_384,
        RSA_SHA_512 => SHA_512,
        _ => return Err(unknown()),
    };
    let is_rsa = matches!(algorithm, RSA | RSA_SHA_256 | RSA_SHA_384 | RSA_SHA_512);
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

/// What an authority says: that this was there at this time.
struct TstInfo<'a> {
    imprint_algorithm: ObjectIdentifier,
    imprint: &'a [u8],
    time: Timestamp,
    /// The bytes of the INTEGER.
    nonce: Option<&'a [u8]>,
}

impl<'a> TstInfo<'a> {
    fn read(info: &'a [u8]) -> Result<TstInfo<'a>, TokenError> {
        let info = value(info, Tag::Sequence, "its TSTInfo is none")?;
        let parts = values(info.value)?;
        // Version, policy, imprint, serial number, time; then what may be left out.
        let [version, _, imprint, _, time, rest @ ..] = parts.as_slice() else {
            return Err(TokenError::Form("its TSTInfo is not whole"));
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
            nonce: rest.iter().find(|part| part.tag == Tag::Integer).map(|nonce| nonce.value),
        })
    }
}

/// `20261120120000Z`, or `20261120120000.125Z`: the fraction is why this is not left to a library.
fn generalized_time(text: &str) -> Option<Timestamp> {
    let time = chrono::NaiveDateTime::parse_from_str(text.strip_suffix('Z')?, "%Y%m%d%H%M%S%.f").ok()?;
    Timestamp::from_calendar(time.and_utc())
}

/// The status of a `TimeStampResp` and the texts with it, and the token if there is one.
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

/// The reasons of a `PKIFailureInfo` that RFC 3161 has, by their bits.
fn failure(bit: u8) -> String {
    match bit {
        0 => "it does not know the algorithm".to_owned(),
        2 => "it does not take such requests".to_owned(),
        5 => "it finds the request malformed".to_owned(),
        14 => "its clock is not available".to_owned(),
        15 => "it does not have the policy".to_owned(),
        16 => "it does not know the extension".to_owned(),
        17 => "it does not have what was asked for in addition".to_owned(),
        25 => "it cannot answer now".to_owned(),
        bit => format!("failure {bit}"),
    }
}
