//! Results page by page.

use millpond_libsql::PoolBuilder;
use millpond_pool::{ErrorKind, Parameters, TransactionMode, Value};

use crate::sqld::Sqld;
use crate::{NONE, close, get, kind, value};

const SERIES: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
    SELECT i, printf('%0*d', ?2, i) AS text FROM n";

#[tokio::test]
async fn pages_hold_every_row_once() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    let statement = connection.prepare(SERIES).await.expect("compiled");
    let description = statement.describe().await.expect("described");
    assert!(description.read_only);
    assert_eq!(description.columns[1].name, "text");
    let names = [Some("1".to_owned()), Some("2".to_owned())];
    assert_eq!(description.parameter_names, names);
    for (count, max_rows) in [
        (0, 0),
        (1, 0),
        (1, 1),
        (10, 3),
        (9, 3),
        (5_000, 0),
        (100, 1),
    ] {
        // A recursion has its first row always.
        let expected = i64::max(count, 1);
        let page = statement
            .query(&Parameters::from([count, 10]), max_rows, true)
            .await
            .expect("a page");
        assert_eq!(page.columns.expect("asked for").len(), 2);
        let mut rows: Vec<i64> = Vec::new();
        let mut take = |page: &millpond_pool::Rows| {
            rows.extend(page.iter().map(|row| match row.get(0) {
                Some(millpond_pool::ValueRef::Integer(i)) => i,
                other => panic!("{other:?}"),
            }));
            page.len()
        };
        take(&page.rows);
        if let Some(rest) = &page.rest {
            loop {
                let next = rest.next(max_rows).await.expect("more");
                if take(&next) == 0 {
                    break;
                }
            }
            assert!(rest.next(1).await.expect("the end, again").is_empty());
        }
        assert_eq!(rows, (1..=expected).collect::<Vec<_>>());
    }
    // A cursor is its own run's.
    let ten = Parameters::from([10, 1]);
    let first = statement.query(&ten, 1, false).await.expect("a page");
    let second = statement.query(&ten, 1, false).await.expect("a page");
    let (first, second) = (first.rest.expect("more"), second.rest.expect("more"));
    assert_eq!(kind(first.next(1).await), ErrorKind::StaleHandle);
    assert_eq!(second.next(0).await.expect("the rest").len(), 9);
    drop((first, second, statement, connection));
    close(pool).await;
}

#[tokio::test]
async fn a_large_cursor_in_a_transaction_has_the_stream_for_itself() {
    let Some(server) = Sqld::start() else { return };
    let pool = server
        .pool_of(PoolBuilder::new().max_page_bytes(4096))
        .await;
    let connection = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("made");
    let open = connection
        .begin(TransactionMode::Immediate)
        .await
        .expect("begun");
    connection
        .execute("INSERT INTO t VALUES (1)", &NONE)
        .await
        .expect("written");
    let statement = connection.prepare(SERIES).await.expect("compiled");
    let page = statement
        .query(&Parameters::from([50_000, 500]), 0, false)
        .await;
    let rest = page.expect("a page").rest.expect("more");
    assert!(!rest.next(10).await.expect("more").is_empty());
    let busy = connection.execute("INSERT INTO t VALUES (2)", &NONE).await;
    assert_eq!(kind(busy), ErrorKind::Busy);
    drop(rest);
    connection
        .execute("INSERT INTO t VALUES (3)", &NONE)
        .await
        .expect("it is free");
    open.commit().await.expect("committed");
    assert_eq!(
        value(&connection, "SELECT sum(a) FROM t").await,
        Value::Integer(4)
    );
    drop((statement, connection));
    close(pool).await;
}

#[tokio::test]
async fn rows_of_what_writes_are_read_like_any_other() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    let connection = get(&pool).await;
    connection
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("made");
    let insert = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
        WHERE i < 10) SELECT i FROM n RETURNING a";
    let statement = connection.prepare(insert).await.expect("compiled");
    let page = statement.query(&NONE, 4, false).await.expect("a page");
    let rest = page.rest.expect("more");
    assert_eq!(
        value(&connection, "SELECT count(*) FROM t").await,
        Value::Integer(10)
    );
    assert_eq!(rest.next(0).await.expect("the rest").len(), 6);
    drop((rest, statement, connection));
    close(pool).await;
}
