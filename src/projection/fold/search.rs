//! The fold of the projection `search`: the texts of each event that people would search.

use crate::event::{Attributes, Event, Json, Recorded};
use crate::otel::{Meaning, Meanings};

use crate::projection::fold::cell::stored;
use crate::projection::fold::input::Input;
use crate::projection::fold::rows::DocumentRow;
use crate::projection::fold::sessions::subject;
use crate::projection::fold::working_set::{Document, WorkingSet};

/// Longest word, in bytes. FTS5 cuts words at twice as many bytes, even within a character. It also folds
/// case, which at most doubles the bytes of a letter. So no word of a document is ever cut.
const WORD_BYTES_MAX: usize = 16 << 10;

/// Folds one event by its meanings.
pub(in crate::projection) fn fold(rows: &mut WorkingSet, &Input { event, meanings, .. }: &Input<'_>) {
    let Some(text) = text_of_meanings(meanings) else { return };
    let row = DocumentRow {
        seq: event.seq.to_sql(),
        session_id: event.session.as_ref().map(ToString::to_string),
        kind: event.kind_name(),
        subject_id: meanings.first().and_then(|meaning| subject(&meaning.event)),
    };
    rows.single.documents.push(Document { row, text });
}

/// The text by whose words an event is found. None if the event has no text.
pub(crate) fn text_of(event: &Recorded) -> Option<String> {
    text_of_meanings(Meanings::of(event).all())
}

