//! An anchor that runs a command for each checkpoint: git, mail, object storage or any other program.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::contract::{Anchor, AnchorAnswer, AnchorError, Consistency};
use crate::note::SignedCheckpoint;

/// Bytes of the command's standard error that an error message repeats.
const STDERR_BYTES_MAX: usize = 1 << 10;

/// Longest wait for the rest of a command's standard error after the command ended.
const STDERR_TIMEOUT: Duration = Duration::from_secs(1);

/// Shortest and longest pause between two checks for the end of a command.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Runs a command for each checkpoint, with the signed note on its standard input and `ANNALS_ORIGIN` and
/// `ANNALS_SIZE` in its environment. Exit status 0 means that the command took the checkpoint.
///
/// The program is started directly, not by a shell, in a process group of its own. When the program ends or
/// takes too long, every process that is left in that group is killed.
#[derive(Clone, Debug)]
pub struct CommandAnchor {
    program: String,
    arguments: Vec<String>,
    timeout: Duration,
}

impl CommandAnchor {
    /// Runs a program with arguments, and kills it if it takes longer than `timeout`.
    pub fn new(
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = String>,
        timeout: Duration,
    ) -> CommandAnchor {
        CommandAnchor { program: program.into(), arguments: arguments.into_iter().collect(), timeout }
    }

    /// Runs the command once. The inner error is the reason why the command did not take the checkpoint.
    ///
    /// The command reads the note from a file without a name, so nothing blocks if it does not read. A thread
    /// reads the command's standard error and keeps the beginning. The command leads a process group, so that
    /// its processes can be killed together with it.
    fn run(&self, checkpoint: &SignedCheckpoint) -> io::Result<Result<(), String>> {
        let mut note = tempfile::tempfile()?;
        note.write_all(checkpoint.to_string().as_bytes())?;
        note.rewind()?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            // The command has no need for the log's private key.
            .env_remove("ANNALS_KEY")
            .env("ANNALS_ORIGIN", checkpoint.origin())
            .env("ANNALS_SIZE", checkpoint.size().to_string())
            .stdin(Stdio::from(note))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut group = Group(child);
        let stderr = group.0.stderr.take().map(StderrExcerpt::read).transpose()?;
        let is_in_time = group.wait(self.timeout)?;
        let status = group.end()?;
        if !is_in_time {
            return Ok(Err(format!("took longer than {:?} and was stopped", self.timeout)));
        }
        if status.success() {
            return Ok(Ok(()));
        }
        let excerpt = stderr.map(StderrExcerpt::bytes).unwrap_or_default();
        Ok(Err(format!("ended with {status}: {}", String::from_utf8_lossy(&excerpt).trim())))
    }
}

/// A command, and the processes that it started and that are still in its process group.
struct Group(Child);

impl Group {
    /// Waits until the command ends, without taking its status. Returns false if the timeout passes first.
    fn wait(&self, timeout: Duration) -> io::Result<bool> {
        // NOWAIT leaves the status to be taken later. Until it is taken, the system does not give the process id to
        // another process, so the id still names the group that is killed.
        let pid = Pid::from_child(&self.0);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let (end, mut pause) = (Instant::now().checked_add(timeout), PAUSE.0);
        loop {
            match waitid(WaitId::Pid(pid), options) {
                Ok(Some(_)) => return Ok(true),
                Ok(None) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(false);
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSE.1);
        }
    }

    /// Kills whatever is left of the group, and returns the exit status of the command itself.
    fn end(mut self) -> io::Result<ExitStatus> {
        // In this order: `wait` takes the status, and after that the process id may belong to another
        // process.
        self.kill();
        self.0.wait()
    }

    fn kill(&self) {
        // The call fails if the group is empty. Then there is nothing to kill.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
    }
}

