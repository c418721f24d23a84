//! A connection for the host's own statements: migrations.

use std::thread::sleep;
use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, Error, ErrorKind, Grant, Parameters, Pool, Request, Result, Rows, Value,
    block_on,
};

use crate::sql::{Control, Script};

/// Runs migrations on a database of a server. It has the functions that the trait
/// `migrations::Database` of the crate `millpond-sqlite` asks for, which reads migrations from a
/// folder, checks them and records them; implement it by calling these.
///
/// Unlike a guest's statements, these may do anything that the server allows, and write tables of
/// the host. Every function blocks. One statement may take 10 minutes.
///
/// The server ends a transaction that is open for 5 seconds while another client waits to write,
/// and one that sends nothing for 10 seconds: then nothing of it is kept. If many hosts run the
/// same migrations at once, and one takes longer than that, each host that waits for the database
/// ends the work of the one before it, until none waits. `Migrations::run_on` then waits up to 2
/// minutes for another host to apply what it could not.
#[derive(Debug)]
pub struct Migrator {
    pool: Pool,
    connection: Option<Connection>,
}

/// How long one statement may take. Creating an index may take minutes.
const STATEMENT_TIME: Duration = Duration::from_secs(600);
/// How long to wait, at least and at most, before asking a server again whose database is locked.
const ASK_AGAIN: (u64, u64) = (20, 200);
/// How often the server may lose the stream between two requests.
const ATTEMPTS: usize = 5;

impl Migrator {
    /// How long to wait for other writers. The server makes each of them wait for at most 5
    /// seconds, but there may be many.
    pub(crate) const WAIT: Duration = Duration::from_secs(120);

    pub(crate) fn new(pool: Pool) -> Migrator {
        Migrator {
            pool,
            connection: None,
        }
    }

    /// Begin a transaction that may write, on a new stream, with foreign keys not enforced. Waits
    /// up to 2 minutes for other writers.
    ///
    /// # Errors
    ///
    /// [`Busy`](ErrorKind::Busy): others were writing all the time.
    /// [`Unavailable`](ErrorKind::Unavailable): the server does not answer.
    pub fn begin(&mut self) -> Result<()> {
        let until = Instant::now() + Migrator::WAIT;
        for _ in 0..ATTEMPTS {
            self.rollback();
            let connection = self.connect()?;
            // Ignored within a transaction, so it comes before.
            block_on(connection.execute("PRAGMA foreign_keys = OFF", &Parameters::NONE))?;
            connection.set_deadline(Some(until));
            self.begin_until(&connection, until)?;
            connection.set_deadline(None);
            let rows = block_on(connection.query_rows("PRAGMA foreign_keys", &Parameters::NONE))?;
            // With another value, the transaction began on a newer stream than the pragma.
            if rows.values().map(Value::from).eq([Value::Integer(0)]) {
                self.connection = Some(connection);
                return Ok(());
            }
            connection.close();
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the server does not keep its streams",
        ))
    }

    fn begin_until(&self, connection: &Connection, until: Instant) -> Result<()> {
        loop {
            // Nothing has run if it is busy.
            match block_on(connection.execute("BEGIN IMMEDIATE", &Parameters::NONE)) {
                Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < until => {
                    sleep(Duration::from_millis(fastrand::u64(
                        ASK_AGAIN.0..ASK_AGAIN.1,
                    )));
                }
                Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
                    return Err(Error::new(
                        ErrorKind::Busy,
                        "other clients have been writing for 2 minutes: run the migrations again",
                    ));
                }
                begun => return begun.map(drop),
            }
        }
    }

    /// Run a query, in the transaction if there is one.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::query_rows`](millpond_pool::Connection::query_rows).
    pub fn query(&mut self, sql: &str) -> Result<Rows> {
        match &self.connection {
            Some(connection) => {
                block_on(connection.query_rows(sql, &Parameters::NONE)).map_err(explain)
            }
            None => block_on(self.connect()?.query_rows(sql, &Parameters::NONE)),
        }
    }

    /// Run one statement in the transaction.
    ///
    /// # Errors
    ///
    /// [`StaleHandle`](ErrorKind::StaleHandle): there is no transaction, or the server has ended
    /// it. Otherwise those of [`Connection::execute`](millpond_pool::Connection::execute).
    pub fn execute(&mut self, sql: &str, parameters: &Parameters) -> Result<()> {
        let done = block_on(self.open()?.execute(sql, parameters));
        done.map(drop).map_err(explain)
    }

    /// Run a text of statements in the transaction, up to the first one that fails.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported): one of them begins or ends a transaction; then none
    /// has run. Otherwise those of
    /// [`Connection::execute_script`](millpond_pool::Connection::execute_script).
    pub fn execute_script(&mut self, sql: &str) -> Result<()> {
        let connection = self.open()?;
        let mut script = Script::of_host(sql, 0)?;
        while let Some(statement) = script.next()? {
            if matches!(
                statement.control,
                Control::Begin | Control::Commit | Control::Rollback
            ) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "it begins or ends a transaction: remove that, because each migration already \
                     runs in one",
                )
                .at(statement.start));
            }
        }
        block_on(connection.execute_script(sql)).map_err(explain)
    }

    /// Commit the transaction.
    ///
    /// # Errors
    ///
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown): the server did not say whether it has.
    /// [`StaleHandle`](ErrorKind::StaleHandle): there is no transaction, or the server has ended
    /// it.
    pub fn commit(&mut self) -> Result<()> {
        let done = block_on(self.open()?.execute("COMMIT", &Parameters::NONE));
        // The stream has settings of the transaction.
        self.rollback();
        done.map(drop).map_err(explain)
    }

    /// Roll the transaction back, if there is one, in the background.
    pub fn rollback(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }

    fn open(&self) -> Result<&Connection> {
        self.connection
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::StaleHandle, "there is no transaction"))
    }

    fn connect(&self) -> Result<Connection> {
        let grant = Grant::new(&self.pool, Access::ReadWrite)
            .max_statement_time(STATEMENT_TIME)
            .max_transaction_time(Duration::MAX)
            .max_hold_time(Duration::MAX);
        block_on(grant.get(Access::ReadWrite, &Request::new()))
    }
}

/// Say what to do about a transaction that the server has ended.
fn explain(error: Error) -> Error {
    match error.kind() {
        ErrorKind::StaleHandle if error.rolled_back() => error.with_message(
            "the server has ended the transaction, as it does after 5 seconds if another client \
             waits to write, and after 10 seconds without a call: run the migration again while no \
             other client writes, or split it",
        ),
        _ => error,
    }
}
