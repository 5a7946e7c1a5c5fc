//! Texts that would hide something: from SQL, from a person at a terminal, from a spreadsheet's user.

use crate::support::program::Log;

const LINES: &str = concat!(
    r#"{"type":"session.started","session":"s","input":"paid\u0000 to mallory","labels":{"a\u0000b":"c\u0000d"},"x":"y\u0000z"}"#,
    "\n",
    r#"{"type":"step.started","session":"s","step":"1","module":"pay\u0000roll"}"#,
    "\n",
    r#"{"type":"note.logged","session":"s","message":"before\u0000after","data":{"k":"v\u0000w","slash":"\\u0000"}}"#,
    "\n",
    r#"{"type":"custom","name":"na\u0000me","data":["\u0000"]}"#,
    "\n",
);

#[test]
fn no_text_hides_its_rest_from_sql() {
    let log = Log::with(LINES);
    for query in [
        "SELECT count(*) FROM sessions WHERE input LIKE '%mallory%'",
        "SELECT length(message) = 12 FROM notes",
        "SELECT message = 'before\u{2400}after' FROM notes",
        "SELECT data ->> '$.k' = 'v\u{2400}w' FROM notes",
        "SELECT data ->> '$.slash' = '\\u0000' FROM notes",
        "SELECT labels ->> '$' LIKE '%b%d%' FROM sessions",
        "SELECT count(*) FROM steps WHERE module LIKE '%roll'",
        "SELECT count(*) FROM custom_events WHERE name LIKE '%me' AND data ->> 0 = '\u{2400}'",
        "SELECT count(*) FROM search WHERE search MATCH 'mallory'",
    ] {
        assert_eq!(log.number(query), 1, "{query}");
    }
    // The log itself has what was sent.
    let events = log.out(&["export"]);
    assert!(events.contains("paid\\u0000 to mallory") && events.contains("before\\u0000after"), "{events}");
    log.annals(&["verify"]).assert().success();
    for projection in ["sessions", "activity", "search"] {
        log.annals(&["projections", "rebuild", projection]).assert().success();
    }
    log.annals(&["verify"]).assert().success();
    assert_eq!(log.number("SELECT length(message) = 12 FROM notes"), 1);
    // A session that is folded again, from what is left of it.
    log.annals(&["redact", "3", "--yes", "--reason", "r"]).assert().success();
    log.annals(&["verify"]).assert().success();
    assert_eq!(log.number("SELECT count(*) FROM sessions WHERE input LIKE '%mallory%'"), 1);
}

#[test]
fn a_spreadsheet_runs_no_cell_and_null_is_not_the_empty_text() {
    let log = Log::with(concat!(
        r#"{"type":"note.logged","message":"=HYPERLINK(\"http://evil.example\")","level":""}"#,
        "\n",
        r#"{"type":"note.logged","message":"plain"}"#,
        "\n",
    ));
    let table = ["export", "--table", "notes", "--format", "csv"];
    let harmless = log.out(&table);
    assert!(harmless.contains(r#""'=HYPERLINK(""http://evil.example"")""#), "{harmless}");
    let as_they_are = log.out(&[&table[..], &["--cells-as-they-are"]].concat());
    assert!(as_they_are.contains(r#","=HYPERLINK("#), "{as_they_are}");
    let query = "SELECT '=1+1', NULL, '', -1, '-1' AS \"=head\"";
    let rows = log.out(&["sql", "--csv", query]);
    assert_eq!(rows.lines().nth(1), Some("'=1+1,,\"\",-1,-1"));
    assert!(rows.lines().next().unwrap().ends_with("'=head"), "{rows}");
    let rows = log.out(&["sql", "--csv", "--cells-as-they-are", query]);
    assert_eq!(rows.lines().nth(1), Some("=1+1,,\"\",-1,-1"));
}

#[test]
fn ids_that_differ_in_what_is_not_seen_look_different() {
    let ids = ["s", "s ", "s\u{a0}", "s\u{200b}", "s\u{200d}"];
    let lines: String = ids
        .iter()
        .map(|id| format!("{}\n", serde_json::json!({"type": "session.started", "session": id})))
        .collect();
    let log = Log::with(&lines);
    for args in [&["sessions"][..], &["tail"]] {
        let shown = log.out(args);
        for id in ["s\\u{20}", "s\\u{a0}", "s\\u{200b}", "s\\u{200d}"] {
            assert!(shown.contains(id), "{args:?}: {id}: {shown}");
        }
    }
    let shown = log.out(&["show", "s "]);
    assert!(shown.contains("session s\\u{20}"), "{shown}");
}
