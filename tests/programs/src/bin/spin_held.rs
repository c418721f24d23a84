//! Uses a connection until the host takes it back.

use millpond_test_programs::spin::v2::{Connection, Error};

fn main() {
    let db = Connection::open("default").unwrap();
    db.execute("BEGIN", &[]).unwrap();
    let error = loop {
        match db.execute("SELECT 1", &[]) {
            Ok(_) => {}
            // It was taken back during the statement.
            Err(Error::Io(text)) if text.starts_with("deadline-exceeded") => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::InvalidConnection), "{error:?}");
    // Another one is as good as new.
    drop(db);
    let db = Connection::open("default").unwrap();
    db.execute("BEGIN", &[]).unwrap();
}
