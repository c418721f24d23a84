//! What SQLite does not ask about.

use millpond_pool::{Access, ErrorKind, Grant, TableGrant};

use super::{fixture, query, run, text};

/// SQLite puts the end of such a statement into the definition of the table, and asks nothing about
/// what that then means.
#[test]
fn a_comment_at_the_end_of_an_alteration_does_not_rewrite_the_definition() {
    let f = fixture();
    let all = TableGrant::new().read().insert().update().delete();
    let narrow = f.narrow().table("own", all.clone()).schema(true);
    for grant in [narrow, Grant::new(&f.pool, Access::ReadWrite)] {
        let connection = f.get(&grant);
        for (definition, alteration) in [
            (
                "CREATE TABLE own(a, b, c -- */ UNIQUE, h INTEGER PRIMARY KEY\n)",
                "ALTER TABLE own ALTER COLUMN b SET NOT NULL /* open",
            ),
            (
                "CREATE TABLE own(a, CHECK (1 -- */ REFERENCES secret(x)) /*\n))",
                "ALTER TABLE own ADD COLUMN d /* open",
            ),
            (
                "CREATE TABLE own(a, CHECK ('\n REFERENCES secret(x)) /* ' <> a))",
                "ALTER TABLE own ADD COLUMN d -- open",
            ),
            (
                "CREATE TABLE own(a PRIMARY KEY) -- */ , CHECK (1)) /*\n WITHOUT ROWID",
                "ALTER TABLE own ADD CONSTRAINT q CHECK (1) /**/ /* open",
            ),
        ] {
            run(&connection, definition).expect(definition);
            let error = run(&connection, alteration).expect_err(alteration);
            assert_eq!(error.kind(), ErrorKind::Sql, "{alteration}: {error}");
            run(&connection, "DROP TABLE own").expect("it is as it was");
        }
        run(
            &connection,
            "CREATE TABLE own(a); ALTER TABLE own ADD b /* why */; ALTER TABLE own ADD -- why
             c; ALTER TABLE own RENAME c TO d; -- why
             ALTER TABLE own DROP d -- why",
        )
        .expect("comments elsewhere");
        run(&connection, "DROP TABLE own").expect("its own");
    }
}

/// SQLite does not check what it has stored by then.
#[test]
fn an_alteration_leaves_a_sound_table() {
    let f = fixture();
    let all = TableGrant::new().read().insert().update().delete();
    let connection = f.get(&f.narrow().table("own", all).schema(true));
    for (definition, alteration) in [
        (
            "CREATE TABLE own(a); INSERT INTO own VALUES (1)",
            "ALTER TABLE own ADD d NOT NULL DEFAULT (+NULL)",
        ),
        (
            "CREATE TABLE own(a); INSERT INTO own VALUES (1)",
            "ALTER TABLE own ADD d NOT NULL DEFAULT (CAST(NULL AS TEXT))",
        ),
        (
            "CREATE TABLE own(a, b); INSERT INTO own VALUES (1, 2);
             CREATE INDEX i ON own(a, (true))",
            "ALTER TABLE own RENAME b TO \"true\"",
        ),
        (
            "CREATE TABLE own(a); INSERT INTO own VALUES (1); CREATE INDEX i ON own(a, (true))",
            "ALTER TABLE own ADD [True] DEFAULT 0",
        ),
        (
            "CREATE TABLE own(a, 'true' DEFAULT 0); INSERT INTO own(a) VALUES (1);
             CREATE INDEX i ON own(a) WHERE true",
            "ALTER TABLE own DROP COLUMN 'true'",
        ),
    ] {
        run(&connection, definition).expect(definition);
        let error = run(&connection, alteration).expect_err(alteration);
        assert_eq!(error.kind(), ErrorKind::Sql, "{alteration}: {error}");
        let check = query(&connection, "PRAGMA integrity_check").expect("a check");
        assert_eq!(check.rows, [[text("ok")]], "{alteration}");
        run(&connection, "DROP TABLE own").expect("its own");
    }
    run(
        &connection,
        "CREATE TABLE own(a); INSERT INTO own VALUES (1);
         ALTER TABLE own ADD b BOOLEAN NOT NULL DEFAULT true;
         ALTER TABLE own ADD c REFERENCES own ON DELETE SET NULL CHECK (c IS NOT NULL OR b)",
    )
    .expect("sound");
}

/// SQLite resolves them when it reads the schema again.
#[test]
fn the_functions_in_a_column_that_is_added_are_checked() {
    let f = fixture();
    let connection = f.get(&Grant::new(&f.pool, Access::ReadWrite));
    run(&connection, "CREATE TABLE own(a)").expect("a table");
    for sql in [
        "ALTER TABLE own ADD d CHECK (sqlite_version() < d)",
        "ALTER TABLE own ADD d CHECK (\"SQLite_Version\" /**/ () < d)",
        "ALTER TABLE own ADD d AS ([subtype](a))",
        "ALTER TABLE own ADD CHECK (sqlite_source_id() < a)",
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    }
    let sql = "ALTER TABLE own ADD d DECIMAL(5, 2) CHECK (abs(d) < 9 AND d IN (1, 2))";
    run(&connection, sql).expect("allowed functions");
}

#[test]
fn a_definition_that_sqlite_would_cut_within_a_comment_is_refused() {
    let f = fixture();
    let all = TableGrant::new().read().insert().update().delete();
    let connection = f.get(&f.narrow().table("own", all).schema(true));
    run(&connection, "CREATE TABLE own(a)").expect("a table");
    for sql in [
        "CREATE INDEX i ON own(a) /*;",
        "CREATE VIEW v AS SELECT 1 /* ;",
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::Sql, "{sql}: {error}");
    }
    run(&connection, "CREATE INDEX i ON own(a) -- why").expect("another comment");
}

