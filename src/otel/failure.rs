//! Failures, as a span or a log record reports them.

use std::borrow::Cow;

use super::conventions::{self, Field, Happening};
use super::node::{Node, write_text};
use super::precedence::{Meaning, Precedence};
use super::record::{self, Any, Span, SpanStatus};
use super::said::Said;
use crate::event::{Event, FindingId, FindingRaised, Json, Severity, StepId, Timestamp};

/// The attributes of an exception that a failure has.
pub(super) const EXCEPTION_ATTRIBUTES: [&str; 4] =
    ["exception.type", "error.type", "exception.message", "exception.stacktrace"];

/// The id of the finding about the error of a step. A span and its log records report the same error, so it is one
/// finding a step.
pub(crate) fn error_finding_id(step: &str) -> String {
    format!("{step}:error")
}

/// A failure, as text for a step and as a finding.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StepFailure {
    /// Class of the error or exception.
    class: Option<String>,
    message: Option<String>,
    stacktrace: Option<String>,
    at: Option<Timestamp>,
    severity: Severity,
}

impl StepFailure {
    pub(super) fn new(
        class: Option<String>,
        message: Option<String>,
        at: Option<Timestamp>,
        severity: Severity,
    ) -> StepFailure {
        StepFailure { class, message, stacktrace: None, at, severity }
    }

    /// Reads a failure from the attributes of an `exception` event, or of a log record of an exception.
    pub(super) fn of_exception<'n>(
        attributes: impl Iterator<Item = (&'n str, Any<'n>)>,
        at: Option<Timestamp>,
    ) -> Option<StepFailure> {
        let (mut class, mut message, mut stacktrace) = (None, None, None);
        for (name, value) in attributes {
            let place = match name {
                "exception.type" | "error.type" => &mut class,
                "exception.message" => &mut message,
                "exception.stacktrace" => &mut stacktrace,
                _ => continue,
            };
            let text = value.shown().into_owned();
            // Of several attributes with the same meaning, the first with a text counts.
            if place.is_none() && !text.is_empty() {
                *place = Some(text);
            }
        }
        // A stack trace alone does not name a failure.
        if class.is_none() && message.is_none() {
            return None;
        }
        // Medium, because the span may have handled it. If the span itself failed, `failure` makes a failure
        // of high severity.
        Some(StepFailure { class, message, stacktrace, at, severity: Severity::Medium })
    }

    /// The class and the message, as one text.
    pub(super) fn text(&self) -> Option<String> {
        match (&self.class, &self.message) {
            // Many programs repeat the class in the message.
            (Some(class), Some(message)) if message.contains(class.as_str()) => Some(message.clone()),
            (Some(class), Some(message)) => Some(format!("{class}: {message}")),
            (class, message) => message.clone().or_else(|| class.clone()),
        }
    }

    pub(super) fn raise(
        self,
        step: Option<StepId>,
        precedence: Precedence,
        meanings: &mut Vec<Meaning<'static>>,
    ) {
        // Without a step, each record reports an error of its own.
        let id = match &step {
            Some(step) => error_finding_id(step.as_str()),
            None => format!("error:{:016x}", precedence.speaker),
        };
        let Ok(finding) = FindingId::new(id) else { return };
        let raised = FindingRaised {
            finding,
            step,
            category: Some("error".to_owned()),
            pattern_type: self.class.clone(),
            severity: Some(self.severity),
            title: self.class.clone().or_else(|| self.message.clone()).or_else(|| Some("failed".to_owned())),
            description: self.message.clone(),
            evidence: self.stacktrace.as_ref().map(|stacktrace| {
                let mut json = String::from("{\"stacktrace\":");
                write_text(stacktrace, &mut json);
                json.push('}');
                Json::written(json)
            }),
            ..FindingRaised::default()
        };
        meanings.push(Meaning {
            precedence: Some(precedence),
            at: self.at,
            event: Cow::Owned(Event::FindingRaised(raised)),
        });
    }
}

/// The event with the exception that a span ended with.
pub(super) fn exception_event<'n>(span: &Span<'n>) -> Option<&'n Node<'n>> {
    // From the end: of several exceptions the last one counts.
    span.events()
        .iter()
        .rev()
        .filter(|event| event.text_of("name").and_then(conventions::happening) == Some(Happening::Exception))
        .find(|event| exception(event).is_some())
}

fn exception(event: &Node<'_>) -> Option<StepFailure> {
    let at = record::time(record::nanos(event, "timeUnixNano"));
    StepFailure::of_exception(record::attributes(event), at)
}

/// The failure of a span that failed, or that saw an exception. The status, `error.type` and the last
/// exception of a span make one failure.
pub(super) fn failure(span: &Span<'_>, said: &Said<'_>) -> Option<StepFailure> {
    let exception = exception_event(span).and_then(exception);
    let class = said.see_text(Field::ErrorType);
    // An error type without an error status is a failure too, unless the status is explicitly Ok.
    let has_failed = span.status == SpanStatus::Error || class.is_some() && span.status != SpanStatus::Ok;
    if !has_failed {
        return exception;
    }
    // The exception is more exact than the status: each of its texts comes first.
    let (own_class, message, stacktrace, at) = match exception {
        Some(exception) => (exception.class, exception.message, exception.stacktrace, exception.at),
        None => (None, None, None, None),
    };
    Some(StepFailure {
        class: own_class.or(class),
        message: message
            .or_else(|| span.status_message.map(str::to_owned))
            .or_else(|| said.see_text(Field::ErrorMessage)),
        stacktrace,
        at: at.or_else(|| record::time(span.ended.or(span.started))),
        severity: Severity::High,
    })
}
