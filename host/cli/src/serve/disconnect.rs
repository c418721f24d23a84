//! Notices clients that close their connection while their request is being answered.
//!
//! A client that closes its connection, and one that closes its sending half and waits, look the
//! same: there is nothing more to read. They differ in what they do with data: a closed connection
//! answers it with a reset. So a request that takes long is told so by an interim response, which
//! every client of HTTP/1.1 must be able to read (RFC 9110, 15.2); one of HTTP/1.0 is waited for.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millpond_wasmtime::Request;
use tokio::sync::oneshot;

use crate::serve::exchange::Client;

/// How often to look, and for how long a request is left alone.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// When a client that sends no more is asked whether it is still there.
const PROBE_AFTER: Duration = Duration::from_secs(1);
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The requests to watch, by number: the oldest come first.
#[derive(Debug, Default)]
pub(super) struct DisconnectWatcher {
    requests: Mutex<BTreeMap<u64, Watched>>,
}

#[derive(Debug)]
struct Watched {
    since: Instant,
    client: Client,
    may_be_probed: bool,
    request: Request,
    gone: Option<oneshot::Sender<()>>,
}

/// A request that is watched until this is dropped. If that comes before the answer, its client is
/// gone.
pub(super) struct WatchGuard<'a> {
    watcher: &'a DisconnectWatcher,
    number: u64,
    answered: bool,
}

impl DisconnectWatcher {
    /// The receiver gets a message if the client disconnects before the answer.
    pub(super) fn watch(
        &self,
        number: u64,
        client: Client,
        is_http_11: bool,
        request: Request,
    ) -> (WatchGuard<'_>, oneshot::Receiver<()>) {
        let (gone, is_gone) = oneshot::channel();
        let watched = Watched {
            since: Instant::now(),
            client,
            may_be_probed: is_http_11,
            request,
            gone: Some(gone),
        };
        self.requests().insert(number, watched);
        let guard = WatchGuard {
            watcher: self,
            number,
            answered: false,
        };
        (guard, is_gone)
    }

    /// End every request whose client has disconnected. Never returns.
    pub(super) async fn look(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut requests = self.requests();
            for watched in requests.values_mut() {
                let age = watched.since.elapsed();
                if age <= LOOK_EVERY {
                    break;
                }
                if is_reset(&watched.client.socket) {
                    watched.disconnected();
                } else if age > PROBE_AFTER && watched.may_be_probed && watched.sends_no_more() {
                    watched.may_be_probed = false;
                    watched.probe();
                }
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

    /// Does not block: the socket is not blocking.
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
    /// From here on the guest does not end because of the client.
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for WatchGuard<'_> {
    fn drop(&mut self) {
        let watched = self.watcher.requests().remove(&self.number);
        if let (Some(mut watched), false) = (watched, self.answered) {
            watched.disconnected();
        }
    }
}

/// Whether the other end has reset the connection. Tells it once.
fn is_reset(socket: &TcpStream) -> bool {
    !matches!(socket.take_error(), Ok(None))
}
