//! SQL that honest applications, drivers and frameworks send: it works as in SQLite, or is known to
//! be refused.

use std::time::Duration;

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Value, block_on,
};
use millpond_sqlite::PoolBuilder;

static NONE: Parameters = Parameters::NONE;

struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(2)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    Fixture {
        _folder: folder,
        pool,
    }
}

impl Fixture {
    fn get(&self) -> Connection {
        self.pool
            .get_blocking(Access::ReadWrite)
            .expect("a connection")
    }
}

/// The rows of a text's last statement, as text.
fn run(connection: &Connection, sql: &str) -> Result<Vec<String>, ErrorKind> {
    let mut rows = Vec::new();
    for statement in sql.split(";;") {
        let table = block_on(connection.query(statement, &NONE)).map_err(|error| error.kind())?;
        rows = table.rows.iter().map(|row| show(&row.to_vec())).collect();
    }
    Ok(rows)
}

fn show(row: &[Value]) -> String {
    let values = row.iter().map(|value| match value {
        Value::Null => "null".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => format!("{value:?}"),
        Value::Text(value) => value.clone(),
        Value::Blob(value) => format!("{value:?}"),
    });
    values.collect::<Vec<_>>().join("|")
}

#[test]
fn mathematics_is_sqlites() {
    let f = fixture();
    let connection = f.get();
    for (sql, expected) in [
        ("sqrt(16), sqrt(2), sqrt(-1)", "4.0|1.4142135623730951|null"),
        (
            "pow(2, 10), power(2, 0.5), pow(-8, 1.0/3)",
            "1024.0|1.4142135623730951|null",
        ),
        (
            "ln(1), log(100), log10(1000), log2(8), log(2, 8)",
            "0.0|2.0|3.0|3.0|3.0",
        ),
        (
            "ln(0), log(-1), log(1, 5), log(0.5, 8), log2(0)",
            "null|null|null|null|null",
        ),
        ("exp(0), exp(1)", "1.0|2.718281828459045"),
        (
            "floor(1.5), floor(-1.5), floor(7), floor('7'), floor('7.5')",
            "1.0|-2.0|7|7|7.0",
        ),
        (
            "ceil(1.2), ceiling(-1.2), ceil(9223372036854775807)",
            "2.0|-1.0|9223372036854775807",
        ),
        ("trunc(1.9), trunc(-1.9), trunc(3)", "1.0|-1.0|3"),
        (
            "pi(), degrees(pi()), radians(180)",
            "3.141592653589793|180.0|3.141592653589793",
        ),
        (
            "sin(0), cos(0), tan(0), asin(0), acos(1), atan(0)",
            "0.0|1.0|0.0|0.0|0.0|0.0",
        ),
        (
            "sinh(0), cosh(0), tanh(0), asinh(0), acosh(1), atanh(0)",
            "0.0|1.0|0.0|0.0|0.0|0.0",
        ),
        (
            "atan2(1, 1), mod(7, 3), mod(-7, 3), mod(7, 0)",
            "0.7853981633974483|1.0|-1.0|null",
        ),
        (
            "sqrt(null), sqrt('x'), sqrt(x'34'), sqrt(' 4 '), sqrt('inf'), sqrt('')",
            "null|null|null|2.0|null|null",
        ),
        (
            "acos(2), asin(2), acosh(0), typeof(exp(1000))",
            "null|null|null|real",
        ),
    ] {
        assert_eq!(
            run(&connection, &format!("SELECT {sql}")),
            Ok(vec![expected.to_owned()]),
            "{sql}"
        );
    }
    // Deterministic functions: an index and a generated column may use them.
    let uses = "CREATE TABLE p(x, r AS (sqrt(x)));;CREATE INDEX pr ON p(floor(x));;
        INSERT INTO p VALUES (9.5);;SELECT round(r, 3) FROM p WHERE floor(x) = 9";
    assert_eq!(run(&connection, uses), Ok(vec!["3.082".to_owned()]));
}

