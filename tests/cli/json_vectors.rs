//! What JSON parsers must take, must refuse, and may do either with, as nst/JSONTestSuite has it: through every
//! door by which Annals takes JSON from others.

use crate::support::new_path;
use crate::support::published::published_files;
use crate::support::server::Served;
use annals::otlp::{self, Attempt, Bounds, Form, Signal};
use annals::parse_draft;
use assert_cmd::Command;
use serde_json::Value;

/// What the suite says of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Taken,
    Refused,
    /// Nothing but that no reader panics.
    Either,
}

/// The texts of the suite, with their names.
fn suite() -> Option<Vec<(String, Wanted, Vec<u8>)>> {
    let files = published_files("json-parsing/test_parsing")?;
    assert_eq!(files.len(), 318);
    let read = files.into_iter().map(|file| {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let wanted = match name.as_bytes()[0] {
            b'y' => Wanted::Taken,
            b'n' => Wanted::Refused,
            _ => Wanted::Either,
        };
        (name, wanted, std::fs::read(&file).unwrap())
    });
    Some(read.collect())
}

/// A text between others.
fn within(before: &str, text: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), text, after.as_bytes()].concat()
}

const EVENT: [&str; 2] = [r#"{"type":"custom","name":"suite","data":"#, "}"];

#[track_caller]
fn assert_judged(name: &str, wanted: Wanted, is_taken: bool) {
    match wanted {
        Wanted::Taken => assert!(is_taken, "{name} was refused"),
        Wanted::Refused => assert!(!is_taken, "{name} was taken"),
        Wanted::Either => {}
    }
}

#[test]
fn free_form_json_of_an_event_is_judged_as_the_suite_says() {
    let Some(suite) = suite() else { return };
    for (name, wanted, text) in suite {
        // What is no text is refused before it is parsed.
        let Ok(event) = String::from_utf8(within(EVENT[0], &text, EVENT[1])) else { continue };
        assert_judged(&name, wanted, parse_draft(&event).is_ok());
        // A whole event it never is.
        assert!(String::from_utf8(text).is_ok_and(|text| parse_draft(&text).is_err()), "{name}");
    }
}

#[test]
fn attributes_of_a_span_and_bodies_of_otlp_are_judged_as_the_suite_says() {
    let Some(suite) = suite() else { return };
    let before = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"chat","attributes":"#;
    let read = |body: &[u8]| {
        otlp::read(body, Signal::Traces, Form::Json, Bounds::default(), Attempt::default())
            .is_ok_and(|request| request.rejected.is_empty())
    };
    for (name, wanted, text) in suite {
        assert_judged(&name, wanted, read(&within(before, &text, "}]}]}]}")));
        if wanted == Wanted::Refused {
            assert!(!read(&text), "{name} is no request");
        }
    }
}

#[test]
fn bodies_of_requests_are_judged_as_the_suite_says_and_none_ends_the_server() {
    let Some(suite) = suite() else { return };
    let (_folder, path) = new_path();
    let served = Served::start(&path);
    for (name, wanted, text) in suite {
        let body = within("[", &within(EVENT[0], &text, EVENT[1]), "]");
        let answer = served.post_json("/v1/events", &body);
        assert!(answer.status < 500, "{name}: {} {}", answer.status, answer.text());
        assert_judged(&name, wanted, answer.status == 200);
        // As a whole body it is refused, or holds no event that can be recorded.
        for target in ["/v1/events", "/v1/traces", "/v1/logs", "/v1/verification"] {
            let status = served.post_json(target, &text).status;
            assert!(status < 500, "{name} to {target}: {status}");
            if wanted == Wanted::Refused && !text.trim_ascii().is_empty() {
                assert!((400..500).contains(&status), "{name} to {target}: {status}");
            }
        }
    }
    assert_eq!(served.get("/healthz").status, 200);
    served.stop();
}

#[test]
fn lines_that_record_takes_and_leaves_out_are_those_that_the_suite_says() {
    let Some(suite) = suite() else { return };
    // A line has no newline within it.
    let suite: Vec<_> = suite.into_iter().filter(|(_, _, text)| !text.contains(&b'\n')).collect();
    let (_folder, path) = new_path();
    let lines: Vec<u8> =
        suite.iter().flat_map(|(_, _, text)| within("", &within(EVENT[0], text, EVENT[1]), "\n")).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_annals"))
        .arg("--db")
        .arg(&path)
        .args(["record", "--skip-bad"])
        .write_stdin(lines)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let is_refused = |number: usize| said.contains(&format!("line {number}:"));
    for ((name, wanted, _), number) in suite.iter().zip(1..) {
        assert_judged(name, *wanted, !is_refused(number));
    }
}

#[test]
fn the_json_of_an_event_that_was_taken_is_kept_as_it_was() {
    let Some(suite) = suite() else { return };
    for (name, wanted, text) in suite {
        if wanted != Wanted::Taken {
            continue;
        }
        let event = String::from_utf8(within(EVENT[0], &text, EVENT[1])).unwrap();
        let annals::Event::Custom(custom) = parse_draft(&event).unwrap().event else { panic!("{name}") };
        // `null` says no more than a field that is absent.
        let kept = custom.data.map_or(Value::Null, |data| serde_json::from_str(data.as_str()).unwrap());
        assert_eq!(kept, serde_json::from_slice::<Value>(&text).unwrap(), "{name}");
    }
}
