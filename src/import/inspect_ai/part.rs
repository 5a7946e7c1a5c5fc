//! Documents within a log.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use super::super::document::{Path, VALUE_BYTES_MAX, Want, walk_part};
use super::super::error::ImportError;
use crate::Json;

/// A document that can be read again from its beginning: a part of a file, or an entry of an archive.
pub(super) trait Part {
    /// Reads the part, and calls `each` for the values that the route hands over.
    fn walk(
        &mut self,
        route: &dyn Fn(&Path) -> Want,
        each: &mut dyn FnMut(&Path, Json) -> Result<(), ImportError>,
    ) -> Result<(), ImportError>;
}

/// A part of a file.
pub(super) struct Region<'a, R> {
    pub(super) reader: &'a mut R,
    pub(super) bytes: Range<u64>,
    /// The beginning of its paths.
    pub(super) base: String,
}

impl<R: Read + Seek> Part for Region<'_, R> {
    fn walk(
        &mut self,
        route: &dyn Fn(&Path) -> Want,
        each: &mut dyn FnMut(&Path, Json) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        self.reader.seek(SeekFrom::Start(self.bytes.start)).map_err(ImportError::Read)?;
        let part = self.reader.by_ref().take(self.bytes.end.saturating_sub(self.bytes.start));
        walk_part(part, "a sample of Inspect", &self.base, VALUE_BYTES_MAX, route, each)
    }
}
