//! The tenant in a header that a proxy sets.

use http::{HeaderMap, HeaderName};

use super::{Refusal, TenantKey};
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct HeaderSource(HeaderName);

impl HeaderSource {
    pub(super) fn new(name: &str) -> Result<HeaderSource> {
        let name = name.parse().map_err(|_| {
            Error::new(format_args!(
                "the tenant's header `{name}` is not the name of a header: write one such as `x-tenant`"
            ))
        });
        name.map(HeaderSource)
    }

    pub(super) fn key(&self, headers: &HeaderMap) -> Result<TenantKey, Refusal> {
        let mut values = headers.get_all(&self.0).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Err(Refusal::Malformed("the tenant's header is missing")),
            (Some(_), Some(_)) => {
                return Err(Refusal::Malformed(
                    "the tenant's header is there several times",
                ));
            }
            (Some(value), None) => value.to_str(),
        };
        let value = value.map_err(|_| Refusal::Malformed("the tenant's header is not ASCII"))?;
        TenantKey::new(value).map_err(|_| Refusal::NoTenant)
    }
}
