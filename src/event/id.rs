//! The numbers and ids that are written to disk. Each of them has a separate type.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bincode::{Decode, Encode};
use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::canonical::{Input, WellFormed};
use crate::limits::{ID_BYTES_MAX, SESSION_ID_BYTES_MAX};

/// Position of an event in the log: 1, 2, 3 … without gaps.
///
/// [`Seq::ZERO`] is the position before the first event. It is also the size of an empty log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// The position before the first event.
    pub const ZERO: Seq = Seq(0);
    /// The first event, `log.created`.
    pub const FIRST: Seq = Seq(1);

    /// The position with this number.
    pub const fn new(number: u64) -> Seq {
        Seq(number)
    }

    /// The position as a number, from 1; 0 for [`Seq::ZERO`].
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as SQLite stores it. SQLite's integers end at 2^63 - 1, which no log comes near.
    pub(crate) fn to_sql(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Reads a number of the database. A negative number is no position: it reads as zero, which is no
    /// event's position either.
    pub(crate) fn from_sql(number: i64) -> Seq {
        Seq(u64::try_from(number).unwrap_or(0))
    }

    /// The position after this one.
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a value of the type to which it was parsed. The message names the text and the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(crate) String);

impl FromStr for Seq {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Seq, Self::Err> {
        text.parse().map(Seq)
    }
}

/// A time in microseconds since the Unix epoch, UTC: the unit of every time in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Timestamp(i64);

impl WellFormed for Timestamp {
    fn pass(input: &mut Input<'_>) -> Option<()> {
        // The range of the years applies only to new events: a reader accepts any number.
        input.signed().map(drop)
    }
}

impl Timestamp {
    /// The first microsecond of the year 1 to the last of the year 9999: the times that SQLite's date functions can
    /// read.
    const RANGE_US: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

    /// The time with this many microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The present time by the system's clock. It may be wrong, and even before 1970.
    pub fn now() -> Timestamp {
        // The only place that reads the clock. Other ways to read it panic if the time is before 1970.
        #[allow(clippy::disallowed_methods)]
        Timestamp::of_system(SystemTime::now())
    }

    /// A time of the system's clock, which may be before 1970.
    fn of_system(time: SystemTime) -> Timestamp {
        // Saturates at i64::MAX, so that the negation below cannot overflow.
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        // For a time before 1970 `duration_since` fails, and its error has the distance to 1970.
        Timestamp(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        })
    }

    /// Returns true if SQLite's date functions can read the time: from the year 1 to the year 9999.
    pub(crate) fn in_range(self) -> bool {
        Timestamp::RANGE_US.contains(&self.0)
    }

    fn utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }

    /// The form of SQLite's date functions, as in the read tables: `2026-11-20 12:00:00.000000`.
    pub fn to_sql(self) -> String {
        if let Some(text) = self.sql_bytes() {
            return text.into_iter().map(char::from).collect();
        }
        // A year outside 0 to 9999, or a time that chrono cannot represent. `Draft::check` refuses such a time in a
        // draft; a file may still have one.
        match self.utc() {
            Some(time) => time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
            None => format!("{} us", self.0),
        }
    }

    /// The text of [`Timestamp::to_sql`] for a year from 0 to 9999, as ASCII. A general formatter is many times slower,
    /// and several times are formatted for each event.
    pub(crate) fn sql_bytes(self) -> Option<[u8; 26]> {
        let time = self.utc()?.naive_utc();
        let year = u32::try_from(time.year()).ok().filter(|year| *year < 10_000)?;
        let digit = |number: u32| b'0' + u8::try_from(number % 10).unwrap_or(0);
        let pair = |number: u32| [digit(number / 10), digit(number)];
        let [y1, y2] = pair(year / 100);
        let [y3, y4] = pair(year);
        let [n1, n2] = pair(time.month());
        let [d1, d2] = pair(time.day());
        let [h1, h2] = pair(time.hour());
        let [m1, m2] = pair(time.minute());
        let [s1, s2] = pair(time.second());
        // The time is made from microseconds, so it is no leap second. Then `nanosecond` is below 10^9, and six digits
        // are enough.
        let micros = time.nanosecond() / 1_000;
        let [u1, u2] = pair(micros / 10_000);
        let [u3, u4] = pair(micros / 100);
        let [u5, u6] = pair(micros);
        Some([
            y1, y2, y3, y4, b'-', n1, n2, b'-', d1, d2, b' ', h1, h2, b':', m1, m2, b':', s1, s2, b'.', u1,
            u2, u3, u4, u5, u6,
        ])
    }

    /// Reads the text that [`Timestamp::to_sql`] writes.
    pub(crate) fn from_sql(text: &str) -> Option<Timestamp> {
        // The form of a time that chrono cannot represent.
        if let Some(micros) = text.strip_suffix(" us") {
            return micros.parse().ok().map(Timestamp);
        }
        let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
        Timestamp::from_calendar(time.and_utc())
    }

    /// The timestamp of a time that was read from a text. Returns `None` for the second 60: timestamps count no leap
    /// seconds, so that second would become another time.
    pub(crate) fn from_calendar(time: DateTime<Utc>) -> Option<Timestamp> {
        // chrono represents the second 60 as the second 59 with 10^9 nanoseconds or more.
        (time.nanosecond() < 1_000_000_000).then(|| Timestamp(time.timestamp_micros()))
    }
}

