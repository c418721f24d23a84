//! Statements that SQLite does not stop by itself end at their deadline, and no other task waits
//! for them.
//!
//! How late is looked at where the code is optimised: `cargo test --release -p millpond-pool --test
//! deadline -- --nocapture` prints it. `MILLPOND_LATE=name` runs those alone whose name has that in
//! it.

use std::time::{Duration, Instant};

use bolero::check;
use millpond_pool::{
    Access, Connection, Error, ErrorKind, Grant, Parameters, Pool, Request, Result,
    TransactionMode, Value, block_on,
};

/// How long each statement may take, and how much longer it does at most.
const TIME: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(50);

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

static NONE: Parameters = Parameters::NONE;

/// What a guest prepares, in its own time, and then sends.
struct Attack {
    name: &'static str,
    setup: String,
    /// What it does first on the connection that it attacks with.
    before: &'static str,
    sql: String,
    parameters: Vec<Value>,
}

fn attack(name: &'static str, setup: impl Into<String>, sql: impl Into<String>) -> Attack {
    Attack {
        name,
        setup: setup.into(),
        before: "",
        sql: sql.into(),
        parameters: Vec::new(),
    }
}

impl Attack {
    fn parameter(mut self, text: impl Into<String>) -> Attack {
        self.parameters.push(Value::Text(text.into()));
        self
    }

    fn before(mut self, script: &'static str) -> Attack {
        self.before = script;
        self
    }
}

fn times(count: usize, what: &str) -> String {
    vec![what; count].join(",")
}

fn each(count: usize, what: impl Fn(usize) -> String) -> String {
    (0..count).map(what).collect::<Vec<_>>().join(",")
}

fn columns(count: usize) -> String {
    each(count, |at| format!("c{at}"))
}

/// `one(0) one(1) …`, for several statements.
fn all(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

/// FTS5: long documents, long queries.
fn full_text() -> Vec<Attack> {
    let table = "CREATE VIRTUAL TABLE g USING fts5(x);";
    let document =
        |words| format!("{table} INSERT INTO g SELECT replace(hex(zeroblob({words})), '00', 'a ')");
    let one = format!("{table} INSERT INTO g VALUES ('a')");
    let matches = "SELECT count(*) FROM g WHERE g MATCH replace(hex(zeroblob";
    vec![
        attack(
            "snippet",
            document(16_000),
            "SELECT length(snippet(g, 0, '[', ']', '...', 64)) FROM g WHERE g MATCH 'a'",
        ),
        attack(
            "long snippet",
            document(500_000),
            "SELECT length(snippet(g, 0, '[', ']', '...', 64)) FROM g WHERE g MATCH 'a'",
        ),
        attack(
            "highlight",
            document(500_000),
            "SELECT length(highlight(g, 0, '', '')) FROM g WHERE g MATCH 'a'",
        ),
        attack("words", &*one, format!("{matches}(50000)), '0', 'a ')")),
        attack(
            "operands",
            &*one,
            format!("{matches}(15000)), '0', 'a OR ') || 'a'"),
        ),
        attack(
            "filters",
            &*one,
            format!("{matches}(20000)), '0', 'x:a OR ') || 'a'"),
        ),
        attack(
            "insert",
            table,
            "INSERT INTO g SELECT value || replace(hex(zeroblob(250000)), '00', 'a ')
             FROM json_each('[1,2,3,4,5,6,7,8,9]')",
        ),
        attack(
            "near",
            format!("{} || 'b'", document(480_000)),
            format!(
                "SELECT count(*) FROM g WHERE g MATCH 'NEAR({} b, 5)'",
                "a ".repeat(60)
            ),
        ),
        attack(
            "phrase",
            format!("{} || 'b'", document(480_000)),
            format!(
                "SELECT count(*) FROM g WHERE g MATCH '\"{}b\"'",
                "a ".repeat(80)
            ),
        ),
        attack(
            "committed words",
            format!(
                "{table} INSERT INTO g(g, rank) VALUES ('hashsize', 60000000);
                 CREATE TABLE s(x);
                 WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 14),
                 d(y) AS (SELECT 1 UNION ALL SELECT y + 1 FROM d LIMIT 20000)
                 INSERT INTO s SELECT group_concat(printf('%x', (x * 20000 + y) * 7919 % 1000003), ' ')
                 FROM c, d GROUP BY x"
            ),
            "COMMIT",
        )
        .before("BEGIN; INSERT INTO g SELECT x FROM s"),
    ]
}

