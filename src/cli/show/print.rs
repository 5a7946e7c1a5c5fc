//! A session for people: its summary, then its steps as a tree, each with the items that belong to it.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::Json;
use crate::query::Step;
use crate::query::{Artifact, Decision, Finding, FindingUpdate, Note, PolicyDecision, SessionRecord};

use crate::cli::out::{BOLD, DIM, Out, style_of};
use crate::cli::{text, time};

/// Characters of a shortened text.
const SHORT_CHARS: usize = 240;

/// Levels of indentation. Deeper steps are indented no further.
const INDENT_LEVELS_MAX: usize = 32;

/// The treatment of long texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    Shortened,
    Whole,
}

/// The items that belong to a step, or to none.
#[derive(Default)]
struct Parts<'a> {
    decisions: Vec<&'a Decision>,
    policy_decisions: Vec<&'a PolicyDecision>,
    findings: Vec<&'a Finding>,
    notes: Vec<&'a Note>,
    artifacts: Vec<&'a Artifact>,
}

pub(super) fn session(record: &SessionRecord, texts: Texts, out: &mut Out) -> io::Result<()> {
    let mut page = Page { out, texts, record };
    page.head()?;
    // Grouped once: a search for the items of each step would take time that grows with the square.
    let mut parts: HashMap<Option<&str>, Parts<'_>> = HashMap::new();
    // An item that names a step which never came belongs to none.
    let steps: HashSet<&str> = record.steps.iter().map(|step| step.id.as_str()).collect();
    let key = |step: &'_ Option<String>| step.as_deref().and_then(|step| steps.get(step).copied());
    for decision in &record.decisions {
        parts.entry(key(&decision.step_id)).or_default().decisions.push(decision);
    }
    for decision in &record.policy_decisions {
        parts.entry(key(&decision.step_id)).or_default().policy_decisions.push(decision);
    }
    for finding in &record.findings {
        parts.entry(key(&finding.step_id)).or_default().findings.push(finding);
    }
    for note in &record.notes {
        parts.entry(key(&note.step_id)).or_default().notes.push(note);
    }
    for artifact in &record.artifacts {
        parts.entry(key(&artifact.step_id)).or_default().artifacts.push(artifact);
    }
    for outlined in record.outline() {
        // Steps may be nested as deep as there are steps, so the indentation has a bound.
        let depth = outlined.depth.min(INDENT_LEVELS_MAX);
        page.step(outlined.step, depth)?;
        if let Some(parts) = parts.get(&Some(outlined.step.id.as_str())) {
            page.parts(parts, 2 * depth + 2)?;
        }
    }
    if let Some(parts) = parts.get(&None) {
        page.out.line("")?;
        page.parts(parts, 0)?;
    }
    page.tail()
}

pub(super) struct Page<'a> {
    pub(super) out: &'a mut Out,
    texts: Texts,
    pub(super) record: &'a SessionRecord,
}

