//! A time-stamp authority of the tests' own on the loopback interface: `openssl ts` makes its answers.
//!
//! It can be told to answer something else.

#![allow(dead_code, clippy::panic, clippy::unwrap_used, reason = "what the tests of several topics share")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;
use tiny_http::{Header, Response, Server};

/// Whether there is an `openssl`. Without one these tests say nothing, which is only fit for a machine
/// that is not meant to have it: `apt-get install openssl`.
pub(crate) fn has_openssl() -> bool {
    let there = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("CI").is_none(), "openssl is missing: install the package `openssl`");
    if !there {
        eprintln!("skipped: there is no openssl; install the package `openssl`");
    }
    there
}

/// Runs `openssl` in a folder.
pub(crate) fn openssl(folder: &Path, arguments: &str) -> Output {
    Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output().unwrap()
}

/// As [`openssl`], which must succeed.
pub(crate) fn made(folder: &Path, arguments: &str) {
    let output = openssl(folder, arguments);
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// With what the authority signs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// What `openssl req -newkey` is told.
    pub(crate) key: &'static str,
    /// The hash of its signatures.
    pub(crate) digest: &'static str,
    /// The hash by which its tokens name its certificate.
    pub(crate) certificate_digest: &'static str,
    /// Digits of its seconds after the point.
    pub(crate) fraction: u8,
}

pub(crate) const RSA: Kind =
    Kind { key: "rsa:2048", digest: "sha256", certificate_digest: "sha256", fraction: 0 };

/// How the authority answers.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// As `openssl ts` does.
    Honest,
    /// As the protocol has it, once another answer is asked for.
    Held,
    /// As if this had been asked instead: bytes of the request, and what stands in their place.
    Instead(Vec<u8>, Vec<u8>),
    /// As if another nonce had been asked for.
    OtherNonce,
    /// With this status, content type and body, whatever was asked.
    Fixed(u16, &'static str, Vec<u8>),
}

/// An authority that serves until it is dropped. Its folder has `ca.pem` and `tsa.pem`.
pub(crate) struct TestAuthority {
    folder: Arc<TempDir>,
    mode: Arc<Mutex<Mode>>,
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

/// A certification authority in a folder, and a certificate by it with an extension.
pub(crate) fn certify(folder: &Path, name: &str, key: &str, extensions: &str, days: i32) {
    fs::write(folder.join("extensions"), extensions).unwrap();
    if !folder.join("ca.pem").exists() {
        made(
            folder,
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Test-CA -days 30",
        );
    }
    made(folder, &format!("req -newkey {key} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    made(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} \
             -extfile extensions -out {name}.pem"
        ),
    );
}

impl TestAuthority {
    pub(crate) fn start(kind: Kind) -> TestAuthority {
        TestAuthority::start_with_days(kind, 30)
    }

    /// An authority whose certificate is valid for so many days.
    pub(crate) fn start_with_days(kind: Kind, days: i32) -> TestAuthority {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        certify(folder.path(), "tsa", kind.key, "extendedKeyUsage=critical,timeStamping\n", days);
        let Kind { digest, certificate_digest, fraction, .. } = kind;
        fs::write(
            folder.path().join("ts.cnf"),
            format!(
                "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\ncrypto_device = builtin\n\
                 signer_cert = tsa.pem\ncerts = ca.pem\nsigner_key = tsa.key\nsigner_digest = {digest}\n\
                 default_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\nordering = yes\n\
                 tsa_name = yes\ness_cert_id_chain = yes\ness_cert_id_alg = {certificate_digest}\n\
                 clock_precision_digits = {fraction}\n"
            ),
        )
        .unwrap();
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let mode = Arc::new(Mutex::new(Mode::Honest));
        let thread = thread::Builder::new().name("authority".to_owned()).spawn({
            let (server, mode, folder) = (Arc::clone(&server), Arc::clone(&mode), Arc::clone(&folder));
            move || {
                for request in server.incoming_requests() {
                    serve(folder.path(), &mode, request);
                }
            }
        });
        TestAuthority { folder, mode, server, thread: Some(thread.unwrap()) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/tsa", self.server.server_addr().to_ip().unwrap())
    }

    /// Where its certificates are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Its own certificate, in PEM.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        fs::read(self.file("tsa.pem")).unwrap()
    }

    /// Answers so from now on.
    pub(crate) fn answer(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// What `openssl ts -verify` finds of a token on a text.
    pub(crate) fn openssl_verifies(&self, token: &[u8], text: &str) -> bool {
        fs::write(self.file("token"), token).unwrap();
        fs::write(self.file("text"), text).unwrap();
        let output = openssl(self.folder(), "ts -verify -data text -in token -token_in -CAfile ca.pem");
        output.status.success()
    }
}

impl Drop for TestAuthority {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(folder: &Path, now: &Mutex<Mode>, mut request: tiny_http::Request) {
    let mode = now.lock().unwrap().clone();
    let mut query = Vec::new();
    request.as_reader().read_to_end(&mut query).unwrap();
    let is_query = request.headers().iter().any(|header| {
        header.field.equiv("Content-Type") && header.value.as_str() == "application/timestamp-query"
    });
    let (status, kind, body) = match &mode {
        Mode::Fixed(status, kind, body) => (*status, *kind, body.clone()),
        _ if !is_query => (415, "text/plain", b"not a query".to_vec()),
        Mode::Instead(found, other) => (200, REPLY, reply(folder, &replaced(&query, found, other))),
        Mode::OtherNonce => {
            // The last INTEGER is the nonce; the BOOLEAN after it takes up three bytes.
            let place = query.len() - 4;
            *query.get_mut(place).unwrap() ^= 1;
            (200, REPLY, reply(folder, &query))
        }
        Mode::Honest | Mode::Held => (200, REPLY, reply(folder, &query)),
    };
    while matches!(*now.lock().unwrap(), Mode::Held) {
        thread::sleep(Duration::from_millis(20));
    }
    let kind = Header::from_bytes("Content-Type", kind).unwrap();
    // Whoever asked may have gone.
    drop(request.respond(Response::from_data(body).with_status_code(status).with_header(kind)));
}

const REPLY: &str = "application/timestamp-reply";

fn reply(folder: &Path, query: &[u8]) -> Vec<u8> {
    fs::write(folder.join("query"), query).unwrap();
    let output = openssl(folder, "ts -reply -config ts.cnf -queryfile query -out reply");
    assert!(folder.join("reply").exists(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(folder.join("reply")).unwrap()
}

fn replaced(bytes: &[u8], found: &[u8], other: &[u8]) -> Vec<u8> {
    let place = bytes.windows(found.len()).position(|window| window == found).unwrap();
    let (head, tail) = bytes.split_at(place);
    [head, other, tail.get(found.len()..).unwrap()].concat()
}
