//! The work that every peer does, and how it is timed.
//!
//! ```text
//! payloads ─▶ producers ─▶ Peer::append, until durable ─▶ close ─▶ reopen, count ─▶ size ─▶ one line of JSON
//! ```
//!
//! A peer is a program of a crate of its own, with its own lock file: it implements [`Peer`] and calls
//! [`main`]. What it prints says how many events it acknowledged, how long each took, and what its promise
//! of durability rests on; a run whose store does not hold exactly what was acknowledged is a failure.

mod arguments;
pub mod group;
mod outcome;
mod packages;
mod payloads;
mod peer;
mod run;
mod size;
mod timing;

use std::process::ExitCode;

use clap::Parser as _;

pub use anyhow;
pub use arguments::{Arguments, Mode, Work};
pub use outcome::{Described, Latency, Outcome};
pub use payloads::Payloads;
pub use peer::{About, Peer, Producer, Variant};
pub use timing::Timing;

/// What a peer's `main` does: describes the peer, or runs the work that the arguments ask for.
pub fn main<P: Peer>(about: &About) -> ExitCode {
    let arguments = Arguments::parse();
    let line = if arguments.describe {
        packages::version(about).map(|version| serde_json::json!(Described::new(about, version)))
    } else {
        run::run::<P>(about, &arguments).map(|outcome| serde_json::json!(outcome))
    };
    match line {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error:#}", about.peer);
            ExitCode::FAILURE
        }
    }
}
