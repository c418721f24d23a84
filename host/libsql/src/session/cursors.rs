//! Results that are read page by page.
//!
//! A result is asked for whole, which a server answers up to its limit (`--max-response-size`, 10
//! MB by default), and held here as it came, to be read on. A larger one is asked for once more, as
//! a stream of rows that waits in the network until they are read, and at once the next time. That
//! takes no memory, but the server takes longer for each row, so it is not the first choice.

mod streaming;

use bytes::{Buf, Bytes};
use millpond_pool::engine::RawValue;
use millpond_pool::{Column, Error, ErrorKind, Parameters, Result, Rows};

use self::streaming::{Broken, Streaming};
use super::Core;
use super::core::{Aborted, Risk, Txn};
use super::parameters::pick;
use super::run::Ran;
use crate::error::{cut_off, of_server};
use crate::hrana::reply::{Sizes, Unusable, read_row};
use crate::hrana::wire::Fields;
use crate::sql::{Control, Effect, Script, Statement};

/// What [`Session::query_prepared`](millpond_pool::engine::Session::query_prepared) returns.
pub(super) type FirstPage = (Rows, Option<Vec<Column>>, Option<u64>);

/// The rest of a result.
#[derive(Debug)]
pub(crate) struct Cursor {
    statement: u64,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Held(Held),
    Streaming(Box<Streaming>),
    End,
}

/// How much a page may have.
#[derive(Clone, Copy, Debug)]
struct PageLimits {
    /// 0 for any.
    rows: u32,
    bytes: u64,
    sizes: Sizes,
}

impl PageLimits {
    fn is_full(&self, page: &Rows) -> bool {
        (self.rows > 0 && page.len() == self.rows as usize) || page.size() >= self.bytes
    }
}

/// A result as it came, from the first field on that has not been read.
#[derive(Debug)]
struct Held {
    bytes: Bytes,
    width: usize,
}

impl Held {
    /// The next rows, and whether there are more.
    fn page(&mut self, limits: PageLimits) -> Result<(Rows, bool), Unusable> {
        let mut rows = Rows::with_capacity(0);
        let mut fields = Fields::new(&self.bytes);
        let mut read = 0;
        while let Some(field) = fields.next() {
            if let (2, row) = field? {
                if limits.is_full(&rows) {
                    self.bytes.advance(read);
                    return Ok((rows, true));
                }
                let before = rows.size();
                read_row(row.bytes()?, self.width, &mut rows, before, limits.sizes)?;
            }
            read = self.bytes.len() - fields.rest().len();
        }
        Ok((rows, false))
    }
}

impl Cursor {
    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.rest, Rest::Streaming(_))
    }

    fn uses_transaction(&self) -> bool {
        match &self.rest {
            Rest::Streaming(streaming) => streaming.uses_transaction(),
            Rest::Held(_) | Rest::End => false,
        }
    }
}

impl Core {
    /// A statement of a handle is run: cursors over its last run are stale.
    pub(super) fn start_run(&mut self, statement: u64) {
        self.cursors
            .retain(|_, cursor| cursor.statement != statement);
        self.runs += 1;
    }

    /// Rows that come through the transaction's stream end with it.
    pub(super) fn end_streaming(&mut self) {
        self.cursors.retain(|_, cursor| !cursor.uses_transaction());
    }

    /// Nothing can be asked of the transaction's stream while rows come through it.
    pub(super) fn check_streaming(&self) -> Result<()> {
        match self.cursors.values().any(Cursor::uses_transaction) {
            false => Ok(()),
            true => Err(Error::new(
                ErrorKind::Busy,
                "a cursor over a large result is open in the transaction: read it to the end or drop \
                 it first",
            )),
        }
    }

    fn page_limits(&self, rows: u32) -> PageLimits {
        PageLimits {
            rows,
            bytes: self.shared.settings.max_page_bytes,
            sizes: self.shared.settings.sizes(),
        }
    }

    pub(super) async fn query_prepared(
        &mut self,
        id: u64,
        sql: &str,
        parameters: &Parameters,
        (max_rows, with_columns): (u32, bool),
    ) -> Result<FirstPage> {
        let statement = Script::only(sql)?;
        let values = pick(&statement, parameters)?;
        self.start_run(id);
        let (columns, mut rest) = match self.was_large(&statement) {
            true => self.stream_at_once(&statement, &values).await?,
            false => match self.run(&statement, &values, true).await {
                Ok(Some((ran, _))) => self.hold(&statement, &ran)?,
                Ok(None) => (Vec::new(), Rest::End),
                Err(error) if is_too_large(&statement, &error) => {
                    self.shared.note_large(statement.sql, true);
                    self.stream_rows(&statement, &values).await?
                }
                Err(error) => return Err(error),
            },
        };
        let page = self.read_page(&mut rest, self.page_limits(max_rows)).await;
        let (rows, more) = match page {
            Ok(page) => page,
            Err(Broken::Unusable(unusable)) => return Err(self.unusable(&statement, unusable)),
            Err(broken) => return Err(self.broken(broken)),
        };
        let cursor = more.then_some(self.runs);
        if let Some(cursor) = cursor {
            self.cursors.insert(
                cursor,
                Cursor {
                    statement: id,
                    rest,
                },
            );
        }
        Ok((rows, with_columns.then_some(columns), cursor))
    }

