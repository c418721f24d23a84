//! Does what its argument says, and prints how it went. It writes `pause` where the test holds it.

use millpond_guest::bindings::connections::{Connection, Error, TransactionMode};
use millpond_guest::bindings::pool::{
    Access, close_connection, databases, get_connection, return_connection,
};
use millpond_test_programs::{NONE, integers};

/// Writes more than SQLite keeps in memory.
const LARGE: &str = "UPDATE t SET a = 'guest', filler = randomblob(1000)";

fn connection(database: &str) -> Result<Connection, Error> {
    get_connection(database, Access::ReadWrite)
}

fn said<T>(result: Result<T, Error>) {
    match result {
        Ok(_) => println!("ok"),
        Err(error) => println!("{:?}, rolled back: {}", error.kind, error.rolled_back),
    }
}

/// Pauses in a transaction, and ends as `how` says.
fn in_transaction(how: &str) {
    let db = connection("default").unwrap();
    let transaction = db.begin(TransactionMode::Immediate).unwrap();
    db.execute(LARGE, NONE).unwrap();
    println!("pause");
    match how {
        "commit" => said(transaction.commit()),
        "rollback" => said(transaction.rollback()),
        "drop" => drop(transaction),
        "text" => said(db.execute("ROLLBACK", NONE)),
        "read" => said(db.query("SELECT count(*) FROM t", NONE, false)),
        "return" => return return_connection(db),
        "close" => return close_connection(db),
        "end" => return,
        _ => panic!("unknown: {how}"),
    }
    assert!(!db.in_transaction());
    said(db.execute("INSERT INTO t VALUES ('guest', NULL)", NONE));
}

/// Pauses with a cursor, and ends as `how` says.
fn with_cursor(how: &str) {
    let db = connection("default").unwrap();
    let statement = db.prepare("SELECT a FROM t").unwrap();
    let cursor = statement.query(NONE, 1, false).unwrap().rest.unwrap();
    println!("pause");
    match how {
        "next" => said(cursor.next(1)),
        "drop" => drop(cursor),
        "again" => said(statement.execute(NONE)),
        "statement" => drop((statement, cursor)),
        _ => panic!("unknown: {how}"),
    }
    said(db.execute("INSERT INTO t VALUES ('guest', NULL)", NONE));
}

/// Runs statements that fail at their third row in a transaction, as `how` says.
fn partly(how: &str) {
    const VALUES: &str = "INSERT INTO strict SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 'text'";
    let yields = format!("{VALUES} RETURNING i");
    let db = connection("default").unwrap();
    db.execute_script("CREATE TABLE strict(i INTEGER) STRICT; CREATE TABLE u(a)")
        .unwrap();
    let transaction = db.begin(TransactionMode::Immediate).unwrap();
    match how {
        "execute" => said(db.execute(VALUES, NONE)),
        "query" => said(db.query(VALUES, NONE, false)),
        "query rows" => said(db.query(&yields, NONE, false)),
        "statement" => said(db.prepare(VALUES).unwrap().query(NONE, 0, false)),
        "statement rows" => said(db.prepare(&yields).unwrap().query(NONE, 0, false)),
        "beside a cursor" => {
            let statement = db
                .prepare("INSERT INTO u VALUES (1), (2) RETURNING a")
                .unwrap();
            let _cursor = statement.query(NONE, 1, false).unwrap().rest.unwrap();
            said(db.execute("INSERT INTO u VALUES (3)", NONE));
            said(db.execute(VALUES, NONE));
        }
        _ => panic!("unknown: {how}"),
    }
    said(transaction.commit());
    let rows = db
        .query("SELECT count(*) FROM strict", NONE, false)
        .unwrap();
    println!("{:?} rows", integers(&rows.rows));
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "databases" => println!("{:?}", databases()),
        "transaction" => in_transaction(&args[2]),
        "cursor" => with_cursor(&args[2]),
        "partly" => partly(&args[2]),
        "get another" => {
            in_transaction("commit");
            let db = connection("default").unwrap();
            said(db.execute("INSERT INTO t VALUES ('another', NULL)", NONE));
        }
        "two names" => {
            let db = connection("default").unwrap();
            let _transaction = db.begin(TransactionMode::Immediate).unwrap();
            said(connection(&args[2]));
        }
        other => panic!("unknown: {other}"),
    }
}
