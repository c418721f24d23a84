//! Addresses to listen on.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// An address to listen on: an IP address or a name, and a port, such as `127.0.0.1:8080`,
/// `localhost:8080`, or `:8080` for all addresses of this machine. Port 0 chooses a free port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// [`Address`] as a regular expression, roughly.
pub(crate) const PATTERN: &str = r"^([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$";

impl Address {
    /// The IP address or name, without the brackets of an IPv6 address; empty for all addresses.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port; 0 for any that is free.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses to try, IPv4 first, because most programs expect that of `localhost`. Blocks
    /// while it looks up a name.
    ///
    /// # Errors
    ///
    /// The name is not known.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if self.host.is_empty() {
            // The first accepts IPv4 too, unless the system has no IPv6.
            let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
            return Ok(any.map(|ip| SocketAddr::new(ip, self.port)).to_vec());
        }
        let mut addresses: Vec<_> = (self.host(), self.port).to_socket_addrs()?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        Ok(addresses)
    }

    /// Whether only programs on this machine can connect to it.
    pub fn is_loopback(&self) -> bool {
        match self.host().parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Whether both cannot be listened on at the same time, as far as their texts show.
    pub(crate) fn conflicts(&self, other: &Address) -> bool {
        let host = |address: &Address| match address.host() {
            name if name.eq_ignore_ascii_case("localhost") => "127.0.0.1".to_owned(),
            name => name.to_ascii_lowercase(),
        };
        let is_any = |host: &str| match host.parse::<IpAddr>() {
            Ok(address) => address.is_unspecified(),
            Err(_) => host.is_empty(),
        };
        let (one, two) = (host(self), host(other));
        self.port == other.port && self.port != 0 && (one == two || is_any(&one) || is_any(&two))
    }
}

impl FromStr for Address {
    type Err = String;

    /// # Errors
    ///
    /// What to write.
    fn from_str(text: &str) -> Result<Address, String> {
        const EXAMPLE: &str = "write an address and a port, such as \"127.0.0.1:8080\", \"localhost:8080\" or \":8080\"";
        let (host, port) = text.rsplit_once(':').ok_or(EXAMPLE)?;
        let is_ip_v6 = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match port.parse() {
            Ok(port) if is_ip_v6 || host.chars().all(is_name) => Ok(Address {
                host: host.to_owned(),
                port,
            }),
            _ => Err(EXAMPLE.to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for good in [
            "127.0.0.1:0",
            "localhost:8080",
            ":8080",
            "[::1]:80",
            "a-b.c:1",
        ] {
            let address: Address = good.parse().expect(good);
            assert_eq!(address.to_string(), good);
        }
        for wrong in [
            "",
            "8080",
            "::1",
            "[::1]",
            "a:",
            "a:b",
            "a:65536",
            "http://a:1",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_that_need_the_same_port_conflict() {
        let conflict = |one: &str, two: &str| {
            let [one, two]: [Address; 2] = [one, two].map(|text| text.parse().expect("good"));
            one.conflicts(&two)
        };
        assert!(conflict("localhost:1", "127.0.0.1:1"));
        assert!(conflict(":1", "127.0.0.1:1"));
        assert!(conflict("[::]:1", "[::1]:1"));
        assert!(!conflict("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!conflict("127.0.0.1:1", "127.0.0.2:1"));
    }
}
