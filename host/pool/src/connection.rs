//! A lent connection, as its borrower holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::engine::{Call, Session};
use crate::error::Result;
use crate::lent::Lent;
use crate::observe::{CallWatch, Event, Figures, Return};
use crate::statement::Statement;
use crate::transaction::Transaction;
use crate::value::{Parameters, ResultSet, Rows, Summary, TransactionMode};

/// A connection lent by a [`Pool`](crate::Pool). Dropping it returns it: an open transaction is
/// rolled back, and everything else that the borrower left behind is undone.
///
/// A call that writes **waits its turn to write**, for up to the pool's timeout, without blocking a
/// thread. The exception is the first 300 µs while a group commit is under way: then the thread
/// spins, with lower priority than other threads. Dropping the call's future leaves the queue.
/// Calls that wait need a tokio runtime with time enabled, or [`block_on`](crate::block_on).
///
/// The statement runs on the calling thread. If that is a worker of a multi-thread tokio runtime,
/// and the statement takes longer than 1 to 2 ms, the worker is handed over to another thread
/// ([`block_in_place`](tokio::task::block_in_place)), so the runtime's other tasks continue. Any
/// other thread is blocked. A statement that SQLite might not stop in time runs on the connection's
/// own thread, while the call waits, without blocking a thread, until at most 20 ms after its
/// deadline. Then it fails with [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), its
/// transaction is rolled back, and the connection is stale; it is closed as soon as SQLite is done
/// with it. Dropping the future of such a call stops the statement, and the connection is stale
/// too.
///
/// Make one call at a time. If two calls write at once, the second may wait, until the timeout, for
/// a transaction that the first begins on the same connection.
///
/// Poll a call's future until it completes, or drop it: one that is kept without being polled may
/// have the turn to write, for which all other writers wait.
///
/// # Errors
///
/// Every call that runs SQL can fail with the kinds that SQLite's result codes map to, and with
/// [`StaleHandle`](crate::ErrorKind::StaleHandle) once the connection has been returned. Each
/// method lists its additional errors.
#[derive(Debug)]
pub struct Connection {
    lent: Arc<Lent>,
}

impl Connection {
    pub(crate) fn new(lent: Arc<Lent>) -> Connection {
        Connection { lent }
    }

    /// Tell the observer that its borrower has got it.
    pub(crate) fn tell_got(&self) {
        if let Some(borrower) = self.lent.borrower() {
            let event = Event::ConnectionGot {
                waited: borrower.waited,
                is_new: borrower.is_new,
            };
            self.lent.tell(None, event);
        }
    }

    /// Run one statement for its effect. Rows that it yields are discarded.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql): the text holds no statement or more than one.
    /// [`Parameters`](crate::ErrorKind::Parameters): they do not fit the statement.
    /// [`Busy`](crate::ErrorKind::Busy): the turn to write did not come in time, or could never
    /// come. [`BusySnapshot`](crate::ErrorKind::BusySnapshot).
    pub async fn execute(&self, sql: &str, parameters: &Parameters) -> Result<Summary> {
        let aside = || {
            let (sql, parameters) = (sql.to_owned(), parameters.clone());
            move |session: &mut dyn Session, call| session.execute(call, &sql, &parameters)
        };
        let work = |session: &mut dyn Session, call| session.execute(call, sql, parameters);
        let watch = CallWatch::new(&self.lent, sql);
        let result = self.lent.attempt(work, aside, &watch).await;
        watch.end(&result, Figures::of_summary);
        result
    }

    /// Run one statement and return its whole result.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute); [`TooLarge`](crate::ErrorKind::TooLarge): the result
    /// exceeds the engine's limit (for SQLite, `max_result_bytes`);
    /// [`NotUtf8`](crate::ErrorKind::NotUtf8). After any of them, what the statement wrote is
    /// undone.
    pub async fn query(&self, sql: &str, parameters: &Parameters) -> Result<ResultSet> {
        self.query_with(sql, parameters, true).await
    }

    /// Like [`query`](Connection::query), but without the columns, which is faster.
    ///
    /// # Errors
    ///
    /// As [`query`](Connection::query).
    pub async fn query_rows(&self, sql: &str, parameters: &Parameters) -> Result<Rows> {
        let table = self.query_with(sql, parameters, false).await?;
        Ok(table.rows)
    }

