//! What an instrumented program leaves in a log, as readers of the file find it.

use crate::support;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{rows_of, sqlite};
use annals::tracing::{AuditLayer, LayerWatch, Sessions, WhenFull};
use annals::{AuditLog, StepKind};
use tempfile::TempDir;
use tracing::field::Empty;
use tracing::{Dispatch, Instrument, debug, error, info, info_span, instrument, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};

struct Fixture {
    folder: TempDir,
    log: AuditLog,
    dispatch: Dispatch,
    watch: LayerWatch,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|builder| builder, |layer| layer)
    }

    fn with(
        configure: impl FnOnce(annals::Builder) -> annals::Builder,
        adjust: impl FnOnce(AuditLayer) -> AuditLayer,
    ) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let log = configure(AuditLog::builder(folder.path().join("audit.db"))).open().unwrap();
        let layer = adjust(AuditLayer::new(log.clone()));
        let watch = layer.watch();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        Fixture { folder, log, dispatch, watch }
    }

    /// Runs a program whose spans and events are recorded.
    fn run<T>(&self, program: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, program)
    }

    /// Rows of a query, once the read tables hold everything; NULL is `-`.
    fn rows(&self, query: &str) -> Vec<String> {
        self.log.wait_caught_up(self.log.flush().unwrap()).unwrap();
        rows_of(&sqlite(&self.folder.path().join("audit.db")), query)
    }

    fn row(&self, query: &str) -> String {
        let mut rows = self.rows(query);
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }
}

#[test]
fn a_span_outside_of_all_others_is_a_session_and_those_within_are_steps() {
    let fixture = Fixture::new();
    fixture.run(|| {
        let session = info_span!(
            "claims",
            input = "Is claim 17 covered?",
            agent = "adjuster",
            labels.env = "test",
            shard = 7,
            summary = Empty,
        );
        let _entered = session.enter();
        {
            let step = info_span!(
                "assess",
                annals.kind = "llm",
                model = "small-1",
                input = "claim 17",
                output = Empty
            );
            let _entered = step.enter();
            let _search = info_span!("search", kind = "tool").entered();
            step.record("output", "covered");
        }
        session.record("summary", "It is covered.");
    });
    assert_eq!(
        fixture.row(
            "SELECT profile, status, input, agent, labels, summary, step_count, attributes, duration_us >= 0 FROM sessions"
        ),
        r#"claims | completed | Is claim 17 covered? | adjuster | {"env":"test"} | It is covered. | 2 | {"shard":7,"tracing.target":"clients::tracing_layer"} | 1"#
    );
    assert_eq!(
        fixture.rows(
            "SELECT s.module, p.module, s.kind, s.model, s.status, s.input, s.output FROM steps s
             LEFT JOIN steps p ON p.id = s.parent_step_id ORDER BY s.first_seq"
        ),
        ["assess | - | llm | small-1 | ok | claim 17 | covered", "search | assess | tool | - | ok | - | -"]
    );
    assert_eq!(fixture.watch.lost(), 0);
}

#[test]
fn what_is_recorded_later_is_in_the_tables_too() {
    let fixture = Fixture::new();
    fixture.run(|| {
        let _session = info_span!("s").entered();
        let step = info_span!(
            "call",
            model = Empty,
            tokens_input = Empty,
            tokens_output = Empty,
            cost_usd = Empty,
            confidence = Empty,
            attempt = 1,
            extra = Empty,
        );
        step.record("model", "large-2").record("tokens_input", 812).record("tokens_output", 64);
        step.record("cost_usd", 0.5).record("confidence", 0.75).record("attempt", 2).record("extra", "yes");
    });
    assert_eq!(
        fixture.row(
            "SELECT model, tokens_input, tokens_output, cost_usd, confidence, attributes FROM steps
             WHERE started_at IS NOT NULL AND ended_at IS NOT NULL"
        ),
        r#"large-2 | 812 | 64 | 0.5 | 0.75 | {"attempt":2,"extra":"yes","tracing.target":"clients::tracing_layer"}"#
    );
}

