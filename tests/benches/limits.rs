//! What each limit on a guest's SQL costs at its maximum: `cargo bench --bench limits`.
//!
//! Each row is a statement as large as allowed, on a pool with the default limits, alone in a
//! process. Prints the longest of three runs, how much memory the process gained at its peak, the
//! pool and the table included (on Linux), and how it ended: at its deadline of ten seconds, if
//! necessary.

use std::process::Command;
use std::time::{Duration, Instant};

use millpond_pool::{Access, Connection, Grant, Parameters, Pool, Request, Value, block_on};
use millpond_sqlite::PoolBuilder;

/// The limit, the setup, the statement and its values.
struct Row {
    limit: &'static str,
    before: String,
    sql: String,
    values: Vec<Value>,
}

fn row(limit: &'static str, before: impl Into<String>, sql: impl Into<String>) -> Row {
    Row {
        limit,
        before: before.into(),
        sql: sql.into(),
        values: Vec::new(),
    }
}

fn rows() -> Vec<Row> {
    let list = |count, what: &dyn Fn(usize) -> String| -> String {
        (0..count).map(what).collect::<Vec<_>>().join(",")
    };
    let columns = |count| list(count, &|at| format!("c{at}"));
    let mut parameters = row("32,766 parameters", "", {
        format!("SELECT 1 IN ({})", list(32_766, &|_| "?".to_owned()))
    });
    parameters.values = vec![Value::Integer(1); 32_766];
    let chain = "CREATE TABLE c(id INTEGER PRIMARY KEY, parent REFERENCES c ON DELETE CASCADE);
         CREATE INDEX ci ON c(parent);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 990)
         INSERT INTO c SELECT i, nullif(i - 1, 0) FROM n";
    let object = "(SELECT '{' || group_concat('\"' || i || '\":1') || '}' AS x FROM
         (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 13000) SELECT i FROM n))";
    vec![
        row("a statement of 100,000 bytes", "", {
            format!("SELECT 1 IN ({})", list(49_990, &|_| "1".to_owned()))
        }),
        row("the same, of names", "CREATE TABLE t(a)", {
            format!("SELECT 1 IN ({}) FROM t", list(49_980, &|_| "a".to_owned()))
        }),
        parameters,
        row("1,000 columns of a guest's table", "", {
            format!("CREATE TABLE t({})", columns(1_000))
        }),
        row("2,000 columns of a result", "", {
            format!("SELECT {}", list(2_000, &|at| at.to_string()))
        }),
        row("an expression 1,000 deep", "", {
            format!("SELECT 1{}", "+1".repeat(990))
        }),
        row("1,000 terms joined by OR", "CREATE TABLE t(a)", {
            let terms: Vec<_> = (0..990).map(|at| format!("a = {at}")).collect();
            format!("SELECT * FROM t WHERE {}", terms.join(" OR "))
        }),
        row(
            "views 500 deep",
            {
                let views = (1..=500).map(|at| {
                    format!(
                        "CREATE VIEW v{at} AS SELECT a FROM v{} WHERE a > {at};",
                        at - 1
                    )
                });
                format!("CREATE TABLE v0(a); {}", views.collect::<String>())
            },
            "SELECT * FROM v500",
        ),
        row("500 parts of a UNION", "", {
            let parts: Vec<_> = (0..500).map(|at| format!("SELECT {at}")).collect();
            parts.join(" UNION ")
        }),
        row("1,000 arguments of a function", "", {
            format!("SELECT json_array({})", list(1_000, &|at| at.to_string()))
        }),
        row("a cascade 1,000 deep", chain, "DELETE FROM c WHERE id = 1"),
        row("LIKE, a pattern of 1,000 bytes, a value of 1 MiB", "", {
            let pattern = "%a".repeat(500);
            format!("SELECT hex(zeroblob(524000)) LIKE '{pattern}'")
        }),
        row("GLOB, the same", "", {
            let pattern = "*a".repeat(500);
            format!("SELECT hex(zeroblob(524000)) GLOB '{pattern}'")
        }),
        row("replace in a value of 1 MiB", "", {
            "SELECT length(replace(hex(zeroblob(524000)), '00', 'a'))"
        }),
        row("json_patch of 128 KiB by as much", "", {
            format!("SELECT length(json_patch(x, x)) FROM {object}")
        }),
        row(
            "a full-text query of 256 words",
            "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f SELECT replace(hex(zeroblob(250000)), '0', 'a ')",
            "SELECT count(*) FROM f WHERE f MATCH replace(hex(zeroblob(128)), '0', 'a ')",
        ),
        row(
            "a full-text row of 500,000 words",
            "CREATE VIRTUAL TABLE f USING fts5(x)",
            "INSERT INTO f SELECT replace(hex(zeroblob(250000)), '0', 'a ')",
        ),
        row(
            "RENAME beside a definition of 4,000 characters",
            {
                let columns = list(350, &|at| format!("column_{at}"));
                format!("CREATE TABLE t(a, {columns})")
            },
            "ALTER TABLE t RENAME COLUMN a TO b",
        ),
        row("a value of 1 MiB used 1,000 times", "", {
            let uses = list(1_000, &|at| format!("x < {at}"));
            format!("SELECT {uses} FROM (SELECT hex(zeroblob(524000)) AS x)")
        }),
        row("a result of 16 MiB", "", {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 15000)
             SELECT zeroblob(1000) FROM n"
        }),
        row("sorting 64 MiB", "", {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000)
             SELECT count(*) FROM (SELECT DISTINCT randomblob(1000) FROM n)"
        }),
        row(
            "a transaction that writes 64 MiB",
            "CREATE TABLE t(a)",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 14000)
             INSERT INTO t SELECT zeroblob(3900) FROM n",
        ),
    ]
}

/// Tells a process of this program which row to run.
const ROW: &str = "MILLPOND_ROW";

fn main() {
    let mut rows = rows();
    if let Some(row) = std::env::var(ROW).ok().and_then(|row| row.parse().ok()) {
        measure(&rows.swap_remove(row));
        return;
    }
    println!("| limit | time | memory | |");
    println!("|---|---|---|---|");
    let this = std::env::current_exe().expect("this program");
    for row in 0..rows.len() {
        let mut alone = Command::new(&this);
        let status = alone.env(ROW, row.to_string()).status();
        assert!(status.expect("a process").success(), "row {row}");
    }
}

fn measure(row: &Row) {
    let before = resident("VmRSS:");
    let runs: Vec<_> = (0..3).map(|_| run(row)).collect();
    let memory = resident("VmHWM:").saturating_sub(before) as f64 / 1024.0;
    if let Some((time, end)) = runs.iter().max_by_key(|(time, _)| *time) {
        let time = time.as_secs_f64() * 1e3;
        println!("| {} | {time:.1} ms | {memory:.1} MiB | {end} |", row.limit);
    }
}

fn run(row: &Row) -> (Duration, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().max_size(1).open(path).expect("a pool");
    let connection = get(&pool);
    block_on(connection.execute_script(&row.before)).expect(row.limit);
    let parameters = Parameters::from(row.values.clone());
    let since = Instant::now();
    let result = block_on(connection.query(&row.sql, &parameters));
    let time = since.elapsed();
    let end = match result {
        Ok(_) => String::new(),
        Err(error) => format!("`{:?}`", error.kind()),
    };
    (time, end)
}

/// The process's resident memory in KiB; 0 where the system does not tell.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_default()
}

fn get(pool: &Pool) -> Connection {
    let grant = Grant::new(pool, Access::ReadWrite);
    block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection")
}
