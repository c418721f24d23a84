//! Refuses what HTTP requires a server to refuse, in addition to hyper, or what is too large, and
//! normalises the rest for the guest (<https://www.rfc-editor.org/rfc/rfc9112>,
//! <https://www.rfc-editor.org/rfc/rfc9113>).

use std::net::SocketAddr;

use http::header::{COOKIE, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};
use hyper::body::Body;

use crate::config::{self, Size};

/// The status and text of a refusal by the host.
pub(super) type Refusal = (StatusCode, &'static str);

const fn bad(text: &'static str) -> Refusal {
    (StatusCode::BAD_REQUEST, text)
}

pub(super) const TOO_LARGE: Refusal = (
    StatusCode::PAYLOAD_TOO_LARGE,
    "the request's body is larger than this server allows\n",
);

/// How large a request may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of its first line and its headers.
    pub(super) head: u64,
    pub(super) headers: u32,
    pub(super) body: Option<u64>,
}

impl Limits {
    pub(super) fn new(settings: &config::Server) -> Limits {
        Limits {
            head: settings.max_head_size.bytes(),
            headers: settings.max_headers,
            body: settings.max_body_size.map(Size::bytes),
        }
    }

    /// Refuse a request that is too large. A body of unknown length is counted as it arrives.
    pub(super) fn check<B: Body>(&self, request: &Request<B>) -> Result<(), Refusal> {
        /// Between a header's name and its value, and after it.
        const PUNCTUATION: usize = ": \r\n".len();
        /// The version, and what is between it, the target and the method.
        const FIRST_LINE: usize = " HTTP/1.1\r\n ".len();
        let uri = request.uri();
        let target = uri.path_and_query().map_or(0, |path| path.as_str().len())
            + uri
                .authority()
                .map_or(0, |authority| authority.as_str().len());
        let headers = request.headers();
        let fields = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + PUNCTUATION);
        if target as u64 > self.head {
            return Err((
                StatusCode::URI_TOO_LONG,
                "the request's target is longer than this server allows\n",
            ));
        }
        let method = request.method().as_str().len();
        let head = FIRST_LINE + method + target + fields.sum::<usize>();
        if head as u64 > self.head || headers.len() > self.headers as usize {
            return Err((
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the request's headers are larger, or more, than this server allows\n",
            ));
        }
        let most = self.body.unwrap_or(u64::MAX);
        match request.body().size_hint().lower() > most {
            true => Err(TOO_LARGE),
            false => Ok(()),
        }
    }
}

/// Marks a request over HTTP/1 whose target and Host name two hosts. The target's is the one that
/// it goes to (RFC 9112, 3.2.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct TwoHosts;

/// Refuse a request, or convert its target to the absolute form, with the connection's `scheme` and
/// an authority. If an HTTP/1.0 client names none, that is `local`, this end of the connection.
pub(super) fn check<B>(
    request: &mut Request<B>,
    scheme: &Scheme,
    local: Option<SocketAddr>,
) -> Result<(), Refusal> {
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
    let (authority, path) = target(request, scheme)?;
    let given = authority.cloned();
    if let (true, Some(given), Some(host)) = (is_http2(request), &given, &host)
        && !given.as_str().eq_ignore_ascii_case(host.as_str())
    {
        return Err(bad("the Host is not the authority\n"));
    }
    if let (Some(given), Some(host)) = (&given, &host)
        && !given.as_str().eq_ignore_ascii_case(host.as_str())
    {
        request.extensions_mut().insert(TwoHosts);
    }
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
        .scheme(scheme.clone())
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| INVALID_TARGET)?;
    *request.uri_mut() = uri;
    join_cookies(request.headers_mut());
    Ok(())
}

fn is_http2<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
}

