//! The verdict of a policy on a checkpoint, and the parts that are missing.

use std::fmt;

use super::key::VerifierKey;
use super::policy::{Defined, Policy};
use super::signed::SignatureError;
use super::signed_checkpoint::SignedCheckpoint;

/// The result for the logs of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogVerdict {
    /// A listed log signed, and the checkpoint has its origin.
    Signed,
    /// No listed log signed.
    NotSigned,
    /// The policy lists no logs. The caller must know the log from elsewhere, and verify its signature.
    NoneListed,
}

/// A witness that cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cosigned {
    /// The witness's name within the policy.
    pub witness: String,
    /// The time of the cosignature in seconds since 1970, by the witness's clock. 0 means no time.
    pub time: u64,
}

/// A part of the quorum that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// A witness that the quorum needs did not cosign.
    Witness {
        /// The witness's name within the policy.
        witness: String,
    },
    /// Too few members of a group cosigned.
    Group {
        /// The name of the group.
        group: String,
        /// The number of members that the group asks for.
        threshold: usize,
        /// The members that cosigned or, if they are groups, are met.
        met: Vec<String>,
        /// The other members.
        unmet: Vec<String>,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Witness { witness } => write!(f, "witness `{witness}` did not cosign"),
            Missing::Group { group, threshold, met, unmet } => write!(
                f,
                "group `{group}` asks for {threshold} of {}, and has {}; missing: {}",
                met.len() + unmet.len(),
                met.len(),
                unmet.join(", ")
            ),
        }
    }
}

/// The verdict of a policy on a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyVerdict {
    /// The result for the logs of the policy.
    pub log: LogVerdict,
    /// The witnesses that cosigned, in the order of the policy.
    pub cosigned: Vec<Cosigned>,
    /// The missing parts of the quorum: the outermost group first, then its missing groups. Empty if the
    /// quorum is met.
    pub missing: Vec<Missing>,
    /// Bad signatures with the name and id of a key of the policy. One of them is enough to reject the checkpoint.
    pub bad: Vec<SignatureError>,
}

impl PolicyVerdict {
    /// Returns whether the checkpoint is valid under the policy: a listed log signed it, the quorum
    /// cosigned it, and no signature is bad.
    pub fn is_accepted(&self) -> bool {
        self.log == LogVerdict::Signed && self.is_quorum_met()
    }

    /// Returns whether the quorum cosigned the checkpoint and no signature is bad. The log's signature does
    /// not matter here.
    pub fn is_quorum_met(&self) -> bool {
        self.missing.is_empty() && self.bad.is_empty()
    }
}

/// Prints the reasons why the policy does not accept, one on each line, without a newline at the end.
/// Nothing if it accepts.
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
    /// Judges a checkpoint by this policy, and lists the reasons if it is not valid.
    pub fn evaluate(&self, checkpoint: &SignedCheckpoint) -> PolicyVerdict {
        let mut bad = Vec::new();
        // One key at a time: a bad signature of one key must not hide the verdict on the others. A log's
        // signature has no time, so 0 stands for it.
        let mut time_of = |key: &VerifierKey| match checkpoint.verify(std::slice::from_ref(key)) {
            Ok(signers) => signers.first().map(|signer| signer.time.unwrap_or(0)),
            Err(SignatureError::NoneKnown) => None,
            Err(error) => {
                bad.push(error);
                None
            }
        };
        // Every key is asked, even if one log is enough: a bad signature by any of them rejects the checkpoint.
        // A log's key counts only under its own origin: the log may have signed the checkpoint of another one.
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
        // `quorum none` asks for no witness, so nothing can be missing.
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

    /// Returns for each witness and group whether it is met. The members of a group stand before it, so one
    /// pass is enough.
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

    /// Lists the missing parts below the quorum. Each witness and group is a member of at most one group,
    /// so none is listed twice.
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
                    // The entry of the group names its missing witnesses. Its missing groups get entries of
                    // their own. They are pushed in reverse, because the last one is taken first.
                    let is_group =
                        |place: &usize| matches!(self.defined.get(*place), Some(Defined::Group(_)));
                    waiting.extend(unmet.into_iter().rev().filter(is_group));
                }
                _ => missing.push(Missing::Witness { witness: self.name_of(place).to_owned() }),
            }
        }
    }
}
