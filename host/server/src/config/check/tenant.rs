//! Where a route's tenants come from.

use crate::config::check::route::{is_host, is_path};
use crate::config::problem::ProblemKind::{Contradiction, InvalidValue, MissingKey};
use crate::config::report::Report;
use crate::config::{Route, Tenant, TenantFrom};

/// The segment of a path that is the tenant.
const TENANT: &str = "{tenant}";

pub(super) fn check(tenant: &Tenant, route: &Route, report: &mut Report) {
    use TenantFrom::{Claim, Header, HostLabel, PathSegment};
    let Some(from) = tenant.from else {
        return;
    };
    for (key, is_set, of, is_required) in [
        ("host", tenant.host.is_some(), HostLabel, false),
        ("path", tenant.path.is_some(), PathSegment, true),
        ("strip", tenant.strip, PathSegment, false),
        ("header", tenant.header.is_some(), Header, true),
        ("claim", tenant.claim.is_some(), Claim, true),
        ("algorithm", tenant.algorithm.is_some(), Claim, true),
        ("keys", !tenant.keys.is_empty(), Claim, true),
        ("issuer", tenant.issuer.is_some(), Claim, false),
        ("audience", tenant.audience.is_some(), Claim, false),
    ] {
        report.under(key, |report| match (is_set, from == of) {
            (true, false) => {
                let message = "it has no effect with this `from`: leave it out";
                report.key(Contradiction, message);
            }
            (false, true) if is_required => {
                report.key(MissingKey, "it is missing, and must be written");
            }
            _ => {}
        });
    }
    match from {
        HostLabel => check_host(tenant, route, report),
        PathSegment => check_path(tenant, route, report),
        Header => check_header(tenant, report),
        Claim => {}
    }
}

fn check_host(tenant: &Tenant, route: &Route, report: &mut Report) {
    let has_star = |host: &str| host.split('.').filter(|label| *label == "*").count() == 1;
    match &tenant.host {
        Some(host) if !has_star(host) || !is_host(&host.replace('*', "x")) => {
            let message = "write a host of which one label is `*`, without a port, such as \
                           \"*.example.com\"";
            report.under("host", |report| report.value(InvalidValue, message));
        }
        None if !route.host.as_deref().is_some_and(has_star) => {
            let message = "it is missing, and the route's `host` has no `*`: write a host of which one \
                           label is `*`, such as \"*.example.com\"";
            report.under("host", |report| report.key(MissingKey, message));
        }
        _ => {}
    }
}

fn check_path(tenant: &Tenant, route: &Route, report: &mut Report) {
    let Some(path) = &tenant.path else {
        return;
    };
    let segments = |path: &str| -> Vec<String> {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments.map(str::to_owned).collect()
    };
    let of_tenant = segments(path);
    let count = of_tenant
        .iter()
        .filter(|segment| *segment == TENANT)
        .count();
    let plain = path.replace(TENANT, "x");
    if count != 1 || path.ends_with('/') || !is_path(&plain) {
        let message = "write the beginning of a path of which one segment is `{tenant}`, such as \
                       \"/t/{tenant}\"";
        report.under("path", |report| report.value(InvalidValue, message));
        return;
    }
    let fits = |(one, other): (&String, &String)| one == TENANT || one == other;
    if !of_tenant.iter().zip(&segments(&route.path)).all(fits) {
        let message = format!(
            "no request fits both this and the route's `path`, {:?}: begin it with that",
            route.path
        );
        report.under("path", |report| report.value(Contradiction, message));
    }
}

fn check_header(tenant: &Tenant, report: &mut Report) {
    if let Some(header) = &tenant.header
        && header.parse::<http::HeaderName>().is_err()
    {
        let message = "it is not the name of a header: write one such as \"x-tenant\"";
        report.under("header", |report| report.value(InvalidValue, message));
    }
}
