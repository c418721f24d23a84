//! Converts between the pool's types and those generated from the contract.

use std::time::Duration;

use millpond_pool as pool;
use millpond_pool::ErrorKind;
use wasmtime::component::ResourceTableError;

use crate::bindings::connections as wit;
use crate::bindings::pool as wit_pool;

/// Why a host function failed: the guest's mistake, or the host's.
#[derive(Debug)]
pub enum Failure {
    /// Returned to the guest as an error value of the contract.
    Guest(wit::Error),
    /// Traps: ends the guest.
    Trap(wasmtime::Error),
}

impl wit::Error {
    /// An error that is not SQLite's.
    pub(crate) fn new(kind: wit::ErrorKind, message: String) -> wit::Error {
        wit::Error {
            kind,
            code: 0,
            message,
            offset: None,
            rolled_back: false,
        }
    }

    pub(crate) fn no_such_database(name: &str) -> wit::Error {
        // The guest chose it: escaping a name of megabytes would block the thread.
        let name: String = name.chars().take(64).collect();
        wit::Error::new(
            wit::ErrorKind::NoSuchDatabase,
            format!("no database is granted under the name {name:?}"),
        )
    }

    pub(crate) fn too_many(what: &str, most: u32) -> wit::Error {
        wit::Error::new(
            wit::ErrorKind::TooManyHandles,
            format!("this request may hold {most} {what} at once: drop one first"),
        )
    }
}

impl From<pool::Error> for wit::Error {
    fn from(error: pool::Error) -> wit::Error {
        wit::Error {
            kind: error.kind().into(),
            code: error.code(),
            message: error.to_string(),
            offset: error.offset(),
            rolled_back: error.rolled_back(),
        }
    }
}

impl From<wit::Error> for Failure {
    fn from(error: wit::Error) -> Failure {
        Failure::Guest(error)
    }
}

impl From<pool::Error> for Failure {
    fn from(error: pool::Error) -> Failure {
        Failure::Guest(error.into())
    }
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Failure {
        Failure::Trap(error.into())
    }
}

impl From<ErrorKind> for wit::ErrorKind {
    fn from(kind: ErrorKind) -> wit::ErrorKind {
        use wit::ErrorKind as To;
        match kind {
            ErrorKind::NoSuchDatabase => To::NoSuchDatabase,
            ErrorKind::NotAuthorized => To::NotAuthorized,
            ErrorKind::PoolTimeout { .. } => To::PoolTimeout,
            ErrorKind::PoolClosed => To::PoolClosed,
            ErrorKind::Busy => To::Busy,
            ErrorKind::BusySnapshot => To::BusySnapshot,
            ErrorKind::DeadlineExceeded => To::DeadlineExceeded,
            ErrorKind::TooLarge => To::TooLarge,
            ErrorKind::QuotaExceeded => To::QuotaExceeded,
            ErrorKind::ConstraintUnique => To::ConstraintUnique,
            ErrorKind::ConstraintPrimaryKey => To::ConstraintPrimaryKey,
            ErrorKind::ConstraintForeignKey => To::ConstraintForeignKey,
            ErrorKind::ConstraintNotNull => To::ConstraintNotNull,
            ErrorKind::ConstraintCheck => To::ConstraintCheck,
            ErrorKind::ConstraintOther => To::ConstraintOther,
            ErrorKind::Sql => To::Sql,
            ErrorKind::Parameters => To::Parameters,
            ErrorKind::NotUtf8 => To::NotUtf8,
            ErrorKind::StaleHandle => To::StaleHandle,
            ErrorKind::Corrupt => To::Corrupt,
            ErrorKind::Io | ErrorKind::CannotOpen => To::Io,
            ErrorKind::Unsupported => To::Unsupported,
            ErrorKind::Unavailable => To::Unavailable,
            ErrorKind::OutcomeUnknown => To::OutcomeUnknown,
            // Building the pool reports settings that are out of bounds, before there is any guest.
            ErrorKind::Config | ErrorKind::Other => To::Other,
        }
    }
}

impl From<wit_pool::Access> for pool::Access {
    fn from(access: wit_pool::Access) -> pool::Access {
        match access {
            wit_pool::Access::ReadOnly => pool::Access::ReadOnly,
            wit_pool::Access::ReadWrite => pool::Access::ReadWrite,
        }
    }
}

