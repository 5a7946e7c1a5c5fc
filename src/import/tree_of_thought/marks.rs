//! The marks of the answers to a puzzle.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::error::ImportError;
use super::super::fields::Fields;
use crate::Json;

/// The marks of the answers, one for each.
pub(super) struct Marks {
    /// The fields with the marks, as they were.
    pub(super) raw: Vec<(&'static str, Json)>,
    pub(super) marks: Vec<f64>,
    /// True if the marks are ratings on a scale, which are no verdicts.
    are_ratings: bool,
}

impl Marks {
    /// Reads `infos`, a list of objects with `r`, or else `accs`, a list of marks.
    pub(super) fn of(record: &mut Fields) -> Result<Marks, ImportError> {
        #[derive(Deserialize)]
        struct Info {
            r: Option<Mark>,
            /// The ratings of which `r` is the mean.
            rs: Option<Json>,
        }

        let mut marks = Marks { raw: Vec::new(), marks: Vec::new(), are_ratings: false };
        if let Some(infos) = record.json("infos") {
            let read: Vec<Info> = record.read("infos", &infos)?;
            marks.are_ratings = read.iter().any(|info| info.rs.is_some());
            marks.marks.extend(read.into_iter().filter_map(|info| info.r?.value()));
            marks.raw.push(("infos", infos));
        }
        if let Some(accs) = record.json("accs") {
            let read: Vec<Option<Mark>> = record.read("accs", &accs)?;
            // Whole zeros alone are written where the task has no mark.
            let are_marks = read.iter().flatten().any(|mark| *mark != Mark::Zero);
            // Marks of `infos` win; `accs` is then only kept.
            if marks.marks.is_empty() && are_marks {
                marks.marks.extend(read.into_iter().flatten().filter_map(Mark::value));
            }
            marks.raw.push(("accs", accs));
        }
        Ok(marks)
    }

    pub(super) fn best(&self) -> Option<f64> {
        self.marks.iter().copied().reduce(f64::max)
    }

    pub(super) fn all_wrong(&self) -> bool {
        // Without marks nothing is known, and a mark of 1 or more is no verdict of failure.
        !self.are_ratings && !self.marks.is_empty() && self.marks.iter().all(|mark| (0.0..1.0).contains(mark))
    }
}

/// A mark, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Verdict(bool),
    /// The whole number 0.
    Zero,
    Number(f64),
}

impl Mark {
    fn value(self) -> Option<f64> {
        let value = match self {
            Mark::Verdict(is_right) => f64::from(u8::from(is_right)),
            Mark::Zero => 0.0,
            Mark::Number(number) => number,
        };
        value.is_finite().then_some(value)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mark, D::Error> {
        struct MarkVisitor;

        impl Visitor<'_> for MarkVisitor {
            type Value = Mark;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, true or false")
            }

            fn visit_bool<E: de::Error>(self, is_right: bool) -> Result<Mark, E> {
                Ok(Mark::Verdict(is_right))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Mark, E> {
                #[allow(clippy::cast_precision_loss, reason = "no mark is so large")]
                Ok(if number == 0 { Mark::Zero } else { Mark::Number(number as f64) })
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Mark, E> {
                #[allow(clippy::cast_precision_loss, reason = "no mark is so large")]
                Ok(Mark::Number(number as f64))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Mark, E> {
                Ok(Mark::Number(number))
            }
        }

        deserializer.deserialize_any(MarkVisitor)
    }
}
