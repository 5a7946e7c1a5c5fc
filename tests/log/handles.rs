//! What a pipeline records through session and step handles, as readers of the file find it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::support::{rows_of, sqlite};
use annals::{
    Actor, AppendError, AuditLog, Basis, Delegation, Digest, FindingStatus, Outcome, PolicyEffect, Session,
    SessionProgress, Severity, Step, StepKind, Timestamp, Verdict,
};
use rusqlite::Connection;
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
    log: AuditLog,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|builder| builder)
    }

    fn with(configure: impl FnOnce(annals::Builder) -> annals::Builder) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let log = configure(AuditLog::builder(folder.path().join("audit.db"))).open().unwrap();
        Fixture { folder, log }
    }

    /// Rows of a query, once the read tables hold everything; NULL is `-`.
    fn rows(&self, query: &str) -> Vec<String> {
        self.log.wait_caught_up(self.log.flush().unwrap()).unwrap();
        rows_of(&sqlite(&self.folder.path().join("audit.db")), query)
    }
}

const SESSION: &str = "SELECT id, status, summary, error FROM sessions";
const STEPS: &str = "SELECT id, parent_step_id, status, error FROM steps ORDER BY first_seq";

#[test]
fn a_session_has_what_its_start_and_its_end_said() {
    let fixture = Fixture::new();
    let parent = fixture.log.session("outer").id("parent").start().unwrap();
    let session = fixture
        .log
        .session("claims")
        .id("claim/17")
        .input("Is it covered?")
        .conversation("chat-3")
        .agent("adjuster")
        .agent_version("2")
        .model("small-1")
        .source("test")
        .tenant("acme")
        .parent_session(parent.id().clone())
        .label("line", "home")
        .attribute("priority", &3)
        .start()
        .unwrap();
    session.update().status(SessionProgress::Paused).progress(0.5).message("half").record().unwrap();
    session
        .end()
        .summary("covered")
        .risk_level(Severity::Low)
        .score("quality", 4.5)
        .tokens(10, 20)
        .cost_usd(0.25)
        .completed()
        .unwrap()
        .wait()
        .unwrap();
    parent.end().cancelled("enough").unwrap().wait().unwrap();
    let rows = fixture.rows(
        "SELECT profile, input, conversation_id, agent, agent_version, model, source, tenant, parent_session_id,
                labels, attributes ->> 'priority', progress, message, status, summary, risk_level,
                scores, tokens_used, cost_usd, error FROM sessions ORDER BY id",
    );
    assert_eq!(
        rows[0],
        "claims | Is it covered? | chat-3 | adjuster | 2 | small-1 | test | acme | parent | {\"line\":\"home\"} | 3 | \
         0.5 | half | completed | covered | low | {\"quality\":4.5} | 30 | 0.25 | -"
    );
    assert!(rows[1].ends_with("| cancelled | - | - | - | - | - | enough"), "{}", rows[1]);
}

#[test]
fn nested_steps_name_their_parents() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").start().unwrap();
    let outer = session.step("outer").id("a").kind(StepKind::Agent).start().unwrap();
    let inner = outer.step("inner").id("a/b").start().unwrap();
    let innermost = inner.step("innermost").id("a/b/c").start().unwrap();
    let generated = session.step("other").start().unwrap();
    assert_eq!(generated.id().as_str().len(), 36);
    for step in [innermost, inner, outer, generated] {
        step.end().succeeded().unwrap();
    }
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows("SELECT id, parent_step_id, status, module FROM steps ORDER BY first_seq LIMIT 3"),
        ["a | - | ok | outer", "a/b | a | ok | inner", "a/b/c | a/b | ok | innermost"]
    );
    assert_eq!(fixture.rows("SELECT count(*) FROM steps WHERE parent_step_id IS NULL"), ["2"]);
}

