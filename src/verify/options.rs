//! The options of a verification: what it does, and what it is given from outside the file.

use std::num::NonZeroUsize;

use super::seen::Memory;
use crate::event::KeyRole;
use crate::note::{CheckpointFile, Policy, SignedCheckpoint, VerifierKey};

/// The parts of a file that are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The log and the read tables.
    #[default]
    Everything,
    /// The log alone.
    LogOnly,
}

/// The parts of a file that are verified, and what was kept outside the file to compare them with.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("audit.db");
/// # annals::AuditLog::open(&path)?.close()?;
/// use annals::note::{CheckpointFile, VerifierKey};
/// use annals::verify::{self, Options, Scope};
///
/// # let key = annals::note::SigningKey::generate("example.org/log")?;
/// # let text = "example.org/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
/// # let mut checkpoint = annals::note::SignedCheckpoint::unsigned(text.parse()?);
/// # checkpoint.sign(&key);
/// # let (vkey, kept) = (key.verifier().to_string(), checkpoint.to_string());
/// let key: VerifierKey = vkey.parse()?;
/// let checkpoints: CheckpointFile = kept.parse()?;
/// let options = Options::new().scope(Scope::LogOnly).key(key).checkpoints("kept.txt", checkpoints);
/// let report = verify::verify(&path, options, &mut |_phase, _events| {})?;
/// assert_eq!(report.anchored.failures[0].check.name(), "checkpoint-origin"); // of another log
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) scope: Scope,
    pub(super) checkpoints: Vec<Given>,
    pub(super) keys: Vec<(KeyRole, VerifierKey)>,
    pub(super) policy: Option<Policy>,
    pub(super) since: Option<Given>,
    pub(super) memory: Option<Memory>,
    pub(super) left_out: Vec<String>,
    threads: Option<NonZeroUsize>,
}

/// A checkpoint, and its name in the report.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) checkpoint: SignedCheckpoint,
}

impl Options {
    /// Options that verify everything in the file, and compare it with nothing outside.
    pub fn new() -> Options {
        Options::default()
    }

    /// Sets the parts that are verified.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Options {
        self.scope = scope;
        self
    }

    /// Leaves out the read tables of a projection, for example because another version of Annals made them.
    #[must_use]
    pub fn skip(mut self, projection: &str) -> Options {
        self.left_out.push(projection.to_owned());
        self
    }

    /// Adds the checkpoints of a file that was kept elsewhere. `name` is their name in the report.
    #[must_use]
    pub fn checkpoints(mut self, name: &str, file: CheckpointFile) -> Options {
        let is_one = file.checkpoints.len() == 1;
        self.checkpoints.extend((1..).zip(file.checkpoints).map(|(number, checkpoint)| {
            let name = if is_one { name.to_owned() } else { format!("{name}, checkpoint {number}") };
            Given { name, checkpoint }
        }));
        self
    }

    /// Trusts a key that signs for the log.
    #[must_use]
    pub fn key(mut self, key: VerifierKey) -> Options {
        self.keys.push((KeyRole::Stable, key));
        self
    }

    /// Trusts a key that signs for the log during one epoch, and requires a signature by such a key on every
    /// checkpoint.
    #[must_use]
    pub fn epoch_key(mut self, key: VerifierKey) -> Options {
        self.keys.push((KeyRole::Epoch, key));
        self
    }

    /// Requires the cosignatures of a policy on one of the given checkpoints, or, if none is given, on one of
    /// those that the file keeps. The keys of the logs in the policy are trusted too.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Options {
        self.keys.extend(policy.logs().iter().map(|log| (KeyRole::Stable, log.key.clone())));
        self.policy = Some(policy);
        self
    }

    /// Takes the events that a checkpoint covers as verified, and walks along the events after it, in a time
    /// that depends on their number alone. The signature of the checkpoint is checked, and so is the
    /// beginning of the log: it must have the events that the checkpoint covers.
    #[must_use]
    pub fn since(mut self, name: &str, checkpoint: SignedCheckpoint) -> Options {
        let given = Given { name: name.to_owned(), checkpoint };
        self.checkpoints.push(given.clone());
        self.since = Some(given);
        self
    }

    /// Compares the log with what earlier verifications saw of it, and remembers what this verification sees.
    #[must_use]
    pub fn memory(mut self, memory: Memory) -> Options {
        self.memory = Some(memory);
        self
    }

    /// Reads and checks the log on at most this many threads, including the calling one. The default is the
    /// number of processors. The content of the report does not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Options {
        self.threads = Some(threads);
        self
    }

    /// The largest number of threads that is used.
    pub(super) fn threads_max(&self) -> usize {
        match self.threads {
            Some(threads) => threads.get(),
            None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }

    /// The trusted keys, each once in each role.
    pub(super) fn trusted(&self) -> Vec<(KeyRole, VerifierKey)> {
        let mut keys: Vec<(KeyRole, VerifierKey)> = Vec::new();
        for given in &self.keys {
            if !keys.contains(given) {
                keys.push(given.clone());
            }
        }
        keys
    }
}

impl From<Scope> for Options {
    fn from(scope: Scope) -> Options {
        Options::new().scope(scope)
    }
}
