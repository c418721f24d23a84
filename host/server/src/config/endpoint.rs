//! The URL of a service to which the server sends data.

use std::fmt;
use std::str::FromStr;

use crate::config::address::Address;

/// The URL of a service over plain HTTP, without a path: `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(Address);

/// [`Endpoint`] as a regular expression, roughly.
pub(crate) const PATTERN: &str = r"^http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}/?$";

impl Endpoint {
    /// The IP address or name, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The host and the port, as a URL has them.
    pub(crate) fn authority(&self) -> String {
        self.0.to_string()
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// # Errors
    ///
    /// The text is something else. The error says what to write.
    fn from_str(text: &str) -> Result<Endpoint, String> {
        const EXAMPLE: &str = "write a URL with a port and no path, such as \"http://127.0.0.1:4318\"; \
                               for TLS, let a collector on this machine forward to that one";
        let address = text.strip_prefix("http://").ok_or(EXAMPLE)?;
        let address = address.strip_suffix('/').unwrap_or(address);
        match address.parse::<Address>() {
            Ok(address) if !address.host().is_empty() && address.port() != 0 => {
                Ok(Endpoint(address))
            }
            _ => Err(EXAMPLE.to_owned()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        for good in ["http://127.0.0.1:4318", "http://a-b.c:1", "http://[::1]:80"] {
            let endpoint: Endpoint = good.parse().expect(good);
            assert_eq!(endpoint.to_string(), good);
        }
        for wrong in [
            "",
            "127.0.0.1:4318",
            "https://127.0.0.1:4318",
            "http://:4318",
            "http://a:0",
            "http://a",
            "http://a:1/v1/traces",
            "http://me@a:1",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
