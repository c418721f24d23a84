//! `serve --config`, `check` and `--print-config`: components, routes, databases and grants from
//! one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Output;
use std::time::Instant;

use millpond_server::config::Config;
use millpond_tests::component;
use serde_json::json;

use crate::process::{MIGRATIONS, MISTAKE, PATIENCE, Request, Server, millpond, text, until};

/// A folder with a configuration in it.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new(text: &str) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let site = Site { folder };
        site.write(text);
        site
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("millpond.toml")
    }

    /// Writes the configuration. `NAME.wasm` stands for the component of that name.
    fn write(&self, text: &str) {
        let mut text = text.replace("MIGRATIONS", MIGRATIONS);
        for name in ["millpond_notes", "hostile_serves", "readme_serves"] {
            let path = component(name).to_str().expect("a path");
            text = text.replace(&format!("\"{name}.wasm\""), &format!("{path:?}"));
        }
        fs::write(self.file(), text).expect("a file");
    }

    fn serve(&self) -> Server {
        let mut command = millpond();
        command.arg("serve").arg("--config").arg(self.file());
        Server::start(command)
    }

    fn check(&self) -> Output {
        let output = millpond().arg("check").arg(self.file()).output();
        output.expect("the command runs")
    }
}

const TWO: &str = r#"
    listeners = [{ address = "127.0.0.1:0" }]
    admin.address = "127.0.0.1:0"
    server.grace = "1s"

    [databases.notes]
    file = "notes.db"
    migrations = "MIGRATIONS"

    [components.notes]
    file = "millpond_notes.wasm"
    grants.default = { database = "notes" }

    [components.reader]
    file = "hostile_serves.wasm"
    grants.default = { database = "notes", access = "read-only" }

    [[routes]]
    path = "/api"
    component = "notes"

    [[routes]]
    host = "reader.example.com"
    component = "reader"
"#;

/// Sends a request for `host`. Returns the status and the body.
fn ask(server: &Server, host: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer[9..12].parse().expect("a status");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    (status, body.to_owned())
}

fn get(server: &Server, host: &str, path: &str) -> u16 {
    ask(server, host, "GET", path, "").0
}

