//! Refuses requests that a page of another site makes.
//!
//! A site can let its own name lead to this machine (DNS rebinding). Then its pages may read what
//! is here, as if it were theirs. The browser sends that name.

use std::net::{IpAddr, SocketAddr};

use http::Request;
use http::header::HOST;
use http::uri::Authority;

/// Whether the host that a request asks for is this server: `localhost`, a loopback address, the
/// address that the request came to, or `name`. A request that names no host is of no browser.
pub(super) fn is_own<B>(request: &Request<B>, name: &str, local: Option<SocketAddr>) -> bool {
    let header = request.headers().get(HOST).map(|host| host.as_bytes());
    let host = match (request.uri().authority(), header) {
        (None, None | Some(b"")) => return true,
        (Some(authority), _) => authority.clone(),
        (None, Some(header)) => match Authority::try_from(header) {
            Ok(authority) => authority,
            Err(_) => return false,
        },
    };
    let host = host.host().trim_start_matches('[').trim_end_matches(']');
    let is_name = |name: &str| host.eq_ignore_ascii_case(name);
    match host.parse::<IpAddr>() {
        Ok(host) => {
            let local = local.map(|local| local.ip().to_canonical());
            host.is_loopback() || Some(host.to_canonical()) == local
        }
        Err(_) => is_name("localhost") || (!name.is_empty() && is_name(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_other_site_can_have_are_own() {
        let local = Some(SocketAddr::from(([192, 0, 2, 7], 9090)));
        let own = [
            "",
            "localhost",
            "LOCALHOST:9090",
            "127.0.0.1:1",
            "[::1]:9090",
            "192.0.2.7:9090",
            "admin.example",
        ];
        let other = [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com:9090",
            "192.0.2.8",
            "admin.example.com",
            "x@localhost@evil",
            "evil.com#localhost",
        ];
        for (hosts, expected) in [(&own[..], true), (&other[..], false)] {
            for host in hosts {
                let request = Request::builder().uri("/").header(HOST, *host).body(());
                let request = request.expect("a request");
                assert_eq!(is_own(&request, "admin.example", local), expected, "{host}");
            }
        }
    }
}
