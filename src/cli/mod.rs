//! The program `annals`: its arguments, and the module that carries out each command.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod give_back;
mod given;
mod hints;
mod interrupt;
mod lines;
mod settings;
mod stdout;
mod target;
mod text;
mod table;
mod csv;
mod out;
mod bar;
mod ending;
mod event_line;
mod failure;
mod rows;
mod signing;
mod log_file;
mod feed;
mod time;
mod verdict;
mod anchor;
mod apikey;
mod checkpoint;
mod init;
mod key;
mod projections;
mod info;
mod map_file;
mod record;
mod copy;
mod import_input;
mod import_otlp;
mod import;
mod redact;
mod serve;
mod sessions;
mod show;
mod diff;
mod export;
mod lists;
mod prove;
mod consistency;
mod replay;
mod search;
mod sql;
mod tail;
mod tiles;
mod verify;
mod demo;
mod verify_proof;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory, Parser, Subcommand};

use failure::{is_reader_gone, say_error};
use verdict::Verdict;

use log_file::{LogFile, OtherMachines};
use out::Out;

/// An audit log for reasoning pipelines, in one SQLite file.
///
/// Events are appended in order and never change. Annals fills the read tables, which you query, from
/// these events. The log is the file that --db names, else the file that $ANNALS_DB names, else
/// ~/.annals/audit.db. The first command that appends events creates it.
#[derive(Debug, Parser)]
#[command(
    name = "annals",
    version,
    arg_required_else_help = true,
    after_long_help = "Exit status: 0 success, 1 the command found something wrong, 2 it failed or could not check everything.

Examples:
  my-pipeline | annals record           record events, one JSON object per line
  annals sessions --status failed       list the newest failed sessions
  annals show 0198c5                    show a session, by the beginning of its id
  annals search '\"refund policy\" card*' find the events that match
  annals sql 'SELECT module, avg(confidence) FROM steps GROUP BY module'
  annals copy backup.db                 copy the log, even while programs write to it"
)]
pub(crate) struct Args {
    /// Use this log file [default: $ANNALS_DB, else ~/.annals/audit.db]
    #[arg(long, value_name = "FILE", global = true)]
    db: Option<PathBuf>,

    /// Append even to a log that another machine has open or did not close; first make sure that no program
    /// there appends to it
    #[arg(long, global = true)]
    take_over: bool,

    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Record(record::Args),
    Import(import::Args),
    Serve(serve::Args),
    Sessions(sessions::Args),
    Show(show::Args),
    Diff(diff::Args),
    Decisions(lists::DecisionArgs),
    Findings(lists::FindingArgs),
    Replay(replay::Args),
    Search(search::Args),
    Sql(sql::Args),
    Verify(verify::Args),
    Checkpoint(checkpoint::Args),
    Key(key::Args),
    Anchor(anchor::Args),
    Apikey(apikey::Args),
    Prove(prove::Args),
    VerifyProof(verify_proof::Args),
    Consistency(consistency::Args),
    Tiles(tiles::Args),
    Tail(tail::Args),
    Export(export::Args),
    Copy(copy::Args),
    Redact(redact::Args),
    /// Show the identity, the size and the state of the log
    Info,
    Projections(projections::Args),
    /// Print the completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page
    Man {
        /// Command that the page describes, such as `key generate` [default: annals itself]
        command: Vec<String>,
    },
}

/// Runs the program on the arguments of this process, and returns its exit status: 0 if the command is done, 1 if what
/// it checked is wrong, and 2 if it failed or could not check everything.
///
/// The program owns the process: it handles signals, writes to both outputs, and exits by itself after `--help` and
/// after arguments that it does not know.
pub fn main() -> ExitCode {
    match run() {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::FoundWrong) => ExitCode::from(1),
        Ok(Verdict::NotAllChecked) => ExitCode::from(2),
        // A reader such as `head` closes the pipe once it has enough.
        Err(error) if is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&error);
            ExitCode::from(2)
        }
    }
}

