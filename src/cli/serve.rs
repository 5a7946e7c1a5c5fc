//! `annals serve`: the log over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::server::{Addresses, Authentication, Config, Limits, OtlpMetrics, Plaintext, Server, TlsFiles};
use anyhow::Context as _;
use serde::Serialize;
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

use super::ending;
use super::log_file::LogFile;
use super::out::{self, Out};
use super::text;
use super::verdict::Verdict;

/// Default ports of HTTP and gRPC: those that OpenTelemetry's exporters use.
const HTTP_PORT: u16 = 4318;
const GRPC_PORT: u16 = 4317;

/// The environment variable that selects what the server logs.
const LOG_VARIABLE: &str = "ANNALS_LOG";

/// Timeout of threads that are still blocked at the end.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Serve the log to other programs over HTTP and OpenTelemetry.
///
/// By default the server listens on 127.0.0.1:4318 for HTTP and on 127.0.0.1:4317 for OTLP over gRPC. If
/// --listen, --grpc or --unix is given, it listens only on the addresses that these options name. It
/// answers with status 200 only when the events are committed.
///
/// While the log has no API key, every client that can reach the server may do everything. So the server
/// then listens only on loopback addresses and unix sockets, and refuses requests that a web page may have
/// sent. --no-auth turns both rules off. Without TLS the server also listens only on these addresses, even
/// if the log has keys. --insecure turns this rule off.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals serve
  annals serve --unix /run/user/1000/annals.sock
  annals serve --listen 0.0.0.0:4318 --tls-cert cert.pem --tls-key key.pem
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 my-agent

$ANNALS_LOG selects the messages on standard error: warn, info (the default), or debug for every request.")]
pub(crate) struct Args {
    /// Listen on this address for HTTP; may be given several times. Port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Vec<SocketAddr>,

    /// Listen on this address for OTLP over gRPC; may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    grpc: Vec<SocketAddr>,

    /// Listen on this unix socket for HTTP; may be given several times
    #[arg(long, value_name = "PATH")]
    unix: Vec<PathBuf>,

    /// Certificate in PEM; with it, all TCP addresses use TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Never require an API key: every client that can reach the server may do everything, even erase
    /// payloads
    #[arg(long)]
    no_auth: bool,

    /// Allow addresses that other machines can reach, without TLS; something else must encrypt the traffic
    #[arg(long)]
    insecure: bool,

    /// Record an event for each request that reads the content of events
    #[arg(long)]
    record_reads: bool,

    /// Treatment of OpenTelemetry's metrics. Spans and log records are always recorded
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Metrics::Drop)]
    otlp_metrics: Metrics,

    /// Report at /readyz that the server is not ready if an anchor has lacked events for more than this many
    /// seconds [default: no limit]. Choose more than the time between checkpoints, which is 60 s by default
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    anchor_max_age: Option<Duration>,

    /// Format of the server's messages on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitArgs,
}

#[derive(Debug, clap::Args)]
struct LimitArgs {
    /// Maximum size of a request body, also after decompression, in MiB; a value above half of --max-memory
    /// counts as that half
    #[arg(long, value_name = "MIB", default_value_t = mib(Limits::default().body_bytes), value_parser = positive)]
    max_body: usize,

    /// Memory budget for all bodies, the events made from them, and the answers, together in MiB
    #[arg(long, value_name = "MIB", default_value_t = mib(Limits::default().memory_bytes), value_parser = positive)]
    max_memory: usize,

    /// Maximum size of all temporary files together, in MiB; they hold answers that are too long for memory
    #[arg(long, value_name = "MIB", default_value_t = mib(Limits::default().answer_disk_bytes), value_parser = positive)]
    max_answer_disk: usize,

    /// Maximum number of open connections
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = positive)]
    max_connections: usize,

    /// Maximum number of requests per second from one API key, or from one address if no keys are needed;
    /// 0 means no limit
    #[arg(long, value_name = "N", default_value_t = Limits::default().requests_per_second)]
    rate: u32,

    /// Timeout for the headers of the first request on a connection, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    header_timeout: Duration,

    /// Timeout for receiving a body, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    body_timeout: Duration,

    /// Timeout for an idle connection, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "75", value_parser = seconds)]
    idle_timeout: Duration,

    /// Timeout for a client that does not read its answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    write_timeout: Duration,

    /// Time that running requests have to finish when the server is stopped, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    grace: Duration,
}

