//! A command that gets each checkpoint: git, mail, object storage, whatever there is.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use wait_timeout::ChildExt as _;

use super::{Anchor, AnchorError, Consistency, Taken};
use crate::note::SignedCheckpoint;

/// Bytes of what the command says that a report repeats.
const SAID_BYTES_MAX: u64 = 1 << 10;

/// Runs a command for each checkpoint, with the signed note on its standard input and
/// `ANNALS_ORIGIN` and `ANNALS_SIZE` in its environment. If it ends with status 0 it took it.
///
/// The program is started directly, not by a shell.
#[derive(Clone, Debug)]
pub struct CommandAnchor {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
}

impl CommandAnchor {
    /// Runs a program with arguments, and stops it where it takes longer than `timeout`.
    pub fn new(
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = String>,
        timeout: Duration,
    ) -> CommandAnchor {
        CommandAnchor { program: program.into(), arguments: arguments.into_iter().collect(), timeout }
    }

    /// Files without a name stand in for pipes: nothing blocks where the command does not read, or leaves
    /// something running that keeps a pipe open.
    fn run(&self, checkpoint: &SignedCheckpoint) -> io::Result<Result<(), String>> {
        let mut note = tempfile::tempfile()?;
        note.write_all(checkpoint.to_string().as_bytes())?;
        note.rewind()?;
        let mut said = tempfile::tempfile()?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            // The log's private key is none of its business.
            .env_remove("ANNALS_KEY")
            .env("ANNALS_ORIGIN", checkpoint.origin())
            .env("ANNALS_SIZE", checkpoint.size().to_string())
            .stdin(Stdio::from(note))
            .stdout(Stdio::null())
            .stderr(Stdio::from(said.try_clone()?))
            .spawn()?;
        let Some(status) = child.wait_timeout(self.timeout)? else {
            child.kill()?;
            child.wait()?;
            return Ok(Err(format!("took longer than {:?} and was stopped", self.timeout)));
        };
        if status.success() {
            return Ok(Ok(()));
        }
        said.rewind()?;
        let mut words = Vec::new();
        said.take(SAID_BYTES_MAX).read_to_end(&mut words)?;
        Ok(Err(format!("ended with {status}: {}", String::from_utf8_lossy(&words).trim())))
    }
}

impl Anchor for CommandAnchor {
    fn name(&self) -> String {
        let words: Vec<&str> =
            ["command", &self.program].into_iter().chain(self.arguments.iter().map(String::as_str)).collect();
        words.join(" ")
    }

    fn take(&mut self, checkpoint: &SignedCheckpoint, _: Consistency<'_>) -> Result<Taken, AnchorError> {
        match self.run(checkpoint) {
            Ok(Ok(())) => Ok(Taken::Kept),
            Ok(Err(why)) => Err(AnchorError::new(format_args!("`{}` {why}", self.program))),
            Err(error) => Err(AnchorError::new(format_args!("`{}` cannot be run: {error}", self.program))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::EMPTY_ROOT;
    use crate::note::{Checkpoint, SigningKey};

    fn checkpoint() -> SignedCheckpoint {
        let key = SigningKey::from_seed("example.org/log", &[7; 32]).unwrap();
        let mut checkpoint =
            SignedCheckpoint::unsigned(Checkpoint::new("example.org/log", 5, EMPTY_ROOT).unwrap());
        checkpoint.sign(&key);
        checkpoint
    }

    fn shell(script: &str) -> Result<Taken, AnchorError> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        let mut anchor = CommandAnchor::new("sh", arguments, Duration::from_millis(500));
        anchor.take(&checkpoint(), &mut |_, _| panic!("no proof is needed"))
    }

    #[test]
    fn the_command_gets_the_note_and_what_it_is_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        shell(&format!("cat > {0}; echo $ANNALS_ORIGIN $ANNALS_SIZE >> {0}", path.display())).unwrap();
        let kept = std::fs::read_to_string(path).unwrap();
        assert_eq!(kept, format!("{}example.org/log 5\n", checkpoint()));
    }

    #[test]
    fn a_command_that_does_not_read_is_fine() {
        assert_eq!(shell("exit 0"), Ok(Taken::Kept));
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let error = shell("echo the bucket is full >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("exit status: 3: the bucket is full"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_stopped() {
        let error = shell("exec sleep 60").unwrap_err().to_string();
        assert!(error.contains("took longer"), "{error}");
    }

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let error = shell("sleep 60 & exit 3").unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut anchor = CommandAnchor::new("no-such-program", [], Duration::from_secs(1));
        let error = anchor.take(&checkpoint(), &mut |_, _| panic!("no proof is needed")).unwrap_err();
        assert!(error.to_string().contains("`no-such-program` cannot be run"), "{error}");
    }
}
