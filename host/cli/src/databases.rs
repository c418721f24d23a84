//! The databases on the command line, as a configuration: each is granted to the guest.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{Args, ValueEnum};
use millpond_pool::{Access, StatsScope};
use millpond_server::config::{Component, Config, Database, Grant, Name, Size};
use millpond_sqlite::Synchronous;

use crate::arguments::{self, Named};
use crate::failure::Failure;
use crate::granted::{DATABASE_PATH, Granted, MEMORY, granted};
use crate::migrate;
use crate::servers::ServerOptions;

/// The default of `--timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Databases")]
pub(crate) struct DatabaseOptions {
    /// Grant the database in this file for reading and writing; create it if it does not exist
    ///
    /// The guest knows the database by NAME (`default` if omitted), and never sees the path. The
    /// path `:memory:` means a new in-memory database. A URL (`libsql://HOST`, `https://HOST`, or
    /// `http://HOST` on this machine) means a database on a libSQL server, which many hosts can
    /// share; flags that the server cannot enforce are refused. May be repeated; without it, the
    /// guest has no database. [env: DATABASE_PATH, for `default`]
    #[arg(long, value_name = "[NAME=]PATH|URL", value_parser = arguments::database)]
    db: Vec<Named>,

    /// Grant the database in this file read-only; create it only if it has --migrations. The file
    /// is not changed, and may be on a read-only disk. The URL of a server is a database too.
    #[arg(long, value_name = "[NAME=]PATH|URL", value_parser = arguments::database)]
    db_read_only: Vec<Named>,

    /// Apply the migrations in this folder to the database NAME (`default` if omitted) first.
    #[arg(long, value_name = "[NAME=]DIR", value_parser = arguments::named)]
    migrations: Vec<Named>,

    #[command(flatten)]
    servers: ServerOptions,

