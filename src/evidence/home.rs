//! Where a user's keys, settings and memory are kept: outside every log.

use std::path::{Path, PathBuf};

/// The variable that names another folder.
pub const HOME_VARIABLE: &str = "ANNALS_HOME";

/// Longest name of a log's folder, in bytes: what common file systems take, less room for endings.
const NAME_BYTES_MAX: usize = 200;

/// The folder of a user's own Annals files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// The folder at a path.
    pub fn at(path: impl Into<PathBuf>) -> Home {
        Home { path: path.into() }
    }

    /// The folder that `ANNALS_HOME` names, else `annals` in the user's data folder; None where the
    /// user has none.
    #[cfg(feature = "cli")]
    pub fn of_user() -> Option<Home> {
        use etcetera::BaseStrategy as _;
        let named = std::env::var_os(HOME_VARIABLE).filter(|path| !path.is_empty());
        named
            .map(PathBuf::from)
            // The place of data by the conventions of the system.
            .or_else(|| Some(etcetera::choose_base_strategy().ok()?.data_dir().join("annals")))
            .map(Home::at)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of what belongs to the log with this origin: its key, its settings, its checkpoints.
    pub fn of_log(&self, origin: &str) -> PathBuf {
        self.path.join("logs").join(file_name(origin))
    }

    /// The folder of what verifications saw.
    pub fn seen(&self) -> PathBuf {
        self.path.join("seen")
    }
}

/// An origin as the name of a folder: different for different origins, and readable where it can be.
fn file_name(origin: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::new();
    for (place, byte) in origin.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if place > 0 => name.push('.'),
            // Writing to a String cannot fail.
            byte => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    // `%%` stands in no escaped name.
    format!("%%{}", blake3::hash(origin.as_bytes()).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within_its_folder_and_is_one_name() {
        assert_eq!(file_name("example.org/audit"), "example.org%2Faudit");
        assert_eq!(file_name(".."), "%2E.");
        assert_eq!(file_name("a%2Fb"), "a%252Fb");
    }

    #[test]
    fn long_origins_have_different_names_that_file_systems_take() {
        let (one, other) = ("/".repeat(255), "/".repeat(254));
        assert!(file_name(&one).len() <= NAME_BYTES_MAX);
        assert_ne!(file_name(&one), file_name(&other));
    }
}
