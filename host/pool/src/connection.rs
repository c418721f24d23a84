//! A lent connection, as its borrower holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::engine::{Call, Session};
use crate::error::Result;
use crate::lent::Lent;
use crate::statement::Statement;
use crate::transaction::Transaction;
use crate::value::{Parameters, Rows, Summary, Table, TransactionMode};

/// A connection lent by a [`Pool`](crate::Pool). Dropped, it goes back: an open transaction is
/// rolled back, and everything else that it left behind is undone.
///
/// A call that writes **waits its turn to write**, for up to the pool's timeout, without a thread,
/// but for the first 300 µs where single statements of several callers are being committed
/// together: it then keeps its thread awake, behind all others. Dropping its future leaves the
/// line. Calls that wait need a tokio runtime with time enabled, or [`block_on`](crate::block_on).
///
/// The statement itself runs on the calling thread. Where that is a worker of a multi-thread tokio
/// runtime, and the statement takes longer than 1 to 2 ms, the worker is handed to another thread
/// ([`block_in_place`](tokio::task::block_in_place)): the runtime's other tasks go on. On any other
/// thread everything waits that is to run there. What SQLite may not end in time runs on a thread
/// of the connection's own, while the calling thread waits for it, until 20 ms after the call's
/// deadline. Then the call fails with [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), its
/// transaction is rolled back, the connection is stale, and it is closed as soon as SQLite is done
/// with it.
///
/// Make one call at a time: of two calls that write at once, the second may wait for a
/// transaction that the first begins on the same connection, until the timeout.
///
/// # Errors
///
/// Every call that runs SQL can fail with the kinds that SQLite's result codes are mapped to, and
/// with [`StaleHandle`](crate::ErrorKind::StaleHandle) once the connection has been returned. The
/// methods name what else they add.
#[derive(Debug)]
pub struct Connection {
    lent: Arc<Lent>,
}

impl Connection {
    pub(crate) fn new(lent: Arc<Lent>) -> Connection {
        Connection { lent }
    }

    /// Run one statement for its effect. Rows that it yields are not kept.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql): the text holds no statement or more than one.
    /// [`Parameters`](crate::ErrorKind::Parameters): they do not fit the statement.
    /// [`Busy`](crate::ErrorKind::Busy): the turn to write did not come in time, or the wait
    /// for it would never end. [`BusySnapshot`](crate::ErrorKind::BusySnapshot).
    pub async fn execute(&self, sql: &str, parameters: &Parameters) -> Result<Summary> {
        let aside = || {
            let (sql, parameters) = (sql.to_owned(), parameters.clone());
            move |session: &mut dyn Session, call| session.execute(call, &sql, &parameters)
        };
        self.lent
            .attempt(
                |session, call| session.execute(call, sql, parameters),
                aside,
            )
            .await
    }

    /// Run one statement and take its whole result.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute); [`TooLarge`](crate::ErrorKind::TooLarge): the result
    /// exceeds the engine's limit (of SQLite, `max_result_bytes`);
    /// [`NotUtf8`](crate::ErrorKind::NotUtf8). What the statement wrote is then undone.
    pub async fn query(&self, sql: &str, parameters: &Parameters) -> Result<Table> {
        self.query_with(sql, parameters, true).await
    }

    /// As [`query`](Connection::query), without the columns, which takes less time.
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
    ) -> Result<Table> {
        let aside = || {
            let (sql, parameters) = (sql.to_owned(), parameters.clone());
            move |session: &mut dyn Session, call| {
                session.query(call, &sql, &parameters, with_columns)
            }
        };
        let work =
            |session: &mut dyn Session, call| session.query(call, sql, parameters, with_columns);
        self.lent.attempt(work, aside).await
    }

    /// Run every statement of a script, in order, up to the first that fails. What ran before
    /// stays.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute), with the offset counted from the script's beginning.
    pub async fn execute_script(&self, sql: &str) -> Result<()> {
        // How far it has come, wherever it runs.
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
        self.lent
            .attempt(|session, call| run(session, call, sql, &start), aside)
            .await
    }

    /// Compile one statement to run many times. Waits where the engine is across a network; of a file
    /// it completes at once.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql): the text holds no statement or more than one.
    pub async fn prepare(&self, sql: &str) -> Result<Statement> {
        let aside = || {
            let sql = sql.to_owned();
            move |session: &mut dyn Session, call| session.prepare(call, &sql)
        };
        let key = self
            .lent
            .attempt(|session, call| session.prepare(call, sql), aside)
            .await?;
        Ok(Statement::new(Arc::clone(&self.lent), key))
    }

    /// Begin a transaction. Statements of this connection are in it until the handle ends.
    /// [`Immediate`](TransactionMode::Immediate) waits its turn to write.
    ///
    /// # Errors
    ///
    /// [`Sql`](crate::ErrorKind::Sql): a transaction is open already.
    /// [`NotAuthorized`](crate::ErrorKind::NotAuthorized): immediate, on a read-only connection.
    /// [`Busy`](crate::ErrorKind::Busy): as [`execute`](Connection::execute).
    pub async fn begin(&self, mode: TransactionMode) -> Result<Transaction> {
        let begin = move |session: &mut dyn Session, call: Call| session.begin(call, mode);
        let number = self.lent.attempt(begin, || begin).await?;
        Ok(Transaction::new(Arc::clone(&self.lent), number))
    }

    /// Whether a transaction is open, begun by handle or by SQL; false once returned.
    pub fn in_transaction(&self) -> bool {
        self.lent
            .with(|session| session.in_transaction())
            .unwrap_or(false)
    }

    /// End the connection's statements and waits at `deadline`: one under way then fails with
    /// [`DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), any later one too. `None` for no
    /// deadline, as a connection starts with. Does nothing once returned.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.lent.set_deadline(deadline);
    }

    /// Give the connection back, as dropping it does, also where other owners still hold it.
    /// Every handle of it is stale from now on. Does nothing the second time.
    ///
    /// Waits for a statement that another thread is running on it.
    pub fn give_back(&self) {
        self.lent.give_back(false);
    }

    /// Close the connection instead of giving it back.
    pub fn close(self) {
        self.lent.give_back(true);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.lent.give_back(false);
    }
}
