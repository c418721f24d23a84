//! What an observer is told.

use std::time::Duration;

use crate::error::ErrorKind;

/// Where an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source<'a> {
    /// The database's name: [`Settings::name`](crate::Settings::name).
    pub database: &'a str,
    /// Whose database it is, of many: [`Settings::tenant`](crate::Settings::tenant).
    pub tenant: Option<&'a str>,
    /// The borrower: [`Grant::guest`](crate::Grant::guest). `None` for events of the pool itself.
    pub guest: Option<&'a str>,
    /// The borrower's request: [`Request::label`](crate::Request::label).
    pub request: Option<&'a str>,
    /// The number of the lending, unique in this process. All events from
    /// [`ConnectionAsked`](Event::ConnectionAsked) until the connection is back, or until
    /// [`ConnectionNotGot`](Event::ConnectionNotGot), have the same number. `None` for events of
    /// the pool itself.
    pub lending: Option<u64>,
    /// The number of the call in which this happened, unique in this process. Calls that run SQL
    /// have one: all events of a call from [`StatementBegun`](Event::StatementBegun) to
    /// [`StatementFinished`](Event::StatementFinished) have the same number. `None` for events
    /// outside of such calls.
    pub call: Option<u64>,
}

/// Something that happened in a pool. Times are those of a precise monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The pool was opened, after its first connection.
    #[non_exhaustive]
    PoolOpened {
        /// How long that took, with opening the first connection.
        time: Duration,
    },
    /// The pool was closed, or the last user of it is gone. Told once, after its last idle
    /// connection was closed. Abandoned statements may still run.
    PoolClosed,
    /// A connection was opened.
    #[non_exhaustive]
    ConnectionOpened {
        /// How long that took.
        time: Duration,
    },
    /// A caller asks for a connection. Told in the caller's task, before it waits.
    ConnectionAsked,
    /// A caller got a connection.
    #[non_exhaustive]
    ConnectionGot {
        /// How long that took, with waiting in the queue and opening it.
        waited: Duration,
        /// Whether it was opened for this caller.
        is_new: bool,
    },
    /// A caller did not get a connection. Every call of [`Pool::get`](crate::Pool::get) and
    /// [`Grant::get`](crate::Grant::get) is told once, by this or by
    /// [`ConnectionGot`](Event::ConnectionGot).
    #[non_exhaustive]
    ConnectionNotGot {
        /// How long the caller waited.
        waited: Duration,
        /// Why it stopped waiting.
        why: NotGot,
    },
    /// A connection was returned, or taken back. Told after the connection was reset, and before
    /// another caller can get it.
    #[non_exhaustive]
    ConnectionReturned {
        /// How long it was lent.
        held: Duration,
        /// Who returned it.
        why: Return,
    },
    /// A returned connection was reset.
    #[non_exhaustive]
    ConnectionReset {
        /// How long that took.
        time: Duration,
        /// Whether it is like new. If not, it is closed.
        is_clean: bool,
        /// Whether a transaction was open, which was rolled back.
        rolled_back: bool,
    },
    /// A connection was closed.
    #[non_exhaustive]
    ConnectionClosed {
        /// Why.
        why: Close,
    },
    /// A call that runs SQL begins. Told in the caller's task, before the call's
    /// [`StatementFinished`](Event::StatementFinished). Not told of `prepare`.
    #[non_exhaustive]
    StatementBegun {
        /// The SQL text, as in [`StatementFinished`](Event::StatementFinished).
        sql: &'a str,
    },
    /// A call that runs SQL has ended. Told once for each call of `execute`, `query`,
    /// `execute_script`, `execute_many`, `begin`, `commit` and `rollback`, and for each `prepare`
    /// that fails. A [`Cursor`](crate::Cursor) belongs to the `query` that returned it: then this
    /// is told once the cursor has returned its last rows, has failed, or is dropped.
    #[non_exhaustive]
    StatementFinished {
        /// The SQL text as the borrower gave it, which may contain values as literals, but never
        /// parameters. The whole text of a script. `BEGIN`, `BEGIN IMMEDIATE`, `COMMIT` or
        /// `ROLLBACK` for a transaction's handle.
        sql: &'a str,
        /// How long the call took, with everything that it waited for. With a cursor, all calls
        /// together, without the time between them.
        time: Duration,
        /// How much of `time` it waited for its turn to write.
        turn_wait: Duration,
        /// How many rows it returned.
        rows: u64,
        /// The size of these rows, in bytes.
        bytes: u64,
        /// How many rows it changed, if the call returns that: 0 for scripts and queries.
        changes: u64,
        /// Whether it ran, or was about to run, a statement that writes to the database
        /// (<https://sqlite.org/c3ref/stmt_readonly.html>).
        wrote: bool,
        /// How it ended.
        result: StatementResult,
    },
    /// A statement has waited for its turn to write. Told before its
    /// [`StatementFinished`](Event::StatementFinished).
    #[non_exhaustive]
    TurnWaited {
        /// How long.
        waited: Duration,
        /// How the wait ended.
        end: TurnEnd,
    },
    /// Statements of several callers were committed together. Told of the caller whose connection
    /// committed them, before its [`StatementFinished`](Event::StatementFinished).
    #[non_exhaustive]
    GroupCommitted {
        /// How many statements.
        statements: u32,
        /// How long the commit took, without running them.
        time: Duration,
    },
    /// The write-ahead log was copied into the database file. The pool does this in the background
    /// when the log is long, and when it closes.
    #[non_exhaustive]
    Checkpointed {
        /// How many pages of the log are in the database file now.
        pages: u32,
        /// Whether these are all. If not, a connection still reads an older state, or the copy
        /// failed.
        is_complete: bool,
        /// How long that took, with waiting for readers.
        time: Duration,
    },
    /// The engine has done the upkeep of its database, while the pool was unused.
    #[non_exhaustive]
    UpkeepDone {
        /// How many tables it analyzed, for the statistics of the query planner.
        analyzed_tables: u32,
        /// How many free pages it gave back to the disk.
        freed_pages: u32,
        /// Whether it did all that was due. If not, a caller used the pool, or a step failed.
        is_complete: bool,
        /// How long that took.
        time: Duration,
    },
    /// A transaction was rolled back, and its borrower had not asked for that. Not told of a failed
    /// `ROLLBACK`.
    #[non_exhaustive]
    TransactionEnded {
        /// Who ended it.
        why: TransactionEnd,
    },
    /// A statement did not stop at its deadline, and its caller continued without it. The
    /// connection counts as in use until the statement ends, and is then closed. Told before its
    /// [`StatementFinished`](Event::StatementFinished).
    #[non_exhaustive]
    StatementAbandoned {
        /// Its SQL text.
        sql: &'a str,
        /// How long it has run.
        time: Duration,
    },
}

