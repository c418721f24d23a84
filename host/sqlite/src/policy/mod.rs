//! Decides what SQL a connection may run for its borrower: the authorizer, which SQLite calls for
//! everything that a statement does while it compiles it
//! (<https://sqlite.org/c3ref/set_authorizer.html>). `names` lists the functions, pragmas and
//! modules that are allowed at all; `rights` says which tables.
//!
//! Everything unknown is denied. SQLite passes no name for `ATTACH ?1`, and actions of later
//! versions have no name here: both arrive as unknown, and must be denied.

pub(crate) mod hints;
pub(crate) mod names;
mod rights;

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_pool::engine::Rights;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};

use self::names::PragmaScope;
use self::rights::Verb;
use crate::text::{analyzes, mentions, replaces};

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

/// The state of the authorizer. Shared with the connection that it is installed on, and only used
/// while that connection compiles a statement.
#[derive(Debug)]
pub(crate) struct Seen {
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
    /// A statement is being compiled, not run.
    compiling: AtomicBool,
    /// The statement writes a table that may not be read completely.
    writes_unread: AtomicBool,
    /// The statement writes a table whose rows may not be deleted, or creates a trigger that may do
    /// so.
    writes_undeletable: AtomicBool,
    control: AtomicU8,
    /// The [`PragmaKind`] of the statement.
    pragma: AtomicU8,
    refusal: Mutex<Option<String>>,
    rights: Mutex<Arc<Rights>>,
    /// Virtual tables of the linked library that exist without being created, and are not known to
    /// be harmless. In lower case.
    closed_tables: Vec<String>,
    /// A pragma that lasts until the transaction ends was used since the last reset.
    set_for_transaction: AtomicBool,
    /// The current value of `PRAGMA query_only`.
    query_only: AtomicBool,
    /// Pragmas with the values that every connection has: setting one to its value changes nothing.
    standing: Vec<(&'static str, Vec<String>)>,
}

/// Why an action is denied: the action, and what a grant would have to allow for it.
struct Refusal {
    what: String,
    needs: Option<&'static str>,
}

/// How an action is allowed.
enum Allowed {
    Yes,
    /// Allowed, but without effect: a column reads as null, a pragma does nothing.
    Ignored,
}

type Decision = Result<Allowed, Refusal>;

impl Seen {
    /// `modules` are the modules of the linked library; `standing` are pragmas with the values that
    /// every connection has.
    pub(crate) fn new(
        modules: impl IntoIterator<Item = String>,
        standing: Vec<(&'static str, Vec<String>)>,
    ) -> Seen {
        let closed = modules
            .into_iter()
            .filter(|name| !names::is_open_module(name));
        Seen {
            trusted: AtomicBool::new(false),
            temporary: AtomicBool::new(false),
            alters: AtomicBool::new(false),
            defines: AtomicBool::new(false),
            uses_own_tables: AtomicBool::new(false),
            runs_analysis: AtomicBool::new(false),
            compiling: AtomicBool::new(false),
            writes_unread: AtomicBool::new(false),
            writes_undeletable: AtomicBool::new(false),
            control: AtomicU8::new(Control::None as u8),
            pragma: AtomicU8::new(PragmaKind::Other as u8),
            refusal: Mutex::new(None),
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

    /// Start a new statement, before `sql` is compiled.
    pub(crate) fn start(&self, sql: &str) {
        self.control.store(Control::None as u8, Ordering::Relaxed);
        self.pragma
            .store(PragmaKind::Other as u8, Ordering::Relaxed);
        self.alters.store(false, Ordering::Relaxed);
        self.writes_unread.store(false, Ordering::Relaxed);
        self.writes_undeletable.store(false, Ordering::Relaxed);
        self.defines.store(false, Ordering::Relaxed);
        self.uses_own_tables.store(analyzes(sql), Ordering::Relaxed);
        self.compiling.store(true, Ordering::Relaxed);
        *self.refusal() = None;
    }

    /// The statement has been compiled, or compiling it has failed.
    pub(crate) fn finish(&self) {
        self.compiling.store(false, Ordering::Relaxed);
    }

    /// A statement begins to run. If SQLite compiles it again, it does not call
    /// [`start`](Seen::start).
    pub(crate) fn begin_run(&self, is_analysis: bool) {
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

    /// Check what SQLite does not ask about: the name that `ALTER TABLE` gives, the columns that
    /// `RETURNING` reads, and the rows that `REPLACE` deletes. `sql` has been compiled, and its
    /// result has `columns` columns.
    pub(crate) fn check_compiled(&self, sql: &str, columns: usize) -> Result<(), String> {
        let refusal = if self.alters.load(Ordering::Relaxed) && mentions(sql, HOST_TABLES) {
            // Such a name is always literal in the text.
            Refusal::always(format!("{HOST_TABLES} in a statement that alters a table"))
        } else if self.writes_unread.load(Ordering::Relaxed) && columns > 0 {
            Refusal::needing("RETURNING", "`read` on the table, and no hidden column")
        } else if self.writes_undeletable.load(Ordering::Relaxed) && replaces(sql) {
            Refusal::needing("REPLACE", "`delete` on the table")
        } else {
            return Ok(());
        };
        Err(refusal.into_message())
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

    /// The authorizer callback.
    pub(crate) fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        if self.trusts() {
            return Authorization::Allow;
        }
        let rights = self.rights();
        match self.decide(&rights, context) {
            Ok(Allowed::Yes) => Authorization::Allow,
            Ok(Allowed::Ignored) => Authorization::Ignore,
            Err(refusal) => {
                *self.refusal() = Some(refusal.into_message());
                Authorization::Deny
            }
        }
    }

    fn decide(&self, rights: &Rights, context: &AuthContext<'_>) -> Decision {
        // Temporary objects have their own schema, with a table `sqlite_temp_schema`.
        let temporary = context.database_name == Some("temp");
        // When SQLite alters a table, it also rewrites the names in this schema.
        let by_sqlite = self.alters.load(Ordering::Relaxed)
            && matches!(context.action, AuthAction::Update { .. });
        if temporary && !by_sqlite && changes_something(&context.action) {
            self.may_be_temporary(rights)?;
        }
        let write =
            |verb, table: &str| self.write(rights, verb, table, temporary, context.accessor);
        match context.action {
            AuthAction::Select => {
                // SQLite's statements on its own tables have none. A guest's may have no accessor
                // either: those of a full-text table, and of actions of foreign keys.
                if context.accessor.is_none() {
                    self.uses_own_tables.store(false, Ordering::Relaxed);
                }
                Ok(Allowed::Yes)
            }
            AuthAction::Recursive => Ok(Allowed::Yes),
            AuthAction::Read {
                table_name,
                column_name,
            } => {
                self.may_be_open(table_name)?;
                match temporary && rights.temporary() {
                    true => Ok(Allowed::Yes),
                    false => self.read(rights, table_name, column_name, context.accessor),
                }
            }
            AuthAction::Insert { table_name } => write(Verb::Insert, table_name),
            AuthAction::Delete { table_name } => write(Verb::Delete, table_name),
            AuthAction::Update {
                table_name,
                column_name,
            } => {
                refuse_if(rights::is_hidden(rights, table_name, column_name), || {
                    Refusal::needing("update of a hidden column", "the column not hidden")
                })?;
                write(Verb::Update, table_name)
            }
            AuthAction::CreateTable { table_name: name }
            | AuthAction::CreateView { view_name: name } => self.define(rights, &[name]),
            AuthAction::DropTable { table_name: name }
            | AuthAction::DropView { view_name: name }
            | AuthAction::DropVtable {
                table_name: name, ..
            } => self.drop_of(rights, &[name], name),
            // Allowed for the host's tables too: neither changes their content, and without a name
            // each applies to all tables.
            AuthAction::Reindex { index_name: name } => self.maintain(rights, name),
            AuthAction::Analyze { table_name: name } => {
                self.maintain(rights, name)?;
                self.uses_own_tables.store(true, Ordering::Relaxed);
                Ok(Allowed::Yes)
            }
            AuthAction::CreateIndex {
                index_name,
                table_name,
            } => {
                // A hidden column would read as null where the index is built, but not where it is
                // used; and a unique index shows which values there are twice.
                refuse_if(!rights::may_read_whole(rights, table_name), || {
                    let what = format!("an index of the table {table_name}");
                    Refusal::needing(what, "`read` on all of it")
                })?;
                self.define_on(rights, &[index_name, table_name], table_name)
            }
            AuthAction::DropIndex {
                index_name,
                table_name,
            } => self.drop_of(rights, &[index_name, table_name], table_name),
            AuthAction::CreateTrigger {
                trigger_name,
                table_name,
            } => {
                self.note_trigger(rights);
                self.define_on(rights, &[trigger_name, table_name], table_name)
            }
            AuthAction::DropTrigger {
                trigger_name,
                table_name,
            } => self.drop_of(rights, &[trigger_name, table_name], table_name),
            AuthAction::AlterTable {
                database_name,
                table_name,
            } => {
                self.alters.store(true, Ordering::Relaxed);
                if database_name == "temp" {
                    self.may_be_temporary(rights)?;
                    return self.maintain(rights, table_name);
                }
                // Another name may have other rights, and a column that is dropped is deleted.
                refuse_if(!rights::may_all(rights, table_name), || {
                    let what = format!("altering the table {table_name}");
                    Refusal::needing(what, "everything on it")
                })?;
                self.drop_of(rights, &[table_name], table_name)
            }
            AuthAction::CreateVtable {
                table_name,
                module_name,
            } => {
                refuse_if(!names::is_module(module_name), || {
                    Refusal::always(format!("a virtual table of the module {module_name}"))
                })?;
                self.define(rights, &[table_name])
            }
            AuthAction::CreateTempTrigger { .. } => {
                self.note_trigger(rights);
                self.may_be_temporary(rights)
            }
            AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempView { .. }
            | AuthAction::DropTempIndex { .. }
            | AuthAction::DropTempTable { .. }
            | AuthAction::DropTempTrigger { .. }
            | AuthAction::DropTempView { .. } => self.may_be_temporary(rights),
            AuthAction::Function { function_name } => {
                let known = names::is_function(function_name)
                    || (self.alters.load(Ordering::Relaxed)
                        && names::is_function_of_alter(function_name));
                refuse_if(!known, || {
                    Refusal::always(format!("the function {function_name}()"))
                })
            }
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => self.pragma(rights, pragma_name, pragma_value),
            AuthAction::Transaction { operation } => {
                let control = match operation {
                    TransactionOperation::Begin => Control::Begin,
                    TransactionOperation::Rollback => Control::Rollback,
                    // rusqlite has no name for COMMIT, the third of SQLite's three operations.
                    _ => Control::Commit,
                };
                self.control.store(control as u8, Ordering::Relaxed);
                Ok(Allowed::Yes)
            }
            AuthAction::Savepoint { .. } => {
                self.control
                    .store(Control::Savepoint as u8, Ordering::Relaxed);
                Ok(Allowed::Yes)
            }
            // `ATTACH` is denied when compiled. SQLite runs one of its own for `VACUUM`.
            AuthAction::Attach { .. } if !self.compiling.load(Ordering::Relaxed) => {
                Err(Refusal::always(
                    "VACUUM (SQLite reuses freed pages without it; the host can shrink the file)",
                ))
            }
            AuthAction::Attach { .. } => Err(Refusal::always("ATTACH")),
            AuthAction::Detach { .. } => Err(Refusal::always("DETACH")),
            _ => Err(Refusal::always("this kind of statement")),
        }
    }

    /// Whatever schema the statement names: a module's table exists in each.
    fn may_be_open(&self, table: &str) -> Result<(), Refusal> {
        // SQLite asks for every column that a statement names, and most connections have no such
        // table.
        let closed = self
            .closed_tables
            .iter()
            .any(|name| name.eq_ignore_ascii_case(table))
            || names::is_closed_table(table);
        match closed {
            true => Err(Refusal::always(format!("reading the table {table}"))),
            false => Ok(()),
        }
    }

    fn read(&self, rights: &Rights, table: &str, column: &str, accessor: Option<&str>) -> Decision {
        let by_sqlite = self.is_by_sqlite(accessor) && names::starts_with(table, "sqlite_");
        if rights::has_all_tables(rights) || names::is_open_table(table) || by_sqlite {
            return Ok(Allowed::Yes);
        }
        if is_schema(table) {
            let may = rights.may_change_schema();
            return refuse_if(!may, || {
                Refusal::needing(format!("reading {table}"), "`schema`")
            });
        }
        refuse_if(!rights::may_read(rights, table), || {
            Refusal::needing(format!("reading the table {table}"), "`read` on it")
        })?;
        match rights::is_hidden(rights, table, column) {
            true => Ok(Allowed::Ignored),
            false => Ok(Allowed::Yes),
        }
    }

    fn write(
        &self,
        rights: &Rights,
        verb: Verb,
        table: &str,
        temporary: bool,
        accessor: Option<&str>,
    ) -> Decision {
        let what = || format!("{} on the table {table}", verb.name());
        if temporary || is_schema(table) {
            // On a defensive connection only SQLite itself can write the schema, and the action
            // that defines the object is authorized separately.
            return Ok(Allowed::Yes);
        }
        // `AUTOINCREMENT` stores its counters of all tables here.
        if table.eq_ignore_ascii_case("sqlite_sequence") && rights::has_all_tables(rights) {
            return Ok(Allowed::Yes);
        }
        if names::starts_with(table, "sqlite_") {
            return refuse_if(!self.is_by_sqlite(accessor), || Refusal::always(what()));
        }
        refuse_if(is_host_table(table), || Refusal::always(what()))?;
        refuse_if(!rights::may_write(rights, verb, table), || {
            Refusal::needing(what(), verb.needs())
        })?;
        if verb != Verb::Delete && !rights::may_write(rights, Verb::Delete, table) {
            self.writes_undeletable.store(true, Ordering::Relaxed);
        }
        if !rights::may_read_whole(rights, table) {
            self.writes_unread.store(true, Ordering::Relaxed);
        }
        Ok(Allowed::Yes)
    }

    /// Whether it is SQLite that uses its own tables, for the statement. False for a guest's trigger
    /// or view (`accessor`): dropping a table can run the triggers of those that refer to it.
    fn is_by_sqlite(&self, accessor: Option<&str>) -> bool {
        let uses = &[&self.uses_own_tables, &self.runs_analysis];
        accessor.is_none() && uses.iter().any(|uses| uses.load(Ordering::Relaxed))
    }

    /// Creating, altering or dropping a table, index, view or trigger.
    fn define(&self, rights: &Rights, objects: &[&str]) -> Decision {
        let what = || format!("changing the schema ({})", objects.join(", "));
        refuse_if(objects.iter().any(|name| is_host_table(name)), || {
            Refusal::always(what())
        })?;
        self.maintain(rights, &objects.join(", "))
    }

    /// A trigger is created. What it writes is authorized when it runs, but not how it replaces
    /// rows.
    fn note_trigger(&self, rights: &Rights) {
        if !rights::has_all_tables(rights) {
            self.writes_undeletable.store(true, Ordering::Relaxed);
        }
    }

    /// Creating what belongs to a table.
    fn define_on(&self, rights: &Rights, objects: &[&str], table: &str) -> Decision {
        refuse_if(!rights::covers(rights, table), || {
            let what = format!("changing the schema ({})", objects.join(", "));
            Refusal::needing(what, "the table")
        })?;
        self.define(rights, objects)
    }

    /// Dropping or altering a table, or dropping what belongs to it.
    fn drop_of(&self, rights: &Rights, objects: &[&str], table: &str) -> Decision {
        self.define_on(rights, objects, table)?;
        self.uses_own_tables.store(true, Ordering::Relaxed);
        Ok(Allowed::Yes)
    }

    /// Rebuilding what depends on the schema.
    fn maintain(&self, rights: &Rights, objects: &str) -> Decision {
        refuse_if(!rights.may_change_schema(), || {
            Refusal::needing(format!("changing the schema ({objects})"), "`schema`")
        })?;
        self.defines.store(true, Ordering::Relaxed);
        Ok(Allowed::Yes)
    }

    fn pragma(&self, rights: &Rights, name: &str, value: Option<&str>) -> Decision {
        let what = || match value {
            Some(_) => format!("PRAGMA {name} with a value"),
            None => format!("PRAGMA {name}"),
        };
        if let Some(value) = value
            && let Some(effect) = self.sets_what_holds(name, value)
        {
            return Ok(effect);
        }
        let Some(scope) = names::pragma_scope(name, value) else {
            return Err(Refusal::always(what()));
        };
        if name.eq_ignore_ascii_case("optimize") {
            self.pragma
                .store(PragmaKind::Optimizes as u8, Ordering::Relaxed);
        } else if name.eq_ignore_ascii_case("journal_mode") {
            self.pragma
                .store(PragmaKind::Reads as u8, Ordering::Relaxed);
        }
        let in_sight = match scope {
            PragmaScope::Database => true,
            // Turning it off would also forget the violations since.
            PragmaScope::Transaction => {
                let on = value.is_some_and(|value| names::contains(names::ON, value));
                refuse_if(!on, || Refusal::always(what()))?;
                self.set_for_transaction.store(true, Ordering::Relaxed);
                true
            }
            PragmaScope::Schema | PragmaScope::Index => rights.may_change_schema(),
            PragmaScope::Table => {
                rights.may_change_schema()
                    || value.is_some_and(|table| rights::may_read(rights, table))
            }
        };
        refuse_if(!in_sight, || Refusal::needing(what(), "`schema`"))
    }

    /// Drivers and frameworks start with pragmas, most of which set what is already so.
    fn sets_what_holds(&self, name: &str, value: &str) -> Option<Allowed> {
        if name.eq_ignore_ascii_case("query_only") {
            let held = if self.is_query_only() {
                names::ON
            } else {
                names::OFF
            };
            return names::contains(held, value).then_some(Allowed::Ignored);
        }
        let named = |(standing, _): &&(&str, Vec<String>)| standing.eq_ignore_ascii_case(name);
        let (standing, values) = self.standing.iter().find(named)?;
        let holds = values.iter().any(|held| held.eq_ignore_ascii_case(value));
        holds.then_some(match *standing {
            // It returns the current mode, which drivers read.
            "journal_mode" => {
                self.pragma
                    .store(PragmaKind::Reads as u8, Ordering::Relaxed);
                Allowed::Yes
            }
            _ => Allowed::Ignored,
        })
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

    fn may_be_temporary(&self, rights: &Rights) -> Decision {
        refuse_if(!rights.temporary(), || {
            Refusal::needing("a temporary object", "`temporary`")
        })?;
        self.temporary.store(true, Ordering::Relaxed);
        Ok(Allowed::Yes)
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rights(&self) -> MutexGuard<'_, Arc<Rights>> {
        self.rights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusal {
    fn always(what: impl Into<String>) -> Refusal {
        Refusal {
            what: what.into(),
            needs: None,
        }
    }

    fn needing(what: impl Into<String>, needs: &'static str) -> Refusal {
        Refusal {
            what: what.into(),
            needs: Some(needs),
        }
    }

    fn into_message(self) -> String {
        let mut message = format!("not allowed: {}", self.what);
        let _ = match self.needs {
            Some(needs) => write!(message, "; it needs a grant with {needs}"),
            None => write!(message, "; no grant allows it"),
        };
        message
    }
}

fn refuse_if(refuse: bool, refusal: impl FnOnce() -> Refusal) -> Decision {
    if refuse {
        Err(refusal())
    } else {
        Ok(Allowed::Yes)
    }
}

/// The schema table, by any of its names (<https://sqlite.org/schematab.html>).
fn is_schema(table: &str) -> bool {
    const NAMES: &[&str] = &[
        "sqlite_master",
        "sqlite_schema",
        "sqlite_temp_master",
        "sqlite_temp_schema",
    ];
    names::contains(NAMES, table)
}

fn is_host_table(name: &str) -> bool {
    names::starts_with(name, HOST_TABLES)
}

fn changes_something(action: &AuthAction<'_>) -> bool {
    !matches!(
        action,
        AuthAction::Read { .. }
            | AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::Function { .. }
            | AuthAction::Pragma { .. }
    )
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
        Seen::new([], Vec::new())
            .decide(&Rights::default(), &context)
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
