//! `annals record --map`, and the examples of docs/mapping.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::program::Log;
use predicates::prelude::*;
use predicates::str::contains;

const MAP: &str = r#"
    [[event]]
    type = "note.logged"
    fields.at = { path = "$.ts", time = "s" }
    fields.message = "$.text"
"#;

/// The blocks of a page that have a name, such as ```json chat.jsonl.
pub(crate) fn blocks(page: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)).unwrap();
    let mut blocks = BTreeMap::new();
    for block in text.split("\n```").skip(1).step_by(2) {
        let (info, content) = block.split_once('\n').unwrap();
        if let Some((_, name)) = info.split_once(' ') {
            assert!(
                blocks.insert(name.to_owned(), format!("{content}\n")).is_none(),
                "{name} is there twice"
            );
        }
    }
    blocks
}

/// The events of a log, as `export` has them without ids, and without those that Annals wrote.
fn events(log: &Log) -> String {
    let lines = log.out(&["export"]);
    let lines = lines.lines().filter(|line| !line.contains("\"log.created\"")).map(|line| {
        let (before, after) = line.split_once("\"id\":\"").unwrap();
        let (_, after) = after.split_once("\",").unwrap();
        format!("{before}{after}\n")
    });
    lines.collect()
}

fn log_with_files(files: &[(&str, &str)]) -> Log {
    let log = Log::new();
    for (name, content) in files {
        fs::write(log.file(name), content).unwrap();
    }
    log
}

#[test]
fn the_examples_of_the_page_make_the_events_that_it_shows() {
    let blocks = blocks("mapping.md");
    for name in ["audit", "chat"] {
        let log = log_with_files(&[
            ("map.toml", &blocks[&format!("{name}.toml")]),
            (&format!("{name}.jsonl"), &blocks[&format!("{name}.jsonl")]),
        ]);
        let map = log.file("map.toml");
        let lines = log.file(&format!("{name}.jsonl"));
        let record = ["record", "--map", map.to_str().unwrap(), lines.to_str().unwrap()];
        let expected = &blocks[&format!("{name}.events")];
        let count = expected.lines().count();
        assert_eq!(log.out(&record), format!("{count} events recorded\n"));
        assert_eq!(events(&log), *expected);
        assert_eq!(log.out(&record), format!("0 events recorded, {count} already recorded\n"));
    }
}

#[test]
fn lines_that_were_added_later_are_added() {
    let log = log_with_files(&[("map.toml", MAP), ("chat.jsonl", "{\"ts\": 1, \"text\": \"a\"}\n")]);
    let (map, lines) = (log.file("map.toml"), log.file("chat.jsonl"));
    let record = ["record", "--map", map.to_str().unwrap(), lines.to_str().unwrap()];
    assert_eq!(log.out(&record), "1 event recorded\n");
    fs::write(&lines, "{\"ts\": 1, \"text\": \"a\"}\n\n{\"ts\": 2.5, \"text\": \"b\"}\n").unwrap();
    assert_eq!(log.out(&record), "1 event recorded, 1 already recorded\n");
    // The same lines from another source are other events.
    assert_eq!(log.out(&[&record[..], &["--source", "other"]].concat()), "2 events recorded\n");
}

#[test]
fn a_map_with_a_fault_is_refused_and_makes_no_log() {
    for (map, error) in [
        ("[[event]]\ntype = \"note\"", "`note` is not a type of event"),
        ("[[event]\n", "TOML parse error at line 1"),
        (
            "[[query]]\nname = \"q\"\nsql = \"\"\n[[event]]\ntype=\"custom\"\nquery=\"q\"\nfields.name=\"$.n\"",
            "use it with `annals import sqlite`",
        ),
    ] {
        let log = log_with_files(&[("map.toml", map)]);
        log.annals(&["record", "--map", log.file("map.toml").to_str().unwrap(), "no-such-file"])
            .assert()
            .code(2)
            .stderr(contains(error));
        assert!(!log.path().exists());
    }
}

#[test]
fn a_bad_record_is_named_by_line_event_and_field() {
    let log = log_with_files(&[("map.toml", MAP)]);
    let map = log.file("map.toml");
    let map = map.to_str().unwrap();
    let lines = "{\"ts\": 1, \"text\": \"a\"}\n{\"ts\": \"x\", \"text\": \"b\"}\n[]\n{\"ts\": 2}\n{\"ts\": 3, \"text\": \"c\"}\n";
    log.annals(&["record", "--map", map]).write_stdin(lines).assert().code(2).stderr(contains("--source"));
    let args = ["record", "--map", map, "--source", "s"];
    log.annals(&[&args[..], &["--check"]].concat())
        .write_stdin(lines)
        .assert()
        .code(1)
        .stdout("2 events good, 3 bad; nothing was recorded\n")
        .stderr(
            contains("line 2: event `note.logged`: field `at`, from `$.ts`: `x` is not a number of seconds")
                .and(contains("line 3: not a JSON object"))
                .and(contains(
                    "line 4: event `note.logged`: note.logged: field `message`: is missing (from `$.text`)",
                )),
        );
    assert!(!log.path().exists());
    log.annals(&args)
        .write_stdin(lines)
        .assert()
        .code(2)
        .stdout("1 event recorded, 1 refused\n")
        .stderr(contains("line 2: ").and(contains("line 3: ").not()));
    log.annals(&[&args[..], &["--skip-bad"]].concat())
        .write_stdin(lines)
        .assert()
        .code(1)
        .stdout("1 event recorded, 1 already recorded, 3 refused\n");
    assert_eq!(log.number("SELECT count(*) FROM notes"), 2);
}

#[test]
fn of_a_line_with_an_event_that_is_too_large_no_event_is_recorded() {
    let map =
        format!("{MAP}\n[[event]]\nname = \"more\"\ntype = \"note.logged\"\nfields.message = \"$.more\"\n");
    let large = format!("{{\"ts\": 1, \"text\": \"a\", \"more\": \"{}\"}}", "x".repeat(5 << 20));
    let lines = format!("{large}\n{{\"ts\": 2, \"text\": \"b\", \"more\": \"c\"}}\n");
    let log = log_with_files(&[("map.toml", &map), ("lines.jsonl", &lines)]);
    let (map, file) = (log.file("map.toml"), log.file("lines.jsonl"));
    let args = ["record", "--map", map.to_str().unwrap(), file.to_str().unwrap()];
    let error = contains("line 1: the payload has");
    log.annals(&args).assert().code(2).stdout("0 events recorded, 1 refused\n").stderr(error.clone());
    log.annals(&[&args[..], &["--skip-bad"]].concat())
        .assert()
        .code(1)
        .stdout("2 events recorded, 1 refused\n")
        .stderr(error);
    assert_eq!(log.number("SELECT count(*) FROM notes WHERE message = 'a'"), 0);
}

#[test]
fn a_source_without_a_map_is_refused() {
    Log::new().annals(&["record", "--source", "s"]).assert().code(2).stderr(contains("--map"));
}
