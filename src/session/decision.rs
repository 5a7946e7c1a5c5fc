//! Decisions.

use super::build::{attribute_setter, text_setters, value_setters};
use super::handle::Session;
use super::recording::Recording;
use super::step::Step;
use crate::event::{Basis, ConsideredOption, DecisionId, DecisionMade, Delegation, IdError};
use crate::receipt::AppendError;

fn decision(decision_type: impl Into<String>) -> DecisionMade {
    DecisionMade { decision_type: Some(decision_type.into()), ..DecisionMade::default() }
}

impl Session {
    /// Begins a decision that belongs to no step. `decision_type` is its type, such as `next-tool`.
    pub fn decide(&self, decision_type: impl Into<String>) -> Recording<'_, DecisionMade> {
        Recording::new(&self.scope, decision(decision_type))
    }
}

impl Step {
    /// Begins a decision made in this step: the options, the choice, and the reason. `decision_type` is its
    /// type, such as `next-tool`.
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
    /// Sets the decision's id: unique within its session, 1 to 256 bytes, without control characters.
    /// Annals makes an id if this is not called.
    pub fn id(mut self, id: impl TryInto<DecisionId, Error = impl Into<IdError>>) -> Self {
        let id = self.problem.keep("decision", id.try_into().map_err(Into::into));
        self.payload.decision = id.unwrap_or_default();
        self
    }

    /// Adds an option that was considered, and its score on the producer's own scale.
    pub fn option(mut self, option: impl Into<String>, score: f64) -> Self {
        self.payload.options_considered.push(ConsideredOption::scored(option, score));
        self
    }

    /// Adds options that were considered: texts, pairs of text and score, or [`ConsideredOption`]s.
    pub fn options<T: Into<ConsideredOption>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.payload.options_considered.extend(options.into_iter().map(Into::into));
        self
    }

    /// Sets the option that was chosen. It replaces all earlier chosen options.
    pub fn chose(mut self, option: impl Into<String>) -> Self {
        self.payload.chosen_options.clear();
        self.payload.chosen_option = Some(option.into());
        self
    }

    /// Sets several options as chosen, best first. They replace all earlier chosen options.
    pub fn chose_all<T: Into<String>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.payload.chosen_option = None;
        self.payload.chosen_options = options.into_iter().map(Into::into).collect();
        self
    }

    text_setters! {
        /// Sets the reason.
        because => rationale;
        /// Sets the person or program that decided.
        actor => actor;
    }

    value_setters! {
        /// Sets the confidence of the decision, 0 to 1.
        confidence: f64;
        /// Sets whether the decision was observed, or is claimed by the agent.
        basis: Basis;
    }

    /// Adds a principal for whom it was decided: first the nearest one, then the one behind it, and so on.
    pub fn on_behalf_of(mut self, principal: Delegation) -> Self {
        self.payload.on_behalf_of.push(principal);
        self
    }

    attribute_setter!();

    /// Records the decision, and returns its id.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<DecisionId, AppendError> {
        let id = self.payload.decision.clone();
        let receipt = self.append()?;
        // A decision without an id of its own gets the id of its event.
        Ok(if id.is_absent() { receipt.event_id().into() } else { id })
    }
}
