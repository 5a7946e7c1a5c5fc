//! `annals projections`: the state of the read tables, and commands that change it.

use std::time::Duration;

use crate::query::{LeftOutObject, ProjectionStatus};
use crate::{CloseError, Reader, SkipRequest};
use anyhow::Context as _;
use clap::Subcommand;

use super::bar::Bar;
use super::ending;
use super::log_file::LogFile;
use super::out::{self, Out, word};
use super::table::{Arrangement, Cell, Column, Table};
use super::verdict::Verdict;

/// Time between two moves of a bar.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Manage the projections, which fill the read tables; without a command, show their state.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the state of each projection
    Status,
    /// Fill the read tables up to the end of the log
    CatchUp,
    /// Rebuild the tables of a projection beside the live ones, then replace the live ones
    Rebuild {
        /// Name of the projection, or `tree` for the tiles of the Merkle tree
        name: String,
    },
    /// Let a stopped projection try its failing event again
    Retry {
        /// Name of the projection
        name: String,
    },
    /// Let a stopped projection go on without its failing event, and record that as an event
    Skip {
        /// Name of the projection
        name: String,
        /// Reason for the skip
        #[arg(long)]
        reason: String,
        /// Name of the person who decided it
        #[arg(long, env = "USER")]
        actor: String,
    },
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    match &args.command {
        None | Some(Command::Status) => {}
        Some(Command::CatchUp) => {
            let log = place.append_existing()?;
            // The goal is the head of this moment: others may go on appending without end.
            let head = log.committed();
            let reader = place.read()?;
            follow("filling", &reader, |projection| (projection.position.get(), head.get()))?;
            closed(ending::close(log))?;
        }
        Some(Command::Rebuild { name }) => {
            let log = place.append_existing()?;
            log.rebuild(name)?;
            let head = log.committed();
            let reader = place.read()?;
            follow("rebuilding", &reader, |projection| match &projection.rebuild {
                Some(rebuild) if projection.name == name && rebuild.stopped.is_none() => {
                    // A rebuild is done when its tables are in their place: until then one event is missing, even at
                    // the head.
                    (rebuild.position.get(), head.get().max(rebuild.position.get() + 1))
                }
                // Done, stopped, or another projection.
                _ => (head.get(), head.get()),
            })?;
            closed(ending::close(log))?;
        }
        Some(Command::Retry { name }) => {
            let log = place.append_existing()?;
            log.retry(name)?;
            closed(ending::close(log))?;
        }
        Some(Command::Skip { name, reason, actor }) => {
            let log = place.append_existing()?;
            log.skip(SkipRequest {
                projection: name.to_owned(),
                actor: actor.to_owned(),
                reason: reason.to_owned(),
            })?;
            closed(ending::close(log))?;
        }
    }
    let reader = place.read()?;
    let projections = reader.projections()?;
    print(&projections, out)?;
    let stopped = |projection: &ProjectionStatus| {
        projection.stopped.is_some()
            || projection.rebuild.as_ref().is_some_and(|rebuild| rebuild.stopped.is_some())
    };
    Ok(if projections.iter().any(stopped) { Verdict::FoundWrong } else { Verdict::Done })
}

/// Turns the error of a projection into a success: the status that is printed afterwards reports it.
fn closed(result: Result<(), CloseError>) -> anyhow::Result<()> {
    match result {
        Ok(()) | Err(CloseError::CatchUp(_)) => Ok(()),
        Err(error) => Err(error).context("the log did not close cleanly"),
    }
}

/// Shows a bar for the projection that is furthest behind, until none is behind, or those that are have stopped.
fn follow(
    what: &'static str,
    reader: &Reader,
    done_of: impl Fn(&ProjectionStatus) -> (u64, u64),
) -> anyhow::Result<()> {
    let mut bar: Option<Bar> = None;
    loop {
        let projections = reader.projections()?;
        let behind = projections
            .iter()
            // A stopped projection does not move, and would keep the bar forever.
            .filter(|projection| projection.stopped.is_none())
            .map(&done_of)
            .filter(|(done, total)| done < total)
            .min_by_key(|(done, _)| *done);
        let Some((done, total)) = behind else { return Ok(()) };
        bar.get_or_insert_with(|| Bar::new(what, Some(total))).set(done);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The state of a projection in a word.
pub(super) fn state(projection: &ProjectionStatus) -> &'static str {
    if projection.stopped.is_some() {
        "stopped"
    } else if projection.rebuild.is_some() {
        "rebuilding"
    } else if projection.version.is_none_or(|version| version < projection.known_version) {
        "outdated"
    } else if projection.version.is_some_and(|version| version > projection.known_version) {
        "newer"
    } else if projection.lag > 0 {
        "behind"
    } else {
        "current"
    }
}

fn print(projections: &[ProjectionStatus], out: &mut Out) -> anyhow::Result<()> {
    if out.is_json() {
        out.json(projections)?;
        return Ok(());
    }
    let mut table = Table::new(vec![
        Column::whole("NAME"),
        Column::whole("VERSION").optional(1),
        Column::whole("EVENT"),
        Column::whole("LAG"),
        Column::whole("STATE"),
        Column::wrapped("TABLES").optional(2),
    ]);
    for projection in projections {
        table.add(vec![
            Cell::new(projection.name),
            Cell::number(projection.version),
            Cell::number(Some(projection.position)),
            Cell::number(Some(projection.lag)),
            word(state(projection)),
            Cell::new(&projection.tables.join(" ")),
        ]);
    }
    out.print(&table, Arrangement::Fitting)?;
    out.flush()?;
    for projection in projections {
        let rebuild = projection.rebuild.as_ref().and_then(|rebuild| rebuild.stopped.as_ref());
        for (what, stopped) in [("", &projection.stopped.as_ref()), ("the rebuild of ", &rebuild)] {
            if let Some(stopped) = stopped {
                out::note(&format!(
                    "{what}`{}` stopped at event {}: {}\nhint: run `annals projections retry {0}`, or `annals projections skip {0}` to go on without the event",
                    projection.name, stopped.seq, stopped.reason
                ));
            }
        }
        for LeftOutObject { name, table, reason, .. } in &projection.left_out {
            out::note(&format!(
                "the object `{}`, which somebody added to `{}`, could not be created again: {}\nhint: create it by hand on columns that the table has, or delete its row from `annals_left_out`",
                name, table, reason
            ));
        }
    }
    Ok(())
}
