//! The folder of a user's keys, settings and memory of verifications, outside every log.

use std::path::{Path, PathBuf};

/// The environment variable that names another folder.
pub const HOME_VARIABLE: &str = "ANNALS_HOME";

/// Longest name of a log's folder, in bytes: the limit of common file systems, less room for endings.
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

    /// The folder that `ANNALS_HOME` names, otherwise `annals` in the user's data folder; None if the user has
    /// neither.
    #[cfg(feature = "cli")]
    pub fn of_user() -> Option<Home> {
        use etcetera::BaseStrategy as _;
        let named = std::env::var_os(HOME_VARIABLE).filter(|path| !path.is_empty());
        named
            .map(PathBuf::from)
            // The data folder by the conventions of the system.
            .or_else(|| Some(etcetera::choose_base_strategy().ok()?.data_dir().join("annals")))
            .map(Home::at)
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder for the log with this origin: its key, its settings, its checkpoints.
    pub fn of_log(&self, origin: &str) -> PathBuf {
        self.path.join("logs").join(file_name(origin))
    }

    /// The folder in which verifications remember the logs that they saw.
    pub fn seen(&self) -> PathBuf {
        self.path.join("seen")
    }
}

/// The name of the folder for an origin: different for different origins, and readable where possible.
fn file_name(origin: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::new();
    for (index, byte) in origin.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            // Escaped at the front: `.` and `..` are folders of their own, and a name that begins with a dot is hidden.
            b'.' if index > 0 => name.push('.'),
            // Writing to a String cannot fail.
            byte => {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    // No escaped name contains `%%`, so a hash never equals one.
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
