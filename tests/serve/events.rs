//! `POST /v1/events`: what is answered, and that it is true.

use crate::support::server;
use std::io::Write as _;

use crate::support::server::Served;
use crate::support::{new_path, verify_whole};
use annals::Reader;
use serde_json::{Value, json};

const NOTE: &str = r#"{"type":"note.logged","message":"m"}"#;

fn ids(results: &Value) -> Vec<String> {
    results.as_array().unwrap().iter().map(|result| result["id"].as_str().unwrap().to_owned()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn events_that_were_answered_200_are_in_the_log_in_the_order_sent() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let id = "01920000-0000-7000-8000-000000000001";
    let body = json!([
        {"type": "session.started", "session": "s", "input": "why?", "id": id},
        {"type": "step.started", "session": "s", "step": "1", "module": "plan"},
        {"type": "session.ended", "session": "s", "status": "completed"},
    ]);
    let answer = served.post_json("/v1/events", body.to_string()).expect(200);
    assert_eq!(answer["committed"], 3);
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.iter().map(|result| result["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(results.iter().all(|result| result["outcome"] == "new"));
    assert_eq!(results[0]["id"], id);
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.head().unwrap().hash.to_string(), results[2]["hash"].as_str().unwrap());
    let again = served.post_json("/v1/events", json!([body[0]]).to_string()).expect(200);
    assert_eq!(again["results"][0]["outcome"], "already_recorded");
    assert_eq!(again["results"][0]["seq"], 2);
    drop(reader);
    served.stop();
    verify_whole(&path);
}

#[test]
fn a_bad_event_is_refused_by_itself_and_the_good_ones_are_committed() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let taken = "01920000-0000-7000-8000-000000000001";
    let first = json!({"type": "note.logged", "message": "first", "id": taken});
    served.post_json("/v1/events", first.to_string()).expect(200);
    let body = json!([
        {"type": "note.logged", "message": "good"},
        {"type": "note.logged", "id": "01920000-0000-7000-8000-000000000002"},
        {"type": "no.such"},
        {"type": "log.created"},
        {"type": "note.logged", "message": "another", "id": taken},
        {"type": "note.logged", "message": "x".repeat(5 << 20)},
        {"type": "step.ended", "session": "s", "step": "1", "status": "ok", "confidence": 2},
        7,
    ]);
    let answer = served.post_json("/v1/events", body.to_string());
    assert_eq!(answer.problem(422), "events-refused");
    let answer = answer.json();
    assert_eq!((&answer["committed"], &answer["refused"]), (&json!(1), &json!(7)));
    let results = answer["results"].as_array().unwrap();
    let types: Vec<_> = results
        .iter()
        .map(|result| result["error"]["type"].as_str().map(|kind| kind.rsplit_once(':').unwrap().1))
        .collect();
    assert_eq!(
        types,
        [
            None,
            Some("invalid-event"),
            Some("invalid-event"),
            Some("reserved"),
            Some("conflict"),
            Some("too-large"),
            Some("invalid-event"),
            Some("invalid-event")
        ]
    );
    assert_eq!(results[1]["error"]["field"], "message");
    assert_eq!(results[1]["id"], "01920000-0000-7000-8000-000000000002");
    assert_eq!(results[2]["error"]["field"], "type");
    assert_eq!(results[4]["id"], taken);
    assert_eq!(results[6]["error"]["field"], "confidence");
    assert_eq!(Reader::open(&path).unwrap().head().unwrap().seq.get(), 3);
    served.stop();
}

#[test]
fn lines_are_read_and_a_bad_one_is_named_by_its_number() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let send = |body: &[u8]| {
        served.request("POST", "/v1/events", &[("content-type", "application/x-ndjson; charset=utf-8")], body)
    };
    assert_eq!(send(format!("{NOTE}\r\n\n{NOTE}").as_bytes()).expect(200)["committed"], 2);
    let mut body = format!("{NOTE}\n{{\"type\":\n").into_bytes();
    body.extend_from_slice(b"\xff\n");
    let answer = send(&body);
    assert_eq!(answer.problem(422), "events-refused");
    let answer = answer.json();
    assert_eq!(answer["results"][1]["error"]["line"], 2);
    assert_eq!(answer["results"][2]["error"]["line"], 3);
    assert_eq!(answer["committed"], 1);
}

