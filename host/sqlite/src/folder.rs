//! A folder with a database for each key.

use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Dir;
use millpond_pool::engine::hand_over;
use millpond_pool::{Error, ErrorKind, Pool, Pools, PoolsSettings, Result};

use crate::builder::PoolBuilder;
use crate::migrations::Migrations;

/// The longest key, in bytes.
const MAX_KEY: usize = 64;

/// A folder with one database file for each key, such as a tenant's name: `KEY.db`.
///
/// A key has 1 to 64 characters: lower-case ASCII letters, digits, `-` and `_`; the first is a
/// letter or a digit. Other keys are refused, so no key names a file outside the folder, or another
/// key's file on a case-insensitive file system. Symbolic links are not followed.
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
#[derive(Debug)]
#[must_use = "a folder opens nothing until it is made into pools"]
pub struct Folder {
    dir: Dir,
    create: bool,
    builder: PoolBuilder,
    migrations: Option<Migrations>,
}

impl Folder {
    /// The folder at `path`, which must exist. Nothing in it is opened yet. It stays the same folder,
    /// whatever happens to its path.
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
            dir,
            create: false,
            builder: PoolBuilder::new(),
            migrations: None,
        }
    }

    /// Whether to create the database of a key that has none. If keys come from requests, each request
    /// can then create a file. Defaults to false.
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
        self.migrations = Some(migrations);
        self
    }

    /// Pools of these databases. The first use of a key opens its pool. Opening a pool blocks the
    /// calling thread, after handing over its worker: about a millisecond, plus the migrations.
    ///
    /// [`Pools::get`] returns, besides its own errors:
    /// [`NoSuchDatabase`](ErrorKind::NoSuchDatabase): the key is not one, or it has no file and
    /// [`create`](Folder::create) is not set. [`CannotOpen`](ErrorKind::CannotOpen): a migration
    /// failed; those before it are kept. And those of [`PoolBuilder::open_in`].
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): a setting is out of its bounds.
    pub fn pools(self, settings: PoolsSettings) -> Result<Pools> {
        self.builder.check()?;
        let folder = Arc::new(self);
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

    fn check(&self, key: &str) -> Result<()> {
        if is_key(key) && (self.create || self.exists(&format!("{key}.db"))?) {
            return Ok(());
        }
        // Without the key, which may be long, and a client's.
        let message = "there is no such database";
        Err(Error::new(ErrorKind::NoSuchDatabase, message))
    }

    fn pool_of(&self, key: &str) -> Result<Pool> {
        // The file may have been deleted meanwhile.
        self.check(key)?;
        let file = format!("{key}.db");
        if let Some(migrations) = &self.migrations {
            let report = migrations
                .run_in(&self.dir, &file)
                .map_err(|error| Error::new(ErrorKind::CannotOpen, format!("{file}: {error}")))?;
            for warning in report.warnings {
                log::warn!("{file}: {warning}");
            }
        }
        let builder = self.builder.clone().tenant(key);
        builder.open_in(&self.dir, &file)
    }

    fn exists(&self, file: &str) -> Result<bool> {
        match self.dir.symlink_metadata(file) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == IoErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::new(
                ErrorKind::CannotOpen,
                format!("{file}: {error}"),
            )),
        }
    }
}

fn is_key(key: &str) -> bool {
    let is_plain = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9');
    let bytes = key.as_bytes();
    bytes.first().is_some_and(|first| is_plain(*first))
        && bytes.len() <= MAX_KEY
        && bytes
            .iter()
            .all(|c| is_plain(*c) || matches!(c, b'-' | b'_'))
}
