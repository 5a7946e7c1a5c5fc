//! What the read tables are to hold, said a second time: from the whole list of events at once, table
//! by table and column by column, as schema/read describes them. Nothing here folds.

use std::collections::{BTreeMap, BTreeSet};

use annals::otel::{Meanings, Precedence, Rank};
use annals::{
    Attributes, Content, Delegation, Event, EventId, Json, Kind, Recorded, Seq, SessionEnd, SessionEnded,
    SessionStarted, SubjectKind, Timestamp,
};
use rusqlite::Connection;
use rusqlite::types::Value;

/// An event as the log has it; None where its payload is gone.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) seq: i64,
    pub(crate) event_id: EventId,
    pub(crate) kind: Kind,
    pub(crate) session: Option<String>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) recorded_at: Timestamp,
    pub(crate) event: Option<Event>,
    /// How strongly it is said, where a span or log record means it.
    pub(crate) precedence: Option<Precedence>,
}

/// What the facts mean: those of OpenTelemetry other events, at their place, as `docs/opentelemetry.md`
/// describes and its own tests hold; all others themselves.
fn told(facts: &[&Fact]) -> Vec<Fact> {
    facts.iter().flat_map(|fact| meanings(fact)).collect()
}

fn meanings(fact: &Fact) -> Vec<Fact> {
    let (Some(event @ (Event::OtelSpan(_) | Event::OtelLog(_))), None) = (&fact.event, fact.precedence)
    else {
        return vec![fact.clone()];
    };
    let recorded = Recorded {
        seq: Seq::new(fact.seq.cast_unsigned()),
        event_id: EventId::from_bytes([0; 16]),
        kind: fact.kind.code(),
        session: fact.session.as_deref().map(|id| id.try_into().unwrap()),
        occurred_at: fact.at,
        recorded_at: fact.recorded_at,
        principal: None,
        content: Content::Event(event.clone()),
    };
    Meanings::of(&recorded)
        .all()
        .iter()
        .map(|meaning| Fact {
            at: meaning.at,
            event: Some(meaning.event.clone().into_owned()),
            precedence: meaning.precedence,
            ..fact.clone()
        })
        .collect()
}

pub(crate) type Row = BTreeMap<String, Value>;

/// Rows by their key, by table.
pub(crate) type Tables = BTreeMap<&'static str, BTreeMap<String, Row>>;

/// The tables, with the columns of their key.
pub(crate) const TABLES: [(&str, &[&str]); 15] = [
    ("sessions", &["id"]),
    ("steps", &["session_id", "id"]),
    ("decisions", &["session_id", "id"]),
    ("findings", &["session_id", "id"]),
    ("finding_updates", &["seq"]),
    ("timeline", &["seq"]),
    ("reviews", &["seq"]),
    ("artifacts", &["seq", "item"]),
    ("metrics", &["seq"]),
    ("notes", &["seq"]),
    ("actions", &["seq"]),
    ("policy_decisions", &["seq"]),
    ("coverage_declarations", &["seq"]),
    ("custom_events", &["seq"]),
    ("api_keys", &["id"]),
];

/// A value of a column.
trait Cell {
    fn cell(self) -> Value;
}

/// A text as tables have it: U+0000 would end it for SQL.
fn shown(text: &str) -> Value {
    Value::Text(text.replace('\0', "\u{2400}"))
}

/// JSON as tables have it. No text here has a backslash before `u0000`.
fn shown_json(json: &str) -> String {
    json.replace("\\u0000", "\\u2400")
}

impl Cell for Value {
    fn cell(self) -> Value {
        self
    }
}
impl Cell for &str {
    fn cell(self) -> Value {
        shown(self)
    }
}
impl Cell for String {
    fn cell(self) -> Value {
        shown(&self)
    }
}
impl Cell for &String {
    fn cell(self) -> Value {
        shown(self)
    }
}
impl Cell for i64 {
    fn cell(self) -> Value {
        Value::Integer(self)
    }
}
impl Cell for usize {
    fn cell(self) -> Value {
        Value::Integer(self.try_into().unwrap())
    }
}
impl Cell for u64 {
    fn cell(self) -> Value {
        Value::Integer(self.try_into().unwrap())
    }
}
impl Cell for &u64 {
    fn cell(self) -> Value {
        (*self).cell()
    }
}
impl Cell for f64 {
    fn cell(self) -> Value {
        Value::Real(self)
    }
}
impl Cell for &f64 {
    fn cell(self) -> Value {
        Value::Real(*self)
    }
}
impl Cell for &Json {
    fn cell(self) -> Value {
        Value::Text(shown_json(self.as_str()))
    }
}
impl Cell for Timestamp {
    fn cell(self) -> Value {
        Value::Text(sql_time(self))
    }
}
impl<T: Cell> Cell for Option<T> {
    fn cell(self) -> Value {
        self.map_or(Value::Null, Cell::cell)
    }
}

macro_rules! row {
    ($($column:ident: $value:expr),* $(,)?) => {
        Row::from([$((stringify!($column).to_owned(), Cell::cell($value))),*])
    };
}

