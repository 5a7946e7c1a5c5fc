//! What a peer has to do.

use std::path::Path;

use anyhow::bail;
use serde::Serialize;

use crate::Work;

/// Who is measured.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The name in tables and plots.
    pub peer: &'static str,
    /// The package whose version counts; `None` where the peer is a few lines of this repository.
    pub package: Option<&'static str>,
    /// The text of the peer's `Cargo.lock`, which says what that version is.
    pub lock: &'static str,
    /// The ways in which it can be used.
    pub variants: &'static [Variant],
}

/// One way of using a peer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Variant {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// The name in tables and plots.
    pub label: &'static str,
    /// What an acknowledgement promises.
    pub durability: &'static str,
    /// Where that is said: a file of the peer's, or the documentation of what it builds on.
    pub source: &'static str,
    /// Whether what was acknowledged survives a loss of power.
    pub durable: bool,
    /// Whether it takes several events in one transaction.
    pub batches: bool,
    /// What else a reader has to know.
    pub note: &'static str,
}

/// A store under measurement.
pub trait Peer: Sized + Sync {
    /// What one producer appends through.
    type Producer: Producer + Send;

    /// Opens a new store in an empty folder.
    ///
    /// # Errors
    /// Ends the run.
    fn open(folder: &Path, work: &Work) -> anyhow::Result<Self>;

    /// What the producer with this number, counted from 0, appends through.
    ///
    /// # Errors
    /// Ends the run.
    fn producer(&self, number: usize) -> anyhow::Result<Self::Producer>;

    /// Settings read back from the open store, as evidence of its durability: names and values.
    ///
    /// # Errors
    /// Ends the run.
    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    /// Closes the store, so that everything that was acknowledged is in its files. The producers are gone.
    ///
    /// # Errors
    /// Ends the run.
    fn close(self) -> anyhow::Result<()>;

    /// Opens the store again and counts its events.
    ///
    /// # Errors
    /// Ends the run.
    fn stored(folder: &Path, work: &Work) -> anyhow::Result<u64>;
}

/// One of several threads that append. Each call returns when the events are as durable as the variant says.
pub trait Producer {
    /// Appends one event.
    ///
    /// # Errors
    /// Ends the run.
    fn append(&mut self, payload: &str) -> anyhow::Result<()>;

    /// Appends events in one transaction.
    ///
    /// # Errors
    /// Ends the run.
    fn append_batch(&mut self, _payloads: &[&str]) -> anyhow::Result<()> {
        bail!("takes one event at a time")
    }
}
