//! Images, sound and other files within messages, which come as base64. Their rows are artifacts, and a short text
//! stands in their place: their characters are no words.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::node::Node;
use super::precedence::Meaning;
use crate::event::{ArtifactAttached, Digest, Event, StepId, Timestamp};

/// The shortest run of base64 that is a file. Shorter ones are ids, hashes and signatures.
const RUN_BYTES_MIN: usize = 512;

/// Characters before and after the run in which its media type is looked for: the other members of its object.
const AROUND_BYTES: usize = 200;

/// Media types of the formats that some programs name alone.
const FORMATS: [(&str, &str); 12] = [
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("flac", "audio/flac"),
    ("opus", "audio/opus"),
    ("ogg", "audio/ogg"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
];

/// Both alphabets of RFC 4648, with or without padding.
fn decode(run: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet =
        if run.contains(['-', '_']) { &base64::alphabet::URL_SAFE } else { &base64::alphabet::STANDARD };
    GeneralPurpose::new(alphabet, config).decode(run).ok()
}

/// A file that was sent within a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blob {
    digest: Digest,
    media_type: String,
    size: u64,
}

impl Blob {
    /// The text that stands in its place. It has no character that JSON would escape.
    fn place(&self) -> String {
        format!("[{}, {} bytes, blake3 {}]", self.media_type, self.size, self.digest)
    }

    /// The artifact of a step.
    pub(super) fn attach(
        self,
        position: u64,
        step: Option<StepId>,
        at: Option<Timestamp>,
    ) -> Meaning<'static> {
        let attached = ArtifactAttached {
            artifact: self.digest,
            step,
            position: Some(position),
            media_type: Some(self.media_type),
            size: Some(self.size),
            ..ArtifactAttached::default()
        };
        Meaning { precedence: None, at, event: Cow::Owned(Event::ArtifactAttached(attached)) }
    }
}

/// Takes the files out of all texts of a tree. A file that it has several times is one.
// Recurses once per level. The JSON parser bounds the depth of a node.
pub(super) fn take(node: &mut Node<'_>, blobs: &mut Vec<Blob>) {
    match node {
        Node::List(items) => items.iter_mut().for_each(|item| take(item, blobs)),
        Node::Object(members) => {
            // OTLP's own lists and maps have the media type in another attribute: the text around the run is the JSON.
            // Once for all runs: an object may have many of them, and many members.
            let has_long = members.iter().any(|(_, value)| is_long(value));
            let beside = has_long.then(|| named(&neighbours(members))).flatten();
            for (_, value) in members.iter_mut() {
                match value {
                    Node::Text(text) if text.len() >= RUN_BYTES_MIN => {
                        if let Some(short) = shorten(text, beside.as_deref(), blobs) {
                            *text = Cow::Owned(short);
                        }
                    }
                    value => take(value, blobs),
                }
            }
        }
        _ => {}
    }
}

fn is_long(node: &Node<'_>) -> bool {
    node.text().is_some_and(|text| text.len() >= RUN_BYTES_MIN)
}

/// The short members of an object, as JSON: a file's media type is beside its content.
fn neighbours(members: &[(Cow<'_, str>, Node<'_>)]) -> String {
    let short =
        members.iter().filter(|(_, value)| value.text().is_some_and(|text| text.len() < AROUND_BYTES));
    short.map(|(name, value)| format!("\"{name}\":\"{}\",", value.text().unwrap_or_default())).collect()
}

/// The text with its files taken out. None if it has none. `beside` is the media type that another member names.
fn shorten(text: &str, beside: Option<&str>, blobs: &mut Vec<Blob>) -> Option<String> {
    let mut short = String::new();
    let mut done = 0;
    for (start, end) in runs(text) {
        let (before, run, after) = (text.get(done..start)?, text.get(start..end)?, text.get(end..)?);
        let Some((media_type, prefix)) = media_type(before, after, beside) else { continue };
        let Some(content) = decode(run) else { continue };
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let blob = Blob { digest: Digest::of(&content), media_type, size };
        short.push_str(before.get(..before.len().saturating_sub(prefix))?);
        short.push_str(&blob.place());
        if !blobs.contains(&blob) {
            blobs.push(blob);
        }
        done = end;
    }
    short.push_str(text.get(done..)?);
    (done > 0).then_some(short)
}

/// The begin and end of each run of base64 that is long enough.
fn runs(text: &str) -> Vec<(usize, usize)> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    let bytes = text.as_bytes();
    let mut runs = Vec::new();
    let mut from = 0;
    while let Some(begin) = bytes.get(from..).and_then(|rest| rest.iter().position(|byte| is_base64(*byte))) {
        let begin = from.saturating_add(begin);
        let rest = bytes.get(begin..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_base64(*byte)).unwrap_or(rest.len());
        let padding = rest.iter().skip(length).take(2).take_while(|byte| **byte == b'=').count();
        let end = begin.saturating_add(length).saturating_add(padding);
        if length >= RUN_BYTES_MIN {
            runs.push((begin, end));
        }
        from = end.saturating_add(1);
    }
    runs
}

/// The media type of a run, and the length of the prefix `data:…;base64,` before it. None if nothing names one.
fn media_type(before: &str, after: &str, beside: Option<&str>) -> Option<(String, usize)> {
    if let Some(head) = before.strip_suffix(";base64,")
        // The whole text before it would be searched again for each run.
        && let Some(head) = head.get(boundary(head, head.len().saturating_sub(AROUND_BYTES))..)
        && let Some(begin) = head.rfind("data:").and_then(|begin| head.get(begin..))
    {
        let name = begin.strip_prefix("data:")?;
        let name = name.split(';').next().filter(|name| is_media_type(name))?;
        return Some((name.to_owned(), begin.len().saturating_add(";base64,".len())));
    }
    let near = nearest(before, after).into_iter().find_map(named);
    near.or_else(|| beside.map(str::to_owned)).map(|name| (name, 0))
}

