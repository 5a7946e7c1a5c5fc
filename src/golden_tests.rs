//! Tests against the golden files of `tests/golden/`, which show format 1 byte by byte. `docs/format.md` specifies
//! the format; these tests compare the code and the page with the files.
//!
//! The files change only when `write_golden_files` is run on purpose:
//! `ANNALS_WRITE_GOLDEN=1 cargo test --lib write_golden_files -- --ignored`.

mod making;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use self::making::{vectors, write_database};
use crate::chain;
use crate::encoding;
use crate::entry::{ENCODING_PLAIN, Entry, FORMAT};
use crate::event::{Content, Event, EventId, Kind, Seq, Strictness, Timestamp, parse_draft, write_event};
use crate::limits::SALT_BYTES;
use crate::prepare::{Parts, Prepared};

const FORMAT_PAGE: &str = include_str!("../docs/format.md");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    hex.as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
        .collect()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Vectors {
    /// Values as section 2 of the page shows them.
    values: Vec<ValueVector>,
    /// Malformed entries, and malformed payloads of note.logged.
    malformed: Vec<MalformedVector>,
    /// Events in the order of one log.
    events: Vec<EventVector>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ValueVector {
    value: String,
    r#type: String,
    bytes: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct MalformedVector {
    what: String,
    /// `entry`, or the name of the kind that the payload should be of.
    r#type: String,
    bytes: String,
    /// The bytes without the fault; these are well formed.
    well_formed: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct EventVector {
    name: String,
    /// The JSON form, as a text: its spelling matters.
    json: String,
    entry_fields: EntryFields,
    salt: String,
    payload: String,
    payload_digest: String,
    entry: String,
    previous_link: String,
    link: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct EntryFields {
    format: u8,
    seq: u64,
    event_id: String,
    kind: u16,
    kind_version: u8,
    session: Option<String>,
    occurred_at: Option<i64>,
    recorded_at: i64,
    principal: Option<String>,
    encoding: u8,
    payload_digest: String,
}

impl EntryFields {
    fn of(entry: &Entry) -> EntryFields {
        EntryFields {
            format: entry.format,
            seq: entry.seq,
            event_id: hex(entry.event_id.bytes()),
            kind: entry.kind,
            kind_version: entry.kind_version,
            session: entry.session.as_ref().map(ToString::to_string),
            occurred_at: entry.occurred_at.map(Timestamp::micros),
            recorded_at: entry.recorded_at.micros(),
            principal: entry.principal.map(|principal| hex(principal.bytes())),
            encoding: entry.encoding,
            payload_digest: entry.payload_digest.to_string(),
        }
    }
}

fn read_vectors() -> Vectors {
    serde_json::from_str(&fs::read_to_string(folder().join("vectors.json")).unwrap()).unwrap()
}

#[test]
#[ignore = "writes the golden files: set ANNALS_WRITE_GOLDEN=1 where the format is meant to change"]
fn write_golden_files() {
    // A run of all ignored tests must not change the files.
    if std::env::var("ANNALS_WRITE_GOLDEN").as_deref() != Ok("1") {
        panic!("ANNALS_WRITE_GOLDEN=1 is not set");
    }
    fs::create_dir_all(folder()).unwrap();
    let json = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    fs::write(folder().join("vectors.json"), json).unwrap();
    let path = folder().join("format-1.db");
    let _ = fs::remove_file(&path);
    write_database(&path);
}

// The code against the files.

#[test]
fn the_code_makes_the_vectors() {
    let (found, made) = (read_vectors(), vectors());
    assert_eq!(made.values, found.values);
    assert_eq!(made.malformed, found.malformed);
    // One by one first, so that a failure names the vector.
    for (found, made) in found.events.iter().zip(&made.events) {
        assert_eq!(made, found, "{}", found.name);
    }
    assert_eq!(made, found);
}

/// Derives the vectors from their JSON and salts alone, without the code that made them.
#[test]
fn the_vectors_follow_from_their_json_and_salts() {
    for vector in read_vectors().events {
        let kind = Kind::from_code(vector.entry_fields.kind).unwrap();
        let id: EventId = vector.json_field("id").unwrap().parse().unwrap();
        // A reserved kind is not read from JSON: its event comes from the payload, and its JSON is compared instead.
        let (session, at, event) = if kind.is_reserved() {
            let event = vector.event();
            assert_eq!(write_event(id, None, None, &event).unwrap(), vector.json, "{}", vector.name);
            (None, None, event)
        } else {
            let draft = parse_draft(&vector.json).unwrap();
            assert_eq!(draft.id, Some(id));
            assert_eq!(vector.event(), draft.event, "{}", vector.name);
            (draft.session, draft.at, draft.event)
        };
        let fields = &vector.entry_fields;
        let principal =
            fields.principal.as_ref().map(|id| EventId::from_bytes(bytes(id).try_into().unwrap()));
        let prepared = Parts { event_id: id, session, occurred_at: at, principal }
            .with_payload(&event, bytes(&vector.salt).try_into().unwrap())
            .unwrap();
        let prepared = match fields.kind_version == kind.version() {
            true => prepared,
            // Payloads of older versions are read, but no longer written.
            false => older(prepared, fields.kind_version, &bytes(&vector.payload)),
        };
        assert_eq!(hex(&prepared.cell), format!("{}{}", vector.salt, vector.payload), "{}", vector.name);
        assert_eq!(prepared.payload_digest.to_string(), vector.payload_digest, "{}", vector.name);
        let previous = vector.previous_link.parse().unwrap();
        let recorded_at = Timestamp::from_micros(fields.recorded_at);
        let mut sealed = Vec::new();
        let link = prepared.seal(&previous, Seq::new(fields.seq), recorded_at, &mut sealed).unwrap();
        assert_eq!(hex(&sealed), vector.entry, "{}", vector.name);
        assert_eq!(link.to_string(), vector.link, "{}", vector.name);
        let entry = Entry::decode_canonical(&sealed).unwrap();
        assert_eq!(&EntryFields::of(&entry), fields, "{}", vector.name);
        assert_eq!((entry.format, entry.encoding), (FORMAT, ENCODING_PLAIN));
    }
}

/// Gives an event the payload that an older version, which is no longer written, made of it.
fn older(prepared: Prepared, kind_version: u8, payload: &[u8]) -> Prepared {
    let cell = [&prepared.cell[..SALT_BYTES], payload].concat();
    Prepared { kind_version, payload_digest: chain::payload_digest(&cell), cell, ..prepared }
}

#[test]
fn malformed_bytes_are_refused_and_well_formed_ones_are_not() {
    for vector in read_vectors().malformed {
        // A vector is of a kind's payload if its type names a kind, and otherwise of an entry.
        let is_well_formed = |hex: &str| match vector.r#type.parse::<Kind>().ok() {
            Some(kind) => {
                let decoded =
                    Content::decode(kind.code(), 1, ENCODING_PLAIN, &bytes(hex), Strictness::Canonical);
                decoded.is_ok()
            }
            None => Entry::decode_canonical(&bytes(hex)).is_ok(),
        };
        assert!(is_well_formed(&vector.well_formed), "{}", vector.what);
        assert!(!is_well_formed(&vector.bytes), "{}", vector.what);
    }
}

#[test]
fn every_kind_has_vectors_whole_and_least() {
    let names: BTreeSet<String> = read_vectors().events.into_iter().map(|vector| vector.name).collect();
    for kind in Kind::ALL {
        let named =
            |ending: &str| names.iter().any(|name| name.starts_with(&format!("{}, {ending}", kind.name())));
        assert!(named("whole"), "{}", kind.name());
        assert!(
            named("least") || matches!(kind, Kind::EventsLost | Kind::ProjectionSkipped),
            "{}",
            kind.name()
        );
    }
}

// The page against the code.

#[test]
fn the_page_shows_the_values_as_they_are() {
    for vector in read_vectors().values {
        let row = format!("| {} | `{}` | `{}` |", vector.value, vector.r#type, vector.bytes);
        assert!(FORMAT_PAGE.contains(&row), "{row}");
    }
}

#[test]
fn the_page_lists_every_kind_and_word() {
    for kind in Kind::ALL {
        let versions: Vec<String> = (1..=kind.version()).map(|version| version.to_string()).collect();
        let row = format!("| {} | `{}` | {} |", kind.code(), kind.name(), versions.join(", "));
        assert!(FORMAT_PAGE.contains(&row), "{row}");
    }
    macro_rules! words {
        ($($name:ident = $page:literal),* $(,)?) => {$({
            let words: Vec<String> = crate::event::$name::ALL
                .iter()
                .map(|word| {
                    let mut number = Vec::new();
                    encoding::encode(word, &mut number).unwrap();
                    format!("{} {word}", number[0])
                })
                .collect();
            let row = format!("| {} | {} |", $page, words.join(", "));
            assert!(FORMAT_PAGE.contains(&row), "{row}");
        })*};
    }
    words!(
        SessionProgress = "session_progress",
        SessionEnd = "session_end",
        StepEnd = "step_end",
        StepKind = "step_kind",
        Severity = "severity",
        Outcome = "outcome",
        FindingStatus = "finding_status",
        SubjectKind = "subject_kind",
        Verdict = "verdict",
        ActionOutcome = "action_outcome",
        PolicyEffect = "policy_effect",
        Basis = "basis",
        KeyRole = "key_role",
        KeyChangeCause = "key_change_cause",
        ApiKeyScope = "api_key_scope",
    );
}

/// The fields that the page lists for a kind and a version, in its order.
fn fields_on_the_page(kind: Kind, version: u8) -> Vec<String> {
    let later = if version > 1 { format!(", version {version}") } else { String::new() };
    let heading = format!("**{}{later}** ({})\n\n", kind.name(), kind.code());
    let after = FORMAT_PAGE.split_once(&heading).unwrap_or_else(|| panic!("no {heading}")).1;
    after
        .lines()
        // The list of fields ends at the first empty line.
        .take_while(|line| !line.is_empty())
        .map(|line| line.split('`').nth(1).unwrap().to_owned())
        .collect()
}

#[test]
fn the_page_lists_the_fields_in_their_order() {
    let vectors = read_vectors().events;
    // Old versions of a kind stay on the page, because their payloads stay in logs.
    let kinds = Kind::ALL.iter().flat_map(|kind| (1..=kind.version()).map(|version| (*kind, version)));
    for (kind, version) in kinds {
        let page = fields_on_the_page(kind, version);
        let mut seen = BTreeSet::new();
        let is_of = |fields: &EntryFields| (fields.kind, fields.kind_version) == (kind.code(), version);
        for vector in vectors.iter().filter(|vector| is_of(&vector.entry_fields)) {
            let fields: Vec<String> = vector
                .json_fields()
                .into_iter()
                .map(|(name, _)| name)
                .filter(|name| !["type", "id", "session", "at"].contains(&name.as_str()))
                .collect();
            // Absent fields are left out of the JSON. So each vector shows the order of some fields, and all vectors of
            // a kind together must show every field that the page lists.
            let listed: Vec<_> = page.iter().filter(|name| fields.contains(name)).cloned().collect();
            assert_eq!(fields, listed, "{}", vector.name);
            seen.extend(fields);
        }
        assert_eq!(seen, page.into_iter().collect(), "{}", kind.name());
    }
}

impl EventVector {
    fn event(&self) -> Event {
        let EntryFields { kind, kind_version, .. } = self.entry_fields;
        let payload = bytes(&self.payload);
        match Content::decode(kind, kind_version, ENCODING_PLAIN, &payload, Strictness::Canonical) {
            Ok(Content::Event(event)) => event,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// The fields in their order, with each value as its JSON text.
    fn json_fields(&self) -> Vec<(String, String)> {
        let fields: Fields = serde_json::from_str(&self.json).unwrap();
        fields.0
    }

    fn json_field(&self, name: &str) -> Option<String> {
        let (_, value) = self.json_fields().into_iter().find(|(field, _)| field == name)?;
        serde_json::from_str(&value).unwrap()
    }
}

// A list and not a map: the order of the fields is compared.
struct Fields(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    fields.push((name, value.get().to_owned()));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Compares the page's worked example with the first entry.
#[test]
fn the_page_works_through_the_first_entry() {
    let vectors = read_vectors().events;
    let first = &vectors[0];
    let bytes_shown: String = FORMAT_PAGE
        .split_once("The first entry of the vectors, field by field:")
        .unwrap()
        .1
        .lines()
        // The lines of the indented block; the bytes are their first word.
        .filter_map(|line| line.strip_prefix("    "))
        .map_while(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(bytes_shown, first.entry);
    for shown in [&first.link, &first.payload_digest, &first.payload, &first.salt] {
        assert!(FORMAT_PAGE.contains(shown.as_str()), "{shown}");
    }
}
