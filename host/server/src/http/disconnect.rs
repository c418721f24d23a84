//! Detects clients that close their connection while their request is running.
//!
//! A client that closes its connection, and one that closes its sending half and waits, look the
//! same: there is nothing more to read. But a closed connection answers data with a reset. So a
//! long request whose client sends no more gets a few interim responses, which every HTTP/1.1
//! client must accept (RFC 9110, 15.2). An HTTP/1.0 client is assumed to wait.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millpond_wasmtime::Request;
use tokio::sync::{Notify, oneshot};

use crate::http::exchange::Client;

/// How often to check, and how long a request runs before the first check.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// When to probe a client that sends no more for the first time. Until then its request keeps its
/// place.
const PROBE_AFTER: Duration = Duration::from_millis(100);
/// By what factor the next probe is later. A client may wait at first, and close its connection
/// afterwards.
const PROBE_BACKOFF: u32 = 5;
/// The maximum number of probes. Go's client accepts five interim responses, one of which may
/// answer `expect`.
const MAX_PROBES: u32 = 4;
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The requests to watch, by number: the oldest first.
#[derive(Debug, Default)]
pub(super) struct DisconnectWatcher {
    requests: Mutex<BTreeMap<u64, Watched>>,
    /// Notified when the first begins to run.
    filled: Notify,
}

#[derive(Debug)]
struct Watched {
    since: Instant,
    client: Client,
    probes_left: u32,
    probe_after: Duration,
    request: Request,
    gone: Option<oneshot::Sender<()>>,
}

/// A watched request. Dropping this before the response means that its client is gone.
pub(super) struct WatchGuard<'a> {
    watcher: &'a DisconnectWatcher,
    number: u64,
}

impl DisconnectWatcher {
    /// The receiver gets a message if the client disconnects before the response.
    pub(super) fn watch(
        &self,
        number: u64,
        client: Client,
        may_be_probed: bool,
        request: Request,
    ) -> (WatchGuard<'_>, oneshot::Receiver<()>) {
        let (gone, is_gone) = oneshot::channel();
        let watched = Watched {
            since: Instant::now(),
            client,
            probes_left: if may_be_probed { MAX_PROBES } else { 0 },
            probe_after: PROBE_AFTER,
            request,
            gone: Some(gone),
        };
        let mut requests = self.requests();
        if requests.is_empty() {
            self.filled.notify_one();
        }
        requests.insert(number, watched);
        drop(requests);
        let guard = WatchGuard {
            watcher: self,
            number,
        };
        (guard, is_gone)
    }

    /// End every request whose client has disconnected. Never returns. Sleeps while no request
    /// runs, so that an idle server does not wake for this.
    pub(super) async fn look(&self) {
        loop {
            self.filled.notified().await;
            while !self.requests().is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
                self.look_once();
            }
        }
    }

    fn look_once(&self) {
        let mut requests = self.requests();
        for watched in requests.values_mut() {
            let age = watched.since.elapsed();
            if age <= LOOK_EVERY {
                break;
            }
            if is_reset(&watched.client.socket) {
                watched.disconnected();
            } else if age > watched.probe_after
                && watched.probes_left > 0
                && watched.sends_no_more()
            {
                watched.probes_left -= 1;
                watched.probe_after = age * PROBE_BACKOFF;
                watched.probe();
            }
        }
    }

    fn requests(&self) -> MutexGuard<'_, BTreeMap<u64, Watched>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn disconnected(&mut self) {
        self.request.interrupt();
        if let Some(gone) = self.gone.take() {
            let _ = gone.send(());
        }
    }

    /// Does not block: the socket is non-blocking.
    fn sends_no_more(&self) -> bool {
        matches!(self.client.socket.peek(&mut [0]), Ok(0))
    }

    fn probe(&self) {
        self.client.exchange.before_response(|| {
            let _ = (&*self.client.socket).write(PROBE);
        });
    }
}

impl WatchGuard<'_> {
    /// From now on a disconnect does not end the guest. Returns whether the client is gone already.
    pub(super) fn answered(self) -> bool {
        let watched = self.watcher.requests().remove(&self.number);
        watched.is_none_or(|watched| watched.gone.is_none())
    }
}

impl Drop for WatchGuard<'_> {
    fn drop(&mut self) {
        if let Some(mut watched) = self.watcher.requests().remove(&self.number) {
            watched.disconnected();
        }
    }
}

/// Whether the other end has reset the connection. Only returns true once.
fn is_reset(socket: &TcpStream) -> bool {
    !matches!(socket.take_error(), Ok(None))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Outside of a runtime, a timer would panic.
    #[test]
    fn no_timer_runs_while_no_request_does() {
        let watcher = DisconnectWatcher::default();
        let mut look = pin!(watcher.look());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(look.as_mut().poll(&mut context), Poll::Pending);
    }
}
