//! Compiled statements, kept by their text for the next time. A statement is in the cache or in
//! use, never both.

use hashlink::LruCache;

use crate::policy::Control;
use crate::raw::RawStatement;
use crate::text::is_definition;

/// The longest text whose statement is kept, in bytes: a guest could fill the cache with texts
/// that are never run again.
const MAX_KEPT_SQL_BYTES: usize = 16 * 1024;

/// A compiled statement with what its compilation told.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) raw: RawStatement,
    pub(crate) control: Control,
    pub(crate) read_only: bool,
    sql: Box<str>,
}

impl Compiled {
    /// What `text` compiled to. It is not kept for the next time.
    pub(crate) fn new(raw: RawStatement, control: Control, text: &str) -> Compiled {
        // `EXPLAIN DELETE …` counts as writing for SQLite, and writes nothing; and
        // `DROP TRIGGER IF EXISTS x` as reading, until there is such a trigger.
        let read_only = raw.is_explain() || (raw.is_read_only() && !is_definition(text));
        // Nor does `EXPLAIN ROLLBACK` end a transaction.
        let control = if raw.is_explain() {
            Control::None
        } else {
            control
        };
        Compiled {
            raw,
            control,
            read_only,
            sql: Box::default(),
        }
    }

    /// Keep it for the next time that `sql` is to be compiled.
    pub(crate) fn keep_as(&mut self, sql: &str) {
        self.sql = sql.into();
    }
}

#[derive(Debug)]
pub(crate) struct StatementCache {
    statements: LruCache<Box<str>, Compiled>,
}

impl StatementCache {
    pub(crate) fn new(capacity: usize) -> StatementCache {
        StatementCache {
            statements: LruCache::new(capacity),
        }
    }

    /// The statement of this text, if it is here.
    pub(crate) fn take(&mut self, sql: &str) -> Option<Compiled> {
        let (sql, mut compiled) = self.statements.remove_entry(sql)?;
        compiled.sql = sql;
        Some(compiled)
    }

    /// Keep a statement, reset and without the values it was bound to. The one least recently
    /// used makes room for it.
    pub(crate) fn put(&mut self, mut compiled: Compiled) {
        if !(1..=MAX_KEPT_SQL_BYTES).contains(&compiled.sql.len()) {
            return;
        }
        compiled.raw.reset();
        compiled.raw.clear_bindings();
        let sql = std::mem::take(&mut compiled.sql);
        self.statements.insert(sql, compiled);
    }
}
