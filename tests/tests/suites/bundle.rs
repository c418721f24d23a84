//! Guests that `millpond bundle` has composed with SQLite run on WASI alone: no linker here defines
//! `millpond:sqlite`.
//!
//! The suite needs the provider. Build it with `guest/provider/build FILE`, which needs clang, and
//! set `MILLPOND_PROVIDER=FILE`. Without it the suite passes without running.

mod answers;
mod late;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use millpond_tests::{
    component, foreach_contract, foreach_guest, foreach_handles, foreach_transactions,
};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, OptLevel, Store};
use wasmtime_wasi::p2::bindings::sync;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{
    FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};

use crate::clean::leaks;

/// The provider, if the environment names one. If not, says once how to get it.
fn provider() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let provider = std::env::var_os("MILLPOND_PROVIDER").map(PathBuf::from);
    if provider.is_none() {
        assert!(
            std::env::var_os("MILLPOND_REQUIRE_PROVIDER").is_none(),
            "MILLPOND_REQUIRE_PROVIDER is set, and MILLPOND_PROVIDER is not"
        );
        SAID.call_once(|| {
            // Not with a macro: the harness captures the output of a passing test.
            let _ = writeln!(
                std::io::stderr(),
                "the suite `bundle` did not run: `guest/provider/build FILE`, and set \
                 MILLPOND_PROVIDER=FILE"
            );
        });
    }
    provider
}

/// There are many bundles, each with SQLite in it, and each runs for a moment: compile them
/// quickly.
fn engine() -> Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
        let mut config = Config::new();
        config.cranelift_opt_level(OptLevel::None);
        Engine::new(&config).expect("an engine")
    });
    ENGINE.clone()
}

/// A folder with bundled guests and a database, and what runs them.
struct Place {
    engine: Engine,
    provider: PathBuf,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Option<Place> {
        Some(Place {
            provider: provider()?,
            engine: engine(),
            folder: tempfile::tempdir().expect("a folder"),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Bundle a program.
    fn bundle(&self, program: &str) -> PathBuf {
        let output = self.path(&format!("{program}.wasm"));
        let code = bundle(component(program), &output, &self.provider);
        assert_eq!(code, ExitCode::SUCCESS, "{program}");
        output
    }

    fn load(&self, program: &str) -> Component {
        Component::from_file(&self.engine, self.bundle(program)).expect("a component")
    }

    /// Like `load`, of a program that several tests run.
    fn shared(&self, program: &'static str) -> Component {
        static LOADED: Mutex<BTreeMap<&str, Component>> = Mutex::new(BTreeMap::new());
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let component = loaded.entry(program).or_insert_with(|| self.load(program));
        component.clone()
    }

    /// A new folder for a database, with these tables.
    fn database(&self, name: &str, sql: &str) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir(&folder).expect("a folder");
        if !sql.is_empty() {
            native(&folder).execute_batch(sql).expect("tables");
        }
        folder
    }

    fn run(&self, component: &Component, folder: &Path, args: &[&str]) -> Result<String, String> {
        run(&self.engine, component, folder, args, &Clock::default())
    }

    /// Run it a minute later.
    fn run_later(&self, component: &Component, folder: &Path, args: &[&str]) -> String {
        let later = Clock::default();
        later.forward(Duration::from_secs(60));
        run(&self.engine, component, folder, args, &later).expect("the guest succeeds")
    }
}

fn bundle(guest: &Path, output: &Path, provider: &Path) -> ExitCode {
    let args = [
        "millpond".as_ref(),
        "bundle".as_ref(),
        guest.as_os_str(),
        "--output".as_ref(),
        output.as_os_str(),
        "--provider".as_ref(),
        provider.as_os_str(),
    ];
    millpond::main_from(args.map(|arg| arg.to_owned()))
}

/// The database of a folder, as any other program opens it.
fn native(folder: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.join("default.db")).expect("a database")
}

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Both of a guest's clocks, which a test moves forward.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn forward(&self, time: Duration) {
        self.0.fetch_add(nanos(time), Ordering::SeqCst);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("less than 500 years")
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.expect("a time after 1970") + Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        nanos(START.elapsed()) + self.0.load(Ordering::SeqCst)
    }
}

/// Run a command with one preopened folder, as `wasmtime run --dir FOLDER::/data` does. Returns
/// what it printed; as an error if it failed.
fn run(
    engine: &Engine,
    component: &Component,
    folder: &Path,
    args: &[&str],
    clock: &Clock,
) -> Result<String, String> {
    run_with(engine, component, folder, args, clock, |_, _| ())
}