#[test]
fn a_step_has_what_its_start_and_its_end_said() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").start().unwrap();
    let step =
        session.step("ask").kind(StepKind::Llm).model("m").input("in").input_summary("i").start().unwrap();
    step.end()
        .output("out")
        .output_summary("o")
        .confidence(0.75)
        .tokens(3, 4)
        .cost_usd(0.5)
        .attribute("finish", "stop")
        .succeeded()
        .unwrap();
    session.step("fail").start().unwrap().end().output("partial").failed("no answer").unwrap();
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows(
            "SELECT module, kind, model, input, input_summary, output, output_summary, confidence, tokens_input,
                    tokens_output, cost_usd, status, error, attributes ->> 'finish' FROM steps ORDER BY first_seq"
        ),
        [
            "ask | llm | m | in | i | out | o | 0.75 | 3 | 4 | 0.5 | ok | - | stop",
            "fail | - | - | - | - | partial | partial | - | - | - | - | error | no answer | -",
        ]
    );
}

#[test]
fn a_cancelled_step_is_neither_ok_nor_an_error_and_keeps_its_kinds_of_tokens() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").start().unwrap();
    let step = session.step("embed").kind(StepKind::Embedding).start().unwrap();
    step.end()
        .tokens(100, 20)
        .tokens_cache_read(64)
        .tokens_cache_write(32)
        .tokens_reasoning(12)
        .basis(Basis::Claimed)
        .cancelled("no longer needed")
        .unwrap();
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows(
            "SELECT kind, status, error, tokens_used, tokens_cache_read, tokens_cache_write, tokens_reasoning, basis
             FROM steps"
        ),
        ["embedding | cancelled | no longer needed | 120 | 64 | 32 | 12 | claimed"]
    );
    assert_eq!(fixture.rows("SELECT step_count, error_count FROM sessions"), ["1 | 0"]);
}

#[test]
fn a_policy_decision_and_a_decision_for_somebody_have_what_they_said() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").id("s-1").start().unwrap();
    let step = session.step("pay").id("1").start().unwrap();
    let principal = |id: &str, authorization: Option<&str>| Delegation {
        actor: Actor { id: id.into(), kind: None },
        authorization: authorization.map(Into::into),
    };
    let decision = step
        .decide("payment")
        .id("d-1")
        .chose("pay 700")
        .on_behalf_of(principal("u-1", Some("mandate 7")))
        .on_behalf_of(principal("acme", None))
        .basis(Basis::Observed)
        .record()
        .unwrap();
    step.policy("payments", PolicyEffect::Escalate)
        .about_decision(&decision)
        .policy_version("7")
        .rule("above-limit")
        .reason("more than 500")
        .actor("opa")
        .input(&[700])
        .record()
        .unwrap();
    session
        .review("ada", Verdict::Modified)
        .of_decision(&decision)
        .role("manager")
        .authority("limit of 5,000")
        .identified_by("sso")
        .saw("f-1")
        .saw("contract.pdf")
        .approved_digest(Digest::from_bytes([0; 32]))
        .expires_at("2026-12-20T12:00:00Z".parse().unwrap())
        .record()
        .unwrap();
    step.end().succeeded().unwrap();
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows("SELECT on_behalf_of, basis FROM decisions"),
        [r#"[{"actor":{"id":"u-1"},"authorization":"mandate 7"},{"actor":{"id":"acme"}}] | observed"#]
    );
    assert_eq!(
        fixture.rows(
            "SELECT session_id, step_id, subject_kind, subject_id, policy, policy_version, rule, effect, reason, actor,
                    input FROM policy_decisions"
        ),
        ["s-1 | 1 | decision | d-1 | payments | 7 | above-limit | escalate | more than 500 | opa | [700]"]
    );
    assert_eq!(fixture.rows("SELECT subject_id FROM timeline WHERE kind = 'policy.decided'"), ["d-1"]);
    assert_eq!(
        fixture.rows(
            "SELECT verdict, role, authority, identified_by, evidence_seen, approved_digest, expires_at FROM reviews"
        ),
        [format!(
            r#"modified | manager | limit of 5,000 | sso | ["f-1","contract.pdf"] | {} | 2026-12-20 12:00:00.000000"#,
            "0".repeat(64)
        )]
    );
}

