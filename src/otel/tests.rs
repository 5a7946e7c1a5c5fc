//! One test for each convention, with the meaning of its names.

use serde_json::{Value, json};

use super::*;
use crate::event::{
    DecisionMade, EventId, FindingRaised, Json, NoteLogged, OtelLog, OtelSpan, Outcome, Seq, SessionEnd,
    SessionEnded, SessionId, SessionStarted, Severity, StepEnd, StepEnded, StepKind, StepStarted, Timestamp,
};

fn attribute(name: &str, value: &Value) -> Value {
    let value = match value {
        Value::String(text) => json!({"stringValue": text}),
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        other => json!({"stringValue": other.to_string()}),
    };
    json!({"key": name, "value": value})
}

pub(super) fn attributes(of: &Value) -> Vec<Value> {
    of.as_object().unwrap().iter().map(|(name, value)| attribute(name, value)).collect()
}

/// A child span with these attributes and other members.
pub(super) fn span(said: Value, members: Value) -> Value {
    let mut span = json!({
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "00000000000000a1", "parentSpanId": "00000000000000a0",
        "name": "name", "startTimeUnixNano": "1795176000000000000", "endTimeUnixNano": "1795176001000000000",
        "attributes": attributes(&said),
    });
    span.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    span
}

pub(super) struct Means(pub(super) Vec<Meaning<'static>>);

macro_rules! of_kind {
    ($($name:ident: $kind:ident),*) => { $(
        pub(super) fn $name(&self) -> Vec<&$kind> {
            self.0.iter().filter_map(|meaning| match &*meaning.event {
                Event::$kind(event) => Some(event),
                _ => None,
            }).collect()
        }
    )* };
}

impl Means {
    of_kind!(
        session_started: SessionStarted, session_ended: SessionEnded, step_started: StepStarted,
        step_ended: StepEnded, decisions: DecisionMade, findings: FindingRaised, notes: NoteLogged
    );

    pub(super) fn started(&self) -> &StepStarted {
        self.step_started()[0]
    }

    pub(super) fn ended(&self) -> &StepEnded {
        self.step_ended()[0]
    }
}

fn recorded(event: Event) -> Recorded {
    Recorded {
        seq: Seq::FIRST,
        event_id: EventId::from_bytes([7; 16]),
        kind: event.kind().code(),
        session: Some(SessionId::new("5b8efff798038103d269b633813fc60c").unwrap()),
        occurred_at: None,
        recorded_at: Timestamp::from_micros(0),
        principal: None,
        content: Content::Event(event),
    }
}

pub(super) fn means(event: impl Into<Event>) -> Means {
    means_of(&recorded(event.into()))
}

/// The meaning of a log record that belongs to no session.
pub(super) fn of_log_alone(record: Value) -> Means {
    let log = OtelLog { log_record: Json::of(&record).unwrap(), ..OtelLog::default() };
    means_of(&Recorded { session: None, ..recorded(log.into()) })
}

fn means_of(recorded: &Recorded) -> Means {
    let meanings = Meanings::of(recorded);
    Means(
        meanings
            .all()
            .iter()
            .map(|meaning| Meaning {
                event: Cow::Owned(meaning.event.clone().into_owned()),
                ..meaning.clone()
            })
            .collect(),
    )
}

pub(super) fn of_span(said: Value, members: Value) -> Means {
    means(OtelSpan {
        span: Json::of(&span(said, members)).unwrap(),
        resource: Some(
            Json::of(&json!({"attributes": attributes(&json!({"service.name": "desk"}))})).unwrap(),
        ),
        scope: Some(Json::of(&json!({"name": "tests"})).unwrap()),
        ..OtelSpan::default()
    })
}

pub(super) fn of_log(record: Value) -> Means {
    means(OtelLog { log_record: Json::of(&record).unwrap(), ..OtelLog::default() })
}

#[test]
fn a_span_that_no_convention_knows_is_a_step_of_kind_other_with_its_attributes() {
    let means = of_span(json!({"http.route": "/x", "retries": 2, "ratio": 0.5}), json!({"kind": 2}));
    let started = means.started();
    assert_eq!((started.step.as_str(), started.module.as_deref()), ("00000000000000a1", Some("name")));
    assert_eq!(started.parent_step.as_ref().unwrap().as_str(), "00000000000000a0");
    assert_eq!(started.kind, Some(StepKind::Other));
    // Sorted by name, each as JSON of its type. The scope and the kind of the span come with them.
    let attributes: Vec<_> =
        started.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        attributes,
        [
            "http.route=\"/x\"",
            "otel.scope.name=\"tests\"",
            "otel.span.kind=\"server\"",
            "ratio=0.5",
            "retries=2"
        ]
    );
    assert_eq!(means.ended().status, StepEnd::Ok);
    assert_eq!((means.decisions().len(), means.findings().len(), means.session_ended().len()), (0, 0, 0));
}

