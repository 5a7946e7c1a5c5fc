//! Files of the OpenTelemetry Collector's file exporter, one request after the other.
//!
//! The forms are those of `exporter/fileexporter` in opentelemetry-collector-contrib (`file_writer.go`, `codec.go` and
//! `compression_writer.go` at 07120cc8 and 432a0e70, 2026):
//!
//! | `format` | `compression` | in the file |
//! | --- | --- | --- |
//! | json | none | a line for each request |
//! | proto | none | for each request four bytes, its length (big-endian), then the message |
//! | json, proto | zstd | for each request four bytes, the length of a zstd frame, then the frame, which has the request |
//! | json, proto | zstd, with the gate `exporter.file.nativeCompression` | as without compression, all of it compressed |
//!
//! The form is found by the first bytes. One request at a time is in memory.

use std::io::{self, BufRead, BufReader, Read};

use super::points;
use super::protobuf;
use super::reading::Signal;
use super::request::Form;
use super::wire::{Fields, Value};
use crate::limits::LINE_BYTES_MAX;
use crate::lines::Lines;

/// Longest request, in bytes, as for a line of JSON.
pub const REQUEST_BYTES_MAX: usize = LINE_BYTES_MAX;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A request in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Its line, or its position among the requests of a file without lines; the first is 1.
    pub place: Place,
    /// The request itself.
    pub body: Vec<u8>,
    /// Its encoding.
    pub form: Form,
    /// The type of its items; None if it has no items.
    pub content: Option<Content>,
}

/// A position in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line.
    Line(u64),
    /// A request in a file without lines.
    Request(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Line(number) => write!(f, "line {number}"),
            Place::Request(number) => write!(f, "request {number}"),
        }
    }
}

/// The type of a request's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Items that become events.
    Events(Signal),
    /// Metrics, which become none.
    Metrics,
}

/// A file, or a part of it, that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file has no request.
    #[error("the file is empty; expected a file of the Collector's file exporter")]
    Empty,
    /// The disk, or the compression of the whole file, failed.
    #[error("the file cannot be read further: {0}")]
    Read(#[source] io::Error),
    /// The file ends within a request.
    #[error("{place}: the file ends within the request")]
    Cut {
        /// The request.
        place: Place,
    },
    /// The bytes before a request are no length that a request can have.
    #[error(
        "{place}: the file is not one of the Collector's file exporter: it states a request of {bytes} bytes, more than {REQUEST_BYTES_MAX}"
    )]
    TooLong {
        /// The request.
        place: Place,
        /// The stated length.
        bytes: u64,
    },
    /// One request cannot be read. Those after it can.
    #[error("{place}: {reason}")]
    Request {
        /// The request.
        place: Place,
        /// The fault.
        reason: String,
    },
}

impl FileError {
    /// Returns true if the requests after it can be read.
    pub fn is_of_one_request(&self) -> bool {
        matches!(self, FileError::Request { .. })
    }
}

/// The requests of a file, in order.
pub struct Requests<R: Read> {
    /// None after an error beyond which nothing can be read.
    source: Option<Source<R>>,
    /// Requests that were read.
    number: u64,
}

enum Source<R: Read> {
    Lines(Lines<Plain<R>>),
    Messages(Plain<R>),
}

/// A file, decompressed if all of it is compressed.
enum Plain<R: Read> {
    AsIs(BufReader<R>),
    Zstd(Box<BufReader<zstd::stream::read::Decoder<'static, BufReader<R>>>>),
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Plain::AsIs(reader) => reader.read(buffer),
            Plain::Zstd(reader) => reader.read(buffer),
        }
    }
}

impl<R: Read> Plain<R> {
    fn peek(&mut self) -> io::Result<&[u8]> {
        match self {
            Plain::AsIs(reader) => reader.fill_buf(),
            Plain::Zstd(reader) => reader.fill_buf(),
        }
    }
}

impl<R: Read> Requests<R> {
    /// Looks at the first bytes of a file.
    ///
    /// # Errors
    /// If the file is empty, or cannot be read.
    pub fn of(file: R) -> Result<Requests<R>, FileError> {
        let mut reader = BufReader::new(file);
        let mut plain = if reader.fill_buf().map_err(FileError::Read)?.starts_with(&ZSTD_MAGIC) {
            let decoder = zstd::stream::read::Decoder::with_buffer(reader).map_err(FileError::Read)?;
            Plain::Zstd(Box::new(BufReader::new(decoder)))
        } else {
            Plain::AsIs(reader)
        };
        let source = match plain.peek().map_err(FileError::Read)?.first() {
            None => return Err(FileError::Empty),
            // No request is so long that its length begins with one of these bytes.
            Some(b'{' | b'\n' | b'\r' | b' ' | b'\t' | 0xef) => Source::Lines(Lines::new(plain)),
            Some(_) => Source::Messages(plain),
        };
        Ok(Requests { source: Some(source), number: 0 })
    }

