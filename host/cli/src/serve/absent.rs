//! Notices clients that go away while their guest is inside a statement.
//!
//! A guest that shares its thread with its connection keeps it from being read while SQLite works. Long
//! statements are few, so looking after those from time to time is enough.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millpond_wasmtime::Request;

/// How often to look, and for how long a request is let alone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The requests to look after, by number: the oldest come first.
#[derive(Debug, Default)]
pub(super) struct Absent {
    requests: Mutex<BTreeMap<u64, Looked>>,
}

#[derive(Debug)]
struct Looked {
    since: Instant,
    socket: Arc<TcpStream>,
    request: Request,
}

/// A request that is looked after until this is dropped.
pub(super) struct LookedAfter<'a> {
    absent: &'a Absent,
    number: u64,
}

impl Absent {
    pub(super) fn look_after(
        &self,
        number: u64,
        socket: Arc<TcpStream>,
        request: Request,
    ) -> LookedAfter<'_> {
        let since = Instant::now();
        let looked = Looked {
            since,
            socket,
            request,
        };
        self.requests().insert(number, looked);
        LookedAfter {
            absent: self,
            number,
        }
    }

    /// Interrupt the statements of every request whose client has gone away, for ever.
    pub(super) async fn look(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let requests = self.requests();
            let old = requests
                .values()
                .take_while(|looked| looked.since.elapsed() > LOOK_EVERY);
            old.filter(|looked| is_closed(&looked.socket))
                .for_each(|looked| looked.request.interrupt());
        }
    }

    fn requests(&self) -> MutexGuard<'_, BTreeMap<u64, Looked>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LookedAfter<'_> {
    fn drop(&mut self) {
        self.absent.requests().remove(&self.number);
    }
}

/// Whether the other end has closed a socket, which does not block, and nothing is left to be read from it.
fn is_closed(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}
