//! Witnesses: they cosign a checkpoint if it continues the one that they cosigned before.
//!
//! The protocol is C2SP's tlog-witness, `add-checkpoint`. A witness remembers the size that it cosigned last,
//! and requires a proof from there. If a client sends another size, the witness answers with its own.

use super::contract::{Anchor, AnchorAnswer, AnchorError, Consistency};
use super::http::{HttpClient, HttpError, HttpResponse, check_url};
use crate::merkle::NodeHash;
use crate::note::{NoteError, Signature, SignatureError, SignedBy, SignedCheckpoint, VerifierKey, decimal};

/// Most requests for one checkpoint: with the size that is remembered, with the size that the witness names, and
/// once more, because another process may have sent a checkpoint in between.
const ATTEMPTS: usize = 3;

/// Most lines of proof that a witness accepts.
const PROOF_LINES_MAX: usize = 63;

/// The reason why a witness did not cosign a checkpoint, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// There is no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No key was given that verifies the answers of the witness.
    #[error("the witness {url} has no key; give the vkey that its operator publishes")]
    NoKeys {
        /// The address of the witness.
        url: String,
    },
    /// The witness has cosigned more events of this log than the log has.
    #[error(
        "the witness {url} has cosigned {witnessed} events of this log, but the log has only {ours}: events \
         were cut off, or this is an older copy, or another copy is in use elsewhere; find out which is true \
         before you append to it"
    )]
    Ahead {
        /// The address of the witness.
        url: String,
        /// The size that the witness cosigned last.
        witnessed: u64,
        /// The size of the checkpoint.
        ours: u64,
    },
    /// The witness has cosigned another tree of this size.
    #[error(
        "the witness {url} has cosigned another log of {size} events under this origin: the log was \
         rewritten, or another copy is in use elsewhere"
    )]
    Fork {
        /// The address of the witness.
        url: String,
        /// The size of both.
        size: u64,
    },
    /// The witness rejects the proof that the checkpoint continues the one before.
    #[error(
        "the witness {url} finds that this log of {ours} events does not continue the log of {witnessed} \
         events that it has cosigned: the log was rewritten, or another copy is in use elsewhere ({answer})"
    )]
    NotContinued {
        /// The address of the witness.
        url: String,
        /// The size that the witness cosigned last.
        witnessed: u64,
        /// The size of the checkpoint.
        ours: u64,
        /// The beginning of the answer.
        answer: String,
    },
    /// The witness knows the log, and trusts none of the keys that signed.
    #[error(
        "the witness {url} trusts no key that signed this checkpoint: give its operator the present vkey of \
         the log ({answer})"
    )]
    KeyUnknown {
        /// The address of the witness.
        url: String,
        /// The beginning of the answer.
        answer: String,
    },
    /// The witness does not know the log.
    #[error(
        "the witness {url} does not know the log `{origin}`: give its operator the log's origin and vkey; or \
         the address is not that of a witness ({answer})"
    )]
    OriginUnknown {
        /// The address of the witness.
        url: String,
        /// The log's origin.
        origin: String,
        /// The beginning of the answer.
        answer: String,
    },
    /// The witness does not understand the request.
    #[error("the witness {url} calls the request malformed; it may speak another protocol ({answer})")]
    Malformed {
        /// The address of the witness.
        url: String,
        /// The beginning of the answer.
        answer: String,
    },
    /// The witness answered with a status that the protocol does not have.
    #[error("the witness {url} answered with status {status}; try again later ({answer})")]
    Status {
        /// The address of the witness.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of the answer.
        answer: String,
    },
    /// The witness names one size after the other, and accepts no proof from any of them.
    #[error(
        "the witness {url} asks for a proof from {witnessed} events, and refuses that proof; another process \
         may send it checkpoints of this log, or the witness does not work as it should"
    )]
    Unsettled {
        /// The address of the witness.
        url: String,
        /// The size that the witness named last.
        witnessed: u64,
    },
    /// The answer is neither cosignatures nor a size.
    #[error("the witness {url} gave an answer that the protocol does not allow: {what}")]
    Answer {
        /// The address of the witness.
        url: String,
        /// The fault of the answer.
        what: String,
    },
    /// The lines of the answer are no signatures.
    #[error("the witness {url} answered with lines that are not signatures: {source}")]
    Lines {
        /// The address of the witness.
        url: String,
        /// The fault of the lines.
        source: NoteError,
    },
    /// The answer has a bad signature, or none of a key that was given for this witness.
    #[error("the witness {url} answered, but not with its cosignature: {source}")]
    Cosignature {
        /// The address of the witness.
        url: String,
        /// The fault of the signatures.
        source: SignatureError,
    },
    /// There is no proof of consistency to send.
    #[error("the proof that the log continues its first {from} events cannot be made: {source}")]
    Proof {
        /// The older size, which the proof begins at.
        from: u64,
        /// The reason why there is no proof.
        source: AnchorError,
    },
}

