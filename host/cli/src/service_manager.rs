//! Talks to the service manager that started the server: systemd, or another with the same protocol
//! (<https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>).

use std::sync::Arc;
use std::time::Duration;

use millpond_server::{EpochProgress, Log, Serving};

/// How long the manager is not told that the server is ready because a database is not. Connections
/// are accepted meanwhile. Later than that, a database that is away must not make the start fail.
const DATABASE_PATIENCE: Duration = Duration::from_secs(10);

/// How many characters of a status are sent: a message is one datagram.
#[cfg(unix)]
const MAX_STATUS: usize = 500;

/// The service manager, if there is one. Without one, or if it is gone, messages are dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceManager {
    is_there: bool,
}

#[cfg(unix)]
mod unix {
    use std::env;
    use std::ffi::OsStr;
    use std::fmt::Write;
    use std::io;
    use std::net::TcpListener;
    use std::os::unix::net::UnixDatagram;

    use listenfd::ListenFd;
    use millpond_server::Event;
    use millpond_server::printable::one_line;
    use sd_notify::NotifyState;

    use super::{Arc, EpochProgress, Log, MAX_STATUS, ServiceManager};
    use crate::failure::Failure;

    const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

    /// Send the manager one message.
    fn notify(states: &[NotifyState<'_>]) -> io::Result<()> {
        let mut message = String::new();
        for state in states {
            // Writing to a text cannot fail.
            let _ = writeln!(message, "{state}");
        }
        let address = env::var_os(NOTIFY_SOCKET).unwrap_or_default();
        let socket = UnixDatagram::unbound()?;
        connect(&socket, &address)?;
        socket.send(message.as_bytes()).map(drop)
    }

    /// Connect to a path, or on Linux to a name that begins with `@`, which is in no file system.
    fn connect(socket: &UnixDatagram, address: &OsStr) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            use std::os::unix::ffi::OsStrExt;
            use std::os::unix::net::SocketAddr;
            if let Some(name) = address.as_bytes().strip_prefix(b"@") {
                return socket.connect_addr(&SocketAddr::from_abstract_name(name)?);
            }
        }
        socket.connect(address)
    }

    impl ServiceManager {
        pub(crate) fn of_this_process() -> ServiceManager {
            ServiceManager {
                is_there: env::var_os(NOTIFY_SOCKET).is_some_and(|path| !path.is_empty()),
            }
        }

        fn tell(self, states: &[NotifyState<'_>], status: &str) {
            if self.is_there {
                let status: String = one_line(status).chars().take(MAX_STATUS).collect();
                let states = [states, &[NotifyState::Status(&status)]].concat();
                let _ = notify(&states);
            }
        }

        /// The server is ready: after its start, and after each reload, also one that failed.
        pub(crate) fn ready(self, status: &str) {
            self.tell(&[NotifyState::Ready], status);
        }

        /// A reload begins. Call [`ready`](ServiceManager::ready) when it has ended.
        pub(crate) fn reloading(self) {
            // Without the time, the manager cannot tell which reload this is.
            if let Ok(now) = NotifyState::monotonic_usec_now() {
                self.tell(&[NotifyState::Reloading, now], "Reloading");
            }
        }

        /// The server shuts down.
        pub(crate) fn stopping(self, status: &str) {
            self.tell(&[NotifyState::Stopping], status);
        }

        /// What the server does, while it is not ready.
        pub(crate) fn status(self, status: &str) {
            self.tell(&[], status);
        }

        /// If the service manager has a watchdog, notify it from now on, twice in its timeout,
        /// while the server can answer requests and end them. Must be called within the server's
        /// runtime.
        pub(crate) fn start_watchdog(self, log: Arc<dyn Log>, mut epochs: EpochProgress) {
            let Some(timeout) = sd_notify::watchdog_enabled().filter(|_| self.is_there) else {
                return;
            };
            tokio::spawn(async move {
                loop {
                    // This continues only if the runtime runs tasks and timers. The next step
                    // completes only if threads start and the log, to which each request writes,
                    // does not block.
                    tokio::time::sleep(timeout / 2).await;
                    let flushed = Arc::clone(&log);
                    let flushed = tokio::task::spawn_blocking(move || flushed.flush()).await;
                    if flushed.is_err() {
                        continue;
                    }
                    if epochs.has_advanced() {
                        let _ = notify(&[NotifyState::Watchdog]);
                    } else {
                        let message = "the watchdog is not notified: nothing interrupts guests";
                        log.event(&Event::Warning { message });
                    }
                }
            });
        }
    }

    /// The sockets that the service manager passes, each with its name. Without names, each is
    /// `http`. Must be called before the process opens a file or socket.
    ///
    /// # Errors
    ///
    /// One of them is not a TCP socket.
    pub(crate) fn passed_sockets() -> Result<Vec<(String, TcpListener)>, Failure> {
        let names = env::var("LISTEN_FDNAMES").ok();
        let mut passed = ListenFd::from_env();
        let mut names = names.as_deref().map(|names| names.split(':'));
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names.as_mut().map(|names| names.next().unwrap_or(""));
            let name = name.unwrap_or("http").to_owned();
            let socket = passed.take_tcp_listener(index).map_err(|error| {
                Failure::mistake(format_args!(
                    "the socket `{name}` that was passed cannot be used: {error}"
                ))
            })?;
            sockets.extend(socket.map(|socket| (name, socket)));
        }
        Ok(sockets)
    }
}

#[cfg(unix)]
pub(crate) use unix::passed_sockets;

#[cfg(not(unix))]
mod none {
    use super::{Arc, EpochProgress, Log, ServiceManager};
    use crate::failure::Failure;

    impl ServiceManager {
        pub(crate) fn of_this_process() -> ServiceManager {
            ServiceManager { is_there: false }
        }

        pub(crate) fn ready(self, _: &str) {}

        pub(crate) fn reloading(self) {}

        pub(crate) fn stopping(self, _: &str) {}

        pub(crate) fn status(self, _: &str) {}

        pub(crate) fn start_watchdog(self, _: Arc<dyn Log>, _: EpochProgress) {}
    }

    pub(crate) fn passed_sockets() -> Result<Vec<(String, std::net::TcpListener)>, Failure> {
        Ok(Vec::new())
    }
}

#[cfg(not(unix))]
pub(crate) use none::passed_sockets;

impl ServiceManager {
    /// Whether there is one.
    pub(crate) fn is_there(self) -> bool {
        self.is_there
    }

    /// Completes once the server has had [`DATABASE_PATIENCE`] to become ready. Returns a status
    /// that names the databases that are not.
    pub(crate) fn late(
        self,
        serving: &Serving,
        serves: &str,
    ) -> impl Future<Output = String> + 'static {
        let (unready, serves) = (serving.unready(), serves.to_owned());
        async move {
            tokio::time::sleep(DATABASE_PATIENCE).await;
            match unready.await.join(", ") {
                names if names.is_empty() => serves,
                names => format!("{serves}. Databases that are not ready: {names}"),
            }
        }
    }
}
