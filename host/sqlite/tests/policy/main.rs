//! What SQL may use: `policy.golden` has the decision for every function, pragma, module and kind
//! of statement of the linked SQLite, and why it is denied. A later SQLite that adds a name, or a
//! change of the policy, fails this test.
//!
//! Of a pragma it has the decisions for `PRAGMA n`, `PRAGMA n = 1`, `PRAGMA main.n`,
//! `PRAGMA main.n('t')`, `SELECT * FROM pragma_n` and `SELECT * FROM pragma_n('t')`.
//!
//! `MILLPOND_BLESS=1` rewrites the file: review the changes before committing it.

mod reasons;
mod statistics;

use std::collections::BTreeSet;
use std::fmt::Write;

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Result, Value, block_on,
};
use millpond_sqlite::PoolBuilder;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy/policy.golden");

/// One statement for each action that SQLite asks about, and for ways to avoid a name.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT a FROM t",
    "SELECT count(*) FROM t",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT i FROM n",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = 2",
    "DELETE FROM t",
    "REPLACE INTO t VALUES (1)",
    "CREATE TABLE n(a)",
    "CREATE TABLE n AS SELECT * FROM t",
    "CREATE TABLE n(a INTEGER PRIMARY KEY AUTOINCREMENT)",
    "CREATE TABLE millpond_n(a)",
    "CREATE INDEX n ON t(a)",
    "CREATE VIEW n AS SELECT * FROM t",
    "CREATE TRIGGER n AFTER INSERT ON t BEGIN SELECT 1; END",
    "CREATE TEMP TABLE n(a)",
    "CREATE TEMP VIEW n AS SELECT 1",
    "CREATE TEMP TRIGGER n AFTER INSERT ON t BEGIN SELECT 1; END",
    "CREATE TABLE temp.n(a)",
    "DROP TABLE t",
    "DROP INDEX i",
    "DROP VIEW v",
    "DROP TRIGGER r",
    "DROP TABLE f",
    "DROP TABLE s",
    "ALTER TABLE t RENAME TO n",
    "ALTER TABLE t RENAME TO millpond_n",
    "ALTER TABLE t RENAME a TO n",
    "ALTER TABLE t ADD b",
    "ALTER TABLE u DROP b",
    "ALTER TABLE u ALTER b SET NOT NULL",
    "ANALYZE",
    "ANALYZE t",
    "REINDEX",
    "REINDEX i",
    "BEGIN",
    "BEGIN EXCLUSIVE",
    "SAVEPOINT s",
    "VACUUM",
    "VACUUM INTO 'n.db'",
    "VACUUM INTO ?1",
    "ATTACH 'n.db' AS n",
    "ATTACH ':memory:' AS n",
    "ATTACH 'file:n.db?mode=memory' AS n",
    "ATTACH 'n' || '.db' AS n",
    "ATTACH ?1 AS n",
    "ATTACH ?1 AS ?2",
    "ATTACH (SELECT 'n.db') AS n",
    "DETACH main",
    "DETACH ?1",
    "INSERT INTO sqlite_schema VALUES (1, 2, 3, 4, 5)",
    "UPDATE sqlite_schema SET sql = ''",
    "DELETE FROM sqlite_schema",
    "UPDATE sqlite_sequence SET seq = 1",
    "DELETE FROM sqlite_sequence",
    "INSERT INTO sqlite_stat1 VALUES (1, 2, 3)",
    "DELETE FROM f_data",
    "DROP TABLE f_data",
    "DELETE FROM millpond_migrations",
    "SELECT * FROM sqlite_schema",
    "SELECT * FROM f_data",
    "SELECT * FROM dbstat",
    "SELECT * FROM sqlite_dbpage",
    "SELECT * FROM sqlite_stmt",
    "SELECT * FROM bytecode('SELECT 1')",
    "SELECT * FROM tables_used('SELECT 1')",
    "SELECT * FROM json_each('[1]')",
    "SELECT * FROM json_tree('[1]')",
    "SELECT * FROM generate_series(1, 2)",
    "INSERT INTO f(f) VALUES ('rebuild')",
    "SELECT highlight(f, 0, '', '') FROM f",
    "SELECT fts3_tokenizer('simple')",
    "SELECT load_extension('n')",
    "SELECT sqlite_source_id()",
    "EXPLAIN SELECT sqlite_source_id()",
    "CREATE VIEW n AS SELECT sqlite_source_id()",
    "SELECT * FROM t WHERE a = sqlite_source_id()",
    "SELECT * FROM t ORDER BY sqlite_version()",
    "INSERT INTO t VALUES (1) RETURNING sqlite_version()",
    "CREATE INDEX n ON t(sqlite_version())",
];

