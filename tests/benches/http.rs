//! The demo under `millpond serve`, with a new sandbox for every request, compared with the same
//! application as a native server: axum, a pool of as many rusqlite connections, the same SQL, JSON
//! and headers.
//!
//! ```text
//! cargo bench --bench http [-- [part of a row's name]… [--json FILE]]
//! ```
//!
//! `wrk` generates the load (Debian: `apt-get install wrk`), for each server in turn. If the
//! `wasmtime` command is installed, its `serve` is measured too, with a guest that returns a
//! constant.

#[expect(dead_code, reason = "shared with the suites")]
#[path = "../tests/suites/process.rs"]
mod process;
mod support;

use millpond_sqlite::Synchronous;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::extract::{Path as Segment, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use self::process::{MIGRATIONS, millpond};
use self::support::load::{self, Load, Server, is_installed};
use self::support::native::{self, Manager};
use self::support::table::{Column, Table, mebibytes, number, ratio, time, wanted};
use self::support::{guests, median};

/// How long each server is measured each time, and how often.
const SECONDS: u32 = 4;
const ROUNDS: usize = 3;
/// The number of concurrent clients.
const CLIENTS: u32 = 16;
/// The number of connections of either pool.
const CONNECTIONS: u32 = 5;
/// The number of notes at the start.
const NOTES: u32 = 10_000;

const COLUMNS: &[Column] = &[
    Column {
        key: "per_second",
        title: "a second",
        print: number,
    },
    Column {
        key: "ratio",
        title: "to native",
        print: ratio,
    },
    Column {
        key: "p50_ns",
        title: "p50",
        print: time,
    },
    Column {
        key: "p99_ns",
        title: "p99",
        print: time,
    },
    Column {
        key: "memory_bytes",
        title: "memory",
        print: mebibytes,
    },
];

/// One row: its name, and its script for wrk.
const ROWS: &[(&str, &str)] = &[
    ("point read", READ),
    ("insert", INSERT),
    ("list of 50", "wrk.path = '/api/notes'"),
    ("9 point reads to an insert", MIXED),
];

const READ: &str = "request = function()
    return wrk.format('GET', '/api/notes/' .. math.random(1, 10000))
end";
const INSERT: &str = r#"wrk.method = 'POST'
wrk.path = '/api/notes'
wrk.headers['content-type'] = 'application/json'
wrk.body = '{"title": "Groceries", "body": "Milk, bread, and whatever else there is"}'"#;
const MIXED: &str = r#"local headers = { ['content-type'] = 'application/json' }
local body = '{"title": "Groceries", "body": "Milk, bread, and whatever else there is"}'
request = function()
    if math.random(1, 10) == 1 then
        return wrk.format('POST', '/api/notes', headers, body)
    end
    return wrk.format('GET', '/api/notes/' .. math.random(1, 10000))
end"#;
const CONSTANT: &str = "wrk.path = '/'";

/// A server to measure: its name, and the command that serves the database at a path.
type Candidate<'a> = (&'a str, &'a dyn Fn(&Path) -> Command);

const SERVE_NATIVE: &str = "--serve-native";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, part, path, how] = args.as_slice()
        && part == SERVE_NATIVE
    {
        return serve_native(Path::new(path), how == BLOCKING);
    }
    if !is_installed("wrk") {
        println!("not measured: wrk makes the load (Debian: apt-get install wrk)");
        return;
    }
    let guests = guests();
    let mut table = Table::new(COLUMNS);
    for (name, script) in ROWS.iter().filter(|(name, _)| wanted(name)) {
        let servers: [Candidate<'_>; 4] = [
            ("native", &|path| native(path, INLINE)),
            ("native, spawn_blocking", &|path| native(path, BLOCKING)),
            ("millpond serve", &|path| {
                notes(&guests["millpond_notes"], path)
            }),
            ("millpond serve, reuse", &|path| {
                let mut command = notes(&guests["millpond_notes"], path);
                command.args(["--max-instance-reuse", "1000000"]);
                command
            }),
        ];
        compare(&mut table, name, Some("/api/notes/7"), script, &servers);
    }
    let constant = &guests["constant"];
    if wanted("constant") {
        let servers: [Candidate<'_>; 3] = [
            ("native", &|path| native(path, INLINE)),
            ("millpond serve", &|path| served(constant, path)),
            ("wasmtime serve", &|_| wasmtime(constant)),
        ];
        let measured = match is_installed("wasmtime") {
            true => &servers[..],
            false => &servers[..2],
        };
        compare(&mut table, "constant", None, CONSTANT, measured);
    }
    table.finish();
}

