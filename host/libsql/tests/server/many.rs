//! One statement for many rows.

use millpond_pool::{ErrorKind, Rows, TransactionMode, Value};

use crate::sqld::Sqld;
use crate::{NONE, close, error, get, kind, value};

const COUNT: &str = "SELECT count(*) FROM t";

#[tokio::test]
async fn many_rows_are_all_kept_or_none() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a INTEGER PRIMARY KEY, b UNIQUE)")
        .await
        .expect("made");
    let insert = connection
        .prepare("INSERT INTO t(b) VALUES (?)")
        .await
        .expect("compiled");
    let rows = |range: std::ops::Range<i64>| Rows::from_rows(range.map(|n| [n])).expect("rows");
    let done = insert.execute_many(&rows(0..25_000)).await.expect("all");
    assert_eq!((done.changes, done.last_insert_rowid), (25_000, 25_000));
    let failed = insert.execute_many(&rows(24_999..30_000)).await;
    assert_eq!(kind(failed), ErrorKind::ConstraintUnique);
    let failed = insert.execute_many(&rows(-25_000..1)).await;
    assert_eq!(kind(failed), ErrorKind::ConstraintUnique);
    assert_eq!(value(&connection, COUNT).await, Value::Integer(25_000));
    assert!(!connection.in_transaction());
    assert_eq!(
        insert
            .execute_many(&Rows::new())
            .await
            .expect("none")
            .changes,
        0
    );
    let wide = Rows::from_rows([[1, 2]]).expect("rows");
    assert_eq!(
        kind(insert.execute_many(&wide).await),
        ErrorKind::Parameters
    );
    // Within a transaction what was written before stays.
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    let failed = error(insert.execute_many(&rows(-1..1)).await);
    assert!(!failed.rolled_back());
    connection
        .execute("INSERT INTO t(b) VALUES ('kept')", &NONE)
        .await
        .expect("written");
    let failed = error(insert.execute_many(&rows(-50..1)).await);
    assert_eq!(
        (failed.kind(), failed.rolled_back()),
        (ErrorKind::ConstraintUnique, false)
    );
    assert_eq!(
        insert
            .execute_many(&rows(-50..0))
            .await
            .expect("all")
            .changes,
        50
    );
    open.commit().await.expect("committed");
    assert_eq!(value(&connection, COUNT).await, Value::Integer(25_051));
    drop((insert, connection));
    close(pool).await;
}
