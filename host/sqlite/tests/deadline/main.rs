//! Statements that SQLite does not stop by itself end at their deadline, and block no other task.
//!
//! To see how late each ends in optimised code, run `cargo test --release -p millpond-sqlite --test
//! deadline -- --nocapture`. `MILLPOND_LATE=name` runs only those whose name contains it.

mod attacks;
mod made_up;
mod outcomes;
mod runtime;

use std::path::Path;
use std::time::{Duration, Instant};

use bolero::check;
use millpond_pool::{
    Access, Connection, ErrorKind, Grant, Parameters, Pool, Request, Result, TransactionMode,
    Value, block_on,
};
use millpond_sqlite::{PoolBuilder, Synchronous};

use self::attacks::{Attack, attack, compiling, full_text, schemas, straight};
use self::made_up::Choices;

/// How long each statement may take, and how much longer it takes at most. Unoptimised, a call is
/// abandoned 200 ms after its deadline instead of 20.
const TIME: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 });

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

static NONE: Parameters = Parameters::NONE;

/// A pool of one connection, and the guest's grant.
struct Fixture {
    _folder: tempfile::TempDir,
    pool: Pool,
    grant: Grant,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|_| ())
    }

    /// In a folder where `prepare` has put what it needs.
    fn with(prepare: impl FnOnce(&Path)) -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("app.db");
        prepare(&path);
        let pool = PoolBuilder::new()
            .max_size(1)
            // A commit takes as long as the disk takes to sync.
            .synchronous(Synchronous::Normal)
            .open(path)
            .expect("a pool");
        Fixture {
            _folder: folder,
            grant: Grant::new(&pool, Access::ReadWrite).temporary(true),
            pool,
        }
    }

    fn get(&self, time: Duration) -> Connection {
        let grant = self.grant.clone().max_statement_time(time);
        let connection = block_on(grant.get(Access::ReadWrite, &Request::new()));
        connection.expect("a connection")
    }

    /// Attack with a short deadline. Returns how late it ended, and the result.
    fn attack(&self, attack: &Attack, time: Duration) -> (Duration, Result<usize>) {
        let connection = self.get(Duration::from_secs(600));
        block_on(connection.execute_script(attack.before)).expect(attack.name);
        let parameters = Parameters::from(attack.parameters.clone());
        let since = Instant::now();
        connection.set_deadline(Some(since + time));
        let result = block_on(connection.query(&attack.sql, &parameters));
        let late = since.elapsed().saturating_sub(time);
        // The connection is as good as before, or gone.
        connection.set_deadline(None);
        match block_on(connection.query("SELECT 1", &NONE)) {
            Ok(after) => assert_eq!(after.rows, [[Value::Integer(1)]]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StaleHandle, "{error}");
                assert!(self.pool.stats().abandoned > 0);
            }
        }
        (late, result.map(|table| table.rows.len()))
    }
}

#[test]
fn a_statement_ends_at_its_deadline_whatever_it_does() {
    let too_late: Vec<_> = attacks()
        .filter_map(|attack| always_late(LATE, || run(&attack)))
        .collect();
    assert!(too_late.is_empty(), "{too_late:#?}");
}

/// All attacks, or those that the environment names.
fn attacks() -> impl Iterator<Item = Attack> {
    let only = std::env::var("MILLPOND_LATE").unwrap_or_default();
    let all = [full_text(), compiling(), schemas(), straight()];
    let all = all.into_iter().flatten();
    all.filter(move |attack| attack.name.contains(&only))
}

/// How late an attack ended, and what else there is to say of it.
fn run(attack: &Attack) -> (Duration, String) {
    let f = Fixture::new();
    let connection = f.get(Duration::from_secs(600));
    block_on(connection.execute_script(&attack.setup)).expect(attack.name);
    drop(connection);
    let (late, result) = f.attack(attack, TIME);
    let what = format!("{}: {late:.1?} late, {result:?}", attack.name);
    let since = Instant::now();
    drop(f.get(TIME));
    println!(
        "{what}; its connection is free after {:.1?}",
        since.elapsed()
    );
    if let Err(error) = &result {
        use ErrorKind::{DeadlineExceeded, QuotaExceeded, TooLarge};
        assert!(
            matches!(error.kind(), DeadlineExceeded | TooLarge | QuotaExceeded),
            "{what}"
        );
    }
    (late, what)
}

