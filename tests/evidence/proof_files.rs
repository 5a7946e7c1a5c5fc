//! Proof files of the golden log: what they show, and that nothing in them can be changed.
//!
//! The files in `tests/golden/proofs` change only when `write_golden_proofs` is run on purpose:
//! `ANNALS_WRITE_GOLDEN=1 cargo test --test evidence write_golden_proofs -- --ignored`.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use annals::chain::{link, payload_digest};
use annals::entry::Entry;
use annals::merkle::{
    EMPTY_ROOT, HashReader, NodeHash, consistency_proof, inclusion_proof, leaf_hash, root_at, root_of,
};
use annals::note::{Checkpoint, SignedCheckpoint, SigningKey, VerifierKey};
use annals::proof::{
    ConsistencyProof, EntryProof, Extent, LeafProof, ProofError, ProofFile, ProofFileFault, SessionProof,
};
use annals::{Content, Digest, Event, EventId, Kind, SessionId, Timestamp};
use rusqlite::{Connection, OpenFlags};

const ORIGIN: &str = "example.org/golden";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, b"the seed of the golden proofs...").unwrap()
}

fn trusted() -> [VerifierKey; 1] {
    [key().verifier().clone()]
}

/// The entries and payloads of a log, and what follows from them.
struct Log {
    entries: Vec<Vec<u8>>,
    payloads: Vec<Option<Vec<u8>>>,
    leaves: Vec<Vec<u8>>,
    hashes: Vec<NodeHash>,
}

impl Log {
    fn golden() -> Log {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let log = Connection::open_with_flags(golden("format-1.db"), flags).unwrap();
        let mut rows = log.prepare("SELECT entry, payload FROM log ORDER BY seq").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        Log::of(rows.map(Result::unwrap))
    }

    fn of(rows: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Log {
        let (entries, payloads): (Vec<_>, _) = rows.into_iter().unzip();
        let mut before = Digest::ZERO;
        let leaves: Vec<Vec<u8>> = entries
            .iter()
            .map(|entry: &Vec<u8>| {
                let leaf = [before.bytes().as_slice(), entry].concat();
                before = link(&before, entry);
                leaf
            })
            .collect();
        let hashes = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        Log { entries, payloads, leaves, hashes }
    }

    fn size(&self) -> u64 {
        self.hashes.len() as u64
    }

    fn entry(&self, index: usize) -> Entry {
        Entry::decode(&self.entries[index]).unwrap()
    }

    fn checkpoint_at(&self, size: u64) -> SignedCheckpoint {
        let root = root_at(&mut self.hashes.as_slice().reader(), size).unwrap();
        let mut checkpoint = SignedCheckpoint::unsigned(Checkpoint::new(ORIGIN, size, root).unwrap());
        checkpoint.sign(&key());
        checkpoint
    }

    fn checkpoint(&self) -> SignedCheckpoint {
        self.checkpoint_at(self.size())
    }

    fn leaf(&self, index: usize) -> LeafProof {
        LeafProof {
            leaf: self.leaves[index].clone(),
            payload: self.payloads[index].clone(),
            index: index as u64,
            hashes: inclusion_proof(&mut self.hashes.as_slice().reader(), index as u64, self.size()).unwrap(),
        }
    }

    fn event(&self, index: usize) -> EntryProof {
        EntryProof { event: self.leaf(index), checkpoint: self.checkpoint() }
    }

    /// The places of a session's events.
    fn session(&self, session: &str) -> Vec<usize> {
        let is_of = |index: &usize| self.entry(*index).session.is_some_and(|id| id.as_str() == session);
        (0..self.entries.len()).filter(is_of).collect()
    }

    fn partial(&self, session: &str, places: &[usize]) -> SessionProof {
        SessionProof {
            session: session.to_owned(),
            events: places.iter().map(|place| self.leaf(*place)).collect(),
            extent: Extent::Partial,
            checkpoint: self.checkpoint(),
        }
    }

    fn complete(&self, session: &str, places: &[usize]) -> SessionProof {
        let (first, last) = (places[0], places[places.len() - 1]);
        let between = (first..last).filter(|place| !places.contains(place));
        let between = between.map(|place| self.entries[place].clone()).collect();
        SessionProof { extent: Extent::Complete(between), ..self.partial(session, places) }
    }

    fn consistency(&self, old: u64) -> ConsistencyProof {
        let hashes = consistency_proof(&mut self.hashes.as_slice().reader(), old, self.size()).unwrap();
        ConsistencyProof { old, hashes, checkpoint: self.checkpoint() }
    }
}

/// Answers for a tree of one tile.
struct Leaves<'a>(&'a [NodeHash]);

