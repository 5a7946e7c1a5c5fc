//! Whose key signs for a log, and where it is kept.

use std::env;

use annals::evidence::{Evidence, Home, KeyFolder, Signing};
use annals::note::SigningKey;
use anyhow::{Context as _, bail};

use super::out;
use super::settings::Settings;

/// The variable that holds a private key in place of a file.
const KEY_VARIABLE: &str = "ANNALS_KEY";

/// The user's own Annals files.
pub(crate) fn home() -> anyhow::Result<Home> {
    Home::of_user().context("there is no home folder to keep keys in; name a folder with $ANNALS_HOME")
}

/// The folder of the keys of the log with this origin.
pub(crate) fn keys(origin: &str) -> anyhow::Result<KeyFolder> {
    Ok(KeyFolder::at(home()?.of_log(origin)))
}

/// The key that the environment gives, which must be this log's.
pub(crate) fn given(origin: &str) -> anyhow::Result<Option<SigningKey>> {
    let Some(text) = env::var_os(KEY_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text.to_str().with_context(|| format!("${KEY_VARIABLE} is not UTF-8"))?;
    let key =
        SigningKey::from_skey(text.trim()).with_context(|| format!("${KEY_VARIABLE} is no private key"))?;
    if key.name() != origin {
        bail!("${KEY_VARIABLE} is the key of the log `{}`, and this is `{origin}`", key.name());
    }
    Ok(Some(key))
}

/// What a command that appends to the log with this origin does for its evidence: it signs where there is a
/// key.
pub(crate) fn evidence(origin: &str) -> anyhow::Result<Evidence> {
    let Some(home) = Home::of_user() else { return Ok(Evidence::Tree) };
    let keys = KeyFolder::at(home.of_log(origin));
    let given = given(origin)?;
    // A change of keys that is under way is brought to its end also where the first key is not there yet.
    if given.is_none() && !keys.has_key()? && !keys.path().join("change").exists() {
        return Ok(Evidence::Tree);
    }
    keys.make()?;
    Ok(Evidence::Signed(Box::new(signing(&keys, given)?)))
}

/// How the log with these keys is signed for. Settings that cannot be read are no reason to record nothing: then
/// all is as it is by default, and the user is told.
fn signing(keys: &KeyFolder, given: Option<SigningKey>) -> anyhow::Result<Signing> {
    let settings = Settings::read(keys).unwrap_or_else(|error| {
        out::note(&format!("{error:#}\nno settings are used, and no anchors but the default one"));
        Settings::default()
    });
    let signing = settings.signing(keys);
    Ok(match given {
        Some(key) => signing.key(key),
        None => signing,
    })
}

/// How a command that changes the keys of the log with this origin signs for it.
pub(crate) fn signed(origin: &str) -> anyhow::Result<Evidence> {
    let keys = keys(origin)?;
    keys.make()?;
    Ok(Evidence::Signed(Box::new(signing(&keys, given(origin)?)?)))
}