/// What takes long before anything runs.
fn compiling() -> Vec<Attack> {
    let wide = |name: &str| format!("CREATE TABLE {name}({});", columns(999));
    let views = all(45, |at| {
        format!("CREATE VIEW v{} AS SELECT * FROM v{at};", at + 1)
    });
    let views = format!("{}{views}", wide("v0"));
    vec![
        attack(
            "named parameters",
            "",
            format!("SELECT 1 IN ({})", each(14_000, |at| format!(":p{at}"))),
        ),
        attack(
            "windows",
            "",
            format!(
                "SELECT {}",
                each(990, |at| format!(
                    "sum(1) OVER (ORDER BY {at}+1 ROWS {at} PRECEDING)"
                ))
            ),
        ),
        attack(
            "names",
            format!(
                "{} CREATE TABLE qz(z)",
                all(62, |at| wide(&format!("q{at}")))
            ),
            format!(
                "SELECT 1 IN ({}) FROM {},qz",
                times(45_000, "z"),
                each(62, |at| format!("q{at}"))
            ),
        ),
        attack(
            "names in subqueries",
            "",
            format!(
                "WITH w({}) AS (SELECT {}) SELECT 1 IN ({}) FROM {}, (SELECT 1 AS z)",
                columns(999),
                times(999, "1"),
                times(40_000, "z"),
                each(60, |at| format!("w AS w{at}"))
            ),
        ),
        attack(
            "natural joins",
            all(60, |at| {
                format!(
                    "CREATE TABLE t{at}({});",
                    each(999, |column| format!("d{at}_{column}"))
                )
            }),
            format!(
                "SELECT 1 FROM {}",
                each(60, |at| format!("t{at}")).replace(',', " NATURAL JOIN ")
            ),
        ),
        attack("views", &*views, "SELECT * FROM v45"),
        attack("pragma", views, "PRAGMA table_list"),
        attack(
            "aggregates",
            "CREATE TABLE t(a)",
            format!(
                "SELECT {}, 1 IN ({}) FROM t",
                each(300, |at| format!("sum(a+{})", 1000 + at)),
                times(7_000, "sum(a+1299)")
            ),
        ),
        attack(
            "constants",
            "",
            format!(
                "SELECT 1 IN ({}, {}) FROM (SELECT 1 AS x UNION ALL SELECT 2)",
                each(5_500, |at| format!("x+{}", 10_000 + at)),
                times(5_500, "x+15499")
            ),
        ),
        attack(
            "rename",
            format!(
                "CREATE TABLE t(z); CREATE VIEW v AS SELECT 1 IN ({}) FROM t",
                times(6_000, "t.z")
            ),
            "ALTER TABLE t RENAME TO y",
        ),
    ]
}