#[test]
fn marked_events_are_decisions_and_findings_and_the_others_notes() {
    let fixture = Fixture::new();
    fixture.run(|| {
        let _session = info_span!("s").entered();
        let _step = info_span!("plan", annals.step = "plan-1").entered();
        info!(
            annals.decision = "next-tool",
            annals.id = "d-1",
            option.search = 0.7,
            "option.ask the user" = 0.3,
            chosen_option = "search",
            confidence = 0.7,
            actor = "planner",
            latency_ms = 12,
            "the question names a document"
        );
        info!(target: "annals::decision", decision_type = "order", options_considered = ?["a", "b"], chosen_options = ?["b", "a"]);
        info!(
            annals.finding = "arithmetic",
            severity = "high",
            outcome = "fail",
            evidence = r#"{"stated": 41}"#,
            rule_version = 3,
            "the sum is wrong"
        );
        warn!(data = r"[1, 2]", retries = 2, "no hit");
        debug!("too fine");
    });
    assert_eq!(
        fixture.rows("SELECT id, step_id, decision_type, options_considered, chosen_options, rationale, confidence, actor, attributes FROM decisions ORDER BY first_seq LIMIT 1"),
        [r#"d-1 | plan-1 | next-tool | [{"option":"search","score":0.7},{"option":"ask the user","score":0.3}] | ["search"] | the question names a document | 0.7 | planner | {"latency_ms":12,"tracing.target":"clients::tracing_layer"}"#]
    );
    assert_eq!(
        fixture.rows("SELECT decision_type, options_considered, chosen_option, chosen_options FROM decisions WHERE id <> 'd-1'"),
        [r#"order | [{"option":"a"},{"option":"b"}] | b | ["b","a"]"#]
    );
    assert_eq!(
        fixture
            .row("SELECT step_id, category, severity, outcome, title, evidence, rule_version FROM findings"),
        r#"plan-1 | arithmetic | high | fail | the sum is wrong | {"stated": 41} | 3"#
    );
    assert_eq!(
        fixture.row("SELECT step_id, level, message, data, attributes FROM notes"),
        r#"plan-1 | warning | no hit | [1, 2] | {"retries":2,"tracing.target":"clients::tracing_layer"}"#
    );
}

#[test]
fn a_value_that_does_not_fit_its_field_is_kept_as_an_attribute() {
    let fixture = Fixture::new();
    fixture.run(|| {
        let _session = info_span!("s", annals.session = "s-1").entered();
        let _step = info_span!(
            "x",
            kind = "unheard-of",
            confidence = 1.5,
            tokens_input = -1,
            cost_usd = f64::NAN,
            step = 3,
            huge = u128::MAX
        )
        .entered();
        info!(annals.finding = true, severity = "quite", confidence = "high");
        info!(annals.decision = "d", options_considered = "one or two", chosen_options = "one");
    });
    assert_eq!(
        fixture.row("SELECT kind, confidence, tokens_input, cost_usd, attributes FROM steps"),
        concat!(
            "- | - | - | - | ",
            r#"{"confidence":1.5,"cost_usd":"NaN","huge":"340282366920938463463374607431768211455","kind":"unheard-of","step":3,"tokens_input":-1,"tracing.target":"clients::tracing_layer"}"#
        )
    );
    assert_eq!(
        fixture.row("SELECT category, severity, confidence, attributes FROM findings"),
        r#"- | - | - | {"confidence":"high","severity":"quite","tracing.target":"clients::tracing_layer"}"#
    );
    assert_eq!(
        fixture.row("SELECT options_considered, chosen_option, attributes FROM decisions"),
        r#"- | - | {"chosen_options":"one","options_considered":"one or two","tracing.target":"clients::tracing_layer"}"#
    );
    assert_eq!(fixture.watch.lost(), 0);
}

#[test]
fn errors_are_those_of_the_innermost_step_and_of_a_session_that_they_reach() {
    #[instrument(err)]
    fn read(name: &str) -> Result<(), std::num::ParseIntError> {
        name.parse::<u8>().map(drop)
    }
    let fixture = Fixture::new();
    fixture.run(|| {
        info_span!("recovers").in_scope(|| {
            let _ = read("three hundred");
            let source = std::io::Error::other("disk is gone");
            let step = info_span!("save", error = Empty).entered();
            step.record("error", &source as &(dyn std::error::Error + 'static));
        });
        info_span!("fails").in_scope(|| {
            error!(code = 7, "out of budget");
            error!("and then this");
        });
        info_span!("is-stopped", status = "cancelled").in_scope(|| {});
    });
    assert_eq!(
        fixture.rows("SELECT profile, status, error, error_count FROM sessions ORDER BY first_seq"),
        [
            "recovers | completed | - | 2",
            "fails | failed | out of budget | 0",
            "is-stopped | cancelled | - | 0"
        ]
    );
    assert_eq!(
        fixture.rows("SELECT module, status, error, attributes ->> 'name' FROM steps ORDER BY first_seq"),
        ["read | error | invalid digit found in string | three hundred", "save | error | disk is gone | -"]
    );
    assert_eq!(
        fixture.rows("SELECT level, message, attributes ->> 'code' FROM notes WHERE level = 'error' ORDER BY seq LIMIT 3 OFFSET 1"),
        ["error | out of budget | 7", "error | and then this | -"]
    );
}

#[test]
fn a_span_that_a_panic_leaves_has_failed() {
    let fixture = Fixture::new();
    fixture.run(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _session = info_span!("s").entered();
            let _step = info_span!("bursts").entered();
            panic!("as it should");
        }));
        assert!(caught.is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            async fn bursts() {
                panic!("as it should");
            }
            let task = tokio::spawn(bursts().instrument(info_span!("task")));
            assert!(task.await.is_err());
        });
    });
    assert_eq!(
        fixture.rows("SELECT profile, status, error FROM sessions ORDER BY first_seq"),
        ["s | failed | panicked", "task | failed | panicked"]
    );
    assert_eq!(fixture.row("SELECT module, status, error FROM steps"), "bursts | error | panicked");
}

