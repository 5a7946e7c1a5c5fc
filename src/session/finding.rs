//! Findings, and updates of them.

use serde::Serialize;

use super::build::{attribute_setter, text_setters, value_setters};
use super::handle::Session;
use super::recording::Recording;
use super::step::Step;
use crate::event::{
    Correction, FindingId, FindingRaised, FindingStatus, FindingUpdated, IdError, Json, Outcome, Severity,
};
use crate::receipt::AppendError;

fn finding(category: impl Into<String>) -> FindingRaised {
    FindingRaised { category: Some(category.into()), ..FindingRaised::default() }
}

impl Session {
    /// Begins a finding that belongs to no step: a problem, or the result of a check. `category` is the
    /// category of the finding, such as `arithmetic`.
    pub fn finding(&self, category: impl Into<String>) -> Recording<'_, FindingRaised> {
        Recording::new(&self.scope, finding(category))
    }

    /// Begins an update of a finding of this session: a new status or a correction.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// use annals::{FindingStatus, Severity};
    ///
    /// let finding = session.finding("grammar").severity(Severity::Low).title("teh").record()?;
    /// session
    ///     .update_finding(&finding)
    ///     .status(FindingStatus::Applied)
    ///     .actor("corrector")
    ///     .corrected("teh", "the")
    ///     .record()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update_finding(&self, finding: &FindingId) -> Recording<'_, FindingUpdated> {
        let payload = FindingUpdated { finding: finding.clone(), ..FindingUpdated::default() };
        Recording::new(&self.scope, payload)
    }
}

impl Step {
    /// Begins a finding of this step: a problem, or the result of a check. `category` is the category of the
    /// finding, such as `arithmetic`.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// # let step = session.step("check").start()?;
    /// use annals::{Outcome, Severity};
    ///
    /// step.finding("arithmetic")
    ///     .severity(Severity::High)
    ///     .outcome(Outcome::Fail)
    ///     .title("The sum is wrong")
    ///     .evidence(&[("stated", 41), ("computed", 42)])
    ///     .record()?;
    /// # step.end().succeeded()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finding(&self, category: impl Into<String>) -> Recording<'_, FindingRaised> {
        self.recording(FindingRaised { step: Some(self.id().clone()), ..finding(category) })
    }
}

impl Recording<'_, FindingRaised> {
    /// Sets the finding's id: unique within its session, 1 to 256 bytes, without control characters. Annals
    /// makes an id if this is not called.
    pub fn id(mut self, id: impl TryInto<FindingId, Error = impl Into<IdError>>) -> Self {
        let id = self.problem.keep("finding", id.try_into().map_err(Into::into));
        self.payload.finding = id.unwrap_or_default();
        self
    }

    value_setters! {
        /// Sets the severity.
        severity: Severity;
        /// Sets the outcome of the check.
        outcome: Outcome;
        /// Sets the confidence in the finding, 0 to 1.
        confidence: f64;
    }

    text_setters! {
        /// Sets the rule or pattern that the finding matches.
        pattern => pattern_type;
        /// Sets a title of one line.
        title => title;
        /// Sets a description for experts.
        description => description;
        /// Sets a description for everybody else.
        plain_english => plain_english;
        /// Sets a suggestion for a remedy.
        suggestion => suggestion;
        /// Sets the law or policy behind the finding.
        legal_source => legal_source;
        /// Sets the scope of the finding, such as a whole conversation.
        scope => scope;
        /// Sets the version of the rule.
        rule_version => rule_version;
    }

    /// Sets the evidence: any value that has a JSON form.
    pub fn evidence(mut self, evidence: &(impl Serialize + ?Sized)) -> Self {
        self.payload.evidence = self.problem.keep("evidence", Json::of(evidence));
        self
    }

    attribute_setter!();

    /// Records the finding, and returns its id.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<FindingId, AppendError> {
        let id = self.payload.finding.clone();
        let receipt = self.append()?;
        // A finding without an id of its own gets the id of its event.
        Ok(if id.is_absent() { receipt.event_id().into() } else { id })
    }
}

impl Recording<'_, FindingUpdated> {
    value_setters! {
        /// Sets the new status of the finding.
        status: FindingStatus;
        /// Sets the change that was made because of the finding.
        correction: Correction;
    }

    text_setters! {
        /// Sets the person or program that made the update.
        actor => actor;
        /// Sets the reason.
        reason => reason;
    }

    /// Sets the change that was made because of the finding: the text before and after it.
    pub fn corrected(self, original: impl Into<String>, corrected: impl Into<String>) -> Self {
        self.correction(Correction {
            original: Some(original.into()),
            corrected: Some(corrected.into()),
            strategy: None,
        })
    }

    attribute_setter!();

    /// Records the update.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<(), AppendError> {
        self.append().map(drop)
    }
}