#[test]
fn series_are_rows_like_any_others() {
    let f = fixture();
    let connection = f.get();
    let sum = "SELECT sum(value), count(*) FROM generate_series(1, 100, 3)";
    assert_eq!(run(&connection, sum), Ok(vec!["1717|34".to_owned()]));
    let join = "SELECT group_concat(a.value * b.value) FROM generate_series(1, 2) a, generate_series(1, 2) b";
    assert_eq!(run(&connection, join), Ok(vec!["1,2,2,4".to_owned()]));
    for (arguments, expected) in [
        ("5", "5,6,7"),
        ("1, 10, 4", "1,5,9"),
        ("10, 1, -4", "10,6,2"),
        ("1, 10, -1", "null"),
        (
            "9223372036854775806, 9223372036854775807",
            "9223372036854775806,9223372036854775807",
        ),
        (
            "-9223372036854775807, -9223372036854775808, -9223372036854775808",
            "-9223372036854775807",
        ),
        ("1, 3, 0", "1,2,3"),
        ("'1', 3.9", "1,2,3"),
        ("1, NULL", "null"),
        ("NULL, 1", "null"),
    ] {
        let sql = format!(
            "SELECT group_concat(value) FROM (SELECT value FROM generate_series({arguments}) LIMIT 3)"
        );
        assert_eq!(
            run(&connection, &sql),
            Ok(vec![expected.to_owned()]),
            "{arguments}"
        );
    }
    assert_eq!(
        run(&connection, "SELECT * FROM generate_series"),
        Err(ErrorKind::Sql)
    );
    let told = "SELECT start, stop, step, rowid FROM generate_series WHERE start = 3 COLLATE NOCASE AND stop = 3";
    assert_eq!(run(&connection, told), Ok(vec!["3|3|1|1".to_owned()]));
    let lateral = "SELECT count(*) FROM generate_series(1, 3) a, generate_series(1, a.value) b";
    assert_eq!(run(&connection, lateral), Ok(vec!["6".to_owned()]));
    drop(connection);
    let grant = Grant::new(&f.pool, Access::ReadOnly).max_statement_time(Duration::from_millis(50));
    let guest = block_on(grant.get(Access::ReadOnly, &Request::new())).expect("a connection");
    let endless =
        "SELECT count(*) FROM generate_series(1, 9000000000000000000) WHERE value % 2 = 3";
    assert_eq!(run(&guest, endless), Err(ErrorKind::DeadlineExceeded));
}

#[test]
fn json_is_patched_where_it_is_short() {
    let f = fixture();
    let connection = f.get();
    let patched = "SELECT json_patch('{\"a\":1,\"b\":2}', '{\"b\":null,\"c\":[3]}')";
    assert_eq!(
        run(&connection, patched),
        Ok(vec!["{\"a\":1,\"c\":[3]}".to_owned()])
    );
    let object = |keys: usize| {
        let pairs: Vec<_> = (0..keys).map(|key| format!("\"key{key}\":{key}")).collect();
        Value::Text(format!("{{{}}}", pairs.join(",")))
    };
    let patch = |keys| {
        let parameters = Parameters::from([object(keys)]);
        let merged = block_on(connection.query("SELECT length(json_patch(?1, ?1))", &parameters));
        merged
            .map(|table| table.rows.len())
            .map_err(|error| error.kind())
    };
    assert_eq!(patch(50), Ok(1));
    assert_eq!(patch(2_000), Ok(1));
    assert_eq!(patch(20_000), Err(ErrorKind::TooLarge));
}

