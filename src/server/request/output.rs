//! An answer while it is written. A short one is in memory, within the budget of all requests. A long one is
//! in a file without a name.
//!
//! Nothing is sent before all of it is written. So the connection to the log is free as soon as that is done,
//! however slowly the client reads, and a failure on the way still has a status.

use std::fs::File;
use std::io::{self, Seek as _, Write};

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::io::AsyncReadExt as _;

use crate::server::app::App;
use crate::server::app::memory::{Held, Memory};
use crate::server::app::readers::Asked;
use crate::server::problem::{Kind, Problem};

/// Bytes of an answer that stay in memory. Nearly every page has fewer.
const IN_MEMORY_BYTES_MAX: usize = 1 << 20;

/// Bytes that are read from a file, and sent, at once.
const PART_BYTES: usize = 64 << 10;

/// An answer that is being written.
pub(crate) struct Output {
    asked: Asked,
    /// The part that is not in the file.
    bytes: Vec<u8>,
    held: Held,
    file: Option<File>,
    /// The share of the disk budget that the file takes up.
    disk: Held,
    length: u64,
    /// The first problem. Nothing more is written after it.
    problem: Option<Problem>,
}

/// The error for the code that writes the answer. The problem that the output keeps has the reason.
fn broken() -> io::Error {
    io::Error::other("the answer cannot be written")
}

impl Output {
    pub(crate) fn new(app: &App, asked: Asked) -> Output {
        Output::within(&app.memory, &app.disk, asked)
    }

    fn within(memory: &Memory, disk: &Memory, asked: Asked) -> Output {
        Output {
            asked,
            bytes: Vec::new(),
            held: Held::of(memory),
            file: None,
            disk: Held::of(disk),
            length: 0,
            problem: None,
        }
    }

