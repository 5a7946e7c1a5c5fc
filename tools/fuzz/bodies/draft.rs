//! Whatever text comes in, the JSON form is read or refused; what is read can be recorded, and has
//! an error that names a field where it cannot.

use annals::parse_draft;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse_draft(text) {
        Ok(draft) => assert_eq!(draft.check(), Ok(())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
