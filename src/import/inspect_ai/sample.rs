//! A sample of an evaluation.

use std::collections::BTreeMap;

use super::super::document::{Path, VALUE_BYTES_MAX, Want, is_empty_list};
use super::super::emit::{Emitter, Scope};
use super::super::error::{ImportError, Location, or_bad};
use super::super::fields::{Fields, Label};
use super::super::json_lines::BadLines;
use super::super::transcript::{Record, Transcript};
use super::super::turn::Problem;
use super::event::Events;
use super::log::{FORMAT, Log};
use super::part::Part;
use super::spool::Spool;
use super::{content, score};
use crate::limits::SESSION_ID_BYTES_MAX;
use crate::{Json, Outcome, SessionEnd, SessionEnded, SessionStarted, Severity, Timestamp};

/// The first reading of a sample: everything except its events and messages.
#[derive(Default)]
struct Found {
    place: Option<Location>,
    fields: BTreeMap<String, Json>,
    bytes: usize,
    attachments: Spool,
    messages: Spool,
    has_events: bool,
}

/// The shape of a path. Up to 2024 events and attachments were within `transcript`.
fn shape(path: &Path) -> String {
    let shape = path.shape();
    match shape.strip_prefix("transcript.") {
        Some(inner) if inner.starts_with("content") => inner.replacen("content", "attachments", 1),
        Some(inner) => inner.to_owned(),
        None => shape,
    }
}

fn is_attachment(shape: &str) -> bool {
    shape.starts_with("attachments.")
}

fn found_route(path: &Path) -> Want {
    match shape(path).as_str() {
        "transcript" | "events" | "messages" | "attachments" | "events_data" | "events_data.messages" => {
            Want::Within
        }
        // The first one shows that there are events.
        "events[]" if path.index() == 0 => Want::Region,
        // The requests in the form of each API repeat the messages.
        "events[]" | "messages[]" | "events_data.calls" => Want::Nothing,
        _ => Want::Whole,
    }
}

impl Found {
    fn take(&mut self, path: &Path, json: Json) -> Result<(), ImportError> {
        let shape = shape(path);
        let kept = match shape.as_str() {
            "events[]" => {
                self.has_events = true;
                true
            }
            shape if is_attachment(shape) => self.attachments.put(path.name(), &json)?,
            "events_data.messages[]" => self.messages.put(&path.index().to_string(), &json)?,
            "transcript" | "events" | "messages" | "attachments" | "events_data" | "events_data.messages" => {
                if !is_empty_list(&json) && json.as_str() != "{}" {
                    let reason = "is not a list or object".to_owned();
                    return Err(ImportError::Malformed { place: path.place(), reason });
                }
                true
            }
            _ => {
                self.bytes = self.bytes.saturating_add(json.as_str().len());
                self.fields.insert(path.name().to_owned(), json);
                self.bytes <= VALUE_BYTES_MAX
            }
        };
        if self.place.is_none() {
            let mut whole = path.clone();
            while whole.depth() > 0 {
                whole = whole.parent();
            }
            self.place = Some(whole.place());
        }
        match kept {
            true => Ok(()),
            false => Err(ImportError::Malformed {
                place: path.place(),
                reason: "makes the sample too large".to_owned(),
            }),
        }
    }
}

/// Imports a sample as a session.
pub(super) fn import(
    part: &mut dyn Part,
    log: &Log,
    bad: &mut BadLines<'_>,
    emitter: &mut Emitter<'_>,
) -> Result<(), ImportError> {
    let mut found = Found::default();
    part.walk(&found_route, &mut |path, json| found.take(path, json))?;
    let place = found.place.unwrap_or_else(|| Location::Path(String::new()));
    let mut attachments = found.attachments;
    let mut fields = BTreeMap::new();
    for (name, json) in found.fields {
        fields.insert(name, attachments.resolve(json)?);
    }
    let mut fields = Fields::collected(place.clone(), fields);
    let (scope, at, started) = begin(&mut fields, log)?;
    let end = End::of(fields)?;
    emitter.begin(&scope)?;
    let transcript = Transcript::new(scope, at, started);
    let list = if found.has_events { "events[]" } else { "messages[]" };
    let mut events = Events::new(transcript, attachments, found.messages);
    let route = |path: &Path| match shape(path).as_str() {
        "transcript" => Want::Within,
        shape if shape == list => Want::Whole,
        shape if list.strip_suffix("[]") == Some(shape) => Want::Within,
        _ => Want::Nothing,
    };
    part.walk(&route, &mut |path, json| {
        // An empty list is handed over itself.
        if !path.is_item() {
            return Ok(());
        }
        let taken = events.take(path, json, emitter);
        or_bad(taken, bad)
    })?;
    end.emit(&place, events.transcript, emitter)
}

