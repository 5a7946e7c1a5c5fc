//! The names of spans' events and of log records, and the labels of evaluations.

use crate::event::Outcome;

/// The meaning of a span's event, or of a log record, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::otel) enum Happening {
    /// Messages of a call of a model, as attributes.
    Details,
    /// One message of the input, from a user.
    UserMessage,
    /// One message of the input, not from a user.
    OtherMessage(&'static str),
    /// One answer.
    Choice,
    /// The result of an evaluation.
    Evaluation,
    /// An exception.
    Exception,
}

/// Events of spans, and log records, by their name.
pub(in crate::otel) static EVENTS: &[(&str, Happening, &str)] = &[
    ("gen_ai.client.inference.operation.details", Happening::Details, "step `input` and `output`, decisions"),
    ("gen_ai.content.prompt", Happening::Details, "step `input`"),
    ("gen_ai.content.completion", Happening::Details, "step `output`, decisions"),
    ("gen_ai.user.message", Happening::UserMessage, "step `input`"),
    ("gen_ai.system.message", Happening::OtherMessage("system"), "a note"),
    ("gen_ai.assistant.message", Happening::OtherMessage("assistant"), "a note"),
    ("gen_ai.tool.message", Happening::OtherMessage("tool"), "a note"),
    ("gen_ai.choice", Happening::Choice, "step `output`, decisions"),
    ("gen_ai.evaluation.result", Happening::Evaluation, "a finding"),
    ("exception", Happening::Exception, "step `error`, a finding"),
    ("gen_ai.client.operation.exception", Happening::Exception, "step `error`, a finding"),
];

/// Labels of evaluations whose outcome is plain from the word. A score gives no outcome: its range and
/// direction are the evaluator's own.
pub(in crate::otel) static OUTCOMES: &[(Outcome, &[&str])] = &[
    (
        Outcome::Pass,
        &[
            "pass",
            "passed",
            "true",
            "yes",
            "ok",
            "success",
            "correct",
            "relevant",
            "faithful",
            "grounded",
            "factual",
            "safe",
            "valid",
            "compliant",
            "non-toxic",
            "not_toxic",
            "unharmful",
            "allowed",
        ],
    ),
    (
        Outcome::Fail,
        &[
            "fail",
            "failed",
            "false",
            "no",
            "failure",
            "incorrect",
            "irrelevant",
            "not_relevant",
            "not relevant",
            "unfaithful",
            "ungrounded",
            "hallucinated",
            "hallucination",
            "unsafe",
            "invalid",
            "non_compliant",
            "toxic",
            "harmful",
            "blocked",
        ],
    ),
    (Outcome::Skip, &["skip", "skipped", "not_applicable", "n/a"]),
    (Outcome::Warning, &["warning", "warn", "partial", "partially_correct"]),
    (Outcome::Error, &["error"]),
];

pub(in crate::otel) fn happening(name: &str) -> Option<Happening> {
    EVENTS.iter().find(|(own, ..)| *own == name).map(|(_, happening, _)| *happening)
}

/// The outcome that a label states by one of the words of [`OUTCOMES`].
pub(crate) fn outcome(label: &str) -> Option<Outcome> {
    let label = label.trim();
    OUTCOMES
        .iter()
        .find(|(_, words)| words.iter().any(|word| word.eq_ignore_ascii_case(label)))
        .map(|(outcome, _)| *outcome)
}
