//! Grants that allow changes to the schema.

use millpond_pool::{Access, ErrorKind, Grant, TableGrant};

use super::{fixture, query, run};

#[test]
fn a_grant_of_the_schema_does_not_widen_that_of_tables() {
    let f = fixture();
    let owner = f.get(&Grant::new(&f.pool, Access::ReadWrite));
    run(
        &owner,
        "CREATE INDEX s ON secret(x); CREATE TABLE own(a); ANALYZE",
    )
    .expect("a schema");
    drop(owner);
    let all = TableGrant::new().read().insert().update().delete();
    let grant = f.narrow().table("own", all.clone()).table("mine", all);
    let connection = f.get(&grant.schema(true));
    for sql in [
        "ALTER TABLE secret RENAME TO mine",
        "ALTER TABLE secret RENAME x TO y",
        "ALTER TABLE secret ADD y",
        "DROP TABLE secret",
        "DROP VIEW leak",
        "DROP INDEX s",
        "CREATE UNIQUE INDEX n ON secret(x)",
        "CREATE TRIGGER n AFTER INSERT ON secret BEGIN DELETE FROM mine; END",
        // Not all of it is granted.
        "ALTER TABLE note RENAME TO mine",
        "ALTER TABLE note RENAME author TO a",
        "ALTER TABLE note DROP COLUMN author",
        "DROP TABLE note",
        // A part of it is hidden.
        "CREATE INDEX n ON note(lower(author))",
        "CREATE UNIQUE INDEX n ON note(author)",
        "CREATE INDEX n ON log(entry)",
        "CREATE TABLE mine AS SELECT * FROM sqlite_stat1",
        "CREATE TABLE mine AS SELECT * FROM secret",
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    }
    for sql in [
        "ALTER TABLE own ADD b; ALTER TABLE own RENAME b TO c; ALTER TABLE own DROP COLUMN c",
        "ALTER TABLE own RENAME TO mine; CREATE INDEX m ON mine(a); ANALYZE mine; DROP INDEX m",
        "CREATE TRIGGER r AFTER INSERT ON mine BEGIN SELECT 1; END; DROP TRIGGER r; DROP TABLE mine",
        "CREATE TABLE own(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO own VALUES (7)",
        "ALTER TABLE own RENAME TO mine; DROP TABLE mine",
        "CREATE TABLE own(a, temp); ALTER TABLE own DROP COLUMN temp; DROP TABLE own",
        "CREATE TABLE new(a INTEGER PRIMARY KEY, b)",
        "CREATE TABLE own(id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE TABLE mine(own REFERENCES own ON DELETE RESTRICT)",
        "DROP TABLE own",
    ] {
        run(&connection, sql).expect(sql);
    }
}

#[test]
fn a_grant_of_the_schema_changes_it() {
    let f = fixture();
    let grant = f.narrow().table("quiet", TableGrant::new().read());
    let connection = f.get(&grant.schema(true));
    run(
        &connection,
        "CREATE INDEX n ON quiet(a); DROP INDEX n; ANALYZE note",
    )
    .expect("allowed");
    query(&connection, "SELECT name FROM sqlite_schema").expect("allowed");
    let error = query(&connection, "SELECT x FROM secret").expect_err("not granted");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
    drop(connection);
    let none = Grant::new(&f.pool, Access::ReadWrite).schema(false);
    let error = run(&f.get(&none), "CREATE TABLE n(a)").expect_err("not granted");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
}
