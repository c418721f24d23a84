//! An instance that has kept its file's lock for too long does not touch the file any more, because
//! another may have it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use millpond_tests::foreach_bundle;
use wasmtime::component::Component;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{HostWallClock, WasiCtxBuilder};

use super::{Clock, Place, native, run, run_with};
use crate::assert_test_exists;

foreach_bundle!(assert_test_exists);

/// More than SQLite keeps in memory, so that a transaction writes to the file before it ends.
const TABLE: &str = "CREATE TABLE t(a TEXT, filler BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    INSERT INTO t SELECT 'before', zeroblob(1000) FROM n";
/// What the other instance commits. The file becomes longer.
const OTHER: &str = "UPDATE t SET a = 'other', filler = zeroblob(1100)";
const LOCK: &str = "default.db.lock";
const JOURNAL: &str = "default.db-journal";

/// The output of a guest, which is paused when it writes `pause`.
#[derive(Clone)]
struct Pausing {
    pipe: MemoryOutputPipe,
    pause: Arc<Mutex<Option<Pause>>>,
}

type Pause = Box<dyn FnOnce() + Send>;

impl IsTerminal for Pausing {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pausing {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        self.pipe.async_stream()
    }
}

impl OutputStream for Pausing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.starts_with(b"pause") {
            let pause = self.pause.lock().expect("it").take();
            let pause = pause.expect("one pause");
            // Another guest runs meanwhile, and one thread cannot run both.
            std::thread::spawn(pause).join().expect("the pause");
            return Ok(());
        }
        self.pipe.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(1 << 10)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pausing {
    async fn ready(&mut self) {}
}

/// The files of a folder and their contents; a folder has none.
fn files(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read(entry.path()).ok())
    };
    entries.map(file).collect()
}

/// What happens while a guest is paused: 13 seconds pass, another instance runs `sql` and ends, and
/// then `meanwhile` runs.
fn pause(
    place: &Place,
    folder: &Path,
    sql: &'static str,
    clock: &Clock,
    meanwhile: impl FnOnce() + Send + 'static,
) -> Pause {
    let (engine, clock, folder) = (place.engine.clone(), clock.clone(), folder.to_owned());
    let other = place.shared("clean_plant");
    Box::new(move || {
        assert!(folder.join(LOCK).exists(), "the guest has the file");
        clock.forward(Duration::from_secs(13));
        let wrote = run(&engine, &other, &folder, &[sql], &clock);
        assert_eq!(wrote.as_deref(), Ok("Ok(())\n"));
        meanwhile();
    })
}

/// Runs the guest, which is paused. `set` changes its surroundings. Returns what the guest said.
fn paused(
    place: &Place,
    guest: &Component,
    folder: &Path,
    args: &[&str],
    set: impl FnOnce(&mut WasiCtxBuilder),
    meanwhile: impl FnOnce() + Send + 'static,
) -> String {
    let clock = Clock::default();
    let pause = pause(place, folder, OTHER, &clock, meanwhile);
    let said = run_with(&place.engine, guest, folder, args, &clock, |wasi, pipe| {
        wasi.stdout(Pausing {
            pipe,
            pause: Arc::new(Mutex::new(Some(pause))),
        });
        set(wasi);
    });
    said.expect("the guest succeeds")
}

/// A third instance begins to write, and has the lock. Returns the files as they are then.
fn a_third_writes(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    fs::create_dir(folder.join(LOCK)).expect("its lock");
    fs::write(folder.join(JOURNAL), "its journal").expect("its journal");
    files(folder)
}

/// How many rows have this in their first column.
pub(super) fn count(folder: &Path, a: &str) -> u32 {
    let database = native(folder);
    let ok = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(ok.as_deref(), Ok("ok"));
    let count = database.query_row("SELECT count(*) FROM t WHERE a = ?1", [a], |row| row.get(0));
    count.expect("the table")
}

