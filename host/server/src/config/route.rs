//! Settings of a route: `[[routes]]`.

use std::path::PathBuf;

use crate::config::macros::{choices, settings};

settings! {
    /// Which component handles which requests. The most specific route that fits is used, whatever
    /// their order: an exact host comes before a `*.` host, a longer `*.` host before a shorter
    /// one, and each before a route without a host; among those, the longest path. A request that
    /// no route fits gets the status 404. Without routes, the only component handles all requests.
    Route {
        /// The host that the client names, without a port: exact, or `*.example.com` for all hosts
        /// that end in `.example.com`. Case-insensitive.
        host: Option<String>, unset "any host", example "notes.example.com";

        /// The beginning of the path: `/api` fits `/api` and `/api/notes`, but not `/apis`. The
        /// component gets the whole path. The server decodes and normalises nothing: `/%61pi`,
        /// `//api` and `/API` do not fit `/api`.
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
    /// Where the name of a request's tenant comes from. A name has 1 to 64 lower-case letters,
    /// digits, `-` and `_`, and begins with a letter or digit.
    Tenant {
        /// What has the name.
        from: Option<TenantFrom>, required "host-label";

        /// A host without a port, of which the label `*` is the tenant, such as `*.example.com`.
        /// Only from `host-label`.
        host: Option<String>, unset "the route's `host`, which must then have a `*`",
            example "*.example.com";

        /// The beginning of a path, of which the segment `{tenant}` is the tenant, such as
        /// `/t/{tenant}`. Only from `path-segment`.
        path: Option<String>, unset "required from `path-segment`", example "/t/{tenant}";

        /// Whether the component sees only what follows this beginning, `/` if nothing does. Only
        /// from `path-segment`.
        strip: bool, default false;

        /// The header with the name. A request must have it once. Only from `header`.
        header: Option<String>, unset "required from `header`", example "x-tenant";

        /// The claim with the name. Only from `claim`.
        claim: Option<String>, unset "required from `claim`", example "tenant";

        /// How tokens are signed. A token that names another algorithm is refused. Only from
        /// `claim`.
        algorithm: Option<TokenAlgorithm>, unset "required from `claim`", example "RS256";

        /// Files with what verifies signatures; one that fits is enough, so that keys can be
        /// replaced. For `HS256` a secret of at least 32 bytes, without the line's end; otherwise a
        /// public key in PEM. Only from `claim`.
        keys: Vec<PathBuf>, unset "required from `claim`", example r#"["issuer.pem"]"#;

        /// The issuer (`iss`) that a token must name. Only from `claim`.
        issuer: Option<String>, unset "any", example "https://login.example.com";

        /// The audience (`aud`) that a token must name. Only from `claim`.
        audience: Option<String>, unset "a token with an audience is refused", example "notes";
    }
}

/// What has the name of a request's tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantFrom {
    /// A label of the host.
    HostLabel,
    /// A segment of the path.
    PathSegment,
    /// A header, which a proxy sets.
    Header,
    /// A claim of a verified token.
    Claim,
}

choices!(TenantFrom {
    TenantFrom::HostLabel = "host-label", "a label of the host";
    TenantFrom::PathSegment = "path-segment", "a segment of the path";
    TenantFrom::Header = "header",
        "a header, which a proxy in front of the server must set, and remove from clients' requests";
    TenantFrom::Claim = "claim",
        "a claim of the JSON Web Token in the header `authorization`, whose signature is verified";
});

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256 and a secret that the issuer and this server share.
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256,
    /// ECDSA with the curve P-256 and SHA-256.
    Es256,
    /// EdDSA with the curve Ed25519.
    EdDsa,
}

choices!(TokenAlgorithm {
    TokenAlgorithm::Hs256 = "HS256", "HMAC with SHA-256 and a shared secret";
    TokenAlgorithm::Rs256 = "RS256", "RSA (PKCS #1 v1.5) with SHA-256";
    TokenAlgorithm::Es256 = "ES256", "ECDSA with the curve P-256 and SHA-256";
    TokenAlgorithm::EdDsa = "EdDSA", "EdDSA with the curve Ed25519";
});