/// How a statement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatementResult {
    /// It succeeded.
    Done,
    /// The call returned an error of this kind.
    Failed(ErrorKind),
    /// The call's future was dropped, or the call panicked. A cursor that is dropped before its end
    /// is [`Done`](StatementResult::Done).
    Cancelled,
}

/// Defines an enum whose cases have names.
macro_rules! named {
    ($(#[$of_enum:meta])* $enum:ident { $($(#[$of_case:meta])* $case:ident = $name:literal,)* }) => {
        $(#[$of_enum])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $enum { $($(#[$of_case])* $case,)* }

        impl $enum {
            /// Its name, in lower case with `_`, for logs and metrics.
            pub fn name(self) -> &'static str {
                match self { $($enum::$case => $name,)* }
            }
        }
    };
}

named! {
    /// Why a caller did not get a connection.
    NotGot {
        /// Every connection was in use until the pool's timeout.
        Timeout = "timeout",
        /// Every connection was in use until the request's deadline.
        Deadline = "deadline",
        /// The request was [interrupted](crate::Request::interrupt) while it waited.
        Interrupted = "interrupted",
        /// The caller dropped the future.
        Cancelled = "cancelled",
        /// The pool is closed, or was closed meanwhile.
        PoolClosed = "pool_closed",
        /// The access or the grant is not allowed, or not supported.
        Refused = "refused",
        /// A connection could not be opened, or not be prepared.
        Failed = "failed",
    }
}

named! {
    /// Who returned a connection.
    Return {
        /// Its borrower, or the end of its borrower's request.
        Returned = "returned",
        /// Its borrower, to be [closed](crate::Connection::close).
        ToClose = "to_close",
        /// The pool: it was held for longer than
        /// [`max_hold_time`](crate::Grant::max_hold_time).
        HoldTime = "hold_time",
        /// The pool, which is closing.
        PoolClosed = "pool_closed",
        /// The pool: a call on its own thread did not finish, because its future was dropped, it
        /// panicked, or its time was over before it could run there.
        Unfinished = "unfinished",
        /// The thread of a statement that was [abandoned](Event::StatementAbandoned).
        Abandoned = "abandoned",
    }
}

named! {
    /// Why a connection was closed.
    Close {
        /// Its borrower [asked for that](crate::Connection::close).
        Asked = "asked",
        /// It could not be reset, or a call on it panicked.
        Unclean = "unclean",
        /// It could not be prepared for a borrower: its file was replaced, for instance.
        Unusable = "unusable",
        /// A call on it [did not finish](Return::Unfinished).
        Unfinished = "unfinished",
        /// Its statement was [abandoned](Event::StatementAbandoned), and has ended now.
        Abandoned = "abandoned",
        /// As many as [`max_idle`](crate::Settings::max_idle) were idle.
        Excess = "excess",
        /// It was idle for [`max_idle_time`](crate::Settings::max_idle_time).
        Idle = "idle",
        /// The pool is closing, or is gone.
        PoolClosed = "pool_closed",
    }
}

impl Close {
    /// Whether something was wrong with the connection.
    pub fn is_discard(self) -> bool {
        match self {
            Close::Unclean | Close::Unusable | Close::Unfinished | Close::Abandoned => true,
            Close::Asked | Close::Excess | Close::Idle | Close::PoolClosed => false,
        }
    }
}

named! {
    /// How the wait for the turn to write ended.
    TurnEnd {
        /// The turn came.
        Got = "got",
        /// The writer that had the turn ran and committed the statement: group commit.
        Grouped = "grouped",
        /// It did not come: the pool's timeout, the request's deadline, the end of the hold time,
        /// an interrupt, or the end of the pool.
        InVain = "in_vain",
        /// The caller dropped the future.
        Cancelled = "cancelled",
    }
}

named! {
    /// Who ended a transaction.
    TransactionEnd {
        /// The pool: it was open for longer than
        /// [`max_transaction_time`](crate::Grant::max_transaction_time).
        TransactionTime = "transaction_time",
        /// The pool: its connection was held for longer than
        /// [`max_hold_time`](crate::Grant::max_hold_time).
        HoldTime = "hold_time",
        /// A statement in it ran out of its time, or its request's.
        Deadline = "deadline",
        /// Its connection was returned while it was open, by its borrower or at the end of its
        /// request.
        Returned = "returned",
        /// Its [handle](crate::Transaction) was dropped while it was open, by its borrower or at
        /// the end of its request.
        Dropped = "dropped",
        /// A call on its connection [did not finish](Return::Unfinished).
        Unfinished = "unfinished",
        /// The pool, which is closing.
        PoolClosed = "pool_closed",
        /// SQLite or the server, because of an error: a full disk, for instance, or a failed
        /// commit.
        Engine = "engine",
    }
}