#[test]
fn requests_go_where_the_routes_say() {
    let site = Site::new(TWO);
    let server = site.serve();
    let (status, _) = ask(&server, "x", "POST", "/api/notes", r#"{"title":"Tea"}"#);
    assert_eq!(status, 201);
    assert_eq!(get(&server, "x", "/api/notes"), 200);
    assert_eq!(get(&server, "x", "/apis"), 404);
    assert_eq!(get(&server, "x", "/"), 404);
    let reader = "READER.example.com.:1";
    // The exact host is more specific than the longer path, and so the guest, which panics.
    assert_eq!(get(&server, reader, "/api/notes"), 500);
    // The grant is for reading.
    let (status, body) = ask(
        &server,
        reader,
        "POST",
        "/query",
        "SELECT count(*) FROM note",
    );
    assert_eq!((status, body.as_str()), (200, "ErrorKind::NotAuthorized"));
    server.line_with("reader GET /api/notes 500");
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_configuration_is_checked_with_all_that_it_names() {
    let site = Site::new(TWO);
    let output = site.check();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for part in [
        "reader.example.com/ -> reader",
        "`default` is the database notes",
        "read-only",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(!site.folder.path().join("notes.db").exists());

    // Each mistake is said: two of the text, with their places.
    site.write(&TWO.replace("database = ", "databas = "));
    let output = site.check();
    assert_eq!(output.status.code(), Some(MISTAKE));
    let mistakes = text(&output.stderr);
    for place in ["millpond.toml:12:", "millpond.toml:16:"] {
        assert!(mistakes.contains(place), "{mistakes}");
    }
    // Two of what it names.
    let wrong = TWO.replace("hostile_serves.wasm", "none.wasm");
    site.write(&wrong.replace("MIGRATIONS", "nowhere"));
    let output = site.check();
    assert_eq!(output.status.code(), Some(MISTAKE));
    let mistakes = text(&output.stderr);
    for file in ["none.wasm", "nowhere"] {
        assert!(mistakes.contains(file), "{mistakes}");
    }
}

#[test]
fn the_configurations_of_the_readmes_are_right() {
    let readmes = [
        include_str!("../../../README.md"),
        include_str!("../../../host/server/README.md"),
    ];
    for readme in readmes {
        let blocks = readme.split("```toml\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("```").next());
        let mut blocks = blocks.filter(|block| block.contains("[components."));
        let block = blocks.next().expect("a configuration");
        let config = Config::parse(block, "millpond.toml".as_ref());
        config.unwrap_or_else(|problems| panic!("{problems}"));
    }
}

#[test]
fn backups_are_made_as_the_configuration_says() {
    let site = Site::new(&TWO.replace(
        "file = \"notes.db\"",
        "file = \"notes.db\"\n    backup = { folder = \"backups\", every = \"1h\" }",
    ));
    // A folder that does not exist is a mistake.
    assert_eq!(site.check().status.code(), Some(MISTAKE));
    let folder = site.folder.path().join("backups");
    fs::create_dir(&folder).expect("a folder");
    let server = site.serve();
    // The first is due at once.
    let until = Instant::now() + PATIENCE;
    let backup = loop {
        let files = fs::read_dir(&folder).expect("a folder").flatten();
        let mut names = files.map(|file| file.path());
        let is_whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "db");
        if let Some(backup) = names.find(is_whole) {
            break backup;
        }
        assert!(Instant::now() < until, "no backup");
        std::thread::yield_now();
    };
    let output = millpond().args(["verify", "--db"]).arg(&backup).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    server.terminate();
    assert!(server.wait().success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_reload_ends_former_backups_before_the_last_request_that_uses_the_database() {
    let backed_up = TWO.replace(
        "file = \"notes.db\"",
        "file = \"notes.db\"\n    backup = { folder = \".\" }",
    );
    let site = Site::new(&backed_up);
    let server = site.serve();
    let mut held = Request::hold(server.address, "POST", "/api/notes", 15).expect("it runs");
    assert_eq!(server.threads("millpond-backup"), 1);
    site.write(TWO);
    server.reload();
    server.line_with("Reloaded");
    until("the backups end", || server.threads("millpond-backup") == 0);
    held.send(br#"{"title":"Tea"}"#).expect("the rest");
    held.answer().expect("an answer").is(201);
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_configuration_that_is_refused_makes_no_backups() {
    let site = Site::new(TWO);
    let server = site.serve();
    for folder in ["tenants", "backups"] {
        fs::create_dir(site.folder.path().join(folder)).expect("a folder");
    }
    fs::write(site.folder.path().join("tenants/ada.db"), "").expect("a file");
    let folder = "folder = \"tenants\"";
    let backed_up = format!("{folder}\n    backup = {{ folder = \"backups\" }}");
    let keyless = "tenant = { from = \"claim\", claim = \"sub\", keys = [\"missing.pem\"], algorithm = \"RS256\" }";
    let refused = TENANTS.replace(folder, &backed_up);
    site.write(&refused.replace("tenant = { from = \"host-label\" }", keyless));
    server.reload();
    let line = server.line_with("Not reloaded");
    assert!(line.contains("missing.pem"), "{line}");
    let backups = fs::read_dir(site.folder.path().join("backups"));
    assert_eq!(backups.expect("a folder").count(), 0);
    server.terminate();
    assert!(server.wait().success());
}

/// What is wrong with it shows after its databases have been opened.
#[test]
fn a_configuration_that_is_refused_late_changes_nothing() {
    let site = Site::new(TWO);
    let server = site.serve();
    let (status, _) = ask(&server, "x", "POST", "/api/notes", r#"{"title":"Tea"}"#);
    assert_eq!(status, 201);
    fs::create_dir(site.folder.path().join("tenants")).expect("a folder");
    let refused = r#"
    [databases.tenants]
    folder = "tenants"

    [components.tenants]
    file = "hostile_serves.wasm"
    grants.default = { database = "tenants" }

    [[routes]]
    path = "/t"
    component = "tenants"
    tenant = { from = "claim", claim = "sub", keys = ["missing.pem"], algorithm = "RS256" }
    "#;
    site.write(&format!("{TWO}{refused}"));
    server.reload();
    let line = server.line_with("eloaded");
    assert!(
        line.contains("Not reloaded") && line.contains("missing.pem"),
        "{line}"
    );
    // The database that both have is still open, and the other is not.
    let (status, notes) = ask(&server, "x", "GET", "/api/notes", "");
    assert_eq!(
        (status, notes.contains("\"total\":1")),
        (200, true),
        "{notes}"
    );
    let stats = server.ask_admin("/stats", "").is(200).json();
    let databases = stats["databases"].as_object().expect("databases");
    assert_eq!(databases.keys().collect::<Vec<_>>(), ["notes"]);
    server.terminate();
    assert!(server.wait().success());
}

/// A tenant's index makes the check of its backup compute for seconds.
#[test]
fn the_check_of_a_backup_has_a_limit() {
    let folder = "folder = \"tenants\"";
    let backed_up = "backup = { folder = \"backups\", max-check-time = \"1s\" }";
    let site = Site::new(&TENANTS.replace(folder, &format!("{folder}\n    {backed_up}")));
    let [tenants, backups] = ["tenants", "backups"].map(|name| site.folder.path().join(name));
    for folder in [&tenants, &backups] {
        fs::create_dir(folder).expect("a folder");
    }
    for (name, rows) in [("ada", 2_000), ("bob", 1)] {
        let database = rusqlite::Connection::open(tenants.join(format!("{name}.db")));
        let sql = format!(
            "CREATE TABLE t(a TEXT);
            WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT {rows})
            INSERT INTO t SELECT hex(zeroblob(5000)) FROM r;
            CREATE INDEX i ON t(length(replace(replace(a, '0', '00000000'), '0', '00000000')))"
        );
        let database = database.expect("a database");
        database.execute_batch(&sql).expect("a schema");
    }
    let server = site.serve();
    let line = server.line_with("there is no backup");
    assert!(line.contains("ada"), "{line}");
    let made = |tenant: &str| {
        let files = fs::read_dir(backups.join(tenant));
        let names = files.into_iter().flatten().flatten().map(|file| {
            let name = file.file_name();
            name.to_string_lossy().into_owned()
        });
        names.filter(|name| name.starts_with(tenant)).count()
    };
    until("the other one's backup", || made("bob") == 1);
    assert_eq!(made("ada"), 0);
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn flags_are_a_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("app.db");
    let flags = |command: &mut std::process::Command| {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--stats", "127.0.0.1:0"])
            .args(["--max-requests", "7", "--pool-size", "3"])
            .args(["--upkeep-after", "7s", "--migrations"])
            .arg(MIGRATIONS)
            .arg("--db")
            .arg(&database)
            .arg(component("millpond_notes"));
    };
    let mut command = millpond();
    flags(&mut command);
    let output = command.arg("--print-config").output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!database.exists());
    let printed = text(&output.stdout);
    for line in ["max-requests = 7", "pool-size = 3", "upkeep-after = \"7s\""] {
        assert!(printed.contains(line), "{printed}");
    }

    let site = Site::new(printed);
    let server = site.serve();
    assert_eq!(get(&server, "x", "/api/notes"), 200);
    let counters = server.counters();
    assert_eq!(counters["max_size"], json!(3));
    server.ends_with_nothing_in_use();
}

#[test]
fn a_configuration_is_reloaded_without_dropping_a_request() {
    let site = Site::new(TWO);
    let server = site.serve();
    let held = Request::hold(server.address, "POST", "/api/notes", 15).expect("it runs");

    // A broken one changes nothing.
    site.write("components = 1");
    server.reload();
    server.line_with("Not reloaded");
    assert_eq!(get(&server, "x", "/api/notes"), 200);

    // Another path, and another database.
    let other = TWO.replace("\"/api\"", "\"/\"");
    site.write(&other.replace("notes.db", "other.db"));
    server.reload();
    server.line_with("Reloaded");
    assert_eq!(get(&server, "x", "/apis"), 404);
    let (_, notes) = ask(&server, "x", "GET", "/api/notes", "");
    assert!(notes.contains("\"total\":0"), "{notes}");

    // The request that began before uses the database of then.
    let mut held = held;
    held.send(br#"{"title":"Tea"}"#).expect("the rest");
    held.answer().expect("an answer").is(201);
    site.write(TWO);
    server.reload();
    server.line_with("Reloaded");
    let (_, notes) = ask(&server, "x", "GET", "/api/notes", "");
    assert!(notes.contains("\"total\":1"), "{notes}");
    server.terminate();
    assert!(server.wait().success());
}

/// A folder of tenants; the one of a request is the first label of its host, or in its path.
const TENANTS: &str = r#"
    listeners = [{ address = "127.0.0.1:0" }]
    admin.address = "127.0.0.1:0"
    server.max-instance-reuse = 10

    [databases.notes]
    folder = "tenants"
    migrations = "MIGRATIONS"

    [components.notes]
    file = "millpond_notes.wasm"
    grants.default = { database = "notes" }

    [[routes]]
    host = "*.example.com"
    component = "notes"
    tenant = { from = "host-label" }

    [[routes]]
    path = "/t"
    component = "notes"
    tenant = { from = "path-segment", path = "/t/{tenant}", strip = true }
"#;

#[test]
fn each_tenant_has_its_own_database() {
    let site = Site::new(TENANTS);
    let folder = site.folder.path().join("tenants");
    fs::create_dir(&folder).expect("a folder");
    let tenants = |args: &[&str]| {
        let mut command = millpond();
        command
            .arg("tenants")
            .args(args)
            .arg("--folder")
            .arg(&folder);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    tenants(&["create", "ada"]);
    tenants(&["create", "grace"]);
    // Not a tenant's: a link to another's file.
    std::os::unix::fs::symlink("ada.db", folder.join("eve.db")).expect("a link");

    let server = site.serve();
    let note = r#"{"title":"Tea"}"#;
    let (status, _) = ask(&server, "ada.example.com", "POST", "/api/notes", note);
    assert_eq!(status, 201);
    let total = |host: &str, path: &str| {
        let (status, body) = ask(&server, host, "GET", path, "");
        assert_eq!(status, 200, "{body}");
        let notes: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        notes["total"].as_u64().expect("a number")
    };
    // By each way; upper case in a host is the same host. Instances are kept, each for its tenant.
    for _ in 0..3 {
        assert_eq!(total("ADA.example.com", "/api/notes"), 1);
        assert_eq!(total("any", "/t/ada/api/notes"), 1);
        assert_eq!(total("any", "/t/grace/api/notes"), 0);
    }
    // No tenants: no such database, hostile names, a link.
    for (host, path) in [
        ("unknown.example.com", "/api/notes"),
        ("a.b.example.com", "/api/notes"),
        ("any", "/t/ADA/api/notes"),
        ("any", "/t/..%2fada/api/notes"),
        ("any", "/t/%61da/api/notes"),
        ("any", "/t//ada/api/notes"),
        ("any", "/t/eve/api/notes"),
        ("any", "/t"),
    ] {
        let (status, body) = ask(&server, host, "GET", path, "");
        let refused = status == 404 || (path.contains("eve") && status == 500);
        assert!(refused, "{host} {path}: {status} {body}");
    }
    // Not even if there is a file of that name.
    let names = ["x.y", "ADA", "_ada", "-ada", "%61da", "ad%61", "é"];
    for name in names {
        fs::copy(folder.join("ada.db"), folder.join(format!("{name}.db"))).expect("copied");
        let status = get(&server, "any", &format!("/t/{name}/api/notes"));
        assert!(matches!(status, 400 | 404), "{name}: {status}");
    }
    assert_eq!(get(&server, "_ada.example.com", "/api/notes"), 404);
    // A target and a Host that name two tenants: a proxy may have gone by the other.
    let target = "http://ada.example.com/api/notes";
    assert_eq!(get(&server, "ada.example.com", target), 200);
    assert_eq!(get(&server, "grace.example.com", target), 400);
    // Suspended by another process, and resumed.
    tenants(&["suspend", "ada"]);
    assert_eq!(get(&server, "ada.example.com", "/api/notes"), 503);
    assert_eq!(total("any", "/t/grace/api/notes"), 0);
    tenants(&["resume", "ada"]);
    assert_eq!(total("ada.example.com", "/api/notes"), 1);
    server.terminate();
    assert!(server.wait().success());
}

/// What a guest keeps in its memory is its tenant's.
#[test]
fn an_instance_handles_requests_of_one_tenant() {
    let text = TENANTS.replace("millpond_notes.wasm", "hostile_serves.wasm");
    let reuse = "server.max-instance-reuse = 10";
    let kept = format!("{reuse}\n    server.idle-instance-timeout = \"1h\"");
    let site = Site::new(&text.replace(reuse, &kept));
    let folder = site.folder.path().join("tenants");
    fs::create_dir(&folder).expect("a folder");
    for tenant in ["ada.db", "grace.db"] {
        rusqlite::Connection::open(folder.join(tenant))
            .and_then(|database| database.execute_batch("PRAGMA journal_mode = WAL"))
            .expect("a database");
    }
    let server = site.serve();
    let mut tenants = BTreeMap::new();
    let mut used_again = BTreeSet::new();
    until("instances of both are used again", || {
        for tenant in ["ada", "grace"] {
            let (status, counted) = ask(&server, "any", "GET", &format!("/t/{tenant}/count"), "");
            assert_eq!(status, 200, "{counted}");
            let (instance, count) = counted.split_once(' ').expect("two numbers");
            let of = *tenants.entry(instance.to_owned()).or_insert(tenant);
            assert_eq!(of, tenant);
            if count != "1" {
                used_again.insert(tenant);
            }
        }
        used_again.len() == 2
    });
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_tenant_has_a_maximum_number_of_requests() {
    let text = TENANTS.replace("max-instance-reuse = 10", "max-tenant-requests = 1");
    let site = Site::new(&text);
    let folder = site.folder.path().join("tenants");
    fs::create_dir(&folder).expect("a folder");
    for tenant in ["ada.db", "grace.db"] {
        rusqlite::Connection::open(folder.join(tenant))
            .and_then(|database| database.execute_batch("PRAGMA journal_mode = WAL"))
            .expect("a database");
    }
    let server = site.serve();
    let note = br#"{"title":"Tea"}"#;
    let held = Request::hold(server.address, "POST", "/t/ada/api/notes", note.len());
    let mut held = held.expect("it runs");
    // However the tenant is named.
    assert_eq!(get(&server, "any", "/t/ada/api/notes"), 429);
    assert_eq!(get(&server, "ada.example.com", "/api/notes"), 429);
    assert_eq!(get(&server, "grace.example.com", "/api/notes"), 200);
    held.send(note).expect("the rest");
    held.answer().expect("an answer").is(201);
    // The place is free soon after the response.
    while get(&server, "any", "/t/ada/api/notes") == 429 {}
    server.terminate();
    assert!(server.wait().success());
}
