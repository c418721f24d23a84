//! What clients send to reach another tenant, from each source.

mod folder;
mod fuzz;
mod token;

use http::header::{HOST, HeaderName};
use http::{HeaderValue, Request};

use super::{TenantResolver, TenantSource};

/// No tenant, in no place.
const HOSTILE: [&str; 47] = [
    "",
    ".",
    "..",
    "...",
    ".acme",
    "acme.",
    "a.b",
    "acme.db",
    "../acme",
    "%2e%2e",
    "%2E%2E%2Facme",
    "..%2facme",
    "%2facme",
    "acme%2f",
    "acme%2fother",
    "acme%5cother",
    "acme\\other",
    "%61cme",
    "%2561cme",
    "%25252e",
    "acme%00",
    "acme%00.db",
    "acme%0a",
    "acme%20",
    "acme ",
    " acme",
    "acme\t",
    "acme;x=y",
    "acme,other",
    "acme+other",
    "acme=other",
    "acme|other",
    "-acme",
    "_acme",
    "*",
    "{tenant}",
    "@acme",
    "acme@",
    "acmé",
    "ac\u{301}me",
    "аcme",
    "ａｃｍｅ",
    "acme\u{200b}",
    "acme\u{ad}",
    "ſ",
    "\u{212a}",
    "ⅰ",
];

fn open(text: &str) -> TenantResolver {
    let source: TenantSource = toml::from_str(text).expect("settings");
    source.open().expect("valid settings")
}

fn host() -> TenantResolver {
    open("from = 'host-label'\nhost = '*.example.com'")
}

fn path(strip: bool) -> TenantResolver {
    let settings = "from = 'path-segment'\npath = '/t/{tenant}'";
    open(&format!("{settings}\nstrip = {strip}"))
}

fn header() -> TenantResolver {
    open("from = 'header'\nheader = 'X-Tenant'")
}