#[test]
fn a_pragma_that_sets_the_current_value_succeeds_and_changes_nothing() {
    let f = fixture();
    let connection = f.get();
    for sql in [
        "PRAGMA foreign_keys = ON",
        "PRAGMA foreign_keys=1",
        "pragma foreign_keys(yes)",
        "PRAGMA journal_mode = WAL",
        "PRAGMA main.journal_mode = wal",
        "PRAGMA busy_timeout = 5000",
        "PRAGMA synchronous = FULL",
        "PRAGMA recursive_triggers = OFF",
        "PRAGMA legacy_alter_table = OFF",
        "PRAGMA locking_mode = NORMAL",
        "PRAGMA encoding = 'UTF-8'",
        "PRAGMA cache_size = -2048",
        "PRAGMA trusted_schema = 0",
        "PRAGMA read_uncommitted = 0",
        "PRAGMA temp_store = FILE",
        "PRAGMA query_only = OFF",
        "PRAGMA auto_vacuum = NONE",
        "PRAGMA page_size = 4096",
        "PRAGMA automatic_index = ON",
        "PRAGMA case_sensitive_like = OFF",
        "PRAGMA count_changes = OFF",
        "PRAGMA fullfsync = 0",
        "PRAGMA reverse_unordered_selects = off",
        "PRAGMA secure_delete = 0",
        "PRAGMA threads = 0",
        "PRAGMA short_column_names = 1",
    ] {
        let rows = run(&connection, sql);
        let answers = sql.contains("journal_mode").then(|| "wal".to_owned());
        assert_eq!(rows, Ok(answers.into_iter().collect()), "{sql}");
    }
    for sql in [
        "PRAGMA foreign_keys = OFF",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA busy_timeout = 1",
        "PRAGMA synchronous = OFF",
        "PRAGMA recursive_triggers = ON",
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA query_only = ON",
        "PRAGMA temp_store = MEMORY",
        "PRAGMA auto_vacuum = FULL",
        "PRAGMA page_size = 8192",
        "PRAGMA automatic_index = OFF",
        "PRAGMA case_sensitive_like = ON",
        "PRAGMA reverse_unordered_selects = on",
        "PRAGMA secure_delete = fast",
    ] {
        assert_eq!(
            run(&connection, sql),
            Err(ErrorKind::NotAuthorized),
            "{sql}"
        );
    }
    for (sql, expected) in [
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA synchronous", "2"),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA cache_size", "-2048"),
        ("PRAGMA auto_vacuum", "0"),
        ("PRAGMA query_only", "0"),
        ("PRAGMA read_uncommitted", "0"),
        ("PRAGMA database_list", "0|main|"),
        ("  pragma Database_List ; ", "0|main|"),
        ("SELECT count(*) > 50 FROM pragma_function_list", "1"),
        ("SELECT count(*) > 5 FROM pragma_compile_options", "1"),
    ] {
        assert_eq!(
            run(&connection, sql),
            Ok(vec![expected.to_owned()]),
            "{sql}"
        );
    }
    // And for read-only guests, which do not wait for their turn.
    let reader = f.pool.get_blocking(Access::ReadOnly).expect("a connection");
    assert_eq!(
        run(&reader, "PRAGMA journal_mode = WAL"),
        Ok(vec!["wal".to_owned()])
    );
    assert_eq!(run(&reader, "PRAGMA query_only = ON"), Ok(Vec::new()));
    let written = run(&reader, "PRAGMA query_only = OFF");
    assert_eq!(written, Err(ErrorKind::NotAuthorized));
    run(&connection, "CREATE TABLE optimized(a)").expect("a table");
    run(&connection, "BEGIN IMMEDIATE").expect("begun");
    assert_eq!(
        run(&reader, "PRAGMA journal_mode"),
        Ok(vec!["wal".to_owned()])
    );
    assert_eq!(
        run(&reader, "PRAGMA table_info(optimized)").map(|rows| rows.len()),
        Ok(1)
    );
    run(&connection, "ROLLBACK").expect("ended");
    let after = run(&connection, "SELECT file FROM pragma_database_list");
    assert_eq!(after, Err(ErrorKind::NotAuthorized));
}