fn fixture() -> (tempfile::TempDir, Pool) {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(1)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    block_on(connection.execute_script(
        "CREATE TABLE t(a); CREATE INDEX i ON t(a); CREATE TABLE u(a, b);
         CREATE TABLE s(a INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE VIEW v AS SELECT 1 AS a; CREATE VIRTUAL TABLE f USING fts5(a);
         CREATE TRIGGER r AFTER DELETE ON t BEGIN SELECT 1; END; ANALYZE",
    ))
    .expect("a schema");
    drop(connection);
    (folder, pool)
}

/// The names that the linked SQLite has.
fn listed(sql: &str) -> BTreeSet<(String, i64)> {
    let conn = rusqlite::Connection::open_in_memory().expect("a connection");
    // Some modules only exist once they have been used.
    conn.execute_batch("SELECT * FROM json_each('[]'), json_tree('[]')")
        .expect("JSON");
    let mut statement = conn.prepare(sql).expect("a list");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// The result of running `sql` alone, with its changes undone.
fn decide(pool: &Pool, grant: &Grant, sql: &str) -> &'static str {
    let connection = block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
    let ran = run(&connection, sql);
    assert_eq!(pool.stats().in_use, 1);
    match ran {
        Ok(()) => "allowed",
        Err(error) if error.kind() == ErrorKind::NotAuthorized => "denied",
        // This library has no such thing: nothing to decide. Or SQLite itself always refuses.
        Err(_) => "fails",
    }
}

fn run(connection: &Connection, sql: &str) -> Result<()> {
    // Its changes are rolled back when the connection is returned.
    if !["BEGIN", "VACUUM"].iter().any(|verb| sql.starts_with(verb)) {
        block_on(connection.execute_script("BEGIN"))?;
    }
    let statement = block_on(connection.prepare(sql))?;
    let values = vec![Value::Null; block_on(statement.describe())?.parameter_names.len()];
    block_on(statement.query(&Parameters::from(values), 1, false)).map(drop)
}

/// For VACUUM, SQLite asks whether it may attach a database, which the statement does not say.
#[test]
fn vacuum_is_refused_by_its_own_name() {
    let (_folder, pool) = fixture();
    let grant = Grant::new(&pool, Access::ReadWrite);
    let connection = block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
    for (sql, name) in [
        ("VACUUM", "VACUUM"),
        ("/* a */ vacuum main", "VACUUM"),
        ("VACUUM INTO 'n.db'", "VACUUM"),
        ("ATTACH 'n.db' AS n", "ATTACH"),
        // Not affected by an earlier statement.
        ("VACUUM", "VACUUM"),
    ] {
        for refused in [
            block_on(connection.execute(sql, &Parameters::NONE)).map(drop),
            block_on(connection.execute_script(sql)).map(drop),
        ] {
            let error = refused.expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
            assert!(error.to_string().contains(name), "{sql}: {error}");
        }
    }
}

/// What is decided, in the lines of the golden file.
#[derive(Default)]
struct Decided {
    lines: String,
    /// The reasons that were given: the kind of a row, and the name.
    given: BTreeSet<(&'static str, &'static str)>,
}

impl Decided {
    /// Add a row, with its reason if it is denied.
    fn add(&mut self, kind: &'static str, row: &str, reason: Option<(&'static str, &str)>) {
        let reason = match (row.contains("denied"), reason) {
            (true, Some((name, reason))) => {
                self.given.insert((kind, name));
                format!("  # {reason}")
            }
            (true, None) => panic!("no reason: {kind} {row}"),
            (false, _) => String::new(),
        };
        writeln!(self.lines, "{kind} {row}{reason}").expect("text");
    }

    fn functions(&mut self, pool: &Pool) {
        let functions = "SELECT DISTINCT name, narg FROM pragma_function_list";
        for (name, arguments) in listed(functions) {
            let count = match arguments {
                -1 => 1,
                negative @ ..0 => -negative,
                count => count,
            };
            let values = vec!["?1"; usize::try_from(count).expect("a count")].join(", ");
            // An operator, although listed with the functions.
            let sql = match name.as_str() {
                "->" | "->>" => format!("SELECT ?1 {name} ?1"),
                _ => format!("SELECT \"{name}\"({values})"),
            };
            let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
            // Compiling decides; the arguments may make no sense.
            let denied = block_on(connection.prepare(&sql))
                .is_err_and(|error| error.kind() == ErrorKind::NotAuthorized);
            let decision = if denied { "denied" } else { "allowed" };
            let row = format!("{name}/{arguments}: {decision}");
            self.add("function", &row, find(reasons::FUNCTIONS, &name));
        }
    }

    fn pragmas(&mut self, pool: &Pool, grant: &Grant) {
        for (name, _) in listed("SELECT name, 0 FROM pragma_pragma_list") {
            let forms = [
                format!("PRAGMA {name}"),
                format!("PRAGMA {name} = 1"),
                format!("PRAGMA main.{name}"),
                format!("PRAGMA main.{name}('t')"),
                format!("SELECT * FROM pragma_{name}"),
                format!("SELECT * FROM pragma_{name}('t')"),
            ];
            let decisions = forms.map(|sql| decide(pool, grant, &sql));
            let row = format!("{name}: {}", decisions.join(" "));
            self.add("pragma", &row, find(reasons::PRAGMAS, &name));
        }
    }

    fn modules(&mut self, pool: &Pool, grant: &Grant) {
        for (name, _) in listed("SELECT name, 0 FROM pragma_module_list") {
            let create = format!("CREATE VIRTUAL TABLE n USING {name}(a, b, c)");
            let create = decide(pool, grant, &create);
            let read = decide(pool, grant, &format!("SELECT * FROM {name}"));
            let row = format!("{name}: create {create}, read {read}");
            self.add("module", &row, find(reasons::MODULES, &name));
        }
    }

    fn statements(&mut self, pool: &Pool, narrow: &Grant) {
        let wide = narrow.clone().temporary(true);
        for sql in STATEMENTS {
            let decision = match (decide(pool, narrow, sql), decide(pool, &wide, sql)) {
                (narrow, wide) if narrow == wide => narrow.to_owned(),
                (narrow, wide) => format!("{narrow}, with temporary objects {wide}"),
            };
            let mut found = reasons::STATEMENTS.iter();
            let reason = found.find(|(part, ..)| sql.contains(part));
            let reason = reason.map(|(part, reason, _)| (*part, *reason));
            self.add("statement", &format!("{sql}: {decision}"), reason);
        }
    }
}