/// A time as SQLite itself writes it.
fn sql_time(time: Timestamp) -> String {
    thread_local!(static SQLITE: Connection = Connection::open_in_memory().unwrap());
    let (seconds, micros) = (time.micros().div_euclid(1_000_000), time.micros().rem_euclid(1_000_000));
    SQLITE.with(|sqlite| {
        sqlite
            .prepare_cached("SELECT datetime(?1, 'unixepoch') || printf('.%06d', ?2)")
            .unwrap()
            .query_row([seconds, micros], |row| row.get(0))
            .unwrap()
    })
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn quoted(text: &str) -> String {
    shown_json(&serde_json::Value::from(text).to_string())
}

fn object<'a>(members: impl Iterator<Item = (&'a String, String)>) -> Option<String> {
    let members: Vec<String> = members.map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

fn attributes_object(attributes: &Attributes) -> Option<String> {
    object(attributes.iter().map(|(name, value)| (name, shown_json(&value.to_string()))))
}

fn texts_object(texts: &BTreeMap<String, String>) -> Option<String> {
    object(texts.iter().map(|(name, value)| (name, quoted(value))))
}

/// A list of texts; none if it is empty.
fn texts_list(texts: &[String]) -> Option<String> {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    (!texts.is_empty()).then(|| format!("[{}]", texts.join(",")))
}

/// The principals of a chain; none if there are none.
fn principals(chain: &[Delegation]) -> Option<String> {
    let member = |name: &str, value: &Option<String>| {
        value.as_ref().map_or_else(String::new, |value| format!(",\"{name}\":{}", quoted(value)))
    };
    let chain: Vec<String> = chain
        .iter()
        .map(|principal| {
            let id = quoted(&principal.actor.id);
            let (kind, authorization) =
                (member("kind", &principal.actor.kind), member("authorization", &principal.authorization));
            format!("{{\"actor\":{{\"id\":{id}{kind}}}{authorization}}}")
        })
        .collect();
    (!chain.is_empty()).then(|| format!("[{}]", chain.join(",")))
}

fn numbers_object(numbers: &BTreeMap<String, f64>) -> Option<String> {
    object(numbers.iter().map(|(name, value)| (name, serde_json::Value::from(*value).to_string())))
}

/// Later attributes take the place of earlier ones with their name. Those of spans and log records stand
/// whole, of the greatest precedence, until an event of another kind adds its own.
fn merged<'a>(all: impl Iterator<Item = (&'a Fact, &'a Attributes)>) -> Option<String> {
    let all: Vec<_> = all.filter(|(_, attributes)| !attributes.is_empty()).collect();
    let plain = all.iter().position(|(fact, _)| fact.precedence.is_none()).unwrap_or(all.len());
    let claimed = all[..plain].iter().max_by_key(|(fact, _)| fact.precedence);
    let added = all[plain..].iter().filter(|(fact, _)| fact.precedence.is_none());
    attributes_object(
        &claimed
            .into_iter()
            .chain(added)
            .flat_map(|(_, attributes)| attributes.iter().map(|(name, value)| (name.clone(), value.clone())))
            .collect(),
    )
}

/// The last that was said; where only spans and log records said it, that of the greatest precedence.
fn last<'a, E: 'a, T>(
    events: &[(&'a Fact, &'a E)],
    said: impl Fn(&'a Fact, &'a E) -> Option<T>,
) -> Option<T> {
    let (claimed, plain): (Vec<_>, Vec<_>) = events.iter().partition(|(fact, _)| fact.precedence.is_some());
    plain.iter().rev().find_map(|(fact, event)| said(fact, event)).or_else(|| {
        claimed
            .iter()
            .filter_map(|(fact, event)| Some((fact.precedence, said(fact, event)?)))
            .max_by_key(|(precedence, _)| *precedence)
            .map(|(_, said)| said)
    })
}

/// Those that start and end the whole session, not only know something of it.
fn of_whole_session<'a, E>(events: &[(&'a Fact, &'a E)]) -> Vec<(&'a Fact, &'a E)> {
    let is_whole = |fact: &Fact| fact.precedence.is_none_or(|precedence| precedence.rank >= Rank::Entry);
    events.iter().copied().filter(|(fact, _)| is_whole(fact)).collect()
}

/// The facts with an event of one kind, with its payload.
macro_rules! of_kind {
    ($facts:expr, $kind:ident) => {
        $facts
            .iter()
            .copied()
            .filter_map(|fact: &Fact| match &fact.event {
                Some(Event::$kind(event)) => Some((fact, event)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
}

fn marks(facts: &[&Fact]) -> Row {
    let (first, last) = (facts[0], facts[facts.len() - 1]);
    row! {
        first_recorded_at: first.recorded_at, last_recorded_at: last.recorded_at,
        first_seq: first.seq, last_seq: last.seq,
    }
}

fn step_of(fact: &Fact) -> Option<&str> {
    match fact.event.as_ref()? {
        Event::StepStarted(e) => Some(e.step.as_str()),
        Event::StepEnded(e) => Some(e.step.as_str()),
        _ => None,
    }
}

fn decision_of(fact: &Fact) -> Option<&str> {
    match fact.event.as_ref()? {
        Event::DecisionMade(e) => Some(e.decision.as_str()),
        _ => None,
    }
}

fn finding_of(fact: &Fact) -> Option<&str> {
    match fact.event.as_ref()? {
        Event::FindingRaised(e) => Some(e.finding.as_str()),
        Event::FindingUpdated(e) => Some(e.finding.as_str()),
        _ => None,
    }
}

/// The facts of a session by the thing that they are about.
fn by<'a>(facts: &[&'a Fact], of: fn(&Fact) -> Option<&str>) -> BTreeMap<String, Vec<&'a Fact>> {
    let mut things: BTreeMap<String, Vec<&Fact>> = BTreeMap::new();
    for fact in facts {
        if let Some(id) = of(fact) {
            things.entry(id.to_owned()).or_default().push(fact);
        }
    }
    things
}

/// What the read tables hold after these events.
pub(crate) fn tables(facts: &[Fact]) -> Tables {
    let mut tables: Tables = TABLES.iter().map(|(name, _)| (*name, BTreeMap::new())).collect();
    let mut put = |table: &'static str, row: Row| {
        let (_, key) = TABLES.iter().find(|(name, _)| *name == table).unwrap();
        let before = tables.get_mut(table).unwrap().insert(key_of(&row, key), row);
        assert!(before.is_none(), "two rows with one key in {table}");
    };
    let mut sessions: BTreeMap<&str, Vec<&Fact>> = BTreeMap::new();
    for fact in facts {
        if let Some(session) = &fact.session {
            sessions.entry(session).or_default().push(fact);
        }
        put("timeline", timeline_row(fact));
        for fact in meanings(fact) {
            if let Some(event) = &fact.event
                && let Some((table, row)) = activity_row(&fact, event)
            {
                put(table, row);
            }
        }
    }
    let all: Vec<&Fact> = facts.iter().collect();
    let revocations = of_kind!(all, ApiKeyRevoked);
    for (fact, created) in of_kind!(all, ApiKeyCreated) {
        let revoked = revocations.iter().find(|(_, revoked)| revoked.key == fact.event_id);
        let scopes: Vec<String> = created.scopes.iter().map(|scope| quoted(scope.as_str())).collect();
        put(
            "api_keys",
            row! {
                id: fact.event_id.to_string(),
                name: &created.name,
                scopes: format!("[{}]", scopes.join(",")),
                secret_hash: created.secret_hash.to_string(),
                expires_at: created.expires_at,
                created_at: fact.recorded_at,
                created_by: &created.actor,
                reason: created.reason.as_ref(),
                revoked_at: revoked.map(|(fact, _)| fact.recorded_at),
                revoked_by: revoked.map(|(_, revoked)| &revoked.actor),
                revoked_reason: revoked.and_then(|(_, revoked)| revoked.reason.as_ref()),
                first_seq: fact.seq,
                last_seq: revoked.map_or(fact.seq, |(fact, _)| fact.seq),
            },
        );
    }
    for (session, facts) in sessions {
        let told = told(&facts);
        let told: Vec<&Fact> = told.iter().collect();
        put("sessions", session_row(session, &facts, &told));
        let facts = told;
        step_rows(session, &facts).into_iter().for_each(|row| put("steps", row));
        by(&facts, decision_of)
            .iter()
            .for_each(|(id, facts)| put("decisions", decision_row(session, id, facts)));
        let repeated = repeated_findings(session, &facts);
        for (id, facts) in by(&facts, finding_of) {
            if !repeated.contains(&id) {
                put("findings", finding_row(session, &id, &facts));
            }
            for place in 0..facts.len() {
                if let Some(row) = finding_update_row(session, &id, &facts[..=place]) {
                    put("finding_updates", row);
                }
            }
        }
    }
    tables
}

