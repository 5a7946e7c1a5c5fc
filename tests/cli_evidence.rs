//! The program: names, keys, checkpoints and anchors.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "support/program.rs"]
mod program;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use annals::note::{CheckpointFile, SignedCheckpoint, VerifierKey};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use program::{Log, home_of};

const ORIGIN: &str = "example.org/audit";
const NOTE: &str = r#"{"type":"note.logged","message":"hello"}"#;

/// A log with a name and a key, and the key.
fn signed_log() -> (Log, VerifierKey) {
    let log = Log::new();
    log.annals(&["init", "--origin", ORIGIN]).assert().success();
    let key = log.out(&["key", "generate"]);
    (log, key.trim_end().parse().unwrap())
}

fn record(log: &Log) {
    log.annals(&["record"]).write_stdin(NOTE).assert().success();
}

fn folder(log: &Log) -> PathBuf {
    home_of(&log.path()).join("logs/example.org%2Faudit")
}

fn checkpoint(log: &Log, args: &[&str]) -> SignedCheckpoint {
    log.out(&[&["checkpoint"], args].concat()).parse().unwrap()
}

fn anchored(log: &Log) -> CheckpointFile {
    fs::read_to_string(folder(log).join("checkpoints")).unwrap().parse().unwrap()
}

#[test]
fn a_log_is_named_once() {
    let log = Log::new();
    assert!(log.out(&["init", "--origin", ORIGIN]).contains(ORIGIN));
    assert_eq!(log.json(&["info"])["origin"], ORIGIN);
    log.annals(&["init"]).assert().code(2).stderr(contains("is there already"));
    let other = Log::new();
    other.annals(&["init", "--origin", "two words"]).assert().code(2).stderr(contains("two words"));
    assert!(!other.path().exists());
}

#[test]
fn from_its_first_key_on_every_command_that_appends_signs() {
    let (log, key) = signed_log();
    record(&log);
    record(&log);
    let last = anchored(&log).checkpoints.pop().unwrap();
    assert_eq!((last.origin(), last.size()), (ORIGIN, 4));
    last.verify(std::slice::from_ref(&key)).unwrap();
    assert_eq!(log.json(&["info"])["evidence"]["unanchored_events"], 0);
    assert_eq!(log.out(&["key", "show"]).trim_end(), key.to_string());
}

#[test]
fn a_checkpoint_is_made_on_demand_and_the_last_one_is_shown() {
    let (log, key) = signed_log();
    record(&log);
    let made = checkpoint(&log, &[]);
    made.verify(std::slice::from_ref(&key)).unwrap();
    assert_eq!(checkpoint(&log, &[]), made, "nothing came since");
    assert_eq!(checkpoint(&log, &["--last"]), made);
    let parts = log.json(&["checkpoint", "--last"]);
    assert_eq!((parts["size"].as_u64(), parts["note"].as_str()), (Some(3), Some(made.to_string().as_str())));
}

#[test]
fn without_a_key_nothing_is_signed_and_the_error_says_how_to_get_one() {
    let log = Log::new();
    log.annals(&["init", "--origin", ORIGIN]).assert().success();
    log.annals(&["checkpoint"]).assert().code(2).stderr(contains("annals key generate"));
    log.annals(&["checkpoint", "--last"]).assert().code(2).stderr(contains("no checkpoint was signed"));
    log.annals(&["key", "show"]).assert().code(2).stderr(contains("annals key generate"));
    log.annals(&["key", "rotate"]).assert().code(2).stderr(contains("annals key generate"));
}

#[test]
fn a_key_is_private_and_not_made_twice() {
    let (log, _) = signed_log();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder(&log).join("key")), 0o600);
    assert_eq!(mode(folder(&log)), 0o700);
    log.annals(&["key", "generate"]).assert().code(2).stderr(contains("annals key rotate"));

    fs::set_permissions(folder(&log).join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    log.annals(&["checkpoint"]).assert().code(2).stderr(contains("chmod 600"));
}

#[test]
fn a_key_can_be_made_before_its_log() {
    let log = Log::new();
    let key = log.out(&["key", "generate", "--origin", ORIGIN]);
    log.annals(&["init", "--origin", ORIGIN]).assert().success();
    record(&log);
    let key: VerifierKey = key.trim_end().parse().unwrap();
    checkpoint(&log, &["--last"]).verify(std::slice::from_ref(&key)).unwrap();
}

#[test]
fn a_rotated_key_is_certified_by_the_old_one_and_a_lost_one_by_nobody() {
    let (log, old) = signed_log();
    record(&log);
    let new: VerifierKey = log.out(&["key", "rotate", "--reason", "yearly"]).trim_end().parse().unwrap();
    let kept = log.file("kept");
    fs::write(&kept, checkpoint(&log, &[]).to_string()).unwrap();
    let verify = |key: &VerifierKey| {
        log.annals(&["verify", "--key", &key.to_string(), "--checkpoint", kept.to_str().unwrap()])
    };
    verify(&old).assert().success().stdout(contains("certified by"));
    verify(&new).assert().success();

    fs::remove_file(folder(&log).join("key")).unwrap();
    log.annals(&["key", "generate"]).assert().code(2).stderr(contains("key rotate --lost"));
    log.annals(&["key", "rotate", "--lost"]).assert().success().stderr(contains("nobody certifies this key"));
    fs::write(&kept, checkpoint(&log, &[]).to_string()).unwrap();
    verify(&new).assert().code(1).stdout(contains("checkpoint-signature"));
}

