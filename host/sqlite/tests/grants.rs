//! A grant allows exactly what it says, and everything else is out of reach on every path.

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

#[test]
fn a_hidden_column_is_null_on_every_path() {
    let f = fixture();
    let connection = f.get(&f.narrow());
    for sql in [
        "SELECT author FROM note",
        "SELECT note.author FROM note",
        "SELECT max(author) FROM note",
        "SELECT author FROM notes",
        "SELECT author || '' FROM note AS n",
        "WITH n AS (SELECT * FROM note) SELECT author FROM n",
        "SELECT (SELECT author FROM note LIMIT 1)",
    ] {
        let table = query(&connection, sql).expect(sql);
        assert!(!table.rows.is_empty(), "{sql}");
        for row in &table.rows {
            assert_eq!(row.to_vec(), [Value::Null], "{sql}");
        }
    }
    for sql in [
        "SELECT id FROM note WHERE author = 'me'",
        "SELECT id FROM note WHERE author > ''",
        "SELECT id FROM note WHERE author GLOB 'm*'",
    ] {
        assert!(query(&connection, sql).expect(sql).rows.is_empty(), "{sql}");
    }
    for sql in [
        "INSERT INTO note(body, author) VALUES ('x', 'y') RETURNING author",
        "INSERT INTO note(body, author) VALUES ('x', 'y') RETURNING *",
        "INSERT INTO note(body, author) VALUES ('x', 'y') RETURNING id, author || ''",
        "INSERT INTO note(body) VALUES ('x') RETURNING (SELECT author FROM note WHERE id = 1)",
        "INSERT INTO note(body) VALUES ('x') RETURNING (SELECT n.x FROM (SELECT author AS x) n)",
        "INSERT INTO note(id) VALUES (1) ON CONFLICT (id) DO NOTHING RETURNING author",
    ] {
        let error = run(&connection, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}");
    }
    let insert = "INSERT INTO note(body, author) VALUES ('x', 'y') RETURNING body";
    let table = query(&connection, insert).expect("not read");
    assert_eq!(table.rows, [[text("x")]]);
    drop(connection);
    let blind = f
        .narrow()
        .table("note", TableGrant::new().update().delete());
    let blind = f.get(&blind);
    for sql in [
        "UPDATE note SET body = 'x' RETURNING body",
        "DELETE FROM note RETURNING *",
        "DELETE FROM note WHERE body = 'one'",
        "UPDATE note SET body = author",
    ] {
        let error = run(&blind, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}");
    }
    run(&blind, "UPDATE note SET body = 'x'").expect("not read");
    drop(blind);
    let wide = f
        .narrow()
        .table("note", TableGrant::new().read().update().hide("author"));
    let wide = f.get(&wide);
    for sql in [
        "UPDATE note SET author = 'x'",
        "UPDATE note SET body = author WHERE id = 1",
        "UPDATE note SET body = author WHERE id = 1 OR id = 2",
        "UPDATE note SET body = (SELECT n.author FROM note n WHERE n.id = 1)",
        "UPDATE note SET body = n.author FROM note AS n WHERE n.id = note.id",
        "UPDATE note SET body = 'x' RETURNING author",
    ] {
        let error = run(&wide, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}");
    }
    let update = "UPDATE note SET body = 'x' WHERE id = 1 RETURNING id, body";
    let table = query(&wide, update).expect("not hidden");
    assert_eq!(table.rows, [[Value::Integer(1), text("x")]]);
}

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

#[test]
fn a_full_text_table_shows_each_borrower_what_its_own_grant_allows_of_the_content() {
    let f = fixture();
    let all = Grant::new(&f.pool, Access::ReadWrite);
    let reads = TableGrant::new().read();
    let search = || {
        let table = TableGrant::new().read().shadow_tables();
        Grant::new(&f.pool, Access::ReadWrite).table("found", table)
    };
    let (index, hidden) = (search(), search().table("note", reads.hide("author")));
    run(
        &f.get(&all),
        "CREATE VIRTUAL TABLE found USING fts5(body, author, content = note, content_rowid = id);
         INSERT INTO found(found) VALUES ('rebuild')",
    )
    .expect("an index");
    let authors = |grant: &Grant| {
        let found = "SELECT author FROM found WHERE found MATCH 'one'";
        let rows = query(&f.get(grant), found);
        rows.map(|found| {
            found
                .rows
                .iter()
                .map(|row| row.to_vec())
                .collect::<Vec<_>>()
        })
    };
    // Each keeps its statement on the content, on the one connection, for the next.
    let refused = || {
        let error = authors(&index).expect_err("the content is not granted");
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{error:?}");
    };
    for _ in 0..2 {
        refused();
        assert_eq!(authors(&all), Ok(vec![vec![text("me")]]));
        refused();
        // A null instead would be indexed.
        let error = authors(&hidden).expect_err("not all of the content is granted");
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{error:?}");
        assert_eq!(authors(&all), Ok(vec![vec![text("me")]]));
    }
}

