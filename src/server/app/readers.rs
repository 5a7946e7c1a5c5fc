//! Connections that only read, for as many questions at a time as there are of them.

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

/// Questions that are answered at a time: more would only take the disk from one another.
const READERS_MAX: usize = 4;

/// Questions about whole sessions among them, which may be long, on connections of their own: they keep nobody
/// waiting who asks for a page.
const LONG_MAX: usize = 2;

/// How long a question waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer may take to be found.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// How long an answer about a whole session may take to be written.
const LONG_PATIENCE: Duration = Duration::from_secs(120);

/// How long a connection that nobody asks stays open: it keeps pages, and what its statements took.
const REST_MAX: Duration = Duration::from_secs(10);

/// How much there is to read for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// A page.
    Page,
    /// All of a session.
    Session,
}

pub(crate) struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    long_turns: Arc<Semaphore>,
    resting: Arc<Mutex<Vec<Resting>>>,
}

/// A connection that nobody asks now. Of several the one that was asked last is taken first, so that the others
/// can be closed.
struct Resting {
    reader: Reader,
    since: Instant,
}

/// How far a question is.
enum Stage {
    Asked,
    /// A reader is at it.
    Begun(InterruptHandle),
    Answered,
    /// Whoever asked is gone.
    InVain,
}

/// A question, as whoever answers it sees it.
#[derive(Clone)]
pub(crate) struct Asked(Arc<Mutex<Stage>>);

impl Asked {
    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_in_vain(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Stage::InVain)
    }

    #[cfg(test)]
    pub(in crate::server) fn begun_by_nobody() -> Asked {
        Asked(Arc::new(Mutex::new(Stage::Asked)))
    }

    fn go_on(&self, to: Stage) -> Stage {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), to)
    }
}

/// Breaks off what a reader does for somebody who is gone.
struct BreakOff(Asked);

impl Drop for BreakOff {
    fn drop(&mut self) {
        if let Stage::Begun(handle) = self.0.go_on(Stage::InVain) {
            handle.interrupt();
        }
    }
}

impl Readers {
    pub(in crate::server) fn new(path: PathBuf) -> Readers {
        Readers {
            path,
            turns: Arc::new(Semaphore::new(READERS_MAX)),
            long_turns: Arc::new(Semaphore::new(LONG_MAX)),
            resting: Arc::default(),
        }
    }

    /// Closes every connection, as soon as no question is asked any more. Nobody can ask from then on.
    pub(in crate::server) async fn close(&self) {
        let all = |turns: usize| u32::try_from(turns).unwrap_or(u32::MAX);
        // A question that takes so long was broken off; its connection closes when it ends.
        let _ = tokio::time::timeout(TURN_PATIENCE, async {
            let short = self.turns.acquire_many(all(READERS_MAX)).await;
            (short, self.long_turns.acquire_many(all(LONG_MAX)).await)
        })
        .await;
        self.turns.close();
        self.long_turns.close();
        self.let_go();
    }

    /// Closes the connections that nobody asks now. The next questions open others.
    pub(in crate::server) fn let_go(&self) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Closes the connections that nobody has asked for a while.
    pub(in crate::server) fn close_idle(&self) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|at_rest| at_rest.since.elapsed() < REST_MAX);
    }

    /// Asks the log, on a thread that may block. Where nobody waits for the answer any more, SQLite breaks
    /// off.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.ask_for(Length::Page, |reader, _| question(reader)).await
    }

    /// Asks the log as [`Readers::ask`] does. What takes long beside SQLite looks now and then whether it is in
    /// vain.
    pub(crate) async fn ask_for<T: Send + 'static>(
        &self,
        length: Length,
        question: impl FnOnce(&Reader, &Asked) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (turns, patience) = match length {
            Length::Page => (&self.turns, ANSWER_PATIENCE),
            Length::Session => (&self.long_turns, LONG_PATIENCE),
        };
        let turn = tokio::time::timeout(TURN_PATIENCE, turns.clone().acquire_owned());
        let busy = |_| Problem::new(Kind::Overloaded, "too many questions at a time").retry_after(2);
        let turn = turn.await.map_err(busy)?;
        let turn = turn.map_err(|_| Problem::new(Kind::Unavailable, "the server is about to stop"))?;
        let (path, resting) = (self.path.clone(), self.resting.clone());
        let asked = Asked(Arc::new(Mutex::new(Stage::Asked)));
        let _break_off = BreakOff(asked.clone());
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let rested = resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = match rested {
                Some(rested) => rested.reader,
                None => Reader::open(&path).map_err(Problem::from)?,
            };
            if let Stage::InVain = asked.go_on(Stage::Begun(reader.interrupt_handle())) {
                return Err(Problem::new(Kind::Unavailable, "nobody waits for the answer"));
            }
            let answer = question(&reader, &asked);
            // Taken out first: a handle that is used later must not meet the next question.
            let was = asked.go_on(Stage::Answered);
            if matches!(was, Stage::Begun(_)) && answer.is_ok() {
                let at_rest = Resting { reader, since: Instant::now() };
                resting.lock().unwrap_or_else(PoisonError::into_inner).push(at_rest);
            }
            answer
        });
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Problem::new(Kind::Internal, "a fault in the server")),
            Err(_) => Err(Problem::new(
                Kind::Unavailable,
                "the answer takes too long to find; ask for less, with filters or a smaller limit",
            )),
        }
    }
}

/// A file that cannot be read now may be read later, or is damaged; verification says which.
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
        // One thread for what blocks, and something else has it.
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
