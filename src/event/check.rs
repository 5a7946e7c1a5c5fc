//! The checks that every draft must pass before it is encoded.

use super::draft::Draft;
use super::id::{IdError, Timestamp};
use super::json_text::{Attributes, Json, JsonTextError};
use super::kind::{Event, Kind};
use super::payload::{CoverageDeclared, Delegation, PolicyDecided};
use super::words::SubjectKind;
use crate::limits::{ANNOUNCED_MAX, ITEMS_MAX, TOKENS_MAX};

/// A field with a value that cannot be recorded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}: field `{field}` {problem}", kind = kind.name())]
#[non_exhaustive]
pub struct InvalidField {
    /// The event's kind.
    pub kind: Kind,
    /// The field, as in the JSON form.
    pub field: String,
    /// The problem with the value.
    pub problem: FieldProblem,
}

/// The problem with a field.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// A value that must be present is absent.
    #[error("is missing")]
    Missing,
    /// The value is empty.
    #[error("is empty")]
    Empty,
    /// The value cannot be an id.
    #[error("cannot be used: {0}")]
    Id(#[from] IdError),
    /// The number is not between 0 and 1.
    #[error("is {0}, not between 0 and 1")]
    NotAFraction(f64),
    /// The number is infinite or not a number.
    #[error("is {0}, not a finite number")]
    NotFinite(f64),
    /// The number is larger than the read tables can hold.
    #[error("is {number}, more than {max}")]
    TooLarge {
        /// The number that was given.
        number: u64,
        /// The largest allowed.
        max: u64,
    },
    /// The time is outside the years that SQLite can read.
    #[error("is not between the years 1 and 9999")]
    TimeRange,
    /// The list or object has too many items.
    #[error("has {items} items, more than {ITEMS_MAX}")]
    TooManyItems {
        /// Number of its items.
        items: usize,
    },
    /// The value is not JSON, or common JSON readers cannot parse it.
    #[error("cannot be used: {0}")]
    Json(#[from] JsonTextError),
    /// An attribute has the name of a field of the same object.
    #[error("is a field of this event, and cannot be an attribute as well")]
    OwnField,
    /// The value is JSON, but not an object.
    #[error("is not a JSON object")]
    NotAnObject,
    /// The name is not that of a kind of events that programs record.
    #[error("is not a kind of events that a program records")]
    NotAKind,
    /// The field was given together with a field that excludes it.
    #[error("cannot be given together with `{0}`: give one of them")]
    Excludes(&'static str),
}

/// The checks of single fields. A check that fails returns its problem, so that `?` stops at the first one.
struct Checker {
    kind: Kind,
}

type Checked = Result<(), InvalidField>;

impl Checker {
    fn problem(&self, field: impl Into<String>, problem: impl Into<FieldProblem>) -> InvalidField {
        InvalidField { kind: self.kind, field: field.into(), problem: problem.into() }
    }

    fn id(&self, field: &str, checked: Result<(), IdError>) -> Checked {
        checked.map_err(|error| match error {
            // The empty id stands for an absent one.
            IdError::Empty => self.problem(field, FieldProblem::Missing),
            error => self.problem(field, error),
        })
    }

    fn filled(&self, field: &str, text: &str) -> Checked {
        if text.is_empty() { Err(self.problem(field, FieldProblem::Empty)) } else { Ok(()) }
    }

    /// Checks as [`Checker::filled`] does, but white space alone counts as empty.
    fn not_blank(&self, field: &str, text: &str) -> Checked {
        self.filled(field, text.trim())
    }

    fn finite(&self, field: &str, number: Option<f64>) -> Checked {
        // JSON has no such numbers, so the event could not be read again from an export.
        match number {
            Some(number) if !number.is_finite() => Err(self.problem(field, FieldProblem::NotFinite(number))),
            _ => Ok(()),
        }
    }

    fn fraction(&self, field: &str, number: Option<f64>) -> Checked {
        self.finite(field, number)?;
        match number {
            Some(number) if !(0.0..=1.0).contains(&number) => {
                Err(self.problem(field, FieldProblem::NotAFraction(number)))
            }
            _ => Ok(()),
        }
    }

    fn at_most(&self, field: &str, number: Option<u64>, max: u64) -> Checked {
        match number {
            Some(number) if number > max => Err(self.problem(field, FieldProblem::TooLarge { number, max })),
            _ => Ok(()),
        }
    }

    fn tokens(&self, field: &str, number: Option<u64>) -> Checked {
        // Smaller than the bound of other integers, because the read tables add two such numbers.
        self.at_most(field, number, TOKENS_MAX)
    }

    fn count(&self, field: &str, number: Option<u64>) -> Checked {
        // The columns of the read tables are SQLite's integers, which end at 2^63 - 1.
        self.at_most(field, number, i64::MAX.unsigned_abs())
    }

    fn items(&self, field: &str, items: usize) -> Checked {
        // Bounds the memory that a decoder reserves in advance.
        if items > ITEMS_MAX {
            Err(self.problem(field, FieldProblem::TooManyItems { items }))
        } else {
            Ok(())
        }
    }

    fn json(&self, field: &str, json: Option<&Json>) -> Checked {
        // A value that was decoded from a file was not checked when it was made.
        match json.map(Json::check) {
            Some(Err(error)) => Err(self.problem(field, error)),
            _ => Ok(()),
        }
    }

    fn object(&self, field: &str, json: &Json) -> Checked {
        self.json(field, Some(json))?;
        if json.is_object() { Ok(()) } else { Err(self.problem(field, FieldProblem::NotAnObject)) }
    }

    fn objects(&self, objects: [(&str, Option<&Json>); 2]) -> Checked {
        objects.into_iter().try_for_each(|(field, json)| json.map_or(Ok(()), |json| self.object(field, json)))
    }

    fn time(&self, field: &str, time: Option<Timestamp>) -> Checked {
        if time.is_some_and(|time| !time.in_range()) {
            return Err(self.problem(field, FieldProblem::TimeRange));
        }
        Ok(())
    }

    fn filled_items(&self, field: &str, texts: &[String]) -> Checked {
        self.items(field, texts.len())?;
        texts.iter().enumerate().try_for_each(|(index, text)| self.filled(&format!("{field}[{index}]"), text))
    }

    fn delegations(&self, field: &str, chain: &[Delegation]) -> Checked {
        self.items(field, chain.len())?;
        let mut chain = chain.iter().enumerate();
        chain.try_for_each(|(index, principal)| {
            self.filled(&format!("{field}[{index}].actor.id"), &principal.actor.id)
        })
    }

    fn attributes(&self, field: &str, attributes: &Attributes) -> Checked {
        self.items(field, attributes.len())?;
        attributes.iter().try_for_each(|(name, json)| self.json(&format!("{field}.{name}"), Some(json)))
    }
}

impl Draft {
    /// Checks that the draft can be recorded. Ids that Annals makes may still be absent.
    ///
    /// # Errors
    /// If a field is wrong. The error names the first such field, and its problem.
    pub fn check(&self) -> Result<(), InvalidField> {
        let check = Checker { kind: self.event.kind() };
        match &self.session {
            Some(session) => check.id("session", session.check())?,
            None if self.event.kind().needs_session() => {
                return Err(check.problem("session", FieldProblem::Missing));
            }
            None => {}
        }
        check.time("at", self.at)?;
        self.event.check(&check)
    }
}

impl Event {
    fn check(&self, check: &Checker) -> Checked {
        // There is no arm for all other kinds, so that the compiler demands the checks of a new kind.
        match self {
            Event::SessionStarted(e) => {
                if let Some(parent) = &e.parent_session {
                    check.id("parent_session", parent.check())?;
                }
                check.items("labels", e.labels.len())?;
                check.attributes("attributes", &e.attributes)
            }
            Event::SessionUpdated(e) => {
                check.fraction("progress", e.progress)?;
                check.attributes("attributes", &e.attributes)
            }
            Event::SessionEnded(e) => {
                check.items("scores", e.scores.len())?;
                for (name, score) in &e.scores {
                    check.finite(&format!("scores.{name}"), Some(*score))?;
                }
                check.tokens("tokens_input", e.tokens_input)?;
                check.tokens("tokens_output", e.tokens_output)?;
                check.finite("cost_usd", e.cost_usd)?;
                check.attributes("attributes", &e.attributes)
            }
            Event::StepStarted(e) => {
                check.id("step", e.step.check())?;
                if let Some(parent) = &e.parent_step {
                    check.id("parent_step", parent.check())?;
                }
                check.attributes("attributes", &e.attributes)
            }
            Event::StepEnded(e) => {
                check.id("step", e.step.check())?;
                check.fraction("confidence", e.confidence)?;
                check.tokens("tokens_input", e.tokens_input)?;
                check.tokens("tokens_output", e.tokens_output)?;
                check.tokens("tokens_cache_read", e.tokens_cache_read)?;
                check.tokens("tokens_cache_write", e.tokens_cache_write)?;
                check.tokens("tokens_reasoning", e.tokens_reasoning)?;
                check.finite("cost_usd", e.cost_usd)?;
                check.attributes("attributes", &e.attributes)
            }
            Event::DecisionMade(e) => {
                // An absent id passes, because `parse_draft` checks before absent ids are filled.
                if !e.decision.is_absent() {
                    check.id("decision", e.decision.check())?;
                }
                if let Some(step) = &e.step {
                    check.id("step", step.check())?;
                }
                check.items("options_considered", e.options_considered.len())?;
                for (index, option) in e.options_considered.iter().enumerate() {
                    let field = format!("options_considered[{index}]");
                    check.finite(&format!("{field}.score"), option.score)?;
                    check.attributes(&field, &option.attributes)?;
                    // In the JSON form, the attributes of an option are in the same object as its fields, and
                    // a name may be there only once.
                    if let Some(name) =
                        ["option", "score"].iter().find(|name| option.attributes.contains_key(**name))
                    {
                        return Err(check.problem(format!("{field}.{name}"), FieldProblem::OwnField));
                    }
                }
                check.items("chosen_options", e.chosen_options.len())?;
                if e.chosen_option.is_some() && !e.chosen_options.is_empty() {
                    return Err(check.problem("chosen_option", FieldProblem::Excludes("chosen_options")));
                }
                check.fraction("confidence", e.confidence)?;
                check.delegations("on_behalf_of", &e.on_behalf_of)?;
                check.attributes("attributes", &e.attributes)
            }
            Event::FindingRaised(e) => {
                if !e.finding.is_absent() {
                    check.id("finding", e.finding.check())?;
                }
                if let Some(step) = &e.step {
                    check.id("step", step.check())?;
                }
                check.fraction("confidence", e.confidence)?;
                check.json("evidence", e.evidence.as_ref())?;
                check.attributes("attributes", &e.attributes)
            }
            Event::FindingUpdated(e) => {
                check.id("finding", e.finding.check())?;
                check.attributes("attributes", &e.attributes)
            }
            Event::ReviewRecorded(e) => {
                if !e.review.is_absent() {
                    check.id("review", e.review.check())?;
                }
                check.filled("actor", &e.actor)?;
                // Without `subject_id`, the review of a session is about the event's session.
                if e.subject_id.is_none() && e.subject_kind != SubjectKind::Session {
                    return Err(check.problem("subject_id", FieldProblem::Missing));
                }
                check.filled_items("evidence_seen", &e.evidence_seen)?;
                check.time("expires_at", e.expires_at)?;
                check.attributes("attributes", &e.attributes)
            }
            Event::ArtifactAttached(e) => {
                if let Some(step) = &e.step {
                    check.id("step", step.check())?;
                }
                check.count("position", e.position)?;
                check.count("size", e.size)?;
                check.attributes("attributes", &e.attributes)
            }
            Event::MetricRecorded(e) => {
                check.filled("name", &e.name)?;
                check.finite("value", Some(e.value))?;
                check.items("labels", e.labels.len())?;
                check.attributes("attributes", &e.attributes)
            }
            Event::NoteLogged(e) => {
                if let Some(step) = &e.step {
                    check.id("step", step.check())?;
                }
                check.json("data", e.data.as_ref())?;
                check.attributes("attributes", &e.attributes)
            }
            Event::ActionRecorded(e) => {
                check.filled("actor.id", &e.actor.id)?;
                check.filled("action", &e.action)?;
                if let Some(changes) = &e.changes {
                    check.json("changes.before", changes.before.as_ref())?;
                    check.json("changes.after", changes.after.as_ref())?;
                }
                check.delegations("on_behalf_of", &e.on_behalf_of)?;
                check.attributes("attributes", &e.attributes)
            }
            Event::OtelSpan(e) => {
                check.object("span", &e.span)?;
                check.objects([("resource", e.resource.as_ref()), ("scope", e.scope.as_ref())])?;
                check.attributes("attributes", &e.attributes)
            }
            Event::OtelLog(e) => {
                check.object("log_record", &e.log_record)?;
                check.objects([("resource", e.resource.as_ref()), ("scope", e.scope.as_ref())])?;
                check.attributes("attributes", &e.attributes)
            }
            Event::PolicyDecided(e) => e.check(check),
            Event::CoverageDeclared(e) => e.check(check),
            Event::Custom(e) => {
                check.filled("name", &e.name)?;
                check.json("data", e.data.as_ref())?;
                check.attributes("attributes", &e.attributes)
            }
            Event::LogCreated(_) | Event::EventsLost(_) | Event::KeyChanged(_) | Event::ApiKeyRevoked(_) => {
                Ok(())
            }
            Event::ProjectionSkipped(e) => {
                check.not_blank("actor", &e.actor)?;
                check.not_blank("reason", &e.reason)
            }
            Event::ApiKeyCreated(e) => check.items("scopes", e.scopes.len()),
            Event::PayloadRedacted(e) => {
                check.not_blank("actor", &e.actor)?;
                check.not_blank("reason", &e.reason)?;
                check.items("seqs", e.seqs.len())
            }
        }
    }
}

impl PolicyDecided {
    fn check(&self, check: &Checker) -> Checked {
        check.filled("policy", &self.policy)?;
        if let Some(step) = &self.step {
            check.id("step", step.check())?;
        }
        // An id alone names nothing, and of the kinds only the event's session needs no id.
        match (self.subject_kind, &self.subject_id) {
            (None, Some(_)) => Err(check.problem("subject_kind", FieldProblem::Missing)),
            (Some(kind), None) if kind != SubjectKind::Session => {
                Err(check.problem("subject_id", FieldProblem::Missing))
            }
            _ => Ok(()),
        }?;
        check.json("input", self.input.as_ref())?;
        check.attributes("attributes", &self.attributes)
    }
}

impl CoverageDeclared {
    fn check(&self, check: &Checker) -> Checked {
        check.filled("source", &self.source)?;
        if let Some(instance) = &self.instance {
            check.filled("instance", instance)?;
        }
        check.filled_items("records", &self.records)?;
        check.filled_items("omits", &self.omits)?;
        check.items("announced", self.announced.len())?;
        for (name, count) in &self.announced {
            let field = format!("announced.{name}");
            // A misspelled name would announce events that nobody can record.
            if !name.parse().is_ok_and(|kind: Kind| !kind.is_reserved()) {
                return Err(check.problem(field, FieldProblem::NotAKind));
            }
            check.at_most(&field, Some(*count), ANNOUNCED_MAX)?;
        }
        check.attributes("attributes", &self.attributes)
    }
}
