//! Sessions, one session, search, and where the log is.

use crate::support::program::{EVENTS, Log, bare};
use predicates::prelude::*;

fn listed(log: &Log, args: &[&str]) -> Vec<String> {
    let page = log.json(&[&["sessions"], args].concat());
    let sessions = page["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sessions_are_listed_newest_first_and_by_what_fits() {
    let log = Log::with(EVENTS);
    assert_eq!(listed(&log, &[]), ["bad", "good"]);
    for (filter, value) in [
        ("--status", "failed"),
        ("--profile", "deep"),
        ("--module", "tool"),
        ("--max-confidence", "0.3"),
        ("--since", "2026-11-20"),
        ("--text", "\"policy says\""),
    ] {
        assert_eq!(listed(&log, &[filter, value]), ["bad"], "{filter}");
    }
    assert_eq!(listed(&log, &["--with-findings"]), ["bad"]);
    assert_eq!(listed(&log, &["--until", "2026-11-20"]), ["good"]);
    assert_eq!(listed(&log, &["--conversation", "talk"]), ["bad", "good"]);
    assert_eq!(listed(&log, &["--text", "policy"]), ["bad", "good"]);
    assert_eq!(listed(&log, &["--max-confidence", "0.29"]), [""; 0]);
    assert_eq!(listed(&log, &["--text", "policy", "--status", "completed"]), ["good"]);
}

#[test]
fn pages_follow_each_other() {
    let log = Log::with(EVENTS);
    let first = log.json(&["sessions", "--limit", "1"]);
    assert_eq!(first["sessions"][0]["id"], "bad");
    let next = first["next"].to_string();
    let second = log.json(&["sessions", "--limit", "1", "--after", &next]);
    assert_eq!(second["sessions"][0]["id"], "good");
    assert!(second["next"].is_null());
}

#[test]
fn wide_filters_and_narrow_ones_find_the_same() {
    let lines: String = (0..2_500)
        .map(|n| {
            format!(
                "{{\"type\":\"step.ended\",\"session\":\"s{n}\",\"step\":\"1\",\"status\":\"ok\",\"output\":\"common {}\",\"confidence\":0.5}}\n",
                if n == 7 { "rare" } else { "" }
            )
        })
        .collect();
    let log = Log::with(&lines);
    assert_eq!(listed(&log, &["--text", "common", "--limit", "3"]), ["s2499", "s2498", "s2497"]);
    assert_eq!(listed(&log, &["--text", "rare common", "--limit", "3"]), ["s7"]);
    assert_eq!(listed(&log, &["--text", "rare", "--max-confidence", "0.5"]), ["s7"]);
    assert_eq!(listed(&log, &["--max-confidence", "0.5", "--limit", "2"]), ["s2499", "s2498"]);
    assert_eq!(listed(&log, &["--text", "common", "--after", "4", "--limit", "3"]), ["s1", "s0"]);
}

#[test]
fn a_session_is_shown_as_a_tree_with_what_belongs_to_it() {
    let log = Log::with(EVENTS);
    let shown = log.out(&["show", "bad"]);
    let places: Vec<_> =
        ["• plan", "◆ routing", "a (0.25) | b", "approved by ann", "  • tool", "boom", "it shouts"]
            .iter()
            .map(|part| shown.rfind(part).unwrap_or_else(|| panic!("{part} is not in:\n{shown}")))
            .collect();
    assert!(places.is_sorted(), "{shown}");
    let record = log.json(&["show", "bad"]);
    assert_eq!(record["steps"][1]["attributes"]["shard"], 7);
    assert_eq!(record["session"]["started_at"], "2026-11-20T08:00:00.000000Z");
}

#[test]
fn a_reference_may_be_a_beginning_or_a_conversation() {
    let log = Log::with(EVENTS);
    assert_eq!(log.json(&["show", "goo"])["session"]["id"], "good");
    let conversation = log.json(&["show", "talk"]);
    assert_eq!(conversation["sessions"][0]["session"]["id"], "good");
    assert_eq!(conversation["sessions"][1]["session"]["id"], "bad");
    let other = Log::with(&EVENTS.replace("\"good\"", "\"bad-2\""));
    other.annals(&["show", "ba"]).assert().code(2).stderr(predicate::str::contains("bad-2"));
    log.annals(&["show", "nobody"]).assert().code(2).stderr(predicate::str::contains("`nobody`"));
}

#[test]
fn nothing_in_a_log_drives_the_terminal() {
    let log = Log::with(EVENTS);
    for args in [
        &["sessions"][..],
        &["show", "bad"],
        &["show", "bad", "--full"],
        &["search", "title"],
        &["tail"],
        &["sql", "SELECT input FROM sessions"],
        &["--json", "sessions"],
        &["--json", "show", "bad"],
        &["--json", "search", "title"],
        &["--json", "tail"],
        &["--json", "sql", "SELECT input FROM sessions"],
    ] {
        let out = log.out(args);
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!out.contains(acts), "{args:?} printed {out:?}");
        assert!(out.contains("title"), "{args:?} printed {out:?}");
    }
    log.annals(&["show", "\u{1b}[31m"]).assert().code(2).stderr(predicate::str::contains('\u{1b}').not());
}

