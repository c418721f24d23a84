//! Opens one database, after its migrations.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use millpond_sqlite::migrations::{MigrationError, Migrations, Report};
use millpond_sqlite::{Folder, PoolBuilder};
use millpond_wasmtime::pool::observe::Observer;
use millpond_wasmtime::pool::{self, ErrorKind, PoolsSettings};

use super::Source;
use crate::config::{Database, Location};
use crate::error::{Error, Result};

pub(super) fn open(
    name: &str,
    settings: &Database,
    observer: Option<&Arc<dyn Observer>>,
) -> Result<Source> {
    let builder = || {
        let builder = builder(settings).name(name);
        match observer {
            Some(observer) => builder.observer(Arc::clone(observer)),
            None => builder,
        }
    };
    let about = |error: &dyn Display| Error::new(format_args!("the database `{name}`: {error}"));
    match settings.location() {
        None => Err(about(&"it is in no place, or in more than one")),
        Some(Location::Memory) => {
            let pool = builder().open_in_memory();
            Ok(Source::One(pool.map_err(|error| {
                about(&error).passing_if(may_pass(&error))
            })?))
        }
        Some(Location::File(path)) => {
            migrate(name, settings)?;
            if !settings.creates() && !path.exists() {
                return Err(Error::about(path, missing(settings)));
            }
            let pool = builder().open(path);
            Ok(Source::One(pool.map_err(not_opened)?))
        }
        Some(Location::Folder(path)) => {
            let folder = folder(path, settings, builder())?;
            let pools = folder.pools(pools_settings(settings));
            Ok(Source::Tenants(pools.map_err(|error| {
                about(&error).passing_if(may_pass(&error))
            })?))
        }
        #[cfg(feature = "libsql")]
        Some(Location::Server(url)) => {
            if !settings.tenant_namespaces {
                migrate(name, settings)?;
            }
            super::server::open(name, url.reveal(), settings, observer)
        }
        #[cfg(not(feature = "libsql"))]
        Some(Location::Server(_)) => Err(about(&NOT_BUILT)),
    }
}

fn not_opened(error: pool::Error) -> Error {
    let may_pass = may_pass(&error);
    Error::new(error).passing_if(may_pass)
}

/// Whether a database that could not be opened may be later, with the same settings.
pub(super) fn may_pass(error: &pool::Error) -> bool {
    use ErrorKind::{Config, Corrupt, Unsupported};

    !matches!(error.kind(), Config | Corrupt | Unsupported)
}

/// Whether migrations that failed may succeed later, with the same files.
pub(super) fn migrations_may_pass(error: &MigrationError) -> bool {
    match error {
        MigrationError::Database(error) => may_pass(error),
        MigrationError::Unknown { .. } => true,
        MigrationError::Failed { error, .. } | MigrationError::Commit { error, .. } => matches!(
            error.kind(),
            ErrorKind::Busy
                | ErrorKind::BusySnapshot
                | ErrorKind::DeadlineExceeded
                | ErrorKind::Io
                | ErrorKind::OutcomeUnknown
                | ErrorKind::QuotaExceeded
                | ErrorKind::StaleHandle
                | ErrorKind::Unavailable
        ),
        _ => false,
    }
}

#[cfg(not(feature = "libsql"))]
const NOT_BUILT: &str =
    "it is on a server, and this program was built without the feature `libsql`";

/// Run the migrations of a database that is not one for each tenant, if it has any. Their warnings
/// are logged. Blocks meanwhile.
///
/// # Errors
///
/// The migrations cannot be read, or one failed: those before it are kept.
pub fn migrate(name: &str, settings: &Database) -> Result<Option<Report>> {
    let Some(migrations) = migrations(settings)? else {
        return Ok(None);
    };
    let about = |error: &dyn Display| Error::new(format_args!("the database `{name}`: {error}"));
    let report = match settings.location() {
        Some(Location::File(path)) => migrations.run(path).map_err(|error| {
            let may_pass = migrations_may_pass(&error);
            Error::new(error).passing_if(may_pass)
        })?,
        #[cfg(feature = "libsql")]
        Some(Location::Server(url)) => {
            super::server::migrate(name, url.reveal(), settings, &migrations)?
        }
        #[cfg(not(feature = "libsql"))]
        Some(Location::Server(_)) => return Err(about(&NOT_BUILT)),
        _ => {
            let message = "migrations need a database in a file or on a server";
            return Err(about(&message));
        }
    };
    warn(&format_args!("the database `{name}`"), &report);
    Ok(Some(report))
}

