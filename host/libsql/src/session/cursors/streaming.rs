//! Rows that come one after the other, as they are read.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use millpond_pool::engine::RawValue;
use millpond_pool::{Column, Result, Rows};

use super::PageLimits;
use crate::hrana::cursor::{Entry, Messages, Opened};
use crate::hrana::reply::{ServerError, Sizes, Unusable};
use crate::hrana::request::{self, Condition, Stmt, Text};
use crate::hrana::wire::Malformed;
use crate::http::{Blocks, Http};
use crate::session::Core;
use crate::session::core::Txn;
use crate::session::exchange::Tried;
use crate::session::stream::Stream;
use crate::shared::Shared;
use crate::sql::Statement;

/// What a message takes besides its row.
const MESSAGE: usize = 1 << 20;
/// A result of less than this is asked for at once the next time. The server's limit is on its size
/// as JSON, which may be eight times as large.
const SMALL: usize = 1 << 20;
/// With what a message begins that is a row.
const ROW: u8 = 4 << 3 | 2;

/// Why no more rows come.
#[derive(Debug)]
pub(super) enum Broken {
    Unusable(Unusable),
    Server(ServerError),
    Cut(String),
}

impl From<Unusable> for Broken {
    fn from(unusable: Unusable) -> Broken {
        Broken::Unusable(unusable)
    }
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Broken {
        Broken::Unusable(malformed.into())
    }
}

/// A result that is being sent.
pub(super) struct Streaming {
    shared: Arc<Shared>,
    /// It is busy until the last row has been read.
    http: Option<Http>,
    /// The stream, where it is not the transaction's.
    stream: Option<Stream>,
    uses_transaction: bool,
    blocks: Blocks,
    messages: Messages,
    width: usize,
    /// The statement.
    sql: Box<str>,
    /// The server has said that the result is whole.
    ended: bool,
    /// The size of what has come, in bytes.
    size: usize,
    /// A row that did not fit the page before.
    next: Option<Bytes>,
}

impl fmt::Debug for Streaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming")
            .field("uses_transaction", &self.uses_transaction)
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

impl Streaming {
    pub(super) fn uses_transaction(&self) -> bool {
        self.uses_transaction
    }

    /// The next message; `None` at the end.
    async fn message(&mut self, sizes: Sizes) -> Result<Option<Bytes>, Broken> {
        let max = usize::try_from(2 * sizes.result).unwrap_or(usize::MAX);
        loop {
            if let Some(message) = self.messages.next()? {
                return Ok(Some(message));
            }
            match self.blocks.next().await.map_err(Broken::Cut)? {
                Some(block) => {
                    self.size += block.len();
                    self.messages.push(&block);
                }
                None if self.messages.is_cut() => {
                    return Err(Malformed("the last message is cut off").into());
                }
                None if !self.ended => {
                    let why = "the connection was closed before the end of the answer";
                    return Err(Broken::Cut(why.to_owned()));
                }
                None => return Ok(None),
            }
            if self.messages.len() > max.saturating_add(MESSAGE) {
                return Err(
                    Unusable::TooLarge("a row is larger than a result may be".into()).into(),
                );
            }
        }
    }

    /// The next rows, and whether there are more.
    pub(super) async fn page(&mut self, limits: PageLimits) -> Result<(Rows, bool), Broken> {
        let mut rows = Rows::with_capacity(0);
        loop {
            let message = match self.next.take() {
                Some(message) => message,
                None => match self.message(limits.sizes).await? {
                    Some(message) => message,
                    None => return Ok((rows, false)),
                },
            };
            if message.first() == Some(&ROW) && limits.is_full(&rows) {
                self.next = Some(message);
                return Ok((rows, true));
            }
            match Entry::read(&message, self.width, &mut rows, limits.sizes)? {
                Entry::Failed(error) => return Err(Broken::Server(error)),
                Entry::Index(index) => self.shared.saw(index),
                Entry::End => self.ended = true,
                Entry::Begin(_) | Entry::Row | Entry::Other => {}
            }
        }
    }

    /// The statement whose result it is.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Whether the server would have answered at once.
    pub(super) fn is_small(&self) -> bool {
        self.size < SMALL
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // The connection ends with the body that has not been read, and the server's work with it.
        if let Some(stream) = self.stream.take() {
            stream.close(&self.shared, None);
        }
    }
}

impl Core {
    /// Begin a result of any size.
    pub(super) async fn open_streaming(
        &mut self,
        statement: &Statement<'_>,
        values: &[RawValue<'_>],
    ) -> Result<Result<(Vec<Column>, Streaming), Broken>> {
        let in_transaction = self.txn != Txn::None;
        let condition = in_transaction.then(Condition::in_transaction);
        let stmt = Stmt::new(Text::Sql(statement.sent()), statement.names(), values, true);
        let body = request::cursor(self.shared.index(), |batch| {
            batch.step(condition, &stmt);
        });
        let mut tried = Tried::default();
        let risk = self.reading_risk();
        let answer = self.ask("/cursor", &body.into(), risk, &mut tried).await?;
        let mut streaming = Streaming {
            shared: Arc::clone(&self.shared),
            http: self.http.take(),
            stream: None,
            uses_transaction: in_transaction,
            blocks: Blocks::new(self.shared.runtime, answer.into_body()),
            messages: Messages::default(),
            width: 0,
            sql: statement.sql.into(),
            ended: false,
            size: 0,
            next: None,
        };
        let columns = self.begin_streaming(&mut streaming).await;
        Ok(columns.map(|columns| (columns, streaming)))
    }

    async fn begin_streaming(&mut self, streaming: &mut Streaming) -> Result<Vec<Column>, Broken> {
        let sizes = self.shared.settings.sizes();
        let empty = || Broken::from(Malformed("a cursor begins with nothing"));
        let first = streaming.message(sizes).await?.ok_or_else(empty)?;
        let opened = Opened::read(&first)?;
        self.continue_stream(opened.baton.as_deref(), opened.base_url.as_deref());
        if !streaming.uses_transaction {
            // Another stream serves what comes meanwhile.
            streaming.stream = self.stream.take();
            (self.borrower.wrote, self.borrower.inserted) = (false, false);
        }
        loop {
            let message = streaming.message(sizes).await?.ok_or_else(empty)?;
            match Entry::read(&message, 0, &mut Rows::new(), sizes)? {
                Entry::Begin(columns) => {
                    streaming.width = columns.len();
                    return Ok(columns);
                }
                Entry::Failed(error) => return Err(Broken::Server(error)),
                Entry::Index(index) => self.shared.saw(index),
                Entry::Row | Entry::End | Entry::Other => {}
            }
        }
    }

    /// A result has been read to its end: what it used is free.
    pub(super) async fn take_back_stream(&mut self, mut streaming: Streaming) {
        if let Some(mut http) = streaming.http.take()
            && http.settle().await
        {
            match &self.http {
                None => self.http = Some(http),
                Some(_) => self.shared.keep(http),
            }
        }
        if self.stream.is_none() && self.txn == Txn::None {
            self.stream = streaming.stream.take();
        }
    }
}
