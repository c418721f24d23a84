//! Compiled statements, kept by their text for the next time. A statement is in the cache or in
//! use, never both.

use std::sync::Arc;

use hashlink::LruCache;
use millpond_pool::clock::NEVER;
use millpond_pool::engine::Rights;
use rusqlite::Connection;

use crate::error::Result;
use crate::ffi::statement::{RawStatement, StatementId};
use crate::policy::{Control, PragmaKind};
use crate::session::program::{self, Look};
use crate::text::{begins_with, is_definition, trusts_schema};

/// The longest text whose statement is kept, in bytes: a guest could fill the cache with texts
/// that are never run again.
pub(crate) const MAX_KEPT_SQL_BYTES: usize = 16 * 1024;

/// A compiled statement with what its compilation told.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) raw: RawStatement,
    pub(crate) control: Control,
    pub(crate) read_only: bool,
    /// It changes the schema.
    pub(crate) defines: bool,
    /// See [`trusts_schema`].
    pub(crate) trusts_schema: bool,
    look: Look,
    /// The longest values that it may handle aside, if they are there already.
    lengthened: Option<u32>,
    /// It was compiled aside.
    is_long: bool,
    /// `changes()` tells of it.
    counts: bool,
    sql: Box<str>,
}

/// How a statement is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) id: StatementId,
    /// It takes long to compile it again.
    pub(crate) is_long: bool,
    pub(crate) control: Control,
    pub(crate) read_only: bool,
    /// `changes()` tells of it.
    pub(crate) counts: bool,
}

impl Compiled {
    /// What `text` compiled to. It is not kept for the next time.
    pub(crate) fn new(
        raw: RawStatement,
        (control, pragma): (Control, PragmaKind),
        look: Look,
        is_long: bool,
        text: &str,
    ) -> Compiled {
        // `EXPLAIN DELETE …` counts as writing for SQLite, and writes nothing; and
        // `DROP TRIGGER IF EXISTS x` as reading, until there is such a trigger.
        let defines = is_definition(text) || pragma == PragmaKind::Writes;
        let read_only =
            raw.is_explain() || pragma == PragmaKind::Reads || (raw.is_read_only() && !defines);
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
            defines,
            trusts_schema: trusts_schema(text),
            look,
            lengthened: None,
            is_long,
            counts: begins_with(text, &["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"]),
            sql: Box::default(),
        }
    }

    /// Whether to run it [aside](millpond_pool::engine::Stop::Aside). SQLite may have compiled it again, to another
    /// program.
    pub(crate) fn is_for_aside(&self) -> bool {
        self.look.aside || self.raw.was_recompiled()
    }

    /// Whether something may come up in it that is deferred.
    pub(crate) fn may_be_deferred(&self) -> bool {
        self.look.brief_length.is_some() || self.look.sorts_rows || self.look.is_virtual
    }

    /// Get ready to run, aside or where the call was made. Returns after how many calls of the
    /// progress handler it is then deferred.
    pub(crate) fn get_ready(&mut self, aside: bool) -> u64 {
        /// As long as it takes to sort the rows that can have come together by then: 20 ms.
        const BRIEF_STEPS: u64 = 8_000;
        let max_length = match aside {
            true => self.lengthened.or(self.look.max_length),
            false => self.look.brief_length,
        };
        self.raw.set_max_length(max_length);
        match self.look.sorts_rows && !aside {
            true => BRIEF_STEPS,
            false => NEVER,
        }
    }

    /// It is run again, aside, having met a value that is longer than it might handle: let it handle
    /// values of up to `bytes`, if it makes none by itself. Returns whether it may handle longer ones
    /// there.
    pub(crate) fn lengthen(&mut self, conn: &Connection, bytes: u32) -> Result<bool> {
        if self.look.max_length.is_none()
            && let Some(longest) = program::longest_moved(conn, &self.raw)?
        {
            self.lengthened = Some(bytes.min(longest));
            self.raw.set_max_length(self.lengthened);
        }
        Ok(self.lengthened.is_some() || self.look.brief_length.is_some())
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind {
            id: self.raw.id(),
            is_long: self.is_long,
            control: self.control,
            read_only: self.read_only,
            counts: self.counts,
        }
    }

    /// The text that it is kept by; empty where it is not kept.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// Keep it for the next time that `sql` is to be compiled.
    pub(crate) fn keep_as(&mut self, sql: &str) {
        self.sql = sql.into();
    }
}

/// How many rights have statements kept for them.
const MAX_RIGHTS: usize = 4;

type Statements = LruCache<Box<str>, Compiled>;

#[derive(Debug)]
pub(crate) struct StatementCache {
    capacity: usize,
    /// Those of the present rights.
    statements: Statements,
    rights: Arc<Rights>,
    /// Those of others, the one used last at the end.
    others: Vec<(Arc<Rights>, Statements)>,
}

impl StatementCache {
    pub(crate) fn new(capacity: usize) -> StatementCache {
        StatementCache {
            capacity,
            statements: LruCache::new(capacity),
            rights: Arc::default(),
            others: Vec::new(),
        }
    }

    /// Use what was compiled under `rights` from now on, and nothing else: SQLite asks whether
    /// a statement is allowed when it compiles it, not when it runs.
    pub(crate) fn set_rights(&mut self, rights: &Arc<Rights>) {
        let same = |other: &Arc<Rights>| Arc::ptr_eq(other, rights) || other == rights;
        if same(&self.rights) {
            return;
        }
        let found = self.others.iter().position(|(other, _)| same(other));
        let next = match found {
            Some(index) => self.others.remove(index),
            None => (Arc::clone(rights), LruCache::new(self.capacity)),
        };
        let last = std::mem::replace(&mut self.statements, next.1);
        let last_rights = std::mem::replace(&mut self.rights, next.0);
        if self.others.len() == MAX_RIGHTS - 1 {
            self.others.remove(0);
        }
        self.others.push((last_rights, last));
    }

    /// The rights whose statements are used.
    pub(crate) fn rights(&self) -> &Arc<Rights> {
        &self.rights
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
        let kept = (1..=MAX_KEPT_SQL_BYTES).contains(&compiled.sql.len());
        if !kept || compiled.trusts_schema || compiled.raw.was_recompiled() {
            return;
        }
        compiled.raw.reset();
        compiled.raw.clear_bindings();
        let sql = std::mem::take(&mut compiled.sql);
        self.statements.insert(sql, compiled);
    }
}
