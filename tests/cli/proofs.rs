//! Proofs and tiles, made by one side with the log and checked by another without it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::program::{EVENTS, Log, annals, bare, home_of};
use annals::merkle::{NodeHash, hashes_from_bytes, leaf_hash, root_of, tiles_of};
use annals::note::{Cosigner, SignedCheckpoint};
use annals::proof::{ConsistencyProof, EntryProof, Extent, ProofFile, SessionProof};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

/// A log with a key and a checkpoint, and its public key in a file.
fn signed(lines: &str) -> Log {
    let log = Log::with(lines);
    let vkey = log.out(&["key", "generate"]);
    fs::write(log.file("vkey"), vkey).unwrap();
    log.out(&["checkpoint"]);
    log
}

fn notes(count: usize) -> String {
    (0..count).map(|number| format!("{{\"type\":\"note.logged\",\"message\":\"{number}\"}}\n")).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl Verification {
    fn of(log: &Log, proof: &Path) -> Verification {
        Verification {
            args: vec!["verify-proof".into(), text(proof), "--key".into(), text(&log.file("vkey"))],
        }
    }

    fn with(mut self, args: &[&str]) -> Verification {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// The answer in JSON, and the exit status. There is no log where it runs.
    fn answer(&self) -> (Value, i32) {
        let output = bare().arg("--json").args(&self.args).output().unwrap();
        let status = output.status.code().unwrap();
        assert_ne!(status, 2, "{}", String::from_utf8_lossy(&output.stderr));
        (serde_json::from_slice(&output.stdout).unwrap(), status)
    }

    fn holds(&self) -> Value {
        let (answer, status) = self.answer();
        assert_eq!((answer["holds"].as_bool(), status), (Some(true), 0), "{answer}");
        answer
    }

    /// The check that fails.
    fn fails(&self) -> String {
        let (answer, status) = self.answer();
        assert_eq!((answer["holds"].as_bool(), status), (Some(false), 1), "{answer}");
        assert_eq!(answer["shows"], Value::Array(Vec::new()), "{answer}");
        assert!(answer.get("events").is_none(), "{answer}");
        answer["failure"]["check"].as_str().unwrap().to_owned()
    }
}

/// A call of `annals verify-proof`.
struct Verification {
    args: Vec<String>,
}

#[test]
fn an_event_is_proved_to_somebody_without_the_log() {
    let log = signed(EVENTS);
    let proof = log.file("event.tlog-proof");
    log.annals(&["prove", "2", "--payload", "-o", &text(&proof)])
        .assert()
        .success()
        .stdout("")
        .stderr(contains("proof of event 2"));
    let answer = Verification::of(&log, &proof).holds();
    assert_eq!(answer["form"], "event");
    assert_eq!(answer["events"][0]["kind"], "session.started");
    assert_eq!(answer["events"][0]["event"]["input"], "May I return the shoes?");

    bare()
        .args(Verification::of(&log, &proof).args)
        .assert()
        .success()
        .stdout(contains("the proof of an event holds").and(contains("May I return the shoes?")));
}

#[test]
fn a_proof_without_payload_tells_nothing_of_what_the_event_says() {
    let log = signed(EVENTS);
    let id = log.json(&["sql", "SELECT lower(hex(event_id)) AS id FROM log WHERE seq = 2"])[0]["id"].clone();
    let proof = log.out(&["prove", id.as_str().unwrap()]);
    assert_eq!(proof, log.out(&["prove", "2"]));
    assert_eq!(EntryProof::parse(proof.as_bytes()).unwrap().event.payload, None);
    let file = log.file("event.tlog-proof");
    fs::write(&file, &proof).unwrap();
    let answer = Verification::of(&log, &file).holds();
    assert!(answer["events"][0].get("event").is_none());
    let args = Verification::of(&log, Path::new("-")).args;
    bare().args(args).write_stdin(proof).assert().success().stdout(contains("the payload of the event"));
}

#[test]
fn a_payload_is_proved_by_a_file_beside_the_proof() {
    let log = signed(EVENTS);
    let (proof, payload) = (log.file("event.tlog-proof"), log.file("event.payload"));
    log.annals(&["prove", "2", "--payload-file", &text(&payload), "-o", &text(&proof)]).assert().success();
    assert_eq!(fs::read_to_string(&proof).unwrap(), log.out(&["prove", "2"]));
    let within = EntryProof::parse(log.out(&["prove", "2", "--payload"]).as_bytes()).unwrap().event.payload;
    assert_eq!(fs::read(&payload).unwrap(), within.unwrap());

    let answer = Verification::of(&log, &proof).with(&["--payload-file", &text(&payload)]).holds();
    assert_eq!(answer["events"][0]["event"]["input"], "May I return the shoes?");
    let mut other = fs::read(&payload).unwrap();
    *other.last_mut().unwrap() ^= 1;
    fs::write(log.file("other"), other).unwrap();
    let other = Verification::of(&log, &proof).with(&["--payload-file", &text(&log.file("other"))]);
    assert_eq!(other.fails(), "payload-digest");

    // It is there in one place, and only of one event.
    log.annals(&["prove", "2", "--payload", "-o", &text(&log.file("both"))]).assert().success();
    log.annals(&["prove", "--session", "good", "-o", &text(&log.file("session"))]).assert().success();
    for file in ["both", "session"] {
        bare()
            .args(Verification::of(&log, &log.file(file)).with(&["--payload-file", &text(&payload)]).args)
            .assert()
            .code(2)
            .stderr(contains("--payload-file"));
    }
    for args in [vec!["--session", "good"], vec!["2", "--payload"], vec!["2", "--force"]] {
        let beside = text(&log.file("unwritten"));
        let beside = if args.contains(&"--force") { vec![] } else { vec!["--payload-file", &beside] };
        log.annals(&[vec!["prove"], args, beside].concat()).assert().code(2);
    }
    assert!(!log.file("unwritten").exists());
    log.annals(&["redact", "2", "--actor", "ann", "--reason", "asked for", "--yes"]).assert().success();
    log.out(&["checkpoint"]);
    log.annals(&["prove", "2", "--payload-file", &text(&log.file("erased"))])
        .assert()
        .code(2)
        .stderr(contains("was erased"));
    assert!(!log.file("erased").exists());
}

#[test]
fn what_is_given_with_a_proof_of_another_form_is_refused_before_the_proof_is_judged() {
    let log = signed(EVENTS);
    let (payload, kept) = (log.file("payload"), log.file("kept"));
    fs::write(&payload, "no payload").unwrap();
    fs::write(&kept, log.out(&["checkpoint", "--last"])).unwrap();
    let (payload, kept) = (text(&payload), text(&kept));
    let (event, session) = (log.out(&["prove", "2"]), log.out(&["prove", "--session", "good"]));
    let proof = log.file("proof");
    for (written, args) in [
        ("annals session-proof v1\nsession\n", ["--payload-file", payload.as_str()]),
        ("old five\n", ["--payload-file", &payload]),
        (&event, ["--checkpoint", &kept]),
        ("c2sp.org/tlog-proof@v1\n", ["--checkpoint", &kept]),
        (&session, ["--checkpoint", &kept]),
        ("annals session-proof v1\nsession\n", ["--checkpoint", &kept]),
        // A file of no form is no proof, whatever was given with it.
    ] {
        fs::write(&proof, written).unwrap();
        let refused = Verification::of(&log, &proof).with(&args);
        bare().args(refused.args).assert().code(2).stderr(contains(args[0]));
    }
    fs::write(&proof, "no proof\n").unwrap();
    for args in [["--payload-file", payload.as_str()], ["--checkpoint", &kept]] {
        assert_eq!(Verification::of(&log, &proof).with(&args).fails(), "proof-format");
    }
    // A payload that cannot be read is asked for before anything is judged.
    fs::write(&proof, "c2sp.org/tlog-proof@v1\n").unwrap();
    let missing = text(&log.file("missing"));
    let missing = Verification::of(&log, &proof).with(&["--payload-file", &missing]);
    bare().args(missing.args).assert().code(2).stderr(contains("missing"));
}

#[test]
fn older_checkpoints_that_a_proof_is_not_about_are_said_to_be_left_out() {
    let log = signed(EVENTS);
    let kept = log.file("kept");
    let first = log.out(&["checkpoint", "--last"]);
    log.annals(&["record"]).write_stdin(notes(3)).assert().success();
    let second = log.out(&["checkpoint"]);
    log.annals(&["record"]).write_stdin(notes(3)).assert().success();
    log.out(&["checkpoint"]);
    let old: SignedCheckpoint = first.parse().unwrap();
    let proof = log.file("proof");
    fs::write(&proof, log.out(&["consistency", &old.size().to_string()])).unwrap();
    fs::write(&kept, format!("{first}\n{second}")).unwrap();
    let answer = Verification::of(&log, &proof).with(&["--checkpoint", &text(&kept)]).holds();
    let left_out = answer["does_not_show"].to_string();
    assert!(left_out.contains("other sizes"), "{answer}");
    // Where none is of the size that the proof is about, nothing that was given is checked.
    fs::write(&proof, log.out(&["consistency", "0"])).unwrap();
    let none = || Verification::of(&log, &proof).with(&["--checkpoint", &text(&kept)]);
    bare()
        .args(none().args)
        .assert()
        .code(2)
        .stderr(contains("the checkpoints that --checkpoint gave cover"));
    // Of very many the first few are named.
    fs::write(&kept, format!("{second}\n").repeat(500)).unwrap();
    let refused = bare().args(none().args).assert().code(2).stderr(contains("and 490 more"));
    assert!(refused.get_output().stderr.len() < 2_000);
}

#[test]
fn a_session_is_proved_in_part_and_as_a_whole() {
    let log = signed(EVENTS);
    let [partial, complete] = ["partial.proof", "complete.proof"].map(|name| log.file(name));
    log.annals(&["prove", "--session", "go", "-o", &text(&partial)]).assert().success();
    log.annals(&["prove", "--session", "bad", "--complete", "--payload", "-o", &text(&complete)])
        .assert()
        .success();
    let answer = Verification::of(&log, &partial).holds();
    assert_eq!(answer["events"].as_array().unwrap().len(), 4);
    assert!(answer["does_not_show"].to_string().contains("the proof is partial"));
    let answer = Verification::of(&log, &complete).holds();
    assert_eq!(answer["events"].as_array().unwrap().len(), 8);
    assert_eq!(answer["events"][7]["event"]["status"], "failed");
    assert!(answer["shows"].to_string().contains("the session has no other events between these two"));
}

#[test]
fn a_complete_session_has_the_entries_of_others_between_and_not_what_they_say() {
    let interleaved: String = (0..20)
        .map(|number| {
            let session = if number % 3 == 0 { "ours" } else { "theirs" };
            format!("{{\"type\":\"step.started\",\"session\":\"{session}\",\"step\":\"{number}\",\"input\":\"secret\"}}\n")
        })
        .collect();
    let log = signed(&interleaved);
    let proof = log.out(&["prove", "--session", "ours", "--complete"]);
    let proof = SessionProof::parse(proof.as_bytes()).unwrap();
    let Extent::Complete(between) = &proof.extent else { panic!("it is complete") };
    assert_eq!((proof.events.len(), between.len()), (7, 12));
    assert!(between.iter().all(|entry| !entry.windows(6).any(|part| part == b"secret")));
    assert!(proof.check().unwrap().is_complete);
}

#[test]
fn events_after_the_last_checkpoint_are_not_proved() {
    let log = signed(EVENTS);
    let before = log.json(&["info"])["events"].as_u64().unwrap();
    // Who appends without the key signs nothing.
    let more = concat!(r#"{"type":"session.updated","session":"good","message":"late"}"#, "\n");
    let elsewhere = log.file("elsewhere");
    log.annals(&["record"]).env("ANNALS_HOME", &elsewhere).write_stdin(more).assert().success();
    let late = (before + 1).to_string();
    log.annals(&["prove", &late]).assert().code(2).stderr(contains("`annals checkpoint` signs a new one"));
    log.annals(&["prove", "--session", "good"])
        .assert()
        .success()
        .stderr(contains("the proof lacks 1 event of the session"));
    log.out(&["checkpoint"]);
    log.annals(&["prove", &late]).assert().success();
    log.annals(&["prove", "--session", "good"]).assert().success().stderr("");
}

#[test]
fn what_cannot_be_proved_is_refused_with_the_reason() {
    let log = Log::with(EVENTS);
    log.annals(&["prove", "2"]).assert().code(2).stderr(contains("no checkpoint was signed"));
    log.annals(&["consistency", "2"]).assert().code(2).stderr(contains("no checkpoint was signed"));
    log.annals(&["tiles", &text(&log.file("out"))]).assert().code(2).stderr(contains("no checkpoint was"));
    let log = signed(EVENTS);
    for (args, reason) in [
        (vec!["prove", "99"], "there is no event 99"),
        (vec!["prove", "0"], "there is no event 0"),
        (vec!["prove", "nothing"], "neither a sequence number nor the id of an event"),
        (vec!["prove", "0198c5a1-7b2e-7d01-8f00-1d2c3b4a5f60"], "there is no event with the id"),
        (vec!["prove", "--session", "nobody"], "there is no session"),
        (vec!["prove"], "required"),
        (vec!["consistency", "99"], "`annals checkpoint` signs a new one"),
        (vec!["prove", "2", "--complete"], "needs --session"),
        (vec!["consistency", "2", "3"], "the log has no checkpoint of size 3"),
        (vec!["consistency", "nothing"], "is neither a number of events"),
    ] {
        log.annals(&args).assert().code(2).stderr(contains(reason));
    }
}

#[test]
fn a_proof_does_not_replace_a_file_nor_the_log() {
    let log = signed(EVENTS);
    let proof = text(&log.file("proof"));
    log.annals(&["prove", "2", "-o", &proof]).assert().success();
    log.annals(&["prove", "3", "-o", &proof]).assert().code(2).stderr(contains("--force"));
    log.annals(&["prove", "3", "-o", &proof, "--force"]).assert().success();
    assert_eq!(EntryProof::parse(&fs::read(&proof).unwrap()).unwrap().event.index, 2);
    log.annals(&["prove", "3", "-o", &text(&log.path()), "--force"]).assert().code(2);
    log.annals(&["verify"]).assert().success();
}

#[test]
fn a_proof_of_a_log_that_was_tampered_with_is_not_handed_out() {
    let log = signed(EVENTS);
    let connection = rusqlite::Connection::open(log.path()).unwrap();
    connection
        .execute_batch(
            "DROP TRIGGER log_rows_never_change;
             UPDATE log SET payload = (SELECT payload FROM log WHERE seq = 3) WHERE seq = 2;",
        )
        .unwrap();
    log.annals(&["prove", "2"]).assert().success();
    log.annals(&["prove", "2", "--payload"])
        .assert()
        .code(1)
        .stderr(contains("the payload is not the one that was recorded").and(contains("annals verify")));
    connection
        .execute_batch("UPDATE log SET entry = (SELECT entry FROM log WHERE seq = 3) WHERE seq = 2;")
        .unwrap();
    for args in [vec!["prove", "4"], vec!["consistency", "4"], vec!["tiles", &text(&log.file("out"))]] {
        log.annals(&args).assert().code(1).stderr(contains("annals verify"));
    }
}

#[test]
fn another_key_or_a_changed_proof_is_refused() {
    let log = signed(EVENTS);
    let proof = log.file("proof");
    let original = log.out(&["prove", "2", "--payload"]);
    fs::write(&proof, &original).unwrap();
    let other = signed(EVENTS);
    assert_eq!(Verification::of(&other, &proof).fails(), "checkpoint-signature");
    for (from, to, check) in [
        ("index 1\n", "index 2\n", "inclusion"),
        ("index 1\n", "index one\n", "proof-format"),
        ("extra A", "extra ", "proof-format"),
        ("\n\n", "\n", "proof-format"),
    ] {
        fs::write(&proof, original.replacen(from, to, 1)).unwrap();
        assert_eq!(Verification::of(&log, &proof).fails(), check, "{from:?}");
    }
    let signature = original.rfind(' ').unwrap() + 20;
    let mut changed = original.clone().into_bytes();
    changed[signature] = if changed[signature] == b'A' { b'B' } else { b'A' };
    fs::write(&proof, changed).unwrap();
    assert_eq!(Verification::of(&log, &proof).fails(), "checkpoint-signature");
}

#[test]
fn what_cannot_be_checked_is_no_verdict() {
    let log = signed(EVENTS);
    let proof = log.file("proof");
    let original = log.out(&["prove", "2"]);
    let newer = original.replacen("extra A", "extra B", 1);
    fs::write(&proof, newer).unwrap();
    let fails = |args: &[String], reason: &str| {
        bare().args(args).assert().code(2).stderr(contains(reason)).stdout("");
    };
    fails(&Verification::of(&log, &proof).args, "use a newer version");
    fails(&Verification::of(&log, Path::new("/nowhere")).args, "/nowhere");
    fails(&["verify-proof".into(), text(&proof)], "--key");
    fails(&["verify-proof".into(), text(&proof), "--key".into(), "nonsense".into()], "neither a public key");
    fs::write(&proof, log.out(&["consistency", "3"])).unwrap();
    fails(&Verification::of(&log, &proof).args, "the checkpoint of 3 events");
    fs::write(log.file("kept"), log.out(&["checkpoint", "--last"])).unwrap();
    let with_another = Verification::of(&log, &proof).with(&["--checkpoint", &text(&log.file("kept"))]);
    fails(&with_another.args, "the checkpoints that --checkpoint gave cover");
}

#[test]
fn the_signature_of_a_witness_is_not_the_signature_of_the_log() {
    let log = signed(EVENTS);
    let file = log.file("proof");
    let mut proof = EntryProof::parse(log.out(&["prove", "2"]).as_bytes()).unwrap();
    let origin = proof.checkpoint.origin().to_owned();
    for name in ["witness.example", &origin] {
        let witness = Cosigner::from_seed(name, &[3; 32]).unwrap();
        proof.checkpoint.add_signatures([witness.cosign(&proof.checkpoint, 1)]);
        fs::write(&file, proof.to_string()).unwrap();
        Verification::of(&log, &file).holds();
        let args = ["verify-proof", &text(&file), "--key", &witness.verifier().to_string()];
        let by_witness = Verification { args: args.map(str::to_owned).to_vec() };
        assert_eq!(by_witness.fails(), "checkpoint-signature", "{name}");
    }
}

#[test]
fn an_epoch_key_that_is_given_must_have_signed() {
    let log = Log::with(EVENTS);
    let vkey = log.out(&["key", "generate", "--epochs"]);
    fs::write(log.file("vkey"), vkey.lines().next().unwrap()).unwrap();
    fs::write(log.file("epoch"), log.out(&["key", "show", "--epoch"])).unwrap();
    log.out(&["checkpoint"]);
    let proof = log.file("proof");
    log.annals(&["prove", "2", "-o", &text(&proof)]).assert().success();
    let by = |keys: &[&str]| {
        let files: Vec<String> =
            keys.chunks(2).flat_map(|pair| [pair[0].to_owned(), text(&log.file(pair[1]))]).collect();
        Verification { args: [vec!["verify-proof".to_owned(), text(&proof)], files].concat() }
    };
    by(&["--epoch-key", "epoch"]).holds();
    by(&["--key", "vkey", "--epoch-key", "epoch"]).holds();
    assert_eq!(
        by(&["--key", "epoch", "--epoch-key", "vkey"]).holds()["signed_by"].as_array().unwrap().len(),
        2
    );
    let other = signed(EVENTS);
    fs::copy(other.file("vkey"), log.file("other")).unwrap();
    assert_eq!(by(&["--key", "vkey", "--epoch-key", "other"]).fails(), "checkpoint-signature");
}

#[test]
fn a_log_proves_that_it_begins_with_what_it_was() {
    let log = signed(EVENTS);
    let kept = log.file("kept.checkpoint");
    fs::write(&kept, log.out(&["checkpoint", "--last"])).unwrap();
    let old: SignedCheckpoint = fs::read_to_string(&kept).unwrap().parse().unwrap();
    log.annals(&["record"]).write_stdin(notes(300)).assert().success();
    log.out(&["checkpoint"]);
    let proof = log.file("since.proof");
    log.annals(&["consistency", &text(&kept), "-o", &text(&proof)]).assert().success();
    assert_eq!(fs::read_to_string(&proof).unwrap(), log.out(&["consistency", &old.size().to_string()]));
    let answer = Verification::of(&log, &proof).with(&["--checkpoint", &text(&kept)]).holds();
    assert_eq!(answer["size"], old.size() + 300);

    // From nothing, and to itself.
    fs::write(&proof, log.out(&["consistency", "0"])).unwrap();
    Verification::of(&log, &proof).holds();
    let same = log.out(&["consistency", &text(&kept), &old.size().to_string()]);
    assert_eq!(ConsistencyProof::parse(same.as_bytes()).unwrap().hashes, []);
    fs::write(&proof, same).unwrap();
    Verification::of(&log, &proof).with(&["--checkpoint", &text(&kept)]).holds();
}

#[test]
fn a_log_that_was_put_in_the_place_of_another_does_not_prove_that() {
    let log = signed(EVENTS);
    let kept = log.file("kept.checkpoint");
    fs::write(&kept, log.out(&["checkpoint"])).unwrap();
    let old: SignedCheckpoint = fs::read_to_string(&kept).unwrap().parse().unwrap();
    // A checkpoint of the same log that says otherwise, as a signer of two tongues makes it.
    let root = log.json(&["checkpoint", "--last"])["root"].as_str().unwrap().to_owned();
    let lie = fs::read_to_string(&kept).unwrap().replace(&root, &leaf_hash(b"lie").to_string());
    fs::write(&kept, &lie).unwrap();
    log.annals(&["consistency", &text(&kept)]).assert().code(1).stdout("").stderr(
        contains("does not show that the newer log begins with the older one")
            .or(contains("older root"))
            .or(contains("newer root")),
    );
    let proof = log.file("proof");
    fs::write(&proof, log.out(&["consistency", &old.size().to_string()])).unwrap();
    let verification = Verification::of(&log, &proof).with(&["--checkpoint", &text(&kept)]);
    assert_eq!(verification.fails(), "checkpoint-signature");
    let other = signed(EVENTS);
    let kept = other.file("kept.checkpoint");
    fs::write(&kept, other.out(&["checkpoint"])).unwrap();
    log.annals(&["consistency", &text(&kept)]).assert().code(2).stderr(contains("is of the log"));
}

/// The files of a folder by their paths.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(text(path.strip_prefix(folder).unwrap()), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Holds a published folder against its own checkpoint, with nothing but the files.
fn assert_published(folder: &Path) -> SignedCheckpoint {
    let files = files(folder);
    let checkpoint: SignedCheckpoint =
        String::from_utf8(files["checkpoint"].clone()).unwrap().parse().unwrap();
    let mut below: Vec<NodeHash> = Vec::new();
    for tile in tiles_of(checkpoint.size()) {
        let hashes = hashes_from_bytes(&files[&tile.to_string()]).unwrap();
        assert_eq!(hashes.len(), usize::from(tile.width), "{tile}");
        if tile.level == 0 {
            let name = tile.to_string().replacen("tile/0", "tile/entries", 1);
            let mut bundle = files[&name].as_slice();
            for hash in &hashes {
                let (length, rest) = bundle.split_first_chunk::<2>().unwrap();
                let (leaf, rest) = rest.split_at(u16::from_be_bytes(*length).into());
                assert_eq!(leaf_hash(leaf), *hash, "{name}");
                bundle = rest;
            }
            assert_eq!(bundle, [0_u8; 0], "{name}");
            below.extend(hashes);
        } else if tile.level == 1 {
            let first = usize::try_from(tile.start()).unwrap() * 256;
            for (chunk, hash) in below[first..].chunks(256).zip(&hashes) {
                assert_eq!(root_of(chunk.iter().copied()), *hash, "{tile}");
            }
        }
    }
    assert_eq!(root_of(below), *checkpoint.root());
    checkpoint
}

fn publish(log: &Log) -> PathBuf {
    let folder = log.file("out");
    log.annals(&["tiles", &text(&folder)]).assert().success();
    folder
}

#[test]
fn a_log_is_published_and_grows() {
    let log = signed(&notes(10));
    let folder = publish(&log);
    let first = assert_published(&folder);
    let mut before = files(&folder);
    for count in [100, 145, 1, 255, 600] {
        log.annals(&["record"]).write_stdin(notes(count)).assert().success();
        log.out(&["checkpoint"]);
        publish(&log);
        assert_published(&folder);
        let now = files(&folder);
        for (name, bytes) in before.iter().filter(|(name, _)| *name != "checkpoint") {
            assert_eq!(&now[name], bytes, "{name} was changed");
        }
        before = now;
    }
    assert_eq!(assert_published(&folder).size(), first.size() + 1_101);
    let answer = log.json(&["tiles", &text(&folder)]);
    assert_eq!((&answer["files_written"], &answer["size_before"]), (&0.into(), &answer["size"]));
    assert_eq!(files(&folder), before);
}

#[test]
fn an_interrupted_run_is_taken_up() {
    let log = signed(&notes(700));
    let folder = publish(&log);
    let whole = files(&folder);
    // Everything may have come before the end, but for the checkpoint.
    for name in whole.keys().filter(|name| *name != "checkpoint") {
        fs::remove_file(folder.join("checkpoint")).unwrap();
        fs::remove_file(folder.join(name)).unwrap();
        fs::write(folder.join(format!("{name}.new")), b"half of a fi").unwrap();
        publish(&log);
        assert_eq!(files(&folder), whole, "{name}");
    }
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let log = signed(EVENTS);
    let folder = publish(&log);
    let before = files(&folder);
    let other = signed(EVENTS);
    other.annals(&["tiles", &text(&folder)]).assert().code(2).stderr(contains("holds the log"));
    // The folder with the log itself.
    log.annals(&["tiles", &text(log.folder.path())])
        .assert()
        .code(2)
        .stderr(contains("does not belong to a published log"));
    // Another log's tiles without its checkpoint.
    fs::remove_file(folder.join("checkpoint")).unwrap();
    other.annals(&["tiles", &text(&folder)]).assert().code(1).stderr(contains("differs from the log"));
    fs::write(folder.join("checkpoint"), &before["checkpoint"]).unwrap();
    assert_eq!(files(&folder), before);
    // What its owner put beside the checkpoint stays.
    fs::write(folder.join("index.html"), "<h1>A log</h1>").unwrap();
    publish(&log);
}

#[test]
fn a_folder_that_contradicts_the_log_is_no_small_matter() {
    let log = signed(EVENTS);
    let backup = log.file("backup.db");
    log.annals(&["copy", &text(&backup)]).assert().success();
    log.annals(&["record"]).write_stdin(notes(5)).assert().success();
    log.out(&["checkpoint"]);
    let folder = publish(&log);
    let published = files(&folder);
    annals(&backup)
        .args(["tiles", &text(&folder)])
        .assert()
        .code(1)
        .stderr(contains("the log was set back to an older copy"));
    let root = assert_published(&folder).root().to_string();
    let lie =
        fs::read_to_string(folder.join("checkpoint")).unwrap().replace(&root, &leaf_hash(b"").to_string());
    fs::write(folder.join("checkpoint"), lie).unwrap();
    log.annals(&["tiles", &text(&folder)]).assert().code(1).stderr(contains("is not of this log"));
    fs::write(folder.join("checkpoint"), "nonsense").unwrap();
    log.annals(&["tiles", &text(&folder)]).assert().code(2).stderr(contains("is not a checkpoint"));
    fs::write(folder.join("checkpoint"), &published["checkpoint"]).unwrap();
    publish(&log);
}

/// Changes a byte in the middle of a file.
fn spoil(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn what_new_files_continue_is_checked_and_with_check_all_that_is_there() {
    let log = signed(&notes(700));
    let folder = publish(&log);
    let whole = files(&folder);
    let checkpoint = |name: &str| name == "checkpoint";
    for (name, bytes) in whole.iter().filter(|(name, _)| !checkpoint(name)) {
        // Of 701 events the third tile, and the one above, go on.
        let is_continued = name.contains(".p/");
        for is_gone in [false, true] {
            spoil(&folder.join(name));
            if is_gone {
                fs::remove_file(folder.join(name)).unwrap();
            }
            let what = if is_gone { "is missing" } else { "differs from the log" };
            let usual = log.annals(&["tiles", &text(&folder)]).assert();
            if is_continued {
                usual.code(1).stderr(contains(name).and(contains(what)));
            } else {
                usual.success();
            }
            log.annals(&["tiles", &text(&folder), "--check"])
                .assert()
                .code(1)
                .stderr(contains(name).and(contains(what)));
            assert_eq!(log.json(&["tiles", &text(&folder), "--repair"])["files_repaired"], 1, "{name}");
            assert_eq!(&fs::read(folder.join(name)).unwrap(), bytes, "{name}");
        }
    }
    assert_eq!(files(&folder), whole);
    assert_eq!(log.json(&["tiles", &text(&folder), "--repair"])["files_written"], 0);
}

#[test]
fn what_smaller_trees_left_is_checked_and_a_full_file_may_stand_in_for_a_partial_one() {
    let log = signed(&notes(99));
    let folder = publish(&log);
    let narrow = files(&folder).into_keys().find(|name| name.starts_with("tile/0/000.p/")).unwrap();
    log.annals(&["record"]).write_stdin(notes(200)).assert().success();
    log.out(&["checkpoint"]);
    publish(&log);
    spoil(&folder.join(&narrow));
    publish(&log);
    log.annals(&["tiles", &text(&folder), "--check"]).assert().code(1).stderr(contains(&narrow));
    log.annals(&["tiles", &text(&folder), "--repair"]).assert().success().stdout(contains("1 file repaired"));
    log.annals(&["tiles", &text(&folder), "--check"]).assert().success();
    // Its owner may delete what a full file has too.
    fs::remove_dir_all(folder.join("tile/0/000.p")).unwrap();
    fs::remove_dir_all(folder.join("tile/entries/000.p")).unwrap();
    log.annals(&["tiles", &text(&folder), "--check"]).assert().success();
}

#[test]
fn the_checkpoint_of_another_state_is_not_repaired() {
    let log = signed(EVENTS);
    let folder = publish(&log);
    let root = assert_published(&folder).root().to_string();
    let lie =
        fs::read_to_string(folder.join("checkpoint")).unwrap().replace(&root, &leaf_hash(b"").to_string());
    for (wrong, status) in [(lie.as_str(), 1), ("nonsense", 2)] {
        fs::write(folder.join("checkpoint"), wrong).unwrap();
        let before = files(&folder);
        log.annals(&["tiles", &text(&folder), "--repair"]).assert().code(status);
        assert_eq!(files(&folder), before);
    }
}

#[cfg(unix)]
#[test]
fn nothing_below_the_folder_is_read_or_written_through_a_symbolic_link() {
    use std::os::unix::fs::symlink;

    let log = signed(&notes(300));
    let folder = publish(&log);
    let published = files(&folder);
    let elsewhere = log.file("elsewhere");
    log.annals(&["record"]).write_stdin(notes(300)).assert().success();
    log.out(&["checkpoint"]);
    let partial = published.into_keys().filter(|name| name.contains("/001.p/"));
    let others = ["checkpoint", "tile", "tile/0", "tile/entries", "tile/0/001.p"].map(str::to_owned);
    for name in others.into_iter().chain(partial) {
        let name = name.as_str();
        let kept = log.file("kept");
        fs::rename(folder.join(name), &kept).unwrap();
        // To what was there, to what a writer would change, and to nothing.
        fs::write(&elsewhere, "untouched").unwrap();
        for target in [kept.clone(), elsewhere.clone(), log.file("nowhere")] {
            symlink(&target, folder.join(name)).unwrap();
            for option in [&[] as &[&str], &["--check"], &["--repair"]] {
                let folder = text(&folder);
                log.annals(&[&["tiles", &folder], option].concat())
                    .assert()
                    .code(2)
                    .stderr(contains(name).and(contains("symbolic link")));
            }
            fs::remove_file(folder.join(name)).unwrap();
        }
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
        assert!(!log.file("nowhere").exists());
        fs::rename(&kept, folder.join(name)).unwrap();
    }
    // One that is left where a file is in the making is no way out either.
    symlink(&elsewhere, folder.join("tile/0/001.new")).unwrap();
    symlink(&elsewhere, folder.join("checkpoint.new")).unwrap();
    publish(&log);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
    assert_published(&folder);
    // The folder itself is the caller's to name.
    symlink(&folder, log.file("current")).unwrap();
    log.annals(&["tiles", &text(&log.file("current"))]).assert().success();
}

#[cfg(unix)]
#[test]
fn what_is_published_is_for_others_to_read_and_not_to_write_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;

    let log = signed(&notes(300));
    let folder = log.file("out").join("deep");
    let annals = env!("CARGO_BIN_EXE_annals");
    let script = format!("umask 000; exec {annals} --db '{}' tiles '{}'", text(&log.path()), text(&folder));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).env("ANNALS_HOME", home_of(&log.path())).env_remove("ANNALS_DB");
    assert!(shell.status().unwrap().success());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut folders = vec![log.file("out")];
    while let Some(path) = folders.pop() {
        assert_eq!(mode(&path), 0o755, "{}", path.display());
        for file in fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()) {
            if file.is_dir() {
                folders.push(file);
            } else {
                assert_eq!(mode(&file), 0o644, "{}", file.display());
            }
        }
    }
}

#[test]
fn the_forms_of_proofs_are_told_apart_by_their_first_lines() {
    let log = signed(EVENTS);
    let form = |args: &[&str]| ProofFile::parse(log.out(args).as_bytes()).unwrap();
    assert!(matches!(form(&["prove", "2"]), ProofFile::Entry(_)));
    assert!(matches!(form(&["prove", "--session", "good"]), ProofFile::Session(_)));
    assert!(matches!(form(&["consistency", "2"]), ProofFile::Consistency(_)));
}
