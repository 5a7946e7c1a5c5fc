//! What the benchmarks share: logs to measure on, and the events they are made of.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod by_hand;
pub(crate) mod sessions;

use std::path::{Path, PathBuf};

use annals::evidence::Evidence;
use annals::{
    AuditLog, Builder, DecisionMade, Draft, NoteLogged, Projections, SessionEnded, SessionId, SessionStarted,
    StepEnded, StepId, StepKind, StepStarted, Timestamp,
};

/// A folder for one benchmark, removed with it.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
    logs: u32,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch { folder: tempfile::tempdir().expect("a temporary folder"), logs: 0 }
    }

    /// A path that has not been used yet.
    pub(crate) fn path(&mut self) -> PathBuf {
        self.logs += 1;
        self.folder.path().join(format!("{}.db", self.logs))
    }
}

/// A log without projections and evidence.
pub(crate) fn log_only(path: &Path) -> Builder {
    AuditLog::builder(path).projections(Projections::Off).evidence(Evidence::Off)
}

/// An event with a payload of 256 bytes.
pub(crate) fn note() -> Draft {
    // Two bytes say that there is no level, step and the like, three how long the message is.
    Draft::new(NoteLogged { message: "n".repeat(249), ..NoteLogged::default() })
}

/// Events of whole sessions, each of eight: what a pipeline sends.
pub(crate) fn session_events(events: usize) -> impl Iterator<Item = Draft> {
    (0..events).map(|event| {
        let session = SessionId::new(format!("session-{:08}", event / 8)).expect("an id");
        let step = || StepId::new(format!("{}", event % 8 / 3)).expect("an id");
        let draft = match event % 8 {
            0 => Draft::new(SessionStarted {
                profile: Some("bench".into()),
                input: Some("Which of the offers is the best one for this customer, and why?".into()),
                ..SessionStarted::default()
            }),
            1 | 4 => Draft::new(StepStarted {
                step: step(),
                module: Some("search".into()),
                kind: Some(StepKind::Llm),
                input: Some("offers of the last week, by price ".repeat(6)),
                ..StepStarted::default()
            }),
            2 | 5 => Draft::new(DecisionMade {
                decision_type: Some("choose".into()),
                options_considered: vec!["take the first".into(), "take the second".into()],
                chosen_option: Some("take the first".into()),
                rationale: Some("it costs less and arrives earlier".into()),
                ..DecisionMade::default()
            }),
            3 | 6 => Draft::new(StepEnded {
                step: step(),
                output: Some("the first offer, by a small margin ".repeat(6)),
                confidence: Some(0.8),
                tokens_input: Some(120),
                tokens_output: Some(40),
                ..StepEnded::default()
            }),
            _ => Draft::new(SessionEnded {
                summary: Some("chose the first offer".into()),
                ..SessionEnded::default()
            }),
        };
        draft.session(session).at(Timestamp::now())
    })
}

/// Appends events and waits until they are committed.
pub(crate) fn fill(log: &AuditLog, events: impl Iterator<Item = Draft>) {
    let mut last = None;
    for draft in events {
        last = Some(log.append(draft).expect("appended"));
    }
    if let Some(last) = last {
        last.wait().expect("committed");
    }
}
