//! A database that is granted read-only, and a result that is too large.

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

    // 2.5 million values, of a byte each in the pool and 32 here.
    let columns = ["NULL"; 1_000].join(", ");
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
         SELECT {columns} FROM n"
    );
    fails(db.execute(&sql, &[]), "too-large");
}
