//! Backups at intervals: when they are made, which are kept, and what a failure stops.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use millpond_pool::{Access, ErrorKind, PoolsSettings};
use millpond_sqlite::backup::{BackupError, BackupOutcome, BackupSchedule, RunningSchedule};
use millpond_sqlite::migrations::Migrations;
use millpond_sqlite::{Folder, PoolBuilder};
use rusqlite::Connection;

const HOUR: Duration = Duration::from_secs(3600);
/// How long to wait for what will come, unless the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that only the test moves.
#[derive(Clone)]
struct Clock(Arc<Mutex<SystemTime>>);

impl Clock {
    /// 2026-11-27, at 18:43:42.
    fn new() -> Clock {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_805_022);
        Clock(Arc::new(Mutex::new(now)))
    }

    fn now(&self) -> SystemTime {
        *self.0.lock().expect("a clock")
    }

    fn forward(&self, time: Duration) {
        *self.0.lock().expect("a clock") += time;
    }

    fn back(&self, time: Duration) {
        *self.0.lock().expect("a clock") -= time;
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    clock: Clock,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["data", "backups"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let f = Fixture {
            folder,
            clock: Clock::new(),
        };
        PoolBuilder::new().open(f.database("app")).expect("a pool");
        f
    }

    fn database(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("data/{name}.db"))
    }

    fn backups(&self) -> PathBuf {
        self.folder.path().join("backups")
    }

    fn schedule(&self) -> BackupSchedule {
        self.with_clock(BackupSchedule::of(
            self.database("app"),
            self.backups(),
            HOUR,
        ))
    }

    fn with_clock(&self, schedule: BackupSchedule) -> BackupSchedule {
        let clock = self.clock.clone();
        schedule.clock(move || clock.now())
    }

    /// Start it. Each outcome arrives.
    fn start(&self, schedule: BackupSchedule) -> (RunningSchedule, Receiver<(String, bool)>) {
        let (made, outcomes) = channel();
        let schedule = schedule.on_backup(move |outcome| {
            let _ = made.send((outcome.database.clone(), outcome.result.is_ok()));
        });
        (schedule.start().expect("a thread"), outcomes)
    }
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.to_str().expect("text").to_owned()
    });
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

fn ok(outcomes: &[BackupOutcome]) -> bool {
    let mut outcomes = outcomes.iter();
    outcomes.all(|outcome| outcome.result.is_ok() && outcome.not_removed.is_empty())
}

#[test]
fn a_backup_is_made_when_it_is_due_also_across_restarts() {
    let f = Fixture::new();
    let (schedule, outcomes) = f.start(f.schedule());
    let made = |outcomes: &Receiver<(String, bool)>| {
        let outcome = outcomes.recv_timeout(PATIENCE).expect("a backup");
        assert!(outcome.1);
        names(&f.backups())
    };
    let first = "app-20261127T184342Z.db";
    assert_eq!(made(&outcomes), [first]);
    f.clock.forward(HOUR - Duration::from_secs(1));
    schedule.look();
    f.clock.forward(Duration::from_secs(1));
    schedule.look();
    let second = "app-20261127T194342Z.db";
    assert_eq!(made(&outcomes), [first, second]);
    schedule.stop();
    assert!(outcomes.try_recv().is_err());

    // Half an hour later, another program finds that none is due.
    f.clock.forward(HOUR / 2);
    let (schedule, outcomes) = f.start(f.schedule());
    f.clock.forward(HOUR / 2);
    schedule.look();
    let third = "app-20261127T204342Z.db";
    assert_eq!(made(&outcomes), [first, second, third]);

    // A clock that is set back does not stop backups, while the schedule runs or before it starts.
    f.clock.back(30 * HOUR);
    schedule.look();
    assert_eq!(made(&outcomes).len(), 4);
    drop(schedule);
    f.clock.back(30 * HOUR);
    let (schedule, outcomes) = f.start(f.schedule());
    assert_eq!(made(&outcomes).len(), 5);
    schedule.stop();
}