#[test]
fn times_are_those_of_the_logs_clock() {
    let now = Arc::new(AtomicI64::new(1_000_000));
    let clock = now.clone();
    let fixture =
        Fixture::with(|builder| builder.clock(move || Timestamp::from_micros(clock.load(Ordering::Relaxed))));
    let session = fixture.log.session("p").start().unwrap();
    let step = session.step("s").start().unwrap();
    now.store(1_500_000, Ordering::Relaxed);
    step.end().succeeded().unwrap();
    now.store(3_000_000, Ordering::Relaxed);
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows("SELECT started_at, duration_us FROM steps"),
        ["1970-01-01 00:00:01.000000 | 500000"]
    );
    assert_eq!(fixture.rows("SELECT duration_us FROM sessions"), ["2000000"]);
}

#[test]
fn a_dropped_step_ends_in_error_and_a_dropped_session_is_disconnected() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").id("s").start().unwrap();
    drop(session.step("m").id("forgotten").start().unwrap());
    let half_ended = session.step("m").id("half-ended").start().unwrap().end().output("x");
    drop(half_ended);
    drop(session.end().summary("x"));
    assert_eq!(
        fixture.rows(STEPS),
        ["forgotten | - | error | dropped without an end", "half-ended | - | error | dropped without an end"]
    );
    assert_eq!(fixture.rows(SESSION), ["s | disconnected | - | dropped without an end"]);
    assert_eq!(fixture.log.refused(), 0);
}

#[test]
fn a_panic_ends_what_was_open_as_failed() {
    let fixture = Fixture::new();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let session = fixture.log.session("p").id("s").start().unwrap();
        let _step = session.step("m").id("a").start().unwrap();
        panic!("on purpose");
    }));
    assert!(panic.is_err());
    assert_eq!(fixture.rows(STEPS), ["a | - | error | panicked"]);
    assert_eq!(fixture.rows(SESSION), ["s | failed | - | panicked"]);
}

#[test]
fn an_end_is_recorded_once() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").start().unwrap();
    session.step("m").start().unwrap().end().succeeded().unwrap();
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows("SELECT kind, count(*) FROM timeline WHERE kind LIKE '%.ended' GROUP BY kind"),
        ["session.ended | 1", "step.ended | 1"]
    );
}

#[test]
fn an_end_that_cannot_be_recorded_as_it_is_leaves_a_plainer_one() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").id("s").start().unwrap();
    let step = session.step("m").id("a").start().unwrap();
    assert!(matches!(step.end().confidence(1.5).succeeded(), Err(AppendError::Unfit(_))));
    assert!(matches!(session.end().score("x", f64::NAN).completed(), Err(AppendError::Unfit(_))));
    assert_eq!(
        fixture.rows(STEPS),
        [
            "a | - | ok | its end could not be recorded as it was: step.ended: field `confidence` is 1.5, not between 0 and 1"
        ]
    );
    assert_eq!(
        fixture.rows(SESSION),
        [
            "s | completed | - | its end could not be recorded as it was: session.ended: field `scores.x` is NaN, not a finite number"
        ]
    );
    assert_eq!(fixture.log.refused(), 0);
}

#[test]
fn drops_after_the_log_was_closed_are_counted_and_do_not_panic() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").start().unwrap();
    let step = session.step("m").start().unwrap();
    fixture.log.clone().close().unwrap();
    assert!(matches!(session.step("late").start(), Err(AppendError::Closed)));
    drop(step);
    drop(session);
    assert_eq!(fixture.log.refused(), 2);
}

#[test]
fn a_drop_does_not_wait_for_ever_for_a_log_that_is_stuck() {
    let fixture = Fixture::with(|builder| builder.queue_events(1));
    let session = fixture.log.session("p").start().unwrap();
    let [first, steps @ ..] = [(); 4].map(|()| session.step("m").start().unwrap());
    fixture.log.flush().unwrap();
    let other = Connection::open(fixture.folder.path().join("audit.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // One end is with the writer, which gathers no more once it waits for the file, and one in the queue: the others
    // come back.
    drop(first);
    std::thread::sleep(Duration::from_millis(500));
    drop(steps);
    assert!(fixture.log.refused() >= 2, "{}", fixture.log.refused());
    other.execute_batch("ROLLBACK").unwrap();
    session.end().completed().unwrap().wait().unwrap();
    let lost = fixture.rows("SELECT count(*) FROM timeline WHERE kind = 'events.lost'");
    assert_eq!(lost, ["1"], "the log says that ends of steps are missing");
}

#[test]
fn a_filter_that_panics_does_not_abort_an_unwinding_thread() {
    let fixture = Fixture::with(|builder| {
        builder.filter(|draft| {
            assert!(!draft.event.kind().name().ends_with(".ended"), "the filter panics");
            Ok(())
        })
    });
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _session = fixture.log.session("p").start().unwrap();
        panic!("on purpose");
    }));
    assert!(panic.is_err());
    assert_eq!(fixture.log.refused(), 1);
}

