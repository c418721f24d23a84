//! Refuses what HTTP requires a server to refuse, in addition to hyper, and normalises the rest for
//! the guest (<https://www.rfc-editor.org/rfc/rfc9112>).

use std::net::SocketAddr;

use http::header::{EXPECT, HOST, HeaderMap, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};

/// The status and text of a refusal by the host.
pub(super) type Refusal = (StatusCode, &'static str);

const fn bad(text: &'static str) -> Refusal {
    (StatusCode::BAD_REQUEST, text)
}

/// Refuse a request, or convert its target to the absolute form, with an authority. If an HTTP/1.0
/// client names none, that is `local`, this end of the connection.
pub(super) fn check<B>(request: &mut Request<B>, local: Option<SocketAddr>) -> Result<(), Refusal> {
    let host = host(request)?;
    coding(request.headers())?;
    let unknown =
        |value: &http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if request.version() >= Version::HTTP_11
        && request.headers().get_all(EXPECT).iter().any(unknown)
    {
        return Err((
            StatusCode::EXPECTATION_FAILED,
            "this server supports no expectation except 100-continue\n",
        ));
    }
    if request.method() == Method::CONNECT {
        return Err((
            StatusCode::NOT_IMPLEMENTED,
            "this server is not a proxy: it does not implement CONNECT\n",
        ));
    }
    let (authority, path) = target(request.uri(), request.method())?;
    let given = authority.cloned();
    let authority = match given.clone().or(host) {
        Some(authority) => authority,
        None => local
            .and_then(|local| local.to_string().parse().ok())
            .unwrap_or_else(|| Authority::from_static("localhost")),
    };
    if let Some(given) = given
        && let Ok(value) = given.as_str().parse()
    {
        // The target determines where a request goes, whatever its Host says.
        request.headers_mut().insert(HOST, value);
    }
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| bad("the request's target is not valid\n"))?;
    *request.uri_mut() = uri;
    Ok(())
}

/// RFC 9112, 3.2.
fn host<B>(request: &Request<B>) -> Result<Option<Authority>, Refusal> {
    let mut values = request.headers().get_all(HOST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(authority)
            .map(Some)
            .ok_or(bad("the Host is not valid\n")),
        (None, _) if request.version() < Version::HTTP_11 => Ok(None),
        (None, _) => Err(bad("the request has no Host\n")),
        (Some(_), Some(_)) => Err(bad("the request has more than one Host\n")),
    }
}

/// A host, with an optional port: `http` accepts no empty host, and no user (RFC 9110, 4.2).
fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    is_host(&authority).then_some(authority)
}

fn is_host(authority: &Authority) -> bool {
    let (text, host) = (authority.as_str(), authority.host());
    let is_port = |rest: &str| {
        rest.is_empty()
            || rest
                .strip_prefix(':')
                .is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
    };
    !host.is_empty() && text.strip_prefix(host).is_some_and(is_port)
}

/// RFC 9112, 3.2.1 to 3.2.4.
fn target<'a>(
    uri: &'a Uri,
    method: &Method,
) -> Result<(Option<&'a Authority>, PathAndQuery), Refusal> {
    let path = uri.path_and_query();
    match (uri.scheme(), uri.authority(), path) {
        (None, None, Some(path)) if path.as_str().starts_with('/') => Ok((None, path.clone())),
        (None, None, Some(path)) if path == "*" && method == Method::OPTIONS => {
            Err((StatusCode::OK, ""))
        }
        (Some(scheme), Some(_), _) if *scheme != Scheme::HTTP => Err((
            StatusCode::MISDIRECTED_REQUEST,
            "this server only serves http://\n",
        )),
        (Some(_), Some(authority), path) if is_host(authority) => {
            let path = path.cloned();
            Ok((
                Some(authority),
                path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            ))
        }
        _ => Err(bad("the request's target is not valid\n")),
    }
}

/// RFC 9112, 6.1. hyper has already checked that `chunked` comes last.
fn coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let values = headers.get_all(TRANSFER_ENCODING).iter();
    let codings = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    let (chunked, other): (Vec<_>, Vec<_>) =
        codings.partition(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if chunked.len() > 1 {
        return Err(bad("the body has the chunked coding more than once\n"));
    }
    match other.is_empty() {
        true => Ok(()),
        false => Err((
            StatusCode::NOT_IMPLEMENTED,
            "this server supports no transfer coding except chunked\n",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(request: http::request::Builder) -> Result<Request<()>, u16> {
        let mut request = request.body(()).expect("a request");
        let local = SocketAddr::from(([127, 0, 0, 1], 8080));
        match check(&mut request, Some(local)) {
            Ok(()) => Ok(request),
            Err((status, _)) => Err(status.as_u16()),
        }
    }

    #[test]
    fn a_guest_gets_the_authority_that_the_request_is_for() {
        let get = |uri: &str| Request::get(uri);
        for (request, expected) in [
            (get("/a?b").header(HOST, "x:81"), "http://x:81/a?b"),
            (get("http://y/a").header(HOST, "x"), "http://y/a"),
            (get("http://y").header(HOST, "x"), "http://y/"),
            (
                get("/a").version(Version::HTTP_10),
                "http://127.0.0.1:8080/a",
            ),
        ] {
            let request = checked(request).expect("a good request");
            assert_eq!(request.uri(), expected);
            let host = request.headers().get(HOST);
            let authority = request.uri().authority().expect("an authority");
            assert!(host.is_none_or(|host| host == authority.as_str()));
        }
    }

    #[test]
    fn authorities() {
        for good in [
            "x",
            "x:1",
            "x:",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:65535",
            "a_b.c",
        ] {
            assert!(authority(good).is_some(), "{good}");
        }
        for bad in [
            "", ":1", "u@x", "x:y", "x:65536", "x:-1", "a b", "a/b", "a?", "[::1", "x,y@z",
        ] {
            assert!(authority(bad).is_none(), "{bad}");
        }
    }
}