#[test]
fn bundle_does_as_told() {
    const LOST: &str = "ErrorKind::StaleHandle, rolled back: true\n";
    const CURSOR_LOST: &str = "ErrorKind::StaleHandle, rolled back: false\n";
    let Some(place) = Place::new() else { return };
    let guest = place.shared("bundle_does_as_told");
    let template = place.database("template", TABLE);
    for (what, how, said) in [
        ("transaction", "commit", [LOST, LOST].concat()),
        ("transaction", "rollback", ["ok\n", LOST].concat()),
        ("transaction", "drop", LOST.to_owned()),
        ("transaction", "text", [LOST, LOST].concat()),
        ("transaction", "read", [LOST, LOST].concat()),
        ("transaction", "return", String::new()),
        ("transaction", "close", String::new()),
        ("transaction", "end", String::new()),
        ("cursor", "next", [CURSOR_LOST, CURSOR_LOST].concat()),
        ("cursor", "drop", CURSOR_LOST.to_owned()),
        ("cursor", "again", [CURSOR_LOST, CURSOR_LOST].concat()),
        ("cursor", "statement", CURSOR_LOST.to_owned()),
    ] {
        let folder = place.database(&format!("{what} {how}"), "");
        fs::copy(template.join("default.db"), folder.join("default.db")).expect("a database");
        let left = Arc::new(Mutex::new(BTreeMap::new()));
        let meanwhile = {
            let (folder, left) = (folder.clone(), Arc::clone(&left));
            move || *left.lock().expect("it") = a_third_writes(&folder)
        };
        let heard = paused(&place, &guest, &folder, &[what, how], |_| (), meanwhile);
        assert_eq!(heard, said, "{what} {how}");
        let is_same = files(&folder) == *left.lock().expect("it");
        assert!(is_same, "{what} {how}: the guest has changed a file");
        fs::remove_file(folder.join(JOURNAL)).expect("the journal");
        assert_eq!(count(&folder, "other"), 5000, "{what} {how}");
    }
}

#[test]
fn a_guest_that_lost_its_connection_gets_another() {
    let Some(place) = Place::new() else { return };
    let guest = place.shared("bundle_does_as_told");
    let folder = place.database("another", TABLE);
    // The machine sleeps, and only one clock goes on.
    let stopped = |wasi: &mut WasiCtxBuilder| _ = wasi.monotonic_clock(Clock::default());
    let said = paused(&place, &guest, &folder, &["get another"], stopped, || ());
    assert_eq!(said.lines().last(), Some("ok"), "{said}");
    assert!(!folder.join(LOCK).exists());
    let rows = ["other", "another", "guest"].map(|a| count(&folder, a));
    assert_eq!(rows, [5000, 1, 0]);
}

/// A clock that does something each time that it is read.
struct Watching<F>(Clock, F);

impl<F: Fn() + Send + 'static> HostWallClock for Watching<F> {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.1();
        HostWallClock::now(&self.0)
    }
}

/// Does `once` as soon as the guest, which looks at this clock, has begun to write.
fn when_it_writes(
    clock: &Clock,
    folder: &Path,
    once: impl FnOnce() + Send + 'static,
) -> impl HostWallClock + 'static {
    let journal = folder.join(JOURNAL);
    let once = Mutex::new(Some(once));
    Watching(clock.clone(), move || {
        if journal.exists()
            && let Some(once) = once.lock().expect("it").take()
        {
            // Another guest runs meanwhile, and one thread cannot run both.
            std::thread::spawn(once).join().expect("it");
        }
    })
}

/// Takes long, but ends. Stopped, it has written to the file: its rows do not fit into memory.
const LONG: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000)
    INSERT INTO t SELECT i FROM n";

