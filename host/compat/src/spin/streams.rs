//! Results as streams: the rows of one page after another, read from a cursor as the guest reads.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use millpond_pool::{Cursor, Parameters, Rows};
use millpond_wasmtime::CursorPlace;
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Accessor, Destination, FutureReader, HasData, StreamProducer, StreamReader, StreamResult,
    VecBuffer,
};

use super::connection::Open;
use super::task::Task;
use super::types::{Error, RowResult, Value, names, rows};

/// The most rows that are read ahead of a guest, which the pool bounds in bytes too.
const PAGE_ROWS: u32 = 64;

/// The columns, the rows, and how reading them ended.
pub(super) type Streams = (
    Vec<String>,
    StreamReader<RowResult>,
    FutureReader<Result<(), Error>>,
);

/// The first rows of a result.
struct FirstPage {
    columns: Vec<String>,
    rows: Rows,
    rest: Option<Rest>,
}

/// Run a statement, and return its result as streams.
pub(super) async fn execute<T: 'static, D: HasData + ?Sized>(
    accessor: &Accessor<T, D>,
    open: Open,
    place: CursorPlace,
    (statement, parameters): (String, Vec<Value>),
) -> wasmtime::Result<Result<Streams, Error>> {
    let page = match first_page(open, statement, parameters).await {
        Ok(page) => page,
        Err(error) => return Ok(Err(error)),
    };
    let (ended, end) = oneshot::channel();
    let mut stream = RowStream {
        page: page.rows,
        state: State::Ended,
        ended: Some(ended),
        _place: place,
    };
    match page.rest {
        Some(rest) => stream.state = State::Paused(rest),
        // Whether or not the guest reads them, there are no more.
        None => stream.end(Ok(())),
    }
    // A guest that drops the rows has no error to expect.
    let end = async { Ok::<_, wasmtime::Error>(end.await.unwrap_or(Ok(()))) };
    accessor.with(|mut access| {
        let stream = StreamReader::new(&mut access, stream)?;
        let end = FutureReader::new(&mut access, end)?;
        Ok(Ok((page.columns, stream, end)))
    })
}

/// Run a statement, and read its first rows.
async fn first_page(
    open: Open,
    statement: String,
    parameters: Vec<Value>,
) -> Result<FirstPage, Error> {
    let taken = open.running.take(&statement, &parameters)?;
    let page = Task::spawn(async move {
        let parameters = Parameters::positional(parameters);
        let _call = open.begin_call().await;
        let statement = open.connection.prepare(&statement).await?;
        let page = statement.query(&parameters, PAGE_ROWS, true).await?;
        drop(taken);
        Ok(FirstPage {
            columns: names(page.columns.unwrap_or_default()),
            rows: page.rows,
            rest: page.rest.map(|cursor| Rest::new(open.clone(), cursor)),
        })
    });
    page.await?
}

/// The rows of a result that have not been read. It owns the connection, which the guest may have
/// dropped. Dropping it does not wait for a call on the connection that is running.
struct Rest {
    open: Open,
    /// `None` at the end.
    cursor: Option<Cursor>,
}

impl Rest {
    fn new(open: Open, cursor: Cursor) -> Rest {
        let cursor = Some(cursor);
        Rest { open, cursor }
    }

    /// Read the page that follows, unless that was the last.
    async fn next(mut self) -> Result<Option<(Rows, Rest)>, Error> {
        let _call = self.open.begin_call().await;
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let rows = cursor.next(PAGE_ROWS).await;
        if rows.as_ref().is_ok_and(|rows| !rows.is_empty()) {
            return Ok(Some((rows?, self)));
        }
        // Before the call ends: dropping it later might have to wait for another call.
        self.cursor = None;
        rows?;
        Ok(None)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            self.open.soon(move || drop(cursor));
        }
    }
}

/// The rows of a result.
struct RowStream {
    /// Those that have been read, but not delivered.
    page: Rows,
    state: State,
    ended: Option<oneshot::Sender<Result<(), Error>>>,
    _place: CursorPlace,
}

/// What reads the rows that follow.
enum State {
    Paused(Rest),
    Reading(Task<Result<Option<(Rows, Rest)>, Error>>),
    Ended,
}

impl RowStream {
    fn end(&mut self, result: Result<(), Error>) {
        self.state = State::Ended;
        if let Some(ended) = self.ended.take() {
            // The guest may have dropped the future.
            let _ = ended.send(result);
        }
    }

    /// Read the page that follows, if any.
    fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut reading = match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return Poll::Ready(()),
            State::Paused(rest) => Task::spawn(rest.next()),
            State::Reading(reading) => reading,
        };
        let Poll::Ready(page) = Pin::new(&mut reading).poll(context) else {
            self.state = State::Reading(reading);
            return Poll::Pending;
        };
        match page.map_err(Error::from).flatten() {
            Ok(Some((rows, rest))) => {
                self.page = rows;
                self.state = State::Paused(rest);
            }
            page => self.end(page.map(drop)),
        }
        Poll::Ready(())
    }
}

impl<T> StreamProducer<T> for RowStream {
    type Item = RowResult;
    type Buffer = VecBuffer<RowResult>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let stream = self.get_mut();
        if stream.page.is_empty() {
            match stream.poll_page(context) {
                // What is being read is for the next call.
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                page => ready!(page),
            }
        }
        if stream.page.is_empty() {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        // The guest may ask only whether there are rows.
        if destination.remaining(&mut store) != Some(0) {
            let page = std::mem::take(&mut stream.page);
            destination.set_buffer(rows(&page).into());
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
