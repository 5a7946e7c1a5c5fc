//! Trust in keys: the given keys and the keys that they pass trust on to, each for a range of sizes.
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
    /// The smallest size for which it is trusted.
    from: u64,
    /// The seq of the event that retired it, which is also the largest size for which it is trusted.
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

/// The effect of a change of keys.
enum Certified {
    /// A trusted key certified the new key, which is trusted from this size on.
    By { previous: Box<VerifierKey>, new: Box<VerifierKey>, from: u64 },
    /// A trusted key that was compromised certified the new key. The trusted key is retired, and the new key
    /// gains no trust.
    Revoked { previous: Box<VerifierKey> },
    /// No trusted key certified the new key, for this reason.
    NotTrusted(String),
    /// The certificate names a trusted key, and its signature or a statement in it is wrong.
    Wrong(String),
}

/// The keys that are trusted.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    keys: Vec<Trusted>,
    /// The roles for which a change was seen.
    changed: Vec<KeyRole>,
    /// True if an epoch key was given. Every checkpoint must then have the signature of an epoch key.
    asks_for_epoch: bool,
    predecessors: Predecessors,
}

/// The verdict of the known keys on a checkpoint.
pub(super) enum Standing<'t> {
    /// These keys signed it, and they are trusted for its size.
    Trusted(Vec<(KeyRole, &'t VerifierKey)>),
    /// A predecessor signed it: a key that a trusted key replaced.
    Before(&'t Predecessor),
    /// A signature by a known key is bad, or does not count.
    Wrong(String),
    /// No known key of its log signed it.
    Unknown(String),
}

impl Trust {
    /// Trusts the given keys, for every size.
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

    /// The given keys, each in its role. They are trusted for every size.
    fn given(&self) -> impl Iterator<Item = (KeyRole, &VerifierKey)> {
        self.keys.iter().filter(|trusted| trusted.is_given).map(|trusted| (trusted.role, &trusted.key))
    }

    fn is_given(&self, role: KeyRole, vkey: &str) -> bool {
        self.given().any(|(given, key)| given == role && key.to_string() == vkey)
    }

    /// The names and ids of the trusted keys.
    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.keys.iter().map(|trusted| shown(&trusted.key)).collect();
        names.join(", ")
    }

    /// Returns whether keys were given and none of them can sign for the log with this origin. If the log's
    /// name is not known, returns whether none of them can sign for any log.
    pub(super) fn is_of_other_logs(&self, origin: Option<&str>) -> bool {
        let signs = |key: &VerifierKey| key.signs_for(origin.unwrap_or_else(|| key.name()));
        !self.is_empty() && !self.keys.iter().any(|trusted| signs(&trusted.key))
    }

    /// Goes back from the given keys to their predecessors, through the changes among the first `covered`
    /// events. Returns the events that led back. `root_at` is as in [`Trust::change`].
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

    /// Returns whether no key was given.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes a change of keys into account. `root_at` returns the root of the log's tree at a size.
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
        // An event that is not trusted, or is wrong, retires no key. The changes after it are judged as if it
        // did not exist.
        let (is_certified, certified_by, failure) = match certified {
            Certified::By { previous, new, from } => {
                let certified_by = shown(&previous);
                self.retire(event.role, &previous, seq);
                self.pass_on(event.role, *new, from);
                (true, certified_by, None)
            }
            Certified::Revoked { previous } => {
                self.retire(event.role, &previous, seq);
                let certified_by = format!(
                    "{} was compromised and is retired from here on, so you must get this key from the operator",
                    shown(&previous)
                );
                (false, certified_by, None)
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
            certified: certified_by,
        };
        Ok((seen, failure))
    }

    fn retire(&mut self, role: KeyRole, key: &VerifierKey, seq: Seq) {
        for trusted in self.keys.iter_mut().filter(|trusted| trusted.is_active(role, key)) {
            trusted.retired = Some(seq.get());
        }
    }

    fn pass_on(&mut self, role: KeyRole, new: VerifierKey, from: u64) {
        match self.keys.iter_mut().find(|trusted| trusted.is_active(role, &new)) {
            // The smaller size stays. A given key is trusted from 0, and another key may have certified this
            // one before.
            Some(trusted) => trusted.from = trusted.from.min(from),
            None => self.keys.push(Trusted { role, key: new, is_given: false, from, retired: None }),
        }
    }

    /// Returns whether the new key was given only in the other role, in which its signatures do not count as
    /// intended.
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
                    "it claims to be the first key of its role, but there was one before"
                }
                KeyChangeCause::Generated => "the first key of its role",
                KeyChangeCause::Lost => {
                    "the previous key was lost, so you must get this key from the operator"
                }
                KeyChangeCause::Compromised => {
                    "the previous key was compromised, so you must get this key from the operator"
                }
                KeyChangeCause::Rotated => "it has no certificate",
            });
        };
        if event.cause == KeyChangeCause::Lost {
            return not_trusted(
                "the previous key was lost, but there is a certificate: it is not known who signed it",
            );
        }
        let Ok(note) = certificate.parse::<SignedNote>() else {
            return not_trusted("the certificate is not a signed note");
        };
        let previous = event.previous.as_deref().and_then(|vkey| vkey.parse::<VerifierKey>().ok());
        // Only a key that is not retired passes trust on. So of two events by one key, the first counts.
        let is_previous = |trusted: &&Trusted| {
            previous.as_ref().is_some_and(|previous| trusted.is_active(event.role, previous))
                && origin.is_none_or(|origin| trusted.key.signs_for(origin))
        };
        let Some(previous) = self.keys.iter().find(is_previous) else {
            return not_trusted(self.why_not_passed_on(event, previous.as_ref()));
        };
        // All known keys with this name and id, and not only the previous key. If two different keys share
        // them, nobody can tell which one signed, and `verify` refuses the signature.
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
                return not_trusted("the previous key did not sign the certificate");
            }
            Err(error) => return Ok(Certified::Wrong(format!("its certificate: {error}"))),
        }
        // The trusted key has signed this certificate, so from here on a mismatch is a failure and not just a
        // lack of trust.
        let wrong = |what: String| {
            let by = shown(&previous.key);
            Ok(Certified::Wrong(format!("its certificate is signed by the trusted key {by}, but {what}")))
        };
        let change: KeyChange = match note.text().parse() {
            Ok(change) => change,
            Err(error) => return wrong(format!("is not a certificate: {error}")),
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
            return wrong(format!("covers {} events, which are not all before this event", change.size()));
        }
        if change.size() < previous.from {
            return wrong(format!(
                "covers {} events, and that key is trusted only from {} events on",
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

    fn why_not_passed_on(&self, event: &KeyChanged, previous: Option<&VerifierKey>) -> &'static str {
        let known = self.keys.iter().find(|trusted| Some(&trusted.key) == previous);
        match known {
            None => "the previous key is not one that this verification trusts",
            Some(known) if known.retired.is_some() => "the previous key was retired already",
            Some(known) if known.role == event.role => "the previous key is not named after the log",
            Some(_) if event.role == KeyRole::Epoch => {
                "the previous key was given as a stable one; give it with --epoch-key"
            }
            Some(_) => "the previous key was given as one of an epoch; give it with --key",
        }
    }

    /// Judges a checkpoint by the known keys, in the steps of docs/format.md, section 11.
    pub(super) fn standing<'t>(&'t self, checkpoint: &SignedCheckpoint) -> Standing<'t> {
        // Step 1: one bad signature by a known key decides, whatever else is good. Retired keys are known
        // too.
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
        // Step 2: the signers that are trusted for this size and have the checkpoint's origin as their name.
        let good: Vec<&Trusted> = signers
            .iter()
            .copied()
            .filter(|trusted| trusted.is_for(size) && trusted.key.signs_for(checkpoint.origin()))
            .collect();
        if good.iter().any(|trusted| self.is_enough(trusted.role)) {
            return Standing::Trusted(good.into_iter().map(|trusted| (trusted.role, &trusted.key)).collect());
        }
        // Step 3: the first two steps again, for predecessors.
        let before = match self.predecessors.signers(checkpoint) {
            Ok(before) => before,
            Err(error) => return Standing::Wrong(error),
        };
        let counts = |key: &&&Predecessor| key.is_for(size) && self.is_enough(key.role());
        if let Some(key) = before.iter().find(counts) {
            return Standing::Before(key);
        }
        // Steps 4 and 5: a key of the log signed, but not for this size or role; or no known key of the log
        // signed.
        let of_the_log = signers.iter().any(|trusted| trusted.key.signs_for(checkpoint.origin()));
        let why: Vec<String> = match !good.is_empty() || before.iter().any(|key| key.is_for(size)) {
            true => vec!["no epoch key that is trusted for its size signed it, and other signatures do not count instead".to_owned()],
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

    /// Returns whether a signature in this role alone is enough.
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
            return "no key was given to check its signature".to_owned();
        }
        let (names, trusted, origin) = (names.join(", "), self.names(), checkpoint.origin());
        if self.keys.iter().all(|trusted| trusted.key.name() != origin) {
            return format!(
                "it is a checkpoint of the log `{origin}`, signed by {names}, but none of the trusted keys is a key of that log: {trusted}; perhaps the key or the file of another log was given"
            );
        }
        format!(
            "none of the trusted keys signed it: {trusted}; it is signed by {names}; perhaps the given key is not the log's"
        )
    }
}

