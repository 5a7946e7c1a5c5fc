//! Helpers that the importers' tests share.

use std::fs::File;
use std::path::PathBuf;

use super::{ImportError, Imported, Sink, Source};
use crate::{Draft, Event, StepEnded, StepStarted};

/// A file of real data, from the folder in `ANNALS_TEST_DATA`, or else from beside the repository. Without the file the
/// test prints that it was skipped; in continuous integration that is a failure.
pub(super) fn real_data(name: &str) -> Option<File> {
    let folder = match std::env::var_os("ANNALS_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    let path = folder.join(name);
    match File::open(&path) {
        Ok(file) => Some(file),
        Err(error) => {
            assert!(
                // A skipped test must not pass unnoticed where all data should be there.
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "{} cannot be opened: {error}",
                path.display()
            );
            eprintln!("skipped: {} cannot be opened ({error}); set ANNALS_TEST_DATA", path.display());
            None
        }
    }
}

pub(super) fn source() -> Source {
    Source::new("test").unwrap()
}

/// The drafts of an import, and its result.
pub(super) fn collect(
    import: impl FnOnce(&mut Sink<'_>) -> Result<Imported, ImportError>,
) -> (Vec<Draft>, Result<Imported, ImportError>) {
    let mut drafts = Vec::new();
    let result = import(&mut |handed| {
        drafts.extend(handed.drafts);
        Ok(())
    });
    (drafts, result)
}

/// The payloads of one kind of event.
pub(super) fn each<'a, T: 'a>(drafts: &'a [Draft], pick: impl Fn(&'a Event) -> Option<&'a T>) -> Vec<&'a T> {
    drafts.iter().filter_map(|draft| pick(&draft.event)).collect()
}

/// Picks the events of one kind: `all!(drafts, StepEnded)`.
macro_rules! all {
    ($drafts:expr, $kind:ident) => {
        $crate::import::test_support::each(&$drafts, |event| match event {
            $crate::Event::$kind(payload) => Some(payload),
            _ => None,
        })
    };
}
pub(super) use all;

/// The begin of a step.
pub(super) fn started<'a>(drafts: &'a [Draft], step: &str) -> &'a StepStarted {
    all!(drafts, StepStarted).into_iter().find(|started| started.step.as_str() == step).unwrap()
}

/// The last end of a step: a file that grows has several.
pub(super) fn ended<'a>(drafts: &'a [Draft], step: &str) -> &'a StepEnded {
    all!(drafts, StepEnded).into_iter().rfind(|ended| ended.step.as_str() == step).unwrap()
}

/// Every id of the drafts: of the events, and of the steps, decisions and findings in them.
pub(super) fn ids(drafts: &[Draft]) -> Vec<String> {
    drafts
        .iter()
        .map(|draft| {
            let within = match &draft.event {
                Event::StepStarted(e) => format!("{} {:?}", e.step, e.parent_step),
                Event::StepEnded(e) => e.step.to_string(),
                Event::DecisionMade(e) => format!("{} {:?}", e.decision, e.step),
                Event::FindingRaised(e) => e.finding.to_string(),
                _ => String::new(),
            };
            format!("{:?} {:?} {within}", draft.id, draft.session)
        })
        .collect()
}