fn begin(fields: &mut Fields, log: &Log) -> Result<(Scope, Option<Timestamp>, SessionStarted), ImportError> {
    let Label(id) = fields.require("id")?;
    let epoch: u64 = fields.take("epoch")?.unwrap_or(1);
    let mut name = format!("{}/{id}/{epoch}", log.scope.session);
    let uuid = fields.see("uuid").map(super::super::fields::text_of);
    if let Some(uuid) = uuid.filter(|_| name.len() > SESSION_ID_BYTES_MAX) {
        name = format!("{FORMAT}/{uuid}");
    }
    let scope = Scope::of(fields.place().clone(), &name)?;
    let input = fields.see("input").cloned();
    let labels = BTreeMap::from([
        ("task".to_owned(), log.task.clone()),
        ("sample".to_owned(), id),
        ("epoch".to_owned(), epoch.to_string()),
    ]);
    let at: Option<Timestamp> = fields.take("started_at")?;
    let mut started = SessionStarted {
        profile: Some(FORMAT.to_owned()),
        input: question(fields)?,
        parent_session: Some(log.scope.session.clone()),
        agent: log.solver.clone(),
        model: log.model.clone(),
        source: Some(FORMAT.to_owned()),
        labels,
        ..Default::default()
    };
    // All other fields may change while the sample is worked on, or scored again.
    for name in ["target", "choices", "sandbox", "files", "setup"] {
        started.attributes.extend(fields.json(name).map(|json| (name.to_owned(), json)));
    }
    // A list of messages has more than the question.
    started.attributes.extend(
        input.filter(|input| input.as_str().starts_with('[')).map(|input| ("input".to_owned(), input)),
    );
    Ok((scope, at, started))
}

/// The first message of a user.
fn question(fields: &mut Fields) -> Result<Option<String>, ImportError> {
    if fields.see("input").is_none_or(|input| input.as_str().starts_with('"')) {
        return Ok(fields.text("input"));
    }
    for mut message in fields.objects("input")?.unwrap_or_default() {
        if message.take::<String>("role")?.as_deref() == Some("user") {
            return content::text(&mut message);
        }
    }
    Ok(None)
}

/// The end of a sample.
struct End {
    at: Option<Timestamp>,
    ended: SessionEnded,
    findings: Vec<(String, Problem)>,
}

impl End {
    /// Takes the fields that are not those of the beginning.
    fn of(mut fields: Fields) -> Result<End, ImportError> {
        let at = fields.take("completed_at")?;
        let mut ended = SessionEnded::default();
        let mut findings = Vec::new();
        // A version before 0.3 had one scorer, without a name.
        let single = fields.json("score").map(|score| ("score".to_owned(), score));
        let mut scores: BTreeMap<String, Json> = fields.take("scores")?.unwrap_or_default();
        scores.extend(single);
        for (scorer, score) in &scores {
            let scored = score::read(scorer, score);
            ended.scores.extend(scored.numbers);
            findings.extend(scored.finding.map(|finding| (format!("scores/{scorer}"), finding)));
        }
        if !scores.is_empty() {
            ended
                .attributes
                .insert("scores".to_owned(), super::super::turn::json_of(fields.place(), "scores", &scores)?);
        }
        if let Some(usage) = fields.json("model_usage") {
            tokens(&fields, &usage, &mut ended)?;
            ended.attributes.insert("model_usage".to_owned(), usage);
        }
        if let Some(mut error) = fields.object("error")? {
            ended.error = error.take("message")?;
            // The traceback is there twice, and once with colours.
            error.json("traceback_ansi");
            ended.attributes.extend(error.rest_by_path());
        }
        if let Some(limit) = fields.json("limit") {
            findings.push(("limit".to_owned(), limited(limit.clone())));
            ended.attributes.insert("limit".to_owned(), limit);
        }
        ended.status = if ended.error.is_some() { SessionEnd::Failed } else { SessionEnd::Completed };
        if let Some(error) = &ended.error {
            findings.push(("error".to_owned(), failed(error.clone())));
        }
        ended.attributes.extend(fields.rest());
        Ok(End { at, ended, findings })
    }

    fn emit(
        mut self,
        place: &Location,
        mut transcript: Transcript,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), ImportError> {
        for (key, finding) in self.findings {
            transcript.raise(&Record { place, key: &key, at: self.at }, finding, emitter)?;
        }
        self.ended.summary = transcript.last_output().cloned();
        transcript.end(place, self.at, self.ended, emitter)
    }
}

/// Adds up the usage of all models.
fn tokens(fields: &Fields, usage: &Json, ended: &mut SessionEnded) -> Result<(), ImportError> {
    #[derive(serde::Deserialize)]
    struct Used {
        input_tokens: Option<u64>,
        // Apart from the input's.
        input_tokens_cache_read: Option<u64>,
        input_tokens_cache_write: Option<u64>,
        output_tokens: Option<u64>,
        total_cost: Option<f64>,
    }
    let usage: BTreeMap<String, Used> = fields.read("model_usage", usage)?;
    let sum = |tokens: fn(&Used) -> Option<u64>| {
        usage
            .values()
            .filter_map(tokens)
            .fold(None, |sum: Option<u64>, more| Some(sum.unwrap_or(0).saturating_add(more)))
    };
    ended.tokens_input = sum(|used| {
        let cached = [used.input_tokens_cache_read, used.input_tokens_cache_write];
        used.input_tokens.map(|tokens| cached.into_iter().flatten().fold(tokens, u64::saturating_add))
    });
    ended.tokens_output = sum(|used| used.output_tokens);
    ended.cost_usd = usage.values().filter_map(|used| used.total_cost).reduce(|sum, more| sum + more);
    Ok(())
}

fn failed(error: String) -> Problem {
    Problem {
        category: "error",
        pattern_type: "inspect_ai.error",
        severity: Severity::High,
        outcome: Outcome::Error,
        title: "The sample ended with an error",
        plain_english: "The model's work on this sample was not completed.",
        description: Some(error),
        evidence: None,
        step: None,
    }
}

fn limited(limit: Json) -> Problem {
    Problem {
        category: "limit",
        pattern_type: "inspect_ai.limit",
        severity: Severity::Medium,
        outcome: Outcome::Warning,
        title: "The sample came to a limit",
        plain_english: "The model was stopped before it was done.",
        description: None,
        evidence: Some(limit),
        step: None,
    }
}
