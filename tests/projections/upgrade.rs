//! Files whose read tables an earlier version of Annals made: they are read as they are, and rebuilt beside that.

use std::path::Path;
use std::time::Duration;

use annals::query::SearchFilter;
use annals::query::SessionFilter;
use annals::{AuditLog, Projections, Reader};
use rusqlite::Connection;

use crate::support::{json, new_path, note, rows_of, sqlite, verify_whole};

const PATIENCE: Duration = Duration::from_secs(60);

/// The statements of the tables before long texts were referred to, and of the full-text index with its texts.
const SESSIONS_5: &str = include_str!("../fixtures/read_tables/sessions-5.sql");
const SEARCH_4: &str = include_str!("../fixtures/read_tables/search-4.sql");

/// The names of the tables that both versions have, and what they say.
const SAME: [&str; 3] = ["sessions", "steps", "findings"];

/// Columns that a table did not have in its earlier version.
fn is_added(table: &str, column: &str) -> bool {
    let added: &[&str] = match table {
        "steps" => &["tokens_cache_read", "tokens_cache_write", "tokens_reasoning", "basis"],
        "decisions" => &["on_behalf_of", "basis"],
        "artifacts" => &["item"],
        _ => &[],
    };
    added.contains(&column)
}

/// The columns of a table, except those that were added, in the order in which the file has them.
fn columns_of(connection: &Connection, table: &str) -> String {
    let columns = rows_of(connection, &format!("SELECT name FROM pragma_table_xinfo('{table}')"));
    columns.into_iter().filter(|column| !is_added(table, column)).collect::<Vec<_>>().join(", ")
}

fn long(what: &str) -> String {
    format!("{what} with “words” enough to be long; ").repeat(20)
}