#[test]
fn versions_statistics_and_sequences_belong_to_the_schema() {
    let f = fixture();
    let connection = f.get();
    let made = "PRAGMA user_version = 7;;PRAGMA user_version";
    assert_eq!(run(&connection, made), Ok(vec!["7".to_owned()]));
    let tables = "CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, a);;CREATE INDEX sa ON s(a);;
        INSERT INTO s(a) SELECT value % 7 FROM generate_series(1, 500);;SELECT * FROM s WHERE a = 3 AND id = 3;;
        ANALYZE;;PRAGMA optimize;;PRAGMA optimize(0x10002);;SELECT count(*) FROM sqlite_stat1";
    assert_eq!(run(&connection, tables), Ok(vec!["1".to_owned()]));
    // It has something to do: the table is new, or has grown.
    let grown = "CREATE TABLE g(a);;CREATE INDEX ga ON g(a);;
        INSERT INTO g SELECT value FROM generate_series(1, 100);;PRAGMA optimize(0x10002);;
        SELECT stat FROM sqlite_stat1 WHERE idx = 'ga'";
    assert_eq!(run(&connection, grown), Ok(vec!["100 1".to_owned()]));
    let grown = "INSERT INTO g SELECT value FROM generate_series(1, 4000);;
        SELECT * FROM g WHERE a = 3;;PRAGMA optimize;;
        SELECT stat FROM sqlite_stat1 WHERE idx = 'ga'";
    assert_ne!(run(&connection, grown), Ok(vec!["100 1".to_owned()]));
    let reset = "DELETE FROM s;;DELETE FROM sqlite_sequence WHERE name = 's';;INSERT INTO s(a) VALUES (1) RETURNING id";
    assert_eq!(run(&connection, reset), Ok(vec!["1".to_owned()]));
    let set = "UPDATE sqlite_sequence SET seq = 41 WHERE name = 's';;INSERT INTO s(a) VALUES (1) RETURNING id";
    assert_eq!(run(&connection, set), Ok(vec!["42".to_owned()]));
    drop(connection);
    // Not without the right to change the schema.
    let grant = Grant::new(&f.pool, Access::ReadWrite).schema(false);
    let guest = block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
    for sql in [
        "PRAGMA user_version = 8",
        "PRAGMA optimize",
        "SELECT * FROM pragma_optimize",
    ] {
        assert_eq!(run(&guest, sql), Err(ErrorKind::NotAuthorized), "{sql}");
    }
    assert_eq!(run(&guest, "PRAGMA user_version"), Ok(vec!["7".to_owned()]));
}

#[test]
fn foreign_keys_may_wait_for_the_end_of_a_transaction_and_no_longer() {
    let f = fixture();
    let connection = f.get();
    let tables = "CREATE TABLE p(id INTEGER PRIMARY KEY);;CREATE TABLE c(p REFERENCES p(id))";
    run(&connection, tables).expect("tables");
    let early = "INSERT INTO c VALUES (1)";
    assert_eq!(
        run(&connection, early),
        Err(ErrorKind::ConstraintForeignKey)
    );
    let deferred = "BEGIN;;PRAGMA defer_foreign_keys = ON;;INSERT INTO c VALUES (1);;INSERT INTO p VALUES (1);;COMMIT";
    run(&connection, deferred).expect("whole in the end");
    assert_eq!(
        run(&connection, "INSERT INTO c VALUES (2)"),
        Err(ErrorKind::ConstraintForeignKey)
    );
    // Set and left by a borrower, and not visible to the next.
    for sql in [
        "PRAGMA defer_foreign_keys = OFF",
        "PRAGMA defer_foreign_keys(0)",
        "EXPLAIN PRAGMA defer_foreign_keys = no",
    ] {
        assert_eq!(
            run(&connection, sql),
            Err(ErrorKind::NotAuthorized),
            "{sql}"
        );
    }
    run(&connection, "PRAGMA defer_foreign_keys = ON").expect("set");
    drop(connection);
    let next = f.get();
    let within = run(&next, "BEGIN;;INSERT INTO c VALUES (3)");
    assert_eq!(within, Err(ErrorKind::ConstraintForeignKey));
}

