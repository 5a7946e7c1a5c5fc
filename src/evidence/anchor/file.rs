//! A file that checkpoints are appended to: the simplest anchor, and the default one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::contract::{Anchor, AnchorAnswer, AnchorError, Consistency};
use crate::limits::NOTE_BYTES_MAX;
use crate::merkle::{EMPTY_ROOT, NodeHash};
use crate::note::{CheckpointFile, SignedCheckpoint};

/// Bytes at the end of the file that are read to find its last checkpoint. The first number is usually
/// enough, and the second for every checkpoint.
const TAIL_BYTES: [u64; 2] = [64 << 10, 2 * NOTE_BYTES_MAX as u64];

/// Longest wait for another program that has the file locked.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two attempts to lock the file.
const PAUSE: Duration = Duration::from_millis(20);

/// Appends checkpoints to a file and flushes each. An empty line separates two checkpoints.
///
/// The anchor protects the log only if nobody who can write the log can also write this file. Put the file on
/// another machine's disk, or in a place that only allows appending. Several processes may share the file.
#[derive(Clone, Debug)]
pub struct FileAnchor {
    path: PathBuf,
}

impl FileAnchor {
    /// Appends to the file at a path, which is created if it is missing.
    pub fn new(path: impl Into<PathBuf>) -> FileAnchor {
        FileAnchor { path: path.into() }
    }
}