/// Runs the command that was typed.
fn run() -> anyhow::Result<Verdict> {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and the version go to standard output, and clap does not notice if that was closed.
            if !error.use_stderr() {
                stdout::require_open()?;
            }
            let Some(hint) = hints::of_arguments(&error) else { error.exit() };
            // As `exit` does, with the hint behind.
            let _ = error.print();
            out::say(&format!("\nhint: {hint}"));
            std::process::exit(error.exit_code());
        }
    };
    // Before anything is opened or made: from here on a signal leaves nothing unfinished behind.
    interrupt::watch()?;
    let mut out = Out::new(args.json);
    let db = args.db.as_deref();
    let other_machines = if args.take_over { OtherMachines::TakeOver } else { OtherMachines::Refuse };
    // Found only when it is needed: some commands need no log, and must not fail for lack of a home folder.
    let place = || LogFile::find(db, other_machines);
    let verdict = match &args.command {
        Command::Demo(args) => demo::run(args, db, &mut out),
        Command::Init(args) => init::run(args, &place()?, &mut out),
        Command::Record(args) => record::run(args, place, &mut out),
        Command::Import(args) => import::run(args, &place()?, &mut out),
        Command::Serve(args) => serve::run(args, &place()?, &mut out),
        Command::Sessions(args) => sessions::run(args, &place()?, &mut out),
        Command::Show(args) => show::run(args, &place()?, &mut out),
        Command::Diff(args) => diff::run(args, &place()?, &mut out),
        Command::Decisions(args) => lists::decisions(args, &place()?, &mut out),
        Command::Findings(args) => lists::findings(args, &place()?, &mut out),
        Command::Replay(args) => replay::run(args, &place()?, &mut out),
        Command::Search(args) => search::run(args, &place()?, &mut out),
        Command::Sql(args) => sql::run(args, &place()?, &mut out),
        Command::Verify(args) => verify::run(args, &place()?, &mut out),
        Command::Checkpoint(args) => checkpoint::run(args, &place()?, &mut out),
        Command::Key(args) => key::run(args, place, &mut out),
        Command::Apikey(args) => apikey::run(args, &place()?, &mut out),
        Command::Anchor(args) => anchor::run(args, &place()?, &mut out),
        Command::Prove(args) => prove::run(args, &place()?, &mut out),
        Command::VerifyProof(args) => verify_proof::run(args, &mut out),
        Command::Consistency(args) => consistency::run(args, &place()?, &mut out),
        Command::Tiles(args) => tiles::run(args, &place()?, &mut out),
        Command::Tail(args) => tail::run(args, &place()?, &mut out),
        Command::Export(args) => export::run(args, &place()?, &mut out),
        Command::Copy(args) => copy::run(args, &place()?, &mut out),
        Command::Redact(args) => redact::run(args, &place()?, &mut out),
        Command::Info => info::run(&place()?, &mut out),
        Command::Projections(args) => projections::run(args, &place()?, &mut out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "annals", &mut script);
            out.bytes(&script).map(|()| Verdict::Done).map_err(Into::into)
        }
        Command::Man { command } => {
            let mut page = Vec::new();
            let mut about = Args::command();
            let mut title = "annals".to_owned();
            for name in command {
                let part = about.find_subcommand(name).cloned();
                about = part.with_context(|| {
                    format!("there is no command `{} {}`", title.replace('-', " "), text::line(name))
                })?;
                title = format!("{title}-{name}");
            }
            let about = about.name(title);
            clap_mangen::Man::new(about).render(&mut page).context("the manual page")?;
            out.bytes(&page).map(|()| Verdict::Done).map_err(Into::into)
        }
    };
    // Output from before an error is printed all the same.
    let flushed = out.flush();
    let verdict = verdict?;
    flushed?;
    Ok(verdict)
}

#[cfg(test)]
mod page_tests;
