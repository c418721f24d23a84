//! Collects hints, from what SQLite asks its authorizer, that a statement may be slow, however
//! short: whether to [inspect](crate::session::program) its program, which costs as much as
//! compiling it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rusqlite::hooks::{AuthAction, AuthContext};

use crate::policy::names::{ends_with, starts_with};
use crate::text::{begins_with, has_more_tokens};
use crate::words::has_or;

/// Prefixes of functions that may take ten milliseconds or more for a megabyte.
const SLOW_FUNCTIONS: &[&str] = &["json", "->", "strftime", "max", "min", "char"];

/// About the statement that is being compiled, or was last. Only used while the connection compiles
/// one.
#[derive(Debug)]
pub(crate) struct Hints {
    /// Whether a single instruction may take long.
    slow: AtomicBool,
    selects: AtomicBool,
    /// The number of columns that it reads.
    columns: AtomicU32,
    /// Whether the schema has, or had, slow definitions in it: SQLite does not report what
    /// generated columns and constraints use. All connections of the pool share it.
    slow_schema: Arc<AtomicBool>,
    /// Whether the connection uses a virtual table: full-text search, or an R*Tree.
    has_virtual: AtomicBool,
    /// Whether the schema in SQLite's memory may have changed since its size was last measured.
    schema_changed: AtomicBool,
    /// Whether this connection has changed definitions since they were last checked.
    unchecked: AtomicBool,
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
            unchecked: AtomicBool::new(true),
        }
    }

    /// A statement that changes definitions is about to run.
    pub(crate) fn note_definition(&self) {
        self.set_schema_changed(true);
        self.unchecked.store(true, Ordering::Relaxed);
    }

    /// Whether this connection has changed definitions since they were last checked.
    pub(crate) fn is_unchecked(&self) -> bool {
        self.unchecked.load(Ordering::Relaxed)
    }

    /// Check whether the schema of `conn` is slow now, unless that is known.
    pub(crate) fn check_definitions(&self, conn: &rusqlite::Connection) {
        self.unchecked.store(false, Ordering::Relaxed);
        if !self.slow_schema.load(Ordering::Relaxed) && has_slow_definitions(conn) {
            self.slow_schema.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_schema_changed(&self) -> bool {
        self.schema_changed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_schema_changed(&self, changed: bool) {
        self.schema_changed.store(changed, Ordering::Relaxed);
    }

    /// Start a new statement.
    pub(crate) fn start(&self) {
        self.slow.store(false, Ordering::Relaxed);
        self.selects.store(false, Ordering::Relaxed);
        self.columns.store(0, Ordering::Relaxed);
    }

    /// Note what SQLite asks.
    pub(crate) fn see(&self, context: &AuthContext<'_>) {
        // A trigger or a view contains more than the text shows.
        let mut slow = context.accessor.is_some();
        match context.action {
            AuthAction::Read { table_name, .. } => {
                self.columns.fetch_add(1, Ordering::Relaxed);
                // FTS5 and R*Tree read these when one of their tables is first used.
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

    /// Whether the statement `sql`, which changes the schema if `defines`, may have an instruction
    /// that takes long: a set of rows, which SQLite creates for `OR`, `DELETE` and several
    /// subqueries, a slow function, or work of a virtual table; or many that each take a
    /// millisecond, to convert a long text to a number.
    pub(crate) fn may_be_slow(&self, sql: &str, defines: bool) -> bool {
        /// Converting text to numbers for the columns that are written takes up to 3 ms each.
        const FEW_COLUMNS: u32 = 10;
        /// Nearly one use of a value for each: `y IN (x, x, …)` converts both `x` and `y` each
        /// time.
        const FEW_TOKENS: usize = 40;
        const WRITE: &[&str] = &["INSERT", "UPDATE", "REPLACE", "WITH", "CREATE"];
        let many = self.columns.load(Ordering::Relaxed) > FEW_COLUMNS && begins_with(sql, WRITE);
        let slow = many || self.slow.load(Ordering::Relaxed);
        if slow && defines {
            self.slow_schema.store(true, Ordering::Relaxed);
        }
        slow || self.slow_schema.load(Ordering::Relaxed)
            || self.has_virtual.load(Ordering::Relaxed)
            || has_or(sql)
            || has_more_tokens(sql, FEW_TOKENS)
    }
}

/// Whether the schema of `conn` mentions a slow function, or has a definition with many operators,
/// or a table with many in all its definitions: each may take a millisecond to convert a long text
/// to a number.
fn has_slow_definitions(conn: &rusqlite::Connection) -> bool {
    const MAX_OPERATORS: usize = 10;
    const MAX_OPERATORS_OF_TABLE: usize = 20;
    /// Checking more takes too long: assume so.
    const MAX_BYTES: usize = 256 << 10;
    const OPERATORS: &[&str] = &[
        "+", "-", "*", "/", "%", "&", "|", "<", ">", "=", "~", "cast",
    ];
    let mentions = SLOW_FUNCTIONS
        .iter()
        .map(|name| format!("instr(lower(sql), '{name}')"));
    let counts = OPERATORS.iter().map(|name| {
        let length = name.len();
        format!("(length(sql) - length(replace(lower(sql), '{name}', ''))) / {length}")
    });
    let counts = counts.collect::<Vec<_>>().join(" + ");
    let mentions = mentions.collect::<Vec<_>>().join(" OR ");
    let sql = format!(
        "WITH d AS (SELECT * FROM sqlite_schema UNION ALL SELECT * FROM sqlite_temp_schema)
         SELECT (SELECT total(octet_length(sql)) FROM d) > {MAX_BYTES} OR EXISTS (
           SELECT 1 FROM (SELECT tbl_name, {mentions} AS mentions, {counts} AS operators
             FROM d WHERE sql IS NOT NULL)
           GROUP BY tbl_name
           HAVING max(mentions) OR max(operators) > {MAX_OPERATORS}
             OR sum(operators) > {MAX_OPERATORS_OF_TABLE})"
    );
    // Assume so for a definition that is too long to check.
    conn.query_row(&sql, [], |row| row.get(0)).unwrap_or(true)
}

/// Whether this is only a read of the results of `ANALYZE`, which SQLite may do while a statement
/// runs; it continues without them if refused. A statement that writes asks for more than this; one
/// that reads first asks only whether it may select.
pub(crate) fn reads_statistics(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Select => true,
        AuthAction::Read { table_name, .. } => starts_with(table_name, "sqlite_stat"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_operators_or_a_slow_function_make_a_schema_slow() {
        let is_slow = |definition: &str| {
            let conn = rusqlite::Connection::open_in_memory().expect("a connection");
            conn.execute_batch(definition).expect(definition);
            has_slow_definitions(&conn)
        };
        let generated = |count| {
            let columns: Vec<_> = (0..count).map(|at| format!("c{at} AS (x+{at})")).collect();
            format!("CREATE TABLE t(x, {})", columns.join(", "))
        };
        let casts = ["CAST(x AS INT)"; 11].join(" AND ");
        let checked = format!("CREATE TABLE t(x CHECK ({casts}))");
        let indexed = |count| {
            let indexes = (0..count).map(|at| format!("CREATE INDEX i{at} ON t(x+x+x+x+x+x+x)"));
            let indexes = indexes.collect::<Vec<_>>().join("; ");
            format!("CREATE TABLE t(x); {indexes}")
        };
        for definition in [
            "CREATE TABLE t(x, y AS (json_extract(x, '$.a')))",
            &generated(11),
            &checked,
            &indexed(4),
        ] {
            assert!(is_slow(definition), "{definition}");
        }
        for definition in [
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT NOT NULL CHECK (length(a) <= 9))",
            &generated(10),
            &indexed(3),
        ] {
            assert!(!is_slow(definition), "{definition}");
        }
    }
}
