//! A lent connection, and its way back to the pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::clock;
use crate::db::{Answer, Attempt, Db, Job, Stop, TransactionMode, Wants};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::Shared;
use crate::request::RequestId;
use crate::slots::Place;
use crate::statement::Statement;
use crate::transaction::Transaction;
use crate::turn::Waited;
use crate::value::{Parameters, Summary, Table};
use crate::watch::Watch;

/// A connection lent by a [`Pool`](crate::Pool). Dropped, it goes back: an open transaction is
/// rolled back, and everything else that it left behind is undone.
///
/// A call that writes **waits its turn to write**, for up to the pool's timeout, without a
/// thread, but for the first 300 µs where single statements of several callers are being committed together:
/// it then keeps its thread awake, behind all others. Dropping its future leaves the line. Calls that wait need a tokio runtime with time
/// enabled, or [`block_on`](crate::block_on).
///
/// The statement itself runs on the calling thread. Where that is a worker of a multi-thread tokio runtime,
/// and the statement takes longer than 1 to 2 ms, the worker is handed to another thread
/// ([`block_in_place`](tokio::task::block_in_place)): the runtime's other tasks go on. On any other thread
/// everything waits that is to run there.
///
/// Make one call at a time: of two calls that write at once, the second may wait for a
/// transaction that the first begins on the same connection, until the timeout.
///
/// # Errors
///
/// Every call that runs SQL can fail with the kinds that SQLite's result codes are mapped to, and
/// with [`StaleHandle`](ErrorKind::StaleHandle) once the connection has been returned. The
/// methods name what else they add.
#[derive(Debug)]
pub struct Connection {
    lent: Arc<Lent>,
}

/// What a connection and the handles of its statements, cursors and transaction share.
#[derive(Debug)]
pub(crate) struct Lent {
    pool: Arc<Shared>,
    request: RequestId,
    watch: Arc<Watch>,
    /// The number of this lending, for the watch.
    lending: u64,
    /// Until when it may be held, by `clock`.
    hold_until: u64,
    /// The pool took it back before its borrower gave it.
    overdue: AtomicBool,
    /// `None` once it has gone back.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    db: Box<Db>,
    place: Place,
    /// Its part of what its grant may hold.
    _share: Option<OwnedSemaphorePermit>,
    /// Where the pool's list of connections in use has it.
    entry: usize,
}

impl Connection {
    pub(crate) fn new(lent: Arc<Lent>) -> Connection {
        Connection { lent }
    }

    /// Run one statement for its effect. Rows that it yields are not kept.
    ///
    /// # Errors
    ///
    /// [`Sql`](ErrorKind::Sql): the text holds no statement or more than one.
    /// [`Parameters`](ErrorKind::Parameters): they do not fit the statement.
    /// [`Busy`](ErrorKind::Busy): the turn to write did not come in time, or would be waited
    /// for for ever. [`BusySnapshot`](ErrorKind::BusySnapshot).
    pub async fn execute(&self, sql: &str, parameters: &Parameters) -> Result<Summary> {
        let job = |db: &Db| db.job(sql, parameters, Wants::Summary);
        self.lent
            .attempt_or(|db| db.execute(sql, parameters), job, Answer::into_summary)
            .await
    }

    /// Run one statement and take its whole result.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute); [`TooLarge`](ErrorKind::TooLarge): the result
    /// exceeds [`max_result_bytes`](crate::PoolBuilder::max_result_bytes);
    /// [`NotUtf8`](ErrorKind::NotUtf8). What the statement wrote is then undone.
    pub async fn query(&self, sql: &str, parameters: &Parameters) -> Result<Table> {
        let job = |db: &Db| db.job(sql, parameters, Wants::Table);
        self.lent
            .attempt_or(|db| db.query(sql, parameters), job, Answer::into_table)
            .await
    }

    /// Run every statement of a script, in order, up to the first that fails. What ran before
    /// stays.
    ///
    /// # Errors
    ///
    /// As [`execute`](Connection::execute), with the offset counted from the script's beginning.
    pub async fn execute_script(&self, sql: &str) -> Result<()> {
        let mut start = 0;
        self.lent
            .attempt(|db| db.execute_script(sql, &mut start))
            .await
    }

    /// Compile one statement to run many times. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Sql`](ErrorKind::Sql): the text holds no statement or more than one.
    pub fn prepare(&self, sql: &str) -> Result<Statement> {
        let key = self.lent.call(|db| db.prepare(sql))??;
        Ok(Statement::new(Arc::clone(&self.lent), key))
    }

    /// Begin a transaction. Statements of this connection are in it until the handle ends.
    /// [`Immediate`](TransactionMode::Immediate) waits its turn to write.
    ///
    /// # Errors
    ///
    /// [`Sql`](ErrorKind::Sql): a transaction is open already.
    /// [`NotAuthorized`](ErrorKind::NotAuthorized): immediate, on a read-only connection.
    /// [`Busy`](ErrorKind::Busy): as [`execute`](Connection::execute).
    pub async fn begin(&self, mode: TransactionMode) -> Result<Transaction> {
        let number = self.lent.attempt(|db| db.begin(mode)).await?;
        Ok(Transaction::new(Arc::clone(&self.lent), number))
    }

    /// Whether a transaction is open, begun by handle or by SQL; false once returned.
    pub fn in_transaction(&self) -> bool {
        self.lent.with(|db| db.in_transaction()).unwrap_or(false)
    }

