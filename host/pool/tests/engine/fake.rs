//! An engine that runs no SQL, and does what its "statements" say.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use millpond_pool::clock;
use millpond_pool::engine::{
    Call, Engine, Left, Limits, Opening, Outcome, Reset, Rights, Session, Step, Stop, StopFlag,
    Terms,
};
use millpond_pool::{
    Access, Column, Connection, Description, Error, ErrorKind, Parameters, Pool, PoolStats, Result,
    ResultSet, Rows, Settings, Summary, TransactionMode,
};
use tokio::sync::Notify;

pub(crate) static NONE: Parameters = Parameters::NONE;
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// What a fake's sessions share with the test.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    pub(crate) opened: AtomicU32,
    pub(crate) dropped: AtomicU32,
    pub(crate) alive: Arc<Alive>,
    /// While set, opening a session fails.
    pub(crate) unreachable: AtomicBool,
    /// Releases calls of `wait`.
    pub(crate) released: Notify,
    /// How many calls of `aside wait` wait.
    pub(crate) waiting: AtomicU32,
    /// Releases calls of `stuck`.
    pub(crate) unstuck: AtomicBool,
    /// How many calls have begun on a session's own thread.
    pub(crate) begun_aside: AtomicU32,
    /// Notified when a session begins a call.
    pub(crate) began: Notify,
    pub(crate) done: Mutex<Vec<String>>,
}

/// How many sessions of several fakes are open.
#[derive(Debug, Default)]
pub(crate) struct Alive {
    pub(crate) now: AtomicU32,
    pub(crate) most: AtomicU32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fake(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct FakeSession {
    shared: Arc<Shared>,
    stop: Arc<StopFlag>,
    limits: Limits,
    transaction: Option<u64>,
    transactions: u64,
    soiled: bool,
}

/// The outcome of a `wait`.
pub(crate) struct Waited;

/// The outcome of the first wait of a `turn`.
struct Turn;

impl Engine for Fake {
    fn open(&self, stop: Arc<StopFlag>, _: u64) -> Opening<'_> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.0.unreachable.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Unavailable, "nothing answers"));
            }
            self.0.opened.fetch_add(1, Ordering::SeqCst);
            let alive = 1 + self.0.alive.now.fetch_add(1, Ordering::SeqCst);
            self.0.alive.most.fetch_max(alive, Ordering::SeqCst);
            let session: Box<dyn Session> = Box::new(FakeSession {
                shared: Arc::clone(&self.0),
                stop,
                limits: Limits::default(),
                transaction: None,
                transactions: 0,
                soiled: false,
            });
            Ok(session)
        })
    }

    fn check(&self, _: Access, rights: &Rights, _: &Limits) -> Result<()> {
        match rights.tables() {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::Unsupported, "the fake has no tables")),
        }
    }

    fn name(&self) -> &str {
        self.0.name
    }

    fn count(&self, stats: &mut PoolStats) {
        stats.groups = 7;
    }
}

impl FakeSession {
    fn run(&mut self, call: Call, sql: &str) -> Step<()> {
        let time = match call.left {
            Some(left) => Duration::from_nanos(left.time),
            None => self.limits.statement,
        };
        let until = clock::from(call.now, time);
        self.stop.start(until.min(call.hold_until));
        let aside = Stop::Aside {
            at_once: false,
            left: Some(Left {
                time: until.saturating_sub(clock::now()),
                steps: clock::NEVER,
            }),
        };
        if call.aside {
            self.shared.begun_aside.fetch_add(1, Ordering::SeqCst);
        }
        self.shared.began.notify_one();
        match sql {
            "wait" => match call.outcome {
                Some(outcome) => {
                    assert!(outcome.is::<Waited>());
                    assert!(self.stop.start_commit(), "abandoned");
                    self.stop.end_commit();
                }
                None => {
                    let shared = Arc::clone(&self.shared);
                    return Err(Stop::wait(async move {
                        shared.released.notified().await;
                        Waited
                    }));
                }
            },
            "aside wait" if !call.aside => return Err(aside),
            "aside wait" => match call.outcome {
                Some(outcome) => assert!(outcome.is::<Waited>()),
                None => {
                    let shared = Arc::clone(&self.shared);
                    return Err(Stop::wait(async move {
                        shared.waiting.fetch_add(1, Ordering::SeqCst);
                        shared.released.notified().await;
                        Waited
                    }));
                }
            },
            // Waits for its turn to write, and then for something else.
            "turn" => match call.outcome {
                None => {
                    if let Some(notes) = self.stop.notes() {
                        notes.wrote();
                        notes.ended_transaction(false);
                    }
                    let shared = Arc::clone(&self.shared);
                    return Err(Stop::wait_for_turn(async move {
                        shared.released.notified().await;
                        Outcome::new(Turn)
                    }));
                }
                Some(outcome) if outcome.is::<Turn>() => {
                    let shared = Arc::clone(&self.shared);
                    return Err(Stop::wait(async move {
                        shared.released.notified().await;
                        Waited
                    }));
                }
                Some(_) => {}
            },
            "wait in vain" => return Err(Stop::wait(pending::<Waited>())),
            "long" | "stuck" if !call.aside => return Err(aside),
            "long" => {
                while !self.stop.must_stop() {
                    std::thread::yield_now();
                }
                return Err(Error::new(ErrorKind::DeadlineExceeded, "stopped").into());
            }
            "stuck" => {
                while !self.shared.unstuck.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            }
            "panic" => panic!("as it was told"),
            "soil" => self.soiled = true,
            _ => assert!(call.outcome.is_none(), "of another call: {sql}"),
        }
        self.shared
            .done
            .lock()
            .expect("no panic")
            .push(sql.to_owned());
        Ok(())
    }

