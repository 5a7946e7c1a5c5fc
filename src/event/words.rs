//! Values that are one word, in JSON and in the read tables.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::id::ParseError;
use crate::canonical::{Input, WellFormed};

/// Declares enums whose values are one word in JSON and in the read tables. The order of the variants gives
/// the discriminants on disk, so it never changes: a new variant comes last.
macro_rules! words {
    ($(
        $(#[$doc:meta])*
        $name:ident { $( $(#[$variant_doc:meta])* $variant:ident = $word:literal, )* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
        pub enum $name {
            $( $(#[$variant_doc])* #[serde(rename = $word)] $variant, )*
        }

        impl $name {
            /// Every value, in the order of the discriminants on disk.
            pub const ALL: &[$name] = &[ $( $name::$variant, )* ];

            /// The word in JSON and in the read tables.
            pub const fn as_str(self) -> &'static str {
                match self { $( $name::$variant => $word, )* }
            }
        }

        impl WellFormed for $name {
            fn pass(input: &mut Input<'_>) -> Option<()> {
                // The number on disk is the index in `ALL`: both follow the order of the declaration.
                let index = usize::try_from(input.number()?).ok()?;
                $name::ALL.get(index).map(|_| ())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<$name, ParseError> {
                $name::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let words: Vec<_> = $name::ALL.iter().map(|value| value.as_str()).collect();
                    ParseError(format!("`{text}` is not one of {}", words.join(", ")))
                })
            }
        }
    )*};
}

words! {
    /// The state of a session that has not ended.
    SessionProgress {
        /// Waiting to run.
        Queued = "queued",
        /// At work.
        #[default]
        Running = "running",
        /// Stopped for a while.
        Paused = "paused",
    }
    /// The way in which a session ended.
    SessionEnd {
        /// The session did its work.
        #[default]
        Completed = "completed",
        /// The session did not do its work.
        Failed = "failed",
        /// Somebody stopped the session.
        Cancelled = "cancelled",
        /// The session ended without a report, such as by a dropped handle.
        Disconnected = "disconnected",
    }
    /// The way in which a step ended.
    StepEnd {
        /// The step did its work.
        #[default]
        Ok = "ok",
        /// The step did not do its work.
        Error = "error",
        /// Somebody stopped the step.
        Cancelled = "cancelled",
    }
    /// The kind of work that a step does.
    StepKind {
        /// A call of a language model.
        Llm = "llm",
        /// A call of a tool.
        Tool = "tool",
        /// A search in a store of documents.
        Retrieval = "retrieval",
        /// The work of an agent, which has its own steps.
        Agent = "agent",
        /// Several steps in a fixed order.
        Chain = "chain",
        /// A check of an input or an output.
        Guardrail = "guardrail",
        /// Any other work.
        #[default]
        Other = "other",
        /// A call of a model that turns content into vectors.
        Embedding = "embedding",
    }
    /// The gravity of a finding.
    Severity {
        /// Needs action at once.
        Critical = "critical",
        /// Needs action.
        High = "high",
        /// Should be fixed.
        Medium = "medium",
        /// May be fixed.
        Low = "low",
        /// For information.
        #[default]
        Info = "info",
    }
    /// The result of a check.
    Outcome {
        /// The checked item is right.
        #[default]
        Pass = "pass",
        /// The checked item is wrong.
        Fail = "fail",
        /// The checked item is right, with reservations.
        Warning = "warning",
        /// Not checked.
        Skip = "skip",
        /// The check itself failed.
        Error = "error",
    }
    /// The present judgement of a finding.
    FindingStatus {
        /// Nobody has decided yet.
        #[default]
        Open = "open",
        /// The finding is right.
        Confirmed = "confirmed",
        /// The finding is wrong, or does not matter.
        Dismissed = "dismissed",
        /// The correction was made.
        Applied = "applied",
        /// The correction was refused.
        Rejected = "rejected",
        /// The correction was made and then undone.
        Reverted = "reverted",
    }
    /// The kind of item that a review is about.
    SubjectKind {
        /// A session.
        #[default]
        Session = "session",
        /// A step.
        Step = "step",
        /// A decision.
        Decision = "decision",
        /// A finding.
        Finding = "finding",
        /// An action.
        Action = "action",
    }
    /// The judgement of a reviewer.
    Verdict {
        /// The reviewer accepts the item.
        #[default]
        Approved = "approved",
        /// The reviewer does not accept the item.
        Rejected = "rejected",
        /// The reviewer decided differently.
        Overridden = "overridden",
        /// Somebody else has to decide.
        Escalated = "escalated",
        /// The reviewer accepts the item with changes.
        Modified = "modified",
    }
    /// The result of an action.
    ActionOutcome {
        /// The action was done.
        #[default]
        Success = "success",
        /// The action was not allowed.
        Denied = "denied",
        /// The action was tried and failed.
        Failed = "failed",
    }
    /// The effect of a policy decision.
    PolicyEffect {
        /// The policy allows it.
        Allow = "allow",
        /// The policy forbids it.
        #[default]
        Deny = "deny",
        /// Somebody else has to decide.
        Escalate = "escalate",
    }
    /// The source of the knowledge that something happened.
    Basis {
        /// The recorder saw it happen.
        #[default]
        Observed = "observed",
        /// The agent claims that it happened, and the recorder did not see it.
        Claimed = "claimed",
    }
    /// The role of a key among the keys of a log.
    KeyRole {
        /// The key by which witnesses and auditors know the log.
        #[default]
        Stable = "stable",
        /// The key of an epoch, which is erased at the end of the epoch.
        Epoch = "epoch",
    }
    /// An operation that an API key allows.
    ApiKeyScope {
        /// Append events.
        #[default]
        Emit = "emit",
        /// Read the recorded events and the read tables.
        Read = "read",
        /// Verify the log, and get checkpoints and proofs.
        Verify = "verify",
        /// Administer the log: redact payloads, administer the read tables, sign checkpoints.
        Admin = "admin",
    }
    /// The reason why a log has a new key.
    KeyChangeCause {
        /// The key is the first of its role.
        #[default]
        Generated = "generated",
        /// The previous key was replaced.
        Rotated = "rotated",
        /// The previous key was lost.
        Lost = "lost",
        /// Somebody else may have the previous key.
        Compromised = "compromised",
    }
}
