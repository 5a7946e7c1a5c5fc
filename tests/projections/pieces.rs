//! Texts of spans are put together of what was received, and stand in the file once.

use annals::RedactionRequest;
use std::path::Path;
use std::process::Command;

use annals::AuditLog;
use serde_json::{Value, json};

use crate::support::{json as draft, new_path, rows_of, sqlite, verify_whole};

/// A message that is long enough to stay in the log.
fn said(what: &str) -> String {
    format!("{what} — „quoted“, \"quoted\", C:\\new, a/b,\n\tindented \u{1f642} 漢字 \u{2028}, and so on. ")
        .repeat(6)
}

fn message(role: &str, text: &str) -> Value {
    json!({"role": role, "parts": [{"type": "text", "content": text}]})
}

fn span(id: u32, attributes: &[(&str, String)]) -> String {
    let attributes: Vec<Value> =
        attributes.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
    let span = json!({
        "traceId": "0123456789abcdef0123456789abcdef", "spanId": format!("{id:016x}"), "name": "chat m",
        "startTimeUnixNano": "1795176000000000000", "endTimeUnixNano": "1795176000500000000",
        "attributes": attributes, "status": {},
    });
    json!({"type": "otel.span", "session": "otel-0123456789abcdef0123456789abcdef", "span": span}).to_string()
}

/// A span of a chat with a history.
fn chat(id: u32, history: &[Value], answer: &str) -> String {
    span(
        id,
        &[
            ("gen_ai.operation.name", "chat".to_owned()),
            ("gen_ai.input.messages", Value::from(history).to_string()),
            ("gen_ai.output.messages", json!([message("assistant", answer)]).to_string()),
        ],
    )
}

/// What plain SQLite reads, of whatever version is installed.
fn shell(path: &Path, query: &str) -> String {
    let output = Command::new("sqlite3").arg(path).arg(query).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
}

fn count_in_file(path: &Path, text: &str) -> usize {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}

#[test]
fn a_history_is_read_whole_and_stands_in_the_file_once() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let messages =
        [said("the system says"), said("the user asks"), said("the answer was"), said("asked again")];
    let history: Vec<Value> = ["system", "user", "assistant", "user"]
        .iter()
        .zip(&messages)
        .map(|(role, text)| message(role, text))
        .collect();
    drop(log.append(draft(&chat(1, &history, &said("the answer is")))).unwrap());
    // Attributes in the order of their names, and the text in another.
    let flattened = [
        ("llm.input_messages.0.message.content", said("first")),
        ("llm.input_messages.0.message.role", "user".to_owned()),
        ("llm.input_messages.1.message.content", said("second")),
        ("llm.input_messages.1.message.role", "assistant".to_owned()),
        ("openinference.span.kind", "LLM".to_owned()),
    ];
    let reversed: Vec<(&str, String)> = flattened.into_iter().rev().collect();
    drop(log.append(draft(&span(2, &reversed))).unwrap());
    log.close().unwrap();

    let [system, user, assistant, again] = messages;
    let inputs = [
        format!("system: {system}\n\nuser: {user}\n\nassistant: {assistant}\n\nuser: {again}"),
        format!("user: {}\n\nassistant: {}", said("first"), said("second")),
    ];
    let texts = |query: &str| rows_of(&sqlite(&path), query);
    assert_eq!(texts("SELECT input FROM steps ORDER BY first_seq"), inputs);
    assert_eq!(shell(&path, "SELECT input FROM steps ORDER BY first_seq LIMIT 1"), inputs[0]);
    assert_eq!(shell(&path, "SELECT output FROM steps ORDER BY first_seq LIMIT 1"), said("the answer is"));
    assert_eq!(
        texts("SELECT input_summary FROM steps ORDER BY first_seq"),
        inputs.map(|input| input.chars().take(200).collect::<String>()),
    );
    assert_eq!(texts("SELECT count(*) FROM annals_steps WHERE input_pieces IS NULL"), ["0"]);
    // As often as the payload repeats it, and in the summaries its beginning once.
    for once in ["the user asks", "the answer was", "asked again"] {
        assert_eq!(count_in_file(&path, once), 6, "{once}");
    }
    verify_whole(&path);
}

#[test]
fn what_is_erased_is_gone_from_texts_that_were_put_together_of_it() {
    let (_folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    let history = [message("user", &said("kept question")), message("assistant", &said("kept answer"))];
    drop(log.append(draft(&chat(1, &history, "well"))).unwrap());
    let history = [message("user", &said("secretquestion")), message("assistant", &said("secretanswer"))];
    let secret = log.append(draft(&chat(2, &history, "well"))).unwrap().wait().unwrap().seq;
    log.flush().unwrap();
    log.redact(RedactionRequest {
        seqs: vec![secret],
        actor: "somebody".into(),
        reason: "a request".into(),
        ..Default::default()
    })
    .unwrap();
    log.close().unwrap();
    let inputs = rows_of(&sqlite(&path), "SELECT input FROM steps WHERE input IS NOT NULL");
    assert_eq!(inputs, [format!("user: {}\n\nassistant: {}", said("kept question"), said("kept answer"))]);
    assert_eq!((count_in_file(&path, "secretquestion"), count_in_file(&path, "secretanswer")), (0, 0));
    verify_whole(&path);
}
