//! Statements that SQLite does not stop by itself, as a guest could send them.

use millpond_pool::Value;

/// What a guest prepares in its own time, and then sends.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) setup: String,
    /// What to run first on the attacking connection.
    pub(crate) before: &'static str,
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Value>,
}

pub(crate) fn attack(
    name: &'static str,
    setup: impl Into<String>,
    sql: impl Into<String>,
) -> Attack {
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

pub(crate) fn times(count: usize, what: &str) -> String {
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
pub(crate) fn full_text() -> Vec<Attack> {
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

/// Statements that take long to compile.
pub(crate) fn compiling() -> Vec<Attack> {
    let wide = |name: &str| format!("CREATE TABLE {name}({});", columns(999));
    let views = all(45, |at| {
        format!("CREATE VIEW v{} AS SELECT * FROM v{at};", at + 1)
    });
    let views = format!("{}{views}", wide("v0"));
    let doubled = |by: &str| {
        let views = all(11, |at| {
            format!("CREATE VIEW v{} AS SELECT a.* FROM v{at} a {by};", at + 1)
                .replace("_", &at.to_string())
        });
        format!("{}{views}", wide("v0"))
    };
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
            "doubled views",
            doubled("UNION ALL SELECT b.* FROM v_ b"),
            "SELECT count(*) FROM v11",
        ),
        attack(
            "doubled joins",
            doubled("JOIN v_ b"),
            "SELECT count(*) FROM v11",
        ),
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
pub(crate) fn schemas() -> Vec<Attack> {
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

/// One instruction, or many without a check of the deadline.
pub(crate) fn straight() -> Vec<Attack> {
    let digits = "1".repeat(1 << 20);
    let numbers = format!("[{}]", times(500_000, "1"));
    let rows_and_digits = "CREATE TABLE k(i INTEGER PRIMARY KEY);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000)
         INSERT INTO k SELECT i FROM n;
         CREATE TABLE d(x); INSERT INTO d SELECT replace(hex(zeroblob(500000)), '0', '1')";
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
        // So few that the program is short.
        attack(
            "few additions",
            rows_and_digits,
            format!(
                "SELECT {} FROM k CROSS JOIN d GROUP BY i",
                vec!["x"; 70].join("+")
            ),
        ),
        attack(
            "few comparisons",
            format!(
                "{rows_and_digits}; CREATE TABLE n(y INT); INSERT INTO n SELECT x || 'a' FROM d"
            ),
            format!("SELECT y IN ({}) FROM k CROSS JOIN n", times(38, "i")),
        ),
        attack(
            "few additions of an upsert",
            format!("{rows_and_digits}; CREATE TABLE u(a PRIMARY KEY, x, y)"),
            format!(
                "INSERT INTO u(a, x) SELECT 1, x FROM k CROSS JOIN d WHERE true
                 ON CONFLICT DO UPDATE SET y = {}",
                vec!["excluded.x"; 50].join("+")
            ),
        ),
        attack(
            "new indexes",
            rows_and_digits,
            "INSERT INTO t SELECT x FROM k CROSS JOIN d",
        )
        .before(
            "CREATE TABLE t(x);
             CREATE INDEX i1 ON t(x+x+x+x+x+x+x+x+x+x); CREATE INDEX i2 ON t(x-x-x-x-x-x-x-x-x-x);
             CREATE INDEX i3 ON t(x*x*x*x*x*x*x*x*x*x); CREATE INDEX i4 ON t(x/x/x/x/x/x/x/x/x/x);
             CREATE INDEX i5 ON t(x|x|x|x|x|x|x|x|x|x); CREATE INDEX i6 ON t(x&x&x&x&x&x&x&x&x&x)",
        ),
        attack(
            "generated numbers",
            format!(
                "CREATE TABLE t(x, {})",
                each(33, |at| format!("c{at} AS (x+{at}) STORED"))
            ),
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000)
             INSERT INTO t(x) SELECT replace(hex(zeroblob(500000)), '0', '1') FROM n",
        ),
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