    fn message(plain: &mut Plain<R>, place: Place) -> Result<Option<Vec<u8>>, FileError> {
        let mut length = Vec::new();
        plain.by_ref().take(4).read_to_end(&mut length).map_err(FileError::Read)?;
        let length = match <[u8; 4]>::try_from(length.as_slice()) {
            Ok(length) => u64::from(u32::from_be_bytes(length)),
            Err(_) if length.is_empty() => return Ok(None),
            Err(_) => return Err(FileError::Cut { place }),
        };
        if length > u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX) {
            return Err(FileError::TooLong { place, bytes: length });
        }
        // A false length claims no memory: it grows with what is there.
        let mut body = Vec::new();
        plain.by_ref().take(length).read_to_end(&mut body).map_err(FileError::Read)?;
        match u64::try_from(body.len()) {
            Ok(bytes) if bytes == length => Ok(Some(body)),
            _ => Err(FileError::Cut { place }),
        }
    }
}

impl<R: Read> Iterator for Requests<R> {
    type Item = Result<Found, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.number = self.number.saturating_add(1);
        let found = match self.source.as_mut()? {
            Source::Lines(lines) => match lines.next_line() {
                Err(error) => Err(FileError::Read(error)),
                Ok(line) => {
                    let line = line?;
                    let place = Place::Line(line.number);
                    match line.text {
                        Ok(text) => found(place, text.into_bytes()),
                        Err(bad) => Err(FileError::Request { place, reason: bad.to_string() }),
                    }
                }
            },
            Source::Messages(plain) => {
                let place = Place::Request(self.number);
                let body = Requests::message(plain, place).transpose()?;
                body.and_then(|body| found(place, decompressed(place, body)?))
            }
        };
        if found.as_ref().is_err_and(|error| !error.is_of_one_request()) {
            self.source = None;
        }
        Some(found)
    }
}

/// The content of a request's own zstd frame, or the request as it is.
fn decompressed(place: Place, body: Vec<u8>) -> Result<Vec<u8>, FileError> {
    if !body.starts_with(&ZSTD_MAGIC) {
        return Ok(body);
    }
    let wrong = |reason: String| FileError::Request { place, reason };
    let decoder = zstd::stream::read::Decoder::with_buffer(body.as_slice())
        .map_err(|error| wrong(error.to_string()))?;
    let limit = u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    decoder.take(limit).read_to_end(&mut content).map_err(|error| wrong(format!("zstd: {error}")))?;
    if content.len() > REQUEST_BYTES_MAX {
        return Err(wrong(format!("it has more than {REQUEST_BYTES_MAX} bytes, decompressed")));
    }
    Ok(content)
}

fn found(place: Place, body: Vec<u8>) -> Result<Found, FileError> {
    let (form, content) = match body.first() {
        Some(b'{') => (Form::Json, of_json(&body)),
        _ => (Form::Protobuf, of_protobuf(&body)),
    };
    let content = content.map_err(|reason| FileError::Request { place, reason })?;
    Ok(Found { place, body, form, content })
}

/// The type of the items of a request in JSON, by the name of its list.
fn of_json(body: &[u8]) -> Result<Option<Content>, String> {
    let fields: crate::event::Fields<'_> = serde_json::from_slice(body)
        .map_err(|error| format!("it is not an OTLP request in JSON: {error}"))?;
    let mut lists = fields.0.iter().filter_map(|(name, _)| match name.as_str() {
        "resourceSpans" | "resource_spans" => Some((name, Content::Events(Signal::Traces))),
        "resourceLogs" | "resource_logs" => Some((name, Content::Events(Signal::Logs))),
        "resourceMetrics" | "resource_metrics" => Some((name, Content::Metrics)),
        _ => None,
    });
    match (lists.next(), lists.next(), fields.0.first()) {
        // One of them would be left unread.
        (Some((first, _)), Some((second, _)), _) => {
            Err(format!("it has `{first}` and `{second}`; write each as a request of its own"))
        }
        (Some((_, content)), None, _) => Ok(Some(content)),
        (None, _, Some((name, _))) => Err(format!(
            "it is not an OTLP request: it has `{name}`, and none of `resourceSpans`, `resourceLogs` and `resourceMetrics`"
        )),
        (None, _, None) => Ok(None),
    }
}

