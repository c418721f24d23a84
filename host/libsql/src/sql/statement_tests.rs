use super::*;
use crate::sql::Script;

fn only(sql: &str) -> Statement<'_> {
    Script::only(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn kind(sql: &str) -> Option<ErrorKind> {
    let checked = Script::only(sql).and_then(|statement| statement.check());
    checked.err().map(|error| error.kind())
}

#[test]
fn a_script_is_divided_where_its_statements_end() {
    let sql = ";; SELECT ';' ; -- ;\n CREATE TRIGGER g AFTER INSERT ON t BEGIN
        UPDATE t SET a = CASE WHEN 1 THEN 2 END; SELECT 1; END; INSERT INTO t VALUES (1)";
    let mut script = Script::new(sql, 0).expect("a script");
    let mut found = Vec::new();
    while let Some(statement) = script.next().expect("statements") {
        assert_eq!(
            &sql[statement.start..][..statement.sql.len()],
            statement.sql
        );
        found.push(statement.sql);
    }
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "SELECT ';'");
    assert!(found[1].ends_with("SELECT 1; END"));
    assert_eq!(found[2], "INSERT INTO t VALUES (1)");
}

#[test]
fn one_statement_is_expected_and_no_more() {
    for sql in [
        "SELECT 1",
        "SELECT 1;",
        "/* a */ SELECT 1 ; -- b",
        "\u{feff}SELECT 1;;",
    ] {
        assert_eq!(only(sql).sql, "SELECT 1");
    }
    for sql in [
        "",
        ";",
        "-- SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1;;x",
        "SELECT 1\0",
    ] {
        assert_eq!(kind(sql), Some(ErrorKind::Sql), "{sql:?}");
    }
    let long = format!("SELECT '{}'", "x".repeat(100_000));
    assert_eq!(kind(&long), Some(ErrorKind::TooLarge));
}

#[test]
fn what_writes_is_never_taken_to_read() {
    for sql in [
        "INSERT INTO t VALUES (1)",
        "/**/insert into t values (1) returning a",
        "REPLACE INTO t VALUES (1)",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "WITH x(a) AS (VALUES (1)) DELETE FROM t WHERE a IN (SELECT a FROM x)",
        "WITH x AS (SELECT ')') UPDATE t SET a = 1",
        "UPDATE t SET a = 1",
        "CREATE TABLE IF NOT EXISTS t(a)",
        "DROP TABLE t",
        "BEGIN IMMEDIATE",
        "BEGIN EXCLUSIVE TRANSACTION",
        "PRAGMA user_version = 3",
    ] {
        assert_ne!(only(sql).effect, Effect::Reads, "{sql}");
    }
    for sql in [
        "SELECT replace('a', 'b', 'c')",
        "VALUES (1)",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "EXPLAIN DELETE FROM t",
        "EXPLAIN QUERY PLAN SELECT 1",
        "BEGIN",
        "PRAGMA table_info(t)",
        "PRAGMA main.user_version",
    ] {
        assert_eq!(only(sql).effect, Effect::Reads, "{sql}");
    }
    let unsure = "WITH replace AS (SELECT 1) SELECT * FROM replace";
    assert_eq!(only(unsure).effect, Effect::Unsure);
}

#[test]
fn what_the_server_has_not_is_refused_by_name() {
    for sql in [
        "ATTACH 'x' AS y",
        "detach y",
        "VACUUM INTO 'x'",
        "ANALYZE",
        "REINDEX",
        "CREATE TEMP TABLE t(a)",
        "CREATE TEMPORARY VIEW v AS SELECT 1",
        "CREATE TABLE IF NOT EXISTS temp.t(a)",
        "CREATE TABLE \"TEMP\" . t(a)",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = 1",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA temp.table_info(t)",
        "EXPLAIN PRAGMA user_version = 1",
        "SELECT load_extension('x')",
        "SELECT \"load_extension\" /**/ ('x')",
    ] {
        assert_eq!(kind(sql), Some(ErrorKind::Unsupported), "{sql}");
    }
    for sql in [
        "SELECT sqlite_version()",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM [pragma_optimize]",
        "CREATE VIRTUAL TABLE t USING dbstat(main)",
        "DELETE FROM millpond_migrations",
        "INSERT INTO \"Millpond_x\" VALUES (1)",
    ] {
        assert_eq!(kind(sql), Some(ErrorKind::NotAuthorized), "{sql}");
    }
    for sql in [
        "SELECT * FROM millpond_migrations",
        "CREATE VIRTUAL TABLE IF NOT EXISTS t USING fts5(a)",
        "CREATE TABLE temp(a)",
        "SELECT temp.a FROM t AS temp",
        "PRAGMA foreign_keys = ON",
        "PRAGMA foreign_keys('yes')",
        "SELECT 'ATTACH', \"VACUUM\" -- load_extension()",
    ] {
        assert_eq!(kind(sql), None, "{sql}");
    }
    assert_eq!(kind("FOO BAR"), Some(ErrorKind::Sql));
}

