//! Columns that are hidden, and what a statement reads beside what it writes.

use millpond_pool::{Access, ErrorKind, Grant, TableGrant, Value};

use super::{fixture, query, run, text};

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
    drop(guest);
    let guest = f.get(&grant.temporary(true));
    run(
        &guest,
        "CREATE TEMP TABLE note(id INTEGER PRIMARY KEY); INSERT INTO note VALUES (1);
         UPDATE note SET id = 2; UPDATE note SET rowid = 3",
    )
    .expect("a table of its own, of that name");
}
