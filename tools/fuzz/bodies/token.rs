//! Whatever stands for a time-stamp token, or for the certificates of its authority, is judged without a panic.

use annals::evidence::token::{AuthorityCertificates, verify};

/// Of an authority that was made for this.
const CERTIFICATE: &[u8] = include_bytes!("../corpus/token/ca.pem");

pub(crate) fn run(bytes: &[u8]) {
    let _ = AuthorityCertificates::from_pem(bytes);
    if let Ok(certificates) = AuthorityCertificates::from_pem(CERTIFICATE) {
        let _ = verify(bytes, "text\n", &certificates);
    }
}
