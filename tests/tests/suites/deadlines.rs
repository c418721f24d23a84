//! The command respects its deadlines, whatever SQL a guest sends: `run --max-run-time`, `serve
//! --request-timeout`, and shutdown by a signal.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millpond_tests::component;
use rusqlite::Connection;

use crate::process::{Server, millpond};

/// The time limit.
const TIME: &str = "1s";
/// How long it may take in total, on a busy machine, and without optimisation.
const ENOUGH: Duration = Duration::from_secs(6);
/// How long a quick request takes beside others: less than their time limit, for which it would
/// otherwise wait.
const QUICK: Duration = Duration::from_millis(900);
/// A shutdown's grace, and how long the process may take to end: the command gives its threads two
/// more seconds to notice.
const GRACE: &str = "500ms";
const ENDED: Duration = Duration::from_secs(4);

/// A statement that SQLite does not stop by itself, and the database that it needs.
struct Attack {
    name: &'static str,
    setup: String,
    sql: String,
}

fn attacks() -> Vec<Attack> {
    let each = |count: usize, what: &dyn Fn(usize) -> String| {
        (0..count).map(what).collect::<Vec<_>>().join(",")
    };
    let columns = |count: usize| each(count, &|at| format!("c{at}"));
    let wide = |name: &str| format!("CREATE TABLE {name}({});", columns(999));
    let all =
        |count: usize, what: &dyn Fn(usize) -> String| -> String { (0..count).map(what).collect() };
    let document = |bytes: usize| {
        format!(
            "CREATE VIRTUAL TABLE g USING fts5(x);
             INSERT INTO g SELECT replace(hex(zeroblob({bytes})), '0', 'a ')"
        )
    };
    let matches = |query: &str| format!("SELECT count(*) FROM g WHERE g MATCH {query}");
    let views = format!(
        "{}{}",
        wide("v0"),
        all(45, &|at| format!(
            "CREATE VIEW v{} AS SELECT * FROM v{at};",
            at + 1
        ))
    );
    let attack = |name, setup: String, sql: String| Attack { name, setup, sql };
    vec![
        attack(
            "endless",
            String::new(),
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
                .to_owned(),
        ),
        attack(
            "snippet",
            document(8_000),
            "SELECT length(snippet(g, 0, '[', ']', '...', 64)) FROM g WHERE g MATCH 'a'".to_owned(),
        ),
        attack(
            "highlight",
            document(250_000),
            "SELECT length(highlight(g, 0, '', '')) FROM g WHERE g MATCH 'a'".to_owned(),
        ),
        attack("words", document(1), matches("replace(hex(zeroblob(50000)), '0', 'a ')")),
        attack("operands", document(1), matches("replace(hex(zeroblob(15000)), '0', 'a OR ') || 'a'")),
        attack("filters", document(1), matches("replace(hex(zeroblob(20000)), '0', 'x:a OR ') || 'a'")),
        attack("near", document(250_000), matches(&format!("'NEAR({} b, 5)'", "a ".repeat(200)))),
        attack(
            "names",
            format!("{}CREATE TABLE qz(z)", all(62, &|at| wide(&format!("q{at}")))),
            format!(
                "SELECT 1 IN ({}) FROM {},qz",
                each(45_000, &|_| "z".to_owned()),
                each(62, &|at| format!("q{at}"))
            ),
        ),
        attack(
            "windows",
            String::new(),
            format!(
                "SELECT {}",
                each(990, &|at| format!("sum(1) OVER (ORDER BY {at}+1 ROWS {at} PRECEDING)"))
            ),
        ),
        attack(
            "named parameters",
            String::new(),
            format!("SELECT 1 IN ({})", each(14_000, &|at| format!(":p{at}"))),
        ),
        attack(
            "natural joins",
            all(60, &|at| {
                format!("CREATE TABLE t{at}({});", each(999, &|column| format!("d{at}_{column}")))
            }),
            format!("SELECT 1 FROM {}", each(60, &|at| format!("t{at}")).replace(',', " NATURAL JOIN ")),
        ),
        attack("views", views.clone(), "SELECT * FROM v45".to_owned()),
        attack("pragma", views, "PRAGMA table_list".to_owned()),
        attack(
            "json",
            "CREATE TABLE d(x); INSERT INTO d SELECT '[' || replace(hex(zeroblob(250000)), '0', '1,') || '1]'"
                .to_owned(),
            format!("SELECT count(*) FROM d, d b, d c WHERE {}", vec!["json_valid(d.x)"; 95].join(" AND ")),
        ),
        attack(
            "rows",
            "CREATE TABLE t(a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 14000)
             INSERT INTO t SELECT zeroblob(4000) FROM n"
                .to_owned(),
            "DELETE FROM t".to_owned(),
        ),
    ]
}

