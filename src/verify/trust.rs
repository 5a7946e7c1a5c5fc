//! Which keys are trusted for which sizes: those that were given, and those that they hand trust on to.
//! docs/format.md, section 11, has the rules.

use super::predecessors::{Predecessor, Predecessors, shown};
use super::report::{Check, Failure, KeyChangeSeen};
use crate::event::{KeyChangeCause, KeyChanged, KeyRole, Seq};
use crate::merkle::NodeHash;
use crate::note::{KeyChange, SignatureError, SignedCheckpoint, SignedNote, VerifierKey};

/// A key, and the sizes of the checkpoints for which it is trusted.
#[derive(Clone, Debug)]
struct Trusted {
    role: KeyRole,
    key: VerifierKey,
    is_given: bool,
    /// The smallest size.
    from: u64,
    /// The event that retired it, which is also the largest size.
    retired: Option<u64>,
}

impl Trusted {
    fn is_for(&self, size: u64) -> bool {
        self.from <= size && self.retired.is_none_or(|retired| size <= retired)
    }

    fn is_active(&self, role: KeyRole, key: &VerifierKey) -> bool {
        self.key == *key && self.role == role && self.retired.is_none()
    }
}

/// What a change of keys comes to.
enum Certified {
    /// A trusted key did: the new key is trusted from this size on.
    By { previous: Box<VerifierKey>, new: Box<VerifierKey>, from: u64 },
    /// A trusted key did, which was compromised: it is retired, and the new key is trusted by nobody for that.
    Revoked { previous: Box<VerifierKey> },
    /// Nobody did who counts.
    NotTrusted(String),
    /// A trusted key did, and what it certified is not so.
    Wrong(String),
}

/// The keys that are trusted.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    keys: Vec<Trusted>,
    /// The roles of which a change was seen.
    changed: Vec<KeyRole>,
    /// A key of an epoch was given: without one no checkpoint is taken.
    asks_for_epoch: bool,
    predecessors: Predecessors,
}