#[test]
fn only_surplus_backups_are_removed_and_nothing_else() {
    let f = Fixture::new();
    let others = [
        "app-20200101T000000Z.db-old",
        "app-latest.db",
        "app.db",
        "other-20200101T000000Z.db",
        "my-app-20200101T000000Z.db",
    ];
    for name in others {
        fs::write(f.backups().join(name), "not ours").expect("a file");
    }
    fs::create_dir(f.backups().join("app-20200101T000000Z.db")).expect("a folder");
    // What a crash has left.
    fs::write(f.backups().join(".app-20200101T000000Z.db.part"), "half").expect("a file");
    let mut schedule = f.schedule().keep_last(3).keep_days(3);
    let mut removed = 0;
    for _ in 0..80 {
        let outcomes = schedule.run_once();
        assert!(ok(&outcomes), "{outcomes:?}");
        removed += outcomes[0].removed.len();
        f.clock.forward(HOUR);
    }
    // 79 hours after the first, it is 01:43 on 1 December.
    let mut kept = names(&f.backups());
    kept.retain(|name| !others.contains(&name.as_str()));
    assert_eq!(
        kept,
        [
            // The folder.
            "app-20200101T000000Z.db",
            "app-20261129T234342Z.db",
            "app-20261130T234342Z.db",
            "app-20261201T004342Z.db",
            "app-20261201T014342Z.db",
        ]
    );
    assert_eq!(removed, 80 - 4);
    for name in others {
        assert!(f.backups().join(name).exists(), "{name}");
    }
}

#[test]
fn a_failure_is_reported_keeps_older_backups_and_the_next_one_is_made() {
    let f = Fixture::new();
    let mut schedule = f.schedule().keep_last(1);
    assert!(ok(&schedule.run_once()));
    let first = names(&f.backups());
    let moved = f.database("moved");
    fs::rename(f.database("app"), &moved).expect("moved");
    f.clock.forward(HOUR);
    let outcomes = schedule.run_once();
    assert!(
        matches!(outcomes[0].result, Err(BackupError::Database(_))),
        "{outcomes:?}"
    );
    assert_eq!(names(&f.backups()), first);

    // On its thread, it tries again after the interval, and not before.
    let (schedule, outcomes) = f.start(f.schedule().keep_last(1));
    let next = || outcomes.recv_timeout(PATIENCE).expect("an outcome").1;
    assert!(!next());
    schedule.look();
    fs::rename(&moved, f.database("app")).expect("moved");
    f.clock.forward(HOUR);
    schedule.look();
    assert!(next());
    schedule.stop();
    assert_eq!(names(&f.backups()), ["app-20261127T204342Z.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tenant_is_backed_up_though_one_fails() {
    let f = Fixture::new();
    let note = Migrations::from_texts([("1-note.sql", "CREATE TABLE note(n);")]);
    let tenants = Folder::open(f.folder.path().join("data"))
        .expect("a folder")
        .create(true)
        .migrations(note.expect("a migration"))
        .pools(PoolsSettings::new(2))
        .expect("pools");
    for key in ["a", "b", "c"] {
        let pool = tenants.get(key).await.expect("a pool");
        let connection = pool.get(Access::ReadWrite).await.expect("a connection");
        let insert = connection
            .execute_script("INSERT INTO note VALUES (1)")
            .await;
        insert.expect("a row");
    }
    fs::write(
        f.database("broken"),
        "not a database, of more than a few bytes".repeat(20),
    )
    .expect("a file");
    fs::write(f.database("Not-a-key"), "").expect("a file");
    let folder = BackupSchedule::of_folder(f.folder.path().join("data"), f.backups(), HOUR);
    let mut schedule = f.with_clock(folder).keep_last(2);
    // Once it has failed, it comes last, because it may take longest.
    for order in [
        ["a", "app", "b", "broken", "c"],
        ["a", "app", "b", "c", "broken"],
        ["a", "app", "b", "c", "broken"],
    ] {
        let outcomes = schedule.run_once();
        let made: Vec<_> = outcomes
            .iter()
            .map(|o| (o.database.as_str(), o.result.is_ok()))
            .collect();
        assert_eq!(made, order.map(|key| (key, key != "broken")));
        f.clock.forward(HOUR);
    }
    assert_eq!(names(&f.backups()), ["a", "app", "b", "broken", "c"]);
    for key in ["a", "b", "c"] {
        let folder = f.backups().join(key);
        let expected = [
            format!("{key}-20261127T194342Z.db"),
            format!("{key}-20261127T204342Z.db"),
        ];
        assert_eq!(names(&folder), expected);
        let copy = Connection::open(folder.join(&expected[1])).expect("a database");
        let rows = copy.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0));
        assert_eq!(rows, Ok(1));
    }
    assert!(names(&f.backups().join("broken")).is_empty());

    // A tenant that is added later is found.
    let folder = BackupSchedule::of_folder(f.folder.path().join("data"), f.backups(), HOUR);
    let (running, outcomes) = f.start(f.with_clock(folder));
    let due = (0..5).map(|_| outcomes.recv_timeout(PATIENCE).expect("an outcome").0);
    assert_eq!(due.collect::<Vec<_>>(), ["a", "app", "b", "broken", "c"]);
    drop(tenants.get("d").await.expect("a pool"));
    f.clock.forward(HOUR);
    running.look();
    let due = (0..6).map(|_| outcomes.recv_timeout(PATIENCE).expect("an outcome").0);
    assert_eq!(
        due.collect::<Vec<_>>(),
        ["a", "app", "b", "c", "d", "broken"]
    );
    running.stop();
    tenants.close(Duration::ZERO).await;
}

