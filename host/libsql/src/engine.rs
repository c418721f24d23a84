//! A libSQL server as the engine of a pool.

use std::sync::Arc;
use std::time::Duration;

use millpond_pool::clock;
use millpond_pool::engine::{Engine, Limits, Opening, Rights, Session, StopFlag};
use millpond_pool::{Access, Error, ErrorKind, PoolStats, Result};
use tokio::time::timeout;

use crate::error::unavailable;
use crate::session::{Core, LibsqlSession};
use crate::settings::Settings;
use crate::shared::Shared;

/// A database of a server.
#[derive(Debug)]
pub(crate) struct Libsql {
    shared: Arc<Shared>,
    name: String,
}

impl Libsql {
    pub(crate) fn new(url: &str, settings: Settings) -> Result<Libsql> {
        let shared = Shared::new(url, settings)?;
        let name = match &shared.settings.namespace {
            Some(namespace) => format!("{} ({namespace})", shared.target.name()),
            None => shared.target.name(),
        };
        Ok(Libsql {
            shared: Arc::new(shared),
            name,
        })
    }

    async fn open(&self, stop: Arc<StopFlag>, until: u64) -> Result<Box<dyn Session>> {
        let mut core = Core::new(Arc::clone(&self.shared), Arc::clone(&stop));
        let left = Duration::from_nanos(until.saturating_sub(clock::now()));
        let limit = left.min(2 * self.shared.settings.connect_timeout);
        match timeout(limit, core.greet()).await {
            Ok(greeted) => greeted?,
            Err(_) => return Err(unavailable("does not answer")),
        }
        Ok(Box::new(LibsqlSession::new(core, stop)))
    }
}

impl Engine for Libsql {
    fn open(&self, stop: Arc<StopFlag>, until: u64) -> Opening<'_> {
        Box::pin(self.open(stop, until))
    }

    fn check(&self, access: Access, rights: &Rights, limits: &Limits) -> Result<()> {
        let settings = &self.shared.settings;
        let unsupported = |what: &str| {
            let message = format!("a libSQL server has no {what}: leave it out of the grant");
            Err(Error::new(ErrorKind::Unsupported, message))
        };
        if settings.read_only && access == Access::ReadWrite {
            return Err(Error::new(
                ErrorKind::NotAuthorized,
                "the database is open for reading only",
            ));
        }
        if rights.temporary() {
            return unsupported("temporary tables");
        }
        if limits.steps.is_some() {
            return unsupported("limit of steps");
        }
        if rights.tables().is_some() && !settings.server_enforces_tables {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "grants of tables are not enforced on a libSQL server: leave them out, or set \
                 `server_enforces_tables` where the token of this pool is restricted by the server",
            ));
        }
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn count(&self, stats: &mut PoolStats) {
        self.shared.count(stats);
    }

    fn close(&self) {
        self.shared.close();
    }

    fn finish(&self) {
        self.shared.forget_idle();
    }
}