impl Page<'_> {
    fn head(&mut self) -> io::Result<()> {
        let session = &self.record.session;
        let title = format!("session {}", text::id(&session.id));
        let status = self.out.paint(style_of(&session.status), &text::line(&session.status));
        let title = self.out.paint(BOLD, &title);
        self.out.line(&format!("{title}  {status}"))?;
        let begun = match (session.started_at, session.duration_us) {
            (Some(begun), Some(took)) => format!("{} UTC, took {}", time::shown(begun), time::duration(took)),
            (Some(begun), None) => format!("{} UTC", time::shown(begun)),
            (None, _) => format!("{} UTC (recorded)", time::shown(session.first_recorded_at)),
        };
        self.field("begun", Some(&begun))?;
        self.field("profile", session.profile.as_deref())?;
        self.field("conversation", session.conversation_id.as_deref())?;
        self.field("part of", session.parent_session_id.as_deref())?;
        let agent = [session.agent.as_deref(), session.agent_version.as_deref(), session.model.as_deref()];
        self.field("agent", joined(&agent, " ").as_deref())?;
        self.field("source", session.source.as_deref())?;
        self.field("tenant", session.tenant.as_deref())?;
        let progress = session.progress.map(|progress| format!("{:.0} %", 100.0 * progress));
        self.field("progress", joined(&[progress.as_deref(), session.message.as_deref()], " ").as_deref())?;
        let usage = [
            tokens(session.tokens_input, session.tokens_output),
            session.cost_usd.map(|cost| format!("${cost}")),
        ];
        let usage: Vec<_> = usage.iter().map(Option::as_deref).collect();
        self.field("used", joined(&usage, ", ").as_deref())?;
        self.field("risk", session.risk_level.as_deref())?;
        self.field("scores", session.scores.as_ref().map(Json::as_str))?;
        self.field("labels", session.labels.as_ref().map(Json::as_str))?;
        self.field("attributes", session.attributes.as_ref().map(Json::as_str))?;
        if session.redacted_count > 0 {
            self.field("erased", Some(&super::super::record::events(session.redacted_count.unsigned_abs())))?;
        }
        self.text(2, "input", session.input.as_deref())?;
        self.text(2, "summary", session.summary.as_deref())?;
        self.text(2, "error", session.error.as_deref())?;
        if !self.record.steps.is_empty() {
            self.out.line("")?;
        }
        Ok(())
    }

    fn field(&mut self, name: &str, value: Option<&str>) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        let name = self.out.paint(DIM, &format!("{name:<13}"));
        let value = text::line(value);
        let value = self.cut(&value).into_owned();
        self.out.line(&format!("  {name}{value}"))
    }

    pub(super) fn cut<'t>(&self, value: &'t str) -> std::borrow::Cow<'t, str> {
        match self.texts {
            Texts::Whole => value.into(),
            Texts::Shortened => text::shortened(value, SHORT_CHARS),
        }
    }

    /// A text under its name: whole with its line breaks, or shortened to some lines.
    pub(super) fn text(&mut self, indent: usize, name: &str, content: Option<&str>) -> io::Result<()> {
        let Some(content) = content.filter(|content| !content.is_empty()) else { return Ok(()) };
        let shown = match self.texts {
            Texts::Whole => text::block(content).into_owned(),
            // Much white space may stand before the first word, so more characters are read than are shown.
            Texts::Shortened => {
                let start: String = content.chars().take(4 * SHORT_CHARS).collect();
                let line = text::line(&start);
                let cut = text::shortened(&line, SHORT_CHARS);
                // Only the reading above cut the text, so the mark of a cut is still missing.
                if start.len() < content.len() && cut == line {
                    format!("{line}…")
                } else {
                    cut.into_owned()
                }
            }
        };
        let margin = " ".repeat(indent);
        let name = format!("{name:<9}");
        let (first, next) = (format!("{margin}{name}"), " ".repeat(indent + name.len()));
        let width = self.out.text_width().max(indent + name.len() + 20);
        let options = textwrap::Options::new(width).initial_indent(&first).subsequent_indent(&next);
        for (number, line) in textwrap::wrap(&shown, options).iter().enumerate() {
            // The name gets its colour after wrapping, because the codes of a colour would count as width.
            let line = match line.strip_prefix(&first) {
                Some(rest) if number == 0 => format!("{margin}{}{rest}", self.out.paint(DIM, &name)),
                _ => line.to_string(),
            };
            self.out.line(line.trim_end())?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, depth: usize) -> io::Result<()> {
        let indent = 2 * depth;
        let id = text::id(&step.id);
        let name = step.module.as_deref().unwrap_or(&id);
        let mut head = format!("{}{} ", " ".repeat(indent), self.out.paint(DIM, "•"));
        head += &self.out.paint(BOLD, &text::line(name));
        head += &format!("  {}", self.out.paint(style_of(&step.status), &text::line(&step.status)));
        let facts = [
            step.kind.clone(),
            step.model.clone(),
            step.duration_us.map(time::duration),
            step.confidence.map(|confidence| format!("confidence {confidence}")),
            tokens(step.tokens_input, step.tokens_output),
            token_parts(step),
            step.cost_usd.map(|cost| format!("${cost}")),
            step.basis.clone(),
            step.module.as_ref().map(|_| id.to_string()),
        ];
        for fact in facts.iter().flatten() {
            head += &format!("  {}", self.out.paint(DIM, &text::line(fact)));
        }
        self.out.line(&head)?;
        // Shortened texts show the producer's own summary, if there is one.
        let (input, output) = match self.texts {
            Texts::Whole => (step.input.as_ref(), step.output.as_ref()),
            Texts::Shortened => (
                own_summary(step.input_summary.as_ref(), step.input.as_deref()),
                own_summary(step.output_summary.as_ref(), step.output.as_deref()),
            ),
        };
        self.text(indent + 4, "in", input.or(step.input.as_ref()).map(String::as_str))?;
        self.text(indent + 4, "out", output.or(step.output.as_ref()).map(String::as_str))?;
        self.text(indent + 4, "error", step.error.as_deref())?;
        self.text(indent + 4, "more", step.attributes.as_ref().map(Json::as_str))?;
        self.reviews("step", &step.id, indent + 4)
    }

    fn parts(&mut self, parts: &Parts<'_>, indent: usize) -> io::Result<()> {
        parts.decisions.iter().try_for_each(|decision| self.decision(decision, indent))?;
        parts.policy_decisions.iter().try_for_each(|decision| self.policy_decision(decision, indent))?;
        parts.findings.iter().try_for_each(|finding| self.finding(finding, indent))?;
        for note in &parts.notes {
            self.text(indent + 2, note.level.as_deref().map_or("note", level), Some(&note.message))?;
        }
        for artifact in &parts.artifacts {
            let size = artifact.size.and_then(|size| u64::try_from(size).ok()).map(time::size);
            let facts = [
                artifact.label.as_deref(),
                artifact.media_type.as_deref(),
                size.as_deref(),
                Some(&artifact.id),
            ];
            self.text(indent + 2, "file", joined(&facts, "  ").as_deref())?;
        }
        Ok(())
    }

    fn decision(&mut self, decision: &Decision, indent: usize) -> io::Result<()> {
        let what = decision.decision_type.as_deref().unwrap_or("decision");
        let chosen = decision.chosen_option.as_deref().unwrap_or("nothing");
        let mut head = format!("{}{} ", " ".repeat(indent), self.out.paint(DIM, "◆"));
        head += &self.out.paint(BOLD, &text::line(what));
        head += &format!("  {}", self.cut(&text::line(chosen)));
        let facts = [
            decision.confidence.map(|confidence| format!("confidence {confidence}")),
            decision.actor.as_ref().map(|actor| format!("by {actor}")),
            decision.on_behalf_of.as_ref().and_then(on_behalf_of),
            decision.basis.clone(),
        ];
        for fact in facts.iter().flatten() {
            head += &format!("  {}", self.out.paint(DIM, &text::line(fact)));
        }
        self.out.line(&head)?;
        let options = decision.options_considered.as_ref().map(options);
        self.text(indent + 2, "options", options.as_deref())?;
        self.text(indent + 2, "because", decision.rationale.as_deref())?;
        self.text(indent + 2, "more", decision.attributes.as_ref().map(Json::as_str))?;
        self.reviews("decision", &decision.id, indent + 2)
    }

    fn finding(&mut self, finding: &Finding, indent: usize) -> io::Result<()> {
        let grave = finding.severity.as_deref().or(finding.outcome.as_deref()).unwrap_or("finding");
        let style = style_of(grave);
        let mut head = format!("{}{} ", " ".repeat(indent), self.out.paint(style, "▲"));
        head += &self.out.paint(style, &text::line(grave));
        head += &format!("  {}", self.cut(&text::line(&about(finding))));
        head += &format!("  {}", self.out.paint(DIM, &text::line(&finding.status)));
        self.out.line(&head)?;
        let description = finding.description.as_deref().or(finding.plain_english.as_deref());
        // A description that repeats the title is left out.
        let description = description.filter(|description| finding.title.as_deref() != Some(description));
        self.text(indent + 2, "", description)?;
        self.text(indent + 2, "law", finding.legal_source.as_deref())?;
        self.text(indent + 2, "remedy", finding.suggestion.as_deref())?;
        self.text(indent + 2, "more", finding.attributes.as_ref().map(Json::as_str))?;
        let updates: Vec<&FindingUpdate> =
            self.record.finding_updates.iter().filter(|update| update.finding_id == finding.id).collect();
        for update in updates {
            let by = update.actor.as_ref().map(|actor| format!("by {actor}"));
            let said = [Some(update.status.as_str()), by.as_deref(), update.reason.as_deref()];
            self.text(indent + 2, "update", joined(&said, ", ").as_deref())?;
        }
        self.reviews("finding", &finding.id, indent + 2)
    }

    /// Prints the items of the session as a whole.
    fn tail(&mut self) -> io::Result<()> {
        let id = self.record.session.id.clone();
        self.reviews("session", &id, 2)?;
        for action in &self.record.actions {
            let entity = [action.entity_type.as_deref(), action.entity_id.as_deref()];
            let entity = joined(&entity, " ");
            let behalf = action.on_behalf_of.as_ref().and_then(on_behalf_of);
            let said = [
                Some(action.actor_id.as_str()),
                Some(action.action.as_str()),
                entity.as_deref(),
                behalf.as_deref(),
                action.outcome.as_deref(),
                action.reason.as_deref(),
                action.basis.as_deref(),
            ];
            self.text(2, "action", joined(&said, " ").as_deref())?;
        }
        for metric in &self.record.metrics {
            let value = metric.value.to_string();
            let said = [Some(metric.name.as_str()), Some(value.as_str()), metric.unit.as_deref()];
            self.text(2, "metric", joined(&said, " ").as_deref())?;
        }
        self.coverage()
    }
}

