use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::error::Location;
use super::super::test_support::{all, collect, ids, source};
use super::*;
use crate::{Digest, Draft, SessionId, StepEnd, StepKind};

/// The tables that llm made until it had a store of messages, and those that it added then.
const RESPONSES: &str = include_str!("fixtures/responses.sql");
const TURNS: &str = include_str!("fixtures/turns.sql");

/// Two responses of one conversation, with tools between them, and one of another with a fragment,
/// a schema and an attachment: the rows that llm 0.27.1 writes, shortened.
const RESPONSES_ROWS: &str = r#"
INSERT INTO conversations VALUES ('c1', 'add please', 'echo'), ('c2', 'Summarise', 'echo');
INSERT INTO responses (id, model, prompt, system, options_json, response, response_json, conversation_id,
    duration_ms, datetime_utc, input_tokens, output_tokens, token_details, schema_id, resolved_model) VALUES
  ('r1', 'echo', 'add please', 'You are terse', '{"example_bool": true}', 'calling', NULL, 'c1', 250,
    '2026-11-21T01:44:12.519341+00:00', 5, 20, NULL, NULL, NULL),
  ('r2', 'echo', '', NULL, '{}', 'it is 5', '{"usage": NaN}', 'c1', 0, '2026-11-21T01:44:13', NULL, NULL,
    '{"cached": 1}', NULL, 'echo-2'),
  ('r3', 'echo', 'Summarise', '', '{}', '{}', NULL, 'c2', -12, '2026-11-21T01:44:14.000001+00:00', 1, 2, NULL, 's1', NULL);
INSERT INTO tools VALUES (1, 'h1', 'add', 'Add two numbers', '{"type": "object"}', NULL), (2, 'h2', 'broken', NULL, '{}', 'p');
INSERT INTO tool_responses VALUES (1, 'r1'), (2, 'r1'), (1, 'r2'), (2, 'r2');
INSERT INTO tool_calls VALUES (1, 'r1', 1, 'add', '{"a": 2, "b": 3}', NULL), (2, 'r1', 2, 'broken', '{"x": "thing"}', NULL);
INSERT INTO tool_instances VALUES (1, 'p', 'Box', '{"size": 3}');
INSERT INTO tool_results (id, response_id, tool_id, name, output, tool_call_id, instance_id, exception) VALUES
  (1, 'r2', 1, 'add', '5', NULL, NULL, NULL),
  (2, 'r2', 2, 'broken', 'Error: no such thing', NULL, 1, 'ValueError: no such thing');
INSERT INTO fragments VALUES (1, 'f1', 'a long text', '2026-11-21 01:44:13', '/novel.txt');
INSERT INTO prompt_fragments VALUES ('r3', 1, 0);
INSERT INTO system_fragments VALUES ('r3', 1, 0);
INSERT INTO schemas VALUES ('s1', '{"type": "object"}');
INSERT INTO attachments VALUES ('a1', 'image/png', '/p.png', NULL, X'89504E47'), ('a2', 'image/png', NULL, 'https://example.com/p.png', NULL);
INSERT INTO prompt_attachments VALUES ('r3', 'a1', 0), ('r3', 'a2', 1);
"#;

/// The same conversation with tools as llm 0.36 writes it, the model's reasoning with it.
const TURNS_ROWS: &str = r#"
INSERT INTO threads VALUES ('c1', 'add please', 'm5', NULL, '2026-11-21 01:42:42.655948+00:00');
INSERT INTO messages VALUES ('m1', NULL, 'system', NULL), ('m2', 'm1', 'user', NULL), ('m3', 'm2', 'assistant', '{"id": "x"}'),
  ('m4', 'm3', 'tool', NULL), ('m5', 'm4', 'assistant', NULL);
