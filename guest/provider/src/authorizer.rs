//! Refuses what every grant of Millpond refuses, so that a guest that works here works there. It
//! protects nothing: the guest owns its file.

// The host's lists.
#[path = "../../../host/sqlite/src/policy/names.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the host")]
mod names;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};

/// What a statement does to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Not a transaction statement.
    None = 0,
    Begin = 1,
    Commit = 2,
    Rollback = 3,
    /// `SAVEPOINT`, `RELEASE` or `ROLLBACK TO`.
    Savepoint = 4,
}

/// Decides what a statement may do, and remembers what the last one compiled does.
#[derive(Debug, Default)]
pub(crate) struct Authorizer {
    /// The provider's own statement is being compiled.
    trusted: AtomicBool,
    control: AtomicU8,
    /// The statement changes the schema, for which SQLite writes its own tables.
    defines: AtomicBool,
    alters: AtomicBool,
    refusal: Mutex<Option<String>>,
}

/// Install it on a connection.
pub(crate) fn install(conn: &mut Connection, authorizer: &Arc<Authorizer>) -> rusqlite::Result<()> {
    let authorizer = Arc::clone(authorizer);
    conn.authorizer(Some(move |context: AuthContext<'_>| {
        authorizer.authorize(&context)
    }))
}

impl Authorizer {
    /// A statement is about to be compiled.
    pub(crate) fn start(&self, sql: &str) {
        self.control.store(Control::None as u8, Ordering::Relaxed);
        self.alters.store(false, Ordering::Relaxed);
        // For `ANALYZE t`, SQLite writes its own tables before it asks for permission.
        let analyzes = crate::text::begins_with(sql, &["ANALYZE"]);
        self.defines.store(analyzes, Ordering::Relaxed);
        *self.refusal() = None;
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

    /// Whether the statement changes the schema.
    pub(crate) fn defines(&self) -> bool {
        self.defines.load(Ordering::Relaxed)
    }

    /// Take the reason why the last statement was refused.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.refusal().take()
    }

    /// Run `work`, which compiles the provider's own statements, with everything allowed.
    pub(crate) fn trusting<T>(&self, work: impl FnOnce() -> T) -> T {
        self.trusted.store(true, Ordering::Relaxed);
        let result = work();
        self.trusted.store(false, Ordering::Relaxed);
        result
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        if self.trusted.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        let temporary = context.database_name == Some("temp");
        self.decide(&context.action, temporary, context.accessor)
            .unwrap_or_else(|what| {
                *self.refusal() = Some(format!("not allowed: {what}; no grant allows it"));
                Authorization::Deny
            })
    }

