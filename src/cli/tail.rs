//! `annals tail`: the last events, and those that come.

use std::time::Duration;

use annals::{Content, Event, EventFilter, Kind, Recorded, Seq};

use super::out::{BOLD, DIM, Out};
use super::place::Place;
use super::{Verdict, text, time};

/// How often the log is asked for more.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Events that are asked for at once.
const EVENTS_AT_ONCE: usize = 500;

/// Characters of what an event says.
const SAID_CHARS: usize = 200;

/// Show the last events.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  annals tail -f
  annals --json tail -n 100 --type finding.raised | jq .severity")]
pub(crate) struct Args {
    /// Go on with those that come
    #[arg(long, short)]
    follow: bool,

    /// Of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,

    /// Of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    kinds: Vec<u16>,

    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: u32,
}

fn kind(name: &str) -> Result<u16, String> {
    let code = name.strip_prefix("kind-").and_then(|code| code.parse().ok());
    Kind::from_name(name).map(Kind::code).or(code).ok_or_else(|| {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("there are {}", names.join(", "))
    })
}

pub(crate) fn run(args: &Args, place: &Place, out: &mut Out) -> anyhow::Result<Verdict> {
    let reader = place.read()?;
    let filter = EventFilter { session: args.session.clone(), kinds: args.kinds.clone() };
    // What is appended between the two looks comes with the next one.
    let mut position = reader.head()?.seq;
    let lines = usize::try_from(args.lines).unwrap_or(usize::MAX);
    for event in reader.last_events(&filter, lines)? {
        position = position.max(event.seq);
        print(&event, out)?;
    }
    out.flush()?;
    while args.follow {
        let head = reader.head()?.seq;
        let events = reader.events(&filter, position, EVENTS_AT_ONCE)?;
        for event in &events {
            print(event, out)?;
        }
        out.flush()?;
        position = match events.last() {
            Some(last) if events.len() == EVENTS_AT_ONCE => last.seq,
            last => last.map_or(Seq::ZERO, |last| last.seq).max(head).max(position),
        };
        if events.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(Verdict::Done)
}

fn print(event: &Recorded, out: &mut Out) -> std::io::Result<()> {
    if out.is_json() {
        return out.line(&text::json(&event.to_json()));
    }
    let time = time::shown(event.occurred_at.unwrap_or(event.recorded_at));
    let mut line = out.paint(DIM, &format!("{} {time}", event.seq));
    line += &format!("  {}", out.paint(BOLD, &text::line(&event.kind_name())));
    if let Some(session) = &event.session {
        line += &format!("  {}", text::line(session.as_str()));
    }
    let said = match &event.content {
        Content::Event(event) => said(event),
        Content::Redacted => Some("(erased)".to_owned()),
        _ => Some("(of a kind that this version does not know)".to_owned()),
    };
    if let Some(said) = said {
        let start: String = said.chars().take(4 * SAID_CHARS).collect();
        line += &format!("  {}", text::shortened(&text::line(&start), SAID_CHARS));
    }
    out.line(&line)
}

/// What an event says, in short.
fn said(event: &Event) -> Option<String> {
    let joined = |parts: &[Option<&str>]| {
        let parts: Vec<&str> = parts.iter().flatten().copied().collect();
        if parts.is_empty() { None } else { Some(parts.join("  ")) }
    };
    match event {
        Event::LogCreated(e) => Some(e.origin.clone()),
        Event::SessionStarted(e) => joined(&[e.profile.as_deref(), e.input.as_deref()]),
        Event::SessionUpdated(e) => joined(&[e.status.map(|status| status.as_str()), e.message.as_deref()]),
        Event::SessionEnded(e) => {
            joined(&[Some(e.status.as_str()), e.error.as_deref().or(e.summary.as_deref())])
        }
        Event::StepStarted(e) => joined(&[
            Some(e.step.as_str()),
            e.module.as_deref(),
            e.input_summary.as_deref().or(e.input.as_deref()),
        ]),
        Event::StepEnded(e) => {
            let output = e.output_summary.as_deref().or(e.output.as_deref());
            joined(&[Some(e.step.as_str()), Some(e.status.as_str()), e.error.as_deref().or(output)])
        }
        Event::DecisionMade(e) => {
            joined(&[e.decision_type.as_deref(), e.chosen_option.as_deref(), e.rationale.as_deref()])
        }
        Event::FindingRaised(e) => {
            let what = e.title.as_deref().or(e.description.as_deref()).or(e.plain_english.as_deref());
            joined(&[e.severity.map(|severity| severity.as_str()), e.category.as_deref(), what])
        }
        Event::FindingUpdated(e) => joined(&[
            Some(e.finding.as_str()),
            e.status.map(|status| status.as_str()),
            e.actor.as_deref(),
            e.reason.as_deref(),
        ]),
        Event::ReviewRecorded(e) => {
            joined(&[Some(e.verdict.as_str()), Some(&e.actor), e.subject_id.as_deref(), e.reason.as_deref()])
        }
        Event::ArtifactAttached(e) => joined(&[e.label.as_deref(), e.media_type.as_deref()]),
        Event::MetricRecorded(e) => {
            Some(format!("{} {} {}", e.name, e.value, e.unit.as_deref().unwrap_or_default()))
        }
        Event::NoteLogged(e) => joined(&[e.level.as_deref(), Some(&e.message)]),
        Event::ActionRecorded(e) => joined(&[
            Some(&e.actor.id),
            Some(&e.action),
            e.entity_type.as_deref(),
            e.entity_id.as_deref(),
            e.outcome.map(|outcome| outcome.as_str()),
        ]),
        Event::Custom(e) => joined(&[Some(&e.name), e.data.as_ref().map(|data| data.as_str())]),
        Event::EventsLost(e) => Some(format!("{} events: {}", e.count, e.reason)),
        Event::PayloadRedacted(e) => Some(format!("{:?} by {}: {}", e.seqs, e.actor, e.reason)),
        Event::ProjectionSkipped(e) => {
            Some(format!("{} goes on without event {}: {}", e.projection, e.seq, e.reason))
        }
        _ => None,
    }
}
