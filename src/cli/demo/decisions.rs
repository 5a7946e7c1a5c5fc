//! The decisions of one session: the thoughts that were kept, those that were not, and the reasons.

use crate::Json;
use crate::demo::PuzzleReport;
use crate::query::{Decision, SessionRecord};
use serde::Deserialize;

use super::parts::{heading, shown};
use crate::cli::out::{DIM, Out, style_of};
use crate::cli::text;

/// Thoughts of each decision that are shown although they were not kept.
const NOT_KEPT_SHOWN: usize = 2;

/// An option as the pipeline records it.
#[derive(Deserialize)]
struct Thought {
    option: String,
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    why: String,
}

pub(super) fn show(puzzle: &PuzzleReport, record: &SessionRecord, out: &mut Out) -> anyhow::Result<()> {
    heading(&format!("Decisions of {}", record.session.id), out)?;
    out.line(&format!("  puzzle {}, {}", puzzle.puzzle, shown(&puzzle.answer)))?;
    // A thought that a finding names is worth seeing even among many.
    let evidence: String =
        record.findings.iter().filter_map(|finding| finding.evidence.as_ref()).map(Json::as_str).collect();
    for decision in &record.decisions {
        show_decision(decision, &evidence, out)?;
    }
    for finding in &record.findings {
        let severity = finding.severity.as_deref().unwrap_or("info");
        let severity = out.paint(style_of(severity), &format!("▲ {severity}"));
        out.line(&format!("  {severity}  {}", finding.title.as_deref().map(text::line).unwrap_or_default()))?;
        let description = finding.description.as_deref().map(text::line).unwrap_or_default();
        for line in textwrap::wrap(&description, out.text_width().saturating_sub(6).max(20)) {
            out.line(&format!("      {line}"))?;
        }
    }
    Ok(())
}

fn show_decision(decision: &Decision, evidence: &str, out: &mut Out) -> anyhow::Result<()> {
    let thoughts: Vec<Thought> = read(decision.options_considered.as_ref());
    let kept: Vec<String> = read(decision.chosen_options.as_ref());
    let head = format!(
        "{}: {} of {} kept, confidence {:.2}",
        text::line(&decision.id),
        kept.len(),
        thoughts.len(),
        decision.confidence.unwrap_or_default()
    );
    out.line(&format!("  {head}"))?;
    let chosen = kept.iter().filter_map(|kept| thoughts.iter().find(|thought| thought.option == *kept));
    for thought in chosen {
        show_thought("kept", thought, out)?;
    }
    let mut others: Vec<&Thought> =
        thoughts.iter().filter(|thought| !kept.contains(&thought.option)).collect();
    // False sorts before true: thoughts that a finding names come first.
    others.sort_by_key(|thought| !evidence.contains(&thought.option));
    for thought in others.iter().take(NOT_KEPT_SHOWN) {
        show_thought("not", thought, out)?;
    }
    if others.len() > NOT_KEPT_SHOWN {
        let more = out.paint(DIM, &format!("    and {} more", others.len() - NOT_KEPT_SHOWN));
        out.line(&more)?;
    }
    Ok(())
}

fn show_thought(fate: &str, thought: &Thought, out: &mut Out) -> anyhow::Result<()> {
    let tone = match thought.verdict.as_str() {
        "sure" => "ok",
        "likely" => "warning",
        _ => "",
    };
    let verdict = out.paint(style_of(tone), &format!("{:<10}", text::line(&thought.verdict)));
    let fate = out.paint(DIM, &format!("{fate:<4}"));
    let (option, why) = (text::line(&thought.option), text::line(&thought.why));
    Ok(out.line(format!("    {fate} {option:<32} {verdict} {why}").trim_end())?)
}

/// Reads a list in JSON. A list in another form than the pipeline's is shown as empty.
fn read<T: for<'de> Deserialize<'de>>(list: Option<&Json>) -> Vec<T> {
    list.and_then(|list| serde_json::from_str(list.as_str()).ok()).unwrap_or_default()
}
