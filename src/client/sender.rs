//! The thread that sends requests to the server, one at a time, so that no other thread waits for the network.

use std::fmt;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender as Channel, bounded};
use ureq::tls::{RootCerts, TlsConfig};

use super::reply::Reply;
use crate::event::EventId;
use crate::limits::{REPLY_BYTES_MAX, SERVER_CONNECT_TIMEOUT};
use crate::own_thread;

/// Events in the form in which they are sent.
pub(super) struct Request {
    pub(super) ids: Vec<EventId>,
    /// Their JSON forms, each on a line.
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn of<'e>(events: impl Iterator<Item = (EventId, &'e str)>) -> Request {
        let mut request = Request { ids: Vec::new(), body: Vec::new() };
        for (id, line) in events {
            request.ids.push(id);
            request.body.extend_from_slice(line.as_bytes());
            request.body.push(b'\n');
        }
        request
    }
}

/// The server's address, and the credentials for it.
pub(super) struct Server {
    agent: ureq::Agent,
    url: String,
    authorization: Option<String>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(url: &str, key: Option<&str>, timeout: Duration, roots: RootCerts) -> Server {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(SERVER_CONNECT_TIMEOUT.min(timeout)))
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // A redirect could lead to another host, which must not get the API key.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("annals/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        Server {
            agent: config.build().new_agent(),
            url: format!("{url}/v1/events"),
            authorization: key.map(|key| format!("Bearer {key}")),
        }
    }

    fn ask(&self, request: &Request) -> Reply {
        match self.post(&request.body) {
            Ok((status, retry_after, body)) => {
                Reply::read(status, retry_after.as_deref(), &body, request.ids.iter().copied())
            }
            // The server may have committed the events although no answer came. They stay with the courier,
            // and are sent again.
            Err(error) => {
                Reply::Away { why: format!("it cannot be reached: {error}").into(), retry_after: None }
            }
        }
    }

    fn post(&self, body: &[u8]) -> Result<(u16, Option<String>, Vec<u8>), ureq::Error> {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/x-ndjson");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.send(body)?;
        let retry_after =
            response.headers().get("Retry-After").and_then(|value| Some(value.to_str().ok()?.to_owned()));
        // Any server may be at the address, so the answer is read only up to a bound.
        let body = response.body_mut().with_config().limit(REPLY_BYTES_MAX).read_to_vec()?;
        Ok((response.status().as_u16(), retry_after, body))
    }
}

/// The thread, and the channels to it and back.
pub(super) struct Sender {
    requests: Channel<Request>,
    pub(super) replies: Receiver<Reply>,
    thread: JoinHandle<()>,
}

impl Sender {
    pub(super) fn start(server: Server) -> io::Result<Sender> {
        // At most one request is under way. So neither side blocks if each channel has room for one message.
        let (requests, to_send) = bounded::<Request>(1);
        let (answer, replies) = bounded(1);
        let thread = std::thread::Builder::new().name("annals-sender".to_owned()).spawn(move || {
            own_thread::mark();
            for request in to_send {
                if answer.send(server.ask(&request)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Sender { requests, replies, thread })
    }

    /// Sends a request. The caller makes sure that no other one is under way.
    pub(super) fn send(&self, request: Request) {
        // If the thread is gone, its end of `replies` is gone too, and the courier notices that.
        let _ = self.requests.send(request);
    }

    /// Ends the thread. If it still waits for the server, it is not joined: it ends after the answer or the
    /// timeout.
    pub(super) fn end(self, is_waiting: bool) {
        // The thread's loop ends when this, the only sender, is gone.
        drop(self.requests);
        if !is_waiting {
            let _ = self.thread.join();
        }
    }
}
