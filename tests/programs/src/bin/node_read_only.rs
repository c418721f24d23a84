//! A database that is granted read-only, for a program of `node:sqlite` that does not ask for that.

use millpond_test_programs::node::{OPTIONS, open, values};

fn main() {
    let database = open("default").unwrap();
    let statement = database.prepare("SELECT 1", OPTIONS).unwrap();
    assert!(statement.get(&values([])).unwrap().is_some());
    // "attempt to write a readonly database"
    let refused = database.exec("CREATE TABLE t(a)").unwrap_err();
    assert_eq!(refused.errcode, Some(8));
    let create = database.prepare("CREATE TABLE t(a)", OPTIONS).unwrap();
    assert_eq!(create.run(&values([])).unwrap_err().errcode, Some(8));
}
