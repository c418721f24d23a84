//! Prints everything that a guest can find out about its connection, and the outcome of each
//! statement of the script in its argument.

use millpond_guest::{Access, Connection, get};

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
    // Another borrower's triggers would run here.
    "INSERT INTO u VALUES (2) RETURNING a",
    "SELECT count(*) FROM u",
    "DELETE FROM u WHERE a = 2",
    "SELECT changes()",
    "SELECT total_changes()",
];

fn main() {
    let db = get("default", Access::ReadWrite).unwrap();
    println!("in transaction: {}", db.in_transaction());
    let script = std::env::args().nth(1).unwrap_or_default();
    for sql in script.split("; ").filter(|sql| !sql.is_empty()) {
        look(&db, sql);
    }
    LOOK.iter().for_each(|sql| look(&db, sql));
}

fn look(db: &Connection, sql: &str) {
    let seen = db.query(sql, ()).map(|table| table.rows);
    println!("{sql}: {:?}", seen.map_err(|error| error.kind()));
}
