//! Decisions.

use super::build::{attribute_setter, text_setters, value_setters};
use super::handle::Session;
use super::recording::Recording;
use super::step::Step;
use crate::event::{ConsideredOption, DecisionId, DecisionMade, IdError};
use crate::receipt::AppendError;

fn decision(decision_type: impl Into<String>) -> DecisionMade {
    DecisionMade { decision_type: Some(decision_type.into()), ..DecisionMade::default() }
}

impl Session {
    /// A decision that belongs to no step. `decision_type` says what kind of decision it is.
    pub fn decide(&self, decision_type: impl Into<String>) -> Recording<'_, DecisionMade> {
        Recording::new(&self.scope, decision(decision_type))
    }
}

impl Step {
    /// A decision made in this step: which options there were, what was chosen, and why.
    /// `decision_type` says what kind of decision it is.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// # let step = session.step("plan").start()?;
    /// step.decide("next-tool")
    ///     .option("search", 0.7)
    ///     .option("ask the user", 0.3)
    ///     .chose("search")
    ///     .because("The question names a document.")
    ///     .record()?;
    /// # step.end().succeeded()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decide(&self, decision_type: impl Into<String>) -> Recording<'_, DecisionMade> {
        self.recording(DecisionMade { step: Some(self.id().clone()), ..decision(decision_type) })
    }
}

impl Recording<'_, DecisionMade> {
    /// The decision's id, unique within its session, 1 to 256 bytes without control characters; made
    /// by Annals where this is not called.
    pub fn id(mut self, id: impl TryInto<DecisionId, Error = impl Into<IdError>>) -> Self {
        let id = self.problem.keep("decision", id.try_into().map_err(Into::into));
        self.payload.decision = id.unwrap_or_default();
        self
    }

    /// One more option that was considered, and its score in a scale of the producer's own.
    pub fn option(mut self, option: impl Into<String>, score: f64) -> Self {
        self.payload.options_considered.push(ConsideredOption::scored(option, score));
        self
    }

    /// More options that were considered: texts, pairs of text and score, or
    /// [`ConsideredOption`]s.
    pub fn options<T: Into<ConsideredOption>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.payload.options_considered.extend(options.into_iter().map(Into::into));
        self
    }

    /// What was chosen.
    pub fn chose(mut self, option: impl Into<String>) -> Self {
        self.payload.chosen_options.clear();
        self.payload.chosen_option = Some(option.into());
        self
    }

    /// What was chosen where it is more than one, best first.
    pub fn chose_all<T: Into<String>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.payload.chosen_option = None;
        self.payload.chosen_options = options.into_iter().map(Into::into).collect();
        self
    }

    text_setters! {
        /// Why.
        because => rationale;
        /// Who or what decided.
        actor => actor;
    }

    value_setters! {
        /// How sure the decider is, 0 to 1.
        confidence: f64;
    }

    attribute_setter!();

    /// Records it, and returns the decision's id.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<DecisionId, AppendError> {
        let given = self.payload.decision.clone();
        let receipt = self.append()?;
        Ok(if given.is_absent() { receipt.event_id().into() } else { given })
    }
}
