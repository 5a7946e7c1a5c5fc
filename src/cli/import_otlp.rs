//! `annals import otlp`: files of the OpenTelemetry Collector, recorded as `annals serve` records its requests.

use crate::event::Event;
use crate::import::Source;
use crate::limits::PAYLOAD_BYTES_MAX;
use crate::otlp::file::{Content as Items, Found, Requests};
use crate::otlp::{Bounds, Item, Request, Round, Signal, Unreadable};
use crate::{AppendError, AppendOutcome, Appended, AuditLog, EventId};
use anyhow::{Context as _, bail};
use serde::Serialize;

use super::bar::Bar;
use super::ending;
use super::feed::{Counts, OnBad};
use super::import_input::{INTERRUPTED, Input};
use super::interrupt::Interrupt;
use super::log_file::LogFile;
use super::out::Out;
use super::record::summary;
use super::text;
use super::verdict::Verdict;

/// Bytes by which the events of a request may be larger than a request of the largest size: each event has a copy of its
/// resource.
const EVENTS_BYTES_MAX: usize = 4 * crate::otlp::file::REQUEST_BYTES_MAX;

/// Most items of one request. A decompressed request has room for many millions of empty items, each with a place, a name
/// and a reason if it is rejected. The Collector writes some thousands at once.
const REQUEST_ITEMS_MAX: usize = 1 << 18;

#[derive(Debug, Serialize)]
struct Report {
    spans: u64,
    log_records: u64,
    metric_requests: u64,
    #[serde(flatten)]
    counts: Counts,
}

/// An import under way.
struct Run<'a> {
    on_bad: OnBad,
    place: &'a LogFile,
    source: Source,
    log: Option<AuditLog>,
    bar: Bar,
    report: Report,
}

pub(super) fn run(
    input: Input,
    interrupt: &Interrupt,
    source: &Source,
    on_bad: OnBad,
    place: &LogFile,
    out: &mut Out,
) -> anyhow::Result<Verdict> {
    let requests = Requests::of(input)?;
    let report = Report { spans: 0, log_records: 0, metric_requests: 0, counts: Counts::default() };
    let bar = Bar::new("importing", None);
    let log = place.path().symlink_metadata().is_ok().then(|| place.append()).transpose()?;
    let mut run = Run { on_bad, place, source: source.clone(), log, bar, report };
    let mut ended = Ok(());
    for found in requests {
        ended = match found {
            Ok(found) => run.request(&found),
            Err(error) if error.is_of_one_request() => run.bad(&error.to_string()),
            Err(error) => Err(error.into()),
        };
        if interrupt.is_wished() {
            // Whatever the error says, it is that of the reading that was asked to end.
            ended = Err(anyhow::anyhow!(INTERRUPTED));
        }
        if ended.is_err() {
            break;
        }
    }
    // A file without any event is valid, too, and makes the log.
    let opened = if ended.is_ok() { run.log().map(drop) } else { Ok(()) };
    let Run { log, bar, report, .. } = run;
    let closed = log.map_or(Ok(()), ending::close);
    drop(bar);
    // Printed before any error: the events that are counted here are recorded.
    if out.is_json() {
        out.json(&report)?;
    } else {
        out.line(&line(&report))?;
    }
    ended?;
    opened?;
    closed?;
    Ok(if report.counts.refused == 0 { Verdict::Done } else { Verdict::FoundWrong })
}

fn line(report: &Report) -> String {
    let Report { spans, log_records, metric_requests, counts } = report;
    let mut line = format!("{}: {spans} spans, {log_records} log records", summary(counts));
    if *metric_requests > 0 {
        line += &format!("; requests of metrics, not recorded: {metric_requests}");
    }
    line
}