    fn end(&mut self, transaction: u64) -> Step<()> {
        match self.transaction.take_if(|open| *open == transaction) {
            Some(_) => {
                self.stop.set_transaction_until(clock::NEVER);
                Ok(())
            }
            None => Err(Error::new(ErrorKind::StaleHandle, "it has ended").into()),
        }
    }
}

impl Session for FakeSession {
    fn suits(&self, _: Access) -> bool {
        true
    }

    fn lend(&mut self, terms: &Terms<'_>) -> Result<()> {
        self.limits = terms.limits;
        Ok(())
    }

    fn reset(&mut self) -> Reset {
        Reset {
            clean: !self.soiled,
            rolled_back: self.transaction.take().is_some(),
        }
    }

    fn execute(&mut self, call: Call, sql: &str, _: &Parameters) -> Step<Summary> {
        self.run(call, sql).map(|()| Summary::default())
    }

    fn query(&mut self, call: Call, sql: &str, _: &Parameters, _: bool) -> Step<ResultSet> {
        self.run(call, sql)?;
        Ok(ResultSet {
            columns: Vec::new(),
            rows: Rows::new(),
        })
    }

    fn execute_script(&mut self, call: Call, sql: &str, start: &mut usize) -> Step<()> {
        *start = sql.len();
        self.run(call, sql)
    }

    fn prepare(&mut self, call: Call, sql: &str) -> Step<usize> {
        self.run(call, sql).map(|()| 1)
    }

    fn describe(&mut self, call: Call, _: usize) -> Step<Description> {
        self.run(call, "describe")?;
        Ok(Description {
            columns: Vec::new(),
            parameter_names: Vec::new(),
            read_only: true,
        })
    }

    fn execute_prepared(&mut self, call: Call, _: usize, _: &Parameters) -> Step<Summary> {
        self.run(call, "prepared").map(|()| Summary::default())
    }

    fn execute_many(&mut self, call: Call, _: usize, _: &Rows) -> Step<Summary> {
        self.run(call, "many").map(|()| Summary::default())
    }

    fn query_prepared(
        &mut self,
        call: Call,
        _: usize,
        _: &Parameters,
        _: u32,
        _: bool,
    ) -> Step<(Rows, Option<Vec<Column>>, Option<u64>)> {
        self.run(call, "page")?;
        Ok((Rows::new(), None, Some(1)))
    }

    fn next(&mut self, call: Call, _: usize, _: u64, _: u32) -> Step<Rows> {
        self.run(call, "wait")?;
        Ok(Rows::new())
    }

    fn begin(&mut self, call: Call, _: TransactionMode) -> Step<u64> {
        self.transactions += 1;
        self.transaction = Some(self.transactions);
        let until = clock::from(call.now, self.limits.transaction);
        self.stop.set_transaction_until(until);
        Ok(self.transactions)
    }

    fn commit(&mut self, _: Call, transaction: u64) -> Step<()> {
        self.end(transaction)
    }

    fn rollback(&mut self, _: Call, transaction: u64) -> Step<()> {
        self.end(transaction)
    }

    fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    fn drop_statement(&mut self, _: usize) {}

    fn drop_cursor(&mut self, _: usize, _: u64) {}

    fn drop_transaction(&mut self, transaction: u64) {
        let _ = self.end(transaction);
    }

    fn end_overdue(&mut self) {
        self.transaction = None;
        self.stop.set_transaction_until(clock::NEVER);
        // The call that waits continues.
        self.shared.released.notify_one();
    }
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.shared.dropped.fetch_add(1, Ordering::SeqCst);
        self.shared.alive.now.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) async fn pool(fake: &Fake, max_size: u32) -> Pool {
    let settings = Settings::new(max_size, HOUR);
    let pool = Pool::open(Arc::new(fake.clone()), settings).await;
    pool.expect("a pool")
}

pub(crate) async fn get(pool: &Pool) -> Connection {
    pool.get(Access::ReadWrite).await.expect("a connection")
}

/// Poll a call once.
pub(crate) async fn begin<T>(call: &mut Pin<Box<impl Future<Output = T>>>) {
    poll_fn(|context| {
        assert!(call.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("an error").kind()
}