/// Measures every server in turn, several times, and adds the medians to the table. The first is
/// the reference. All must answer a request for the path `answer` alike.
fn compare(
    table: &mut Table,
    row: &str,
    answer: Option<&str>,
    script: &str,
    servers: &[Candidate<'_>],
) {
    let folder = tempfile::tempdir().expect("a folder");
    let script_file = folder.path().join("load.lua");
    std::fs::write(&script_file, script).expect("the script");
    let mut measured = vec![Vec::new(); servers.len()];
    let mut expected = None;
    for _ in 0..ROUNDS {
        for ((_, command), measured) in servers.iter().zip(&mut measured) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("notes.db");
            fill(&path);
            let server = Server::start(command(&path));
            let answered = answer.map(|path| head(server.address, path));
            assert_eq!(expected.get_or_insert_with(|| answered.clone()), &answered);
            // Do not measure the initial compiling, opening and caching.
            load::run(server.address, CLIENTS, &script_file, 1);
            let load = load::run(server.address, CLIENTS, &script_file, SECONDS);
            measured.push((load, server.peak_memory()));
        }
    }
    let of = |loads: &[(Load, f64)], value: fn(&(Load, f64)) -> f64| {
        median(&loads.iter().map(value).collect::<Vec<_>>())
    };
    let native = of(&measured[0], |(load, _)| load.per_second);
    for ((name, _), loads) in servers.iter().zip(&measured) {
        let per_second = of(loads, |(load, _)| load.per_second);
        table.row(
            &format!("{row}: {name}"),
            &[
                Some(per_second),
                Some(per_second / native),
                Some(of(loads, |(load, _)| load.p50)),
                Some(of(loads, |(load, _)| load.p99)),
                Some(of(loads, |(_, memory)| *memory)),
            ],
        );
    }
}

/// The head of the response for a path: its lines in order, without the date, and without what the
/// servers' libraries say of the connection and of the coding of the body.
fn head(address: SocketAddr, path: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .expect("a request");
    let lines = BufReader::new(stream)
        .lines()
        .map(|line| line.expect("a line"));
    let mut head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    head.retain(|line| {
        !["date:", "connection:", "transfer-encoding:"]
            .iter()
            .any(|name| line.starts_with(name))
    });
    head.sort();
    head
}

/// The demo's tables, filled with notes.
fn fill(path: &Path) {
    let mut conn = native::open(path, Synchronous::Normal).expect("a connection");
    let mut command = millpond();
    command
        .args(["migrate", "--migrations", MIGRATIONS, "--db"])
        .arg(path);
    let migrated = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(migrated.expect("the command starts").success());
    let transaction = conn.transaction().expect("a transaction");
    for number in 1..=NOTES {
        let title = format!("Note {number}");
        let body = "What is written in a note, which is a line or two most of the time.";
        let sql = "INSERT INTO notes (title, body) VALUES (?1, ?2)";
        transaction
            .prepare_cached(sql)
            .expect("a statement")
            .execute([title.as_str(), body])
            .expect("a note");
    }
    transaction.commit().expect("a commit");
}

fn notes(guest: &Path, path: &Path) -> Command {
    let mut command = served(guest, path);
    command.args(["--migrations", MIGRATIONS]);
    command
}

fn served(guest: &Path, path: &Path) -> Command {
    let mut command = millpond();
    command
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--no-access-log",
            "--pool-size",
        ])
        .arg(CONNECTIONS.to_string())
        .arg("--db")
        .arg(path)
        .arg(guest);
    command
}

fn wasmtime(guest: &Path) -> Command {
    let mut command = Command::new("wasmtime");
    command
        .args(["serve", "--addr", "127.0.0.1:0", "-Scli"])
        .arg(guest);
    command
}

fn native(path: &Path, how: &str) -> Command {
    let program: PathBuf = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg(SERVE_NATIVE).arg(path).arg(how);
    command
}