impl WitnessError {
    /// Returns true if the witness has seen another history of this log. Witnesses exist to detect this. It
    /// needs an investigation, and another attempt does not help.
    pub fn is_other_history(&self) -> bool {
        matches!(
            self,
            WitnessError::Ahead { .. } | WitnessError::Fork { .. } | WitnessError::NotContinued { .. }
        )
    }
}

/// The state of a witness that is remembered from one checkpoint to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WitnessState {
    /// The size of this log that the witness cosigned last, as far as is known; 0 at the beginning. A wrong size
    /// costs a request and does no harm.
    pub old_size: u64,
}

/// A verified cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cosignature {
    /// The signature, to be added to the checkpoint.
    pub signature: Signature,
    /// The time of the cosignature, in seconds since 1970, by the witness's clock; 0 if it has none.
    pub time: u64,
}

/// A witness: its address and the keys by which it cosigns.
#[derive(Debug)]
pub struct Witness {
    url: String,
    keys: Vec<VerifierKey>,
    client: HttpClient,
}

impl Witness {
    /// The witness with this submission prefix, to which `/add-checkpoint` is added, and these keys.
    ///
    /// # Errors
    /// If the address does not begin with `https://` or `http://`, or there are no keys.
    pub fn new(url: &str, keys: Vec<VerifierKey>, client: HttpClient) -> Result<Witness, WitnessError> {
        let url = check_url(url)?;
        if keys.is_empty() {
            return Err(WitnessError::NoKeys { url });
        }
        Ok(Witness { url, keys, client })
    }

    /// The address of the witness.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The keys that verify the cosignatures of the witness.
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// Asks for cosignatures on a checkpoint. Returns at least one, each verified. `state` is what is known of the
    /// witness, and is updated.
    ///
    /// # Errors
    /// If the witness does not cosign: [`WitnessError::is_other_history`] reports whether the reason is
    /// the log itself.
    pub fn add_checkpoint(
        &self,
        state: &mut WitnessState,
        checkpoint: &SignedCheckpoint,
        consistency: Consistency<'_>,
    ) -> Result<Vec<Cosignature>, WitnessError> {
        // No proof begins beyond the checkpoint. If the witness has cosigned more, its answer reports that.
        let mut old = state.old_size.min(checkpoint.size());
        for _ in 0..ATTEMPTS {
            let body = request(old, checkpoint, consistency)?;
            let url = format!("{}/add-checkpoint", self.url);
            let answer = self.client.post(&url, "text/plain; charset=utf-8", body.as_bytes())?;
            match answer.status {
                200 => {
                    let cosignatures = self.read_cosignatures(&answer, checkpoint)?;
                    state.old_size = checkpoint.size();
                    return Ok(cosignatures);
                }
                // The witness has another size. The next request begins at that size, with a proof from it.
                409 => old = self.read_conflict(&answer, old, state, checkpoint)?,
                _ => return Err(self.refusal(&answer, old, checkpoint)),
            }
        }
        Err(WitnessError::Unsettled { url: self.url.clone(), witnessed: old })
    }

    /// Returns the size that the witness names instead of the one that was sent, if a proof can begin there.
    fn read_conflict(
        &self,
        answer: &HttpResponse,
        sent: u64,
        state: &mut WitnessState,
        checkpoint: &SignedCheckpoint,
    ) -> Result<u64, WitnessError> {
        let (url, ours) = (self.url.clone(), checkpoint.size());
        let line = std::str::from_utf8(&answer.body).ok().and_then(|body| body.strip_suffix('\n'));
        let named = line.and_then(decimal).filter(|_| answer.content_type == "text/x.tlog.size");
        // Remembered also if this checkpoint fails: the next request begins with the size of the witness.
        if let Some(size) = named {
            state.old_size = size;
        }
        match named {
            Some(witnessed) if witnessed > ours => Err(WitnessError::Ahead { url, witnessed, ours }),
            Some(size) if size != sent => Ok(size),
            // The sent size is that of the checkpoint itself, so the conflict is about the roots.
            _ if sent == ours => Err(WitnessError::Fork { url, size: ours }),
            Some(witnessed) => Err(WitnessError::Unsettled { url, witnessed }),
            None => {
                let what =
                    format!("a conflict, without the size that the witness has ({})", answer.excerpt());
                Err(WitnessError::Answer { url, what })
            }
        }
    }

