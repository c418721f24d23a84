//! The tenant in the path.

use http::Uri;
use http::uri::PathAndQuery;

use super::{Refusal, RequestTenant, TenantKey};
use crate::{Error, Result};

const TENANT: &str = "{tenant}";

/// The beginning of a path, with one segment for the tenant.
#[derive(Debug)]
pub(super) struct PathPattern {
    /// The segments before and after it.
    before: Vec<String>,
    after: Vec<String>,
    strip: bool,
}

impl PathPattern {
    pub(super) fn new(pattern: &str, strip: bool) -> Result<PathPattern> {
        let wrong = || {
            Error::new(format_args!(
                "the tenant's path `{pattern}` is not the beginning of a path with one segment \
                 `{TENANT}`: write `/t/{TENANT}`, without characters that a URL encodes"
            ))
        };
        let is_segment = |segment: &&str| {
            let is_allowed = |c: u8| c.is_ascii_alphanumeric() || b"-_.~".contains(&c);
            let is_dots = matches!(*segment, "." | "..");
            !segment.is_empty() && !is_dots && segment.bytes().all(is_allowed)
        };
        let segments = pattern.strip_prefix('/').ok_or_else(wrong)?;
        let segments: Vec<&str> = segments.split('/').collect();
        let tenant = segments.iter().position(|segment| *segment == TENANT);
        let (before, after) = segments.split_at(tenant.ok_or_else(wrong)?);
        let after = &after[1..];
        if !before.iter().chain(after).all(is_segment) {
            return Err(wrong());
        }
        let owned = |segments: &[&str]| segments.iter().map(|it| (*it).to_owned()).collect();
        Ok(PathPattern {
            before: owned(before),
            after: owned(after),
            strip,
        })
    }

    pub(super) fn tenant(&self, uri: &Uri) -> Result<RequestTenant, Refusal> {
        let (key, rest) = self.matched(uri.path()).ok_or(Refusal::NoTenant)?;
        let path = match self.strip {
            true => Some(stripped(rest, uri.query())?),
            false => None,
        };
        Ok(RequestTenant { key, path })
    }

    /// The key, and what follows the pattern.
    fn matched<'a>(&self, path: &'a str) -> Option<(TenantKey, &'a str)> {
        let rest = after_segments(path, &self.before)?;
        let (segment, rest) = first_segment(rest)?;
        let key = TenantKey::new(segment).ok()?;
        Some((key, after_segments(rest, &self.after)?))
    }
}

/// What follows these segments.
fn after_segments<'a>(path: &'a str, segments: &[String]) -> Option<&'a str> {
    segments.iter().try_fold(path, |path, expected| {
        let (segment, rest) = first_segment(path)?;
        (segment == expected).then_some(rest)
    })
}

/// The first segment, and what follows it, which is empty or begins with a slash.
fn first_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

/// The path of the guest. A second slash at its beginning would make it look like a URL without a
/// scheme.
fn stripped(rest: &str, query: Option<&str>) -> Result<PathAndQuery, Refusal> {
    let path = match rest {
        "" => "/",
        rest if rest.starts_with("//") => return Err(Refusal::NoTenant),
        rest => rest,
    };
    let path = match query {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    path.map_err(|_| Refusal::Malformed("the path is malformed"))
}
