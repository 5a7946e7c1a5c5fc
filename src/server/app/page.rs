//! Requests that a web page may have sent, to a server that needs no keys.
//!
//! A page in a browser can send requests to the loopback addresses of its machine. If the name of its own
//! site is made to resolve to one of them, it can also read the answers. But it cannot leave its own name
//! out: the name is in `Origin`, or it is the `Host`, which in HTTP/2 is the `:authority`.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri};

/// Returns true if a name in the headers or the target of a request is not this machine's own.
pub(super) fn may_have_sent(uri: &Uri, headers: &HeaderMap) -> bool {
    let any = |name: HeaderName, is_foreign: fn(&str) -> bool| {
        // A value that is not text counts as foreign.
        headers.get_all(name).iter().any(|value| value.to_str().map_or(true, is_foreign))
    };
    // An address as `Host` is the one that the client connected to: no name was resolved to get there. A page
    // can be at an address, however, so that an `Origin` must be of this machine.
    uri.authority().is_some_and(|authority| !is_of(authority.as_str(), |_| true))
        || any(HOST, |host| !is_of(host, |_| true))
        || any(ORIGIN, |origin| {
            !origin.split_once("://").is_some_and(|(_, host)| is_of(host, |address| address.is_loopback()))
        })
}

/// Returns true if `host`, with or without a port, is `localhost` or an address that fits.
fn is_of(host: &str, fits: impl Fn(IpAddr) -> bool) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match address.parse() {
        Ok(address) => fits(address),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_have_sent(headers: &[(HeaderName, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        super::may_have_sent(&Uri::from_static("/v1/log"), &headers)
    }

    #[test]
    fn the_authority_of_a_request_counts_as_its_host() {
        let is_a_pages = |uri: &'static str| super::may_have_sent(&Uri::from_static(uri), &HeaderMap::new());
        assert!(is_a_pages("http://evil.example:4318/v1/log"));
        assert!(is_a_pages("https://localhost.evil.example/v1/log"));
        assert!(!is_a_pages("http://127.0.0.1:4318/v1/log"));
        assert!(!is_a_pages("http://[::1]:4318/v1/log"));
        assert!(!is_a_pages("http://localhost/v1/log"));
    }

    #[test]
    fn who_asks_for_this_machine_is_no_page() {
        assert!(!may_have_sent(&[]));
        for host in ["127.0.0.1:4318", "localhost", "LocalHost:4318", "[::1]:4318", "[::1]", "192.0.2.7:80"] {
            assert!(!may_have_sent(&[(HOST, host)]), "{host}");
        }
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8080"] {
            assert!(!may_have_sent(&[(HOST, "127.0.0.1:4318"), (ORIGIN, origin)]), "{origin}");
        }
    }

    #[test]
    fn a_name_of_a_site_is_a_pages() {
        for host in
            ["evil.example:4318", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""]
        {
            assert!(may_have_sent(&[(HOST, host)]), "{host}");
        }
        for origin in
            ["https://evil.example", "null", "http://192.0.2.7", "http://localhost.evil.example:80", ""]
        {
            assert!(may_have_sent(&[(HOST, "127.0.0.1:4318"), (ORIGIN, origin)]), "{origin}");
        }
        assert!(may_have_sent(&[(HOST, "localhost"), (HOST, "evil.example")]));
    }
}
