//! Configures a connection: SQLite's limits and settings.

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OptionalExtension};

use super::location::Location;
use super::settings::{Settings, Synchronous};
use crate::deadline::Watch;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{MAX_ARGUMENTS, MAX_COLUMNS, MAX_COMPOUND, MAX_DEFINITION_BYTES, MAX_DEPTH};
use crate::policy::names::{OFF, ON};

/// Limits that no setting changes (<https://sqlite.org/c3ref/c_limit_attached.html>). They bound
/// the time, stack and memory of one statement, whatever a guest sends.
const LIMITS: &[(Limit, i32)] = &[
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 32_766),
    (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
];

/// Further limits, which also apply to the operator's own connections: a guest has written the
/// database.
const DEFINITION_LIMITS: &[(Limit, i32)] = &[
    // Zero prevents ATTACH, and with it VACUUM INTO, which would write any file.
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    // SQLite's own defaults, even if it was built with others. They apply to the schema too, which
    // is the operator's; a guest's text has lower ones, see `compile`.
    (Limit::SQLITE_LIMIT_COLUMN, MAX_COLUMNS),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, MAX_COMPOUND),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, MAX_DEPTH),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, MAX_ARGUMENTS as i32),
    (Limit::SQLITE_LIMIT_PARSER_DEPTH, 2_500),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_DEFINITION_BYTES),
    // A trigger's program uses memory for each level, but no stack.
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1_000),
];

/// The size, in bytes, to which the log is truncated after a checkpoint. It grows beyond during a
/// large transaction, or while a reader holds an old snapshot.
const JOURNAL_SIZE_LIMIT: u32 = 4 << 20;

impl Location {
    pub(super) fn configure(
        &self,
        conn: &Connection,
        settings: &Settings,
        watch: &Watch,
    ) -> Result<()> {
        // As https://sqlite.org/security.html recommends for untrusted SQL.
        for (setting, value) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
            (DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
        ] {
            if conn.set_db_config(setting, value)? != value {
                return Err(not_taken(format_args!("{setting:?}")));
            }
        }
        limit(conn, LIMITS)?;
        limit_definitions(conn)?;
        let page_size: u32 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let max_pages = settings.max_database_bytes / u64::from(page_size.max(1));
        watch.set_max_written(settings.max_transaction_bytes / u64::from(page_size.max(1)));
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, settings.max_value_bytes as i32)?;

        if !self.is_memory() && !settings.read_only {
            if conn.is_readonly("main")? {
                return Err(Error::new(
                    ErrorKind::CannotOpen,
                    "the file or its disk cannot be written: make it writable, or open it \
                     read-only",
                ));
            }
            let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
            if mode != "wal" {
                return Err(Error::new(
                    ErrorKind::CannotOpen,
                    "its disk has no support for shared memory, which write-ahead logging needs: \
                     use a local disk",
                ));
            }
        }
        let synchronous = match settings.synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        conn.execute_batch(&format!(
            "PRAGMA synchronous = {synchronous};
             PRAGMA cache_size = -{cache};
             PRAGMA mmap_size = {mmap};
             PRAGMA temp_store = {temp_store};
             PRAGMA cell_size_check = ON;
             PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT};
             PRAGMA max_page_count = {max_pages};",
            temp_store = self.temp_store(),
            cache = settings.cache_size / 1024,
            mmap = settings.mmap_size,
        ))?;
        // Reads the header and the schema, so that a file that is not a database, or is damaged
        // there, is reported now and not to a guest.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(())
    }
}

/// Set the limits for what a schema defines: [`DEFINITION_LIMITS`].
pub(crate) fn limit_definitions(conn: &Connection) -> Result<()> {
    limit(conn, DEFINITION_LIMITS)
}

fn limit(conn: &Connection, limits: &[(Limit, i32)]) -> Result<()> {
    for (limit, value) in limits {
        conn.set_limit(*limit, *value)?;
        if conn.limit(*limit)? > *value {
            return Err(not_taken(format_args!("{limit:?}")));
        }
    }
    Ok(())
}

/// The error for an SQLite that was built without a setting, or with another.
fn not_taken(setting: std::fmt::Arguments<'_>) -> Error {
    let message = format!("the SQLite that this program is linked with refuses {setting}");
    Error::new(ErrorKind::CannotOpen, message)
}

/// Pragmas whose values come from the library's build or the file.
const READ_FROM_CONNECTION: &[&str] = &[
    "auto_vacuum",
    "automatic_index",
    "checkpoint_fullfsync",
    "fullfsync",
    "journal_size_limit",
    "page_size",
    "reverse_unordered_selects",
    "secure_delete",
    "threads",
];

/// Pragmas with the values that [`configure`](Location::configure) and SQLite's defaults give them,
/// in all their spellings.
pub(super) fn standing(
    conn: &Connection,
    settings: &Settings,
    in_memory: bool,
) -> Result<Vec<(&'static str, Vec<String>)>> {
    let all = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let on = || all(ON);
    let off = || all(OFF);
    let one = |value: String| vec![value];
    let mut standing = vec![
        (
            "busy_timeout",
            one(settings.busy_timeout.as_millis().to_string()),
        ),
        (
            "cache_size",
            one(format!("-{}", settings.cache_size / 1024)),
        ),
        // It cannot be read.
        ("case_sensitive_like", off()),
        ("cell_size_check", on()),
        // Not in every library.
        ("count_changes", off()),
        ("empty_result_callbacks", off()),
        ("encoding", all(&["UTF-8", "UTF8"])),
        ("foreign_keys", on()),
        ("full_column_names", off()),
        ("ignore_check_constraints", off()),
        (
            "journal_mode",
            match (in_memory, settings.read_only) {
                (true, _) => all(&["memory"]),
                (false, false) => all(&["wal"]),
                (false, true) => Vec::new(),
            },
        ),
        ("legacy_alter_table", off()),
        ("locking_mode", all(&["normal"])),
        ("mmap_size", one(settings.mmap_size.to_string())),
        ("read_uncommitted", off()),
        ("recursive_triggers", off()),
        ("short_column_names", on()),
        (
            "synchronous",
            match settings.synchronous {
                Synchronous::Normal => all(&["1", "normal"]),
                Synchronous::Full => all(&["2", "full"]),
            },
        ),
        (
            "temp_store",
            match in_memory {
                true => all(&["2", "memory"]),
                false => all(&["1", "file"]),
            },
        ),
        ("trusted_schema", off()),
        ("writable_schema", off()),
    ];
    standing.extend(current_values(conn)?);
    Ok(standing)
}

/// The values of [`READ_FROM_CONNECTION`], each in all its spellings.
fn current_values(conn: &Connection) -> Result<Vec<(&'static str, Vec<String>)>> {
    let mut values = Vec::new();
    for name in READ_FROM_CONNECTION {
        let value = conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let Some(value) = value.optional()? else {
            continue;
        };
        let spellings = match (*name, value) {
            ("auto_vacuum", 0) => &["none"][..],
            ("auto_vacuum", 1) => &["full"],
            ("auto_vacuum", 2) => &["incremental"],
            ("auto_vacuum" | "journal_size_limit" | "page_size", _) => &[],
            ("secure_delete", 2) => &["fast"],
            (_, 0) => OFF,
            (_, 1) => ON,
            _ => &[],
        };
        let spellings = spellings.iter().map(|spelling| (*spelling).to_owned());
        values.push((*name, spellings.chain([value.to_string()]).collect()));
    }
    Ok(values)
}
