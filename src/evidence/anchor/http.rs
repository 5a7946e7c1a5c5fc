//! HTTP requests to witnesses and time-stamp authorities, with bounds on the time and the length of an
//! answer.

use std::time::Duration;

use ureq::tls::TlsConfig;

use crate::limits::{ANCHOR_ANSWER_BYTES_MAX, ANCHOR_CONNECT_TIMEOUT, ANCHOR_TIMEOUT};
use crate::tls_roots;

/// Characters of an answer that an error repeats.
const EXCERPT_CHARS: usize = 200;

/// The timeouts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Longest time until the connection is made, including TLS for `https`.
    pub connect: Duration,
    /// Longest time until all of the answer has arrived.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { connect: ANCHOR_CONNECT_TIMEOUT, whole: ANCHOR_TIMEOUT }
    }
}

/// The certificate authorities that are trusted for `https`.
#[derive(Clone, Copy, Debug, Default)]
pub enum Roots<'a> {
    /// The authorities that browsers trust.
    #[default]
    Web,
    /// Only the certificates of a PEM file.
    Pem(&'a [u8]),
}

/// The reason why a request got no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address does not begin with `https://` or `http://`.
    #[error("`{url}` is not an address that begins with `https://` or `http://`")]
    Url {
        /// The address.
        url: String,
    },
    /// The certificates of authorities cannot be read.
    #[error("the file of certificate authorities has no certificate that can be read{0}")]
    Roots(String),
    /// The server did not answer in time.
    #[error("{url} has not answered in time ({what}); it may be down or overloaded, try again later")]
    Late {
        /// The address.
        url: String,
        /// The step that timed out.
        what: String,
    },
    /// The answer is longer than the bound.
    #[error("{url} answered with more than {max} bytes; it is not a server of the expected kind")]
    TooLong {
        /// The address.
        url: String,
        /// The longest answer that is read.
        max: u64,
    },
    /// The connection cannot be made, or broke off.
    #[error("{url} cannot be reached, or the connection broke: {source}")]
    Transport {
        /// The address.
        url: String,
        /// The error of the HTTP client.
        source: Box<ureq::Error>,
    },
}

/// A client that follows no redirects: a request goes to the given address or nowhere.
#[derive(Debug)]
pub struct HttpClient {
    agent: ureq::Agent,
}

/// The answer of a server.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

impl HttpResponse {
    /// The beginning of the body on one line, for an error message.
    pub(super) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
        line.take(EXCERPT_CHARS).collect()
    }
}

impl HttpClient {
    /// A client with these timeouts and these authorities.
    ///
    /// # Errors
    /// If the file of authorities has no certificates.
    pub fn new(timeouts: Timeouts, roots: Roots<'_>) -> Result<HttpClient, HttpError> {
        let roots = match roots {
            Roots::Web => None,
            Roots::Pem(pem) => Some(pem),
        };
        let roots = tls_roots::roots(roots).map_err(HttpError::Roots)?;
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(timeouts.connect))
            .timeout_global(Some(timeouts.whole))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("annals/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        Ok(HttpClient { agent: config.build().new_agent() })
    }

    /// Posts a body, and reads the answer whatever its status.
    pub(super) fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<HttpResponse, HttpError> {
        let failed = |error| failure(url, error);
        let request = self.agent.post(url).header("Content-Type", content_type);
        let mut response = request.send(body).map_err(failed)?;
        let content_type = response.body().mime_type().unwrap_or_default().to_owned();
        // The length is bounded because the server is not trusted with this process's memory.
        let body = response.body_mut().with_config().limit(ANCHOR_ANSWER_BYTES_MAX).read_to_vec();
        Ok(HttpResponse { status: response.status().as_u16(), content_type, body: body.map_err(failed)? })
    }
}

fn failure(url: &str, error: ureq::Error) -> HttpError {
    let url = url.to_owned();
    match error {
        ureq::Error::Timeout(what) => HttpError::Late { url, what: what.to_string() },
        ureq::Error::BodyExceedsLimit(max) => HttpError::TooLong { url, max },
        // A timeout while the body is read arrives inside an I/O error.
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            HttpError::Late { url, what: error.to_string() }
        }
        source => HttpError::Transport { url, source: Box::new(source) },
    }
}

/// Checks an address, and returns it without slashes at its end.
///
/// # Errors
/// If the address does not begin with `https://` or `http://`.
pub(super) fn check_url(url: &str) -> Result<String, HttpError> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = url.chars().all(|c| c.is_ascii_graphic());
    match host {
        Some(host) if plain && !host.trim_matches('/').is_empty() => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(HttpError::Url { url: url.to_owned() }),
    }
}