/// A row's key, as one text.
pub(crate) fn key_of(row: &Row, key: &[&str]) -> String {
    key.iter().map(|column| format!("{:?} ", row[*column])).collect()
}

fn session_row(id: &str, recorded: &[&Fact], facts: &[&Fact]) -> Row {
    let started = of_kind!(facts, SessionStarted);
    let updated = of_kind!(facts, SessionUpdated);
    let ended = of_kind!(facts, SessionEnded);
    let started_at = last(&started, |fact, _| fact.at);
    let course = Course::of(recorded, &started, &of_whole_session(&ended));
    let whole = &course.ends;
    let ended_at = last(whole, |fact, _| fact.at);
    let (claimed, plain): (Vec<_>, Vec<_>) = whole.iter().partition(|(fact, _)| fact.precedence.is_some());
    let error = last(&plain, |_, e| e.error.as_ref()).or_else(|| {
        claimed.iter().max_by_key(|(fact, _)| fact.precedence).and_then(|(_, e)| e.error.as_ref())
    });
    let in_run: Vec<_> = updated.iter().copied().filter(|(fact, _)| fact.seq >= course.since).collect();
    let redacted_count = recorded.iter().filter(|fact| fact.event.is_none()).count();
    let is_erased = course.erased_ends > 0 || redacted_count == recorded.len();
    // The run of an agent that ended last.
    let failed_run = ended
        .iter()
        .filter(|(fact, _)| fact.precedence.is_some_and(|precedence| precedence.rank == Rank::Run))
        .max_by_key(|(fact, _)| fact.precedence)
        .filter(|(fact, e)| fact.seq >= course.since && e.status == SessionEnd::Failed);
    let own_end = last(whole, |_, e| Some(e.status));
    let failed_run = failed_run.filter(|_| own_end == Some(SessionEnd::Completed));
    let error =
        error.or_else(|| failed_run.and_then(|(_, e)| e.error.as_ref()).filter(|text| !text.is_empty()));
    let status = failed_run
        .map(|_| SessionEnd::Failed.as_str())
        .or(own_end.map(SessionEnd::as_str))
        .or_else(|| is_erased.then_some("erased"))
        .or_else(|| last(&in_run, |_, e| Some(e.status?.as_str())))
        .unwrap_or("running");
    let steps = by(facts, step_of);
    let step_rows = step_rows(id, facts);
    let has_part = |column: &str| step_rows.iter().any(|row| row[column] != Value::Null);
    let sum = |column: &str| {
        has_part(column).then(|| {
            shares(&step_rows, column)
                .iter()
                .map(|part| if let Value::Integer(part) = part { *part } else { 0 })
                .sum::<i64>()
        })
    };
    let cost = has_part("cost_usd").then(|| {
        shares(&step_rows, "cost_usd")
            .iter()
            .map(|part| if let Value::Real(part) = part { *part } else { 0.0 })
            .sum::<f64>()
    });
    let stated_input = last(&ended, |_, e| e.tokens_input).map(|tokens| i64::try_from(tokens).unwrap());
    let stated_output = last(&ended, |_, e| e.tokens_output).map(|tokens| i64::try_from(tokens).unwrap());
    let stated_cost = last(&ended, |_, e| e.cost_usd);
    let (input, output) = (stated_input.or(sum("tokens_input")), stated_output.or(sum("tokens_output")));
    let mut attributes = Vec::new();
    for fact in facts {
        match &fact.event {
            Some(Event::SessionStarted(e)) => attributes.push((*fact, &e.attributes)),
            Some(Event::SessionUpdated(e)) => attributes.push((*fact, &e.attributes)),
            Some(Event::SessionEnded(e)) => attributes.push((*fact, &e.attributes)),
            _ => {}
        }
    }
    let mut row = row! {
        id: id,
        conversation_id: last(&started, |_, e| e.conversation.as_ref()),
        profile: last(&started, |_, e| e.profile.as_ref()),
        status: status,
        started_at: started_at,
        ended_at: ended_at,
        duration_us: duration(started_at, ended_at),
        input: last(&started, |_, e| e.input.as_ref()),
        input_hash: last(&started, |_, e| e.input_hash.clone().or_else(|| e.input.as_deref().map(hash))),
        summary: last(&ended, |_, e| e.summary.as_ref()),
        error: error,
        risk_level: last(&ended, |_, e| Some(e.risk_level?.as_str())),
        scores: last(&ended, |_, e| numbers_object(&e.scores)),
        agent: last(&started, |_, e| e.agent.as_ref()),
        agent_version: last(&started, |_, e| e.agent_version.as_ref()),
        model: last(&started, |_, e| e.model.as_ref()),
        source: last(&started, |_, e| e.source.as_ref()),
        tenant: last(&started, |_, e| e.tenant.as_ref()),
        labels: last(&started, |_, e| texts_object(&e.labels)),
        parent_session_id: last(&started, |_, e| e.parent_session.as_ref().map(|id| id.as_str())),
        progress: last(&updated, |_, e| e.progress),
        message: last(&updated, |_, e| e.message.as_ref()),
        event_count: recorded.len(),
        step_count: steps.len(),
        error_count: step_rows.iter().filter(|row| row["status"] == "error".cell()).count(),
        decision_count: by(facts, decision_of).len(),
        finding_count: by(facts, finding_of).len() - repeated_findings(id, facts).len(),
        redacted_count: redacted_count,
        start_count: course.starts,
        erased_end_count: course.erased_ends,
        stated_tokens_input: stated_input,
        stated_tokens_output: stated_output,
        stated_cost_usd: stated_cost,
        steps_tokens_input: sum("tokens_input"),
        steps_tokens_output: sum("tokens_output"),
        steps_cost_usd: cost,
        tokens_input: input,
        tokens_output: output,
        tokens_used: total(input, output),
        cost_usd: stated_cost.or(cost),
        attributes: merged(attributes.into_iter()),
    };
    row.extend(marks(recorded));
    row
}