#[test]
fn parameters_are_numbered_as_sqlite_does() {
    let names = |sql| only(sql).parameters;
    assert_eq!(names("SELECT ?, ?, '?'"), [None, None]);
    assert_eq!(
        names("SELECT ?3, :a, @b, :a, ?"),
        [None, None, Some("?3"), Some(":a"), Some("@b"), None]
    );
    assert_eq!(names("SELECT ?2, ?1"), [Some("?1"), Some("?2")]);
    assert_eq!(names("SELECT 1"), []);
    for (sql, sent) in [
        ("SELECT ?, ?2", "SELECT ?, ?2"),
        ("SELECT :a, @b, :a", "SELECT :a, @b, :a"),
        ("SELECT ?, :a, '?', ?, :a;", "SELECT ?1, ?2, '?', ?3, ?2"),
        ("SELECT ?3, :a, ?", "SELECT ?3, ?4, ?5"),
    ] {
        assert_eq!(only(sql).sent(), sent);
    }
    assert!(only("SELECT :a").names().is_some());
    assert!(only("SELECT ?1").names().is_none());
    assert!(only("SELECT 1").names().is_none());
    assert_eq!(kind("SELECT ?40000"), Some(ErrorKind::Sql));
    assert_eq!(kind("SELECT ?0"), Some(ErrorKind::Sql));
}

#[test]
fn what_ends_a_transaction_is_told_from_what_ends_a_part() {
    for (sql, control) in [
        ("BEGIN", Control::Begin),
        ("begin immediate", Control::Begin),
        ("COMMIT", Control::Commit),
        ("END TRANSACTION", Control::Commit),
        ("ROLLBACK", Control::Rollback),
        ("ROLLBACK TO a", Control::RollbackTo),
        ("ROLLBACK TRANSACTION TO SAVEPOINT a", Control::RollbackTo),
        ("SAVEPOINT a", Control::Savepoint),
        ("RELEASE a", Control::Release),
        ("SELECT 1", Control::None),
    ] {
        assert_eq!(only(sql).control, control, "{sql}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    const PARTS: &[&str] = &[
        "SELECT",
        "'",
        "''",
        "\"",
        "`",
        "[",
        "]",
        "--",
        "\n",
        "/*",
        "*/",
        ";",
        "?",
        "?1",
        ":a",
        "$b",
        "::",
        "(",
        ")",
        "CREATE",
        "TRIGGER",
        "BEGIN",
        "END",
        "PRAGMA",
        "main",
        ".",
        "=",
        "é",
        "🙂",
        " ",
        "x'",
        "WITH",
        "INSERT",
        "EXPLAIN",
        "ROLLBACK",
        "TO",
        "VIRTUAL",
        "TABLE",
        "USING",
        "fts5",
        "\0",
        "temp",
        "IF",
        "NOT",
        "EXISTS",
        "7",
        "@",
        "#",
        "$",
        "\u{feff}",
        "AS",
        "millpond_x",
    ];
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        loop {
            // The same texts in each run.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let part = (state >> 33) as usize;
            text.push_str(PARTS[part % PARTS.len()]);
            if part.is_multiple_of(11) {
                break;
            }
        }
        let Ok(mut script) = Script::new(&text, 0) else {
            continue;
        };
        while let Ok(Some(statement)) = script.next() {
            let _ = statement.check();
            assert_eq!(
                &text[statement.start..][..statement.sql.len()],
                statement.sql
            );
            let sent = Script::only(statement.sent()).expect("one, as before");
            assert_eq!(sent.effect, statement.effect, "{text}");
            assert_eq!(sent.parameters.len(), statement.parameters.len(), "{text}");
        }
    }
}
