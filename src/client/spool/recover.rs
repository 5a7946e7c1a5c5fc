//! Segments as a crash left them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::super::refusal::Refusals;

/// Puts the end of a segment right, and returns its length. A last line that lacks no more than its line
/// break is an event; anything else was cut off while it was written, before anybody was told that it
/// is safe, and goes to `refused.jsonl`.
pub(super) fn mend(path: &Path, refusals: &mut Refusals) -> io::Result<u64> {
    let bytes = fs::metadata(path)?.len();
    if is_start_of_line(path, bytes)? {
        return Ok(bytes);
    }
    let content = fs::read(path)?;
    let start = content.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
    let torn = content.get(start..).unwrap_or_default();
    let mut file = OpenOptions::new().write(true).open(path)?;
    let bytes = match super::read_line(torn.to_vec()) {
        Ok(_) => {
            file.seek(SeekFrom::End(0))?;
            file.write_all(b"\n")?;
            content.len() + 1
        }
        Err(text) => {
            refusals.torn(&text)?;
            file.set_len(start as u64)?;
            start
        }
    };
    file.sync_data()?;
    Ok(bytes as u64)
}

/// Whether a line starts at `offset`: it is the beginning of the file, or after a line break in it.
pub(super) fn is_start_of_line(path: &Path, offset: u64) -> io::Result<bool> {
    let Some(before) = offset.checked_sub(1) else { return Ok(true) };
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(before))?;
    let mut byte = [0];
    Ok(file.read(&mut byte)? == 1 && byte == *b"\n")
}

/// Line breaks from `offset` on.
pub(super) fn count_lines(path: &Path, offset: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let (mut buffer, mut count) = (vec![0; 64 << 10], 0);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(count);
        }
        let part = buffer.get(..read).unwrap_or_default();
        count += part.iter().filter(|&&byte| byte == b'\n').count() as u64;
    }
}