fn step_rows(session: &str, facts: &[&Fact]) -> Vec<Row> {
    by(facts, step_of).iter().map(|(step, facts)| step_row(session, step, facts)).collect()
}

/// The steps directly below a step.
fn below<'a>(rows: &'a [Row], step: &Row) -> impl Iterator<Item = &'a Row> {
    let id = step["id"].clone();
    rows.iter().filter(move |row| row["parent_step_id"] == id && row["id"] != id)
}

fn is_used(row: &Row, column: &str) -> bool {
    match &row[column] {
        Value::Integer(tokens) => *tokens > 0,
        Value::Real(cost) => *cost > 0.0,
        _ => false,
    }
}

/// Whether a step below uses tokens or money. Embeddings count only for steps that are no agents.
fn is_used_below(rows: &[Row], step: &Row, column: &str, of_agent: bool) -> bool {
    below(rows, step).any(|row| {
        let counts = !of_agent || row["kind"] != "embedding".cell();
        counts && is_used(row, column) || is_used_below(rows, row, column, of_agent)
    })
}

/// Whether a model's call below does, with no tool in between.
fn is_used_by_model_below(rows: &[Row], step: &Row, column: &str) -> bool {
    below(rows, step).filter(|row| row["kind"] != "tool".cell()).any(|row| {
        row["kind"] == "llm".cell() && is_used(row, column) || is_used_by_model_below(rows, row, column)
    })
}

/// What each step adds to the sums of its session: zero where it says again what steps below it used.
fn shares(rows: &[Row], column: &str) -> Vec<Value> {
    let is_repeated = |row: &Row| match row["kind"] == "llm".cell() {
        true => is_used_by_model_below(rows, row, column),
        false => is_used_below(rows, row, column, row["kind"] == "agent".cell()),
    };
    rows.iter()
        .map(|row| match &row[column] {
            Value::Integer(_) if is_repeated(row) => Value::Integer(0),
            Value::Real(_) if is_repeated(row) => Value::Real(0.0),
            share => share.clone(),
        })
        .collect()
}

/// The message of an error, without the class that some programs put before it.
fn error_message(step: &Row) -> Option<&str> {
    let Value::Text(error) = &step["error"] else { return None };
    let (class, message) = error.split_once(": ").unwrap_or(("", error));
    let is_class = class.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
    Some(if is_class && !message.is_empty() { message } else { error })
}

/// The errors of spans that a span directly below them has, too.
fn repeated_findings(session: &str, facts: &[&Fact]) -> BTreeSet<String> {
    let rows = step_rows(session, facts);
    let is_repeated = |step: &&Row| {
        let message = error_message(step);
        message.is_some() && below(&rows, step).any(|row| error_message(row) == message)
    };
    let repeated = rows.iter().filter(is_repeated).map(|step| match &step["id"] {
        Value::Text(id) => format!("{id}:error"),
        id => panic!("{id:?} is no id"),
    });
    let raised = by(facts, finding_of);
    repeated.filter(|id| raised.contains_key(id)).collect()
}

/// No time runs backwards.
fn duration(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<i64> {
    from.zip(to).map(|(from, to)| to.micros() - from.micros()).filter(|micros| *micros >= 0)
}

/// The last run of a session: a start after an end begins another one.
struct Course<'a> {
    starts: usize,
    /// Its first event.
    since: i64,
    /// Its ends, and how many ends of it were erased.
    ends: Vec<(&'a Fact, &'a SessionEnded)>,
    erased_ends: usize,
}

