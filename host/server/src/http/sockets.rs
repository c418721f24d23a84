//! The sockets of a server: its own, and those that a service manager opens for it.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::config::{self, Address, Config};
use crate::error::{Error, Result};

/// The names of sockets that a service manager passes.
const HTTP: &str = "http";
const ADMIN: &str = "admin";

/// The sockets of a server.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sockets {
    /// Of each of the configuration's listeners, in their order.
    pub listeners: Vec<TcpListener>,
    /// Of the admin server, if there is one.
    pub admin: Option<TcpListener>,
}

impl Sockets {
    /// Listen on the addresses of a configuration. Blocks while it looks up names.
    ///
    /// # Errors
    ///
    /// The system refuses an address: the message says which.
    pub fn bind(config: &Config) -> Result<Sockets> {
        Sockets::bind_with(config, Vec::new())
    }

    /// Like [`bind`](Sockets::bind), with sockets that another program, such as systemd, has
    /// opened. Each has a name: `http` if it is for a listener, `admin` if it is for the admin
    /// server. A socket is used for the configured address that equals its own. For each other
    /// configured address, this opens a socket.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Sockets::bind). A socket has another name or does not listen. No
    /// configured address equals a socket's: using it could let other machines connect against the
    /// configuration.
    pub fn bind_with(config: &Config, passed: Vec<(String, TcpListener)>) -> Result<Sockets> {
        let (mut http, mut admin) = (Vec::new(), Vec::new());
        for (name, socket) in passed {
            let of_name = match name.as_str() {
                HTTP => &mut http,
                ADMIN => &mut admin,
                _ => return Err(unknown_name(&name)),
            };
            of_name.push(Passed::new(name, socket)?);
        }
        let default = [config::Listener::default()];
        let listeners = match config.listeners.as_slice() {
            [] => &default,
            listeners => listeners,
        };
        // Those for any port last: they must not take a socket that another one names.
        let mut order: Vec<_> = listeners.iter().enumerate().collect();
        order.sort_by_key(|(_, listener)| listener.address.port() == 0);
        let mut sockets = BTreeMap::new();
        for (index, listener) in order {
            sockets.insert(index, Wanted::new(&listener.address, &mut http)?);
        }
        let address = config.admin.address.as_ref();
        let operator = address.map(|address| Wanted::new(address, &mut admin));
        let operator = operator.transpose()?;
        // Before opening any: an address that a contradicting socket has would be in use.
        if let Some(left) = http.pop().or_else(|| admin.pop()) {
            return Err(left.contradiction());
        }
        let listeners = sockets.into_values().map(Wanted::socket);
        Ok(Sockets {
            listeners: listeners.collect::<Result<_>>()?,
            admin: operator.map(Wanted::socket).transpose()?,
        })
    }
}

/// A socket that another program has opened.
struct Passed {
    name: String,
    address: SocketAddr,
    socket: TcpListener,
}

impl Passed {
    fn new(name: String, socket: TcpListener) -> Result<Passed> {
        let about = |error: io::Error| {
            Error::new(format_args!(
                "the socket `{name}` that was passed cannot be used: {error}"
            ))
        };
        let address = socket.local_addr().map_err(about)?;
        if !listens(&socket).map_err(about)? {
            return Err(Error::new(format_args!(
                "the socket `{name}` that was passed, {address}, does not listen: pass one that does \
                 (in systemd, `Accept=no`)"
            )));
        }
        Ok(Passed {
            name,
            address,
            socket,
        })
    }

    /// The error that no configured address is this socket's.
    fn contradiction(&self) -> Error {
        let key = match self.name.as_str() {
            ADMIN => "`address` in [admin]",
            _ => "the `address` of a listener",
        };
        Error::new(format_args!(
            "the socket `{}` that was passed has the address {}, which is not {key} in the \
             configuration: write it there, or do not pass the socket",
            self.name, self.address
        ))
    }
}

fn unknown_name(name: &str) -> Error {
    Error::new(format_args!(
        "a socket with the name `{name}` was passed: name it `{HTTP}` or `{ADMIN}` (in systemd, \
         `FileDescriptorName=`)"
    ))
}