fn find(reasons: reasons::Reasons, name: &str) -> Option<(&'static str, &'static str)> {
    reasons.iter().copied().find(|(denied, _)| *denied == name)
}

#[test]
fn the_policy_covers_everything_that_sql_can_use() {
    let (_folder, pool) = fixture();
    let grant = Grant::new(&pool, Access::ReadWrite);
    let mut decided = Decided::default();
    decided.functions(&pool);
    decided.pragmas(&pool, &grant);
    decided.modules(&pool, &grant);
    decided.statements(&pool, &grant);
    assert_eq!(pool.stats().connections_created, 1);

    if std::env::var_os("MILLPOND_BLESS").is_some() {
        std::fs::write(GOLDEN, &decided.lines).expect("written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("policy.golden");
    let differ = |a: &str, b: &str| {
        let b: BTreeSet<&str> = b.lines().collect();
        let lines = a.lines().filter(|line| !b.contains(line));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        (
            differ(&decided.lines, &golden),
            differ(&golden, &decided.lines)
        ),
        (Vec::new(), Vec::new()),
        "what is decided now, and what was"
    );
    let all = [
        ("function", reasons::FUNCTIONS),
        ("pragma", reasons::PRAGMAS),
        ("module", reasons::MODULES),
    ];
    let all = all
        .iter()
        .flat_map(|(kind, reasons)| reasons.iter().map(|(name, _)| (*kind, *name)));
    let of_statements = reasons::STATEMENTS
        .iter()
        .map(|(part, ..)| ("statement", *part));
    let unused: Vec<_> = all
        .chain(of_statements)
        .filter(|reason| !decided.given.contains(reason))
        .collect();
    assert_eq!(unused, [], "reasons for what is not denied");
}

/// The contract lists what is refused, so that guest authors need not try.
#[test]
fn everything_that_is_refused_is_named_in_the_contract() {
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/connections.wit");
    let contract = std::fs::read_to_string(contract).expect("connections.wit");
    let named: BTreeSet<&str> = contract.split('`').collect();
    let golden = std::fs::read_to_string(GOLDEN).expect("policy.golden");
    let missing: Vec<_> = golden
        .lines()
        .filter(|row| {
            let row = row.split("  #").next().unwrap_or(row);
            let (what, decision) = row.rsplit_once(": ").expect("a decision");
            let (kind, name) = what.split_once(' ').expect("a kind");
            let forms: Vec<_> = decision.split(' ').collect();
            let refused = match kind {
                // To read it, and to describe something with it.
                "pragma" => forms[0] == "denied" && forms[3] == "denied",
                "module" => decision.contains("read denied") && !name.starts_with("pragma_"),
                _ => decision.starts_with("denied"),
            };
            let named = match kind {
                "statement" => reasons::STATEMENTS
                    .iter()
                    .any(|(part, _, name)| what.contains(part) && contract.contains(name)),
                _ => named.contains(name.split('/').next().expect("a name")),
            };
            refused && !named
        })
        .collect();
    assert_eq!(missing, [""; 0]);
}
