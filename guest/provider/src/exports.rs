//! Implements the contract's functions: look up what is behind the handle, delegate, convert.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::bindings::connections as wit;
use crate::bindings::pool as wit_pool;
use crate::bindings::{Provider, connections, pool};
use crate::convert::columns;
use crate::database::{self, Database, MAX_CONNECTIONS};
use crate::error::{Error, ErrorKind, Result};
use crate::handles::Open;
use crate::lent::Lent;
use crate::session::Session;
use crate::value::{Parameters, Rows};

/// The most handles of each kind that a guest may have.
const MAX_HANDLES: u32 = 64;

thread_local! {
    static STATEMENTS: Cell<u32> = const { Cell::new(0) };
    static CURSORS: Cell<u32> = const { Cell::new(0) };
    static TRANSACTIONS: Cell<u32> = const { Cell::new(0) };
}

type Counter = std::thread::LocalKey<Cell<u32>>;

/// A handle that counts while it exists.
struct Counted(&'static Counter);

impl Counted {
    fn new(counter: &'static Counter) -> Counted {
        counter.set(counter.get() + 1);
        Counted(counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn check(counter: &'static Counter, what: &str) -> Result<(), wit::Error> {
    match counter.get() < MAX_HANDLES {
        true => Ok(()),
        false => Err(too_many(what, MAX_HANDLES)),
    }
}

fn too_many(what: &str, most: u32) -> wit::Error {
    own(
        wit::ErrorKind::TooManyHandles,
        format!("this request may hold {most} {what} at once: drop one first"),
    )
}

/// An error that is not SQLite's.
fn own(kind: wit::ErrorKind, message: String) -> wit::Error {
    wit::Error {
        kind,
        code: 0,
        message,
        offset: None,
        rolled_back: false,
    }
}

fn named(name: &str) -> Result<Rc<Database>, wit::Error> {
    database::named(name).map_err(|_| {
        let message = format!("there is no database {name:?}");
        own(wit::ErrorKind::NoSuchDatabase, message)
    })
}

impl pool::Guest for Provider {
    fn get_connection(
        database: String,
        access: wit_pool::Access,
    ) -> Result<wit::Connection, wit::Error> {
        let database = named(&database)?;
        if database.in_use() >= MAX_CONNECTIONS {
            return Err(too_many("connections", MAX_CONNECTIONS));
        }
        let session = Session::open(&database, access == wit_pool::Access::ReadOnly)?;
        let lent = Lent::new(session, database);
        Ok(wit::Connection::new(Connection(Rc::new(lent))))
    }

    fn return_connection(connection: wit::Connection) {
        connection.get::<Connection>().0.give_back();
    }

    fn close_connection(connection: wit::Connection) {
        connection.get::<Connection>().0.give_back();
    }

    fn stats(database: String) -> Result<wit_pool::PoolStats, wit::Error> {
        let database = named(&database)?;
        let created = database.created.get();
        Ok(wit_pool::PoolStats {
            connections_created: created,
            connections_reused: 0,
            connections_closed: database.closed.get(),
            hits: 0,
            misses: created,
            idle: 0,
            max_size: MAX_CONNECTIONS,
            in_use: database.in_use(),
            waiting: 0,
            timeouts: 0,
            wait_time_ns: 0,
            rolled_back: database.rolled_back.get(),
            discarded: 0,
            abandoned: 0,
            writers_waiting: 0,
            writer_timeouts: 0,
            writer_wait_time_ns: 0,
            groups: 0,
            grouped_statements: 0,
        })
    }

    fn databases() -> Vec<String> {
        database::names()
    }
}

impl connections::Guest for Provider {
    type Connection = Connection;
    type Statement = Statement;
    type Cursor = Cursor;
    type Transaction = Transaction;
}

/// Behind a connection's handle.
pub(crate) struct Connection(Rc<Lent>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl connections::GuestConnection for Connection {
    fn execute(&self, sql: String, parameters: Vec<u8>) -> Result<wit::Summary, wit::Error> {
        let parameters = Parameters::from_bytes(parameters)?;
        let summary = self.0.call(|session| session.execute(&sql, &parameters))?;
        Ok(summary.into())
    }

    fn query(
        &self,
        sql: String,
        parameters: Vec<u8>,
        with_columns: bool,
    ) -> Result<wit::ResultSet, wit::Error> {
        let parameters = Parameters::from_bytes(parameters)?;
        let result = self
            .0
            .call(|session| session.query(&sql, &parameters, with_columns))?;
        Ok(wit::ResultSet {
            columns: with_columns.then(|| columns(result.columns)),
            rows: result.rows.into_bytes(),
        })
    }

    fn execute_script(&self, sql: String) -> Result<(), wit::Error> {
        self.0.call(|session| session.execute_script(&sql))
    }

    fn prepare(&self, sql: String) -> Result<wit::Statement, wit::Error> {
        check(&STATEMENTS, "statements")?;
        let open = self.0.call(|session| session.prepare(&sql))?;
        Ok(wit::Statement::new(Statement {
            lent: Rc::clone(&self.0),
            open,
            _counted: Counted::new(&STATEMENTS),
        }))
    }

    fn begin(&self, mode: wit::TransactionMode) -> Result<wit::Transaction, wit::Error> {
        check(&TRANSACTIONS, "transactions")?;
        let sql = match mode {
            wit::TransactionMode::Deferred => "BEGIN",
            wit::TransactionMode::Immediate => "BEGIN IMMEDIATE",
        };
        let number = self.0.call(|session| {
            session.execute(sql, &Parameters::NONE)?;
            Ok(session.ended)
        })?;
        Ok(wit::Transaction::new(Transaction {
            lent: Rc::clone(&self.0),
            number,
            _counted: Counted::new(&TRANSACTIONS),
        }))
    }

    fn in_transaction(&self) -> bool {
        self.0.in_transaction()
    }
}

/// Behind a statement's handle.
pub(crate) struct Statement {
    lent: Rc<Lent>,
    open: Rc<RefCell<Open>>,
    _counted: Counted,
}

impl Statement {
    fn call<T>(
        &self,
        work: impl FnOnce(&mut Session, &mut Open) -> Result<T>,
    ) -> Result<T, wit::Error> {
        self.lent
            .call(|session| work(session, &mut self.open.borrow_mut()))
    }
}

impl connections::GuestStatement for Statement {
    fn describe(&self) -> Result<wit::Description, wit::Error> {
        let (described, parameter_names, read_only) =
            self.call(|session, open| session.describe(open))?;
        Ok(wit::Description {
            columns: columns(described),
            parameter_names,
            read_only,
        })
    }

    fn execute(&self, parameters: Vec<u8>) -> Result<wit::Summary, wit::Error> {
        let parameters = Parameters::from_bytes(parameters)?;
        let summary = self.call(|session, open| session.execute_open(open, &parameters))?;
        Ok(summary.into())
    }

    fn execute_many(&self, rows: Vec<u8>) -> Result<wit::Summary, wit::Error> {
        let rows = Rows::from_bytes(rows)?;
        let summary = self.call(|session, open| session.execute_many(open, &rows))?;
        Ok(summary.into())
    }

    fn query(
        &self,
        parameters: Vec<u8>,
        max_rows: u32,
        with_columns: bool,
    ) -> Result<wit::Page, wit::Error> {
        check(&CURSORS, "cursors")?;
        let parameters = Parameters::from_bytes(parameters)?;
        let (rows, described, run) = self
            .call(|session, open| session.query_open(open, &parameters, max_rows, with_columns))?;
        let cursor = |run| {
            wit::Cursor::new(Cursor {
                lent: Rc::clone(&self.lent),
                open: Rc::clone(&self.open),
                run,
                _counted: Counted::new(&CURSORS),
            })
        };
        Ok(wit::Page {
            columns: described.map(columns),
            rows: rows.into_bytes(),
            rest: run.map(cursor),
        })
    }
}

/// Behind a cursor's handle.
pub(crate) struct Cursor {
    lent: Rc<Lent>,
    open: Rc<RefCell<Open>>,
    run: u64,
    _counted: Counted,
}

impl connections::GuestCursor for Cursor {
    fn next(&self, max_rows: u32) -> Result<Vec<u8>, wit::Error> {
        let rows = self
            .lent
            .call(|session| session.next_page(&mut self.open.borrow_mut(), self.run, max_rows))?;
        Ok(rows.into_bytes())
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.lent
            .unless_returned(|session| session.drop_cursor(&mut self.open.borrow_mut(), self.run));
    }
}

/// Behind a transaction's handle.
pub(crate) struct Transaction {
    lent: Rc<Lent>,
    number: u64,
    _counted: Counted,
}

impl connections::GuestTransaction for Transaction {
    fn commit(&self) -> Result<(), wit::Error> {
        self.lent.call(|session| session.commit(self.number))
    }

    fn rollback(&self) -> Result<(), wit::Error> {
        match self.lent.call(|session| session.rollback(self.number)) {
            // An abandoned connection's.
            Err(error) if error.rolled_back => Ok(()),
            result => result,
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // After a commit or rollback the session finds that it has ended, and does nothing.
        self.lent.unless_returned(|session| {
            let _ = session.rollback(self.number);
        });
    }
}

impl Session {
    fn commit(&mut self, number: u64) -> Result<()> {
        self.check_transaction(number)?;
        let committed = self.execute("COMMIT", &Parameters::NONE);
        if committed.is_err() && self.in_transaction() {
            // The contract promises that it has been rolled back.
            self.execute("ROLLBACK", &Parameters::NONE)?;
        }
        committed.map(drop).map_err(Error::with_rolled_back)
    }

    fn rollback(&mut self, number: u64) -> Result<()> {
        match self.check_transaction(number) {
            Ok(()) => self.execute("ROLLBACK", &Parameters::NONE).map(drop),
            Err(error) if error.rolled_back() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Check that the transaction `number` is the open one.
    fn check_transaction(&mut self, number: u64) -> Result<()> {
        if self.aborted.is_some() && self.ended == number + 1 {
            let told = self.check_aborted();
            // Its owner knows now.
            self.aborted = None;
            return told;
        }
        match self.ended == number && self.in_transaction() {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::StaleHandle,
                "the transaction has ended",
            )),
        }
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.aborted.is_some() || !self.conn.is_autocommit()
    }
}