trait Readable {
    fn reader(&self) -> Leaves<'_>;
}

impl Readable for [NodeHash] {
    fn reader(&self) -> Leaves<'_> {
        Leaves(self)
    }
}

impl HashReader for Leaves<'_> {
    type Error = Infallible;

    fn read(&mut self, level: u8, start: u64, count: u16) -> Result<Vec<NodeHash>, Infallible> {
        assert_eq!((level, start), (0, 0), "the golden log has one tile");
        Ok(self.0[..usize::from(count)].to_vec())
    }
}

/// The session of the golden log with the most events.
fn a_session(log: &Log) -> String {
    let sessions = (0..log.entries.len()).filter_map(|place| log.entry(place).session);
    sessions.max_by_key(|id| log.session(id.as_str()).len()).unwrap().to_string()
}

const OLD: u64 = 5;

/// All golden files by name.
fn files() -> Vec<(&'static str, String)> {
    let log = Log::golden();
    let session = a_session(&log);
    let places = log.session(&session);
    vec![
        ("vkey", format!("{}\n", key().verifier())),
        ("checkpoint-5", log.checkpoint_at(OLD).to_string()),
        ("event.tlog-proof", log.event(places[0]).to_string()),
        ("session-partial.proof", log.partial(&session, &places[..2]).to_string()),
        ("session-complete.proof", log.complete(&session, &places).to_string()),
        ("consistency.proof", log.consistency(OLD).to_string()),
    ]
}

#[test]
#[ignore = "writes the golden files"]
fn write_golden_proofs() {
    assert!(std::env::var_os("ANNALS_WRITE_GOLDEN").is_some_and(|value| value == "1"));
    fs::create_dir_all(golden("proofs")).unwrap();
    for (name, text) in files() {
        fs::write(golden("proofs").join(name), text).unwrap();
    }
}

#[test]
fn the_golden_proofs_are_made_again_byte_by_byte() {
    for (name, text) in files() {
        assert_eq!(fs::read_to_string(golden("proofs").join(name)).unwrap(), text, "{name}");
    }
}

/// Whether a file shows, to somebody who trusts the golden key, all that such a file can show.
fn holds(file: &[u8]) -> bool {
    let Ok(proof) = ProofFile::parse(file) else { return false };
    assert_eq!(ProofFile::parse(proof.to_string().as_bytes()).unwrap(), proof);
    let shown = match &proof {
        ProofFile::Entry(proof) => proof.check().is_ok(),
        ProofFile::Session(proof) => proof.check().is_ok(),
        ProofFile::Consistency(proof) => {
            let old: SignedCheckpoint =
                fs::read_to_string(golden("proofs/checkpoint-5")).unwrap().parse().unwrap();
            proof.check(old.checkpoint()).is_ok()
        }
    };
    shown && proof.checkpoint().verify(&trusted()).is_ok()
}

fn proofs() -> impl Iterator<Item = (&'static str, String)> {
    files().into_iter().filter(|(name, _)| name.ends_with("proof"))
}

#[test]
fn a_proof_prints_as_it_was_read() {
    for (name, text) in proofs() {
        assert_eq!(ProofFile::parse(text.as_bytes()).unwrap().to_string(), text, "{name}");
        assert!(holds(text.as_bytes()), "{name}");
    }
}

