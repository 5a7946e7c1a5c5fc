//! Kinds of events: their codes and names, and the payload of each.

use std::fmt;
use std::str::FromStr;

use super::id::ParseError;
use super::payload::{
    ActionRecorded, ArtifactAttached, CoverageDeclared, Custom, DecisionMade, FindingRaised, FindingUpdated,
    MetricRecorded, NoteLogged, OtelLog, OtelSpan, PolicyDecided, ReviewRecorded, SessionEnded,
    SessionStarted, SessionUpdated, StepEnded, StepStarted,
};
use super::reserved::{
    ApiKeyCreated, ApiKeyRevoked, EventsLost, KeyChanged, LogCreated, PayloadRedacted, ProjectionSkipped,
};
use crate::canonical;
use crate::encoding::{self, DecodeError};

/// Declares the kinds: name of the payload and of the variant, code on disk, name in JSON.
macro_rules! kinds {
    ($( $name:ident = $code:literal, $text:literal; )*) => {
        /// The kind of an event. Its code on disk and its name in JSON never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $(
                #[doc = concat!("`", $text, "`, code ", stringify!($code), ".")]
                $name,
            )*
        }

        impl Kind {
            /// Every kind, by code.
            pub const ALL: &[Kind] = &[ $( Kind::$name, )* ];

            /// The code on disk.
            pub const fn code(self) -> u16 {
                match self { $( Kind::$name => $code, )* }
            }

            /// The name in JSON: the value of `type`.
            pub const fn name(self) -> &'static str {
                match self { $( Kind::$name => $text, )* }
            }
        }

        /// The payload of an event: one variant for each [`Kind`].
        // Events are made one at a time and moved once. A box would need an allocation for each of them.
        #[allow(clippy::large_enum_variant)]
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $(
                #[doc = concat!("`", $text, "`.")]
                $name($name),
            )*
        }

        impl Event {
            /// The kind of the event.
            pub const fn kind(&self) -> Kind {
                match self { $( Event::$name(_) => Kind::$name, )* }
            }

            /// Encodes the payload at the end of `bytes`.
            pub(crate) fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), encoding::EncodeError> {
                match self { $( Event::$name(payload) => encoding::encode(payload, bytes), )* }
            }

            /// Decodes a payload of `kind` and its newest version. It must take up all of `bytes`.
            pub(super) fn decode_newest(
                kind: Kind,
                version: u8,
                bytes: &[u8],
                strictness: Strictness,
            ) -> Result<Event, PayloadError> {
                match (kind, version) {
                    $(
                        (Kind::$name, version) if version == Kind::$name.version() => {
                            strictness.decode(bytes).map(Event::$name)
                        }
                    )*
                    _ => Err(PayloadError::UnknownVersion { kind, version }),
                }
            }

            /// Returns true if the bytes are certainly a canonical payload of this kind and version. If it
            /// returns false, only decoding can decide.
            pub(super) fn is_well_formed(code: u16, version: u8, bytes: &[u8]) -> bool {
                match (code, version) {
                    $( ($code, version) if version == Kind::$name.version() => canonical::is_well_formed::<$name>(bytes), )*
                    // Older versions and unknown kinds are rare, so decoding decides about them.
                    _ => false,
                }
            }

            /// Writes the payload's fields as a JSON object.
            pub(super) fn fields(&self) -> Result<String, serde_json::Error> {
                match self { $( Event::$name(payload) => serde_json::to_string(payload), )* }
            }
        }

        $(
            impl From<$name> for Event {
                fn from(payload: $name) -> Event {
                    Event::$name(payload)
                }
            }
        )*
    };
}

kinds! {
    // Kinds of one subject have neighbouring codes, with gaps between the subjects. Only Annals writes kinds
    // with codes from 240 on.
    LogCreated = 1, "log.created";
    SessionStarted = 16, "session.started";
    SessionUpdated = 17, "session.updated";
    SessionEnded = 18, "session.ended";
    StepStarted = 32, "step.started";
    StepEnded = 33, "step.ended";
    DecisionMade = 48, "decision.made";
    FindingRaised = 64, "finding.raised";
    FindingUpdated = 65, "finding.updated";
    ReviewRecorded = 66, "review.recorded";
    ArtifactAttached = 80, "artifact.attached";
    MetricRecorded = 96, "metric.recorded";
    NoteLogged = 112, "note.logged";
    ActionRecorded = 128, "action.recorded";
    OtelSpan = 144, "otel.span";
    OtelLog = 145, "otel.log";
    PolicyDecided = 160, "policy.decided";
    CoverageDeclared = 176, "coverage.declared";
    Custom = 200, "custom";
    EventsLost = 240, "events.lost";
    PayloadRedacted = 241, "payload.redacted";
    ProjectionSkipped = 242, "projection.skipped";
    KeyChanged = 243, "key.changed";
    ApiKeyCreated = 244, "apikey.created";
    ApiKeyRevoked = 245, "apikey.revoked";
}

impl Kind {
    /// The kind with this code, if this version of Annals knows it.
    pub fn from_code(code: u16) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// Version of the payload that this version of Annals writes.
    pub const fn version(self) -> u8 {
        match self {
            Kind::EventsLost
            | Kind::StepEnded
            | Kind::DecisionMade
            | Kind::ReviewRecorded
            | Kind::ActionRecorded => 2,
            _ => 1,
        }
    }

    /// Returns true if only Annals itself writes events of this kind.
    pub const fn is_reserved(self) -> bool {
        is_reserved(self.code())
    }

    /// Returns true if every event of this kind belongs to a session.
    pub const fn needs_session(self) -> bool {
        // A review (66) needs no session. A log record (145) has none if it has no trace.
        matches!(self.code(), 16..=18 | 32..=33 | 48 | 64..=65 | 144 | 176)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Kind, ParseError> {
        let kind = Kind::ALL.iter().copied().find(|kind| kind.name() == name);
        kind.ok_or_else(|| ParseError(format!("`{name}` is not a kind of event")))
    }
}

/// Returns true if only Annals itself writes events with this code. If a producer could write them, nobody
/// could trust the record of a redaction. For the same reason their payloads can never be redacted.
pub const fn is_reserved(code: u16) -> bool {
    // All codes from 240 on, so that the rule also holds for kinds of later versions.
    code == 1 || code >= 240
}

/// A payload that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A newer version of Annals wrote the payload.
    #[error("{} version {version} is newer than this version of Annals knows; use a newer version", kind.name())]
    UnknownVersion {
        /// The kind.
        kind: Kind,
        /// Version of the kind's payload.
        version: u8,
    },
    /// The bytes are not a payload of this kind and version.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// The rule that decides whether a payload's bytes are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// The value takes up all bytes. This is enough for readers.
    Whole,
    /// The bytes are also the only encoding of the value. For verification and proofs.
    Canonical,
}

impl Strictness {
    pub(super) fn decode<T: bincode::Encode + bincode::Decode<()>>(
        self,
        bytes: &[u8],
    ) -> Result<T, PayloadError> {
        Ok(match self {
            Strictness::Whole => encoding::decode(bytes)?,
            Strictness::Canonical => encoding::decode_canonical(bytes)?,
        })
    }
}

/// The name of the kind with this code, or `kind-<code>` if this version does not know it.
pub fn kind_name(code: u16) -> String {
    match Kind::from_code(code) {
        Some(kind) => kind.name().to_owned(),
        None => format!("kind-{code}"),
    }
}