#[test]
fn a_call_of_a_model_by_the_present_conventions() {
    let means = of_span(
        json!({
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.response.model": "m-2026",
            "gen_ai.usage.input_tokens": 25,
            "gen_ai.usage.output_tokens": 7,
            "gen_ai.usage.cache_read.input_tokens": 5,
            "gen_ai.system_instructions": [{"type": "text", "content": "Be short."}],
            "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Rain?"}]}],
            "gen_ai.output.messages": [{"role": "assistant", "parts": [
                {"type": "text", "content": "I look."},
                {"type": "tool_call", "id": "call_Yd2Lm1cJ8zQk", "name": "look", "arguments": {"city": "Lisbon"}},
            ], "finish_reason": "tool_call"}],
            "gen_ai.tool.definitions": [
                {"type": "function", "name": "look", "description": "Looks."},
                {"type": "function", "function": {"name": "ask"}},
            ],
        }),
        json!({}),
    );
    let (started, ended) = (means.started(), means.ended());
    assert_eq!((started.kind, started.model.as_deref()), (Some(StepKind::Llm), Some("m-2026")));
    assert_eq!(started.input.as_deref(), Some("system: Be short.\n\nuser: Rain?"));
    assert_eq!(ended.output.as_deref(), Some("I look.\n→ look {\"city\":\"Lisbon\"}"));
    assert_eq!((ended.tokens_input, ended.tokens_output), (Some(25), Some(7)));
    // Attributes that a column has as a whole are left out; others, such as the model that was asked for, are
    // kept.
    let kept: Vec<_> = started.attributes.keys().map(String::as_str).collect();
    assert_eq!(
        kept,
        [
            "gen_ai.operation.name",
            "gen_ai.request.model",
            "gen_ai.response.finish_reasons",
            "gen_ai.tool.definitions",
            "otel.scope.name"
        ]
    );
    let decision = means.decisions()[0];
    assert_eq!(
        (decision.decision.as_str(), decision.decision_type.as_deref()),
        ("call_Yd2Lm1cJ8zQk", Some("tool"))
    );
    assert_eq!(
        (decision.chosen_option.as_deref(), decision.rationale.as_deref()),
        (Some("look"), Some("I look."))
    );
    let options: Vec<_> = decision.options_considered.iter().map(|option| option.option.as_str()).collect();
    assert_eq!(options, ["look", "ask"]);
    assert_eq!(decision.attributes["arguments"].as_str(), r#"{"city":"Lisbon"}"#);
    assert_eq!(decision.actor.as_deref(), Some("m-2026"));
}

#[test]
fn a_call_of_a_model_by_the_conventions_of_before() {
    let means = of_span(
        json!({
            "gen_ai.system": "OpenAI",
            "llm.request.type": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be short.",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": "Rain?",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "No.",
            "gen_ai.completion.0.finish_reason": "stop",
            "gen_ai.completion.0.tool_calls.0.id": "call_Yd2Lm1cJ8zQk",
            "gen_ai.completion.0.tool_calls.0.name": "look",
            "gen_ai.completion.0.tool_calls.0.arguments": "{\"city\": \"Lisbon\"}",
            "llm.request.functions.0.name": "look",
            "llm.request.functions.0.description": "Looks.",
            "gen_ai.usage.prompt_tokens": 3,
            "gen_ai.usage.completion_tokens": 4,
        }),
        json!({}),
    );
    let (started, ended) = (means.started(), means.ended());
    assert_eq!((started.kind, started.model.as_deref()), (Some(StepKind::Llm), Some("m")));
    assert_eq!(started.input.as_deref(), Some("system: Be short.\n\nuser: Rain?"));
    assert_eq!(ended.output.as_deref(), Some("No.\n→ look {\"city\": \"Lisbon\"}"));
    assert_eq!((ended.tokens_input, ended.tokens_output), (Some(3), Some(4)));
    assert_eq!(means.decisions()[0].options_considered[0].option, "look");
    assert!(!started.attributes.contains_key("gen_ai.prompt.0.content"));
}