INSERT INTO fragments VALUES (1, 'f1', 'a long text', '2026-11-21 01:44:13', '/novel.txt');
INSERT INTO attachments VALUES ('a1', 'image/png', NULL, NULL, X'89504E47');
INSERT INTO tools VALUES (1, 'h1', 'add', 'Add two numbers', '{"type": "object"}', NULL);
INSERT INTO parts VALUES
  (1, 'm1', 0, 'text', NULL, 'You are terse', NULL),
  (2, 'm2', 0, 'text', NULL, NULL, '{"text_ref": [{"fragment": 1}, {"literal": "\nadd please"}]}'),
  (3, 'm2', 1, 'attachment', NULL, NULL, '{"attachment": {"id": "a1"}}'),
  (4, 'm3', 0, 'reasoning', NULL, 'First I consider. ', '{"provider_metadata": {"signature": "s"}}'),
  (5, 'm3', 1, 'text', NULL, 'calling', NULL),
  (6, 'm3', 2, 'tool_call', 'add', NULL, '{"name": "add", "arguments": {"a": 2, "b": 3}, "tool_call_id": "tc_1"}'),
  (7, 'm3', 3, 'tool_call', 'broken', NULL, '{"name": "broken", "arguments": {"x": "thing"}, "tool_call_id": "tc_2"}'),
  (8, 'm3', 4, 'tool_call', 'web', NULL, '{"name": "web", "arguments": {}, "tool_call_id": "tc_3", "server_executed": true}'),
  (9, 'm3', 5, 'tool_result', 'web', NULL, '{"name": "web", "output": "page", "tool_call_id": "tc_3", "server_executed": true}'),
  (10, 'm4', 0, 'tool_result', 'broken', NULL, '{"name": "broken", "output": "Error: no", "tool_call_id": "tc_2", "exception": "ValueError: no"}'),
  (11, 'm4', 1, 'tool_result', 'add', NULL, '{"name": "add", "output": "5", "tool_call_id": "tc_1", "attachments": [{"id": "a1"}]}'),
  (12, 'm5', 0, 'text', NULL, 'it is 5', NULL);
INSERT INTO turns VALUES
  ('t1', 'c1', 'm2', 'm3', 'echo', NULL, '{"thinking": true}', NULL, 5, 20, NULL, 250, '2026-11-21T01:42:42.654058+00:00', NULL),
  ('t2', 'c1', 'm4', 'm5', 'echo', NULL, NULL, NULL, 11, 53, NULL, 0, '2026-11-21T01:42:43.654816+00:00', NULL);
INSERT INTO turn_fragments VALUES ('t1', 1, 0, 'prompt');
INSERT INTO turn_tools VALUES ('t1', 1, NULL);
"#;

/// The rows that llm adds when a person goes on with the conversation.
const NEXT_TURN: &str = r#"
INSERT INTO messages VALUES ('m6', 'm5', 'user', NULL), ('m7', 'm6', 'assistant', NULL);
INSERT INTO parts VALUES (20, 'm6', 0, 'text', NULL, 'Thanks', NULL), (21, 'm7', 0, 'text', NULL, 'Welcome', NULL);
INSERT INTO turns VALUES
  ('t3', 'c1', 'm6', 'm7', 'echo', NULL, NULL, NULL, 1, 1, NULL, 3, '2026-11-22T01:42:43.654816+00:00', NULL);
UPDATE threads SET tip_message_hash = 'm7';
"#;

struct Log {
    folder: tempfile::TempDir,
}

impl Log {
    fn with(batches: &[&str]) -> Log {
        let log = Log { folder: tempfile::tempdir().unwrap() };
        log.run(batches);
        log
    }

    fn run(&self, batches: &[&str]) {
        let connection = self.connect();
        for batch in batches {
            connection.execute_batch(batch).unwrap();
        }
    }

    /// Connects as llm does, without enforcing foreign keys.
    fn connect(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        connection
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("logs.db")
    }

    fn import(&self) -> (Vec<Draft>, Result<Imported, ImportError>) {
        import(&self.path())
    }
}

fn import(path: &Path) -> (Vec<Draft>, Result<Imported, ImportError>) {
    collect(|sink| llm(path, &source(), Box::new(|| false), sink))
}

fn times(drafts: &[Draft], kind: &str) -> Vec<Option<String>> {
    let of_kind = drafts.iter().filter(|draft| draft.event.kind().name() == kind);
    of_kind.map(|draft| draft.at.map(|at| at.to_string())).collect()
}

