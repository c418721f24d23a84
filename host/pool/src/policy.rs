//! What SQL a connection runs for whoever it is lent to: SQLite's authorizer, which sees every
//! statement while it is compiled (<https://sqlite.org/c3ref/set_authorizer.html>).
//!
//! Whatever it does not know is denied. SQLite passes no name for `ATTACH ?1`, and an action of
//! a later version has no name here: both arrive as unknown, and both must not pass.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};

/// Pragmas that only read, and only the database that the statement may read anyhow; none
/// takes a value.
const PRAGMAS_BARE: &[&str] = &[
    "application_id",
    "collation_list",
    "data_version",
    "defer_foreign_keys",
    "encoding",
    "foreign_keys",
    "freelist_count",
    "page_count",
    "page_size",
    "schema_version",
    "table_list",
    "user_version",
];

/// Pragmas whose value is the name of an object to describe or to check.
const PRAGMAS_ABOUT: &[&str] = &[
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Functions that reach beyond the database: other code, the host's log, the library itself,
/// raw pointers, or what an earlier borrower of the connection did.
const FUNCTIONS_DENIED: &[&str] = &[
    "changes",
    "fts3_tokenizer",
    "fts5_source_id",
    "load_extension",
    "matchinfo",
    "rtreecheck",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_log",
    "sqlite_source_id",
    "sqlite_version",
    "total_changes",
];

/// Virtual tables that a guest may create.
const MODULES: &[&str] = &["fts5", "fts5vocab", "rtree", "rtree_i32"];

/// Virtual tables that exist without being created, and show the file or the library.
const TABLES_DENIED: &[&str] = &[
    "bytecode",
    "dbstat",
    "sqlite_dbpage",
    "sqlite_stmt",
    "tables_used",
];

/// Tables of the host's own begin like this: the record of migrations, without which they would
/// all run again. They can be read.
pub(crate) const HOST_TABLES: &str = "millpond_";

/// What a statement does to the transaction that it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Control {
    /// Nothing: it is not a transaction statement.
    None = 0,
    Begin = 1,
    Commit = 2,
    Rollback = 3,
    /// `SAVEPOINT`, `RELEASE` or `ROLLBACK TO`.
    Savepoint = 4,
}

/// What the authorizer saw. Shared with the connection that it is installed on, and written only
/// while that connection compiles a statement.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The host's own statement is being compiled: everything goes.
    trusted: AtomicBool,
    /// Something temporary was created or written since the last reset.
    temporary: AtomicBool,
    /// The statement alters a table.
    alters: AtomicBool,
    control: AtomicU8,
    refusal: Mutex<Option<String>>,
}

impl Seen {
    /// Forget what the last statement was, before the next is compiled.
    pub(crate) fn start(&self) {
        self.control.store(Control::None as u8, Ordering::Relaxed);
        self.alters.store(false, Ordering::Relaxed);
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

    pub(crate) fn alters(&self) -> bool {
        self.alters.load(Ordering::Relaxed)
    }

    /// What the last statement was refused for.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.refusal().take()
    }

    pub(crate) fn temporary(&self) -> bool {
        self.temporary.load(Ordering::Relaxed)
    }

    pub(crate) fn forget_temporary(&self) {
        self.temporary.store(false, Ordering::Relaxed);
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

    /// The authorizer's answer.
    pub(crate) fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        if self.trusted.load(Ordering::Relaxed) {
            return Authorization::Allow;
        }
        let allowed = self.decide(context);
        match allowed {
            Ok(()) => Authorization::Allow,
            Err(what) => {
                *self.refusal() = Some(what);
                Authorization::Deny
            }
        }
    }

