//! Policies: the logs that a verifier trusts, and the witnesses that must have cosigned.
//!
//! A policy file consists of octets: names are compared byte by byte, and are never read as UTF-8.

use std::collections::HashMap;
use std::str::FromStr;

use super::key::{Algorithm, KeyError, VerifierKey};
use crate::limits::POLICY_BYTES_MAX;

/// The name of the quorum that asks for no witness.
const NONE: &[u8] = b"none";

/// A policy that cannot be used, and the line of the fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
#[non_exhaustive]
pub struct PolicyError {
    /// The line, from 1.
    pub line: usize,
    /// The fault on that line.
    pub fault: PolicyFault,
}

/// A fault on a line of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// The file is longer than the longest policy that is read.
    #[error("a policy has at most {max} bytes")]
    TooLong {
        /// The largest length that is read.
        max: usize,
    },
    /// The line has an octet that policies must not have.
    #[error("a policy must not have the byte {0:#04x}; its lines end in a newline alone")]
    Octet(u8),
    /// The line begins with an unknown word.
    #[error("`{0}` is not one of `log`, `witness`, `group` and `quorum`")]
    Word(String),
    /// The line has too few or too many words.
    #[error("this line is not like `{form}`")]
    Form {
        /// The form that the line must have.
        form: &'static str,
    },
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key has an algorithm that logs, or witnesses, do not sign with.
    #[error("a key of algorithm {algorithm} cannot be used for a {of}: use {expected}")]
    Algorithm {
        /// The key's algorithm.
        algorithm: Algorithm,
        /// The role that the line gives to the key: a log or a witness.
        of: &'static str,
        /// The algorithms for that role.
        expected: &'static str,
    },
    /// Another log, or another witness, has this key.
    #[error("the same key is already on line {line}; each key counts once")]
    DuplicateKey {
        /// The line of the other one.
        line: usize,
    },
    /// The name is already defined.
    #[error("the name `{name}` is already used on line {line}")]
    DuplicateName {
        /// The name.
        name: String,
        /// The line of the first definition.
        line: usize,
    },
    /// The name is `none`, which is reserved for the empty quorum.
    #[error("`none` is the name of the empty quorum; it cannot name a witness, a group or a member")]
    None,
    /// No line above defines this name.
    #[error("no line above names a witness or group `{0}`")]
    Unknown(String),
    /// A group's threshold cannot be used.
    #[error("a group asks for `all`, `any` or a number of 1 to {members} of its members, not `{threshold}`")]
    Threshold {
        /// The threshold on the line.
        threshold: String,
        /// The number of members.
        members: usize,
    },
    /// A name is a member of two groups, or twice of one group.
    #[error("`{name}` is already a member on line {line}; each counts in one group")]
    DuplicateMember {
        /// The name.
        name: String,
        /// The line of the first membership.
        line: usize,
    },
    /// There is a second quorum.
    #[error("line {line} already sets a quorum")]
    SecondQuorum {
        /// The line of the first quorum.
        line: usize,
    },
    /// The file ends within the line.
    #[error("the line does not end in a newline; something may be missing from the end of the file")]
    NotEnded,
    /// There is no quorum.
    #[error("the policy has no line `quorum <name>`; `quorum none` asks for no witness")]
    NoQuorum,
}

/// A log that a policy trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyLog {
    /// The key of the log; its name is the log's origin.
    pub key: VerifierKey,
    /// The address of the log, if the policy has it.
    pub url: Option<String>,
}

/// A witness that a policy knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyWitness {
    /// The name within the policy. Octets that are not UTF-8 are replaced.
    pub name: String,
    /// The key of the witness.
    pub key: VerifierKey,
    /// The address of the witness, if the policy has it: the prefix for submissions.
    pub url: Option<String>,
}

/// A group. Its members are indexes into the list of definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) threshold: usize,
    pub(super) members: Vec<usize>,
}

/// The definition of a name. Members and quorum are indexes into the list of definitions, and the members
/// of a group stand before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Defined {
    /// An index into the list of witnesses.
    Witness(usize),
    Group(Group),
}

