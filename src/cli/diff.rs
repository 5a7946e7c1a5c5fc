//! `annals diff`: two sessions side by side.

use crate::Reader;
use crate::query::diff::{Aligned, DiffDecision, DiffStep, Relation, SessionDiff};
use anyhow::Context as _;
use serde_json::Value;

use super::log_file::LogFile;
use super::out::{BOLD, DIM, Out, style_of};
use super::table::{Arrangement, Cell, Column, RECORDS, Table, wrapping};
use super::verdict::Verdict;
use super::{show, text};

/// Characters of a text at the first divergence.
const TEXT_CHARS: usize = 600;

/// Compare two sessions: where they diverge first, and their steps and decisions side by side.
///
/// Steps with the same module, kind and input are aligned first; then those with the same module and output; then
/// those with the same module. Steps that are the same in both are counted, and listed with --all.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit status: 0 the sessions are the same, 1 they differ, 2 one is not there.

Examples:
  annals diff 0198c5 0198d2
  annals diff 0198c5 0198d2 --all
  annals --json diff 0198c5 0198d2 | jq .first_divergence")]
pub(crate) struct Args {
    /// The first session: its id, or the beginning of its id
    first: String,

    /// The second session
    second: String,

    /// List also the steps and decisions that are the same in both
    #[arg(long)]
    all: bool,

    #[arg(short = 'x', long, help = RECORDS)]
    records: bool,
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read_tables()?;
    let first = show::one_session(&reader, &args.first)?;
    let second = show::one_session(&reader, &args.second)?;
    let diff = reader.diff(&first, &second)?.context("a session is no longer in the read tables")?;
    if out.is_json() {
        out.json(&diff)?;
    } else {
        print(&diff, args, &reader, out)?;
    }
    Ok(if diff.is_same { Verdict::Done } else { Verdict::FoundWrong })
}

fn print(diff: &SessionDiff, args: &Args, reader: &Reader, out: &mut Out) -> anyhow::Result<()> {
    let arrangement = Arrangement::records_if(args.records);
    let verdict = if diff.is_same {
        out.paint(style_of("ok"), "the same")
    } else {
        out.paint(style_of("warning"), "different")
    };
    let title = format!("{} and {}", text::id(&diff.first), text::id(&diff.second));
    let title = out.paint(BOLD, &title);
    out.line(&format!("{title}: {verdict}"))?;
    if !diff.is_same_input {
        out.line("the inputs of the sessions differ")?;
    }
    let (first, second) = &diff.statuses;
    if first != second {
        out.line(&format!("the first one is {}, the second one {}", text::line(first), text::line(second)))?;
    }
    if let Some(index) = diff.first_divergence {
        divergence(diff, index, reader, out)?;
    }
    let steps = listed(&diff.steps, args.all);
    if !steps.is_empty() {
        let mut table = Table::new(vec![
            Column::whole("STEPS"),
            Column::cut("MODULE"),
            Column::cut("FIRST"),
            Column::cut("SECOND"),
            Column::whole("EVENTS").optional(1),
        ]);
        steps.into_iter().for_each(|step| table.add(step_cells(step)));
        out.line("")?;
        out.print(&table, arrangement)?;
    }
    let decisions = listed(&diff.decisions, args.all);
    if !decisions.is_empty() {
        let mut table = Table::new(vec![
            Column::whole("DECISIONS"),
            Column::cut("TYPE"),
            Column::cut("FIRST CHOSE"),
            Column::cut("SECOND CHOSE"),
            Column::whole("EVENTS").optional(1),
        ]);
        decisions.into_iter().for_each(|decision| table.add(decision_cells(decision)));
        out.line("")?;
        out.print(&table, arrangement)?;
    }
    let same = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let steps = diff.steps.iter().filter(|step| step.relation == Relation::Same).count();
    let decisions = diff.decisions.iter().filter(|decision| decision.relation == Relation::Same).count();
    out.line("")?;
    let said = format!("the same in both: {}, {}", same(steps, "step"), same(decisions, "decision"));
    let said = out.paint(DIM, &said);
    out.line(&said)?;
    Ok(())
}

