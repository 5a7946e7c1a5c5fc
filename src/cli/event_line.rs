//! An event in a line, for people.

use crate::otel::Meanings;
use crate::{Content, Event, NoteLogged, Recorded};

use super::out::{BOLD, DIM, Out};
use super::text;

/// Characters of an event's content that a line shows.
const SAID_CHARS: usize = 200;

/// An event in a line. `when` is its time in the caller's words.
pub(super) fn line(event: &Recorded, when: &str, session: Option<&str>, out: &Out) -> String {
    let mut line = out.paint(DIM, &format!("{} {when}", event.seq));
    line += &format!("  {}", out.paint(BOLD, &text::line(&event.kind_name())));
    if let Some(session) = session {
        line += &format!("  {}", text::id(session));
    }
    let said = match &event.content {
        Content::Event(Event::OtelSpan(_) | Event::OtelLog(_)) => meant(event),
        Content::Event(event) => said(event),
        Content::Redacted => Some("(erased)".to_owned()),
        _ => Some("(of a kind that this version does not know)".to_owned()),
    };
    if let Some(said) = said {
        // Cut before it is cleaned: a text may have megabytes, and a line shows its beginning.
        let start: String = said.chars().take(4 * SAID_CHARS).collect();
        line += &format!("  {}", text::shortened(&text::line(&start), SAID_CHARS));
    }
    line
}

/// A summary of a span or log record: the step of a span with its outcome, or the note of a log record.
fn meant(event: &Recorded) -> Option<String> {
    let meanings = Meanings::of(event);
    let (mut step, mut end) = (None, None);
    for meaning in meanings.all() {
        match meaning.event.as_ref() {
            Event::NoteLogged(note) => return named_note(note),
            Event::StepStarted(started) => step = Some(started),
            Event::StepEnded(ended) => end = Some(ended),
            _ => {}
        }
    }
    let step = step?;
    // The most telling text: the error, else the output; of a step that still runs, the input.
    let what = end.map_or(step.input.as_deref(), |end| end.error.as_deref().or(end.output.as_deref()));
    joined(&[
        Some(step.module.as_deref().unwrap_or(&text::id(step.step.as_str()))),
        step.kind.map(|kind| kind.as_str()),
        step.model.as_deref(),
        end.map(|end| end.status.as_str()),
        what,
    ])
}

/// A log record's note after the name of its event.
fn named_note(note: &NoteLogged) -> Option<String> {
    let name = note.attributes.get("event.name");
    let name: Option<String> = name.and_then(|name| serde_json::from_str(name.as_str()).ok());
    // A message that repeats the event's name is left out.
    let message = Some(note.message.as_str()).filter(|message| name.as_deref() != Some(*message));
    joined(&[note.level.as_deref(), name.as_deref(), message])
}

fn joined(parts: &[Option<&str>]) -> Option<String> {
    let parts: Vec<&str> = parts.iter().flatten().copied().collect();
    if parts.is_empty() { None } else { Some(parts.join("  ")) }
}

/// A summary of an event.
fn said(event: &Event) -> Option<String> {
    match event {
        Event::LogCreated(e) => Some(e.origin.clone()),
        Event::SessionStarted(e) => joined(&[e.profile.as_deref(), e.input.as_deref()]),
        Event::SessionUpdated(e) => joined(&[e.status.map(|status| status.as_str()), e.message.as_deref()]),
        Event::SessionEnded(e) => {
            joined(&[Some(e.status.as_str()), e.error.as_deref().or(e.summary.as_deref())])
        }
        Event::StepStarted(e) => joined(&[
            Some(&text::id(e.step.as_str())),
            e.module.as_deref(),
            e.input_summary.as_deref().or(e.input.as_deref()),
        ]),
        Event::StepEnded(e) => {
            let output = e.output_summary.as_deref().or(e.output.as_deref());
            joined(&[
                Some(&text::id(e.step.as_str())),
                Some(e.status.as_str()),
                e.error.as_deref().or(output),
            ])
        }
        Event::DecisionMade(e) => {
            joined(&[e.decision_type.as_deref(), e.chosen_option.as_deref(), e.rationale.as_deref()])
        }
        Event::FindingRaised(e) => {
            let what = e.title.as_deref().or(e.description.as_deref()).or(e.plain_english.as_deref());
            joined(&[e.severity.map(|severity| severity.as_str()), e.category.as_deref(), what])
        }
        Event::FindingUpdated(e) => joined(&[
            Some(&text::id(e.finding.as_str())),
            e.status.map(|status| status.as_str()),
            e.actor.as_deref(),
            e.reason.as_deref(),
        ]),
        Event::ReviewRecorded(e) => {
            joined(&[Some(e.verdict.as_str()), Some(&e.actor), e.subject_id.as_deref(), e.reason.as_deref()])
        }
        Event::ArtifactAttached(e) => joined(&[e.label.as_deref(), e.media_type.as_deref()]),
        Event::MetricRecorded(e) => {
            Some(format!("{} {} {}", e.name, e.value, e.unit.as_deref().unwrap_or_default()))
        }
        Event::NoteLogged(e) => joined(&[e.level.as_deref(), Some(&e.message)]),
        Event::ActionRecorded(e) => joined(&[
            Some(&e.actor.id),
            Some(&e.action),
            e.entity_type.as_deref(),
            e.entity_id.as_deref(),
            e.outcome.map(|outcome| outcome.as_str()),
        ]),
        Event::PolicyDecided(e) => joined(&[
            Some(e.effect.as_str()),
            Some(&e.policy),
            e.rule.as_deref(),
            e.subject_id.as_deref(),
            e.reason.as_deref(),
        ]),
        Event::CoverageDeclared(e) => {
            let count = e.announced.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
            let announced = (count > 0).then(|| format!("announces {count} events"));
            let omits = (!e.omits.is_empty()).then(|| format!("omits {}", e.omits.join(", ")));
            joined(&[Some(&e.source), announced.as_deref(), omits.as_deref()])
        }
        Event::Custom(e) => joined(&[Some(&e.name), e.data.as_ref().map(|data| data.as_str())]),
        Event::EventsLost(e) => Some(format!("{} events lost: {}", e.count, e.reason)),
        Event::PayloadRedacted(e) => Some(format!("{:?} erased by {}: {}", e.seqs, e.actor, e.reason)),
        Event::KeyChanged(e) => {
            joined(&[Some(e.role.as_str()), Some(e.cause.as_str()), Some(&e.vkey), e.reason.as_deref()])
        }
        Event::ApiKeyCreated(e) => {
            let scopes: Vec<&str> = e.scopes.iter().map(|scope| scope.as_str()).collect();
            joined(&[Some(&e.name), Some(&scopes.join(",")), Some(&e.actor), e.reason.as_deref()])
        }
        Event::ApiKeyRevoked(e) => joined(&[Some(&e.key.to_string()), Some(&e.actor), e.reason.as_deref()]),
        Event::ProjectionSkipped(e) => {
            Some(format!("{} goes on without event {}: {}", e.projection, e.seq, e.reason))
        }
        _ => None,
    }
}
