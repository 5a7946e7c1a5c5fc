//! Earlier versions of payloads. They are no longer written, but decoded forever, because a row of the log never
//! changes.

use bincode::{Decode, Encode};

use super::considered::ConsideredOption;
use super::id::{DecisionId, ReviewId, StepId, Timestamp};
use super::json_text::Attributes;
use super::kind::{Event, Kind, PayloadError, Strictness};
use super::payload::{
    ActionRecorded, Actor, Changes, DecisionMade, RequestContext, ReviewRecorded, StepEnded,
};
use super::reserved::EventsLost;
use super::words::{ActionOutcome, StepEnd, SubjectKind, Verdict};

/// Declares earlier versions: the number of each version, after `without` the fields that only the newest version
/// has, then its fields in the order of the encoding. A payload that is converted has the defaults in the fields that it
/// is without.
macro_rules! earlier {
    ($(
        $name:ident is version $version:literal of $newest:ident without ( $( $added:ident ),* ) {
            $( $field:ident: $type:ty, )*
        }
    )*) => {
        $(
            #[derive(Encode, Decode)]
            struct $name { $( $field: $type, )* }

            impl From<$name> for $newest {
                fn from(earlier: $name) -> $newest {
                    $newest { $( $field: earlier.$field, )* $( $added: Default::default(), )* }
                }
            }
        )*

        /// Decodes a payload of `kind` and `version`. It must take up all of `bytes`.
        ///
        /// This is the only place where payloads of earlier versions become payloads of the newest one.
        pub(super) fn decode(
            kind: Kind,
            version: u8,
            bytes: &[u8],
            strictness: Strictness,
        ) -> Result<Event, PayloadError> {
            match (kind, version) {
                $(
                    (Kind::$newest, $version) => {
                        strictness.decode(bytes).map(|earlier: $name| Event::$newest(earlier.into()))
                    }
                )*
                _ => Event::decode_newest(kind, version, bytes, strictness),
            }
        }

        /// Encodes the payload of an event as an earlier version, without the fields that this version lacks.
        /// Returns `None` if the kind has no such version.
        #[cfg(test)]
        pub(crate) fn encode(event: &Event, version: u8) -> Option<Vec<u8>> {
            let mut bytes = Vec::new();
            match (event.clone(), version) {
                $(
                    (Event::$newest(newest), $version) => {
                        let earlier = $name { $( $field: newest.$field, )* };
                        crate::encoding::encode(&earlier, &mut bytes).ok()?;
                    }
                )*
                _ => return None,
            }
            Some(bytes)
        }
    };
}

earlier! {
    EventsLost1 is version 1 of EventsLost without (ids) {
        count: u64,
        since: Timestamp,
        reason: String,
    }
    StepEnded1 is version 1 of StepEnded without (tokens_cache_read, tokens_cache_write, tokens_reasoning, basis) {
        step: StepId,
        status: StepEnd,
        output: Option<String>,
        output_summary: Option<String>,
        confidence: Option<f64>,
        tokens_input: Option<u64>,
        tokens_output: Option<u64>,
        cost_usd: Option<f64>,
        error: Option<String>,
        attributes: Attributes,
    }
    DecisionMade1 is version 1 of DecisionMade without (on_behalf_of, basis) {
        decision: DecisionId,
        step: Option<StepId>,
        decision_type: Option<String>,
        options_considered: Vec<ConsideredOption>,
        chosen_option: Option<String>,
        chosen_options: Vec<String>,
        rationale: Option<String>,
        confidence: Option<f64>,
        actor: Option<String>,
        attributes: Attributes,
    }
    ReviewRecorded1 is version 1 of ReviewRecorded
    without (role, authority, identified_by, evidence_seen, approved_digest, expires_at) {
        actor: String,
        subject_kind: SubjectKind,
        verdict: Verdict,
        review: ReviewId,
        subject_id: Option<String>,
        reason: Option<String>,
        attributes: Attributes,
    }
    ActionRecorded1 is version 1 of ActionRecorded without (on_behalf_of, basis) {
        actor: Actor,
        action: String,
        entity_type: Option<String>,
        entity_id: Option<String>,
        outcome: Option<ActionOutcome>,
        reason: Option<String>,
        changes: Option<Changes>,
        context: Option<RequestContext>,
        tenant: Option<String>,
        attributes: Attributes,
    }
}