/// RFC 3339 with microseconds, as in the JSON form: `2026-11-20T12:00:00.000000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.utc() {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true)),
            None => write!(f, "{} us", self.0),
        }
    }
}

/// Reads RFC 3339 with any offset. Digits finer than a microsecond are dropped.
impl FromStr for Timestamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Timestamp, ParseError> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
            ParseError(format!("`{text}` is not a time like 2026-11-20T12:00:00.000000Z ({error})"))
        })?;
        let time = Timestamp::from_calendar(time.to_utc()).ok_or_else(|| {
            ParseError(format!("`{text}` is in a leap second (second 60), and such times cannot be recorded"))
        })?;
        // Checked after the conversion, because an offset can move a time into the year 0 or 10000.
        match time.in_range() {
            true => Ok(time),
            false => Err(ParseError(format!("`{text}` is not between the years 1 and 9999"))),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A UUIDv7 of a time. A UUID cannot represent a time before 1970: such a time counts as 1970. Ids that one process
/// makes within a millisecond sort in the order in which they were made.
fn uuid_at(time: Timestamp) -> uuid::Uuid {
    // One context for the whole process: its counter orders the ids that share a millisecond.
    static CONTEXT: Mutex<uuid::ContextV7> = Mutex::new(uuid::ContextV7::new());
    uuid_after(&CONTEXT, time)
}

/// A UUIDv7 of `time`. If the context was given a later time before, the id has that later time instead.
fn uuid_after(context: &Mutex<uuid::ContextV7>, time: Timestamp) -> uuid::Uuid {
    // A time before 1970 becomes 0. The remainder is below 10^9 nanoseconds, so that it fits.
    let micros = u64::try_from(time.0).unwrap_or(0);
    let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
    // The clock sequence locks the context: no two threads get the same counter.
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(context, micros / 1_000_000, nanos))
}

/// Id of an event: a UUID. Annals itself makes UUIDs of version 7. An event that is sent again with the same id is
/// recorded once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct EventId([u8; 16]);

impl EventId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> EventId {
        EventId(bytes)
    }

    /// The bytes of the id, as in the log.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A new UUIDv7: the time of the system's clock, then random bits.
    pub fn generate() -> EventId {
        EventId(uuid_at(Timestamp::now()).into_bytes())
    }

    /// The UUIDv5 of a name. Importers make ids from the name of a source and a position in this source, so that a
    /// second import adds nothing. Never make an id from the content of an event: the id stays when the payload is
    /// erased.
    pub fn from_name(name: &str) -> EventId {
        /// UUIDv5 of the URL namespace and `annals:event-names`.
        const NAMESPACE: uuid::Uuid = uuid::uuid!("01d409b9-2306-5182-94d0-a1fc87d9b1a9");
        EventId(uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes()).into_bytes())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

