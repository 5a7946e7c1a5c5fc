//! Files on their way: what editors, mail programs and shells do to a text without its meaning being changed.
//!
//! A byte order mark, line ends of two characters and empty lines at the end are no tampering. They are taken away
//! before anything is read, and the signature says whether the rest is what was signed.

use std::borrow::Cow;

use super::collection::{CheckpointFile, CheckpointFileError};

/// What a text in UTF-8 may begin with.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How a line with a signature begins.
const DASH: &str = "\u{2014} ";

/// A file that is no text that could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotText {
    /// It is in another encoding, as some shells write what is sent to a file.
    #[error("is in UTF-16; write it again in UTF-8")]
    Utf16,
    /// It is anything else.
    #[error("is not text in UTF-8")]
    Other,
}

/// A checkpoint file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GivenError {
    /// It is no text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// It has something else in it than checkpoints.
    #[error(transparent)]
    File(#[from] CheckpointFileError),
}

/// The bytes of a text as they were written: without a byte order mark, with line ends of one character, and
/// without empty lines at the end.
pub fn as_written(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let mut text = match bytes.windows(2).any(|pair| pair == b"\r\n") {
        false => Cow::Borrowed(bytes),
        true => {
            let mut lines = Vec::with_capacity(bytes.len());
            for (at, byte) in bytes.iter().enumerate() {
                if *byte != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
                    lines.push(*byte);
                }
            }
            Cow::Owned(lines)
        }
    };
    let mut end = text.len();
    while text.get(..end).is_some_and(|text| text.ends_with(b"\n\n")) {
        end -= 1;
    }
    match &mut text {
        Cow::Borrowed(borrowed) => *borrowed = borrowed.get(..end).unwrap_or(borrowed),
        Cow::Owned(owned) => owned.truncate(end),
    }
    text
}

/// The text of a file that was given, as it was written.
///
/// # Errors
/// If it is not in UTF-8.
pub fn given_text(bytes: &[u8]) -> Result<String, NotText> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(NotText::Utf16);
    }
    String::from_utf8(as_written(bytes).into_owned()).map_err(|_| NotText::Other)
}

impl CheckpointFile {
    /// Reads a file that was given, which others may have put together: checkpoints that follow each other
    /// with no empty line between them, or several, are read as well.
    ///
    /// # Errors
    /// If it is no text, or has something else in it.
    pub fn from_given(bytes: &[u8]) -> Result<CheckpointFile, GivenError> {
        Ok(with_one_line_between(&given_text(bytes)?).parse::<CheckpointFile>()?)
    }
}

/// Checkpoints with one empty line between them. Signatures end a checkpoint, and whatever follows begins the
/// next one.
fn with_one_line_between(text: &str) -> String {
    enum At {
        Text,
        /// Behind the empty line after the text, and whether there was a signature.
        Signatures(bool),
        Between,
    }
    let mut written = String::with_capacity(text.len() + 1);
    let mut at = At::Between;
    for line in text.split_inclusive('\n') {
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
        assert_eq!(CheckpointFile::from_given(&utf16), Err(GivenError::NotText(NotText::Utf16)));
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
                matches!(CheckpointFile::from_given(text.as_bytes()), Err(GivenError::File(_))),
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