    #[command(flatten)]
    pool: PoolOptions,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct PoolOptions {
    /// Maximum number of connections to each database, 1 to 1024. [default: 5] [env: DB_POOL_SIZE]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pool_size: Option<u32>,

    /// How long a guest waits for a connection, or for its turn to write: 0 to 1h, such as 500ms,
    /// 10s or 2m, or a number of seconds. [default: 10s] [env: DB_TIMEOUT]
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        value_parser = arguments::timeout
    )]
    timeout: Option<Duration>,

    /// Maximum size of each database, in bytes or with a unit (powers of 1024): 1MiB to 16384GiB. A
    /// guest's write beyond it fails. [default: 10GiB]
    #[arg(long, value_name = "BYTES", value_parser = arguments::size)]
    max_database_size: Option<usize>,

    /// How much one transaction may write, in bytes or with a unit: 1MiB to 16384GiB. A transaction
    /// that would write more is rolled back. [default: 64MiB; for `run`, as --max-database-size]
    #[arg(long, value_name = "BYTES", value_parser = arguments::size)]
    max_transaction_size: Option<usize>,

    /// SQLite's memory limit for each connection, in bytes or with a unit: 4MiB to 64GiB. A guest's
    /// statement that needs more fails. [default: 64MiB]
    #[arg(long, value_name = "BYTES", value_parser = arguments::size)]
    max_connection_memory: Option<usize>,

    /// SQLite's memory limit for all connections together, in bytes or with a unit: 4MiB to
    /// 16384GiB. [default: 4GiB]
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = process_memory,
        hide_short_help = true
    )]
    max_sqlite_memory: Option<usize>,

    /// How long one statement may run: more than 0, to 10000h. After that it fails. [default: 1m
    /// for `run`; for `serve`, as --request-timeout]
    #[arg(long, value_name = "DURATION", value_parser = arguments::positive_duration)]
    max_statement_time: Option<Duration>,

    /// How many instructions of SQLite's virtual machine one call may run, rounded up to a multiple
    /// of 50. Unlike a time, this limit does not depend on the machine's load. [default: no limit]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        hide_short_help = true
    )]
    max_statement_steps: Option<u64>,

    /// How long a guest may keep a transaction open while others wait for their turn to write.
    /// After that it is rolled back. [default: 10s; for `run`, no limit]
    #[arg(long, value_name = "DURATION", value_parser = arguments::duration)]
    max_transaction_time: Option<Duration>,

    /// How long a guest may hold a connection while others wait for one: 0 to 10000h. After that it
    /// is taken back. [default: as long as the guest runs]
    #[arg(long, value_name = "DURATION", value_parser = arguments::duration, hide_short_help = true)]
    max_hold_time: Option<Duration>,

    /// Maximum number of connections to each database that one guest may hold: 0 to --pool-size,
    /// which is always a limit.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(0..=1024),
        hide_short_help = true
    )]
    max_connections: u32,

    /// Maximum number of statements that one guest may have open: 0 to 1000000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = handles(),
        hide_short_help = true
    )]
    max_statements: u32,

    /// Maximum number of cursors that one guest may have open: 0 to 1000000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = handles(),
        hide_short_help = true
    )]
    max_cursors: u32,

    /// Maximum number of transaction handles that one guest may have open: 0 to 1000000.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = handles(),
        hide_short_help = true
    )]
    max_transactions: u32,

    /// Maximum size of a text, blob or row, in bytes or with a unit: 64KiB to 1GiB less 1.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "1MiB",
        value_parser = arguments::size,
        hide_short_help = true
    )]
    max_value_size: usize,

    /// Maximum size of the result of one `query`, in bytes or with a unit: 64KiB to 1GiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "16MiB",
        value_parser = arguments::size,
        hide_short_help = true
    )]
    max_result_size: usize,

    /// Size at which a page of a cursor ends, in bytes or with a unit: 1KiB to 64MiB.
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "1MiB",
        value_parser = arguments::size,
        hide_short_help = true
    )]
    max_page_size: usize,

    /// Maximum number of idle connections to each database: 0 to --pool-size. [default:
    /// --pool-size]
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_idle: Option<u32>,

    /// How long a statement waits for a writer in another process: 0 to 1h. [default: 5s]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = arguments::timeout,
        hide_short_help = true
    )]
    busy_timeout: Option<Duration>,

    /// Page cache of each connection, in bytes or with a unit: 64KiB to 1GiB. [default: 2MiB]
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = arguments::size,
        hide_short_help = true
    )]
    cache_size: Option<usize>,

    /// How much of its file each connection maps into memory, in bytes or with a unit: 0 to 64GiB.
    /// [default: 0]
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = arguments::size,
        hide_short_help = true
    )]
    mmap_size: Option<usize>,

    /// How many compiled statements each connection caches: 0 to 10000. [default: 128]
    #[arg(long, value_name = "N", hide_short_help = true)]
    statement_cache: Option<u32>,

    /// When to sync to disk: `full`, at every commit; `normal`, only at checkpoints, so that a
    /// power failure can undo the last commits. [default: full]
    #[arg(long, value_name = "WHEN")]
    synchronous: Option<Durability>,

    /// How long a database must be unused before its upkeep, which is due after about 4 MB were
    /// written: 0 to 1h; 0 means never. Upkeep updates the statistics of SQLite's query planner,
    /// gives free pages back to the disk, and empties the log. [default: 5s]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = arguments::timeout,
        hide_short_help = true
    )]
    upkeep_after: Option<Duration>,
}

const MIB: usize = 1 << 20;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Durability {
    Full,
    Normal,
}

fn handles() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=1_000_000)
}

fn process_memory(text: &str) -> Result<usize, String> {
    arguments::size_within(text, 4 << 20..=16 << 40, "4MiB", "16384GiB")
}

/// Who uses the databases: limits that suit a single guest would be too high for requests that
/// share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Borrowers {
    /// One guest, for as long as it runs.
    One,
    /// A guest for each request.
    Many,
}

/// The default of `--max-statement-time` for `run`.
const STATEMENT_TIME: Duration = Duration::from_secs(60);

impl PoolOptions {
    /// The settings of a database in a file, or in memory.
    fn file(&self, path: &Path, borrowers: Borrowers) -> Result<Database, Failure> {
        let mut database = self.database()?;
        match path.to_str() {
            Some(MEMORY) => database.memory = true,
            _ => {
                database.file = Some(path.to_owned());
                database.mmap_size = self.mmap_size.map(|bytes| Size(bytes as u64));
                database.synchronous = self.synchronous.map(|when| match when {
                    Durability::Full => Synchronous::Full,
                    Durability::Normal => Synchronous::Normal,
                });
                database.upkeep_after = self.upkeep_after;
            }
        }
        let size = |bytes: usize| Size(bytes as u64);
        database.max_database_size = self.max_database_size.map(size);
        database.max_transaction_size = match (self.max_transaction_size, borrowers) {
            // An import is often one transaction.
            (None, Borrowers::One) => Some(size(self.max_database_size.unwrap_or(10 << 30))),
            (given, _) => given.map(size),
        };
        database.max_connection_memory = self.max_connection_memory.map(size);
        database.busy_timeout = self.busy_timeout;
        database.cache_size = self.cache_size.map(size);
        database.statement_cache = self.statement_cache;
        Ok(database)
    }

