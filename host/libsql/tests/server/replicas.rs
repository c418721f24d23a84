//! A replica: a read on the same pool sees what was written before it.

use millpond_libsql::PoolBuilder;
use millpond_pool::{Access, ErrorKind, Parameters, TransactionMode, Value};

use crate::sqld::{Sqld, free_port};
use crate::{NONE, close, get, kind, value};

#[tokio::test]
async fn a_replica_shows_what_was_just_written_through_it() {
    let grpc = free_port().to_string();
    let Some(mut primary) = Sqld::start_with(&["--grpc-listen-addr", &grpc]) else {
        return;
    };
    let url = format!("http://{grpc}");
    let replica = Sqld::start_with(&["--primary-grpc-url", &url]).expect("as before");
    let pool = replica.pool_of(PoolBuilder::new().max_size(2)).await;
    let (writer, reader) = (
        get(&pool).await,
        pool.get(Access::ReadOnly).await.expect("one"),
    );
    writer
        .execute_script("CREATE TABLE t(a)")
        .await
        .expect("made");
    let mut expected = 0;
    for round in 0..200_i64 {
        match round % 3 {
            0 => {
                let one = Parameters::from([round]);
                let done = writer.execute("INSERT INTO t VALUES (?)", &one).await;
                assert_eq!(done.expect("written").changes, 1);
                expected += 1;
            }
            1 => {
                let open = writer
                    .begin(TransactionMode::Immediate)
                    .await
                    .expect("begun");
                writer
                    .execute("INSERT INTO t VALUES (1)", &NONE)
                    .await
                    .expect("written");
                let inside = value(&writer, "SELECT count(*) FROM t").await;
                assert_eq!(inside, Value::Integer(expected + 1));
                open.commit().await.expect("committed");
                expected += 1;
            }
            _ => {
                let insert = writer
                    .prepare("INSERT INTO t VALUES (?)")
                    .await
                    .expect("compiled");
                let rows = millpond_pool::Rows::from_rows([[1], [2]]).expect("rows");
                insert.execute_many(&rows).await.expect("written");
                expected += 2;
            }
        }
        // By another connection, which may be one of another guest.
        let seen = value(&reader, "SELECT count(*) FROM t").await;
        assert_eq!(seen, Value::Integer(expected), "round {round}");
    }
    let refused = reader.execute("INSERT INTO t VALUES (1)", &NONE).await;
    assert_eq!(kind(refused), ErrorKind::NotAuthorized);

    // Without the primary there are reads, and no write is told to be done.
    primary.kill();
    let seen = value(&reader, "SELECT count(*) FROM t").await;
    assert_eq!(seen, Value::Integer(expected));
    let lost = writer.execute("INSERT INTO t VALUES (1)", &NONE).await;
    let lost = kind(lost);
    assert!(
        matches!(lost, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown),
        "{lost:?}"
    );
    drop((writer, reader));
    close(pool).await;
}