#[test]
fn messages_in_events_of_the_span() {
    let events = json!({"events": [
        {"name": "gen_ai.content.prompt", "attributes": attributes(&json!({"gen_ai.prompt": [{"role": "user", "content": "Rain?"}]}))},
        {"name": "gen_ai.content.completion", "attributes": attributes(&json!({"gen_ai.completion": [{"role": "assistant", "content": "No."}]}))},
    ]});
    let means = of_span(json!({"gen_ai.operation.name": "chat"}), events);
    assert_eq!(
        (means.started().input.as_deref(), means.ended().output.as_deref()),
        (Some("Rain?"), Some("No."))
    );

    // The former form: one event for each message, with the content as its attribute.
    let events = json!({"events": [
        {"name": "gen_ai.system.message", "attributes": attributes(&json!({"content": "Be short."}))},
        {"name": "gen_ai.user.message", "attributes": attributes(&json!({"content": "Rain?"}))},
        {"name": "gen_ai.choice", "attributes": attributes(&json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "No."}}))},
        {"name": "cache.miss", "timeUnixNano": "1795176000500000000", "attributes": attributes(&json!({"key": "k"}))},
    ]});
    let means = of_span(json!({"gen_ai.operation.name": "chat"}), events);
    assert_eq!(means.started().input.as_deref(), Some("system: Be short.\n\nuser: Rain?"));
    assert_eq!(means.ended().output.as_deref(), Some("No."));
    assert_eq!(
        means.started().attributes["otel.events"].as_str(),
        r#"[{"name":"cache.miss","at":"2026-11-20T12:00:00.500000Z","attributes":{"key":"k"}}]"#
    );
}

#[test]
fn a_call_of_a_model_by_openinference() {
    let means = of_span(
        json!({
            "openinference.span.kind": "LLM",
            "llm.model_name": "m",
            "input.value": "{\"messages\": []}",
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.contents.0.message_content.type": "text",
            "llm.input_messages.0.message.contents.0.message_content.text": "Rain?",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "call_Yd2Lm1cJ8zQk",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "look",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
            "llm.tools.0.tool.json_schema": {"type": "function", "function": {"name": "look"}},
            "llm.token_count.prompt": 3,
            "llm.token_count.completion": 4,
            "llm.cost.total": 0.25,
        }),
        json!({}),
    );
    assert_eq!(
        (means.started().kind, means.started().input.as_deref()),
        (Some(StepKind::Llm), Some("Rain?"))
    );
    assert_eq!(means.ended().output.as_deref(), Some("→ look {}"));
    assert_eq!(
        (means.ended().tokens_input, means.ended().tokens_output, means.ended().cost_usd),
        (Some(3), Some(4), Some(0.25))
    );
    let decision = means.decisions()[0];
    assert_eq!(
        (decision.decision.as_str(), decision.options_considered[0].option.as_str()),
        ("call_Yd2Lm1cJ8zQk", "look")
    );
}

#[test]
fn calls_that_are_history_are_no_decisions() {
    let means = of_span(
        json!({
            "openinference.span.kind": "LLM",
            "llm.input_messages.0.message.role": "assistant",
            "llm.input_messages.0.message.tool_calls.0.tool_call.id": "call_Yd2Lm1cJ8zQk",
            "llm.input_messages.0.message.tool_calls.0.tool_call.function.name": "look",
            "gen_ai.input.messages": [{"role": "assistant", "parts": [{"type": "tool_call", "id": "call_2", "name": "look"}]}],
        }),
        json!({}),
    );
    assert_eq!(means.decisions().len(), 0);
}

#[test]
fn a_tool_by_each_convention() {
    let spans = [
        json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look", "gen_ai.tool.call.arguments": "{\"a\":1}", "gen_ai.tool.call.result": "sunny"}),
        json!({"openinference.span.kind": "TOOL", "tool.name": "look", "input.value": "{\"a\":1}", "output.value": "sunny"}),
        json!({"traceloop.span.kind": "tool", "traceloop.entity.name": "look", "traceloop.entity.input": "{\"a\":1}", "traceloop.entity.output": "sunny"}),
        json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look", "tool_arguments": "{\"a\":1}", "tool_response": "sunny"}),
    ];
    for span in spans {
        let means = of_span(span.clone(), json!({}));
        let (started, ended) = (means.started(), means.ended());
        assert_eq!((started.kind, started.module.as_deref()), (Some(StepKind::Tool), Some("look")), "{span}");
        assert_eq!(
            (started.input.as_deref(), ended.output.as_deref()),
            (Some("{\"a\":1}"), Some("sunny")),
            "{span}"
        );
        assert_eq!(started.attributes["otel.span.name"].as_str(), "\"name\"", "{span}");
        assert_eq!(means.decisions().len(), 0, "{span}");
    }
}