#[test]
fn a_call_that_was_suspended_does_not_go_on() {
    let Some(place) = Place::new() else { return };
    let guest = place.shared("clean_plant");
    for (number, sql) in [LONG, "INSERT INTO t VALUES ('guest')"]
        .into_iter()
        .enumerate()
    {
        let folder = place.database(&format!("suspended{number}"), "CREATE TABLE t(a)");
        let clock = Clock::default();
        let left = Arc::new(Mutex::new(BTreeMap::new()));
        let meanwhile = {
            let (folder, left) = (folder.clone(), Arc::clone(&left));
            move || *left.lock().expect("it") = a_third_writes(&folder)
        };
        let other = "INSERT INTO t VALUES ('other')";
        let suspended = pause(&place, &folder, other, &clock, meanwhile);
        let watching = when_it_writes(&clock, &folder, suspended);
        let said = run_with(&place.engine, &guest, &folder, &[sql], &clock, |wasi, _| {
            wasi.wall_clock(watching);
        });
        let said = said.expect_err("a trap");
        assert!(said.contains("unreachable"), "{said}");
        let is_same = files(&folder) == *left.lock().expect("it");
        assert!(is_same, "{sql}: the guest has changed a file");
        fs::remove_file(folder.join(JOURNAL)).expect("the journal");
        assert_eq!(count(&folder, "other"), 1, "{sql}");
        assert_eq!(count(&folder, "guest"), 0, "{sql}");
    }
}

#[test]
fn the_time_of_a_script_counts_after_a_rollback_too() {
    let Some(place) = Place::new() else { return };
    let guest = place.shared("clean_plant");
    let folder = place.database("script", "CREATE TABLE t(a)");
    let clock = Clock::default();
    let watching = {
        let forward = clock.clone();
        when_it_writes(&clock, &folder, move || {
            forward.forward(Duration::from_secs(10))
        })
    };
    let script = format!("BEGIN IMMEDIATE; ROLLBACK; {LONG}");
    let said = run_with(
        &place.engine,
        &guest,
        &folder,
        &[&script],
        &clock,
        |wasi, _| {
            wasi.wall_clock(watching);
        },
    );
    let said = said.expect("the guest ends");
    assert!(said.contains("DeadlineExceeded"), "{said}");
    assert!(!folder.join(LOCK).exists());
}

#[test]
fn a_lock_that_is_new_is_not_taken_for_the_stale_one_before() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Lock {
        Stale,
        Replaced,
        Released,
    }
    let Some(place) = Place::new() else { return };
    let component = place.shared("cli_counts_visits");
    let folder = place.database("replaced", "");
    let lock = folder.join(LOCK);
    let is_taken_over = folder.join("default.db.lock.takeover");
    fs::create_dir(&lock).expect("a lock");
    let minute = Duration::from_secs(60);
    let folder_of_lock = File::open(&lock).expect("the lock");
    folder_of_lock
        .set_modified(SystemTime::now() - minute)
        .expect("its age");
    let state = Arc::new(Mutex::new(Lock::Stale));
    let watch = {
        let state = Arc::clone(&state);
        move || {
            let mut state = state.lock().expect("it");
            match (*state, is_taken_over.exists()) {
                // The guest has looked at the stale lock: another instance replaces it.
                (Lock::Stale, true) => {
                    fs::remove_dir(&lock).expect("the stale lock");
                    fs::create_dir(&lock).expect("a new lock");
                    *state = Lock::Replaced;
                }
                // The guest waits again.
                (Lock::Replaced, false) => {
                    fs::remove_dir(&lock).expect("the new lock");
                    *state = Lock::Released;
                }
                _ => {}
            }
        }
    };
    let clock = Clock::default();
    let said = run_with(
        &place.engine,
        &component,
        &folder,
        &[],
        &clock,
        |wasi, _| {
            wasi.wall_clock(Watching(Clock::default(), watch));
        },
    );
    assert_eq!(said.as_deref(), Ok("1 visits\n"));
    assert_eq!(*state.lock().expect("it"), Lock::Released);
    let names: Vec<_> = files(&folder).into_keys().collect();
    assert_eq!(names, ["default.db"]);
}