#[test]
fn responses_are_steps_with_times_and_tokens() {
    let (drafts, result) = Log::with(&[RESPONSES, RESPONSES_ROWS]).import();
    let imported = result.unwrap();
    assert_eq!((imported.sessions, imported.steps, imported.events), (2, 5, drafts.len() as u64));
    let session = all!(drafts, SessionStarted)[0];
    assert_eq!(drafts[0].session, Some(SessionId::new("llm/test/c1").unwrap()));
    assert_eq!(session.conversation.as_deref(), Some("c1"));
    assert_eq!((session.model.as_deref(), session.agent.as_deref()), (Some("echo"), Some("llm")));
    assert_eq!(session.input.as_deref(), Some("add please"));
    let step = all!(drafts, StepStarted)[0];
    assert_eq!((step.step.as_str(), step.kind), ("r1", Some(StepKind::Llm)));
    assert_eq!(step.attributes["system"].as_str(), "\"You are terse\"");
    assert_eq!(step.attributes["options"].as_str(), "{\"example_bool\": true}");
    assert!(step.attributes["tools"].as_str().contains("Add two numbers"));
    let end = all!(drafts, StepEnded)[0];
    assert_eq!((end.tokens_input, end.tokens_output), (Some(5), Some(20)));
    assert_eq!(end.output.as_deref(), Some("calling"));
    assert_eq!(times(&drafts, "step.started")[0].as_deref(), Some("2026-11-21T01:44:12.519341Z"));
    assert_eq!(times(&drafts, "step.ended")[0].as_deref(), Some("2026-11-21T01:44:12.769341Z"));
    assert_eq!(times(&drafts, "session.started")[0].as_deref(), Some("2026-11-21T01:44:12.519341Z"));
    let ends = all!(drafts, SessionEnded);
    assert!(ends.len() == 2 && ends.iter().all(|end| end.status == crate::SessionEnd::Completed), "{ends:?}");
    assert_eq!(times(&drafts, "session.ended")[0].as_deref(), Some("2026-11-21T01:44:13.000000Z"), "with r2");
}

