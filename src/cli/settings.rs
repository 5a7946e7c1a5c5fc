//! Settings of a log's signing, and of the anchors that get its checkpoints. They are a file beside the key and never
//! in the log: whoever can write a log could otherwise make its readers run commands.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::evidence::http::{HttpClient, Roots, Timeouts};
use crate::evidence::timestamp::TimestampAuthority;
use crate::evidence::token::AuthorityCertificates;
use crate::evidence::witness::{Witness, WitnessAnchor};
use crate::evidence::{
    Anchor, AnchorAnswer, AnchorError, CommandAnchor, Consistency, FileAnchor, KeyFolder, Signing,
    SqliteAnchor,
};
use crate::note::{SignedCheckpoint, VerifierKey};
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// Timeout of a command in seconds, unless the settings have another.
const TIMEOUT_SECONDS: u64 = 30;

/// The settings of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Events after which a checkpoint is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    every_events: Option<u64>,
    /// Seconds after which a checkpoint is signed if something was appended.
    #[serde(skip_serializing_if = "Option::is_none")]
    every_seconds: Option<u64>,
    /// Hours of an epoch, if the log has an epoch key.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch_hours: Option<u64>,
    /// The anchors that get the checkpoints; if absent, a file beside the key.
    #[serde(rename = "anchor", skip_serializing_if = "Option::is_none")]
    anchors: Option<Vec<AnchorSetting>>,
}

/// An anchor, as it is written in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum AnchorSetting {
    /// A file that checkpoints are appended to.
    File { path: PathBuf },
    /// A SQLite file of its own.
    Sqlite {
        path: PathBuf,
        /// True if the table is also made in a database of something else.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_existing: bool,
    },
    /// A program that gets each checkpoint.
    Command {
        command: Vec<String>,
        #[serde(default = "timeout_seconds")]
        timeout_seconds: u64,
    },
    /// A witness, which cosigns checkpoints.
    Witness {
        url: String,
        /// Its public keys, as vkeys.
        keys: Vec<String>,
        /// A PEM file of the authorities that certify its server; absent: those that browsers trust.
        #[serde(skip_serializing_if = "Option::is_none")]
        authorities: Option<PathBuf>,
    },
    /// A time-stamp authority.
    Timestamp {
        url: String,
        /// A PEM file of the certificates by which it signs.
        certificates: PathBuf,
        #[serde(skip_serializing_if = "Option::is_none")]
        authorities: Option<PathBuf>,
    },
}

fn timeout_seconds() -> u64 {
    TIMEOUT_SECONDS
}

/// Hours of an epoch, unless the settings have another number.
const EPOCH_HOURS: u64 = 24;

impl Settings {
    fn file(keys: &KeyFolder) -> PathBuf {
        keys.path().join("settings.toml")
    }

