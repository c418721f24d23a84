//! Passes the output of served guests to the host's log, by line.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::log::{Event, Log};
use crate::printable::printable;

/// Longer lines are split.
const MAX_LINE_BYTES: usize = 4096;
/// How many bytes each line counts in addition to its text, because the log adds the request's
/// number and, with JSON, the time. Otherwise a guest could exceed its limit many times by short
/// lines.
const LINE_BYTES: usize = 100;
/// The maximum size of one write of a guest.
const MAX_WRITE_BYTES: usize = 64 * 1024;

/// A served guest's stdout and stderr: complete lines in the host's log, with the number of the
/// request.
#[derive(Clone)]
pub(super) struct GuestOutput(Arc<Mutex<Lines>>);

impl GuestOutput {
    /// For a request for which up to `most` bytes may be logged: otherwise a guest that writes in a
    /// loop could fill the host's disk.
    pub(super) fn new(request: u64, most: usize, log: Arc<dyn Log>) -> GuestOutput {
        GuestOutput(Arc::new(Mutex::new(Lines {
            log,
            request,
            partial: Vec::new(),
            most,
            left: most,
            is_full: false,
        })))
    }

    /// The request has ended: what follows is of another one.
    pub(super) fn end_request(&self) {
        let mut lines = self.lines();
        if !lines.partial.is_empty() {
            lines.end_line();
        }
    }

    /// Another request begins, which may write as much as the last one.
    pub(super) fn begin_request(&self, request: u64) {
        let mut lines = self.lines();
        lines.request = request;
        lines.left = lines.most;
        lines.is_full = false;
    }

    fn take(&self, bytes: &[u8]) {
        self.lines().take(bytes);
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lines {
    log: Arc<dyn Log>,
    request: u64,
    partial: Vec<u8>,
    /// How many bytes may be logged for the request, and how many of them are left.
    most: usize,
    left: usize,
    /// There is no room for more, and the message that the rest is dropped has been written.
    is_full: bool,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.is_full {
                return;
            }
            if *byte == b'\n' {
                self.end_line();
            } else {
                self.partial.push(*byte);
                if self.partial.len() == MAX_LINE_BYTES {
                    self.end_line();
                }
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.partial);
        if self.is_full {
            return;
        }
        let line = printable(&String::from_utf8_lossy(&line));
        let room = self.left.checked_sub(LINE_BYTES);
        let fits = room.map_or("", |room| fitting(&line, room));
        if room.is_some() && (fits.len() == line.len() || !fits.is_empty()) {
            self.left -= LINE_BYTES + size(fits);
            self.log.event(&Event::Output {
                request: self.request,
                line: fits,
            });
        }
        if room.is_none() || fits.len() < line.len() {
            self.is_full = true;
            self.log.event(&Event::OutputDropped {
                request: self.request,
                most: self.most,
            });
        }
    }
}

/// The length of a text in the log, in bytes. JSON escapes some characters.
fn size(text: &str) -> usize {
    text.chars().map(size_of).sum()
}

fn size_of(c: char) -> usize {
    match c {
        '"' | '\\' | '\t' => 2,
        c => c.len_utf8(),
    }
}

/// The longest beginning of a text that takes at most `room` bytes in the log.
fn fitting(text: &str, room: usize) -> &str {
    let mut left = room;
    let end = text
        .char_indices()
        .find(|(_, c)| match left.checked_sub(size_of(*c)) {
            Some(less) => {
                left = less;
                false
            }
            None => true,
        });
    end.map_or(text, |(end, _)| &text[..end])
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.end_line();
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl AsyncWrite for GuestOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64 * 1024;

    /// Keeps the lines.
    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<String>>);

    impl Log for Kept {
        fn event(&self, event: &Event<'_>) {
            self.0.lock().expect("the lines").push(event.to_string());
        }
    }

    fn lines_of(writes: &[&[u8]]) -> Vec<String> {
        let kept = Arc::new(Kept::default());
        let output = GuestOutput::new(7, MOST, Arc::clone(&kept) as Arc<dyn Log>);
        for write in writes {
            output.take(write);
        }
        std::mem::take(&mut *kept.0.lock().expect("the lines"))
    }

    #[test]
    fn writes_become_whole_lines() {
        assert_eq!(
            lines_of(&[b"one\ntw", b"o\n", b"thr"]),
            ["[7] guest: one", "[7] guest: two"]
        );
    }

    #[test]
    fn controls_do_not_reach_the_terminal() {
        assert_eq!(
            lines_of(&[b"a\x1b[2J\xff\n"]),
            ["[7] guest: a\u{fffd}[2J\u{fffd}"]
        );
    }

    #[test]
    fn a_flood_is_cut_off_once() {
        let long = vec![b'x'; MOST];
        let printed = lines_of(&[&long, &long, b"more\n"]);
        assert_eq!(printed.len(), MOST / MAX_LINE_BYTES + 1);
        // Short lines, and bytes that become longer.
        for part in [
            &b"\n"[..],
            b"x\n",
            b"\xff",
            b"\0\n",
            b"\"\\\t",
            "\u{9b}".as_bytes(),
        ] {
            let flood = part.repeat(MOST);
            let printed = lines_of(&[&flood, &flood, b"more\n"]);
            let (dropped, printed) = printed.split_last().expect("a line");
            assert!(dropped.contains("max-output-size"), "{dropped}");
            let escaped = |line: &String| serde_json::to_string(line).map_or(0, |line| line.len());
            let size: usize = printed.iter().map(escaped).sum();
            assert!(size <= MOST, "{size} of {part:?}");
            assert!(printed.iter().all(|line| line.starts_with("[7] guest: ")));
        }
    }

    #[test]
    fn what_fits_is_logged() {
        let line = vec![b'x'; MOST];
        let fits = MOST - (MOST / MAX_LINE_BYTES) * LINE_BYTES;
        for (length, count) in [(fits, 0), (fits + 1, 1)] {
            let printed = lines_of(&[&line[..length], b"\n"]);
            let dropped = printed
                .iter()
                .filter(|line| line.contains("max-output-size"));
            assert_eq!(dropped.count(), count, "{length}");
        }
        assert_eq!(fitting("a\"\u{e4}b", 4), "a\"");
        assert_eq!(fitting("a\"\u{e4}b", 5), "a\"\u{e4}");
    }
}
