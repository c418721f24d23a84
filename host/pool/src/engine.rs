//! The interface between the pool and a database engine.
//!
//! An [`Engine`] opens [`Session`]s to one database; a session is the engine's side of a
//! connection. The pool decides who has which session and for how long, and calls one function of a
//! session at a time. The pool knows no SQL and no files.
//!
//! A session's functions are not `async`: nearly every call of an in-process engine completes at
//! once, and this way allocates nothing. A call that cannot continue returns what it waits for
//! ([`Stop::Wait`]); the pool waits, and calls again. The pool does not lock the session while it
//! waits, so it can end it.
//!
//! For [observers](crate::observe), a session notes what only it knows in [`StopFlag::notes`], and
//! the pool tells it after the call. What happens outside of a session's calls, a [`Reporter`]
//! tells, which the engine creates from the pool's settings.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;

use crate::error::{Error, Result};
pub use crate::flat::Reader;
pub use crate::observe::{Checkpoint, Notes, Reporter, Upkeep};
pub use crate::request::RequestId;
pub use crate::rights::{Limits, Rights};
pub use crate::settings::{within, within_hour};
pub use crate::stop_flag::StopFlag;
pub use crate::value::RawValue;
pub use crate::worker::hand_over;
use crate::{
    Access, Column, Description, Parameters, PoolStats, ResultSet, Rows, Summary, TransactionMode,
};

/// A database engine, which opens sessions to one database.
///
/// A panic in a session must not corrupt the engine: other sessions continue to use it.
pub trait Engine: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe + 'static {
    /// Open a session. It checks `stop` during anything that may take long. Opening fails if it
    /// takes until `until`, by [`clock`](crate::clock).
    ///
    /// # Errors
    ///
    /// The database cannot be reached, or is damaged.
    fn open(&self, stop: Arc<StopFlag>, until: u64) -> Opening<'_>;

    /// Whether sessions can be lent with these rights and limits. Called before each lending. The
    /// engine must refuse what it cannot enforce, and never ignore it.
    ///
    /// # Errors
    ///
    /// [`NotAuthorized`](crate::ErrorKind::NotAuthorized): the database is open read-only.
    /// [`Unsupported`](crate::ErrorKind::Unsupported): the engine does not support it.
    fn check(&self, access: Access, rights: &Rights, limits: &Limits) -> Result<()>;

    /// The database's name, for its operator. Never shown to guests.
    fn name(&self) -> &str;

    /// Fill in the counters that only the engine has.
    fn count(&self, stats: &mut PoolStats) {
        let _ = stats;
    }

    /// The pool is closing: every wait within the engine must fail with
    /// [`PoolClosed`](crate::ErrorKind::PoolClosed) from now on. May be called more than once.
    fn close(&self) {}

    /// Every session has been returned or ended: stop all background work. May block for
    /// milliseconds, and be called more than once.
    fn finish(&self) {}
}

/// The future of a session being opened. An in-process engine may block in its first poll and then
/// be ready.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Session>>> + Send + 'a>>;

/// The result of a step of a call.
pub type Step<T> = Result<T, Stop>;

/// Why a call did not complete.
#[derive(Debug)]
pub enum Stop {
    /// Waits: await this without locking the session, then make the same call again with the
    /// outcome.
    Wait(Wait),
    /// The call may run long past its deadline: make the same call again on the session's own
    /// thread. If it does not end in time there, its caller continues without it, and the session
    /// is dropped as soon as the call ends.
    Aside {
        /// Other sessions may be waiting for this one, so the pool must not make it wait for
        /// them: [`Call::at_once`]. At most one session of an engine may set this at a time.
        at_once: bool,
        /// For the same call when made again; `None` if it has used nothing since it was made.
        left: Option<Left>,
    },
    /// The call failed.
    Error(Error),
}

impl Stop {
    /// Wait for `wait`, which must complete when the call's time is over. It is polled at least
    /// every 10 ms. Dropping it cancels the wait.
    ///
    /// If the pool takes the session back meanwhile, the call fails with
    /// [`StaleHandle`](crate::ErrorKind::StaleHandle), unless the outcome is a `Result` of the
    /// function's own type: then the call returns it.
    pub fn wait<T: Any + Send>(wait: impl Future<Output = T> + Send + 'static) -> Stop {
        Stop::wait_for_outcome(async move { Outcome::new(wait.await) })
    }

