//! More handles than the grant allows are an error; dropping one allows another.

use millpond_guest::bindings::connections::{ErrorKind, TransactionMode};
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, integers};

fn main() {
    let none = NONE;
    let mut connections: Vec<_> = (0..4)
        .map(|_| get_connection("default", Access::ReadOnly).unwrap())
        .collect();
    for _ in 0..100 {
        let error = get_connection("default", Access::ReadOnly).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooManyHandles);
    }
    connections.pop();
    connections.push(get_connection("default", Access::ReadOnly).unwrap());

    let db = &connections[0];
    let sql = "SELECT 1 UNION ALL SELECT 2";
    let mut statements: Vec<_> = (0..64).map(|_| db.prepare(sql).unwrap()).collect();
    assert_eq!(db.prepare(sql).unwrap_err().kind, ErrorKind::TooManyHandles);
    statements.pop();
    statements.push(db.prepare(sql).unwrap());

    let mut cursors: Vec<_> = statements
        .iter()
        .map(|statement| statement.query(none, 1, false).unwrap().rest.unwrap())
        .collect();
    let error = statements[0].query(none, 1, false).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooManyHandles);
    assert_eq!(
        integers(&cursors[0].next(1).unwrap()),
        [2],
        "the refused call ended a cursor"
    );
    cursors.pop();
    statements[63].query(none, 1, false).unwrap();

    // If SQL text ends a transaction, its handle remains, and counts.
    let begin = || db.begin(TransactionMode::Deferred);
    let mut transactions: Vec<_> = (0..64)
        .map(|_| {
            let transaction = begin().unwrap();
            db.execute("ROLLBACK", none).unwrap();
            transaction
        })
        .collect();
    assert_eq!(begin().unwrap_err().kind, ErrorKind::TooManyHandles);
    transactions.pop();
    for _ in 0..1_000 {
        begin().unwrap().commit().unwrap();
        drop(begin().unwrap());
    }
    // Ten thousand prepared and dropped statements hold nothing.
    drop(statements);
    for _ in 0..10_000 {
        db.prepare(sql).unwrap();
    }
}
