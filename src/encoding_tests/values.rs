//! Values of every type of the format, made of bytes, each with a mirror that wincode knows. The fields of the mirrors
//! are written out, so a change of a payload's layout shows.

use std::collections::BTreeMap;

use wincode::{SchemaRead, SchemaWrite};

use crate::entry::{Entry, FORMAT};
use crate::event::{self, Digest, EventId, Json};
use crate::event::{DecisionId, FindingId, ReviewId, SessionId, StepId, Timestamp};

/// The configuration of wincode that equals bincode 2's standard one. Its own limit would refuse strings above 4 MiB.
macro_rules! wincode_config {
    () => {
        wincode::config::Configuration::default()
            .with_varint_encoding()
            .with_preallocation_size_limit::<{ 128 << 20 }>()
    };
}

/// Bytes from which values are made. After their end come zeros, so that shrinking the bytes shrinks the values.
pub(super) struct Source<'a>(std::slice::Iter<'a, u8>);

impl Source<'_> {
    pub(super) fn new(bytes: &[u8]) -> Source<'_> {
        Source(bytes.iter())
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    fn text(&mut self, palette: &[&str], least: usize) -> String {
        let parts = least + self.below(12);
        (0..parts).map(|_| self.pick(palette)).collect()
    }

    /// JSON text in any spelling.
    fn json(&mut self, depth: usize) -> String {
        // Lists and objects come last, so that depth 0 ends the nesting.
        let kinds = if depth == 0 { 5 } else { 7 };
        match self.below(kinds) {
            0 => "true".to_owned(),
            // Spellings that a parser of numbers would change.
            1 => self.pick(&["0", "-0", "1.10", "1e400", "123456789012345678901234567890"]).to_owned(),
            2 => Json::text(&String::made(self)).to_string(),
            3 => self.pick(&["\"\\u0041\"", "\"\\ud83d\\ude42\"", "\"\\/\""]).to_owned(),
            4 => "[ null ]".to_owned(),
            5 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", items.join(" , "))
            }
            _ => {
                let items: Vec<_> = (0..self.below(4))
                    .map(|_| format!("{}: {}", Json::text(&String::made(self)), self.json(depth - 1)))
                    .collect();
                format!("{{{}}}", items.join(","))
            }
        }
    }
}

/// A value that can be made of bytes, with its mirror for wincode.
pub(super) trait Value: Sized {
    type Mirror;
    fn made(source: &mut Source<'_>) -> Self;
    fn mirror(&self) -> Self::Mirror;
}

// Types that are their own mirrors.
macro_rules! plain {
    ($($name:ty: $source:ident => $made:expr;)*) => {$(
        impl Value for $name {
            type Mirror = $name;

            fn made($source: &mut Source<'_>) -> $name {
                $made
            }

            fn mirror(&self) -> $name {
                self.clone()
            }
        }
    )*};
}

// Characters of one to four bytes, those that JSON escapes, and texts that look like JSON.
const TEXT: &[&str] =
    &["a", "Z", "7", " ", "\"", "\\", "\n", "\r", "\0", "\u{7f}", "é", "漢", "🙂", "{", "null"];
// The same without control characters, which an id must not have.
const ID: &[&str] = &["a", "Z", "7", " ", "\"", "\\", "é", "漢", "🙂", "{", "-", "null"];

plain! {
    u32: source => u32::from_le_bytes(source.bytes());
    u64: source => match source.below(4) {
        0 => u64::from(source.byte()),
        // The first number that needs a marker before its bytes.
        1 => 251,
        2 => u64::from(u16::from_le_bytes(source.bytes())),
        _ => u64::from_le_bytes(source.bytes()) & crate::limits::TOKENS_MAX,
    };
    f64: source => match source.below(4) {
        0 => 0.0,
        1 => f64::from(source.byte()) / 255.0,
        // The bits of these must survive: the sign of zero, and numbers at the ends of the range.
        2 => source.pick(&[-0.0, f64::MIN_POSITIVE, f64::MAX, 5e-324, 1e16, 0.1]),
        _ => Some(f64::from_bits(u64::from_le_bytes(source.bytes()))).filter(|f| f.is_finite()).unwrap_or(1.0),
    };
    String: source => source.text(TEXT, 0);
}

// Types whose mirror is their text.
macro_rules! texts {
    ($($name:ident: $source:ident => $made:expr;)*) => {$(
        impl Value for $name {
            type Mirror = String;

            fn made($source: &mut Source<'_>) -> $name {
                $made
            }

            fn mirror(&self) -> String {
                self.as_str().to_owned()
            }
        }
    )*};
}

texts! {
    Json: source => source.json(3).parse().unwrap();
    SessionId: source => source.text(ID, 1).parse().unwrap();
    StepId: source => source.text(ID, 1).parse().unwrap();
    DecisionId: source => source.text(ID, 1).parse().unwrap();
    FindingId: source => source.text(ID, 1).parse().unwrap();
    ReviewId: source => source.text(ID, 1).parse().unwrap();
}

impl Value for Digest {
    type Mirror = [u8; 32];