/// A summary that is more than the text's beginning. A mere beginning does not show that it was cut; the text itself,
/// shortened, does.
fn own_summary<'s>(summary: Option<&'s String>, text: Option<&str>) -> Option<&'s String> {
    summary.filter(|summary| !text.is_some_and(|text| text.starts_with(summary.as_str())))
}

/// The subject of a finding. Titles often begin with the pattern, which is not repeated then.
fn about(finding: &Finding) -> String {
    let title = finding.title.as_deref();
    let says = |pattern: &str| {
        let rest = title.and_then(|title| title.strip_prefix(pattern));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    let pattern = finding.pattern_type.as_deref().filter(|pattern| !says(pattern));
    joined(&[finding.category.as_deref(), pattern, title], ": ").unwrap_or_default()
}

/// The levels of notes that fit the margin. All others become `note`.
fn level(level: &str) -> &str {
    match level {
        "debug" | "info" | "warning" | "error" => level,
        _ => "note",
    }
}

pub(super) fn joined(parts: &[Option<&str>], between: &str) -> Option<String> {
    let parts: Vec<&str> = parts.iter().flatten().copied().collect();
    if parts.is_empty() { None } else { Some(parts.join(between)) }
}

fn tokens(read: Option<i64>, written: Option<i64>) -> Option<String> {
    match (read, written) {
        (None, None) => None,
        (read, written) => {
            let shown = |count: Option<i64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
            Some(format!("{} → {} tokens", shown(read), shown(written)))
        }
    }
}

/// The parts of a step's tokens that have a price of their own.
fn token_parts(step: &Step) -> Option<String> {
    let part = |count: Option<i64>, what: &str| count.map(|count| format!("{count} {what}"));
    let parts = [
        part(step.tokens_cache_read, "from cache"),
        part(step.tokens_cache_write, "to cache"),
        part(step.tokens_reasoning, "reasoning"),
    ];
    joined(&parts.each_ref().map(Option::as_deref), ", ")
}

/// The options of a decision with their scores.
fn options(json: &Json) -> String {
    // Anything that is not a list is shown as it is.
    let Ok(serde_json::Value::Array(options)) = serde_json::from_str(json.as_str()) else {
        return json.as_str().to_owned();
    };
    let shown: Vec<String> = options
        .iter()
        .map(|option| {
            let name = option.get("option").and_then(serde_json::Value::as_str).map(str::to_owned);
            let name = name.unwrap_or_else(|| option.to_string());
            match option.get("score").and_then(serde_json::Value::as_f64) {
                Some(score) => format!("{name} ({score})"),
                None => name,
            }
        })
        .collect();
    shown.join(" | ")
}

/// The principals for whom somebody decided or acted, from the nearest outwards.
fn on_behalf_of(json: &Json) -> Option<String> {
    let chain: Vec<serde_json::Value> = serde_json::from_str(json.as_str()).ok()?;
    let shown = chain.iter().map(|principal| {
        let id = principal.pointer("/actor/id").and_then(serde_json::Value::as_str).unwrap_or("?");
        match principal.get("authorization").and_then(serde_json::Value::as_str) {
            Some(authorization) => format!("{id} ({authorization})"),
            None => id.to_owned(),
        }
    });
    Some(format!("for {}", shown.collect::<Vec<_>>().join(", for ")))
}
