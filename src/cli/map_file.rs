//! The file of a map, and the name of the source that it is applied to.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::import::Source;
use crate::import::map::{MAP_BYTES_MAX, Map};
use anyhow::{Context as _, bail};

/// Reads and checks a map.
pub(crate) fn read(path: &Path) -> anyhow::Result<Map> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    // One byte more than a map may have: enough for the error that it is too long.
    let limit = u64::try_from(MAP_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    file.take(limit)
        .read_to_string(&mut text)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    text.parse().with_context(|| format!("the map {}", path.display()))
}

/// The source of records: the name that was given, else that of the map, else that of the file.
pub(crate) fn source(given: Option<&str>, map: &Map, file: Option<&Path>) -> anyhow::Result<Source> {
    Ok(match (given, map.source(), file) {
        (Some(name), _, _) => Source::new(name)?,
        (None, Some(source), _) => source.clone(),
        (None, None, Some(file)) => Source::of_path(file)?,
        (None, None, None) => bail!(
            "standard input has no name, from which event ids are made; give one with --source, or as `source` in the map"
        ),
    })
}
