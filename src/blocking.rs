//! Blocking work for callers that must not block: on a thread of its own, for any executor.

use std::io;

/// Runs `work` on a thread of this name, and waits for its result without blocking. If the future is dropped, the work
/// goes on. Returns `None` if the work panicked.
///
/// # Errors
/// If the thread cannot be started; then `work` did not run.
pub(crate) async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // An error means that the caller no longer waits.
        let _ = answer.send(work());
    })?;
    Ok(answered.await.ok())
}
