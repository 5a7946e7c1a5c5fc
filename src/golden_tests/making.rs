//! The content of the golden files.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, params};

use super::{EntryFields, EventVector, MalformedVector, ValueVector, Vectors, bytes, hex, older};
use crate::chain;
use crate::encoding;
use crate::entry::Entry;
use crate::event::{
    ApiKeyCreated, ApiKeyRevoked, ApiKeyScope, Continues, Digest, Draft, Event, EventId, EventsLost,
    KeyChangeCause, KeyChanged, KeyRole, LogCreated, PayloadRedacted, ProjectionSkipped, Seq, StepEnd,
    Timestamp, encode_earlier, parse_draft, write_event,
};
use crate::limits::SALT_BYTES;
use crate::log::{rows, schema};
use crate::prepare::{Parts, Prepared, SentBy};

/// 2026-11-20T12:00:00Z.
const NOON: Timestamp = Timestamp::from_micros(1_795_176_000_000_000);

/// An id that anybody can make again, like the salts and times here.
fn event_id(number: u64) -> EventId {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&bytes("019f00000000"));
    // Version and variant, as in every UUID of version 7.
    id[6] = 0x70;
    id[8] = 0x80;
    id[14..].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
    EventId::from_bytes(id)
}

fn salt(number: u64) -> [u8; SALT_BYTES] {
    std::array::from_fn(|place| u8::try_from((number * 16 + u64::try_from(place).unwrap()) % 256).unwrap())
}

