//! `annals verify` on the command line: what it is given, and its exit status.

use std::path::{Path, PathBuf};

use crate::support::forge::{checkpoint, key, log_of, make, rewrite, tamper};
use crate::support::program::annals;
use predicates::prelude::*;
use tempfile::TempDir;

/// A log of some events, a file with a checkpoint of all of them, and one with the key that signed it.
fn signed() -> (TempDir, PathBuf, String, String) {
    let (folder, path) = log_of(12);
    let file = |name: &str, text: String| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let earlier = checkpoint(&path, 5, &[&key(1)]);
    let kept = file("kept.txt", format!("{earlier}\n{}", checkpoint(&path, 12, &[&key(1)])));
    let vkey = file("log.vkey", format!("# the log's\n{}\n", key(1).verifier()));
    (folder, path, kept, vkey)
}

fn verify(path: &Path, args: &[&str]) -> assert_cmd::assert::Assert {
    annals(path).arg("verify").args(args).assert()
}

#[test]
fn a_log_is_held_against_a_checkpoint_and_the_window_after_it_is_named() {
    let (_folder, path, kept, vkey) = signed();
    make(&path, 15, "later");
    let key = key(1).verifier().to_string();
    for key in [vkey.clone(), format!("@{vkey}"), key] {
        verify(&path, &["--checkpoint", &kept, "--key", &key, "--require-anchor"]).success().stdout(
            predicate::str::contains("anchored          yes").and(predicate::str::contains("3 events")),
        );
    }
    verify(&path, &["--from-checkpoint", &kept, "--key", &vkey, "--require-anchor"])
        .success()
        .stdout(predicate::str::contains("whole             no"));
    verify(&path, &["--require-anchor"]).code(1);
    verify(&path, &[]).success();
}

#[test]
fn a_log_that_was_written_anew_is_found_by_a_checkpoint() {
    let (_folder, path, kept, vkey) = signed();
    rewrite(&path, 9);
    verify(&path, &["--log-only"]).success();
    verify(&path, &["--log-only", "--checkpoint", &kept, "--key", &vkey]).code(1).stdout(
        predicate::str::contains("checkpoint-root")
            .and(predicate::str::contains("kept.txt, checkpoint 2"))
            .and(predicate::str::contains("the first 5 events")),
    );
}

#[test]
fn the_answer_in_json_has_every_verdict() {
    let (_folder, path, kept, vkey) = signed();
    let args = ["--json", "verify", "--checkpoint", &kept, "--key", &vkey];
    let out = annals(&path).args(args).assert().success().get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(report["self_consistent"], true);
    assert_eq!(report["anchored"]["anchored_to"], 12);
    assert_eq!(report["anchored"]["events_since"], 0);
    assert_eq!(report["anchored"]["keys"][0]["role"], "stable");
    assert_eq!(report["remembered"]["is_kept"], true);
}

#[test]
fn a_log_that_was_set_back_is_noticed_without_any_key_until_somebody_says_it_is_right() {
    let (folder, path) = log_of(5);
    let older = folder.path().join("older");
    std::fs::copy(&path, &older).unwrap();
    make(&path, 9, "later");
    verify(&path, &[]).success().stdout(predicate::str::contains("remembered        no"));
    verify(&path, &[]).success().stdout(predicate::str::contains("remembered        yes"));
    std::fs::copy(&older, &path).unwrap();
    verify(&path, &["--log-only"])
        .code(1)
        .stdout(predicate::str::contains("remembered-size").and(predicate::str::contains("--reset-memory")));
    verify(&path, &["--no-remember", "--log-only"]).success();
    verify(&path, &["--log-only"]).code(1);
    verify(&path, &["--reset-memory", "--log-only"]).success();
    verify(&path, &["--log-only"]).success();
}

#[test]
fn a_log_that_could_not_be_compared_with_what_was_seen_before_is_not_said_to_be_the_same() {
    let (_folder, path) = log_of(5);
    verify(&path, &[]).success();
    tamper(&path, |connection| {
        connection.execute_batch("UPDATE log SET hash = zeroblob(32) WHERE seq = 3").unwrap();
    });
    let said =
        verify(&path, &[]).code(1).stdout(predicate::str::contains("agreement with earlier verifications"));
    said.stdout(predicate::str::contains("remembered        ?"));
}

#[test]
fn what_is_given_wrongly_is_an_error_that_says_what_to_do() {
    let (folder, path, kept, vkey) = signed();
    let empty = folder.path().join("empty").display().to_string();
    std::fs::write(&empty, "").unwrap();
    let skey = key(1).to_skey().to_string();
    let (unended, ended) = (folder.path().join("unended"), folder.path().join("policy"));
    std::fs::write(&unended, format!("log {}\nquorum none", key(1).verifier())).unwrap();
    std::fs::write(&ended, "quorum none\n").unwrap();
    let (unended, ended) = (unended.display().to_string(), ended.display().to_string());
    for (args, said) in [
        (&["--checkpoint", &kept][..], "--key"),
        (&["--from-checkpoint", &kept], "--key"),
        (&["--key", "nothing"], "neither a public key (vkey) nor a file"),
        (&["--key", &skey], "private key"),
        (&["--key", &empty], "contains no key"),
        (&["--key", &vkey, "--checkpoint", &empty], "empty: line 1"),
        (&["--key", &vkey, "--checkpoint", &vkey], "log.vkey: line 1"),
        (&["--key", &vkey, "--policy", &kept], "kept.txt: line 1"),
        (
            &["--checkpoint", &kept, "--policy", &unended],
            "unended: line 2: the line does not end in a newline",
        ),
        (&["--policy", &ended], "--key"),
        (&["--no-remember", "--reset-memory"], "cannot be used with"),
        (&["--key", "@/dev/zero"], "has more than"),
        (&["--key", &vkey, "--policy", "/dev/zero"], "has more than"),
        (&["--key", &vkey, "--checkpoint", "/dev/zero"], "has more than"),
    ] {
        verify(&path, args).code(2).stderr(predicate::str::contains(said));
    }
}

#[test]
fn a_status_of_1_for_what_was_required_says_what_is_missing() {
    let (_folder, path) = log_of(3);
    verify(&path, &["--require-anchor"])
        .code(1)
        .stdout(predicate::str::contains("exit status 1: --require-anchor"));
    verify(&path, &["--help"]).success().stdout(predicate::str::contains("Exit status: 0"));
}

#[test]
fn what_could_not_be_read_is_not_said_to_have_been_left_out() {
    let (_folder, path, kept, vkey) = signed();
    let mut file = std::fs::read(&path).unwrap();
    file[100..].fill(0xff);
    std::fs::write(&path, file).unwrap();
    verify(&path, &["--checkpoint", &kept, "--key", &vkey]).code(1).stdout(
        predicate::str::contains("the log was compared with nothing outside the file")
            .not()
            .and(predicate::str::contains("not known")),
    );
}
