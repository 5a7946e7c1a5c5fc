//! `annals sql`: one query of the user's own, which can only read.

use std::io::Read as _;

use crate::query::SqlError;
use anyhow::Context as _;

use super::csv::{self, Cells};
use super::hints;
use super::log_file::LogFile;
use super::out::Out;
use super::rows::{Form, Rows};
use super::table::{Arrangement, RECORDS};
use super::verdict::Verdict;

/// Query the read tables with SQL.
///
/// A query can only read: it cannot change this file or another one. The tables are sessions, steps,
/// decisions, findings, finding_updates, timeline, reviews, artifacts, metrics, notes, actions,
/// policy_decisions, coverage_declarations, custom_events, api_keys, search_documents and search (full text).
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals sql \"SELECT id, started_at FROM sessions WHERE started_at > datetime('now', '-7 days')\"
  annals sql --csv 'SELECT module, count(*), avg(confidence) FROM steps GROUP BY module'
  annals sql - < query.sql")]
pub(crate) struct Args {
    /// SQL statement; - reads it from standard input
    #[arg(allow_hyphen_values = true)]
    query: String,

    /// Print the result as CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,

    #[arg(long, requires = "csv", help = csv::AS_THEY_ARE)]
    cells_as_they_are: bool,

    #[arg(short = 'x', long, conflicts_with_all = ["json", "csv"], help = RECORDS)]
    records: bool,
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    let mut query = args.query.clone();
    if query == "-" {
        query.clear();
        std::io::stdin()
            .read_to_string(&mut query)
            .context("the statement cannot be read from standard input")?;
    }
    let reader = place.read_tables()?;
    // `clap` refuses both at once.
    let form = match (out.is_json(), args.csv) {
        (true, _) => Form::Json,
        (false, true) => Form::Csv(Cells::of(args.cells_as_they_are)),
        (false, false) => Form::Table(Arrangement::records_if(args.records)),
    };
    let mut rows = Rows::new(out, form);
    match reader.sql(&query, &mut rows) {
        Ok(()) => rows.finish()?,
        // The output is to blame, not the query.
        Err(SqlError::Sink(error)) => return Err(error.into()),
        Err(error) => {
            let said = error.to_string();
            let hint = reader
                .at_one_moment(|connection| Ok::<_, rusqlite::Error>(hints::of_query(connection, &said)));
            return Err(match hint {
                Ok(Some(hint)) => anyhow::anyhow!("{said}\nhint: {hint}"),
                // The query's own error is what matters.
                Ok(None) | Err(_) => error.into(),
            });
        }
    };
    Ok(Verdict::Done)
}
