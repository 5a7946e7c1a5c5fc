//! Time-stamp authorities: they attest that a checkpoint existed at a time, without seeing the checkpoint.
//!
//! The protocol is RFC 3161 over HTTP. The stamp is over the note of the checkpoint with the log's own
//! signatures. With the note, the token and the authority's certificate, anyone can verify the stamp later.

use der::Encode as _;
use der::asn1::{Int, OctetString};
use sha2::{Digest as _, Sha256};
use x509_tsp::{MessageImprint, TimeStampReq, TspVersion};

use super::contract::{Anchor, AnchorAnswer, AnchorError, Consistency};
use super::http::{HttpClient, HttpError, check_url};
use super::token::{self, AuthorityCertificates, Response, SHA_256, TokenError, stamped_text};
use crate::event::Timestamp;
use crate::note::SignedCheckpoint;

/// The statuses that come with a token: granted, and granted with changes.
const GRANTED: [u8; 2] = [0, 1];

/// The reason why a text was not stamped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// There is no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The system gives no random bytes.
    #[error("the system gave no random bytes for a request: {0}")]
    Random(String),
    /// The request cannot be written.
    #[error("the request for a time stamp cannot be encoded: {0}")]
    Request(der::Error),
    /// The authority answered with an error of its web server.
    #[error("the time-stamp authority {url} answered with status {status}; try again later ({answer})")]
    Status {
        /// The address of the authority.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        answer: String,
    },
    /// The authority refuses.
    #[error("the time-stamp authority {url} refused the request, with status {status}: {reason}")]
    Refused {
        /// The address of the authority.
        url: String,
        /// The status in the response, as RFC 3161 numbers them.
        status: u8,
        /// The reason that the authority gives.
        reason: String,
    },
    /// The answer is not a token of this authority for this text and this request.
    #[error("the answer of the time-stamp authority {url} cannot be accepted: {source}")]
    Token {
        /// The address of the authority.
        url: String,
        /// The fault of the token.
        source: TokenError,
    },
}

/// A token that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamped {
    /// The token in DER, as `openssl ts -verify -token_in` reads it.
    pub token: Vec<u8>,
    /// The time of the stamp, by the authority's clock.
    pub time: Timestamp,
}

/// A time-stamp authority: its address and the certificates by which it signs.
#[derive(Debug)]
pub struct TimestampAuthority {
    url: String,
    certificates: AuthorityCertificates,
    client: HttpClient,
}

impl TimestampAuthority {
    /// The authority at this address, with these certificates.
    ///
    /// # Errors
    /// If the address does not begin with `https://` or `http://`.
    pub fn new(
        url: &str,
        certificates: AuthorityCertificates,
        client: HttpClient,
    ) -> Result<TimestampAuthority, HttpError> {
        check_url(url)?;
        Ok(TimestampAuthority { url: url.to_owned(), certificates, client })
    }

    /// The address of the authority.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Requests a time stamp for a text, and verifies the token. For a checkpoint, pass the text that
    /// [`stamped_text`] returns. The authority sees only the digest of the text.
    ///
    /// # Errors
    /// If there is no token that verifies for this text.
    pub fn stamp(&self, text: &str) -> Result<Stamped, TimestampError> {
        let nonce = nonce()?;
        let request = request(text, &nonce).map_err(TimestampError::Request)?;
        let answer = self.client.post(&self.url, "application/timestamp-query", &request)?;
        let url = || self.url.clone();
        if answer.status != 200 {
            let (status, answer) = (answer.status, answer.excerpt());
            return Err(TimestampError::Status { url: url(), status, answer });
        }
        let bad = |source| TimestampError::Token { url: url(), source };
        let response = Response::read(&answer.body).map_err(bad)?;
        if !GRANTED.contains(&response.status) {
            let (status, reason) = (response.status, response.reason);
            return Err(TimestampError::Refused { url: url(), status, reason });
        }
        let token = response.token.ok_or(TokenError::Form("the answer holds no token")).map_err(bad)?;
        // The nonce ties the token to this request: an older token for the same text is refused.
        let time = token::check(token, text, &self.certificates, Some(&nonce)).map_err(bad)?;
        Ok(Stamped { token: token.to_vec(), time })
    }
}

/// A random positive number of exactly 8 bytes: an INTEGER in DER has no leading zeros.
fn nonce() -> Result<[u8; 8], TimestampError> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).map_err(|error| TimestampError::Random(error.to_string()))?;
    let [first, ..] = &mut nonce;
    // The highest bit would be the sign. The bit below it keeps the first byte from being zero.
    *first = (*first & 0x7f) | 0x40;
    Ok(nonce)
}

/// Encodes a `TimeStampReq` with the digest and the nonce. It asks for the certificate in the token, because
/// other tools need it to verify.
fn request(text: &str, nonce: &[u8]) -> Result<Vec<u8>, der::Error> {
    let hash_algorithm =
        cms::cert::x509::spki::AlgorithmIdentifier { oid: SHA_256, parameters: Some(der::Any::null()) };
    let hashed_message = OctetString::new(Sha256::digest(text).to_vec())?;
    let request = TimeStampReq {
        version: TspVersion::V1,
        message_imprint: MessageImprint { hash_algorithm, hashed_message },
        req_policy: None,
        nonce: Some(Int::new(nonce)?),
        cert_req: true,
        extensions: None,
    };
    request.to_der()
}

impl Anchor for TimestampAuthority {
    fn name(&self) -> String {
        format!("timestamp {}", self.url)
    }

    fn submit(
        &mut self,
        checkpoint: &SignedCheckpoint,
        _: Consistency<'_>,
    ) -> Result<AnchorAnswer, AnchorError> {
        let stamped = self.stamp(&stamped_text(checkpoint)).map_err(AnchorError::new)?;
        Ok(AnchorAnswer::Receipt(stamped.token))
    }
}