fn text_of_meanings(meanings: &[Meaning<'_>]) -> Option<String> {
    let mut text = Text::default();
    for meaning in meanings {
        // A span gives its session the same texts as its step, so they are taken only once. The session alone has the
        // attributes of the resource.
        text = match &*meaning.event {
            Event::SessionStarted(e) if meaning.precedence.is_some() => {
                text.add(&Text::default().attributes(&e.attributes))
            }
            Event::SessionEnded(_) if meaning.precedence.is_some() => text,
            event => text.add(&self::text(event)),
        };
    }
    (!text.0.is_empty()).then(|| with_short_words(stored(&text.0).into_owned()))
}

/// A text with a line break within each word that is too long.
fn with_short_words(text: String) -> String {
    // A character that is not ASCII may be a letter, so it counts as part of a word. The tokenizer may see shorter
    // words, and never longer ones.
    let ends_word = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric();
    let is_too_long = |word: &str| word.len() > WORD_BYTES_MAX;
    if !text.split(ends_word).any(is_too_long) {
        return text;
    }
    let mut short = String::with_capacity(text.len() + text.len() / WORD_BYTES_MAX);
    let mut bytes = 0;
    for c in text.chars() {
        bytes = if ends_word(c) { 0 } else { bytes + c.len_utf8() };
        if bytes > WORD_BYTES_MAX {
            short.push('\n');
            bytes = c.len_utf8();
        }
        short.push(c);
    }
    short
}

/// Texts, one in each line.
#[derive(Default)]
struct Text(String);

impl Text {
    fn add(mut self, text: &str) -> Text {
        if !text.is_empty() {
            if !self.0.is_empty() {
                self.0.push('\n');
            }
            self.0.push_str(text);
        }
        self
    }

    fn opt(self, text: &Option<String>) -> Text {
        match text {
            Some(text) => self.add(text),
            None => self,
        }
    }

    fn json(self, json: &Option<Json>) -> Text {
        match json {
            Some(json) => self.add(json.as_str()),
            None => self,
        }
    }

    fn attributes(mut self, attributes: &Attributes) -> String {
        for (name, value) in attributes {
            self = self.add(&format!("{name}: {value}"));
        }
        self.0
    }
}

fn text(event: &Event) -> String {
    let text = Text::default();
    match event {
        Event::SessionStarted(e) => {
            let text = text.opt(&e.profile).opt(&e.agent).opt(&e.model).opt(&e.source).opt(&e.input);
            e.labels
                .iter()
                .fold(text, |text, (name, value)| text.add(name).add(value))
                .attributes(&e.attributes)
        }
        Event::SessionUpdated(e) => text.opt(&e.message).attributes(&e.attributes),
        Event::SessionEnded(e) => text.opt(&e.summary).opt(&e.error).attributes(&e.attributes),
        Event::StepStarted(e) => {
            text.opt(&e.module).opt(&e.model).opt(&e.input_summary).opt(&e.input).attributes(&e.attributes)
        }
        Event::StepEnded(e) => {
            text.opt(&e.output_summary).opt(&e.output).opt(&e.error).attributes(&e.attributes)
        }
        Event::DecisionMade(e) => {
            let text = text.opt(&e.decision_type).opt(&e.rationale).opt(&e.chosen_option).opt(&e.actor);
            let text = e.chosen_options.iter().fold(text, |text, chosen| text.add(chosen));
            let text = e.options_considered.iter().fold(text, |text, option| {
                let text = text.add(&option.option);
                option
                    .attributes
                    .iter()
                    .fold(text, |text, (name, value)| text.add(&format!("{name}: {value}")))
            });
            text.attributes(&e.attributes)
        }
        Event::FindingRaised(e) => text
            .opt(&e.category)
            .opt(&e.pattern_type)
            .opt(&e.title)
            .opt(&e.description)
            .opt(&e.plain_english)
            .opt(&e.suggestion)
            .opt(&e.legal_source)
            .opt(&e.scope)
            .json(&e.evidence)
            .attributes(&e.attributes),
        Event::FindingUpdated(e) => {
            let correction = e.correction.clone().unwrap_or_default();
            text.opt(&e.actor)
                .opt(&e.reason)
                .opt(&correction.original)
                .opt(&correction.corrected)
                .opt(&correction.strategy)
                .attributes(&e.attributes)
        }
        Event::ReviewRecorded(e) => {
            let text = text.add(&e.actor).opt(&e.reason).opt(&e.role).opt(&e.authority);
            e.evidence_seen.iter().fold(text, |text, seen| text.add(seen)).attributes(&e.attributes)
        }
        Event::ArtifactAttached(e) => text.opt(&e.label).opt(&e.media_type).attributes(&e.attributes),
        Event::MetricRecorded(e) => {
            let text = text.add(&e.name);
            e.labels
                .iter()
                .fold(text, |text, (name, value)| text.add(name).add(value))
                .attributes(&e.attributes)
        }
        Event::NoteLogged(e) => text.add(&e.message).json(&e.data).attributes(&e.attributes),
        Event::ActionRecorded(e) => {
            let changes = e.changes.clone().unwrap_or_default();
            text.add(&e.actor.id)
                .add(&e.action)
                .opt(&e.entity_type)
                .opt(&e.entity_id)
                .opt(&e.reason)
                .json(&changes.before)
                .json(&changes.after)
                .attributes(&e.attributes)
        }
        Event::OtelSpan(e) => text.add(e.span.as_str()).attributes(&e.attributes),
        Event::OtelLog(e) => text.add(e.log_record.as_str()).attributes(&e.attributes),
        Event::PolicyDecided(e) => text
            .add(&e.policy)
            .opt(&e.rule)
            .opt(&e.reason)
            .opt(&e.actor)
            .json(&e.input)
            .attributes(&e.attributes),
        Event::CoverageDeclared(e) => {
            let text = text.add(&e.source).opt(&e.instance);
            let said = e.records.iter().chain(&e.omits);
            said.fold(text, |text, said| text.add(said)).attributes(&e.attributes)
        }
        Event::Custom(e) => text.add(&e.name).json(&e.data).attributes(&e.attributes),
        Event::LogCreated(e) => text.add(&e.origin).0,
        Event::EventsLost(e) => text.add(&e.reason).0,
        Event::PayloadRedacted(e) => text.add(&e.actor).add(&e.reason).opt(&e.authority).0,
        Event::ProjectionSkipped(e) => text.add(&e.projection).add(&e.actor).add(&e.reason).0,
        Event::KeyChanged(e) => text.add(&e.vkey).add(&e.actor).opt(&e.reason).0,
        Event::ApiKeyCreated(e) => text.add(&e.name).add(&e.actor).opt(&e.reason).0,
        Event::ApiKeyRevoked(e) => text.add(&e.key.to_string()).add(&e.actor).opt(&e.reason).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_the_index_would_cut_are_broken_at_a_character() {
        let broken =
            with_short_words(format!("a {}, {}", "ä".repeat(WORD_BYTES_MAX), "b".repeat(WORD_BYTES_MAX)));
        let words: Vec<usize> =
            broken.split([' ', ',', '\n']).map(str::len).filter(|bytes| *bytes > 0).collect();
        assert_eq!(words, [1, WORD_BYTES_MAX, WORD_BYTES_MAX, WORD_BYTES_MAX]);
        assert_eq!(broken.matches('\n').count(), 1);
        assert_eq!(with_short_words("short words\nof 日本".to_owned()), "short words\nof 日本");
    }
}
