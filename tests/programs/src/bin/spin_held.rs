//! Uses a connection until the host takes it back.

use millpond_test_programs::spin::v2::{Connection, Error};

fn main() {
    let db = Connection::open("default").unwrap();
    db.execute("BEGIN", &[]).unwrap();
    let error = loop {
        if let Err(error) = db.execute("SELECT 1", &[]) {
            break error;
        }
    };
    assert!(matches!(error, Error::InvalidConnection), "{error:?}");
    // Another one is as good as new.
    drop(db);
    let db = Connection::open("default").unwrap();
    db.execute("BEGIN", &[]).unwrap();
}
