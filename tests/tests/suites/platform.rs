//! A small platform under load: 200 tenants, three components (notes, a report that only reads, and
//! a hostile one), backups, and a reload meanwhile.
//!
//! Takes 20 seconds. For a longer run, set `MILLPOND_LOAD_SECONDS`:
//!
//! ```console
//! $ MILLPOND_LOAD_SECONDS=600 cargo test --workspace --test suites platform -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millpond_tests::{component, foreach_platform};
use rusqlite::Connection;
use serde_json::json;

use crate::assert_test_exists;
use crate::browser::chromium;
use crate::chromium::Page;
use crate::process::{MIGRATIONS, PATIENCE, Server, millpond, text};

foreach_platform!(assert_test_exists);

const TENANTS: usize = 200;
/// Threads with clients of the good guests, and of the hostile one.
const CLIENTS: usize = 6;
const HOSTILE: [&str; 5] = ["loop", "flood", "grow", "hold", "sql"];
/// The most that the logs of all tenants may have at the end.
const MAX_LOGS: u64 = 256 << 20;

const CONFIGURATION: &str = r#"
    listeners = [{ address = "127.0.0.1:0" }]
    admin.address = "127.0.0.1:0"
    server = { request-timeout = "10s", max-requests = 32, access-log = false, max-tenant-requests = OF_TENANT }

    [databases.notes]
    folder = "tenants"
    migrations = MIGRATIONS
    max-open-pools = 50
    pool-idle-timeout = "2s"
    max-database-size = "8MiB"
    backup = { folder = "backups", every = "1h" }

    [databases.scratch]
    file = "scratch.db"
    max-database-size = "8MiB"

    [components.notes]
    file = NOTES
    grants.default = { database = "notes" }

    [components.report]
    file = REPORT
    grants.default = { database = "notes", access = "read-only", tables.notes.allow = ["read"] }

    [components.hostile]
    file = HOSTILE
    max-memory-size = "16MiB"
    grants.default = { database = "scratch", max-connections = 2, share = 3, max-statement-time = "1s" }

    [[routes]]
    host = "*.example.com"
    component = "notes"
    tenant = { from = "host-label" }

    [[routes]]
    host = "*.example.com"
    path = "/report"
    component = "report"
    tenant = { from = "host-label" }

    [[routes]]
    host = "hostile"
    component = "hostile"
"#;

fn configuration(of_tenant: u32) -> String {
    let quoted = |path: &Path| format!("{path:?}");
    CONFIGURATION
        .replace("OF_TENANT", &of_tenant.to_string())
        .replace("MIGRATIONS", &quoted(MIGRATIONS.as_ref()))
        .replace("NOTES", &quoted(component("millpond_notes")))
        .replace("REPORT", &quoted(component("platform_reports")))
        .replace("HOSTILE", &quoted(component("hostile_serves")))
}

fn name(tenant: usize) -> String {
    format!("t{tenant:03}")
}

/// Sends a request. Returns its status and body, or an error if the connection breaks.
fn send(
    address: SocketAddr,
    host: &str,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || std::io::Error::other(format!("not a response: {answer:?}"));
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    Ok((status.ok_or_else(broken)?, body.to_owned()))
}

/// What the clients of the good guests have seen.
#[derive(Debug, Default)]
struct Seen {
    /// How many notes each tenant has written.
    written: BTreeMap<usize, i64>,
    times: Vec<Duration>,
}

/// A client: writes, lists, and asks for reports, as any of the tenants.
fn client(address: SocketAddr, number: usize, is_over: &AtomicBool) -> Seen {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut seen = Seen::default();
    while !is_over.load(Ordering::Relaxed) {
        let tenant = random.usize(..TENANTS);
        let host = format!("{}.example.com", name(tenant));
        let begun = Instant::now();
        let (expected, answer) = match random.u8(..10) {
            0..3 => {
                *seen.written.entry(tenant).or_default() += 1;
                let note = format!(r#"{{"title":"{number}","body":"{}"}}"#, "x".repeat(500));
                (201, send(address, &host, "POST", "/api/notes", &note))
            }
            3..8 => (200, send(address, &host, "GET", "/api/notes", "")),
            8 => (200, send(address, &host, "GET", "/report", "")),
            _ => (500, send(address, &host, "GET", "/report/write", "")),
        };
        let (status, body) = answer.expect("a response");
        assert_eq!(status, expected, "{host}: {body}");
        if expected == 500 {
            assert_eq!(body, "NotAuthorized");
        }
        seen.times.push(begun.elapsed());
    }
    seen
}

/// Asks for all that the hostile guest does, and for others' tenants.
fn attack(address: SocketAddr, number: usize, is_over: &AtomicBool, attacks: &AtomicU64) {
    let paths = HOSTILE.iter().cycle().skip(number);
    for path in paths.take_while(|_| !is_over.load(Ordering::Relaxed)) {
        // It fails, by a timeout or a limit; or its response breaks off.
        if let Ok((status, _)) = send(address, "hostile", "GET", &format!("/{path}"), "") {
            assert!(status >= 500, "{path}: {status}");
        }
        for host in [
            "..example.com",
            "t000%2f.example.com",
            "T000.t001.example.com",
        ] {
            if let Ok((status, _)) = send(address, host, "GET", "/api/notes", "") {
                assert!(matches!(status, 400 | 404), "{host}: {status}");
            }
        }
        attacks.fetch_add(1, Ordering::Relaxed);
    }
}

/// The size of the files in a folder whose names end so.
fn size(folder: &Path, end: &str) -> u64 {
    let files = fs::read_dir(folder).expect("a folder").flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().ends_with(end));
    files
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum()
}

