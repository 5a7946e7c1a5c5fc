//! Two verifiers that were written apart from each other, one from the specification alone, and their verdicts
//! on the same files.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and fails where it cannot go on"
)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use annals::KeyRole;
use annals::note::{CheckpointFile, VerifierKey};
use annals::verify::{self, Check, Options, Report, Scope};
use serde_json::{Value, json};

/// Runs tools/verify.py many times in one process: a line of JSON with the arguments comes in, and a line with
/// the exit status and the verdict goes out.
const LOOP: &str = r"
import contextlib, io, json, sys
sys.path.insert(0, sys.argv[1])
import verify
for line in sys.stdin:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = verify.main(json.loads(line) + ['--json'])
    print(json.dumps({'status': status, 'verdict': json.loads(out.getvalue())}), flush=True)
";

/// What is given to a verifier from outside the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) keys: Vec<(KeyRole, String)>,
    /// A checkpoint file.
    pub(crate) checkpoints: Option<String>,
}

/// What a verifier says, in the words that docs/format.md gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    CouldNotCheck,
    Judged {
        /// The first failure: its check, and the event.
        failure: Option<(String, Option<i64>)>,
        anchored_to: Option<u64>,
        signed_to: Option<u64>,
        /// The events that change keys, whether they are certified, and whether they lead back.
        key_changes: Vec<(u64, bool, bool)>,
        /// Checkpoints by keys before the trusted ones, and what could not be checked.
        before: usize,
        not_checked: usize,
        /// Of a log without a failure.
        facts: Option<Box<Facts>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) origin: Option<String>,
    pub(crate) log_id: Option<String>,
    pub(crate) events: u64,
    pub(crate) head: Option<String>,
    /// Licence, actor, reason and authority of each.
    pub(crate) redactions: Vec<(u64, String, String, Option<String>)>,
}

impl Verdict {
    pub(crate) fn check(&self) -> Option<&str> {
        match self {
            Verdict::Judged { failure: Some((check, _)), .. } => Some(check),
            _ => None,
        }
    }
}

/// tools/verify.py at work.
pub(crate) struct Python {
    child: Child,
    arguments: ChildStdin,
    verdicts: BufReader<ChildStdout>,
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Python {
    /// None where nothing says with what to run it.
    pub(crate) fn start() -> Option<Python> {
        let Some(python) = std::env::var_os("ANNALS_TEST_PYTHON") else {
            assert!(std::env::var_os("CI").is_none(), "ANNALS_TEST_PYTHON must be set: tools/test does it");
            println!(
                "skipped: tools/test installs what tools/verify.py needs, and names it in ANNALS_TEST_PYTHON"
            );
            return None;
        };
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
        let mut child = Command::new(python)
            .args(["-B", "-c", LOOP])
            .arg(tools)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (arguments, verdicts) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Some(Python { child, arguments, verdicts: BufReader::new(verdicts) })
    }

    pub(crate) fn ask(&mut self, arguments: &[String]) {
        writeln!(self.arguments, "{}", json!(arguments)).unwrap();
    }

    /// The exit status and the verdict.
    pub(crate) fn answer(&mut self) -> (u64, Value) {
        let mut line = String::new();
        self.verdicts.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).expect("tools/verify.py gave up");
        (answer["status"].as_u64().unwrap(), answer["verdict"].take())
    }
}

/// Both of them.
pub(crate) struct Verifiers {
    python: Python,
    /// The checks that failed in what they were given so far, and "good".
    pub(crate) seen: BTreeSet<String>,
    pub(crate) judged: u32,
    disagreements: Vec<String>,
}

impl Verifiers {
    pub(crate) fn start() -> Option<Verifiers> {
        let python = Python::start()?;
        Some(Verifiers { python, seen: BTreeSet::new(), judged: 0, disagreements: Vec::new() })
    }

