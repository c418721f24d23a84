//! What SQLite asks its authorizer tells of a statement that may be slow, however short it is:
//! whether it is worth while to [look](crate::session::program) at its program, which costs as much as
//! compiling it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rusqlite::hooks::{AuthAction, AuthContext};

use crate::policy::names::{ends_with, starts_with};
use crate::text::{begins_with, has_or};

/// What the functions begin with that take ten milliseconds or more for a megabyte.
const SLOW_FUNCTIONS: &[&str] = &["json", "->", "strftime", "max", "min", "char"];

/// Of the statement that is compiled, or was last. Used only while the connection compiles one.
#[derive(Debug)]
pub(crate) struct Hints {
    /// It may do in one instruction what takes long.
    slow: AtomicBool,
    selects: AtomicBool,
    /// How many columns it reads.
    columns: AtomicU32,
    /// The schema has, or had, slow functions in it: those of generated columns and constraints are
    /// not asked about where they are used. Every connection of the pool shares it.
    slow_schema: Arc<AtomicBool>,
    /// The connection has a virtual table in use: full-text search, or an R*Tree.
    has_virtual: AtomicBool,
    /// SQLite may hold another schema in memory than when its length was last looked at.
    schema_changed: AtomicBool,
}

impl Hints {
    pub(crate) fn new(slow_schema: &Arc<AtomicBool>) -> Hints {
        Hints {
            slow: AtomicBool::new(false),
            selects: AtomicBool::new(false),
            columns: AtomicU32::new(0),
            slow_schema: Arc::clone(slow_schema),
            has_virtual: AtomicBool::new(false),
            schema_changed: AtomicBool::new(true),
        }
    }

    pub(crate) fn has_schema_changed(&self) -> bool {
        self.schema_changed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_schema_changed(&self, changed: bool) {
        self.schema_changed.store(changed, Ordering::Relaxed);
    }

    /// Forget what the last statement was.
    pub(crate) fn start(&self) {
        self.slow.store(false, Ordering::Relaxed);
        self.selects.store(false, Ordering::Relaxed);
        self.columns.store(0, Ordering::Relaxed);
    }

    /// Take note of what SQLite asks.
    pub(crate) fn see(&self, context: &AuthContext<'_>) {
        // In a trigger or a view is more than the text says.
        let mut slow = context.accessor.is_some();
        match context.action {
            AuthAction::Read { table_name, .. } => {
                self.columns.fetch_add(1, Ordering::Relaxed);
                // FTS5 and R*Tree read these as a table of theirs is first used.
                if ends_with(table_name, "_config") || ends_with(table_name, "_node") {
                    self.has_virtual.store(true, Ordering::Relaxed);
                }
            }
            AuthAction::Select => slow |= self.selects.swap(true, Ordering::Relaxed),
            AuthAction::Delete { .. } => slow = true,
            AuthAction::Function { function_name } => {
                slow |= SLOW_FUNCTIONS
                    .iter()
                    .any(|name| starts_with(function_name, name));
            }
            _ => {}
        }
        if slow {
            self.slow.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the statement `sql`, which `defines` something in the schema or not, may have an
    /// instruction that takes long: a set of rows, which SQLite makes of `OR`, of `DELETE` and of
    /// several subqueries, a slow function, or one of a virtual table's.
    pub(crate) fn may_be_slow(&self, sql: &str, defines: bool) -> bool {
        /// To read a number out of a text for each column that is written takes up to 3 ms.
        const FEW_COLUMNS: u32 = 10;
        const WRITE: &[&str] = &["INSERT", "UPDATE", "REPLACE", "WITH", "CREATE"];
        let many = self.columns.load(Ordering::Relaxed) > FEW_COLUMNS && begins_with(sql, WRITE);
        let slow = many || self.slow.load(Ordering::Relaxed);
        if slow && defines {
            self.slow_schema.store(true, Ordering::Relaxed);
        }
        slow || self.slow_schema.load(Ordering::Relaxed)
            || self.has_virtual.load(Ordering::Relaxed)
            || has_or(sql)
    }
}

/// Whether the schema of `conn` mentions a slow function.
pub(crate) fn has_slow_functions(conn: &rusqlite::Connection) -> bool {
    let mentions: Vec<_> = SLOW_FUNCTIONS
        .iter()
        .map(|name| format!("instr(lower(sql), '{name}')"))
        .collect();
    let mentions = mentions.join(" OR ");
    let sql = format!("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE {mentions})");
    // A definition that is too long to be looked at may have one.
    conn.query_row(&sql, [], |row| row.get(0)).unwrap_or(true)
}

/// Whether SQLite may do this while a statement runs: it reads what `ANALYZE` left, and goes on
/// without it if it may not. Every statement asks for more than this.
pub(crate) fn reads_statistics(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Select => true,
        AuthAction::Read { table_name, .. } => starts_with(table_name, "sqlite_stat"),
        _ => false,
    }
}