#[test]
fn search_finds_words_phrases_and_beginnings() {
    let log = Log::with(EVENTS);
    let found = |args: &[&str]| {
        let hits = log.json(&[&["search"], args].concat());
        hits.as_array().unwrap().iter().map(|hit| hit["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found(&["policy"]), [10, 4]);
    assert_eq!(found(&["\"refund policy\""]), [4]);
    assert_eq!(found(&["ref*"]), [4]);
    assert_eq!(found(&["policy", "--session", "bad"]), [10]);
    assert_eq!(found(&["policy", "--type", "step.ended"]), [4]);
    assert_eq!(found(&["policy", "--by-rank"]).len(), 2);
    assert_eq!(found(&["policy", "--limit", "1"]), [10]);
    assert_eq!(found(&["policy", "--after", "10"]), [4]);
    assert_eq!(found(&["NOT AND OR ) ("]), [0; 0]);
    log.annals(&["search", "--", "--"]).assert().code(2).stderr(predicate::str::contains("no words"));
}

#[test]
fn the_last_events_are_lines_of_json() {
    let log = Log::with(EVENTS);
    let out = log.out(&["--json", "tail", "-n", "2", "--session", "bad", "--type", "step.started"]);
    let events: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.iter().map(|event| event["step"].as_str().unwrap()).collect::<Vec<_>>(), ["1", "1.1"]);
    let kinds = ["--json", "tail", "-n", "3", "--type", "session.ended", "--type", "step.ended"];
    let seqs: Vec<u64> = log
        .out(&kinds)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, [5, 9, 13]);
}

#[test]
fn the_last_events_of_a_session_are_found_by_the_beginning_of_its_id() {
    let log = Log::with(EVENTS);
    let whole = log.out(&["tail", "--session", "bad"]);
    assert!(whole.contains("session.ended"), "{whole}");
    assert_eq!(log.out(&["tail", "--session", "ba"]), whole);
    let unknown = |command: &[&str]| {
        let failed = log.annals(command).assert().code(2);
        String::from_utf8(failed.get_output().stderr.clone()).unwrap()
    };
    assert_eq!(unknown(&["tail", "--session", "nobody"]), unknown(&["show", "nobody"]));
    let other = Log::with(&EVENTS.replace("\"good\"", "\"bad-2\""));
    other.annals(&["tail", "--session", "ba"]).assert().code(2).stderr(predicate::str::contains("bad-2"));
}

#[test]
fn a_session_that_the_read_tables_do_not_know_yet_has_last_events() {
    use annals::{AuditLog, Draft, NoteLogged, Projections, SessionId};
    let log = Log::with(EVENTS);
    let writer = AuditLog::builder(log.path()).projections(Projections::Off).open().unwrap();
    let note = Draft::new(NoteLogged { message: "early".into(), ..Default::default() });
    writer.append(note.session(SessionId::new("new").unwrap())).unwrap().wait().unwrap();
    writer.close().unwrap();
    assert!(log.out(&["tail", "--session", "new"]).contains("early"));
}

#[test]
fn a_text_that_is_cut_off_says_so() {
    let line = |length| {
        format!(
            "{{\"type\":\"step.ended\",\"session\":\"s\",\"step\":\"1\",\"status\":\"ok\",\"output\":\"{}\"}}\n",
            "x".repeat(length)
        )
    };
    for length in [199, 200, 201, 239, 240, 241, 2_000] {
        let shown = Log::with(&line(length)).out(&["show", "s"]);
        let count = shown.matches('x').count();
        assert_eq!(shown.contains('…'), count < length, "{count} of {length}: {shown}");
    }
}

#[test]
fn what_a_finding_is_about_is_said_once() {
    let line = |finding: &str, about: &str| {
        format!(
            "{{\"type\":\"finding.raised\",\"session\":\"s\",\"finding\":\"{finding}\",\"category\":\"c\",{about}}}\n"
        )
    };
    let log = Log::with(
        &[
            line("1", "\"pattern_type\":\"Timeout\",\"title\":\"Timeout\",\"description\":\"Timeout\""),
            line("2", "\"pattern_type\":\"tone\",\"title\":\"tone: rude\""),
            line("3", "\"pattern_type\":\"cap\",\"title\":\"capital letters\""),
        ]
        .concat(),
    );
    let shown = log.out(&["show", "s"]);
    assert_eq!(shown.matches("Timeout").count(), 1, "{shown}");
    for about in ["  c: Timeout  ", "  c: tone: rude  ", "  c: cap: capital letters  "] {
        assert!(shown.contains(about), "{about:?} is not in:\n{shown}");
    }
}

#[test]
fn a_cancelled_step_is_shown_with_the_parts_of_its_tokens() {
    let log = Log::with(concat!(
        r#"{"type":"step.started","session":"s","step":"1","module":"embed","kind":"embedding"}"#,
        "\n",
        r#"{"type":"step.ended","session":"s","step":"1","status":"cancelled","tokens_input":9,"tokens_output":5,"tokens_cache_read":4,"tokens_cache_write":3,"tokens_reasoning":2,"basis":"claimed"}"#,
        "\n",
    ));
    let shown = log.out(&["show", "s"]);
    let line =
        "• embed  cancelled  embedding  9 → 5 tokens  4 from cache, 3 to cache, 2 reasoning  claimed  1\n";
    assert!(shown.contains(line), "{shown}");
    assert_eq!(log.json(&["show", "s"])["session"]["error_count"], 0);
}

#[test]
fn judgements_are_shown_with_their_subject() {
    let log = Log::with(concat!(
        r#"{"type":"decision.made","session":"s","decision":"d","decision_type":"payment","chosen_option":"pay","on_behalf_of":[{"actor":{"id":"u-1"},"authorization":"mandate 7"},{"actor":{"id":"acme"}}],"basis":"claimed"}"#,
        "\n",
        r#"{"type":"policy.decided","session":"s","policy":"payments","effect":"deny","rule":"limit","reason":"too much","subject_kind":"decision","subject_id":"d"}"#,
        "\n",
        r#"{"type":"review.recorded","session":"s","actor":"ada","subject_kind":"decision","subject_id":"d","verdict":"modified","reason":"half of it","role":"manager","identified_by":"sso","evidence_seen":["f-1","f-2"],"expires_at":"2027-01-01T00:00:00Z"}"#,
        "\n",
    ));
    let shown = log.out(&["show", "s"]);
    for line in [
        "◆ payment  pay  for u-1 (mandate 7), for acme  claimed\n",
        "■ payments  deny  decision d  rule limit\n  because  too much\n",
        "  review   modified by ada, manager, identified by sso, until 2027-01-01 00:00:00 UTC: half of it\n",
        "  saw      f-1, f-2\n",
    ] {
        assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
    }
    let record = log.json(&["show", "s"]);
    assert_eq!(record["policy_decisions"][0]["effect"], "deny");
    assert_eq!(record["decisions"][0]["on_behalf_of"][1]["actor"]["id"], "acme");
    assert_eq!(record["reviews"][0]["evidence_seen"][1], "f-2");
    assert!(log.out(&["replay", "s"]).contains("policy.decided"));
}

#[test]
fn the_default_log_is_made_by_the_first_command_that_appends() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    for args in [&["verify"][..], &["sessions"]] {
        bare()
            .env("HOME", home.path())
            .args(args)
            .assert()
            .code(2)
            .stderr(predicate::str::contains("annals record"));
    }
    bare().env("HOME", home.path()).arg("record").write_stdin("").assert().success();
    let folder = home.path().join(".annals");
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(folder.join("audit.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let other = home.path().join("other.db");
    bare().env("HOME", home.path()).env("ANNALS_DB", &other).arg("record").write_stdin("").assert().success();
    assert!(other.exists());
}

#[test]
fn a_log_that_was_named_and_is_not_there_is_an_error_for_readers() {
    let log = Log::new();
    for args in [
        &["sessions"][..],
        &["info"],
        &["tail"],
        &["copy", "x"],
        &["projections"],
        &["redact", "2", "--reason", "r", "--yes"],
    ] {
        log.annals(args).assert().code(2).stderr(predicate::str::contains("there is no such file"));
        assert!(!log.path().exists(), "{args:?}");
    }
}

#[test]
fn readers_say_when_the_read_tables_are_behind() {
    use annals::{AuditLog, Draft, NoteLogged, Projections};
    let log = Log::with(EVENTS);
    let writer = AuditLog::builder(log.path()).projections(Projections::Off).open().unwrap();
    writer
        .append(Draft::new(NoteLogged { message: "late".into(), ..Default::default() }))
        .unwrap()
        .wait()
        .unwrap();
    writer.close().unwrap();
    log.annals(&["sessions"]).assert().success().stderr(predicate::str::contains("1 event behind"));
    assert_eq!(log.number("SELECT count(*) FROM notes"), 0);
    let last = log.out(&["--json", "tail", "-n", "1", "--type", "note.logged"]);
    assert!(last.contains("late"), "the log itself is not behind: {last}");
    log.annals(&["projections", "catch-up"]).assert().success();
    log.annals(&["sessions"]).assert().success().stderr(predicate::str::contains("behind").not());
    assert_eq!(log.number("SELECT count(*) FROM notes"), 1);
}

#[test]
fn info_and_projections_say_what_the_log_is() {
    let log = Log::with(EVENTS);
    let info = log.json(&["info"]);
    assert_eq!(info["events"], 13);
    assert_eq!(info["rows"]["steps"], 3);
    assert_eq!(info["head_hash"].as_str().unwrap().len(), 64);
    log.annals(&["projections", "rebuild", "sessions"]).assert().success();
    log.annals(&["projections", "rebuild", "nothing"]).assert().code(2);
    let projections = log.json(&["projections"]);
    assert!(projections.as_array().unwrap().iter().all(|projection| projection["lag"] == 0));
    assert_eq!(listed(&log, &[]), ["bad", "good"]);
}

#[test]
fn usage_errors_are_2_and_a_reader_that_goes_away_is_none() {
    let log = Log::with(EVENTS);
    log.annals(&["nonsense"]).assert().code(2);
    log.annals(&["sessions", "--since", "tomorrow"]).assert().code(2);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_annals"))
        .arg("--db")
        .arg(log.path())
        .args([
            "sql",
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<100000) SELECT x FROM n",
            "--csv",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_log_is_verified_though_no_thread_can_be_started() {
    let log = Log::with(EVENTS);
    // No memory has room for such a stack.
    let stack = (1_u64 << 46).to_string();
    let verified = log.annals(&["verify"]).env("RUST_MIN_STACK", stack).assert().success();
    let said = String::from_utf8(verified.get_output().stdout.clone()).unwrap();
    assert!(said.contains("self-consistent   yes"), "{said}");
}

#[test]
fn long_answers_are_whole_and_in_order() {
    const SESSIONS: usize = 2_300;
    let lines: String = (1..=SESSIONS)
        .map(|number| {
            format!("{{\"type\":\"session.started\",\"session\":\"s{number:04}\",\"input\":\"a word\"}}\n")
        })
        .collect();
    let log = Log::with(&lines);
    let last: Vec<String> = (1..=SESSIONS).map(|number| format!("s{number:04}")).collect();
    let last_but_one_hundred: Vec<String> = last.iter().skip(100).rev().cloned().collect();
    // The session that each line names.
    let told = |args: &[&str]| -> Vec<String> {
        let is_id = |word: &&str| word.len() == 5 && word.starts_with('s');
        let out = log.out(args);
        out.lines().filter_map(|line| line.split_whitespace().find(is_id).map(str::to_owned)).collect()
    };
    assert_eq!(told(&["sessions", "--limit", "2200"]), last_but_one_hundred);
    assert_eq!(told(&["search", "word", "--limit", "2200"]), last_but_one_hundred);
    assert_eq!(told(&["search", "word", "--by-rank", "--limit", "2200"]), last_but_one_hundred);
    assert_eq!(told(&["sql", "SELECT id FROM sessions ORDER BY id"]), last);
    let newest_last: Vec<String> = last_but_one_hundred.iter().rev().cloned().collect();
    assert_eq!(told(&["tail", "-n", "2200"]), newest_last);
    assert_eq!(told(&["tail", "-n", "2200", "--type", "session.started"]), newest_last);
    assert_eq!(told(&["tail", "-n", "3000", "--type", "session.started"]), last);
    assert_eq!(told(&["tail", "-n", "0"]), [""; 0]);
    log.annals(&["sessions", "--limit", "2200"])
        .assert()
        .success()
        .stderr(predicate::str::contains("more sessions: --after"));
    log.annals(&["sessions", "--limit", "2300"]).assert().success().stderr(predicate::str::is_empty());
}

#[test]
fn a_row_that_somebody_changed_so_that_it_cannot_be_read_leads_to_who_says_so_and_what_helps() {
    let question = r#"a question of some length, with "é" at its end: é"#.repeat(4);
    let log = Log::with(&format!(
        "{{\"type\":\"session.started\",\"session\":\"s\",\"profile\":\"p\"}}\n\
         {{\"type\":\"step.started\",\"session\":\"s\",\"step\":\"1\",\"module\":\"m\",\"input\":{}}}\n",
        serde_json::Value::from(question.as_str())
    ));
    let inside_a_letter = format!("input_length = {}", question.find('é').unwrap() + 1);
    let no_json_string = "input_pieces = json_array(json_array(input_offset, input_length, 1))";
    for change in [&inside_a_letter, no_json_string, "input_pieces = 'x'"] {
        let connection = rusqlite::Connection::open(log.path()).unwrap();
        connection.execute(&format!("UPDATE annals_steps SET {change}"), []).unwrap();
        drop(connection);
        log.annals(&["show", "s"])
            .assert()
            .failure()
            .stderr(predicate::str::contains("`annals verify`"))
            .stderr(predicate::str::contains("`annals projections rebuild`"));
        log.annals(&["verify"]).assert().code(1).stdout(predicate::str::contains("annals_steps"));
        log.out(&["projections", "rebuild", "sessions"]);
        assert_eq!(log.json(&["show", "s"])["steps"][0]["input"], question, "{change}");
    }
}

#[test]
fn a_list_has_the_beginnings_of_inputs_however_they_are_kept() {
    let letters = "é and more, ".repeat(600);
    let messages = format!(
        r#"[{{"role":"system","parts":[{{"content":"{letters}"}}]}},{{"role":"user","parts":[{{"content":"{letters}"}},{{"content":"{letters}"}}]}}]"#
    );
    let messages = serde_json::Value::from(messages);
    let span = format!(
        r#"{{"type":"otel.span","session":"otel-a","span":{{"traceId":"a","spanId":"00000000000000a1","name":"chat","attributes":[{{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},{{"key":"gen_ai.input.messages","value":{{"stringValue":{messages}}}}}]}}}}"#
    );
    let start = |id: &str, input: &str| {
        format!(r#"{{"type":"session.started","session":"{id}","profile":"p","input":"{input}"}}"#)
    };
    let lines =
        [start("short", "é"), start("referred", &"é and more, ".repeat(150)), start("long", &letters), span]
            .join("\n");
    let log = Log::with(&(lines + "\n"));
    let kept = "SELECT count(*) FROM annals_sessions WHERE";
    assert_eq!(log.number(&format!("{kept} input_pieces IS NOT NULL AND input_summary_text IS NOT NULL")), 1);
    assert_eq!(log.number(&format!("{kept} input_offset IS NOT NULL AND input_summary_text IS NULL")), 1);
    let page = log.json(&["sessions"]);
    let begin = |text: &str| text.chars().take(200).collect::<String>();
    let expected = [begin(&letters), begin(&letters), begin(&letters), "é".to_owned()];
    let sessions = page["sessions"].as_array().unwrap();
    let beginnings: Vec<&str> = sessions.iter().map(|it| it["input_summary"].as_str().unwrap()).collect();
    assert_eq!(beginnings, expected);
}

#[test]
fn a_query_that_names_no_table_is_told_the_one_that_is_most_alike() {
    let log = Log::with(EVENTS);
    let asked = |sql: &str| log.annals(&["sql", sql]).assert().code(2);
    asked("SELECT * FROM step").stderr(predicate::str::contains("hint: did you mean `steps`?"));
    asked("SELECT modul FROM steps").stderr(predicate::str::contains("hint: did you mean `module`?"));
    asked("SELEC 1").stderr(predicate::str::contains("hint").not());
}

#[test]
fn arguments_of_other_programs_are_answered_with_a_hint_and_the_same_status() {
    let log = Log::with(EVENTS);
    log.annals(&["ls"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("hint: `annals sessions` lists sessions"));
    log.annals(&["verify", "audit.db"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("hint: `--db FILE`"));
    log.annals(&["man", "key", "generate"])
        .assert()
        .success()
        .stdout(predicate::str::contains("annals-key-generate"));
    log.annals(&["man", "key", "nothing"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("annals key nothing"));
}