/// A request; `None` if no server would accept it.
fn request(target: &[u8], headers: &[(HeaderName, &[u8])]) -> Option<Request<()>> {
    let mut request = Request::builder().uri(target).body(()).ok()?;
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

fn x_tenant() -> HeaderName {
    HeaderName::from_static("x-tenant")
}

/// The key, or the status.
fn outcome(resolver: &TenantResolver, request: Option<Request<()>>) -> Result<String, u16> {
    let tenant = resolver.resolve(&request.expect("a request"));
    tenant
        .map(|it| it.key.to_string())
        .map_err(|refusal| refusal.status().as_u16())
}

fn ok(key: &str) -> Result<String, u16> {
    Ok(key.to_owned())
}

#[test]
fn nothing_hostile_is_a_tenant() {
    let long = "x".repeat(65);
    let hostile = HOSTILE.iter().copied().chain([&*long, "Acme", "ACME"]);
    let (host, path, header) = (host(), path(false), header());
    for value in hostile {
        if let Some(request) = request(b"/", &[(x_tenant(), value.as_bytes())]) {
            assert!(header.resolve(&request).is_err(), "header {value:?}");
        }
        for rest in ["", "/", "/x"] {
            if let Some(request) = request(format!("/t/{value}{rest}").as_bytes(), &[]) {
                assert!(path.resolve(&request).is_err(), "path {value:?}");
            }
        }
        let name = format!("{value}.example.com");
        let is_lowered = value.eq_ignore_ascii_case("acme");
        let in_host = [
            request(b"/", &[(HOST, name.as_bytes())]),
            request(format!("http://{name}/").as_bytes(), &[]),
        ];
        for request in in_host.into_iter().flatten() {
            assert_eq!(host.resolve(&request).is_ok(), is_lowered, "host {value:?}");
        }
    }
}

#[test]
fn a_host_is_one_and_well_formed() {
    let host = host();
    let of = |value: &[u8]| outcome(&host, request(b"/", &[(HOST, value)]));
    for (value, expected) in [
        (&b"acme.example.com"[..], ok("acme")),
        (b"ACME.Example.COM", ok("acme")),
        (b"acme.example.com:8080", ok("acme")),
        (b"a_b-1.example.com", ok("a_b-1")),
        (b"example.com", Err(404)),
        (b"a.acme.example.com", Err(404)),
        (b"acme.example.com.", Err(404)),
        (b"acme..example.com", Err(404)),
        (b".example.com", Err(404)),
        (b"acme.example.com.evil.com", Err(404)),
        (b"acme.example.org", Err(404)),
        (b"acme.exampleXcom", Err(404)),
        (b"xn--acm-dma.example.com", Err(404)),
        (b"XN--ACM-DMA.example.com", Err(404)),
        (b"ab--cd.example.com", Err(404)),
        (b"127.0.0.1", Err(404)),
        (b"[::1]:80", Err(404)),
        (b"", Err(400)),
        (b"acme.example.com:", Err(400)),
        (b"acme.example.com:x", Err(400)),
        (b"acme.example.com:65536", Err(400)),
        (b"acme.example.com:80:80", Err(400)),
        (b"user@acme.example.com", Err(400)),
        (b"other.example.com:80@acme.example.com", Err(400)),
        (b"acme.example.com/", Err(400)),
        (b"acme.example.com, other.example.com", Err(400)),
        (b"acme.example.com other.example.com", Err(400)),
        (b"acme\xe9.example.com", Err(400)),
        (b"\xc3\xa9.example.com", Err(400)),
        (b"[acme.example.com", Err(400)),
    ] {
        let shown = String::from_utf8_lossy(value);
        assert_eq!(of(value), expected, "{shown}");
    }
    let long = format!("{}.example.com", "x".repeat(100_000));
    assert!(of(long.as_bytes()).is_err());
}

#[test]
fn two_hosts_must_be_the_same() {
    let host = host();
    let of = |target: &[u8], hosts: &[&str]| {
        let headers: Vec<_> = hosts.iter().map(|host| (HOST, host.as_bytes())).collect();
        outcome(&host, request(target, &headers))
    };
    let (acme, other) = ("acme.example.com", "other.example.com");
    assert_eq!(of(b"/", &[]), Err(400));
    assert_eq!(of(b"/", &[acme, acme]), Err(400));
    assert_eq!(of(b"/", &[acme, other]), Err(400));
    assert_eq!(of(b"http://acme.example.com/", &[]), ok("acme"));
    assert_eq!(
        of(b"http://acme.example.com/", &["ACME.example.com"]),
        ok("acme")
    );
    assert_eq!(of(b"http://acme.example.com/", &[other]), Err(400));
    assert_eq!(
        of(b"http://other.example.com@acme.example.com/", &[]),
        Err(400)
    );
    assert_eq!(of(b"acme.example.com:443", &[]), ok("acme"));
}

#[test]
fn a_star_may_be_any_label() {
    let middle = open("from = 'host-label'\nhost = 'app.*.Example.com'");
    let of = |host: &str| outcome(&middle, request(b"/", &[(HOST, host.as_bytes())]));
    assert_eq!(of("app.acme.example.com"), ok("acme"));
    for none in [
        "acme.example.com",
        "app.example.com",
        "app.a.b.example.com",
        "x.acme.example.com",
    ] {
        assert_eq!(of(none), Err(404), "{none}");
    }
}

#[test]
fn a_path_is_matched_in_its_exact_bytes() {
    let path = path(false);
    let of = |target: &str| outcome(&path, request(target.as_bytes(), &[]));
    for target in [
        "/t/acme",
        "/t/acme/",
        "/t/acme/x/y?z",
        "/t/acme?t=/t/other",
        "/t/acme/../other",
    ] {
        assert_eq!(of(target), ok("acme"), "{target}");
    }
    for target in [
        "/",
        "/t",
        "/t/",
        "/T/acme",
        "/x/acme",
        "//t/acme",
        "/t//acme",
        "/./t/acme",
        "/x/../t/acme",
        "/%74/acme",
        "/t%2facme",
        "/t;x/acme",
        "/t/acme;x",
        "*",
    ] {
        assert_eq!(of(target), Err(404), "{target}");
    }
    assert_eq!(of("http://host/t/acme"), ok("acme"));
    let longer = open("from = 'path-segment'\npath = '/api/{tenant}/v1'");
    let of = |target: &str| outcome(&longer, request(target.as_bytes(), &[]));
    assert_eq!(of("/api/acme/v1/notes"), ok("acme"));
    assert_eq!(of("/api/acme/v1"), ok("acme"));
    assert_eq!(of("/api/acme/v12"), Err(404));
    assert_eq!(of("/api/acme"), Err(404));
}

#[test]
fn the_guest_sees_the_rest_of_the_path() {
    let stripped = path(true);
    let rest = |target: &str| {
        let request = request(target.as_bytes(), &[]).expect("a request");
        let tenant = stripped
            .resolve(&request)
            .map_err(|refusal| refusal.status().as_u16());
        tenant.map(|tenant| tenant.path.expect("a path").to_string())
    };
    assert_eq!(rest("/t/acme"), ok("/"));
    assert_eq!(rest("/t/acme?a=b"), ok("/?a=b"));
    assert_eq!(rest("/t/acme/"), ok("/"));
    assert_eq!(rest("/t/acme/x%2fy/?a=b?c"), ok("/x%2fy/?a=b?c"));
    // It would look like a URL of another host.
    assert_eq!(rest("/t/acme//evil.com/x"), Err(404));
    let whole = path(false).resolve(&request(b"/t/acme/x", &[]).expect("a request"));
    assert_eq!(whole.expect("a tenant").path, None);
}

#[test]
fn a_header_is_there_once() {
    let header = header();
    let of = |values: &[&[u8]]| {
        let headers: Vec<_> = values.iter().map(|value| (x_tenant(), *value)).collect();
        outcome(&header, request(b"/t/other", &headers))
    };
    assert_eq!(of(&[b"acme"]), ok("acme"));
    assert_eq!(of(&[]), Err(400));
    assert_eq!(of(&[b"acme", b"acme"]), Err(400));
    assert_eq!(of(&[b"acme", b"other"]), Err(400));
    assert_eq!(of(&[b"acme", b""]), Err(400));
    assert_eq!(of(&[b"acme\xff"]), Err(400));
    assert_eq!(of(&["аcme".as_bytes()]), Err(400));
    assert_eq!(of(&[b"acme,other"]), Err(404));
    assert_eq!(of(&[b"Acme"]), Err(404));
    assert_eq!(of(&[b""]), Err(404));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for text in [
        "from = 'host-label'\nhost = 'example.com'",
        "from = 'host-label'\nhost = '*'",
        "from = 'host-label'\nhost = '*.*.com'",
        "from = 'host-label'\nhost = '*.example.com:80'",
        "from = 'host-label'\nhost = 'a*.example.com'",
        "from = 'host-label'\nhost = '*..com'",
        "from = 'path-segment'\npath = '/t'",
        "from = 'path-segment'\npath = 't/{tenant}'",
        "from = 'path-segment'\npath = '/{tenant}/{tenant}'",
        "from = 'path-segment'\npath = '/../{tenant}'",
        "from = 'path-segment'\npath = '/%74/{tenant}'",
        "from = 'path-segment'\npath = '//{tenant}'",
        "from = 'path-segment'\npath = '/{tenant}/'",
        "from = 'header'\nheader = 'x tenant'",
        "from = 'header'\nheader = ''",
        "from = 'claim'\nclaim = 'tenant'\nalgorithm = 'HS256'\nkeys = []",
        "from = 'claim'\nclaim = 'tenant'\nalgorithm = 'HS256'\nkeys = ['/missing']",
    ] {
        let source: TenantSource = toml::from_str(text).expect(text);
        source.open().expect_err(text);
    }
    for text in [
        "from = 'cookie'",
        "from = 'header'",
        "from = 'header'\nheader = 'x'\nhost = 'y'",
        "from = 'claim'\nclaim = 'tenant'\nalgorithm = 'none'\nkeys = ['x']",
        "from = 'claim'\nclaim = 'tenant'\nalgorithm = 'HS512'\nkeys = ['x']",
    ] {
        toml::from_str::<TenantSource>(text).expect_err(text);
    }
}

#[test]
fn a_route_says_where_its_tenants_come_from() {
    use std::path::Path;

    use crate::config::Config;

    let of_route = |route: &str| {
        let text =
            format!("components.app.file = 'app.wasm'\n[[routes]]\ncomponent = 'app'\n{route}");
        let config = Config::parse(&text, Path::new("/etc/millpond.toml")).expect("valid");
        TenantSource::of_route(&config.routes[0]).expect("whole")
    };
    assert_eq!(of_route(""), None);
    for (route, settings) in [
        (
            "host = '*.example.com'\ntenant = { from = 'host-label' }",
            "from = 'host-label'\nhost = '*.example.com'",
        ),
        (
            "tenant = { from = 'path-segment', path = '/t/{tenant}', strip = true }",
            "from = 'path-segment'\npath = '/t/{tenant}'\nstrip = true",
        ),
        (
            "tenant = { from = 'header', header = 'x-tenant' }",
            "from = 'header'\nheader = 'x-tenant'",
        ),
        (
            "tenant = { from = 'claim', claim = 't', algorithm = 'EdDSA', keys = ['/k'], issuer = 'i' }",
            "from = 'claim'\nclaim = 't'\nalgorithm = 'EdDSA'\nkeys = ['/k']\nissuer = 'i'",
        ),
    ] {
        let expected: TenantSource = toml::from_str(settings).expect("settings");
        assert_eq!(of_route(route), Some(expected), "{route}");
    }
}