/// Statements run on the thread that handles the request: with the fewest thread switches, but a
/// slow statement blocks others.
const INLINE: &str = "inline";
/// Statements run on tokio's blocking threads, as tokio recommends.
const BLOCKING: &str = "blocking";

#[derive(Clone)]
struct Native {
    pool: r2d2::Pool<Manager>,
    blocking: bool,
}

fn serve_native(path: &Path, blocking: bool) {
    let pool = native::pool(path, Synchronous::Full, CONNECTIONS);
    let router = Router::new()
        .route("/", get(async || "constant\n"))
        .route("/api/notes", get(list).post(create))
        .route("/api/notes/{id}", get(read))
        .with_state(Arc::new(Native { pool, blocking }));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        eprintln!(
            "Serving HTTP on http://{}/",
            listener.local_addr().expect("an address")
        );
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await.expect("a server");
    });
}

#[derive(Serialize)]
struct Note {
    id: i64,
    title: String,
    body: String,
    created: String,
    updated: String,
    version: i64,
}

#[derive(Deserialize)]
struct Draft {
    title: String,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    page: Option<u32>,
}

#[derive(Serialize)]
struct Listing {
    notes: Vec<Note>,
    page: u32,
    pages: i64,
    total: i64,
}

impl Native {
    async fn with<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StatusCode> {
        let blocking = self.blocking;
        let work = move || {
            let mut conn = self
                .pool
                .get()
                .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
            work(&mut conn).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
        };
        match blocking {
            true => tokio::task::spawn_blocking(work)
                .await
                .unwrap_or(Err(StatusCode::INTERNAL_SERVER_ERROR)),
            false => work(),
        }
    }
}

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    Ok(Note {
        id: row.get(0)?,
        title: row.get(1)?,
        body: row.get(2)?,
        created: row.get(3)?,
        updated: row.get(4)?,
        version: row.get(5)?,
    })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (
        status,
        headers,
        serde_json::to_vec(body).unwrap_or_default(),
    )
        .into_response()
}

/// A note, with its version.
fn one(status: StatusCode, note: &Note) -> Response {
    let mut response = json(status, note);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", note.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

async fn read(
    State(native): State<Arc<Native>>,
    Segment(id): Segment<i64>,
) -> Result<Response, StatusCode> {
    let sql = "SELECT id, title, body, created, updated, version FROM notes WHERE id = ?1";
    let found = native
        .with(move |conn| conn.prepare_cached(sql)?.query_row([id], note).optional())
        .await?;
    found
        .map(|note| one(StatusCode::OK, &note))
        .ok_or(StatusCode::NOT_FOUND)
}

async fn create(
    State(native): State<Arc<Native>>,
    Json(draft): Json<Draft>,
) -> Result<Response, StatusCode> {
    let title = draft.title.trim().to_owned();
    if title.is_empty() || title.chars().count() > 200 || draft.body.chars().count() > 20_000 {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let sql = "INSERT INTO notes (title, body) VALUES (?1, ?2)
         RETURNING id, title, body, created, updated, version";
    let made = native
        .with(move |conn| {
            conn.prepare_cached(sql)?
                .query_row([title, draft.body], note)
        })
        .await?;
    let mut response = one(StatusCode::CREATED, &made);
    if let Ok(location) = format!("/api/notes/{}", made.id).parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn list(
    State(native): State<Arc<Native>>,
    Query(page): Query<Page>,
) -> Result<Response, StatusCode> {
    let page = page.page.unwrap_or(1).max(1);
    let work = move |conn: &mut Connection| {
        let transaction = conn.transaction()?;
        let sql = "SELECT id, title, body, created, updated, version FROM notes
             ORDER BY updated DESC, id DESC LIMIT ?1 OFFSET ?2";
        let notes = transaction
            .prepare_cached(sql)?
            .query_map([50, i64::from(page - 1) * 50], note)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let sql = "SELECT count(*) FROM notes";
        let total: i64 = transaction
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))?;
        transaction.commit()?;
        Ok(Listing {
            notes,
            page,
            pages: (total + 49).max(50) / 50,
            total,
        })
    };
    Ok(json(StatusCode::OK, &native.with(work).await?))
}
