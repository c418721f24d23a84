//! Statements that are compiled under one grant, or for one schema, and run under another.

use millpond_pool::{Access, ErrorKind, Grant, Request, TableGrant, Value, block_on};
use millpond_sqlite::PoolBuilder;

use super::{NONE, fixture, query, run, text};

#[test]
fn a_statement_compiled_under_one_grant_does_not_run_under_another() {
    let f = fixture();
    let wide = Grant::new(&f.pool, Access::ReadWrite);
    let narrow = f.narrow();
    const SECRET: &str = "SELECT x FROM secret";
    const AUTHOR: &str = "SELECT author FROM note WHERE id = 1";
    // Repeatedly, with statements cached for both.
    for _ in 0..3 {
        let connection = f.get(&wide);
        assert_eq!(
            query(&connection, SECRET).expect("rows").rows,
            [[text("s3cret")]]
        );
        assert_eq!(
            query(&connection, AUTHOR).expect("rows").rows,
            [[text("me")]]
        );
        drop(connection);
        let connection = f.get(&narrow);
        let error = query(&connection, SECRET).expect_err("not granted");
        assert_eq!(error.kind(), ErrorKind::NotAuthorized);
        assert!(block_on(connection.prepare(SECRET)).is_err());
        assert_eq!(
            query(&connection, AUTHOR).expect("rows").rows,
            [[Value::Null]]
        );
    }
    // More grants than are cached.
    for number in 0..20 {
        let table = format!("t{number}");
        let grant = Grant::new(&f.pool, Access::ReadWrite).table(&table, TableGrant::new().read());
        let error = query(&f.get(&grant), SECRET).expect_err("not granted");
        assert_eq!(error.kind(), ErrorKind::NotAuthorized);
    }
    assert_eq!(f.pool.stats().connections_created, 1);
}

/// SQLite compiles a statement again for another schema, in which its names may mean other tables.
#[test]
fn a_statement_that_is_compiled_again_is_checked_again() {
    let f = fixture();
    let owner = Grant::new(&f.pool, Access::ReadWrite);
    run(
        &f.get(&owner),
        "CREATE TABLE kept(id INTEGER PRIMARY KEY, x UNIQUE);
         INSERT INTO kept VALUES (1, 'theirs'), (2, 'others');
         CREATE TABLE parent(id INTEGER PRIMARY KEY)",
    )
    .expect("tables");
    let all = TableGrant::new().read().insert().update().delete();
    let grant = f.narrow().schema(true).temporary(true);
    let grant = grant.table("kept", TableGrant::new().read().insert().update());
    let guest = f.get(&grant.table("own", all));
    let refused = |sql: &str| {
        let error = run(&guest, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    };
    let allowed = |sql: &str| run(&guest, sql).expect(sql);

    // What was a temporary table is another's.
    for sql in [
        "REPLACE INTO kept VALUES (1, 'mine')",
        "UPDATE OR REPLACE kept SET x = 'mine'",
    ] {
        allowed("CREATE TEMP TABLE kept(id INTEGER PRIMARY KEY, x UNIQUE)");
        let prepared = block_on(guest.prepare(sql)).expect(sql);
        allowed(sql);
        allowed("DROP TABLE temp.kept");
        refused(sql);
        let error = block_on(prepared.execute(&NONE)).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    }
    // A table has a trigger that it did not have.
    allowed("CREATE TABLE own(id INTEGER PRIMARY KEY, x)");
    let replace = "REPLACE INTO own VALUES (1, 'mine')";
    allowed(replace);
    allowed(
        "CREATE TRIGGER r AFTER INSERT ON own BEGIN INSERT INTO kept VALUES (new.id, new.x); END",
    );
    refused(replace);
    allowed("DROP TRIGGER r");
    // What was a temporary table is not.
    let refers = "ALTER TABLE own ADD z REFERENCES parent";
    allowed("CREATE TEMP TABLE own(id)");
    allowed(refers);
    allowed("DROP TABLE temp.own");
    refused(refers);

    drop(guest);
    let rows = query(&f.get(&owner), "SELECT x FROM kept ORDER BY id").expect("rows");
    assert_eq!(rows.rows, [[text("theirs")], [text("others")]]);
}

/// SQLite would parse it for long, in one step.
#[test]
fn an_alteration_is_not_run_again_beside_a_long_definition() {
    let f = fixture();
    let connection = f.get(&Grant::new(&f.pool, Access::ReadWrite));
    run(&connection, "CREATE TABLE own(a)").expect("a table");
    let there = "ALTER TABLE own RENAME a TO b";
    let prepared = block_on(connection.prepare(there)).expect("a statement");
    run(&connection, there).expect("a short schema");
    run(&connection, "ALTER TABLE own RENAME b TO a").expect("a short schema");
    let names = vec!["a"; 3_000].join(", ");
    let view = format!("CREATE VIEW long AS SELECT 1 FROM own WHERE a IN ({names})");
    run(&connection, &view).expect("a view");
    for result in [
        run(&connection, there),
        block_on(prepared.execute(&NONE)).map(drop),
    ] {
        let error = result.expect_err("a long schema");
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    }
}

#[test]
fn a_statement_is_authorized_again_when_the_schema_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let pool = PoolBuilder::new().open(&path).expect("a pool");
    let owner = pool.get_blocking(Access::ReadWrite).expect("a connection");
    run(
        &owner,
        "CREATE TABLE secret(x); INSERT INTO secret VALUES ('s3cret');
         CREATE TABLE note(x); INSERT INTO note VALUES ('plain');
         CREATE VIEW v AS SELECT x FROM note",
    )
    .expect("a schema");
    let grant = Grant::new(&pool, Access::ReadWrite)
        .table("v", TableGrant::new().read())
        .table("note", TableGrant::new().read());
    let guest = block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
    let statement = block_on(guest.prepare("SELECT x FROM v")).expect("a statement");
    block_on(statement.query(&NONE, 0, false)).expect("rows");
    run(&owner, "DROP VIEW v; CREATE VIEW v AS SELECT x FROM secret").expect("a change");
    let error = block_on(statement.query(&NONE, 0, false)).expect_err("another table now");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
}