#[test]
fn a_decision_models_answers_are_decisions_with_their_odds() {
    let means = of_span(
        json!({
            "openinference.span.kind": "DECISION",
            "decision.model_name": "d-1",
            "decision.token_count.input": 412,
            "input.value": {"questions": {"route": {"type": "choice", "question": "What now?", "options": ["refund", "refuse"]}, "sure": {"type": "noul"}}},
            "output.value": {"answers": {"route": {"answer": "refund", "probabilities": {"refund": 0.82, "refuse": 0.18}}, "sure": {"answer": true, "probability": 0.93}}},
        }),
        json!({}),
    );
    assert_eq!(
        (means.started().kind, means.started().model.as_deref()),
        (Some(StepKind::Other), Some("d-1"))
    );
    assert_eq!(means.ended().tokens_input, Some(412));
    let decisions = means.decisions();
    let route = decisions[0];
    assert_eq!(
        (route.decision.as_str(), route.decision_type.as_deref()),
        ("00000000000000a1:route", Some("route"))
    );
    assert_eq!(
        (route.chosen_option.as_deref(), route.confidence, route.actor.as_deref()),
        (Some("refund"), Some(0.82), Some("d-1"))
    );
    let options: Vec<_> = route.options_considered.iter().map(|o| (o.option.as_str(), o.score)).collect();
    assert_eq!(options, [("refund", Some(0.82)), ("refuse", Some(0.18))]);
    assert_eq!((decisions[1].chosen_option.as_deref(), decisions[1].confidence), (Some("true"), Some(0.93)));
}