fn why_not(trusted: &Trusted, checkpoint: &SignedCheckpoint) -> String {
    let name = shown(&trusted.key);
    if !trusted.key.signs_for(checkpoint.origin()) {
        return format!(
            "it is signed by {name}, which is not a key of its log `{}`, so this signature counts only as that of a witness",
            checkpoint.origin()
        );
    }
    match trusted.retired {
        Some(event) if checkpoint.size() > event => {
            format!(
                "it is signed by {name}, a key that event {event} retired: the key is trusted only up to that size"
            )
        }
        _ => format!("it is signed by {name}, a key that is trusted only from size {} on", trusted.from),
    }
}

/// The error if no given key signed a checkpoint as a key of its log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotSigned(String);

/// The given keys that signed a checkpoint for its log: docs/format.md, section 11. Given keys are trusted
/// for every size. A key that was given in both roles appears twice.
///
/// # Errors
/// If none of them signed, or if an epoch key was given and no epoch key signed. The error names the signers.
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
        // Only a log leads back to a predecessor, and there is no log here.
        Standing::Before(key) => Err(NotSigned(key.why_not())),
    }
}

fn key_change_failure(seq: Seq, detail: String) -> Failure {
    Failure {
        check: Check::KeyChange,
        seq: Some(seq.into()),
        detail,
        affected: "the trust in the key that it names, and in the keys after it".to_owned(),
    }
}
