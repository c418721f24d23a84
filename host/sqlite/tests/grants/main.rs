//! A grant allows exactly what it says, and everything else is out of reach on every path.

mod compiled;
mod hidden;
mod schema;
mod unasked;

use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Result, ResultSet, TableGrant,
    Value, block_on,
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
        .max_size(1)
        .open(folder.path().join("app.db"))
        .expect("a pool");
    let f = Fixture {
        _folder: folder,
        pool,
    };
    let setup = f.get(&Grant::new(&f.pool, Access::ReadWrite));
    run(
        &setup,
        "CREATE TABLE note(id INTEGER PRIMARY KEY, body, author);
         INSERT INTO note VALUES (1, 'one', 'me'), (2, 'two', 'you');
         CREATE TABLE secret(x); INSERT INTO secret VALUES ('s3cret');
         CREATE TABLE note_data(x); INSERT INTO note_data VALUES ('s3cret');
         CREATE TABLE log(entry); CREATE TABLE quiet(a);
         CREATE VIEW notes AS SELECT id, body, author FROM note;
         CREATE VIEW leak AS SELECT x FROM secret;
         CREATE TRIGGER tell AFTER INSERT ON log BEGIN INSERT INTO quiet SELECT x FROM secret; END;
         CREATE VIRTUAL TABLE search USING fts5(body);
         INSERT INTO search VALUES ('one fine day')",
    )
    .expect("a schema");
    drop(setup);
    f
}

impl Fixture {
    fn get(&self, grant: &Grant) -> Connection {
        block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection")
    }

    fn narrow(&self) -> Grant {
        Grant::new(&self.pool, Access::ReadWrite)
            .table("Note", TableGrant::new().read().insert().hide("Author"))
            .table("log", TableGrant::new().insert())
            .table("notes", TableGrant::new().read())
            .table("search", TableGrant::new().read().insert().shadow_tables())
    }
}

fn run(connection: &Connection, sql: &str) -> Result<()> {
    block_on(connection.execute_script(sql))
}