fn value_vectors() -> Vec<ValueVector> {
    fn vector<T: bincode::Encode>(value: &str, r#type: &str, encoded: T) -> ValueVector {
        let mut bytes = Vec::new();
        encoding::encode(&encoded, &mut bytes).unwrap();
        ValueVector { value: value.to_owned(), r#type: r#type.to_owned(), bytes: hex(&bytes) }
    }
    let text = str::to_owned;
    vec![
        vector("0", "u64", 0_u64),
        // The largest number of each length of a varint, and the smallest one of the next.
        vector("250", "u64", 250_u64),
        vector("251", "u64", 251_u64),
        vector("65535", "u16", u16::MAX),
        vector("65536", "u32", 65_536_u32),
        vector("4294967295", "u32", u32::MAX),
        vector("4294967296", "u64", 4_294_967_296_u64),
        vector("18446744073709551615", "u64", u64::MAX),
        vector("200", "u8", 200_u8),
        vector("255", "u8", u8::MAX),
        vector("0", "i64", 0_i64),
        vector("-1", "i64", -1_i64),
        vector("1", "i64", 1_i64),
        vector("-126", "i64", -126_i64),
        vector("1795176000000000", "i64", NOON),
        vector("9223372036854775807", "i64", i64::MAX),
        vector("-9223372036854775808", "i64", i64::MIN),
        vector("0.5", "f64", 0.5_f64),
        vector("-0.0", "f64", -0.0_f64),
        vector("\"\"", "string", text("")),
        vector("\"né\"", "string", text("né")),
        vector("none", "option(string)", None::<String>),
        vector("some \"a\"", "option(string)", Some(text("a"))),
        vector("[1, 300]", "list(u64)", vec![1_u64, 300]),
        vector(
            "{\"b\": \"1\", \"a\": \"2\"}",
            "map(string)",
            BTreeMap::from([(text("b"), text("1")), (text("a"), text("2"))]),
        ),
        vector("error", "step_end", StepEnd::Error),
        vector("compromised", "key_change_cause", KeyChangeCause::Compromised),
    ]
}

/// Events that people record: each kind with all fields, and with the required ones alone.
const DRAFTS: &[(&str, &str)] = &[
    (
        "session.started, whole",
        r#"{"type":"session.started","session":"s-1","at":"2026-11-20T12:00:01.000001Z","profile":"contracts/v2","input":"Prüfe § 7 – 漢字 🙂","input_hash":"a1b2","conversation":"c-9","parent_session":"s-0","agent":"reviewer","agent_version":"1.4.0","model":"m-large","source":"golden","tenant":"acme","labels":{"env":"test","Z":"1","a":"2","é":"3"},"attributes":{"price":1.10,"big":1e400,"list":[1 , 2],"text":"\u0041"}}"#,
    ),
    ("session.started, least", r#"{"type":"session.started","session":"s-2"}"#),
    (
        "session.updated, whole",
        r#"{"type":"session.updated","session":"s-1","at":"2026-11-20T12:00:02Z","status":"paused","progress":0.25,"message":"waiting","attributes":{"by":"x"}}"#,
    ),
    ("session.updated, least", r#"{"type":"session.updated","session":"s-1"}"#),
    (
        "session.updated, first word",
        r#"{"type":"session.updated","session":"s-2","status":"queued","progress":0.0}"#,
    ),
    (
        "step.started, whole",
        r#"{"type":"step.started","session":"s-1","at":"2026-11-20T12:00:03Z","step":"p-1","parent_step":"p-0","module":"planner","kind":"other","model":"m-small","input":"in","input_summary":"i","attributes":{"shard":7}}"#,
    ),
    ("step.started, least", r#"{"type":"step.started","session":"s-1","step":"p-2"}"#),
    (
        "step.ended, whole of version 1",
        r#"{"type":"step.ended","session":"s-1","at":"2026-11-20T12:00:04.5Z","step":"p-1","status":"error","output":"out","output_summary":"o","confidence":0.875,"tokens_input":250,"tokens_output":251,"cost_usd":0.0125,"error":"timeout","attributes":{"retry":true}}"#,
    ),
    ("step.ended, least of version 1", r#"{"type":"step.ended","session":"s-1","step":"p-2","status":"ok"}"#),
    (
        "decision.made, whole with one option of version 1",
        r#"{"type":"decision.made","session":"s-1","at":"2026-11-20T12:00:05Z","decision":"d-1","step":"p-1","decision_type":"route","options_considered":[{"option":"left","score":0.75,"cost":{"eur":3}},{"option":"right"}],"chosen_option":"left","rationale":"shorter","confidence":1.0,"actor":"planner","attributes":{"k":null}}"#,
    ),
    (
        "decision.made, several options of version 1",
        r#"{"type":"decision.made","session":"s-1","decision":"d-2","chosen_options":["b","a"]}"#,
    ),
    ("decision.made, least of version 1", r#"{"type":"decision.made","session":"s-1"}"#),
    (
        "finding.raised, whole",
        r#"{"type":"finding.raised","session":"s-1","at":"2026-11-20T12:00:06Z","finding":"f-1","step":"p-1","category":"liability","pattern_type":"cap","severity":"critical","outcome":"error","confidence":0.5,"title":"No cap","description":"Liability is unlimited.","plain_english":"You could owe anything.","suggestion":"Add a cap.","legal_source":"BGB § 276","evidence":{"page":3,"quote":"…"},"scope":"§ 7","rule_version":"2026.1","attributes":{"n":-0.0}}"#,
    ),
    ("finding.raised, least", r#"{"type":"finding.raised","session":"s-1"}"#),
    (
        "finding.updated, whole",
        r#"{"type":"finding.updated","session":"s-1","at":"2026-11-20T12:00:07Z","finding":"f-1","status":"reverted","actor":"ada","reason":"agreed","correction":{"original":"x","corrected":"y","strategy":"replace"},"attributes":{"correction.note":"z"}}"#,
    ),
    ("finding.updated, least", r#"{"type":"finding.updated","session":"s-1","finding":"f-1"}"#),
    (
        "review.recorded, whole of version 1",
        r#"{"type":"review.recorded","session":"s-1","at":"2026-11-20T12:00:08Z","actor":"ada","subject_kind":"action","verdict":"escalated","review":"r-1","subject_id":"x-1","reason":"above my limit","attributes":{"level":2}}"#,
    ),
    (
        "review.recorded, least of version 1",
        r#"{"type":"review.recorded","actor":"ada","subject_kind":"session","verdict":"approved"}"#,
    ),
    (
        "artifact.attached, whole",
        r#"{"type":"artifact.attached","session":"s-1","at":"2026-11-20T12:00:09Z","artifact":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262","step":"p-1","label":"contract.pdf","position":65536,"media_type":"application/pdf","size":9223372036854775807,"attributes":{"pages":12}}"#,
    ),
    (
        "artifact.attached, least",
        r#"{"type":"artifact.attached","artifact":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
    ),
    (
        "metric.recorded, whole",
        r#"{"type":"metric.recorded","session":"s-1","at":"1969-12-31T23:59:59.999999Z","name":"latency","value":-1.5e-7,"unit":"s","labels":{"host":"a"},"attributes":{"window":60}}"#,
    ),
    ("metric.recorded, least", r#"{"type":"metric.recorded","name":"m","value":0.0}"#),
    (
        "note.logged, whole",
        r#"{"type":"note.logged","session":"s-1","at":"2026-11-20T12:00:10Z","message":"line\nbreak \"quoted\" \u0000","step":"p-1","level":"warning","data":{"b":1,"a":[true,null,"\ud83d\ude42"]},"attributes":{"thread":4}}"#,
    ),
    ("note.logged, least", r#"{"type":"note.logged","message":""}"#),
    (
        "action.recorded, whole of version 1",
        r#"{"type":"action.recorded","session":"s-1","at":"2026-11-20T12:00:11Z","actor":{"id":"u-1","kind":"user"},"action":"delete","entity_type":"contract","entity_id":"x-1","outcome":"denied","reason":"policy","changes":{"before":{"a":1},"after":[]},"context":{"ip":"192.0.2.1","user_agent":"curl","request_id":"q-1"},"tenant":"acme","attributes":{"context.region":"eu"}}"#,
    ),
    (
        "action.recorded, least of version 1",
        r#"{"type":"action.recorded","actor":{"id":"u-1"},"action":"read"}"#,
    ),
    (
        "otel.span, whole",
        r#"{"type":"otel.span","session":"5b8efff798038103d269b633813fc60c","at":"2026-11-20T12:00:11.5Z","span":{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"chat","startTimeUnixNano":"1763640011000000000","endTimeUnixNano":1763640011500000000,"attributes":[{"key":"gen_ai.usage.input_tokens","value":{"intValue":"7"}}]},"resource":{"attributes":[]},"resource_schema_url":"https://example.org/r","scope":{"name":"tests"},"scope_schema_url":"https://example.org/s","attributes":{"x":1}}"#,
    ),
    ("otel.span, least", r#"{"type":"otel.span","session":"5b8efff798038103d269b633813fc60c","span":{}}"#),
    (
        "otel.log, whole",
        r#"{"type":"otel.log","session":"5b8efff798038103d269b633813fc60c","at":"2026-11-20T12:00:11.25Z","log_record":{"traceId":"5b8efff798038103d269b633813fc60c","body":{"stringValue":"hello"}},"resource":{"attributes":[]},"resource_schema_url":"https://example.org/r","scope":{"name":"tests"},"scope_schema_url":"https://example.org/s","attributes":{"x":1}}"#,
    ),
    ("otel.log, least", r#"{"type":"otel.log","log_record":{}}"#),
    (
        "custom, whole",
        r#"{"type":"custom","session":"s-1","at":"9999-12-31T23:59:59.999999Z","name":"tick","data":"text","attributes":{"x":{}}}"#,
    ),
    ("custom, least", r#"{"type":"custom","name":"tick"}"#),
    (
        "session.ended, whole",
        r#"{"type":"session.ended","session":"s-1","at":"2026-11-20T12:00:12Z","status":"disconnected","summary":"done","risk_level":"info","scores":{"quality":0.1,"z":-1e300},"tokens_input":65535,"tokens_output":4294967296,"cost_usd":1e-9,"error":"gone","attributes":{"last":1}}"#,
    ),
    ("session.ended, least", r#"{"type":"session.ended","session":"s-2","status":"completed"}"#),
];

/// Events of versions that came later. They stand at the end, because each event's id, salt and link follow from its
/// place.
const LATER_DRAFTS: &[(&str, &str)] = &[
    (
        "step.ended, whole",
        r#"{"type":"step.ended","session":"s-1","at":"2026-11-20T12:00:04.5Z","step":"p-1","status":"cancelled","output":"out","output_summary":"o","confidence":0.875,"tokens_input":250,"tokens_output":251,"tokens_cache_read":128,"tokens_cache_write":65536,"tokens_reasoning":4294967296,"cost_usd":0.0125,"error":"stopped","basis":"claimed","attributes":{"retry":true}}"#,
    ),
    ("step.ended, least", r#"{"type":"step.ended","session":"s-1","step":"p-2","status":"ok"}"#),
    ("step.started, last word", r#"{"type":"step.started","session":"s-1","step":"p-3","kind":"embedding"}"#),
    (
        "review.recorded, last word of version 1",
        r#"{"type":"review.recorded","actor":"ada","subject_kind":"session","verdict":"modified"}"#,
    ),
    (
        "decision.made, whole",
        r#"{"type":"decision.made","session":"s-1","at":"2026-11-20T12:00:05Z","decision":"d-1","step":"p-1","decision_type":"route","options_considered":[{"option":"left","score":0.75,"cost":{"eur":3}},{"option":"right"}],"chosen_option":"left","rationale":"shorter","confidence":1.0,"actor":"planner","on_behalf_of":[{"actor":{"id":"u-1","kind":"user"},"authorization":"mandate 7"},{"actor":{"id":"acme"}}],"basis":"observed","attributes":{"k":null}}"#,
    ),
    (
        "decision.made, several options",
        r#"{"type":"decision.made","session":"s-1","decision":"d-2","chosen_options":["b","a"]}"#,
    ),
    ("decision.made, least", r#"{"type":"decision.made","session":"s-1"}"#),
    (
        "review.recorded, whole",
        r#"{"type":"review.recorded","session":"s-1","at":"2026-11-20T12:00:08Z","actor":"ada","subject_kind":"action","verdict":"modified","review":"r-1","subject_id":"x-1","reason":"within my limit","role":"claims manager","authority":"limit of 5,000","identified_by":"sso","evidence_seen":["f-1","contract.pdf"],"approved_digest":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262","expires_at":"2026-12-20T12:00:00.000000Z","attributes":{"level":2}}"#,
    ),
    (
        "review.recorded, least",
        r#"{"type":"review.recorded","actor":"ada","subject_kind":"session","verdict":"approved"}"#,
    ),
    (
        "action.recorded, whole",
        r#"{"type":"action.recorded","session":"s-1","at":"2026-11-20T12:00:11Z","actor":{"id":"agent-1","kind":"agent"},"action":"delete","entity_type":"contract","entity_id":"x-1","outcome":"denied","reason":"policy","changes":{"before":{"a":1},"after":[]},"context":{"ip":"192.0.2.1","user_agent":"curl","request_id":"q-1"},"tenant":"acme","on_behalf_of":[{"actor":{"id":"u-1","kind":"user"},"authorization":"token 12"}],"basis":"claimed","attributes":{"context.region":"eu"}}"#,
    ),
    ("action.recorded, least", r#"{"type":"action.recorded","actor":{"id":"u-1"},"action":"read"}"#),
    (
        "policy.decided, whole",
        r#"{"type":"policy.decided","session":"s-1","at":"2026-11-20T12:00:13Z","policy":"payments","effect":"escalate","policy_version":"7","rule":"above-limit","reason":"more than 500","step":"p-1","subject_kind":"decision","subject_id":"d-1","actor":"opa","input":{"amount":700},"attributes":{"took_ms":3}}"#,
    ),
    ("policy.decided, least", r#"{"type":"policy.decided","policy":"payments","effect":"allow"}"#),
    (
        "coverage.declared, whole",
        r#"{"type":"coverage.declared","session":"s-1","at":"2026-11-20T12:00:14Z","source":"planner","instance":"run 2","records":["model calls","tool calls"],"omits":["subagents"],"announced":{"step.started":300,"step.ended":2},"attributes":{"host":"a"}}"#,
    ),
    ("coverage.declared, least", r#"{"type":"coverage.declared","session":"s-1","source":"planner"}"#),
];

/// Events that Annals writes itself.
fn own_events() -> Vec<(&'static str, Event)> {
    let created = LogCreated {
        origin: "example.org/golden".to_owned(),
        software: "annals 0.1.0".to_owned(),
        continues: None,
    };
    let continues =
        Continues { origin: "example.org/before".to_owned(), size: 300, root: Digest::of("root") };
    let lost = EventsLost { count: 3, since: NOON, reason: "the disk is full".to_owned(), ids: Vec::new() };
    let ids = vec![event_id(300), EventId::from_bytes([7; 16])];
    let redacted = PayloadRedacted {
        seqs: vec![2, 3, 251],
        actor: "dpo".to_owned(),
        reason: "erasure request 17".to_owned(),
        authority: Some("GDPR Art. 17".to_owned()),
    };
    let skipped = ProjectionSkipped {
        projection: "sessions".to_owned(),
        version: 1,
        seq: 4,
        actor: "ops".to_owned(),
        reason: "newer payload".to_owned(),
    };
    let key = KeyChanged {
        role: KeyRole::Stable,
        vkey: "example.org/golden+2b3c4d5e+AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh".to_owned(),
        previous: Some("example.org/golden+1a2b3c4d+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f".to_owned()),
        certificate: Some("annals key change\n\n— example.org/golden GisM\n".to_owned()),
        cause: KeyChangeCause::Rotated,
        actor: "ops".to_owned(),
        reason: Some("yearly".to_owned()),
    };
    let epoch = KeyChanged {
        role: KeyRole::Epoch,
        previous: None,
        certificate: None,
        cause: KeyChangeCause::Lost,
        reason: None,
        ..key.clone()
    };
    let api_key = ApiKeyCreated {
        name: "nightly evaluation".to_owned(),
        scopes: vec![ApiKeyScope::Emit, ApiKeyScope::Read, ApiKeyScope::Verify, ApiKeyScope::Admin],
        secret_hash: Digest::of("secret"),
        expires_at: Some(NOON),
        actor: "ops".to_owned(),
        reason: Some("ticket 9".to_owned()),
    };
    let plain_key =
        ApiKeyCreated { scopes: vec![ApiKeyScope::Emit], expires_at: None, reason: None, ..api_key.clone() };
    let revoked = ApiKeyRevoked {
        key: EventId::from_bytes([7; 16]),
        actor: "ops".to_owned(),
        reason: Some("it leaked".to_owned()),
    };
    vec![
        ("log.created, least", created.clone().into()),
        ("log.created, whole", LogCreated { continues: Some(continues), ..created }.into()),
        ("events.lost, whole of version 1", lost.clone().into()),
        ("payload.redacted, whole", redacted.clone().into()),
        ("payload.redacted, least", PayloadRedacted { seqs: vec![], authority: None, ..redacted }.into()),
        ("projection.skipped, whole", skipped.into()),
        ("key.changed, whole", key.into()),
        ("key.changed, least", epoch.into()),
        ("apikey.created, whole", api_key.into()),
        ("apikey.created, least", plain_key.into()),
        ("apikey.revoked, whole", revoked.clone().into()),
        ("apikey.revoked, least", ApiKeyRevoked { reason: None, ..revoked }.into()),
        ("events.lost, whole", EventsLost { count: 300, ids, ..lost.clone() }.into()),
        ("events.lost, least", lost.into()),
    ]
}

/// Every event of the vectors with its name: the first event of a log, then the kinds that people record, which alone
/// have `session` and `at`, then the other events that Annals writes, then the events of later versions.
fn golden_drafts() -> Vec<(String, Draft)> {
    let mut own = own_events().into_iter();
    let first = own.next().unwrap();
    let parsed = |(name, json): &(&str, &str)| {
        let draft = parse_draft(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        ((*name).to_owned(), draft)
    };
    std::iter::once((first.0.to_owned(), Draft::new(first.1)))
        .chain(DRAFTS.iter().map(parsed))
        .chain(own.map(|(name, event)| (name.to_owned(), Draft::new(event))))
        .chain(LATER_DRAFTS.iter().map(parsed))
        .collect()
}

fn prepared(number: u64, draft: &Draft, principal: Option<EventId>) -> Prepared {
    let mut draft = draft.clone();
    draft.fill_ids(event_id(number));
    draft.drop_nulls();
    Parts { event_id: event_id(number), session: draft.session, occurred_at: draft.at, principal }
        .with_payload(&draft.event, salt(number))
        .unwrap()
}

/// Prepares an event as the first Annals did. The code writes the newest version only, so the older payload is put in its
/// place.
fn prepared_in_version_1(number: u64, draft: &Draft, principal: Option<EventId>) -> Prepared {
    let newest = prepared(number, draft, principal);
    if newest.kind_version == 1 {
        return newest;
    }
    let mut draft = draft.clone();
    draft.fill_ids(event_id(number));
    draft.drop_nulls();
    older(newest, 1, &encode_earlier(&draft.event, 1).unwrap())
}

/// The vector that the code makes of an event at a position.
fn event_vector(name: &str, number: u64, draft: &Draft, previous: &Digest) -> EventVector {
    let mut filled = draft.clone();
    filled.fill_ids(event_id(number));
    // Some events came with a key, and the clock was set back in between.
    let principal = number.is_multiple_of(5).then(|| event_id(65_535));
    let recorded_at = Timestamp::from_micros(NOON.micros() + i64::try_from(number * 1_000 % 7_001).unwrap());
    let prepared = match name.ends_with("of version 1") {
        true => prepared_in_version_1(number, draft, principal),
        false => prepared(number, draft, principal),
    };
    let mut sealed = Vec::new();
    let link = prepared.seal(previous, Seq::new(number), recorded_at, &mut sealed).unwrap();
    let entry = Entry::decode_canonical(&sealed).unwrap();
    EventVector {
        name: name.to_owned(),
        json: write_event(event_id(number), draft.session.as_ref(), draft.at, &filled.event).unwrap(),
        entry_fields: EntryFields::of(&entry),
        salt: hex(&prepared.cell[..SALT_BYTES]),
        payload: hex(&prepared.cell[SALT_BYTES..]),
        payload_digest: prepared.payload_digest.to_string(),
        entry: hex(&sealed),
        previous_link: previous.to_string(),
        link: link.to_string(),
    }
}

fn event_vectors() -> Vec<EventVector> {
    let mut previous = Digest::ZERO;
    let mut vectors = Vec::new();
    for (number, (name, draft)) in (1..).zip(golden_drafts()) {
        let vector = event_vector(&name, number, &draft, &previous);
        previous = vector.link.parse().unwrap();
        vectors.push(vector);
    }
    vectors
}

/// Bytes with one fault each, and the same bytes without it.
fn malformed_vectors() -> Vec<MalformedVector> {
    let entry = bytes(&event_vector("", 1, &golden_drafts()[0].1, &Digest::ZERO).entry);
    // Offset of the session's tag: the format, the sequence number, the id, the kind and its version come before it.
    let tag = 1 + 1 + 16 + 1 + 1;
    let entries = [
        ("nothing", vec![]),
        ("the format alone", entry[..1].to_vec()),
        ("the last byte is missing", entry[..entry.len() - 1].to_vec()),
        ("a byte too many", [entry.as_slice(), &[0]].concat()),
        ("seq 1 as a varint of three bytes", [&[1, 0xfb, 1, 0], &entry[2..]].concat()),
        ("option tag 2", [&entry[..tag], &[2], &entry[tag + 1..]].concat()),
    ];
    let entries = entries.map(|(what, bytes)| MalformedVector {
        what: what.to_owned(),
        r#type: "entry".to_owned(),
        bytes: hex(&bytes),
        well_formed: hex(&entry),
    });
    // Spaces separate the parts that matter.
    let payloads = [
        ("message longer than the bytes", "note.logged", "02 61", "01 61 00000000"),
        ("message of 2^63 bytes", "note.logged", "fd0000000000000080 61 00000000", "01 61 00000000"),
        ("message that is not UTF-8", "note.logged", "01 ff 00000000", "01 61 00000000"),
        ("message with a surrogate", "note.logged", "03 eda080 00000000", "03 e6bca2 00000000"),
        ("message with an overlong form", "note.logged", "02 c1a1 00000000", "01 61 00000000"),
        (
            "length as a 128-bit varint",
            "note.logged",
            "fe01000000000000000000000000000000 61 00000000",
            "01 61 00000000",
        ),
        ("varint marker ff", "note.logged", "ff01 61 00000000", "01 61 00000000"),
        (
            "keys out of order",
            "note.logged",
            "01 61 000000 02 01620131 01610132",
            "01 61 000000 02 01610132 01620131",
        ),
        (
            "a key that stands twice",
            "note.logged",
            "01 61 000000 02 01610131 01610132",
            "01 61 000000 02 01610131 01620132",
        ),
        ("more pairs than bytes", "note.logged", "01 61 000000 fd00000000000000ff", "01 61 000000 00"),
        ("word 3 of step_end", "step.ended", "01 61 03 00000000000000 00", "01 61 01 00000000000000 00"),
        (
            "word 1 of step_end as a varint of three bytes",
            "step.ended",
            "01 61 fb0100 00000000000000 00",
            "01 61 01 00000000000000 00",
        ),
        ("more seqs than bytes", "payload.redacted", "fcffffffff 02 03 00 00 00", "02 02 03 00 00 00"),
    ];
    let payloads = payloads.map(|(what, kind, bytes, well_formed)| MalformedVector {
        what: what.to_owned(),
        r#type: kind.to_owned(),
        bytes: bytes.replace(' ', ""),
        well_formed: well_formed.replace(' ', ""),
    });
    entries.into_iter().chain(payloads).collect()
}

pub(super) fn vectors() -> Vectors {
    Vectors { values: value_vectors(), malformed: malformed_vectors(), events: event_vectors() }
}

/// Writes the small database: two sessions, a redaction, and an unknown kind. All of it is plain SQL except the bytes
/// of its rows.
pub(super) fn write_database(path: &Path) {
    let mut connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "page_size", 1_024).unwrap();
    connection.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
    let tx = connection.transaction().unwrap();
    // A file of the first version stays one, and every later Annals must read it.
    schema::migrate_to(&tx, 0, 1).unwrap();
    let lines = [
        r#"{"type":"session.started","session":"review-1","at":"2026-11-20T12:00:00Z","profile":"contracts","input":"Review the lease.","labels":{"env":"test"},"priority":2}"#,
        r#"{"type":"step.started","session":"review-1","at":"2026-11-20T12:00:00.1Z","step":"read","module":"reader","kind":"llm","input":"Lease, 12 pages"}"#,
        r#"{"type":"step.ended","session":"review-1","at":"2026-11-20T12:00:01.6Z","step":"read","status":"ok","output":"Clause 7 has no cap.","confidence":0.9,"tokens_input":1200,"tokens_output":80,"cost_usd":0.25}"#,
        r#"{"type":"note.logged","session":"review-1","message":"tenant is Erika Mustermann","level":"info"}"#,
        r#"{"type":"decision.made","session":"review-1","at":"2026-11-20T12:00:02Z","decision":"route","decision_type":"routing","options_considered":[{"option":"approve","score":0.2},{"option":"escalate","score":0.8}],"chosen_option":"escalate","rationale":"unlimited liability"}"#,
        r#"{"type":"finding.raised","session":"review-1","at":"2026-11-20T12:00:02.5Z","finding":"cap","step":"read","category":"liability","severity":"high","title":"No cap"}"#,
        r#"{"type":"finding.updated","session":"review-1","at":"2026-11-20T12:05:00Z","finding":"cap","status":"confirmed","actor":"ada"}"#,
        r#"{"type":"metric.recorded","name":"queue","value":3.5,"unit":"jobs"}"#,
        r#"{"type":"session.ended","session":"review-1","at":"2026-11-20T12:06:00Z","status":"completed","summary":"one finding","risk_level":"high"}"#,
        r#"{"type":"session.started","session":"review-2","profile":"contracts"}"#,
    ];
    // Every log begins with its own creation.
    let mut events = vec![Draft::new(own_events().remove(0).1)];
    events.extend(lines.iter().map(|line| parse_draft(line).unwrap()));
    let mut previous = Digest::ZERO;
    let mut append = |number: u64, prepared: &Prepared| {
        let recorded_at = Timestamp::from_micros(NOON.micros() + i64::try_from(number).unwrap() * 1_000_000);
        let mut entry = Vec::new();
        let link = prepared.seal(&previous, Seq::new(number), recorded_at, &mut entry).unwrap();
        rows::Insert::new(&tx).unwrap().row(Seq::new(number), prepared, &entry, &link).unwrap();
        previous = link;
    };
    for (number, draft) in (1..).zip(&events) {
        append(number, &prepared_in_version_1(number, draft, None));
    }
    // A kind of the future, in a session, with a principal: nobody can read it, and it is chained all the same.
    let cell = [salt(12).as_slice(), b"\x07a kind of the future"].concat();
    let unknown = Prepared {
        event_id: event_id(12),
        kind: 239,
        kind_version: 9,
        session: Some("review-2".parse().unwrap()),
        occurred_at: None,
        principal: Some(event_id(65_535)),
        sent_by: SentBy::ItsKey,
        payload_digest: chain::payload_digest(&cell),
        cell,
    };
    append(12, &unknown);
    let redaction = PayloadRedacted {
        seqs: vec![5],
        actor: "dpo".to_owned(),
        reason: "erasure request 17".to_owned(),
        authority: Some("GDPR Art. 17".to_owned()),
    };
    append(13, &prepared(13, &Draft::new(redaction), None));
    // As the writer does it: one transaction appends the redaction, lists it, and erases the payload.
    tx.execute("INSERT INTO redactions (seq) VALUES (5)", []).unwrap();
    tx.execute("UPDATE log SET payload = NULL WHERE seq = ?1", params![5]).unwrap();
    let last = parse_draft(r#"{"type":"note.logged","session":"review-2","message":"the end"}"#).unwrap();
    append(14, &prepared(14, &last, None));
    tx.commit().unwrap();
    // No byte of the erased payload stays in the free space of the file.
    connection.execute_batch("VACUUM").unwrap();
    connection.close().unwrap();
}
