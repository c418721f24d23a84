//! Prints everything that a guest can find out about its connection.

use millpond_guest::{Access, get};

const LOOK: &[&str] = &[
    "SELECT last_insert_rowid()",
    "SELECT count(*) FROM temp.sqlite_schema",
    "SELECT a FROM t ORDER BY a",
    "SELECT count(*) FROM sqlite_schema",
    "PRAGMA defer_foreign_keys",
    "PRAGMA foreign_keys",
    "PRAGMA user_version",
    "SELECT 'A' LIKE 'a'",
    "EXPLAIN QUERY PLAN SELECT * FROM t",
    // Triggers of somebody else would run here.
    "INSERT INTO u VALUES (2) RETURNING a",
    "SELECT count(*) FROM u",
    "DELETE FROM u WHERE a = 2",
    "SELECT changes()",
    "SELECT total_changes()",
];

fn main() {
    let db = get("default", Access::ReadWrite).unwrap();
    println!("in transaction: {}", db.in_transaction());
    for sql in LOOK {
        println!(
            "{sql}: {:?}",
            db.query(sql, ())
                .map(|table| table.rows)
                .map_err(|e| e.kind())
        );
    }
}