/// From their documentation or source. The second list is refused: README says why, and what to do.
const FRAMEWORKS: &[(&str, &[&str], &[&str])] = &[
    (
        "Django",
        &[
            "PRAGMA foreign_keys = ON",
            "PRAGMA legacy_alter_table = OFF",
            "SELECT name, type FROM sqlite_master WHERE type in ('table', 'view') AND NOT name='sqlite_sequence' ORDER BY name",
            "CREATE TABLE \"django_migrations\" (\"id\" integer NOT NULL PRIMARY KEY AUTOINCREMENT, \"app\" varchar(255) NOT NULL, \"name\" varchar(255) NOT NULL, \"applied\" datetime NOT NULL)",
            "INSERT INTO \"django_migrations\" (\"app\", \"name\", \"applied\") VALUES ('a', '0001', '2026-01-01') RETURNING \"django_migrations\".\"id\"",
            "BEGIN",
            "CREATE TABLE \"new__t\" (\"id\" integer NOT NULL PRIMARY KEY AUTOINCREMENT, \"age\" integer unsigned NOT NULL CHECK (\"age\" >= 0), \"data\" text NOT NULL CHECK ((JSON_VALID(\"data\") OR \"data\" IS NULL)))",
            "CREATE TABLE \"t\" (\"id\" integer NOT NULL PRIMARY KEY AUTOINCREMENT)",
            "DROP TABLE \"t\"",
            "ALTER TABLE \"new__t\" RENAME TO \"t\"",
            "CREATE INDEX \"t_age_1\" ON \"t\" (\"age\" DESC) WHERE \"age\" > 3",
            "PRAGMA foreign_key_check",
            "COMMIT",
            "SAVEPOINT \"s139_x1\"",
            "RELEASE SAVEPOINT \"s139_x1\"",
            "PRAGMA table_xinfo(\"t\")",
            "PRAGMA index_list(\"t\")",
            "PRAGMA index_info(\"t_age_1\")",
            "PRAGMA foreign_key_list(\"t\")",
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 't'",
            "DELETE FROM \"t\"",
            "UPDATE \"sqlite_sequence\" SET \"seq\" = 0 WHERE \"name\" IN ('t')",
            "EXPLAIN QUERY PLAN SELECT * FROM t",
        ],
        &["PRAGMA foreign_keys = OFF"],
    ),
    (
        "SQLAlchemy",
        &[
            "PRAGMA read_uncommitted",
            "SELECT CAST('test plain returns' AS VARCHAR(60)) AS anon_1",
            "PRAGMA database_list",
            "PRAGMA main.table_info(\"users\")",
            "PRAGMA temp.table_info(\"users\")",
            "CREATE TABLE users (id INTEGER NOT NULL, name VARCHAR(30), fullname VARCHAR, PRIMARY KEY (id))",
            "INSERT INTO users (name, fullname) VALUES ('a', 'b'), ('c', 'd') RETURNING id",
            "SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name",
            "PRAGMA main.table_xinfo(\"users\")",
            "PRAGMA main.index_list(\"users\")",
            "PRAGMA main.foreign_key_list(\"users\")",
            "SELECT sql FROM (SELECT * FROM sqlite_master UNION ALL SELECT * FROM sqlite_temp_master) WHERE name = 'users' AND type in ('table', 'view')",
        ],
        &["select sqlite_version()"],
    ),
    (
        "Alembic",
        &[
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
            "INSERT INTO alembic_version (version_num) VALUES ('1975ea83b712') RETURNING version_num",
            "CREATE TABLE account (id INTEGER NOT NULL, name VARCHAR(50) NOT NULL, PRIMARY KEY (id))",
            "CREATE TABLE _alembic_tmp_account (id INTEGER NOT NULL, name VARCHAR(60) NOT NULL, PRIMARY KEY (id))",
            "INSERT INTO _alembic_tmp_account (id, name) SELECT account.id, account.name FROM account",
            "DROP TABLE account",
            "ALTER TABLE _alembic_tmp_account RENAME TO account",
            "UPDATE alembic_version SET version_num='ae1027a6acf' WHERE alembic_version.version_num = '1975ea83b712'",
        ],
        &[],
    ),
    (
        "Drizzle",
        &[
            "CREATE TABLE IF NOT EXISTS \"__drizzle_migrations\" (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)",
            "SELECT id, hash, created_at FROM \"__drizzle_migrations\" ORDER BY created_at DESC LIMIT 1",
            "BEGIN",
            "CREATE TABLE `users` (`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL, `name` text DEFAULT 'x' NOT NULL)",
            "CREATE UNIQUE INDEX `users_name_unique` ON `users` (`name`)",
            "CREATE TABLE `__new_users` (`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL, `name` text)",
            "INSERT INTO `__new_users`(\"id\", \"name\") SELECT \"id\", \"name\" FROM `users`",
            "DROP TABLE `users`",
            "ALTER TABLE `__new_users` RENAME TO `users`",
            "PRAGMA foreign_keys=ON",
            "INSERT INTO \"__drizzle_migrations\" (\"hash\", \"created_at\") VALUES('h', 1)",
            "COMMIT",
            "PRAGMA defer_foreign_keys = on",
            "insert into \"users\" (\"id\", \"name\") values (null, 'a') on conflict do nothing returning \"id\"",
            "select json_group_array(json_array(\"id\", \"name\")) from \"users\"",
        ],
        &["PRAGMA foreign_keys=OFF"],
    ),
];

