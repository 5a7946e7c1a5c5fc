//! A witness of the tests' own on the loopback interface, that follows C2SP's tlog-witness: it keeps
//! the latest checkpoint of every log in a folder, and cosigns only what continues it.
//!
//! It can be told to answer something else.

#![allow(dead_code, clippy::panic, clippy::unwrap_used, reason = "what the tests of several topics share")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use annals::Timestamp;
use annals::note::{Cosigner, SignedCheckpoint, VerifierKey};
use tiny_http::{Header, Request, Response, Server};
use tlog_tiles::tlog::{Hash, check_tree};

/// How the witness answers.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// As the protocol has it.
    Honest,
    /// As the protocol has it, once another answer is asked for.
    Held,
    /// With a cosignature of which a bit is wrong.
    WrongSignature,
    /// With a good cosignature, after lines of keys that nobody knows.
    AmongOthers,
    /// With this status, content type and body, whatever was asked.
    Fixed(u16, &'static str, Vec<u8>),
}

struct Shared {
    folder: PathBuf,
    logs: Vec<VerifierKey>,
    cosigner: Cosigner,
    mode: Mutex<Mode>,
    requests: Mutex<Vec<String>>,
    /// Held from the check of a checkpoint to the end of keeping it.
    latest: Mutex<()>,
}

/// A witness that serves until it is dropped.
pub(crate) struct TestWitness {
    shared: Arc<Shared>,
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl TestWitness {
    /// A witness that keeps its state in `folder`, and knows logs by these keys. One that is started
    /// with the folder of another goes on where that one stopped.
    pub(crate) fn start(folder: impl Into<PathBuf>, name: &str, logs: Vec<VerifierKey>) -> TestWitness {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let shared = Arc::new(Shared {
            folder: folder.into(),
            logs,
            cosigner: Cosigner::from_seed(name, &[77; 32]).unwrap(),
            mode: Mutex::new(Mode::Honest),
            requests: Mutex::default(),
            latest: Mutex::default(),
        });
        let thread = thread::Builder::new().name("witness".to_owned()).spawn({
            let (server, shared) = (Arc::clone(&server), Arc::clone(&shared));
            move || server.incoming_requests().for_each(|request| shared.serve(request))
        });
        TestWitness { shared, server, thread: Some(thread.unwrap()) }
    }

    /// Its submission prefix.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/submit", self.server.server_addr().to_ip().unwrap())
    }

    /// The key by which it cosigns.
    pub(crate) fn key(&self) -> VerifierKey {
        self.shared.cosigner.verifier().clone()
    }