fn listed<T>(items: &[Aligned<T>], all: bool) -> Vec<&Aligned<T>> {
    items.iter().filter(|item| all || item.relation != Relation::Same).collect()
}

/// The first step that is not the same, with the texts that differ.
fn divergence(diff: &SessionDiff, index: usize, reader: &Reader, out: &mut Out) -> anyhow::Result<()> {
    let Some(step) = diff.steps.get(index) else { return Ok(()) };
    let module = step.first.as_ref().or(step.second.as_ref()).and_then(|step| step.module.as_deref());
    out.line("")?;
    let head = format!("first divergence: step {} `{}`, ", index + 1, text::line(module.unwrap_or("-")));
    out.line(&out.paint(BOLD, &(head + relation(step.relation))))?;
    let texts = |session: &str, step: &Option<DiffStep>| match step {
        Some(step) => reader.step_texts(session, &step.id),
        None => Ok(None),
    };
    let first = texts(&diff.first, &step.first)?.unwrap_or_default();
    let second = texts(&diff.second, &step.second)?.unwrap_or_default();
    for (name, first, second) in [
        ("in", &first.input, &second.input),
        ("out", &first.output, &second.output),
        ("error", &first.error, &second.error),
    ] {
        if first == second {
            continue;
        }
        for (side, said) in [("first", first), ("second", second)] {
            let said = said.as_deref().map_or("-".into(), |said| text::shortened(said, TEXT_CHARS));
            let label = format!("  {:<13}", format!("{side} {name}"));
            let indent = " ".repeat(label.len());
            let width = out.text_width();
            let options = wrapping(width).initial_indent(&label).subsequent_indent(&indent);
            for line in textwrap::wrap(&text::line(&said), options) {
                out.line(&line)?;
            }
        }
    }
    Ok(())
}

fn relation(relation: Relation) -> &'static str {
    match relation {
        Relation::Same => "the same",
        Relation::OtherResult => "same input, other result",
        Relation::OtherInput => "other input, same result",
        Relation::OtherInputAndResult => "other input and result",
        Relation::OnlyInFirst => "only in the first",
        Relation::OnlyInSecond => "only in the second",
    }
}

fn events(first: Option<crate::Seq>, second: Option<crate::Seq>) -> Cell {
    let shown = |seq: Option<crate::Seq>| seq.map_or("-".to_owned(), |seq| seq.to_string());
    Cell::new(&format!("{} / {}", shown(first), shown(second)))
}

fn step_cells(step: &Aligned<DiffStep>) -> Vec<Cell> {
    let module = step.first.as_ref().or(step.second.as_ref()).and_then(|step| step.module.as_deref());
    let shown = |step: &Option<DiffStep>| match step {
        Some(step) => Cell::new(&format!("{} {}", text::id(&step.id), step.status)),
        None => Cell::default(),
    };
    vec![
        Cell::new(relation(step.relation)),
        Cell::maybe(module),
        shown(&step.first),
        shown(&step.second),
        events(
            step.first.as_ref().map(|step| step.first_seq),
            step.second.as_ref().map(|step| step.first_seq),
        ),
    ]
}

fn decision_cells(decision: &Aligned<DiffDecision>) -> Vec<Cell> {
    let either = decision.first.as_ref().or(decision.second.as_ref());
    let what = either.and_then(|decision| decision.decision_type.as_deref().or(decision.module.as_deref()));
    let chosen = |decision: &Option<DiffDecision>| match decision {
        Some(decision) => Cell::new(&options(decision.chosen_options.as_deref())),
        None => Cell::default(),
    };
    vec![
        Cell::new(relation(decision.relation)),
        Cell::maybe(what),
        chosen(&decision.first),
        chosen(&decision.second),
        events(
            decision.first.as_ref().map(|decision| decision.first_seq),
            decision.second.as_ref().map(|decision| decision.first_seq),
        ),
    ]
}

/// A JSON list of texts in a line.
fn options(json: Option<&str>) -> String {
    let options: Vec<Value> = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let shown = |option: &Value| option.as_str().map_or_else(|| option.to_string(), str::to_owned);
    match options.is_empty() {
        true => "nothing".to_owned(),
        false => options.iter().map(shown).collect::<Vec<_>>().join(", "),
    }
}
