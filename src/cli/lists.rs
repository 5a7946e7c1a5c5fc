//! `annals decisions` and `annals findings`: lists across sessions.

use std::io::{self, Write as _};

use crate::query::lists::{Cursor, ListFilter, Listed};
use crate::query::{Decision, Finding};
use crate::{FindingStatus, Outcome, Reader, Severity};
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::log_file::LogFile;
use super::out::{self, Out, word};
use super::rows::TABLE_ROWS_MAX;
use super::show;
use super::table::{Arrangement, Cell, Column, RECORDS, Table};
use super::verdict::Verdict;

/// The options that both lists have.
#[derive(Debug, clap::Args)]
struct Selection {
    /// List only those of this session: its id, or the beginning of its id
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// List only those of this step
    #[arg(long, value_name = "ID")]
    step: Option<String>,

    /// List only those of steps of this module
    #[arg(long, value_name = "NAME")]
    module: Option<String>,

    /// List at most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// List the next page: the cursor that the previous page named
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,

    #[arg(short = 'x', long, help = RECORDS)]
    records: bool,
}

/// List the decisions that match all given filters.
///
/// Without --session, those of the newest session come first, and in each session the newest decision. MARGIN is the
/// lowest score of a chosen option, minus the highest score of an option that was not chosen. It is negative if an
/// option with a higher score was not chosen.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals decisions --margin 0.1                close decisions, and those against the scores
  annals decisions --module router --chosen refuse
  annals decisions --session 0198c5 -x")]
pub(crate) struct DecisionArgs {
    #[command(flatten)]
    selection: Selection,

    /// List only decisions of this type
    #[arg(long = "type", value_name = "TYPE")]
    decision_type: Option<String>,

    /// List only decisions that chose this option
    #[arg(long, value_name = "OPTION")]
    chosen: Option<String>,

    /// List only decisions of this person or program
    #[arg(long, value_name = "ID")]
    actor: Option<String>,

    /// List only decisions with at most this margin
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    margin: Option<f64>,

    /// List only decisions with at most this confidence, from 0 to 1
    #[arg(long, value_name = "X")]
    max_confidence: Option<f64>,
}

/// List the findings that match all given filters.
///
/// Without --session, those of the newest session come first, and in each session the newest finding.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals findings --severity critical --status open
  annals findings --category liability --limit 100")]
pub(crate) struct FindingArgs {
    #[command(flatten)]
    selection: Selection,

    /// List only findings of this category
    #[arg(long, value_name = "NAME")]
    category: Option<String>,

    /// List only findings of this severity
    #[arg(long, value_parser = words(Severity::ALL, Severity::as_str))]
    severity: Option<String>,

    /// List only findings with this outcome
    #[arg(long, value_parser = words(Outcome::ALL, Outcome::as_str))]
    outcome: Option<String>,

    /// List only findings with this status
    #[arg(long, value_parser = words(FindingStatus::ALL, FindingStatus::as_str))]
    status: Option<String>,
}

fn words<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> PossibleValuesParser {
    all.iter().map(|word| name(*word)).collect::<Vec<_>>().into()
}

impl Selection {
    fn filter(&self, reader: &Reader) -> anyhow::Result<ListFilter> {
        let session =
            self.session.as_deref().map(|session| show::one_session(reader, session)).transpose()?;
        Ok(ListFilter::new(session, self.after, 0)
            .equal("step_id", self.step.clone())
            .of_module(self.module.clone()))
    }
}

pub(crate) fn decisions(args: &DecisionArgs, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read_tables()?;
    let filter = args
        .selection
        .filter(&reader)?
        .equal("decision_type", args.decision_type.clone())
        .choosing(args.chosen.clone())
        .equal("actor", args.actor.clone())
        .at_most("confidence", args.max_confidence)
        .margin_at_most(args.margin);
    let columns = vec![
        Column::whole("EVENT").optional(3),
        Column::cut("SESSION"),
        Column::cut("STEP").optional(1),
        Column::cut("TYPE").optional(2),
        Column::cut("CHOSEN"),
        Column::whole("MARGIN"),
        Column::whole("CONFIDENCE").optional(4),
        Column::cut("REASON"),
    ];
    let cells = |decision: &Decision| {
        vec![
            Cell::number(Some(decision.first_seq)),
            Cell::id(&decision.session_id),
            Cell::maybe(decision.step_id.as_deref()),
            Cell::maybe(decision.decision_type.as_deref()),
            Cell::maybe(decision.chosen_option.as_deref()),
            Cell::number(decision.margin().map(rounded)),
            Cell::number(decision.confidence),
            Cell::maybe(decision.rationale.as_deref()),
        ]
    };
    print("decisions", &args.selection, filter, (columns, cells), &reader, out)
}

