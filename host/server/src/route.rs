//! Which component a request goes to.

use http::uri::Authority;

use crate::config::{self, Route};

/// The routes of a configuration, the most specific first.
#[derive(Debug)]
pub(crate) struct Router<T> {
    routes: Vec<(Host, String, T)>,
}

/// Which hosts a route is for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    /// This one.
    Exact(String),
    /// All that end so, with a dot before it. The longest first.
    Suffix(std::cmp::Reverse<usize>, String),
    Any,
}

impl Host {
    fn new(pattern: Option<&str>) -> Host {
        let Some(pattern) = pattern else {
            return Host::Any;
        };
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('*') {
            Some(suffix) => Host::Suffix(std::cmp::Reverse(suffix.len()), suffix.to_owned()),
            None => Host::Exact(pattern),
        }
    }

    /// Whether `host`, in lower case, is one of them.
    fn fits(&self, host: &str) -> bool {
        match self {
            Host::Exact(exact) => host == exact,
            Host::Suffix(_, suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Host::Any => true,
        }
    }
}

impl<T> Router<T> {
    /// Of each route, what its requests go to.
    pub(crate) fn new(routes: impl IntoIterator<Item = (config::Route, T)>) -> Router<T> {
        let routes = routes.into_iter();
        let mut routes: Vec<_> = routes
            .map(|(route, target)| (Host::new(route.host.as_deref()), route.path, target))
            .collect();
        // The longest path first, then, as the sort is stable, by host.
        routes.sort_by_key(|(_, path, _)| std::cmp::Reverse(path.len()));
        routes.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        Router { routes }
    }

    /// What a request for this authority and path goes to.
    pub(crate) fn find(&self, authority: Option<&Authority>, path: &str) -> Option<&T> {
        let host = authority.map(host);
        let host = host.as_deref().unwrap_or_default();
        let mut routes = self.routes.iter();
        let found = routes.find(|(pattern, prefix, _)| pattern.fits(host) && begins(path, prefix));
        found.map(|(.., target)| target)
    }
}

/// The host that a client names, in lower case, without a dot at its end.
pub(crate) fn host(authority: &Authority) -> String {
    let host = authority.host().to_ascii_lowercase();
    match host.strip_suffix('.') {
        Some(host) => host.to_owned(),
        None => host,
    }
}

/// Whether `path` is `prefix`, or is below it.
fn begins(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A route for each request, to the only component.
pub(crate) fn to_all(component: &str) -> Route {
    Route {
        component: component.to_owned(),
        ..Route::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(routes: &[(Option<&str>, &str)]) -> Router<String> {
        let routes = routes.iter().map(|(host, path)| {
            let mut route = to_all("x");
            route.host = host.map(str::to_owned);
            route.path = (*path).to_owned();
            (route, format!("{}{path}", host.unwrap_or_default()))
        });
        Router::new(routes)
    }

    #[test]
    fn the_most_specific_route_is_found() {
        let router = router(&[
            (None, "/"),
            (None, "/api"),
            (Some("*.example.com"), "/"),
            (Some("*.eu.example.com"), "/"),
            (Some("Notes.example.com"), "/"),
            (Some("notes.example.com"), "/api"),
        ]);
        for (host, path, expected) in [
            ("other", "/", "/"),
            ("other", "/apis", "/"),
            ("other:80", "/api", "/api"),
            ("other", "/api/x", "/api"),
            ("notes.example.com", "/x", "Notes.example.com/"),
            ("NOTES.example.com.:8080", "/api/", "notes.example.com/api"),
            ("a.example.com", "/api", "*.example.com/"),
            ("a.b.example.com", "/", "*.example.com/"),
            ("a.eu.example.com", "/", "*.eu.example.com/"),
            ("example.com", "/", "/"),
            (".example.com", "/", "/"),
            ("notexample.com", "/", "/"),
        ] {
            let authority = host.parse().expect("an authority");
            let found = router.find(Some(&authority), path);
            assert_eq!(found.map(String::as_str), Some(expected), "{host} {path}");
        }
    }

    #[test]
    fn a_request_may_fit_no_route() {
        let router = router(&[(Some("a"), "/x")]);
        assert!(
            router
                .find(Some(&Authority::from_static("a")), "/")
                .is_none()
        );
        assert!(
            router
                .find(Some(&Authority::from_static("b")), "/x")
                .is_none()
        );
        assert!(router.find(None, "/x").is_none());
    }
}
