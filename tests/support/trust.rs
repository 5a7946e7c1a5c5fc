//! Changes of keys and checkpoints that are right or wrong in every way there is.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use annals::note::{SignedNote, SigningKey};
use annals::{KeyChangeCause, KeyChanged, KeyRole, Kind};
use proptest::prelude::*;

use crate::support::rows::Rows;
use crate::support::verifiers::Given;

/// The first four keys are named after the log, the last one is not.
const KEYS: u8 = 5;

fn key(origin: &str, number: u8) -> SigningKey {
    let name = if number == KEYS - 1 { "example.org/other" } else { origin };
    SigningKey::from_seed(name, &[number + 1; 32]).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Signature {
    Good,
    /// Of another text.
    Bad,
    Twice,
    BadThenGood,
}

#[derive(Clone, Debug)]
struct Certificate {
    by: Vec<(u8, Signature)>,
    has_role: bool,
    has_key: bool,
    has_origin: bool,
    has_root: bool,
    /// Events before the change that it does not cover. Below 0 it covers more.
    back: i64,
    /// More lines than there may be.
    more: bool,
}

#[derive(Clone, Debug)]
struct Change {
    role: KeyRole,
    new: u8,
    previous: Option<u8>,
    certificate: Option<Certificate>,
    /// The new key is written with capital letters in its id.
    capitals: bool,
    cause: KeyChangeCause,
    notes_after: u8,
}

#[derive(Clone, Debug)]
struct Checkpoint {
    by: Vec<(u8, Signature)>,
    /// The size, counted from the end of the log.
    back: i64,
    has_origin: bool,
    has_root: bool,
    more: bool,
}

/// A log that changes its keys, and what its auditor has.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    changes: Vec<Change>,
    keys: Vec<(KeyRole, u8)>,
    given: Vec<Checkpoint>,
    stored: Vec<Checkpoint>,
}

fn mostly(yes: bool) -> impl Strategy<Value = bool> {
    prop_oneof![12 => Just(yes), 1 => Just(!yes)]
}

fn role() -> impl Strategy<Value = KeyRole> {
    prop_oneof![3 => Just(KeyRole::Stable), 1 => Just(KeyRole::Epoch)]
}

fn signers() -> impl Strategy<Value = Vec<(u8, Signature)>> {
    let signature = prop_oneof![
        12 => Just(Signature::Good),
        1 => Just(Signature::Bad),
        1 => Just(Signature::Twice),
        1 => Just(Signature::BadThenGood),
    ];
    prop::collection::vec((0..KEYS, signature), 1..3)
}

fn change() -> impl Strategy<Value = Change> {
    let back = prop_oneof![8 => Just(0), 3 => 1..4_i64, 1 => -3..0_i64];
    let parts = (mostly(true), mostly(true), mostly(true), mostly(true), mostly(false));
    let certificate = (signers(), back, parts).prop_map(|(by, back, parts)| {
        let (has_role, has_key, has_origin, has_root, more) = parts;
        Certificate { by, has_role, has_key, has_origin, has_root, back, more }
    });
    let certificate = prop_oneof![1 => Just(None), 8 => certificate.prop_map(Some)];
    let previous = prop_oneof![1 => Just(None), 2 => (0..=KEYS).prop_map(Some), 6 => Just(Some(KEYS + 1))];
    let cause = prop_oneof![
        10 => Just(KeyChangeCause::Rotated),
        1 => Just(KeyChangeCause::Generated),
        1 => Just(KeyChangeCause::Lost),
        1 => Just(KeyChangeCause::Compromised),
    ];
    let rest = (certificate, mostly(false), cause, 0..3_u8);
    (role(), 0..KEYS, previous, rest).prop_map(
        |(role, new, previous, (certificate, capitals, cause, notes_after))| {
            // Mostly the first who signed the certificate.
            let signer = certificate.as_ref().map_or(0, |certificate| certificate.by[0].0);
            let previous = previous.map(|number| if number > KEYS { signer } else { number });
            Change { role, new, previous, certificate, capitals, cause, notes_after }
        },
    )
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let back = prop_oneof![3 => Just(0), 8 => 0..9_i64, 1 => -2..0_i64];
    (signers(), back, mostly(true), mostly(true), mostly(false)).prop_map(
        |(by, back, has_origin, has_root, more)| Checkpoint {
            by,
            back,
            has_origin,
            has_root,
            more: more && back < 2,
        },
    )
}

pub(crate) fn story() -> impl Strategy<Value = Story> {
    let list = |most| prop::collection::vec(checkpoint(), 0..most);
    let keys = prop::collection::vec((role(), 0..KEYS), 1..4);
    (prop::collection::vec(change(), 0..5), keys, list(4), list(3))
        .prop_map(|(changes, keys, given, stored)| Story { changes, keys, given, stored })
}

