//! Any bytes, in any place.

use http::header::{AUTHORIZATION, HOST};

use super::*;

/// The key of a resolver, if any, must be one, and be there in the request.
fn check(resolver: &TenantResolver, request: &Request<()>, is_there: impl Fn(&str) -> bool) {
    if let Ok(tenant) = resolver.resolve(request) {
        let key = tenant.key.as_str();
        assert!(
            !key.contains(['.', '/', '\\', '%', '\0']) && key.is_ascii(),
            "{key:?}"
        );
        assert_eq!(key, key.to_ascii_lowercase());
        assert!((1..=64).contains(&key.len()) && is_there(key), "{key:?}");
    }
}

#[test]
fn a_tenant_is_what_the_client_wrote() {
    let resolvers = (host(), path(true), header(), super::token::hs256());
    bolero::check!()
        .with_type::<(Vec<u8>, Vec<u8>, u8)>()
        .for_each(|(value, more, choice)| {
            let text = String::from_utf8_lossy(value);
            // Often almost right.
            let (name, target) = match choice % 4 {
                0 => (format!("{text}.example.com"), format!("/t/{text}")),
                1 => (text.to_string(), text.to_string()),
                2 => (format!("acme{text}.example.com"), format!("/t/acme{text}")),
                _ => (format!("acme.example.com{text}"), format!("/t{text}/acme")),
            };
            let token = format!("Bearer {text}.{}", String::from_utf8_lossy(more));
            let headers: &[(HeaderName, &[u8])] = &[
                (HOST, name.as_bytes()),
                (x_tenant(), value),
                (AUTHORIZATION, token.as_bytes()),
            ];
            for header in headers {
                let Some(request) = request(b"/", std::slice::from_ref(header)) else {
                    continue;
                };
                let first = |key: &str| {
                    let label = name.split('.').next().unwrap_or_default();
                    label.eq_ignore_ascii_case(key)
                };
                check(&resolvers.0, &request, first);
                check(&resolvers.2, &request, |key| key.as_bytes() == &value[..]);
                // No token is valid.
                check(&resolvers.3, &request, |_| false);
            }
            if let Some(request) = request(target.as_bytes(), &[]) {
                let is_segment = |key: &str| target.split(['/', '?', '#']).any(|part| part == key);
                check(&resolvers.1, &request, is_segment);
            }
        });
}