/// How a checkpoint stands to the keys that are known.
pub(super) enum Standing<'t> {
    /// Keys signed it that are trusted for its size.
    Trusted(Vec<(KeyRole, &'t VerifierKey)>),
    /// A key signed it that a trusted key took over from.
    Before(&'t Predecessor),
    /// A signature by a known key is bad, or not one that counts.
    Wrong(String),
    /// No key of its log that is known here signed it.
    Unknown(String),
}

impl Trust {
    /// Trusts the keys that were given, for every size.
    pub(super) fn new(given: Vec<(KeyRole, VerifierKey)>) -> Trust {
        let asks_for_epoch = given.iter().any(|(role, _)| *role == KeyRole::Epoch);
        let keys = given.into_iter().map(|(role, key)| Trusted {
            role,
            key,
            is_given: true,
            from: 0,
            retired: None,
        });
        let keys = keys.collect();
        Trust { keys, changed: Vec::new(), asks_for_epoch, predecessors: Predecessors::default() }
    }

    /// The keys that were given, each in its role: those that are trusted for every size.
    fn given(&self) -> impl Iterator<Item = (KeyRole, &VerifierKey)> {
        self.keys.iter().filter(|trusted| trusted.is_given).map(|trusted| (trusted.role, &trusted.key))
    }

    fn is_given(&self, role: KeyRole, vkey: &str) -> bool {
        self.given().any(|(given, key)| given == role && key.to_string() == vkey)
    }

    /// The names and ids of the keys that are trusted.
    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.keys.iter().map(|trusted| shown(&trusted.key)).collect();
        names.join(", ")
    }

    /// Returns whether keys were given and none of them can sign for the log of this origin, or, where the log
    /// does not say what it is called, for any.
    pub(super) fn is_of_other_logs(&self, origin: Option<&str>) -> bool {
        let signs = |key: &VerifierKey| key.signs_for(origin.unwrap_or_else(|| key.name()));
        !self.is_empty() && !self.keys.iter().any(|trusted| signs(&trusted.key))
    }

    /// Goes back from the given keys to those before them, by the changes that stand within the first
    /// `covered` events, and returns the events that led back. `root_at` as in [`Trust::change`].
    pub(super) fn look_back<E>(
        &mut self,
        origin: Option<&str>,
        changes: &[(Seq, KeyChanged)],
        covered: u64,
        root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
    ) -> Result<Vec<Seq>, E> {
        let given: Vec<(KeyRole, VerifierKey)> =
            self.given().map(|(role, key)| (role, key.clone())).collect();
        self.predecessors = Predecessors::of(&given, origin, changes, covered, root_at)?;
        Ok(self.predecessors.events())
    }

    /// Whether no key was given.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes a change of keys into account. `root_at` says what root the log's tree has at a size.
    pub(super) fn change<E>(
        &mut self,
        origin: Option<&str>,
        seq: Seq,
        event: KeyChanged,
        root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
    ) -> Result<(KeyChangeSeen, Option<Failure>), E> {
        let certified = self.certified(origin, seq, &event, root_at)?;
        let is_first = event.cause == KeyChangeCause::Generated && !self.changed.contains(&event.role);
        self.changed.push(event.role);
        let (is_certified, said, failure) = match certified {
            Certified::By { previous, new, from } => {
                let said = shown(&previous);
                self.retire(event.role, &previous, seq);
                self.hand_on(event.role, *new, from);
                (true, said, None)
            }
            Certified::Revoked { previous } => {
                self.retire(event.role, &previous, seq);
                let said = format!(
                    "{} was compromised and is retired from here on, so trust in this one must come from elsewhere",
                    shown(&previous)
                );
                (false, said, None)
            }
            Certified::NotTrusted(why) => (false, why, None),
            Certified::Wrong(detail) => (false, detail.clone(), Some(key_change_failure(seq, detail))),
        };
        let KeyChanged { role, vkey, previous, certificate: _, cause, actor, reason } = event;
        let seen = KeyChangeSeen {
            is_first,
            is_given: self.is_given(role, &vkey),
            leads_back: false,
            seq,
            role,
            vkey,
            previous,
            cause,
            actor,
            reason,
            is_certified,
            certified: said,
        };
        Ok((seen, failure))
    }

    fn retire(&mut self, role: KeyRole, key: &VerifierKey, seq: Seq) {
        for trusted in self.keys.iter_mut().filter(|trusted| trusted.is_active(role, key)) {
            trusted.retired = Some(seq.get());
        }
    }

    fn hand_on(&mut self, role: KeyRole, new: VerifierKey, from: u64) {
        match self.keys.iter_mut().find(|trusted| trusted.is_active(role, &new)) {
            // One that was given is trusted from further back, and so may be one that another key certified.
            Some(trusted) => trusted.from = trusted.from.min(from),
            None => self.keys.push(Trusted { role, key: new, is_given: false, from, retired: None }),
        }
    }

    /// Whether the new key was given in the other role: nothing that it signs counts as it should.
    fn is_given_as_other(&self, event: &KeyChanged) -> bool {
        let Ok(key) = event.vkey.parse::<VerifierKey>() else { return false };
        let mut given = self.keys.iter().filter(|trusted| trusted.key == key).peekable();
        given.peek().is_some() && given.all(|trusted| trusted.role != event.role)
    }

    fn certified<E>(
        &self,
        origin: Option<&str>,
        seq: Seq,
        event: &KeyChanged,
        root_at: &mut dyn FnMut(u64) -> Result<Option<NodeHash>, E>,
    ) -> Result<Certified, E> {
        let not_trusted = |why: &str| Ok(Certified::NotTrusted(why.to_owned()));
        let Some(certificate) = &event.certificate else {
            if self.is_given_as_other(event) {
                return not_trusted(match event.role {
                    KeyRole::Epoch => "it was given as a stable key; give it with --epoch-key",
                    KeyRole::Stable => "it was given as a key of an epoch; give it with --key",
                });
            }
            return not_trusted(match event.cause {
                KeyChangeCause::Generated if self.changed.contains(&event.role) => {
                    "it says that it is the first key of its role, and there was one before"
                }
                KeyChangeCause::Generated => "the first key of its role",
                KeyChangeCause::Lost => {
                    "the key before was lost, so trust in this one must come from elsewhere"
                }
                KeyChangeCause::Compromised => {
                    "the key before was compromised, so trust in this one must come from elsewhere"
                }
                KeyChangeCause::Rotated => "it has no certificate",
            });
        };
        if event.cause == KeyChangeCause::Lost {
            return not_trusted(
                "the key before was lost, and yet there is a certificate: nobody can tell whose",
            );
        }
        let Ok(note) = certificate.parse::<SignedNote>() else {
            return not_trusted("the certificate is no signed note");
        };
        let previous = event.previous.as_deref().and_then(|vkey| vkey.parse::<VerifierKey>().ok());
        let is_previous = |trusted: &&Trusted| {
            previous.as_ref().is_some_and(|previous| trusted.is_active(event.role, previous))
                && origin.is_none_or(|origin| trusted.key.signs_for(origin))
        };
        let Some(previous) = self.keys.iter().find(is_previous) else {
            return not_trusted(self.why_not_handed_on(event, previous.as_ref()));
        };
        // Others of its name and id as well: then nobody can tell which of them signed.
        let alike: Vec<VerifierKey> = self
            .keys
            .iter()
            .map(|trusted| &trusted.key)
            .filter(|key| key.name() == previous.key.name() && key.id() == previous.key.id())
            .cloned()
            .collect();
        match note.verify(&alike) {
            Ok(_) => {}
            Err(SignatureError::NoneKnown) => {
                return not_trusted("the key before did not sign the certificate");
            }
            Err(error) => return Ok(Certified::Wrong(format!("its certificate: {error}"))),
        }
        let wrong = |what: String| {
            let by = shown(&previous.key);
            Ok(Certified::Wrong(format!("its certificate is signed by the trusted key {by}, and {what}")))
        };
        let change: KeyChange = match note.text().parse() {
            Ok(change) => change,
            Err(error) => return wrong(format!("is none: {error}")),
        };
        let is_of_another = origin.is_some_and(|origin| origin != change.origin());
        if is_of_another || !change.key().signs_for(change.origin()) {
            return wrong(format!(
                "is for the log `{}` and the key {}, which cannot sign for it",
                change.origin(),
                shown(change.key())
            ));
        }
        if change.role() != event.role || change.key().to_string() != event.vkey {
            return wrong("is for another key than the event names".to_owned());
        }
        if change.size() >= seq.get() {
            return wrong(format!("covers {} events, which are not all before it", change.size()));
        }
        if change.size() < previous.from {
            return wrong(format!(
                "covers {} events, and that key is trusted from {} on",
                change.size(),
                previous.from
            ));
        }
        match root_at(change.size())? {
            Some(root) if root == *change.root() => {
                let (previous, from) = (Box::new(previous.key.clone()), change.size());
                Ok(match event.cause {
                    KeyChangeCause::Compromised => Certified::Revoked { previous },
                    _ => Certified::By { previous, new: Box::new(change.key().clone()), from },
                })
            }
            _ => wrong(format!("the log's first {} events are not those that it covers", change.size())),
        }
    }

    fn why_not_handed_on(&self, event: &KeyChanged, previous: Option<&VerifierKey>) -> &'static str {
        let known = self.keys.iter().find(|trusted| Some(&trusted.key) == previous);
        match known {
            None => "the key before is none that this verification trusts",
            Some(known) if known.retired.is_some() => "the key before was retired already",
            Some(known) if known.role == event.role => "the key before is not named after the log",
            Some(_) if event.role == KeyRole::Epoch => {
                "the key before was given as a stable one; give it with --epoch-key"
            }
            Some(_) => "the key before was given as one of an epoch; give it with --key",
        }
    }

    /// How a checkpoint stands to the keys: docs/format.md, section 11, has the steps in their order.
    pub(super) fn standing<'t>(&'t self, checkpoint: &SignedCheckpoint) -> Standing<'t> {
        let keys: Vec<VerifierKey> = self.keys.iter().map(|trusted| trusted.key.clone()).collect();
        let signed = match checkpoint.verify(&keys) {
            Ok(signed) => signed,
            Err(SignatureError::NoneKnown) => Vec::new(),
            Err(error) => return Standing::Wrong(error.to_string()),
        };
        let signers: Vec<&Trusted> = self
            .keys
            .iter()
            .filter(|trusted| signed.iter().any(|signer| *signer.key == trusted.key))
            .collect();
        let size = checkpoint.size();
        let good: Vec<&Trusted> = signers
            .iter()
            .copied()
            .filter(|trusted| trusted.is_for(size) && trusted.key.signs_for(checkpoint.origin()))
            .collect();
        if good.iter().any(|trusted| self.is_enough(trusted.role)) {
            return Standing::Trusted(good.into_iter().map(|trusted| (trusted.role, &trusted.key)).collect());
        }
        let before = match self.predecessors.signers(checkpoint) {
            Ok(before) => before,
            Err(error) => return Standing::Wrong(error),
        };
        let counts = |key: &&&Predecessor| key.is_for(size) && self.is_enough(key.role());
        if let Some(key) = before.iter().find(counts) {
            return Standing::Before(key);
        }
        let of_the_log = signers.iter().any(|trusted| trusted.key.signs_for(checkpoint.origin()));
        let why: Vec<String> = match !good.is_empty() || before.iter().any(|key| key.is_for(size)) {
            true => vec!["no epoch key that is trusted for its size signed it, and other signatures do not make up for that".to_owned()],
            false => signers
                .iter()
                .map(|trusted| why_not(trusted, checkpoint))
                .chain(before.iter().map(|key| key.why_not()))
                .collect(),
        };
        match (of_the_log || !before.is_empty(), signers.is_empty()) {
            (true, _) => Standing::Wrong(why.join("; ")),
            (false, true) => Standing::Unknown(self.nobody(checkpoint)),
            (false, false) => Standing::Unknown(why.join("; ")),
        }
    }

    /// Whether a signature in this role is all that is asked for.
    fn is_enough(&self, role: KeyRole) -> bool {
        !self.asks_for_epoch || role == KeyRole::Epoch
    }

    fn nobody(&self, checkpoint: &SignedCheckpoint) -> String {
        let names: Vec<String> = checkpoint
            .signatures()
            .iter()
            .map(|signature| format!("{}+{}", signature.name(), signature.id()))
            .collect();
        if self.is_empty() {
            return "no key was given to check its signature with".to_owned();
        }
        let (names, trusted, origin) = (names.join(", "), self.names(), checkpoint.origin());
        if self.keys.iter().all(|trusted| trusted.key.name() != origin) {
            return format!(
                "it is a checkpoint of the log `{origin}`, signed by {names}, and none of the trusted keys is that log's: {trusted}; perhaps another log's key, or file, was named"
            );
        }
        format!(
            "none of the trusted keys signed it, which are {trusted}; it is signed by {names}; perhaps another key was named than the log's"
        )
    }
}

