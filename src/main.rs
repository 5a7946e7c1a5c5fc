//! The program `annals`: an audit log for reasoning pipelines, in one SQLite file.

use std::process::ExitCode;

fn main() -> ExitCode {
    annals::cli::main()
}
