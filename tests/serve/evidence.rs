//! Verification, checkpoints, proofs, tiles and administration over HTTP.

use std::path::Path;

use crate::support::server::Served;
use crate::support::{new_path, verify_whole};
use assert_cmd::Command;
use serde_json::json;

/// A server that signs, of a log with 300 events, and the folder of its keys.
fn signing(path: &Path, home: &Path) -> (Served, String) {
    let annals = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        let output = command.arg("--db").arg(path).args(arguments).env("ANNALS_HOME", home).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    annals(&["init", "--origin", "example.com/audit/served"]);
    annals(&["key", "generate"]);
    let vkey = annals(&["key", "show"]).lines().find(|line| line.contains("+")).unwrap().trim().to_owned();
    let served = Served::start_in(path, &[], &[("ANNALS_HOME", home.to_str().unwrap())]);
    let events = vec![json!({"type": "note.logged", "session": "s", "message": "m"}); 300];
    served.post_json("/v1/events?wait=visible", json!(events).to_string()).expect(200);
    (served, vkey)
}

fn verify_proof(proof: &str, vkey: &str, folder: &Path) {
    let file = folder.join("proof");
    std::fs::write(&file, proof).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.args(["verify-proof", "--key", vkey]).arg(&file).assert().success();
}

#[test]
fn a_log_is_verified_by_a_request() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    served.post_json("/v1/events?wait=visible", r#"{"type":"note.logged","message":"m"}"#).expect(200);
    let report = served.request("POST", "/v1/verification", &[], b"").expect(200);
    assert_eq!(report["self_consistent"], true);
    assert_eq!(
        served.post_json("/v1/verification", r#"{"log_only":true}"#).expect(200)["self_consistent"],
        true
    );
    assert_eq!(served.post_json("/v1/verification", "[").problem(400), "bad-request");
    assert_eq!(served.post_json("/v1/verification", r#"{"keys":["x"]}"#).problem(422), "invalid-value");
    assert_eq!(served.get("/v1/checkpoint").problem(404), "not-found");
    assert_eq!(served.get("/v1/proofs/events/1").problem(404), "not-found");
    let unsigned = served.request("POST", "/v1/checkpoint", &[], b"");
    assert_eq!(unsigned.problem(409), "not-possible");
}

#[test]
fn checkpoints_and_proofs_are_those_that_the_command_checks() {
    let (folder, path) = new_path();
    let (served, vkey) = signing(&path, &folder.path().join("home"));
    let signed = served.request("POST", "/v1/checkpoint", &[], b"");
    assert_eq!(signed.status, 200, "{}", signed.text());
    assert!(signed.text().starts_with("example.com/audit/served\n303\n"), "{}", signed.text());
    assert_eq!(served.get("/v1/checkpoint").text(), signed.text());
    assert_eq!(served.get("/checkpoint").text(), signed.text());
    for target in ["/v1/proofs/events/7", "/v1/proofs/sessions/s", "/v1/proofs/sessions/s?complete=true"] {
        let proof = served.get(target);
        assert_eq!(proof.status, 200, "{}", proof.text());
        verify_proof(proof.text(), &vkey, folder.path());
    }
    let old = signed.text().to_owned();
    served.post_json("/v1/events", r#"{"type":"note.logged","message":"m"}"#).expect(200);
    served.request("POST", "/v1/checkpoint", &[], b"");
    let proof = served.get("/v1/proofs/consistency?from=303");
    assert_eq!(proof.status, 200, "{}", proof.text());
    assert_eq!(served.get("/v1/proofs/consistency?from=400").problem(400), "bad-request");
    let without = served.get("/v1/proofs/consistency");
    assert_eq!(without.problem(400), "bad-request");
    assert!(without.text().contains("missing field `from`"), "{}", without.text());
    assert_eq!(served.get("/v1/proofs/events/400").problem(404), "not-found");
    let body = json!({"keys": [vkey], "checkpoints": [old]}).to_string();
    let report = served.post_json("/v1/verification", body).expect(200);
    assert_eq!(report["anchored"]["anchored_to"], 303, "{report}");
}

#[test]
fn the_tree_is_served_as_the_files_that_are_published() {
    let (folder, path) = new_path();
    let (served, _) = signing(&path, &folder.path().join("home"));
    served.request("POST", "/v1/checkpoint", &[], b"");
    let site = folder.path().join("site");
    let mut publish = Command::new(env!("CARGO_BIN_EXE_annals"));
    publish.arg("--db").arg(&path).arg("tiles").arg(&site).assert().success();
    for name in [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/47",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/47",
    ] {
        let answer = served.get(&format!("/{name}"));
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.body == std::fs::read(site.join(name)).unwrap(), "{name}");
    }
    assert!(served.get("/tile/0/000").header("cache-control").unwrap().contains("immutable"));
    for name in [
        "0/001",
        "0/001.p/48",
        "0/1",
        "0/000.p/0",
        "0/000.p/256",
        "2/000.p/1",
        "64/000.p/1",
        "x/000",
        "entries/x001/000",
        "0/../0/000",
    ] {
        assert_eq!(served.get(&format!("/tile/{name}")).problem(404), "not-found", "{name}");
    }
}

#[test]
fn what_is_erased_by_a_request_is_gone_and_on_record() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    served.post_json("/v1/events?wait=visible", r#"{"type":"note.logged","message":"a secret"}"#).expect(200);
    let body = r#"{"seqs":[2],"reason":"asked for","actor":"officer"}"#;
    let done = served.post_json("/v1/redactions", body).expect(200);
    assert_eq!(done["seq"], 4);
    assert_eq!(served.get("/v1/events/2").expect(200)["redacted"], true);
    assert_eq!(served.get("/v1/events/4").expect(200)["actor"], "officer");
    assert_eq!(
        served.post_json("/v1/redactions", r#"{"seqs":[2],"reason":"r"}"#).problem(400),
        "bad-request"
    );
    let missing = served.post_json("/v1/redactions", r#"{"seqs":[99],"reason":"r","actor":"a"}"#);
    assert_eq!(missing.problem(422), "not-redactable");
    served.stop();
    verify_whole(&path);
}

#[test]
fn projections_are_looked_after() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let post = |target: &str, body: &str| served.post_json(target, body);
    assert_eq!(post("/v1/projections/sessions/rebuild", "").expect(200)["projection"], "sessions");
    assert_eq!(post("/v1/projections/none/rebuild", "").problem(404), "not-found");
    assert_eq!(post("/v1/projections/sessions/retry", "").problem(409), "not-possible");
    let skip = r#"{"reason":"r","actor":"a"}"#;
    assert_eq!(post("/v1/projections/sessions/skip", skip).problem(409), "not-possible");
}
