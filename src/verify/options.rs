//! What a verification is asked to do, and what it is given from outside the file.

use std::num::NonZeroUsize;

use super::seen::Memory;
use crate::event::KeyRole;
use crate::note::{CheckpointFile, Policy, SignedCheckpoint, VerifierKey};

/// What is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The log and the read tables.
    #[default]
    Everything,
    /// The log alone.
    LogOnly,
}

/// What is verified, and against what that was kept outside the file.
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

/// A checkpoint, and what to call it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) name: String,
    pub(super) checkpoint: SignedCheckpoint,
}

impl Options {
    /// Everything in the file, and nothing outside it.
    pub fn new() -> Options {
        Options::default()
    }

    /// What is verified.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Options {
        self.scope = scope;
        self
    }

    /// Leaves the read tables of a projection out, which another version of Annals made, for example.
    #[must_use]
    pub fn skip(mut self, projection: &str) -> Options {
        self.left_out.push(projection.to_owned());
        self
    }

    /// Adds the checkpoints of a file that was kept elsewhere. `name` is what the report calls it.
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

    /// Trusts a key that signs for the log for one epoch, and asks for such a key on every checkpoint.
    #[must_use]
    pub fn epoch_key(mut self, key: VerifierKey) -> Options {
        self.keys.push((KeyRole::Epoch, key));
        self
    }

    /// Asks for the cosignatures that a policy asks for, of one of the checkpoints given, or where there are
    /// none, of those that the file keeps. The logs that it lists are trusted too.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Options {
        self.keys.extend(policy.logs().iter().map(|log| (KeyRole::Stable, log.key.clone())));
        self.policy = Some(policy);
        self
    }

    /// Takes what a checkpoint covers for verified, and walks along the events after it, in a time that
    /// depends on their number alone. Its signature is checked, and that the log begins with what it
    /// covers.
    #[must_use]
    pub fn since(mut self, name: &str, checkpoint: SignedCheckpoint) -> Options {
        let given = Given { name: name.to_owned(), checkpoint };
        self.checkpoints.push(given.clone());
        self.since = Some(given);
        self
    }

    /// Compares the log with what earlier verifications saw of it, and remembers what this one sees.
    #[must_use]
    pub fn memory(mut self, memory: Memory) -> Options {
        self.memory = Some(memory);
        self
    }

    /// Reads and checks the log on at most so many threads, the calling one among them, instead of as many
    /// as there are processors. What the report says does not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Options {
        self.threads = Some(threads);
        self
    }

    /// The threads that are used at most.
    pub(super) fn threads_max(&self) -> usize {
        match self.threads {
            Some(threads) => threads.get(),
            None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }

    /// The keys, each once.
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
