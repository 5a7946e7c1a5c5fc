//! Decisions of policy engines.

use serde::Serialize;

use super::build::{attribute_setter, text_setters};
use super::handle::Session;
use super::recording::Recording;
use super::step::Step;
use crate::event::{DecisionId, Json, PolicyDecided, PolicyEffect, StepId, SubjectKind};
use crate::receipt::AppendError;

impl Session {
    /// Begins the decision of a policy engine in the session.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("payments").start()?;
    /// use annals::PolicyEffect;
    ///
    /// let decision = session.decide("payment").chose("pay 700").record()?;
    /// session
    ///     .policy("payments", PolicyEffect::Escalate)
    ///     .about_decision(&decision)
    ///     .rule("above-limit")
    ///     .reason("more than 500")
    ///     .input(&[("amount", 700)])
    ///     .commit()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn policy(&self, policy: impl Into<String>, effect: PolicyEffect) -> Recording<'_, PolicyDecided> {
        Recording::new(
            &self.scope,
            PolicyDecided { policy: policy.into(), effect, ..PolicyDecided::default() },
        )
    }
}

impl Step {
    /// Begins the decision of a policy engine in this step.
    pub fn policy(&self, policy: impl Into<String>, effect: PolicyEffect) -> Recording<'_, PolicyDecided> {
        let step = Some(self.id().clone());
        self.recording(PolicyDecided { policy: policy.into(), effect, step, ..PolicyDecided::default() })
    }
}

impl Recording<'_, PolicyDecided> {
    fn about(mut self, kind: SubjectKind, id: impl Into<String>) -> Self {
        self.payload.subject_kind = Some(kind);
        self.payload.subject_id = Some(id.into());
        self
    }

    /// Sets a step of the session as the judged item.
    pub fn about_step(self, step: &StepId) -> Self {
        self.about(SubjectKind::Step, step.as_str())
    }

    /// Sets a decision of the session as the judged item.
    pub fn about_decision(self, decision: &DecisionId) -> Self {
        self.about(SubjectKind::Decision, decision.as_str())
    }

    /// Sets an action as the judged item, by the id that the producer gave it.
    pub fn about_action(self, action: impl Into<String>) -> Self {
        self.about(SubjectKind::Action, action)
    }

    text_setters! {
        /// Sets the version of the policy.
        policy_version => policy_version;
        /// Sets the rule that applied.
        rule => rule;
        /// Sets the reason for the effect.
        reason => reason;
        /// Sets the policy engine.
        actor => actor;
    }

    /// Sets the input that the engine judged: any value that has a JSON form.
    pub fn input(mut self, input: &(impl Serialize + ?Sized)) -> Self {
        self.payload.input = self.problem.keep("input", Json::of(input));
        self
    }

    attribute_setter!();

    /// Records the decision.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<(), AppendError> {
        self.append().map(drop)
    }
}
