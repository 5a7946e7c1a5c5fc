//! The authorities that may certify a server that is reached by `https`.

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// The authorities of a PEM file, and no others; without a file, those that browsers trust. An error describes the
/// fault of the file; it is empty if the file only lacks certificates.
pub(crate) fn roots(pem: Option<&[u8]>) -> Result<RootCerts, String> {
    // These roots are compiled in: no file of the system decides about trust.
    let Some(pem) = pem else { return Ok(RootCerts::WebPki) };
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            // Keys and other items beside the certificates are ignored.
            Ok(_) => {}
            Err(error) => return Err(format!(": {error}")),
        }
    }
    if certificates.is_empty() { Err(String::new()) } else { Ok(certificates.into()) }
}
