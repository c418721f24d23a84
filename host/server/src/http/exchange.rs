//! Tracks what one client and its requests' handlers exchange: which requests are running, which
//! responses have been sent, and what part of an upload is unread.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::uri::Scheme;
use smallvec::SmallVec;
use tokio::time::Sleep;

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
    /// This end of the connection.
    pub(super) local: Option<SocketAddr>,
    /// That of the connection: `https` with TLS.
    pub(super) scheme: Scheme,
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
    /// Inline for one: with HTTP/1, most often there is one.
    lines: SmallVec<[Line; 1]>,
    /// How many responses have been sent, and how many the client did not wait for.
    answered: u64,
    abandoned: u64,
    /// When the last request ended.
    idle_since: Instant,
    /// By when hyper must have taken the whole response that began last.
    until: Option<Instant>,
    /// Since when the socket takes no more bytes.
    blocked_since: Option<Instant>,
}

impl Default for State {
    fn default() -> State {
        State {
            under_way: 0,
            responding: false,
            unread: false,
            lines: SmallVec::new(),
            answered: 0,
            abandoned: 0,
            idle_since: Instant::now(),
            until: None,
            blocked_since: None,
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

    /// A response begins. It must have been sent by `until`.
    pub(super) fn respond(&self, until: Instant) {
        self.state().until = Some(until);
    }

    /// With HTTP/2, call it after polling a stream. Returns the deadline of the response that the
    /// stream has begun in that poll, if it has.
    pub(super) fn take_until(&self) -> Option<Instant> {
        self.state().until.take()
    }

    /// hyper has read all that it needs of a response. Its line is written when that has been sent.
    pub(super) fn hand_over(&self, line: Line) {
        let mut state = self.state();
        state.until = None;
        state.lines.push(line);
    }

    /// A response ends before it is complete.
    pub(super) fn break_off(&self) {
        let mut state = self.state();
        state.until = None;
        state.end_requests(1);
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

    /// Wait until no request has been running for `time`, counted from `from` at the earliest.
    /// Other frames of the client, such as pings, do not matter.
    pub(super) async fn idle(&self, time: Duration, from: Instant) {
        loop {
            let left = {
                let state = self.state();
                match state.under_way {
                    0 => time.saturating_sub(state.idle_since.max(from).elapsed()),
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
        self.state().responding = true;
    }

    /// Note whether the socket has taken `anything` of the last write.
    pub(super) fn took(&self, anything: bool) {
        let mut state = self.state();
        match anything {
            true => state.blocked_since = None,
            false => drop(state.blocked_since.get_or_insert_with(Instant::now)),
        }
    }

    /// All that was written has been sent.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        let lines = std::mem::take(&mut state.lines);
        state.end_requests(lines.len());
        state.answered += lines.len() as u64;
        drop(state);
        // Dropped, and so written, outside the lock.
        drop(lines);
    }

    /// Drive a connection to its end. Returns `None` if its client does not take a response by its
    /// deadline, or takes no bytes for `patience` while no request is running.
    pub(super) async fn in_time<F: Future>(
        &self,
        mut connection: Pin<&mut F>,
        patience: Duration,
    ) -> Option<F::Output> {
        let mut timer = Timer::default();
        poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            // What `due` reads only changes while the connection is polled.
            Poll::Pending => timer.poll(self.state().due(patience), cx).map(|()| None),
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_requests(&mut self, count: usize) {
        self.under_way = self.under_way.saturating_sub(count);
        if count > 0 && self.under_way == 0 {
            self.idle_since = Instant::now();
        }
    }

    /// When the connection must end, unless more is sent before.
    fn due(&self, patience: Duration) -> Option<Instant> {
        let lines = self.lines.iter().map(|line| line.deadline);
        let blocked = self.blocked_since.filter(|_| self.under_way == 0);
        let blocked = blocked.map(|since| since + patience);
        lines.chain(self.until).chain(blocked).min()
    }
}

/// A timer that is only made if there is something to wait for.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready at `time`. Pending, without waking the task, if that is `None`.
    pub(super) fn poll(&mut self, time: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(time) = time else {
            return Poll::Pending;
        };
        let time = tokio::time::Instant::from(time);
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(time)));
        if sleep.deadline() != time {
            sleep.as_mut().reset(time);
        }
        sleep.as_mut().poll(cx)
    }
}
