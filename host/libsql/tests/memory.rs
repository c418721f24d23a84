//! How much memory a result takes: alone in its process, on a real server.

#[path = "server/sqld.rs"]
mod sqld;

use std::time::Duration;

use millpond_pool::{Access, ErrorKind, Grant, Parameters, Request};

use self::sqld::Sqld;

const ROWS: usize = 100_000;
const SERIES: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
    SELECT i, printf('%0*d', ?2, i) AS text FROM n";

/// How much memory the process has, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_usize) * 4096
}

#[tokio::test]
async fn a_result_of_any_size_takes_the_memory_of_a_page() {
    let Some(server) = Sqld::start() else { return };
    let pool = server.pool().await;
    // A machine that does much else takes its time.
    let grant = Grant::new(&pool, Access::ReadWrite).max_transaction_time(Duration::from_secs(60));
    let connection = grant.get(Access::ReadWrite, &Request::new()).await;
    let connection = connection.expect("a connection");
    // 50 MB: more than the server answers at once.
    let parameters = Parameters::from([ROWS as i64, 500]);
    let statement = connection.prepare(SERIES).await.expect("compiled");
    let page = statement
        .query(&parameters, 0, false)
        .await
        .expect("a page");
    let (mut rows, mut largest) = (page.rows.len(), page.rows.size());
    let rest = page.rest.expect("more");
    // Other calls go on beside it.
    let beside = connection.execute_script("CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    beside.await.expect("written");
    let before = resident();
    let mut most = before;
    loop {
        let next = rest.next(0).await.expect("more");
        if next.is_empty() {
            break;
        }
        rows += next.len();
        largest = largest.max(next.size());
        most = most.max(resident());
    }
    assert_eq!(rows, ROWS);
    assert!(largest < (1 << 20) + 1_000, "{largest}");
    assert!(most - before < 8 << 20, "grew by {} bytes", most - before);
    let whole = connection.query(SERIES, &parameters).await;
    assert_eq!(whole.expect_err("too large").kind(), ErrorKind::TooLarge);
    drop((rest, statement, connection));
    assert_eq!(pool.stats().in_use, 0);
}
