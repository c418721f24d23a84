//! Which tenant a request is for.
//!
//! [`TenantSource`] is what the operator configures: the host, the path, a header, or a claim of a
//! verified token. [`open`](TenantSource::open) checks it and reads its keys, and
//! [`TenantResolver::resolve`] finds the [`TenantKey`] of a request, or says why there is none, as
//! a [`Refusal`] with a status.
//!
//! What a client sends is hostile. Nothing is decoded or normalised: a key must be there in its
//! exact bytes. The only exception are host names, which are case-insensitive. Percent-encoding,
//! dots, control characters and all that is not ASCII are no part of a key, so that no two
//! spellings name one tenant, and a proxy that decodes or normalises differently sees no other
//! tenant than this does.
//!
//! # Statuses
//!
//! Status | When
//! --- | ---
//! 400 | The request is malformed or ambiguous: no host or several, two different hosts, userinfo
//! or a bad port in the host, several headers where one belongs, bytes that are not ASCII. 401 |
//! There is no bearer token, or it is not valid, or its claim is not a key. 404 | The host or path
//! does not fit the pattern, or what is in the tenant's place is not a key. The same as for a key
//! without a database, so that a client learns nothing from the difference.
//!
//! [`status_of`] is for what follows, opening the tenant's database: 404 if there is none, 503 if
//! it is suspended or too busy.

mod configured;
mod header;
mod host;
mod path;
mod refusal;
mod signature;
#[cfg(test)]
mod tests;
mod token;

use std::path::PathBuf;

use http::Request;
use http::uri::PathAndQuery;
use serde::Deserialize;

pub use self::refusal::{Refusal, status_of};
pub use self::token::Algorithm;
pub use millpond_sqlite::TenantKey;

use self::header::HeaderSource;
use self::host::HostPattern;
use self::path::PathPattern;
use self::token::TokenSource;
use crate::Result;

/// Where the tenant of a request is named: a route's `tenant` in the configuration.
/// [`of_route`](TenantSource::of_route) converts that; this reads the same by itself:
///
/// ```toml
/// tenant = { from = "host-label", host = "*.example.com" }
/// tenant = { from = "path-segment", path = "/t/{tenant}", strip = true }
/// tenant = { from = "header", header = "x-tenant" }
/// tenant = { from = "claim", claim = "tenant", algorithm = "RS256", keys = ["issuer.pem"] }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TenantSource {
    /// A label of the host that the client asks for. Upper-case letters are lowered.
    ///
    /// Refused: a label with `--` in third place, such as `xn--…`, which a browser may show as
    /// other letters; a host with a trailing dot; more labels or fewer than in the pattern.
    HostLabel {
        /// A host without a port; the label `*` is the tenant, as in `*.example.com`.
        host: String,
    },
    /// A segment of the path. Upper-case letters are refused.
    PathSegment {
        /// The beginning of the path; the segment `{tenant}` is the tenant, as in `/t/{tenant}`.
        path: String,
        /// Whether the guest sees only what follows this beginning, `/` if nothing does. Otherwise
        /// it sees the whole path. Defaults to false.
        #[serde(default)]
        strip: bool,
    },
    /// A header. Anyone who can reach the server can set it: only safe behind a proxy that sets it,
    /// and removes it from clients' requests.
    Header {
        /// The header's name. A request must have it once.
        header: String,
    },
    /// A claim of a JSON Web Token, sent as `authorization: Bearer TOKEN`, whose signature, `exp`
    /// and `nbf` are checked, with 60 seconds for clocks that differ. A token without `exp` is
    /// refused, as is one with `crit`.
    Claim {
        /// The claim, a text.
        claim: String,
        /// How tokens are signed. A token that names another algorithm is refused.
        algorithm: Algorithm,
        /// Files with what verifies signatures; one that fits is enough, so that keys can be
        /// replaced. For HS256 a secret of 32 bytes or more, without the line's end; otherwise a
        /// public key in PEM. They are read once.
        keys: Vec<PathBuf>,
        /// The issuer (`iss`) that a token must name. Defaults to any.
        #[serde(default)]
        issuer: Option<String>,
        /// The audience (`aud`) that a token must name. If it is not set, a token that is meant for
        /// a particular audience is refused.
        #[serde(default)]
        audience: Option<String>,
    },
}

/// A [`TenantSource`] that is ready.
#[derive(Debug)]
pub struct TenantResolver(Source);

#[derive(Debug)]
enum Source {
    Host(HostPattern),
    Path(PathPattern),
    Header(HeaderSource),
    Token(Box<TokenSource>),
}

/// The tenant of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTenant {
    /// Its key.
    pub key: TenantKey,
    /// The path that the guest is to see, if not the request's own.
    pub path: Option<PathAndQuery>,
}

impl TenantSource {
    /// Check the settings, and read the keys. Blocks while reading.
    ///
    /// # Errors
    ///
    /// A pattern, a header's name or a key is not valid, or a file cannot be read. The message says
    /// what to do.
    pub fn open(&self) -> Result<TenantResolver> {
        Ok(TenantResolver(match self {
            TenantSource::HostLabel { host } => Source::Host(HostPattern::new(host)?),
            TenantSource::PathSegment { path, strip } => {
                Source::Path(PathPattern::new(path, *strip)?)
            }
            TenantSource::Header { header } => Source::Header(HeaderSource::new(header)?),
            TenantSource::Claim {
                claim,
                algorithm,
                keys,
                issuer,
                audience,
            } => {
                let issuer = issuer.as_deref();
                let token = TokenSource::new(claim, *algorithm, keys, issuer, audience.as_deref());
                Source::Token(Box::new(token?))
            }
        }))
    }
}

impl TenantResolver {
    /// The tenant of a request. Opens nothing, and does not block: whether the tenant has a
    /// database is not known yet. Verifying a token takes some 100 microseconds.
    ///
    /// # Errors
    ///
    /// Why there is none, with the status of the response.
    pub fn resolve<B>(&self, request: &Request<B>) -> Result<RequestTenant, Refusal> {
        let key = match &self.0 {
            Source::Host(pattern) => pattern.key(request)?,
            Source::Path(pattern) => return pattern.tenant(request.uri()),
            Source::Header(header) => header.key(request.headers())?,
            Source::Token(token) => token.key(request.headers())?,
        };
        Ok(RequestTenant { key, path: None })
    }
}
