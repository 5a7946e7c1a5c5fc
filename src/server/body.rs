//! Reading a body: bounded in bytes, in time and in memory, also after decompression.

use std::io::{self, Read};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};
use super::state::App;

/// Memory is given out in pieces of this many bytes.
const PIECE_BYTES: usize = 16 << 10;

/// Room that is made at once for a body whose length was announced.
const RESERVED_BYTES_MAX: usize = 256 << 10;

/// Largest window of a zstd frame, as a power of two: what RFC 9659 asks every decoder of this content
/// encoding to take, and not more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Room for the bodies of all requests together.
pub(crate) struct Memory {
    pieces: Arc<Semaphore>,
    all: usize,
}

impl Memory {
    pub(super) fn new(bytes: usize) -> Memory {
        let pieces = (bytes / PIECE_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Memory { pieces: Arc::new(Semaphore::new(pieces)), all: pieces }
    }

    /// Bytes that are in use.
    pub(crate) fn used_bytes(&self) -> usize {
        self.all.saturating_sub(self.pieces.available_permits()).saturating_mul(PIECE_BYTES)
    }
}

/// Memory that one request holds. It never waits for more: of many who did, all might wait for ever.
pub(crate) struct Held {
    pieces: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Held {
    fn of(memory: &Memory) -> Held {
        Held { pieces: memory.pieces.clone(), permit: None, bytes: 0 }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.bytes.div_ceil(PIECE_BYTES);
        self.bytes = self.bytes.saturating_add(bytes);
        let more = self.bytes.div_ceil(PIECE_BYTES) - before;
        if more == 0 {
            return Ok(());
        }
        let full = || {
            Problem::new(
                Kind::Overloaded,
                "too many bytes are being handled; nothing of this request was recorded",
            )
        };
        let more = u32::try_from(more).map_err(|_| full())?;
        let permit = self.pieces.clone().try_acquire_many_owned(more).map_err(|_| full())?;
        match &mut self.permit {
            None => self.permit = Some(permit),
            Some(held) => held.merge(permit),
        }
        Ok(())
    }
}

/// A body that was received whole and decompressed. Its memory counts as used until it is dropped.
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    _held: Held,
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
        "a body may have the content encoding gzip or zstd, or none; nothing was recorded",
    )
}

fn too_large(max: usize) -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("a body has at most {max} bytes here, also after decompression; send fewer events at once"),
    )
}

/// A body that was not asked for yet: what is wrong with the headers is said first.
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

/// Receives a body.
pub(crate) async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Received, Problem> {
    let max = app.limits.body_bytes;
    let encoding = Encoding::of(headers)?;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
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
    app.work(sent.len(), move || decompress(encoding, &sent, max, held))
        .await
        .map_err(|_| Problem::new(Kind::Internal, "the body could not be decompressed"))?
}

async fn collect(mut body: Body, expected: usize, max: usize, held: &mut Held) -> Result<Bytes, Problem> {
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(Kind::BadRequest, format!("the body broke off: {error}; nothing was recorded"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > max {
            return Err(too_large(max));
        }
        held.take(data.len())?;
        match (&first, whole.is_empty()) {
            // A body in one piece is not copied.
            (None, true) => first = Some(data),
            (Some(before), _) => {
                // What was announced is a client's word: room is made for a part of it.
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

fn decompress(encoding: Encoding, sent: &[u8], max: usize, mut held: Held) -> Result<Received, Problem> {
    let wrong = |error: &io::Error| {
        Problem::new(
            Kind::BadEncoding,
            format!("the body cannot be decompressed: {error}; nothing was recorded"),
        )
    };
    let mut source: Box<dyn Read> = match encoding {
        Encoding::Identity => Box::new(sent),
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(sent)),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(sent).map_err(|error| wrong(&error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| wrong(&error))?;
            Box::new(decoder)
        }
    };
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let piece = u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX);
        source.by_ref().take(piece).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
        let read = bytes.len() - before;
        if bytes.len() > max {
            return Err(too_large(max));
        }
        if read == 0 {
            return Ok(Received { bytes: Bytes::from(bytes), _held: held });
        }
        held.take(read)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

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
            let received = decompress(encoding, &sent, 1 << 20, held(1 << 20)).ok().unwrap();
            assert!(received.bytes == text, "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let zeros = vec![0; 8 << 20];
        for (encoding, bomb) in
            [(Encoding::Gzip, gzip(&zeros)), (Encoding::Zstd, zstd::encode_all(&*zeros, 3).unwrap())]
        {
            let problem = decompress(encoding, &bomb, 1 << 20, held(64 << 20)).err().unwrap();
            assert_eq!(problem.kind, Kind::TooLarge);
            let problem = decompress(encoding, &bomb, 64 << 20, held(1 << 20)).err().unwrap();
            assert_eq!(problem.kind, Kind::Overloaded);
        }
    }

    #[test]
    fn what_is_not_in_its_encoding_is_named() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let problem = decompress(encoding, b"[{}]", 1 << 20, held(1 << 20)).err().unwrap();
            assert_eq!(problem.kind, Kind::BadEncoding);
        }
        let cut = gzip(b"[{}]");
        let problem =
            decompress(Encoding::Gzip, &cut[..cut.len() - 4], 1 << 20, held(1 << 20)).err().unwrap();
        assert_eq!(problem.kind, Kind::BadEncoding);
    }

    #[test]
    fn memory_is_given_back_when_a_body_is_done() {
        let memory = Memory::new(64 << 10);
        let mut first = Held::of(&memory);
        first.take(1).unwrap();
        first.take(PIECE_BYTES).unwrap();
        assert_eq!(memory.used_bytes(), 32 << 10);
        assert!(first.take(64 << 10).is_err());
        drop(first);
        assert_eq!(memory.used_bytes(), 0);
    }
}
