//! The file that `annals import` reads.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Seek as _, SeekFrom};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, select_biased};

use super::interrupt::Interrupt;

/// A file, or a stream that may deliver nothing for any time. Its bytes are counted as they are read, and reading ends
/// with an error once the program was asked to end.
pub(super) struct Input {
    content: Content,
    /// Size of the file; None for a stream.
    pub(super) size: Option<u64>,
    /// Bytes that were read.
    pub(super) read: Rc<Cell<u64>>,
    pub(super) interrupt: Arc<Interrupt>,
}

enum Content {
    File(BufReader<File>),
    /// Parts of the stream, which a thread reads, and the one that is being read. The thread may be left in a call that
    /// does not return.
    Stream {
        parts: Receiver<io::Result<Vec<u8>>>,
        part: io::Cursor<Vec<u8>>,
    },
}

/// Bytes of a stream that are handed on together.
const PART_BYTES_MAX: usize = 256 << 10;

/// Most parts that wait to be taken.
const PARTS_WAITING_MAX: usize = 4;

/// The error of an import that was asked to end.
pub(super) const INTERRUPTED: &str = "interrupted; import it again to add the rest";

impl Input {
    pub(super) fn open(path: &Path) -> anyhow::Result<Input> {
        let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
        // Listened to only from here on: a named pipe that nobody writes to cannot be opened, and a signal ends that.
        let interrupt = Arc::new(Interrupt::listen());
        // A pipe has no length.
        let size = file.metadata().ok().filter(Metadata::is_file).map(|metadata| metadata.len());
        let content = match size {
            Some(_) => Content::File(BufReader::with_capacity(1 << 20, file)),
            None => Content::Stream { parts: read_in_background(file)?, part: io::Cursor::default() },
        };
        Ok(Input { content, size, read: Rc::new(Cell::new(0)), interrupt })
    }

    /// The same content in a file that can be read again from its beginning.
    pub(super) fn seekable(mut self) -> anyhow::Result<Input> {
        if self.size.is_some() {
            return Ok(self);
        }
        let mut copy = tempfile::tempfile().context("a temporary file for the input cannot be made")?;
        let size = io::copy(&mut self, &mut copy).context("the input cannot be copied")?;
        copy.rewind()?;
        self.read.set(0);
        Ok(Input {
            content: Content::File(BufReader::with_capacity(1 << 20, copy)),
            size: Some(size),
            ..self
        })
    }

    fn count(&self, bytes: usize) {
        self.read.set(self.read.get().saturating_add(bytes as u64));
    }
}

fn read_in_background(mut file: File) -> anyhow::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = crossbeam_channel::bounded(PARTS_WAITING_MAX);
    std::thread::Builder::new()
        .name("annals-input".to_owned())
        .spawn(move || {
            loop {
                let mut part = vec![0; PART_BYTES_MAX];
                let read = io::Read::read(&mut file, &mut part);
                let is_last = match &read {
                    Ok(bytes) => *bytes == 0,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => true,
                };
                let part = read.map(|bytes| {
                    part.truncate(bytes);
                    part
                });
                // If nobody takes parts any more, the command has ended.
                if sender.send(part).is_err() || is_last {
                    return;
                }
            }
        })
        .context("the thread that reads the input cannot be started")?;
    Ok(receiver)
}

impl io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let interrupted = || io::Error::other(INTERRUPTED);
        if self.interrupt.is_wished() {
            return Err(interrupted());
        }
        let bytes = match &mut self.content {
            Content::File(file) => file.read(buffer)?,
            Content::Stream { parts, part } => match io::Read::read(part, buffer)? {
                0 => {
                    let next = select_biased! {
                        recv(self.interrupt.word) -> _ => return Err(interrupted()),
                        recv(parts) -> next => next,
                    };
                    // After the last part there is none, and the thread is gone.
                    *part = io::Cursor::new(next.unwrap_or_else(|_| Ok(Vec::new()))?);
                    io::Read::read(part, buffer)?
                }
                bytes => bytes,
            },
        };
        self.count(bytes);
        Ok(bytes)
    }
}

impl io::Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.content {
            Content::File(file) => file.seek(to),
            Content::Stream { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
