//! Settings of a route: `[[routes]]`.

use std::path::PathBuf;

use crate::config::macros::{choices, settings};

settings! {
    /// Which component handles which requests. The most specific route that fits is used, whatever
    /// their order: an exact host comes before a `*.` host, a longer `*.` host before a shorter one, and
    /// each before a route without a host; among those, the longest path. A request that no route
    /// fits gets the status 404. Without routes, the only component handles all requests.
    Route {
        /// The host that the client names, without a port: exact, or `*.example.com` for all hosts
        /// that end in `.example.com`. Case-insensitive.
        host: Option<String>, unset "any host", example "notes.example.com";

        /// The beginning of the path: `/api` fits `/api` and `/api/notes`, but not `/apis`. The
        /// component gets the whole path.
        path: String, default "/";

        /// The component, one of `[components]`.
        component: String, required "app";

        /// Where the name of a request's tenant comes from. A request without a tenant's name then
        /// gets the status 404, or 401 if it comes from a token.
        tenant: Option<Tenant>, unset "requests have no tenant",
            example r#"{ from = "header", header = "x-tenant" }"#;
    }
}

settings! {
    /// Where the name of a request's tenant comes from. A name has 1 to 64 lower-case letters, digits,
    /// `-` and `_`, and begins with a letter or digit.
    Tenant {
        /// What has the name.
        from: Option<TenantSource>, required "host-label";

        /// The header with the name. Only from `header`.
        header: Option<String>, unset "required from `header`", example "x-tenant";

        /// The claim with the name. Only from `claim`.
        claim: Option<String>, unset "required from `claim`", example "tenant";

        /// A file with the public keys that tokens are signed with, as a JSON Web Key Set. Only from
        /// `claim`.
        keys: Option<PathBuf>, unset "required from `claim`", example "keys.json";

        /// The issuer that a token must name. Only from `claim`.
        issuer: Option<String>, unset "any", example "https://login.example.com";

        /// The audience that a token must name. Only from `claim`.
        audience: Option<String>, unset "any", example "notes";
    }
}

/// What has the name of a request's tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantSource {
    /// The first label of the host.
    HostLabel,
    /// The first segment of the path after the route's.
    PathSegment,
    /// A header, which a proxy sets.
    Header,
    /// A claim of a verified token.
    Claim,
}

choices!(TenantSource {
    TenantSource::HostLabel = "host-label",
        "the label of the host that the `*` of the route's `host` stands for";
    TenantSource::PathSegment = "path-segment", "the first segment of the path after the route's";
    TenantSource::Header = "header",
        "a header, which a proxy in front of the server must set, and remove from clients' requests";
    TenantSource::Claim = "claim",
        "a claim of the JSON Web Token in the header `authorization`, whose signature is verified";
});
