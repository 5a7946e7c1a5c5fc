//! Versions, as the lock file has them.

use anyhow::Context as _;
use serde::Deserialize;

use crate::About;

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// The version of the peer's package.
pub(crate) fn version(about: &About) -> anyhow::Result<Option<String>> {
    let Some(wanted) = about.package else { return Ok(None) };
    let lock: Lock = toml::from_str(about.lock).context("the lock file")?;
    let found = lock.package.into_iter().find(|package| package.name == wanted);
    found.map(|package| Some(package.version)).with_context(|| format!("no {wanted} in the lock file"))
}