fn mib(bytes: usize) -> usize {
    bytes >> 20
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number, at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or_else(|| "give a number of seconds above 0".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    // The only name that needs no resolver.
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse().map_err(|_| {
        "give an address and a port, such as 127.0.0.1:4318, [::1]:4318 or 0.0.0.0:4318".to_owned()
    })
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Metrics {
    /// Accept them, so that exporters report no errors, and record nothing
    Drop,
    /// Record each data point as an event metric.recorded
    Record,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Args {
    fn config(&self) -> Config {
        let LimitArgs {
            max_body,
            max_memory,
            max_answer_disk,
            max_connections,
            rate,
            header_timeout,
            body_timeout,
            idle_timeout,
            write_timeout,
            grace,
        } = self.limits;
        let limits = Limits {
            // A number that is too large to be counted in bytes is no limit.
            body_bytes: max_body.saturating_mul(1 << 20),
            memory_bytes: max_memory.saturating_mul(1 << 20),
            answer_disk_bytes: max_answer_disk.saturating_mul(1 << 20),
            connections: max_connections,
            requests_per_second: rate,
            header: header_timeout,
            body: body_timeout,
            idle: idle_timeout,
            write: write_timeout,
            grace,
            anchor_max_age: self.anchor_max_age,
            ..Limits::default()
        };
        let mut config = Config {
            http: self.listen.clone(),
            grpc: self.grpc.clone(),
            unix: self.unix.clone(),
            tls: self
                .tls_cert
                .clone()
                .zip(self.tls_key.clone())
                .map(|(certificate, key)| TlsFiles { certificate, key }),
            authentication: if self.no_auth {
                Authentication::Never
            } else {
                Authentication::WhereThereAreKeys
            },
            plaintext: if self.insecure { Plaintext::Anywhere } else { Plaintext::Loopback },
            record_reads: self.record_reads,
            otlp_metrics: match self.otlp_metrics {
                Metrics::Drop => OtlpMetrics::Drop,
                Metrics::Record => OtlpMetrics::Record,
            },
            limits,
        };
        // Any address that was given replaces all of the defaults.
        if config.http.is_empty() && config.grpc.is_empty() && config.unix.is_empty() {
            let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            config.http.push(loopback(HTTP_PORT));
            config.grpc.push(loopback(GRPC_PORT));
        }
        config
    }
}

pub(crate) fn run(args: &Args, place: &LogFile, out: &mut Out) -> anyhow::Result<Verdict> {
    tell(args.log_format)?;
    let config = args.config();
    // Kept until the function returns: dropping it ends the thread.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let _giving_back = super::give_back::start().context("the server's threads cannot be started")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("annals-serve")
        .enable_all()
        .build()
        .context("the server's threads cannot be started")?;
    let served = runtime.block_on(async {
        // Listens from the beginning: a request to stop that comes before the first HTTP request counts, too.
        let stop = stop();
        let log = place.append()?;
        let server = match Server::bind(log.clone(), &config) {
            Ok(server) => server,
            Err(error) => {
                // The log is closed in order even if no address can be bound.
                ending::close(log)?;
                return Err(error.into());
            }
        };
        // The sockets are bound, so whoever reads this can connect.
        announce(server.addresses(), config.tls.is_some(), out)?;
        let closed = ending::without_evidence(server.run(async move { stop.notified().await }).await);
        // The server has closed the log. This handle still knows the state of the anchors.
        ending::say_anchors(&log);
        closed?;
        anyhow::Ok(())
    });
    // Blocking tasks cannot be cancelled: after the timeout they end with the process.
    runtime.shutdown_timeout(END_TIMEOUT);
    served.map(|()| Verdict::Done)
}

/// Sends the server's own log to standard error.
fn tell(format: LogFormat) -> anyhow::Result<()> {
    // An unset or empty variable selects the default; any other value must be valid.
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).or_else(|error| {
        if std::env::var_os(LOG_VARIABLE).is_none_or(|value| value.is_empty()) {
            Ok(EnvFilter::new("info"))
        } else {
            Err(error)
        }
    });
    let filter = filter.with_context(|| format!("${LOG_VARIABLE} is invalid (use warn, info or debug)"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    set.map_err(|error| anyhow::anyhow!("the server cannot write its messages: {error}"))
}

#[derive(Serialize)]
struct Announced {
    http: Vec<String>,
    grpc: Vec<String>,
    unix: Vec<PathBuf>,
    pid: u32,
}

/// Prints the addresses: connections are accepted from now on.
fn announce(addresses: &Addresses, tls: bool, out: &mut Out) -> anyhow::Result<()> {
    let scheme = if tls { "https" } else { "http" };
    let urls = |addresses: &[SocketAddr]| -> Vec<String> {
        addresses.iter().map(|address| format!("{scheme}://{address}")).collect()
    };
    let (http, grpc) = (urls(&addresses.http), urls(&addresses.grpc));
    for url in &http {
        out::say(&format!("listening on {url}"));
    }
    for url in &grpc {
        out::say(&format!("listening on {url} (gRPC)"));
    }
    for path in &addresses.unix {
        out::say(&format!("listening on unix:{}", text::line(&path.display().to_string())));
    }
    if out.is_json() {
        let announced = Announced { http, grpc, unix: addresses.unix.clone(), pid: std::process::id() };
        out.json(&announced)?;
        // A program that started the server may wait for this line.
        out.flush()?;
    }
    Ok(())
}

/// Listens for the request to stop.
fn stop() -> Arc<Notify> {
    let wished = Arc::new(Notify::new());
    // The reaction to a signal runs on another thread than the server.
    let told = wished.clone();
    super::interrupt::on_wish(move || {
        out::say(
            "stopping: the server first commits the events that it accepted; a second signal ends it at once",
        );
        // `notify_one` keeps the notice if nobody waits for it yet.
        told.notify_one();
    });
    wished
}
