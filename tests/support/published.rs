//! Vectors that other projects publish, in `vectors`, and other data of the tests. All of it is read from
//! `$ANNALS_TEST_DATA`, else from `../shared/data`. Without it a test says that it was skipped; in CI it must be there.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file or folder of the vectors.
pub(crate) fn published(name: &str) -> Option<PathBuf> {
    data(&format!("vectors/{name}"))
}

/// A file or folder of the data.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let data = std::env::var_os("ANNALS_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = data.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
    println!("skipped: {} is missing; set ANNALS_TEST_DATA", path.display());
    None
}

/// A file of the vectors that holds JSON.
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses a part of it, and fails where it cannot go on"
)]
pub(crate) fn published_json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&std::fs::read(published(name)?).unwrap()).unwrap())
}

/// All files below a folder of the vectors, by name.
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses a part of it, and fails where it cannot go on"
)]
pub(crate) fn published_files(name: &str) -> Option<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![published(name)?]);
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Some(files)
}
