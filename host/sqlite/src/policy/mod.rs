//! Decides what SQL a connection may run for its borrower: the authorizer, which SQLite calls for
//! everything that a statement does while it compiles it
//! (<https://sqlite.org/c3ref/set_authorizer.html>). `names` lists the functions, pragmas and
//! modules that are allowed at all; `rights` says which tables.
//!
//! Everything unknown is denied. SQLite passes no name for `ATTACH ?1`, and actions of later
//! versions have no name here: both arrive as unknown, and must be denied.

mod decide;
mod definition;
pub(crate) mod hints;
pub(crate) mod names;
mod pragma;
mod refusal;
mod rights;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_pool::engine::Rights;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

pub(crate) use self::definition::check_definition;
use self::definition::check_foreign_keys;
use self::refusal::{Allowed, Refusal};
use crate::ffi::statement::Running;
use crate::text::{SqlText, analyzes, mentions};
use crate::words::{joins_by_name, parenthesized_names, replaces};

/// The prefix of the host's own tables: the record of migrations, without which they would all run
/// again. Guests may read them.
const HOST_TABLES: &str = "millpond_";

/// What a statement does to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Control {
    /// Not a transaction statement.
    None = 0,
    Begin = 1,
    Commit = 2,
    Rollback = 3,
    /// `SAVEPOINT`, `RELEASE` or `ROLLBACK TO`.
    Savepoint = 4,
}

/// Whether a pragma writes, if SQLite's own answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PragmaKind {
    Other = 0,
    /// `journal_mode`, which may only be set to its current value.
    Reads = 1,
    /// `optimize`, which runs `ANALYZE` in statements of its own.
    Optimizes = 2,
}

/// Which statement SQLite asks for.
#[derive(Clone, Copy)]
pub(crate) enum Compilation<'a> {
    /// One that is compiled for the first time.
    First,
    /// One that is about to run, and is compiled again: for another schema, or for other values.
    Again(&'a Running),
    /// A module's own, within one that runs.
    Inner(&'a Running),
}

/// The state of the authorizer. Shared with the connection that it is installed on, and only used
/// while that connection compiles a statement.
#[derive(Debug)]
pub(crate) struct Authorizer {
    /// The host's own statement is being compiled: allow everything.
    trusted: AtomicBool,
    /// A temporary object was created or written since the last reset.
    temporary: AtomicBool,
    /// The statement alters a table.
    alters: AtomicBool,
    /// The statement changes the schema.
    defines: AtomicBool,
    /// SQLite uses its own tables for the statement, which drops or alters something, or analyzes.
    uses_own_tables: AtomicBool,
    /// A statement runs that writes the statistics of tables. SQLite may compile it again, or
    /// compile statements of its own for it.
    runs_analysis: AtomicBool,
    /// The statement writes a table.
    writes: AtomicBool,
    /// A hidden column reads as null in the statement.
    reads_hidden: AtomicBool,
    /// A statement is being compiled, not run.
    compiling: AtomicBool,
    /// Its text, or another of the script, mentions the statistics of tables.
    mentions_statistics: AtomicBool,
    /// SQLite has compiled a statement that reads within one that runs, under the current rights. A
    /// full-text table keeps such statements on its content, and would run them for the next
    /// borrower. Those that write are only on its shadow tables, which the grant of the table
    /// covers.
    has_inner_statements: AtomicBool,
    /// The statement writes a table whose rows may not be deleted, or creates a trigger that may do
    /// so.
    writes_undeletable: AtomicBool,
    control: AtomicU8,
    /// The [`PragmaKind`] of the statement.
    pragma: AtomicU8,
    refusal: Mutex<Option<String>>,
    /// The table that the statement creates or alters. `None` if it is temporary, or if every table
    /// is granted.
    defined_table: Mutex<Option<String>>,
    rights: Mutex<Arc<Rights>>,
    /// Virtual tables of the linked library that exist without being created, and are not known to
    /// be harmless. In lower case.
    closed_tables: Vec<String>,
    /// Functions of the linked library that are not on the list.
    closed_functions: Vec<String>,
    /// A pragma that lasts until the transaction ends was used since the last reset.
    set_for_transaction: AtomicBool,
    /// The current value of `PRAGMA query_only`.
    query_only: AtomicBool,
    /// Pragmas with the values that every connection has: setting one to its value changes nothing.
    standing: Vec<(&'static str, Vec<String>)>,
}

/// A statement is being compiled, until this is dropped.
#[must_use]
pub(crate) struct Compiling<'a>(&'a Authorizer);

impl Drop for Compiling<'_> {
    fn drop(&mut self) {
        self.0.compiling.store(false, Ordering::Relaxed);
    }
}

