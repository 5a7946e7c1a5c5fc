//! A score of Langfuse as a finding. The fields are those of `ScoreBody` and `CreateScoreRequest` in Langfuse's
//! API reference (JS SDK 5.11, Python SDK 4.15, November 2026).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::event::{
    Attributes, Draft, EventId, Fields, FindingId, FindingRaised, Json, Outcome, SessionId, Severity, StepId,
    Timestamp,
};
use crate::otel::{outcome, read_text, write_float, write_text};

/// Digits of the ids of traces and of observations, which are those of OpenTelemetry's spans.
const TRACE_DIGITS: usize = 32;
const OBSERVATION_DIGITS: usize = 16;

/// Longest result that a title repeats, in characters. A text or a correction may be a whole answer.
const TITLE_CHARS_MAX: usize = 80;

/// The members of an object, which are taken one after the other. The rest are attributes.
struct Members<'b>(BTreeMap<String, &'b RawValue>);

impl<'b> Members<'b> {
    fn read(body: &'b RawValue) -> Result<Members<'b>, String> {
        let fields: Fields<'b> = serde_json::from_str(body.get())
            .map_err(|error| format!("the score cannot be read as an object: {error}"))?;
        let mut members = BTreeMap::new();
        for (name, value) in fields.0 {
            if members.contains_key(&name) {
                return Err(format!("the score has `{name}` twice"));
            }
            // Langfuse's SDKs send `null` for an absent field.
            if value.get() != "null" {
                members.insert(name, value);
            }
        }
        Ok(Members(members))
    }

    /// Takes a text. An empty one counts as absent.
    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        let text = read_text(value.get()).ok_or_else(|| format!("`{name}` is not a text"))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Takes the id of a trace or an observation.
    fn hex(&mut self, name: &str, digits: usize) -> Result<Option<String>, String> {
        let Some(id) = self.text(name)? else { return Ok(None) };
        let is_valid = id.len() == digits
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && id.bytes().any(|byte| byte != b'0');
        if is_valid {
            Ok(Some(id.to_ascii_lowercase()))
        } else {
            Err(format!(
                "`{name}` must be {digits} hexadecimal digits, not all of them zero, as in OpenTelemetry"
            ))
        }
    }

    fn attributes(self) -> Result<Attributes, String> {
        self.0
            .into_iter()
            .map(|(name, value)| match Json::of_raw(value) {
                Ok(json) => Ok((name, json)),
                Err(error) => Err(format!("`{name}` cannot be recorded: {error}")),
            })
            .collect()
    }
}

/// The value of a score.
#[derive(Debug, PartialEq)]
enum Value {
    Number(f64),
    Label(String),
    Truth(bool),
}

impl Value {
    fn read(value: &RawValue, data_type: Option<&str>) -> Result<Value, String> {
        let value = match value.get() {
            "true" => Value::Truth(true),
            "false" => Value::Truth(false),
            text if text.starts_with('"') => {
                Value::Label(read_text(text).ok_or("`value` is not a text that can be read")?)
            }
            number => {
                let number = number.parse().ok().filter(|number: &f64| number.is_finite());
                Value::Number(number.ok_or("`value` is neither a finite number nor a text")?)
            }
        };
        match (data_type, value) {
            (Some("BOOLEAN"), Value::Number(number)) if number == 0.0 || number == 1.0 => {
                Ok(Value::Truth(number != 0.0))
            }
            (Some("BOOLEAN"), Value::Number(_) | Value::Label(_)) => {
                Err("`value` of a score of type BOOLEAN must be 0 or 1".to_owned())
            }
            (Some("NUMERIC"), Value::Label(_) | Value::Truth(_)) => {
                Err("`value` of a score of type NUMERIC must be a number".to_owned())
            }
            (Some(text @ ("CATEGORICAL" | "TEXT" | "CORRECTION")), Value::Number(_) | Value::Truth(_)) => {
                Err(format!("`value` of a score of type {text} must be a text"))
            }
            // A type that Langfuse adds later is in the attributes.
            (_, value) => Ok(value),
        }
    }

    fn label(&self) -> Option<&str> {
        match self {
            Value::Number(_) => None,
            Value::Label(label) => Some(label),
            Value::Truth(truth) => Some(if *truth { "true" } else { "false" }),
        }
    }

    fn score(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Label(_) => None,
            Value::Truth(truth) => Some(f64::from(u8::from(*truth))),
        }
    }

    /// The evidence, as for evaluations that come by OTLP.
    fn evidence(&self) -> Json {
        let mut json = String::from("{");
        if let Some(label) = self.label() {
            json.push_str("\"label\":");
            write_text(label, &mut json);
        }
        if let Some(score) = self.score() {
            json.push_str(if json.len() > 1 { ",\"score\":" } else { "\"score\":" });
            write_float(score, &mut json);
        }
        json.push('}');
        Json::written(json)
    }