#[test]
fn decisions_land_with_options_choice_and_reason() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").start().unwrap();
    let step = session.step("m").id("a").start().unwrap();
    let given = step
        .decide("tool")
        .id("d1")
        .option("search", 0.7)
        .options(["ask", "wait"])
        .chose("search")
        .because("it names a document")
        .confidence(0.7)
        .actor("planner")
        .record()
        .unwrap();
    assert_eq!(given.as_str(), "d1");
    let made =
        session.decide("beam").options([("x", 2.0), ("y", 1.0)]).chose_all(["x", "y"]).record().unwrap();
    step.end().succeeded().unwrap();
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows(
            "SELECT id, step_id, decision_type, options_considered, chosen_option, chosen_options, rationale,
                    confidence, actor FROM decisions ORDER BY first_seq"
        ),
        [
            "d1 | a | tool | [{\"option\":\"search\",\"score\":0.7},{\"option\":\"ask\"},{\"option\":\"wait\"}] | search | \
             [\"search\"] | it names a document | 0.7 | planner"
                .to_owned(),
            format!(
                "{made} | - | beam | [{{\"option\":\"x\",\"score\":2.0}},{{\"option\":\"y\",\"score\":1.0}}] | x | \
                 [\"x\",\"y\"] | - | - | -"
            ),
        ]
    );
}

#[test]
fn findings_land_and_are_updated() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").start().unwrap();
    let step = session.step("check").id("a").start().unwrap();
    let finding = step
        .finding("grammar")
        .pattern("spelling")
        .severity(Severity::Medium)
        .outcome(Outcome::Fail)
        .confidence(0.9)
        .title("t")
        .description("d")
        .plain_english("p")
        .suggestion("s")
        .legal_source("l")
        .scope("c")
        .rule_version("1")
        .evidence(&["teh"])
        .record()
        .unwrap();
    session.update_finding(&finding).status(FindingStatus::Applied).corrected("teh", "the").record().unwrap();
    step.end().succeeded().unwrap();
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows(
            "SELECT step_id, category, pattern_type, severity, outcome, confidence, title, description, plain_english,
                    suggestion, legal_source, scope, rule_version, evidence, status FROM findings"
        ),
        ["a | grammar | spelling | medium | fail | 0.9 | t | d | p | s | l | c | 1 | [\"teh\"] | applied"]
    );
    assert_eq!(fixture.rows("SELECT original, corrected FROM finding_updates"), ["teh | the"]);
}

#[test]
fn notes_metrics_artifacts_and_reviews_land() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").id("s").start().unwrap();
    let step = session.step("m").id("a").start().unwrap();
    step.note("hello").level("debug").data(&[1, 2]).record().unwrap();
    session.note("bye").record().unwrap();
    session.metric("latency", 1.5).unit("ms").label("host", "h").record().unwrap();
    let digest =
        step.artifact("content").label("f.txt").media_type("text/plain").position(2).record().unwrap();
    session.artifact_with_digest(digest).size(7).record().unwrap();
    let decision = step.decide("d").record().unwrap();
    session.review("ito", Verdict::Approved).of_decision(&decision).reason("fine").commit().unwrap();
    session.review("ito", Verdict::Rejected).record().unwrap();
    step.end().succeeded().unwrap();
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows("SELECT session_id, step_id, level, message, data FROM notes ORDER BY seq"),
        ["s | a | debug | hello | [1,2]", "s | - | - | bye | -"]
    );
    assert_eq!(
        fixture.rows("SELECT name, value, unit, labels FROM metrics"),
        ["latency | 1.5 | ms | {\"host\":\"h\"}"]
    );
    assert_eq!(
        fixture.rows("SELECT step_id, label, position, media_type, size, id FROM artifacts ORDER BY seq"),
        [format!("a | f.txt | 2 | text/plain | 7 | {digest}"), format!("- | - | - | - | 7 | {digest}")]
    );
    assert_eq!(
        fixture.rows("SELECT actor, subject_kind, subject_id, verdict, reason FROM reviews ORDER BY seq")[0],
        format!("ito | decision | {decision} | approved | fine")
    );
}