    fn made(source: &mut Source<'_>) -> Digest {
        Digest::from_bytes(source.bytes())
    }

    fn mirror(&self) -> [u8; 32] {
        *self.bytes()
    }
}

impl Value for EventId {
    type Mirror = [u8; 16];

    fn made(source: &mut Source<'_>) -> EventId {
        EventId::from_bytes(source.bytes())
    }

    fn mirror(&self) -> [u8; 16] {
        *self.bytes()
    }
}

impl Value for Timestamp {
    type Mirror = i64;

    fn made(source: &mut Source<'_>) -> Timestamp {
        // Half of them are before 1970.
        let micros = u64::made(source) % 250_000_000_000_000_000;
        let micros = i64::try_from(micros).unwrap();
        Timestamp::from_micros(if source.byte().is_multiple_of(2) {
            micros
        } else {
            // The range before 1970 is shorter: it begins with the year 1.
            -(micros % 62_000_000_000_000_000)
        })
    }

    fn mirror(&self) -> i64 {
        self.micros()
    }
}

impl<T: Value> Value for Option<T> {
    type Mirror = Option<T::Mirror>;

    fn made(source: &mut Source<'_>) -> Option<T> {
        if source.byte().is_multiple_of(2) { None } else { Some(T::made(source)) }
    }

    fn mirror(&self) -> Option<T::Mirror> {
        self.as_ref().map(T::mirror)
    }
}

impl<T: Value> Value for Vec<T> {
    type Mirror = Vec<T::Mirror>;

    fn made(source: &mut Source<'_>) -> Vec<T> {
        (0..source.below(5)).map(|_| T::made(source)).collect()
    }