fn query(connection: &Connection, sql: &str) -> Result<ResultSet> {
    block_on(connection.query(sql, &NONE))
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

#[test]
fn a_table_is_used_as_far_as_it_is_granted() {
    let f = fixture();
    let connection = f.get(&f.narrow());
    for sql in [
        "SELECT * FROM note",
        "SELECT count(*) FROM NOTE",
        "INSERT INTO note(body) VALUES ('three')",
        "BEGIN; INSERT INTO note(body) VALUES ('four'); COMMIT",
        "SELECT * FROM notes",
        "SELECT body FROM search WHERE search MATCH 'fine' ORDER BY rank",
        "INSERT INTO search VALUES ('another day')",
        "WITH n AS (SELECT id FROM note) SELECT max(id) FROM n",
        "PRAGMA table_info(note)",
        "PRAGMA foreign_keys",
        "SELECT value FROM json_each('[1]')",
    ] {
        run(&connection, sql).expect(sql);
    }
    for sql in [
        "UPDATE note SET body = ''",
        "DELETE FROM note",
        "INSERT INTO note(id) VALUES (1) ON CONFLICT DO UPDATE SET body = 'x'",
        "SELECT * FROM log",
        "SELECT count(*) FROM log",
        "DELETE FROM log",
        "DELETE FROM search",
        "SELECT x FROM note_data",
        "INSERT INTO note_data VALUES (1)",
        "DELETE FROM note_data",
        "SELECT x FROM secret",
        "SELECT count(*) FROM secret",
        "SELECT 1 FROM secret",
        "SELECT EXISTS (SELECT 1 FROM secret)",
        "SELECT * FROM note NATURAL JOIN secret",
        "SELECT * FROM note WHERE body IN secret",
        "SELECT * FROM note WHERE body IN (SELECT x FROM secret)",
        "INSERT INTO note(body) SELECT x FROM secret",
        "INSERT INTO note(body) VALUES ((SELECT x FROM secret))",
        "INSERT INTO note(body) VALUES ('x') RETURNING (SELECT x FROM secret)",
        "EXPLAIN SELECT x FROM secret",
        "SELECT * FROM main.secret",
        "SELECT * FROM \"secret\"",
        "WITH note AS (SELECT * FROM secret) SELECT * FROM note",
        // Through objects of others.
        "SELECT * FROM leak",
        "INSERT INTO log VALUES ('x')",
        // Through the schema.
        "SELECT sql FROM sqlite_schema",
        "SELECT sql FROM sqlite_master",
        "PRAGMA table_info(secret)",
        "SELECT * FROM pragma_table_info('secret')",
        "PRAGMA table_list",
        "PRAGMA integrity_check",
        "PRAGMA index_info(i)",
        // By changing the schema.
        "CREATE TABLE n(a)",
        "CREATE VIEW n AS SELECT 1",
        "CREATE INDEX n ON note(body)",
        "CREATE TRIGGER n AFTER INSERT ON note BEGIN SELECT 1; END",
        "DROP TABLE note",
        "ALTER TABLE note ADD n",
        "ALTER TABLE note RENAME TO n",
        "ANALYZE",
        "REINDEX",
        "CREATE TEMP TABLE n(a)",
        "CREATE TEMP VIEW n AS SELECT x FROM secret",
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    }
    drop(connection);
    assert_eq!(f.pool.stats().connections_created, 1);
}

#[test]
fn a_refusal_names_what_it_would_need() {
    let f = fixture();
    let connection = f.get(&f.narrow());
    for (sql, needs) in [
        ("DELETE FROM note", "`delete`"),
        ("SELECT * FROM secret", "`read`"),
        ("CREATE TABLE n(a)", "`schema`"),
        ("CREATE TEMP TABLE n(a)", "`temporary`"),
        ("ATTACH 'a' AS b", "no grant"),
        ("SELECT sqlite_version()", "no grant"),
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert!(error.to_string().contains(needs), "{sql}: {error}");
    }
}

/// An R*Tree table reads the statistics when a connection first uses it.
#[test]
fn an_rtree_table_with_statistics_needs_no_grant_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let open = || PoolBuilder::new().max_size(1).open(&path).expect("a pool");
    {
        let pool = open();
        let owner = pool.get_blocking(Access::ReadWrite).expect("a connection");
        run(
            &owner,
            "CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
             INSERT INTO boxes VALUES (1, 2, 3);
             CREATE TABLE note(body); CREATE INDEX b ON note(body);
             INSERT INTO note VALUES ('one'); ANALYZE;
             CREATE VIEW counts AS SELECT stat FROM sqlite_stat1;
             CREATE VIRTUAL TABLE found USING fts5(stat, content = 'sqlite_stat1')",
        )
        .expect("a schema");
    }
    for (sql, allowed) in [
        ("SELECT id FROM boxes", true),
        ("INSERT INTO boxes VALUES (2, 3, 4)", true),
        ("CREATE VIRTUAL TABLE more USING rtree(id, x0, x1)", true),
        ("SELECT stat FROM sqlite_stat1", false),
        (
            "SELECT id, (SELECT max(stat) FROM \"SQLITE_stat1\") FROM boxes",
            false,
        ),
        ("SELECT stat FROM counts", false),
        ("SELECT count(*) FROM counts", false),
        ("SELECT stat FROM found", false),
        ("CREATE TABLE own AS SELECT stat FROM found", false),
        ("CREATE TEMP TABLE own AS SELECT stat FROM found", false),
        (
            "CREATE TEMP VIEW t AS SELECT 1 FROM sqlite_stat1; SELECT count(*) FROM t",
            false,
        ),
    ] {
        let pool = open();
        let all = TableGrant::new().read().insert().update().delete();
        let grant = Grant::new(&pool, Access::ReadWrite)
            .table("boxes", all.clone().shadow_tables())
            .table("more", all.clone().shadow_tables())
            .table("found", all.clone().shadow_tables())
            .table("counts", all.clone())
            .table("own", all.clone())
            .table("t", all)
            .temporary(true)
            .schema(true);
        let guest = block_on(grant.get(Access::ReadWrite, &Request::new())).expect("a connection");
        match (run(&guest, sql), allowed) {
            (Ok(()), true) => {}
            (Err(error), false) => {
                assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
            }
            (result, _) => panic!("{sql}: {result:?}"),
        }
    }
}

#[test]
fn temporary_objects_need_no_grant_of_tables_and_widen_none() {
    let f = fixture();
    let grant = f.narrow().schema(true).temporary(true);
    let connection = f.get(&grant);
    run(
        &connection,
        "CREATE TEMP TABLE t(a); ALTER TABLE t ADD b; ALTER TABLE t RENAME b TO c;
         ALTER TABLE t RENAME TO u; CREATE INDEX temp.i ON u(c); INSERT INTO u VALUES (1, 2)",
    )
    .expect("allowed");
    // It would delete a row, which the grant does not allow.
    let trigger = "CREATE TEMP TRIGGER r AFTER INSERT ON u BEGIN
        INSERT OR REPLACE INTO note(id, body) VALUES (1, 'other'); END";
    let error = run(&connection, trigger).expect_err("not granted");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
}