/// The folder of a database for each tenant.
fn folder(path: &Path, settings: &Database, builder: PoolBuilder) -> Result<Folder> {
    let migrations = migrations(settings)?;
    let folder = Folder::open(path).map_err(not_opened)?;
    let folder = folder.create(settings.creates()).pool(builder);
    Ok(match migrations {
        Some(migrations) => folder.migrations(migrations),
        None => folder,
    })
}

fn missing(settings: &Database) -> &'static str {
    match settings.read_only {
        true => {
            "there is no such file, and a read-only database is not created: add migrations, or \
                 grant it for writing"
        }
        false => "there is no such file, and `create` is false",
    }
}

/// The migrations of a database, if it has any.
pub(crate) fn migrations(settings: &Database) -> Result<Option<Migrations>> {
    let Some(folder) = &settings.migrations else {
        return Ok(None);
    };
    let migrations = Migrations::open(folder).map_err(Error::new)?;
    if migrations.is_empty() {
        let message = "there are no migrations in this folder: their names are NNN-name.sql";
        return Err(Error::about(folder, message));
    }
    Ok(Some(migrations))
}

pub(super) fn warn(database: &dyn Display, report: &Report) {
    for warning in &report.warnings {
        log::warn!("{database}: {warning}");
    }
}

/// The settings of a pool of files. Those that the configuration does not have keep the builder's
/// defaults.
fn builder(settings: &Database) -> PoolBuilder {
    let mut builder = PoolBuilder::new()
        .max_size(settings.pool_size)
        .timeout(settings.timeout)
        .max_value_bytes(settings.max_value_size.bytes())
        .max_result_bytes(settings.max_result_size.bytes())
        .max_page_bytes(settings.max_page_size.bytes())
        .read_only(settings.read_only);
    if let Some(idle) = settings.max_idle {
        builder = builder.max_idle(idle);
    }
    if let Some(time) = settings.max_idle_time {
        builder = builder.max_idle_time(time);
    }
    if let Some(size) = settings.max_database_size {
        builder = builder.max_database_bytes(size.bytes());
    }
    if let Some(size) = settings.max_transaction_size {
        builder = builder.max_transaction_bytes(size.bytes());
    }
    if let Some(size) = settings.max_connection_memory {
        builder = builder.max_memory_bytes(size.bytes());
    }
    if let Some(timeout) = settings.busy_timeout {
        builder = builder.busy_timeout(timeout);
    }
    if let Some(size) = settings.cache_size {
        builder = builder.cache_size(size.bytes());
    }
    if let Some(size) = settings.mmap_size {
        builder = builder.mmap_size(size.bytes());
    }
    if let Some(statements) = settings.statement_cache {
        builder = builder.statement_cache(statements as usize);
    }
    if let Some(time) = settings.upkeep_after {
        builder = builder.upkeep_after(time);
    }
    if let Some(synchronous) = settings.synchronous {
        builder = builder.synchronous(synchronous);
    }
    builder
}

/// How many of the tenants' pools are open, and for how long.
pub(super) fn pools_settings(settings: &Database) -> PoolsSettings {
    let mut pools = PoolsSettings::default().timeout(settings.timeout);
    if let Some(most) = settings.max_open_pools {
        pools.max_open = most;
    }
    if let Some(time) = settings.pool_idle_timeout {
        pools.max_idle_time = time;
    }
    pools
}
