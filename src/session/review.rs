//! Reviews: judgements by people.

use super::build::{attribute_setter, text_setters, value_setters};
use super::handle::Session;
use super::recording::Recording;
use crate::event::{
    DecisionId, Digest, FindingId, IdError, ReviewId, ReviewRecorded, StepId, SubjectKind, Timestamp, Verdict,
};
use crate::receipt::AppendError;

impl Session {
    /// Begins a review: the judgement of a person about the session, or about a part of it.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// use annals::Verdict;
    ///
    /// let decision = session.decide("coverage").chose("covered").record()?;
    /// session
    ///     .review("m.ito", Verdict::Overridden)
    ///     .of_decision(&decision)
    ///     .reason("The policy had lapsed.")
    ///     .commit()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn review(&self, actor: impl Into<String>, verdict: Verdict) -> Recording<'_, ReviewRecorded> {
        let payload = ReviewRecorded {
            actor: actor.into(),
            subject_kind: SubjectKind::Session,
            verdict,
            ..ReviewRecorded::default()
        };
        Recording::new(&self.scope, payload)
    }
}

impl Recording<'_, ReviewRecorded> {
    /// Sets the review's id: 1 to 256 bytes, without control characters. Annals makes an id if this is not called.
    pub fn id(mut self, id: impl TryInto<ReviewId, Error = impl Into<IdError>>) -> Self {
        let id = self.problem.keep("review", id.try_into().map_err(Into::into));
        self.payload.review = id.unwrap_or_default();
        self
    }

    fn of(mut self, subject_kind: SubjectKind, id: impl Into<String>) -> Self {
        self.payload.subject_kind = subject_kind;
        self.payload.subject_id = Some(id.into());
        self
    }

    /// Sets a step of the session as the reviewed item.
    pub fn of_step(self, step: &StepId) -> Self {
        self.of(SubjectKind::Step, step.as_str())
    }

    /// Sets a decision of the session as the reviewed item.
    pub fn of_decision(self, decision: &DecisionId) -> Self {
        self.of(SubjectKind::Decision, decision.as_str())
    }

    /// Sets a finding of the session as the reviewed item.
    pub fn of_finding(self, finding: &FindingId) -> Self {
        self.of(SubjectKind::Finding, finding.as_str())
    }

    text_setters! {
        /// Sets the reason.
        reason => reason;
        /// Sets the role in which the reviewer judged.
        role => role;
        /// Sets the basis of the reviewer's right to judge: a rule, a mandate, a limit.
        authority => authority;
        /// Sets the way in which the reviewer was identified: a single sign-on, a key …
        identified_by => identified_by;
    }

    value_setters! {
        /// Sets the BLAKE3 digest of the content that the reviewer approved.
        approved_digest: Digest;
        /// Sets the time at which the verdict stops being valid.
        expires_at: Timestamp;
    }

    /// Adds an item that the reviewer saw: its id, digest or location.
    pub fn saw(mut self, evidence: impl Into<String>) -> Self {
        self.payload.evidence_seen.push(evidence.into());
        self
    }

    attribute_setter!();

    /// Records the review, and returns its id.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<ReviewId, AppendError> {
        let id = self.payload.review.clone();
        let receipt = self.append()?;
        // A review without an id of its own gets the id of its event.
        Ok(if id.is_absent() { receipt.event_id().into() } else { id })
    }
}
