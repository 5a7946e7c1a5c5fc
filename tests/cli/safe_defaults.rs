//! What is refused, or left out, until somebody says otherwise.

#![cfg(feature = "server")]

use crate::support;
use std::path::Path;
use std::time::Duration;

use crate::support::server::Served;
use crate::support::{new_path, note};
use annals::{AppendError, AuditLog, RedactionRequest, Seq};
use assert_cmd::Command;
use serde_json::json;
use tower::ServiceExt as _;

fn annals(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.arg("--db").arg(path).env("USER", "tester").timeout(Duration::from_secs(60));
    command
}

#[test]
fn other_machines_are_served_over_tls_or_on_request() {
    let (_folder, path) = new_path();
    annals(&path).args(["apikey", "create", "--name", "k", "--scopes", "read"]).assert().success();
    for arguments in
        [&["--listen", "0.0.0.0:0"][..], &["--grpc", "[::]:0"], &["--listen", "0.0.0.0:0", "--no-auth"]]
    {
        let refused = annals(&path).arg("serve").args(arguments).assert().code(2);
        let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(said.contains("--tls-cert") && said.contains("--insecure"), "{said}");
    }
    let safe = Served::start(&path);
    assert_eq!(safe.get("/readyz").expect(200), json!({ "status": "ok" }));
    safe.stop();
    let served = Served::start_with(&path, &["--listen", "0.0.0.0:0", "--insecure", "--no-auth"]);
    let warnings = &served.get("/readyz").expect(200)["warnings"];
    assert!(warnings[0].as_str().unwrap().contains("without TLS"), "{warnings}");
    assert!(served.get("/metrics").text().contains("annals_insecure_settings 1"));
    let said = served.stop();
    assert!(said.contains("without TLS"), "{said}");
}

#[test]
fn a_hangup_stops_a_server_as_a_wish_to_end_does() {
    let (_folder, path) = new_path();
    let mut served = Served::start(&path);
    served.post_json("/v1/events", r#"{"type":"note.logged","message":"m"}"#).expect(200);
    served.signal("HUP");
    assert!(served.wait().success());
}

/// Asks over HTTP/2, as a page would whose site has this name.
async fn status_over_http2(served: &Served, authority: &str, path: &str, grpc: bool) -> (u16, String) {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", served.address)).unwrap();
    let channel = endpoint.origin(format!("http://{authority}").parse().unwrap()).connect().await.unwrap();
    let mut request = axum::http::Request::new(tonic::body::Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    if grpc {
        *request.method_mut() = axum::http::Method::POST;
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    }
    let answer = channel.oneshot(request).await.unwrap();
    let status = answer.headers().get("grpc-status").map_or("", |status| status.to_str().unwrap());
    (answer.status().as_u16(), status.to_owned())
}

#[test]
fn over_http2_and_grpc_the_authority_is_checked_as_the_host_is() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let own = served.address.to_string();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        assert_eq!(status_over_http2(&served, &own, "/v1/log", false).await.0, 200);
        assert_eq!(status_over_http2(&served, "localhost:4318", "/v1/log", false).await.0, 200);
        assert_eq!(status_over_http2(&served, "evil.example:4318", "/v1/log", false).await.0, 403);
        // 7 is PERMISSION_DENIED; an empty body of one's own is wrong in another way.
        assert_eq!(status_over_http2(&served, "evil.example:4318", export, true).await.1, "7");
        assert_ne!(status_over_http2(&served, &own, export, true).await.1, "7");
    });
}

#[test]
fn where_the_servers_files_lie_is_not_told() {
    let (folder, path) = new_path();
    let served = Served::start(&path);
    served.post_json("/v1/events", r#"{"type":"note.logged","message":"m"}"#).expect(200);
    let broken =
        "INSERT INTO anchors (name, failed_since, error) VALUES ('far', 0, '/home/ann/key: is gone')";
    support::sqlite(&path).execute(broken, []).unwrap();
    let info = served.get("/v1/log").expect(200);
    assert!(info.get("path").is_none());
    assert_eq!(info["evidence"]["anchors"][0]["name"], "far");
    let text = info.to_string();
    assert!(!text.contains(folder.path().to_str().unwrap()) && !text.contains("/home/ann"), "{text}");
    std::fs::rename(&path, folder.path().join("elsewhere.db")).unwrap();
    served.post_json("/v1/events", r#"{"type":"note.logged","message":"m"}"#).problem(503);
    let told = served.get("/readyz");
    assert_eq!(told.problem(503), "unavailable");
    assert!(!told.text().contains(folder.path().to_str().unwrap()), "{}", told.text());
}

#[test]
fn nothing_is_erased_without_somebody_and_a_reason() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    log.append(note("secret")).unwrap().wait().unwrap();
    for (actor, reason) in [("", "asked for"), ("ann", ""), (" ", "asked for"), ("ann", "\t\n")] {
        let refused = log
            .redact(RedactionRequest {
                seqs: vec![Seq::new(2)],
                actor: actor.to_owned(),
                reason: reason.to_owned(),
                ..Default::default()
            })
            .unwrap_err();
        assert!(matches!(refused, AppendError::Unfit(_)), "{refused}");
        assert!(refused.to_string().contains("is empty"), "{refused}");
    }
    log.close().unwrap();
    for (actor, reason) in [(" ", "asked for"), ("ann", " "), ("ann", "")] {
        annals(&path).args(["redact", "2", "--yes", "--actor", actor, "--reason", reason]).assert().code(2);
    }
    annals(&path).args(["redact", "2", "--yes", "--actor", "ann"]).assert().code(2);
    let served = Served::start(&path);
    for body in [
        json!({"seqs": [2], "actor": "ann", "reason": ""}),
        json!({"seqs": [2], "actor": " ", "reason": "asked for"}),
        json!({"seqs": [2], "reason": "asked for"}),
        json!({"seqs": [2], "actor": "ann"}),
    ] {
        let status = served.post_json("/v1/redactions", body.to_string()).status;
        assert!((400..500).contains(&status), "{body}: {status}");
    }
    served.stop();
    let erased: i64 = support::sqlite(&path)
        .query_row("SELECT count(*) FROM log WHERE payload IS NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(erased, 0);
}