/// Like [`run`], after `set` has changed its surroundings. It gets the pipe for its output too.
fn run_with(
    engine: &Engine,
    component: &Component,
    folder: &Path,
    args: &[&str],
    clock: &Clock,
    set: impl FnOnce(&mut WasiCtxBuilder, MemoryOutputPipe),
) -> Result<String, String> {
    let pipe = MemoryOutputPipe::new(1 << 20);
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&[&["guest"], args].concat())
        .stdout(pipe.clone())
        .stderr(pipe.clone())
        .wall_clock(clock.clone())
        .monotonic_clock(clock.clone());
    set(&mut wasi, pipe.clone());
    let ended = call(engine, component, folder, wasi);
    let printed = String::from_utf8_lossy(&pipe.contents()).into_owned();
    match ended {
        Ok(Ok(())) => Ok(printed),
        other => Err(format!("{other:?}\n{printed}")),
    }
}

fn call(
    engine: &Engine,
    component: &Component,
    folder: &Path,
    mut wasi: WasiCtxBuilder,
) -> wasmtime::Result<Result<(), ()>> {
    // In this order: a folder keeps the setting.
    wasi.allow_blocking_current_thread(true)
        .preopened_dir(folder, "/data", FsPerms::ReadWrite)?;
    let host = Host {
        wasi: wasi.build(),
        table: ResourceTable::new(),
    };
    let mut store = Store::new(engine, host);
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    let command = sync::Command::instantiate(&mut store, component, &linker)?;
    command.wasi_cli_run().call_run(&mut store)
}

/// The programs that are commands and say something about the contract.
fn programs() -> Vec<&'static str> {
    let mut names = Vec::new();
    macro_rules! push {
        ($name:ident) => {
            names.push(stringify!($name))
        };
    }
    foreach_contract!(push);
    foreach_guest!(push);
    foreach_handles!(push);
    foreach_transactions!(push);
    // These do not run, are no commands, and need what only the host has.
    let others = [
        "contract_imports_everything",
        "guest_second_request",
        "guest_held_too_long",
        "handles_of_earlier_requests",
    ];
    names.retain(|name| !others.contains(name));
    names
}

/// The programs in the README's table, with why each does not pass.
fn differences() -> BTreeSet<String> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest/provider/README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split_once('`'));
    // Another table has settings.
    let programs = names.filter(|(name, _)| name.contains('_'));
    programs.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn each_program_passes_unless_the_readme_says_why_not() {
    let Some(place) = Place::new() else { return };
    let mut failed = BTreeSet::new();
    for name in programs() {
        let folder = place.database(name, "");
        if let Err(how) = place.run(&place.load(name), &folder, &[]) {
            // Shown if the test fails.
            println!("{name}: {how}");
            failed.insert(name.to_owned());
        }
    }
    assert_eq!(failed, differences());
}

#[test]
fn the_next_process_finds_nothing_of_the_last_one() {
    let Some(place) = Place::new() else { return };
    let (plant, look) = (place.shared("clean_plant"), place.shared("clean_look"));
    for (number, leak) in leaks().into_iter().enumerate() {
        let fresh = place.database(&format!("fresh{number}"), crate::clean::TABLES);
        let fresh = place.run(&look, &fresh, &[&leak.look]).expect("a look");
        let folder = place.database(&format!("planted{number}"), crate::clean::TABLES);
        place
            .run(&plant, &folder, &[&leak.plant])
            .expect(&leak.name);
        // It may have ended in a transaction.
        let seen = place.run_later(&look, &folder, &[&leak.look]);
        assert_eq!(seen, fresh, "{}", leak.name);
    }
}

#[test]
fn instances_wait_for_each_other() {
    const INSTANCES: usize = 4;
    const RUNS: usize = 10;
    let Some(place) = Place::new() else { return };
    let component = place.shared("cli_counts_visits");
    let folder = place.database("visits", "");
    std::thread::scope(|scope| {
        for _ in 0..INSTANCES {
            scope.spawn(|| {
                for _ in 0..RUNS {
                    place.run(&component, &folder, &[]).expect("a visit");
                }
            });
        }
    });
    let printed = place.run(&component, &folder, &[]).expect("a visit");
    assert_eq!(printed, format!("{} visits\n", INSTANCES * RUNS + 1));
    assert!(!folder.join("default.db.lock").exists());
}