/// Tables of a thousand columns, with much that depends on them.
fn schemas() -> Vec<Attack> {
    let wide = format!("CREATE TABLE p({});", columns(1_000));
    let unique = all(40, |at| {
        format!("CREATE UNIQUE INDEX u{at} ON p({},c999);", columns(998))
    });
    vec![
        attack(
            "upsert",
            format!("{wide}{unique}"),
            format!(
                "INSERT INTO p(c0) VALUES (1) {}",
                format!("ON CONFLICT({}) DO UPDATE SET c0 = 1 ", columns(999)).repeat(1)
            ),
        ),
        attack(
            "parents",
            format!(
                "{wide}{unique} CREATE TABLE ch({cs}, FOREIGN KEY({cs}) REFERENCES p({reversed}))",
                cs = columns(999),
                reversed = each(999, |at| format!("c{}", 998 - at))
            ),
            "DELETE FROM p",
        ),
        attack(
            "update of",
            format!(
                "{wide}{}",
                all(200, |at| format!(
                    "CREATE TRIGGER r{at} AFTER UPDATE OF {} ON p BEGIN SELECT 1; END;",
                    each(499, |at| format!("c{}", at + 500))
                ))
            ),
            format!("UPDATE p SET {}", each(500, |at| format!("c{at}=1"))),
        ),
        attack(
            "indexed expressions",
            all(20, |at| {
                let terms = each(900, |term| format!("a+{term}"));
                format!("CREATE TABLE t{at}(a); CREATE INDEX i{at} ON t{at}({terms});")
            }),
            format!(
                "SELECT 1 IN ({}) FROM {} WHERE {}",
                times(8_000, "t0.a-t1.a"),
                each(20, |at| format!("t{at}")),
                each(20, |at| format!("t{at}.a+0=1")).replace(',', " AND ")
            ),
        ),
        attack(
            "generated columns",
            format!(
                "CREATE TABLE t({}, c900 INT)",
                each(900, |at| format!(
                    "c{at} AS ({}+c{}) STORED",
                    "c900+".repeat(11).trim_end_matches('+'),
                    at + 1
                ))
            ),
            "INSERT INTO t(c900) VALUES (1)",
        ),
    ]
}

/// One instruction, or many without a look at the deadline.
fn straight() -> Vec<Attack> {
    let digits = "1".repeat(1 << 20);
    let numbers = format!("[{}]", times(500_000, "1"));
    vec![
        attack(
            "additions",
            "",
            format!(
                "SELECT 1 IN ({}) FROM (SELECT ?1 AS x)",
                times(20_000, "x+0")
            ),
        )
        .parameter(&digits),
        attack(
            "parameters",
            "",
            format!("SELECT 1 IN ({})", times(20_000, "?1+0")),
        )
        .parameter(&digits),
        attack(
            "columns",
            "CREATE TABLE t(x); INSERT INTO t SELECT replace(hex(zeroblob(500000)), '0', '1')",
            format!("SELECT 1 IN ({}) FROM t", times(20_000, "x+0")),
        ),
        attack(
            "comparisons",
            "",
            format!(
                "SELECT 1 IN ({}) FROM (SELECT ?1 AS x, ?1 || '2' AS y)",
                times(5_000, "x<y COLLATE NOCASE")
            ),
        )
        .parameter(&digits),
        attack(
            "trigger",
            format!(
                "CREATE TABLE d(x); INSERT INTO d SELECT replace(hex(zeroblob(500000)), '0', '1');
                 CREATE TABLE t(a);
                 CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1 IN ({}); END",
                times(10_000, "new.a+0")
            ),
            "INSERT INTO t SELECT x FROM d",
        ),
        attack(
            "affinity",
            format!(
                "CREATE TABLE n({})",
                each(999, |at| format!("c{at} NUMERIC"))
            ),
            format!(
                "INSERT INTO n SELECT {} FROM (SELECT ?1 AS x)",
                times(999, "x")
            ),
        )
        .parameter("1".repeat(1_000_000)),
        attack(
            "json",
            "",
            format!("SELECT {}", times(90, "json_valid(?1)")),
        )
        .parameter(&numbers),
        attack(
            "paths",
            "",
            format!(
                "SELECT length(json_extract(?1, {}))",
                each(31, |at| format!("'$[#-4999{at:02}]'"))
            ),
        )
        .parameter(&numbers),
        attack("pretty", "", "SELECT length(json_pretty(?1, ''))").parameter(format!(
            "{}{}{}",
            "[".repeat(990),
            &numbers,
            "]".repeat(990)
        )),
        attack("format", "", "SELECT strftime(?1, 2460000.4999)").parameter("%V".repeat(500_000)),
        attack(
            "lengths",
            "",
            format!("SELECT {} FROM (SELECT ?1 AS x)", times(900, "length(x)")),
        )
        .parameter(&digits),
        attack(
            "large delete",
            "CREATE TABLE t(a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 14000)
             INSERT INTO t SELECT zeroblob(4000) FROM n",
            "DELETE FROM t",
        ),
    ]
}

