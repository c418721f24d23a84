//! What a database engine must do for a pool: the seam between lending connections and running SQL.
//!
//! An [`Engine`] opens [`Session`]s to one database; a session is the engine's side of a connection.
//! The pool decides who has which session and for how long, and calls one function of it at a time.
//! It knows no SQL, and no file.
//!
//! A session's functions are not asynchronous: nearly every call of an engine in the process
//! completes at once, and then allocates nothing for it. One that cannot go on says what it waits for
//! ([`Stop::Wait`]); the pool waits, and calls again. Meanwhile it does not hold the session, so that
//! it can end it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;

use crate::error::{Error, Result};
pub use crate::flat::Reader;
pub use crate::request::RequestId;
pub use crate::rights::{Limits, Rights};
pub use crate::stop_flag::StopFlag;
pub use crate::value::RawValue;
pub use crate::worker::hand_over;
use crate::{
    Access, Column, Description, Parameters, PoolStats, Rows, Summary, Table, TransactionMode,
};

/// A database that sessions can be opened to.
///
/// What panics in a session must leave the engine whole: others go on with it.
pub trait Engine: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe + 'static {
    /// Open a session, which is to look at `stop` whenever it may take long. It gives up at `until`,
    /// by [`clock`](crate::clock).
    ///
    /// # Errors
    ///
    /// The database cannot be reached, or is damaged.
    fn open(&self, stop: Arc<StopFlag>, until: u64) -> Opening<'_>;

    /// Whether sessions can be lent like this. Asked before each lending: what the engine cannot
    /// enforce is refused, and never ignored.
    ///
    /// # Errors
    ///
    /// [`NotAuthorized`](crate::ErrorKind::NotAuthorized): the database is open for reading only.
    /// [`Unsupported`](crate::ErrorKind::Unsupported): it has no such thing.
    fn check(&self, access: Access, rights: &Rights, limits: &Limits) -> Result<()>;

    /// What the database is called, for its operator. Guests are not told.
    fn name(&self) -> &str;

    /// Fill in the counters that only the engine has, if any.
    fn count(&self, stats: &mut PoolStats) {
        let _ = stats;
    }

    /// The pool closes: whatever waits within the engine fails with
    /// [`PoolClosed`](crate::ErrorKind::PoolClosed) from now on. May be called more than once.
    fn close(&self) {}

    /// Every session in use has come back, or has been ended: end what goes on in the background. May
    /// block for milliseconds, and be called more than once.
    fn finish(&self) {}
}

/// A session that is being opened. In the process that may block, and be done when it is first
/// polled.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Session>>> + Send + 'a>>;

/// What became of a step: done, or why not.
pub type Step<T> = Result<T, Stop>;

/// Why a call did not complete.
#[derive(Debug)]
pub enum Stop {
    /// It cannot go on now: await this without holding the session, then make the same call again,
    /// with what came of it.
    Wait(Wait),
    /// What it is to do may go on long after its deadline: make the same call again on a thread of
    /// the session's own. Where it does not end in time there, its caller goes on without it, and
    /// the session is dropped as soon as it is done.
    Aside,
    /// It failed.
    Error(Error),
}

impl Stop {
    /// Wait for `wait`, which ends by itself when the call's time is over. It is polled every 10 ms
    /// at least. Dropped, nothing is waited for any more.
    pub fn wait<T: Any + Send>(wait: impl Future<Output = T> + Send + 'static) -> Stop {
        Stop::Wait(Wait(Box::pin(async move {
            let outcome: Outcome = Box::new(wait.await);
            outcome
        })))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

/// What a call waits for.
pub struct Wait(pub(crate) Pin<Box<dyn Future<Output = Outcome> + Send>>);

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}

/// What came of a wait, for the session to read.
pub type Outcome = Box<dyn Any + Send>;

/// One call of a session, as the pool makes it.
#[derive(Debug)]
pub struct Call {
    /// When it was made, by [`clock`](crate::clock): read once.
    pub now: u64,
    /// When its borrower's time with the session is over, by [`clock`](crate::clock).
    pub hold_until: u64,
    /// It runs on a thread of the session's own, and may be abandoned.
    pub aside: bool,
    /// It was begun before, and stopped with [`Stop::Aside`]: it has what is left of its time.
    pub continued: bool,
    /// What it waited for, where it was stopped with [`Stop::Wait`] before.
    pub outcome: Option<Outcome>,
}

/// What a session is lent for.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// Whose request it is.
    pub request: RequestId,
    /// For reading, or for reading and writing.
    pub access: Access,
    /// Which tables, and what may be done to them.
    pub rights: &'a Arc<Rights>,
    /// How long and how much.
    pub limits: Limits,
}

