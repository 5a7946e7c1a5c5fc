//! A proof that is accepted prints as it was written, and checking it never panics.

use annals::note::as_written;
use annals::proof::ProofFile;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(proof) = ProofFile::parse(bytes) else { return };
    let text = proof.to_string();
    // The id of a session may be spelled in any JSON, and prints in one.
    let is_session = match &proof {
        ProofFile::Entry(proof) => {
            let _ = proof.check();
            false
        }
        ProofFile::Session(proof) => {
            let _ = proof.check();
            true
        }
        ProofFile::Consistency(proof) => {
            let _ = proof.check(proof.checkpoint.checkpoint());
            false
        }
    };
    if !is_session {
        assert_eq!(text.as_bytes(), &*as_written(bytes));
    }
    assert_eq!(ProofFile::parse(text.as_bytes()).expect("a proof that was printed is one"), proof);
}
