//! Properties of every entry and payload, not only of the golden ones. The encoding is bincode 2, as `wincode`, which
//! others maintain, implements it too. Each value has one encoding. Decoders survive any bytes. Every event survives
//! the way through its JSON form and back.

#[macro_use]
mod values;

use proptest::prelude::*;

use self::values::{EntryMirror, Source, Value, mirrors};
use crate::encoding;
use crate::entry::{ENCODING_PLAIN, Entry, FORMAT};
use crate::event::{self, Content, Draft, Event, EventId, Kind, PayloadError, SessionId, Strictness};
use crate::event::{parse_draft, write_event};
use crate::limits::{ANNOUNCED_MAX, SALT_BYTES};
use crate::log::rows;

fn encoded<T: bincode::Encode>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encoding::encode(value, &mut bytes).unwrap();
    bytes
}

fn payload(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes).unwrap();
    bytes
}

fn decode(kind: u16, bytes: &[u8], strictness: Strictness) -> Result<Content, PayloadError> {
    // An unknown kind is not decoded, so its version does not matter.
    let version = Kind::from_code(kind).map_or(1, Kind::version);
    Content::decode(kind, version, ENCODING_PLAIN, bytes, strictness)
}

/// Calls a macro with every kind.
macro_rules! for_every_kind {
    ($each:ident) => {
        $each!(
            LogCreated,
            SessionStarted,
            SessionUpdated,
            SessionEnded,
            StepStarted,
            StepEnded,
            DecisionMade,
            FindingRaised,
            FindingUpdated,
            ReviewRecorded,
            ArtifactAttached,
            MetricRecorded,
            NoteLogged,
            ActionRecorded,
            OtelSpan,
            OtelLog,
            PolicyDecided,
            CoverageDeclared,
            Custom,
            EventsLost,
            PayloadRedacted,
            ProjectionSkipped,
            KeyChanged,
            ApiKeyCreated,
            ApiKeyRevoked
        )
    };
}

fn made_event(kind: Kind, source: &mut Source<'_>) -> Event {
    macro_rules! make {
        ($($name:ident),*) => {
            match kind { $(Kind::$name => event::$name::made(source).into()),* }
        };
    }
    for_every_kind!(make)
}

/// Compares both directions: wincode writes the same bytes, and reads them to the same value.
fn assert_wincode_agrees(event: &Event, bytes: &[u8]) {
    macro_rules! compare {
        ($($name:ident),*) => {
            match event { $(Event::$name(event) => {
                let mirror = event.mirror();
                let written = wincode::config::serialize(&mirror, wincode_config!()).unwrap();
                assert_eq!(written, bytes, "{}", stringify!($name));
                let read: mirrors::$name =
                    wincode::config::deserialize_exact(bytes, wincode_config!()).unwrap();
                assert_eq!(read, mirror);
            })* }
        };
    }
    for_every_kind!(compare);
}