#[test]
fn values_that_cannot_be_recorded_are_named_by_the_call_that_records() {
    let fixture = Fixture::new();
    let keys_that_are_no_text = std::collections::HashMap::from([((1, 2), 3)]);
    let session = fixture.log.session("p").start().unwrap();
    let step = session.step("m").start().unwrap();
    let errors = [
        fixture.log.session("p").id("").start().map(drop),
        session.step("m").id("a\nb").start().map(drop),
        step.decide("d").id("").record().map(drop),
        step.finding("f").evidence(&keys_that_are_no_text).record().map(drop),
        session.metric("m", f64::INFINITY).record(),
        session.note("n").attribute("x", &keys_that_are_no_text).record(),
    ];
    let fields = errors.map(|error| match error {
        Err(AppendError::Unfit(annals::PrepareError::Invalid(invalid))) => invalid.field,
        other => panic!("{other:?}"),
    });
    assert_eq!(fields, ["session", "step", "decision", "evidence", "value", "attributes.x"]);
    step.end().succeeded().unwrap();
    session.end().completed().unwrap().wait().unwrap();
}

#[test]
fn threads_share_a_session_and_take_steps_along() {
    fn shared<T: Send + Sync>() {}
    shared::<Session>();
    shared::<Step>();

    let fixture = Fixture::new();
    let session = fixture.log.session("p").start().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let session = &session;
            scope.spawn(move || {
                for step in 0..25 {
                    let step = session.step(format!("{thread}/{step}")).start().unwrap();
                    step.decide("d").chose("x").record().unwrap();
                    step.end().succeeded().unwrap();
                }
            });
        }
    });
    session.end().completed().unwrap().wait().unwrap();
    assert_eq!(
        fixture.rows("SELECT step_count, error_count, decision_count, event_count FROM sessions"),
        ["100 | 0 | 100 | 302"]
    );
}

#[test]
fn a_declaration_of_coverage_announces_what_the_handle_and_its_steps_have_sent() {
    let fixture = Fixture::new();
    let session = fixture.log.session("p").id("s-1").start().unwrap();
    let step = session.step("pay").id("1").start().unwrap();
    step.note("a").record().unwrap();
    // An event that cannot be recorded is not announced.
    let unfit = step.decide("d").confidence(2.0).record();
    assert!(matches!(unfit, Err(AppendError::Unfit(_))), "{unfit:?}");
    step.end().succeeded().unwrap();
    session.coverage("desk").records("tool calls").omits("model calls").record().unwrap();
    session.coverage("desk").record().unwrap();
    // Another handle of the same session counts by itself.
    let again = fixture.log.session("p").id("s-1").start().unwrap();
    again.coverage("desk").record().unwrap();
    drop(session.end().completed().unwrap());
    drop(again.end().completed().unwrap());
    assert_eq!(
        fixture.rows("SELECT source, records, omits, announced FROM coverage_declarations"),
        [
            r#"desk | ["tool calls"] | ["model calls"] | {"note.logged":1,"session.started":1,"step.ended":1,"step.started":1}"#,
            r#"desk | - | - | {"coverage.declared":1,"note.logged":1,"session.started":1,"step.ended":1,"step.started":1}"#,
            r#"desk | - | - | {"session.started":1}"#,
        ]
    );
    assert_eq!(fixture.rows("SELECT count(DISTINCT instance) FROM coverage_declarations"), ["2"]);
}