/// A pool of one connection, and what a guest may do with it.
struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
    grant: Grant,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        let pool = Pool::builder().max_size(1).open(path).expect("a pool");
        Fixture {
            _folder: folder,
            grant: Grant::new(&pool, Access::ReadWrite).temporary(true),
            pool,
        }
    }

    fn get(&self, time: Duration) -> Connection {
        let grant = self.grant.clone().max_statement_time(time);
        let connection = block_on(grant.get(Access::ReadWrite, &Request::new()));
        connection.expect("a connection")
    }

    /// Attack with a short deadline. How late it ended, and what came of it.
    fn attack(&self, attack: &Attack) -> (Duration, Result<usize>) {
        let connection = self.get(Duration::from_secs(600));
        block_on(connection.execute_script(attack.before)).expect(attack.name);
        let parameters = Parameters::Positional(attack.parameters.clone());
        let since = Instant::now();
        connection.set_deadline(Some(since + TIME));
        let result = block_on(connection.query(&attack.sql, &parameters));
        let late = since.elapsed().saturating_sub(TIME);
        // The connection is as good as before, or gone.
        connection.set_deadline(None);
        match block_on(connection.query("SELECT 1", &NONE)) {
            Ok(after) => assert_eq!(after.rows, [[Value::Integer(1)]]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StaleHandle, "{error}");
                assert!(self.pool.stats().abandoned > 0);
            }
        }
        (late, result.map(|table| table.rows.len()))
    }
}

fn is_late(late: Duration) -> bool {
    !cfg!(debug_assertions) && late > LATE
}

#[test]
fn a_statement_ends_at_its_deadline_whatever_it_does() {
    let only = std::env::var("MILLPOND_LATE").unwrap_or_default();
    let attacks = [full_text(), compiling(), schemas(), straight()];
    let attacks = attacks.into_iter().flatten();
    let mut too_late = Vec::new();
    for attack in attacks.filter(|attack| attack.name.contains(&only)) {
        let f = Fixture::new();
        let connection = f.get(Duration::from_secs(600));
        block_on(connection.execute_script(&attack.setup)).expect(attack.name);
        drop(connection);
        let (late, result) = f.attack(&attack);
        let what = format!("{}: {late:.1?} late, {result:?}", attack.name);
        let since = Instant::now();
        drop(f.get(TIME));
        println!(
            "{what}; its connection is free after {:.1?}",
            since.elapsed()
        );
        if let Err(error) = &result {
            use ErrorKind::{DeadlineExceeded, QuotaExceeded, TooLarge};
            assert!(
                matches!(error.kind(), DeadlineExceeded | TooLarge | QuotaExceeded),
                "{what}"
            );
        }
        if is_late(late) {
            too_late.push(what);
        }
    }
    assert!(too_late.is_empty(), "{too_late:#?}");
}