/// The description of a run that was later than `limit` three times in a row. A busy machine can
/// delay one run, but rarely three; a statement that does not stop is late every time.
fn always_late(limit: Duration, mut run: impl FnMut() -> (Duration, String)) -> Option<String> {
    let mut last = None;
    for _ in 0..3 {
        let (late, what) = run();
        if late <= limit {
            return None;
        }
        last = Some(what);
    }
    last
}

/// How many pages [`large_table`] has.
const PAGES: i64 = 250_000;

/// Create a table `t` with so many pages that an instruction for all of them takes 0.05 s or more.
fn large_table(path: &Path) {
    // Small pages, because the time depends on their number.
    let script = format!(
        "PRAGMA page_size = 512; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         CREATE TABLE t(a);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {PAGES})
         INSERT INTO t SELECT zeroblob(450) FROM n"
    );
    let plain = rusqlite::Connection::open(path).expect("a file");
    plain.execute_batch(&script).expect("a table");
}

/// Each works through every page of the table, most in one instruction.
#[test]
fn one_instruction_over_a_large_table_ends_at_its_deadline() {
    let f = Fixture::with(large_table);
    for sql in [
        "SELECT count(*) FROM t",
        "DELETE FROM t",
        "DROP TABLE t",
        "PRAGMA integrity_check",
        "CREATE INDEX i ON t(a)",
    ] {
        let attack = attack("large table", "", sql);
        let late = always_late(LATE, || {
            let (late, result) = f.attack(&attack, Duration::from_millis(10));
            println!("{sql}: {late:.1?} late, {result:?}");
            let error = result.expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{sql}: {error}");
            (late, format!("{sql}: {late:.1?}"))
        });
        assert_eq!(late, None);
    }
    let connection = f.get(Duration::from_secs(600));
    let count = block_on(connection.query("SELECT count(*) FROM t", &NONE)).expect("all rows");
    assert_eq!(count.rows, [[Value::Integer(PAGES)]]);
}

/// A statement after a rollback, or a failed transaction, has no more time than any other.
#[test]
fn no_statement_escapes_its_deadline_behind_a_rollback() {
    let f = Fixture::new();
    for script in [
        format!("BEGIN; ROLLBACK; {ENDLESS}"),
        format!("BEGIN; SAVEPOINT s; ROLLBACK TO s; {ENDLESS}"),
        format!("BEGIN; COMMIT; {ENDLESS}"),
        format!(
            "CREATE TEMP TABLE IF NOT EXISTS t(a UNIQUE); BEGIN; ROLLBACK; BEGIN; ROLLBACK; {ENDLESS}"
        ),
    ] {
        let connection = f.get(TIME);
        let error = block_on(connection.execute_script(&script)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{script}");
        let _ = block_on(connection.execute("ROLLBACK", &NONE));
        let error = block_on(connection.query(ENDLESS, &NONE)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "after {script}");
        // By its handle too.
        let transaction = block_on(connection.begin(TransactionMode::Immediate)).expect("begun");
        block_on(transaction.rollback()).expect("rolled back");
        let error = block_on(connection.query(ENDLESS, &NONE)).expect_err("endless");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "after {script}");
    }
}

/// Any SQL, on any schema and data that it has created itself: only the time counts. To run it for
/// longer, set `BOLERO_RANDOM_TEST_TIME_MS`, as in `fuzz.rs`, with `--release`.
#[test]
fn no_generated_statement_is_late() {
    check!().with_type::<Vec<(u8, u16)>>().for_each(|choices| {
        let late = always_late(LATE, || latest(choices));
        assert_eq!(late, None);
    });
}

/// The latest of the generated statements.
fn latest(choices: &[(u8, u16)]) -> (Duration, String) {
    let f = Fixture::new();
    let mut choices = Choices(choices.iter());
    let each = (0..4).map(|_| {
        let sql = choices.statement();
        let sql = &sql[..sql.floor_char_boundary(100_000)];
        let (late, result) = f.attack(&attack("made up", "", sql), TIME);
        let begin = &sql[..sql.floor_char_boundary(2_000)];
        (late, format!("{late:?} late: {result:?}: {begin}"))
    });
    each.max_by_key(|(late, _)| *late).expect("four of them")
}