    /// Like [`wait`](Stop::wait), for a future that says whether another session has run the call
    /// ([`Outcome::of_run`]).
    pub fn wait_for_outcome(wait: impl Future<Output = Outcome> + Send + 'static) -> Stop {
        Stop::Wait(Wait {
            wait: Box::pin(wait),
            left: None,
            is_for_turn: false,
        })
    }

    /// Like [`wait_for_outcome`](Stop::wait_for_outcome), for the turn to write, which
    /// [observers](crate::observe) are told of.
    pub fn wait_for_turn(wait: impl Future<Output = Outcome> + Send + 'static) -> Stop {
        Stop::Wait(Wait {
            wait: Box::pin(wait),
            left: None,
            is_for_turn: true,
        })
    }

    /// What the call may still use when it is made again. Waiting is not counted.
    #[must_use]
    pub fn with_left(mut self, of_call: Left) -> Stop {
        match &mut self {
            Stop::Wait(Wait { left, .. }) | Stop::Aside { left, .. } => *left = Some(of_call),
            Stop::Error(_) => {}
        }
        self
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

/// What a call waits for.
pub struct Wait {
    pub(crate) wait: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    pub(crate) left: Option<Left>,
    pub(crate) is_for_turn: bool,
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}

/// The outcome of a wait, for the session to read.
#[derive(Debug)]
pub struct Outcome {
    value: Box<dyn Any + Send>,
    has_run: bool,
    is_in_vain: bool,
}

impl Outcome {
    /// The outcome of a wait after which the call still has to run.
    pub fn new<T: Any + Send>(value: T) -> Outcome {
        Outcome {
            value: Box::new(value),
            has_run: false,
            is_in_vain: false,
        }
    }

    /// The outcome of a wait for something that did not come: the call will fail.
    pub fn in_vain<T: Any + Send>(value: T) -> Outcome {
        Outcome {
            is_in_vain: true,
            ..Outcome::new(value)
        }
    }

    /// The outcome of a call that another session has run. If the pool took this session back
    /// meanwhile, the call fails with
    /// [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown).
    pub fn of_run<T: Any + Send>(value: T) -> Outcome {
        Outcome {
            has_run: true,
            ..Outcome::new(value)
        }
    }

    /// Whether another session has run the call.
    pub(crate) fn has_run(&self) -> bool {
        self.has_run
    }

    pub(crate) fn is_in_vain(&self) -> bool {
        self.is_in_vain
    }

    /// Whether it is a `T`.
    pub fn is<T: Any>(&self) -> bool {
        self.value.is::<T>()
    }

    /// The `T`, or the outcome itself if it is something else.
    ///
    /// # Errors
    ///
    /// It is not a `T`.
    pub fn downcast<T: Any>(self) -> std::result::Result<T, Outcome> {
        match self.value.downcast::<T>() {
            Ok(value) => Ok(*value),
            Err(value) => Err(Outcome { value, ..self }),
        }
    }
}

/// What a call that stopped may still use of its [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The time, in nanoseconds.
    pub time: u64,
    /// The steps, in the engine's own unit.
    pub steps: u64,
}

/// One call of a session by the pool.
#[derive(Debug)]
pub struct Call {
    /// When the call was made, by [`clock`](crate::clock); read once per call.
    pub now: u64,
    /// When the borrower must have returned the session, by [`clock`](crate::clock).
    pub hold_until: u64,
    /// Whether the call runs on the session's own thread, where it may be abandoned.
    pub aside: bool,
    /// Whether it runs there although the pool may have no room for more such calls: because it
    /// has just waited, or because others wait for the session ([`Stop::Aside::at_once`]). Once
    /// they do not, it must stop with [`Stop::Aside`], to wait for room.
    pub at_once: bool,
    /// What it may still use, if the call stopped before and said so.
    pub left: Option<Left>,
    /// The outcome of its wait, if the call stopped with [`Stop::Wait`] before.
    pub outcome: Option<Outcome>,
}

/// The terms on which a session is lent.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// The borrower's request.
    pub request: RequestId,
    /// Read, or read and write.
    pub access: Access,
    /// The granted tables, and what is allowed on each.
    pub rights: &'a Arc<Rights>,
    /// The time and step limits.
    pub limits: Limits,
}

