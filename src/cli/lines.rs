//! Lines of a file or stream, read by a thread of their own: answers to earlier lines are read while this thread waits
//! for input.

use std::io::{self, Read};

use crate::lines::{Line, Lines};
use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender};

/// Most lines, and bytes of lines, that are handed on together.
const PARCEL_LINES_MAX: usize = 512;
const PARCEL_BYTES_MAX: usize = 1 << 20;

/// Most parcels that wait to be taken: enough for reading and recording to overlap.
const PARCELS_WAITING_MAX: usize = 4;

/// Lines that are handed on together.
pub(crate) type Parcel = io::Result<Vec<Line>>;

/// Reads lines in a thread of its own.
pub(crate) fn read_in_background(source: impl Read + Send + 'static) -> anyhow::Result<Receiver<Parcel>> {
    let (sender, receiver) = crossbeam_channel::bounded(PARCELS_WAITING_MAX);
    std::thread::Builder::new()
        .name("annals-lines".to_owned())
        .spawn(move || hand_on(source, &sender))
        .context("the thread that reads the input cannot be started")?;
    Ok(receiver)
}

fn hand_on(source: impl Read, parcels: &Sender<Parcel>) {
    let mut lines = Lines::new(source);
    let (mut parcel, mut bytes) = (Vec::new(), 0);
    loop {
        // Complete lines are handed on before the source is waited for.
        let full = parcel.len() >= PARCEL_LINES_MAX || bytes >= PARCEL_BYTES_MAX || lines.must_wait();
        if full && !parcel.is_empty() {
            bytes = 0;
            // The command has ended, and nobody takes parcels any more.
            if parcels.send(Ok(std::mem::take(&mut parcel))).is_err() {
                return;
            }
        }
        match lines.next_line() {
            Ok(Some(line)) => {
                bytes += line.text.as_ref().map_or(0, String::len);
                parcel.push(line);
            }
            Ok(None) => break,
            Err(error) => {
                // The lines before the error are valid.
                let _ = parcels.send(Ok(parcel));
                let _ = parcels.send(Err(error));
                return;
            }
        }
    }
    if !parcel.is_empty() {
        let _ = parcels.send(Ok(parcel));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parcels_come_in_order_and_end() {
        let source: String = (0..2_000).map(|n| format!("{n}\n")).collect();
        let parcels = read_in_background(io::Cursor::new(source)).unwrap();
        let numbers: Vec<u64> =
            parcels.iter().flat_map(|parcel| parcel.unwrap()).map(|line| line.number).collect();
        assert_eq!(numbers, (1..=2_000).collect::<Vec<_>>());
    }
}
