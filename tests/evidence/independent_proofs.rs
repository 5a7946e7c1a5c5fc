//! Proofs and tiles that this library made, checked by tools/verify.py, which knows them from docs/format.md alone; and
//! damaged ones, of which it must say the same as `annals verify-proof`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::verifiers::Python;
use crate::support::{is_heavy, json, new_path};
use annals::evidence::{Epochs, Evidence, KeyChangeRequest, KeyFolder, Signing};
use annals::prove::{Completeness, Payloads};
use annals::publish::ExistingFiles;
use annals::{AuditLog, KeyChangeCause, KeyRole, Projections, Reader, RedactionRequest, Seq, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::Value;
use tempfile::TempDir;

const ORIGIN: &str = "example.org/proofs";
const NEVER: Duration = Duration::from_secs(1_000_000);
/// Events before the key is replaced, more than a tile has.
const BEFORE: u64 = 270;

/// A log, its keys before and after a rotation, and a checkpoint by the first.
struct Fixture {
    _folder: TempDir,
    path: PathBuf,
    keys: [String; 2],
    old: String,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let (folder, path) = new_path();
        let keys = KeyFolder::at(folder.path().join("keys"));
        let first = keys.generate(ORIGIN, Epochs::None, Timestamp::now()).unwrap();
        let signing = Signing::new(keys.clone()).every(NEVER).every_events(u64::MAX);
        let log = AuditLog::builder(&path)
            .origin(ORIGIN)
            .evidence(Evidence::Signed(Box::new(signing)))
            .projections(Projections::Off)
            .open()
            .unwrap();
        let append = |number: u64| {
            let session = ["a", "b", "c"][usize::try_from(number % 3).unwrap()];
            let text = format!(r#"{{"type":"note.logged","session":"{session}","message":"note {number}"}}"#);
            drop(log.append(json(&text)).unwrap());
        };
        (2..=BEFORE).for_each(append);
        // A checkpoint is of what is committed, and these receipts were not waited for.
        log.flush().unwrap();
        let old = log.checkpoint().unwrap().to_string();
        log.redact(RedactionRequest {
            seqs: vec![Seq::new(7)],
            actor: "ann".into(),
            reason: "asked for".into(),
            ..Default::default()
        })
        .unwrap();
        let rotation = KeyChangeRequest {
            role: KeyRole::Stable,
            cause: KeyChangeCause::Rotated,
            actor: "ann".to_owned(),
            reason: None,
        };
        log.change_key(&rotation).unwrap();
        (0..10).for_each(append);
        log.close().unwrap();
        let keys = [first, keys.public().unwrap()].map(|keys| keys.stable.to_string());
        Fixture { _folder: folder, path, keys, old }
    })
}

/// Proofs of every form, by the second key.
fn proofs() -> Vec<(&'static str, String)> {
    let reader = Reader::open(&fixture().path).unwrap();
    let event = |seq, payloads| reader.prove_event(Seq::new(seq), payloads).unwrap().to_string();
    let session = |session, completeness, payloads| {
        reader.prove_session(session, completeness, payloads).unwrap().proof.to_string()
    };
    vec![
        ("the first event", event(1, Payloads::Included)),
        ("an event", event(200, Payloads::LeftOut)),
        ("an event with its payload", event(200, Payloads::Included)),
        ("an erased event", event(7, Payloads::Included)),
        ("a change of keys", event(BEFORE + 2, Payloads::Included)),
        ("the last event", event(BEFORE + 12, Payloads::Included)),
        ("a session in part", session("a", Completeness::Partial, Payloads::Included)),
        ("a whole session", session("b", Completeness::Complete, Payloads::LeftOut)),
        ("consistency", reader.prove_consistency(BEFORE, None).unwrap().to_string()),
        ("consistency with nothing", reader.prove_consistency(0, None).unwrap().to_string()),
        ("consistency with itself", reader.prove_consistency(BEFORE + 12, None).unwrap().to_string()),
    ]
}

