//! Answers that are none: whatever bytes come, a call ends with an error and the pool goes on.

use millpond_libsql::PoolBuilder;
use millpond_pool::{ErrorKind, Rows, TransactionMode};

use crate::server::{Play, Server};
use crate::wire::Writer;
use crate::{NONE, READ, WRITE, close, get, kind, pool_of};

/// Bytes that look like an answer, each time others.
fn garbage(seed: u64) -> Vec<u8> {
    // A xorshift generator: the same bytes in each run.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut answer = Writer::default();
    answer.bytes(1, b"baton");
    for _ in 0..next() % 4 {
        answer.message(3, |result| {
            result.message(1 + next() % 2, |response| {
                response.message(1 + next() % 8, |inner| {
                    for _ in 0..next() % 6 {
                        match next() % 4 {
                            0 => inner.varint(1 + next() % 9, next()),
                            1 => inner.bytes(1 + next() % 9, &next().to_le_bytes()),
                            2 => inner.double(1 + next() % 9, f64::from_bits(next())),
                            _ => inner.message(1 + next() % 3, |deep| {
                                deep.message(1 + next() % 3, |deep| deep.varint(1, next()));
                            }),
                        }
                    }
                });
            });
        });
    }
    let mut bytes = answer.into_bytes();
    for _ in 0..next() % 3 {
        let at = next() as usize % bytes.len();
        bytes[at] = next() as u8;
    }
    let length = bytes.len() as u64;
    bytes.truncate((next() % (length * 2)).min(length) as usize);
    bytes
}

#[tokio::test]
async fn no_bytes_make_it_panic_or_hang() {
    let server = Server::start().await;
    let pool = pool_of(&server, PoolBuilder::new().max_size(1)).await;
    let rows = Rows::from_rows([[1], [2]]).expect("rows");
    for seed in 0..400 {
        let connection = get(&pool).await;
        let statement = connection
            .prepare("INSERT INTO t VALUES (?)")
            .await
            .expect("compiled");
        let text = ["INSERT", "SELECT", "CREATE"][seed as usize % 3];
        server.play(text, Play::Bytes(garbage(seed)));
        let open = match seed % 2 {
            0 => Some(
                connection
                    .begin(TransactionMode::Deferred)
                    .await
                    .expect("begun"),
            ),
            _ => None,
        };
        // What they answer does not matter here: that they do.
        let _ = connection.query(READ, &NONE).await;
        let _ = connection.execute(WRITE, &NONE).await;
        let _ = statement.execute_many(&rows).await;
        let _ = connection
            .execute_script("CREATE TABLE x(a); CREATE TABLE y(a)")
            .await;
        if let Some(open) = open {
            let _ = open.commit().await;
        }
        drop((statement, connection));
    }
    let connection = get(&pool).await;
    connection.execute(WRITE, &NONE).await.expect("as ever");
    drop(connection);
    close(pool).await;
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let server = Server::start().await;
    let builder = PoolBuilder::new().max_result_bytes(64 << 10);
    let pool = pool_of(&server, builder).await;
    let connection = get(&pool).await;
    let huge = b"HTTP/1.1 200 so\r\ncontent-length: 1000000000000\r\n\r\n";
    server.play(READ, Play::Raw(huge.to_vec()));
    assert_eq!(
        kind(connection.query(READ, &NONE).await),
        ErrorKind::TooLarge
    );
    let mut chunks = b"HTTP/1.1 200 so\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..40 {
        chunks.extend(b"10000\r\n");
        chunks.extend([0x0a; 0x10000]);
        chunks.extend(b"\r\n");
    }
    server.play(READ, Play::Raw(chunks));
    assert_eq!(
        kind(connection.query(READ, &NONE).await),
        ErrorKind::TooLarge
    );
    connection.query(READ, &NONE).await.expect("as ever");
    drop(connection);
    close(pool).await;
}