fn why_not(trusted: &Trusted, checkpoint: &SignedCheckpoint) -> String {
    let name = shown(&trusted.key);
    if !trusted.key.signs_for(checkpoint.origin()) {
        return format!(
            "{name} signed it, which is no key of its log `{}`, so it counts as a witness's alone",
            checkpoint.origin()
        );
    }
    match trusted.retired {
        Some(event) if checkpoint.size() > event => {
            format!("{name} signed it, which event {event} retired: it is trusted up to that size")
        }
        _ => format!("{name} signed it, which is trusted from size {} on", trusted.from),
    }
}

/// No key that was given signed a checkpoint as its log's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotSigned(String);

/// The keys that signed a checkpoint for its log, among those that were given and are trusted for every
/// size: docs/format.md, section 11. A key that was given in both roles is there twice.
///
/// # Errors
/// If none of them did, or no epoch key where one was given; the error says who signed.
///
/// ```
/// # let key = annals::note::SigningKey::generate("example.org/log")?;
/// # let text = "example.org/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
/// # let mut checkpoint = annals::note::SignedCheckpoint::unsigned(text.parse()?);
/// # checkpoint.sign(&key);
/// # let vkey = key.verifier().clone();
/// let signers = annals::verify::signers(vec![(annals::KeyRole::Stable, vkey)], &checkpoint)?;
/// assert_eq!(signers.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn signers(
    given: Vec<(KeyRole, VerifierKey)>,
    checkpoint: &SignedCheckpoint,
) -> Result<Vec<(KeyRole, VerifierKey)>, NotSigned> {
    match Trust::new(given).standing(checkpoint) {
        Standing::Trusted(signers) => {
            Ok(signers.into_iter().map(|(role, key)| (role, key.clone())).collect())
        }
        Standing::Wrong(why) | Standing::Unknown(why) => Err(NotSigned(why)),
        // Only a log leads back to one, and there is none.
        Standing::Before(key) => Err(NotSigned(key.why_not())),
    }
}

fn key_change_failure(seq: Seq, detail: String) -> Failure {
    Failure {
        check: Check::KeyChange,
        seq: Some(seq.into()),
        detail,
        affected: "the trust in the key that it names, and in those after it".to_owned(),
    }
}