impl Attack {
    /// Create the database that it needs.
    fn database(&self, folder: &Path) -> PathBuf {
        let path = folder.join("app.db");
        let database = Connection::open(&path).expect("a database");
        database
            .execute_batch(&format!("PRAGMA journal_mode = WAL; {}", self.setup))
            .expect(self.name);
        path
    }
}

#[test]
fn a_run_ends_in_time_whatever_it_runs() {
    for attack in attacks() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = attack.database(folder.path());
        let since = Instant::now();
        let output = millpond()
            .args(["run", "--max-run-time", TIME, "--db"])
            .arg(&database)
            .arg(component("hostile_does_as_told"))
            .args(["query", &attack.sql])
            .output()
            .expect("a process");
        let took = since.elapsed();
        println!("{}: {took:.1?}, {}", attack.name, output.status);
        assert!(took < ENOUGH, "{}: {took:?}: {output:?}", attack.name);
        whole(&database, attack.name);
    }
}

#[test]
fn a_request_ends_in_time_and_others_are_answered_meanwhile() {
    for attack in attacks() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = attack.database(folder.path());
        let server = Server::of("hostile_serves", &database, &["--request-timeout", TIME]);
        let since = Instant::now();
        std::thread::scope(|scope| {
            let ask = || {
                let answer = server.ask_raw("POST", "/query", "", attack.sql.as_bytes());
                assert!(
                    [200, 504].contains(&answer.status),
                    "{}: {answer:?}",
                    attack.name
                );
            };
            let asked: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
            while server.counters()["in_use"] == 0 && !asked.iter().all(|one| one.is_finished()) {
                std::thread::yield_now();
            }
            let since = Instant::now();
            server.ask("GET", "/quick", None).is(200);
            let quick = since.elapsed();
            println!("{}: a quick one beside it {quick:.1?}", attack.name);
            assert!(quick < QUICK, "{}: {quick:?}", attack.name);
        });
        let took = since.elapsed();
        println!("{}: {took:.1?}", attack.name);
        assert!(took < ENOUGH, "{}: {took:?}", attack.name);
        whole(&database, attack.name);
    }
}

/// Even if a request's own time limit is longer.
#[test]
fn a_signal_ends_the_server_within_its_grace_whatever_runs() {
    // Those that last until they are stopped.
    let last = [
        "endless",
        "names",
        "windows",
        "natural joins",
        "views",
        "json",
    ];
    for attack in attacks()
        .into_iter()
        .filter(|attack| last.contains(&attack.name))
    {
        let folder = tempfile::tempdir().expect("a folder");
        let database = attack.database(folder.path());
        let args = ["--request-timeout", "10m", "--grace", GRACE];
        let server = Server::of("hostile_serves", &database, &args);
        std::thread::scope(|scope| {
            let (address, sql) = (server.address, attack.sql.as_bytes());
            let running = scope.spawn(move || {
                // Most are cut off without a response.
                let _ = crate::process::ask(address, "POST", "/query", "", sql);
            });
            while server.counters()["in_use"] == 0 && !running.is_finished() {
                std::thread::yield_now();
            }
            if attack.name == "endless" {
                assert!(!running.is_finished(), "it ended by itself");
            }
            let since = Instant::now();
            server.terminate();
            let status = server.wait();
            let took = since.elapsed();
            println!("{}: {status} after {took:.1?}", attack.name);
            assert!(status.success(), "{}: {status}", attack.name);
            assert!(took < ENDED, "{}: ended after {took:?}", attack.name);
        });
        whole(&database, attack.name);
    }
}

/// While another process has the database locked for writing.
#[test]
fn a_run_does_not_wait_for_another_process_at_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.db");
    let other = Connection::open(&path).expect("a database");
    other
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(a); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
        .expect("a lock");
    let since = Instant::now();
    let output = millpond()
        .args([
            "run",
            "--max-run-time",
            TIME,
            "--busy-timeout",
            "60s",
            "--db",
        ])
        .arg(&path)
        .arg(component("hostile_does_as_told"))
        .args(["query", "INSERT INTO t VALUES (2)"])
        .output()
        .expect("a process");
    let took = since.elapsed();
    assert!(took < ENOUGH, "{took:?}: {output:?}");
    other.execute_batch("COMMIT").expect("its own lock");
}

/// What was stopped, or abandoned at the end of the process, has caused no damage.
fn whole(database: &Path, name: &str) {
    let database = Connection::open(database).expect("the database");
    let check = database.query_row("PRAGMA quick_check", [], |row| row.get::<_, String>(0));
    assert_eq!(check.as_deref(), Ok("ok"), "{name}");
}