fn with_events() -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    for session in 0..20 {
        let s = format!(r#""session":"s{session}""#);
        let (input, output) = (long(&format!("input {session}")), long(&format!("output {session}")));
        for event in [
            format!(r#"{{"type":"session.started",{s},"profile":"p","input":"{input}"}}"#),
            format!(r#"{{"type":"step.started",{s},"step":"1","module":"m","input":"{input}"}}"#),
            format!(
                r#"{{"type":"step.ended",{s},"step":"1","status":"ok","output":"{output}","confidence":0.5}}"#
            ),
            format!(r#"{{"type":"step.started",{s},"step":"2","input":"short","input_summary":"stated"}}"#),
            format!(
                r#"{{"type":"finding.raised",{s},"finding":"f","severity":"high","evidence":{{"e":"{input}"}}}}"#
            ),
            format!(r#"{{"type":"session.ended",{s},"status":"completed","summary":"{output}"}}"#),
        ] {
            drop(log.append(json(&event)).unwrap());
        }
    }
    log.close().unwrap();
    (folder, path)
}

/// Puts the tables of earlier versions in the place of the present ones, with the same rows.
fn set_back(path: &Path) {
    let connection = sqlite(path);
    connection.execute_batch("PRAGMA legacy_alter_table = ON; BEGIN").unwrap();
    let kept = ["sessions", "steps", "decisions", "findings", "finding_updates", "timeline"];
    for table in kept {
        let columns = columns_of(&connection, table);
        let is_stored =
            |column: &str| !["tokens_input", "tokens_output", "tokens_used", "cost_usd"].contains(&column);
        let stored: Vec<&str> =
            columns.split(", ").filter(|column| table != "sessions" || is_stored(column)).collect();
        let stored: Vec<&str> = stored.into_iter().filter(|column| *column != "tokens_used").collect();
        let stored = stored.join(", ");
        connection
            .execute_batch(&format!("CREATE TEMP TABLE kept_{table} AS SELECT {stored} FROM {table}"))
            .unwrap();
    }
    connection
        .execute_batch(
            "CREATE VIRTUAL TABLE temp.instances USING fts5vocab('main', 'search', 'instance');
             CREATE TEMP TABLE kept_documents AS
               SELECT seq, session_id, kind, subject_id, group_concat(term, ' ') AS text FROM
                 (SELECT doc, term FROM temp.instances ORDER BY doc, \"offset\")
               JOIN search_documents ON seq = doc GROUP BY seq;
             DROP TABLE temp.instances;
             DROP VIEW sessions; DROP VIEW steps; DROP VIEW findings;
             DROP TABLE annals_sessions; DROP TABLE annals_steps; DROP TABLE annals_findings;
             DROP TABLE decisions; DROP TABLE finding_updates; DROP TABLE timeline;
             DROP TABLE annals_below; DROP TABLE policy_decisions;
             DROP TABLE search; DROP TABLE search_documents;",
        )
        .unwrap();
    let of_its_own = |line: &&str| !line.starts_with("INSERT");
    connection.execute_batch(SESSIONS_5).unwrap();
    connection.execute_batch(&SEARCH_4.lines().filter(of_its_own).collect::<Vec<_>>().join("\n")).unwrap();
    for table in kept.into_iter().chain(["documents"]) {
        let columns =
            rows_of(&connection, &format!("SELECT name FROM pragma_table_info('kept_{table}')")).join(", ");
        connection
            .execute_batch(&format!(
                "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM temp.kept_{table}"
            ))
            .unwrap();
    }
    connection
        .execute_batch(
            "INSERT INTO search (search) VALUES ('rebuild');
             UPDATE projections SET version = 5 WHERE name = 'sessions';
             UPDATE projections SET version = 3 WHERE name = 'activity';
             UPDATE projections SET version = 4 WHERE name = 'search';
             COMMIT",
        )
        .unwrap();
}

fn everything(connection: &Connection) -> Vec<Vec<String>> {
    SAME.iter()
        .map(|table| {
            let columns = columns_of(connection, table);
            rows_of(connection, &format!("SELECT {columns} FROM {table} ORDER BY first_seq, id"))
        })
        .collect()
}

fn objects(connection: &Connection) -> Vec<String> {
    let sql = "SELECT type || ' ' || name || ' on ' || tbl_name FROM sqlite_schema
               WHERE name LIKE 'my_%' OR name LIKE 'bad_%' ORDER BY name";
    rows_of(connection, sql)
}

#[test]
fn tables_of_an_earlier_version_are_read_until_those_of_this_one_are_there() {
    let (_folder, path) = with_events();
    let before = everything(&sqlite(&path));
    set_back(&path);
    assert_eq!(everything(&sqlite(&path)), before, "the same in the tables of before");
    let ask = || {
        let reader = Reader::open(&path).unwrap();
        let hits = reader.search(&SearchFilter::new("\"output 7\"")).unwrap();
        assert_eq!(hits.len(), 2, "{hits:?}");
        assert!(hits[0].snippet.iter().any(|part| part.matches), "{hits:?}");
        let filter = SessionFilter { text: Some("\"input 3\"".into()), ..SessionFilter::default() };
        let page = reader.sessions(&filter).unwrap();
        assert_eq!(page.sessions.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["s3"]);
        let record = reader.session("s3").unwrap().unwrap();
        assert_eq!(record.steps[0].input.as_deref(), Some(long("input 3").as_str()));
        let summary: String = long("input 3").chars().take(200).collect();
        assert_eq!(record.steps[0].input_summary, Some(summary));
    };
    ask();
    // Nobody takes the old tables on, and the log goes on.
    let log = AuditLog::builder(&path).projections(Projections::Off).open().unwrap();
    log.append(note("beside them")).unwrap().wait().unwrap();
    log.close().unwrap();
    ask();
    AuditLog::open(&path).unwrap().close().unwrap();
    ask();
    let connection = sqlite(&path);
    assert_eq!(everything(&connection), before);
    assert_eq!(
        rows_of(
            &connection,
            "SELECT name FROM sqlite_schema WHERE name LIKE '%documents%' AND type = 'table'"
        ),
        ["search_documents"]
    );
    verify_whole(&path);
}

#[test]
fn what_others_made_on_read_tables_moves_along_or_is_listed() {
    let (_folder, path) = with_events();
    set_back(&path);
    sqlite(&path)
        .execute_batch(
            "CREATE INDEX my_index ON steps (module, confidence) WHERE module <> 'steps';
             CREATE INDEX bad_index ON steps (input);
             CREATE INDEX my_kinds ON documents (kind);
             CREATE TABLE my_log (step TEXT);
             CREATE TRIGGER my_trigger AFTER INSERT ON steps BEGIN INSERT INTO my_log VALUES (NEW.id); END;
             CREATE TRIGGER bad_trigger AFTER UPDATE ON \"steps\" BEGIN INSERT INTO my_log VALUES (NEW.output); END;
             CREATE VIEW my_view AS SELECT sessions.id, sessions.input, output FROM sessions JOIN steps ON session_id = sessions.id;",
        )
        .unwrap();
    let seen = rows_of(&sqlite(&path), "SELECT * FROM my_view ORDER BY id, output");
    AuditLog::open(&path).unwrap().close().unwrap();
    let connection = sqlite(&path);
    assert_eq!(
        objects(&connection),
        [
            "index my_index on annals_steps",
            "index my_kinds on search_documents",
            "table my_log on my_log",
            "trigger my_trigger on annals_steps",
            "view my_view on my_view"
        ]
    );
    assert_eq!(rows_of(&connection, "SELECT * FROM my_view ORDER BY id, output"), seen);
    let listed = || -> Vec<(String, String)> {
        let status = Reader::open(&path).unwrap().projections().unwrap();
        let left_out = status.into_iter().flat_map(|projection| projection.left_out);
        left_out.map(|object| (format!("{} on {}", object.name, object.table), object.reason)).collect()
    };
    let left_out = listed();
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    assert_eq!(
        (left_out[0].0.as_str(), left_out[1].0.as_str()),
        ("bad_index on annals_steps", "bad_trigger on annals_steps")
    );
    assert!(left_out[0].1.contains("input") && left_out[1].1.contains("output"), "{left_out:?}");
    drop(connection);

    // The next rebuild makes them again, and tries again what it could not make.
    sqlite(&path).execute_batch("CREATE TABLE documents (mine)").unwrap();
    let log = AuditLog::open(&path).unwrap();
    log.append(json(r#"{"type":"step.started","session":"s0","step":"new"}"#)).unwrap().wait().unwrap();
    for projection in ["sessions", "search"] {
        log.rebuild(projection).unwrap();
    }
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    log.close().unwrap();
    assert_eq!(listed(), left_out);
    let connection = sqlite(&path);
    assert_eq!(objects(&connection).len(), 5);
    assert_eq!(rows_of(&connection, "SELECT count(*) FROM documents"), ["0"], "that of somebody else stays");
    assert_eq!(rows_of(&connection, "SELECT count(*) FROM my_log WHERE step = 'new'"), ["1"]);
    verify_whole(&path);

    // Made by hand on what is there, it is not listed any more.
    connection.execute_batch("CREATE INDEX bad_index ON annals_steps (input_hash)").unwrap();
    assert_eq!(listed().len(), 1);
}

#[test]
fn a_list_that_somebody_else_wrote_runs_nothing_and_keeps_no_rebuild_from_its_end() {
    let (_folder, path) = with_events();
    let elsewhere = path.with_file_name("elsewhere");
    let attack = format!(
        "COMMIT; ATTACH '{}' AS a; CREATE TABLE a.t (x); BEGIN; SAVEPOINT attaching",
        elsewhere.display()
    );
    let list = "CREATE TABLE annals_left_out (name TEXT NOT NULL PRIMARY KEY, projection TEXT NOT NULL,
                table_name TEXT NOT NULL, sql TEXT NOT NULL, error TEXT NOT NULL) STRICT";
    let connection = sqlite(&path);
    connection.execute_batch(list).unwrap();
    let mut insert = connection
        .prepare("INSERT INTO annals_left_out VALUES (?1, 'sessions', 'annals_steps', ?2, '')")
        .unwrap();
    for (name, sql) in [
        ("several", attack.as_str()),
        ("another", "DELETE FROM log"),
        ("both", "CREATE INDEX both ON annals_steps (model); DROP TABLE annals_steps"),
        ("long", &format!("CREATE INDEX long ON annals_steps (model) -- {}", "x".repeat(2_000_000))),
    ] {
        insert.execute([name, sql]).unwrap();
    }
    connection
        .execute("INSERT INTO annals_left_out VALUES ('torn', 'sessions', 'x', CAST(x'ff' AS TEXT), '')", [])
        .unwrap();
    drop(insert);
    let seen = everything(&connection);
    let log = AuditLog::open(&path).unwrap();
    log.rebuild("sessions").unwrap();
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    log.close().unwrap();
    assert!(!elsewhere.exists());
    assert_eq!(everything(&connection), seen);
    let objects = "SELECT name FROM sqlite_schema WHERE name IN ('both', 'long', 'another', 'several')";
    assert_eq!(rows_of(&connection, objects), [""; 0]);
    let status = Reader::open(&path).unwrap().projections().unwrap();
    assert_eq!(status.into_iter().flat_map(|projection| projection.left_out).count(), 5);

    // A table of another form has nothing to take from.
    connection.execute_batch("DROP TABLE annals_left_out; CREATE TABLE annals_left_out (mine)").unwrap();
    let log = AuditLog::open(&path).unwrap();
    log.rebuild("sessions").unwrap();
    log.wait_caught_up_within(log.committed(), PATIENCE).unwrap();
    log.close().unwrap();
    verify_whole(&path);
}