/// HTTP/2 may split the one header into several (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let cookies = headers.get_all(COOKIE).iter();
    let cookies: Vec<_> = cookies.map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// RFC 9112, 3.2; with HTTP/2, the authority takes its place.
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
        (None, _) if is_http2(request) && request.uri().authority().is_some() => Ok(None),
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

/// RFC 9112, 3.2.1 to 3.2.4, and RFC 9113, 8.3.1.
fn target<'a, B>(
    request: &'a Request<B>,
    scheme: &Scheme,
) -> Result<(Option<&'a Authority>, PathAndQuery), Refusal> {
    let (uri, method) = (request.uri(), request.method());
    let path = uri.path_and_query();
    // A proxy that ends TLS may pass its client's scheme on.
    let is_ours = |given: &Scheme| given == scheme || is_http2(request) && *scheme == Scheme::HTTP;
    match (uri.scheme(), uri.authority(), path) {
        (None, None, Some(path)) if path.as_str().starts_with('/') => Ok((None, path.clone())),
        (_, _, Some(path)) if path == "*" && method == Method::OPTIONS => Err((StatusCode::OK, "")),
        (Some(given), Some(_), _) if !is_ours(given) => Err((
            StatusCode::MISDIRECTED_REQUEST,
            "this connection only serves its own scheme, http:// or https://\n",
        )),
        (Some(_), Some(authority), path) if is_host(authority) => {
            Ok((Some(authority), absolute(path, is_http2(request))?))
        }
        _ => Err(INVALID_TARGET),
    }
}

const INVALID_TARGET: Refusal = bad("the request's target is not valid\n");

/// The path of a target that names a host. It may be missing before a query (RFC 9110, 4.2.3), but
/// not with HTTP/2 (RFC 9113, 8.3.1).
fn absolute(path: Option<&PathAndQuery>, is_http2: bool) -> Result<PathAndQuery, Refusal> {
    match path {
        None => Ok(PathAndQuery::from_static("/")),
        Some(path) if path.as_str().starts_with('/') => Ok(path.clone()),
        Some(path) if !is_http2 => format!("/{}", path.as_str())
            .parse()
            .map_err(|_| INVALID_TARGET),
        Some(_) => Err(INVALID_TARGET),
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
        checked_for(&Scheme::HTTP, request)
    }

    fn checked_for(scheme: &Scheme, request: http::request::Builder) -> Result<Request<()>, u16> {
        let mut request = request.body(()).expect("a request");
        let local = SocketAddr::from(([127, 0, 0, 1], 8080));
        match check(&mut request, scheme, Some(local)) {
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
            (get("http://y?b").header(HOST, "x"), "http://y/?b"),
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
    fn http2_has_a_scheme_and_an_authority() {
        let get = |uri: &str| Request::get(uri).version(Version::HTTP_2);
        for (scheme, request, expected) in [
            (Scheme::HTTPS, get("https://x/a"), Ok("https://x/a")),
            (Scheme::HTTP, get("http://x/a"), Ok("http://x/a")),
            (Scheme::HTTP, get("https://x/a"), Ok("http://x/a")),
            (Scheme::HTTPS, get("http://x/a"), Err(421)),
            (
                Scheme::HTTP,
                get("http://x/a").header(HOST, "X"),
                Ok("http://x/a"),
            ),
            (Scheme::HTTP, get("http://x/a").header(HOST, "y"), Err(400)),
            (Scheme::HTTP, get("/a").header(HOST, "y"), Ok("http://y/a")),
            (Scheme::HTTP, get("/a"), Err(400)),
            (Scheme::HTTP, get("http://x?b"), Err(400)),
        ] {
            let checked = checked_for(&scheme, request);
            let checked = checked.map(|request| request.uri().to_string());
            assert_eq!(checked.as_deref().map_err(|status| *status), expected);
        }
        let split = get("http://x/").header(COOKIE, "a=1").header(COOKIE, "b=2");
        let joined = checked(split).expect("a good request");
        let cookies: Vec<_> = joined.headers().get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
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
