//! A cache of compiled statements, by their text. A statement is either in the cache or in use.

use std::sync::Arc;

use hashlink::LruCache;
use millpond_pool::clock::NEVER;
use millpond_pool::engine::Rights;
use rusqlite::Connection;

use crate::error::Result;
use crate::ffi::statement::{RawStatement, StatementId};
use crate::policy::{Control, PragmaKind};
use crate::session::program::{self, Look};
use crate::text::{analyzes, begins_with, is_definition, trusts_schema};

/// The maximum length of a cached statement's text, in bytes: a guest could fill the cache with
/// texts that it never runs again.
pub(crate) const MAX_KEPT_SQL_BYTES: usize = 16 * 1024;

/// A compiled statement, with what is known from compiling it.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) raw: RawStatement,
    pub(crate) control: Control,
    pub(crate) read_only: bool,
    /// Whether it changes the schema.
    pub(crate) defines: bool,
    /// See [`trusts_schema`].
    pub(crate) trusts_schema: bool,
    look: Look,
    /// How many times SQLite had compiled it when `look` was taken.
    count_at_look: i32,
    /// The maximum length of the stored values that it may handle on the connection's own thread.
    lengthened: Option<u32>,
    /// Whether it was compiled on the connection's own thread.
    is_long: bool,
    /// Whether `changes()` counts it.
    counts: bool,
    /// See [`analyzes`].
    analyzes: bool,
    /// Whether it alters a table.
    alters: bool,
    sql: Box<str>,
}

/// How to run a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) id: StatementId,
    /// Whether compiling it again takes long.
    pub(crate) is_long: bool,
    pub(crate) control: Control,
    pub(crate) read_only: bool,
    /// Whether `changes()` counts it.
    pub(crate) counts: bool,
    /// Whether SQLite writes the statistics of tables for it. See [`analyzes`].
    pub(crate) analyzes: bool,
    /// Whether it alters a table.
    pub(crate) alters: bool,
}

impl Kind {
    /// Whether the caller's thread must not even begin to compile it again. The first that SQLite
    /// asks for a read is whether it may select; the next only once it has expanded all views,
    /// which another connection may have replaced. For a write, it first reads the results of
    /// `ANALYZE`: see [`reads_statistics`](crate::policy::reads_statistics).
    pub(crate) fn compiles_aside(&self) -> bool {
        self.is_long || self.read_only
    }
}

impl Compiled {
    /// The compiled statement of `text`. It is not cached yet.
    pub(crate) fn new(
        raw: RawStatement,
        (control, pragma): (Control, PragmaKind),
        look: Look,
        is_long: bool,
        text: &str,
    ) -> Compiled {
        // SQLite considers `EXPLAIN DELETE …` a write, although it writes nothing, and `DROP
        // TRIGGER IF EXISTS x` a read, while there is no such trigger.
        let defines = is_definition(text) || pragma == PragmaKind::Optimizes;
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
            count_at_look: 0,
            lengthened: None,
            is_long,
            counts: begins_with(text, &["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"]),
            analyzes: analyzes(text) || pragma == PragmaKind::Optimizes,
            alters: begins_with(text, &["ALTER"]),
            sql: Box::default(),
        }
    }

    /// Whether to run it on the connection's own thread. SQLite may have compiled it again, to a
    /// different program.
    pub(crate) fn is_for_aside(&self) -> bool {
        self.look.aside || self.was_recompiled()
    }

    /// Whether SQLite has compiled it again since it was last looked at.
    pub(crate) fn was_recompiled(&self) -> bool {
        self.raw.recompile_count() != self.count_at_look
    }

    /// Look at its program again, which SQLite has compiled for the values that `bind` binds.
    pub(crate) fn look_again(
        &mut self,
        conn: &Connection,
        bind: impl FnOnce(&mut RawStatement) -> Result<()>,
    ) -> Result<()> {
        // A pragma, or an `ALTER`: that it acts while it is compiled does not change.
        if self.look == Look::ASIDE {
            return Ok(());
        }
        let sql = self.raw.sql();
        self.look = program::look_bound(conn, &self.raw, &sql, bind)?;
        self.lengthened = None;
        self.count_at_look = self.raw.recompile_count();
        Ok(())
    }

    /// Whether reading the names of its parameters takes longer than a call may on the caller's
    /// thread: for each parameter, SQLite scans a list of all names, which is about as long as the
    /// text.
    pub(crate) fn takes_long_to_name(&self) -> bool {
        const BRIEF_NAMING: usize = 2 << 20;
        self.raw.parameter_count().saturating_mul(self.sql().len()) > BRIEF_NAMING
    }

    /// Whether running it may be deferred.
    pub(crate) fn may_be_deferred(&self) -> bool {
        self.look.brief_length.is_some() || self.look.sorts_rows || self.look.is_virtual
    }

    /// Prepare to run, on the connection's own thread (`aside`) or the caller's. Returns after how
    /// many calls of the progress handler to defer it.
    pub(crate) fn get_ready(&mut self, aside: bool) -> u64 {
        /// After that many, sorting the rows collected so far takes up to 20 ms.
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

    /// The statement met a value longer than it may handle, and is run again on the connection's
    /// own thread: let it handle values of up to `bytes`, if it creates none itself. Returns
    /// whether it may handle longer ones there.
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
            analyzes: self.analyzes,
            alters: self.alters,
        }
    }

    /// The text that it is cached under; empty if it is not cached.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// Cache it, when it is done, under the text `sql`.
    pub(crate) fn keep_as(&mut self, sql: &str) {
        self.sql = sql.into();
    }
}

/// For how many different rights statements are cached.
const MAX_RIGHTS: usize = 4;

type Statements = LruCache<Box<str>, Compiled>;

#[derive(Debug)]
pub(crate) struct StatementCache {
    capacity: usize,
    /// The statements of the current rights.
    statements: Statements,
    rights: Arc<Rights>,
    /// Those of other rights, the most recently used last.
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

    /// From now on, use only statements that were compiled under `rights`: SQLite asks whether a
    /// statement is allowed when it compiles it, not when it runs. Returns whether these rights
    /// differ from the ones before.
    pub(crate) fn set_rights(&mut self, rights: &Arc<Rights>) -> bool {
        let same = |other: &Arc<Rights>| Arc::ptr_eq(other, rights) || other == rights;
        if same(&self.rights) {
            return false;
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
        true
    }

    /// Finalize every statement.
    pub(crate) fn clear(&mut self) {
        self.statements.clear();
        self.others.clear();
    }

    /// The current rights.
    pub(crate) fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }

    /// Take the statement of this text, if it is cached.
    pub(crate) fn take(&mut self, sql: &str) -> Option<Compiled> {
        let (sql, mut compiled) = self.statements.remove_entry(sql)?;
        compiled.sql = sql;
        Some(compiled)
    }

    /// Cache a statement, reset and without bound values, except integers. Evicts the least
    /// recently used.
    pub(crate) fn put(&mut self, mut compiled: Compiled) {
        let kept = (1..=MAX_KEPT_SQL_BYTES).contains(&compiled.sql.len());
        if !kept || compiled.trusts_schema || compiled.was_recompiled() {
            return;
        }
        compiled.raw.reset();
        compiled.raw.clear_bindings();
        let sql = std::mem::take(&mut compiled.sql);
        self.statements.insert(sql, compiled);
    }
}