    /// Holds their verdicts on a log against each other.
    pub(crate) fn judge(&mut self, what: &str, log: &Path, given: &Given) -> Verdict {
        let mut arguments = vec!["log".to_owned(), log.to_str().unwrap().to_owned()];
        let folder = tempfile::tempdir().unwrap();
        for (role, key) in &given.keys {
            arguments.push(if *role == KeyRole::Epoch { "--epoch-key" } else { "--key" }.to_owned());
            arguments.push(key.clone());
        }
        if let Some(checkpoints) = &given.checkpoints {
            let file = folder.path().join("checkpoints");
            std::fs::write(&file, checkpoints).unwrap();
            arguments.extend(["--checkpoint".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        self.python.ask(&arguments);
        let rust = verdict_of_rust(log, given);
        let (status, verdict) = self.python.answer();
        let python = verdict_of_python(status, &verdict);
        self.judged += 1;
        // Rust reads also what is not evidence.
        let is_elsewhere =
            rust.check() == Some("damage") && matches!(python, Verdict::Judged { failure: None, .. });
        // Where there is damage their SQLite libraries may see it sooner or later.
        let checks = [rust.check(), python.check()];
        let are_damaged = checks.contains(&Some("damage")) && !checks.contains(&None);
        if rust != python && !is_elsewhere && !are_damaged {
            self.disagreements
                .push(format!("{what}:\n  rust   {rust:?}\n  python {python:?} {}", verdict["failure"]));
        }
        self.seen.insert(match (&python, python.check()) {
            (Verdict::CouldNotCheck, _) => "could not check".to_owned(),
            (_, None) => "good".to_owned(),
            (_, Some(check)) => check.to_owned(),
        });
        python
    }

    /// Fails if they disagreed on anything.
    pub(crate) fn agree(&self) {
        let shown: Vec<&str> = self.disagreements.iter().take(10).map(String::as_str).collect();
        assert!(
            shown.is_empty(),
            "{} of {} verdicts differ:\n{}",
            self.disagreements.len(),
            self.judged,
            shown.join("\n")
        );
    }
}

fn verdict_of_rust(log: &Path, given: &Given) -> Verdict {
    let mut options = Options::new().scope(Scope::LogOnly);
    for (role, key) in &given.keys {
        let key: VerifierKey = key.parse().unwrap();
        options = if *role == KeyRole::Epoch { options.epoch_key(key) } else { options.key(key) };
    }
    if let Some(checkpoints) = &given.checkpoints {
        match CheckpointFile::from_given(checkpoints.as_bytes()) {
            Ok(checkpoints) => options = options.checkpoints("given", checkpoints),
            Err(_) => return Verdict::CouldNotCheck,
        }
    }
    match verify::verify(log, options, &mut |_, _| {}) {
        Ok(report) => judged(&report),
        Err(error) => {
            println!("{}: {error}", log.display());
            Verdict::CouldNotCheck
        }
    }
}

fn judged(report: &Report) -> Verdict {
    let of_the_page = |check: Check| {
        // The others are about what the page says is not evidence.
        !matches!(
            check,
            Check::Schema | Check::Skips | Check::ApiKeys | Check::ReadTable | Check::SearchIndex
        )
    };
    let failures = report.failures.iter().chain(&report.anchored.failures);
    let failure = failures.into_iter().find(|failure| of_the_page(failure.check));
    let failure =
        failure.map(|failure| (failure.check.name().to_owned(), failure.seq.map(verify::RowSeq::get)));
    let facts = failure.is_none().then(|| {
        Box::new(Facts {
            origin: report.log.origin.clone(),
            log_id: report.log.log_id.map(|id| hex(id.bytes())),
            events: report.log.events,
            head: report.log.head.map(|head| head.to_string()),
            redactions: report
                .redactions
                .iter()
                .map(|redaction| {
                    let (actor, reason) = (redaction.actor.clone(), redaction.reason.clone());
                    (redaction.licence.get(), actor, reason, redaction.authority.clone())
                })
                .collect(),
        })
    });
    let anchored = &report.anchored;
    let key_changes =
        anchored.key_changes.iter().map(|change| (change.seq.get(), change.is_certified, change.leads_back));
    Verdict::Judged {
        failure,
        anchored_to: anchored.anchored_to,
        signed_to: anchored.signed_to,
        key_changes: key_changes.collect(),
        before: anchored.by_predecessors.len(),
        not_checked: anchored.not_checked.len(),
        facts,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verdict_of_python(status: u64, verdict: &Value) -> Verdict {
    let list = |name: &str| verdict[name].as_array().map_or(0, Vec::len);
    if verdict["consistent"].is_null() {
        assert_eq!(status, 2, "{verdict}");
        return Verdict::CouldNotCheck;
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let failure = verdict["failure"].as_object();
    let expected = if failure.is_some() { 1 } else { 2 * u64::from(list("not_checked") > 0) };
    assert_eq!(status, expected, "{verdict}");
    let failure = failure.map(|failure| (text(&failure["check"]).unwrap(), failure["seq"].as_i64()));
    let facts = failure.is_none().then(|| {
        Box::new(Facts {
            origin: text(&verdict["origin"]),
            log_id: text(&verdict["log_id"]),
            events: verdict["events"].as_u64().unwrap(),
            head: text(&verdict["head"]),
            redactions: verdict["licences"]
                .as_array()
                .unwrap()
                .iter()
                .map(|licence| {
                    let (actor, reason) =
                        (text(&licence["actor"]).unwrap(), text(&licence["reason"]).unwrap());
                    (licence["seq"].as_u64().unwrap(), actor, reason, text(&licence["authority"]))
                })
                .collect(),
        })
    });
    let key_changes = verdict["key_changes"].as_array().unwrap();
    Verdict::Judged {
        failure,
        anchored_to: verdict["anchored_to"].as_u64(),
        signed_to: verdict["signed_to"].as_u64(),
        key_changes: key_changes
            .iter()
            .map(|change| {
                let is = |name: &str| change[name].as_bool() == Some(true);
                (change["seq"].as_u64().unwrap(), is("certified"), is("leads_back"))
            })
            .collect(),
        before: list("by_predecessors"),
        not_checked: list("not_checked"),
        facts,
    }
}
