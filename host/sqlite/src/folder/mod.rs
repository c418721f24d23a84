//! A folder with a database for each key.

mod error;
pub(crate) mod files;
mod key;
mod list;
mod migrate;

use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Dir;
use millpond_pool::engine::hand_over;
use millpond_pool::{Error, ErrorKind, Pool, Pools, PoolsSettings, Result};

pub use self::error::FolderError;
pub(crate) use self::files::database as file_of;
pub(crate) use self::key::is_key;
pub use self::key::{InvalidKey, TenantKey};
pub use self::list::{Tenant, Tenants};
pub use self::migrate::{Migrated, MigratedAll};
use crate::builder::{PoolBuilder, open};
use crate::migrations::Migrations;
use crate::open::Location;

/// A folder with one database file for each key, such as a tenant's name: `KEY.db`.
///
/// A key is a [`TenantKey`]. Others are refused. Symbolic links are not followed. Clones are the
/// same folder, with the same settings.
///
/// [`pools`](Folder::pools) serves the databases. [`list`](Folder::list),
/// [`migrate_all`](Folder::migrate_all), [`create_database`](Folder::create_database),
/// [`suspend`](Folder::suspend), [`resume`](Folder::resume), [`backup`](Folder::backup) and
/// [`delete_database`](Folder::delete_database) manage them, also beside other processes that serve
/// them.
///
/// [`BackupSchedule::of_folder`](crate::backup::BackupSchedule::of_folder) backs all of them up, at
/// intervals.
///
/// ```
/// use millpond_pool::{Access, Parameters, PoolsSettings};
/// use millpond_sqlite::{Folder, PoolBuilder, migrations::Migrations};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let here = tempfile::tempdir()?;
/// # let path = here.path();
/// let migrations = Migrations::from_texts([("1-note.sql", "CREATE TABLE note(body TEXT);")])?;
/// let tenants = Folder::open(path)?
///     .create(true)
///     .pool(PoolBuilder::new().max_size(4))
///     .migrations(migrations)
///     .pools(PoolsSettings::new(1_000))?;
///
/// let connection = tenants.get("a-tenant").await?.get(Access::ReadWrite).await?;
/// connection.execute("INSERT INTO note VALUES ('hello')", &Parameters::NONE).await?;
/// # drop(connection);
/// # tenants.close(std::time::Duration::ZERO).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a folder opens nothing until it is made into pools"]
pub struct Folder {
    pub(crate) dir: Arc<Dir>,
    create: bool,
    builder: PoolBuilder,
    pub(crate) migrations: Option<Arc<Migrations>>,
}

impl Folder {
    /// The folder at `path`, which must exist. Nothing in it is opened yet. It stays the same
    /// folder, whatever happens to its path.
    ///
    /// # Errors
    ///
    /// [`CannotOpen`](ErrorKind::CannotOpen): it does not exist, or the system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Folder> {
        let path = path.as_ref();
        let dir = Dir::open_ambient_dir(path, cap_std::ambient_authority());
        let dir = dir.map_err(|error| {
            let message = format!("cannot open the folder {}: {error}", path.display());
            Error::new(ErrorKind::CannotOpen, message)
        })?;
        Ok(Folder::new(dir))
    }

    /// A folder that is open.
    pub fn new(dir: Dir) -> Folder {
        Folder {
            dir: Arc::new(dir),
            create: false,
            builder: PoolBuilder::new(),
            migrations: None,
        }
    }

    /// Whether to create the database of a key that has none. If keys come from requests, each
    /// request can then create a file. Defaults to false.
    pub fn create(mut self, create: bool) -> Folder {
        self.create = create;
        self
    }

    /// The settings of each pool. Defaults to those of [`PoolBuilder::new`]. The key is the
    /// [tenant](PoolBuilder::tenant) in events.
    pub fn pool(mut self, builder: PoolBuilder) -> Folder {
        self.builder = builder;
        self
    }

    /// Run these migrations on a database before its pool opens: each runs once, as
    /// [`Migrations::run`] says. Their warnings are logged.
    pub fn migrations(mut self, migrations: Migrations) -> Folder {
        self.migrations = Some(Arc::new(migrations));
        self
    }

    /// Pools of these databases. The first use of a key opens its pool. Opening a pool blocks the
    /// calling thread, after handing over its worker: about a millisecond, plus the migrations.
    ///
    /// [`Pools::get`] returns, besides its own errors:
    /// [`NoSuchDatabase`](ErrorKind::NoSuchDatabase): the key is not one, or it has no file and
    /// [`create`](Folder::create) is not set. [`Unavailable`](ErrorKind::Unavailable): the database
    /// is [suspended](Folder::suspend). [`CannotOpen`](ErrorKind::CannotOpen): a migration failed;
    /// those before it are kept. And those of [`PoolBuilder::open_in`].
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): a setting is out of its bounds.
    pub fn pools(&self, settings: PoolsSettings) -> Result<Pools> {
        self.builder.check()?;
        let folder = Arc::new(self.clone());
        let checked = Arc::clone(&folder);
        let check = move |key: &str| checked.check(key);
        Pools::new(settings, check, move |key| {
            let folder = Arc::clone(&folder);
            async move {
                hand_over();
                folder.pool_of(&key)
            }
        })
    }

    /// Two system calls, for each [`Pools::get`].
    fn check(&self, key: &str) -> Result<()> {
        let find = |file: String| {
            let found = files::find(&self.dir, &file);
            let about = |error| Error::new(ErrorKind::CannotOpen, format!("{file}: {error}"));
            found.map(|found| found.is_some()).map_err(about)
        };
        // Without the key, which may be long, and a client's.
        let no_such = |message: String| Error::new(ErrorKind::NoSuchDatabase, message);
        if !is_key(key) {
            return Err(no_such(format!("there is no such database: {InvalidKey}")));
        }
        if !(self.create || find(files::database(key))?) {
            return Err(no_such("there is no such database".to_owned()));
        }
        if find(files::marker(key))? {
            let message = "the database is suspended";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        Ok(())
    }

    fn pool_of(&self, key: &str) -> Result<Pool> {
        // It may have been suspended or deleted meanwhile.
        self.check(key)?;
        let file = files::database(key);
        // A file that is deleted after the check must not reappear empty.
        let location = |must_exist| {
            let location = Location::in_dir(&self.dir, &file)?;
            Ok::<_, crate::error::Error>(location.must_exist(must_exist))
        };
        let mut must_exist = !self.create;
        if let Some(migrations) = &self.migrations {
            let report = migrations
                .run_at(&location(must_exist)?)
                .map_err(|error| Error::new(ErrorKind::CannotOpen, format!("{file}: {error}")))?;
            for warning in report.warnings {
                log::warn!("{file}: {warning}");
            }
            // Nor reappear without its tables.
            must_exist = true;
        }
        let settings = self.builder.clone().tenant(key).settings();
        open(location(must_exist)?, settings, |engine| engine)
    }
}