impl From<wit::TransactionMode> for pool::TransactionMode {
    fn from(mode: wit::TransactionMode) -> pool::TransactionMode {
        match mode {
            wit::TransactionMode::Deferred => pool::TransactionMode::Deferred,
            wit::TransactionMode::Immediate => pool::TransactionMode::Immediate,
        }
    }
}

pub(crate) fn columns(columns: Vec<pool::Column>) -> Vec<wit::Column> {
    let column = |column: pool::Column| wit::Column {
        name: column.name,
        declared_type: column.declared_type,
    };
    columns.into_iter().map(column).collect()
}

impl From<pool::Description> for wit::Description {
    fn from(description: pool::Description) -> wit::Description {
        wit::Description {
            columns: columns(description.columns),
            parameter_names: description.parameter_names,
            read_only: description.read_only,
        }
    }
}

impl From<pool::Summary> for wit::Summary {
    fn from(summary: pool::Summary) -> wit::Summary {
        wit::Summary {
            changes: summary.changes,
            last_insert_rowid: summary.last_insert_rowid,
        }
    }
}

impl From<pool::PoolStats> for wit_pool::PoolStats {
    fn from(stats: pool::PoolStats) -> wit_pool::PoolStats {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        wit_pool::PoolStats {
            connections_created: stats.connections_created,
            connections_reused: stats.connections_reused,
            connections_closed: stats.connections_closed,
            hits: stats.hits,
            misses: stats.misses,
            idle: stats.idle,
            max_size: stats.max_size,
            in_use: stats.in_use,
            waiting: stats.waiting,
            timeouts: stats.timeouts,
            wait_time_ns: nanoseconds(stats.wait_time),
            rolled_back: stats.rolled_back,
            discarded: stats.discarded,
            abandoned: stats.abandoned,
            writers_waiting: stats.writers_waiting,
            writer_timeouts: stats.writer_timeouts,
            writer_wait_time_ns: nanoseconds(stats.writer_wait_time),
            groups: stats.groups,
            grouped_statements: stats.grouped_statements,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The fields that `Debug` shows, by name.
    fn fields(shown: &str) -> BTreeMap<String, String> {
        let (_, fields) = shown.split_once('{').expect("a record");
        let pairs = fields.trim_end_matches([' ', '}']).split(", ");
        let pairs = pairs.map(|pair| pair.split_once(": ").expect("a field"));
        let pairs = pairs.map(|(name, value)| {
            // The contract has times in nanoseconds.
            let name = name.trim().replace('-', "_");
            let name = name.trim_end_matches("_ns").to_owned();
            (name, value.trim_end_matches("ns").to_owned())
        });
        pairs.collect()
    }

    #[test]
    fn each_counter_keeps_its_name_and_value() {
        let mut stats = pool::PoolStats::default();
        stats.connections_created = 1;
        stats.connections_reused = 2;
        stats.connections_closed = 3;
        stats.hits = 4;
        stats.misses = 5;
        stats.idle = 6;
        stats.max_size = 7;
        stats.in_use = 8;
        stats.waiting = 9;
        stats.timeouts = 10;
        stats.wait_time = Duration::from_nanos(11);
        stats.rolled_back = 12;
        stats.discarded = 13;
        stats.abandoned = 14;
        stats.writers_waiting = 15;
        stats.writer_timeouts = 16;
        stats.writer_wait_time = Duration::from_nanos(17);
        stats.groups = 18;
        stats.grouped_statements = 19;
        let converted = wit_pool::PoolStats::from(stats);
        let mut fields_before = fields(&format!("{stats:?}"));
        // Whether a server can be reached is for operators: a guest gets `unavailable`.
        for of_server in ["connect_failures", "unreachable"] {
            assert!(fields_before.remove(of_server).is_some());
        }
        assert_eq!(fields_before, fields(&format!("{converted:?}")));
        // Or a counter that is not set above would pass.
        let values: BTreeSet<_> = fields_before.values().collect();
        assert_eq!(values.len(), fields_before.len(), "{fields_before:?}");
    }
}