    /// Answers so from now on.
    pub(crate) fn answer(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// The size of the log that it cosigned last.
    pub(crate) fn size_of(&self, origin: &str) -> u64 {
        self.shared.kept(origin).0
    }

    /// The bodies of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for TestWitness {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// An answer: status, content type, body.
type Answer = (u16, &'static str, Vec<u8>);

fn text(status: u16, body: impl Into<String>) -> Answer {
    (status, "text/plain", body.into().into_bytes())
}

impl Shared {
    fn serve(&self, mut request: Request) {
        let mut body = String::new();
        let read = request.as_reader().read_to_string(&mut body);
        self.requests.lock().unwrap().push(body.clone());
        let mode = self.mode.lock().unwrap().clone();
        let (status, kind, body) = match &mode {
            Mode::Fixed(status, kind, body) => (*status, *kind, body.clone()),
            _ if read.is_err() => text(400, "not UTF-8"),
            _ if request.url() != "/submit/add-checkpoint" => text(404, "no such page"),
            _ if request.method().as_str() != "POST" => text(405, "only POST"),
            _ => self.add_checkpoint(&body, &mode).unwrap_or_else(|refusal| refusal),
        };
        while matches!(*self.mode.lock().unwrap(), Mode::Held) {
            thread::sleep(Duration::from_millis(20));
        }
        let kind = Header::from_bytes("Content-Type", kind).unwrap();
        // Whoever asked may have gone.
        drop(request.respond(Response::from_data(body).with_status_code(status).with_header(kind)));
    }

    fn add_checkpoint(&self, body: &str, mode: &Mode) -> Result<Answer, Answer> {
        let bad = |what: &str| text(400, what);
        let (head, note) = body.split_once("\n\n").ok_or_else(|| bad("no empty line"))?;
        let mut lines = head.split('\n');
        let old =
            lines.next().and_then(|line| line.strip_prefix("old ")).ok_or_else(|| bad("no old size"))?;
        let old: u64 =
            old.parse().ok().filter(|size: &u64| size.to_string() == old).ok_or_else(|| bad("size"))?;
        let proof = lines.map(Hash::parse_hash).collect::<Result<Vec<_>, _>>().map_err(|_| bad("no hash"))?;
        if proof.len() > 63 {
            return Err(bad("too many hashes"));
        }
        let checkpoint: SignedCheckpoint = note.parse().map_err(|_| bad("no checkpoint"))?;
        let (origin, size, root) = (checkpoint.origin(), checkpoint.size(), hash_of(&checkpoint));

        let keys: Vec<_> = self.logs.iter().filter(|key| key.name() == origin).cloned().collect();
        if keys.is_empty() {
            return Err(text(404, "unknown log"));
        }
        checkpoint.verify(&keys).map_err(|error| text(403, error.to_string()))?;
        if old > size {
            return Err(bad("the old size is larger"));
        }

        let _latest = self.latest.lock().unwrap();
        let (kept_size, kept_root) = self.kept(origin);
        if old != kept_size {
            return Err((409, "text/x.tlog.size", format!("{kept_size}\n").into_bytes()));
        }
        if old == size && old != 0 && root != kept_root {
            return Err(text(409, "another root"));
        }
        let continues = if old == 0 || old == size {
            proof.is_empty()
        } else {
            check_tree(&proof, size, root, old, kept_root).is_ok()
        };
        if !continues {
            return Err(text(422, "the proof does not verify"));
        }
        self.keep(origin, size, root);
        Ok(self.cosign(&checkpoint, mode))
    }

    fn cosign(&self, checkpoint: &SignedCheckpoint, mode: &Mode) -> Answer {
        let now = u64::try_from(Timestamp::now().micros() / 1_000_000).unwrap();
        let signature = self.cosigner.cosign(checkpoint, now);
        let body = match mode {
            Mode::WrongSignature => {
                let line = signature.to_string();
                let (head, tail) = line.split_at(line.len() - 20);
                let other = if tail.starts_with('A') { "B" } else { "A" };
                format!("{head}{other}{}\n", tail.get(1..).unwrap())
            }
            Mode::AmongOthers => {
                let other = Cosigner::from_seed("witness.example/other", &[78; 32]).unwrap();
                let renamed = Cosigner::from_seed(self.cosigner.verifier().name(), &[79; 32]).unwrap();
                format!(
                    "{}\n{}\n{signature}\n",
                    other.cosign(checkpoint, now),
                    renamed.cosign(checkpoint, now)
                )
            }
            _ => format!("{signature}\n"),
        };
        text(200, body)
    }

    fn file(&self, origin: &str) -> PathBuf {
        self.folder.join(format!("latest-{}", annals::Digest::of(origin)))
    }

    fn kept(&self, origin: &str) -> (u64, Hash) {
        match fs::read_to_string(self.file(origin)) {
            Ok(kept) => {
                let (size, root) = kept.split_once('\n').unwrap();
                (size.parse().unwrap(), Hash::parse_hash(root).unwrap())
            }
            Err(_) => (0, Hash::default()),
        }
    }

    fn keep(&self, origin: &str, size: u64, root: Hash) {
        let (file, new) = (self.file(origin), self.folder.join("new"));
        let mut writer = fs::File::create(&new).unwrap();
        write!(writer, "{size}\n{root}").unwrap();
        writer.sync_all().unwrap();
        fs::rename(new, file).unwrap();
    }
}

fn hash_of(checkpoint: &SignedCheckpoint) -> Hash {
    // The third line is the root in base64, which is how these hashes are read.
    Hash::parse_hash(checkpoint.text().lines().nth(2).unwrap()).unwrap()
}

/// What a server does that breaks off.
pub(crate) enum Broken {
    /// It takes the connection, and says nothing.
    Silent,
    /// It says this, and ends the connection.
    Says(Vec<u8>),
}

/// A server that takes one connection and does not serve it. Its thread ends with the test.
pub(crate) fn broken_server(broken: Broken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        match broken {
            // Until the client gives up.
            Broken::Silent => drop(stream.read_to_end(&mut Vec::new())),
            Broken::Says(bytes) => {
                drop(stream.read(&mut [0; 65_536]));
                drop(stream.write_all(&bytes));
            }
        }
    };
    thread::Builder::new().name("broken".to_owned()).spawn(serve).unwrap();
    address
}
