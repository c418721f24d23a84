//! Settings of a database: `[databases.NAME]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use millpond_sqlite::Synchronous;

use crate::config::macros::{choices, settings};
use crate::config::secret::Secret;
use crate::config::size::Size;

settings! {
    /// A database, or one for each tenant. It is in one of four places: a `file`; a `folder`, with
    /// a file for each tenant; a server, by its `url`; or memory. Each pool of connections has
    /// these settings.
    Database {
        /// The database's file.
        file: Option<PathBuf>, unset "the database is elsewhere", example "app.db";

        /// A folder with a database file for each tenant: `TENANT.db`.
        folder: Option<PathBuf>, unset "the database is elsewhere", example "tenants";

        /// The URL of a libSQL server: `libsql://HOST`, `https://HOST`, or `http://HOST` on this
        /// machine. It holds no password and no token.
        url: Option<Secret>, unset "the database is elsewhere", example "libsql://db.example.com";

        /// Whether it is a new database in memory, which ends with the server. For tests.
        memory: bool, default false;

        /// Whether a file that does not exist is created. In a `folder`, each tenant of a request
        /// can then create a file.
        create: Option<bool>, unset "yes for a `file` that is not `read-only`, no for a `folder`",
            example true;

        /// Open it read-only, and leave its files unchanged. A file may then be on a read-only
        /// disk. `migrations` still run first, if they are set.
        read_only: bool, default false;

        /// A folder with migrations, which run before the database is used; in a `folder`, before
        /// each tenant's is opened.
        migrations: Option<PathBuf>, unset "none", example "migrations";

        /// Maximum number of connections of each pool.
        pool_size: u32, default 5, from 1 to 1024;

        /// Maximum number of idle connections of each pool, at most `pool-size`.
        max_idle: Option<u32>, unset "as `pool-size`", from 0 to 1024, example 5;

        /// Close a connection that has been idle for this long.
        max_idle_time: Option<Duration>, unset "never", from ">0s" to "10000h", example "5m";

        /// How long a request waits for a connection, or for its turn to write.
        timeout: Duration, default "10s", from "0s" to "1h";

        /// Maximum size of a text, blob or row; on a server, at most 64MiB.
        max_value_size: Size, default "1MiB", from "64KiB" to "1073741823";

        /// Maximum size of the result of one `query`; on a server, at most 256MiB.
        max_result_size: Size, default "16MiB", from "64KiB" to "1GiB";

        /// Size at which a page of a cursor ends.
        max_page_size: Size, default "1MiB", from "1KiB" to "64MiB";

        /// Maximum size of the database. A write beyond it fails. Not on a server.
        max_database_size: Option<Size>, unset "10GiB", from "1MiB" to "16384GiB";

        /// How much one transaction may write. One that would write more is rolled back. Not on a
        /// server.
        max_transaction_size: Option<Size>, unset "64MiB", from "1MiB" to "16384GiB";

        /// SQLite's memory limit for each connection, at least `cache-size` and 2MiB. A statement
        /// that needs more fails. Not on a server.
        max_connection_memory: Option<Size>, unset "64MiB", from "2112KiB" to "64GiB";

        /// How long a statement waits for a writer in another process. Not on a server.
        busy_timeout: Option<Duration>, unset "5s", from "0s" to "1h";

        /// Page cache of each connection. Not on a server.
        cache_size: Option<Size>, unset "2MiB", from "64KiB" to "1GiB";

        /// How much of its file each connection maps into memory. Then an I/O error of the disk
        /// ends the process. Only for files.
        mmap_size: Option<Size>, unset "0", from "0" to "64GiB";

        /// How many compiled statements each connection caches. Not on a server.
        statement_cache: Option<u32>, unset 128, from 0 to 10000;

        /// When to sync to disk. Only for files.
        synchronous: Option<Synchronous>, unset "full";

        /// How long a database must be unused before its upkeep, which is due after about 4 MB were
        /// written. Upkeep updates the statistics of SQLite's query planner, gives free pages back
        /// to the disk if the database has `auto_vacuum = INCREMENTAL`, and empties the log. `0s`
        /// means never. Only for files.
        upkeep_after: Option<Duration>, unset "5s", from "0s" to "1h";

        /// Maximum number of tenants whose database is open at the same time. Further ones wait.
        /// Only for one database for each tenant.
        max_open_pools: Option<u32>, unset 100, from 1 to 100000;

        /// How long a tenant's database stays open after its last use. Only for one database for
        /// each tenant.
        pool_idle_timeout: Option<Duration>, unset "1m", from ">0s" to "10000h";

        /// A file with the token that the server asks for. It is read again when the server refuses
        /// the token. Only on a server.
        token_file: Option<PathBuf>, unset "the variable MILLPOND_DB_TOKEN_NAME with the database's \
            name, or MILLPOND_DB_TOKEN for `default`, if it is set; else no token",
            example "token";

        /// Allow `http:` to a server on another machine. Anyone on the network between can read and
        /// change everything, the token included. Only on a server.
        allow_plain_http: bool, default false;

        /// Whether each tenant has a namespace of the server, of the tenant's name. Only on a
        /// server.
        tenant_namespaces: bool, default false;

        /// The database's namespace on the server: 1 to 63 letters, digits, `-` and `_`. Only on a
        /// server.
        namespace: Option<String>, unset "the first label of the URL's host", example "app";

        /// A file of certificate authorities in PEM, which alone are trusted. Only on a server.
        certificate_authorities: Option<PathBuf>, unset "those that the system trusts",
            example "authorities.pem";

        /// Whether the server itself restricts what the token may do to tables. Without it, grants
        /// of `tables` are refused. Only on a server.
        server_enforces_tables: bool, default false;

        /// How long connecting to the server may take. Only on a server.
        connect_timeout: Option<Duration>, unset "5s", from "0s" to "1h";

        /// Scheduled copies of its files.
        backup: Option<Backup>, unset "none",
            example r#"{ folder = "backups", every = "24h", keep-last = 7 }"#;
    }
}

