//! Two names of one file: a writer through one has the turn, so the other cannot write.

use millpond_guest::bindings::connections::{ErrorKind, TransactionMode};
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, read};

fn main() {
    let none = NONE;
    let one = get_connection("default", Access::ReadWrite).unwrap();
    let two = get_connection("other", Access::ReadWrite).unwrap();
    one.execute("CREATE TABLE t(a)", none).unwrap();
    let transaction = one.begin(TransactionMode::Immediate).unwrap();
    // At once, because one pool knows that both belong to the same request.
    let error = two.execute("INSERT INTO t VALUES (1)", none).unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Busy, 0));
    drop(transaction);
    two.execute("INSERT INTO t VALUES (1)", none).unwrap();
    let three = get_connection("third", Access::ReadOnly).unwrap();
    let table = three.query("SELECT a FROM t", none, false).unwrap();
    assert_eq!(read(&table.rows).len(), 1);
    println!("busy");
}
