//! Reading a body: bounded in bytes, in time and in memory, also after decompression.

use std::io::{self, Read};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use crate::server::app::App;
use crate::server::app::memory::{Full, Held, PIECE_BYTES};
use crate::server::problem::{Kind, Problem};

/// Most bytes that are reserved at once for a body with an announced length.
const RESERVED_BYTES_MAX: usize = 256 << 10;

/// Largest window of a zstd frame, as a power of two: the size that RFC 9659 asks every decoder of this
/// content encoding to accept, and not more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A body that was received whole and decompressed. Its memory counts until it is dropped.
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    _held: Held,
}

impl From<Full> for Problem {
    fn from(_: Full) -> Problem {
        Problem::new(
            Kind::Overloaded,
            "the server's memory budget is used up; nothing of this request was recorded",
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Encoding, Problem> {
        let mut found = Encoding::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            let name = value.as_bytes().trim_ascii();
            let encoding = if name.eq_ignore_ascii_case(b"identity") || name.is_empty() {
                continue;
            } else if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") {
                Encoding::Gzip
            } else if name.eq_ignore_ascii_case(b"zstd") {
                Encoding::Zstd
            } else {
                return Err(unsupported());
            };
            // One encoding at most, in however many headers.
            if found != Encoding::Identity {
                return Err(unsupported());
            }
            found = encoding;
        }
        Ok(found)
    }
}

fn unsupported() -> Problem {
    Problem::new(
        Kind::UnsupportedMediaType,
        "the header Content-Encoding of a body must be gzip or zstd, or absent; nothing was recorded",
    )
}

fn too_large(max: usize) -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("a body may have at most {max} bytes, also after decompression; send fewer events at once"),
    )
}

/// A body that is not read yet. Errors in the headers are reported before it is.
pub(crate) struct Unread(Body);

impl Unread {
    pub(crate) async fn receive(self, app: &App, headers: &HeaderMap) -> Result<Received, Problem> {
        receive(app, headers, self.0).await
    }
}

impl<S: Sync> FromRequest<S> for Unread {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Unread, Self::Rejection> {
        Ok(Unread(request.into_body()))
    }
}

impl FromRequest<App> for Received {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Received, Problem> {
        let (parts, body) = request.into_parts();
        receive(app, &parts.headers, body).await
    }
}

/// Receives a body whole and decompresses it, within the bounds of bytes, time and memory.
pub(crate) async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Received, Problem> {
    let max = app.limits.body_bytes;
    let encoding = Encoding::of(headers)?;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    // This saves reading the body. The bound does not depend on it: `collect` counts what arrives.
    if length.is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    let mut held = Held::of(&app.memory);
    let sent = tokio::time::timeout(app.limits.body, collect(body, length.unwrap_or(0), max, &mut held));
    let sent = sent.await.map_err(|_| {
        Problem::new(Kind::Timeout, "the body did not arrive in time; nothing of it was recorded")
    })??;
    if encoding == Encoding::Identity || sent.is_empty() {
        return Ok(Received { bytes: sent, _held: held });
    }
    // Few bytes may decompress to many: never on a thread that serves connections. The sent bytes and the
    // decompressed ones count in the same `held`.
    app.work_apart(move || decompress(encoding, sent, max, held))
        .await
        .map_err(|_| Problem::new(Kind::Internal, "the body could not be decompressed"))?
}

async fn collect(mut body: Body, expected: usize, max: usize, held: &mut Held) -> Result<Bytes, Problem> {
    // The bytes so far are in `first` or in `whole`, never in both.
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(Kind::BadRequest, format!("the body is incomplete: {error}; nothing was recorded"))
        })?;
        // Other frames are trailers, which have no meaning here.
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > max {
            return Err(too_large(max));
        }
        // The frame is in memory already, bounded by the connection's window. It counts from here, where it
        // is kept.
        held.take(data.len())?;
        match (&first, whole.is_empty()) {
            // A body in one frame is not copied.
            (None, true) => first = Some(data),
            (Some(before), _) => {
                // The announced length cannot be trusted: room is made for a bounded part of it.
                whole.reserve(expected.min(RESERVED_BYTES_MAX).max(before.len() + data.len()));
                whole.extend_from_slice(before);
                whole.extend_from_slice(&data);
                first = None;
            }
            (None, false) => whole.extend_from_slice(&data),
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// Decompresses a body. The sent bytes count until all of them are decompressed.
fn decompress(encoding: Encoding, sent: Bytes, max: usize, mut held: Held) -> Result<Received, Problem> {
    let bytes = decompressed(encoding, &sent, max, &mut held)?;
    drop(sent);
    held.keep(bytes.len());
    Ok(Received { bytes: Bytes::from(bytes), _held: held })
}

fn decompressed(encoding: Encoding, sent: &[u8], max: usize, held: &mut Held) -> Result<Vec<u8>, Problem> {
    let wrong = |error: &io::Error| {
        Problem::new(
            Kind::BadEncoding,
            format!("the body cannot be decompressed: {error}; nothing was recorded"),
        )
    };
    let mut source: Box<dyn Read> = match encoding {
        Encoding::Identity => Box::new(sent),
        // RFC 1952 lets a file have several members. They are one body.
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(sent)),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(sent).map_err(|error| wrong(&error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| wrong(&error))?;
            Box::new(decoder)
        }
    };
    let mut bytes = Vec::new();
    loop {
        // Decompressed in pieces: at most one is made beyond `max`, or beyond the memory budget.
        let before = bytes.len();
        let piece = u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX);
        source.by_ref().take(piece).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
        let read = bytes.len() - before;
        if bytes.len() > max {
            return Err(too_large(max));
        }
        if read == 0 {
            return Ok(bytes);
        }
        held.take(read)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::server::app::memory::Memory;

    fn held(bytes: usize) -> Held {
        Held::of(&Memory::new(bytes))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let text = b"[{}, {}]".repeat(10_000);
        for (encoding, sent) in
            [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd::encode_all(&*text, 3).unwrap())]
        {
            let received = decompress(encoding, sent.into(), 1 << 20, held(1 << 20)).ok().unwrap();
            assert!(received.bytes == text, "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let zeros = vec![0; 8 << 20];
        for (encoding, bomb) in
            [(Encoding::Gzip, gzip(&zeros)), (Encoding::Zstd, zstd::encode_all(&*zeros, 3).unwrap())]
        {
            let bomb = Bytes::from(bomb);
            let problem = decompress(encoding, bomb.clone(), 1 << 20, held(64 << 20)).err().unwrap();
            assert_eq!(problem.kind, Kind::TooLarge);
            let problem = decompress(encoding, bomb, 64 << 20, held(1 << 20)).err().unwrap();
            assert_eq!(problem.kind, Kind::Overloaded);
        }
    }

    #[test]
    fn what_is_not_in_its_encoding_is_named() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let problem =
                decompress(encoding, Bytes::from_static(b"[{}]"), 1 << 20, held(1 << 20)).err().unwrap();
            assert_eq!(problem.kind, Kind::BadEncoding);
        }
        let mut cut = Bytes::from(gzip(b"[{}]"));
        cut.truncate(cut.len() - 4);
        let problem = decompress(Encoding::Gzip, cut, 1 << 20, held(1 << 20)).err().unwrap();
        assert_eq!(problem.kind, Kind::BadEncoding);
    }
}
