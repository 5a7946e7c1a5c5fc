//! Segment files: their names, and reading and deleting them.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.jsonl"))
}

/// The number of the segment with this file name; `None` for other files.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// Deletes a segment. A file that does not exist counts as deleted.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Flushes a segment of an earlier process, and returns its length. That process may have been killed
/// between a write and its flush.
pub(super) fn flush(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    file.sync_data()?;
    Ok(file.metadata()?.len())
}

/// Counts the lines from `offset` on. A last line without a line break counts too.
pub(super) fn count_lines(path: &Path, offset: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    // Reads 64 KiB at a time, so that a segment is never in memory as a whole.
    let (mut buffer, mut count, mut last) = (vec![0; 64 << 10], 0, b'\n');
    loop {
        let read = file.read(&mut buffer)?;
        let part = buffer.get(..read).unwrap_or_default();
        let Some(&end) = part.last() else {
            return Ok(count + u64::from(last != b'\n'));
        };
        count += part.iter().filter(|&&byte| byte == b'\n').count() as u64;
        last = end;
    }
}

/// The line that ends at `offset`, without its line break. `None` if no line ends there.
pub(super) fn line_before(path: &Path, offset: u64) -> io::Result<Option<Vec<u8>>> {
    // Reads the segment from its beginning: it has a bounded size, and this happens once for each opening.
    let mut reader = BufReader::new(File::open(path)?.take(offset));
    let (mut line, mut read) = (Vec::new(), 0);
    loop {
        let mut next = Vec::new();
        let bytes = reader.read_until(b'\n', &mut next)?;
        if bytes == 0 {
            // A file shorter than `offset`, or an offset within a line, is not the segment of the mark.
            let is_there = read == offset && line.last() == Some(&b'\n');
            line.pop();
            return Ok(is_there.then_some(line));
        }
        read += bytes as u64;
        line = next;
    }
}