impl<'a> Course<'a> {
    fn of(
        recorded: &[&'a Fact],
        started: &[(&'a Fact, &'a SessionStarted)],
        ends: &[(&'a Fact, &'a SessionEnded)],
    ) -> Course<'a> {
        let starts: Vec<&Fact> =
            recorded.iter().copied().filter(|fact| fact.kind == Kind::SessionStarted).collect();
        // An end from before the last start, of several, is that of an earlier run.
        let is_late = |end: &Fact| {
            let before: Vec<_> = started.iter().copied().filter(|(start, _)| start.seq < end.seq).collect();
            let start = last(&before, |start, _| start.at);
            end.precedence.is_none()
                && starts.iter().filter(|start| start.seq < end.seq).count() > 1
                && end.at.zip(start).is_some_and(|(end, start)| end < start)
        };
        let ends: Vec<_> = ends.iter().copied().filter(|(end, _)| !is_late(end)).collect();
        let may_end = |fact: &&&Fact| {
            fact.event.is_none() && matches!(fact.kind, Kind::SessionEnded | Kind::OtelSpan) && !is_late(fact)
        };
        let erased: Vec<&Fact> = recorded.iter().filter(may_end).copied().collect();
        let mut since = 0;
        for start in starts.iter().skip(1) {
            let run = since..start.seq;
            let here: Vec<_> = ends.iter().copied().filter(|(end, _)| run.contains(&end.seq)).collect();
            let has_ended = !here.is_empty() || erased.iter().any(|end| run.contains(&end.seq));
            let is_of_this_run =
                start.at.zip(last(&here, |end, _| end.at)).is_some_and(|(start, end)| start <= end);
            if has_ended && !is_of_this_run {
                since = start.seq;
            }
        }
        Course {
            starts: starts.len(),
            since,
            ends: ends.into_iter().filter(|(end, _)| end.seq >= since).collect(),
            erased_ends: erased.iter().filter(|end| end.seq >= since).count(),
        }
    }
}

fn total(input: Option<i64>, output: Option<i64>) -> Option<i64> {
    match (input, output) {
        (Some(input), Some(output)) => Some(input + output),
        (input, output) => input.or(output),
    }
}

/// What was said in short, else the text's first 200 characters.
fn short<'a>(stated: &'a Option<String>, text: &'a Option<String>) -> Option<String> {
    stated.clone().or_else(|| Some(text.as_ref()?.chars().take(200).collect()))
}

fn step_row(session: &str, id: &str, facts: &[&Fact]) -> Row {
    let started = of_kind!(facts, StepStarted);
    let ended = of_kind!(facts, StepEnded);
    let started_at = last(&started, |fact, _| fact.at);
    // A start after the end begins another run.
    let mut run = 0;
    for (place, fact) in facts.iter().enumerate() {
        let before = of_kind!(facts[..place], StepStarted);
        let ends = of_kind!(facts[run..place], StepEnded);
        let is_after = last(&ends, |end, _| end.at).zip(fact.at).is_some_and(|(end, start)| end < start);
        let is_start = matches!(fact.event, Some(Event::StepStarted(_))) && fact.precedence.is_none();
        if is_start && is_after && last(&before, |start, _| start.at).is_some() {
            run = place;
        }
    }
    let last_ends = of_kind!(facts[run..], StepEnded);
    let ended_at = last(&last_ends, |fact, _| fact.at);
    // A log record knows of a step what was said in it, not how it ended.
    let own: Vec<_> = last_ends
        .iter()
        .copied()
        .filter(|(fact, _)| fact.precedence.is_none_or(|precedence| precedence.rank == Rank::Root))
        .collect();
    let input = last(&started, |_, e| e.input.as_ref());
    let output = last(&ended, |_, e| e.output.as_ref());
    let number = |tokens: u64| i64::try_from(tokens).unwrap();
    let tokens_input = last(&ended, |_, e| e.tokens_input).map(number);
    let tokens_output = last(&ended, |_, e| e.tokens_output).map(number);
    let mut attributes = Vec::new();
    for fact in facts {
        match &fact.event {
            Some(Event::StepStarted(e)) => attributes.push((*fact, &e.attributes)),
            Some(Event::StepEnded(e)) => attributes.push((*fact, &e.attributes)),
            _ => {}
        }
    }
    let mut row = row! {
        id: id,
        session_id: session,
        parent_step_id: last(&started, |_, e| e.parent_step.as_ref().map(|id| id.as_str())),
        module: last(&started, |_, e| e.module.as_ref()),
        kind: last(&started, |_, e| Some(e.kind?.as_str())),
        model: last(&started, |_, e| e.model.as_ref()),
        status: last(&own, |_, e| Some(e.status.as_str())).unwrap_or("running"),
        started_at: started_at,
        ended_at: ended_at,
        duration_us: duration(started_at, ended_at),
        input: input,
        output: output,
        input_hash: input.map(|text| hash(text)),
        output_hash: output.map(|text| hash(text)),
        input_summary: last(&started, |_, e| short(&e.input_summary, &e.input)),
        output_summary: last(&ended, |_, e| short(&e.output_summary, &e.output)),
        confidence: last(&ended, |_, e| e.confidence),
        tokens_input: tokens_input,
        tokens_output: tokens_output,
        tokens_used: total(tokens_input, tokens_output),
        tokens_cache_read: last(&ended, |_, e| e.tokens_cache_read),
        tokens_cache_write: last(&ended, |_, e| e.tokens_cache_write),
        tokens_reasoning: last(&ended, |_, e| e.tokens_reasoning),
        cost_usd: last(&ended, |_, e| e.cost_usd),
        error: last(&last_ends, |_, e| e.error.as_ref()),
        basis: last(&ended, |_, e| Some(e.basis?.as_str())),
        attributes: merged(attributes.into_iter()),
    };
    row.extend(marks(facts));
    row
}

