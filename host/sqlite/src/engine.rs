//! SQLite as the engine of a pool: one database, and what its connections share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use millpond_pool::clock::NEVER;
use millpond_pool::engine::{Engine, Limits, Opening, Rights, Session, StopFlag};
use millpond_pool::{Access, PoolStats};

use crate::error::{Error, ErrorKind, Result};
use crate::open::settings::Settings;
use crate::open::{Location, Opened, self_test};
use crate::session::Db;
use crate::writers::checkpoint::Checkpoints;
use crate::writers::job::Job;
use crate::writers::queue::TurnQueue;

/// A database, in a file or in memory.
#[derive(Debug)]
pub(crate) struct Sqlite {
    location: Arc<Location>,
    settings: Settings,
    name: Arc<str>,
    turns: Arc<TurnQueue<Job>>,
    checkpoints: Arc<Checkpoints>,
    /// Whether the linked library has passed the self-test.
    is_tested: AtomicBool,
    /// An in-memory database lives as long as a connection to it: this one, which is never lent.
    _anchor: Option<Mutex<Opened>>,
}

impl Sqlite {
    /// Blocks while it opens a file.
    pub(crate) fn new(location: Location, settings: Settings) -> Result<Sqlite> {
        location.create(settings.read_only)?;
        location.remember();
        let anchor = match location.is_memory() {
            true => Some(Mutex::new(location.open(
                &settings,
                Arc::default(),
                NEVER,
            )?)),
            false => None,
        };
        let location = Arc::new(location);
        let turns = TurnQueue::new();
        let checkpoints =
            Checkpoints::new(Arc::clone(&location), settings.clone(), Arc::clone(&turns));
        Ok(Sqlite {
            name: location.name().into(),
            location,
            settings,
            turns,
            checkpoints,
            is_tested: AtomicBool::new(false),
            _anchor: anchor,
        })
    }

    fn open(&self, stop: Arc<StopFlag>, until: u64) -> Result<Db> {
        let opened = self.location.open(&self.settings, stop, until)?;
        if !self.is_tested.load(Ordering::Relaxed) {
            let _compiling = opened.authorizer.start_inspection();
            self_test::run(&opened.conn)?;
            self.is_tested.store(true, Ordering::Relaxed);
        }
        let (turns, checkpoints) = (Arc::clone(&self.turns), Arc::clone(&self.checkpoints));
        let name = Arc::clone(&self.name);
        Ok(Db::new(opened, &self.settings, turns, name, checkpoints))
    }
}

impl Engine for Sqlite {
    fn open(&self, stop: Arc<StopFlag>, until: u64) -> Opening<'_> {
        Box::pin(async move {
            let session: Box<dyn Session> = Box::new(self.open(stop, until)?);
            Ok(session)
        })
    }

    fn check(&self, access: Access, _: &Rights, _: &Limits) -> millpond_pool::Result<()> {
        match self.settings.read_only && access == Access::ReadWrite {
            false => Ok(()),
            true => {
                Err(Error::new(ErrorKind::NotAuthorized, "the database is open read-only").into())
            }
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn count(&self, stats: &mut PoolStats) {
        let turns = self.turns.counters();
        stats.writers_waiting = turns.waiting;
        stats.writer_timeouts = turns.timeouts;
        stats.writer_wait_time = turns.wait_time;
        stats.groups = turns.groups;
        stats.grouped_statements = turns.grouped;
    }

    fn close(&self) {
        self.turns.close();
    }

    fn finish(&self) {
        self.checkpoints.close();
    }
}

#[cfg(test)]
mod tests {
    use millpond_pool::clock::now;
    use millpond_pool::engine::{Call, Step, Stop};
    use millpond_pool::{Parameters, TransactionMode};

    use super::*;

    fn call() -> Call {
        Call {
            now: now(),
            hold_until: NEVER,
            aside: false,
            at_once: false,
            left: None,
            outcome: None,
        }
    }

    fn is_rolled_back<T: std::fmt::Debug>(step: Step<T>) -> bool {
        match step.expect_err("refused") {
            Stop::Error(error) => error.rolled_back(),
            stop => panic!("{stop:?}"),
        }
    }

    /// SQLite fails to undo something only if the disk or the memory fails at that moment, so the
    /// test says that it did.
    #[test]
    fn a_transaction_that_could_not_be_undone_ends_once_and_commits_nothing() {
        let engine = Sqlite::new(Location::memory(), Settings::default()).expect("an engine");
        let mut db = engine.open(Arc::default(), NEVER).expect("a session");
        let execute = |db: &mut Db, sql: &str| Session::execute(db, call(), sql, &Parameters::NONE);
        execute(&mut db, "CREATE TABLE t(a)").expect("a table");
        let transaction = Session::begin(&mut db, call(), TransactionMode::Immediate);
        let transaction = transaction.expect("begun");
        execute(&mut db, "INSERT INTO t VALUES (1)").expect("written");
        db.must_have_undone(Err(Error::new(ErrorKind::Io, "the disk failed")));

        // Whatever its owner tries.
        assert!(is_rolled_back(execute(&mut db, "INSERT INTO t VALUES (2)")));
        assert!(is_rolled_back(Session::commit(
            &mut db,
            call(),
            transaction
        )));
        execute(&mut db, "ROLLBACK").expect("it has ended");
        assert!(is_rolled_back(execute(&mut db, "INSERT INTO t VALUES (3)")));
        let reset = Session::reset(&mut db);
        assert_eq!(
            (reset.clean, reset.rolled_back),
            (false, false),
            "told before"
        );
        let rows = Session::query(&mut db, call(), "SELECT a FROM t", &Parameters::NONE, false);
        assert!(rows.expect("rows").rows.is_empty());
    }
}
