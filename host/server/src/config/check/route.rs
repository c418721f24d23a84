//! Routes: each to a component that exists, no two alike, with a tenant where one is needed.

use crate::config::check::tenant;
use crate::config::problem::ProblemKind::{
    Contradiction, Duplicate, InvalidValue, MissingKey, UnknownName,
};
use crate::config::report::{Report, did_you_mean};
use crate::config::{Component, Config, Name, Route};

pub(super) fn check(config: &Config, report: &mut Report) {
    if config.routes.is_empty() {
        check_no_routes(config, report);
    }
    for (index, route) in config.routes.iter().enumerate() {
        let earlier = &config.routes[..index];
        report.under("routes", |report| {
            report.under(index, |report| {
                check_route(route, report);
                if let Some(other) = earlier.iter().position(|other| is_same(route, other)) {
                    let message = format!(
                        "`routes[{other}]` has the same host and path: change one, or leave one out"
                    );
                    report.key(Duplicate, message);
                }
                check_component(route, config, report);
            });
        });
    }
}

fn check_no_routes(config: &Config, report: &mut Report) {
    if config.components.len() > 1 {
        let message = "there are several components: write [[routes]], which say which of them \
                       handles which requests";
        report.under("components", |report| report.key(MissingKey, message));
    }
    if let Some((name, grant)) = config
        .components
        .values()
        .find_map(|it| per_tenant(it, config))
    {
        let message = format!(
            "the grant `{name}` is of the database `{grant}`, which is one for each tenant: write \
             [[routes]] with `tenant`"
        );
        report.under("components", |report| report.key(MissingKey, message));
    }
}

/// The first grant of a database of which there is one for each tenant.
fn per_tenant<'a>(component: &'a Component, config: &Config) -> Option<(&'a Name, &'a str)> {
    let mut grants = component.grants.iter();
    grants.find_map(|(name, grant)| {
        let database = config.databases.get(grant.database.as_str())?;
        let found = (name, grant.database.as_str());
        database.is_per_tenant().then_some(found)
    })
}

fn check_component(route: &Route, config: &Config, report: &mut Report) {
    let Some(component) = config.components.get(route.component.as_str()) else {
        let names = config.components.keys().map(Name::as_str);
        let suggestion = did_you_mean(&route.component, names);
        let message = format!("there is no component of this name in `components`{suggestion}");
        report.under("component", |report| report.value(UnknownName, message));
        return;
    };
    if let (None, Some((name, database))) = (&route.tenant, per_tenant(component, config)) {
        let message = format!(
            "its grant `{name}` is of the database `{database}`, which is one for each tenant: write \
             `tenant = {{ from = … }}` for this route"
        );
        report.under("component", |report| report.value(Contradiction, message));
    }
}

/// Whether both fit the same requests.
fn is_same(one: &Route, two: &Route) -> bool {
    let host = |route: &Route| route.host.as_deref().map(str::to_ascii_lowercase);
    let path = |route: &Route| route.path.trim_end_matches('/').to_owned();
    host(one) == host(two) && path(one) == path(two)
}

fn check_route(route: &Route, report: &mut Report) {
    if let Some(host) = &route.host
        && !is_host(host)
    {
        let message = "write a host without a scheme, port or path, such as \"notes.example.com\", \
                       or \"*.example.com\" for all hosts below it";
        report.under("host", |report| report.value(InvalidValue, message));
    }
    if !is_path(&route.path) {
        let message = "write the beginning of a path, such as \"/api\", without `.` and `..`, `//`, \
                       a query, and characters that a URL encodes";
        report.under("path", |report| report.value(InvalidValue, message));
    }
    if let Some(tenant) = &route.tenant {
        report.under("tenant", |report| tenant::check(tenant, route, report));
    }
}

pub(super) fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(is_allowed)
    };
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_ip_v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    is_ip_v6 || (name.len() <= 253 && name.split('.').all(is_label))
}

pub(super) fn is_path(path: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_graphic() && !"?#%\\\"<>^`{|}".contains(c);
    let is_segment = |segment: &str| !matches!(segment, "." | "..");
    path.starts_with('/')
        && !path.contains("//")
        && path.chars().all(is_allowed)
        && path.split('/').all(is_segment)
}