#[test]
fn what_a_statement_did_by_half_is_undone_when_it_is_starved() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    let script = "CREATE TABLE t(a); CREATE TABLE n(c NUMERIC); CREATE TABLE d(x);
                  INSERT INTO d SELECT '[' || replace(hex(zeroblob(250000)), '0', '1,') || '1]'";
    block_on(connection.execute_script(script)).expect("tables");
    drop(connection);
    let connection = f.get(TIME);
    let run = |sql: &str| block_on(connection.query(sql, &NONE));
    // One row, so that SQLite does not look at the deadline in between.
    let slow = format!(
        "INSERT INTO t SELECT json_valid(x) FROM d WHERE {} RETURNING a",
        vec!["json_valid(x)"; 95].join(" AND ")
    );
    for _ in 0..3 {
        // Alone, and within a transaction that another cursor reads in.
        let error = run(&slow).expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        assert_eq!(run("SELECT * FROM t").map(|table| table.rows), Ok(vec![]));
        run("BEGIN").expect("begun");
        run("INSERT INTO n VALUES (1), (2)").expect("rows");
        let open = connection.prepare("SELECT * FROM n").expect("a statement");
        let page = block_on(open.query(&NONE, 1)).expect("a row");
        let error = run(&slow).expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        let rows = page.rest.expect("more rows").next(0);
        match error.rolled_back() {
            true => {
                let stale = rows.map(|_| ()).expect_err("nothing is left of it");
                assert_eq!(stale.kind(), ErrorKind::StaleHandle, "{stale}");
                run("ROLLBACK").expect("ended");
            }
            false => run("ROLLBACK").map(|_| ()).expect("rolled back"),
        }
        for table in ["t", "n"] {
            let left = run(&format!("SELECT * FROM {table}")).expect("rows");
            assert!(left.rows.is_empty(), "{table}");
        }
    }
    let check = run("PRAGMA integrity_check").expect("a check");
    assert_eq!(check.rows, [[Value::Text("ok".to_owned())]]);
}

/// What follows a rollback, or a failed transaction, has no more time than anything else.
#[test]
fn no_statement_escapes_its_deadline_behind_a_rollback() {
    let f = Fixture::new();
    for script in [
        format!("BEGIN; ROLLBACK; {ENDLESS}"),
        format!("BEGIN; SAVEPOINT s; ROLLBACK TO s; {ENDLESS}"),
        format!("BEGIN; COMMIT; {ENDLESS}"),
        format!(
            "CREATE TEMP TABLE IF NOT EXISTS t(a UNIQUE); BEGIN; ROLLBACK; BEGIN; ROLLBACK; {ENDLESS}"
        ),
    ] {
        let connection = f.get(TIME);
        let error = block_on(connection.execute_script(&script)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{script}");
        let _ = block_on(connection.execute("ROLLBACK", &NONE));
        let error = block_on(connection.query(ENDLESS, &NONE)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "after {script}");
        // By its handle too.
        let transaction = block_on(connection.begin(TransactionMode::Immediate)).expect("begun");
        transaction.rollback().expect("rolled back");
        let error = block_on(connection.query(ENDLESS, &NONE)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "after {script}");
    }
}

/// What changes the schema changes no rows, and is done all the same.
#[test]
fn what_was_done_in_time_is_not_said_to_have_failed() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    for number in 0..50 {
        let sql = format!("CREATE TABLE t{number}(a)");
        block_on(connection.execute(&sql, &NONE)).expect("a table");
    }
    let slow = "INSERT INTO t0 SELECT '[' || replace(hex(zeroblob(250000)), '0', '1,') || '1]'";
    block_on(connection.execute(slow, &NONE)).expect("a row");
    // Two cursors, one of which is there when another statement is starved.
    let open = connection
        .prepare("SELECT 1 UNION ALL SELECT 2")
        .expect("a statement");
    let page = block_on(open.query(&NONE, 1)).expect("a row");
    let all = vec!["json_valid(a)"; 95].join(" AND ");
    let starved = connection
        .prepare(&format!("SELECT a FROM t0 WHERE {all}"))
        .expect("a statement");
    connection.set_deadline(Some(Instant::now() + TIME));
    let error = block_on(starved.query(&NONE, 1))
        .map(|page| page.cells)
        .expect_err("too slow");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    connection.set_deadline(None);
    let rest = page.rest.expect("more rows").next(0);
    if let Err(error) = rest {
        assert_eq!(error.kind(), ErrorKind::StaleHandle, "{error}");
    }
    // Nothing is left of it, though the statement that was starved is still there.
    for _ in 0..3 {
        block_on(connection.query("SELECT 1", &NONE)).expect("another statement");
        block_on(open.query(&NONE, 1)).expect("the same again");
    }
}

