//! One run: producers append until the time is up, and what they were told is held against the reopened store.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};

use crate::{About, Arguments, Mode, Outcome, Payloads, Peer, Producer, Timing, Work, size};

/// Runs what the arguments ask for.
pub(crate) fn run<P: Peer>(about: &About, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let work = work(about, arguments)?;
    let folder = tempfile::Builder::new()
        .prefix("peer-")
        .tempdir_in(&arguments.folder)
        .with_context(|| format!("a folder in {}", arguments.folder.display()))?;

    let peer = P::open(folder.path(), &work).context("the store cannot be opened")?;
    let settings = peer.settings()?;
    let (timing, seconds) = appended(&peer, &work, arguments)?;
    peer.close().context("the store cannot be closed")?;

    let events = timing.calls() * work.events_a_call as u64;
    let disk_bytes = size::disk_bytes(folder.path())?;
    let stored = P::stored(folder.path(), &work).context("the store cannot be opened again")?;
    ensure!(stored == events, "{events} events were acknowledged, and {stored} are stored");
    ensure!(events > 0, "no event was acknowledged");
    Ok(Outcome {
        peer: about.peer,
        variant: work.variant,
        mode: work.mode,
        producers: work.producers,
        events_a_call: work.events_a_call,
        payload_bytes: arguments.payload_bytes,
        seconds,
        events,
        events_per_second: events as f64 / seconds,
        latency_us: timing.latency(),
        disk_bytes,
        disk_bytes_per_event: disk_bytes as f64 / events as f64,
        settings,
    })
}

fn work(about: &About, arguments: &Arguments) -> anyhow::Result<Work> {
    let variant = match &arguments.variant {
        None => about.variants.first(),
        Some(name) => about.variants.iter().find(|variant| variant.name == name),
    };
    let variant = variant.with_context(|| format!("no variant {:?}", arguments.variant))?;
    if arguments.mode == Mode::Batch && !variant.batches {
        bail!("{} takes one event at a time", variant.label);
    }
    let events_a_call = match arguments.mode {
        Mode::Single => 1,
        Mode::Batch => arguments.batch_events as usize,
    };
    Ok(Work {
        variant: variant.name,
        producers: usize::from(arguments.producers),
        mode: arguments.mode,
        events_a_call,
    })
}

/// Lets the producers append, and says what their calls took and how long all of it did.
fn appended<P: Peer>(peer: &P, work: &Work, arguments: &Arguments) -> anyhow::Result<(Timing, f64)> {
    let span = Duration::try_from_secs_f64(arguments.seconds).context("the time to append for")?;
    let calls_max = arguments.events_max / (work.producers * work.events_a_call) as u64;
    let start = Barrier::new(work.producers);
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(work.producers);
        for number in 0..work.producers {
            // All are made before any thread starts: one that failed between them would leave the others waiting.
            threads.push((number, peer.producer(number)?));
        }
        let threads: Vec<_> = threads
            .into_iter()
            .map(|(number, mut producer)| {
                let start = &start;
                let payloads = Payloads::new(number, arguments.payload_bytes);
                scope.spawn(move || {
                    start.wait();
                    produce(&mut producer, payloads, work, span, calls_max.max(1))
                })
            })
            .collect();

        let mut all = Timing::new()?;
        let mut begun: Option<Instant> = None;
        let mut ended: Option<Instant> = None;
        for thread in threads {
            let (timing, first, last) = thread.join().map_err(|_| anyhow!("a producer panicked"))??;
            all.join(&timing)?;
            begun = Some(begun.map_or(first, |begun| begun.min(first)));
            ended = Some(ended.map_or(last, |ended| ended.max(last)));
        }
        let seconds = begun.zip(ended).map(|(begun, ended)| (ended - begun).as_secs_f64());
        Ok((all, seconds.context("no producer")?))
    })
}

/// One producer: calls one after the other. The time of a call includes taking the next payload, which is a few
/// nanoseconds.
fn produce(
    producer: &mut impl Producer,
    mut payloads: Payloads,
    work: &Work,
    span: Duration,
    calls_max: u64,
) -> anyhow::Result<(Timing, Instant, Instant)> {
    let mut timing = Timing::new()?;
    let first = Instant::now();
    let mut last = first;
    for _ in 0..calls_max {
        match work.mode {
            Mode::Single => producer.append(payloads.one())?,
            Mode::Batch => {
                let mut batch = Vec::with_capacity(work.events_a_call);
                payloads.several(work.events_a_call, &mut batch);
                producer.append_batch(&batch)?;
            }
        }
        let now = Instant::now();
        timing.add(now - last);
        last = now;
        if now - first >= span {
            break;
        }
    }
    Ok((timing, first, last))
}
