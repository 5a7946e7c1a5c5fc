//! Parameters that narrow a question.

use serde::de::{Deserialize, Deserializer, Error as _};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::event::Seq;
use crate::event::{FindingStatus, Kind, Outcome, SessionEnd, SessionProgress, Severity, StepEnd, StepKind};
use crate::query::lists::Cursor;
use crate::server::problem::{Kind as ProblemKind, Problem};

/// The most items that a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) usize);

/// Items of a page by default, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

impl Default for Limit {
    fn default() -> Limit {
        Limit(LIMIT_DEFAULT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
        let limit = usize::deserialize(deserializer).ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit
            .map(Limit)
            .ok_or_else(|| D::Error::custom(format!("`limit` must be a number from 1 to {LIMIT_MAX}")))
    }
}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(LIMIT_MAX as f64))
            .default(Some(LIMIT_DEFAULT.into()))
            .build()
            .into()
    }
}

impl ToSchema for Limit {}

/// A position in the log, or a size of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeqParam(pub(crate) Seq);

impl<'de> Deserialize<'de> for SeqParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SeqParam, D::Error> {
        // The error names a parameter that is missing.
        let number = u64::deserialize(deserializer).map_err(|error| {
            D::Error::custom(format_args!("{error}; a position in a log is a whole number, at least 0"))
        })?;
        match i64::try_from(number) {
            Ok(_) => Ok(SeqParam(Seq::new(number))),
            Err(_) => Err(D::Error::custom(format_args!("{number} is too large for a position in a log"))),
        }
    }
}

impl PartialSchema for SeqParam {
    fn schema() -> RefOr<Schema> {
        Seq::schema()
    }
}

impl ToSchema for SeqParam {}

/// A confidence, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fraction(pub(crate) f64);

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fraction, D::Error> {
        let number = f64::deserialize(deserializer).ok().filter(|number| (0.0..=1.0).contains(number));
        number.map(Fraction).ok_or_else(|| D::Error::custom("give a number from 0 to 1"))
    }
}

impl PartialSchema for Fraction {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).maximum(Some(1)).build().into()
    }
}

impl ToSchema for Fraction {}

/// A difference of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Margin(pub(crate) f64);

impl<'de> Deserialize<'de> for Margin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Margin, D::Error> {
        let margin = f64::deserialize(deserializer).ok().filter(|margin| margin.is_finite());
        margin.map(Margin).ok_or_else(|| D::Error::custom("a margin must be a number, such as 0.1"))
    }
}

impl PartialSchema for Margin {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Number).build().into()
    }
}

impl ToSchema for Margin {}

/// The start of a page: `next` of the page before.
pub(super) fn cursor(text: Option<&str>) -> Result<Option<Cursor>, Problem> {
    text.map(str::parse)
        .transpose()
        .map_err(|error| Problem::new(ProblemKind::BadRequest, format!("`cursor`: {error}")))
}

/// The start of a page in a list that is ordered by sequence numbers.
pub(super) fn place(text: Option<&str>) -> Result<Option<u64>, Problem> {
    let place = text.map(|text| text.parse::<u64>().ok().filter(|place| i64::try_from(*place).is_ok()));
    match place {
        None => Ok(None),
        Some(Some(place)) => Ok(Some(place)),
        Some(None) => {
            Err(Problem::new(ProblemKind::BadRequest, "`cursor` is invalid; use `next` of the previous page"))
        }
    }
}

macro_rules! word_params {
    ($( $(#[$doc:meta])* $name:ident: $words:expr; )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) String);

        impl $name {
            fn words() -> impl Iterator<Item = &'static str> {
                $words
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let word = String::deserialize(deserializer)?;
                if $name::words().any(|known| known == word) {
                    return Ok($name(word));
                }
                let words: Vec<_> = $name::words().collect();
                Err(D::Error::custom(format!("`{word}` is not one of {}", words.join(", "))))
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some($name::words())).build().into()
            }
        }

        impl ToSchema for $name {}
    )* };
}

word_params! {
    /// The progress of a session, or its end.
    SessionStatus: SessionProgress::ALL.iter().map(|word| word.as_str())
        .chain(SessionEnd::ALL.iter().map(|word| word.as_str())).chain(["erased"]);
    /// The kind of work of a step.
    StepKindWord: StepKind::ALL.iter().map(|word| word.as_str());
    /// The status of a step.
    StepStatusWord: ["running"].into_iter().chain(StepEnd::ALL.iter().map(|word| word.as_str()));
    /// The severity of a finding.
    SeverityWord: Severity::ALL.iter().map(|word| word.as_str());
    /// The outcome of a check.
    OutcomeWord: Outcome::ALL.iter().map(|word| word.as_str());
    /// The status of a finding.
    FindingStatusWord: FindingStatus::ALL.iter().map(|word| word.as_str());
    /// The type of an event.
    KindWord: Kind::ALL.iter().map(|kind| kind.name());
}

impl KindWord {
    /// The codes of kinds that were named.
    pub(in crate::server) fn codes(words: &[KindWord]) -> Vec<u16> {
        words.iter().filter_map(|word| word.0.parse::<Kind>().ok()).map(Kind::code).collect()
    }
}
