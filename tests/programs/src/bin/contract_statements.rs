//! Which texts are statements, and what `describe` returns.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, Value, differs, read};

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).unwrap();
    db.execute_script("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL, size)")
        .unwrap();

    for sql in [
        "",
        "  \n",
        "-- nothing",
        "/* nothing */",
        ";",
        "SELEC",
        "SELECT",
        "SELECT missing FROM t",
        "SELECT * FROM missing",
        "SELECT 1; SELECT 2",
        "SELECT 1; garbage",
        "INSERT INTO t(name) VALUES ('a'); DROP TABLE t",
        "SELECT 1\0",
        "SELECT 1 \0; DROP TABLE t",
        "SELECT \"a string\"",
        "SELECT unclosed('",
    ] {
        for error in [
            db.execute(sql, none).unwrap_err(),
            db.query(sql, none, false).unwrap_err(),
            db.prepare(sql).unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::Sql, "{sql:?}: {error:?}");
            assert!(!error.rolled_back);
        }
    }
    let table = db.query("SELECT count(*) FROM t", none, false).unwrap();
    assert!(
        matches!(read(&table.rows)[0][0], Value::Integer(0)),
        "a refused text has run"
    );

    for sql in [
        "SELECT 1;",
        "SELECT 1 ;  \n",
        "SELECT 1; -- one",
        "/* a */ SELECT 1 /* b */; /* c */ ;",
    ] {
        db.query(sql, none, false)
            .unwrap_or_else(|error| panic!("{sql:?}: {error:?}"));
    }
    assert_eq!(
        db.execute("SELECT id, wrong FROM t", none)
            .unwrap_err()
            .offset,
        differs("the offset of an error", Some(11), None)
    );

    let select = db
        .prepare("SELECT id, name AS label, size, 1 + 1, upper(name) FROM t")
        .unwrap();
    let description = select.describe().unwrap();
    let columns = description.columns;
    let described: Vec<_> = columns
        .iter()
        .map(|column| (column.name.as_str(), column.declared_type.as_deref()))
        .collect();
    assert_eq!(
        described,
        [
            ("id", Some("INTEGER")),
            ("label", Some("TEXT")),
            ("size", None),
            ("1 + 1", None),
            ("upper(name)", None)
        ]
    );
    assert!(description.read_only);
    for (sql, read_only) in [
        ("INSERT INTO t(name) VALUES ('a')", false),
        (
            "WITH n AS (SELECT 'b') INSERT INTO t(name) SELECT * FROM n",
            false,
        ),
        ("DELETE FROM t", false),
        ("CREATE TABLE u(a)", false),
        ("BEGIN", true),
        ("BEGIN IMMEDIATE", false),
        ("EXPLAIN DELETE FROM t", true),
        ("PRAGMA table_info(t)", true),
    ] {
        let statement = db.prepare(sql).unwrap();
        let description = statement.describe().unwrap();
        assert_eq!(description.read_only, read_only, "{sql}");
        if sql.starts_with("INSERT") {
            assert!(description.columns.is_empty());
        }
    }

    // A table that changes: its statement is compiled again, and returns the new columns.
    let all = db.prepare("SELECT * FROM t").unwrap();
    db.execute("ALTER TABLE t ADD COLUMN extra INTEGER DEFAULT 7", none)
        .unwrap();
    db.execute("INSERT INTO t(name) VALUES ('a')", none)
        .unwrap();
    let page = all.query(none, 1, true).unwrap();
    let row = [
        Value::Integer(1),
        Value::Text("a".into()),
        Value::Null,
        Value::Integer(7),
    ];
    assert_eq!(read(&page.rows), [row]);
    let columns = page.columns.unwrap();
    assert_eq!(columns.len(), 4);
    assert_eq!(all.describe().unwrap().columns, columns);
    let table = db.query("SELECT * FROM t", none, true).unwrap();
    assert_eq!(table.columns, Some(columns));

    // Only if asked for, and then even for a result without rows.
    assert_eq!(all.query(none, 1, false).unwrap().columns, None);
    assert_eq!(
        db.query("SELECT * FROM t", none, false).unwrap().columns,
        None
    );
    let nothing = db.prepare("SELECT id FROM t WHERE 0").unwrap();
    let page = nothing.query(none, 0, true).unwrap();
    assert_eq!((page.rows, page.columns.unwrap().len()), (vec![], 1));
    let inserted = db.prepare("DELETE FROM t").unwrap();
    assert_eq!(inserted.query(none, 0, true).unwrap().columns, Some(vec![]));
}