fn decision_row(session: &str, id: &str, facts: &[&Fact]) -> Row {
    let made = of_kind!(facts, DecisionMade);
    let list = |texts: &[String]| {
        format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(","))
    };
    let chosen = last(&made, |_, e| {
        let all: Vec<String> = e.chosen_option.iter().chain(&e.chosen_options).cloned().collect();
        (!all.is_empty()).then_some(all)
    });
    let considered = last(&made, |_, e| {
        let options: Vec<String> = e
            .options_considered
            .iter()
            .map(|option| {
                let mut members = vec![format!("\"option\":{}", quoted(&option.option))];
                members.extend(
                    option.score.map(|score| format!("\"score\":{}", serde_json::Value::from(score))),
                );
                members.extend(
                    option.attributes.iter().map(|(name, value)| format!("{}:{value}", quoted(name))),
                );
                format!("{{{}}}", members.join(","))
            })
            .collect();
        (!options.is_empty()).then(|| format!("[{}]", options.join(",")))
    });
    let mut row = row! {
        id: id,
        step_id: last(&made, |_, e| e.step.as_ref().map(|id| id.as_str())),
        session_id: session,
        decision_type: last(&made, |_, e| e.decision_type.as_ref()),
        options_considered: considered,
        chosen_option: chosen.as_ref().map(|all| &all[0]),
        chosen_options: chosen.as_ref().map(|all| list(all)),
        rationale: last(&made, |_, e| e.rationale.as_ref()),
        confidence: last(&made, |_, e| e.confidence),
        actor: last(&made, |_, e| e.actor.as_ref()),
        on_behalf_of: last(&made, |_, e| principals(&e.on_behalf_of)),
        basis: last(&made, |_, e| Some(e.basis?.as_str())),
        decided_at: last(&made, |fact, _| fact.at),
        attributes: merged(made.iter().map(|(fact, e)| (*fact, &e.attributes))),
    };
    row.extend(marks(facts));
    row
}

fn finding_status(facts: &[&Fact]) -> &'static str {
    last(&of_kind!(facts, FindingUpdated), |_, e| Some(e.status?.as_str())).unwrap_or("open")
}

fn finding_row(session: &str, id: &str, facts: &[&Fact]) -> Row {
    let raised = of_kind!(facts, FindingRaised);
    let updated = of_kind!(facts, FindingUpdated);
    let mut row = row! {
        id: id,
        session_id: session,
        step_id: last(&raised, |_, e| e.step.as_ref().map(|id| id.as_str())),
        category: last(&raised, |_, e| e.category.as_ref()),
        pattern_type: last(&raised, |_, e| e.pattern_type.as_ref()),
        severity: last(&raised, |_, e| Some(e.severity?.as_str())),
        outcome: last(&raised, |_, e| Some(e.outcome?.as_str())),
        status: finding_status(facts),
        confidence: last(&raised, |_, e| e.confidence),
        title: last(&raised, |_, e| e.title.as_ref()),
        description: last(&raised, |_, e| e.description.as_ref()),
        plain_english: last(&raised, |_, e| e.plain_english.as_ref()),
        suggestion: last(&raised, |_, e| e.suggestion.as_ref()),
        legal_source: last(&raised, |_, e| e.legal_source.as_ref()),
        evidence: last(&raised, |_, e| e.evidence.as_ref()),
        scope: last(&raised, |_, e| e.scope.as_ref()),
        rule_version: last(&raised, |_, e| e.rule_version.as_ref()),
        raised_at: last(&raised, |fact, _| fact.at),
        updated_at: last(&updated, |fact, _| fact.at),
        updated_by: last(&updated, |_, e| e.actor.as_ref()),
        attributes: merged(raised.iter().map(|(fact, e)| (*fact, &e.attributes))),
    };
    row.extend(marks(facts));
    row
}

/// The row of the last of a finding's facts, if that is an update.
fn finding_update_row(session: &str, id: &str, facts: &[&Fact]) -> Option<Row> {
    let (fact, before) = facts.split_last()?;
    let Some(Event::FindingUpdated(e)) = &fact.event else { return None };
    let correction = e.correction.clone().unwrap_or_default();
    Some(row! {
        seq: fact.seq,
        session_id: session,
        finding_id: id,
        previous_status: (!before.is_empty()).then(|| finding_status(before)),
        status: finding_status(facts),
        actor: e.actor.as_ref(),
        reason: e.reason.as_ref(),
        original: correction.original,
        corrected: correction.corrected,
        strategy: correction.strategy,
        updated_at: fact.at,
        attributes: attributes_object(&e.attributes),
        recorded_at: fact.recorded_at,
    })
}

fn timeline_row(fact: &Fact) -> Row {
    row! {
        seq: fact.seq,
        session_id: fact.session.as_ref(),
        kind: fact.kind.name(),
        subject_id: subject(fact),
        occurred_at: fact.at,
        recorded_at: fact.recorded_at,
        redacted: i64::from(fact.event.is_none()),
    }
}

/// What an event is about.
pub(crate) fn subject(fact: &Fact) -> Option<String> {
    if matches!(fact.event, Some(Event::OtelSpan(_) | Event::OtelLog(_))) {
        return meanings(fact).first().filter(|meaning| meaning.event != fact.event).and_then(subject);
    }
    match fact.event.as_ref()? {
        Event::ReviewRecorded(e) => Some(e.review.to_string()),
        Event::ArtifactAttached(e) => Some(e.artifact.to_string()),
        Event::MetricRecorded(e) => Some(e.name.clone()),
        Event::NoteLogged(e) => e.step.as_ref().map(ToString::to_string),
        Event::ActionRecorded(e) => e.entity_id.clone(),
        Event::PolicyDecided(e) => e.subject_id.clone().or(e.step.as_ref().map(ToString::to_string)),
        Event::CoverageDeclared(e) => Some(e.source.clone()),
        Event::Custom(e) => Some(e.name.clone()),
        Event::ProjectionSkipped(e) => Some(e.projection.clone()),
        Event::KeyChanged(e) => Some(e.vkey.clone()),
        Event::ApiKeyCreated(e) => Some(e.name.clone()),
        Event::ApiKeyRevoked(e) => Some(e.key.to_string()),
        _ => step_of(fact).or(decision_of(fact)).or(finding_of(fact)).map(str::to_owned),
    }
}

