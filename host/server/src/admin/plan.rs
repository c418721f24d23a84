//! How SQLite would run a statement.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use millpond_wasmtime::Grant;
use millpond_wasmtime::pool::{
    Access, Connection, Parameters, Request, Result, Rows, Value, ValueRef, block_on,
};

use super::slow::Slow;
use crate::databases::WeakDatabases;
use crate::printable::start_of;

/// How long the plan of a statement may take.
const PLAN_TIME: Duration = Duration::from_millis(50);
/// How many lines of it are kept, and how much of each.
const MAX_LINES: usize = 20;
const MAX_LINE_CHARS: usize = 200;

/// The lines of a statement's plan. None if there is no plan, or if getting it would delay a guest.
///
/// `EXPLAIN QUERY PLAN` compiles the text, but does not run it. The pool refuses a text with more
/// than one statement. The connection has the rights of a guest that may use every table, but not
/// change the schema.
pub(super) fn plan(databases: &WeakDatabases, slow: &Slow) -> Vec<String> {
    let lines = slow.to_explain.as_deref().and_then(|sql| {
        let database = databases.get(&slow.database)?;
        // Opening it might run migrations, or close another.
        let pool = database.find_open(slow.tenant.as_deref())?;
        let stats = pool.stats();
        if stats.in_use + stats.waiting >= stats.max_size {
            return None;
        }
        let access = match slow.wrote {
            true => Access::ReadWrite,
            false => Access::ReadOnly,
        };
        let grant = Grant::new(&pool, access)
            .schema(false)
            .max_statement_time(PLAN_TIME);
        let request = Request::new().deadline(Instant::now() + 2 * PLAN_TIME);
        let connection = block_on(grant.get(access, &request)).ok()?;
        block_on(explain(&connection, sql)).ok()
    });
    lines.map_or_else(Vec::new, |rows| indented(&rows))
}

async fn explain(connection: &Connection, sql: &str) -> Result<Rows> {
    let statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .await?;
    // The plan does not depend on their values.
    let parameters = statement.describe().await?.parameter_names;
    let parameters = Parameters::positional(parameters.iter().map(|_| Value::Null));
    let lines = statement
        .query(&parameters, MAX_LINES as u32, false)
        .await?;
    Ok(lines.rows)
}

/// The rows are a tree: each has its number, its parent's, and a text.
fn indented(rows: &Rows) -> Vec<String> {
    let mut depths: HashMap<i64, usize> = HashMap::new();
    let rows = rows.iter().take(MAX_LINES);
    let lines = rows.filter_map(|row| {
        let (Some(ValueRef::Integer(number)), Some(ValueRef::Integer(parent))) =
            (row.get(0), row.get(1))
        else {
            return None;
        };
        let depth = depths.get(&parent).map_or(0, |depth| depth + 1);
        depths.insert(number, depth);
        match row.get(3) {
            Some(ValueRef::Text(line)) => {
                let line = start_of(line, MAX_LINE_CHARS);
                Some(format!("{}{line}", "  ".repeat(depth.min(MAX_LINES))))
            }
            _ => None,
        }
    });
    lines.collect()
}