/// Keys that follow each other as they should, nearly always, told to somebody who has one of them.
pub(crate) fn rotations() -> impl Strategy<Value = Story> {
    let cause = prop_oneof![
        20 => Just(KeyChangeCause::Rotated),
        2 => Just(KeyChangeCause::Compromised),
        1 => Just(KeyChangeCause::Lost),
    ];
    let fits = (mostly(true), mostly(true), 0..2_i64, cause, 0..3_u8);
    let changes = prop::collection::vec(fits, 1..4).prop_map(|changes| {
        let numbered = (0..KEYS).zip(changes);
        numbered
            .map(|(number, (is_right, has_root, back, cause, notes_after))| Change {
                role: KeyRole::Stable,
                new: number + 1,
                previous: Some(number),
                certificate: Some(Certificate {
                    by: vec![(if is_right { number } else { number + 1 }, Signature::Good)],
                    has_role: true,
                    has_key: true,
                    has_origin: true,
                    has_root,
                    back,
                    more: false,
                }),
                capitals: false,
                cause,
                notes_after,
            })
            .collect::<Vec<_>>()
    });
    let by = (0..KEYS - 1, prop_oneof![12 => Just(Signature::Good), 1 => Just(Signature::Bad)]);
    let checkpoint = (prop::collection::vec(by, 1..3), 0..9_i64, mostly(true))
        .prop_map(|(by, back, has_root)| Checkpoint { by, back, has_origin: true, has_root, more: false })
        .boxed();
    let list = move |most| prop::collection::vec(checkpoint.clone(), 1..most);
    (changes, 0..KEYS - 1, list(5), list(3)).prop_map(|(changes, number, given, stored)| Story {
        changes,
        keys: vec![(KeyRole::Stable, number)],
        given,
        stored,
    })
}

/// A signed note, with signatures as they are told.
fn note(origin: &str, text: &str, by: &[(u8, Signature)]) -> String {
    let mut lines = String::new();
    for (number, signature) in by {
        let key = key(origin, *number);
        let line = |text: &str| {
            let mut note = SignedNote::unsigned(text).unwrap();
            note.sign(&key);
            let note = note.to_string();
            note.rsplit_once("\n\n").unwrap().1.to_owned()
        };
        let (good, bad) = (line(text), line(&format!("not {text}")));
        lines.push_str(&match signature {
            Signature::Good => good,
            Signature::Bad => bad,
            Signature::Twice => format!("{good}{good}"),
            Signature::BadThenGood => format!("{bad}{good}"),
        });
    }
    format!("{text}\n{lines}")
}

fn root(rows: &Rows, size: i64, is_right: bool) -> String {
    let size = usize::try_from(size).unwrap().min(rows.rows.len());
    rows.root(if is_right { size } else { size.saturating_sub(1) }).to_string()
}

impl Change {
    fn append(&self, origin: &str, rows: &mut Rows) {
        let vkey = |number: u8| match number {
            KEYS.. => "no key".to_owned(),
            number => key(origin, number).verifier().to_string(),
        };
        let mut new = vkey(self.new);
        if self.capitals {
            let (name, rest) = new.split_once('+').unwrap();
            let (id, key) = rest.split_once('+').unwrap();
            new = format!("{name}+{}+{key}", id.to_ascii_uppercase());
        }
        let certificate = self.certificate.as_ref().map(|certificate| {
            let events = i64::try_from(rows.rows.len()).unwrap();
            let size = (events - certificate.back).max(0);
            let role = if certificate.has_role == (self.role == KeyRole::Epoch) { "epoch" } else { "stable" };
            let text = format!(
                "annals key change\n{}\n{role}\n{}\n{size}\n{}\n{}",
                if certificate.has_origin { origin } else { "example.org/third" },
                if certificate.has_key { new.clone() } else { vkey((self.new + 1) % KEYS) },
                root(rows, size, certificate.has_root),
                if certificate.more { "more\n" } else { "" },
            );
            note(origin, &text, &certificate.by)
        });
        let event = KeyChanged {
            role: self.role,
            vkey: new,
            previous: self.previous.map(vkey),
            certificate,
            cause: self.cause,
            actor: "ann".to_owned(),
            reason: None,
        };
        let payload = bincode::encode_to_vec(&event, bincode::config::standard()).unwrap();
        rows.append(Kind::KeyChanged.code(), 1, &payload);
        for _ in 0..self.notes_after {
            rows.append(Kind::NoteLogged.code(), 2, b"of a later version");
        }
    }
}

impl Checkpoint {
    fn text(&self, origin: &str, rows: &Rows) -> String {
        let size = (i64::try_from(rows.rows.len()).unwrap() - self.back).max(0);
        let text = format!(
            "{}\n{size}\n{}\n{}",
            if self.has_origin { origin } else { "example.org/other" },
            root(rows, size, self.has_root),
            if self.more { "an extension\n" } else { "" },
        );
        note(origin, &text, &self.by)
    }
}

impl Story {
    /// Appends what happened to the log, and returns what its auditor has and what the file keeps.
    pub(crate) fn tell(&self, origin: &str, rows: &mut Rows) -> (Given, Vec<String>) {
        self.changes.iter().for_each(|change| change.append(origin, rows));
        let texts = |checkpoints: &[Checkpoint]| -> Vec<String> {
            checkpoints.iter().map(|checkpoint| checkpoint.text(origin, rows)).collect()
        };
        let given = texts(&self.given);
        let keys =
            self.keys.iter().map(|(role, number)| (*role, key(origin, *number).verifier().to_string()));
        let given =
            Given { keys: keys.collect(), checkpoints: (!given.is_empty()).then(|| given.join("\n")) };
        (given, texts(&self.stored))
    }
}