fn activity_row(fact: &Fact, event: &Event) -> Option<(&'static str, Row)> {
    let session = fact.session.as_ref();
    Some(match event {
        Event::ReviewRecorded(e) => (
            "reviews",
            row! {
                seq: fact.seq, id: e.review.as_str(), session_id: session, actor: &e.actor,
                subject_kind: e.subject_kind.as_str(), subject_id: e.subject_id.as_ref().or(session),
                verdict: e.verdict.as_str(), reason: e.reason.as_ref(), role: e.role.as_ref(),
                authority: e.authority.as_ref(), identified_by: e.identified_by.as_ref(),
                evidence_seen: texts_list(&e.evidence_seen),
                approved_digest: e.approved_digest.map(|digest| digest.to_string()), expires_at: e.expires_at,
                reviewed_at: fact.at,
                attributes: attributes_object(&e.attributes), recorded_at: fact.recorded_at,
            },
        ),
        Event::ArtifactAttached(e) => (
            "artifacts",
            row! {
                item: 0_i64,
                seq: fact.seq, id: e.artifact.to_string(), session_id: session,
                step_id: e.step.as_ref().map(|id| id.as_str()), label: e.label.as_ref(), position: e.position,
                media_type: e.media_type.as_ref(), size: e.size, attached_at: fact.at,
                attributes: attributes_object(&e.attributes), recorded_at: fact.recorded_at,
            },
        ),
        Event::MetricRecorded(e) => (
            "metrics",
            row! {
                seq: fact.seq, session_id: session, name: &e.name, value: e.value, unit: e.unit.as_ref(),
                labels: texts_object(&e.labels), measured_at: fact.at,
                attributes: attributes_object(&e.attributes), recorded_at: fact.recorded_at,
            },
        ),
        Event::NoteLogged(e) => (
            "notes",
            row! {
                seq: fact.seq, session_id: session, step_id: e.step.as_ref().map(|id| id.as_str()),
                level: e.level.as_ref(), message: &e.message, data: e.data.as_ref(), logged_at: fact.at,
                attributes: attributes_object(&e.attributes), recorded_at: fact.recorded_at,
            },
        ),
        Event::ActionRecorded(e) => {
            let changes = e.changes.clone().unwrap_or_default();
            let context = e.context.clone().unwrap_or_default();
            (
                "actions",
                row! {
                    seq: fact.seq, session_id: session, actor_id: &e.actor.id, actor_kind: e.actor.kind.as_ref(),
                    action: &e.action, entity_type: e.entity_type.as_ref(), entity_id: e.entity_id.as_ref(),
                    outcome: e.outcome.map(|outcome| outcome.as_str()), reason: e.reason.as_ref(),
                    before: changes.before.as_ref(), after: changes.after.as_ref(), ip: context.ip,
                    user_agent: context.user_agent, request_id: context.request_id, tenant: e.tenant.as_ref(),
                    on_behalf_of: principals(&e.on_behalf_of), basis: e.basis.map(|basis| basis.as_str()),
                    acted_at: fact.at, attributes: attributes_object(&e.attributes), recorded_at: fact.recorded_at,
                },
            )
        }
        Event::PolicyDecided(e) => {
            let own = session.filter(|_| e.subject_kind == Some(SubjectKind::Session));
            (
                "policy_decisions",
                row! {
                    seq: fact.seq, session_id: session, step_id: e.step.as_ref().map(|id| id.as_str()),
                    subject_kind: e.subject_kind.map(|kind| kind.as_str()),
                    subject_id: e.subject_id.as_ref().or(own), policy: &e.policy,
                    policy_version: e.policy_version.as_ref(), rule: e.rule.as_ref(), effect: e.effect.as_str(),
                    reason: e.reason.as_ref(), actor: e.actor.as_ref(), input: e.input.as_ref(),
                    decided_at: fact.at, attributes: attributes_object(&e.attributes),
                    recorded_at: fact.recorded_at,
                },
            )
        }
        Event::CoverageDeclared(e) => (
            "coverage_declarations",
            row! {
                seq: fact.seq, session_id: session, source: &e.source, instance: e.instance.as_ref(),
                records: texts_list(&e.records), omits: texts_list(&e.omits),
                announced: (!e.announced.is_empty()).then(|| serde_json::to_string(&e.announced).unwrap()),
                declared_at: fact.at, attributes: attributes_object(&e.attributes), recorded_at: fact.recorded_at,
            },
        ),
        Event::Custom(e) => (
            "custom_events",
            row! {
                seq: fact.seq, session_id: session, name: &e.name, data: e.data.as_ref(), occurred_at: fact.at,
                attributes: attributes_object(&e.attributes), recorded_at: fact.recorded_at,
            },
        ),
        _ => return None,
    })
}

/// The texts of a fact that people would search.
pub(crate) fn searched(fact: &Fact) -> Vec<String> {
    meanings(fact)
        .iter()
        .flat_map(|fact| match &fact.event {
            // They repeat what their step says, except for what the resource is.
            Some(Event::SessionStarted(e)) if fact.precedence.is_some() => {
                e.attributes.iter().map(|(name, value)| format!("{name} {value}")).collect()
            }
            Some(Event::SessionEnded(_)) if fact.precedence.is_some() => Vec::new(),
            event => event.as_ref().map(texts_of).unwrap_or_default(),
        })
        .collect()
}

