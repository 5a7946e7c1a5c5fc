//! Who must have certified a server that is reached by `https`.

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// The authorities of a PEM file, and nobody else; without one those that browsers trust. An error says
/// what is wrong with the file, where more is known than that it has no certificates.
pub(crate) fn roots(pem: Option<&[u8]>) -> Result<RootCerts, String> {
    let Some(pem) = pem else { return Ok(RootCerts::WebPki) };
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!(": {error}")),
        }
    }
    if certificates.is_empty() { Err(String::new()) } else { Ok(certificates.into()) }
}
