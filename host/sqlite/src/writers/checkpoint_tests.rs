//! Steps of the thread, one at a time: what others do between two of them is certain.

use millpond_pool::clock::NEVER;
use rusqlite::ErrorCode;

use super::*;

const LOOKS: u32 = 5;

/// The thread of a new database, with upkeep to do.
fn with_thread(steps: impl FnOnce(&Checkpoints, &mut Checkpointer<'_>)) {
    let folder = tempfile::tempdir().expect("a folder");
    let location = Location::path(&folder.path().join("app.db")).expect("a name");
    location.create(false).expect("a file");
    location.remember();
    let (location, settings) = (Arc::new(location), Settings::default());
    let opened = location.open(&settings, Arc::default(), NEVER);
    let shared = Checkpoints::new(location, settings, TurnQueue::new());
    let mut thread = Checkpointer::new(&shared, opened.expect("a connection"));
    thread.quiet_looks = LOOKS;
    steps(&shared, &mut thread);
}

#[test]
fn upkeep_is_done_when_no_one_reads_or_writes() {
    with_thread(|shared, thread| {
        let reader = Arc::new(Watch::new(Arc::default(), Duration::ZERO));
        shared.add(&reader);
        reader.start_reading();
        // The first time, because the read has begun since; then, because it has not ended.
        thread.keep_up();
        thread.keep_up();
        assert_eq!(thread.quiet_looks, LOOKS - 2);
        reader.end_reading();
        thread.keep_up();
        assert_eq!(thread.quiet_looks, LOOKS - 3);
        let turn = shared.turns().try_take(RequestId::new()).expect("a turn");
        thread.keep_up();
        assert_eq!(thread.quiet_looks, LOOKS - 4);
        drop(turn);
        thread.keep_up();
        assert_eq!(thread.quiet_looks, 0);
    });
    with_thread(|_, thread| {
        thread.keep_up();
        assert_eq!(thread.quiet_looks, 0);
    });
}

#[test]
fn after_upkeep_the_connection_still_stops_when_it_must() {
    const COUNT: &str =
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 100000)
        SELECT count(*) FROM n";
    with_thread(|_, thread| {
        thread.keep_up();
        assert_eq!(thread.quiet_looks, 0);
        let opened = &thread.opened;
        let _scope = opened.memory.enter();
        let count = || opened.conn.query_row(COUNT, [], |row| row.get::<_, i64>(0));
        assert_eq!(opened.authorizer.trusting(count), Ok(100_000));
        opened.watch.start(NEVER, 10);
        let stopped = opened
            .authorizer
            .trusting(count)
            .expect_err("it is stopped");
        let code = stopped.sqlite_error_code();
        assert_eq!(code, Some(ErrorCode::OperationInterrupted));
    });
}
