//! What a verification is given from outside the log's file, read from the command line and from files:
//! keys, checkpoints, policies, proofs.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use annals::limits::{
    CHECKPOINT_FILE_BYTES_MAX, KEY_FILE_BYTES_MAX, PAYLOAD_BYTES_MAX, POLICY_BYTES_MAX, PROOF_BYTES_MAX,
    SALT_BYTES,
};
use annals::note::{
    CheckpointFile, KeyError, NotText, Policy, SignedCheckpoint, VerifierKey, as_written, given_text,
};
use anyhow::{Context as _, anyhow};

/// Keys: each a vkey, or a file with one on each line. `@` before a file says that it is one.
pub(crate) fn keys(named: &[String]) -> anyhow::Result<Vec<VerifierKey>> {
    let mut keys = Vec::new();
    for named in named {
        let named = named.trim().trim_start_matches('\u{feff}');
        // What `annals key show` answers, as a shell puts it into an argument.
        if named.contains('\n') {
            keys.extend(in_lines(named, "--key")?);
            continue;
        }
        let file = match (named.strip_prefix('@'), named.parse::<VerifierKey>()) {
            (Some(file), _) => file,
            (None, Ok(key)) => {
                keys.push(key);
                continue;
            }
            (None, Err(_)) if Path::new(named).is_file() => named,
            (None, Err(KeyError::NotAVerifierKey)) => {
                return Err(anyhow!("`{named}` is neither a public key nor a file with one in it"));
            }
            (None, Err(error)) => return Err(anyhow!("--key: {error}")),
        };
        let text = text(Path::new(file), KEY_FILE_BYTES_MAX)?;
        keys.extend(in_lines(&text, file)?);
    }
    Ok(keys)
}

/// The keys of a text, one on each line that is no comment.
fn in_lines(text: &str, named: &str) -> anyhow::Result<Vec<VerifierKey>> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let keys = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| line.parse().map_err(|error| anyhow!("{named}: line {number}: {error}")))
        .collect::<anyhow::Result<Vec<VerifierKey>>>()?;
    match keys.is_empty() {
        true => Err(anyhow!("{named}: has no key in it")),
        false => Ok(keys),
    }
}

/// The bytes of a file that must not have more than a limit.
fn bytes(file: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let name = || file.display().to_string();
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .with_context(name)?;
    if bytes.len() > limit {
        return Err(anyhow!("{}: has more than {limit} bytes", name()));
    }
    Ok(bytes)
}

fn text(file: &Path, limit: usize) -> anyhow::Result<String> {
    given_text(&bytes(file, limit)?).map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// The checkpoints of a file.
pub(crate) fn checkpoints(file: &Path) -> anyhow::Result<CheckpointFile> {
    let bytes = bytes(file, CHECKPOINT_FILE_BYTES_MAX)?;
    CheckpointFile::from_given(&bytes).map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// The checkpoint of a file that covers most.
pub(crate) fn newest(file: &Path) -> anyhow::Result<SignedCheckpoint> {
    let checkpoints = checkpoints(file)?.checkpoints.into_iter();
    checkpoints
        .max_by_key(SignedCheckpoint::size)
        .ok_or_else(|| anyhow!("{}: has no checkpoint in it", file.display()))
}

/// A policy.
pub(crate) fn policy(file: &Path) -> anyhow::Result<Policy> {
    let bytes = bytes(file, POLICY_BYTES_MAX)?;
    if is_utf16(&bytes) {
        return Err(anyhow!("{}: {}", file.display(), NotText::Utf16));
    }
    Policy::parse(&as_written(&bytes)).map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// A payload beside a proof, with the salt before it.
pub(crate) fn payload(file: &Path) -> anyhow::Result<Vec<u8>> {
    bytes(file, SALT_BYTES + PAYLOAD_BYTES_MAX)
}

/// The bytes of a proof, from a file or, as `-`, from standard input. One that is too long is read as far
/// as it takes to see that.
pub(crate) fn proof(file: &Path) -> anyhow::Result<Vec<u8>> {
    let limit = PROOF_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.with_context(|| file.display().to_string())?;
    if is_utf16(&bytes) {
        return Err(anyhow!("{}: {}", file.display(), NotText::Utf16));
    }
    Ok(bytes)
}

/// Whether a file is in an encoding that some shells write: nothing is wrong with what it says.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(given_text(bytes), Err(NotText::Utf16))
}