/// Of two workers, with four statements that never end, each for longer than the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_statements_do_not_hold_up_the_runtime() {
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
                connection.query(ENDLESS, &NONE).await
            })
        })
        .collect();
    let quick = tokio::spawn(async move {
        for _ in 0..100 {
            let connection = grant.get(Access::ReadOnly, &Request::new()).await?;
            connection.query("SELECT 1", &NONE).await?;
            drop(connection);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<(), Error>(())
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

/// Any SQL, on any schema and data that it has made itself: only the time counts. For longer:
/// `BOLERO_RANDOM_TEST_TIME_MS`, as in `fuzz.rs`, with `--release`.
#[test]
fn nothing_that_is_made_up_is_late() {
    check!().with_type::<Vec<(u8, u16)>>().for_each(|choices| {
        let f = Fixture::new();
        let mut choices = Choices(choices.iter());
        for _ in 0..4 {
            let sql = choices.statement();
            let sql = &sql[..sql.floor_char_boundary(100_000)];
            let (late, result) = f.attack(&attack("made up", "", sql));
            let begin = &sql[..sql.floor_char_boundary(2_000)];
            assert!(!is_late(late), "{late:?} late: {result:?}: {begin}");
        }
    });
}

/// Which of several, and how often.
struct Choices<'a>(std::slice::Iter<'a, (u8, u16)>);

impl Choices<'_> {
    fn one<'s>(&mut self, of: &[&'s str]) -> &'s str {
        let (which, _) = self.0.next().copied().unwrap_or_default();
        of[usize::from(which) % of.len()]
    }

    /// One of several, over and over. `#` in it is the number of the time.
    fn many(&mut self, of: &[&str], most: usize, between: &str) -> String {
        let what = self.one(of);
        let (few, count) = self.0.next().copied().unwrap_or_default();
        let most = if few % 4 == 0 { most } else { most.min(12) };
        let count = 1 + usize::from(count) % most;
        let all: Vec<_> = (0..count)
            .map(|at| what.replace('#', &at.to_string()))
            .collect();
        all.join(between)
    }

    fn value(&mut self) -> &'static str {
        self.one(&[
            "1",
            "'a b c'",
            "replace(hex(zeroblob(400000)), '0', '1')",
            "replace(hex(zeroblob(400000)), '00', 'a ')",
            "'[' || replace(hex(zeroblob(200000)), '0', '1,') || '1]'",
            "zeroblob(1000000)",
            "randomblob(1000)",
            "random()",
        ])
    }

    fn expression(&mut self) -> String {
        let of = [
            "c#",
            "x+#",
            "x+0",
            "t.x || '#'",
            "length(x)",
            "json_extract(x, '$[#]')",
            "json_valid(x)",
            "x < 'b' COLLATE NOCASE",
            "substr(x, #, 9)",
            "sum(x+#)",
            "sum(1) OVER (ORDER BY x+#)",
            "(SELECT max(x) FROM t WHERE x > #)",
            "CAST(x AS INTEGER)",
            "upper(x)",
            "hex(x)",
            "quote(x)",
            "printf('%s %d', x, #)",
            "strftime('%Y%V', x)",
            "json_set(x, '$[#]', 1)",
            "soundex(x)",
            "snippet(f, 0, '[', ']', '…', 64)",
            "highlight(f, 0, '<', '>')",
            "bm25(f)",
            "x LIKE '%#%'",
            "json_pretty(x)",
            "x IN (1, #)",
            "abs(x)",
            "date(x)",
            "unicode(x)",
            "x = c#",
            ":p#",
            "trim(x, 'a1')",
        ];
        self.many(&of, 6_000, ",")
    }

    fn tables(&mut self) -> String {
        let of = [
            "t",
            "t AS t#",
            "f",
            "f('a')",
            "f('a OR b# OR c')",
            "r",
            "json_each('[1,2,3]') AS j#",
            "v",
        ];
        let between = self.one(&[",", " NATURAL JOIN ", " LEFT JOIN "]);
        self.many(&of, 70, between)
    }

    fn statement(&mut self) -> String {
        let kind = self.one(&[
            "table",
            "table",
            "fts",
            "rtree",
            "view",
            "index",
            "trigger",
            "insert",
            "insert",
            "update",
            "delete",
            "select",
            "select",
            "select",
            "in",
            "match",
            "alter",
            "pragma",
            "fts command",
        ]);
        match kind {
            "table" => {
                let of = [
                    "c#",
                    "c# NUMERIC",
                    "c# TEXT COLLATE NOCASE",
                    "c# UNIQUE",
                    "c# AS (x+#) STORED",
                ];
                format!("CREATE TABLE t(x, {})", self.many(&of, 998, ","))
            }
            "fts" => {
                let tokenizer = self.one(&["unicode61", "porter", "ascii", "trigram"]);
                format!("CREATE VIRTUAL TABLE f USING fts5(x, tokenize='{tokenizer}')")
            }
            "rtree" => "CREATE VIRTUAL TABLE r USING rtree(id, x, y)".to_owned(),
            "view" => format!(
                "CREATE VIEW v AS SELECT {} FROM {}",
                self.expression(),
                self.tables()
            ),
            "index" => format!(
                "CREATE INDEX i{} ON t({})",
                self.value().len(),
                self.expression()
            ),
            "trigger" => {
                let body = self.expression();
                format!("CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT {body} FROM t; END")
            }
            "insert" => {
                let (table, value) = (self.one(&["t(x)", "f(x)", "r"]), self.value());
                let count = self.one(&["1", "3", "9", "1000", "100000"]);
                format!(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {count}) \
                     INSERT INTO {table} SELECT {value} FROM n"
                )
            }
            "update" => format!("UPDATE t SET x = {}", self.value()),
            "delete" => format!("DELETE FROM {}", self.one(&["t", "f", "r"])),
            "in" => format!("SELECT 1 IN ({}) FROM {}", self.expression(), self.tables()),
            "match" => {
                let query = self.many(
                    &[
                        "a",
                        "a OR ",
                        "a AND ",
                        "\"a a\" ",
                        "a* ",
                        "NEAR(a a) ",
                        "-a ",
                    ],
                    20_000,
                    " ",
                );
                format!(
                    "SELECT {} FROM f WHERE f MATCH '{query} a'",
                    self.expression()
                )
            }
            "alter" => self
                .one(&[
                    "ALTER TABLE t RENAME TO u",
                    "ALTER TABLE t RENAME x TO y",
                    "ALTER TABLE t DROP COLUMN c1",
                ])
                .to_owned(),
            "pragma" => format!(
                "PRAGMA {}",
                self.one(&[
                    "table_list",
                    "integrity_check",
                    "quick_check",
                    "foreign_key_check"
                ])
            ),
            "fts command" => format!(
                "INSERT INTO f(f) VALUES ('{}')",
                self.one(&["optimize", "rebuild", "integrity-check", "merge"])
            ),
            _ => {
                let (select, from) = (self.expression(), self.tables());
                let end = self.one(&[
                    "",
                    " ORDER BY 1",
                    " GROUP BY 1",
                    " WHERE x > 1",
                    " WHERE f MATCH 'a'",
                ]);
                format!("SELECT {select} FROM {from}{end}")
            }
        }
    }
}

