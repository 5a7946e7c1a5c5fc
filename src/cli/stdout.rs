//! Standard output as it was when the program began, and its errors.
//!
//! If a standard stream is closed, Rust opens `/dev/null` in its place before `main` begins, and everything that is
//! written there counts as written. A command would then report success for an answer that nobody got.

use std::fmt;
use std::io::{self, Stdout, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Looks before Rust does. Code that runs before `main` must not need anything that Rust begins there; this is one
/// system call.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "there is no other place before main; the function meets its demands")]
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = {
    extern "C" fn look() {
        let is_open = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_ok();
        // Relaxed is enough: there is one thread before `main`, and it starts all others.
        IS_CLOSED.store(!is_open, Ordering::Relaxed);
    }
    look
};

/// An error of writing to standard output, separate from all other errors.
#[derive(Debug)]
struct Failed(io::Error);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "standard output cannot be written, so part of the result is missing: {}", self.0)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Returns true if the reader of standard output went away, which it may do at any time.
pub(crate) fn is_reader_gone(error: &io::Error) -> bool {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Failed>())
        .is_some_and(|Failed(error)| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Fails if standard output was closed, for output that is not written through [`Output`].
pub(crate) fn require_open() -> io::Result<()> {
    if IS_CLOSED.load(Ordering::Relaxed) { Err(named(io::Error::other("it is closed"))) } else { Ok(()) }
}

/// Standard output that fails if it was closed.
pub(crate) struct Output(StdoutLock<'static>);

impl Output {
    pub(crate) fn new(stdout: &Stdout) -> Output {
        Output(stdout.lock())
    }
}

fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Failed(error))
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `/dev/null` would take every write.
        require_open()?;
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}