#[test]
fn a_guardrail_and_a_plan_are_decisions() {
    let guard = of_span(
        json!({"openinference.span.kind": "GUARDRAIL", "output.value": "{\"passed\": false}"}),
        json!({}),
    );
    assert_eq!(guard.started().kind, Some(StepKind::Guardrail));
    assert_eq!(guard.decisions()[0].chosen_option.as_deref(), Some("stop"));
    let plan = of_span(
        json!({"gen_ai.operation.name": "plan", "gen_ai.agent.name": "a", "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "First look."}]}]}),
        json!({}),
    );
    let decision = plan.decisions()[0];
    assert_eq!(
        (decision.decision_type.as_deref(), decision.chosen_option.as_deref(), decision.actor.as_deref()),
        (Some("plan"), Some("First look."), Some("a"))
    );
}

#[test]
fn the_same_evaluation_said_in_two_ways_is_one_finding() {
    let event = json!({"events": [{"name": "gen_ai.evaluation.result", "attributes": attributes(&json!({
        "gen_ai.evaluation.name": "safety", "gen_ai.evaluation.score.label": "fail", "gen_ai.evaluation.score.value": 1,
        "gen_ai.evaluation.explanation": "It says too much."}))}]});
    let annotation = json!({
        "annotations.0.annotation.name": "safety", "annotations.0.annotation.score": 1.0,
        "annotations.0.annotation.label": "fail", "annotations.0.annotation.explanation": "It says too much.",
    });
    let both = of_span(annotation, event);
    let findings = both.findings();
    assert_eq!(findings.len(), 2);
    assert_eq!(findings[0].finding, findings[1].finding);
    assert_eq!((findings[0].outcome, findings[0].severity), (Some(Outcome::Fail), Some(Severity::Medium)));
    assert_eq!(
        (findings[0].title.as_deref(), findings[0].pattern_type.as_deref()),
        (Some("safety: fail"), Some("safety"))
    );
    assert_eq!(findings[0].description.as_deref(), Some("It says too much."));
    assert_eq!(findings[0].evidence.as_ref().unwrap().as_str(), r#"{"label":"fail","score":1.0}"#);

    // As a log record with an id in capitals, the same result is still the same finding.
    let logged = of_log(json!({
        "spanId": "00000000000000A1", "eventName": "gen_ai.evaluation.result",
        "attributes": attributes(&json!({"gen_ai.evaluation.name": "safety", "gen_ai.evaluation.score.label": "fail", "gen_ai.evaluation.score.value": 1, "gen_ai.evaluation.explanation": "It says too much."})),
    }));
    assert_eq!(logged.findings()[0].finding, findings[0].finding);
}

#[test]
fn scores_alone_say_nothing_of_the_outcome() {
    let means = of_span(
        json!({"openinference.span.kind": "EVALUATOR", "evaluations.0.evaluation.name": "tone", "evaluations.0.evaluation.score": 0.9,
            "trace.annotations.0.annotation.name": "good", "trace.annotations.0.annotation.label": "yes"}),
        json!({}),
    );
    let findings = means.findings();
    assert_eq!((findings[0].outcome, findings[0].title.as_deref()), (None, Some("tone: 0.9")));
    assert_eq!(
        (findings[1].scope.as_deref(), findings[1].step.as_ref(), findings[1].outcome),
        (Some("trace"), None, Some(Outcome::Pass))
    );
}

#[test]
fn an_evaluator_without_annotations_is_a_finding_of_its_output() {
    let means = of_span(
        json!({"openinference.span.kind": "EVALUATOR", "output.value": "{\"label\": \"unfaithful\", \"score\": 0.25}"}),
        json!({}),
    );
    let finding = means.findings()[0];
    assert_eq!((finding.title.as_deref(), finding.outcome), (Some("name: unfaithful"), Some(Outcome::Fail)));
}

#[test]
fn status_error_type_and_exception_are_one_finding() {
    let exception = json!({"name": "exception", "timeUnixNano": "1795176000500000000", "attributes": attributes(&json!({
        "exception.type": "TimeoutError", "exception.message": "no answer", "exception.stacktrace": "at x\n"}))});
    let failed = of_span(
        json!({"error.type": "TimeoutError"}),
        json!({"status": {"code": 2, "message": "failed"}, "events": [exception]}),
    );
    assert_eq!(
        (failed.ended().status, failed.ended().error.as_deref()),
        (StepEnd::Error, Some("TimeoutError: no answer"))
    );
    assert_eq!(failed.findings().len(), 1);
    let finding = failed.findings()[0];
    assert_eq!(
        (finding.finding.as_str(), finding.severity),
        ("00000000000000a1:error", Some(Severity::High))
    );
    assert_eq!(
        (finding.category.as_deref(), finding.pattern_type.as_deref()),
        (Some("error"), Some("TimeoutError"))
    );
    assert_eq!(finding.evidence.as_ref().unwrap().as_str(), r#"{"stacktrace":"at x\n"}"#);

    let unset = of_span(json!({"error.type": "TimeoutError"}), json!({}));
    assert_eq!(
        (unset.ended().status, unset.ended().error.as_deref()),
        (StepEnd::Error, Some("TimeoutError"))
    );
    let message = of_span(json!({}), json!({"status": {"code": "STATUS_CODE_ERROR", "message": "failed"}}));
    assert_eq!(
        (message.ended().error.as_deref(), message.findings()[0].title.as_deref()),
        (Some("failed"), Some("failed"))
    );

    // The span saw the exception, and still ended well.
    let seen = of_span(json!({}), json!({"status": {"code": 1}, "events": [exception]}));
    assert_eq!((seen.ended().status, seen.findings()[0].severity), (StepEnd::Ok, Some(Severity::Medium)));
    let silent = of_span(json!({}), json!({"status": {"code": 2}}));
    assert_eq!((silent.ended().status, silent.findings().len()), (StepEnd::Error, 1));
}

#[test]
fn the_root_starts_and_ends_the_session_and_others_only_know_of_it() {
    let root = of_span(
        json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "weather", "gen_ai.agent.version": "2",
            "gen_ai.conversation.id": "chat-1", "user.id": "u", "input.value": "Rain?", "output.value": "No."}),
        json!({"parentSpanId": ""}),
    );
    // The first end is that of the run, and the second that of the session.
    let (started, ended) = (root.session_started()[0], root.session_ended()[1]);
    assert_eq!(
        (started.profile.as_deref(), started.agent.as_deref(), started.agent_version.as_deref()),
        (Some("desk"), Some("weather"), Some("2"))
    );
    assert_eq!((started.conversation.as_deref(), started.labels["user"].as_str()), (Some("chat-1"), "u"));
    assert_eq!((started.input.as_deref(), started.source.as_deref()), (Some("Rain?"), Some("tests")));
    assert_eq!((ended.status, ended.summary.as_deref()), (SessionEnd::Completed, Some("No.")));
    assert_eq!(root.0[2].precedence.unwrap().rank, Rank::Root);

    // A child: only the conversation goes to the session, and neither input nor output.
    let child = of_span(json!({"session.id": "chat-1", "input.value": "x", "output.value": "y"}), json!({}));
    let started = child.session_started()[0];
    assert_eq!((started.conversation.as_deref(), started.input.as_deref()), (Some("chat-1"), None));
    assert_eq!(child.session_ended().len(), 0);

    // The run of a workflow lends its input and output to the session.
    let run = of_span(
        json!({"traceloop.span.kind": "workflow", "traceloop.workflow.name": "w", "traceloop.entity.input": "Rain?", "traceloop.entity.output": "No."}),
        json!({}),
    );
    assert_eq!(
        (run.session_started()[0].input.as_deref(), run.session_ended()[0].summary.as_deref()),
        (Some("Rain?"), Some("No."))
    );
    // The flags decide: the parent is in another process, or it is not.
    let remote = of_span(json!({"input.value": "x"}), json!({"flags": 0x301}));
    assert_eq!(remote.0[2].precedence.unwrap().rank, Rank::Entry);
    let local = of_span(json!({"input.value": "x"}), json!({"flags": 0x101}));
    assert_eq!(local.0[2].precedence.unwrap().rank, Rank::Span);

    let failed = of_span(json!({}), json!({"parentSpanId": "", "status": {"code": 2, "message": "no"}}));
    assert_eq!(
        (failed.session_ended()[0].status, failed.session_ended()[0].error.as_deref()),
        (SessionEnd::Failed, Some("no"))
    );
}

#[test]
fn a_span_that_has_not_ended_is_a_step_that_runs() {
    let running = of_span(json!({}), json!({"parentSpanId": "", "endTimeUnixNano": "0"}));
    assert_eq!((running.step_ended().len(), running.session_ended().len()), (0, 0));
}

#[test]
fn a_span_that_has_not_ended_keeps_what_only_an_end_has() {
    let messages = json!([{"role": "assistant", "content": "No.", "tool_calls": [{"id": "call_Yd2Lm1cJ8zQk", "name": "look"}]}]);
    let means = of_span(
        json!({
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "m",
            "gen_ai.input.messages": [{"role": "user", "content": "Rain?"}], "gen_ai.output.messages": messages,
            "gen_ai.usage.input_tokens": 3, "gen_ai.usage.cost": 0.5,
        }),
        json!({"endTimeUnixNano": "0", "events": [
            {"name": "gen_ai.choice", "attributes": attributes(&json!({"message": {"role": "assistant", "content": "Yes."}}))},
        ]}),
    );
    let started = means.started();
    assert_eq!((means.step_ended().len(), means.decisions().len()), (0, 1));
    assert_eq!((started.input.as_deref(), started.model.as_deref()), (Some("Rain?"), Some("m")));
    assert!(!started.attributes.contains_key("gen_ai.input.messages"));
    for (name, text) in [
        ("gen_ai.output.messages", "No."),
        ("gen_ai.usage.input_tokens", "3"),
        ("gen_ai.usage.cost", "0.5"),
        ("otel.events", "Yes."),
    ] {
        let json = started.attributes.get(name).map_or("", Json::as_str);
        assert!(json.contains(text), "{name}: {json}");
    }
}

#[test]
fn a_root_says_more_of_the_outcome_than_a_span_whose_parent_is_in_another_process() {
    let order = |members: Value| {
        let means = of_span(json!({"output.value": "done"}), members);
        let is_run = |meaning: &&Meaning<'_>| {
            matches!(*meaning.event, Event::SessionEnded(_)) && meaning.precedence.unwrap().rank == Rank::Run
        };
        means.0.iter().find(is_run).unwrap().precedence.unwrap()
    };
    let root = order(json!({"parentSpanId": "", "spanId": "00000000000000a1"}));
    let entry = order(json!({"flags": 0x300, "spanId": "00000000000000f1"}));
    assert!(root > entry, "{root:?} {entry:?}");
}

#[test]
fn frameworks_texts_become_readable() {
    let means = of_span(
        json!({
            "openinference.span.kind": "CHAIN",
            "input.value": {"messages": [{"role": "user", "content": "Rain?"}]},
            "output.value": {"messages": [
                {"type": "human", "data": {"content": "Rain?", "type": "human"}},
                {"type": "ai", "data": {"content": "No.", "type": "ai"}},
            ]},
        }),
        json!({"parentSpanId": ""}),
    );
    assert_eq!(
        (means.started().kind, means.started().input.as_deref()),
        (Some(StepKind::Chain), Some("Rain?"))
    );
    assert_eq!(means.ended().output.as_deref(), Some("No."));
    assert_eq!(means.session_started()[0].agent.as_deref(), Some("name"));
    assert!(means.started().attributes.contains_key("output.value"), "more than what was shown");
}

#[test]
fn messages_in_log_records_belong_to_their_step() {
    let body = |text: &str| json!({"kvlistValue": {"values": [attribute("content", &json!(text))]}});
    let user = of_log(json!({
        "spanId": "00000000000000a1", "timeUnixNano": "1795176000000000000", "severityNumber": 9,
        "attributes": attributes(&json!({"event.name": "gen_ai.user.message", "gen_ai.system": "openai"})), "body": body("Rain?"),
    }));
    let note = user.notes()[0];
    assert_eq!((note.message.as_str(), note.level.as_deref()), ("user: Rain?", Some("info")));
    assert_eq!(note.step.as_ref().unwrap().as_str(), "00000000000000a1");
    assert_eq!((user.started().input.as_deref(), user.started().kind), (Some("Rain?"), None));

    let choice = json!({"kvlistValue": {"values": [
        {"key": "index", "value": {"intValue": 0}},
        {"key": "message", "value": {"kvlistValue": {"values": [{"key": "tool_calls", "value": {"arrayValue": {"values": [{"kvlistValue": {"values": [
            attribute("id", &json!("call_Yd2Lm1cJ8zQk")),
            {"key": "function", "value": {"kvlistValue": {"values": [attribute("name", &json!("look")), attribute("arguments", &json!("{}"))]}}},
        ]}}]}}}]}}},
    ]}});
    let choice = of_log(json!({"spanId": "00000000000000a1", "eventName": "gen_ai.choice", "body": choice}));
    assert_eq!(
        (choice.decisions()[0].decision.as_str(), choice.decisions()[0].chosen_option.as_deref()),
        ("call_Yd2Lm1cJ8zQk", Some("look"))
    );
    assert_eq!(choice.ended().output.as_deref(), Some("→ look {}"));

    let details = of_log(
        json!({"spanId": "00000000000000a1", "eventName": "gen_ai.client.inference.operation.details", "attributes": attributes(&json!({
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Rain?"}]}],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "tool_call", "id": "call_Yd2Lm1cJ8zQk", "name": "look"}]}],
        "gen_ai.conversation.id": "chat-1"}))}),
    );
    assert_eq!(details.started().input.as_deref(), Some("Rain?"));
    assert_eq!(
        (details.decisions().len(), details.session_started()[0].conversation.as_deref()),
        (1, Some("chat-1"))
    );
}

#[test]
fn a_record_without_a_session_keeps_its_messages_and_names_no_step() {
    let said = attributes(&json!({
        "event.name": "gen_ai.client.inference.operation.details",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Rain?"}]}],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "No."}]}],
    }));
    for members in [json!({}), json!({"spanId": "00000000000000a1"})] {
        let mut record = json!({"timeUnixNano": "1795176000000000000", "attributes": said});
        record.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let means = of_log_alone(record);
        assert_eq!((means.0.len(), &means.notes()[0].step), (1, &None));
        let attributes = &means.notes()[0].attributes;
        assert!(attributes["gen_ai.input.messages"].as_str().contains("Rain?"), "{attributes:?}");
        assert!(attributes["gen_ai.output.messages"].as_str().contains("No."), "{attributes:?}");
        assert_eq!(attributes["gen_ai.usage.input_tokens"].as_str(), "3");
        assert_eq!(attributes.contains_key("otel.span_id"), members.get("spanId").is_some());
    }
}

#[test]
fn a_source_without_a_time_is_not_the_earliest() {
    let order = |means: &Means| {
        let is_start = |meaning: &&Meaning<'_>| matches!(*meaning.event, Event::SessionStarted(_));
        means.0.iter().find(is_start).unwrap().precedence.unwrap().order
    };
    let at = "1795176000000000000";
    let said = attributes(&json!({"session.id": "s-1"}));
    let in_trace = json!({"traceId": "5b8efff798038103d269b633813fc60c", "attributes": said});
    let with = |mut value: Value, name: &str| {
        value[name] = json!(at);
        value
    };
    let alone = json!({"attributes": said});
    for record in [alone, in_trace] {
        assert!(order(&of_log(record.clone())) < order(&of_log(with(record, "timeUnixNano"))));
    }
    let timeless = json!({"startTimeUnixNano": "0"});
    assert!(order(&of_span(json!({}), timeless)) < order(&of_span(json!({}), json!({}))));
}

#[test]
fn a_plain_log_record_is_a_note() {
    let plain = of_log(
        json!({"spanId": "00000000000000a1", "severityNumber": "SEVERITY_NUMBER_WARN2", "body": {"stringValue": "slow"}, "attributes": attributes(&json!({"n": 1}))}),
    );
    let note = plain.notes()[0];
    assert_eq!(
        (note.message.as_str(), note.level.as_deref(), note.attributes["n"].as_str()),
        ("slow", Some("warning"), "1")
    );
    assert_eq!(plain.0.len(), 1);
    let structured = of_log(
        json!({"eventName": "started", "severityText": "INFO", "body": {"kvlistValue": {"values": [attribute("workers", &json!(4))]}}}),
    );
    let note = structured.notes()[0];
    assert_eq!(
        (note.message.as_str(), note.data.as_ref().unwrap().as_str()),
        ("{\"workers\":4}", "{\"workers\":4}")
    );
    assert_eq!((note.level.as_deref(), note.step.as_ref()), (Some("info"), None));
    let bare = of_log(json!({"eventName": "started"}));
    assert_eq!(bare.notes()[0].message, "started");
    let exception = of_log(
        json!({"spanId": "00000000000000a1", "severityNumber": 17, "body": {"stringValue": "failed"}, "attributes": attributes(&json!({"exception.type": "E", "exception.message": "m"}))}),
    );
    assert_eq!(exception.findings()[0].finding.as_str(), "00000000000000a1:error");
}

#[test]
fn what_cannot_be_read_means_itself() {
    for text in ["{}", r#"{"spanId":7}"#, r#"{"spanId":"0000000000000000"}"#] {
        let means = means(OtelSpan { span: text.parse().unwrap(), ..OtelSpan::default() });
        assert!(matches!(*means.0[0].event, Event::OtelSpan(_)), "{text}");
        assert_eq!(means.0[0].precedence, None);
    }
}

#[test]
fn every_meaning_can_be_recorded() {
    // Values at and beyond every bound: lengths, numbers that are not finite, line breaks in names.
    let said = json!({
        "gen_ai.operation.name": "chat", "openinference.span.kind": "GUARDRAIL", "error.type": "x".repeat(500),
        "gen_ai.usage.input_tokens": u64::MAX.to_string(), "gen_ai.usage.output_tokens": -1, "llm.cost.total": "NaN",
        "annotations.0.annotation.name": "n\n".repeat(300), "annotations.0.annotation.score": "inf",
        "gen_ai.output.messages": [{"role": "assistant", "tool_calls": [{"id": "i".repeat(500), "name": "f"}, {"id": "", "name": "g"}, {"id": "a\nb", "name": "h"}]}],
    });
    let means = of_span(said, json!({"parentSpanId": "p".repeat(500)}));
    for meaning in &means.0 {
        let draft = crate::event::Draft {
            id: None,
            session: Some(SessionId::new("s").unwrap()),
            at: meaning.at,
            event: meaning.event.clone().into_owned(),
        };
        assert_eq!(draft.check(), Ok(()), "{:?}", meaning.event);
    }
    assert_eq!(means.decisions().len(), 3);
}

#[test]
fn a_negative_cost_has_no_column_and_stays_an_attribute() {
    let means = of_span(json!({"gen_ai.usage.cost": -1.0}), json!({}));
    assert_eq!(means.ended().cost_usd, None);
    assert_eq!(means.started().attributes["gen_ai.usage.cost"].as_str(), "-1.0");
    let means = of_span(json!({"langfuse.observation.cost_details": {"total": -1.0}}), json!({}));
    assert_eq!(means.ended().cost_usd, None);
}

#[test]
fn an_error_type_without_text_is_no_error() {
    for class in ["", " "] {
        let means = of_span(json!({"error.type": class}), json!({}));
        assert_eq!((means.ended().status, means.findings().len()), (StepEnd::Ok, 0), "{class:?}");
        let record = json!({"eventName": "gen_ai.client.inference.operation.details",
            "attributes": attributes(&json!({"error.type": class}))});
        let means = of_log(record);
        assert_eq!((means.step_ended().len(), means.findings().len()), (0, 0), "{class:?}");
    }
}
