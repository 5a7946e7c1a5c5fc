//! Nothing is dropped: what no column has is an attribute.

use serde_json::{Value, json};

use super::tests::{attributes, means, of_log, of_span, span};
use crate::event::{Attributes, Json, OtelLog, OtelSpan};

fn of(attributes: &Attributes, name: &str) -> String {
    attributes.get(name).map(|json| json.as_str().to_owned()).unwrap_or_default()
}

/// An attribute of the step of a span with these attributes and members.
fn rest(said: Value, members: Value, name: &str) -> String {
    of(&of_span(said, members).started().attributes, name)
}

/// The attributes of the step whose names begin so.
fn names(said: Value, prefix: &str) -> Vec<String> {
    let means = of_span(said, json!({}));
    means.started().attributes.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
}

#[test]
fn members_of_an_annotation_that_its_finding_lacks_are_kept() {
    let said = json!({
        "annotations.0.annotation.name": "tone", "annotations.0.annotation.label": "pass",
        "annotations.0.annotation.explanation": "It is kind.", "annotations.0.annotation.reason": "Kind words.",
        "annotations.0.target.label": "answer", "annotations.0.annotation.target.label": "part",
    });
    assert_eq!(
        names(said, "annotations."),
        [
            "annotations.0.annotation.reason",
            "annotations.0.annotation.target.label",
            "annotations.0.target.label"
        ]
    );
}

#[test]
fn members_of_calls_and_messages_that_no_text_shows_are_kept() {
    let calls = json!([{"toolCallId": "call_Yd2Lm1cJ8zQk", "toolName": "f", "args": "{}", "providerMetadata": {"type": "p"}}]);
    let said = json!({"ai.operationId": "ai.generateText.doGenerate", "ai.response.toolCalls": calls, "ai.response.text": "I look."});
    assert_eq!(
        rest(said.clone(), json!({}), "ai.response.toolCalls"),
        r#"[{"providerMetadata":{"type":"p"}}]"#
    );
    assert_eq!(rest(said, json!({}), "ai.response.text"), "");

    let said = json!({
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Also rain?",
        "llm.input_messages.0.message.name": "Al",
        "llm.input_messages.1.message.role": "assistant", "llm.input_messages.1.message.content": "No.",
        "llm.input_messages.1.message.finish_reason": "length",
    });
    assert_eq!(
        names(said, "llm.input_messages."),
        ["llm.input_messages.0.message.name", "llm.input_messages.1.message.finish_reason"]
    );
}