    fn decide(&self, context: &AuthContext<'_>) -> Result<(), String> {
        if context.database_name == Some("temp") && changes_something(&context.action) {
            self.temporary.store(true, Ordering::Relaxed);
        }
        match context.action {
            AuthAction::Select
            | AuthAction::Recursive
            | AuthAction::DropIndex { .. }
            | AuthAction::DropTrigger { .. }
            | AuthAction::DropView { .. }
            | AuthAction::DropVtable { .. }
            | AuthAction::Analyze { .. }
            | AuthAction::Reindex { .. } => Ok(()),
            AuthAction::Insert { table_name }
            | AuthAction::Update { table_name, .. }
            | AuthAction::Delete { table_name }
            | AuthAction::CreateTable { table_name }
            | AuthAction::CreateTrigger { table_name, .. }
            | AuthAction::DropTable { table_name } => unless_of_host(table_name),
            AuthAction::AlterTable { table_name, .. } => {
                self.alters.store(true, Ordering::Relaxed);
                unless_of_host(table_name)
            }
            AuthAction::CreateIndex {
                index_name,
                table_name,
            } => unless_of_host(table_name).and_then(|()| unless_of_host(index_name)),
            AuthAction::CreateView { view_name } => unless_of_host(view_name),
            AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempTrigger { .. }
            | AuthAction::CreateTempView { .. }
            | AuthAction::DropTempIndex { .. }
            | AuthAction::DropTempTable { .. }
            | AuthAction::DropTempTrigger { .. }
            | AuthAction::DropTempView { .. } => {
                self.temporary.store(true, Ordering::Relaxed);
                Ok(())
            }
            AuthAction::Read { table_name, .. } => {
                refuse_if(contains(TABLES_DENIED, table_name), || {
                    format!("reading the table {table_name}")
                })
            }
            AuthAction::Function { function_name } => {
                refuse_if(contains(FUNCTIONS_DENIED, function_name), || {
                    format!("the function {function_name}()")
                })
            }
            AuthAction::CreateVtable {
                table_name,
                module_name,
            } => {
                refuse_if(!contains(MODULES, module_name), || {
                    format!("a virtual table of the module {module_name}")
                })?;
                unless_of_host(table_name)
            }
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => {
                let known = match pragma_value {
                    None => {
                        contains(PRAGMAS_BARE, pragma_name) || contains(PRAGMAS_ABOUT, pragma_name)
                    }
                    Some(_) => contains(PRAGMAS_ABOUT, pragma_name),
                };
                refuse_if(!known, || {
                    let given = if pragma_value.is_some() {
                        " with a value"
                    } else {
                        ""
                    };
                    format!("PRAGMA {pragma_name}{given}")
                })
            }
            AuthAction::Transaction { operation } => {
                let control = match operation {
                    TransactionOperation::Begin => Control::Begin,
                    TransactionOperation::Rollback => Control::Rollback,
                    // rusqlite has no name for COMMIT, the third of SQLite's three.
                    _ => Control::Commit,
                };
                self.control.store(control as u8, Ordering::Relaxed);
                Ok(())
            }
            AuthAction::Savepoint { .. } => {
                self.control
                    .store(Control::Savepoint as u8, Ordering::Relaxed);
                Ok(())
            }
            AuthAction::Attach { .. } => Err("ATTACH".to_owned()),
            AuthAction::Detach { .. } => Err("DETACH".to_owned()),
            _ => Err("this kind of statement".to_owned()),
        }
    }

    fn refusal(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse_if(refuse: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if refuse { Err(what()) } else { Ok(()) }
}

fn contains(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn unless_of_host(name: &str) -> Result<(), String> {
    let of_host = name
        .get(..HOST_TABLES.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(HOST_TABLES));
    refuse_if(of_host, || format!("changing the host's own {name}"))
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
        Seen::default().decide(&context).is_ok()
    }

    #[test]
    fn what_is_unknown_is_denied() {
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

    #[test]
    fn a_pragma_that_sets_something_is_denied() {
        for name in [
            "query_only",
            "synchronous",
            "journal_mode",
            "user_version",
            "hard_heap_limit",
        ] {
            assert!(
                !decide(AuthAction::Pragma {
                    pragma_name: name,
                    pragma_value: Some("1")
                }),
                "{name}"
            );
        }
        assert!(decide(AuthAction::Pragma {
            pragma_name: "user_version",
            pragma_value: None
        }));
        assert!(decide(AuthAction::Pragma {
            pragma_name: "table_info",
            pragma_value: Some("t")
        }));
    }
}
