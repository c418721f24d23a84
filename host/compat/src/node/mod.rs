//! `jco:node/sqlite@0.1.0` on granted databases: JavaScript that imports `DatabaseSync` from
//! `node:sqlite` runs unchanged in a component. `jco componentize --bundle` compiles that import into
//! an import of this interface.
//!
//! `new DatabaseSync(path)` opens a granted database. Its name is the last part of the path, without an
//! extension: `default`, `./data/app.db` and `file:app.db?mode=ro` open `default`, `app` and `app`. There
//! is no other way to a file, and no `:memory:`, unless the host grants a database of that name. The
//! module's top level runs when the component is built, so open the database in a function.
//!
//! An open database is one connection of the request, until `close` or the end of the request. It has
//! the grant's rights and limits. If the grant is read-only, so is the database, with or without
//! `readOnly`. Everything waits as the contract says, and never for longer than the pool's timeout.
//!
//! # Limits
//!
//! `all` and `get` return up to [`MAX_ANSWER`] bytes, in which each value of a row counts with its
//! column's name. An open database holds up to [`MAX_HELD`] bytes: the SQL of statements that the
//! guest's collector has not freed, and rows that iterators have read ahead. It has up to
//! [`MAX_ITERATORS`] iterators that were not read to their end. A path has up to 4 KiB.
//!
//! # What is missing
//!
//! These throw an error whose code is `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM`, because the contract has no
//! such functions: `createSession`, `applyChangeset`, `backup`, `serialize`, `deserialize`,
//! `loadExtension`, `expandedSQL` and `limits`, and the options that loosen what the host fixes
//! (`enableForeignKeyConstraints: false`, `enableDoubleQuotedStringLiterals`, `allowExtension`,
//! `defensive: false`). jco itself refuses `function`, `aggregate` and `setAuthorizer`.
//!
//! # What differs from Node
//!
//! - `columns()` has `null` for `column`, `database` and `table`.
//! - `prepare` refuses a text with more than one statement; Node ignores all but the first.
//! - A parameter's prefix is ignored: `:a` also binds to `$a`. Two parameters that differ only in it can't
//!   be bound by name.
//! - `run` of a statement that writes nothing returns `changes: 0`.
//! - The option `timeout` is checked and otherwise ignored: writers wait in order, up to the pool's
//!   timeout.
//! - `location()` returns the path that was given.
//! - A text that is not UTF-8 is an error.
//!
//! # Errors
//!
//! They have Node's codes. `ERR_SQLITE_ERROR` has SQLite's extended result code as `errcode`; an error
//! of the host has the nearest: 14 for a database that is not granted, 23 for what the grant does not
//! allow, 5 for a wait that timed out, 9 for a deadline, 18 for what is too large, 13 for a quota.

mod bind;
mod database;
mod failure;
mod host;
mod iterate;
mod opened;
mod options;
mod path;
mod statement;
mod tags;
mod values;

use millpond_wasmtime::{Sqlite, SqliteCtxView, SqliteView};
use wasmtime::component::Linker;

pub use self::opened::{MAX_HELD, MAX_ITERATORS};
pub use self::values::MAX_ANSWER;

mod generated {
    wasmtime::component::bindgen!({
        path: "wit/node",
        world: "jco:node/imports",
        imports: { default: async | trappable },
        with: {
            "jco:node/sqlite.database": crate::node::database::Database,
            "jco:node/sqlite.statement": crate::node::statement::Statement,
            "jco:node/sqlite.cursor": crate::node::iterate::Iterator,
            "jco:node/sqlite.tag-store": crate::node::tags::TagStore,
        },
        trappable_error_type: { "jco:node/sqlite.error" => crate::node::failure::Failure },
        require_store_data_send: true,
    });
}

use self::generated::jco::node::sqlite as wit;

/// Define `jco:node/sqlite` in a linker for asynchronous guests.
///
/// # Errors
///
/// Returns an error if the linker already defines the name.
pub fn add_to_linker<T: SqliteView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    add_to_linker_with(linker, T::sqlite)
}

/// Like [`add_to_linker`], for store data whose type belongs to another crate: see
/// [`millpond_wasmtime::add_to_linker_with`].
///
/// # Errors
///
/// As [`add_to_linker`].
pub fn add_to_linker_with<T: Send + 'static>(
    linker: &mut Linker<T>,
    get: fn(&mut T) -> SqliteCtxView<'_>,
) -> wasmtime::Result<()> {
    generated::Imports::add_to_linker::<T, Sqlite>(linker, get)
}