#[test]
fn bodies_may_be_compressed() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let body = format!("[{}]", vec![NOTE; 1_000].join(","));
    let zstd = zstd::encode_all(body.as_bytes(), 3).unwrap();
    for (encoding, bytes) in [("gzip", gzip(body.as_bytes())), ("zstd", zstd)] {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        let answer = served.request("POST", "/v1/events", &headers, &bytes).expect(200);
        assert_eq!(answer["committed"], 1_000);
        assert_eq!(ids(&answer["results"]).len(), 1_000);
        assert_eq!(served.request("POST", "/v1/events", &headers, b"[]").problem(400), "bad-encoding");
    }
    let headers = [("content-type", "application/json"), ("content-encoding", "br")];
    let answer = served.request("POST", "/v1/events", &headers, b"[]");
    assert_eq!(answer.problem(415), "unsupported-media-type");
}

#[test]
fn a_body_without_a_length_is_read() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    let mut stream = served.connect();
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for part in ["[", NOTE, ",", NOTE, "]"] {
        stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(server::answer(&mut stream).unwrap().expect(200)["committed"], 2);
}

#[test]
fn who_waits_for_it_can_read_what_was_sent() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    for number in 0..20 {
        let body = json!({"type": "session.started", "session": format!("s-{number}")}).to_string();
        let answer = served.post_json("/v1/events?wait=visible", body).expect(200);
        assert_eq!(answer["visible"], true);
        assert!(Reader::open(&path).unwrap().session(&format!("s-{number}")).unwrap().is_some());
    }
}

#[test]
fn what_is_no_json_is_refused_as_a_whole() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    for body in ["", "nonsense", "[", &format!("[{NOTE},"), "7", "\"\\ud800\""] {
        assert_eq!(served.post_json("/v1/events", body).problem(400), "not-json", "{body}");
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(served.request("POST", "/v1/events", &form, b"a=b").problem(415), "unsupported-media-type");
    assert_eq!(served.request("POST", "/v1/events", &[], b"[]").problem(415), "unsupported-media-type");
    assert_eq!(served.post_json("/v1/events?wiat=visible", "[]").problem(400), "bad-request");
    assert_eq!(served.post_json("/v1/events?wait=forever", "[]").problem(400), "bad-request");
    assert_eq!(served.post_json("/v1/events", "[]").expect(200), json!({"committed": 0, "results": []}));
    assert_eq!(Reader::open(&path).unwrap().head().unwrap().seq.get(), 1);
}

#[test]
fn too_many_events_or_bytes_are_refused_as_a_whole() {
    let (_folder, path) = new_path();
    let served = Served::start_with(&path, &["--max-body", "1"]);
    let many = format!("[{}]", vec!["0"; 20_000].join(","));
    assert_eq!(served.post_json("/v1/events", many).problem(413), "too-large");
    assert_eq!(served.post_json("/v1/events", vec![b' '; (1 << 20) + 1]).problem(413), "too-large");
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(served.request("POST", "/v1/events", &headers, &bomb).problem(413), "too-large");
    assert_eq!(Reader::open(&path).unwrap().head().unwrap().seq.get(), 1);
}

#[test]
fn a_number_that_readers_cannot_follow_is_refused_and_named() {
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    for (number, place) in [("9".repeat(3_000_000), "shard"), ("1e99999999".to_owned(), "shard")] {
        let body = format!(
            r#"[{{"type":"note.logged","message":"m","shard":{number}}},{{"type":"note.logged","message":"n"}}]"#
        );
        let answer = served.post_json("/v1/events", body).expect(422);
        let said = answer["results"][0]["error"].to_string();
        assert!(said.contains(place) && said.contains("write it as a string"), "{said}");
        assert!(answer["results"][1]["error"].is_null(), "the other is committed");
    }
}
