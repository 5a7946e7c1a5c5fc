//! Findings, and what becomes of them.

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
    /// Something that was found, or checked, and belongs to no step. `category` says what it
    /// belongs to.
    pub fn finding(&self, category: impl Into<String>) -> Recording<'_, FindingRaised> {
        Recording::new(&self.scope, finding(category))
    }

    /// What becomes of a finding of this session: who judged it, and how.
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
    /// Something that was found, or checked, in this step. `category` says what it belongs to.
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
    /// The finding's id, unique within its session, 1 to 256 bytes without control characters; made
    /// by Annals where this is not called.
    pub fn id(mut self, id: impl TryInto<FindingId, Error = impl Into<IdError>>) -> Self {
        let id = self.problem.keep("finding", id.try_into().map_err(Into::into));
        self.payload.finding = id.unwrap_or_default();
        self
    }

    value_setters! {
        /// How grave it is.
        severity: Severity;
        /// What the check came to.
        outcome: Outcome;
        /// How sure the finder is, 0 to 1.
        confidence: f64;
    }

    text_setters! {
        /// The rule or pattern that it matches.
        pattern => pattern_type;
        /// A line that names it.
        title => title;
        /// What was found, for those who know the field.
        description => description;
        /// The same for everybody else.
        plain_english => plain_english;
        /// What to do about it.
        suggestion => suggestion;
        /// The law or policy behind it.
        legal_source => legal_source;
        /// How far it reaches.
        scope => scope;
        /// Version of the rule.
        rule_version => rule_version;
    }

    /// What shows it: any value that has a JSON form.
    pub fn evidence(mut self, evidence: &(impl Serialize + ?Sized)) -> Self {
        self.payload.evidence = self.problem.keep("evidence", Json::of(evidence));
        self
    }

    attribute_setter!();

    /// Records it, and returns the finding's id.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<FindingId, AppendError> {
        let given = self.payload.finding.clone();
        let receipt = self.append()?;
        Ok(if given.is_absent() { receipt.event_id().into() } else { given })
    }
}

impl Recording<'_, FindingUpdated> {
    value_setters! {
        /// Where the finding stands now.
        status: FindingStatus;
        /// What was changed because of it.
        correction: Correction;
    }

    text_setters! {
        /// Who says so.
        actor => actor;
        /// Why.
        reason => reason;
    }

    /// What was changed because of it, as the text before and after.
    pub fn corrected(self, original: impl Into<String>, corrected: impl Into<String>) -> Self {
        self.correction(Correction {
            original: Some(original.into()),
            corrected: Some(corrected.into()),
            strategy: None,
        })
    }

    attribute_setter!();

    /// Records it.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<(), AppendError> {
        self.append().map(drop)
    }
}