settings! {
    /// Scheduled copies of a database's files, made while the database is used, one at a time. A
    /// tenant whose backup failed is backed up last the next time.
    Backup {
        /// The folder to write them to, which must exist, outside of a folder of tenants. A
        /// backup's name has its database's and the time: `app-20261127T184342Z.db`.
        folder: PathBuf, required "backups";

        /// How long to wait between two backups.
        every: Duration, default "24h", from "1m" to "10000h";

        /// How many of the newest backups of each database are kept. Older ones are deleted, after
        /// a backup has succeeded.
        keep_last: u32, default 7, from 1 to 10000;

        /// For how many of the last days, in UTC, the newest backup of the day is kept too.
        keep_days: u32, default 0, from 0 to 10000;

        /// For how many of the last weeks, in UTC, from Monday, the newest backup of the week is
        /// kept too.
        keep_weeks: u32, default 0, from 0 to 10000;

        /// How long the check of one backup may take. It may never take longer than 10 s plus 10 ms
        /// for each page. A backup whose check takes longer fails. A tenant can make its own check
        /// take all that time, and the others wait for it.
        max_check_time: Option<Duration>, unset "10m for a tenant's database; for others, the maximum below", from "1s" to "10000h", example "10m";
    }
}

choices!(Synchronous {
    Synchronous::Full = "full", "at every commit";
    Synchronous::Normal = "normal",
        "only at checkpoints, so that a power failure can undo the last commits";
});

/// Where a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location<'a> {
    /// In this file.
    File(&'a Path),
    /// In this folder, with a file for each tenant.
    Folder(&'a Path),
    /// On the libSQL server at this URL.
    Server(&'a Secret),
    /// In memory.
    Memory,
}

impl Database {
    /// Where it is; `None` if that is not exactly one place, which [`Config::check`] refuses.
    ///
    /// [`Config::check`]: super::Config::check
    pub fn location(&self) -> Option<Location<'_>> {
        let places = [
            self.file.as_deref().map(Location::File),
            self.folder.as_deref().map(Location::Folder),
            self.url.as_ref().map(Location::Server),
            self.memory.then_some(Location::Memory),
        ];
        let mut places = places.into_iter().flatten();
        places.next().filter(|_| places.next().is_none())
    }

    /// Whether each tenant has a database of its own.
    pub fn is_per_tenant(&self) -> bool {
        self.folder.is_some() || self.tenant_namespaces
    }

    /// Whether a file that does not exist is created.
    pub fn creates(&self) -> bool {
        self.create
            .unwrap_or(self.folder.is_none() && !self.read_only)
    }
}
