//! Panics with a transaction open.

use millpond_guest::{TransactionMode, db};

fn main() {
    let db = db().unwrap();
    db.execute_script("CREATE TABLE IF NOT EXISTS t(a)")
        .unwrap();
    let _transaction = db.begin(TransactionMode::Immediate).unwrap();
    db.execute("INSERT INTO t VALUES (1)", ()).unwrap();
    panic!("on purpose");
}
