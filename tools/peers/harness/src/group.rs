//! Group commit by hand: one thread takes what producers have sent meanwhile, and commits it at once.

use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow, ensure};
use crossbeam_channel::{Receiver, Sender, bounded};

/// Events that one commit takes at most, unless a single request has more.
const COMMIT_EVENTS_MAX: usize = 1_000;

/// Requests that wait at most: more than there are producers, each of which has one under way.
const QUEUE_REQUESTS: usize = 2_048;

/// What the thread commits to.
pub trait Sink: Send + 'static {
    /// What producers prepare of an event on their own threads.
    type Item: Send + 'static;

    /// Makes the items durable, in one transaction. They may be taken out of the list.
    ///
    /// # Errors
    /// Ends the run.
    fn commit(&mut self, items: &mut Vec<Self::Item>) -> anyhow::Result<()>;
}

/// The thread, and the way to it.
pub struct Committer<S: Sink> {
    sender: Sender<Request<S::Item>>,
    thread: JoinHandle<anyhow::Result<S>>,
}

struct Request<I> {
    items: Items<I>,
    /// Whether it was committed.
    done: Sender<bool>,
}

enum Items<I> {
    One(I),
    Several(Vec<I>),
}

impl<S: Sink> Committer<S> {
    /// Starts the thread.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(sink: S) -> anyhow::Result<Committer<S>> {
        let (sender, receiver) = bounded(QUEUE_REQUESTS);
        let thread = std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || commit_all(sink, &receiver))
            .context("a thread")?;
        Ok(Committer { sender, thread })
    }

    /// A producer's way to the thread.
    #[must_use]
    pub fn handle(&self) -> Handle<S::Item> {
        let (done, committed) = bounded(1);
        Handle { sender: self.sender.clone(), done, committed }
    }

    /// Ends the thread once all handles are gone, and gives back what it committed to.
    ///
    /// # Errors
    /// If a commit failed.
    pub fn stop(self) -> anyhow::Result<S> {
        drop(self.sender);
        self.thread.join().map_err(|_| anyhow!("the committing thread panicked"))?
    }
}

/// A producer's way to the thread. It has one request under way at a time.
pub struct Handle<I> {
    sender: Sender<Request<I>>,
    done: Sender<bool>,
    committed: Receiver<bool>,
}

impl<I> Handle<I> {
    /// Waits until one item is committed.
    ///
    /// # Errors
    /// If it was not committed; [`Committer::stop`] says why.
    pub fn commit(&self, item: I) -> anyhow::Result<()> {
        self.send(Items::One(item))
    }

    /// Waits until items are committed together.
    ///
    /// # Errors
    /// As [`Handle::commit`].
    pub fn commit_several(&self, items: Vec<I>) -> anyhow::Result<()> {
        self.send(Items::Several(items))
    }

    fn send(&self, items: Items<I>) -> anyhow::Result<()> {
        let request = Request { items, done: self.done.clone() };
        self.sender.send(request).map_err(|_| anyhow!("the committing thread ended"))?;
        let committed = self.committed.recv().context("the committing thread ended")?;
        ensure!(committed, "a commit failed");
        Ok(())
    }
}

/// Commits until all senders are gone. After a failure it answers every request with that, so that no producer waits
/// for ever.
fn commit_all<S: Sink>(mut sink: S, requests: &Receiver<Request<S::Item>>) -> anyhow::Result<S> {
    let mut items = Vec::with_capacity(COMMIT_EVENTS_MAX);
    let mut waiting = Vec::new();
    let mut failure = None;
    while let Ok(first) = requests.recv() {
        let mut next = Some(first);
        while let Some(request) = next.take() {
            match request.items {
                Items::One(item) => items.push(item),
                Items::Several(several) => items.extend(several),
            }
            waiting.push(request.done);
            if items.len() < COMMIT_EVENTS_MAX {
                next = requests.try_recv().ok();
            }
        }
        if failure.is_none() {
            failure = sink.commit(&mut items).err();
        }
        items.clear();
        for done in waiting.drain(..) {
            // It has room for the one answer that its producer waits for.
            let _ = done.try_send(failure.is_none());
        }
    }
    failure.map_or(Ok(sink), Err)
}
