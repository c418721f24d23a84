//! A database on a server that goes away while `millpond serve` starts.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Systemd, value};
use crate::process::{Server, millpond};
use crate::sqld::Sqld;
use millpond_tests::component;

/// What `/readyz` asks a database.
const ASKED: &[u8] = b"FROM sqlite_schema LIMIT 1";

/// Forwards connections to `server`. While it `is_away`, those that ask what `/readyz` asks are
/// closed.
fn forward(server: SocketAddr, is_away: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a connection");
            let server = TcpStream::connect(server).expect("a server");
            let [back, forth] = [(&server, &client), (&client, &server)].map(|(from, to)| {
                let copy = |stream: &TcpStream| stream.try_clone().expect("a copy");
                (copy(from), copy(to))
            });
            let is_away = Arc::clone(&is_away);
            std::thread::spawn(move || copy(back, |_| true));
            std::thread::spawn(move || {
                copy(forth, |bytes| {
                    let mut parts = bytes.windows(ASKED.len());
                    !is_away.load(Ordering::Relaxed) || !parts.any(|part| part == ASKED)
                });
            });
        }
    });
    address
}

/// Copies until the end, or until a part may not pass.
fn copy((mut from, mut to): (TcpStream, TcpStream), may_pass: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 4096];
    while let Ok(length) = from.read(&mut bytes)
        && length > 0
        && may_pass(&bytes[..length])
        && to.write_all(&bytes[..length]).is_ok()
    {}
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Otherwise systemd would end it after its patience, though it serves everything else.
#[test]
fn a_database_that_is_away_does_not_make_the_start_fail() {
    let Some(sqld) = Sqld::start() else { return };
    let server = sqld.url().strip_prefix("http://").map(str::to_owned);
    let server = server.expect("a URL").parse().expect("an address");
    let is_away = Arc::new(AtomicBool::new(true));
    let address = forward(server, Arc::clone(&is_away));
    let systemd = Systemd::new();
    let mut command = millpond();
    command.env("NOTIFY_SOCKET", systemd.folder.path().join("notify"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--stats", "127.0.0.1:0"]);
    command.args(["--db", &format!("http://{address}")]);
    command.arg(component("hostile_serves"));
    let server = Server::start(command);
    let status = || loop {
        let message = systemd.next();
        if value(&message, "READY") == Some("1") {
            break value(&message, "STATUS").expect("a status").to_owned();
        }
    };
    assert!(status().contains("default"));
    server.ask_admin("/readyz", "").is(503);
    server.ask("GET", "/quick", None).is(200);
    is_away.store(false, Ordering::Relaxed);
    assert!(!status().contains("default"));
}
