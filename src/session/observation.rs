//! Notes, metrics and artifacts.

use serde::Serialize;

use super::build::{attribute_setter, text_setters, value_setters};
use super::handle::Session;
use super::recording::Recording;
use super::step::Step;
use crate::event::{ArtifactAttached, Digest, Json, MetricRecorded, NoteLogged};
use crate::receipt::AppendError;

/// The digest and the length of some content.
fn artifact(content: &[u8]) -> ArtifactAttached {
    ArtifactAttached {
        artifact: Digest::of(content),
        size: u64::try_from(content.len()).ok(),
        ..ArtifactAttached::default()
    }
}

impl Session {
    /// Begins a note: a line of text.
    pub fn note(&self, message: impl Into<String>) -> Recording<'_, NoteLogged> {
        Recording::new(&self.scope, NoteLogged { message: message.into(), ..NoteLogged::default() })
    }

    /// Begins a metric: a measurement. Metrics belong to a session, not to a step.
    pub fn metric(&self, name: impl Into<String>, value: f64) -> Recording<'_, MetricRecorded> {
        Recording::new(&self.scope, MetricRecorded { name: name.into(), value, ..MetricRecorded::default() })
    }

    /// Begins an artifact: a file that belongs to the session. Only its digest and length are recorded; the
    /// owner keeps the content.
    pub fn artifact(&self, content: impl AsRef<[u8]>) -> Recording<'_, ArtifactAttached> {
        Recording::new(&self.scope, artifact(content.as_ref()))
    }

    /// Begins an artifact from the BLAKE3 digest of its content.
    pub fn artifact_with_digest(&self, digest: Digest) -> Recording<'_, ArtifactAttached> {
        Recording::new(&self.scope, ArtifactAttached { artifact: digest, ..ArtifactAttached::default() })
    }
}

impl Step {
    /// Begins a note: a line of text.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// # let step = session.step("search").start()?;
    /// step.note("no hit, asking again").level("warning").data(&["water", "damage"]).record()?;
    /// # step.end().succeeded()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn note(&self, message: impl Into<String>) -> Recording<'_, NoteLogged> {
        let step = Some(self.id().clone());
        self.recording(NoteLogged { message: message.into(), step, ..NoteLogged::default() })
    }

    /// Begins an artifact: a file that belongs to this step. Only its digest and length are recorded; the
    /// owner keeps the content.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let log = annals::AuditLog::open(folder.path().join("audit.db"))?;
    /// # let session = log.session("claims").start()?;
    /// # let step = session.step("read").start()?;
    /// let photograph: &[u8] = b"\xff\xd8\xff";
    /// let digest = step.artifact(photograph).label("photograph.jpg").media_type("image/jpeg").record()?;
    /// assert_eq!(digest, annals::Digest::of(photograph));
    /// # step.end().succeeded()?;
    /// # session.end().completed()?.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn artifact(&self, content: impl AsRef<[u8]>) -> Recording<'_, ArtifactAttached> {
        let step = Some(self.id().clone());
        self.recording(ArtifactAttached { step, ..artifact(content.as_ref()) })
    }

    /// Begins an artifact from the BLAKE3 digest of its content.
    pub fn artifact_with_digest(&self, digest: Digest) -> Recording<'_, ArtifactAttached> {
        let step = Some(self.id().clone());
        self.recording(ArtifactAttached { artifact: digest, step, ..ArtifactAttached::default() })
    }
}

impl Recording<'_, NoteLogged> {
    text_setters! {
        /// Sets the level: debug, info, warning, error …
        level => level;
    }

    /// Sets data that belongs to the note: any value that has a JSON form.
    pub fn data(mut self, data: &(impl Serialize + ?Sized)) -> Self {
        self.payload.data = self.problem.keep("data", Json::of(data));
        self
    }

    attribute_setter!();

    /// Records the note.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<(), AppendError> {
        self.append().map(drop)
    }
}

impl Recording<'_, MetricRecorded> {
    text_setters! {
        /// Sets the unit.
        unit => unit;
    }

    /// Sets one of the producer's own labels. A later value with the same name replaces an earlier one.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.payload.labels.insert(name.into(), value.into());
        self
    }

    attribute_setter!();

    /// Records the metric.
    ///
    /// # Errors
    /// If a value cannot be recorded, such as a number that is not finite, or the log is closed.
    pub fn record(self) -> Result<(), AppendError> {
        self.append().map(drop)
    }
}

impl Recording<'_, ArtifactAttached> {
    text_setters! {
        /// Sets the name or the location of the file.
        label => label;
        /// Sets the media type, as in HTTP.
        media_type => media_type;
    }

    value_setters! {
        /// Sets the index among several artifacts.
        position: u64;
        /// Sets the length in bytes. If the content was given, the length is already set.
        size: u64;
    }

    attribute_setter!();

    /// Records the artifact, and returns the digest of the content.
    ///
    /// # Errors
    /// If a value cannot be recorded, or the log is closed.
    pub fn record(self) -> Result<Digest, AppendError> {
        let digest = self.payload.artifact;
        self.append().map(|_receipt| digest)
    }
}