impl Anchor for FileAnchor {
    fn name(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn submit(
        &mut self,
        checkpoint: &SignedCheckpoint,
        _: Consistency<'_>,
    ) -> Result<AnchorAnswer, AnchorError> {
        append(&self.path, checkpoint)
            .map_err(|error| AnchorError::new(format_args!("{}: {error}", self.path.display())))?;
        Ok(AnchorAnswer::Kept)
    }
}

fn append(path: &Path, checkpoint: &SignedCheckpoint) -> io::Result<()> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is not an ordinary file"));
    }
    // The lock is held until `file` is closed at the end. Everything below relies on it: the length, the tail
    // and the offset to write at stay valid.
    lock(&file)?;
    let bytes = file.metadata()?.len();
    let end = end_of(&mut file, bytes, checkpoint.origin())?;
    let found = CheckpointFile::recover(&end);
    let last = found.checkpoints.last();
    if let Some(last) = last {
        if last.origin() != checkpoint.origin() {
            return Err(io::Error::other(format!("holds checkpoints of another log, {}", last.origin())));
        }
        if last.size() == checkpoint.size() && last.text() != checkpoint.text() {
            return Err(io::Error::other(format!(
                "has another checkpoint of this log with {} events: two logs have the same origin, or this log was rewritten",
                last.size()
            )));
        }
        if last.size() > checkpoint.size() {
            return Err(io::Error::other(AnchorError::ahead(last.size(), checkpoint.size())));
        }
        // A repeated delivery changes nothing if the file already ends in this checkpoint with all signatures.
        let is_whole = checkpoint.signatures().iter().all(|own| last.signatures().contains(own));
        if found.rest.is_empty() && is_whole && last.size() == checkpoint.size() {
            return Ok(());
        }
    }
    // The checkpoint goes after the last good one, or in the place of one that lacks signatures. `rest` is a suffix
    // of the file, so the offset is right although only the tail was read.
    let good = bytes - found.rest.len() as u64;
    let from = match last {
        // The last checkpoint lacks signatures, or a crash tore its last signature: written anew as a whole.
        Some(last)
            if is_signature(found.rest)
                || last.size() == checkpoint.size() && is_beginning(found.rest, checkpoint.origin()) =>
        {
            good - last.to_string().len() as u64
        }
        // Nothing follows the last good checkpoint, except perhaps the torn beginning of another.
        _ if is_beginning(found.rest, checkpoint.origin()) => good,
        _ => {
            return Err(io::Error::other(
                "ends in something that is not a checkpoint of this log; name another file",
            ));
        }
    };
    if from < bytes {
        file.set_len(from)?;
    }
    file.seek(SeekFrom::Start(from))?;
    let gap = if from == good && good > 0 { "\n" } else { "" };
    // A crash before the flush leaves at most a torn checkpoint, which the next append finds and replaces.
    file.write_all(format!("{gap}{checkpoint}").as_bytes())?;
    file.sync_all()?;
    if bytes == 0 {
        // The file may be new: its name must survive a power cut as well.
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Locks the file, because other processes append to it too. Fails after a timeout instead of waiting forever.
fn lock(file: &File) -> io::Result<()> {
    let end = Instant::now() + TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("is locked by another program")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Returns true if the bytes at the end of the file can be the torn beginning of a checkpoint of this log,
/// with the empty line before it. Any other content is not ours, and stays.
fn is_beginning(rest: &[u8], origin: &str) -> bool {
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    // A tear within a character: the text ends before that character.
    let valid = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
    let text = rest.get(..valid).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or("");
    let mut lines: Vec<&str> = text.split('\n').collect();
    // The part after the last newline is the torn line. It is empty if the tear is at the end of a line.
    let Some(torn) = lines.pop() else { return false };
    let at = lines.len();
    lines.into_iter().enumerate().all(|(at, line)| is_line(at, line, origin)) && may_become(at, torn, origin)
}

/// Returns true if a line can have this index in a checkpoint of this log.
fn is_line(at: usize, line: &str, origin: &str) -> bool {
    match at {
        0 => line == origin,
        1 => !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()),
        2 => line.parse::<NodeHash>().is_ok(),
        3 => line.is_empty(),
        _ => line.starts_with(DASH),
    }
}

/// Returns true if a torn line can be the beginning of the line with this index.
fn may_become(at: usize, torn: &str, origin: &str) -> bool {
    match at {
        0 => origin.starts_with(torn),
        1 => torn.bytes().all(|byte| byte.is_ascii_digit()),
        2 => torn.len() <= EMPTY_ROOT.to_string().len(),
        3 => torn.is_empty(),
        _ => torn.starts_with(DASH) || DASH.starts_with(torn),
    }
}

/// The beginning of a line with a signature.
const DASH: &str = "\u{2014} ";

/// Returns true if bytes after a checkpoint can be the torn beginning of one more signature on it.
fn is_signature(rest: &[u8]) -> bool {
    let dash = DASH.as_bytes();
    !rest.is_empty() && (rest.starts_with(dash) || dash.starts_with(rest)) && !rest.contains(&b'\n')
}

/// Returns the end of the file from the start of a checkpoint of this log, or the whole file if it is short.
fn end_of(file: &mut File, bytes: u64, origin: &str) -> io::Result<Vec<u8>> {
    let mut end = Vec::new();
    for wanted in TAIL_BYTES {
        let from = bytes.saturating_sub(wanted);
        file.seek(SeekFrom::Start(from))?;
        end.clear();
        file.take(wanted).read_to_end(&mut end)?;
        if from == 0 {
            return Ok(end);
        }
        // An empty line and the origin begin a checkpoint. The cut is there, so that the parser starts at a whole one.
        let border = format!("\n\n{origin}\n");
        let found = end.windows(border.len()).position(|window| window == border.as_bytes());
        if let Some(at) = found {
            return Ok(end.split_off(at + 2));
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Checkpoint, SigningKey};

    fn checkpoint(size: u64) -> SignedCheckpoint {
        of("example.org/log", size, EMPTY_ROOT)
    }

    /// A checkpoint signed by two keys, as during a change of keys.
    fn of(origin: &str, size: u64, root: NodeHash) -> SignedCheckpoint {
        let mut checkpoint = SignedCheckpoint::unsigned(Checkpoint::new(origin, size, root).unwrap());
        for seed in [7, 8] {
            checkpoint.sign(&SigningKey::from_seed(origin, &[seed; 32]).unwrap());
        }
        checkpoint
    }

    fn sizes(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        text.parse::<CheckpointFile>().unwrap().checkpoints.iter().map(SignedCheckpoint::size).collect()
    }

    #[test]
    fn each_checkpoint_is_appended_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        for size in [1, 2, 2, 900] {
            append(&path, &checkpoint(size)).unwrap();
        }
        assert_eq!(sizes(&path), [1, 2, 900]);
    }

    #[test]
    fn a_checkpoint_of_more_events_than_the_log_has_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        append(&path, &checkpoint(900)).unwrap();
        let ahead = append(&path, &checkpoint(2)).unwrap_err().to_string();
        assert!(ahead.contains("900 events of this log, but the log has only 2"), "{ahead}");
        assert_eq!(sizes(&path), [900]);
    }

    #[test]
    fn a_checkpoint_that_was_torn_at_any_byte_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        append(&path, &checkpoint(1)).unwrap();
        let one = std::fs::read(&path).unwrap();
        append(&path, &checkpoint(2)).unwrap();
        let two = std::fs::read(&path).unwrap();
        for torn in one.len()..two.len() {
            std::fs::write(&path, &two[..torn]).unwrap();
            append(&path, &checkpoint(2)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), two, "torn at {torn}");

            std::fs::write(&path, &two[..torn]).unwrap();
            append(&path, &checkpoint(3)).unwrap();
            assert_eq!(sizes(&path).last(), Some(&3), "torn at {torn}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters");
        std::fs::write(&path, "Dear Ada,\n").unwrap();
        append(&path, &checkpoint(1)).unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "Dear Ada,\n");
    }

    #[test]
    fn checkpoints_of_another_log_or_another_history_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        append(&path, &checkpoint(9)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let other = append(&path, &of("example.org/other", 3, EMPTY_ROOT)).unwrap_err();
        assert!(other.to_string().contains("another log"), "{other}");
        let fork = append(&path, &of("example.org/log", 9, NodeHash::from_bytes([1; 32]))).unwrap_err();
        assert!(fork.to_string().contains("rewritten"), "{fork}");
        append(folder.path(), &checkpoint(9)).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn good_checkpoints_after_a_damaged_one_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        for size in [1, 2, 3] {
            append(&path, &checkpoint(size)).unwrap();
        }
        let whole = std::fs::read_to_string(&path).unwrap();
        for damaged in [
            whole.replacen("47DE", "", 1),
            whole.replacen("example.org/log\n1\n", "example.org/log\nmy precious notes\n", 1),
            whole.replacen("\n\n\u{2014}", "\n\n-", 1),
        ] {
            assert_ne!(damaged, whole);
            std::fs::write(&path, &damaged).unwrap();
            append(&path, &checkpoint(4)).unwrap_err();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn foreign_text_after_the_last_checkpoint_is_refused_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        append(&path, &checkpoint(1)).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("\nmy precious notes\n");
        std::fs::write(&path, &text).unwrap();
        let error = append(&path, &checkpoint(1)).unwrap_err().to_string();
        assert!(error.contains("ends in something that is not a checkpoint"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn only_the_end_of_a_long_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        for size in 1..=600 {
            append(&path, &checkpoint(size)).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() > TAIL_BYTES[0]);
        assert_eq!(sizes(&path), (1..=600).collect::<Vec<_>>());
    }
}
