//! Files that were edited or sent: changes by editors, mail programs and shells that do not change the
//! meaning of a text.
//!
//! A byte order mark, line ends of two characters and empty lines at the end are not tampering. They are
//! removed before a file is read. The signature then decides whether the rest is the text that was signed.

use std::borrow::Cow;

use super::collection::{CheckpointFile, CheckpointFileError};

/// The byte order mark, with which a text in UTF-8 may begin.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The beginning of a line with a signature.
const DASH: &str = "\u{2014} ";

/// A file that cannot be read as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotText {
    /// The file is in UTF-16, as some shells write redirected output.
    #[error("is in UTF-16; write it again in UTF-8")]
    Utf16,
    /// The file is not in UTF-8.
    #[error("is not text in UTF-8")]
    Other,
}

/// A checkpoint file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointReadError {
    /// The file is not text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// The file has other content than checkpoints.
    #[error(transparent)]
    File(#[from] CheckpointFileError),
}

/// Returns the bytes of a text as they were first written: without a byte order mark, with line ends of one
/// character, and without empty lines at the end.
pub fn as_written(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    // Only a file with line ends of two characters is copied.
    let mut text = match bytes.windows(2).any(|pair| pair == b"\r\n") {
        false => Cow::Borrowed(bytes),
        true => {
            let mut lines = Vec::with_capacity(bytes.len());
            for (at, byte) in bytes.iter().enumerate() {
                // A carriage return is dropped only before a newline: alone, it is part of the text.
                if *byte != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
                    lines.push(*byte);
                }
            }
            Cow::Owned(lines)
        }
    };
    let mut end = text.len();
    // One newline stays, because it ends the last line.
    while text.get(..end).is_some_and(|text| text.ends_with(b"\n\n")) {
        end -= 1;
    }
    match &mut text {
        Cow::Borrowed(borrowed) => *borrowed = borrowed.get(..end).unwrap_or(borrowed),
        Cow::Owned(owned) => owned.truncate(end),
    }
    text
}

/// Returns the text of a given file, as it was first written.
///
/// # Errors
/// If the file is not in UTF-8.
pub(crate) fn given_text(bytes: &[u8]) -> Result<String, NotText> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(NotText::Utf16);
    }
    String::from_utf8(as_written(bytes).into_owned()).map_err(|_| NotText::Other)
}

impl CheckpointFile {
    /// Reads a given file, which others may have put together. Between two checkpoints there may be no
    /// empty line, or several.
    ///
    /// # Errors
    /// If the file is not text, or has other content than checkpoints.
    pub fn from_given(bytes: &[u8]) -> Result<CheckpointFile, CheckpointReadError> {
        Ok(with_one_line_between(&given_text(bytes)?).parse::<CheckpointFile>()?)
    }
}

/// Puts one empty line between checkpoints. A checkpoint ends after its signatures: the next line that is
/// not one begins the next checkpoint.
fn with_one_line_between(text: &str) -> String {
    enum At {
        Text,
        /// After the empty line that ends the text; true once there was a signature.
        Signatures(bool),
        Between,
    }
    let mut written = String::with_capacity(text.len() + 1);
    let mut at = At::Between;
    for line in text.split_inclusive('\n') {
        // A checkpoint may end only after a signature. An empty line before one belongs to the checkpoint,
        // and is kept.
        let begins = match at {
            At::Between if line == "\n" => continue,
            At::Signatures(true) if line == "\n" => {
                at = At::Between;
                continue;
            }
            At::Between => true,
            At::Signatures(true) => !line.starts_with(DASH),
            At::Text | At::Signatures(false) => false,
        };
        // Exactly one separator, also if the file had none or several.
        if begins && !written.is_empty() {
            written.push('\n');
        }
        written.push_str(line);
        at = match at {
            _ if begins => At::Text,
            At::Text if line != "\n" => At::Text,
            At::Text => At::Signatures(false),
            At::Signatures(_) if line.starts_with(DASH) => At::Signatures(true),
            other => other,
        };
    }
    written
}

#[cfg(test)]
mod tests {
    use super::super::tests::checkpoint;
    use super::*;

    fn sizes(bytes: &[u8]) -> Vec<u64> {
        let file = CheckpointFile::from_given(bytes).unwrap();
        file.checkpoints.iter().map(super::super::SignedCheckpoint::size).collect()
    }

    #[test]
    fn what_editors_and_shells_do_to_a_file_does_not_change_its_checkpoints() {
        let (one, other) = (checkpoint(10).to_string(), checkpoint(20).to_string());
        for text in [
            format!("{one}\n{other}"),
            format!("{one}{other}"),
            format!("\n{one}\n\n\n{other}\n\n"),
            format!("\u{feff}{one}\n{other}"),
            format!("\u{feff}{one}{other}\n").replace('\n', "\r\n"),
        ] {
            assert_eq!(sizes(text.as_bytes()), [10, 20], "{text:?}");
            let file = CheckpointFile::from_given(text.as_bytes()).unwrap();
            assert_eq!(file.checkpoints, [checkpoint(10), checkpoint(20)]);
        }
        let utf16: Vec<u8> = format!("\u{feff}{one}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(CheckpointFile::from_given(&utf16), Err(CheckpointReadError::NotText(NotText::Utf16)));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_no_checkpoint_file() {
        let one = checkpoint(10).to_string();
        for text in [
            "",
            "\n",
            "\u{feff}",
            "letters\n",
            one.trim_end(),
            &format!("{one}more\n"),
            &one.replace("\n\n", "\n"),
        ] {
            assert!(
                matches!(CheckpointFile::from_given(text.as_bytes()), Err(CheckpointReadError::File(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_carriage_return_alone_stays_where_it_is() {
        assert_eq!(as_written(b"a\rb\r\nc\r\n\r\n"), b"a\rb\nc\n".as_slice());
        assert_eq!(as_written(b"\n\n"), b"\n".as_slice());
    }
}
