//! Kinds of events: their codes and names, and the payload of each.

use super::payload::{
    ActionRecorded, ApiKeyCreated, ApiKeyRevoked, ArtifactAttached, Custom, DecisionMade, EventsLost,
    EventsLost1, FindingRaised, FindingUpdated, KeyChanged, LogCreated, MetricRecorded, NoteLogged, OtelLog,
    OtelSpan, PayloadRedacted, ProjectionSkipped, ReviewRecorded, SessionEnded, SessionStarted,
    SessionUpdated, StepEnded, StepStarted,
};
use crate::canonical;
use crate::encoding::{self, DecodeError};

/// Lists the kinds: name of the payload and of the variant, code on disk, name in JSON.
macro_rules! kinds {
    ($( $name:ident = $code:literal, $text:literal; )*) => {
        /// What an event is: its code on disk and its name in JSON never change.
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

        /// What an event says: one variant for each [`Kind`].
        // Events are made one at a time and moved once; a box would cost every one of them.
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
            /// What it is.
            pub const fn kind(&self) -> Kind {
                match self { $( Event::$name(_) => Kind::$name, )* }
            }

            /// Appends the payload's bytes to `bytes`.
            pub(crate) fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), encoding::EncodeError> {
                match self { $( Event::$name(payload) => encoding::encode(payload, bytes), )* }
            }

            /// Reads the bytes of a payload of `kind` and `version`, whole.
            ///
            /// This is the one place where payloads of older versions become those of today.
            pub(super) fn decode(
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
                    (Kind::EventsLost, 1) => {
                        strictness.decode(bytes).map(|lost: EventsLost1| lost.into()).map(Event::EventsLost)
                    }
                    _ => Err(PayloadError::UnknownVersion { kind, version }),
                }
            }

            /// Whether bytes are certainly well formed as the payload of a kind and version; of others
            /// decoding says so.
            pub(super) fn is_well_formed(code: u16, version: u8, bytes: &[u8]) -> bool {
                match (code, version) {
                    $( ($code, version) if version == Kind::$name.version() => canonical::is_well_formed::<$name>(bytes), )*
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

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Version of the payload that this version of Annals writes.
    pub const fn version(self) -> u8 {
        match self {
            Kind::EventsLost => 2,
            _ => 1,
        }
    }

    /// Whether only Annals itself writes events of this kind.
    pub const fn is_reserved(self) -> bool {
        is_reserved(self.code())
    }

    /// Whether an event of this kind belongs to a session, always.
    pub const fn needs_session(self) -> bool {
        matches!(self.code(), 16..=18 | 32..=33 | 48 | 64..=65 | 144)
    }
}

/// Whether only Annals itself writes events with this code: else no licence for a redaction could
/// be trusted. Their payloads can never be redacted, for the same reason.
pub const fn is_reserved(code: u16) -> bool {
    code == 1 || code >= 240
}

/// A payload that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A newer Annals wrote it.
    #[error("{} version {version} is newer than this version of Annals knows; use a newer one", kind.name())]
    UnknownVersion {
        /// The kind.
        kind: Kind,
        /// Its version.
        version: u8,
    },
    /// The bytes are not such a payload.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// How much is asked of a payload's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// They are whole: for those who read what verification has judged or will judge.
    Whole,
    /// They are the only bytes that the value encodes to: for verification.
    Canonical,
}

impl Strictness {
    fn decode<T: bincode::Encode + bincode::Decode<()>>(self, bytes: &[u8]) -> Result<T, PayloadError> {
        Ok(match self {
            Strictness::Whole => encoding::decode(bytes)?,
            Strictness::Canonical => encoding::decode_canonical(bytes)?,
        })
    }
}

/// The name of the kind with this code, or `kind-<code>` where this version does not know it.
pub fn kind_name(code: u16) -> String {
    match Kind::from_code(code) {
        Some(kind) => kind.name().to_owned(),
        None => format!("kind-{code}"),
    }
}
