//! `annals serve` as a process, and requests to it.
// Each test binary uses its own part of it.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Only a hang reaches it.
const LIMIT: Duration = Duration::from_secs(600);

/// A server that runs until it is stopped, or this is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) announced: Value,
    /// What it said on standard error is read by nobody until the end.
    errors: PathBuf,
    _folder: tempfile::TempDir,
}

impl Served {
    /// Starts a server of the log at `path` on a port of its own.
    pub(crate) fn start(path: &Path) -> Served {
        Served::start_with(path, &[])
    }

    pub(crate) fn start_with(path: &Path, arguments: &[&str]) -> Served {
        Served::start_in(path, arguments, &[])
    }

    /// Starts a server with these variables set.
    pub(crate) fn start_in(path: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let errors = folder.path().join("stderr");
        let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(["--json", "--db"])
            .arg(path)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("ANNALS_HOME", folder.path().join("home"))
            .env_remove("ANNALS_LOG")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("it did not start: {}", std::fs::read_to_string(&errors).unwrap_or_default())
        });
        let url = announced["http"][0].as_str().unwrap();
        let address = url.split_once("://").unwrap().1.parse().unwrap();
        Served { child, address, announced, errors, _folder: folder }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], b"")
    }

    pub(crate) fn post_json(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.request("POST", target, &[("content-type", "application/json")], body.as_ref())
    }

    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        ask(&mut self.connect(), method, target, headers, body).unwrap()
    }

    /// What it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(LIMIT)
    }

    fn wait_within(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < limit, "it does not end: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it, which must end well.
    pub(crate) fn stop(self) -> String {
        self.stop_within(LIMIT)
    }

    /// As [`Served::stop`], with time for read tables that are far behind.
    pub(crate) fn stop_within(mut self, limit: Duration) -> String {
        self.signal("TERM");
        let status = self.wait_within(limit);
        assert!(status.success(), "{status}: {}", self.said());
        self.said()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Bytes of memory that it has resident.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that it ever had resident, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.memory("VmHWM:") >> 20
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        1024 * line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The answer's JSON, where it has this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// Its problem's name, where it has this status and is one.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        let json = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(json["status"], status);
        assert!(json["title"].is_string() && json["detail"].is_string(), "{json}");
        json["type"].as_str().unwrap().strip_prefix("urn:annals:problem:").unwrap().to_owned()
    }
}

/// Sends a request on a connection, and reads its answer. The connection can be used again.
pub(crate) fn ask(
    stream: &mut (impl Read + Write),
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)?;
    answer(stream)
}

/// Reads an answer.
pub(crate) fn answer(stream: &mut impl Read) -> std::io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: Vec::new() };
    if let Some(length) = answer.header("content-length") {
        answer.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut answer.body)?;
    } else if answer.header("transfer-encoding") == Some("chunked") {
        let mut reader = BufReader::with_capacity(1, stream);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk)?;
            answer.body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                break;
            }
        }
    }
    Ok(answer)
}