#[test]
fn a_hidden_column_is_not_null_where_that_would_damage_something() {
    let f = fixture();
    let all = Grant::new(&f.pool, Access::ReadWrite);
    run(
        &f.get(&all),
        "CREATE VIRTUAL TABLE found USING fts5(body, author, content = note, content_rowid = id);
         INSERT INTO found(found) VALUES ('rebuild');
         CREATE TABLE audit(author);
         CREATE TABLE parent(id INTEGER PRIMARY KEY, code UNIQUE);
         INSERT INTO parent VALUES (1, 'a'), (2, 'b');
         CREATE TABLE child(parent REFERENCES parent);
         CREATE TABLE by_code(code REFERENCES parent(code));
         INSERT INTO child VALUES (1)",
    )
    .expect("tables");
    let every = TableGrant::new().read().insert().update().delete();
    let grant = Grant::new(&f.pool, Access::ReadWrite)
        .table("note", every.clone().hide("author"))
        .table("found", every.clone().shadow_tables())
        .table("audit", every.clone())
        .table("parent", every.clone().hide("code"))
        .table("by_code", every.clone())
        .table("child", every.hide("parent"));
    let refused = |sql: &str| {
        let error = run(&f.get(&grant), sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    };
    for sql in [
        "DELETE FROM found WHERE rowid = 2",
        "UPDATE found SET body = 'x' WHERE rowid = 2",
        "INSERT INTO found(found) VALUES ('rebuild')",
        "DELETE FROM parent WHERE id = 1",
        "INSERT INTO by_code VALUES ('a')",
        "DELETE FROM note WHERE author IS NULL",
    ] {
        refused(sql);
    }
    run(&f.get(&grant), "UPDATE note SET body = 'x' WHERE id = 1").expect("it reads no author");
    let trigger = "CREATE TRIGGER t AFTER DELETE ON note BEGIN
        INSERT INTO audit VALUES (old.author); END";
    run(&f.get(&all), trigger).expect("a trigger");
    refused("DELETE FROM note");
    run(
        &f.get(&all),
        "UPDATE note SET body = 'one' WHERE id = 1;
         INSERT INTO found(found, rank) VALUES ('integrity-check', 1)",
    )
    .expect("the index is sound");
}

#[test]
fn what_a_statement_causes_elsewhere_need_not_be_readable_for_returning() {
    let f = fixture();
    let all = Grant::new(&f.pool, Access::ReadWrite);
    run(
        &f.get(&all),
        "CREATE TABLE audit(body);
         CREATE TRIGGER t AFTER INSERT ON note BEGIN INSERT INTO audit VALUES (new.body); END;
         CREATE TABLE part(note REFERENCES note ON DELETE CASCADE)",
    )
    .expect("tables");
    let grant = Grant::new(&f.pool, Access::ReadWrite)
        .table("note", TableGrant::new().read().insert().delete())
        .table("part", TableGrant::new().read().delete().hide("secret"))
        .table("audit", TableGrant::new().insert());
    let guest = f.get(&grant);
    for sql in [
        "INSERT INTO note(id, body) VALUES (7, 'x') RETURNING id",
        "DELETE FROM note WHERE id = 7 RETURNING id",
    ] {
        let table = query(&guest, sql).expect(sql);
        assert_eq!(table.rows, [[Value::Integer(7)]], "{sql}");
    }
    let error = query(&guest, "SELECT body FROM audit").expect_err("only inserted");
    assert_eq!(error.kind(), ErrorKind::NotAuthorized);
}

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

#[test]
fn a_hidden_key_is_not_updated_by_another_of_its_names() {
    let f = fixture();
    let grant = Grant::new(&f.pool, Access::ReadWrite).table(
        "note",
        TableGrant::new().read().insert().update().hide("id"),
    );
    let guest = f.get(&grant);
    for sql in [
        "UPDATE note SET id = 9 WHERE body = 'one'",
        "UPDATE note SET rowid = 9 WHERE body = 'one'",
        "UPDATE note SET body = 'x', _rowid_ = 9 WHERE body = 'one'",
        "INSERT INTO note(id, body) VALUES (1, 'x') ON CONFLICT DO UPDATE SET oid = 9",
    ] {
        let error = run(&guest, sql).expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::NotAuthorized, "{sql}: {error}");
    }
    run(&guest, "UPDATE note SET body = 'x' WHERE body = 'one'").expect("not hidden");
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
        ("SELECT stat FROM found", false),
    ] {
        let pool = open();
        let all = TableGrant::new().read().insert().update().delete();
        let grant = Grant::new(&pool, Access::ReadWrite)
            .table("boxes", all.clone().shadow_tables())
            .table("more", all.clone().shadow_tables())
            .table("found", all.clone().shadow_tables())
            .table("counts", all)
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
