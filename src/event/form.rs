//! The form of each field in JSON: what a program needs that makes events from other records.

use std::collections::BTreeMap;

use super::id::{DecisionId, Digest, FindingId, ReviewId, SessionId, StepId, Timestamp};
use super::json_text::Json;
use super::words::{
    ActionOutcome, Basis, FindingStatus, Outcome, PolicyEffect, SessionEnd, SessionProgress, Severity,
    StepEnd, StepKind, SubjectKind, Verdict,
};

/// The form of a field's value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A free text.
    Text,
    /// A text with rules: an id, a digest, a time, a word from a list.
    Word,
    /// A number.
    Number,
    /// Any JSON.
    Json,
    /// A list.
    List,
    /// An object whose members have any name, and this form.
    Map(&'static Form),
    /// An object with these fields.
    Object(&'static [FieldForm]),
}

/// A field and the form of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldForm {
    /// Name in the JSON form.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// True if the JSON form must have the field.
    pub(crate) is_required: bool,
}

/// A type of a field, with its form in JSON.
pub(super) trait Formed {
    const FORM: Form;
}

macro_rules! formed {
    ($( $form:ident: $($type:ty),*; )*) => {$( $(
        impl Formed for $type {
            const FORM: Form = Form::$form;
        }
    )* )*};
}

formed! {
    Text: String;
    Number: f64, u64;
    Json: Json;
    List: Vec<String>;
    Word: SessionId, StepId, DecisionId, FindingId, ReviewId, Digest, SessionProgress, SessionEnd, StepEnd,
        StepKind, Severity, Outcome, FindingStatus, SubjectKind, Verdict, ActionOutcome, Basis, PolicyEffect, Timestamp;
}

impl<T: Formed> Formed for Option<T> {
    const FORM: Form = T::FORM;
}

impl<T: Formed> Formed for BTreeMap<String, T> {
    const FORM: Form = Form::Map(&T::FORM);
}
