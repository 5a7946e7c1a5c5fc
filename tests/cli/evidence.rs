//! The program: names, keys, checkpoints and anchors.

use crate::support::program;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::program::{Log, home_of};
use annals::note::{CheckpointFile, SignedCheckpoint, VerifierKey};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

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
    log.annals(&["init"]).assert().code(2).stderr(contains("already exists"));
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
    verify(&old).assert().success().stdout(contains("(yearly); certified"));
    verify(&new).assert().success();

    fs::remove_file(folder(&log).join("key")).unwrap();
    log.annals(&["key", "generate"]).assert().code(2).stderr(contains("key rotate --lost"));
    log.annals(&["key", "rotate", "--lost"])
        .assert()
        .success()
        .stderr(contains("no earlier key certifies this key"));
    fs::write(&kept, checkpoint(&log, &[]).to_string()).unwrap();
    verify(&new).assert().code(2).stdout(contains("not checked").and(contains("(lost)")));
}

#[test]
fn the_key_that_is_shown_after_a_rotation_takes_what_the_keys_before_it_signed() {
    let (log, first) = signed_log();
    record(&log);
    let old = log.file("old");
    fs::write(&old, checkpoint(&log, &[]).to_string()).unwrap();
    log.out(&["key", "rotate"]);
    record(&log);
    log.out(&["key", "rotate", "--compromised", "--reason", "a stolen laptop"]);
    record(&log);
    let shown = log.out(&["key", "show"]);
    let present = shown.lines().next().unwrap();
    for said in [&format!("first {first}"), "(rotated)", "(compromised)", "auditors must get it from you"] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let json = log.json(&["key", "show"]);
    assert_eq!(
        (json["stable"].as_str(), json["first"]["stable"].as_str()),
        (Some(present), Some(&*first.to_string()))
    );
    let causes: Vec<_> = json["changes"].as_array().unwrap().iter().map(|change| &change["cause"]).collect();
    assert_eq!(causes, ["generated", "rotated", "compromised"]);

    // As it was shown, as a file and as an argument.
    fs::write(log.file("vkeys"), &shown).unwrap();
    let new = log.file("new");
    fs::write(&new, checkpoint(&log, &["--last"]).to_string()).unwrap();
    let kept = |keys: &str| {
        let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
        log.annals(&["verify", "--key", keys, "--checkpoint", old, "--checkpoint", new])
    };
    for keys in [log.file("vkeys").to_str().unwrap(), &shown, present] {
        kept(keys).assert().success().stdout(contains("anchored          yes").and(contains("fits")));
    }
    // Who has the first key alone is told to get the present one.
    kept(&first.to_string()).assert().code(2).stdout(contains("compromised").and(contains(present)));
}