/// The texts around a run, up to the ends of its object and of the one around that.
fn nearest<'t>(before: &'t str, after: &'t str) -> [&'t str; 2] {
    let from = boundary(before, before.len().saturating_sub(AROUND_BYTES));
    let head = before.get(from..).unwrap_or_default();
    let head = head.rfind('}').and_then(|end| head.get(end..)).unwrap_or(head);
    let until = boundary(after, AROUND_BYTES.min(after.len()));
    let tail = after.get(..until).unwrap_or_default();
    let tail = tail.find('{').and_then(|begin| tail.get(..begin)).unwrap_or(tail);
    [head, tail]
}

/// The last character boundary at or before an offset.
fn boundary(text: &str, offset: usize) -> usize {
    (0..=offset).rev().find(|offset| text.is_char_boundary(*offset)).unwrap_or(0)
}

/// The media type that a member of JSON names. The JSON may be escaped, once or twice.
fn named(json: &str) -> Option<String> {
    const NAMES: [&str; 6] = ["mime_type", "mimeType", "media_type", "mediaType", "contentType", "format"];
    let parts: Vec<&str> = json.split(['"', '\\']).filter(|part| !part.is_empty()).collect();
    parts.iter().enumerate().find_map(|(place, name)| {
        if !NAMES.contains(name) || parts.get(place.checked_add(1)?)?.trim() != ":" {
            return None;
        }
        let value = *parts.get(place.checked_add(2)?)?;
        let format = FORMATS.iter().find(|(format, _)| *format == value).map(|(_, name)| *name);
        format.or(Some(value).filter(|value| is_media_type(value))).map(str::to_owned)
    })
}

fn is_media_type(name: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty()
            && token.len() < 64
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
    };
    name.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    /// The content of a file, and its base64.
    fn file() -> (Vec<u8>, String) {
        let content: Vec<u8> = (0..=255).cycle().take(600).collect();
        let text = BASE64_STANDARD.encode(&content);
        (content, text)
    }

    fn taken(json: &str) -> (String, Vec<Blob>) {
        let mut node = Node::parse(json).unwrap();
        let mut blobs = Vec::new();
        take(&mut node, &mut blobs);
        (node.to_json(), blobs)
    }

    #[test]
    fn a_file_is_taken_out_in_each_form_in_which_programs_send_it() {
        let (content, text) = file();
        let digest = Digest::of(&content);
        let place = format!("[image/png, 600 bytes, blake3 {digest}]");
        let forms = [
            r#"{"type":"blob","mime_type":"image/png","modality":"image","content":"FILE"}"#,
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,FILE"}}"#,
            r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"FILE"}}"#,
            r#"{"inlineData":{"data":"FILE","mimeType":"image/png"}}"#,
            r#"{"image":{"format":"png","source":{"bytes":"FILE"}}}"#,
            r#"{"type":"file","mediaType":"image/png","data":"FILE"}"#,
        ];
        for form in forms {
            // As JSON within a text of an attribute, and as a tree of its own.
            let inner = serde_json::Value::String(form.replace("FILE", &text)).to_string();
            let (json, blobs) = taken(&format!(r#"{{"value":{{"stringValue":{inner}}}}}"#));
            assert_eq!(blobs, [Blob { digest, media_type: "image/png".to_owned(), size: 600 }], "{form}");
            assert!(json.contains(&place) && !json.contains(text.get(..64).unwrap()), "{json}");
            assert!(!json.contains("base64,"), "{json}");
        }
    }

    #[test]
    fn a_text_that_names_no_media_type_stays() {
        let (_, text) = file();
        for json in [
            format!(r#"{{"signature":"{text}"}}"#),
            format!(r#"{{"a":{{"mimeType":"image/png"}},"signature":"{text}"}}"#),
            format!(r#"{{"mime_type":"image/png","content":"{} words"}}"#, "some ".repeat(200)),
        ] {
            assert_eq!(taken(&json), (json.clone(), Vec::new()));
        }
    }

    #[test]
    fn a_file_that_stands_there_twice_is_one() {
        let (_, text) = file();
        let form = format!(r#"{{"a":"data:image/png;base64,{text} data:image/png;base64,{text}"}}"#);
        let (json, blobs) = taken(&form);
        assert_eq!((blobs.len(), json.matches("[image/png").count()), (1, 2));
    }

    #[test]
    fn many_runs_and_many_members_take_no_longer_than_their_length() {
        let (_, text) = file();
        let run = text.get(..RUN_BYTES_MIN).unwrap();
        // No run has a media type nearby, and no member of the object has one either.
        let members: String = (0..20_000).map(|place| format!(r#""m{place}":"v","#)).collect();
        let plain = format!(r#"{{{members}"a":"{}"}}"#, vec![run; 1_000].join(" "));
        // Each run looks like the content of a data URL, whose beginning is missing.
        let urls = format!(r#"{{"a":"{}"}}"#, vec![run; 2_000].join(" ;base64,"));
        let began = std::time::Instant::now();
        for json in [plain, urls] {
            let (taken, blobs) = taken(&json);
            assert_eq!((taken.len(), blobs.len()), (json.len(), 0));
        }
        // The time of a machine under load: with a scan for each run, it is minutes.
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }
}
