//! The settings with which a client is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::courier::{Config, Courier, Shared};
use super::handle::{Inner, RemoteLog};
use super::item::Queue;
use super::refusal::{OnRefused, Refusal, Refusals};
use super::sender::{Sender, Server};
use super::spool::{Spool, SpoolError};
use super::status::ClientStatus;
use crate::event::{Draft, Timestamp};
use crate::limits::{
    CLIENT_CLOSE_TIMEOUT, CLIENT_TIMEOUT_MAX, QUEUE_EVENTS_DEFAULT, REQUEST_BYTES_DEFAULT,
    REQUEST_EVENTS_DEFAULT, SERVER_TIMEOUT, SPOOL_AFTER_DEFAULT, SPOOL_BYTES_DEFAULT,
};
use crate::own_thread;
use crate::prepare::Filter;
use crate::receipt::AppendError;
use crate::tls_roots;
use crate::writer::Clock;

/// The reason why a client cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No address of a server was given.
    #[error("the server's address is missing; give it with `Builder::url` or in $ANNALS_URL")]
    NoUrl,
    /// The text is not an address of a server.
    #[error("`{url}` is not an address that begins with `https://` or `http://`")]
    Url {
        /// The text that was given.
        url: String,
    },
    /// The API key has a space, or a character outside printable ASCII.
    #[error("the API key has characters that no API key can have")]
    Key,
    /// No folder was given for the spool.
    #[error(
        "there is no spool, the folder that keeps events while the server is unreachable; give it with `Builder::spool` or in $ANNALS_SPOOL"
    )]
    NoSpool,
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The certificates of the given authorities cannot be read.
    #[error("the file of certificate authorities has no certificate that can be read{0}")]
    Authorities(String),
    /// The client's threads cannot be started.
    #[error("the client's threads cannot be started: {0}")]
    Threads(#[source] std::io::Error),
}

/// The settings of a client: the server, and the handling of events while it cannot be reached. Start with
/// [`RemoteLog::builder`].
pub struct Builder {
    url: Option<String>,
    api_key: Option<String>,
    authorities: Option<Vec<u8>>,
    spool: Option<PathBuf>,
    spool_bytes_max: u64,
    queue_events: usize,
    timeout: Duration,
    config: Config,
    filter: Option<Filter>,
    on_refused: Option<OnRefused>,
    clock: Clock,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("url", &self.url).field("spool", &self.spool).finish_non_exhaustive()
    }
}

