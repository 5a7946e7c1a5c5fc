//! Input of a verification from outside the log's file, read from the command line and from files: keys, checkpoints,
//! policies, proofs.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::limits::{
    CHECKPOINT_FILE_BYTES_MAX, KEY_FILE_BYTES_MAX, PAYLOAD_BYTES_MAX, POLICY_BYTES_MAX, PROOF_BYTES_MAX,
    SALT_BYTES,
};
use crate::note::{
    CheckpointFile, KeyError, NotText, Policy, SignedCheckpoint, VerifierKey, as_written, given_text,
};
use anyhow::{Context as _, anyhow};

/// Reads keys: each is a vkey, or a file with one on each line. `@` before a name marks a file.
pub(crate) fn keys(named: &[String]) -> anyhow::Result<Vec<VerifierKey>> {
    let mut keys = Vec::new();
    for named in named {
        let named = named.trim().trim_start_matches('\u{feff}');
        // The answer of `annals key show`, as a shell puts it into an argument.
        if named.contains('\n') {
            keys.extend(in_lines(named, "--key")?);
            continue;
        }
        // A name that is also a key is the key, unless `@` marks it as a file.
        let file = match (named.strip_prefix('@'), named.parse::<VerifierKey>()) {
            (Some(file), _) => file,
            (None, Ok(key)) => {
                keys.push(key);
                continue;
            }
            (None, Err(_)) if Path::new(named).is_file() => named,
            (None, Err(KeyError::NotAVerifierKey)) => {
                return Err(anyhow!("`{named}` is neither a public key (vkey) nor a file with public keys"));
            }
            (None, Err(error)) => return Err(anyhow!("--key: {error}")),
        };
        let text = text(Path::new(file), KEY_FILE_BYTES_MAX)?;
        keys.extend(in_lines(&text, file)?);
    }
    Ok(keys)
}

/// The keys of a text, one on each line that is not a comment.
fn in_lines(text: &str, named: &str) -> anyhow::Result<Vec<VerifierKey>> {
    let lines = (1..).zip(text.lines().map(str::trim));
    let keys = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| line.parse().map_err(|error| anyhow!("{named}: line {number}: {error}")))
        .collect::<anyhow::Result<Vec<VerifierKey>>>()?;
    match keys.is_empty() {
        true => Err(anyhow!("{named}: contains no key")),
        false => Ok(keys),
    }
}

/// The bytes of a file that must not have more than a limit.
fn bytes(file: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let name = || file.display().to_string();
    let mut bytes = Vec::new();
    // One byte beyond the limit is enough to refuse a file.
    File::open(file)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .with_context(name)?;
    if bytes.len() > limit {
        return Err(anyhow!("{}: has more than {limit} bytes, the limit for this kind of file", name()));
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

/// The checkpoint of a file that covers the most events.
pub(crate) fn newest(file: &Path) -> anyhow::Result<SignedCheckpoint> {
    let checkpoints = checkpoints(file)?.checkpoints.into_iter();
    checkpoints
        // A file may hold the checkpoints of a log in any order.
        .max_by_key(SignedCheckpoint::size)
        .ok_or_else(|| anyhow!("{}: contains no checkpoint", file.display()))
}

/// The policy of a file.
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

/// The bytes of a proof, from a file or, as `-`, from standard input. A proof that is too long is read only as far as
/// it takes to see that.
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

/// Returns true if a file is in UTF-16, which some shells write: only its encoding is wrong.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(given_text(bytes), Err(NotText::Utf16))
}
