//! Whatever is recorded, in whatever order and batches: the read tables hold what a second, independent
//! description of them says, live, rebuilt, redacted, and as of any event.

use crate::support::reference;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::support::reference::{Fact, Row, TABLES, Tables};
use crate::support::{is_heavy, new_path, sqlite, verify_whole};
use annals::apikey::ApiKeyRequest;
use annals::entry::Entry;
use annals::replay::Replay;
use annals::{
    ActionOutcome, ActionRecorded, Actor, ApiKeyCreated, ApiKeyRevoked, ApiKeyScope, ArtifactAttached,
    Attributes, AuditLog, Basis, Changes, ConsideredOption, Correction, CoverageDeclared, Custom,
    DecisionMade, Delegation, Digest, Draft, Durability, Event, EventId, FindingRaised, FindingStatus,
    FindingUpdated, Json, Kind, LogCreated, MetricRecorded, NoteLogged, OtelLog, OtelSpan, Outcome,
    PayloadRedacted, PolicyDecided, PolicyEffect, RedactionRequest, RequestContext, ReviewRecorded, Seq,
    SessionEnd, SessionEnded, SessionId, SessionProgress, SessionStarted, SessionUpdated, Severity, StepEnd,
    StepEnded, StepKind, StepStarted, SubjectKind, Timestamp, Verdict,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use rusqlite::Connection;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(600);
const PROJECTIONS: [&str; 4] = ["sessions", "activity", "search", "keys"];

/// What happens to a log.
#[derive(Clone, Debug)]
enum Op {
    Append(Box<Draft>),
    /// Of events that were appended before.
    Redact(Vec<Index>),
    CreateKey(ApiKeyRequest),
    /// One that was created before.
    RevokeKey(Index, Option<String>),
    /// Lets the projections catch up, so that what follows is folded in another transaction.
    CatchUp,
}

/// The words of the texts below, as the index has them.
const WORDS: [&str; 8] = ["alpha", "beta", "gamma", "straße", "nul", "kilo", "one", "w"];

fn text() -> impl Strategy<Value = String> {
    select(vec![
        "alpha".to_owned(),
        "Beta, GAMMA.".to_owned(),
        "straße\nalpha".to_owned(),
        "nul\0gamma".to_owned(),
        "kilo ".repeat(60),
        String::new(),
        "it's \"one\"; -- \\".to_owned(),
    ])
}

fn filled() -> impl Strategy<Value = String> {
    select(vec!["alpha".to_owned(), "beta one".to_owned()])
}

fn json() -> impl Strategy<Value = Json> {
    select(vec!["1", "1.50", "\"w\"", "[1, {\"one\": null}]", "{\"b\":1,\"a\":\"\\u0041\"}"])
        .prop_map(|text| text.parse().unwrap())
}

fn attributes() -> impl Strategy<Value = Attributes> {
    btree_map(select(vec!["x", "y \"q\"", "gamma"]).prop_map(str::to_owned), json(), 0..3)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(filled(), text(), 0..3)
}

fn step() -> impl Strategy<Value = annals::StepId> {
    select(vec!["1", "2", "00000000000000a1"]).prop_map(|id| id.try_into().unwrap())
}

fn tokens() -> impl Strategy<Value = u64> {
    select(vec![0, 1, 7, 1_000_000])
}

/// Costs that add up without rounding, so that the sum does not depend on how it is made.
fn cost() -> impl Strategy<Value = f64> {
    select(vec![0.0, 0.25, 0.5, 3.0])
}

fn fraction() -> impl Strategy<Value = f64> {
    select(vec![0.0, 0.1, 0.7, 1.0])
}

fn session() -> impl Strategy<Value = SessionId> {
    select(vec!["a", "b", "c ü"]).prop_map(|id| id.try_into().unwrap())
}

fn at() -> impl Strategy<Value = Timestamp> {
    select(vec![
        -62_135_596_800_000_000,
        -1,
        0,
        1_795_176_000_000_001,
        1_795_176_000_500_000,
        253_402_300_799_999_999,
    ])
    .prop_map(Timestamp::from_micros)
}

/// Events that belong to a session always.
fn session_event() -> BoxedStrategy<Event> {
    let finding = || select(vec!["f", "g"]).prop_map(|id| id.try_into().unwrap());
    let started = (
        (of(text()), of(text()), of(filled()), of(filled()), of(session())),
        (of(filled()), of(text()), of(text()), of(text()), of(filled())),
        (labels(), attributes()),
    )
        .prop_map(
            |(
                (profile, input, input_hash, conversation, parent_session),
                (agent, agent_version, model, source, tenant),
                (labels, attributes),
            )| {
                Event::from(SessionStarted {
                    profile,
                    input,
                    input_hash,
                    conversation,
                    parent_session,
                    agent,
                    agent_version,
                    model,
                    source,
                    tenant,
                    labels,
                    attributes,
                })
            },
        );
    let updated = (of(select(SessionProgress::ALL)), of(fraction()), of(text()), attributes()).prop_map(
        |(status, progress, message, attributes)| {
            SessionUpdated { status, progress, message, attributes }.into()
        },
    );
    let ended = (
        (select(SessionEnd::ALL), of(text()), of(select(Severity::ALL)), btree_map(filled(), cost(), 0..3)),
        (of(tokens()), of(tokens()), of(cost()), of(text()), attributes()),
    )
        .prop_map(
            |(
                (status, summary, risk_level, scores),
                (tokens_input, tokens_output, cost_usd, error, attributes),
            )| {
                SessionEnded {
                    status,
                    summary,
                    risk_level,
                    scores,
                    tokens_input,
                    tokens_output,
                    cost_usd,
                    error,
                    attributes,
                }
                .into()
            },
        );
    let step_started = (
        (step(), of(step()), of(filled()), of(prop_oneof![Just(StepKind::Llm), select(StepKind::ALL)])),
        (of(text()), of(text()), of(text()), attributes()),
    )
        .prop_map(|((step, parent_step, module, kind), (model, input, input_summary, attributes))| {
            // No step is part of itself, in however many levels.
            let parent_step = parent_step.filter(|parent| *parent > step);
            StepStarted { step, parent_step, module, kind, model, input, input_summary, attributes }.into()
        });
    let step_ended = (
        (step(), select(StepEnd::ALL), of(text()), of(text()), of(fraction())),
        (of(tokens()), of(tokens()), of(cost()), of(text()), attributes()),
        (of(tokens()), of(tokens()), of(tokens()), of(select(Basis::ALL))),
    )
        .prop_map(
            |(
                (step, status, output, output_summary, confidence),
                (tokens_input, tokens_output, cost_usd, error, attributes),
                (tokens_cache_read, tokens_cache_write, tokens_reasoning, basis),
            )| {
                StepEnded {
                    step,
                    status,
                    output,
                    output_summary,
                    confidence,
                    tokens_input,
                    tokens_output,
                    tokens_cache_read,
                    tokens_cache_write,
                    tokens_reasoning,
                    cost_usd,
                    error,
                    basis,
                    attributes,
                }
                .into()
            },
        );
    let option = (text(), of(cost()), attributes())
        .prop_map(|(option, score, attributes)| ConsideredOption { option, score, attributes });
    let decided = (
        (select(vec!["", "d1D1d1D1", "e"]), of(step()), of(filled()), vec(option, 0..3)),
        (0..3_u8, vec(text(), 1..3), of(text()), of(fraction()), of(filled()), attributes()),
        (chain(), of(select(Basis::ALL))),
    )
        .prop_map(
            |(
                (decision, step, decision_type, options_considered),
                (how_many, mut chosen, rationale, confidence, actor, attributes),
                (on_behalf_of, basis),
            )| {
                DecisionMade {
                    decision: decision.try_into().unwrap_or_default(),
                    step,
                    decision_type,
                    options_considered,
                    chosen_option: if how_many == 1 { chosen.pop() } else { None },
                    chosen_options: if how_many == 2 { chosen } else { Vec::new() },
                    rationale,
                    confidence,
                    actor,
                    on_behalf_of,
                    basis,
                    attributes,
                }
                .into()
            },
        );
    let raised = (
        (
            finding(),
            of(step()),
            of(filled()),
            of(filled()),
            of(select(Severity::ALL)),
            of(select(Outcome::ALL)),
        ),
        (of(fraction()), of(text()), of(text()), of(text()), of(text())),
        (of(text()), of(json()), of(text()), of(filled()), attributes()),
    )
        .prop_map(
            |(
                (finding, step, category, pattern_type, severity, outcome),
                (confidence, title, description, plain_english, suggestion),
                (legal_source, evidence, scope, rule_version, attributes),
            )| {
                FindingRaised {
                    finding,
                    step,
                    category,
                    pattern_type,
                    severity,
                    outcome,
                    confidence,
                    title,
                    description,
                    plain_english,
                    suggestion,
                    legal_source,
                    evidence,
                    scope,
                    rule_version,
                    attributes,
                }
                .into()
            },
        );
    let correction = (of(text()), of(text()), of(text()))
        .prop_map(|(original, corrected, strategy)| Correction { original, corrected, strategy });
    let judged =
        (finding(), of(select(FindingStatus::ALL)), of(filled()), of(text()), of(correction), attributes())
            .prop_map(|(finding, status, actor, reason, correction, attributes)| {
                FindingUpdated { finding, status, actor, reason, correction, attributes }.into()
            });
    let announced = btree_map(select(vec!["step.ended".to_owned(), "custom".to_owned()]), 0..9_u64, 0..3);
    let declared =
        (filled(), of(filled()), vec(filled(), 0..3), vec(filled(), 0..3), announced, attributes()).prop_map(
            |(source, instance, records, omits, announced, attributes)| {
                CoverageDeclared { source, instance, records, omits, announced, attributes }.into()
            },
        );
    prop_oneof![
        declared.boxed(),
        started.boxed(),
        updated.boxed(),
        ended.boxed(),
        step_started.boxed(),
        step_ended.boxed(),
        decided.boxed(),
        raised.boxed(),
        judged.boxed()
    ]
    .boxed()
}

fn actor() -> impl Strategy<Value = Actor> {
    (filled(), of(text())).prop_map(|(id, kind)| Actor { id, kind })
}

/// The principals for whom somebody acts.
fn chain() -> impl Strategy<Value = Vec<Delegation>> {
    let principal = (actor(), of(text()));
    vec(principal.prop_map(|(actor, authorization)| Delegation { actor, authorization }), 0..3)
}

/// Events that stand for themselves, in a session or in none.
fn event_of_its_own() -> BoxedStrategy<Event> {
    let reviewed = (
        (filled(), select(SubjectKind::ALL), select(Verdict::ALL), filled(), of(text()), attributes()),
        (of(text()), of(text()), of(text()), vec(filled(), 0..3), of(any::<[u8; 32]>()), of(at())),
    )
        .prop_map(
            |(
                (actor, subject_kind, verdict, subject, reason, attributes),
                (role, authority, identified_by, evidence_seen, approved, expires_at),
            )| {
                Event::from(ReviewRecorded {
                    actor,
                    subject_kind,
                    verdict,
                    review: Default::default(),
                    subject_id: (subject_kind != SubjectKind::Session).then_some(subject),
                    reason,
                    role,
                    authority,
                    identified_by,
                    evidence_seen,
                    approved_digest: approved.map(Digest::from_bytes),
                    expires_at,
                    attributes,
                })
            },
        );
    let judged = (
        (filled(), select(PolicyEffect::ALL), of(text()), of(text()), of(text())),
        (of(step()), of(select(SubjectKind::ALL)), filled(), of(text()), of(json()), attributes()),
    )
        .prop_map(
            |(
                (policy, effect, policy_version, rule, reason),
                (step, subject_kind, subject, actor, input, attributes),
            )| {
                PolicyDecided {
                    policy,
                    effect,
                    policy_version,
                    rule,
                    reason,
                    step,
                    subject_kind,
                    subject_id: subject_kind.filter(|kind| *kind != SubjectKind::Session).map(|_| subject),
                    actor,
                    input,
                    attributes,
                }
                .into()
            },
        );
    let attached =
        (any::<[u8; 32]>(), of(step()), of(text()), of(tokens()), of(text()), of(tokens()), attributes())
            .prop_map(|(artifact, step, label, position, media_type, size, attributes)| {
                let artifact = Digest::from_bytes(artifact);
                ArtifactAttached { artifact, step, label, position, media_type, size, attributes }.into()
            });
    let measured = (filled(), cost(), of(text()), labels(), attributes()).prop_map(
        |(name, value, unit, labels, attributes)| {
            MetricRecorded { name, value, unit, labels, attributes }.into()
        },
    );
    let noted = (text(), of(step()), of(filled()), of(json()), attributes()).prop_map(
        |(message, step, level, data, attributes)| {
            NoteLogged { message, step, level, data, attributes }.into()
        },
    );
    let changes = (of(json()), of(json())).prop_map(|(before, after)| Changes { before, after });
    let context = (of(text()), of(text()), of(text()))
        .prop_map(|(ip, user_agent, request_id)| RequestContext { ip, user_agent, request_id });
    let acted = (
        (actor(), filled(), of(filled()), of(filled()), of(select(ActionOutcome::ALL))),
        (of(text()), of(changes), of(context), of(filled()), attributes()),
        (chain(), of(select(Basis::ALL))),
    )
        .prop_map(
            |(
                (actor, action, entity_type, entity_id, outcome),
                (reason, changes, context, tenant, attributes),
                (on_behalf_of, basis),
            )| {
                ActionRecorded {
                    actor,
                    action,
                    entity_type,
                    entity_id,
                    outcome,
                    reason,
                    changes,
                    context,
                    tenant,
                    on_behalf_of,
                    basis,
                    attributes,
                }
                .into()
            },
        );
    let custom = (filled(), of(json()), attributes())
        .prop_map(|(name, data, attributes)| Custom { name, data, attributes }.into());
    prop_oneof![
        reviewed.boxed(),
        attached.boxed(),
        measured.boxed(),
        noted.boxed(),
        acted.boxed(),
        judged.boxed(),
        custom.boxed()
    ]
    .boxed()
}

/// Attributes of a span or log record that mean something, and some that do not.
fn otel_attributes() -> impl Strategy<Value = Vec<serde_json::Value>> {
    let text =
        |key: &'static str| text().prop_map(move |text| json!({"key": key, "value": {"stringValue": text}}));
    let word = |key: &'static str, words: &[&'static str]| {
        select(words.to_vec()).prop_map(move |word| json!({"key": key, "value": {"stringValue": word}}))
    };
    let tokens = |key: &'static str| {
        tokens().prop_map(move |n| json!({"key": key, "value": {"intValue": n.to_string()}}))
    };
    let calls = r#"[{"role":"assistant","parts":[{"type":"text","content":"one"},{"type":"tool_call","id":"d1D1d1D1","name":"w","arguments":{"a":1}},{"type":"tool_call","name":"kilo"}]}]"#;
    // Long enough to be put together of the payload's pieces.
    let said = |what: &str| format!("{what} says \"é\", and goes on\n").repeat(30);
    let history = json!([
        {"role": "user", "parts": [{"type": "text", "content": said("alpha")}]},
        {"role": "assistant", "parts": [{"type": "text", "content": said("beta")}]},
    ])
    .to_string();
    vec(
        prop_oneof![
            3 => word("gen_ai.operation.name", &["chat", "execute_tool", "invoke_agent", "plan", "alpha"]),
            2 => word("openinference.span.kind", &["LLM", "AGENT", "CHAIN", "GUARDRAIL", "EVALUATOR"]),
            2 => word("gen_ai.output.messages", &[calls, "[]", "gamma"]),
            2 => Just(json!({"key": "gen_ai.input.messages", "value": {"stringValue": history}})),
            1 => word("error.type", &["Alpha", "Beta"]),
            1 => word("gen_ai.conversation.id", &["one", "two"]),
            1 => word("user.id", &["one", "two"]),
            1 => word("gen_ai.tool.name", &["w", "f"]),
            1 => word("gen_ai.evaluation.name", &["f", "g"]),
            1 => word("annotations.0.annotation.name", &["f", "g"]),
            2 => tokens("gen_ai.usage.input_tokens"),
            2 => tokens("llm.token_count.completion"),
            1 => text("gen_ai.response.model"),
            2 => text("input.value"),
            2 => text("output.value"),
            1 => text("gen_ai.evaluation.score.label"),
            1 => text("annotations.0.annotation.explanation"),
            1 => text("kilo"),
        ],
        0..6,
    )
}