#[test]
fn a_database_of_millponds_is_used_and_given_back() {
    let Some(place) = Place::new() else { return };
    let folder = place.database("wal", "PRAGMA journal_mode = WAL; CREATE TABLE t(a)");
    let component = place.shared("cli_counts_visits");
    assert_eq!(
        place.run(&component, &folder, &[]).as_deref(),
        Ok("1 visits\n")
    );
    let visits: i64 = native(&folder)
        .query_row("SELECT count(*) FROM visit", [], |row| row.get(0))
        .expect("the table");
    assert_eq!(visits, 1);
    let pool = millpond_sqlite::PoolBuilder::new().open(folder.join("default.db"));
    drop(pool.expect("a pool"));
    assert_eq!(
        place.run(&component, &folder, &[]).as_deref(),
        Ok("2 visits\n")
    );
}

/// Writes more than SQLite keeps in memory.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
    INSERT INTO t SELECT i FROM n";
/// The bundled guest and the folder of the process that is killed.
const KILLED: &str = "MILLPOND_TEST_BUNDLE";

/// Not a test of its own: what runs in the process that is killed.
#[test]
fn a_process_that_is_killed_as_it_writes() {
    let Some(folder) = std::env::var_os(KILLED).map(PathBuf::from) else {
        return;
    };
    let engine = engine();
    let component = Component::from_file(&engine, folder.join("guest.wasm")).expect("it");
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&["guest", ENDLESS]);
    let _ = call(&engine, &component, &folder, wasi);
}

#[test]
fn a_killed_process_is_undone_and_its_lock_taken() {
    let Some(place) = Place::new() else { return };
    let folder = place.database("killed", "CREATE TABLE t(a)");
    std::fs::rename(place.bundle("clean_plant"), folder.join("guest.wasm")).expect("the guest");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "bundle::a_process_that_is_killed_as_it_writes"])
        .env(KILLED, &folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("a process");
    // It writes to the file once its cache is full.
    let size = || std::fs::metadata(folder.join("default.db")).map_or(0, |file| file.len());
    while size() < 1 << 20 {
        assert!(child.try_wait().expect("a process").is_none(), "it ended");
        std::thread::yield_now();
    }
    child.kill().expect("a process");
    child.wait().expect("a process");
    assert!(folder.join("default.db.lock").exists());
    assert!(folder.join("default.db-journal").exists());

    let component = place.shared("cli_counts_visits");
    assert_eq!(place.run_later(&component, &folder, &[]), "1 visits\n");
    assert!(!folder.join("default.db.lock").exists());
    let database = native(&folder);
    let read = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0));
    assert_eq!(read("PRAGMA integrity_check").as_deref(), Ok("ok"));
    assert_eq!(
        read("SELECT CAST(count(*) AS TEXT) FROM t").as_deref(),
        Ok("0")
    );
}

#[test]
fn what_cannot_be_bundled_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let (output, none) = (
        folder.path().join("app.wasm"),
        folder.path().join("none.wasm"),
    );
    let guest = component("cli_counts_visits");
    assert_eq!(
        bundle(guest, &output, &none),
        ExitCode::from(2),
        "no provider"
    );
    // It has no exports of the contract.
    assert_eq!(
        bundle(guest, &output, guest),
        ExitCode::from(2),
        "no provider"
    );
    let hostile = folder.path().join("hostile.wasm");
    let empty = folder.path().join("empty.wasm");
    let write = |path: &Path, text: &str| {
        std::fs::write(path, wat::parse_str(text).expect("a component")).expect("a file");
    };
    write(
        &empty,
        r#"(component (instance $i) (export "millpond:sqlite/pool@0.1.0" (instance $i)))"#,
    );
    for module in [
        // The type of its import cannot be written in a composed component.
        r#"(import "m" (core module (type (func)) (import "" "g" (global (ref null 0)))))"#,
        r#"(import "i" (instance (export "m" (core module))))"#,
        r#"(import "c" (component))"#,
        r#"(component $c) (export "c" (component $c))"#,
    ] {
        let import = r#"(import "millpond:sqlite/pool@0.1.0" (instance))"#;
        write(&hostile, &format!("(component {import} {module})"));
        assert_eq!(
            bundle(&hostile, &output, &empty),
            ExitCode::from(2),
            "{module}"
        );
    }
    std::fs::write(&none, "no component").expect("a file");
    assert_eq!(
        bundle(guest, &output, &none),
        ExitCode::from(2),
        "no component"
    );
    assert_eq!(bundle(&none, &output, guest), ExitCode::from(2), "no guest");
    assert!(!output.exists());
}