    fn read_cosignatures(
        &self,
        answer: &HttpResponse,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Vec<Cosignature>, WitnessError> {
        let url = || self.url.clone();
        let lines = std::str::from_utf8(&answer.body)
            .map_err(|_| WitnessError::Answer { url: url(), what: "bytes that are not text".to_owned() })?;
        let signatures =
            Signature::parse_lines(lines).map_err(|source| WitnessError::Lines { url: url(), source })?;
        // Verified on our own text of the checkpoint: the witness sends only signature lines.
        let mut cosigned = SignedCheckpoint::unsigned(checkpoint.checkpoint().clone());
        cosigned.add_signatures(signatures);
        let signers =
            cosigned.verify(&self.keys).map_err(|source| WitnessError::Cosignature { url: url(), source })?;
        // A signature without a time is by a plain Ed25519 key, and is no cosignature.
        let with_signature = |signer: &SignedBy<'_>| {
            let signature = cosigned.signatures().iter().find(|signature| signer.key.made(signature))?;
            Some(Cosignature { signature: signature.clone(), time: signer.time? })
        };
        let cosignatures: Vec<Cosignature> = signers.iter().filter_map(with_signature).collect();
        if cosignatures.is_empty() {
            return Err(WitnessError::Cosignature { url: url(), source: SignatureError::NoneKnown });
        }
        Ok(cosignatures)
    }

    fn refusal(&self, answer: &HttpResponse, witnessed: u64, checkpoint: &SignedCheckpoint) -> WitnessError {
        let (url, excerpt) = (self.url.clone(), answer.excerpt());
        match answer.status {
            400 => WitnessError::Malformed { url, answer: excerpt },
            403 => WitnessError::KeyUnknown { url, answer: excerpt },
            404 => {
                WitnessError::OriginUnknown { url, origin: checkpoint.origin().to_owned(), answer: excerpt }
            }
            422 => WitnessError::NotContinued { url, witnessed, ours: checkpoint.size(), answer: excerpt },
            status => WitnessError::Status { url, status, answer: excerpt },
        }
    }
}

/// The body of a request: the old size, a proof from there, an empty line, the checkpoint.
fn request(
    old: u64,
    checkpoint: &SignedCheckpoint,
    consistency: Consistency<'_>,
) -> Result<String, WitnessError> {
    // Every tree continues the empty tree and itself; neither needs a proof.
    let proof: Vec<NodeHash> = if old == 0 || old == checkpoint.size() {
        Vec::new()
    } else {
        consistency(old, checkpoint.size()).map_err(|source| WitnessError::Proof { from: old, source })?
    };
    if proof.len() > PROOF_LINES_MAX {
        let source = AnchorError::new(format_args!("{} hashes are more than a proof can have", proof.len()));
        return Err(WitnessError::Proof { from: old, source });
    }
    let lines: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
    Ok(format!("old {old}\n{lines}\n{checkpoint}"))
}

/// A witness as an anchor of a log. The size that it cosigned last is asked for once, and remembered after that.
#[derive(Debug)]
pub struct WitnessAnchor {
    witness: Witness,
    state: WitnessState,
}

impl WitnessAnchor {
    /// Has each checkpoint cosigned by a witness.
    pub fn new(witness: Witness) -> WitnessAnchor {
        WitnessAnchor { witness, state: WitnessState::default() }
    }
}

impl Anchor for WitnessAnchor {
    fn name(&self) -> String {
        format!("witness {}", self.witness.url)
    }

    fn submit(
        &mut self,
        checkpoint: &SignedCheckpoint,
        consistency: Consistency<'_>,
    ) -> Result<AnchorAnswer, AnchorError> {
        let cosignatures = self.witness.add_checkpoint(&mut self.state, checkpoint, consistency);
        let cosignatures = cosignatures.map_err(AnchorError::new)?;
        Ok(AnchorAnswer::Cosigned(
            cosignatures.into_iter().map(|cosignature| cosignature.signature).collect(),
        ))
    }
}
