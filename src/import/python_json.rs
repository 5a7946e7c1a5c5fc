//! JSON as Python writes it: `NaN`, `Infinity` and `-Infinity` stand where numbers do, and a byte order mark may stand
//! before it.

use std::cell::Cell;
use std::io::{self, Read};
use std::ops::Range;
use std::rc::Rc;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A byte order mark in UTF-8.
const MARK: [u8; 3] = *b"\xef\xbb\xbf";

/// A reader that hands these three words over as texts, so that nothing of them is lost.
pub(super) struct PythonJson<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The bytes of the buffer that were not handed over.
    unread: Range<usize>,
    /// All bytes that were taken from the buffer.
    taken: Rc<Cell<u64>>,
    state: State,
    /// Bytes that are handed over before the next one is read; the last one first.
    waiting: Vec<u8>,
}

/// The place of the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    InText,
    /// After a backslash in a text.
    Escaped,
    /// In one of the words.
    InWord,
}

impl<R: Read> PythonJson<R> {
    /// Wraps a reader. `taken` counts its bytes.
    pub(super) fn new(reader: R, taken: Rc<Cell<u64>>) -> PythonJson<R> {
        let buffer = vec![0; BUFFER_BYTES];
        PythonJson { reader, buffer, unread: 0..0, taken, state: State::Between, waiting: Vec::new() }
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        if self.taken.get() == 0 {
            self.skip_mark()?;
        }
        if let Some(byte) = self.waiting.pop() {
            return Ok(Some(byte));
        }
        let Some(byte) = self.read_one()? else {
            // The word was the last of the file.
            let is_open = self.state == State::InWord;
            self.state = State::Between;
            return Ok(is_open.then_some(b'"'));
        };
        match (self.state, byte) {
            (State::Between, b'"') => self.state = State::InText,
            (State::Between, b'N' | b'I') => return Ok(Some(self.begin_word(&[byte]))),
            (State::Between, b'-') => match self.read_one()? {
                Some(b'I') => return Ok(Some(self.begin_word(b"-I"))),
                // Nothing but a digit can follow in JSON.
                Some(next) => self.waiting.push(next),
                None => {}
            },
            (State::InText, b'"') => self.state = State::Between,
            (State::InText, b'\\') => self.state = State::Escaped,
            (State::Escaped, _) => self.state = State::InText,
            (State::InWord, byte) if !byte.is_ascii_alphabetic() => {
                self.state = State::Between;
                self.waiting.push(byte);
                return Ok(Some(b'"'));
            }
            _ => {}
        }
        Ok(Some(byte))
    }

    /// Skips a byte order mark. Other bytes wait; none of them can begin a text or a word.
    fn skip_mark(&mut self) -> io::Result<()> {
        let mut begin = Vec::new();
        for expected in MARK {
            // Only looked at, unless all before it was a mark: most files have none.
            if !self.fill()? || self.peek() != Some(expected) {
                break;
            }
            begin.extend(self.read_one()?);
        }
        if begin.len() < MARK.len() {
            self.waiting.extend(begin.iter().rev());
        }
        Ok(())
    }

    fn begin_word(&mut self, read: &[u8]) -> u8 {
        self.state = State::InWord;
        self.waiting.extend(read.iter().rev());
        b'"'
    }

    fn read_one(&mut self) -> io::Result<Option<u8>> {
        if !self.fill()? {
            return Ok(None);
        }
        let byte = self.peek();
        self.unread.next();
        self.taken.set(self.taken.get().saturating_add(1));
        Ok(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.buffer.get(self.unread.start).copied()
    }

    /// Reads on if the buffer is used up. Returns false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        while self.unread.is_empty() {
            match self.reader.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(bytes) => self.unread = 0..bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl<R: Read> Read for PythonJson<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // serde_json asks for one byte at a time.
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        match self.next()? {
            Some(byte) => {
                *first = byte;
                Ok(1)
            }
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_python_become_texts_and_nothing_else_changes() {
        for (written, read) in [
            ("[NaN, -Infinity,Infinity]", r#"["NaN", "-Infinity","Infinity"]"#),
            (
                r#"{"NaN": -1, "a\"N": "Infinity -I", "b\\": NaN}"#,
                r#"{"NaN": -1, "a\"N": "Infinity -I", "b\\": "NaN"}"#,
            ),
            ("NaN", "\"NaN\""),
            ("[-1e-5, true, null]", "[-1e-5, true, null]"),
            ("[--1]", "[--1]"),
            ("-", "-"),
        ] {
            let mut found = String::new();
            PythonJson::new(written.as_bytes(), Rc::default()).read_to_string(&mut found).unwrap();
            assert_eq!(found, read);
        }
    }

    #[test]
    fn a_mark_at_the_beginning_is_skipped_and_counted() {
        let read = |bytes: &[u8]| {
            let (taken, mut found) = (Rc::<Cell<u64>>::default(), Vec::new());
            PythonJson::new(bytes, Rc::clone(&taken)).read_to_end(&mut found).unwrap();
            (found, taken.get())
        };
        assert_eq!(read(b"\xef\xbb\xbfNaN"), (b"\"NaN\"".to_vec(), 6));
        for other in [b"\xef\xbbx".as_slice(), b"\xef", b"", b"{\"\xef\xbb\xbf\": 1}"] {
            assert_eq!(read(other), (other.to_vec(), other.len() as u64));
        }
    }
}
