//! The key that signs for a log, and the folder that keeps it.

use std::env;

use crate::evidence::{Evidence, Home, KeyFolder, Signing};
use crate::note::SigningKey;
use anyhow::{Context as _, bail};

use super::out;
use super::settings::Settings;

/// The environment variable that holds a private key in place of a file.
const KEY_VARIABLE: &str = "ANNALS_KEY";

/// The user's own Annals files.
pub(crate) fn home() -> anyhow::Result<Home> {
    Home::of_user().context("there is no home folder for the keys; name a folder with $ANNALS_HOME")
}

/// The folder of the keys of the log with this origin.
pub(crate) fn keys(origin: &str) -> anyhow::Result<KeyFolder> {
    Ok(KeyFolder::at(home()?.of_log(origin)))
}

/// The key from the environment, which must be this log's.
pub(crate) fn given(origin: &str) -> anyhow::Result<Option<SigningKey>> {
    let Some(text) = env::var_os(KEY_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text.to_str().with_context(|| format!("${KEY_VARIABLE} is not UTF-8"))?;
    let key = SigningKey::from_skey(text.trim())
        .with_context(|| format!("${KEY_VARIABLE} is not a private key"))?;
    if key.name() != origin {
        bail!("${KEY_VARIABLE} is the key of the log `{}`, but this log is `{origin}`", key.name());
    }
    Ok(Some(key))
}

/// The evidence of a command that appends to the log with this origin: it signs if there is a key.
pub(crate) fn evidence(origin: &str) -> anyhow::Result<Evidence> {
    let Some(home) = Home::of_user() else { return Ok(Evidence::Tree) };
    let keys = KeyFolder::at(home.of_log(origin));
    let given = given(origin)?;
    // A change of keys that is under way is completed even if the first key does not exist yet.
    if given.is_none() && !keys.has_key()? && !keys.path().join("change").exists() {
        return Ok(Evidence::Tree);
    }
    // The folder holds the lock and the last checkpoint, also if the key is from the environment.
    keys.make()?;
    Ok(Evidence::Signed(Box::new(signing(&keys, given)?)))
}

/// The signing of the log with these keys. Settings that cannot be read do not keep events from being recorded: the
/// defaults are used then, and a note is printed.
fn signing(keys: &KeyFolder, given: Option<SigningKey>) -> anyhow::Result<Signing> {
    let settings = Settings::read(keys).unwrap_or_else(|error| {
        out::note(&format!("{error:#}\nthese settings are ignored; only the default anchor is used"));
        Settings::default()
    });
    let signing = settings.signing(keys);
    Ok(match given {
        Some(key) => signing.key(key),
        None => signing,
    })
}

/// The signing of a command that changes the keys of the log with this origin.
pub(crate) fn signed(origin: &str) -> anyhow::Result<Evidence> {
    let keys = keys(origin)?;
    keys.make()?;
    Ok(Evidence::Signed(Box::new(signing(&keys, given(origin)?)?)))
}