    fn mirror(&self) -> Vec<T::Mirror> {
        self.iter().map(T::mirror).collect()
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    type Mirror = BTreeMap<String, T::Mirror>;

    fn made(source: &mut Source<'_>) -> BTreeMap<String, T> {
        (0..source.below(5)).map(|_| (String::made(source), T::made(source))).collect()
    }

    fn mirror(&self) -> BTreeMap<String, T::Mirror> {
        self.iter().map(|(name, value)| (name.clone(), value.mirror())).collect()
    }
}

// Words, with their variants in the order of their numbers on disk.
macro_rules! words {
    ($($name:ident { $($variant:ident),* })*) => {
        pub(super) mod word_mirrors {
            use super::*;
            $(
                #[derive(Debug, PartialEq, SchemaWrite, SchemaRead)]
                pub(in crate::encoding_tests) enum $name { $($variant),* }
            )*
        }
        $(
            impl Value for event::$name {
                type Mirror = word_mirrors::$name;

                fn made(source: &mut Source<'_>) -> event::$name {
                    source.pick(event::$name::ALL)
                }

                fn mirror(&self) -> word_mirrors::$name {
                    match self { $(event::$name::$variant => word_mirrors::$name::$variant),* }
                }
            }
        )*
    };
}

/// Lists the objects with the types of their mirrors' fields.
macro_rules! objects {
    ($($name:ident { $($field:ident: $type:ty,)* })*) => {
        pub(super) mod mirrors {
            use super::*;
            use super::word_mirrors::*;
            $(
                #[derive(Debug, PartialEq, SchemaWrite, SchemaRead)]
                pub(in crate::encoding_tests) struct $name { $(pub(in crate::encoding_tests) $field: $type,)* }
            )*
        }
        $(
            impl Value for event::$name {
                type Mirror = mirrors::$name;

                fn made(source: &mut Source<'_>) -> event::$name {
                    event::$name { $($field: Value::made(source),)* }
                }

                fn mirror(&self) -> mirrors::$name {
                    mirrors::$name { $($field: self.$field.mirror(),)* }
                }
            }
        )*
    };
}

words! {
    SessionProgress { Queued, Running, Paused }
    SessionEnd { Completed, Failed, Cancelled, Disconnected }
    StepEnd { Ok, Error, Cancelled }
    StepKind { Llm, Tool, Retrieval, Agent, Chain, Guardrail, Other, Embedding }
    Severity { Critical, High, Medium, Low, Info }
    Outcome { Pass, Fail, Warning, Skip, Error }
    FindingStatus { Open, Confirmed, Dismissed, Applied, Rejected, Reverted }
    SubjectKind { Session, Step, Decision, Finding, Action }
    Verdict { Approved, Rejected, Overridden, Escalated, Modified }
    ActionOutcome { Success, Denied, Failed }
    PolicyEffect { Allow, Deny, Escalate }
    Basis { Observed, Claimed }
    KeyRole { Stable, Epoch }
    KeyChangeCause { Generated, Rotated, Lost, Compromised }
    ApiKeyScope { Emit, Read, Verify, Admin }
}

objects! {
    ConsideredOption {
        option: String,
        score: Option<f64>,
        attributes: BTreeMap<String, String>,
    }
    Correction {
        original: Option<String>,
        corrected: Option<String>,
        strategy: Option<String>,
    }
    Actor {
        id: String,
        kind: Option<String>,
    }
    Delegation {
        actor: Actor,
        authorization: Option<String>,
    }
    Changes {
        before: Option<String>,
        after: Option<String>,
    }
    RequestContext {
        ip: Option<String>,
        user_agent: Option<String>,
        request_id: Option<String>,
    }
    Continues {
        origin: String,
        size: u64,
        root: [u8; 32],
    }
    LogCreated {
        origin: String,
        software: String,
        continues: Option<Continues>,
    }
    SessionStarted {
        profile: Option<String>,
        input: Option<String>,
        input_hash: Option<String>,
        conversation: Option<String>,
        parent_session: Option<String>,
        agent: Option<String>,
        agent_version: Option<String>,
        model: Option<String>,
        source: Option<String>,
        tenant: Option<String>,
        labels: BTreeMap<String, String>,
        attributes: BTreeMap<String, String>,
    }
    SessionUpdated {
        status: Option<SessionProgress>,
        progress: Option<f64>,
        message: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    SessionEnded {
        status: SessionEnd,
        summary: Option<String>,
        risk_level: Option<Severity>,
        scores: BTreeMap<String, f64>,
        tokens_input: Option<u64>,
        tokens_output: Option<u64>,
        cost_usd: Option<f64>,
        error: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    StepStarted {
        step: String,
        parent_step: Option<String>,
        module: Option<String>,
        kind: Option<StepKind>,
        model: Option<String>,
        input: Option<String>,
        input_summary: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    StepEnded {
        step: String,
        status: StepEnd,
        output: Option<String>,
        output_summary: Option<String>,
        confidence: Option<f64>,
        tokens_input: Option<u64>,
        tokens_output: Option<u64>,
        tokens_cache_read: Option<u64>,
        tokens_cache_write: Option<u64>,
        tokens_reasoning: Option<u64>,
        cost_usd: Option<f64>,
        error: Option<String>,
        basis: Option<Basis>,
        attributes: BTreeMap<String, String>,
    }
    DecisionMade {
        decision: String,
        step: Option<String>,
        decision_type: Option<String>,
        options_considered: Vec<ConsideredOption>,
        chosen_option: Option<String>,
        chosen_options: Vec<String>,
        rationale: Option<String>,
        confidence: Option<f64>,
        actor: Option<String>,
        on_behalf_of: Vec<Delegation>,
        basis: Option<Basis>,
        attributes: BTreeMap<String, String>,
    }
    FindingRaised {
        finding: String,
        step: Option<String>,
        category: Option<String>,
        pattern_type: Option<String>,
        severity: Option<Severity>,
        outcome: Option<Outcome>,
        confidence: Option<f64>,
        title: Option<String>,
        description: Option<String>,
        plain_english: Option<String>,
        suggestion: Option<String>,
        legal_source: Option<String>,
        evidence: Option<String>,
        scope: Option<String>,
        rule_version: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    FindingUpdated {
        finding: String,
        status: Option<FindingStatus>,
        actor: Option<String>,
        reason: Option<String>,
        correction: Option<Correction>,
        attributes: BTreeMap<String, String>,
    }
    ReviewRecorded {
        actor: String,
        subject_kind: SubjectKind,
        verdict: Verdict,
        review: String,
        subject_id: Option<String>,
        reason: Option<String>,
        role: Option<String>,
        authority: Option<String>,
        identified_by: Option<String>,
        evidence_seen: Vec<String>,
        approved_digest: Option<[u8; 32]>,
        expires_at: Option<i64>,
        attributes: BTreeMap<String, String>,
    }
    ArtifactAttached {
        artifact: [u8; 32],
        step: Option<String>,
        label: Option<String>,
        position: Option<u64>,
        media_type: Option<String>,
        size: Option<u64>,
        attributes: BTreeMap<String, String>,
    }
    MetricRecorded {
        name: String,
        value: f64,
        unit: Option<String>,
        labels: BTreeMap<String, String>,
        attributes: BTreeMap<String, String>,
    }
    NoteLogged {
        message: String,
        step: Option<String>,
        level: Option<String>,
        data: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    ActionRecorded {
        actor: Actor,
        action: String,
        entity_type: Option<String>,
        entity_id: Option<String>,
        outcome: Option<ActionOutcome>,
        reason: Option<String>,
        changes: Option<Changes>,
        context: Option<RequestContext>,
        tenant: Option<String>,
        on_behalf_of: Vec<Delegation>,
        basis: Option<Basis>,
        attributes: BTreeMap<String, String>,
    }
    OtelSpan {
        span: String,
        resource: Option<String>,
        resource_schema_url: Option<String>,
        scope: Option<String>,
        scope_schema_url: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    OtelLog {
        log_record: String,
        resource: Option<String>,
        resource_schema_url: Option<String>,
        scope: Option<String>,
        scope_schema_url: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    PolicyDecided {
        policy: String,
        effect: PolicyEffect,
        policy_version: Option<String>,
        rule: Option<String>,
        reason: Option<String>,
        step: Option<String>,
        subject_kind: Option<SubjectKind>,
        subject_id: Option<String>,
        actor: Option<String>,
        input: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    CoverageDeclared {
        source: String,
        instance: Option<String>,
        records: Vec<String>,
        omits: Vec<String>,
        announced: BTreeMap<String, u64>,
        attributes: BTreeMap<String, String>,
    }
    Custom {
        name: String,
        data: Option<String>,
        attributes: BTreeMap<String, String>,
    }
    EventsLost {
        count: u64,
        since: i64,
        reason: String,
        ids: Vec<[u8; 16]>,
    }
    PayloadRedacted {
        seqs: Vec<u64>,
        actor: String,
        reason: String,
        authority: Option<String>,
    }
    ProjectionSkipped {
        projection: String,
        version: u32,
        seq: u64,
        actor: String,
        reason: String,
    }
    KeyChanged {
        role: KeyRole,
        vkey: String,
        previous: Option<String>,
        certificate: Option<String>,
        cause: KeyChangeCause,
        actor: String,
        reason: Option<String>,
    }
    ApiKeyCreated {
        name: String,
        scopes: Vec<ApiKeyScope>,
        secret_hash: [u8; 32],
        expires_at: Option<i64>,
        actor: String,
        reason: Option<String>,
    }
    ApiKeyRevoked {
        key: [u8; 16],
        actor: String,
        reason: Option<String>,
    }
}

/// The entry as wincode sees it.
#[derive(Debug, PartialEq, SchemaWrite, SchemaRead)]
pub(super) struct EntryMirror {
    pub(super) format: u8,
    pub(super) seq: u64,
    pub(super) event_id: [u8; 16],
    pub(super) kind: u16,
    pub(super) kind_version: u8,
    pub(super) session: Option<String>,
    pub(super) occurred_at: Option<i64>,
    pub(super) recorded_at: i64,
    pub(super) principal: Option<[u8; 16]>,
    pub(super) encoding: u8,
    pub(super) payload_digest: [u8; 32],
}

impl Value for Entry {
    type Mirror = EntryMirror;

    fn made(source: &mut Source<'_>) -> Entry {
        Entry {
            format: FORMAT,
            seq: u64::made(source),
            event_id: EventId::made(source),
            kind: u16::from_le_bytes(source.bytes()),
            kind_version: source.byte(),
            session: Value::made(source),
            occurred_at: Value::made(source),
            recorded_at: Timestamp::from_micros(i64::from_le_bytes(source.bytes())),
            principal: Value::made(source),
            encoding: source.byte(),
            payload_digest: Digest::made(source),
        }
    }

    fn mirror(&self) -> EntryMirror {
        EntryMirror {
            format: self.format,
            seq: self.seq,
            event_id: self.event_id.mirror(),
            kind: self.kind,
            kind_version: self.kind_version,
            session: self.session.mirror(),
            occurred_at: self.occurred_at.mirror(),
            recorded_at: self.recorded_at.mirror(),
            principal: self.principal.mirror(),
            encoding: self.encoding,
            payload_digest: self.payload_digest.mirror(),
        }
    }
}