#[test]
fn epoch_keys_are_kept_beside_the_stable_one() {
    let log = Log::new();
    log.annals(&["init", "--origin", ORIGIN]).assert().success();
    log.annals(&["key", "generate", "--epochs"]).assert().success().stderr(contains("the present epoch"));
    let first = log.out(&["key", "show", "--epoch"]);
    log.annals(&["key", "rotate", "--epoch"]).assert().success();
    assert_ne!(log.out(&["key", "show", "--epoch"]), first);
    record(&log);
    fs::write(log.file("kept"), checkpoint(&log, &[]).to_string()).unwrap();
    let kept = log.file("kept");
    let args = ["verify", "--epoch-key", first.trim_end(), "--checkpoint", kept.to_str().unwrap()];
    log.annals(&args).assert().success().stdout(contains("anchored          yes"));
}

#[test]
fn a_key_may_come_from_the_environment() {
    let (log, key) = signed_log();
    let skey = fs::read_to_string(folder(&log).join("key")).unwrap();
    fs::remove_file(folder(&log).join("key")).unwrap();
    log.annals(&["record"]).env("ANNALS_KEY", skey.trim()).write_stdin(NOTE).assert().success();
    checkpoint(&log, &["--last"]).verify(std::slice::from_ref(&key)).unwrap();

    let other = Log::new();
    other.annals(&["init", "--origin", "example.org/other"]).assert().success();
    let refused = other.annals(&["record"]).env("ANNALS_KEY", skey.trim()).write_stdin(NOTE).assert();
    refused.code(2).stderr(contains("is the key of the log").and(contains(skey.trim()).not()));
}

#[test]
fn a_restored_backup_is_not_signed_for_and_continues_as_a_new_log() {
    let (log, _) = signed_log();
    let backup = log.file("backup.db");
    log.annals(&["copy", backup.to_str().unwrap()]).assert().success();
    record(&log);
    for ending in ["", "-wal", "-shm"] {
        let mut path = log.path().into_os_string();
        path.push(ending);
        let _ = fs::remove_file(path);
    }
    fs::rename(&backup, log.path()).unwrap();
    log.annals(&["checkpoint"]).assert().code(2).stderr(contains("init --continues"));

    let new = log.file("new.db");
    let continued = |origin: &str| {
        let mut command = program::annals(&new);
        let old = log.path();
        command.args(["init", "--continues", old.to_str().unwrap(), "--origin", origin]);
        command
    };
    continued(ORIGIN).assert().code(2).stderr(contains("would contradict each other"));
    continued("example.org/audit/2").assert().success();
    let mut first = program::annals(&new);
    first
        .args(["--json", "tail", "-n", "1"])
        .assert()
        .success()
        .stdout(contains(r#""size":2"#).and(contains(ORIGIN)));
}

#[test]
fn anchors_are_added_listed_and_taken_away() {
    let (log, _) = signed_log();
    let (kept, output) = (log.file("kept.db"), log.file("output"));
    log.annals(&["anchor", "add", "sqlite", kept.to_str().unwrap()]).assert().success();
    let script = format!("cat > {}", output.display());
    log.annals(&["anchor", "add", "command", "sh", "-c", &script]).assert().success();
    log.annals(&["anchor", "add", "command", "false"]).assert().success();
    record(&log);

    assert_eq!(fs::read_to_string(&output).unwrap(), checkpoint(&log, &["--last"]).to_string());
    let listed = log.out(&["anchor"]);
    assert!(listed.contains("kept.db") && listed.contains("`false` ended with"), "{listed}");
    assert!(log.out(&["verify"]).contains("command false fails since"));
    log.annals(&["anchor", "remove", "command false"]).assert().success();
    log.annals(&["anchor", "remove", "command false"]).assert().code(2).stderr(contains("no anchor"));
}

#[test]
fn settings_that_are_none_are_named_and_nothing_is_appended() {
    let (log, _) = signed_log();
    let settings = folder(&log).join("settings.toml");
    fs::write(&settings, "every_events = \"often\"\n").unwrap();
    log.annals(&["record"])
        .write_stdin(NOTE)
        .assert()
        .code(2)
        .stderr(contains("settings.toml").and(contains("every_events")));
    fs::remove_file(settings).unwrap();
    assert_eq!(log.json(&["info"])["events"], 2);
}

#[test]
fn a_witness_without_a_key_and_an_address_that_is_none_are_refused() {
    let (log, key) = signed_log();
    log.annals(&["anchor", "add", "witness", "http://127.0.0.1:9"])
        .assert()
        .code(2)
        .stderr(contains("--key"));
    let key = key.to_string();
    log.annals(&["anchor", "add", "witness", "gopher://w", "--key", &key])
        .assert()
        .code(2)
        .stderr(contains("gopher://w"));
    assert_eq!(log.json(&["anchor"]).as_array().unwrap().len(), 1);
}