    fn title(&self, name: &str) -> String {
        let mut title = name.to_owned();
        let short =
            |label: &&str| label.chars().count() <= TITLE_CHARS_MAX && !label.contains(char::is_control);
        if let Some(label) = self.label().filter(short) {
            let _ = write!(title, ": {label}");
        } else if let Value::Number(number) = self {
            let _ = write!(title, ": {number}");
        }
        title
    }
}

/// The reason for which a score without a trace has no session.
fn without_trace(members: &Members<'_>) -> String {
    let of = if members.0.contains_key("sessionId") {
        "a score of a session of Langfuse"
    } else if members.0.contains_key("datasetRunId") {
        "a score of a dataset run"
    } else {
        return "`traceId` is missing".to_owned();
    };
    format!(
        "{of} belongs to no session of the log, because each session is one trace; give the score a `traceId`"
    )
}

/// A score that can be recorded.
#[derive(Debug)]
pub(super) struct Score {
    /// Its own id, else that of its item, else a new one.
    pub(super) id: String,
    /// True if it has an id of its own.
    pub(super) has_own_id: bool,
    pub(super) draft: Draft,
}

impl Score {
    /// Reads a score. `round` counts the contents with the score's id that the log has already.
    ///
    /// # Errors
    /// With the reason for which it can never be recorded.
    pub(super) fn read(
        body: &RawValue,
        item: Option<&str>,
        at: Option<Timestamp>,
        round: u8,
    ) -> Result<Score, String> {
        let mut members = Members::read(body)?;
        let own_id = members.text("id")?;
        let has_own_id = own_id.is_some();
        let id =
            own_id.or_else(|| item.map(str::to_owned)).unwrap_or_else(|| EventId::generate().to_string());
        let finding = FindingId::new(id.clone()).map_err(|error| format!("`id` cannot be used: {error}"))?;
        let trace = members.hex("traceId", TRACE_DIGITS)?.ok_or_else(|| without_trace(&members))?;
        let session = SessionId::new(trace).map_err(|error| format!("`traceId` cannot be used: {error}"))?;
        let step = members.hex("observationId", OBSERVATION_DIGITS)?.map(StepId::new).transpose();
        let step = step.map_err(|error| format!("`observationId` cannot be used: {error}"))?;
        let name = members.text("name")?.ok_or("`name` is missing")?;
        let data_type = members.0.get("dataType").and_then(|value| read_text(value.get()));
        let value = members.0.remove("value").ok_or("`value` is missing")?;
        let value = Value::read(value, data_type.as_deref())?;
        let description = members.text("comment")?;
        let outcome = value.label().and_then(outcome);
        let raised = FindingRaised {
            finding,
            category: Some("evaluation".to_owned()),
            title: Some(value.title(&name)),
            pattern_type: Some(name),
            // As for evaluations that come by OTLP: the outcome decides.
            severity: Some(match outcome {
                Some(Outcome::Fail | Outcome::Error) => Severity::Medium,
                Some(Outcome::Warning) => Severity::Low,
                _ => Severity::Info,
            }),
            outcome,
            description,
            evidence: Some(value.evidence()),
            scope: step.is_none().then(|| "trace".to_owned()),
            step,
            attributes: members.attributes()?,
            ..FindingRaised::default()
        };
        // Made of the score's id and never of its content: an event keeps its id when its payload is erased.
        let event = EventId::from_name(&format!("langfuse score {id} {round}"));
        let draft = Draft { id: Some(event), session: Some(session), at, event: raised.into() };
        Ok(Score { id, has_own_id, draft })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    const TRACE: &str = "ff7caf06c72923d745303cfa01ab9107";

    fn read(body: &str) -> Result<Score, String> {
        Score::read(serde_json::from_str(body).unwrap(), Some("item"), None, 0)
    }

    fn finding(value: &str) -> FindingRaised {
        let body = format!(r#"{{"traceId":"{TRACE}","name":"n",{value}}}"#);
        match read(&body).unwrap().draft.event {
            Event::FindingRaised(raised) => raised,
            other => panic!("{other:?}"),
        }
    }

    fn told(value: &str) -> (String, Option<Outcome>, String) {
        let raised = finding(value);
        (raised.evidence.unwrap().as_str().to_owned(), raised.outcome, raised.title.unwrap())
    }

    #[test]
    fn a_value_is_a_score_or_a_label_or_both() {
        let of = |evidence: &str, outcome, title: &str| (evidence.to_owned(), outcome, title.to_owned());
        assert_eq!(told(r#""value":0.75"#), of(r#"{"score":0.75}"#, None, "n: 0.75"));
        assert_eq!(told(r#""value":1,"dataType":"NUMERIC""#), of(r#"{"score":1.0}"#, None, "n: 1"));
        assert_eq!(told(r#""value":"polite""#), of(r#"{"label":"polite"}"#, None, "n: polite"));
        assert_eq!(
            told(r#""value":"Toxic","dataType":"CATEGORICAL""#),
            of(r#"{"label":"Toxic"}"#, Some(Outcome::Fail), "n: Toxic")
        );
        assert_eq!(
            told(r#""value":1,"dataType":"BOOLEAN""#),
            of(r#"{"label":"true","score":1.0}"#, Some(Outcome::Pass), "n: true")
        );
        assert_eq!(
            told(r#""value":0.0,"dataType":"BOOLEAN""#),
            of(r#"{"label":"false","score":0.0}"#, Some(Outcome::Fail), "n: false")
        );
        assert_eq!(told(r#""value":"a\nb","dataType":"TEXT""#), of(r#"{"label":"a\nb"}"#, None, "n"));
    }

    #[test]
    fn a_score_that_fails_is_of_medium_severity_and_others_inform() {
        assert_eq!(finding(r#""value":"fail""#).severity, Some(Severity::Medium));
        assert_eq!(finding(r#""value":"partial""#).severity, Some(Severity::Low));
        assert_eq!(finding(r#""value":7"#).severity, Some(Severity::Info));
    }

    #[test]
    fn other_fields_are_attributes_and_null_is_absent() {
        let raised = finding(
            r#""value":1,"comment":null,"environment":"test","metadata":{"a": [1]},"sessionId":"chat","observationId":"AFB3F17CD3C1B228""#,
        );
        assert_eq!((raised.description, raised.scope), (None, None));
        assert_eq!(raised.step.unwrap().as_str(), "afb3f17cd3c1b228");
        let attributes: Vec<(&str, &str)> =
            raised.attributes.iter().map(|(name, json)| (name.as_str(), json.as_str())).collect();
        assert_eq!(
            attributes,
            [("environment", "\"test\""), ("metadata", "{\"a\": [1]}"), ("sessionId", "\"chat\"")]
        );
    }

    #[test]
    fn the_id_of_the_event_is_that_of_the_score_and_not_of_its_content() {
        let id = |body: &str, round| {
            let score = Score::read(serde_json::from_str(body).unwrap(), Some("item"), None, round).unwrap();
            (score.id, score.draft.id.unwrap())
        };
        let a = format!(r#"{{"id":"s","traceId":"{TRACE}","name":"n","value":1}}"#);
        let b = format!(r#"{{"id":"s","traceId":"{TRACE}","name":"n","value":2}}"#);
        assert_eq!(id(&a, 0), id(&b, 0));
        assert_ne!(id(&a, 0), id(&a, 1));
        let without = format!(r#"{{"traceId":"{TRACE}","name":"n","value":2}}"#);
        assert_eq!(id(&without, 0).0, "item");
    }

    #[test]
    fn a_score_that_can_never_be_recorded_says_why() {
        let trace = format!(r#""traceId":"{TRACE}""#);
        let long = "x".repeat(257);
        for (body, why) in [
            (r#"{"name":"n","value":1}"#.to_owned(), "`traceId` is missing"),
            (
                r#"{"name":"n","value":1,"sessionId":"s"}"#.to_owned(),
                "a score of a session of Langfuse belongs",
            ),
            (r#"{"name":"n","value":1,"datasetRunId":"s"}"#.to_owned(), "a score of a dataset run belongs"),
            (r#"{"name":"n","value":1,"traceId":"a-b"}"#.to_owned(), "`traceId` must be 32 hexadecimal"),
            (
                format!(r#"{{"name":"n","value":1,"traceId":"{:032}"}}"#, 0),
                "`traceId` must be 32 hexadecimal",
            ),
            (
                format!(r#"{{"name":"n","value":1,{trace},"observationId":"o"}}"#),
                "`observationId` must be 16",
            ),
            (format!(r#"{{"value":1,{trace}}}"#), "`name` is missing"),
            (format!(r#"{{"name":7,"value":1,{trace}}}"#), "`name` is not a text"),
            (format!(r#"{{"name":"n",{trace}}}"#), "`value` is missing"),
            (format!(r#"{{"name":"n","value":[],{trace}}}"#), "`value` is neither"),
            (format!(r#"{{"name":"n","value":1e999,{trace}}}"#), "`value` is neither"),
            (
                format!(r#"{{"name":"n","value":2,"dataType":"BOOLEAN",{trace}}}"#),
                "`value` of a score of type BOOLEAN",
            ),
            (
                format!(r#"{{"name":"n","value":"x","dataType":"NUMERIC",{trace}}}"#),
                "`value` of a score of type NUMERIC",
            ),
            (
                format!(r#"{{"name":"n","value":1,"dataType":"TEXT",{trace}}}"#),
                "`value` of a score of type TEXT",
            ),
            (format!(r#"{{"name":"n","name":"m","value":1,{trace}}}"#), "the score has `name` twice"),
            (
                format!(r#"{{"id":"{long}","name":"n","value":1,{trace}}}"#),
                "`id` cannot be used: an id has at most 256",
            ),
            ("[]".to_owned(), "the score cannot be read as an object"),
        ] {
            let error = read(&body).unwrap_err();
            assert!(error.starts_with(why), "{body}: {error}");
        }
    }
}