fn texts_of(event: &Event) -> Vec<String> {
    let mut texts = Vec::new();
    {
        let mut some = |all: &[&Option<String>]| texts.extend(all.iter().filter_map(|text| (*text).clone()));
        match event {
            Event::SessionStarted(e) => some(&[&e.profile, &e.agent, &e.model, &e.source, &e.input]),
            Event::SessionUpdated(e) => some(&[&e.message]),
            Event::SessionEnded(e) => some(&[&e.summary, &e.error]),
            Event::StepStarted(e) => some(&[&e.module, &e.model, &e.input_summary, &e.input]),
            Event::StepEnded(e) => some(&[&e.output_summary, &e.output, &e.error]),
            Event::DecisionMade(e) => some(&[&e.decision_type, &e.rationale, &e.chosen_option, &e.actor]),
            Event::FindingRaised(e) => some(&[
                &e.category,
                &e.pattern_type,
                &e.title,
                &e.description,
                &e.plain_english,
                &e.suggestion,
                &e.legal_source,
                &e.scope,
                &e.evidence.as_ref().map(ToString::to_string),
            ]),
            Event::FindingUpdated(e) => {
                let correction = e.correction.clone().unwrap_or_default();
                some(&[
                    &e.actor,
                    &e.reason,
                    &correction.original,
                    &correction.corrected,
                    &correction.strategy,
                ]);
            }
            Event::ReviewRecorded(e) => {
                some(&[&Some(e.actor.clone()), &e.reason, &e.role, &e.authority]);
            }
            Event::ArtifactAttached(e) => some(&[&e.label, &e.media_type]),
            Event::MetricRecorded(e) => some(&[&Some(e.name.clone())]),
            Event::NoteLogged(e) => {
                some(&[&Some(e.message.clone()), &e.data.as_ref().map(ToString::to_string)])
            }
            Event::ActionRecorded(e) => {
                let changes = e.changes.clone().unwrap_or_default();
                some(&[
                    &Some(e.actor.id.clone()),
                    &Some(e.action.clone()),
                    &e.entity_type,
                    &e.entity_id,
                    &e.reason,
                    &changes.before.map(|json| json.to_string()),
                    &changes.after.map(|json| json.to_string()),
                ]);
            }
            Event::PolicyDecided(e) => {
                let input = e.input.as_ref().map(ToString::to_string);
                some(&[&Some(e.policy.clone()), &e.rule, &e.reason, &e.actor, &input]);
            }
            Event::OtelSpan(e) => some(&[&Some(e.span.to_string())]),
            Event::OtelLog(e) => some(&[&Some(e.log_record.to_string())]),
            Event::CoverageDeclared(e) => {
                some(&[&Some(e.source.clone()), &e.instance]);
                e.records.iter().chain(&e.omits).for_each(|said| some(&[&Some(said.clone())]));
            }
            Event::Custom(e) => some(&[&Some(e.name.clone()), &e.data.as_ref().map(ToString::to_string)]),
            Event::LogCreated(e) => some(&[&Some(e.origin.clone())]),
            Event::EventsLost(e) => some(&[&Some(e.reason.clone())]),
            Event::PayloadRedacted(e) => {
                some(&[&Some(e.actor.clone()), &Some(e.reason.clone()), &e.authority])
            }
            Event::KeyChanged(e) => some(&[&Some(e.vkey.clone()), &Some(e.actor.clone()), &e.reason]),
            Event::ApiKeyCreated(e) => some(&[&Some(e.name.clone()), &Some(e.actor.clone()), &e.reason]),
            Event::ApiKeyRevoked(e) => some(&[&Some(e.key.to_string()), &Some(e.actor.clone()), &e.reason]),
            Event::ProjectionSkipped(e) => {
                some(&[&Some(e.projection.clone()), &Some(e.actor.clone()), &Some(e.reason.clone())]);
            }
            _ => {}
        }
    }
    let labels = match event {
        Event::SessionStarted(e) => Some(&e.labels),
        Event::MetricRecorded(e) => Some(&e.labels),
        _ => None,
    };
    texts.extend(labels.into_iter().flatten().flat_map(|(name, value)| [name.clone(), value.clone()]));
    if let Event::ReviewRecorded(e) = event {
        texts.extend(e.evidence_seen.iter().cloned());
    }
    if let Event::DecisionMade(e) = event {
        texts.extend(e.chosen_options.iter().cloned());
        for option in &e.options_considered {
            texts.push(option.option.clone());
            texts.extend(option.attributes.iter().map(|(name, value)| format!("{name} {value}")));
        }
    }
    texts.extend(attributes_of(event).iter().map(|(name, value)| format!("{name} {value}")));
    texts.retain(|text| !text.is_empty());
    texts
}

fn attributes_of(event: &Event) -> Attributes {
    match event {
        Event::SessionStarted(e) => e.attributes.clone(),
        Event::SessionUpdated(e) => e.attributes.clone(),
        Event::SessionEnded(e) => e.attributes.clone(),
        Event::StepStarted(e) => e.attributes.clone(),
        Event::StepEnded(e) => e.attributes.clone(),
        Event::DecisionMade(e) => e.attributes.clone(),
        Event::FindingRaised(e) => e.attributes.clone(),
        Event::FindingUpdated(e) => e.attributes.clone(),
        Event::ReviewRecorded(e) => e.attributes.clone(),
        Event::ArtifactAttached(e) => e.attributes.clone(),
        Event::MetricRecorded(e) => e.attributes.clone(),
        Event::NoteLogged(e) => e.attributes.clone(),
        Event::ActionRecorded(e) => e.attributes.clone(),
        Event::OtelSpan(e) => e.attributes.clone(),
        Event::OtelLog(e) => e.attributes.clone(),
        Event::PolicyDecided(e) => e.attributes.clone(),
        Event::CoverageDeclared(e) => e.attributes.clone(),
        Event::Custom(e) => e.attributes.clone(),
        _ => Attributes::new(),
    }
}

/// The events that a search for a word finds.
pub(crate) fn found(facts: &[Fact], word: &str) -> BTreeSet<i64> {
    let says = |fact: &&Fact| {
        searched(fact)
            .iter()
            .any(|text| text.split(|c: char| !c.is_alphanumeric()).any(|said| said.to_lowercase() == word))
    };
    facts.iter().filter(says).map(|fact| fact.seq).collect()
}
