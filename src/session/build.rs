//! The common parts of the builders: macros for their setters, and the first value that cannot be recorded.

use crate::event::{FieldProblem, InvalidField, Kind};
use crate::receipt::AppendError;

/// The first value that cannot be recorded. Setters return the builder, so only the call that records can
/// return the error.
#[derive(Debug, Default)]
pub(super) struct FirstProblem(Option<(String, FieldProblem)>);

impl FirstProblem {
    /// Returns the value if it can be recorded. Otherwise keeps its problem, unless there was one before.
    pub(super) fn keep<T, E: Into<FieldProblem>>(
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

/// Defines setters of optional texts: the name of the method, then the name of the field.
macro_rules! text_setters {
    ($( $(#[$doc:meta])* $name:ident => $field:ident; )*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $field: impl Into<String>) -> Self {
            self.payload.$field = Some($field.into());
            self
        }
    )*};
}

/// Defines setters of optional values that are passed as they are.
macro_rules! value_setters {
    ($( $(#[$doc:meta])* $name:ident: $type:ty; )*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.payload.$name = Some($name);
            self
        }
    )*};
}

/// Defines the setter of attributes.
macro_rules! attribute_setter {
    () => {
        /// Sets an attribute: a field that this kind of event does not have. Its value is any value that has
        /// a JSON form. A later value with the same name replaces an earlier one.
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

/// Defines the setters for tokens and cost, for the ends of steps and of sessions.
macro_rules! usage_setters {
    () => {
        /// Sets the numbers of input tokens and output tokens of the models.
        pub fn tokens(mut self, input: u64, output: u64) -> Self {
            self.payload.tokens_input = Some(input);
            self.payload.tokens_output = Some(output);
            self
        }

        /// Sets the cost in US dollars.
        pub fn cost_usd(mut self, dollars: f64) -> Self {
            self.payload.cost_usd = Some(dollars);
            self
        }
    };
}

pub(super) use {attribute_setter, text_setters, usage_setters, value_setters};