#[test]
fn statements_that_frameworks_begin_with_run() {
    for (framework, works, refused) in FRAMEWORKS {
        let f = fixture();
        let connection = f.get();
        for sql in *works {
            let rows = run(&connection, sql);
            assert!(rows.is_ok(), "{framework}: {sql}: {rows:?}");
        }
        for sql in *refused {
            assert_eq!(
                run(&connection, sql),
                Err(ErrorKind::NotAuthorized),
                "{framework}: {sql}"
            );
            let readme = include_str!("../README.md");
            assert!(readme.contains(&format!("{framework} | `{sql}`")), "{sql}");
        }
    }
}

#[test]
fn changes_are_counted_as_in_sqlite_since_the_lending() {
    let f = fixture();
    let setup = "CREATE TABLE t(a UNIQUE, b);
        CREATE TABLE log(n);
        CREATE TRIGGER tells AFTER UPDATE ON t BEGIN
            INSERT INTO log VALUES (changes()), (total_changes());
        END;
        INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)";
    let sqlite = rusqlite::Connection::open_in_memory().expect("a connection");
    sqlite.execute_batch(setup).expect("tables");
    let before = f.get();
    block_on(before.execute_script(setup)).expect("tables");
    drop(before);
    let connection = f.get();
    let base: i64 = sqlite
        .query_row("SELECT total_changes()", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(
        run(&connection, "SELECT changes(), total_changes()"),
        Ok(vec!["0|0".to_owned()])
    );
    for sql in [
        "UPDATE t SET b = 9 WHERE a = 77",
        "INSERT INTO t VALUES (4, 4), (5, 5)",
        "UPDATE t SET b = 9 WHERE a = 77",
        "UPDATE t SET b = b + 1",
        "SELECT count(*) FROM t",
        "INSERT INTO t VALUES (6, 6), (1, 7)",
        "INSERT OR IGNORE INTO t VALUES (1, 7)",
        "INSERT OR REPLACE INTO t VALUES (1, 7)",
        "BEGIN",
        "DELETE FROM t WHERE a > 2",
        "ROLLBACK",
        "DELETE FROM t",
        "CREATE TABLE other(x)",
        "INSERT INTO other SELECT changes()",
    ] {
        let failed = sqlite.execute_batch(sql).is_err();
        assert_eq!(run(&connection, sql).is_err(), failed, "{sql}");
        let (changes, total): (i64, i64) = sqlite
            .query_row("SELECT changes(), total_changes()", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("counts");
        let expected = format!("{changes}|{}", total - base);
        let told = run(&connection, "SELECT changes(), total_changes()");
        assert_eq!(told, Ok(vec![expected]), "{sql}");
    }
    let own: i64 = sqlite
        .query_row("SELECT x FROM other", [], |row| row.get(0))
        .expect("a row");
    assert_eq!(
        run(&connection, "SELECT x FROM other"),
        Ok(vec![own.to_string()])
    );
}
