//! Where a server is: the URL that an operator gives, checked.

use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;
use millpond_pool::{Error, ErrorKind, Result};

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the header `host` has it.
    pub(crate) authority: String,
    /// What the paths of the protocol are appended to: empty, or a path without a slash at its end.
    pub(crate) path: String,
}

impl Target {
    /// Read a URL of `http:`, `https:` or `libsql:`, which is the same as `https:`.
    pub(crate) fn parse(url: &str, allow_plain_http: bool) -> Result<Target> {
        let config = |message: &str| Err(Error::new(ErrorKind::Config, message));
        let Ok(uri) = url.parse::<Uri>() else {
            // The text may have a token in it: it is not repeated.
            return config("the server's URL is not one: write it as in `https://db.example.com`");
        };
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if scheme.as_str().eq_ignore_ascii_case("libsql") => true,
            _ => {
                return config("the server's URL must begin with `https:`, `libsql:` or `http:`");
            }
        };
        let Some(authority) = uri.authority() else {
            return config("the server's URL names no host");
        };
        if authority.as_str().contains('@') {
            return config("the server's URL holds a password: give a token in a file instead");
        }
        if uri.query().is_some() {
            return config("the server's URL has a query: give the token in a file instead");
        }
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if bare.is_empty() {
            return config("the server's URL names no host");
        }
        if !tls && !allow_plain_http && !is_loopback(bare) {
            return config(
                "the server's URL is `http:`, which anyone on the network can read: use `https:`, \
                 or allow it with `allow_plain_http` (in the command, `--allow-plain-http`)",
            );
        }
        Ok(Target {
            tls,
            host: bare.to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The same server at another path, where a server says that a stream continues; `None` if that
    /// is another server, which must not get the token.
    pub(crate) fn redirected(&self, url: &str) -> Option<Target> {
        let other = Target::parse(url, true).ok()?;
        let same = other.tls == self.tls
            && other.port == self.port
            && other.host.eq_ignore_ascii_case(&self.host);
        same.then_some(other)
    }

    /// For the operator.
    pub(crate) fn name(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_they_are_meant() {
        let target = |url| Target::parse(url, false).expect("a server");
        let tls = target("libsql://db.example.com");
        assert_eq!((tls.tls, tls.port), (true, 443));
        assert_eq!(tls, target("https://db.example.com/"));
        let plain = target("http://127.0.0.1:8080/tenants/a/");
        assert_eq!((plain.port, plain.path.as_str()), (8080, "/tenants/a"));
        assert_eq!(target("http://[::1]:80").host, "::1");
        assert_eq!(target("http://localhost").name(), "http://localhost");
    }

    #[test]
    fn urls_that_would_tell_a_secret_are_refused_and_not_repeated() {
        for url in [
            "http://db.example.com",
            "http://10.0.0.1:8080",
            "http://127.0.0.1.example.com",
            "https://me:secret@db.example.com",
            "https://db.example.com?authToken=secret",
            "ftp://db.example.com",
            "secret",
            "https://",
            "",
        ] {
            let error = Target::parse(url, false).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(Target::parse("http://10.0.0.1:8080", true).is_ok());
    }

    #[test]
    fn a_redirect_elsewhere_is_none() {
        let target = Target::parse("https://db.example.com:443/a", false).expect("a server");
        let path = target
            .redirected("https://DB.example.com/b")
            .map(|target| target.path);
        assert_eq!(path.as_deref(), Some("/b"));
        for url in [
            "https://other.example.com/a",
            "http://db.example.com:443/a",
            "https://db.example.com:444/a",
            "/b",
        ] {
            assert_eq!(target.redirected(url), None, "{url}");
        }
    }
}