    fn decide(
        &self,
        action: &AuthAction<'_>,
        temporary: bool,
        accessor: Option<&str>,
    ) -> Result<Authorization, String> {
        match *action {
            AuthAction::Read { table_name, .. } => {
                allow_if(!names::is_closed_table(table_name), || {
                    format!("reading the table {table_name}")
                })
            }
            AuthAction::Insert { table_name }
            | AuthAction::Delete { table_name }
            | AuthAction::Update { table_name, .. } => self.write(table_name, temporary, accessor),
            AuthAction::CreateTable { table_name: name }
            | AuthAction::CreateView { view_name: name }
            | AuthAction::DropTable { table_name: name }
            | AuthAction::DropView { view_name: name }
            | AuthAction::DropVtable {
                table_name: name, ..
            }
            | AuthAction::CreateIndex {
                table_name: name, ..
            }
            | AuthAction::DropIndex {
                table_name: name, ..
            }
            | AuthAction::CreateTrigger {
                table_name: name, ..
            }
            | AuthAction::DropTrigger {
                table_name: name, ..
            } => self.define(name),
            AuthAction::Reindex { .. } | AuthAction::Analyze { .. } => {
                self.defines.store(true, Ordering::Relaxed);
                Ok(Authorization::Allow)
            }
            AuthAction::AlterTable { table_name, .. } => {
                self.alters.store(true, Ordering::Relaxed);
                self.define(table_name)
            }
            AuthAction::CreateVtable {
                table_name,
                module_name,
            } => {
                allow_if(names::is_module(module_name), || {
                    format!("a virtual table of the module {module_name}")
                })?;
                self.define(table_name)
            }
            AuthAction::Function {
                function_name: name,
            } => {
                let by_sqlite =
                    self.alters.load(Ordering::Relaxed) && names::is_function_of_alter(name);
                allow_if(by_sqlite || names::is_function(name), || {
                    format!("the function {name}()")
                })
            }
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => {
                // It analyzes, in statements of SQLite's own.
                if pragma_name.eq_ignore_ascii_case("optimize") {
                    self.defines.store(true, Ordering::Relaxed);
                }
                pragma(pragma_name, pragma_value)
            }
            AuthAction::Transaction { operation } => {
                let control = match operation {
                    TransactionOperation::Begin => Control::Begin,
                    TransactionOperation::Rollback => Control::Rollback,
                    // rusqlite has no name for COMMIT, the third of SQLite's three operations.
                    _ => Control::Commit,
                };
                self.control.store(control as u8, Ordering::Relaxed);
                Ok(Authorization::Allow)
            }
            AuthAction::Savepoint { .. } => {
                self.control
                    .store(Control::Savepoint as u8, Ordering::Relaxed);
                Ok(Authorization::Allow)
            }
            AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempTrigger { .. }
            | AuthAction::CreateTempView { .. }
            | AuthAction::DropTempIndex { .. }
            | AuthAction::DropTempTable { .. }
            | AuthAction::DropTempTrigger { .. }
            | AuthAction::DropTempView { .. } => Ok(Authorization::Allow),
            AuthAction::Attach { .. } => Err("ATTACH and VACUUM".to_owned()),
            _ => Err("this kind of statement".to_owned()),
        }
    }

    fn write(
        &self,
        table: &str,
        temporary: bool,
        accessor: Option<&str>,
    ) -> Result<Authorization, String> {
        // Only SQLite itself can write the schema: the connection is defensive.
        const SCHEMA: &[&str] = &["sqlite_master", "sqlite_schema", "sqlite_sequence"];
        // Not a guest's trigger: dropping a table can run triggers of tables that refer to it.
        let by_sqlite =
            accessor.is_none() && self.defines() && names::starts_with(table, "sqlite_");
        let free = !names::starts_with(table, "sqlite_") && !is_host_table(table);
        let allowed = temporary || by_sqlite || free || names::contains(SCHEMA, table);
        allow_if(allowed, || format!("writing the table {table}"))
    }

    fn define(&self, table: &str) -> Result<Authorization, String> {
        self.defines.store(true, Ordering::Relaxed);
        allow_if(!is_host_table(table), || {
            format!("changing the table {table}")
        })
    }
}

fn is_host_table(table: &str) -> bool {
    names::starts_with(table, "millpond_")
}

/// Settings that a guest may repeat, with the values that Millpond gives them.
const HELD: &[(&str, &[&str])] = &[
    ("encoding", &["UTF-8", "UTF8"]),
    ("foreign_keys", names::ON),
    ("journal_mode", &["wal"]),
    ("recursive_triggers", names::OFF),
    ("synchronous", &["2", "full"]),
    ("trusted_schema", names::OFF),
    ("writable_schema", names::OFF),
];

fn pragma(name: &str, value: Option<&str>) -> Result<Authorization, String> {
    if let Some(value) = value {
        let held = HELD
            .iter()
            .find(|(held, _)| held.eq_ignore_ascii_case(name));
        if held.is_some_and(|(_, values)| names::contains(values, value)) {
            return Ok(Authorization::Ignore);
        }
    }
    let turns_off = name.eq_ignore_ascii_case("defer_foreign_keys")
        && value.is_some_and(|value| !names::contains(names::ON, value));
    let known = names::pragma_scope(name, value).is_some() && !turns_off;
    allow_if(known, || match value {
        Some(_) => format!("PRAGMA {name} with a value"),
        None => format!("PRAGMA {name}"),
    })
}

fn allow_if(allow: bool, what: impl FnOnce() -> String) -> Result<Authorization, String> {
    match allow {
        true => Ok(Authorization::Allow),
        false => Err(what()),
    }
}
