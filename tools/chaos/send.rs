//! Sends events to a server through a spool: `send URL SPOOL` reads them from standard input, one JSON object a
//! line, and prints the id of each once it is safe, in the server's log or on this machine's disk.
//!
//! At the end of its input it waits until the server has everything. The API key is `$ANNALS_API_KEY`.

use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use annals::client::RemoteLog;
use annals::{AppendError, Receipt};

/// Events that are waited for at once.
const UNDER_WAY: usize = 1_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(spool)) = (arguments.next(), arguments.next()) else {
        return Err("usage: send URL SPOOL".into());
    };
    let log = RemoteLog::builder().url(url).spool(spool).spool_after(Duration::from_millis(200)).open()?;
    let (receipts, to_wait_for) = sync_channel(UNDER_WAY);
    let printing = std::thread::Builder::new().spawn(move || print(to_wait_for))?;
    for line in std::io::stdin().lock().lines() {
        receipts.send(append(&log, &line?)?)?;
    }
    drop(receipts);
    let refused = printing.join().map_err(|_| "the thread that prints panicked")?;
    while log.flush_to_server(Duration::from_secs(60))?.spooled > 0 {
        eprintln!("not sent yet: {}", log.last_error().as_deref().unwrap_or("the server is slow"));
    }
    log.close()?;
    if refused > 0 { Err(format!("{refused} events were refused").into()) } else { Ok(()) }
}

/// Appends an event; waits where the server is away and the disk is full.
fn append(log: &RemoteLog, line: &str) -> Result<Receipt, Box<dyn std::error::Error>> {
    loop {
        match log.append(annals::parse_draft(line)?) {
            Err(error @ AppendError::NoRoom { .. }) => {
                eprintln!("{error}");
                std::thread::sleep(Duration::from_millis(50));
            }
            appended => return Ok(appended?),
        }
    }
}

/// Prints the id of each event that is safe, and returns how many never will be.
fn print(receipts: Receiver<Receipt>) -> usize {
    let (mut out, mut refused) = (std::io::stdout(), 0);
    for receipt in receipts {
        let id = receipt.event_id();
        match receipt.delivery() {
            Ok(_) => {
                // Whoever reads them may have ended.
                let _ = writeln!(out, "{id}").and_then(|()| out.flush());
            }
            Err(error) => {
                eprintln!("{id}: {error}");
                refused += 1;
            }
        }
    }
    refused
}