/// The type of the items of a request in protocol buffers: all requests have the same shape. A bad item may look like one
/// of another type, so it does not decide alone: the first item that is certainly a span or a log record does. Metrics
/// are not recorded, so a request has them only if no item is certainly something else.
fn of_protobuf(body: &[u8]) -> Result<Option<Content>, String> {
    let wrong = |_| "it is not an OTLP request in protocol buffers".to_owned();
    let (mut has_items, mut has_metric, mut may_be_logs) = (false, false, false);
    for group in Fields(body).all(1) {
        for scoped in Fields(group.and_then(Value::bytes).map_err(wrong)?).all(2) {
            for item in Fields(scoped.and_then(Value::bytes).map_err(wrong)?).all(2) {
                let item = item.and_then(Value::bytes).map_err(wrong)?;
                if let Some(signal) = certain(item) {
                    return Ok(Some(Content::Events(signal)));
                }
                let is_log = protobuf::log_head(item).is_ok();
                has_items = true;
                may_be_logs |= is_log;
                has_metric |= !is_log && points::is_metric(item);
            }
        }
    }
    match (has_items, has_metric, may_be_logs) {
        (false, ..) => Ok(None),
        (true, true, _) => Ok(Some(Content::Metrics)),
        (true, false, true) => Ok(Some(Content::Events(Signal::Logs))),
        (true, false, false) => Err("its items are neither spans nor log records nor metrics".to_owned()),
    }
}