#[test]
fn a_call_of_a_tool_is_ended_by_the_response_after_it() {
    let (drafts, _) = Log::with(&[RESPONSES, RESPONSES_ROWS]).import();
    let started = all!(drafts, StepStarted);
    let tools: Vec<_> = started.iter().filter(|step| step.kind == Some(StepKind::Tool)).collect();
    assert_eq!(tools.len(), 2);
    assert_eq!((tools[0].step.as_str(), tools[0].module.as_deref()), ("r1/1", Some("add")));
    assert_eq!(tools[0].parent_step.as_ref().unwrap().as_str(), "r1");
    assert_eq!(tools[0].input.as_deref(), Some("{\"a\": 2, \"b\": 3}"));
    let ended = |id: &str| *all!(drafts, StepEnded).iter().find(|step| step.step.as_str() == id).unwrap();
    assert_eq!((ended("r1/1").status, ended("r1/1").output.as_deref()), (StepEnd::Ok, Some("5")));
    assert_eq!(ended("r1/2").status, StepEnd::Error);
    assert_eq!(ended("r1/2").error.as_deref(), Some("ValueError: no such thing"));
    assert!(ended("r1/2").attributes["instance"].as_str().contains(r#""arguments":{"size": 3}"#));
    assert_eq!(ended("r2").attributes["response_json"].as_str(), r#""{\"usage\": NaN}""#, "kept as a text");
    assert_eq!(ended("r2").attributes["resolved_model"].as_str(), "\"echo-2\"");
}

#[test]
fn input_is_what_the_model_was_given() {
    let (drafts, _) = Log::with(&[RESPONSES, RESPONSES_ROWS]).import();
    let step = *all!(drafts, StepStarted).last().unwrap();
    assert_eq!(step.input.as_deref(), Some("a long text\nSummarise"));
    assert_eq!(step.attributes["system"].as_str(), "\"a long text\"");
    assert_eq!(step.attributes["schema"].as_str(), r#"{"type": "object"}"#);
    assert!(step.attributes["fragments"].as_str().contains("/novel.txt"));
    assert_eq!(
        step.attributes["attachments"].as_str(),
        r#"[{"id":"a1"},{"id":"a2","url":"https://example.com/p.png"}]"#
    );
    let artifact = all!(drafts, ArtifactAttached)[0];
    assert_eq!((artifact.artifact, artifact.size), (Digest::of(b"\x89PNG"), Some(4)));
    assert_eq!(times(&drafts, "step.ended").last().unwrap(), &None, "a duration below 0 tells nothing");
}

#[test]
fn turns_say_the_same_as_responses_did() {
    let (drafts, result) = Log::with(&[RESPONSES, TURNS, TURNS_ROWS]).import();
    let imported = result.unwrap();
    assert_eq!((imported.sessions, imported.steps), (1, 5));
    let started = all!(drafts, StepStarted);
    assert_eq!(started[0].input.as_deref(), Some("a long text\nadd please"));
    assert_eq!(started[0].attributes["system"].as_str(), "\"You are terse\"");
    assert!(!started[0].attributes.contains_key("history"));
    let ended = |id: &str| *all!(drafts, StepEnded).iter().find(|step| step.step.as_str() == id).unwrap();
    assert_eq!(ended("t1").output.as_deref(), Some("calling"));
    assert_eq!(ended("t1").attributes["reasoning"].as_str(), "\"First I consider. \"");
    assert!(ended("t1").attributes["part_details"].as_str().contains(r#"{"signature": "s"}"#));
    assert_eq!(ended("t1/1").output.as_deref(), Some("5"), "results belong to calls by their id");
    assert_eq!(
        (ended("t1/2").status, ended("t1/2").error.as_deref()),
        (StepEnd::Error, Some("ValueError: no"))
    );
    assert_eq!(ended("t1/3").output.as_deref(), Some("page"), "the provider ran it");
    assert_eq!(all!(drafts, ArtifactAttached).len(), 2);
    let second = *started.last().unwrap();
    assert_eq!((second.step.as_str(), second.input.as_deref()), ("t2", None));
    assert_eq!(second.attributes["system"].as_str(), "\"You are terse\"");
    assert!(!second.attributes.contains_key("history"), "the conversation has it already");
    assert!(!second.attributes.contains_key("tool_results"));
}

#[test]
fn a_conversation_that_goes_on_only_adds_events_and_ends_again() {
    let log = Log::with(&[RESPONSES, TURNS, TURNS_ROWS]);
    let before = log.import().0;
    assert_eq!(before, log.import().0);
    log.run(&[NEXT_TURN]);
    let after = log.import().0;
    // The first end is part of the first import alone.
    let (first_end, others) = before.split_last().unwrap();
    assert_eq!(first_end.event.kind().name(), "session.ended");
    assert_eq!(after[..others.len()], *others);
    // One more turn: a step, its end, and another end of the session.
    assert_eq!(after.len(), others.len() + 3);
    let (second_end, added) = after.split_last().unwrap();
    assert_eq!(second_end.session, first_end.session);
    assert_ne!(second_end.id, first_end.id);
    assert_eq!(second_end.at, added.last().unwrap().at);
    assert_eq!(all!(after, StepStarted).last().unwrap().input.as_deref(), Some("Thanks"));
}

#[test]
fn a_result_that_comes_later_ends_the_step_then() {
    let log = Log::with(&[
        RESPONSES,
        RESPONSES_ROWS,
        // Takes away the response that was given the results.
        "CREATE TABLE kept AS SELECT * FROM responses WHERE id = 'r2'; DELETE FROM responses WHERE id = 'r2'",
    ]);
    let before = log.import().0;
    assert!(!all!(before, StepEnded).iter().any(|step| step.step.as_str() == "r1/1"));
    log.run(&["INSERT INTO responses SELECT * FROM kept; DROP TABLE kept"]);
    let after = log.import().0;
    let is_end = |draft: &&Draft| draft.event.kind().name() == "session.ended";
    assert!(before.iter().filter(|draft| !is_end(draft)).all(|draft| after.contains(draft)));
    assert_eq!(after.len(), before.len() + 4);
}

#[test]
fn a_conversation_can_have_responses_and_turns() {
    let log = Log::with(&[RESPONSES, RESPONSES_ROWS]);
    let before = log.import().0;
    // An upgraded llm rebuilds the conversation's messages, and names its thread anew.
    log.run(&[
        TURNS,
        "INSERT INTO threads VALUES ('c2', 'Go on', 'n4', NULL, '2026-11-23 01:42:42.655948+00:00');
         INSERT INTO messages VALUES ('n1', NULL, 'user', NULL), ('n2', 'n1', 'assistant', NULL),
           ('n3', 'n2', 'user', NULL), ('n4', 'n3', 'assistant', NULL);
         INSERT INTO parts VALUES (1, 'n1', 0, 'text', NULL, 'Summarise', NULL), (2, 'n2', 0, 'text', NULL, '{}', NULL),
           (3, 'n3', 0, 'text', NULL, 'Go on', NULL), (4, 'n4', 0, 'text', NULL, 'More', NULL);
         INSERT INTO turns VALUES ('t9', 'c2', 'n3', 'n4', 'echo', NULL, NULL, NULL, 1, 1, NULL, 3,
           '2026-11-23T01:42:43.654816+00:00', NULL);",
    ]);
    let after = log.import().0;
    // Without the first end: the conversation ends again with its new last call.
    let others = &before[..before.len() - 1];
    assert_eq!(after[..others.len()], *others);
    let step = *all!(after, StepStarted).last().unwrap();
    assert_eq!((step.step.as_str(), step.input.as_deref()), ("t9", Some("Go on")));
    assert_eq!(
        step.attributes["history"].as_str(),
        r#"[{"role":"user","parts":[{"type":"text","text":"Summarise"}]},{"role":"assistant","parts":[{"type":"text","text":"{}"}]}]"#
    );
}

#[test]
fn ids_do_not_come_from_content() {
    let change = "UPDATE responses SET prompt = prompt || '!', response = 'other', model = 'm', datetime_utc = NULL;
        UPDATE tool_calls SET arguments = '{}'; UPDATE tool_results SET output = 'x'; UPDATE fragments SET content = 'y'";
    let (drafts, others) = (
        Log::with(&[RESPONSES, RESPONSES_ROWS]).import().0,
        Log::with(&[RESPONSES, RESPONSES_ROWS, change]).import().0,
    );
    assert_ne!(drafts, others);
    assert_eq!(ids(&drafts), ids(&others));
}

#[test]
fn what_an_older_version_does_not_have_is_absent() {
    // The tables of the first version with conversations, 0.5.
    let log = Log::with(&[
        "CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
         CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT,
            options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER,
            datetime_utc TEXT);
         INSERT INTO responses VALUES ('r1', 'ada', 'Hi', NULL, NULL, '{}', 'Ho', NULL, 'c1', 10, '2023-07-01T10:00:00.5'),
           ('r2', 'ada', 'Alone', NULL, NULL, '{}', 'So', NULL, NULL, NULL, '')",
    ]);
    let (drafts, result) = log.import();
    assert_eq!(result.unwrap().sessions, 2);
    assert_eq!(all!(drafts, StepEnded)[0].tokens_input, None);
    assert_eq!(times(&drafts, "step.ended")[0].as_deref(), Some("2023-07-01T10:00:00.510000Z"));
    let alone = drafts.last().unwrap();
    assert_eq!(alone.session.as_ref().unwrap().as_str(), "llm/test/response/r2");
    assert_eq!(alone.at, None);
}

#[test]
fn a_file_that_is_no_such_log_is_refused() {
    let reason = |path: &Path| match import(path) {
        (drafts, Err(error)) if drafts.is_empty() => error.to_string(),
        other => panic!("{other:?}"),
    };
    let other = Log::with(&["CREATE TABLE log (seq INTEGER PRIMARY KEY)"]);
    assert!(reason(&other.path()).contains("it has no table `responses`"));
    let other = Log::with(&["CREATE TABLE responses (id INTEGER PRIMARY KEY, status INTEGER)"]);
    assert!(reason(&other.path()).contains("its table `responses` has no column `conversation_id`"));
    let path = other.folder.path().join("notes.txt");
    assert!(reason(&path).contains("cannot be opened"));
    assert!(!path.exists(), "nothing is created");
    std::fs::write(&path, "").unwrap();
    assert!(reason(&path).contains("empty"));
    std::fs::write(&path, "[]".repeat(1_000)).unwrap();
    assert!(reason(&path).contains("not a SQLite file"));
}

#[test]
fn an_error_names_table_row_and_field() {
    for (change, table, id, field) in [
        ("UPDATE responses SET datetime_utc = 'today' WHERE id = 'r2'", "responses", "r2", "datetime_utc"),
        ("UPDATE responses SET input_tokens = -1 WHERE id = 'r1'", "responses", "r1", "input_tokens"),
        ("UPDATE responses SET prompt = X'FF' WHERE id = 'r1'", "responses", "r1", "prompt"),
        ("DELETE FROM fragments", "responses", "r3", "prompt_fragments"),
    ] {
        let (_, result) = Log::with(&[RESPONSES, RESPONSES_ROWS, change]).import();
        assert_field(result, table, id, field);
    }
    for (change, table, id, field) in [
        ("DELETE FROM messages WHERE hash = 'm3'", "turns", "t1", "tip_message_hash"),
        ("DELETE FROM messages WHERE hash = 'm1'", "turns", "t1", "parent_message_hash"),
        ("UPDATE messages SET parent_hash = 'm2' WHERE hash = 'm1'", "turns", "t1", "parent_message_hash"),
        ("UPDATE messages SET parent_hash = NULL WHERE hash = 'm3'", "turns", "t1", "tip_message_hash"),
        ("UPDATE parts SET payload = '[' WHERE id = 6", "parts", "6", "payload"),
        ("DELETE FROM fragments", "parts", "2", "payload.text_ref"),
    ] {
        let (_, result) = Log::with(&[RESPONSES, TURNS, TURNS_ROWS, change]).import();
        assert_field(result, table, id, field);
    }
}

fn assert_field(result: Result<Imported, ImportError>, table: &'static str, id: &str, field: &str) {
    match result.unwrap_err() {
        ImportError::Field { place, field: named, .. } => {
            assert_eq!((place, named.as_str()), (Location::Row { table, id: id.to_owned() }, field));
        }
        error => panic!("{field}: {error}"),
    }
}

#[test]
fn the_log_is_not_changed() {
    let log = Log::with(&[RESPONSES, RESPONSES_ROWS]);
    let before = std::fs::read(log.path()).unwrap();
    log.import().1.unwrap();
    assert!(before == std::fs::read(log.path()).unwrap());
    assert_eq!(std::fs::read_dir(log.folder.path()).unwrap().count(), 1, "nothing stands beside it");
}

#[test]
fn what_is_still_in_the_wal_is_read() {
    let log = Log::with(&["PRAGMA journal_mode = WAL", RESPONSES]);
    // While this connection is open, the rows stay in the write-ahead log.
    let writer = log.connect();
    writer.execute_batch(RESPONSES_ROWS).unwrap();
    let wal = log.folder.path().join("logs.db-wal");
    let before = (std::fs::read(log.path()).unwrap(), std::fs::read(&wal).unwrap());
    assert_eq!(log.import().1.unwrap().sessions, 2);
    assert!(before == (std::fs::read(log.path()).unwrap(), std::fs::read(&wal).unwrap()));
}

#[cfg(unix)]
#[test]
fn a_log_is_read_where_nothing_may_be_written() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let log = Log::with(&["PRAGMA journal_mode = WAL", RESPONSES, RESPONSES_ROWS]);
    assert_eq!(std::fs::read_dir(log.folder.path()).unwrap().count(), 1, "the WAL went with its last user");
    // In this folder SQLite cannot make the shared memory that a log in WAL mode needs.
    set_permissions(log.folder.path(), Permissions::from_mode(0o555)).unwrap();
    let (_, result) = log.import();
    set_permissions(log.folder.path(), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(result.unwrap().sessions, 2);
}