    /// Read on. No rows once the end has been reached.
    pub(super) async fn next_page(&mut self, cursor: u64, max_rows: u32) -> Result<Rows> {
        if let Some(aborted) = self.aborted {
            return Err(aborted.into_error());
        }
        let stale = || Error::new(ErrorKind::StaleHandle, "the cursor has ended");
        // Taken out: one that is given up midway has ended.
        let Some(mut open) = self.cursors.remove(&cursor) else {
            return Err(stale());
        };
        let page = self
            .read_page(&mut open.rest, self.page_limits(max_rows))
            .await;
        let (rows, more) = page.map_err(|broken| self.broken(broken))?;
        if !more {
            open.rest = Rest::End;
        }
        self.cursors.insert(cursor, open);
        Ok(rows)
    }

    async fn read_page(
        &mut self,
        rest: &mut Rest,
        limits: PageLimits,
    ) -> Result<(Rows, bool), Broken> {
        let (rows, more) = match rest {
            Rest::Held(held) => held.page(limits)?,
            Rest::Streaming(streaming) => streaming.page(limits).await?,
            Rest::End => (Rows::new(), false),
        };
        if !more && let Rest::Streaming(streaming) = std::mem::replace(rest, Rest::End) {
            if streaming.is_small() {
                self.shared.note_large(streaming.sql(), false);
            }
            self.take_back_stream(*streaming).await;
        }
        Ok((rows, more))
    }

    fn hold(&mut self, statement: &Statement<'_>, ran: &Ran) -> Result<(Vec<Column>, Rest)> {
        let read = || -> Result<_, Unusable> {
            let result = ran.result()?;
            let columns = result.columns()?;
            let held = Held {
                bytes: ran.body().slice_ref(result.bytes()),
                width: columns.len(),
            };
            Ok((columns, Rest::Held(held)))
        };
        read().map_err(|unusable| self.unusable(statement, unusable))
    }

    /// Ask for the rows of a statement that only reads, one after the other.
    async fn stream_rows(
        &mut self,
        statement: &Statement<'_>,
        values: &[RawValue<'_>],
    ) -> Result<(Vec<Column>, Rest)> {
        let opened = self.open_streaming(statement, values).await?;
        self.flight = None;
        let (columns, streaming) = opened.map_err(|broken| self.broken(broken))?;
        Ok((columns, Rest::Streaming(Box::new(streaming))))
    }

    /// Whether to ask for a stream of rows at once, because the statement's last result was too
    /// large.
    fn was_large(&self, statement: &Statement<'_>) -> bool {
        only_reads(statement)
            && matches!(self.txn, Txn::None | Txn::Open)
            && self.shared.was_large(statement.sql)
    }

    async fn stream_at_once(
        &mut self,
        statement: &Statement<'_>,
        values: &[RawValue<'_>],
    ) -> Result<(Vec<Column>, Rest)> {
        if !self.admit(statement).await? {
            return Ok((Vec::new(), Rest::End));
        }
        self.check_sizes(values.iter().copied())?;
        self.stream_rows(statement, values).await
    }

    fn broken(&mut self, broken: Broken) -> Error {
        match broken {
            Broken::Unusable(Unusable::Malformed(what)) => Error::new(
                ErrorKind::Other,
                format!("the server's answer is not understood: {what}"),
            ),
            Broken::Unusable(Unusable::TooLarge(message)) => {
                Error::new(ErrorKind::TooLarge, message)
            }
            Broken::Unusable(Unusable::Refused(error)) => error,
            Broken::Server(error) if error.code == "TRANSACTION_TIMEOUT" => {
                let open = self.txn == Txn::Open;
                self.lose_transaction(Aborted::Server);
                match open {
                    true => Aborted::Server.into_error(),
                    false => of_server(&error),
                }
            }
            Broken::Server(error) => of_server(&error),
            Broken::Cut(why) => cut_off(&why),
        }
    }

    /// What a request that only reads risks.
    pub(super) fn reading_risk(&self) -> Risk {
        match self.txn {
            Txn::None => Risk::Nothing,
            Txn::Pending(_) | Txn::Open => Risk::Undone,
        }
    }
}

/// Whether the server has refused to answer at once, and may be asked for a stream of rows.
fn is_too_large(statement: &Statement<'_>, error: &Error) -> bool {
    error.kind() == ErrorKind::TooLarge
        // SQLite's own is about a single value.
        && error.code() == 0
        && !error.rolled_back()
        && only_reads(statement)
}

fn only_reads(statement: &Statement<'_>) -> bool {
    statement.effect == Effect::Reads && statement.control == Control::None
}
