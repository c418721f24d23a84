//! Every handle of a returned connection is stale for every call, and can be dropped in any order.

use millpond_guest::bindings::connections::{
    Connection, Cursor, ErrorKind, Statement, Transaction, TransactionMode,
};
use millpond_guest::bindings::pool::{Access, close_connection, get_connection, return_connection};
use millpond_test_programs::{NONE, integers};

struct Handles {
    statement: Statement,
    cursor: Cursor,
    transaction: Transaction,
}

fn handles() -> (Connection, Handles) {
    let db = get_connection("default", Access::ReadWrite).unwrap();
    let transaction = db.begin(TransactionMode::Immediate).unwrap();
    let statement = db
        .prepare("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
        .unwrap();
    let cursor = statement.query(NONE, 1, false).unwrap().rest.unwrap();
    (
        db,
        Handles {
            statement,
            cursor,
            transaction,
        },
    )
}

fn check_stale(handles: Handles) {
    let Handles {
        statement,
        cursor,
        transaction,
    } = handles;
    assert_eq!(
        statement.execute(NONE).unwrap_err().kind,
        ErrorKind::StaleHandle
    );
    assert_eq!(
        statement.execute_many(NONE).unwrap_err().kind,
        ErrorKind::StaleHandle
    );
    assert_eq!(
        statement.query(NONE, 1, false).unwrap_err().kind,
        ErrorKind::StaleHandle
    );
    assert_eq!(
        statement.describe().unwrap_err().kind,
        ErrorKind::StaleHandle
    );
    assert_eq!(cursor.next(1).unwrap_err().kind, ErrorKind::StaleHandle);
    assert_eq!(
        transaction.commit().unwrap_err().kind,
        ErrorKind::StaleHandle
    );
}

fn main() {
    type End = fn(Connection);
    let ends: [End; 3] = [return_connection, close_connection, drop];
    for end in ends {
        let (db, handles) = handles();
        end(db);
        check_stale(handles);
        // Even while the same connection is lent again.
        let (db, old) = self::handles();
        end(db);
        let (db, new) = self::handles();
        check_stale(old);
        assert!(db.in_transaction(), "an old handle ended a new transaction");
        assert_eq!(integers(&new.cursor.next(1).unwrap()), [2]);
        new.transaction.rollback().unwrap();
    }

    // Every order of dropping the three, before or after the connection.
    for order in ["stc", "sct", "tsc", "tcs", "cst", "cts"] {
        for return_at in 0..=3 {
            let (db, handles) = handles();
            let mut db = Some(db);
            let Handles {
                statement,
                cursor,
                transaction,
            } = handles;
            let (mut s, mut c, mut t) = (Some(statement), Some(cursor), Some(transaction));
            for (at, which) in order.chars().enumerate() {
                if at == return_at {
                    return_connection(db.take().unwrap());
                }
                match which {
                    's' => drop(s.take()),
                    'c' => drop(c.take()),
                    _ => drop(t.take()),
                }
            }
            if let Some(db) = db {
                assert!(!db.in_transaction(), "{order}");
                db.execute("SELECT 1", NONE).unwrap();
            }
        }
    }
}