    /// Reads the settings of a log. Without a file, all settings have their defaults.
    pub(crate) fn read(keys: &KeyFolder) -> anyhow::Result<Settings> {
        let path = Settings::file(keys);
        require_safe(&path)?;
        match fs::read_to_string(&path) {
            Ok(text) => {
                toml::from_str(&text).with_context(|| format!("{}: invalid settings", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    /// Writes the settings of a log.
    pub(crate) fn write(&self, keys: &KeyFolder) -> anyhow::Result<()> {
        let path = Settings::file(keys);
        let text = toml::to_string(self).context("the settings")?;
        // Replaced as a whole and durably: a crash leaves the old settings or the new ones.
        crate::evidence::replace_file(&path, text.as_bytes())?;
        Ok(())
    }

    /// The anchors: the file beside the key, unless others were named.
    pub(crate) fn anchors(&self, keys: &KeyFolder) -> Vec<AnchorSetting> {
        // No list means the default anchor. An empty list means none.
        self.anchors.clone().unwrap_or_else(|| vec![AnchorSetting::File { path: keys.checkpoints_file() }])
    }

    /// Adds an anchor to the existing ones.
    pub(crate) fn add(&mut self, keys: &KeyFolder, anchor: AnchorSetting) -> anyhow::Result<()> {
        // The list begins with the default anchor: to add another one must not drop it.
        let mut anchors = self.anchors(keys);
        if anchors.contains(&anchor) {
            bail!("the log already has this anchor; `annals anchor list` shows it");
        }
        anchors.push(anchor);
        self.anchors = Some(anchors);
        Ok(())
    }

    /// Removes an anchor by its name, and returns true if there was one.
    pub(crate) fn remove(&mut self, keys: &KeyFolder, name: &str) -> bool {
        let (mut left, mut found) = (Vec::new(), false);
        for setting in self.anchors(keys) {
            // Every anchor with this name goes, if there are several.
            match setting.name() == name {
                true => found = true,
                false => left.push(setting),
            }
        }
        if found {
            self.anchors = Some(left);
        }
        found
    }

    /// The signing of a log with these settings.
    pub(crate) fn signing(&self, keys: &KeyFolder) -> Signing {
        let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3_600));
        let mut signing =
            Signing::new(keys.clone()).epoch(hours(self.epoch_hours.unwrap_or(EPOCH_HOURS).max(1)));
        if let Some(events) = self.every_events {
            signing = signing.every_events(events);
        }
        if let Some(seconds) = self.every_seconds {
            signing = signing.every(Duration::from_secs(seconds));
        }
        for setting in self.anchors(keys) {
            signing = signing.boxed_anchor(setting.anchor().unwrap_or_else(|error| {
                // An anchor that cannot be used does not keep events from being recorded.
                Box::new(Unusable { name: setting.name(), why: format!("{error:#}") })
            }));
        }
        signing
    }
}

/// Refuses settings that anybody except their owner can write: they name programs that are run. The folder is checked,
/// too, because whoever can write to it can replace the file. Reading by others does no harm.
fn require_safe(file: &Path) -> anyhow::Result<()> {
    for path in [Some(file), file.parent()].into_iter().flatten() {
        // Through links: the file that is read counts.
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // A missing file names no programs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be examined", path.display()));
            }
        };
        // The write permissions of the group and of all others.
        if metadata.permissions().mode() & 0o022 != 0 {
            bail!(
                "{}: other users can write this, and could make Annals run programs; check the settings first, then remove the permission (chmod go-w)",
                path.display()
            );
        }
        let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
        // A file of root is safe: root can run any program in any case.
        if owner != own && owner != 0 {
            bail!(
                "{}: belongs to another user (id {owner}), who could make Annals run programs; check the settings, then make yourself the owner",
                path.display()
            );
        }
    }
    Ok(())
}

/// An anchor that cannot be used as it is set. Its status has the reason.
#[derive(Debug)]
struct Unusable {
    name: String,
    why: String,
}

impl Anchor for Unusable {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn submit(&mut self, _: &SignedCheckpoint, _: Consistency<'_>) -> Result<AnchorAnswer, AnchorError> {
        Err(AnchorError::new(&self.why))
    }
}

impl AnchorSetting {
    /// The anchor's name, also if the anchor cannot be used.
    pub(crate) fn name(&self) -> String {
        match self {
            AnchorSetting::File { path } => format!("file {}", path.display()),
            AnchorSetting::Sqlite { path, .. } => format!("sqlite {}", path.display()),
            AnchorSetting::Command { command, .. } => format!("command {}", command.join(" ")),
            AnchorSetting::Witness { url, .. } => format!("witness {}", url.trim_end_matches('/')),
            AnchorSetting::Timestamp { url, .. } => format!("timestamp {url}"),
        }
    }

    /// The anchor of this setting.
    pub(crate) fn anchor(&self) -> anyhow::Result<Box<dyn Anchor>> {
        Ok(match self {
            AnchorSetting::File { path } => Box::new(FileAnchor::new(path)),
            AnchorSetting::Sqlite { path, in_existing: false } => Box::new(SqliteAnchor::new(path)),
            AnchorSetting::Sqlite { path, in_existing: true } => {
                Box::new(SqliteAnchor::new(path).in_existing())
            }
            AnchorSetting::Command { command, timeout_seconds } => {
                let (program, arguments) =
                    command.split_first().context("a command anchor needs a program")?;
                let timeout = Duration::from_secs(*timeout_seconds);
                Box::new(CommandAnchor::new(program, arguments.iter().cloned(), timeout))
            }
            AnchorSetting::Witness { url, keys, authorities } => {
                let keys: Vec<VerifierKey> = keys
                    .iter()
                    .map(|key| key.parse().with_context(|| format!("`{key}`")))
                    .collect::<anyhow::Result<_>>()?;
                Box::new(WitnessAnchor::new(Witness::new(url, keys, client(authorities.as_deref())?)?))
            }
            AnchorSetting::Timestamp { url, certificates, authorities } => {
                let pem = fs::read(certificates).with_context(|| format!("{}", certificates.display()))?;
                let by = AuthorityCertificates::from_pem(&pem)
                    .with_context(|| format!("{}", certificates.display()))?;
                Box::new(TimestampAuthority::new(url, by, client(authorities.as_deref())?)?)
            }
        })
    }
}

fn client(authorities: Option<&Path>) -> anyhow::Result<HttpClient> {
    let pem =
        authorities.map(|path| fs::read(path).with_context(|| format!("{}", path.display()))).transpose()?;
    let roots = pem.as_deref().map_or(Roots::Web, Roots::Pem);
    Ok(HttpClient::new(Timeouts::default(), roots)?)
}

/// An absolute path: settings are read from other folders than they were written from.
pub(crate) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{}", path.display()))
}