/// The beginning of a command's standard error. A thread reads the rest and drops it, however long it is.
struct StderrExcerpt {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl StderrExcerpt {
    fn read(mut from: ChildStderr) -> io::Result<StderrExcerpt> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (at_end, ended) = mpsc::channel();
        let keep = kept.clone();
        std::thread::Builder::new().name("annals-anchor-said".to_owned()).spawn(move || {
            // Dropped when the thread ends, also by a panic: that disconnects `ended`.
            let _at_end: mpsc::Sender<()> = at_end;
            let mut part = [0; 4 << 10];
            while let Ok(bytes @ 1..) = from.read(&mut part) {
                // The reads go on after the buffer is full: a command that writes more must not block on the pipe.
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                let room = STDERR_BYTES_MAX.saturating_sub(kept.len()).min(bytes);
                kept.extend_from_slice(part.get(..room).unwrap_or_default());
            }
        })?;
        Ok(StderrExcerpt { kept, ended })
    }

    /// Returns the kept bytes. A process that left the group may keep the pipe open, so the wait is bounded.
    fn bytes(self) -> Vec<u8> {
        let _ = self.ended.recv_timeout(STDERR_TIMEOUT);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Anchor for CommandAnchor {
    fn name(&self) -> String {
        let words: Vec<&str> =
            ["command", &self.program].into_iter().chain(self.arguments.iter().map(String::as_str)).collect();
        words.join(" ")
    }

    fn submit(
        &mut self,
        checkpoint: &SignedCheckpoint,
        _: Consistency<'_>,
    ) -> Result<AnchorAnswer, AnchorError> {
        match self.run(checkpoint) {
            Ok(Ok(())) => Ok(AnchorAnswer::Kept),
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

    fn shell(script: &str) -> Result<AnchorAnswer, AnchorError> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        let mut anchor = CommandAnchor::new("sh", arguments, Duration::from_secs(5));
        anchor.submit(&checkpoint(), &mut |_, _| panic!("no proof is needed"))
    }

    #[test]
    fn the_command_gets_the_note_the_origin_and_the_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        shell(&format!("cat > {0}; echo $ANNALS_ORIGIN $ANNALS_SIZE >> {0}", path.display())).unwrap();
        let kept = std::fs::read_to_string(path).unwrap();
        assert_eq!(kept, format!("{}example.org/log 5\n", checkpoint()));
    }

    #[test]
    fn a_command_need_not_read_the_note() {
        assert_eq!(shell("exit 0"), Ok(AnchorAnswer::Kept));
    }

    #[test]
    fn the_error_of_a_command_has_its_status_and_its_standard_error() {
        let error = shell("echo the bucket is full >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("exit status: 3: the bucket is full"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_stopped() {
        let arguments = ["60".to_owned()];
        let mut anchor = CommandAnchor::new("sleep", arguments, Duration::from_millis(100));
        let error =
            anchor.submit(&checkpoint(), &mut |_, _| panic!("no proof is needed")).unwrap_err().to_string();
        assert!(error.contains("took longer"), "{error}");
    }

    /// Returns true if a process still writes to a file. The wait is many times the pause between two writes.
    fn is_still_written(path: &std::path::Path) -> bool {
        let before = std::fs::read(path).unwrap().len();
        std::thread::sleep(Duration::from_millis(200));
        std::fs::read(path).unwrap().len() > before
    }

    #[test]
    fn processes_that_a_command_leaves_are_killed() {
        let folder = tempfile::tempdir().unwrap();
        for (name, last) in [("failed", "exit 3"), ("done", "exit 0"), ("hangs", "sleep 60")] {
            let path = folder.path().join(name);
            let left = format!(
                "(while :; do echo x >> {0}; sleep 0.01; done) & while [ ! -s {0} ]; do sleep 0.01; done; {last}",
                path.display()
            );
            let ended = shell(&left);
            assert_eq!(ended.is_ok(), name == "done", "{ended:?}");
            assert!(!is_still_written(&path), "{name}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_standard_error_is_reported() {
        let error = shell("echo begins >&2; yes >&2").unwrap_err().to_string();
        assert!(error.contains("took longer"), "{error}");
        let error = shell("echo begins >&2; head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 3")
            .unwrap_err()
            .to_string();
        assert!(error.contains("begins") && error.len() < 2_000, "{} bytes", error.len());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut anchor = CommandAnchor::new("no-such-program", [], Duration::from_secs(1));
        let error = anchor.submit(&checkpoint(), &mut |_, _| panic!("no proof is needed")).unwrap_err();
        assert!(error.to_string().contains("`no-such-program` cannot be run"), "{error}");
    }
}