    async fn query_with(
        &self,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Result<ResultSet> {
        let aside = || {
            let (sql, parameters) = (sql.to_owned(), parameters.clone());
            move |session: &mut dyn Session, call| {
                session.query(call, &sql, &parameters, with_columns)
            }
        };
        let work =
            |session: &mut dyn Session, call| session.query(call, sql, parameters, with_columns);
        let watch = CallWatch::new(&self.lent, sql);
        let result = self.lent.attempt(work, aside, &watch).await;
        watch.end(&result, |table| Figures::of_rows(&table.rows));
        result
    }

    /// Run every statement of a script, in order, up to the first that fails. Changes made before a
    /// failure stay.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute), with the offset counted from the beginning of the
    /// script.
    pub async fn execute_script(&self, sql: &str) -> Result<()> {
        // The progress through the script, on whichever thread it runs.
        let start = Arc::new(AtomicUsize::new(0));
        let run = |session: &mut dyn Session, call, sql: &str, start: &AtomicUsize| {
            let mut next = start.load(Ordering::Relaxed);
            let result = session.execute_script(call, sql, &mut next);
            start.store(next, Ordering::Relaxed);
            result
        };
        let aside = || {
            let (sql, start) = (sql.to_owned(), Arc::clone(&start));
            move |session: &mut dyn Session, call| run(session, call, &sql, &start)
        };
        let work = |session: &mut dyn Session, call| run(session, call, sql, &start);
        let watch = CallWatch::new(&self.lent, sql);
        let result = self.lent.attempt(work, aside, &watch).await;
        watch.end(&result, |()| Figures::default());
        result
    }

    /// Compile one statement to run many times. For a file it waits only if SQLite might not stop
    /// in time.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql): the text holds no statement or more than one.
    pub async fn prepare(&self, sql: &str) -> Result<Statement> {
        let aside = || {
            let sql = sql.to_owned();
            move |session: &mut dyn Session, call| session.prepare(call, &sql)
        };
        let work = |session: &mut dyn Session, call| session.prepare(call, sql);
        let watch = CallWatch::of_prepare(&self.lent, sql);
        let result = self.lent.attempt(work, aside, &watch).await;
        watch.end_unless_done(&result);
        Ok(Statement::new(Arc::clone(&self.lent), result?, sql))
    }

    /// Begin a transaction. All statements of this connection belong to it until it ends.
    /// [`Immediate`](TransactionMode::Immediate) waits its turn to write.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql): a transaction is open already.
    /// [`NotAuthorized`](crate::ErrorKind::NotAuthorized): `Immediate` on a read-only connection.
    /// [`Busy`](crate::ErrorKind::Busy): as [`execute`](Connection::execute).
    pub async fn begin(&self, mode: TransactionMode) -> Result<Transaction> {
        let begin = move |session: &mut dyn Session, call: Call| session.begin(call, mode);
        let watch = CallWatch::new(&self.lent, mode.sql());
        let result = self.lent.attempt(begin, || begin, &watch).await;
        watch.end(&result, |_| Figures::default());
        Ok(Transaction::new(Arc::clone(&self.lent), result?))
    }

    /// Whether a transaction is open, begun by handle or by SQL. False once the connection is
    /// returned.
    pub fn in_transaction(&self) -> bool {
        self.lent
            .with(|session| session.in_transaction())
            .unwrap_or(false)
    }

    /// Stop the connection's statements and waits at `deadline`: those that begin from now on then
    /// fail with [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded). Defaults to `None`, no
    /// deadline. Does nothing once the connection is returned. To stop the running one, use
    /// [`Request::interrupt`](crate::Request::interrupt).
    ///
    /// Blocks while another thread runs a statement on it.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.lent.set_deadline(deadline);
    }

    /// Return the connection, as dropping it does, even if other owners still hold it. Every handle
    /// of it becomes stale. Does nothing the second time.
    ///
    /// Blocks while another thread runs a statement on it.
    pub fn give_back(&self) {
        self.lent.give_back(Return::Returned);
    }

    /// Close the connection instead of returning it.
    pub fn close(self) {
        self.lent.give_back(Return::ToClose);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.lent.give_back(Return::Returned);
    }
}