/// The result of resetting a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The session is like new. If false, the pool drops it.
    pub clean: bool,
    /// A transaction was open, and was rolled back. False if the session had already noted the
    /// transaction's end.
    pub rolled_back: bool,
}

/// The engine's side of a connection.
///
/// Each function that runs SQL begins a call. The engine enforces its time limit,
/// [`Limits::statement`], with the [`StopFlag`] that the session was opened with. The session
/// identifies statements, cursors and transactions by numbers that it chooses. For a number that
/// does not exist, or no longer exists, it returns [`StaleHandle`](crate::ErrorKind::StaleHandle).
pub trait Session: fmt::Debug + Send {
    /// Whether lending this session for `access` costs less than lending another.
    fn suits(&self, access: Access) -> bool;

    /// Prepare for a borrower.
    ///
    /// # Errors
    ///
    /// The session cannot be lent; the pool drops it.
    fn lend(&mut self, terms: &Terms<'_>) -> Result<()>;

    /// Reset the session to be like new, whatever its borrower left open. Waits only for the disk.
    fn reset(&mut self) -> Reset;

    /// Run one statement for its effect.
    fn execute(&mut self, call: Call, sql: &str, parameters: &Parameters) -> Step<Summary>;

    /// Run one statement, and return its whole result, with or without its columns.
    fn query(
        &mut self,
        call: Call,
        sql: &str,
        parameters: &Parameters,
        with_columns: bool,
    ) -> Step<ResultSet>;

    /// Run a script from the byte `start`, and advance `start` past each statement that has run.
    fn execute_script(&mut self, call: Call, sql: &str, start: &mut usize) -> Step<()>;

    /// Compile a statement to run many times. Returns its number.
    fn prepare(&mut self, call: Call, sql: &str) -> Step<usize>;

    /// Describe a prepared statement, without running it.
    fn describe(&mut self, call: Call, statement: usize) -> Step<Description>;

    /// Like [`execute`](Session::execute), for a prepared statement.
    fn execute_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
    ) -> Step<Summary>;

    /// Run a prepared statement once for each row of `rows`, all or none.
    fn execute_many(&mut self, call: Call, statement: usize, rows: &Rows) -> Step<Summary>;

    /// Run a prepared statement, and return up to `max_rows` rows, or a full page if 0; the
    /// columns, if asked; and the number of a cursor, if there are more rows.
    fn query_prepared(
        &mut self,
        call: Call,
        statement: usize,
        parameters: &Parameters,
        max_rows: u32,
        with_columns: bool,
    ) -> Step<(Rows, Option<Vec<Column>>, Option<u64>)>;

    /// Return more rows of a cursor of that statement; none at the end.
    fn next(&mut self, call: Call, statement: usize, cursor: u64, max_rows: u32) -> Step<Rows>;

    /// Begin a transaction. Returns its number.
    fn begin(&mut self, call: Call, mode: TransactionMode) -> Step<u64>;

    /// Commit a transaction.
    fn commit(&mut self, call: Call, transaction: u64) -> Step<()>;

    /// Roll back a transaction.
    fn rollback(&mut self, call: Call, transaction: u64) -> Step<()>;

    /// Whether a transaction is open.
    fn in_transaction(&self) -> bool;

    /// Called when the handle of a statement is dropped. A cursor over its rows stays valid.
    fn drop_statement(&mut self, statement: usize);

    /// Called when the handle of a cursor is dropped.
    fn drop_cursor(&mut self, statement: usize, cursor: u64);

    /// Called when the handle of a transaction is dropped: roll it back, if it is still open.
    fn drop_transaction(&mut self, transaction: u64);

    /// [`StopFlag::transaction_until`] has passed: roll back the open transaction.
    fn end_overdue(&mut self);

    /// The pool is closed, and this is its last session, about to be dropped. May take until
    /// `until`, by [`clock`](crate::clock).
    fn finish(&mut self, until: u64) {
        let _ = until;
    }
}