    /// Writes a value as JSON.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Problem> {
        serde_json::to_writer(&mut *self, value).map_err(|error| self.failed(&error))
    }

    /// The problem that stopped the answer. If the output has none, the value has no such form, and `error`
    /// is the reason.
    pub(crate) fn failed(&mut self, error: &dyn std::fmt::Display) -> Problem {
        let no_form = || Problem::new(Kind::Internal, format!("the answer cannot be written: {error}"));
        self.problem.take().unwrap_or_else(no_form)
    }

    fn refuse(&mut self, problem: Problem) -> io::Error {
        self.problem.get_or_insert(problem);
        broken()
    }

    /// Moves the bytes in memory to the file. The first call makes the file.
    fn spill(&mut self) -> io::Result<()> {
        let length = self.bytes.len();
        // Counted before it is written, so that all long answers stay within the budget.
        if self.disk.take(length).is_err() {
            return Err(self.refuse(Problem::new(
                Kind::Overloaded,
                "too many long answers wait until their clients read them; ask for less, or send the request again later",
            )));
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.bytes),
            // The file has no name: the system removes it when it is closed, also after a crash.
            None => tempfile::tempfile().and_then(|mut file| {
                file.write_all(&self.bytes)?;
                self.file = Some(file);
                Ok(())
            }),
        };
        if let Err(error) = written {
            let folder = std::env::temp_dir();
            return Err(self.refuse(Problem::new(
                Kind::Unavailable,
                format!(
                    "the answer is too long for memory and cannot be stored in {}: {error}",
                    folder.display()
                ),
            )));
        }
        self.bytes.clear();
        Ok(())
    }

    /// The response, once the whole answer is written.
    pub(crate) fn into_response(mut self, media_type: &'static str) -> Result<Response, Problem> {
        // The file has the beginning of the answer, and the end is still in memory.
        if self.file.is_some() {
            self.spill().map_err(|error| self.failed(&error))?;
        }
        let headers = [(CONTENT_TYPE, media_type.to_owned()), (CONTENT_LENGTH, self.length.to_string())];
        // The share of the budget goes with the body. It is given back when the body was sent, or the client
        // is gone.
        let body = match self.file.take() {
            None => Body::from(Bytes::from_owner(Short { bytes: self.bytes, _held: self.held })),
            Some(mut file) => {
                file.rewind().map_err(|error| {
                    Problem::new(Kind::Unavailable, format!("the answer cannot be read again: {error}"))
                })?;
                let from = Long { file: tokio::fs::File::from_std(file), _disk: self.disk };
                Body::from_stream(stream::try_unfold(from, Long::next))
            }
        };
        Ok((headers, body).into_response())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.problem.is_some() {
            return Err(broken());
        }
        // Memory is taken from the budget before it is used, for the capacity of the vector too, which
        // doubles.
        let needed = self.bytes.len().saturating_add(bytes.len());
        if needed > self.bytes.capacity() {
            // Asked only when the vector grows or the file does, not at every write.
            if self.asked.is_in_vain() {
                return Err(
                    self.refuse(Problem::new(Kind::Unavailable, "the client no longer waits for the answer"))
                );
            }
            let capacity = needed.next_power_of_two().max(4 << 10);
            if self.held.take(capacity - self.bytes.capacity()).is_err() {
                return Err(self.refuse(Problem::new(
                    Kind::Overloaded,
                    "the server's memory budget is used up; ask for less, or send the request again later",
                )));
            }
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
        if self.bytes.len() >= IN_MEMORY_BYTES_MAX {
            if self.asked.is_in_vain() {
                return Err(
                    self.refuse(Problem::new(Kind::Unavailable, "the client no longer waits for the answer"))
                );
            }
            self.spill()?;
            // One large value must not keep its memory until the end.
            if self.bytes.capacity() > 2 * IN_MEMORY_BYTES_MAX {
                self.bytes.shrink_to(IN_MEMORY_BYTES_MAX);
                self.held.keep(self.bytes.capacity());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer in memory, until it is sent.
struct Short {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Short {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer in a file, until it is sent.
struct Long {
    file: tokio::fs::File,
    _disk: Held,
}

impl Long {
    async fn next(mut self) -> io::Result<Option<(Bytes, Long)>> {
        let mut part = BytesMut::with_capacity(PART_BYTES);
        let read = self.file.read_buf(&mut part).await?;
        Ok((read > 0).then(|| (part.freeze(), self)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn output(memory: &Memory, disk: &Memory) -> Output {
        Output::within(memory, disk, Asked::begun_by_nobody())
    }

    #[tokio::test]
    async fn an_answer_comes_whole_whether_it_is_kept_in_memory_or_on_the_disk() {
        let (memory, disk) = (Memory::new(4 << 20), Memory::new(64 << 20));
        for parts in [0_usize, 1, 1_000, 100_000] {
            let mut output = output(&memory, &disk);
            let part = b"seventeen bytes. ";
            (0..parts).for_each(|_| output.write_all(part).unwrap());
            assert!(memory.used_bytes() <= 3 << 20);
            assert_eq!(disk.used_bytes() > 0, parts == 100_000);
            let response = output.into_response("text/plain").ok().unwrap();
            assert_eq!(response.headers()[CONTENT_LENGTH], (parts * part.len()).to_string());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body == part.repeat(parts));
            drop(body);
            assert_eq!((memory.used_bytes(), disk.used_bytes()), (0, 0));
        }
    }

    #[test]
    fn an_answer_for_which_there_is_no_room_is_refused() {
        let (memory, disk) = (Memory::new(64 << 10), Memory::new(64 << 20));
        let mut output_short = output(&memory, &disk);
        assert!(output_short.write_all(&[b' '; 100_000]).is_err());
        assert_eq!(output_short.failed(&"").kind, Kind::Overloaded);
        let (memory, disk) = (Memory::new(4 << 20), Memory::new(2 << 20));
        let mut output_long = output(&memory, &disk);
        let written = (0..64).all(|_| output_long.write_all(&[b' '; 100_000]).is_ok());
        assert!(!written);
        assert_eq!(output_long.failed(&"").kind, Kind::Overloaded);
    }
}
