//! The five systems that Annals replaces the audit storage of: what each records, in the JSON form, and
//! the questions that it asks, answered from the read tables alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{json, new_path, sqlite, verify_whole};
use annals::{AuditLog, Timestamp};
use tempfile::TempDir;

/// A log with these events, one JSON object a line, closed. `@<n>` stands for the time n days ago.
fn recorded(lines: &str) -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = (0..=90).rev().fold(line.to_owned(), |line, days| {
            let time = Timestamp::from_micros(Timestamp::now().micros() - days * 86_400_000_000);
            line.replace(&format!("\"@{days}\""), &format!("\"{time}\""))
        });
        drop(log.append(json(&line)).unwrap());
    }
    log.flush().unwrap();
    log.close().unwrap();
    verify_whole(&path);
    (folder, path)
}

/// The rows that a question gets, as text: NULL is empty.
fn ask(path: &Path, sql: &str) -> Vec<String> {
    let connection = sqlite(path);
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    statement
        .query_map([], |row| {
            let cells: Vec<String> = (0..columns)
                .map(|column| match row.get_ref(column).unwrap() {
                    rusqlite::types::ValueRef::Null => String::new(),
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    rusqlite::types::ValueRef::Real(number) => number.to_string(),
                    cell => cell.as_str().unwrap().to_owned(),
                })
                .collect();
            Ok(cells.join("|"))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// The same from the `sqlite3` command. None, and a word about it, on a machine without one.
fn ask_sqlite3(path: &Path, sql: &str) -> Option<Vec<String>> {
    let spawned = Command::new("sqlite3")
        .args(["-readonly", "-bail"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: there is no command sqlite3 here ({error})");
            return None;
        }
        Err(error) => panic!("the command sqlite3: {error}"),
    };
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// The example queries of the reasoning engine's decision record, as they stand there.
const LOW_CONFIDENCE: &str = "-- Find all sessions with low confidence steps
SELECT DISTINCT s.id, s.started_at, MIN(st.confidence) as min_conf
FROM sessions s
JOIN steps st ON st.session_id = s.id
GROUP BY s.id
HAVING MIN(st.confidence) < 0.7;";
const MODULE_USAGE: &str = "-- Module usage statistics
SELECT module, COUNT(*) as uses, AVG(confidence) as avg_conf
FROM steps
WHERE started_at > datetime('now', '-7 days')
GROUP BY module
ORDER BY uses DESC;";
const REPLAY: &str = "-- Reasoning chain replay data
SELECT * FROM steps
WHERE session_id = 'sess_abc123'
ORDER BY started_at;";

#[test]
fn the_reasoning_engines_queries_run_as_they_stand() {
    let (_folder, path) = recorded(
        r#"
        {"type":"session.started","session":"sess_abc123","at":"2026-11-20T12:00:00Z","profile":"balanced","input":"why is the sky blue?"}
        {"type":"step.started","session":"sess_abc123","step":"2","module":"proofguard","kind":"llm","at":"@0"}
        {"type":"step.ended","session":"sess_abc123","step":"2","status":"ok","output":"checked","confidence":0.65,"tokens_input":10,"tokens_output":5,"at":"@0"}
        {"type":"step.started","session":"sess_abc123","step":"1","module":"gigathink","kind":"llm","at":"@1"}
        {"type":"step.ended","session":"sess_abc123","step":"1","status":"ok","output":"ten ideas","confidence":0.75,"at":"@1"}
        {"type":"decision.made","session":"sess_abc123","step":"1","decision_type":"branch","options_considered":["physics","poetry"],"chosen_option":"physics","rationale":"asked for a cause"}
        {"type":"session.ended","session":"sess_abc123","status":"completed","at":"@0"}
        {"type":"session.started","session":"sess_sure","at":"@3","profile":"quick"}
        {"type":"step.started","session":"sess_sure","step":"1","module":"gigathink","at":"@3"}
        {"type":"step.ended","session":"sess_sure","step":"1","status":"ok","confidence":0.75}
        "#,
    );
    let Some(low) = ask_sqlite3(&path, LOW_CONFIDENCE) else { return };
    assert_eq!(low, ["sess_abc123|2026-11-20 12:00:00.000000|0.65"]);
    assert_eq!(ask_sqlite3(&path, MODULE_USAGE).unwrap(), ["gigathink|2|0.75", "proofguard|1|0.65"]);
    let replay = ask_sqlite3(&path, REPLAY).unwrap();
    let [first, second] = replay.as_slice() else { panic!("{replay:?}") };
    assert!(first.starts_with("1|sess_abc123|") && first.contains("|gigathink|"), "{first}");
    assert!(second.starts_with("2|sess_abc123|") && second.contains("|proofguard|"), "{second}");
    // The answers do not depend on the program that asks.
    for sql in [LOW_CONFIDENCE, MODULE_USAGE, REPLAY] {
        let sql: String = sql.lines().skip(1).collect::<Vec<_>>().join("\n");
        assert_eq!(ask(&path, &sql), ask_sqlite3(&path, &sql).unwrap());
    }
    // What the record's own tables have beside.
    assert_eq!(
        ask(
            &path,
            "SELECT step_id, decision_type, options_considered ->> '$[1].option', chosen_option, rationale FROM decisions"
        ),
        ["1|branch|poetry|physics|asked for a cause"]
    );
    assert_eq!(ask(&path, "SELECT id FROM sessions WHERE input_hash IS NOT NULL"), ["sess_abc123"]);
    assert_eq!(ask(&path, "SELECT tokens_used FROM steps WHERE tokens_used > 0"), ["15"]);
}

#[test]
fn a_module_seen_long_ago_is_not_used_this_week() {
    let (_folder, path) = recorded(
        r#"
        {"type":"step.started","session":"s","step":"old","module":"laserlogic","at":"@30"}
        {"type":"step.started","session":"s","step":"new","module":"bedrock","at":"@6"}
        {"type":"step.started","session":"s","step":"edge","module":"brutal","at":"@8"}
        "#,
    );
    let Some(usage) = ask_sqlite3(&path, MODULE_USAGE) else { return };
    assert_eq!(usage, ["bedrock|1|"]);
}

#[test]
fn website_audits_are_found_by_status_time_score_and_address() {
    let (_folder, path) = recorded(
        r#"
        {"type":"session.started","session":"audit-1","at":"@2","profile":"full","labels":{"url":"https://shop.example/","site_type":"ecommerce"}}
        {"type":"session.updated","session":"audit-1","progress":0.4,"message":"taking screenshots"}
        {"type":"artifact.attached","session":"audit-1","artifact":"abababababababababababababababababababababababababababababababab","label":"checkout","position":0,"media_type":"image/png","size":48211,"file_path":"shots/0.png"}
        {"type":"finding.raised","session":"audit-1","finding":"f1","category":"urgency","pattern_type":"countdown","severity":"high","confidence":0.91,"description":"timer restarts","plain_english":"The timer is not real.","screenshot_index":0}
        {"type":"finding.raised","session":"audit-1","finding":"f2","category":"sneaking","pattern_type":"hidden-cost","severity":"critical","confidence":0.7}
        {"type":"finding.raised","session":"audit-1","finding":"f3","category":"sneaking","pattern_type":"hidden-cost","severity":"low","confidence":0.4}
        {"type":"session.ended","session":"audit-1","at":"@1","status":"completed","summary":"Two grave patterns.","risk_level":"high","scores":{"trust_score":34.5,"visual":0.2},"security_results":{"https":true},"statistics":{"elements":311}}
        {"type":"session.started","session":"audit-2","at":"@40","labels":{"url":"https://news.example/"}}
        {"type":"session.ended","session":"audit-2","at":"@40","status":"completed","risk_level":"low","scores":{"trust_score":92}}
        {"type":"session.started","session":"audit-3","at":"@0","labels":{"url":"https://shop.example/"}}
        {"type":"session.updated","session":"audit-3","status":"queued"}
        {"type":"session.ended","session":"audit-4","status":"disconnected","error":"the client went away"}
        "#,
    );
    assert_eq!(
        ask(
            &path,
            "SELECT id FROM sessions WHERE status = 'completed' AND started_at > datetime('now', '-30 days')"
        ),
        ["audit-1"]
    );
    assert_eq!(
        ask(&path, "SELECT status, count(*) FROM sessions GROUP BY status ORDER BY status"),
        ["completed|2", "disconnected|1", "queued|1"]
    );
    assert_eq!(
        ask(&path, "SELECT id, scores ->> 'trust_score' FROM sessions WHERE scores ->> 'trust_score' < 50"),
        ["audit-1|34.5"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT id FROM sessions WHERE labels ->> 'url' = 'https://shop.example/' ORDER BY started_at"
        ),
        ["audit-1", "audit-3"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT severity, count(*) FROM findings WHERE session_id = 'audit-1' GROUP BY severity
             ORDER BY CASE severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 ELSE 4 END"
        ),
        ["critical|1", "high|1", "low|1"]
    );
    // The screenshot of a finding, by its index.
    assert_eq!(
        ask(
            &path,
            "SELECT f.plain_english, a.label, a.attributes ->> 'file_path' FROM findings f
             JOIN artifacts a ON a.session_id = f.session_id AND a.position = f.attributes ->> 'screenshot_index'"
        ),
        ["The timer is not real.|checkout|shots/0.png"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT risk_level, summary, attributes ->> '$.statistics.elements', finding_count, progress FROM sessions WHERE id = 'audit-1'"
        ),
        ["high|Two grave patterns.|311|3|0.4"]
    );
    assert_eq!(
        ask(&path, "SELECT error FROM sessions WHERE status = 'disconnected'"),
        ["the client went away"]
    );
    // The stream of progress events.
    assert_eq!(
        ask(&path, "SELECT kind FROM timeline WHERE session_id = 'audit-3' ORDER BY seq"),
        ["session.started", "session.updated"]
    );
}

#[test]
fn governance_of_requests_has_its_four_views() {
    let (_folder, path) = recorded(
        r#"
        {"type":"session.started","session":"r1","at":"@0","profile":"triage","labels":{"drag_mode":"direct"}}
        {"type":"session.ended","session":"r1","status":"completed","at":"@0"}
        {"type":"session.started","session":"r2","at":"@0","profile":"triage","labels":{"drag_mode":"governed"}}
        {"type":"session.ended","session":"r2","status":"failed","at":"@0"}
        {"type":"session.started","session":"r3","at":"@0","profile":"report","labels":{"drag_mode":"governed"}}
        {"type":"session.ended","session":"r3","status":"completed","at":"@0"}
        {"type":"session.started","session":"r4","at":"@0","profile":"report","labels":{"drag_mode":"governed"}}
        {"type":"action.recorded","session":"r2","at":"@0","actor":{"id":"ann","kind":"sre"},"action":"workflow.run","entity_type":"workflow","entity_id":"triage","outcome":"denied","reason":"no scope","context":{"ip":"10.0.0.1","request_id":"q1"}}
        {"type":"action.recorded","at":"@0","actor":{"id":"ann","kind":"sre"},"action":"key.create","entity_type":"api_key","entity_id":"k1","outcome":"success"}
        {"type":"action.recorded","at":"@2","actor":{"id":"bob","kind":"auditor"},"action":"log.read","outcome":"success"}
        {"type":"metric.recorded","session":"r2","at":"@0","name":"governance.score","value":0.5,"labels":{"drag_mode":"governed"}}
        {"type":"metric.recorded","session":"r3","at":"@0","name":"governance.score","value":1.0,"labels":{"drag_mode":"governed"}}
        {"type":"review.recorded","session":"r2","actor":"bob","subject_kind":"session","verdict":"overridden","reason":"was right"}
        "#,
    );
    // They are views of the user's own: a rebuild leaves them alone, and they are no damage.
    sqlite(&path)
        .execute_batch(
            "CREATE VIEW v_recent_governance AS
               SELECT acted_at, actor_id, action, outcome, reason, request_id FROM actions
               WHERE acted_at > datetime('now', '-1 day') ORDER BY acted_at DESC;
             CREATE VIEW v_workflow_success_rate AS
               SELECT profile AS workflow, count(*) AS runs,
                      avg(status = 'completed') FILTER (WHERE status IN ('completed', 'failed')) AS success_rate
               FROM sessions GROUP BY profile;
             CREATE VIEW v_drag_mode_distribution AS
               SELECT labels ->> 'drag_mode' AS mode, count(*) AS requests, sum(status = 'completed') AS succeeded
               FROM sessions GROUP BY mode;
             CREATE VIEW v_user_activity AS
               SELECT actor_id, actor_kind, count(*) AS actions, sum(outcome = 'denied') AS denied, max(acted_at) AS last_at
               FROM actions GROUP BY actor_id;",
        )
        .unwrap();
    let log = AuditLog::open(&path).unwrap();
    log.rebuild("sessions").unwrap();
    log.rebuild("activity").unwrap();
    log.close().unwrap();
    assert_eq!(verify_whole(&path).foreign_objects.len(), 4);
    assert_eq!(
        ask(&path, "SELECT action, outcome, request_id FROM v_recent_governance ORDER BY action"),
        ["key.create|success|", "workflow.run|denied|q1"]
    );
    assert_eq!(
        ask(&path, "SELECT * FROM v_workflow_success_rate ORDER BY workflow"),
        ["report|2|1", "triage|2|0.5"]
    );
    assert_eq!(
        ask(&path, "SELECT * FROM v_drag_mode_distribution ORDER BY mode"),
        ["direct|1|1", "governed|3|1"]
    );
    assert_eq!(
        ask(&path, "SELECT actor_id, actor_kind, actions, denied FROM v_user_activity ORDER BY actor_id"),
        ["ann|sre|2|1", "bob|auditor|1|0"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT labels ->> 'drag_mode', avg(value) FROM metrics WHERE name = 'governance.score' GROUP BY 1"
        ),
        ["governed|0.75"]
    );
    assert_eq!(ask(&path, "SELECT subject_id, verdict, actor FROM reviews"), ["r2|overridden|bob"]);
}

#[test]
fn red_teaming_runs_reports_and_keys_are_counted() {
    let (_folder, path) = recorded(
        r#"
        {"type":"session.started","session":"x1","at":"@3","source":"orchestrator","agent":"crescendo","labels":{"orchestrator_id":"o1"}}
        {"type":"session.ended","session":"x1","at":"@3","status":"completed","scores":{"attack_success_rate":0.4}}
        {"type":"session.started","session":"x2","at":"@4","source":"orchestrator","labels":{"orchestrator_id":"o1"}}
        {"type":"session.ended","session":"x2","at":"@4","status":"failed","error":"target unreachable"}
        {"type":"session.started","session":"x3","at":"@60","source":"orchestrator","labels":{"orchestrator_id":"o2"}}
        {"type":"action.recorded","at":"@1","actor":{"id":"u1"},"action":"api_key.created","entity_type":"api_key","entity_id":"k1","changes":{"after":{"permissions":["scan"],"expires_at":"2027-01-01"}}}
        {"type":"action.recorded","at":"@1","actor":{"id":"u1"},"action":"api_key.used","entity_type":"api_key","entity_id":"k1"}
        {"type":"action.recorded","at":"@0","actor":{"id":"u1"},"action":"api_key.used","entity_type":"api_key","entity_id":"k1"}
        {"type":"action.recorded","at":"@2","actor":{"id":"u1"},"action":"report.generated","entity_type":"report_template","entity_id":"t1","outcome":"success","format":"pdf"}
        {"type":"action.recorded","at":"@2","actor":{"id":"u1"},"action":"report.generated","entity_type":"report_template","entity_id":"t1","outcome":"failed","format":"html"}
        {"type":"custom","name":"schedule.set","at":"@5","data":{"frequency":"weekly","time":"06:00","timezone":"UTC","days":["mon"]}}
        {"type":"custom","name":"schedule.set","at":"@4","data":{"frequency":"daily","time":"07:00","timezone":"UTC"}}
        "#,
    );
    assert_eq!(
        ask(
            &path,
            "SELECT labels ->> 'orchestrator_id' AS orchestrator_id, status, COUNT(*) AS execution_count
             FROM sessions WHERE started_at > date('now', '-30 days') GROUP BY orchestrator_id, status ORDER BY status"
        ),
        ["o1|completed|1", "o1|failed|1"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT entity_id AS template_id, outcome, COUNT(*) AS report_count FROM actions
             WHERE action = 'report.generated' AND acted_at > date('now', '-7 days') GROUP BY template_id, outcome ORDER BY outcome"
        ),
        ["t1|failed|1", "t1|success|1"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT entity_id, count(*) FILTER (WHERE action = 'api_key.used'), max(acted_at) > datetime('now', '-1 hour')
             FROM actions WHERE entity_type = 'api_key' GROUP BY entity_id"
        ),
        ["k1|2|1"]
    );
    assert_eq!(
        ask(&path, "SELECT after ->> '$.permissions[0]' FROM actions WHERE action = 'api_key.created'"),
        ["scan"]
    );
    // The schedule that holds is the last one.
    assert_eq!(
        ask(
            &path,
            "SELECT data ->> 'frequency' FROM custom_events WHERE name = 'schedule.set' ORDER BY seq DESC LIMIT 1"
        ),
        ["daily"]
    );
    assert_eq!(ask(&path, "SELECT attributes ->> 'format' FROM actions WHERE outcome = 'failed'"), ["html"]);
}

#[test]
fn compliance_validations_have_gates_corrections_and_a_trail() {
    let (_folder, path) = recorded(
        r#"
        {"type":"session.started","session":"val-1","at":"@1","profile":"fca_uk","tenant":"client_123","labels":{"document_id":"doc-1","document_type":"financial","version":"2"}}
        {"type":"finding.raised","session":"val-1","finding":"g1","category":"gate","pattern_type":"fair-clear","outcome":"fail","severity":"critical","legal_source":"FCA COBS 4.2.1","suggestion":"say what it costs","title":"promise without risk"}
        {"type":"finding.raised","session":"val-1","finding":"g2","category":"gate","pattern_type":"risk-warning","outcome":"pass"}
        {"type":"finding.raised","session":"val-1","finding":"g3","category":"gate","pattern_type":"opt-out","outcome":"warning","severity":"low"}
        {"type":"finding.raised","session":"val-1","finding":"g4","category":"gate","pattern_type":"ocr","outcome":"error"}
        {"type":"finding.updated","session":"val-1","finding":"g1","at":"@1","status":"applied","actor":"engine","correction":{"original":"no risk","corrected":"some risk","strategy":"template"}}
        {"type":"finding.updated","session":"val-1","finding":"g1","at":"@0","status":"reverted","actor":"ann","reason":"too weak","correction":{"original":"some risk","corrected":"no risk","strategy":"manual"}}
        {"type":"session.ended","session":"val-1","at":"@1","status":"completed","risk_level":"critical"}
        {"type":"action.recorded","at":"@1","actor":{"id":"user@example.com","kind":"user"},"action":"document.update","entity_type":"document","entity_id":"doc-1","changes":{"before":{"title":"Q4"},"after":{"title":"Q4 report"}},"context":{"ip":"192.0.2.7","user_agent":"curl/8","request_id":"req-9"},"tenant":"client_123"}
        {"type":"action.recorded","at":"@9","actor":{"id":"user@example.com","kind":"user"},"action":"export","entity_type":"validations","outcome":"success","tenant":"client_123","format":"excel","sha256":"00ff","record_count":12}
        {"type":"note.logged","session":"val-1","message":"annual report looked at by hand"}
        "#,
    );
    assert_eq!(
        ask(
            &path,
            "SELECT session_id, count(*) FILTER (WHERE outcome = 'pass'), count(*) FILTER (WHERE outcome = 'fail'),
                    count(*) FILTER (WHERE outcome = 'warning'), count(*) FILTER (WHERE outcome = 'skip'),
                    count(*) FILTER (WHERE outcome = 'error')
             FROM findings WHERE category = 'gate' GROUP BY session_id"
        ),
        ["val-1|1|1|1|0|1"]
    );
    assert_eq!(
        ask(&path, "SELECT legal_source, suggestion, status FROM findings WHERE outcome = 'fail'"),
        ["FCA COBS 4.2.1|say what it costs|reverted"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT previous_status, status, actor, original, corrected, strategy FROM finding_updates
             WHERE session_id = 'val-1' AND finding_id = 'g1' ORDER BY seq"
        ),
        ["open|applied|engine|no risk|some risk|template", "applied|reverted|ann|some risk|no risk|manual"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT action, before ->> 'title', after ->> 'title', ip, user_agent, request_id, tenant FROM actions
             WHERE actor_id = 'user@example.com' AND acted_at > datetime('now', '-7 days')"
        ),
        ["document.update|Q4|Q4 report|192.0.2.7|curl/8|req-9|client_123"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT id FROM sessions WHERE tenant = 'client_123' AND risk_level = 'critical' AND labels ->> 'document_type' = 'financial'"
        ),
        ["val-1"]
    );
    assert_eq!(
        ask(&path, "SELECT attributes ->> 'record_count' FROM actions WHERE action = 'export'"),
        ["12"]
    );
    assert_eq!(
        ask(
            &path,
            "SELECT d.session_id FROM search JOIN search_documents d ON d.seq = search.rowid WHERE search MATCH '\"annual report\"'"
        ),
        ["val-1"]
    );
}