/// An index makes the check of one compute for seconds.
#[test]
fn a_tenant_cannot_hold_up_the_others() {
    let f = Fixture::new();
    let hostile = Connection::open(f.database("app")).expect("a database");
    let sql = "CREATE TABLE t(a TEXT);
        WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 500)
        INSERT INTO t SELECT hex(zeroblob(5000)) FROM r;
        CREATE INDEX i ON t(length(replace(replace(a, '0', '00000000'), '0', '00000000')))";
    hostile.execute_batch(sql).expect("a schema");
    drop(hostile);
    PoolBuilder::new()
        .open(f.database("other"))
        .expect("a pool");
    let folder = BackupSchedule::of_folder(f.folder.path().join("data"), f.backups(), HOUR);
    let outcomes = f
        .with_clock(folder)
        .max_check_time(Duration::from_millis(300))
        .run_once();
    match &outcomes[0].result {
        Err(BackupError::Database(error)) => {
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(outcomes[1].result.is_ok(), "{outcomes:?}");
}

#[test]
fn a_folder_that_is_missing_is_reported() {
    let f = Fixture::new();
    let mut none = BackupSchedule::of_folder(f.folder.path().join("no"), f.backups(), HOUR);
    assert!(matches!(
        none.run_once()[0].result,
        Err(BackupError::File { .. })
    ));
    let mut nowhere = BackupSchedule::of(f.database("app"), f.folder.path().join("no"), HOUR);
    assert!(nowhere.run_once()[0].result.is_err());
}

/// Stopping does not wait for a backup that is being made: here one that waits for a lock.
#[test]
fn a_backup_that_is_being_made_is_discarded_when_the_schedule_stops() {
    let f = Fixture::new();
    let lock = Connection::open(f.database("app")).expect("a database");
    let sql = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
    lock.execute_batch(sql).expect("a lock");
    let (schedule, outcomes) = f.start(f.schedule());
    let part = f.backups().join(".app-20261127T184342Z.db.part");
    let begun = Instant::now();
    while !part.exists() {
        assert!(begun.elapsed() < PATIENCE, "it has not begun");
        std::thread::yield_now();
    }
    let stopping = Instant::now();
    schedule.stop();
    // Far less than it waits for the lock.
    assert!(stopping.elapsed() < Duration::from_secs(10));
    assert!(!outcomes.recv().expect("an outcome").1);
    assert!(names(&f.backups()).is_empty(), "{:?}", names(&f.backups()));
}