#[test]
fn what_an_instrumented_function_returns_is_the_output_of_its_step() {
    #[instrument(ret, fields(annals.kind = "tool"))]
    fn add(left: u8, right: u8) -> u8 {
        left + right
    }
    let fixture = Fixture::new();
    fixture.run(|| info_span!("s").in_scope(|| add(1, 2)));
    assert_eq!(
        fixture.row("SELECT module, kind, output, attributes FROM steps"),
        r#"add | tool | 3 | {"left":1,"right":2,"tracing.target":"clients::tracing_layer"}"#
    );
    assert_eq!(fixture.rows("SELECT * FROM notes"), Vec::<String>::new());
}

/// The whole of a program: tasks on a runtime of several threads, threads of its own, errors, and spans
/// that follow from others.
#[test]
fn tasks_and_threads_record_in_the_session_whose_span_they_carry() {
    const QUESTIONS: usize = 8;
    let fixture = Fixture::new();
    let dispatch = fixture.dispatch.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_time()
        .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
        .build()
        .unwrap();

    async fn research(number: usize) {
        let search = info_span!("search", kind = "retrieval", annals.step = "search");
        async {
            for _ in 0..20 {
                // In and out of the span, on whatever thread is free.
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            info!(found = number, "searched");
        }
        .instrument(search.clone())
        .await;
        let answer = info_span!("answer", kind = "llm", annals.step = "answer", tokens_output = Empty);
        answer.follows_from(&search);
        let helpers: Vec<_> = (0..2)
            .map(|_| {
                let helper = info_span!(parent: &answer, "draft", kind = "llm", tokens_output = 5);
                tokio::spawn(async { tokio::task::yield_now().await }.instrument(helper))
            })
            .collect();
        for helper in helpers {
            helper.await.unwrap();
        }
        let check = answer.clone();
        let dispatch = tracing::dispatcher::get_default(Dispatch::clone);
        let thread = thread::Builder::new().spawn(move || {
            let _default = tracing::dispatcher::set_default(&dispatch);
            let _check = info_span!(parent: &check, "check", kind = "guardrail").entered();
            if number % 2 == 1 {
                error!(annals.finding = "odd", "the number is odd");
                error!(error = "odd numbers are not supported", "check failed");
            }
        });
        thread.unwrap().join().unwrap();
        answer.record("tokens_output", 10);
    }

    fixture.run(|| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..QUESTIONS)
                .map(|number| {
                    let id = format!("q-{number}");
                    let session =
                        info_span!(parent: None, "question", annals.session = id, conversation = "all");
                    tokio::spawn(research(number).instrument(session))
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    drop(runtime);

    let sessions = fixture.rows(
        "SELECT id, profile, conversation_id, status, step_count, error_count, decision_count, finding_count, tokens_output
         FROM sessions ORDER BY id",
    );
    // The call of the model sums up the two calls within it.
    let expected: Vec<_> = (0..QUESTIONS)
        .map(|number| format!("q-{number} | question | all | completed | 5 | {0} | 0 | {0} | 10", number % 2))
        .collect();
    assert_eq!(sessions, expected);
    assert_eq!(
        fixture.rows(
            "SELECT s.module, p.module, s.kind, s.status, s.error, s.attributes ->> 'follows_from', count(*)
             FROM steps s LEFT JOIN steps p ON p.session_id = s.session_id AND p.id = s.parent_step_id
             GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 4"
        ),
        [
            r#"answer | - | llm | ok | - | ["search"] | 8"#,
            "check | answer | guardrail | error | odd numbers are not supported | - | 4",
            "check | answer | guardrail | ok | - | - | 4",
            "draft | answer | llm | ok | - | - | 16",
            "search | - | retrieval | ok | - | - | 8",
        ]
    );
    assert_eq!(
        fixture.row("SELECT count(*) FROM notes WHERE step_id = 'search' AND session_id = 'q-' || (attributes ->> 'found')"),
        "8"
    );
    assert_eq!(fixture.row("SELECT count(*) FROM steps WHERE ended_at IS NULL OR started_at IS NULL"), "0");
    assert_eq!(fixture.watch.lost(), 0);
    let report = support::verify_whole(&fixture.folder.path().join("audit.db"));
    drop(report);
}

#[test]
fn a_session_within_a_session_has_it_as_parent_and_a_span_may_be_passed_over() {
    let fixture = Fixture::new();
    fixture.run(|| {
        let _passed_over = info_span!("server", annals.session = false).entered();
        let _outer = info_span!("outer", annals.session = "a").entered();
        let _step = info_span!("delegate").entered();
        let _inner = info_span!("inner", annals.session = "b").entered();
        let _step = info_span!("work").entered();
    });
    assert_eq!(
        fixture.rows("SELECT id, parent_session_id, profile FROM sessions ORDER BY id"),
        ["a | - | outer", "b | a | inner"]
    );
    assert_eq!(
        fixture.rows("SELECT session_id, parent_step_id, module FROM steps ORDER BY session_id"),
        ["a | - | delegate", "b | - | work"]
    );
}

#[test]
fn a_session_ends_after_its_last_step_and_goes_on_under_its_id() {
    let fixture = Fixture::new();
    fixture.run(|| {
        let session = info_span!("first", annals.session = "s-1");
        let step = info_span!(parent: &session, "late");
        drop(session);
        let dispatch = fixture.dispatch.clone();
        let other_thread = thread::Builder::new().spawn(move || {
            tracing::dispatcher::with_default(&dispatch, move || step.in_scope(|| info!("still here")));
        });
        other_thread.unwrap().join().unwrap();
        info_span!("second", annals.session = "s-1").in_scope(|| drop(info_span!("again")));
    });
    assert_eq!(
        fixture.rows("SELECT kind FROM timeline WHERE seq > 1 ORDER BY seq LIMIT 5"),
        ["session.started", "step.started", "note.logged", "step.ended", "session.ended"]
    );
    assert_eq!(fixture.rows("SELECT id, status, step_count FROM sessions"), ["s-1 | completed | 2"]);
}

#[test]
fn sessions_can_be_only_those_that_are_marked() {
    let fixture = Fixture::with(|builder| builder, |layer| layer.sessions(Sessions::Marked));
    fixture.run(|| {
        let _request = info_span!("request").entered();
        let _middle = info_span!("route").entered();
        info!("outside");
        let _agent = info_span!("agent", annals.session = true).entered();
        let _step = info_span!("think").entered();
    });
    assert_eq!(fixture.rows("SELECT profile FROM sessions"), ["agent"]);
    assert_eq!(fixture.rows("SELECT module FROM steps"), ["think"]);
    assert_eq!(fixture.rows("SELECT session_id, message FROM notes"), ["- | outside"]);
}

#[test]
fn what_has_no_session_is_a_note_with_all_its_fields() {
    let fixture = Fixture::new();
    fixture.run(|| info!(annals.decision = "routing", chosen_option = "left", "on my own"));
    assert_eq!(
        fixture.row("SELECT session_id, message, attributes FROM notes"),
        r#"- | on my own | {"annals.decision":"routing","chosen_option":"left","tracing.target":"clients::tracing_layer"}"#
    );
}

#[test]
fn kinds_come_from_targets_where_spans_do_not_say_theirs() {
    let adjust = |layer: AuditLayer| {
        layer
            .kind_of("app", StepKind::Chain)
            .kind_of("app::model", StepKind::Llm)
            .notes(tracing::Level::DEBUG)
    };
    let fixture = Fixture::with(|builder| builder, adjust);
    fixture.run(|| {
        let _session = info_span!("s").entered();
        drop(info_span!(target: "annals::tool", "a"));
        drop(info_span!(target: "app::model::openai", "b"));
        drop(info_span!(target: "app::plan", "c"));
        drop(info_span!(target: "app::plan", "d", kind = "agent"));
        drop(info_span!(target: "application", "e"));
        debug!("fine");
    });
    assert_eq!(
        fixture.rows("SELECT module, kind FROM steps ORDER BY module"),
        ["a | tool", "b | llm", "c | chain", "d | agent", "e | -"]
    );
    assert_eq!(fixture.rows("SELECT level FROM notes"), ["debug"]);
}

#[test]
fn a_filter_of_the_layers_own_leaves_others_spans_out_and_their_children_in() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new();
    let log = AuditLog::open(folder.path().join("audit.db")).unwrap();
    let ours = Targets::new().with_default(tracing::Level::TRACE).with_target("hyper", None);
    let subscriber = tracing_subscriber::registry()
        .with(AuditLayer::new(fixture.log.clone()).with_filter(ours))
        .with(AuditLayer::new(log.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let _session = info_span!("s").entered();
        let _outer = info_span!("outer").entered();
        let _theirs = info_span!(target: "hyper", "connection").entered();
        info!(target: "hyper", "bytes");
        let _inner = info_span!("inner").entered();
    });
    const STEPS: &str = "SELECT s.module, p.module FROM steps s LEFT JOIN steps p ON p.id = s.parent_step_id ORDER BY s.first_seq";
    assert_eq!(fixture.rows(STEPS), ["outer | -", "inner | outer"]);
    // Another layer of the same registry records for itself.
    let dispatch = Dispatch::none();
    let watch = AuditLayer::new(log.clone()).watch();
    let other = Fixture { folder, log, dispatch, watch };
    assert_eq!(other.rows(STEPS), ["outer | -", "connection | outer", "inner | connection"]);
    assert_eq!((fixture.rows("SELECT * FROM notes").len(), other.rows("SELECT * FROM notes").len()), (0, 1));
}

#[test]
fn what_the_log_refuses_is_counted_told_once_and_leaves_a_trace() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let fixture = Fixture::with(
        |builder| builder.payload_bytes_max(1_000),
        |layer| layer.on_loss(move |loss| hear.lock().unwrap().push(loss.clone())),
    );
    let long = "x".repeat(2_000);
    fixture.run(|| {
        let _session = info_span!("s", annals.session = "s-1").entered();
        let _step = info_span!("step", input = long, kind = "tool", output = long).entered();
        info!(long, "a note");
    });
    assert_eq!(fixture.watch.lost(), 3);
    let heard = heard.lock().unwrap();
    assert_eq!((heard.len(), heard[0].kind), (1, "step.started"));
    assert!(heard[0].reason.contains("more than the 1000"), "{:?}", heard[0]);
    let step =
        fixture.row("SELECT module, kind, status, input, attributes ->> 'annals.unrecorded' FROM steps");
    assert!(step.starts_with("step | tool | ok | - | the payload has"), "{step}");
}

#[test]
fn a_log_that_is_closed_or_stuck_does_not_stop_the_program() {
    let fixture = Fixture::with(|builder| builder, |layer| layer.when_full(WhenFull::Lose));
    let session = fixture.run(|| info_span!("s"));
    fixture.log.clone().close().unwrap();
    fixture.run(|| {
        let _entered = session.entered();
        info!("after the end");
    });
    assert_eq!(fixture.watch.lost(), 2);
}

#[test]
fn a_filter_that_logs_does_not_record_itself_for_ever() {
    let fixture = Fixture::with(
        |builder| {
            builder.filter(|draft| {
                info!("filtering {}", draft.event.kind().name());
                let _span = info_span!("in the filter").entered();
                Ok(())
            })
        },
        |layer| layer,
    );
    fixture.run(|| {
        let _session = info_span!("s").entered();
        info!("once");
    });
    assert_eq!(
        fixture.rows("SELECT kind FROM timeline WHERE seq > 1 ORDER BY seq"),
        ["session.started", "note.logged", "session.ended"]
    );
}
