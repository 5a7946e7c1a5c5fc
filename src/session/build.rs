//! What the builders share: setters that read alike, and values that turn out not to be usable.

use crate::event::{InvalidField, Kind, Problem};
use crate::receipt::AppendError;

/// The first value that a builder could not take. Setters return the builder, so that the call
/// that records is the first that can say so.
#[derive(Debug, Default)]
pub(super) struct FirstProblem(Option<(String, Problem)>);

impl FirstProblem {
    /// The value, or else its problem is kept.
    pub(super) fn keep<T, E: Into<Problem>>(
        &mut self,
        field: impl Into<String>,
        value: Result<T, E>,
    ) -> Option<T> {
        value.map_err(|problem| self.0.get_or_insert_with(|| (field.into(), problem.into()))).ok()
    }

    pub(super) fn check(self, kind: Kind) -> Result<(), AppendError> {
        match self.0 {
            Some((field, problem)) => Err(AppendError::Unfit(InvalidField { kind, field, problem }.into())),
            None => Ok(()),
        }
    }
}

/// Setters of optional texts: name of the method, name of the field.
macro_rules! text_setters {
    ($( $(#[$doc:meta])* $name:ident => $field:ident; )*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $field: impl Into<String>) -> Self {
            self.payload.$field = Some($field.into());
            self
        }
    )*};
}

/// Setters of optional values that are passed as they are.
macro_rules! value_setters {
    ($( $(#[$doc:meta])* $name:ident: $type:ty; )*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.payload.$name = Some($name);
            self
        }
    )*};
}

/// The setter of fields that the kind of event does not know.
macro_rules! attribute_setter {
    () => {
        /// A field that this kind of event does not know, with any value that has a JSON form. It is
        /// kept under `attributes`; the same name again replaces it.
        pub fn attribute(
            mut self,
            name: impl Into<String>,
            value: &(impl serde::Serialize + ?Sized),
        ) -> Self {
            let name = name.into();
            if let Some(value) =
                self.problem.keep(format!("attributes.{name}"), $crate::event::Json::of(value))
            {
                self.payload.attributes.insert(name, value);
            }
            self
        }
    };
}

/// Setters of what the work cost, which ends of steps and of sessions have alike.
macro_rules! usage_setters {
    () => {
        /// Tokens that models read, and tokens that they wrote.
        pub fn tokens(mut self, input: u64, output: u64) -> Self {
            self.payload.tokens_input = Some(input);
            self.payload.tokens_output = Some(output);
            self
        }

        /// What it cost, in US dollars.
        pub fn cost_usd(mut self, dollars: f64) -> Self {
            self.payload.cost_usd = Some(dollars);
            self
        }
    };
}

pub(super) use {attribute_setter, text_setters, usage_setters, value_setters};