impl FromStr for EventId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<EventId, ParseError> {
        let id = uuid::Uuid::try_parse(text)
            .map_err(|error| ParseError(format!("`{text}` is not a UUID ({error})")))?;
        Ok(EventId(id.into_bytes()))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A hash of 32 bytes: BLAKE3, unless the field that has it names another algorithm. In JSON and in the read tables it
/// is 64 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Digest([u8; 32]);

impl Digest {
    /// 32 zero bytes: the link before the first event.
    pub const ZERO: Digest = Digest([0; 32]);

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// The bytes of the digest, as in the log.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The plain BLAKE3 of some content, without a key or a context. It identifies artifacts, and shows which sessions
    /// had the same input.
    pub fn of(content: impl AsRef<[u8]>) -> Digest {
        Digest(*blake3::hash(content.as_ref()).as_bytes())
    }
}

impl WellFormed for Digest {
    fn pass(input: &mut Input<'_>) -> Option<()> {
        input.array::<32>().map(drop)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Digest, ParseError> {
        // A SHA-256 digest has the same number of digits, and differs only by its prefix. So every prefix except
        // `blake3` is refused.
        let digits = match text.split_once(':') {
            None => text,
            Some(("blake3", digits)) => digits,
            Some((algorithm, _)) => {
                return Err(ParseError(format!(
                    "`{text}` is a digest by `{algorithm}`; give the BLAKE3 digest, 64 hexadecimal digits"
                )));
            }
        };
        let hash = blake3::Hash::from_hex(digits)
            .map_err(|_| ParseError(format!("`{text}` is not a digest, 64 hexadecimal digits")))?;
        Ok(Digest(*hash.as_bytes()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// An id that cannot be used, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The id has no characters.
    #[error("an id must not be empty")]
    Empty,
    /// The id has more bytes than an id of its type may have.
    #[error("an id has at most {max} bytes, this one has {bytes}")]
    TooLong {
        /// Length of the id, in bytes.
        bytes: usize,
        /// The greatest length allowed, in bytes.
        max: usize,
    },
    /// The id has a control character, which would garble terminals and logs.
    #[error("an id must not have control characters, this one has U+{0:04X}")]
    Control(u32),
}

/// Lets a function accept an id itself, if it accepts all values that convert to an id.
impl From<Infallible> for IdError {
    fn from(never: Infallible) -> IdError {
        match never {}
    }
}

fn check_id(id: &str, max: usize) -> Result<(), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty);
    }
    if id.len() > max {
        return Err(IdError::TooLong { bytes: id.len(), max });
    }
    match id.chars().find(|c| c.is_control()) {
        Some(c) => Err(IdError::Control(c as u32)),
        None => Ok(()),
    }
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident, at most $max:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// The default is the empty id, which means absent. An event with an absent id gets one when it is appended. If
        /// its kind needs an id from the producer, the event is refused.
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The producer's own id.
            ///
            /// # Errors
            /// If it is empty, too long, or has control characters.
            pub fn new(id: impl Into<String>) -> Result<$name, IdError> {
                let id = id.into();
                check_id(&id, $max)?;
                Ok($name(id))
            }

            /// A new id: the text of a UUIDv7.
            pub fn generate() -> $name {
                $name(uuid_at(Timestamp::now()).to_string())
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns true if the id is absent.
            pub fn is_absent(&self) -> bool {
                self.0.is_empty()
            }

            pub(crate) fn check(&self) -> Result<(), IdError> {
                check_id(&self.0, $max)
            }
        }

        impl WellFormed for $name {
            fn pass(input: &mut Input<'_>) -> Option<()> {
                // The rules for ids apply only to new events: a reader accepts any text.
                String::pass(input)
            }
        }

        impl From<EventId> for $name {
            fn from(id: EventId) -> $name {
                // The 36 characters of a UUID are within the bound of every id.
                $name(id.to_string())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<$name, IdError> {
                $name::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;

            fn try_from(text: &str) -> Result<$name, IdError> {
                $name::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<$name, IdError> {
                $name::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                $name::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    )*};
}

text_ids! {
    /// Id of a session. A redaction does not erase it, so it must not be personal data.
    SessionId, at most SESSION_ID_BYTES_MAX;
    /// Id of a step, unique within its session.
    StepId, at most ID_BYTES_MAX;
    /// Id of a decision, unique within its session.
    DecisionId, at most ID_BYTES_MAX;
    /// Id of a finding, unique within its session.
    FindingId, at most ID_BYTES_MAX;
    /// Id of a review.
    ReviewId, at most ID_BYTES_MAX;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_gives_its_time_and_ids() {
        let before = SystemTime::UNIX_EPOCH - Duration::new(1, 500_000_000);
        let time = Timestamp::of_system(before);
        assert_eq!(time.to_string(), "1969-12-31T23:59:58.500000Z");
        let ids: Vec<_> = [time, time, Timestamp(i64::MIN)].map(uuid_at).into();
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        assert!(ids[0] < ids[1], "{ids:?}");
    }

    #[test]
    fn an_id_begins_with_its_time() {
        let context = Mutex::new(uuid::ContextV7::new());
        let id = uuid_after(&context, "2026-11-20T12:00:00.123456Z".parse().unwrap());
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos), (1_795_176_000, 123_000_000));
    }

    #[test]
    fn a_second_60_is_refused_and_not_moved() {
        for text in ["2026-12-31T23:59:60Z", "2026-12-31T23:59:60.5+00:00", "2026-06-30T23:59:60.999Z"] {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains("second 60"), "{error}");
        }
        assert_eq!(Timestamp::from_sql("2026-12-31 23:59:60.000000"), None);
    }

    #[test]
    fn a_digest_may_have_the_prefix_blake3_and_no_other() {
        let hex = Digest::of("").to_string();
        assert_eq!(format!("blake3:{hex}").parse(), Ok(Digest::of("")));
        let error = format!("sha256:{hex}").parse::<Digest>().unwrap_err().to_string();
        assert!(error.contains("`sha256`") && error.contains("BLAKE3"), "{error}");
        assert!(format!("blake3:blake3:{hex}").parse::<Digest>().is_err());
        assert!("blake3:".parse::<Digest>().is_err());
    }
}