/// In what state a session is left by its borrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// It is as new. If not, it is dropped.
    pub clean: bool,
    /// A transaction was open, and has been rolled back.
    pub rolled_back: bool,
}

/// The engine's side of a connection.
///
/// The functions that run SQL begin a call: its time, [`Limits::statement`], is the engine's to keep,
/// with the [`StopFlag`] that the session was opened with. Statements, cursors and transactions are
/// named by numbers of the session's own choice; a number that is not, or not any more, is answered
/// with [`StaleHandle`](crate::ErrorKind::StaleHandle).
pub trait Session: fmt::Debug + Send {
    /// Whether it can be lent for `access` at less cost than another.
    fn suits(&self, access: Access) -> bool;

    /// Get ready for a borrower.
    ///
    /// # Errors
    ///
    /// It cannot: the session is dropped.
    fn lend(&mut self, terms: &Terms<'_>) -> Result<()>;

    /// Make it as new, whatever its borrower left open. Does not wait for anything but the disk.
    fn reset(&mut self) -> Reset;

    /// Run one statement for its effect.
    fn execute(&mut self, call: Call, sql: &str, parameters: &Parameters) -> Step<Summary>;

    /// Run one statement, and take its whole result, with its columns or without.
    fn query(
        &mut self,
        call: Call,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Step<Table>;

    /// Run a script from the byte `start` on, which moves past each statement that has run.
    fn execute_script(&mut self, call: Call, sql: &str, start: &mut usize) -> Step<()>;

    /// Compile a statement to run many times. Returns its number.
    fn prepare(&mut self, call: Call, sql: &str) -> Step<usize>;

    /// What a prepared statement is, without running it.
    fn describe(&mut self, call: Call, statement: usize) -> Step<Description>;

    /// As [`execute`](Session::execute), of a prepared statement.
    fn execute_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
    ) -> Step<Summary>;

    /// Run a prepared statement once for each row of `rows`, all or none.
    fn execute_many(&mut self, call: Call, statement: usize, rows: &Rows) -> Step<Summary>;

    /// Run a prepared statement, and take its first rows: `max_rows`, or as many as fit a page if 0.
    /// Returns them with their columns, if asked, and the number of a cursor where there are more.
    fn query_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
        max_rows: u32,
        with_columns: bool,
    ) -> Step<(Rows, Option<Vec<Column>>, Option<u64>)>;

    /// More rows of a cursor of that statement; none at the end.
    fn next(&mut self, call: Call, statement: usize, cursor: u64, max_rows: u32) -> Step<Rows>;

    /// Begin a transaction. Returns its number.
    fn begin(&mut self, call: Call, mode: TransactionMode) -> Step<u64>;

    /// Commit it.
    fn commit(&mut self, call: Call, transaction: u64) -> Step<()>;

    /// Undo it.
    fn rollback(&mut self, call: Call, transaction: u64) -> Step<()>;

    /// Whether a transaction is open.
    fn in_transaction(&self) -> bool;

    /// The handle of a statement is dropped. A cursor over its rows stays.
    fn drop_statement(&mut self, statement: usize);

    /// The handle of a cursor is dropped.
    fn drop_cursor(&mut self, statement: usize, cursor: u64);

    /// The handle of a transaction is dropped: undo it, if it is still open.
    fn drop_transaction(&mut self, transaction: u64);

    /// [`StopFlag::transaction_until`] is over: undo the transaction that is open.
    fn end_overdue(&mut self);

    /// The pool is closed, and this is the last of its sessions, about to be dropped. May take until
    /// `until`, by [`clock`](crate::clock).
    fn finish(&mut self, until: u64) {
        let _ = until;
    }
}
