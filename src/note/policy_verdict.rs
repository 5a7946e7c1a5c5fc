//! What a policy says of a checkpoint, and what is missing.

use std::fmt;

use super::key::VerifierKey;
use super::policy::{Defined, Policy};
use super::signed::SignatureError;
use super::signed_checkpoint::SignedCheckpoint;

/// Whether a log of the policy signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogVerdict {
    /// A log that is listed, and whose origin this is, signed.
    Signed,
    /// None did.
    NotSigned,
    /// The policy lists no logs: whoever evaluates it must know the log from elsewhere, and verify its
    /// signature.
    NoneListed,
}

/// A witness that cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cosigned {
    /// The witness's name within the policy.
    pub witness: String,
    /// When, in seconds since 1970, by the witness's clock. 0 is no time.
    pub time: u64,
}

/// A part of the quorum that is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// A witness did not cosign, without which there is no quorum.
    Witness {
        /// Its name within the policy.
        witness: String,
    },
    /// Too few of a group did.
    Group {
        /// Its name.
        group: String,
        /// How many of its members it asks for.
        threshold: usize,
        /// Its members that cosigned, or are met if they are groups.
        met: Vec<String>,
        /// Its other members.
        unmet: Vec<String>,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Witness { witness } => write!(f, "witness `{witness}` did not cosign"),
            Missing::Group { group, threshold, met, unmet } => write!(
                f,
                "group `{group}` asks for {threshold} of {}, and has {}; not there: {}",
                met.len() + unmet.len(),
                met.len(),
                unmet.join(", ")
            ),
        }
    }
}

/// What a policy says of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyVerdict {
    /// Whether a log of the policy signed.
    pub log: LogVerdict,
    /// The witnesses that cosigned, in the order of the policy.
    pub cosigned: Vec<Cosigned>,
    /// What the quorum lacks: the outermost group first, then what is missing within it. Empty if the
    /// quorum is met.
    pub missing: Vec<Missing>,
    /// Signatures with name and id of a key of the policy that are not good. One of them is reason
    /// enough to reject the whole.
    pub bad: Vec<SignatureError>,
}

impl PolicyVerdict {
    /// Whether the checkpoint is valid under the policy: a listed log signed it, the quorum cosigned
    /// it, and no signature is bad.
    pub fn is_accepted(&self) -> bool {
        self.log == LogVerdict::Signed && self.is_quorum_met()
    }

    /// Whether the quorum cosigned it and no signature is bad. It says nothing about the log.
    pub fn is_quorum_met(&self) -> bool {
        self.missing.is_empty() && self.bad.is_empty()
    }
}

/// The reasons for which the policy does not accept, a line each without a newline at the end;
/// nothing if it accepts.
impl fmt::Display for PolicyVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = match self.log {
            LogVerdict::Signed => None,
            LogVerdict::NotSigned => Some("no log that the policy lists signed it, under its own origin"),
            LogVerdict::NoneListed => Some("the policy lists no log"),
        };
        let reasons: Vec<String> = log
            .map(str::to_owned)
            .into_iter()
            .chain(self.bad.iter().map(SignatureError::to_string))
            .chain(self.missing.iter().map(Missing::to_string))
            .collect();
        f.write_str(&reasons.join("\n"))
    }
}

impl Policy {
    /// Says whether a checkpoint is valid under this policy, and if not, why.
    pub fn evaluate(&self, checkpoint: &SignedCheckpoint) -> PolicyVerdict {
        let mut bad = Vec::new();
        let mut time_of = |key: &VerifierKey| match checkpoint.verify(std::slice::from_ref(key)) {
            Ok(signers) => signers.first().map(|signer| signer.time.unwrap_or(0)),
            Err(SignatureError::NoneKnown) => None,
            Err(error) => {
                bad.push(error);
                None
            }
        };
        // All are asked, so that no bad signature goes unseen.
        let logs: Vec<bool> = self
            .logs()
            .iter()
            .map(|log| time_of(&log.key).is_some() && log.key.name() == checkpoint.origin())
            .collect();
        let times: Vec<Option<u64>> = self.witnesses().iter().map(|witness| time_of(&witness.key)).collect();
        let log = match logs.as_slice() {
            [] => LogVerdict::NoneListed,
            logs if logs.contains(&true) => LogVerdict::Signed,
            _ => LogVerdict::NotSigned,
        };
        let met = self.met(&times);
        let mut missing = Vec::new();
        if let Some(quorum) = self.quorum {
            self.list_missing(quorum, &met, &mut missing);
        }
        let cosigned = self
            .witnesses()
            .iter()
            .zip(times)
            .filter_map(|(witness, time)| Some(Cosigned { witness: witness.name.clone(), time: time? }))
            .collect();
        PolicyVerdict { log, cosigned, missing, bad }
    }

    /// Whether each witness and group has witnessed. A group's members stand before it, so that once
    /// through is enough.
    fn met(&self, times: &[Option<u64>]) -> Vec<bool> {
        let mut met: Vec<bool> = Vec::with_capacity(self.defined.len());
        for defined in &self.defined {
            let is_met = match defined {
                Defined::Witness(witness) => times.get(*witness).is_some_and(Option::is_some),
                Defined::Group(group) => {
                    let members = group.members.iter().filter(|member| met.get(**member) == Some(&true));
                    members.count() >= group.threshold
                }
            };
            met.push(is_met);
        }
        met
    }

    /// Each is a member of one group at most, so that none comes twice.
    fn list_missing(&self, quorum: usize, met: &[bool], missing: &mut Vec<Missing>) {
        let mut waiting = vec![quorum];
        while let Some(place) = waiting.pop() {
            if met.get(place) == Some(&true) {
                continue;
            }
            match self.defined.get(place) {
                Some(Defined::Group(group)) => {
                    let (met, unmet): (Vec<usize>, Vec<usize>) =
                        group.members.iter().partition(|member| met.get(**member) == Some(&true));
                    let named = |places: &[usize]| {
                        places.iter().map(|place| self.name_of(*place).to_owned()).collect()
                    };
                    missing.push(Missing::Group {
                        group: group.name.clone(),
                        threshold: group.threshold,
                        met: named(&met),
                        unmet: named(&unmet),
                    });
                    // The group names its own witnesses; of groups within it is said what they lack.
                    let is_group =
                        |place: &usize| matches!(self.defined.get(*place), Some(Defined::Group(_)));
                    waiting.extend(unmet.into_iter().rev().filter(is_group));
                }
                _ => missing.push(Missing::Witness { witness: self.name_of(place).to_owned() }),
            }
        }
    }
}