/// Asks until no guest runs, and then for what an operator sees.
fn operator_sees_it_all(server: &Server) {
    let since = Instant::now();
    let snapshot = loop {
        let snapshot = server.ask_admin("/snapshot", "").json();
        if snapshot["places"]["in_use"] == 0 {
            break snapshot;
        }
        assert!(since.elapsed() < PATIENCE, "{snapshot:#}");
    };
    let databases = &snapshot["databases"];
    assert_eq!(
        databases["scratch"]["counters"]["in_use"], 0,
        "{databases:#}"
    );
    let notes = &databases["notes"]["counters"];
    assert_eq!(notes["open"], notes["idle"], "{databases:#}");
    assert!(notes["open"].as_u64() <= Some(50), "{databases:#}");
    assert_ne!(snapshot["components"]["hostile"]["failures"], json!({}));
    let Some(chromium) = chromium() else { return };
    let mut page = Page::open(chromium, &format!("http://{}/", server.counters_address()));
    let rows = |table: &str| {
        format!(
            "[...document.querySelectorAll('#{table} tbody tr')].map((row) => row.cells[0].textContent)"
        )
    };
    for component in ["hostile", "notes", "report"] {
        page.until(&format!(
            "{}.includes('{component}')",
            rows("components-table")
        ));
    }
    page.until(&format!("{}.length === 50", rows("tenants-table")));
    page.until(&format!("{}.includes('scratch')", rows("databases-table")));
    page.until("document.querySelector('#events-table tbody').textContent.includes('hostile')");
    assert!(page.complaints.is_empty(), "{:#?}", page.complaints);
}

#[test]
fn platform_reports() {
    let seconds = std::env::var("MILLPOND_LOAD_SECONDS").ok();
    let seconds = seconds.map_or(20, |seconds| seconds.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let (tenants, backups) = (folder.path().join("tenants"), folder.path().join("backups"));
    fs::create_dir(&tenants).expect("a folder");
    fs::create_dir(&backups).expect("a folder");
    let names: Vec<String> = (0..TENANTS).map(name).collect();
    let output = millpond()
        .args(["tenants", "create", "--migrations", MIGRATIONS, "--folder"])
        .arg(&tenants)
        .args(&names)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let file = folder.path().join("millpond.toml");
    fs::write(&file, configuration(8)).expect("a file");
    let mut command = millpond();
    command.arg("serve").arg("--config").arg(&file);
    let server = Server::start(command);
    let address = server.address;

    let (is_over, attacks) = (AtomicBool::new(false), AtomicU64::new(0));
    let all = thread::scope(|threads| {
        let (is_over, attacks) = (&is_over, &attacks);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| threads.spawn(move || client(address, number, is_over)))
            .collect();
        for number in 0..2 {
            threads.spawn(move || attack(address, number, is_over, attacks));
        }
        let half = Duration::from_secs(seconds) / 2;
        thread::sleep(half);
        fs::write(&file, configuration(9)).expect("a file");
        server.reload();
        server.line_with("Reloaded");
        thread::sleep(half);
        is_over.store(true, Ordering::Relaxed);
        let all = clients
            .into_iter()
            .map(|client| client.join().expect("no error"));
        all.collect::<Vec<_>>()
    });

    let mut times: Vec<_> = all.iter().flat_map(|seen| &seen.times).collect();
    times.sort_unstable();
    let part = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "{} good requests in {seconds} s, p50 {:?}, p99 {:?}; {} attacks",
        times.len(),
        part(50),
        part(99),
        attacks.load(Ordering::Relaxed)
    );
    assert!(times.len() > TENANTS && attacks.load(Ordering::Relaxed) > 2);
    let mut written: BTreeMap<usize, i64> = BTreeMap::new();
    for (tenant, notes) in all.iter().flat_map(|seen| &seen.written) {
        *written.entry(*tenant).or_default() += notes;
    }
    assert!(size(&tenants, "-wal") <= MAX_LOGS);
    operator_sees_it_all(&server);
    server.terminate();
    assert!(server.wait().success());
    // Every note that was said to be written is there, and no other tenant has it.
    for tenant in 0..TENANTS {
        let path = tenants.join(format!("{}.db", name(tenant)));
        let database = Connection::open(path).expect("a database");
        let count: i64 = database
            .query_one("SELECT count(*) FROM notes", (), |row| row.get(0))
            .expect("a number");
        assert_eq!(
            count,
            written.get(&tenant).copied().unwrap_or(0),
            "{tenant}"
        );
    }
    // The backups that were made meanwhile are whole: five of them, one by one.
    let mut checked = 0;
    for entry in fs::read_dir(&backups).expect("a folder").flatten() {
        let files = fs::read_dir(entry.path()).expect("a folder").flatten();
        let mut files = files.map(|file| file.path());
        let backup = files.find(|path| path.extension().is_some_and(|end| end == "db"));
        let Some(backup) = backup.filter(|_| checked < 5) else {
            continue;
        };
        let output = millpond().args(["verify", "--db"]).arg(&backup).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        checked += 1;
    }
    assert_eq!(checked, 5);
}