#[test]
fn no_byte_of_a_proof_can_be_another() {
    for (name, text) in proofs() {
        for place in 0..text.len() {
            for change in [0x01, 0x20] {
                let mut file = text.clone().into_bytes();
                file[place] ^= change;
                assert!(!holds(&file), "{name}: {}", String::from_utf8_lossy(&file[place..]));
            }
        }
    }
}

#[test]
fn no_line_of_a_proof_can_be_missing_or_twice() {
    for (name, text) in proofs() {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for place in 0..lines.len() {
            let without = [&lines[..place], &lines[place + 1..]].concat().concat();
            assert!(!holds(without.as_bytes()), "{name} without line {}", place + 1);
            let twice = [&lines[..=place], &lines[place..]].concat().concat();
            // A signature that stands twice is one signature.
            if !lines[place].starts_with('\u{2014}') {
                assert!(!holds(twice.as_bytes()), "{name} with line {} twice", place + 1);
            }
        }
    }
}

#[test]
fn no_proof_can_be_cut_off() {
    for (name, text) in proofs() {
        for length in 0..text.len() {
            assert!(!holds(&text.as_bytes()[..length]), "{name} of {length} bytes");
        }
        // What programs that mean well do on the way is taken back.
        for on_its_way in [format!("{text}\n"), format!("\u{feff}{text}"), text.replace('\n', "\r\n")] {
            assert!(holds(on_its_way.as_bytes()), "{name}: {on_its_way:?}");
        }
        assert!(!holds(format!("{text}x").as_bytes()), "{name} and a letter");
    }
}

