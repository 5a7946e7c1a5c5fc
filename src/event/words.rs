//! Values that are one word, in JSON and in the read tables.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::canonical::{Input, WellFormed};

/// Lists enums that are one word in JSON and in the read tables. Discriminants are written to
/// disk: they are given by the order, which therefore never changes.
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
                let place = usize::try_from(input.number()?).ok()?;
                $name::ALL.get(place).map(|_| ())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                $name::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let words: Vec<_> = $name::ALL.iter().map(|value| value.as_str()).collect();
                    format!("`{text}` is none of {}", words.join(", "))
                })
            }
        }
    )*};
}

words! {
    /// How far a session is.
    SessionProgress {
        /// Waiting to run.
        Queued = "queued",
        /// At work.
        #[default]
        Running = "running",
        /// Stopped for a while.
        Paused = "paused",
    }
    /// How a session ended.
    SessionEnd {
        /// It did what it was to do.
        #[default]
        Completed = "completed",
        /// It did not.
        Failed = "failed",
        /// Somebody stopped it.
        Cancelled = "cancelled",
        /// It went away without saying how it ended.
        Disconnected = "disconnected",
    }
    /// How a step ended.
    StepEnd {
        /// It did what it was to do.
        #[default]
        Ok = "ok",
        /// It did not.
        Error = "error",
    }
    /// What a step is.
    StepKind {
        /// A call of a language model.
        Llm = "llm",
        /// A call of a tool.
        Tool = "tool",
        /// A look-up in a store of documents.
        Retrieval = "retrieval",
        /// An agent at work, with steps of its own.
        Agent = "agent",
        /// Several steps in a fixed order.
        Chain = "chain",
        /// A check of what goes in or out.
        Guardrail = "guardrail",
        /// Anything else.
        #[default]
        Other = "other",
    }
    /// How grave a finding is.
    Severity {
        /// Must be dealt with at once.
        Critical = "critical",
        /// Must be dealt with.
        High = "high",
        /// Should be dealt with.
        Medium = "medium",
        /// May be dealt with.
        Low = "low",
        /// For information.
        #[default]
        Info = "info",
    }
    /// What a check came to.
    Outcome {
        /// In order.
        #[default]
        Pass = "pass",
        /// Not in order.
        Fail = "fail",
        /// In order, with reservations.
        Warning = "warning",
        /// Not checked.
        Skip = "skip",
        /// The check itself failed.
        Error = "error",
    }
    /// Where a finding stands.
    FindingStatus {
        /// Nobody has decided.
        #[default]
        Open = "open",
        /// It is right.
        Confirmed = "confirmed",
        /// It is wrong, or does not matter.
        Dismissed = "dismissed",
        /// Its correction was made.
        Applied = "applied",
        /// Its correction was refused.
        Rejected = "rejected",
        /// Its correction was made and taken back.
        Reverted = "reverted",
    }
    /// What a review is about.
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
    /// What the reviewer said.
    Verdict {
        /// It may stand.
        #[default]
        Approved = "approved",
        /// It may not.
        Rejected = "rejected",
        /// The reviewer decided otherwise.
        Overridden = "overridden",
        /// Somebody else is to say.
        Escalated = "escalated",
    }
    /// What came of an action.
    ActionOutcome {
        /// It was done.
        #[default]
        Success = "success",
        /// It was not allowed.
        Denied = "denied",
        /// It was tried and failed.
        Failed = "failed",
    }
    /// Which of a log's keys.
    KeyRole {
        /// The key that witnesses and auditors know the log by.
        #[default]
        Stable = "stable",
        /// The key of an epoch, erased at its end.
        Epoch = "epoch",
    }
    /// What an API key may do.
    ApiKeyScope {
        /// Append events.
        #[default]
        Emit = "emit",
        /// Read what is recorded.
        Read = "read",
        /// Verify the log, and get checkpoints and proofs.
        Verify = "verify",
        /// Administer the log: redact, look after the read tables, sign.
        Admin = "admin",
    }
    /// Why a log has a new key.
    KeyChangeCause {
        /// It is the first of its role.
        #[default]
        Generated = "generated",
        /// The key before it was replaced.
        Rotated = "rotated",
        /// The key before it was lost.
        Lost = "lost",
        /// Somebody else may have the key before it.
        Compromised = "compromised",
    }
}
