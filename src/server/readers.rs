//! Connections that only read, for as many questions at a time as there are of them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::InterruptHandle;
use tokio::sync::Semaphore;

use super::problem::{Kind, Problem};
use crate::log::{OpenError, ReadError};
use crate::query::QueryError;
use crate::reader::Reader;
use crate::replay::ReplayError;

/// Questions that are answered at a time: more would only take the disk from one another.
const READERS_MAX: usize = 4;

/// How long a question waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// How long an answer may take to be found.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    resting: Arc<Mutex<Vec<Reader>>>,
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

/// Breaks off what a reader does for somebody who is gone.
struct BreakOff(Arc<Mutex<Stage>>);

impl Drop for BreakOff {
    fn drop(&mut self) {
        if let Stage::Begun(handle) = go_on(&self.0, Stage::InVain) {
            handle.interrupt();
        }
    }
}

fn go_on(stage: &Mutex<Stage>, to: Stage) -> Stage {
    std::mem::replace(&mut *stage.lock().unwrap_or_else(PoisonError::into_inner), to)
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers { path, turns: Arc::new(Semaphore::new(READERS_MAX)), resting: Arc::default() }
    }

    /// Closes every connection, as soon as no question is asked any more. Nobody can ask from then on.
    pub(super) async fn close(&self) {
        let all = u32::try_from(READERS_MAX).unwrap_or(u32::MAX);
        // A question that takes so long was broken off; its connection closes when it ends.
        let _ = tokio::time::timeout(TURN_PATIENCE, self.turns.acquire_many(all)).await;
        self.turns.close();
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks the log, on a thread that may block. Where nobody waits for the answer any more, SQLite breaks
    /// off.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = tokio::time::timeout(TURN_PATIENCE, self.turns.clone().acquire_owned());
        let busy = |_| Problem::new(Kind::Overloaded, "too many questions at a time").retry_after(2);
        let turn = turn.await.map_err(busy)?;
        let turn = turn.map_err(|_| Problem::new(Kind::Unavailable, "the server is about to stop"))?;
        let (path, resting) = (self.path.clone(), self.resting.clone());
        let stage = Arc::new(Mutex::new(Stage::Asked));
        let _break_off = BreakOff(stage.clone());
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let rested = resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = match rested {
                Some(reader) => reader,
                None => Reader::open(&path).map_err(Problem::from)?,
            };
            if let Stage::InVain = go_on(&stage, Stage::Begun(reader.interrupt_handle())) {
                return Err(Problem::new(Kind::Unavailable, "nobody waits for the answer"));
            }
            let answer = question(&reader);
            // Taken out first: a handle that is used later must not meet the next question.
            let was = go_on(&stage, Stage::Answered);
            if matches!(was, Stage::Begun(_)) && answer.is_ok() {
                resting.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            }
            answer
        });
        match tokio::time::timeout(ANSWER_PATIENCE, answer).await {
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
            QueryError::Read(_) | QueryError::Sqlite(_) => Problem::new(Kind::Unavailable, error.to_string()),
        }
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
