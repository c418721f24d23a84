//! A database that reaches its largest size.

use millpond_test_programs::spin::v2::{Connection, Error};

fn main() {
    let db = Connection::open("default").unwrap();
    db.execute("CREATE TABLE t(a)", &[]).unwrap();
    let full = (0..100).find_map(|_| {
        db.execute("INSERT INTO t VALUES (zeroblob(100000))", &[])
            .err()
    });
    assert!(matches!(full, Some(Error::DatabaseFull)), "{full:?}");
    db.execute("SELECT count(*) FROM t", &[]).unwrap();
}
