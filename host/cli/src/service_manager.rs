//! Talks to the program that started the server as a service: systemd, or another that does the same.

use std::sync::Arc;

use millpond_server::Log;

/// How many characters of a status are sent: a message is one datagram.
#[cfg(unix)]
const MAX_STATUS: usize = 500;

/// The service manager, if there is one. What is sent to none, or to one that is gone, is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceManager {
    is_there: bool,
}

#[cfg(unix)]
mod unix {
    use std::env;
    use std::net::TcpListener;

    use listenfd::ListenFd;
    use millpond_server::printable::one_line;
    use sd_notify::NotifyState;

    use super::{Arc, Log, MAX_STATUS, ServiceManager};
    use crate::failure::Failure;

    impl ServiceManager {
        pub(crate) fn of_this_process() -> ServiceManager {
            ServiceManager {
                is_there: env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty()),
            }
        }

        fn tell(self, states: &[NotifyState<'_>], status: &str) {
            if self.is_there {
                let status: String = one_line(status).chars().take(MAX_STATUS).collect();
                let states = [states, &[NotifyState::Status(&status)]].concat();
                let _ = sd_notify::notify(&states);
            }
        }

        /// The server does its work now: after its start, or after a reload, whatever became of it.
        pub(crate) fn ready(self, status: &str) {
            self.tell(&[NotifyState::Ready], status);
        }

        /// A reload begins. It ends with [`ready`](ServiceManager::ready).
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

        /// If the service manager wants to be told regularly that the server makes progress, do so from now
        /// on, and only if it does. Must be called within the server's runtime.
        pub(crate) fn start_watchdog(self, log: Arc<dyn Log>) {
            let Some(timeout) = sd_notify::watchdog_enabled().filter(|_| self.is_there) else {
                return;
            };
            tokio::spawn(async move {
                loop {
                    // The runtime runs tasks and timers, if this continues; threads for guests start, if the
                    // next does; and each request writes to the log.
                    tokio::time::sleep(timeout / 2).await;
                    let log = Arc::clone(&log);
                    if tokio::task::spawn_blocking(move || log.flush())
                        .await
                        .is_ok()
                    {
                        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                    }
                }
            });
        }
    }

    /// The sockets that the service manager passes, each with its name. Those without names are for HTTP.
    /// Must be called before the process opens anything.
    ///
    /// # Errors
    ///
    /// One is no TCP socket.
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
    use super::{Arc, Log, ServiceManager};
    use crate::failure::Failure;

    impl ServiceManager {
        pub(crate) fn of_this_process() -> ServiceManager {
            ServiceManager { is_there: false }
        }

        pub(crate) fn ready(self, _: &str) {}

        pub(crate) fn reloading(self) {}

        pub(crate) fn stopping(self, _: &str) {}

        pub(crate) fn status(self, _: &str) {}

        pub(crate) fn start_watchdog(self, _: Arc<dyn Log>) {}
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
}
