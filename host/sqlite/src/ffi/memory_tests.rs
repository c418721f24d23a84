//! SQLite exceeds its budget, and is refused memory at every allocation in turn.

use std::cell::Cell;

use millpond_pool::{
    Access, Connection, ErrorKind, Parameters, Pool, Result, TransactionMode, Value, block_on,
};

use super::Budget;
use crate::PoolBuilder;

thread_local! {
    /// How many more allocations of this thread succeed; if negative, all.
    static GRANTED: Cell<i64> = const { Cell::new(-1) };
    /// Whether only one allocation fails, and later ones succeed again.
    static ONCE: Cell<bool> = const { Cell::new(false) };
    static FAILED: Cell<u64> = const { Cell::new(0) };
}

/// Whether this allocation must fail.
pub(super) fn fails() -> bool {
    let left = GRANTED.get();
    if left > 0 {
        GRANTED.set(left - 1);
    }
    if left != 0 {
        return false;
    }
    FAILED.set(FAILED.get() + 1);
    if ONCE.get() {
        GRANTED.set(-1);
    }
    true
}

fn get(pool: &Pool) -> Result<Connection> {
    pool.get_blocking(Access::ReadWrite)
}

fn number(connection: &Connection, sql: &str) -> i64 {
    let table = block_on(connection.query(sql, &Parameters::NONE)).expect("a query");
    match table.rows.to_vec()[0][0] {
        Value::Integer(number) => number,
        ref other => panic!("{sql}: {other:?}"),
    }
}

/// Statements that need memory of every kind: text and blobs, sorting, a temporary index, an
/// aggregate, a trigger, FTS5, JSON, and more pages than the cache holds.
const READS: &[&str] = &[
    "SELECT group_concat(hex(body)) FROM t",
    "SELECT id FROM t ORDER BY hex(body) || id DESC",
    "SELECT a.id FROM t a JOIN (SELECT DISTINCT body FROM t) b ON a.body = b.body",
    "SELECT count(*), max(rank) FROM words('water')",
    "SELECT value FROM json_each(json_array(1, 'two', json_object('a', 3)))",
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION SELECT i + 1 FROM n WHERE i < 50) SELECT sum(i) FROM n",
];

fn work(pool: &Pool) -> Result<()> {
    let connection = get(pool)?;
    for sql in READS {
        block_on(connection.query(sql, &Parameters::NONE))?;
    }
    let transaction = block_on(connection.begin(TransactionMode::Immediate))?;
    for id in [1001, 1002] {
        let sql = "INSERT INTO t VALUES (?1, zeroblob(9000))";
        let values = Parameters::from([id]);
        block_on(connection.execute(sql, &values))?;
    }
    block_on(transaction.commit())
}

#[test]
fn each_allocation_in_turn_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = PoolBuilder::new()
        .max_size(1)
        .statement_cache(4)
        .cache_size(64 << 10)
        .open(folder.path().join("t.db"))
        .expect("a pool");
    let script = "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB);
         CREATE TABLE log(id);
         CREATE TRIGGER logs AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id); END;
         CREATE VIRTUAL TABLE words USING fts5(text);
         INSERT INTO words VALUES ('still water'), ('water lent out');
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40)
         INSERT INTO t SELECT i, randomblob(3000) FROM n";
    block_on(get(&pool).expect("one").execute_script(script)).expect("a schema");

    let mut refused = 0;
    for once in [true, false] {
        ONCE.set(once);
        let mut granted = 0;
        loop {
            let before = FAILED.get();
            GRANTED.set(granted);
            let done = work(&pool);
            GRANTED.set(-1);
            let failed = FAILED.get() - before;
            refused += failed;

            let connection = get(&pool).expect("the next borrower gets one");
            assert!(!connection.in_transaction());
            let new = number(&connection, "SELECT count(*) FROM t WHERE id > 1000");
            let logged = number(&connection, "SELECT count(*) FROM log WHERE id > 1000");
            let expected = if done.is_ok() { 2 } else { 0 };
            assert_eq!(
                (new, logged),
                (expected, expected),
                "after {granted}: {done:?}"
            );
            if let Err(error) = &done {
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::QuotaExceeded | ErrorKind::CannotOpen | ErrorKind::StaleHandle
                    ),
                    "after {granted}: {error:?}"
                );
            }
            let script = "DELETE FROM t WHERE id > 1000; DELETE FROM log";
            block_on(connection.execute_script(script)).expect("it writes");
            if failed == 0 {
                done.expect("nothing was refused");
                break;
            }
            granted += 1;
        }
        assert!(granted > 1000, "only {granted} allocations were tried");
        let check = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
        let whole = rusqlite::Connection::open(folder.path().join("t.db")).expect("the file");
        let bad: i64 = whole
            .query_row(check, [], |row| row.get(0))
            .expect("a check");
        assert_eq!(bad, 0);
    }
    println!("{refused} allocations refused");
}

#[test]
fn a_budget_is_never_exceeded() {
    const BYTES: usize = 8 << 20;
    let before = Budget::new(0);
    let budget = Budget::new(BYTES as u64);
    let scope = budget.enter();
    let connection = rusqlite::Connection::open_in_memory().expect("a connection");
    // Store nothing of it in files.
    connection
        .execute_batch("PRAGMA temp_store = MEMORY")
        .expect("a pragma");
    let hog = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 100000)
               SELECT count(*) FROM (SELECT DISTINCT hex(randomblob(500)) || i FROM n)";
    for _ in 0..3 {
        let error = connection
            .query_row(hog, [], |_| Ok(()))
            .expect_err("too much");
        assert_eq!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::OutOfMemory)
        );
    }
    let (peak, used) = budget.peak_and_used();
    assert!(peak <= BYTES && peak > BYTES / 2, "{peak}");
    assert!(used < BYTES / 4, "{used} are still taken");
    drop(scope);

    // Freed in another scope, but credited to its own account.
    let scope = before.enter();
    drop(connection);
    drop(scope);
    assert_eq!(budget.peak_and_used().1, 0);
    assert_eq!(before.peak_and_used(), (0, 0));
}