/// What a verifier says of a proof: the exit status, and the check that failed, with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    status: u64,
    failure: Option<(String, Option<u64>)>,
}

fn verdict(status: u64, answer: &Value) -> Verdict {
    let failure = answer["failure"].as_object().map(|failure| {
        let seq = failure.get("seq").and_then(Value::as_u64);
        (failure["check"].as_str().unwrap().to_owned(), seq)
    });
    assert_eq!(status == 1, failure.is_some(), "{answer}");
    Verdict { status, failure }
}

/// What both say of a file.
fn judge(python: &mut Python, file: &Path, keys: &[&str], old: Option<&Path>) -> (Verdict, Verdict) {
    let mut arguments = vec![file.to_str().unwrap().to_owned()];
    arguments.extend(keys.iter().flat_map(|key| ["--key".to_owned(), (*key).to_owned()]));
    arguments.extend(old.into_iter().flat_map(|old| ["--checkpoint".to_owned(), old.display().to_string()]));
    python.ask(&[&["proof".to_owned()], arguments.as_slice()].concat());
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["--json", "verify-proof"])
        .args(&arguments)
        .env_remove("ANNALS_DB")
        .output()
        .unwrap();
    let status = u64::try_from(output.status.code().unwrap()).unwrap();
    let answer = if status == 2 { Value::Null } else { serde_json::from_slice(&output.stdout).unwrap() };
    let rust = verdict(status, &answer);
    let (status, answer) = python.answer();
    (rust, verdict(status, &answer))
}

/// The file of older checkpoints, where a proof is about one of them: with another proof it is refused.
fn older<'f>(proof: &str, file: &'f Path) -> Option<&'f Path> {
    (proof.starts_with("old ") && !proof.starts_with("old 0\n")).then_some(file)
}

#[test]
fn proofs_of_every_form_hold_for_both_with_the_key_that_signed_them() {
    let Some(mut python) = Python::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("proof"), folder.path().join("old"));
    let reader = Reader::open(&fixture().path).unwrap();
    let last = reader.prove_event(Seq::FIRST, Payloads::LeftOut).unwrap().checkpoint;
    fs::write(&old, format!("{}\n{last}", fixture().old)).unwrap();
    let [first_key, second_key] = fixture().keys.each_ref().map(String::as_str);
    for (what, proof) in proofs() {
        fs::write(&file, &proof).unwrap();
        let given = older(&proof, &old);
        let (rust, python_says) = judge(&mut python, &file, &[first_key, second_key], given);
        assert_eq!((rust.status, &rust), (0, &python_says), "{what}");
        // The key before it signed none of these.
        let (rust, python_says) = judge(&mut python, &file, &[first_key], given);
        assert_eq!(rust.failure, Some(("checkpoint-signature".to_owned(), None)), "{what}");
        assert_eq!(rust, python_says, "{what}");
        if given.is_none() {
            let (rust, python_says) = judge(&mut python, &file, &[first_key, second_key], Some(&old));
            assert_eq!((rust.status, python_says.status), (2, 2), "{what}");
        }
    }
}

/// Damages a text in one of the ways in which proofs are damaged or forged.
fn damage(text: &str, others: &[(&str, String)], rng: &mut TestRng) -> Vec<u8> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let other = &others[rng.random_range(0..others.len())].1;
    let others: Vec<&str> = other.split_inclusive('\n').collect();
    let at = rng.random_range(0..lines.len());
    match rng.random_range(0..9) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let other = rng.random_range(0..lines.len());
            lines.swap(at, other);
        }
        // Of another proof, often the line of the same sort.
        3 => lines[at] = others[at.min(others.len() - 1)].to_owned(),
        4 => lines.insert(at, others[rng.random_range(0..others.len())].to_owned()),
        5 => lines[at] = lines[at].replace(|c: char| c.is_ascii_digit(), "1"),
        6 => lines.truncate(at),
        _ => {
            let mut bytes = text.as_bytes().to_vec();
            let at = rng.random_range(0..bytes.len());
            let characters = b"\n \x00+=/0aZ\xe2\xff\"";
            bytes[at] = match rng.random() {
                true => characters[rng.random_range(0..characters.len())],
                false => bytes[at] ^ (1 << rng.random_range(0..8_u8)),
            };
            return bytes;
        }
    }
    lines.concat().into_bytes()
}