impl RemoteLog {
    /// Returns the settings of a client, all at their defaults.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            url: None,
            api_key: None,
            authorities: None,
            spool: None,
            spool_bytes_max: SPOOL_BYTES_DEFAULT,
            queue_events: QUEUE_EVENTS_DEFAULT,
            timeout: SERVER_TIMEOUT,
            config: Config {
                request_events: REQUEST_EVENTS_DEFAULT,
                request_bytes: REQUEST_BYTES_DEFAULT,
                spool_after: SPOOL_AFTER_DEFAULT,
                close_timeout: CLIENT_CLOSE_TIMEOUT,
            },
            filter: None,
            on_refused: None,
            clock: Arc::new(Timestamp::now),
        }
    }

    /// Sets the server's address, such as `https://audit.example.com`. The default is `$ANNALS_URL`.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Builder {
        self.url = Some(url.into());
        self
    }

    /// Sets the API key, which needs the scope `emit`. The default is `$ANNALS_API_KEY`. If that is not set
    /// either, no key is sent.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<String>) -> Builder {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the certificate authorities that are trusted for `https`: those in a PEM file, and no others. The
    /// default is the authorities that browsers trust.
    #[must_use]
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Builder {
        self.authorities = Some(pem.into());
        self
    }

    /// Sets the folder of the spool, which keeps events while the server is away. The default is
    /// `$ANNALS_SPOOL`. The folder is created if it does not exist; no other user may write to it. One
    /// process at a time uses it, so give each process its own folder. Events that are found in it are sent
    /// first.
    #[must_use]
    pub fn spool(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.spool = Some(folder.into());
        self
    }

    /// Sets the largest size of the spool, in bytes: 1 GiB by default. When the spool is full, `append`
    /// returns an error.
    #[must_use]
    pub fn spool_bytes_max(mut self, bytes: u64) -> Builder {
        self.spool_bytes_max = bytes;
        self
    }

    /// Sets the longest time that an event is in this process's memory alone: 1 second by default. If the
    /// server has not answered by then, the event goes to the spool.
    #[must_use]
    pub fn spool_after(mut self, time: Duration) -> Builder {
        self.config.spool_after = time;
        self
    }

    /// Sets the number of events that the queue holds, at least 1. `append` blocks while the queue is full.
    #[must_use]
    pub fn queue_events(mut self, events: usize) -> Builder {
        self.queue_events = events.max(1);
        self
    }

    /// Sets the largest number of events in one request, at least 1.
    #[must_use]
    pub fn request_events(mut self, events: usize) -> Builder {
        self.config.request_events = events.max(1);
        self
    }

    /// Sets the largest size of a request, in bytes. An event that is larger is sent in a request of its own.
    #[must_use]
    pub fn request_bytes(mut self, bytes: usize) -> Builder {
        self.config.request_bytes = bytes.max(1);
        self
    }

    /// Sets the timeout of a request: 30 seconds by default. After it, the whole request is sent again.
    #[must_use]
    pub fn request_timeout(mut self, time: Duration) -> Builder {
        self.timeout = time.min(CLIENT_TIMEOUT_MAX);
        self
    }

    /// Sets the longest time that [`RemoteLog::close`] waits for the server: 5 seconds by default.
    #[must_use]
    pub fn close_timeout(mut self, time: Duration) -> Builder {
        self.config.close_timeout = time.min(CLIENT_TIMEOUT_MAX);
        self
    }

    /// Sets a function that sees every draft before it is sent, as
    /// [`annals::Builder::filter`](crate::Builder::filter) does.
    #[must_use]
    pub fn filter(
        mut self,
        filter: impl Fn(&mut Draft) -> Result<(), String> + Send + Sync + 'static,
    ) -> Builder {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// Sets a function that is called for every event that the server refuses for good. It runs on the
    /// client's thread and must not wait for that thread. So it must not flush or close the client, and must
    /// append only with [`RemoteLog::try_append`].
    #[must_use]
    pub fn on_refused(mut self, callback: impl Fn(&Refusal) + Send + Sync + 'static) -> Builder {
        self.on_refused = Some(Arc::new(callback));
        self
    }

    /// Sets the clock that [`Session`](crate::Session) and [`Step`](crate::Step) handles read times from.
    /// The default is the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Builder {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens the spool, and starts to send the events in it. The server need not be reachable.
    ///
    /// # Errors
    /// If no server was given, or the spool cannot be used; the error message states the remedy.
    pub fn open(self) -> Result<RemoteLog, OpenError> {
        // A variable that is empty counts as not set.
        let from_environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = self.url.or_else(|| from_environment("ANNALS_URL")).ok_or(OpenError::NoUrl)?;
        let url = check_url(url)?;
        let key = self.api_key.or_else(|| from_environment("ANNALS_API_KEY"));
        // The key becomes a part of an HTTP header, so it must not contain a line break.
        if key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(OpenError::Key);
        }
        let folder = match self.spool {
            Some(folder) => folder,
            None => from_environment("ANNALS_SPOOL").ok_or(OpenError::NoSpool)?.into(),
        };
        let roots = tls_roots::roots(self.authorities.as_deref()).map_err(OpenError::Authorities)?;
        let server = Server::new(&url, key.as_deref(), self.timeout, roots);

        // Takes the folder's lock: from here on no other process sends or deletes these events.
        let spool = Spool::open(&folder, self.spool_bytes_max)?;
        let refusals = Refusals::new(&folder, self.on_refused);
        let status = Arc::new(ClientStatus::default());
        // Set before the courier runs, so that callers read the right count from the start.
        status.set_spooled(spool.events());
        // Bounded in events, and not in bytes: the courier takes no more events once it has two requests'
        // worth of bytes.
        let queue = Arc::new(Queue::new(self.queue_events, usize::MAX));
        // Room for one signal. It stays there until the courier, which may be busy, reads it.
        let (close, closed) = crossbeam_channel::bounded(1);
        let shared = Shared { queue: Arc::clone(&queue), status: Arc::clone(&status), close: closed };
        let sender = Sender::start(server).map_err(OpenError::Threads)?;
        let courier = Courier::new(self.config, shared, sender, spool, refusals);
        let end = EndOfQueue(Arc::clone(&queue));
        let thread = std::thread::Builder::new().name("annals-client".to_owned()).spawn(move || {
            // A `tracing` layer that records into this client must not record what this thread itself logs.
            own_thread::mark();
            // Dropped when this thread ends, also by a panic.
            let _end = end;
            courier.run()
        });
        Ok(RemoteLog {
            inner: Arc::new(Inner {
                url,
                queue,
                status,
                filter: self.filter,
                clock: self.clock,
                close,
                thread: Mutex::new(Some(thread.map_err(OpenError::Threads)?)),
            }),
        })
    }
}

/// Ends the queue when the courier's thread ends, also by a panic: otherwise callers would wait forever.
struct EndOfQueue(Arc<Queue>);

impl Drop for EndOfQueue {
    fn drop(&mut self) {
        self.0.end(AppendError::Closed);
    }
}

fn check_url(url: String) -> Result<String, OpenError> {
    // A path is added to the address later, so slashes at its end are cut. A scheme alone is not an address.
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = url.chars().all(|c| c.is_ascii_graphic());
    match host {
        Some(host) if plain && !host.trim_matches('/').is_empty() => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(OpenError::Url { url }),
    }
}