#[test]
fn a_foreign_key_check_needs_all_tables() {
    let f = fixture();
    let all = TableGrant::new().read().insert().update().delete();
    let connection = f.get(&f.narrow().table("own", all).schema(true));
    for sql in [
        "PRAGMA foreign_key_check",
        "PRAGMA foreign_key_check(own)",
        "SELECT * FROM pragma_foreign_key_check('own')",
    ] {
        let error = query(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    }
}

/// SQLite does not ask about the columns that it matches.
#[test]
fn a_join_by_the_names_of_columns_reads_nothing_that_is_not_granted() {
    let f = fixture();
    let connection = f.get(&f.narrow().schema(true));
    for sql in [
        "SELECT t.x FROM (SELECT 's3cret' AS x) t NATURAL JOIN secret",
        "SELECT count(*) FROM secret a NATURAL JOIN secret b",
        "SELECT t.author FROM (SELECT 'me' AS author) t JOIN note USING (author)",
        "INSERT INTO note(body) SELECT t.x FROM secret JOIN (SELECT 1 AS x) t USING (x)",
        "SELECT $a(') FROM (SELECT 's3cret' AS x) t JOIN secret USING (x) WHERE 1 = $b(')",
        "CREATE VIEW v AS SELECT t.x FROM (SELECT 's3cret' AS x) t NATURAL JOIN secret",
        "EXPLAIN SELECT t.x FROM (SELECT 's3cret' AS x) t NATURAL JOIN secret",
        "WITH virtual AS (SELECT 1) SELECT t.x FROM (SELECT 's3cret' AS x) t JOIN secret USING (x)",
        "SELECT virtual.id FROM note AS virtual JOIN (SELECT 'me' AS author) USING (author)",
        "SELECT id FROM (SELECT 1 AS z) JOIN note ON ?1NATURAL JOIN (SELECT 'me' AS author)",
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    }
    run(
        &connection,
        "SELECT a.id FROM note a JOIN note b ON a.id = b.id",
    )
    .expect("granted");
}

#[test]
fn rows_that_may_not_be_deleted_are_not_replaced() {
    let f = fixture();
    let connection = f.get(&f.narrow());
    for sql in [
        "REPLACE INTO note(id, body) VALUES (1, 'mine')",
        "INSERT OR REPLACE INTO note(id, body) VALUES (1, 'mine')",
        "INSERT /**/ or\nreplace INTO note(id, body) VALUES (1, 'mine')",
        "REPLACE INTO log VALUES ('x')",
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}");
    }
    run(
        &connection,
        "INSERT INTO note(body) VALUES (replace('a', 'a', 'b'))",
    )
    .expect("a function");
    drop(connection);

    // Through its own trigger, whose statements are compiled when it runs.
    let connection = f.get(&f.narrow().schema(true));
    let trigger = "CREATE TRIGGER mine AFTER INSERT ON log
                   BEGIN REPLACE INTO note(id, body) VALUES (1, 'mine'); END";
    let error = run(&connection, trigger).expect_err("it would delete");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
    drop(connection);

    let all = TableGrant::new().read().insert().delete();
    let connection = f.get(&Grant::new(&f.pool, Access::ReadWrite).table("note", all));
    run(
        &connection,
        "REPLACE INTO note(id, body) VALUES (1, 'mine')",
    )
    .expect("it may delete");
}

#[test]
fn a_foreign_key_refers_to_tables_that_may_be_changed_only() {
    let f = fixture();
    let all = TableGrant::new().read().insert().update().delete();
    let grant = f.narrow().schema(true).temporary(true);
    let grant = grant.table("own", all.clone());
    let grant = grant.table("parent", TableGrant::new().update().delete());
    let grant = grant.table("v", all.clone().shadow_tables());
    let grant = grant.table("w", all.shadow_tables());
    let connection = f.get(&grant);
    for sql in [
        "CREATE TABLE a(x REFERENCES parent(id))",
        "CREATE TABLE b(x REFERENCES b, y, FOREIGN KEY (y) REFERENCES \"B\"(x))",
        "CREATE TABLE own(x)",
        "ALTER TABLE own ADD COLUMN y REFERENCES parent",
        "ALTER TABLE own ADD COLUMN z DEFAULT 'REFERENCES secret'",
        "CREATE TEMP TABLE t(x REFERENCES secret)",
        "ALTER TABLE temp.t ADD COLUMN y REFERENCES secret",
        "CREATE VIRTUAL TABLE v USING fts5(\"references\", secret)",
        "CREATE VIRTUAL TABLE w USING fts5(references UNINDEXED)",
        "CREATE TABLE d(id INTEGER PRIMARY KEY AUTOINCREMENT, up REFERENCES d)",
    ] {
        run(&connection, sql).expect(sql);
    }
    for sql in [
        "CREATE TABLE c(x REFERENCES secret)",
        "CREATE TABLE c(x REFERENCES note)",
        "CREATE TABLE c(x REFERENCES [Secret](y))",
        "CREATE TABLE c(x, y REFERENCES parent, FOREIGN KEY (x) REFERENCES 'log_of_others'(y))",
        "CREATE TABLE c(x) /**/; CREATE TABLE IF NOT EXISTS d(x REFERENCES/**/\"secret\")",
        "CREATE TABLE id(x REFERENCES \x0b\"secret\"(id))",
        "CREATE TABLE e(id INTEGER PRIMARY KEY AUTOINCREMENT, x REFERENCES sqlite_sequence)",
        "ALTER TABLE own ADD COLUMN c REFERENCES secret",
        "ALTER TABLE own ADD COLUMN c REFERENCES millpond_migrations",
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}");
    }
}
