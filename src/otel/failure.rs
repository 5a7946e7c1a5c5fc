//! Failures, as a span or a log record reports them.

use std::borrow::Cow;

use super::conventions::{self, Field, Happening};
use super::node::{Node, write_text};
use super::precedence::{Meaning, Precedence};
use super::record::{self, Any, Span, SpanStatus};
use super::said::Said;
use crate::event::{Event, FindingId, FindingRaised, Json, Severity, StepId, Timestamp};

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

/// Classes of exceptions by which languages and libraries stop work: Python's asyncio and generators, JavaScript's
/// AbortController, .NET, gRPC, Go.
const CANCELLATIONS: [&str; 12] = [
    "CancelledError",
    "GeneratorExit",
    "KeyboardInterrupt",
    "AbortError",
    "CanceledError",
    "ResponseAborted",
    "OperationCanceledException",
    "TaskCanceledException",
    "CancellationException",
    "cancelled",
    "canceled",
    "context canceled",
];

/// Splits the stack trace off a message. Some programs send both as the message, or as the span's status.
fn split_trace(text: String) -> (String, Option<String>) {
    const BEGINNINGS: [&str; 2] = ["\nTraceback (most recent call last):", "\n    at "];
    let Some(trace) = BEGINNINGS.iter().filter_map(|beginning| text.find(beginning)).min() else {
        return (text, None);
    };
    let (before, after) = text.split_at(trace);
    // JavaScript repeats the message above the lines of the trace, after an empty line.
    let (message, repeated) = before.split_once("\n\n").unwrap_or((before, ""));
    if message.trim().is_empty() {
        return (text, None);
    }
    (message.trim_end().to_owned(), Some(format!("{repeated}{after}").trim_start_matches('\n').to_owned()))
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
            if place.is_none() && !text.trim().is_empty() {
                *place = Some(text);
            }
        }
        // A stack trace alone does not name a failure.
        if class.is_none() && message.is_none() {
            return None;
        }
        let (message, trace) = message.map(split_trace).unzip();
        let stacktrace = stacktrace.or(trace.flatten());
        // Medium, because the span may have handled it. If the span itself failed, `failure` makes a failure
        // of high severity.
        Some(StepFailure { class, message, stacktrace, at, severity: Severity::Medium })
    }

    /// Returns true if the work was stopped, and did not go wrong: by its class, or by the name of the class in a
    /// message without one.
    pub(super) fn is_cancellation(&self) -> bool {
        let name = self.class.as_deref().or(self.message.as_deref()).unwrap_or_default();
        // Without the module, and without the arguments that Python shows after the name.
        let name = name.split(['(', ':']).next().unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default().trim();
        CANCELLATIONS.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Returns whether its texts have all of a message.
    pub(super) fn has(&self, message: &str) -> bool {
        let (start, trace) = split_trace(message.to_owned());
        let texts = [&self.class, &self.message, &self.stacktrace];
        let is_in =
            |part: &str| texts.iter().any(|text| text.as_deref().is_some_and(|text| text.contains(part)));
        is_in(&start) && trace.is_none_or(|trace| is_in(&trace))
    }

    /// Returns true if it has the value of an attribute of its exception.
    fn has_attribute(&self, name: &str, value: &str) -> bool {
        match name {
            "exception.type" | "error.type" => value.is_empty() || self.class.as_deref() == Some(value),
            "exception.message" => self.has(value),
            "exception.stacktrace" => value.is_empty() || self.stacktrace.as_deref() == Some(value),
            _ => false,
        }
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
        let (category, severity) = match self.is_cancellation() {
            true => ("cancellation", Severity::Info),
            false => ("error", self.severity),
        };
        let raised = FindingRaised {
            finding,
            step,
            category: Some(category.to_owned()),
            pattern_type: self.class.clone(),
            severity: Some(severity),
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

/// The attributes of the exception that a span ended with, except those that its failure has.
pub(super) fn rest_of_exception<'n>(event: &'n Node<'n>) -> impl Iterator<Item = (&'n str, Any<'n>)> {
    let failure = exception(event);
    let is_in = move |name: &str, value: Any<'_>| {
        failure.as_ref().is_some_and(|failure| failure.has_attribute(name, &value.shown()))
    };
    record::attributes(event).filter(move |(name, value)| !is_in(name, *value))
}

/// Returns whether a span failed. An error type, or an error level, without an error status is a failure too, unless
/// the status is explicitly Ok.
pub(super) fn has_failed(span: &Span<'_>, said: &Said<'_>) -> bool {
    let is_error_level =
        || said.see_text(Field::Level).is_some_and(|level| level.eq_ignore_ascii_case("error"));
    match span.status {
        SpanStatus::Error => true,
        SpanStatus::Ok => false,
        SpanStatus::Unset => said.see_text(Field::ErrorType).is_some() || is_error_level(),
    }
}

/// The failure of a span that failed, or that saw an exception. The status, `error.type` and the last
/// exception of a span make one failure.
pub(super) fn failure(span: &Span<'_>, said: &Said<'_>) -> Option<StepFailure> {
    let exception = exception_event(span).and_then(exception);
    let class = said.see_text(Field::ErrorType);
    if !has_failed(span, said) {
        return exception;
    }
    // The exception is more exact than the status: each of its texts comes first.
    let (own_class, message, stacktrace, at) = match exception {
        Some(exception) => (exception.class, exception.message, exception.stacktrace, exception.at),
        None => (None, None, None, None),
    };
    let stated = span.status_message.map(str::to_owned).or_else(|| said.see_text(Field::ErrorMessage));
    let (stated, trace) = stated.map(split_trace).unzip();
    Some(StepFailure {
        class: own_class.or(class),
        message: message.or(stated),
        stacktrace: stacktrace.or(trace.flatten()),
        at: at.or_else(|| record::time(span.ended.or(span.started))),
        severity: Severity::High,
    })
}
