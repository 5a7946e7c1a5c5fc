//! The program `annals`: an audit log for reasoning pipelines, in one SQLite file.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // 0: done. 1: what was looked at is wrong. 2: the command failed, or could not check everything.
    match cli::run() {
        Ok(cli::Verdict::Done) => ExitCode::SUCCESS,
        Ok(cli::Verdict::FoundWrong) => ExitCode::from(1),
        Ok(cli::Verdict::NotAllChecked) => ExitCode::from(2),
        // A reader such as `head` closes the pipe once it has enough.
        Err(error) if cli::is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            cli::say_error(&error);
            ExitCode::from(2)
        }
    }
}
