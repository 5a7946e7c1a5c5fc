//! Messages about commands that failed.

use std::io;

use super::{out, stdout, text};

/// Returns true if the reader of standard output went away, which it may do at any time.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(stdout::is_reader_gone))
}

/// Prints on standard error why a command failed.
pub(crate) fn say_error(error: &anyhow::Error) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    out::say(&format!("{style}error:{style:#} {}", text::block(&with_causes(error))));
}

/// An error with its causes, each printed once: some errors already contain their cause.
fn with_causes(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}