#[test]
fn a_file_that_is_no_proof_is_told_where() {
    let event = proofs().next().unwrap().1;
    let line = |from: &str, to: &str| {
        let file = event.replacen(from, to, 1);
        assert_ne!(file, event, "{from}");
        ProofFile::parse(file.as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(line("c2sp", "C2SP"), "line 1: should be the first line of a proof, and is not");
    let extra = "line 2: should be `extra` and the event's leaf, as proofs by Annals have it";
    assert_eq!(line("extra ", ""), extra);
    assert_eq!(
        line("extra AX", "extra Ag"),
        "line 2: has version 2 of a proof's extra data, but this version of Annals knows only 1; use a newer version"
    );
    assert_eq!(line("\nindex ", "=\nindex "), "line 2: is not canonical base64 with padding");
    assert!(line("extra ", "extra AQ==\nextra ").starts_with("line 2: its extra data: cannot be decoded"));
    assert_eq!(
        line("index ", "index 0"),
        "line 3: must have a decimal number, without a sign or leading zeros"
    );
    assert_eq!(
        line("index ", "index +"),
        "line 3: must have a decimal number, without a sign or leading zeros"
    );
    assert!(line("index ", "index 99999999999999999999").starts_with("line 3: must have a decimal number"));
    let hash = event.lines().nth(3).unwrap();
    assert_eq!(line(hash, "hash"), "line 4: is not the base64 of a hash of 32 bytes");
    assert_eq!(line(hash, &[hash; 64].join("\n")), "line 67: a proof has at most 63 hashes");
    let origin = 1 + 1 + event.lines().position(str::is_empty).unwrap();
    let lines = "a checkpoint has three lines: origin, size and root";
    assert_eq!(line("example.org/golden\n", ""), format!("line {origin}: {lines}"));
    let not_text = ProofFile::parse(b"old 1\n\xff\n").unwrap_err();
    assert!(matches!((not_text.line, not_text.fault), (2, ProofFileFault::NotText)));
    assert!(matches!(ProofFile::parse(b"").unwrap_err().fault, ProofFileFault::CutOff));
}

#[test]
fn a_proof_with_its_payload_says_what_the_event_says() {
    let log = Log::golden();
    for place in 0..log.entries.len() {
        let proof = log.event(place);
        let checked = proof.check().unwrap();
        assert_eq!(checked.entry, log.entry(place));
        assert_eq!(checked.payload.is_some(), log.payloads[place].is_some());
        assert_eq!(checked.recorded().is_some(), log.payloads[place].is_some());
        let mut bare = proof.clone();
        bare.event.payload = None;
        assert_eq!(bare.check().unwrap().payload, None);
    }
    let first = log.event(0).check().unwrap();
    assert!(
        matches!(first.payload, Some(Content::Event(Event::LogCreated(created))) if created.origin == ORIGIN)
    );
}

#[test]
fn an_event_is_not_proved_in_a_tree_that_has_it_not() {
    let log = Log::golden();
    let mut proof = log.event(3);
    proof.checkpoint = log.checkpoint_at(3);
    assert_eq!(proof.check().unwrap_err().check(), "inclusion");
    proof.checkpoint = log.checkpoint_at(13);
    assert_eq!(proof.check().unwrap_err().check(), "inclusion");
}

/// A log of one event with such a payload cell, as somebody could sign it who keeps to no rule.
fn forged(cell: &[u8], change: impl FnOnce(&mut Entry)) -> EntryProof {
    let mut entry = Entry {
        format: 1,
        seq: 1,
        event_id: EventId::generate(),
        kind: Kind::NoteLogged.code(),
        kind_version: 1,
        session: None,
        occurred_at: None,
        recorded_at: Timestamp::from_micros(0),
        principal: None,
        encoding: 0,
        payload_digest: payload_digest(cell),
    };
    change(&mut entry);
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    Log::of([(bytes, Some(cell.to_vec()))]).event(0)
}

#[test]
fn a_signer_who_keeps_to_no_rule_proves_nothing_malformed() {
    let check = |proof: EntryProof| proof.check().unwrap_err().to_string();
    let salted = [0; 20];
    assert!(check(forged(&salted, |_| {})).starts_with("event 1: its payload cannot be decoded"));
    assert_eq!(check(forged(&[7], |_| {})), "event 1: its payload is shorter than a salt");
    let another = "event 1: the payload is not the one that was recorded";
    assert_eq!(check(forged(&salted, |entry| entry.payload_digest = Digest::ZERO)), another);
    let place = "event 1: the entry in its place says that it is event 7";
    assert_eq!(check(forged(&salted, |entry| entry.seq = 7)), place);
    let newer = check(forged(&salted, |entry| entry.format = 2));
    assert!(newer.starts_with("event 1: its entry has log format 2"), "{newer}");
    for leaf in [vec![], vec![0; 31]] {
        let event = LeafProof { leaf, payload: None, index: 0, hashes: Vec::new() };
        let checkpoint = Checkpoint::new(ORIGIN, 1, root_of([leaf_hash(&event.leaf)])).unwrap();
        let proof = EntryProof { event, checkpoint: SignedCheckpoint::unsigned(checkpoint) };
        assert_eq!(check(proof), "event 1: its leaf is shorter than a link");
    }
}

#[test]
fn what_this_version_does_not_know_is_proved_as_bytes() {
    for unknown in [
        forged(&[9; 20], |entry| entry.kind = 239),
        forged(&[9; 20], |entry| entry.kind_version = 200),
        forged(&[9; 20], |entry| entry.encoding = 1),
    ] {
        assert_eq!(unknown.check().unwrap().payload, Some(Content::Raw(vec![9; 4])));
    }
}

#[test]
fn a_session_is_proved_with_its_events_in_order() {
    let log = Log::golden();
    let session = a_session(&log);
    let places = log.session(&session);
    let seqs: Vec<u64> = places.iter().map(|place| *place as u64 + 1).collect();
    let checked = log.complete(&session, &places).check().unwrap();
    assert!(checked.is_complete);
    assert_eq!(checked.events.iter().map(|event| event.seq().get()).collect::<Vec<_>>(), seqs);
    let checked = log.partial(&session, &places[1..3]).check().unwrap();
    assert!(!checked.is_complete);
    assert_eq!(checked.events.len(), 2);
    // One event is all there is between the first and the last.
    assert!(log.complete(&session, &places[..1]).check().unwrap().is_complete);
}

#[test]
fn an_event_cannot_be_kept_out_of_a_complete_session() {
    let log = Log::golden();
    let session = a_session(&log);
    let places = log.session(&session);
    let whole = log.complete(&session, &places);
    let Extent::Complete(between) = &whole.extent else { panic!("it is complete") };
    assert!(!between.is_empty(), "other events stand between those of the session");
    let but_one = [&places[..1], &places[2..]].concat();
    let error = log.complete(&session, &but_one).check().unwrap_err();
    assert!(matches!(error, ProofError::NotComplete { seq, .. } if seq.get() == places[1] as u64 + 1));

    let with = |between: Vec<Vec<u8>>| {
        SessionProof { extent: Extent::Complete(between), ..whole.clone() }.check().unwrap_err().check()
    };
    assert_eq!(with(Vec::new()), "between");
    assert_eq!(with(vec![log.entries[0].clone()]), "sequence");
    assert_eq!(with([between.clone(), vec![log.entries[0].clone()]].concat()), "between");
    // Its own entry under another session's name.
    let mut disguised = log.entry(places[1]);
    disguised.session = Some(SessionId::new("somebody-else").unwrap());
    let mut entry = Vec::new();
    disguised.encode(&mut entry).unwrap();
    let mut entries = log.entries.clone();
    entries[places[1]] = entry;
    let hidden = (places[0]..places[places.len() - 1]).filter(|place| !but_one.contains(place));
    let hidden = hidden.map(|place| entries[place].clone()).collect();
    let proof = SessionProof { extent: Extent::Complete(hidden), ..log.partial(&session, &but_one) };
    assert_eq!(proof.check().unwrap_err().check(), "link");
}

#[test]
fn events_of_a_session_are_its_own_and_in_order() {
    let log = Log::golden();
    let session = a_session(&log);
    let places = log.session(&session);
    let other = (0..log.entries.len()).find(|place| !places.contains(place)).unwrap();
    assert_eq!(log.partial(&session, &[other]).check().unwrap_err().check(), "session");
    assert_eq!(log.partial("another", &places[..1]).check().unwrap_err().check(), "session");
    assert_eq!(log.partial(&session, &[places[1], places[0]]).check().unwrap_err().check(), "sequence");
    assert_eq!(log.partial(&session, &[places[0], places[0]]).check().unwrap_err().check(), "sequence");
}

#[test]
fn the_id_of_a_session_may_be_spelled_in_any_json() {
    let log = Log::golden();
    let session = a_session(&log);
    let text = log.partial(&session, &log.session(&session)).to_string();
    let spelled: String = session.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let other = text.replacen(&format!("session \"{session}\""), &format!("session \"{spelled}\""), 1);
    assert_ne!(other, text);
    assert_eq!(SessionProof::parse(other.as_bytes()).unwrap().to_string(), text);
    for id in ["null", "7", session.as_str(), "\"a\" \"b\""] {
        let file = text.replacen(&format!("session \"{session}\""), &format!("session {id}"), 1);
        let error = SessionProof::parse(file.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "line 2: has no JSON string after `session`");
    }
}

#[test]
fn a_log_that_grew_is_consistent_with_what_it_was() {
    let log = Log::golden();
    for old in 1..=log.size() {
        log.consistency(old).check(log.checkpoint_at(old).checkpoint()).unwrap();
    }
    log.consistency(0).check(&Checkpoint::new(ORIGIN, 0, EMPTY_ROOT).unwrap()).unwrap();
    let proof = log.consistency(OLD);
    let check = |old: Checkpoint| proof.check(&old).unwrap_err().to_string();
    let root = *log.checkpoint_at(OLD).root();
    assert_eq!(
        check(Checkpoint::new("example.org/other", OLD, root).unwrap()),
        "the older checkpoint is of the log `example.org/other`, and the proof of `example.org/golden`"
    );
    assert_eq!(
        check(Checkpoint::new(ORIGIN, OLD + 1, root).unwrap()),
        "the proof is about the older size 5, and not about 6"
    );
    assert_eq!(
        check(Checkpoint::new(ORIGIN, OLD, EMPTY_ROOT).unwrap()),
        "the proof does not show that the newer log begins with the older one: the proof does not lead to the older root"
    );
}
