//! Between the pool's types and those generated from the contract.

use millpond_pool as pool;
use millpond_pool::ErrorKind;
use wasmtime::component::ResourceTableError;

use crate::bindings::{asynchronous, blocking};

/// Why a host function did not return: the guest's mistake, or the host's.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Becomes an error value of the contract.
    Guest(Mistake),
    /// Ends the guest.
    Trap(wasmtime::Error),
}

/// An error of the contract: the pool's, or one that only this layer knows.
#[derive(Debug)]
pub(crate) struct Mistake {
    kind: Kind,
    code: i32,
    message: String,
    offset: Option<u32>,
    rolled_back: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    NoSuchDatabase,
    TooManyHandles,
    Pool(ErrorKind),
}

impl Mistake {
    pub(crate) fn new(kind: ErrorKind, message: String) -> Mistake {
        Mistake::of(Kind::Pool(kind), message)
    }

    pub(crate) fn no_such_database(name: &str) -> Mistake {
        Mistake::of(
            Kind::NoSuchDatabase,
            format!("no database is granted under the name {name:?}"),
        )
    }

    pub(crate) fn too_many(what: &str, most: u32) -> Mistake {
        Mistake::of(
            Kind::TooManyHandles,
            format!("this request may hold {most} {what} at once: drop one first"),
        )
    }

    fn of(kind: Kind, message: String) -> Mistake {
        Mistake {
            kind,
            code: 0,
            message,
            offset: None,
            rolled_back: false,
        }
    }
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Failure {
        Failure::Guest(mistake)
    }
}

impl From<pool::Error> for Failure {
    fn from(error: pool::Error) -> Failure {
        Failure::Guest(Mistake {
            kind: Kind::Pool(error.kind()),
            code: error.code(),
            message: error.to_string(),
            offset: error.offset(),
            rolled_back: error.rolled_back(),
        })
    }
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Failure {
        Failure::Trap(error.into())
    }
}

/// The conversions for one set of generated types. Both sets come from the same contract, but
/// are different types to Rust.
macro_rules! conversions {
    ($bindings:ident) => {
        const _: () = {
            use $bindings::millpond::sqlite::{pool as wit_pool, types as wit};

            impl From<Kind> for wit::ErrorKind {
                fn from(kind: Kind) -> wit::ErrorKind {
                    use wit::ErrorKind as To;
                    let kind = match kind {
                        Kind::NoSuchDatabase => return To::NoSuchDatabase,
                        Kind::TooManyHandles => return To::TooManyHandles,
                        Kind::Pool(kind) => kind,
                    };
                    match kind {
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
                        // A setting out of its bounds is found when the pool is built, where no
                        // guest is. Kinds that a later pool adds are something else, too.
                        _ => To::Other,
                    }
                }
            }

            impl From<Mistake> for wit::Error {
                fn from(mistake: Mistake) -> wit::Error {
                    wit::Error {
                        kind: mistake.kind.into(),
                        code: mistake.code,
                        message: mistake.message,
                        offset: mistake.offset,
                        rolled_back: mistake.rolled_back,
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

            impl From<wit::Value> for pool::Value {
                fn from(value: wit::Value) -> pool::Value {
                    match value {
                        wit::Value::Null => pool::Value::Null,
                        wit::Value::Integer(value) => pool::Value::Integer(value),
                        wit::Value::Real(value) => pool::Value::Real(value),
                        wit::Value::Text(value) => pool::Value::Text(value),
                        wit::Value::Blob(value) => pool::Value::Blob(value),
                    }
                }
            }

            impl From<pool::Value> for wit::Value {
                fn from(value: pool::Value) -> wit::Value {
                    match value {
                        pool::Value::Null => wit::Value::Null,
                        pool::Value::Integer(value) => wit::Value::Integer(value),
                        pool::Value::Real(value) => wit::Value::Real(value),
                        pool::Value::Text(value) => wit::Value::Text(value),
                        pool::Value::Blob(value) => wit::Value::Blob(value),
                    }
                }
            }

            impl From<wit::Parameters> for pool::Parameters {
                fn from(parameters: wit::Parameters) -> pool::Parameters {
                    match parameters {
                        wit::Parameters::Positional(values) => pool::Parameters::Positional(
                            values.into_iter().map(Into::into).collect(),
                        ),
                        wit::Parameters::Named(values) => pool::Parameters::Named(
                            values
                                .into_iter()
                                .map(|(name, value)| (name, value.into()))
                                .collect(),
                        ),
                    }
                }
            }

            impl From<wit::Cells> for pool::Cells {
                fn from(cells: wit::Cells) -> pool::Cells {
                    let wit::Cells {
                        kinds,
                        integers,
                        reals,
                        lengths,
                        bytes,
                    } = cells;
                    pool::Cells {
                        kinds,
                        integers,
                        reals,
                        lengths,
                        bytes,
                    }
                }
            }

            impl From<pool::Cells> for wit::Cells {
                fn from(cells: pool::Cells) -> wit::Cells {
                    let pool::Cells {
                        kinds,
                        integers,
                        reals,
                        lengths,
                        bytes,
                    } = cells;
                    wit::Cells {
                        kinds,
                        integers,
                        reals,
                        lengths,
                        bytes,
                    }
                }
            }

            impl From<pool::Column> for wit::Column {
                fn from(column: pool::Column) -> wit::Column {
                    wit::Column {
                        name: column.name,
                        declared_type: column.declared_type,
                    }
                }
            }

            impl From<pool::Table> for wit::Table {
                fn from(table: pool::Table) -> wit::Table {
                    let row = |row: Vec<pool::Value>| row.into_iter().map(Into::into).collect();
                    wit::Table {
                        columns: table.columns.into_iter().map(Into::into).collect(),
                        rows: table.rows.into_iter().map(row).collect(),
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
                    wit_pool::PoolStats {
                        connections_created: stats.connections_created,
                        connections_reused: stats.connections_reused,
                        connections_closed: stats.connections_closed,
                        pool_hits: stats.pool_hits,
                        pool_misses: stats.pool_misses,
                        pool_size: stats.pool_size,
                        max_pool_size: stats.max_pool_size,
                        in_use: stats.in_use,
                        waiting: stats.waiting,
                        timeouts: stats.timeouts,
                        wait_time: u64::try_from(stats.wait_time.as_nanos()).unwrap_or(u64::MAX),
                        rolled_back: stats.rolled_back,
                        discarded: stats.discarded,
                        abandoned: stats.abandoned,
                        writers_waiting: stats.writers_waiting,
                        writer_timeouts: stats.writer_timeouts,
                        writer_wait_time: u64::try_from(stats.writer_wait_time.as_nanos())
                            .unwrap_or(u64::MAX),
                        groups: stats.groups,
                        grouped_statements: stats.grouped_statements,
                    }
                }
            }
        };
    };
}

conversions!(asynchronous);
conversions!(blocking);
