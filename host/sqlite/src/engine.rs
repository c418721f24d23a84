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