pub(crate) fn findings(args: &FindingArgs, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read_tables()?;
    let filter = args
        .selection
        .filter(&reader)?
        .equal("category", args.category.clone())
        .equal("severity", args.severity.clone())
        .equal("outcome", args.outcome.clone())
        .equal("status", args.status.clone());
    let columns = vec![
        Column::whole("EVENT").optional(3),
        Column::cut("SESSION"),
        Column::cut("STEP").optional(1),
        Column::whole("SEVERITY"),
        Column::whole("STATUS"),
        Column::cut("CATEGORY").optional(2),
        Column::cut("FINDING"),
    ];
    let cells = |finding: &Finding| {
        let said = [&finding.title, &finding.description, &finding.plain_english, &finding.pattern_type];
        vec![
            Cell::number(Some(finding.first_seq)),
            Cell::id(&finding.session_id),
            Cell::maybe(finding.step_id.as_deref()),
            word(finding.severity.as_deref().or(finding.outcome.as_deref()).unwrap_or_default()),
            Cell::new(&finding.status),
            Cell::maybe(finding.category.as_deref()),
            Cell::maybe(said.into_iter().flatten().next()),
        ]
    };
    print("findings", &args.selection, filter, (columns, cells), &reader, out)
}

/// A difference of scores without the noise of its last digits.
fn rounded(margin: f64) -> f64 {
    (margin * 1e6).round() / 1e6
}

/// Prints the rows that fit, page by page: only one page is in memory.
fn print<R: Listed + Serialize>(
    name: &str,
    selection: &Selection,
    mut filter: ListFilter,
    (columns, cells): (Vec<Column>, impl Fn(&R) -> Vec<Cell>),
    reader: &Reader,
    out: &mut Out,
) -> anyhow::Result<Verdict> {
    let arrangement = Arrangement::records_if(selection.records);
    let mut left = usize::try_from(selection.limit).unwrap_or(usize::MAX);
    let mut count = 0_usize;
    if out.is_json() {
        write!(out.json_writer(), "{{\"{name}\":[")?;
    }
    let next = loop {
        let page = reader.list::<R>(&filter.page(page_rows(left), None))?;
        if out.is_json() {
            for item in &page.items {
                let mut json = out.json_writer();
                if count > 0 {
                    json.write_all(b",")?;
                }
                serde_json::to_writer(json, item)?;
                count += 1;
            }
        } else {
            let mut table = Table::new(columns.clone());
            page.items.iter().for_each(|item| table.add(cells(item)));
            count += page.items.len();
            if table.len() > 0 {
                out.print(&table, arrangement)?;
            }
        }
        left = left.saturating_sub(page.items.len());
        if page.next.is_none() || left == 0 {
            break page.next;
        }
        filter = filter.page(page_rows(left), page.next);
    };
    end(name, next, count, out)?;
    Ok(Verdict::Done)
}

fn page_rows(left: usize) -> usize {
    left.min(TABLE_ROWS_MAX)
}

fn end(name: &str, next: Option<Cursor>, count: usize, out: &mut Out) -> io::Result<()> {
    if out.is_json() {
        let next = serde_json::to_string(&next.map(|next| next.to_string()))?;
        return out.line(&format!("],\"next\":{next}}}"));
    }
    out.flush()?;
    match next {
        Some(next) => out::say(&format!("more {name}: --after {next}")),
        None if count == 0 => out::say(&format!("no {name}")),
        None => {}
    }
    Ok(())
}