/// The logs that a verifier trusts, and the quorum: the witnesses that must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    pub(super) defined: Vec<Defined>,
    pub(super) quorum: Option<usize>,
}

impl Policy {
    /// Reads a policy file, in the form of C2SP's tlog-policy.
    ///
    /// # Errors
    /// If a line breaks one of the rules. The error names the first such line.
    pub fn parse(file: &[u8]) -> Result<Policy, PolicyError> {
        let mut parser = Parser::default();
        let faulty = |line| move |fault| PolicyError { line, fault };
        if file.len() > POLICY_BYTES_MAX {
            return Err(faulty(1)(PolicyFault::TooLong { max: POLICY_BYTES_MAX }));
        }
        let mut last = 1;
        // A file that ends in a newline has one more line here, which is empty. So the whole lines are read
        // before a missing newline at the end is reported.
        let is_ended = file.is_empty() || file.ends_with(b"\n");
        for (line, number) in file.split(|byte| *byte == b'\n').zip(1..) {
            parser.line(line, number).map_err(faulty(number))?;
            last = number;
        }
        if !is_ended {
            return Err(faulty(last)(PolicyFault::NotEnded));
        }
        let Some((quorum, _)) = parser.quorum else { return Err(faulty(last)(PolicyFault::NoQuorum)) };
        let Parser { logs, witnesses, defined, .. } = parser;
        Ok(Policy { logs, witnesses, defined, quorum })
    }

    /// The logs, in the order of the lines. Without any, the verifier must know the log from elsewhere.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in the order of the lines, including those that the quorum does not ask for.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// The name of the definition with this index.
    pub(super) fn name_of(&self, place: usize) -> &str {
        match self.defined.get(place) {
            Some(Defined::Witness(witness)) => {
                self.witnesses.get(*witness).map_or("", |witness| &witness.name)
            }
            Some(Defined::Group(group)) => &group.name,
            None => "",
        }
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.as_bytes())
    }
}

#[derive(Default)]
struct Parser<'a> {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    defined: Vec<Defined>,
    /// The index and the line of each name.
    names: HashMap<&'a [u8], (usize, usize)>,
    /// The line on which the definition with this index is a member.
    members: HashMap<usize, usize>,
    /// The lines of public keys. A log and a witness may have the same key, so there are two maps.
    log_keys: HashMap<Vec<u8>, usize>,
    witness_keys: HashMap<Vec<u8>, usize>,
    /// The quorum, and its line.
    quorum: Option<(Option<usize>, usize)>,
}

impl<'a> Parser<'a> {
    fn line(&mut self, line: &'a [u8], number: usize) -> Result<(), PolicyFault> {
        // Names and comments may have octets from 0x80 on. Of the control characters, only the tab is allowed.
        if let Some(octet) = line.iter().find(|octet| !matches!(octet, b'\t' | 0x20..=0x7e | 0x80..)) {
            return Err(PolicyFault::Octet(*octet));
        }
        let words: Vec<&[u8]> =
            line.split(|octet| matches!(octet, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] => self.log(key, None, number),
            [b"log", key, url] => self.log(key, Some(url), number),
            [b"log", ..] => Err(PolicyFault::Form { form: "log <vkey> [<url>]" }),
            [b"witness", name, key] => self.witness(name, key, None, number),
            [b"witness", name, key, url] => self.witness(name, key, Some(url), number),
            [b"witness", ..] => Err(PolicyFault::Form { form: "witness <name> <vkey> [<url>]" }),
            [b"group", name, threshold, members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members, number)
            }
            [b"group", ..] => {
                Err(PolicyFault::Form { form: "group <name> <all, any or a number> <name>..." })
            }
            [b"quorum", name] => self.quorum(name, number),
            [b"quorum", ..] => Err(PolicyFault::Form { form: "quorum <name>" }),
            [word, ..] => Err(PolicyFault::Word(lossy(word))),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&[u8]>, line: usize) -> Result<(), PolicyFault> {
        let key = read_key(key)?;
        // Ed25519 with a time is for witnesses only. ML-DSA-44 is for logs and for witnesses.
        if key.algorithm() == Algorithm::CosignatureV1 {
            let expected = "Ed25519 (0x01) and ML-DSA-44 (0x06)";
            return Err(PolicyFault::Algorithm { algorithm: key.algorithm(), of: "log", expected });
        }
        once(&mut self.log_keys, &key, line)?;
        self.logs.push(PolicyLog { key, url: url.map(lossy) });
        Ok(())
    }