#[test]
fn of_damaged_proofs_both_say_the_same() {
    let Some(mut python) = Python::start() else { return };
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[8; 32]);
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("proof"), folder.path().join("old"));
    fs::write(&old, &fixture().old).unwrap();
    let keys = fixture().keys.each_ref().map(String::as_str);
    let proofs = proofs();
    let mut seen = BTreeSet::new();
    let mut differ = Vec::new();
    for round in 0..if is_heavy() { 20_000 } else { 500 } {
        let (what, proof) = &proofs[round % proofs.len()];
        let damaged = damage(proof, &proofs, &mut rng);
        fs::write(&file, &damaged).unwrap();
        // Now and then with what does not go with the form.
        let given = if round % 10 == 0 { Some(old.as_path()) } else { older(proof, &old) };
        let (rust, python_says) = judge(&mut python, &file, &keys, given);
        if rust != python_says {
            let damaged = String::from_utf8_lossy(&damaged).into_owned();
            differ.push(format!("{what}: rust {rust:?}, python {python_says:?}\n{damaged}"));
        }
        seen.insert(python_says.failure.map_or_else(|| "none".to_owned(), |(check, _)| check));
    }
    let shown: Vec<String> = differ.iter().take(5).map(|text| text.chars().take(3_000).collect()).collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), shown.join("\n\n"));
    for check in ["proof-format", "inclusion", "checkpoint-signature", "consistency"] {
        assert!(seen.contains(check), "{check} {seen:?}");
    }
}

/// The files of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn published_tiles_are_good_to_python_and_no_longer_so_with_any_change() {
    let Some(mut python) = Python::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    let reader = Reader::open(&fixture().path).unwrap();
    let published = reader.publish(&site, ExistingFiles::Continued, &mut |_, _| {}).unwrap();
    let mut judge = |keys: &[&str]| {
        let mut arguments = vec!["tiles".to_owned(), site.to_str().unwrap().to_owned()];
        arguments.extend(keys.iter().flat_map(|key| ["--key".to_owned(), (*key).to_owned()]));
        python.ask(&arguments);
        python.answer()
    };
    let [first, second] = fixture().keys.each_ref().map(String::as_str);
    let (status, verdict) = judge(&[second]);
    assert_eq!(
        (status, verdict["anchored_to"].as_u64()),
        (0, Some(published.checkpoint.size())),
        "{verdict}"
    );
    assert_eq!(judge(&[first]).1["failure"]["check"], "checkpoint-signature");

    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let files = files(&site);
    assert!(files.len() >= 6, "{files:?}");
    for file in &files {
        let good = fs::read(file).unwrap();
        for _ in 0..if is_heavy() { 200 } else { 4 } {
            let mut damaged = good.clone();
            match rng.random_range(0..4) {
                0 => damaged.truncate(rng.random_range(0..good.len())),
                1 => damaged.push(rng.random()),
                _ => damaged[rng.random_range(0..good.len())] ^= 1 << rng.random_range(0..8_u8),
            }
            fs::write(file, &damaged).unwrap();
            let (status, verdict) = judge(&[second]);
            assert_eq!(status, 1, "{}: {verdict}", file.display());
        }
        fs::remove_file(file).unwrap();
        assert_ne!(judge(&[second]).0, 0, "{}", file.display());
        fs::write(file, good).unwrap();
    }
    assert_eq!(judge(&[second]).0, 0);
}
