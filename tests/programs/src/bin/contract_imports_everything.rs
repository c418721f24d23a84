//! Imports every function of the contract, for a host to define. It does not run.

use millpond_guest::bindings::connections::TransactionMode;
use millpond_guest::bindings::pool::{
    Access, close_connection, databases, get_connection, return_connection, stats,
};
use millpond_test_programs::NONE;

fn main() {
    let _ = (databases(), stats("default"));
    let db = get_connection("default", Access::ReadWrite).unwrap();
    let _ = (db.execute("", NONE), db.query("", NONE, true));
    let _ = (db.execute_script(""), db.in_transaction());
    let statement = db.prepare("").unwrap();
    let _ = (statement.describe(), statement.execute(NONE));
    let _ = statement.execute_many(NONE);
    let page = statement.query(NONE, 0, true).unwrap();
    let _ = page.rest.unwrap().next(0);
    let _ = db.begin(TransactionMode::Deferred).unwrap().commit();
    let _ = db.begin(TransactionMode::Immediate).unwrap().rollback();
    drop(db.begin(TransactionMode::Deferred));
    return_connection(get_connection("default", Access::ReadOnly).unwrap());
    close_connection(db);
}