/// The type of an item that has fields which only one type has. Field 1 is a message's bytes in a span (the id of its
/// trace) and in a metric (its name), and a number in a log record (its time).
fn certain(item: &[u8]) -> Option<Signal> {
    if let Ok(head) = protobuf::log_head(item)
        && (head.at > 0 || head.observed > 0)
    {
        return Some(Signal::Logs);
    }
    let head = protobuf::span_head(item).ok().filter(|head| !head.trace.is_empty())?;
    // In a metric, 4, 6 and 8 are reserved, and 7 is a message, which is no head of a span.
    let has_own_field = Fields(item).flatten().any(|(number, _)| matches!(number, 4 | 6 | 7 | 8));
    let has_ids = head.trace.len() == 16 && !points::is_metric(item);
    (has_own_field || has_ids).then_some(Signal::Traces)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACES: &str = r#"{"resourceSpans":[]}"#;
    const LOGS: &str = r#"{"resourceLogs":[]}"#;
    const METRICS: &str = r#"{"resourceMetrics":[]}"#;

    fn prefixed(bodies: &[&[u8]]) -> Vec<u8> {
        let prefixed = bodies.iter().flat_map(|body| {
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            length.into_iter().chain(body.iter().copied()).collect::<Vec<u8>>()
        });
        prefixed.collect()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).unwrap()
    }

    fn read(file: &[u8]) -> Vec<(String, String, Option<Content>)> {
        let requests = Requests::of(file).unwrap().map(|found| {
            let found = found.unwrap();
            (found.place.to_string(), String::from_utf8(found.body).unwrap(), found.content)
        });
        requests.collect()
    }

    #[test]
    fn each_form_of_the_exporter_is_found_by_its_first_bytes() {
        let lines = format!("{TRACES}\n{LOGS}\n\n{METRICS}\n");
        let messages = [TRACES, LOGS, METRICS].map(str::as_bytes);
        let frames: Vec<Vec<u8>> = messages.iter().map(|message| zstd(message)).collect();
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        // A file that was rotated, or flushed, has several frames.
        let in_frames: Vec<u8> = lines.split_inclusive('\n').flat_map(|line| zstd(line.as_bytes())).collect();
        for (file, places) in [
            (lines.clone().into_bytes(), ["line 1", "line 2", "line 4"]),
            (in_frames, ["line 1", "line 2", "line 4"]),
            (prefixed(&messages), ["request 1", "request 2", "request 3"]),
            (prefixed(&frames), ["request 1", "request 2", "request 3"]),
            (zstd(&prefixed(&messages)), ["request 1", "request 2", "request 3"]),
        ] {
            let expected = [
                (TRACES, Content::Events(Signal::Traces)),
                (LOGS, Content::Events(Signal::Logs)),
                (METRICS, Content::Metrics),
            ];
            let expected: Vec<_> = places
                .iter()
                .zip(expected)
                .map(|(place, (body, content))| ((*place).to_owned(), body.to_owned(), Some(content)))
                .collect();
            assert_eq!(read(&file), expected);
        }
    }

    /// The field of a message with this number, whose value is text or another message.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        prost::encoding::encode_varint(u64::try_from(value.len()).unwrap(), &mut field);
        field.extend(value);
        field
    }

    /// The field with this number, whose value is a time.
    fn time(number: u8) -> Vec<u8> {
        [&[number << 3 | 1][..], &1_u64.to_le_bytes()].concat()
    }

    #[test]
    fn a_request_in_protocol_buffers_has_the_type_of_its_first_item_that_is_of_one_type_only() {
        let attribute = [field(1, b"k"), field(2, &field(1, b"v"))].concat();
        let span = [field(1, &[0xf0; 16]), field(2, &[1; 8]), field(5, b"n"), time(7), time(8)].concat();
        let span_with_text_ids =
            [field(1, &[b'a'; 32]), field(2, &[b'b'; 16]), field(5, b"n"), time(7), field(9, &attribute)]
                .concat();
        let span_without_times = [field(1, &[0xf0; 16]), field(2, &[1; 8]), field(9, &attribute)].concat();
        let log_record = [time(1), field(5, &field(1, b"text"))].concat();
        let log_record_without_times = field(5, &field(1, b"text"));
        // A histogram, with a name of as many bytes as an id has.
        let metric = [field(1, &[b'm'; 16]), field(9, &field(1, &time(3)))].concat();
        let (traces, logs) = (Content::Events(Signal::Traces), Content::Events(Signal::Logs));
        for (items, content) in [
            (&[&span][..], traces),
            (&[&span_with_text_ids], traces),
            (&[&span_with_text_ids, &span], traces),
            (&[&span_without_times], traces),
            (&[&Vec::new(), &span], traces),
            (&[&metric, &span], traces),
            (&[&log_record], logs),
            (&[&log_record_without_times], logs),
            (&[&Vec::new()], logs),
            (&[&metric], Content::Metrics),
            (&[&field(1, b"name"), &metric], Content::Metrics),
        ] {
            let items: Vec<u8> = items.iter().flat_map(|item| field(2, item)).collect();
            assert_eq!(of_protobuf(&field(1, &field(2, &items))), Ok(Some(content)), "{items:?}");
        }
        let unknown = field(1, &field(2, &field(2, &field(1, b"text"))));
        assert_eq!(
            of_protobuf(&unknown).unwrap_err(),
            "its items are neither spans nor log records nor metrics"
        );
        assert_eq!(of_protobuf(&field(1, &[])), Ok(None));
    }

    fn error(file: &[u8]) -> String {
        let requests = match Requests::of(file) {
            Ok(requests) => requests,
            Err(error) => return error.to_string(),
        };
        requests.filter_map(Result::err).map(|error| error.to_string()).next().unwrap()
    }

    #[test]
    fn a_file_with_a_fault_is_refused_with_its_place() {
        let cut = prefixed(&[TRACES.as_bytes(), LOGS.as_bytes()]);
        assert_eq!(error(b""), "the file is empty; expected a file of the Collector's file exporter");
        assert_eq!(error(&cut[..cut.len() - 1]), "request 2: the file ends within the request");
        assert_eq!(error(&cut[..cut.len() - 21]), "request 2: the file ends within the request");
        assert!(error(b"SQLite format 3\0").starts_with("request 1: the file is not one of the Collector's"));
        assert!(error(b"{\"a\": 1}").starts_with("line 1: it is not an OTLP request: it has `a`"));
        assert_eq!(
            error(b"{\"resourceMetrics\": [], \"resourceSpans\": []}"),
            "line 1: it has `resourceMetrics` and `resourceSpans`; write each as a request of its own"
        );
        assert!(error(b"{\"a\"").starts_with("line 1: it is not an OTLP request in JSON"));
        assert_eq!(error(&prefixed(&[b"\xff"])), "request 1: it is not an OTLP request in protocol buffers");
        let zstd = zstd(TRACES.as_bytes());
        assert!(error(&prefixed(&[&zstd[..zstd.len() - 3]])).starts_with("request 1: zstd: "));
        assert!(error(&zstd[..zstd.len() - 3]).starts_with("the file cannot be read further"));
    }
}
