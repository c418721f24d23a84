//! Statements that SQLite does not stop by itself, and when they end.

use std::time::{Duration, Instant};

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Value, block_on,
};

/// How long each statement may take.
const TIME: Duration = Duration::from_millis(100);

struct Attack {
    name: &'static str,
    setup: String,
    sql: String,
    parameters: Parameters,
}

fn attack(name: &'static str, setup: impl Into<String>, sql: impl Into<String>) -> Attack {
    Attack {
        name,
        setup: setup.into(),
        sql: sql.into(),
        parameters: Parameters::NONE,
    }
}

fn columns(n: usize, prefix: &str) -> String {
    (0..n)
        .map(|i| format!("{prefix}{i}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn attacks() -> Vec<Attack> {
    let mut attacks = vec![
        attack(
            "fts5 snippet",
            "CREATE VIRTUAL TABLE g USING fts5(x); INSERT INTO g SELECT replace(hex(zeroblob(8000)),'0','a ')",
            "SELECT length(snippet(g,0,'[',']','...',64)) FROM g WHERE g MATCH 'a'",
        ),
        attack(
            "fts5 highlight",
            "CREATE VIRTUAL TABLE g USING fts5(x); INSERT INTO g SELECT replace(hex(zeroblob(250000)),'0','a ')",
            "SELECT length(highlight(g,0,'','')) FROM g WHERE g MATCH 'a'",
        ),
        attack(
            "fts5 many words",
            "CREATE VIRTUAL TABLE g USING fts5(x); INSERT INTO g VALUES ('a')",
            "SELECT count(*) FROM g WHERE g MATCH replace(hex(zeroblob(50000)),'0','a ')",
        ),
        attack(
            "fts5 many ors",
            "CREATE VIRTUAL TABLE g USING fts5(x); INSERT INTO g VALUES ('a')",
            "SELECT count(*) FROM g WHERE g MATCH replace(hex(zeroblob(15000)),'0','a OR ')||'a'",
        ),
        attack(
            "fts5 many filtered ors",
            "CREATE VIRTUAL TABLE g USING fts5(x); INSERT INTO g VALUES ('a')",
            "SELECT count(*) FROM g WHERE g MATCH replace(hex(zeroblob(20000)),'0','x:a OR ')||'a'",
        ),
        attack(
            "named parameters",
            "",
            format!("SELECT 1 IN ({})", columns(14000, ":p")),
        ),
        attack(
            "windows",
            "",
            format!(
                "SELECT {}",
                (0..990)
                    .map(|i| format!("sum(1) OVER (ORDER BY {i}+1 ROWS {i} PRECEDING)"))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
        ),
    ];
    let mut tables = String::new();
    for t in 0..62 {
        tables += &format!("CREATE TABLE q{t}({});", columns(999, "a"));
    }
    tables += "CREATE TABLE qz(z);";
    attacks.push(attack(
        "names",
        tables,
        format!(
            "SELECT 1 IN ({}) FROM {},qz",
            vec!["z"; 45000].join(","),
            columns(62, "q")
        ),
    ));
    let mut views = format!("CREATE TABLE v0({});", columns(999, "a"));
    for v in 1..46 {
        views += &format!("CREATE VIEW v{v} AS SELECT * FROM v{};", v - 1);
    }
    attacks.push(attack("views", views.clone(), "SELECT * FROM v45"));
    attacks.push(attack("table_list", views, "PRAGMA table_list"));
    attacks.push(attack(
        "json_valid",
        "",
        format!(
            "SELECT {} FROM (SELECT '['||replace(hex(zeroblob(250000)),'0','1,')||'1]' AS x)",
            vec!["json_valid(x)"; 90].join(",")
        ),
    ));
    attacks.push(attack(
        "additions",
        "",
        format!(
            "SELECT 1 IN ({}) FROM (SELECT replace(hex(zeroblob(500000)),'0','1') AS x)",
            vec!["x+0"; 20000].join(",")
        ),
    ));
    attacks.push(attack(
        "affinity",
        format!(
            "CREATE TABLE n({})",
            columns(999, "NUMERIC a")
                .replace("NUMERIC a", "a")
                .split(',')
                .map(|c| format!("{c} NUMERIC"))
                .collect::<Vec<_>>()
                .join(",")
        ),
        format!(
            "INSERT INTO n SELECT {} FROM (SELECT replace(hex(zeroblob(500000)),'0','1') AS x)",
            vec!["x"; 999].join(",")
        ),
    ));
    attacks.push(attack(
        "cte names",
        "",
        format!(
            "WITH w({}) AS (SELECT {}) SELECT 1 IN ({}) FROM {}, (SELECT 1 AS z)",
            columns(999, "a"),
            vec!["1"; 999].join(","),
            vec!["z"; 40000].join(","),
            (0..60)
                .map(|i| format!("w AS w{i}"))
                .collect::<Vec<_>>()
                .join(",")
        ),
    ));
    let digits = || Parameters::Positional(vec![Value::Text("1".repeat(1 << 20))]);
    let mut straight = attack(
        "straight additions",
        "",
        format!(
            "SELECT 1 IN ({}) FROM (SELECT ?1 AS x)",
            vec!["x+0"; 3900].join(",")
        ),
    );
    straight.parameters = digits();
    attacks.push(straight);
    let mut compare = attack(
        "straight comparisons",
        "CREATE TABLE t(a TEXT COLLATE NOCASE, b TEXT COLLATE NOCASE)",
        format!(
            "SELECT 1 IN ({}) FROM (SELECT ?1 AS x, ?1||'2' AS y)",
            vec!["x<y COLLATE NOCASE"; 1200].join(",")
        ),
    );
    compare.parameters = digits();
    attacks.push(compare);
    attacks.push(attack(
        "stored additions",
        "CREATE TABLE t(x); INSERT INTO t SELECT replace(hex(zeroblob(500000)),'0','1')",
        format!("SELECT 1 IN ({}) FROM t", vec!["x+0"; 3900].join(",")),
    ));
    attacks.push(attack(
        "rename",
        format!(
            "CREATE TABLE t(z);CREATE VIEW v AS SELECT 1 IN ({}) FROM t",
            vec!["t.z"; 1900].join(",")
        ),
        "ALTER TABLE t RENAME TO y",
    ));
    attacks.push(attack(
        "natural joins",
        (0..60)
            .map(|j| format!("CREATE TABLE t{j}({});", columns(999, &format!("d{j}_"))))
            .collect::<String>(),
        format!(
            "SELECT 1 FROM {}",
            (0..60)
                .map(|j| format!("t{j}"))
                .collect::<Vec<_>>()
                .join(" NATURAL JOIN ")
        ),
    ));
    attacks.push(attack(
        "aggregates",
        "CREATE TABLE t(a)",
        format!(
            "SELECT {}, 1 IN ({}) FROM t",
            (0..900)
                .map(|i| format!("sum(a+{})", 1000 + i))
                .collect::<Vec<_>>()
                .join(","),
            vec!["sum(a+1899)"; 1000].join(",")
        ),
    ));
    attacks.push(attack(
        "constants",
        "",
        format!(
            "SELECT 1 IN ({},{}) FROM (SELECT 1 AS x UNION ALL SELECT 2)",
            (0..1900)
                .map(|i| format!("x+{}", 10000 + i))
                .collect::<Vec<_>>()
                .join(","),
            vec!["x+11899"; 1900].join(",")
        ),
    ));
    attacks.push(attack(
        "upsert",
        format!(
            "CREATE TABLE p({});{}",
            columns(1000, "c"),
            (0..40)
                .map(|k| format!("CREATE UNIQUE INDEX u{k} ON p({},c999);", columns(998, "c")))
                .collect::<String>()
        ),
        format!(
            "INSERT INTO p(c0) VALUES (1) ON CONFLICT({}) DO NOTHING",
            columns(999, "c")
        ),
    ));
    attacks.push(attack("large delete", "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 14000) INSERT INTO t SELECT zeroblob(4000) FROM n", "DELETE FROM t"));
    attacks
}

fn run(connection: &Connection, attack: &Attack) -> (Duration, Result<usize, ErrorKind>) {
    let since = Instant::now();
    let result = block_on(connection.query(&attack.sql, &attack.parameters));
    let took = since.elapsed();
    (
        took,
        result.map(|t| t.rows.len()).map_err(|e| {
            eprintln!("    {e}");
            e.kind()
        }),
    )
}

#[test]
fn a_statement_ends_at_its_deadline_whatever_it_does() {
    let only = std::env::var("ATTACK").ok();
    for attack in attacks() {
        if only
            .as_ref()
            .is_some_and(|only| !attack.name.contains(only.as_str()))
        {
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let pool = Pool::builder()
            .open(folder.path().join("app.db"))
            .expect("a pool");
        let grant = Grant::new(&pool, Access::ReadWrite);
        let connection =
            block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
        let since = Instant::now();
        block_on(connection.execute_script(&attack.setup)).expect(attack.name);
        let setup = since.elapsed();
        drop(connection);
        let grant = grant.max_statement_time(TIME);
        let connection =
            block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
        let (took, result) = run(&connection, &attack);
        let since = Instant::now();
        let after = block_on(connection.query("SELECT 1", &Parameters::NONE));
        assert_eq!(
            after.map(|t| t.rows),
            Ok(vec![vec![Value::Integer(1)]]),
            "{}",
            attack.name
        );
        drop(connection);
        eprintln!(
            "{:24} {:6.1} ms late, then {:.1} ms: {:?} (setup {:.0} ms)",
            attack.name,
            took.as_secs_f64() * 1e3 - TIME.as_secs_f64() * 1e3,
            since.elapsed().as_secs_f64() * 1e3,
            result,
            setup.as_secs_f64() * 1e3
        );
    }
}

/// Of two workers, with four statements that never end, each for longer than the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_statements_do_not_hold_up_the_runtime() {
    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = Pool::builder().max_size(8).open(path).expect("a pool");
    let grant = Grant::new(&pool, Access::ReadOnly).max_statement_time(Duration::from_secs(600));
    let request = Request::new();
    let endless: Vec<_> = (0..4)
        .map(|_| {
            let (grant, request) = (grant.clone(), request.clone());
            tokio::spawn(async move {
                let connection = grant.get(Access::ReadOnly, &request).await?;
                connection.query(ENDLESS, &Parameters::NONE).await
            })
        })
        .collect();
    let quick = tokio::spawn(async move {
        for _ in 0..100 {
            let connection = grant.get(Access::ReadOnly, &Request::new()).await?;
            connection.query("SELECT 1", &Parameters::NONE).await?;
            drop(connection);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<(), millpond_pool::Error>(())
    });
    assert_eq!(quick.await.expect("no panic"), Ok(()));
    assert!(!endless.iter().any(|task| task.is_finished()));
    request.interrupt();
    for task in endless {
        let result = task.await.expect("no panic");
        let error = result.expect_err("it was interrupted");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
}