impl Authorizer {
    /// `modules` and `functions` are those of the linked library; `standing` are pragmas with the
    /// values that every connection has.
    pub(crate) fn new(
        modules: impl IntoIterator<Item = String>,
        functions: impl IntoIterator<Item = String>,
        standing: Vec<(&'static str, Vec<String>)>,
    ) -> Authorizer {
        let closed = modules
            .into_iter()
            .filter(|name| !names::is_open_module(name));
        let functions = functions.into_iter();
        Authorizer {
            closed_functions: functions.filter(|name| !names::is_function(name)).collect(),
            trusted: AtomicBool::new(false),
            temporary: AtomicBool::new(false),
            alters: AtomicBool::new(false),
            defines: AtomicBool::new(false),
            uses_own_tables: AtomicBool::new(false),
            runs_analysis: AtomicBool::new(false),
            writes: AtomicBool::new(false),
            compiling: AtomicBool::new(false),
            mentions_statistics: AtomicBool::new(false),
            has_inner_statements: AtomicBool::new(false),
            reads_hidden: AtomicBool::new(false),
            writes_undeletable: AtomicBool::new(false),
            control: AtomicU8::new(Control::None as u8),
            pragma: AtomicU8::new(PragmaKind::Other as u8),
            refusal: Mutex::new(None),
            defined_table: Mutex::new(None),
            rights: Mutex::new(Arc::default()),
            closed_tables: closed.map(|name| name.to_ascii_lowercase()).collect(),
            set_for_transaction: AtomicBool::new(false),
            query_only: AtomicBool::new(false),
            standing,
        }
    }

    /// From now on, authorize by `rights`.
    pub(crate) fn set_rights(&self, rights: &Arc<Rights>) {
        *self.rights() = Arc::clone(rights);
    }

    /// Whether a module may keep statements that read with the present rights.
    pub(crate) fn has_inner_statements(&self) -> bool {
        self.has_inner_statements.load(Ordering::Relaxed)
    }

    /// All statements have been expired.
    pub(crate) fn forget_inner_statements(&self) {
        self.has_inner_statements.store(false, Ordering::Relaxed);
    }

    /// Start a new statement, before it is compiled: the first of `sql`, which is the end of `text`.
    pub(crate) fn start(&self, sql: &str, text: &SqlText<'_>) -> Compiling<'_> {
        self.control.store(Control::None as u8, Ordering::Relaxed);
        self.pragma
            .store(PragmaKind::Other as u8, Ordering::Relaxed);
        self.alters.store(false, Ordering::Relaxed);
        self.writes_undeletable.store(false, Ordering::Relaxed);
        self.writes.store(false, Ordering::Relaxed);
        self.reads_hidden.store(false, Ordering::Relaxed);
        self.defines.store(false, Ordering::Relaxed);
        self.uses_own_tables.store(analyzes(sql), Ordering::Relaxed);
        let mentions = !rights::has_all_tables(&self.rights()) && text.mentions_statistics();
        self.mentions_statistics.store(mentions, Ordering::Relaxed);
        *self.refusal() = None;
        *self.defined_table() = None;
        self.start_inspection()
    }

    /// The host compiles statements that do not run, to inspect or to try them.
    pub(crate) fn start_inspection(&self) -> Compiling<'_> {
        self.compiling.store(true, Ordering::Relaxed);
        Compiling(self)
    }

    /// A statement begins to run. If SQLite compiles it again, it does not call
    /// [`start`](Authorizer::start).
    pub(crate) fn begin_run(&self, is_analysis: bool) {
        self.writes.store(false, Ordering::Relaxed);
        self.reads_hidden.store(false, Ordering::Relaxed);
        self.uses_own_tables.store(false, Ordering::Relaxed);
        self.runs_analysis.store(is_analysis, Ordering::Relaxed);
    }

    /// The statement has run, for now.
    pub(crate) fn end_run(&self) {
        self.begin_run(false);
    }

    /// What SQLite does not report about the last statement, if it is a pragma.
    pub(crate) fn pragma_kind(&self) -> PragmaKind {
        match self.pragma.load(Ordering::Relaxed) {
            1 => PragmaKind::Reads,
            2 => PragmaKind::Optimizes,
            _ => PragmaKind::Other,
        }
    }

    pub(crate) fn control(&self) -> Control {
        match self.control.load(Ordering::Relaxed) {
            1 => Control::Begin,
            2 => Control::Commit,
            3 => Control::Rollback,
            4 => Control::Savepoint,
            _ => Control::None,
        }
    }

    /// Check what SQLite does not ask about: the name that `ALTER TABLE` gives, and the functions
    /// in it; the tables that foreign keys refer to; the columns that a join matches by name; and
    /// the rows that `REPLACE` deletes. `sql` has been compiled for the first time: before, it is
    /// not known where in a script it ends. If it is compiled again,
    /// [`authorize`](Authorizer::authorize) checks what may be different then.
    pub(crate) fn check_compiled(&self, sql: &str) -> Result<(), String> {
        let refusal = if self.alters.load(Ordering::Relaxed) && mentions(sql, HOST_TABLES) {
            // Such a name is always literal in the text.
            Refusal::always(format!("{HOST_TABLES} in a statement that alters a table"))
        } else if let Some(function) = self.adds_function(sql) {
            Refusal::always(format!("the function {function}()"))
        } else if let Some(table) = self.defined_table().as_deref()
            && let Err(refusal) = check_foreign_keys(&self.rights(), table, sql)
        {
            refusal
        } else if !rights::has_all_tables(&self.rights()) && joins_by_name(sql) {
            let what = "joining by the names of columns (NATURAL JOIN or USING; write ON)";
            Refusal::needing(what, "all tables")
        } else if self.writes_undeletable.load(Ordering::Relaxed) && replaces(sql) {
            replace_refusal()
        } else {
            return Ok(());
        };
        Err(refusal.into_message())
    }

    /// A function in a statement that alters a table. SQLite only resolves it when it reads the
    /// schema again.
    fn adds_function<'s>(&self, sql: &'s str) -> Option<Cow<'s, str>> {
        let is_closed = |name: &str| {
            let closed = &mut self.closed_functions.iter();
            closed.any(|closed| closed.eq_ignore_ascii_case(name))
        };
        match self.alters.load(Ordering::Relaxed) {
            true => parenthesized_names(sql).find(|name| is_closed(name)),
            false => None,
        }
    }

    /// Take the reason why the last statement was refused.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.refusal().take()
    }

    /// Whether the last statement changes the schema.
    pub(crate) fn defines(&self) -> bool {
        self.defines.load(Ordering::Relaxed)
    }

    /// Whether the last statement alters a table.
    pub(crate) fn alters(&self) -> bool {
        self.alters.load(Ordering::Relaxed)
    }

    pub(crate) fn temporary(&self) -> bool {
        self.temporary.load(Ordering::Relaxed)
    }

    pub(crate) fn forget_temporary(&self) {
        self.temporary.store(false, Ordering::Relaxed);
    }

    /// Whether the host's own statement is being compiled.
    pub(crate) fn trusts(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    /// Run `work` with everything allowed: for the host's own statements.
    pub(crate) fn trusting<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Reset<'a>(&'a AtomicBool);
        impl Drop for Reset<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        self.trusted.store(true, Ordering::Relaxed);
        let _reset = Reset(&self.trusted);
        work()
    }

    /// The authorizer callback. `again` says that SQLite compiles the running statement again.
    pub(crate) fn authorize(
        &self,
        context: &AuthContext<'_>,
        running: &Running,
        again: bool,
    ) -> Authorization {
        if self.trusts() {
            return Authorization::Allow;
        }
        let compilation = match self.compiling.load(Ordering::Relaxed) {
            _ if again => Compilation::Again(running),
            true => Compilation::First,
            false => Compilation::Inner(running),
        };
        if let Compilation::Inner(_) = compilation {
            self.note_inner(context);
        }
        let rights = self.rights();
        match self.decide(&rights, context, compilation) {
            Ok(Allowed::Yes) => Authorization::Allow,
            Ok(Allowed::Ignored) => Authorization::Ignore,
            Err(refusal) => {
                *self.refusal() = Some(refusal.into_message());
                Authorization::Deny
            }
        }
    }

    pub(crate) fn is_query_only(&self) -> bool {
        self.query_only.load(Ordering::Relaxed)
    }

    pub(crate) fn set_query_only(&self, query_only: bool) {
        self.query_only.store(query_only, Ordering::Relaxed);
    }

    /// Whether something was set that lasts until the transaction ends, since the last reset.
    pub(crate) fn is_set_for_transaction(&self) -> bool {
        self.set_for_transaction.load(Ordering::Relaxed)
    }

    pub(crate) fn forget_set_for_transaction(&self) {
        self.set_for_transaction.store(false, Ordering::Relaxed);
    }

    fn note_inner(&self, context: &AuthContext<'_>) {
        match context.action {
            AuthAction::Read { .. } => self.has_inner_statements.store(true, Ordering::Relaxed),
            // It is not SQLite that uses its own tables here.
            AuthAction::Select => self.uses_own_tables.store(false, Ordering::Relaxed),
            _ => {}
        }
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn defined_table(&self) -> MutexGuard<'_, Option<String>> {
        self.defined_table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn rights(&self) -> MutexGuard<'_, Arc<Rights>> {
        self.rights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn replace_refusal() -> Refusal {
    Refusal::needing("REPLACE", "`delete` on the table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(action: AuthAction<'_>) -> bool {
        let context = AuthContext {
            action,
            database_name: None,
            accessor: None,
        };
        Authorizer::new([], [], Vec::new())
            .decide(&Rights::default(), &context, Compilation::First)
            .is_ok()
    }

    #[test]
    fn unknown_actions_are_denied() {
        // `ATTACH ?1` and `ATTACH 'a'||'b'` arrive like this: SQLite passes no name.
        assert!(!decide(AuthAction::Unknown {
            code: 24,
            arg1: None,
            arg2: None
        }));
        assert!(!decide(AuthAction::Unknown {
            code: 99,
            arg1: Some("x"),
            arg2: None
        }));
    }

    #[test]
    fn the_hosts_tables_are_only_read() {
        let table_name = "Millpond_migrations";
        assert!(!decide(AuthAction::Delete { table_name }));
        assert!(!decide(AuthAction::DropTable { table_name }));
        assert!(!decide(AuthAction::CreateTrigger {
            trigger_name: "t",
            table_name
        }));
        assert!(decide(AuthAction::Read {
            table_name,
            column_name: "number"
        }));
        assert!(decide(AuthAction::Delete {
            table_name: "millpon\u{e4}s"
        }));
    }
}