    /// End the connection's statements and waits at `deadline`: one under way then fails with
    /// [`DeadlineExceeded`](ErrorKind::DeadlineExceeded), any later one too. `None` for no
    /// deadline, as a connection starts with. Does nothing once returned.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        let _ = self.lent.with(|db| db.set_deadline(deadline));
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

impl Lent {
    pub(crate) fn new(
        pool: Arc<Shared>,
        db: Box<Db>,
        (place, share): (Place, Option<OwnedSemaphorePermit>),
        request: RequestId,
        lending: u64,
        hold_until: u64,
    ) -> Arc<Lent> {
        let watch = Arc::clone(db.watch());
        Arc::new_cyclic(|lent| {
            let entry = pool.enter(lent.clone());
            Lent {
                pool,
                request,
                watch,
                lending,
                hold_until,
                overdue: AtomicBool::new(false),
                held: Mutex::new(Some(Held {
                    db,
                    place,
                    _share: share,
                    entry,
                })),
            }
        })
    }

    /// Do something with the connection, unless it has gone back.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Db) -> T) -> Result<T> {
        match self.held().as_mut() {
            Some(held) => {
                let _scope = held.db.enter();
                Ok(work(&mut held.db))
            }
            None => Err(self.stale()),
        }
    }

    /// Run SQL on the connection, unless it has gone back or been held for too long.
    pub(crate) fn call<T>(&self, work: impl FnOnce(&mut Db) -> T) -> Result<T> {
        if clock::now() >= self.hold_until {
            self.end_overdue();
        }
        self.with(|db| {
            db.start_call(self.hold_until);
            let result = work(db);
            db.end_call();
            result
        })
    }

    fn stale(&self) -> Error {
        if self.overdue.load(Ordering::Relaxed) {
            return Error::new(
                ErrorKind::StaleHandle,
                "the connection was held for too long and has been taken back",
            );
        }
        Error::stale_connection()
    }

    /// Do something that may need the turn to write, waiting for it where it must. The
    /// connection is not locked meanwhile: the pool can end it.
    pub(crate) async fn attempt<T>(&self, work: impl FnMut(&mut Db) -> Attempt<T>) -> Result<T> {
        self.attempt_or(work, |_| None, |_| None).await
    }

    /// As [`attempt`](Lent::attempt), of something that whoever has the turn may do as well: what that
    /// is, and what is made of the answer.
    pub(crate) async fn attempt_or<T>(
        &self,
        mut work: impl FnMut(&mut Db) -> Attempt<T>,
        job: impl FnOnce(&Db) -> Option<Job>,
        from_answer: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T> {
        let mut job = Some(job);
        let mut from_answer = Some(from_answer);
        loop {
            let attempt = self.call(|db| {
                let attempt = work(db);
                // A turn that was waited for, and then not needed, must not stay here.
                db.settle();
                attempt
            });
            match attempt? {
                Ok(done) => return Ok(done),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Gate) => Box::pin(self.pool.wait_gate(&self.watch)).await,
                Err(Stop::Turn) => {
                    let job = match job.take() {
                        Some(job) => self.with(|db| job(db))?,
                        None => None,
                    };
                    let waited = self.pool.wait_turn(self.request, &self.watch, job);
                    match Box::pin(waited).await? {
                        Waited::Turn(turn) => self.with(|db| db.take_turn(turn))?,
                        Waited::Closed => return Err(Error::closed()),
                        Waited::Done(job) => {
                            let (answer, rowid) = job.into_answer();
                            // Where it has been taken back meanwhile, its rowid is nobody's.
                            let _ = self.with(|db| db.set_last_insert_rowid(rowid));
                            let from_answer = from_answer.take();
                            let done = answer
                                .zip(from_answer)
                                .and_then(|(answer, from)| from(answer));
                            return done.ok_or_else(|| {
                                Error::new(ErrorKind::Other, "another statement was answered")
                            });
                        }
                    }
                }
            }
        }
    }

    /// Stop whatever runs on the connection, and take it from its borrower, to be closed.
    pub(crate) fn end(&self) {
        self.watch.stop(self.lending);
        self.give_back(true);
    }

    /// Take the connection back, if it has been held for too long. Does not wait: one on which a
    /// statement runs is left until that ends, which is soon, because its time is over too.
    pub(crate) fn end_overdue(&self) {
        if clock::now() < self.hold_until {
            return;
        }
        let Ok(mut held) = self.held.try_lock() else {
            return;
        };
        if let Some(held) = held.take() {
            self.overdue.store(true, Ordering::Relaxed);
            self.pool.take_back(held.entry, held.db, held.place, false);
        }
    }

    /// As [`end_overdue`](Lent::end_overdue), for a transaction that has been open for too long.
    pub(crate) fn end_overdue_transaction(&self) {
        if clock::now() < self.watch.transaction_until() {
            return;
        }
        if let Ok(mut held) = self.held.try_lock()
            && let Some(held) = held.as_mut()
        {
            let _scope = held.db.enter();
            held.db.end_overdue();
        }
    }

    fn give_back(&self, close: bool) {
        let poisoned = self.held.is_poisoned();
        let taken = self.held().take();
        if let Some(held) = taken {
            // A panic under the lock may have left a statement half-way: do not lend it again.
            self.pool
                .take_back(held.entry, held.db, held.place, close || poisoned);
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a handle answers when nothing of its connection is left.
pub(crate) fn unless_stale<T>(result: Result<T>, default: T) -> T {
    result.unwrap_or_else(|error| {
        debug_assert_eq!(error.kind(), ErrorKind::StaleHandle);
        default
    })
}
