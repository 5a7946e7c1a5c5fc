//! `annals apikey`, as a person and a script use it.

#![allow(clippy::string_slice, reason = "a test that cannot go on fails")]

use crate::support::program::Log;
use annals::apikey::{ApiKey, Denied, Keys};
use annals::{ApiKeyScope, Timestamp};
use predicates::prelude::*;

fn create(log: &Log, name: &str, more: &[&str]) -> ApiKey {
    let out = log.out(&[&["apikey", "create", "--name", name, "--scopes", "emit,read"], more].concat());
    out.trim_end().parse().unwrap_or_else(|error| panic!("{out:?}: {error}"))
}

#[test]
fn standard_output_is_the_key_alone_and_the_rest_is_said_beside_it() {
    // The first command that appends makes the log.
    let log = Log::new();
    let created = log
        .annals(&["apikey", "create", "--name", "pipeline", "--scopes", "emit", "--expires", "90d"])
        .assert()
        .success()
        .stderr(
            predicate::str::contains("the only copy").and(predicate::str::contains("emit and expires at")),
        );
    let out = String::from_utf8(created.get_output().stdout.clone()).unwrap();
    let key: ApiKey = out.strip_suffix('\n').unwrap().parse().unwrap();
    assert!(!String::from_utf8_lossy(&created.get_output().stderr).contains(&key.reveal()[40..]));
    let keys = Keys::open(&log.path()).unwrap();
    let allowed = keys.check(&key.reveal(), Timestamp::now()).unwrap();
    assert_eq!(allowed.scopes, [ApiKeyScope::Emit]);
    let later = Timestamp::from_micros(Timestamp::now().micros() + 91 * 86_400_000_000);
    assert!(matches!(keys.check(&key.reveal(), later), Err(Denied::Expired { .. })));
    // The secret is nowhere in the file.
    let file = std::fs::read(log.path()).unwrap();
    let secret = key.reveal();
    assert!(!file.windows(43).any(|window| window == &secret.as_bytes()[40..]));
}

#[test]
fn in_json_the_answer_has_everything() {
    let log = Log::new();
    let created = log.json(&[
        "apikey",
        "create",
        "--name",
        "audit",
        "--scopes",
        "read",
        "--scopes",
        "verify",
        "--expires",
        "2999-01-31",
    ]);
    let key: ApiKey = created["key"].as_str().unwrap().parse().unwrap();
    assert_eq!(created["id"], key.id().to_string());
    assert_eq!(created["scopes"], serde_json::json!(["read", "verify"]));
    assert_eq!(created["expires_at"], "2999-01-31T00:00:00.000000Z");
    let listed = log.json(&["apikey", "list"]);
    assert_eq!(listed[0]["id"], created["id"]);
    assert_eq!(listed[0]["created_by"], "tester");
    assert_eq!(listed[0]["status"], "active");
    assert!(listed[0].get("secret_hash").is_none() && listed[0]["last_used_at"].is_null());
    let revoked = log.json(&["apikey", "revoke", "audit"]);
    assert_eq!(revoked["id"], created["id"]);
}

#[test]
fn what_cannot_be_a_key_is_refused() {
    let log = Log::new();
    for args in [
        &["--name", "x", "--scopes", "everything"][..],
        &["--name", "x"],
        &["--scopes", "emit"],
        &["--name", "", "--scopes", "emit"],
        &["--name", "x", "--scopes", "emit", "--expires", "2001-01-01"],
        &["--name", "x", "--scopes", "emit", "--expires", "soon"],
    ] {
        log.annals(&[&["apikey", "create"], args].concat()).assert().code(2).stdout("");
    }
}

#[test]
fn keys_are_listed_newest_first_and_those_that_are_good_for_nothing_on_demand() {
    let log = Log::new();
    log.annals(&["record"]).write_stdin("").assert().success();
    log.annals(&["apikey", "list"]).assert().success().stdout("").stderr(predicate::str::contains("no key"));
    let first = create(&log, "first", &[]);
    create(&log, "second", &["--reason", "ticket 9"]);
    log.out(&["apikey", "revoke", "first", "--reason", "it leaked"]);

    let listed = log.annals(&["apikey", "list"]).assert().success();
    let listed = listed.stderr(predicate::str::contains("not listed (1)")).get_output().stdout.clone();
    let listed = String::from_utf8(listed).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(
        listed.contains("second") && listed.contains("emit,read") && listed.contains("active"),
        "{listed}"
    );

    let all = log.out(&["apikey", "list", "--all"]);
    let lines: Vec<&str> = all.lines().collect();
    assert!(
        lines[1].contains("second") && lines[2].contains("first") && lines[2].contains("revoked"),
        "{all}"
    );
    assert!(lines[2].starts_with(&first.id().to_string()[..13]), "{all}");
    assert_eq!(log.json(&["apikey", "list", "--all"])[1]["revoked"]["reason"], "it leaked");
    assert_eq!(log.number("SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL"), 1);
}

#[test]
fn a_key_is_revoked_by_its_id_the_beginning_of_that_or_its_name() {
    let log = Log::new();
    let mut keys: Vec<ApiKey> = ["a", "b", "twice"].map(|name| create(&log, name, &[])).into();
    let id = keys[0].id().to_string();
    log.annals(&["apikey", "revoke", &id[..20]]).assert().success().stdout(predicate::str::contains(&id));
    log.annals(&["apikey", "revoke", &id.replace('-', "")])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("revoked already").and(predicate::str::contains("by tester")));
    log.annals(&["apikey", "revoke", "b"]).assert().success();
    log.annals(&["apikey", "revoke", "b"]).assert().code(2);
    log.annals(&["apikey", "create", "--name", "twice", "--scopes", "read"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains(keys[2].id().to_string()));
    log.out(&["apikey", "revoke", &keys[2].id().to_string()]);
    keys.push(create(&log, "twice", &[]));
    // Of two with that name it is the living one.
    log.annals(&["apikey", "revoke", "twice"])
        .assert()
        .success()
        .stdout(predicate::str::contains(keys[3].id().to_string()));
    log.annals(&["apikey", "revoke", "nobody"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("list --all"));
    log.annals(&["apikey", "revoke", ""]).assert().code(2);
    log.annals(&["verify"]).assert().success();
}

#[test]
fn the_log_says_who_created_and_revoked_which_key() {
    let log = Log::new();
    create(&log, "pipeline", &["--actor", "ann"]);
    log.out(&["apikey", "revoke", "pipeline", "--actor", "bob", "--reason", "it leaked"]);
    let tail = log.out(&["tail"]);
    let lines: Vec<&str> = tail.lines().collect();
    assert!(lines[1].contains("apikey.created") && lines[1].contains("pipeline emit,read ann"), "{tail}");
    assert!(lines[2].contains("apikey.revoked") && lines[2].contains("bob it leaked"), "{tail}");
}