/// SQLite asks whether to go on once a statement has ended, too.
#[test]
fn what_was_committed_is_not_said_to_have_failed() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    block_on(connection.execute_script("CREATE TABLE t(a)")).expect("a table");
    drop(connection);
    let grant = f.grant.clone().max_statement_steps(1);
    let get = || block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
    let (mut failed, mut kept) = (0, 0);
    for rows in 1..60 {
        let connection = get();
        let sql = format!("INSERT INTO t VALUES {}", times(rows, "(1)"));
        let result = block_on(connection.execute(&sql, &NONE));
        drop(connection);
        let connection = f.get(Duration::from_secs(600));
        let found = block_on(connection.query("SELECT count(*) FROM t", &NONE)).expect("rows");
        block_on(connection.execute("DELETE FROM t", &NONE)).expect("gone");
        let expected = match result {
            Ok(_) => rows,
            Err(_) => 0,
        };
        assert_eq!(found.rows, [[Value::Integer(expected as i64)]], "{sql}");
        *(if expected > 0 { &mut kept } else { &mut failed }) += 1;
    }
    assert!(failed > 0 && kept > 0, "{failed} failed, {kept} kept");
}

/// The end of a transaction is no write to SQLite, and what it did must not be said to have failed.
#[test]
fn a_transaction_that_ends_late_is_told_what_came_of_it() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    let setup = "CREATE TABLE t(a INTEGER PRIMARY KEY, b);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100)
         INSERT INTO t SELECT i, zeroblob(3000) FROM n";
    block_on(connection.execute_script(setup)).expect("a table");
    let count = |connection: &Connection| {
        let rows = block_on(connection.query("SELECT count(*) FROM t", &NONE)).expect("rows");
        rows.rows[0][0].clone()
    };
    // Much is written, and then once more: the log is written anew as it is committed.
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 12000)
         INSERT INTO t SELECT i + 1000, zeroblob(3500) FROM n;
         UPDATE t SET b = randomblob(3000) WHERE a < 50";
    for (begin, end) in [("BEGIN", "COMMIT"), ("SAVEPOINT s", "RELEASE s")] {
        for time in [0, 1, 20, 100, 1_000] {
            block_on(connection.execute_script(&format!("{begin}; {fill}"))).expect(begin);
            connection.set_deadline(Some(Instant::now() + Duration::from_millis(time)));
            let result = block_on(connection.execute(end, &NONE));
            connection.set_deadline(None);
            let expected = match result {
                Ok(_) => 12_100,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
                    // It may be open still, where it ran out of time before.
                    if !error.rolled_back() {
                        block_on(connection.execute("ROLLBACK", &NONE)).expect("undone");
                    }
                    100
                }
            };
            assert_eq!(
                count(&connection),
                Value::Integer(expected),
                "{end}, {time} ms"
            );
            let undo = "DELETE FROM t WHERE a > 1000";
            block_on(connection.execute(undo, &NONE)).expect("as before");
        }
    }
    // A savepoint that could not be committed is gone, and is not released by the next try.
    block_on(connection.execute_script(&format!("SAVEPOINT s; {fill}"))).expect("filled");
    connection.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
    let error = block_on(connection.execute("RELEASE s", &NONE)).expect_err("too late");
    connection.set_deadline(None);
    assert!(error.rolled_back(), "{error}");
    assert!(!connection.in_transaction());
    let error = block_on(connection.execute("RELEASE s", &NONE)).expect_err("no savepoint");
    assert_eq!(error.kind(), ErrorKind::Sql);
    assert_eq!(count(&connection), Value::Integer(100));
}

/// What a cursor has written is committed when it is dropped, whatever time is left.
#[test]
fn a_cursor_that_is_dropped_late_keeps_what_it_wrote() {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    block_on(connection.execute_script("CREATE TABLE t(a, b)")).expect("a table");
    let insert = connection
        .prepare(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000)
             INSERT INTO t SELECT i, zeroblob(3500) FROM n RETURNING a",
        )
        .expect("a statement");
    for end in ["dropped", "begun anew"] {
        let page = block_on(insert.query(&NONE, 10)).expect("a page");
        connection.set_deadline(Some(Instant::now()));
        if end == "dropped" {
            drop(page);
        } else {
            let error = block_on(insert.execute(&NONE)).expect_err("its time is over");
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        }
        connection.set_deadline(None);
        let count = block_on(connection.query("SELECT count(*) FROM t", &NONE)).expect("rows");
        assert_eq!(count.rows, [[Value::Integer(10_000)]], "{end}");
        block_on(connection.execute("DELETE FROM t", &NONE)).expect("gone");
    }
}