#[test]
fn texts_of_an_exception_that_its_finding_lacks_are_kept() {
    let exception = |said: Value| {
        let members = json!({"status": {"code": 2}, "events": [{"name": "exception", "attributes": attributes(&said)}]});
        rest(json!({}), members, "otel.events")
    };
    let shown = json!({"exception.type": "E", "error.type": "E", "exception.message": "m", "exception.stacktrace": "t", "exception.escaped": "True"});
    assert_eq!(exception(shown), r#"[{"name":"exception","attributes":{"exception.escaped":"True"}}]"#);
    // The first is the class of the error.
    let two_classes = json!({"error.type": "500", "exception.type": "E", "exception.message": "m"});
    assert_eq!(exception(two_classes), r#"[{"name":"exception","attributes":{"exception.type":"E"}}]"#);
    let trace = "m\nTraceback (most recent call last):\n  here";
    let two_traces = exception(json!({"exception.message": trace, "exception.stacktrace": "there"}));
    assert!(two_traces.contains("here"), "{two_traces}");
}

#[test]
fn all_members_of_events_and_links_are_kept() {
    let said = attributes(&json!({"content": "Rain?"}));
    let events = json!([
        {"name": "gen_ai.user.message", "attributes": said, "droppedAttributesCount": 2},
        {"name": "e", "attributes": [{"value": {"stringValue": "no key"}}]},
        {"name": "gen_ai.user.message", "attributes": said, "droppedAttributesCount": 0},
    ]);
    assert_eq!(
        rest(json!({}), json!({"events": events}), "otel.events"),
        r#"[{"name":"gen_ai.user.message","droppedAttributesCount":2},{"name":"e","malformed_attributes":[{"value":{"stringValue":"no key"}}]}]"#
    );
    let links = json!([{
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "00000000000000a1", "traceState": "a=1", "flags": 257,
        "attributes": attributes(&json!({"b": 1})), "droppedAttributesCount": 3,
    }]);
    assert_eq!(
        rest(json!({}), json!({"links": links}), "otel.links"),
        r#"[{"session":"5b8efff798038103d269b633813fc60c","step":"00000000000000a1","attributes":{"b":1},"droppedAttributesCount":3,"flags":257,"traceState":"a=1"}]"#
    );
}

#[test]
fn the_fields_of_a_log_record_are_kept() {
    let record = json!({
        "timeUnixNano": "1795176000000000000", "severityNumber": 10, "flags": 257, "droppedAttributesCount": 4,
        "attributes": [{"value": {"stringValue": "no key"}}],
    });
    let means = of_log(record);
    let note = &means.notes()[0];
    assert_eq!(note.level.as_deref(), Some("info"));
    for (name, value) in [
        ("otel.severity_number", "10"),
        ("otel.flags", "257"),
        ("otel.dropped_attributes_count", "4"),
        ("otel.malformed_attributes", r#"[{"value":{"stringValue":"no key"}}]"#),
    ] {
        assert_eq!(of(&note.attributes, name), value, "{name}");
    }
    // The first number of a word is its level, and every record of a sampled trace has the first flag.
    let named = of_log(json!({"severityNumber": "SEVERITY_NUMBER_WARN", "flags": 1}));
    assert_eq!((named.notes()[0].level.as_deref(), named.notes()[0].attributes.len()), (Some("warning"), 0));
    let finer = of_log(json!({"severityNumber": "SEVERITY_NUMBER_WARN3"}));
    assert_eq!(of(&finer.notes()[0].attributes, "otel.severity_number"), "15");
}

#[test]
fn all_of_resource_and_scope_is_kept_by_spans_and_log_records() {
    let resource = json!({
        "attributes": [{"key": "service.name", "value": {"stringValue": "desk"}}, {"value": {}}],
        "droppedAttributesCount": 2, "entityRefs": [{"type": "service"}],
    });
    let scope = json!({"name": "lib", "version": "1", "droppedAttributesCount": 1, "attributes": attributes(&json!({"a": 1}))});
    let (resource, scope) = (Json::of(&resource).unwrap(), Json::of(&scope).unwrap());
    let of_span = means(OtelSpan {
        span: Json::of(&span(json!({}), json!({"parentSpanId": ""}))).unwrap(),
        resource: Some(resource.clone()),
        resource_schema_url: Some("r".to_owned()),
        scope: Some(scope.clone()),
        scope_schema_url: Some("s".to_owned()),
        ..OtelSpan::default()
    });
    let of_log = means(OtelLog {
        log_record: Json::of(&json!({"attributes": attributes(&json!({"session.id": "c"}))})).unwrap(),
        resource: Some(resource),
        resource_schema_url: Some("r".to_owned()),
        scope: Some(scope),
        scope_schema_url: Some("s".to_owned()),
        ..OtelLog::default()
    });
    for attributes in [&of_span.started().attributes, &of_log.notes()[0].attributes] {
        for (name, value) in [
            ("otel.scope.name", "\"lib\""),
            ("otel.scope.version", "\"1\""),
            ("otel.scope.attributes", r#"{"a":1}"#),
            ("otel.scope.droppedAttributesCount", "1"),
            ("otel.scope.schema_url", "\"s\""),
        ] {
            assert_eq!(of(attributes, name), value, "{name}");
        }
    }
    for means in [of_span, of_log] {
        let attributes = &means.session_started()[0].attributes;
        for (name, value) in [
            ("service.name", "\"desk\""),
            ("otel.resource.malformed_attributes", r#"[{"value":{}}]"#),
            ("otel.resource.droppedAttributesCount", "2"),
            ("otel.resource.entityRefs", r#"[{"type":"service"}]"#),
            ("otel.resource.schema_url", "\"r\""),
        ] {
            assert_eq!(of(attributes, name), value, "{name}");
        }
    }
}
