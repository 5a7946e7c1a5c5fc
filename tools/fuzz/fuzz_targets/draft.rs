//! Whatever text comes in, the JSON form is read or refused; what is read can be recorded, and has
//! an error that names a field where it cannot.

#![no_main]

use annals::parse_draft;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse_draft(text) {
        Ok(draft) => assert_eq!(draft.check(), Ok(())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