impl Run<'_> {
    fn log(&mut self) -> anyhow::Result<&AuditLog> {
        Ok(match &mut self.log {
            Some(log) => log,
            none => none.insert(self.place.append()?),
        })
    }

    fn request(&mut self, found: &Found) -> anyhow::Result<()> {
        let signal = match found.content {
            Some(Items::Events(signal)) => signal,
            Some(Items::Metrics) => {
                self.report.metric_requests += 1;
                return Ok(());
            }
            None => return Ok(()),
        };
        let mut round = Round::first();
        loop {
            let bounds = Bounds {
                // More than a server would take at once.
                items: REQUEST_ITEMS_MAX,
                item_bytes: PAYLOAD_BYTES_MAX,
                bytes: EVENTS_BYTES_MAX,
            };
            let request = match round.read(&found.body, signal, found.form, bounds, &mut |_| true) {
                Ok(request) => request,
                Err(Unreadable::TooMany { max }) => {
                    let items = signal.item();
                    return self.bad(&format!(
                        "{}: the request has more than {max} {items}s; let the Collector write fewer at once (`send_batch_max_size`)",
                        found.place
                    ));
                }
                Err(error) => return self.bad(&format!("{}: {error}", found.place)),
            };
            if round.is_first() {
                self.rejected(found, signal, &request)?;
            }
            let taken = self.send(found, signal, request.items)?;
            if taken.is_empty() {
                return Ok(());
            }
            round = round.next(taken);
        }
    }

    /// Reports the items that can never be recorded.
    fn rejected(&mut self, found: &Found, signal: Signal, request: &Request) -> anyhow::Result<()> {
        for rejected in &request.rejected {
            let crate::otlp::Rejected { place, name, reason, .. } = rejected;
            self.bad(&format!("{}: {} {place} `{name}`: {reason}", found.place, signal.item()))?;
        }
        match &request.nothing_found {
            Some(reason) => self.bad(&format!("{}: {reason}", found.place)),
            None => Ok(()),
        }
    }

    /// Sends items, and waits for the answers. Returns the positions of those whose id another event has.
    fn send(&mut self, found: &Found, signal: Signal, items: Vec<Item>) -> anyhow::Result<Vec<usize>> {
        let (mut names, mut drafts) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for Item { place, name, mut draft, .. } in items {
            if draft.at.is_none() && matches!(draft.event, Event::OtelLog(_)) {
                // A log record without a time has a new id otherwise, each time that it is read.
                let name = format!("otlp/{}/{}/{place}", self.source.name(), found.place);
                draft.id = draft.id.map(|_| EventId::from_name(&name));
            }
            names.push((place, name));
            drafts.push(draft);
        }
        let receipt = self.log()?.append_batch_of_anybody(drafts)?;
        let mut taken = Vec::new();
        for ((place, name), outcome) in names.into_iter().zip(receipt.wait()) {
            match outcome {
                Ok(appended) => self.count(signal, &appended),
                Err(AppendError::Conflict { .. }) => taken.push(place),
                Err(error @ (AppendError::Unfit(_) | AppendError::Refused(_))) => {
                    self.bad(&format!("{}: {} {place} `{name}`: {error}", found.place, signal.item()))?;
                }
                Err(error) => return Err(error).with_context(|| found.place.to_string()),
            }
        }
        self.bar.set(self.report.spans.saturating_add(self.report.log_records));
        Ok(taken)
    }

    fn count(&mut self, signal: Signal, appended: &Appended) {
        match signal {
            Signal::Traces => self.report.spans += 1,
            Signal::Logs => self.report.log_records += 1,
            Signal::Metrics => self.report.metric_requests += 1,
        }
        let counts = &mut self.report.counts;
        match appended.outcome {
            AppendOutcome::New => {
                counts.appended += 1;
                counts.first_seq.get_or_insert(appended.seq);
                counts.last_seq = Some(appended.seq);
            }
            AppendOutcome::AlreadyRecorded => counts.already_recorded += 1,
        }
    }

    /// Reports a bad part of the file, or ends the import with it.
    fn bad(&mut self, problem: &str) -> anyhow::Result<()> {
        self.report.counts.refused += 1;
        if self.on_bad == OnBad::LeaveOut {
            self.bar.say(&text::block(problem));
            return Ok(());
        }
        bail!("{problem}\nhint: what was read before it is recorded; --skip-bad leaves bad parts out")
    }
}
