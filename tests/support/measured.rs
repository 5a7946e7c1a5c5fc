//! Commands whose peak memory is measured while they run.
// Each test binary uses its own part of it.
#![allow(dead_code, clippy::indexing_slicing, clippy::unwrap_used)]

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const MIB: u64 = 1 << 20;

/// Bound of a process at its peak, beyond its needs for next to nothing: pages that connections keep, the
/// largest event several times over, and some more for the allocator.
pub(crate) const PEAK_MIB: u64 = 160;

/// Peak of a process that runs the program, in MiB.
fn peak_mib(pid: u32) -> Option<u64> {
    // For a moment after it was started its memory is still that of the process which started it.
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_annals")).unwrap();
    if std::fs::read_link(format!("/proc/{pid}/exe")).ok()? != program {
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// A command that was run.
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) peak_mib: u64,
    /// Bytes of standard output.
    pub(crate) said_bytes: u64,
    /// The beginning of standard output, and all of standard error.
    pub(crate) said: String,
}

/// Runs a command, whose output is read and not kept, and looks again and again at its peak.
pub(crate) fn run(path: &Path, args: &[&str]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
        .arg("--db")
        .arg(path)
        .args(args)
        .env("ANNALS_HOME", path.with_file_name("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::Builder::new().spawn(move || {
        let (mut begin, mut bytes, mut buffer) = (Vec::new(), 0_u64, vec![0; 1 << 16]);
        loop {
            match stdout.read(&mut buffer).unwrap() {
                0 => return (begin, bytes),
                read => {
                    bytes += read as u64;
                    if begin.len() < 1 << 16 {
                        begin.extend_from_slice(&buffer[..read]);
                    }
                }
            }
        }
    });
    let errors = std::thread::Builder::new().spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        text
    });
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_mib(pid).unwrap_or(0));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    let ((begin, said_bytes), errors) = (out.unwrap().join().unwrap(), errors.unwrap().join().unwrap());
    let said_bytes = said_bytes + errors.len() as u64;
    let said = String::from_utf8_lossy(&[begin, errors].concat()).into_owned();
    println!("{:>6} MiB {:>12} bytes   annals {}", peak, said_bytes, args.join(" "));
    Ran { status: status.code(), peak_mib: peak, said_bytes, said }
}