#[cfg(unix)]
fn listens(socket: &TcpListener) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_acceptconn(socket)?)
}

#[cfg(not(unix))]
fn listens(_: &TcpListener) -> io::Result<bool> {
    Ok(true)
}

/// A configured address, and the socket that was passed for it, if there is one.
struct Wanted<'a> {
    address: &'a Address,
    resolved: Vec<SocketAddr>,
    passed: Option<TcpListener>,
}

impl<'a> Wanted<'a> {
    /// Takes the socket out of `passed`.
    fn new(address: &'a Address, passed: &mut Vec<Passed>) -> Result<Wanted<'a>> {
        let resolved = address.resolve();
        let resolved = resolved.map_err(|error| cannot_listen(address, &error))?;
        let is_meant = |passed: &Passed| resolved.iter().any(|it| is_at(*it, passed.address));
        let meant = passed.iter().position(is_meant);
        Ok(Wanted {
            address,
            resolved,
            passed: meant.map(|index| passed.swap_remove(index).socket),
        })
    }

    /// The socket that was passed, or a new one.
    fn socket(self) -> Result<TcpListener> {
        match self.passed {
            Some(socket) => Ok(socket),
            None => TcpListener::bind(&*self.resolved)
                .map_err(|error| cannot_listen(self.address, &error)),
        }
    }
}

fn cannot_listen(address: &Address, error: &io::Error) -> Error {
    // A port below 1024, for example.
    let is_forbidden = error.kind() == io::ErrorKind::PermissionDenied;
    Error::new(format_args!("cannot listen on {address}: {error}")).passing_if(!is_forbidden)
}

/// Whether a socket at `local` is what `wanted` means. Port 0 means any.
fn is_at(wanted: SocketAddr, local: SocketAddr) -> bool {
    wanted.ip() == local.ip() && (wanted.port() == 0 || wanted.port() == local.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("its address");
        (socket, address)
    }

    fn config(listeners: &[String], admin: Option<String>) -> Config {
        let mut config = Config::default();
        for address in listeners {
            config.listeners.push(config::Listener {
                address: address.parse().expect("an address"),
                ..config::Listener::default()
            });
        }
        config.admin.address = admin.map(|address| address.parse().expect("an address"));
        config
    }

    #[test]
    fn a_socket_is_used_for_its_address_and_others_are_opened() {
        let ((one, first), (two, second), (admin, third)) = (socket(), socket(), socket());
        let listeners = [second.to_string(), "127.0.0.1:0".into(), first.to_string()];
        let config = config(&listeners, Some(third.to_string()));
        let passed = [("http", one), ("admin", admin), ("http", two)];
        let passed = passed.map(|(name, socket)| (name.to_owned(), socket));
        let sockets = Sockets::bind_with(&config, passed.into()).expect("sockets");
        let addresses: Vec<_> = sockets
            .listeners
            .iter()
            .map(|socket| socket.local_addr().expect("its address"))
            .collect();
        assert_eq!((addresses[0], addresses[2]), (second, first));
        assert!(![first, second, third].contains(&addresses[1]));
        let admin = sockets.admin.expect("the operator's");
        assert_eq!(admin.local_addr().expect("its address"), third);
    }

    #[test]
    fn sockets_that_the_configuration_does_not_have_are_refused() {
        for (listener, admin, name) in [
            // Another address, another name, and no admin server.
            ("127.0.0.2:0", None, "http"),
            ("127.0.0.1:0", None, "millpond.socket"),
            ("127.0.0.1:0", None, "admin"),
            ("127.0.0.1:0", Some("127.0.0.2:0"), "admin"),
        ] {
            let config = config(&[listener.to_owned()], admin.map(str::to_owned));
            let passed = vec![(name.to_owned(), socket().0)];
            let refused = Sockets::bind_with(&config, passed).expect_err(name);
            assert!(refused.to_string().contains(&format!("`{name}`")));
        }
    }
}