    /// The settings of a database wherever it is.
    fn database(&self) -> Result<Database, Failure> {
        let mut database = Database::default();
        database.pool_size = self.size()?;
        database.timeout = self.timeout()?;
        database.max_idle = self.max_idle;
        database.max_value_size = Size(self.max_value_size as u64);
        database.max_result_size = Size(self.max_result_size as u64);
        database.max_page_size = Size(self.max_page_size as u64);
        Ok(database)
    }
}

impl PoolOptions {
    fn size(&self) -> Result<u32, Failure> {
        let size = |text: &str| {
            let size = text.parse().ok().filter(|size| (1..=1024).contains(size));
            size.ok_or_else(|| "write a number, 1 to 1024".to_string())
        };
        given(self.pool_size, "DB_POOL_SIZE", size, 5)
    }

    fn timeout(&self) -> Result<Duration, Failure> {
        given(self.timeout, "DB_TIMEOUT", arguments::timeout, TIMEOUT)
    }

    /// Refuse the flags that have no effect on these databases: an operator who sets a limit must
    /// not believe that it holds.
    fn check_flags(&self, granted: &[Granted]) -> Result<(), Failure> {
        let Some(server) = granted
            .iter()
            .find(|granted| granted.named.server().is_some())
        else {
            return Ok(());
        };
        let name = &server.named.name;
        for (flag, given, instead) in [
            (
                "--max-database-size",
                self.max_database_size.is_some(),
                "set it at the server (its --max-database-size, or a namespace's configuration)",
            ),
            (
                "--max-transaction-size",
                self.max_transaction_size.is_some(),
                "limit requests by time instead, with --max-transaction-time",
            ),
            (
                "--max-connection-memory",
                self.max_connection_memory.is_some(),
                "limit the server's process instead",
            ),
            (
                "--max-statement-steps",
                self.max_statement_steps.is_some(),
                "limit statements by time instead, with --max-statement-time",
            ),
        ] {
            if given {
                return Err(Failure::mistake(format_args!(
                    "{flag} cannot be enforced on the database `{name}`, which is on a server: \
                     leave it out, and {instead}"
                )));
            }
        }
        for (flag, given, most) in [
            ("--max-value-size", self.max_value_size, 64 * MIB),
            ("--max-result-size", self.max_result_size, 256 * MIB),
        ] {
            if given > most {
                return Err(Failure::mistake(format_args!(
                    "{flag} is {given} bytes: it must be at most {most} bytes for the database \
                     `{name}`, which is on a server"
                )));
            }
        }
        if granted
            .iter()
            .any(|granted| granted.named.server().is_none())
        {
            return Ok(());
        }
        for (flag, given) in [
            ("--max-sqlite-memory", self.max_sqlite_memory.is_some()),
            ("--busy-timeout", self.busy_timeout.is_some()),
            ("--cache-size", self.cache_size.is_some()),
            ("--mmap-size", self.mmap_size.is_some()),
            ("--statement-cache", self.statement_cache.is_some()),
            ("--synchronous", self.synchronous.is_some()),
            ("--upkeep-after", self.upkeep_after.is_some()),
        ] {
            if given {
                return Err(Failure::mistake(format_args!(
                    "{flag} only affects databases in files, and there is none: leave it out"
                )));
            }
        }
        Ok(())
    }

    fn grant(&self, database: &str, access: Access, borrowers: Borrowers) -> Grant {
        let mut grant = Grant::default();
        grant.database = database.to_owned();
        grant.access = access;
        grant.max_statement_time = match (self.max_statement_time, borrowers) {
            (None, Borrowers::One) => Some(STATEMENT_TIME),
            // The request's own timeout bounds its statements.
            (given, _) => given,
        };
        grant.max_transaction_time = match (self.max_transaction_time, borrowers) {
            (Some(time), _) => time,
            (None, Borrowers::One) => arguments::LONGEST,
            (None, Borrowers::Many) => Duration::from_secs(10),
        };
        grant.max_hold_time = self.max_hold_time;
        grant.max_connections = self.max_connections;
        grant.max_statement_steps = self.max_statement_steps;
        grant.stats = StatsScope::Pool;
        grant
    }

