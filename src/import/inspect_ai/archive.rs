//! An archive with a log: a zip file with an entry for the evaluation and one for each sample.

use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use super::super::document::{Path, VALUE_BYTES_MAX, Want, walk_part};
use super::super::emit::Emitter;
use super::super::error::{ImportError, Location, or_bad};
use super::super::json_lines::BadLines;
use super::super::source::Source;
use super::log::{EXPECTED, Fields, Log, SAMPLES_MAX};
use super::part::Part;
use super::sample;
use crate::Json;

/// The entry with the evaluation, and the one that has it while the evaluation is under way.
const HEADER: &str = "header.json";
const START: &str = "_journal/start.json";

/// The folder of the samples.
const SAMPLES: &str = "samples/";

/// An entry of an archive.
struct Entry<'a, R> {
    archive: &'a mut ZipArchive<R>,
    name: String,
}

impl<R: Read + Seek> Part for Entry<'_, R> {
    fn walk(
        &mut self,
        route: &dyn Fn(&Path) -> Want,
        each: &mut dyn FnMut(&Path, Json) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let base = format!("{}: ", self.name);
        let entry = self.archive.by_name(&self.name).map_err(|error| failed(&self.name, error))?;
        walk_part(entry, "an entry of a log of Inspect", &base, VALUE_BYTES_MAX, route, each)
    }
}

/// The error of an entry, or of the archive.
fn failed(name: &str, error: ZipError) -> ImportError {
    match error {
        ZipError::Io(error) => ImportError::Read(error),
        error => ImportError::Malformed { place: Location::Path(name.to_owned()), reason: error.to_string() },
    }
}

pub(super) fn import(
    reader: impl Read + Seek,
    source: &Source,
    bad: &mut BadLines<'_>,
    emitter: &mut Emitter<'_>,
) -> Result<(), ImportError> {
    let mut archive = ZipArchive::new(reader).map_err(|error| match error {
        ZipError::Io(error) => ImportError::Read(error),
        error => ImportError::WrongFile { expected: EXPECTED, reason: error.to_string() },
    })?;
    let header = [HEADER, START].into_iter().find(|name| archive.index_for_name(name).is_some());
    let Some(header) = header else {
        let reason = format!("the archive has neither {HEADER} nor {START}");
        return Err(ImportError::WrongFile { expected: EXPECTED, reason });
    };
    let mut fields = Fields::default();
    let mut entry = Entry { archive: &mut archive, name: header.to_owned() };
    entry.walk(&|_| Want::Whole, &mut |path, json| fields.take(path, json))?;
    let mut log = Log::of(fields, source)?;
    log.begin(emitter)?;
    for name in samples(&archive)? {
        let is_chunked = name.ends_with("/sample.json");
        let done = if is_chunked {
            let reason =
                "a sample in chunks cannot be read; convert the log to JSON first (inspect log convert)";
            Err(ImportError::Malformed { place: Location::Path(name), reason: reason.to_owned() })
        } else {
            sample::import(&mut Entry { archive: &mut archive, name }, &log, bad, emitter)
        };
        or_bad(done, bad)?;
    }
    or_bad(log.end(emitter), bad)
}

/// The names of the samples' entries, in a fixed order.
fn samples<R: Read + Seek>(archive: &ZipArchive<R>) -> Result<Vec<String>, ImportError> {
    if archive.len() > SAMPLES_MAX {
        let reason = format!("the archive has more than {SAMPLES_MAX} entries");
        return Err(ImportError::WrongFile { expected: EXPECTED, reason });
    }
    let mut names = Vec::new();
    for name in archive.file_names() {
        let name = name.map_err(|error| failed("the archive", error))?;
        // A sample in chunks has a folder of its own, with this entry in it.
        let inner = name.strip_prefix(SAMPLES);
        if inner.is_some_and(|inner| is_monolith(inner) || inner.ends_with("/sample.json")) {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Returns true for `<id>_epoch_<number>.json`. The id may have slashes.
fn is_monolith(name: &str) -> bool {
    let number = name.rsplit_once("_epoch_").and_then(|(_, rest)| rest.strip_suffix(".json"));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}