/// A span of few that there are, so that they meet.
fn otel_event() -> BoxedStrategy<Event> {
    let id = || select(vec!["00000000000000a1", "00000000000000A2", "00000000000000a3"]);
    let nanos = || select(vec!["0", "1795176000000000000", "1795176000500000000"]);
    let names = vec!["exception", "gen_ai.evaluation.result", "gen_ai.user.message", "gen_ai.choice", "kilo"];
    let happened =
        (select(names.clone()), nanos(), otel_attributes()).prop_map(|(name, at, mut attributes)| {
            attributes.push(json!({"key": "exception.message", "value": {"stringValue": "kilo"}}));
            json!({"name": name, "timeUnixNano": at, "attributes": attributes})
        });
    let resource = || {
        of(select(vec![
            r#"{"attributes":[{"key":"service.name","value":{"stringValue":"beta"}}]}"#,
            "{}",
            "[]",
        ]))
        .prop_map(|json| json.map(|json| json.parse().unwrap()))
        .prop_filter("an object", |json: &Option<Json>| json.as_ref().is_none_or(Json::is_object))
    };
    let span = (
        (id(), of(id()), select(vec![0, 256, 768]), select(vec!["alpha", "", "w"]), nanos(), nanos()),
        (0..3_u8, otel_attributes(), vec(happened, 0..3), resource(), attributes()),
    )
        .prop_map(
            |((id, parent, flags, name, start, end), (status, attributes, events, resource, own))| {
                // No span is part of itself, in however many levels.
                let is_above = |parent: &&str| parent.to_lowercase() > id.to_lowercase();
                let span = json!({
                    "spanId": id, "parentSpanId": parent.filter(is_above), "flags": flags, "name": name,
                    "startTimeUnixNano": start, "endTimeUnixNano": end,
                    "status": {"code": status}, "attributes": attributes, "events": events,
                });
                Event::from(OtelSpan {
                    span: span.to_string().parse().unwrap(),
                    resource,
                    attributes: own,
                    ..Default::default()
                })
            },
        );
    let log = (
        of(id()),
        of(select([names, vec!["gen_ai.client.inference.operation.details"]].concat())),
        (nanos(), 0..25_u8, otel_attributes(), text()),
    )
        .prop_map(|(id, name, (at, severity, attributes, body))| {
            let body =
                json!({"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": body}}]}});
            let record = json!({
                "spanId": id, "eventName": name, "timeUnixNano": at, "severityNumber": severity,
                "attributes": attributes, "body": body,
            });
            OtelLog { log_record: record.to_string().parse().unwrap(), ..Default::default() }.into()
        });
    let neither = Just(OtelSpan { span: r#"{"alpha":1}"#.parse().unwrap(), ..Default::default() }.into());
    prop_oneof![8 => span, 4 => log, 1 => neither].boxed()
}

fn draft() -> impl Strategy<Value = Draft> {
    let in_session = (session(), of(at()), session_event()).prop_map(|(session, at, event)| Draft {
        id: None,
        session: Some(session),
        at,
        event,
    });
    let anywhere = (of(session()), of(at()), event_of_its_own()).prop_map(|(session, at, event)| Draft {
        id: None,
        session,
        at,
        event,
    });
    let otel = (session(), of(at()), otel_event()).prop_map(|(session, at, event)| Draft {
        id: None,
        session: Some(session),
        at,
        event,
    });
    prop_oneof![3 => in_session, 1 => anywhere, 2 => otel]
}

fn api_key() -> impl Strategy<Value = ApiKeyRequest> {
    let expires_at = of(Just(Timestamp::from_micros(253_402_300_799_999_999)));
    (filled(), subsequence(ApiKeyScope::ALL, 1..=4), expires_at, text(), of(text())).prop_map(
        |(name, scopes, expires_at, actor, reason)| ApiKeyRequest { name, scopes, expires_at, actor, reason },
    )
}

fn op() -> BoxedStrategy<Op> {
    prop_oneof![
        16 => draft().prop_map(|draft| Op::Append(Box::new(draft))),
        1 => vec(any::<Index>(), 1..4).prop_map(Op::Redact),
        2 => Just(Op::CatchUp),
        1 => api_key().prop_map(Op::CreateKey),
        1 => (any::<Index>(), of(text())).prop_map(|(which, reason)| Op::RevokeKey(which, reason)),
    ]
    .boxed()
}

/// Does what is to be done, and returns every event that was recorded, by its place.
fn run(path: &Path, ops: &[Op], batch_events: usize) -> BTreeMap<i64, Event> {
    let log = AuditLog::builder(path)
        .origin("example.com/model")
        .durability(Durability::Normal)
        .batch_events(batch_events)
        .open()
        .unwrap();
    let mut events = BTreeMap::new();
    let mut redactable: Vec<Seq> = Vec::new();
    let mut keys: Vec<(EventId, &str)> = Vec::new();
    for op in ops {
        match op {
            Op::Append(draft) => {
                let appended = log.append((**draft).clone()).unwrap().wait().unwrap();
                events.insert(
                    appended.seq.get().cast_signed(),
                    with_ids(draft.event.clone(), appended.event_id),
                );
                redactable.push(appended.seq);
            }
            Op::CreateKey(request) if keys.iter().any(|(_, name)| *name == request.name) => {
                assert!(log.create_api_key(request).is_err(), "a living key has the name");
            }
            Op::CreateKey(request) => {
                let (key, appended) = log.create_api_key(request).unwrap();
                let ApiKeyRequest { name, scopes, expires_at, actor, reason } = request.clone();
                let secret_hash = key.hash().into();
                let event = ApiKeyCreated { name, scopes, secret_hash, expires_at, actor, reason };
                events.insert(appended.seq.get().cast_signed(), event.into());
                keys.push((key.id(), &request.name));
            }
            Op::RevokeKey(..) if keys.is_empty() => {}
            Op::RevokeKey(which, reason) => {
                let (key, _) = keys.swap_remove(which.index(keys.len()));
                let appended = log.revoke_api_key(key, "kilo", reason.as_deref()).unwrap();
                let event = ApiKeyRevoked { key, actor: "kilo".into(), reason: reason.clone() };
                events.insert(appended.seq.get().cast_signed(), event.into());
            }
            Op::Redact(_) if redactable.is_empty() => {}
            Op::Redact(which) => {
                let mut seqs: Vec<Seq> = which.iter().map(|index| *index.get(&redactable)).collect();
                let appended = log
                    .redact(RedactionRequest {
                        seqs: seqs.to_vec(),
                        actor: "kilo".into(),
                        reason: "one".into(),
                        authority: Some("gamma".into()),
                    })
                    .unwrap();
                seqs.sort_unstable();
                seqs.dedup();
                let event = PayloadRedacted {
                    seqs: seqs.iter().map(|seq| seq.get()).collect(),
                    actor: "kilo".into(),
                    reason: "one".into(),
                    authority: Some("gamma".into()),
                };
                events.insert(appended.seq.get().cast_signed(), event.into());
            }
            Op::CatchUp => log.wait_caught_up_within(log.committed(), PATIENCE).unwrap(),
        }
    }
    log.close().unwrap();
    events
}

/// Absent ids are the event's own.
fn with_ids(mut event: Event, id: EventId) -> Event {
    match &mut event {
        Event::DecisionMade(e) if e.decision.is_absent() => e.decision = id.into(),
        Event::ReviewRecorded(e) if e.review.is_absent() => e.review = id.into(),
        _ => {}
    }
    event
}

/// The log as it is in the file, with what was recorded; what is redacted says nothing.
fn facts(path: &Path, events: &BTreeMap<i64, Event>) -> Vec<Fact> {
    sqlite(path)
        .prepare("SELECT seq, entry, payload IS NULL FROM log ORDER BY seq")
        .unwrap()
        .query_map([], |row| {
            let seq: i64 = row.get(0)?;
            let entry = Entry::decode(&row.get::<_, Vec<u8>>(1)?).unwrap();
            let created = Event::LogCreated(LogCreated {
                origin: "example.com/model".into(),
                software: String::new(),
                continues: None,
            });
            let event = if seq == 1 { created } else { events[&seq].clone() };
            let is_redacted: bool = row.get(2)?;
            Ok(Fact {
                seq,
                event_id: entry.event_id,
                kind: Kind::from_code(entry.kind).unwrap(),
                session: entry.session.map(|session| session.to_string()),
                at: entry.occurred_at,
                recorded_at: entry.recorded_at,
                event: (!is_redacted).then_some(event),
                precedence: None,
            })
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn read_rows(connection: &Connection, table: &str) -> Vec<Row> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    // What the fold notes down for itself: the reference has all events to look at.
    let shown = |name: &str| name != "claims";
    statement
        .query_map([], |row| {
            let columns = columns.iter().enumerate().filter(|(_, name)| shown(name));
            columns.map(|(place, name)| Ok((name.clone(), row.get(place)?))).collect()
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn read_tables(connection: &Connection) -> Tables {
    TABLES
        .iter()
        .map(|(table, key)| {
            let rows = read_rows(connection, table);
            let keyed = rows.into_iter().map(|row| (reference::key_of(&row, key), row)).collect();
            (*table, keyed)
        })
        .collect()
}

/// Holds the tables of a database against what the reference says of these events.
#[track_caller]
fn assert_tables(connection: &Connection, facts: &[Fact], when: &str) {
    let (found, expected) = (read_tables(connection), reference::tables(facts));
    for (table, _) in TABLES {
        for (key, row) in &expected[table] {
            let Some(found) = found[table].get(key) else { panic!("{when}: {table} lacks {key}") };
            for (column, value) in row {
                assert_eq!(found.get(column), Some(value), "{when}: {table}, {key}, {column}");
            }
            assert_eq!(found.len(), row.len(), "{when}: columns of {table} that the reference does not know");
        }
        assert_eq!(found[table].len(), expected[table].len(), "{when}: rows of {table}");
    }
    let documents: BTreeMap<i64, (Option<String>, String, Option<String>)> = connection
        .prepare("SELECT seq, session_id, kind, subject_id FROM search_documents")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let expected = facts
        .iter()
        .filter(|fact| !reference::searched(fact).is_empty())
        .map(|fact| (fact.seq, (fact.session.clone(), fact.kind.name().to_owned(), reference::subject(fact))))
        .collect();
    assert_eq!(documents, expected, "{when}: documents");
    for word in WORDS {
        let found: BTreeSet<i64> = connection
            .prepare("SELECT rowid FROM search WHERE search MATCH ?1")
            .unwrap()
            .query_map([format!("\"{word}\"")], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(found, reference::found(facts, word), "{when}: search for {word}");
    }
}

/// Makes the read tables of a closed log anew.
fn rebuild(path: &Path) {
    let log = AuditLog::builder(path).durability(Durability::Normal).open().unwrap();
    for projection in PROJECTIONS {
        log.rebuild(projection).unwrap();
    }
    log.close().unwrap();
}

/// Takes a closed log back to an earlier event: what was erased since stays erased.
fn travel(path: &Path, until: i64) {
    let connection = sqlite(path);
    let trigger: String = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'log_rows_stay'", [], |row| row.get(0))
        .unwrap();
    connection
        .execute_batch(&format!("DROP TRIGGER log_rows_stay; DELETE FROM log WHERE seq > {until}; {trigger}"))
        .unwrap();
    drop(connection);
    rebuild(path);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_heavy() { 600 } else { 32 },
        max_shrink_iters: 300,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn the_read_tables_are_what_the_reference_says(
        ops in vec(op(), 1..60),
        batch_events in select(vec![1_usize, 2, 5, 2_048]),
        until in any::<Index>(),
    ) {
        let (folder, path) = new_path();
        let events = run(&path, &ops, batch_events);
        let facts = facts(&path, &events);
        assert_tables(&sqlite(&path), &facts, "live");
        verify_whole(&path);

        rebuild(&path);
        assert_tables(&sqlite(&path), &facts, "rebuilt");

        let until = until.index(facts.len()) + 1;
        let then = folder.path().join("then.db");
        std::fs::copy(&path, &then).unwrap();
        travel(&then, i64::try_from(until).unwrap());
        assert_tables(&sqlite(&then), &facts[..until], &format!("as of event {until}"));

        // The same for one session, in memory.
        let last = &facts[until - 1];
        if let Some(session) = &last.session {
            let replay = Replay::open(&path, &session.as_str().try_into().unwrap()).unwrap();
            let then = replay.tables_as_of(Some(Seq::new(last.seq.cast_unsigned()))).unwrap();
            let own: Vec<Fact> =
                facts[..until].iter().filter(|fact| fact.session.as_ref() == Some(session)).cloned().collect();
            assert_tables(&then, &own, &format!("replayed until event {until}"));
        }
    }
}

/// Numbers that do not add up, and numbers at the edge of what there is.
const AWKWARD: [f64; 8] = [0.1, 0.2, 1e300, -1e300, f64::MAX, f64::MIN_POSITIVE, -0.0, 1.0 / 3.0];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_heavy() { 500 } else { 12 },
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn where_a_batch_ends_makes_no_difference_to_any_bit(
        costs in vec((0..3_u8, select(AWKWARD.to_vec()), any::<bool>()), 1..40),
    ) {
        let log_of = |catch_up: bool| {
            let (folder, path) = new_path();
            let log = AuditLog::builder(&path)
                .durability(Durability::Normal)
                .clock(|| Timestamp::from_micros(0))
                .batch_events(if catch_up { 1 } else { 2_048 })
                .open()
                .unwrap();
            for (step, cost, starts) in &costs {
                let step = step.to_string().as_str().try_into().unwrap();
                let event: Event = if *starts {
                    StepStarted { step, kind: Some(StepKind::Llm), ..Default::default() }.into()
                } else {
                    StepEnded { step, cost_usd: Some(*cost), tokens_input: Some(annals::limits::TOKENS_MAX), tokens_output: Some(annals::limits::TOKENS_MAX), ..Default::default() }
                        .into()
                };
                let receipt = log.append(Draft::new(event).session("s".try_into().unwrap())).unwrap();
                if catch_up {
                    log.wait_caught_up_within(receipt.wait().unwrap().seq, PATIENCE).unwrap();
                }
            }
            log.close().unwrap();
            // Nothing but the log is compared with the log's own fold, bit by bit.
            verify_whole(&path);
            let rows: Vec<String> = ["sessions", "steps", "timeline"]
                .iter()
                .flat_map(|table| read_rows(&sqlite(&path), table))
                .map(|row| format!("{row:?}"))
                .collect();
            drop(folder);
            rows
        };
        assert_eq!(log_of(true), log_of(false));
    }
}

/// The events of one trace, each span with an id of its own, and log records of them.
fn trace() -> impl Strategy<Value = Vec<Event>> {
    vec((otel_event(), any::<Index>(), any::<Index>()), 1..12).prop_map(|events| {
        let id = |place: usize| json!(format!("{:016x}", place + 1));
        let count = events.len();
        let mut trace = Vec::new();
        for (place, (event, one, other)) in events.into_iter().enumerate() {
            trace.push(match event {
                Event::OtelSpan(e) => {
                    let mut span: serde_json::Value = serde_json::from_str(e.span.as_str()).unwrap();
                    span["spanId"] = id(place);
                    // One of those behind, or one that never comes, or none: no span is part of itself.
                    span["parentSpanId"] = match one.index(count + 2) {
                        parent if parent <= place => json!(""),
                        parent => id(parent),
                    };
                    OtelSpan { span: span.to_string().parse().unwrap(), ..e }.into()
                }
                Event::OtelLog(e) => {
                    let mut record: serde_json::Value = serde_json::from_str(e.log_record.as_str()).unwrap();
                    record["spanId"] = id(other.index(count));
                    OtelLog { log_record: record.to_string().parse().unwrap(), ..e }.into()
                }
                event => event,
            });
        }
        trace
    })
}

/// Rows of what a trace came to, without what says in what order its events came.
fn what_it_came_to(events: &[Event], batch_events: usize) -> Vec<String> {
    let (_folder, path) = new_path();
    let log = AuditLog::builder(&path)
        .durability(Durability::Normal)
        .clock(|| Timestamp::from_micros(0))
        .batch_events(batch_events)
        .open()
        .unwrap();
    for event in events {
        let appended = log.append(Draft::new(event.clone()).session("s".try_into().unwrap())).unwrap();
        if batch_events == 1 {
            log.wait_caught_up_within(appended.wait().unwrap().seq, PATIENCE).unwrap();
        }
    }
    log.close().unwrap();
    verify_whole(&path);
    let connection = sqlite(&path);
    let mut rows = Vec::new();
    for table in ["sessions", "steps", "decisions", "findings", "notes"] {
        for mut row in read_rows(&connection, table) {
            row.retain(|column, _| !["seq", "first_seq", "last_seq"].contains(&column.as_str()));
            rows.push(format!("{table}: {row:?}"));
        }
    }
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_heavy() { 600 } else { 24 },
        max_shrink_iters: 300,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn a_trace_comes_to_the_same_in_whatever_order_its_spans_and_log_records_come(
        (one, other) in trace().prop_flat_map(|trace| (Just(trace.clone()), Just(trace).prop_shuffle())),
    ) {
        prop_assert_eq!(what_it_came_to(&one, 2_048), what_it_came_to(&other, 1));
    }
}
