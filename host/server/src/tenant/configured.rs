//! What a route of the configuration says of its tenants.

use super::{Algorithm, TenantSource};
use crate::config::{Route, TenantFrom, TokenAlgorithm};
use crate::{Error, Result};

impl TenantSource {
    /// Where the tenants of a route's requests are named; `None` if they have none.
    ///
    /// # Errors
    ///
    /// A setting is missing, which [`Config::check`](crate::config::Config::check) reports too.
    pub fn of_route(route: &Route) -> Result<Option<TenantSource>> {
        let Some(tenant) = &route.tenant else {
            return Ok(None);
        };
        let missing = |key| Error::new(format_args!("the route's `tenant` needs `{key}`"));
        let needed = |text: &Option<String>, key| text.clone().ok_or_else(|| missing(key));
        Ok(Some(match tenant.from.ok_or_else(|| missing("from"))? {
            TenantFrom::HostLabel => TenantSource::HostLabel {
                host: needed(&tenant.host.clone().or_else(|| route.host.clone()), "host")?,
            },
            TenantFrom::PathSegment => TenantSource::PathSegment {
                path: needed(&tenant.path, "path")?,
                strip: tenant.strip,
            },
            TenantFrom::Header => TenantSource::Header {
                header: needed(&tenant.header, "header")?,
            },
            TenantFrom::Claim => TenantSource::Claim {
                claim: needed(&tenant.claim, "claim")?,
                algorithm: match tenant.algorithm.ok_or_else(|| missing("algorithm"))? {
                    TokenAlgorithm::Hs256 => Algorithm::Hs256,
                    TokenAlgorithm::Rs256 => Algorithm::Rs256,
                    TokenAlgorithm::Es256 => Algorithm::Es256,
                    TokenAlgorithm::EdDsa => Algorithm::EdDsa,
                },
                keys: tenant.keys.clone(),
                issuer: tenant.issuer.clone(),
                audience: tenant.audience.clone(),
            },
        }))
    }
}