/// Makes an event recordable: random values do not follow the rules of the fields.
fn tame(event: &mut Event) {
    fn fraction(number: &mut Option<f64>) {
        *number = number.map(|number| number.abs().clamp(0.0, 1.0));
    }
    fn filled(text: &mut String) {
        text.push('x');
    }
    fn object(json: &mut event::Json) {
        *json = format!(r#"{{"x":{json}}}"#).parse().unwrap();
    }
    match event {
        Event::OtelSpan(e) => {
            [Some(&mut e.span), e.resource.as_mut(), e.scope.as_mut()].into_iter().flatten().for_each(object);
        }
        Event::OtelLog(e) => {
            let objects = [Some(&mut e.log_record), e.resource.as_mut(), e.scope.as_mut()];
            objects.into_iter().flatten().for_each(object);
        }
        Event::SessionUpdated(e) => fraction(&mut e.progress),
        Event::StepEnded(e) => fraction(&mut e.confidence),
        Event::FindingRaised(e) => fraction(&mut e.confidence),
        Event::DecisionMade(e) => {
            fraction(&mut e.confidence);
            e.on_behalf_of.iter_mut().for_each(|principal| filled(&mut principal.actor.id));
            // A decision has one chosen option or a list of them, not both.
            if !e.chosen_options.is_empty() {
                e.chosen_option = None;
            }
        }
        Event::ReviewRecorded(e) => {
            filled(&mut e.actor);
            e.subject_id.get_or_insert_default();
            e.evidence_seen.iter_mut().for_each(filled);
        }
        Event::PolicyDecided(e) => {
            filled(&mut e.policy);
            e.subject_kind.get_or_insert_default();
            e.subject_id.get_or_insert_default();
        }
        Event::CoverageDeclared(e) => {
            filled(&mut e.source);
            e.instance.iter_mut().chain(&mut e.records).chain(&mut e.omits).for_each(filled);
            let counts = std::mem::take(&mut e.announced).into_values();
            let kinds =
                Kind::ALL.iter().filter(|kind| !kind.is_reserved()).map(|kind| kind.name().to_owned());
            e.announced = kinds.zip(counts.map(|count| count % (ANNOUNCED_MAX + 1))).collect();
        }
        Event::MetricRecorded(e) => filled(&mut e.name),
        Event::Custom(e) => filled(&mut e.name),
        Event::ActionRecorded(e) => {
            filled(&mut e.actor.id);
            filled(&mut e.action);
            e.on_behalf_of.iter_mut().for_each(|principal| filled(&mut principal.actor.id));
        }
        _ => {}
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL)
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

proptest! {
    #[test]
    fn an_entry_comes_back_and_wincode_agrees(bytes in any_bytes()) {
        let entry = Entry::made(&mut Source::new(&bytes));
        let bytes = encoded(&entry);
        prop_assert_eq!(&Entry::decode_canonical(&bytes).unwrap(), &entry);
        let mirror = entry.mirror();
        prop_assert_eq!(&wincode::config::serialize(&mirror, wincode_config!()).unwrap(), &bytes);
        let read: EntryMirror = wincode::config::deserialize_exact(&bytes, wincode_config!()).unwrap();
        prop_assert_eq!(read, mirror);
    }

    #[test]
    fn a_payload_comes_back_and_wincode_agrees(kind in any_kind(), bytes in any_bytes()) {
        let event = made_event(kind, &mut Source::new(&bytes));
        let bytes = payload(&event);
        let Content::Event(again) = decode(kind.code(), &bytes, Strictness::Canonical).unwrap() else {
            panic!("{} is known", kind.name());
        };
        prop_assert_eq!(&payload(&again), &bytes);
        prop_assert_eq!(again, event.clone());
        assert_wincode_agrees(&event, &bytes);
    }

    #[test]
    fn a_payload_of_an_earlier_version_is_read_without_the_fields_that_came_later(
        kind in any_kind(),
        bytes in any_bytes(),
    ) {
        let event = made_event(kind, &mut Source::new(&bytes));
        for version in 1..kind.version() {
            let earlier = event::encode_earlier(&event, version).unwrap();
            let read = Content::decode(kind.code(), version, ENCODING_PLAIN, &earlier, Strictness::Canonical);
            let Content::Event(read) = read.unwrap() else { panic!("{} is known", kind.name()) };
            prop_assert_eq!(read.kind(), kind);
            prop_assert_eq!(event::encode_earlier(&read, version).unwrap(), earlier);
            // What came later is as in an event that has none of it: a second way back changes nothing.
            let again = decode(kind.code(), &payload(&read), Strictness::Canonical).unwrap();
            prop_assert_eq!(again, Content::Event(read));
        }
        prop_assert!(event::encode_earlier(&event, kind.version()).is_none());
    }

    #[test]
    fn an_event_comes_back_from_its_json_form(
        kind in any_kind().prop_filter("reserved kinds are not read", |kind| !kind.is_reserved()),
        bytes in any_bytes(),
    ) {
        let source = &mut Source::new(&bytes);
        let mut draft = Draft {
            id: Some(EventId::made(source)),
            session: Some(SessionId::made(source)),
            at: Value::made(source),
            event: made_event(kind, source),
        };
        tame(&mut draft.event);
        // As `prepare` does it: in the JSON form a null is the same as an absent field.
        draft.drop_nulls();
        if draft.check().is_ok() {
            let json = write_event(draft.id.unwrap(), draft.session.as_ref(), draft.at, &draft.event).unwrap();
            prop_assert!(!json.contains(['\n', '\r']), "one event a line: {}", json);
            let again = parse_draft(&json).map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
            prop_assert_eq!(payload(&again.event), payload(&draft.event), "{}", json);
            prop_assert_eq!(again, draft);
        } else {
            // `tame` leaves one rule out: no attribute of an option may have the name of one of its fields.
            prop_assert!(matches!(draft.event, Event::DecisionMade(_)), "{:?}", draft.check());
        }
    }

    #[test]
    fn decoders_survive_random_bytes(code in 0_u16..260, bytes in any_bytes()) {
        let _ = Entry::decode_canonical(&bytes);
        // The right format in front leads past the first check.
        let _ = Entry::decode_canonical(&[&[FORMAT], bytes.as_slice()].concat());
        let _ = decode(code, &bytes, Strictness::Canonical);
    }

    /// Feeds bytes near to well-formed ones, which go deeper into the decoders than random bytes do.
    #[test]
    fn decoders_survive_bent_bytes_and_take_no_second_encoding(
        kind in any_kind(),
        bytes in any_bytes(),
        place in any::<prop::sample::Index>(),
        splice in prop::collection::vec(any::<u8>(), 0..10),
        cut in 0_usize..10,
    ) {
        let source = &mut Source::new(&bytes);
        let bend = |mut bytes: Vec<u8>| {
            // Replaces up to nine bytes at a random offset by up to nine others.
            let start = place.index(bytes.len() + 1);
            let end = bytes.len().min(start + cut);
            bytes.splice(start..end, splice.clone());
            bytes
        };
        let bent = bend(encoded(&Entry::made(source)));
        // Bent bytes that still decode must be the only encoding of their value.
        if let Ok(entry) = Entry::decode_canonical(&bent) {
            prop_assert_eq!(encoded(&entry), bent);
        }
        let whole = payload(&made_event(kind, source));
        let is_told = |bytes: &[u8]| Content::is_well_formed(kind.code(), kind.version(), ENCODING_PLAIN, bytes);
        // The check that builds no value must agree with the decoder, also on bent bytes. It leaves reserved kinds to
        // the decoder.
        prop_assert_eq!(is_told(&whole), !kind.is_reserved());
        let bent = bend(whole);
        let decoded = decode(kind.code(), &bent, Strictness::Canonical);
        prop_assert_eq!(is_told(&bent), decoded.is_ok() && !kind.is_reserved());
        if let Ok(Content::Event(event)) = decoded {
            prop_assert_eq!(payload(&event), bent);
        }
    }

    #[test]
    fn the_json_parser_survives_any_text(text in "\\PC{0,200}", kind in any_kind(), rest in "[ -~]{0,80}") {
        let _ = parse_draft(&text);
        let _ = parse_draft(&format!("{{\"type\":\"{}\",\"session\":\"s\",{rest}}}", kind.name()));
    }
}

/// Claims every length that a payload can claim, far beyond its bytes. A decoder that believed one would abort the
/// process, or fill its memory for longer than anybody waits.
#[test]
fn a_hostile_length_is_refused_wherever_it_stands() {
    let whole = [0xff; 600];
    for kind in Kind::ALL {
        let bytes = payload(&made_event(*kind, &mut Source::new(&whole)));
        // A length may stand at any offset, which depends on the kind: so every offset is tried. Decoding only has to
        // survive; a refusal is not asserted, because some offsets hold no length.
        for place in 0..bytes.len() {
            // Lengths from above the longest payload up to those that overflow when an offset is added.
            for length in [1_u64 << 27, 1 << 31, 1 << 40, 1 << 62, u64::MAX] {
                // The marker 0xfd announces eight bytes.
                let marker = [&[0xfd], length.to_le_bytes().as_slice()].concat();
                let hostile = [&bytes[..place], &marker, &bytes[place + 1..]].concat();
                let _ = decode(kind.code(), &hostile, Strictness::Whole);
            }
        }
    }
}

#[test]
fn lengths_at_the_start_of_a_payload_are_refused() {
    for (kind, rest) in [(Kind::PayloadRedacted, ""), (Kind::NoteLogged, "61"), (Kind::StepStarted, "61")] {
        for length in [1_u64 << 26, 1 << 28, 1 << 32, u64::MAX] {
            let hostile = [&[0xfd], length.to_le_bytes().as_slice(), rest.as_bytes()].concat();
            let refused = decode(kind.code(), &hostile, Strictness::Whole);
            assert!(matches!(refused, Err(PayloadError::Malformed(_))), "{}: {length}", kind.name());
        }
    }
}

#[test]
fn wincode_agrees_on_a_text_of_many_megabytes() {
    // Longer than the 4 MiB that wincode accepts by default.
    let note = event::NoteLogged { message: "ä".repeat(6 << 20), ..Default::default() };
    let event = Event::from(note);
    assert_wincode_agrees(&event, &payload(&event));
}

// Events of a newer Annals.

fn entry_of(kind: u16, kind_version: u8, encoding: u8) -> Entry {
    Entry { kind, kind_version, encoding, ..Entry::made(&mut Source::new(&[1; 100])) }
}

/// A payload cell that holds a note.
fn cell() -> Vec<u8> {
    let note = event::NoteLogged { message: "m".to_owned(), ..Default::default() };
    [[0; SALT_BYTES].as_slice(), &payload(&note.into())].concat()
}

fn read(entry: &[u8], cell: &[u8]) -> Result<event::Recorded, String> {
    rows::recorded(event::Seq::new(5), entry, Some(cell)).map_err(|error| error.to_string())
}

#[test]
fn an_entry_of_a_newer_format_is_refused_by_name() {
    let mut entry = encoded(&entry_of(112, 1, ENCODING_PLAIN));
    assert!(read(&entry, &cell()).is_ok());
    entry[0] = 2;
    let error = read(&entry, &cell()).unwrap_err();
    assert!(
        error.contains("event 5") && error.contains("log format 2") && error.contains("newer"),
        "{error}"
    );
    // The format is read first: a newer format may change every byte after it.
    let error = read(&[2, 0xff], &cell()).unwrap_err();
    assert!(error.contains("log format 2"), "{error}");
}

#[test]
fn an_entry_that_no_leaf_could_hold_is_refused() {
    // The mirror's session is a plain text, without the bound of a session id.
    let session = "s".repeat(crate::limits::ENTRY_BYTES_MAX);
    let long = EntryMirror { session: Some(session), ..entry_of(112, 1, 0).mirror() };
    let bytes = wincode::config::serialize(&long, wincode_config!()).unwrap();
    let error = Entry::decode_canonical(&bytes).unwrap_err().to_string();
    assert!(error.contains("65503"), "{error}");
}

#[test]
fn an_event_of_an_unknown_kind_is_read_as_its_bytes() {
    let read = read(&encoded(&entry_of(999, 7, ENCODING_PLAIN)), &cell()).unwrap();
    assert_eq!(read.content, Content::Raw(cell()[SALT_BYTES..].to_vec()));
    assert_eq!(read.kind_name(), "kind-999");
    assert!(read.to_json().contains(r#""type":"kind-999""#), "{}", read.to_json());
    assert!(read.to_json().contains(r#""raw":"016d00000000""#), "{}", read.to_json());
}

#[test]
fn a_payload_in_an_unknown_encoding_is_read_as_its_bytes() {
    let read = read(&encoded(&entry_of(112, 1, 1)), &cell()).unwrap();
    assert_eq!(read.content, Content::Raw(cell()[SALT_BYTES..].to_vec()));
}

#[test]
fn a_newer_version_of_a_kind_is_refused_by_name() {
    let error = read(&encoded(&entry_of(112, 2, ENCODING_PLAIN)), &cell()).unwrap_err();
    assert!(error.contains("event 5") && error.contains("note.logged version 2"), "{error}");
    assert!(error.contains("newer"), "{error}");
}

#[test]
fn a_payload_shorter_than_its_salt_is_refused() {
    let error = read(&encoded(&entry_of(112, 1, ENCODING_PLAIN)), &cell()[..SALT_BYTES - 1]).unwrap_err();
    assert!(error.contains("shorter than a salt"), "{error}");
}
