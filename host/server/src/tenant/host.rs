//! The tenant in the host's name.

use http::Request;
use http::header::HOST;
use http::uri::Authority;

use super::{Refusal, TenantKey};
use crate::{Error, Result};

/// The longest label that could be a key; a longer one is not copied.
const MAX_LABEL: usize = 64;

/// A host with one label `*`.
#[derive(Debug)]
pub(super) struct HostPattern {
    /// The labels before and after it.
    before: Vec<String>,
    after: Vec<String>,
}

impl HostPattern {
    pub(super) fn new(pattern: &str) -> Result<HostPattern> {
        let wrong = || {
            Error::new(format_args!(
                "the tenant's host `{pattern}` is not a host with one label `*`: write \
                 `*.example.com`, without a port"
            ))
        };
        let is_label = |label: &&str| {
            let is_allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(is_allowed)
        };
        let labels: Vec<&str> = pattern.split('.').collect();
        let star = labels.iter().position(|label| *label == "*");
        let (before, after) = labels.split_at(star.ok_or_else(wrong)?);
        let after = &after[1..];
        if labels.len() == 1 || !before.iter().chain(after).all(is_label) {
            return Err(wrong());
        }
        let owned = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        Ok(HostPattern {
            before: owned(before),
            after: owned(after),
        })
    }

    pub(super) fn key<B>(&self, request: &Request<B>) -> Result<TenantKey, Refusal> {
        let authority = authority(request)?;
        let label = self.label(authority.host()).ok_or(Refusal::NoTenant)?;
        // Reserved: https://www.rfc-editor.org/rfc/rfc5890#section-2.3.1
        let is_reserved = label.as_bytes().get(2..4) == Some(b"--");
        if is_reserved || label.len() > MAX_LABEL {
            return Err(Refusal::NoTenant);
        }
        TenantKey::new(&label.to_ascii_lowercase()).map_err(|_| Refusal::NoTenant)
    }

    /// The label in the place of the `*`, if the others are those of the pattern.
    fn label<'a>(&self, host: &'a str) -> Option<&'a str> {
        let mut labels = host.split('.');
        let before = take_labels(&mut labels, &self.before);
        let label = labels.next()?;
        let after = take_labels(&mut labels, &self.after);
        (before && after && labels.next().is_none()).then_some(label)
    }
}

/// Whether the next labels are these.
fn take_labels<'a>(labels: &mut impl Iterator<Item = &'a str>, expected: &[String]) -> bool {
    expected.iter().all(|expected| {
        let label = labels.next();
        label.is_some_and(|label| label.eq_ignore_ascii_case(expected))
    })
}

/// The host and port that the client asks for: in the request's target, or else in the header. If
/// both are there, they must be the same, because a proxy may have gone by the other.
fn authority<B>(request: &Request<B>) -> Result<Authority, Refusal> {
    let mut headers = request.headers().get_all(HOST).iter();
    let header = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(host), None) => {
            let host = Authority::try_from(host.as_bytes());
            Some(host.map_err(|_| Refusal::Malformed("the header `host` is malformed"))?)
        }
        (Some(_), Some(_)) => return Err(Refusal::Malformed("there are several headers `host`")),
    };
    let authority = match (request.uri().authority(), header) {
        (None, None) => return Err(Refusal::Malformed("there is no host")),
        (None, Some(host)) => host,
        (Some(target), None) => target.clone(),
        // Compares without case.
        (Some(target), Some(host)) if *target == host => host,
        (Some(_), Some(_)) => return Err(Refusal::Malformed("the two hosts are not the same")),
    };
    let has_port = authority.as_str().len() > authority.host().len();
    if authority.as_str().contains('@') || (has_port && authority.port_u16().is_none()) {
        return Err(Refusal::Malformed(
            "the host has userinfo, or a port that is none",
        ));
    }
    Ok(authority)
}
