//! An answer that comes in small pieces, gathered into blocks.
//!
//! A server sends a long result row by row. To wake the thread that reads it takes longer than to
//! read a row.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

use super::{AbortOnDrop, describe};

/// The size of a block at which it is passed on. One more is gathered while it is read.
const BLOCK: usize = 64 * 1024;
/// How long a piece waits for more.
const GATHER: Duration = Duration::from_millis(1);

/// A part of the answer, `None` at its end; or why it is cut off.
type Part = Result<Option<Bytes>, String>;

/// The blocks of an answer. Dropping this closes the answer's connection, if not all has been read.
#[derive(Debug)]
pub(crate) struct Blocks {
    parts: Receiver<Part>,
    _gathering: AbortOnDrop<()>,
}

impl Blocks {
    pub(crate) fn new(runtime: &Handle, body: Incoming) -> Blocks {
        let (sender, parts) = channel(1);
        Blocks {
            parts,
            _gathering: AbortOnDrop(runtime.spawn(gather(body, sender))),
        }
    }

    /// The next block, `None` at the end.
    pub(crate) async fn next(&mut self) -> Part {
        let lost = || Err("the connection failed".to_owned());
        self.parts.recv().await.unwrap_or_else(lost)
    }
}

async fn gather(mut body: Incoming, sender: Sender<Part>) {
    let mut block = BytesMut::new();
    let mut until = None;
    loop {
        let frame = match until {
            None => Ok(body.frame().await),
            Some(until) => timeout_at(until, body.frame()).await,
        };
        let end: Option<Part> = match frame {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    block.extend_from_slice(&data);
                    until.get_or_insert_with(|| Instant::now() + GATHER);
                }
                if block.len() < BLOCK {
                    continue;
                }
                None
            }
            Ok(Some(Err(error))) => Some(Err(describe(&error))),
            Ok(None) => Some(Ok(None)),
            Err(_) => None,
        };
        until = None;
        let whole = block.split().freeze();
        if !whole.is_empty() && sender.send(Ok(Some(whole))).await.is_err() {
            return;
        }
        if let Some(end) = end {
            // Only fails if the reader is gone.
            let _ = sender.send(end).await;
            return;
        }
    }
}
