//! The state that all requests share: the log, its bounds, its counts, and room for bodies and answers.

pub(super) mod limits;
pub(super) mod log_file;
pub(super) mod memory;
pub(super) mod metrics;
mod page;
pub(super) mod access;
pub(super) mod rates;
pub(super) mod readers;
pub(super) mod tails;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use access::Access;

use crate::audit::AuditLog;
use limits::Limits;
use log_file::LogFile;
use memory::Memory;
use metrics::Metrics;
use rates::Rates;
use readers::Readers;
use tails::Tails;

/// An unsafe setting that the operator asked for. The server reports it for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// Other machines can reach this address, and there is no TLS.
    Plaintext(SocketAddr),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Plaintext(address) => write!(
                f,
                "{address} can be reached from other machines without TLS: keys and events can be read and changed on the way, unless something else encrypts the traffic"
            ),
        }
    }
}

/// The treatment of metrics that come by OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpMetrics {
    /// They are accepted, so that exporters report no errors, and not recorded.
    #[default]
    Drop,
    /// Each data point becomes an event `metric.recorded`.
    Record,
}

/// The state that all requests share; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    /// The log without a principal. Events of a caller go through `request::caller::Caller::log`.
    pub(crate) log: AuditLog,
    pub(crate) file: LogFile,
    pub(crate) limits: Limits,
    pub(crate) access: Access,
    pub(crate) otlp_metrics: OtlpMetrics,
    /// Unsafe settings, which `/readyz` lists.
    pub(crate) warnings: Vec<Warning>,
    /// The memory budget for bodies that are being handled, for events made of them, and for answers.
    pub(crate) memory: Memory,
    /// The budget of bytes on the disk for long answers.
    pub(crate) disk: Memory,
    pub(crate) metrics: Metrics,
    /// Permits for connections.
    pub(in crate::server) room: Arc<Semaphore>,
    pub(crate) rates: Rates,
    pub(crate) readers: Readers,
    pub(crate) tails: Tails,
    /// The permit for a verification. Only one runs: each reads the whole log, and uses every processor.
    pub(crate) verification: Arc<Semaphore>,
    /// Permits for long work: as many as there are processors.
    processors: Arc<Semaphore>,
    /// Cancelled when the server stops. Work that has no end by itself ends then.
    pub(crate) stopping: CancellationToken,
}

impl App {
    pub(in crate::server) fn new(
        log: AuditLog,
        file: LogFile,
        mut limits: Limits,
        access: Access,
        otlp_metrics: OtlpMetrics,
        warnings: Vec<Warning>,
    ) -> App {
        // A compressed body is in memory twice, as sent and decompressed. If that can never fit, the body is
        // too large: a client that is asked to come again would do so forever.
        limits.body_bytes = limits.body_bytes.min(limits.memory_bytes / 2);
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        App(Arc::new(Shared {
            memory: Memory::new(limits.memory_bytes),
            disk: Memory::new(limits.answer_disk_bytes),
            metrics: Metrics::new(&log),
            room: Arc::new(Semaphore::new(limits.connections.max(1))),
            rates: Rates::new(limits.requests_per_second, limits.wrong_keys_per_minute),
            tails: Tails::new(),
            verification: Arc::new(Semaphore::new(1)),
            readers: Readers::new(log.path().to_owned()),
            file,
            log,
            limits,
            access,
            otlp_metrics,
            warnings,
            processors: Arc::new(Semaphore::new(processors)),
            stopping: CancellationToken::new(),
        }))
    }

    /// Open connections.
    pub(in crate::server) fn open_connections(&self) -> usize {
        self.limits.connections.saturating_sub(self.room.available_permits())
    }

    /// Runs work on `bytes` of input. Long work leaves the threads that serve connections. The error is a
    /// panic in the work, or the end of the server.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        if bytes <= SHORT_BYTES {
            return Ok(work());
        }
        self.work_apart(work).await
    }

    /// Runs work away from the threads that serve connections. The error is that of [`App::work`].
    pub(crate) async fn work_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        // Work that waits for its permit takes up no thread. The permit moves into the work, which runs to
        // its end even if its caller is gone, and counts until then.
        let permit = self.processors.clone().acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
    }
}

/// Bytes of input that take about a millisecond to read: to wait for another thread might take longer.
const SHORT_BYTES: usize = 64 << 10;

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
