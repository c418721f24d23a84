//! A database that is granted read-only.

use millpond_test_programs::spin::fails;
use millpond_test_programs::spin::v2::Connection;

fn main() {
    let db = Connection::open("default").unwrap();
    assert_eq!(db.execute("SELECT * FROM t", &[]).unwrap().rows.len(), 1);
    for sql in [
        "INSERT INTO t VALUES (2)",
        "CREATE TABLE u(a)",
        "BEGIN IMMEDIATE",
    ] {
        fails(db.execute(sql, &[]), "not-authorized");
    }
}