    fn witness(
        &mut self,
        name: &'a [u8],
        key: &[u8],
        url: Option<&[u8]>,
        line: usize,
    ) -> Result<(), PolicyFault> {
        let key = read_key(key)?;
        if key.algorithm() == Algorithm::Ed25519 {
            let expected = "Ed25519 with time (0x04) and ML-DSA-44 (0x06)";
            return Err(PolicyFault::Algorithm { algorithm: key.algorithm(), of: "witness", expected });
        }
        once(&mut self.witness_keys, &key, line)?;
        self.define(name, Defined::Witness(self.witnesses.len()), line)?;
        self.witnesses.push(PolicyWitness { name: lossy(name), key, url: url.map(lossy) });
        Ok(())
    }

    fn group(
        &mut self,
        name: &'a [u8],
        threshold: &[u8],
        members: &[&[u8]],
        line: usize,
    ) -> Result<(), PolicyFault> {
        // Members are looked up before the group itself is defined. So a group contains only earlier
        // definitions, and never itself: there are no cycles.
        let places = members.iter().map(|member| self.member(member, line)).collect::<Result<Vec<_>, _>>()?;
        let threshold = match threshold {
            b"all" => Some(places.len()),
            b"any" => Some(1),
            number => std::str::from_utf8(number)
                .ok()
                .and_then(super::text::decimal)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=places.len()).contains(number)),
        }
        .ok_or_else(|| PolicyFault::Threshold { threshold: lossy(threshold), members: places.len() })?;
        self.define(name, Defined::Group(Group { name: lossy(name), threshold, members: places }), line)
    }

    fn member(&mut self, name: &[u8], line: usize) -> Result<usize, PolicyFault> {
        if name == NONE {
            return Err(PolicyFault::None);
        }
        let place = self.place(name)?;
        // Over the whole policy, not only this group: a witness counts in one place.
        match self.members.insert(place, line) {
            Some(line) => Err(PolicyFault::DuplicateMember { name: lossy(name), line }),
            None => Ok(place),
        }
    }

    fn quorum(&mut self, name: &[u8], line: usize) -> Result<(), PolicyFault> {
        if let Some((_, line)) = self.quorum {
            return Err(PolicyFault::SecondQuorum { line });
        }
        let place = if name == NONE { None } else { Some(self.place(name)?) };
        self.quorum = Some((place, line));
        Ok(())
    }

    fn place(&self, name: &[u8]) -> Result<usize, PolicyFault> {
        self.names.get(name).map(|(place, _)| *place).ok_or_else(|| PolicyFault::Unknown(lossy(name)))
    }

    fn define(&mut self, name: &'a [u8], defined: Defined, line: usize) -> Result<(), PolicyFault> {
        if name == NONE {
            return Err(PolicyFault::None);
        }
        if let Some((_, line)) = self.names.insert(name, (self.defined.len(), line)) {
            return Err(PolicyFault::DuplicateName { name: lossy(name), line });
        }
        self.defined.push(defined);
        Ok(())
    }
}

/// Requires that a key was not used before. Two keys are the same if their bytes are, whatever their names and ids.
fn once(lines: &mut HashMap<Vec<u8>, usize>, key: &VerifierKey, line: usize) -> Result<(), PolicyFault> {
    match lines.insert(key.public_bytes().to_vec(), line) {
        Some(line) => Err(PolicyFault::DuplicateKey { line }),
        None => Ok(()),
    }
}

fn read_key(word: &[u8]) -> Result<VerifierKey, PolicyFault> {
    Ok(std::str::from_utf8(word).map_err(|_| KeyError::NotAVerifierKey)?.parse()?)
}

fn lossy(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}
