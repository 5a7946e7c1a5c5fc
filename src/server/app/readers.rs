//! Read-only connections to the log, one for each question that is being answered.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::InterruptHandle;
use tokio::sync::Semaphore;

use crate::log::{OpenError, ReadError};
use crate::query::QueryError;
use crate::reader::Reader;
use crate::replay::ReplayError;
use crate::server::problem::{Kind, Problem};

/// Questions about pages that are answered at a time. More would only compete for the disk.
const READERS_MAX: usize = 4;

/// Questions about whole sessions that are answered at a time. They may take long, and have permits of their
/// own, so that questions about pages do not wait for them.
const LONG_MAX: usize = 2;

/// The timeout for a question to get its permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout for finding the answer to a question about a page.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout for writing the answer to a question about a whole session.
const LONG_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest time that an idle connection stays open. It keeps pages, and the memory of its statements.
const REST_MAX: Duration = Duration::from_secs(10);

/// The amount that is read for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// One page.
    Page,
    /// A whole session.
    Session,
}

pub(crate) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    long_turns: Arc<Semaphore>,
    resting: Arc<Mutex<Vec<Resting>>>,
}

/// An idle connection. The last one that was used is taken first, so that the others stay idle and can be
/// closed.
struct Resting {
    reader: Reader,
    since: Instant,
}

/// The stage of a question.
enum Stage {
    Asked,
    /// A reader works on it. The handle breaks that off.
    Begun(InterruptHandle),
    Answered,
    /// The caller is gone.
    InVain,
}

/// A question, as the thread that answers it sees it.
#[derive(Clone)]
pub(crate) struct Asked(Arc<Mutex<Stage>>);

impl Asked {
    /// Returns true if nobody waits for the answer any more.
    pub(crate) fn is_in_vain(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Stage::InVain)
    }

    #[cfg(test)]
    pub(in crate::server) fn begun_by_nobody() -> Asked {
        Asked(Arc::new(Mutex::new(Stage::Asked)))
    }

    fn go_on(&self, to: Stage) -> Stage {
        // The old stage is read and replaced under one lock. So the caller and the thread see each other's
        // last step, whichever comes first.
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), to)
    }
}

/// Breaks off the work on a question when the caller is gone.
struct BreakOff(Asked);

impl Drop for BreakOff {
    fn drop(&mut self) {
        // Before that stage the thread finds `InVain` and does not begin. After it there is nothing to break
        // off.
        if let Stage::Begun(handle) = self.0.go_on(Stage::InVain) {
            handle.interrupt();
        }
    }
}

impl Readers {
    pub(in crate::server) fn new(path: PathBuf) -> Readers {
        Readers {
            path,
            permits: Arc::new(Semaphore::new(READERS_MAX)),
            long_turns: Arc::new(Semaphore::new(LONG_MAX)),
            resting: Arc::default(),
        }
    }

    /// Closes every connection once no question is being answered. Later questions are refused.
    pub(in crate::server) async fn close(&self) {
        let all = |permits: usize| u32::try_from(permits).unwrap_or(u32::MAX);
        // All permits are free only when no thread uses a connection. A question that takes longer was broken
        // off: its thread closes its connection at the end.
        let _ = tokio::time::timeout(PERMIT_TIMEOUT, async {
            let short = self.permits.acquire_many(all(READERS_MAX)).await;
            (short, self.long_turns.acquire_many(all(LONG_MAX)).await)
        })
        .await;
        self.permits.close();
        self.long_turns.close();
        self.let_go();
    }

    /// Closes the idle connections. The next questions open new ones.
    pub(in crate::server) fn let_go(&self) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Closes the connections that were idle for `REST_MAX`.
    pub(in crate::server) fn close_idle(&self) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|at_rest| at_rest.since.elapsed() < REST_MAX);
    }

    /// Asks the log on a thread that may block. SQLite breaks off once nobody waits for the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.ask_for(Length::Page, |reader, _| question(reader)).await
    }

    /// Asks the log as [`Readers::ask`] does. Work that takes long outside of SQLite calls
    /// [`Asked::is_in_vain`] now and then.
    pub(crate) async fn ask_for<T: Send + 'static>(
        &self,
        length: Length,
        question: impl FnOnce(&Reader, &Asked) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (permits, timeout) = match length {
            Length::Page => (&self.permits, ANSWER_TIMEOUT),
            Length::Session => (&self.long_turns, LONG_TIMEOUT),
        };
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, permits.clone().acquire_owned());
        let busy = |_| {
            Problem::new(Kind::Overloaded, "too many read requests at once; send the request again later")
                .retry_after(2)
        };
        let permit = permit.await.map_err(busy)?;
        let permit = permit.map_err(|_| Problem::new(Kind::Unavailable, "the server is about to stop"))?;
        let (path, resting) = (self.path.clone(), self.resting.clone());
        let asked = Asked(Arc::new(Mutex::new(Stage::Asked)));
        // Dropped on every way out: after an answer, after the timeout, and when the client is gone.
        let _break_off = BreakOff(asked.clone());
        let answer = tokio::task::spawn_blocking(move || {
            // The permit is the thread's: a question that was broken off counts until its thread has ended.
            let _permit = permit;
            // The lock is held for this statement alone. To open a connection takes longer.
            let rested = resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = match rested {
                Some(rested) => rested.reader,
                None => Reader::open(&path).map_err(Problem::from)?,
            };
            if let Stage::InVain = asked.go_on(Stage::Begun(reader.interrupt_handle())) {
                return Err(Problem::new(Kind::Unavailable, "the client no longer waits for the answer"));
            }
            let answer = question(&reader, &asked);
            // The handle is taken back before the connection becomes idle: later it would interrupt the next
            // question. A connection whose question failed or was broken off is closed.
            let was = asked.go_on(Stage::Answered);
            if matches!(was, Stage::Begun(_)) && answer.is_ok() {
                let at_rest = Resting { reader, since: Instant::now() };
                resting.lock().unwrap_or_else(PoisonError::into_inner).push(at_rest);
            }
            answer
        });
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Problem::new(Kind::Internal, "an internal error in the server")),
            Err(_) => Err(Problem::new(
                Kind::Unavailable,
                "it takes too long to find the answer; ask for less: add filters or use a smaller limit",
            )),
        }
    }
}

/// The problem of a file that cannot be read now. It may be readable later, or is damaged; verification
/// reports which.
impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Problem {
        Problem::new(Kind::Unavailable, error.to_string())
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        Problem::new(Kind::Unavailable, error.to_string())
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Problem {
        match error {
            QueryError::NoWords(_) => Problem::new(Kind::BadRequest, error.to_string()),
            QueryError::Read(_) | QueryError::Storage(_) => {
                Problem::new(Kind::Unavailable, error.to_string())
            }
        }
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Problem {
        ReadError::from(error).into()
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Problem {
        Problem::new(Kind::Unavailable, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::audit::AuditLog;

    #[test]
    fn a_question_is_not_begun_for_somebody_who_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        AuditLog::open(&path).unwrap().close().unwrap();
        // The only thread for blocking work is busy.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            let readers = Readers::new(path);
            let begun = Arc::new(AtomicBool::new(false));
            let seen = begun.clone();
            let asked = readers.ask(move |_| {
                seen.store(true, Ordering::SeqCst);
                Ok(())
            });
            assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err());
            go.send(()).unwrap();
            busy.await.unwrap().unwrap();
            readers.ask(|reader| Ok(reader.head()?)).await.ok().unwrap();
            assert!(!begun.load(Ordering::SeqCst));
        });
    }
}
