//! An event of a history, in either form.

use super::super::error::ImportError;
use super::super::fields::Fields;
use super::super::tools::Offered;
use super::super::transcript::{Called, Returned};
use super::super::turn::Answer;
use crate::{Json, Timestamp};

/// An event, as far as both forms have the same meaning.
pub(super) struct Event {
    pub(super) at: Option<Timestamp>,
    /// The id by which observations name their action.
    pub(super) id: Option<String>,
    pub(super) kind: Kind,
    /// The fields that nobody took.
    pub(super) rest: Fields,
}

pub(super) enum Kind {
    /// The prompt of the system, with the tools that it offers.
    System { text: Option<String>, offered: Offered },
    /// A message of a user, or of the environment.
    User(Option<String>),
    /// An answer of the model, with its call if it has one.
    Answer { answer: Answer, response: Option<String>, call: Option<Called>, ends: Ends },
    /// The result of an action.
    Result { call: Option<String>, action: Option<String>, returned: Returned, refusal: Refusal },
    /// A failure of the run.
    Failed(Option<String>),
    /// Anything else.
    Other { kind: String, text: Option<String> },
}

/// The end of a call's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    WithItsResult,
    /// No observation follows.
    AtOnce,
}

/// The permission for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    None,
    /// A person or a rule did not allow it.
    Rejected,
}

/// Returns true for a message of a user.
pub(super) fn is_of_user(event: &Fields) -> bool {
    let is = |name: &str, value: &str| event.see(name).is_some_and(|json| json.as_str() == value);
    is("source", "\"user\"") && (is("action", "\"message\"") || is("kind", "\"MessageEvent\""))
}

/// Takes the time of an event. One without a zone stays.
pub(super) fn time(fields: &mut Fields) -> Result<Option<Timestamp>, ImportError> {
    let Some(written) = fields.take::<String>("timestamp")? else { return Ok(None) };
    let at = written.parse().ok();
    if at.is_none() {
        fields.put("timestamp", Json::text(&written));
    }
    Ok(at)
}