    /// The limits on a guest's handles.
    pub(crate) fn limit_handles(&self, component: &mut Component) {
        component.max_statements = self.max_statements;
        component.max_cursors = self.max_cursors;
        component.max_transactions = self.max_transactions;
    }
}

/// The value of a flag, or else of the environment variable, whose empty value is ignored.
fn given<T>(
    flag: Option<T>,
    variable: &str,
    parse: impl Fn(&str) -> Result<T, String>,
    default: T,
) -> Result<T, Failure> {
    let value = env::var_os(variable).filter(|value| !value.is_empty());
    match (flag, value) {
        (Some(flag), _) => Ok(flag),
        (None, None) => Ok(default),
        (None, Some(value)) => value
            .to_str()
            .ok_or_else(|| "it is not UTF-8".to_string())
            .and_then(parse)
            .map_err(|reason| {
                let value = value.display();
                Failure::mistake(format_args!("{variable} is `{value}`: {reason}"))
            }),
    }
}

impl DatabaseOptions {
    /// Add the databases to `config`, and their grants to `component`.
    pub(crate) fn configure(
        &self,
        config: &mut Config,
        component: &mut Component,
        borrowers: Borrowers,
    ) -> Result<(), Failure> {
        let granted = granted(&self.db, &self.db_read_only, env::var_os(DATABASE_PATH))?;
        self.servers.check(&granted)?;
        self.pool.check_flags(&granted)?;
        let migrations = migrate::by_database(&self.migrations, &granted)?;
        if let Some(limit) = self.pool.max_sqlite_memory {
            config.server.max_sqlite_memory = Size(limit as u64);
        }
        self.pool.limit_handles(component);
        // The files, and the names of their databases.
        let mut files: Vec<(PathBuf, Name)> = Vec::new();
        for Granted { named, access } in granted {
            let name = name(&named.name)?;
            let migrations = migrations.get(&named.name);
            // Two pools of a file would not coordinate their writers.
            let file = (named.server().is_none() && named.path != Path::new(MEMORY))
                .then(|| canonical(&named.path));
            let same = files.iter().find(|(other, _)| Some(other) == file.as_ref());
            let database = match same {
                Some((_, same)) => same.clone(),
                None => {
                    let database = self.database(&named, access, migrations, borrowers)?;
                    config.databases.insert(name.clone(), database);
                    files.extend(file.map(|file| (file, name.clone())));
                    name.clone()
                }
            };
            if let Some(folder) = migrations
                && let Some(database) = config.databases.get_mut(database.as_str())
            {
                database.migrations = Some((*folder).clone());
            }
            let grant = self.pool.grant(database.as_str(), access, borrowers);
            component.grants.insert(name, grant);
        }
        Ok(())
    }

    fn database(
        &self,
        named: &Named,
        access: Access,
        migrations: Option<&&PathBuf>,
        borrowers: Borrowers,
    ) -> Result<Database, Failure> {
        let is_read_only = access == Access::ReadOnly;
        if let Some(url) = named.server() {
            let mut database = self.pool.database()?;
            self.servers.configure(&named.name, url, &mut database);
            database.read_only = is_read_only;
            return Ok(database);
        }
        let is_memory = named.path == Path::new(MEMORY);
        if is_read_only && !is_memory && migrations.is_none() && !named.path.exists() {
            return Err(Failure::about(
                &named.path,
                "there is no such file, and --db-read-only creates none: grant it with --db, \
                 or add its --migrations",
            ));
        }
        let mut database = self.pool.file(&named.path, borrowers)?;
        database.read_only = is_read_only && !is_memory;
        Ok(database)
    }
}

fn name(name: &str) -> Result<Name, Failure> {
    let refusal = || Failure::mistake(format_args!("`{name}` is not a valid database name"));
    Name::new(name).ok_or_else(refusal)
}

/// What a path leads to, even if there is no such file yet.
fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")));
        match (folder, path.file_name()) {
            (Ok(folder), Some(file)) => folder.join(file),
            _ => path.to_owned(),
        }
    })
}
