//! The memory limit of all pools together. In its own file, because it applies to the whole
//! process.

use millpond_pool::{Access, ErrorKind, Parameters, Pool, block_on};
use millpond_sqlite::{PoolBuilder, set_process_memory_limit};

static NONE: Parameters = Parameters::NONE;

#[test]
fn all_pools_together_take_no_more_than_the_process_may() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |name: &str| {
        PoolBuilder::new()
            .open(folder.path().join(name))
            .expect("a pool")
    };
    let pools = [open("a.db"), open("b.db")];
    let get = |pool: &Pool| pool.get_blocking(Access::ReadWrite).expect("a connection");
    let connections = [get(&pools[0]), get(&pools[1])];
    let count = |rows: u32| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {rows})
             SELECT count(*) FROM (SELECT DISTINCT hex(randomblob(500)) FROM n)"
        )
    };
    // About 25 MiB: within each connection's 64.
    let much = count(6_000);
    for connection in &connections {
        block_on(connection.query(&much, &NONE)).expect("there is memory");
    }
    set_process_memory_limit(8 << 20);
    for connection in &connections {
        let error = block_on(connection.query(&much, &NONE)).expect_err("too much");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        block_on(connection.query(&count(100), &NONE)).expect("a little");
    }
    set_process_memory_limit(1 << 30);
    for connection in &connections {
        block_on(connection.query(&much, &NONE)).expect("there is memory again");
    }
}