#[test]
fn given_files_are_read_whatever_editors_and_shells_did_to_them() {
    let (log, key) = signed_log();
    record(&log);
    let one = checkpoint(&log, &[]).to_string();
    record(&log);
    let two = checkpoint(&log, &[]).to_string();
    let (kept, vkey, policy) = (log.file("kept"), log.file("vkey"), log.file("policy"));
    let policy_text = format!("log {key}\nquorum none\n");
    let verify = |flags: &[&str]| {
        let whole = [&["verify", "--no-remember", "--checkpoint", kept.to_str().unwrap()], flags].concat();
        log.annals(&whole)
    };
    let mark = "\u{feff}";
    for (checkpoints, key, policy_text) in [
        (format!("{mark}{one}\n{two}"), format!("{mark}{key}\n"), format!("{mark}{policy_text}")),
        (format!("{one}{two}"), format!("{key}\r\n\r\n"), policy_text.replace('\n', "\r\n")),
        (format!("{one}\n{two}\n\n").replace('\n', "\r\n"), key.to_string(), format!("{policy_text}\n\n")),
    ] {
        fs::write(&kept, &checkpoints).unwrap();
        fs::write(&vkey, &key).unwrap();
        fs::write(&policy, &policy_text).unwrap();
        verify(&["--key", vkey.to_str().unwrap()])
            .assert()
            .success()
            .stdout(contains("anchored          yes"));
        verify(&["--policy", policy.to_str().unwrap()]).assert().success();
    }
    // What cannot be read is named, and is no tampering.
    for (bytes, said) in [
        (format!("{mark}{one}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(), "UTF-16"),
        (b"Dear Ada,\n".to_vec(), "kept: line 1"),
        (one.trim_end().into(), "cut off"),
        (Vec::new(), "kept: line 1"),
    ] {
        fs::write(&kept, bytes).unwrap();
        verify(&["--key", &key.to_string()]).assert().code(2).stderr(contains(said));
    }
    // Proofs as well.
    let proof = log.file("proof");
    log.annals(&["prove", "2", "-o", proof.to_str().unwrap()]).assert().success();
    let text = fs::read_to_string(&proof).unwrap();
    for text in [format!("{mark}{text}"), text.replace('\n', "\r\n"), format!("{text}\n")] {
        fs::write(&proof, text).unwrap();
        let key = key.to_string();
        log.annals(&["verify-proof", proof.to_str().unwrap(), "--key", &key]).assert().success();
    }
}

#[test]
fn events_that_are_recorded_and_not_signed_for_are_recorded() {
    let (log, _) = signed_log();
    record(&log);
    // The signer has what it signed last, and the log is set back before it.
    let signed = folder(&log).join("signed");
    let ahead = fs::read_to_string(&signed).unwrap().replacen("\n3\n", "\n300\n", 1);
    fs::write(&signed, ahead).unwrap();
    let recorded = log.annals(&["record"]).write_stdin(NOTE).assert().success();
    recorded
        .stdout(contains("1 event recorded"))
        .stderr(contains("no checkpoint covers").and(contains("300")));
    assert!(log.json(&["info"])["evidence"]["error"].as_str().unwrap().contains("300"));
    // What was asked for was a signature.
    log.annals(&["checkpoint"]).assert().code(2);
}

#[test]
fn an_anchor_that_does_not_take_checkpoints_is_said_to_by_commands_that_sign() {
    let (log, _) = signed_log();
    log.annals(&["anchor", "add", "command", "false"]).assert().success();
    log.annals(&["record"])
        .write_stdin(NOTE)
        .assert()
        .success()
        .stderr(contains("the anchor `command false` did not take"));
    log.annals(&["anchor", "remove", "command false"]).assert().success();
    log.annals(&["anchor", "add", "sqlite", ":memory:"])
        .assert()
        .code(2)
        .stderr(contains("does not name a file"));
    let own = log.path();
    log.annals(&["anchor", "add", "sqlite", own.to_str().unwrap()]).assert().success();
    log.annals(&["record"])
        .write_stdin(NOTE)
        .assert()
        .success()
        .stderr(contains("a database of another program"));
}

#[test]
fn settings_that_others_can_write_are_not_obeyed() {
    let (log, _) = signed_log();
    let output = log.file("output");
    let script = format!("touch {}", output.display());
    log.annals(&["anchor", "add", "command", "sh", "-c", &script]).assert().success();
    let settings = folder(&log).join("settings.toml");
    let set = |path: &PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (path, unsafe_mode, safe_mode) in [(settings.clone(), 0o666, 0o600), (folder(&log), 0o777, 0o700)] {
        set(&path, unsafe_mode);
        log.annals(&["record"])
            .write_stdin(NOTE)
            .assert()
            .success()
            .stderr(contains("other users can write this").and(contains("these settings are ignored")));
        log.annals(&["anchor"]).assert().code(2).stderr(contains("other users can write this"));
        assert!(!output.exists());
        set(&path, safe_mode);
    }
    // To read them does no harm.
    set(&settings, 0o644);
    record(&log);
    assert!(output.exists());
}

#[test]
fn epoch_keys_are_kept_beside_the_stable_one() {
    let log = Log::new();
    log.annals(&["init", "--origin", ORIGIN]).assert().success();
    log.annals(&["key", "generate", "--epochs"]).assert().success().stderr(contains("the present epoch"));
    let first = log.out(&["key", "show", "--epoch"]);
    let second = log.out(&["key", "rotate", "--epoch"]);
    assert_ne!(second, first);
    let shown = log.out(&["key", "show", "--epoch"]);
    assert_eq!(shown.lines().next(), Some(second.trim_end()));
    assert!(shown.contains(&format!("first {}", first.trim_end())), "{shown}");
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
fn settings_that_are_none_are_named_and_keep_nothing_from_being_recorded() {
    let (log, _) = signed_log();
    let settings = folder(&log).join("settings.toml");
    fs::write(&settings, "every_events = \"often\"\n").unwrap();
    log.annals(&["record"])
        .write_stdin(NOTE)
        .assert()
        .success()
        .stderr(contains("settings.toml").and(contains("every_events")));
    fs::remove_file(settings).unwrap();
    assert_eq!(log.json(&["info"])["events"], 3);
}

#[test]
fn an_anchor_that_cannot_be_used_is_told_of_and_can_be_taken_away() {
    let (log, _) = signed_log();
    let settings = folder(&log).join("settings.toml");
    let missing =
        "[[anchor]]\nkind = \"timestamp\"\nurl = \"http://127.0.0.1:9\"\ncertificates = \"/no/such.pem\"\n";
    fs::write(&settings, missing).unwrap();
    record(&log);
    assert!(log.out(&["anchor"]).contains("/no/such.pem"));
    log.annals(&["anchor", "remove", "timestamp http://127.0.0.1:9"]).assert().success();
    assert!(!log.out(&["anchor"]).contains("127.0.0.1"));
}

#[test]
fn a_key_that_is_here_is_not_lost_and_an_epoch_key_can_come_later() {
    let (log, _) = signed_log();
    log.annals(&["key", "rotate", "--lost"]).assert().code(2).stderr(contains("leave --lost out"));
    log.annals(&["key", "show", "--epoch"]).assert().code(2);
    log.annals(&["key", "generate", "--epochs"]).assert().success();
    assert!(log.out(&["key", "show", "--epoch"]).starts_with(ORIGIN));
}

#[test]
fn a_log_whose_key_is_elsewhere_is_recorded_to_with_a_warning() {
    let (log, _) = signed_log();
    record(&log);
    fs::rename(folder(&log), log.file("elsewhere")).unwrap();
    log.annals(&["record"])
        .write_stdin(NOTE)
        .assert()
        .success()
        .stderr(contains("their key is not on this machine"));
}

#[test]
fn programs_that_get_checkpoints_do_not_get_the_key() {
    let (log, _) = signed_log();
    let output = log.file("environment");
    let script = format!("env > {}", output.display());
    log.annals(&["anchor", "add", "command", "sh", "-c", &script]).assert().success();
    let skey = fs::read_to_string(folder(&log).join("key")).unwrap();
    log.annals(&["record"]).env("ANNALS_KEY", skey.trim()).write_stdin(NOTE).assert().success();
    let environment = fs::read_to_string(output).unwrap();
    assert!(environment.contains("ANNALS_SIZE") && !environment.contains("ANNALS_KEY"), "{environment}");
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
