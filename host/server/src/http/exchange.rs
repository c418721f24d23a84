//! Tracks what one client and its requests' handlers exchange: which requests are running, which
//! responses have been sent, and what part of an upload is unread.

use std::net::{IpAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::uri::Scheme;

use crate::http::access_log::Line;

/// How many requests a client may abandon on one HTTP/2 connection, unless it takes more responses
/// than that. Each abandoned request costs the server an instance, and the client nothing.
const MAX_ABANDONED: u64 = 100;

/// The client of a request.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The connection's socket, for other threads to check. Non-blocking.
    pub(super) socket: Arc<TcpStream>,
    pub(super) exchange: Arc<Exchange>,
    /// The client's address.
    pub(super) address: IpAddr,
    /// That of the connection: `https` with TLS.
    pub(super) scheme: Scheme,
    /// Whether the connection is the only one on its thread, in a
    /// [`LocalSet`](tokio::task::LocalSet).
    pub(super) is_alone: bool,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose response has not been sent yet.
    under_way: usize,
    /// Bytes of the current response have been written.
    responding: bool,
    /// The last request has a body that was not read to its end. Not maintained for HTTP/2, as is
    /// `responding`.
    unread: bool,
    /// Lines of responses that hyper has in full, but that may not have been sent yet.
    lines: Vec<Line>,
    /// How many responses have been sent, and how many the client did not wait for.
    answered: u64,
    abandoned: u64,
    /// When the connection was last written to.
    written: Instant,
}

impl Default for State {
    fn default() -> State {
        State {
            under_way: 0,
            responding: false,
            unread: false,
            lines: Vec::new(),
            answered: 0,
            abandoned: 0,
            written: Instant::now(),
        }
    }
}

impl Exchange {
    /// A request's head has arrived.
    pub(super) fn begin(&self, has_body: bool) {
        let mut state = self.state();
        state.under_way += 1;
        state.responding = false;
        state.unread = has_body;
    }

    /// hyper has read all that it needs of a response. Its line is written when that has been sent.
    pub(super) fn hand_over(&self, line: Line) {
        self.state().lines.push(line);
    }

    /// A response ends before it is complete.
    pub(super) fn break_off(&self) {
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(1);
    }

    /// As [`break_off`](Exchange::break_off), because the client does not want the response.
    pub(super) fn abandon(&self) {
        self.state().abandoned += 1;
        self.break_off();
    }

    /// Whether the client abandons its requests rather than wait for their responses.
    pub(super) fn is_flooded(&self) -> bool {
        let state = self.state();
        state.abandoned > MAX_ABANDONED.max(state.answered)
    }

    /// Whether no request is running. An incomplete head does not count.
    pub(super) fn is_idle(&self) -> bool {
        self.state().under_way == 0
    }

    /// Wait until no request is running, and nothing has been written, for `time`. It may take twice
    /// as long until this notices.
    pub(super) async fn idle(&self, time: Duration) {
        loop {
            let left = {
                let state = self.state();
                match state.under_way {
                    0 => time.saturating_sub(state.written.elapsed()),
                    _ => time,
                }
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// The end of the body of the last request has been read.
    pub(super) fn read_all(&self) {
        self.state().unread = false;
    }

    /// Whether the client may still be sending the body of its last request.
    pub(super) fn has_unread(&self) -> bool {
        self.state().unread
    }

    /// Call `work`, unless the response has begun. It cannot begin meanwhile.
    pub(super) fn before_response(&self, work: impl FnOnce()) {
        let state = self.state();
        if state.under_way == 1 && !state.responding {
            work();
        }
    }

    /// The connection is closed: what has not been sent by now never will be.
    pub(super) fn end(&self) {
        let lines = std::mem::take(&mut self.state().lines);
        lines.into_iter().for_each(Line::cut_short);
    }

    /// The connection is being written to.
    pub(super) fn writing(&self) {
        let mut state = self.state();
        state.responding = true;
        state.written = Instant::now();
    }

    /// All that was written has been sent.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        let lines = std::mem::take(&mut state.lines);
        state.under_way = state.under_way.saturating_sub(lines.len());
        state.answered += lines.len() as u64;
        drop(state);
        // Dropped, and so written, outside the lock.
        drop(lines);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
