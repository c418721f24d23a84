//! Mistakes in routes, and where they get their tenants from.

use millpond_server::config::ProblemKind::{Contradiction, Duplicate, InvalidValue, MissingKey};

use crate::SMALL;
use crate::mistakes::{assert_after_small, mistakes};

#[test]
fn routes_are_distinct() {
    let route = |line: &str| format!("[[routes]]\ncomponent = 'app'\n{line}\n");
    let two = |one: &str, two: &str| route(one) + &route(two);
    let duplicate = [(4, 1, Duplicate, "routes[1]")];
    assert_after_small(&two("path = '/'", ""), &duplicate);
    assert_after_small(&two("path = '/a'", "path = '/a/'"), &duplicate);
    assert_after_small(&two("host = 'A.b'", "host = 'a.B'"), &duplicate);
    assert_after_small(&two("host = '*.b'", "host = 'b'"), &[]);
    for path in ["api", "", "/a//b", "/../a", "/a?b", "/%61"] {
        let expected = [(3, 8, InvalidValue, "routes[0].path")];
        assert_after_small(&route(&format!("path = '{path}'")), &expected);
    }
    for host in ["http://a", "a:80", "a/b", "*", "*a.b", "a.*", "", "a..b"] {
        let expected = [(3, 8, InvalidValue, "routes[0].host")];
        assert_after_small(&route(&format!("host = '{host}'")), &expected);
    }
    for host in ["a", "*.a-b.c", "127.0.0.1", "[::1]"] {
        assert_after_small(&route(&format!("host = '{host}'")), &[]);
    }
}

#[test]
fn a_database_for_each_tenant_needs_a_tenant() {
    let tenants = SMALL.replace("file = \"app.db\"", "folder = \"tenants\"");
    let with = |route: &str| {
        let found = mistakes(&format!("{tenants}{route}")).into_iter();
        found.map(|(.., kind, key)| (kind, key)).collect::<Vec<_>>()
    };
    let key = |kind, key: &str| vec![(kind, key.to_owned())];
    assert_eq!(with(""), key(MissingKey, "components"));
    let route = "[[routes]]\ncomponent = 'app'\n";
    assert_eq!(with(route), key(Contradiction, "routes[0].component"));
    let tenant = |tenant: &str| with(&format!("{route}tenant = {{ {tenant} }}"));
    let path = |path: &str| tenant(&format!("from = 'path-segment', path = '{path}'"));
    assert_eq!(path("/t/{tenant}"), []);
    assert_eq!(path("/{tenant}/x"), []);
    for wrong in [
        "/t",
        "/t/{tenant}/",
        "t/{tenant}",
        "/{tenant}/{tenant}",
        "/x{tenant}",
    ] {
        let expected = key(InvalidValue, "routes[0].tenant.path");
        assert_eq!(path(wrong), expected, "{wrong}");
    }
    let other =
        format!("{route}path = '/u'\ntenant = {{ from = 'path-segment', path = '/t/{{tenant}}' }}");
    assert_eq!(with(&other), key(Contradiction, "routes[0].tenant.path"));
    let claim = "from = 'claim', claim = 'tenant', algorithm = 'RS256', keys = ['k.pem']";
    assert_eq!(tenant(claim), []);
    assert_eq!(tenant("from = 'header', header = 'x-tenant'"), []);
    assert_eq!(
        tenant("from = 'header', header = 'x tenant'"),
        key(InvalidValue, "routes[0].tenant.header")
    );
    assert_eq!(
        tenant("from = 'host-label'"),
        key(MissingKey, "routes[0].tenant.host")
    );
    assert_eq!(tenant("from = 'host-label', host = '*.a'"), []);
    assert_eq!(
        tenant("from = 'host-label', host = 'a'"),
        key(InvalidValue, "routes[0].tenant.host")
    );
    assert_eq!(
        tenant("from = 'path-segment', path = '/{tenant}', claim = 'x'"),
        key(Contradiction, "routes[0].tenant.claim")
    );
    let host = format!("{route}host = '*.example.com'\ntenant = {{ from = 'host-label' }}");
    assert_eq!(with(&host), []);
}
