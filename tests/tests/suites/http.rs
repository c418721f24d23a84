//! How `serve` handles HTTP itself, byte by byte: RFC 9110 and RFC 9112, clients that close half of
//! a connection or send half of a request, and the access log.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use millpond_tests::component;

use crate::process::{PATIENCE, Request, Server, millpond, until};

/// A server with its own temporary database.
struct Served {
    server: Server,
    _folder: tempfile::TempDir,
}

fn serve(guest: &str, args: &[&str]) -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("app.db");
    let server = match guest {
        "millpond_notes" => Server::notes(&database, args),
        _ => Server::of(guest, &database, args),
    };
    Served {
        server,
        _folder: folder,
    }
}

/// A raw connection.
struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Client(stream)
    }

    fn sending(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Client {
        let mut client = Client::new(address);
        client.send(bytes);
        client
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("the server reads");
    }

    fn close_sending_half(&self) {
        self.0.shutdown(Shutdown::Write).expect("half a connection");
    }

    /// Everything up to the end of the connection, which must not be a reset.
    fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.0.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        read.unwrap_or_else(|error| panic!("{error} after {text:?}"));
        text
    }

    /// One head, up to the empty line.
    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("the rest of a head");
            head.extend(byte);
        }
        String::from_utf8(head).expect("a head")
    }
}

fn status(answer: &str) -> u16 {
    let status = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5));
    status
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The number of responses in the text.
fn answers(text: &str) -> usize {
    text.matches("HTTP/1.").count()
}

#[test]
fn requests_are_served_or_refused_as_http_says() {
    let served = serve("hostile_serves", &["--no-access-log"]);
    let address = served.server.address;
    let close = "connection: close\r\n";
    let get = |fields: &str| format!("GET /quick HTTP/1.1\r\n{fields}\r\n{close}\r\n");
    let post = |field: &str, content: &str| {
        format!("POST /query HTTP/1.1\r\nhost: x\r\n{field}\r\n{close}\r\n{content}")
    };
    let post_10 = |fields: &str, content: &str| {
        format!("POST /query HTTP/1.0\r\nhost: x\r\n{fields}\r\n\r\n{content}")
    };
    for (request, expected) in [
        // RFC 9112, 3.2: Host.
        ("GET /quick HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("GET /quick HTTP/1.0\r\nhost: x\r\n\r\n".to_owned(), 200),
        (get("host: x"), 200),
        (get("host: [::1]:80"), 200),
        (get("host: x:"), 200),
        (format!("GET /quick HTTP/1.1\r\n{close}\r\n"), 400),
        (get("host:"), 400),
        (get("host: b\u{fc}cher"), 400),
        (get("host: a b"), 400),
        (get("host: a/b"), 400),
        (get("host: u@x"), 400),
        (get("host: x:port"), 400),
        (get("host: :80"), 400),
        (get("host: x\r\nhost: x"), 400),
        (
            "GET /quick HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n".to_owned(),
            400,
        ),
        ("GET /quick HTTP/1.0\r\nhost: \r\n\r\n".to_owned(), 400),
        // RFC 9112, 3.2.1 to 3.2.4: the forms of the target.
        (
            format!("GET http://x/quick HTTP/1.1\r\nhost: y\r\n{close}\r\n"),
            200,
        ),
        ("GET http://x/quick HTTP/1.0\r\n\r\n".to_owned(), 200),
        (format!("GET http://x/quick HTTP/1.1\r\n{close}\r\n"), 400),
        (
            format!("GET http://u@x/quick HTTP/1.1\r\nhost: x\r\n{close}\r\n"),
            400,
        ),
        (
            format!("GET https://x/quick HTTP/1.1\r\nhost: x\r\n{close}\r\n"),
            421,
        ),
        (format!("GET x:80 HTTP/1.1\r\nhost: x\r\n{close}\r\n"), 400),
        (format!("GET quick HTTP/1.1\r\nhost: x\r\n{close}\r\n"), 400),
        (format!("GET * HTTP/1.1\r\nhost: x\r\n{close}\r\n"), 400),
        (format!("OPTIONS * HTTP/1.1\r\nhost: x\r\n{close}\r\n"), 200),
        (
            format!("CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n{close}\r\n"),
            501,
        ),
        // RFC 9112, 2.2 and 3: lines.
        (
            format!("\r\nGET /quick HTTP/1.1\r\nhost: x\r\n{close}\r\n"),
            200,
        ),
        (get(" host: x"), 400),
        ("GET /quick\r\n\r\n".to_owned(), 400),
        ("GET /quick HTTP/2.0\r\nhost: x\r\n\r\n".to_owned(), 400),
        ("GET /quick http/1.1\r\nhost: x\r\n\r\n".to_owned(), 400),
        ("G@T /quick HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 400),
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000)),
            414,
        ),
        // Larger than a head may be, but not than what hyper reads.
        (
            format!(
                "{} /quick HTTP/1.1\r\nhost: x\r\n{close}\r\n",
                "X".repeat(70_000)
            ),
            431,
        ),
        (
            format!(
                "GET /quick?{} HTTP/1.1\r\nhost: x\r\n{close}\r\n",
                "x".repeat(8_000)
            ),
            200,
        ),
        (format!("GET /quick HTTP/1.1\nhost: x\n{close}\n"), 200),
        // RFC 9112, 5: fields.
        (get("host: x\r\na : b"), 400),
        (get("host: x\r\na: b\r\n c"), 400),
        (get("host: x\r\na: b\0c"), 400),
        (get("host: x\r\na: b\rc"), 400),
        (get("host: x\r\n: b"), 400),
        (get("host: x\r\nnothing"), 400),
        (
            format!(
                "GET /quick HTTP/1.1\r\nhost: x\r\n{}\r\n",
                "a: b\r\n".repeat(200)
            ),
            431,
        ),
        // RFC 9112, 6: how long the content is.
        (
            post("content-length: 8\r\ncontent-length: 8", "SELECT 1"),
            200,
        ),
        (
            post("content-length: 8\r\ncontent-length: 7", "SELECT 1"),
            400,
        ),
        (post("content-length: 8, 7", "SELECT 1"), 400),
        (post("content-length: -8", ""), 400),
        (post("content-length: +8", "SELECT 1"), 400),
        (post("content-length:", ""), 400),
        (
            post("transfer-encoding: chunked", "8\r\nSELECT 1\r\n0\r\n\r\n"),
            200,
        ),
        (
            post(
                "transfer-encoding: Chunked",
                "8;a=b\r\nSELECT 1\r\n0\r\nt: u\r\n\r\n",
            ),
            200,
        ),
        (
            post_10("transfer-encoding: chunked", "8\r\nSELECT 1\r\n0\r\n\r\n"),
            400,
        ),
        (post("transfer-encoding: gzip", ""), 400),
        (post("transfer-encoding: chunked, gzip", ""), 400),
        (post("transfer-encoding: gzip, chunked", "0\r\n\r\n"), 501),
        (
            post("transfer-encoding: chunked, chunked", "0\r\n\r\n"),
            400,
        ),
        (post("transfer-encoding: chunked", "none\r\n"), 400),
        (
            post("transfer-encoding: chunked", "fffffffffffffffff\r\n"),
            400,
        ),
        // Requests that a proxy may understand in another way.
        (
            post("transfer-encoding: chunked", "8\nSELECT 1\r\n0\r\n\r\n"),
            400,
        ),
        (
            post(
                "transfer-encoding: chunked",
                "8;a\nb\r\nSELECT 1\r\n0\r\n\r\n",
            ),
            400,
        ),
        (
            post("transfer-encoding: chunked", "0x8\r\nSELECT 1\r\n0\r\n\r\n"),
            400,
        ),
        (
            post("transfer-encoding: chunked", "8\r\nSELECT 1..0\r\n\r\n"),
            400,
        ),
        (post("transfer-encoding: xchunked", "0\r\n\r\n"), 400),
        (post("transfer-encoding: \x0bchunked", "0\r\n\r\n"), 400),
        (post("transfer-encoding : chunked", "0\r\n\r\n"), 400),
        (post("content-length: 0x8", "SELECT 1"), 400),
        (post("content-length: 18446744073709551616", ""), 400),
        (
            post(
                "content-length: 8\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\
                 connection: upgrade, http2-settings",
                "SELECT 1",
            ),
            200,
        ),
        // RFC 9110, 10.1.1: what is expected.
        (get("host: x\r\nexpect: miracles"), 417),
        (
            post_10("expect: 100-continue\r\ncontent-length: 8", "SELECT 1"),
            200,
        ),
        // RFC 9110, 15.2: a guest's interim response is not a response.
        (
            format!("GET /hints HTTP/1.1\r\nhost: x\r\n{close}\r\n"),
            500,
        ),
        // RFC 9110, 9: the guest decides about methods.
        (
            format!("BREW /quick HTTP/1.1\r\nhost: x\r\n{close}\r\n"),
            200,
        ),
        (
            format!("HEAD /quick HTTP/1.1\r\nhost: x\r\n{close}\r\n"),
            200,
        ),
    ] {
        let answer = Client::sending(address, &request).rest();
        let shown = &request[..request.len().min(200)];
        assert_eq!(status(&answer), expected, "{shown:?}: {answer:?}");
        assert_eq!(answers(&answer), 1, "{shown:?}: {answer:?}");
        let has_content = !answer.ends_with("\r\n\r\n");
        let may_have_content = !request.starts_with("HEAD");
        assert!(may_have_content || !has_content, "{answer:?}");
    }
}

/// RFC 9112, 6.1: to a proxy in between, what follows might be part of it, so it gets no response.
#[test]
fn after_two_lengths_the_connection_ends() {
    let served = serve("hostile_serves", &[]);
    let second = "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n";
    for lengths in [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
    ] {
        let request = format!(
            "POST /query HTTP/1.1\r\nhost: x\r\n{lengths}\r\n8\r\nSELECT 1\r\n0\r\n\r\n{second}"
        );
        let answer = Client::sending(served.server.address, request).rest();
        assert_eq!((status(&answer), answers(&answer)), (200, 1), "{answer:?}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let served = serve("hostile_serves", &[]);
    let one = "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = Client::sending(served.server.address, format!("{one}{one}{last}")).rest();
    assert_eq!((status(&answer), answers(&answer)), (200, 3), "{answer:?}");
}

#[test]
fn a_client_that_closes_its_sending_half_gets_its_answer() {
    for threads in [true, false] {
        let served = serve("hostile_serves", &[]);
        let address = served.server.address;
        // With these open, the next connections share threads.
        let others: Vec<_> = (0..if threads { 0 } else { 64 })
            .map(|_| {
                let mut other = Client::sending(address, "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n");
                other.head();
                other
            })
            .collect();
        for request in [
            "GET /quick HTTP/1.0\r\n\r\n",
            "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n",
            "POST /query HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\nSELECT 1",
        ] {
            let client = Client::sending(address, request);
            client.close_sending_half();
            let answer = client.rest();
            assert_eq!(status(&answer), 200, "{request:?}: {answer:?}");
        }
        drop(others);
    }
}

/// The server probes the client with an interim response: one that is gone responds with a reset.
#[test]
fn a_client_that_closes_its_sending_half_is_waited_for() {
    let served = serve("wasi03_visits", &[]);
    let address = served.server.address;
    // It has the turn to write until its body is complete.
    let mut writer = Request::hold(address, "POST", "/upload", 2).expect("a guest");
    writer.send(b"1").expect("it reads");
    while served.server.counters()["in_use"] != 1 {
        std::thread::yield_now();
    }
    let mut client = Client::sending(address, "GET /visits HTTP/1.1\r\nhost: x\r\n\r\n");
    client.close_sending_half();
    assert_eq!(status(&client.head()), 100);
    writer.send(b"2").expect("it reads");
    assert_eq!(writer.answer().expect("an answer").status, 200);
    assert_eq!(status(&client.rest()), 200);
}

#[test]
fn an_unread_upload_does_not_cost_the_answer() {
    const SIZE: usize = 8_000_000;
    let served = serve("hostile_serves", &[]);
    let address = served.server.address;
    for expect in ["", "expect: 100-continue\r\n"] {
        let head =
            format!("POST /quick HTTP/1.1\r\nhost: x\r\n{expect}content-length: {SIZE}\r\n\r\n");
        let mut client = Client::sending(address, head);
        client.send(vec![b'x'; SIZE]);
        assert_eq!(status(&client.rest()), 200);
    }
    // Also if HTTP itself refuses the request.
    let mut client = Client::sending(address, "POST /quick HTTP/1.1\r\nbad\r\n\r\n");
    client.send(vec![b'x'; SIZE]);
    assert_eq!(status(&client.rest()), 400);
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_upload_gets_the_answer_without() {
    let served = serve("hostile_serves", &[]);
    let head =
        "POST /quick HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    let answer = Client::sending(served.server.address, head).rest();
    assert_eq!((status(&answer), answers(&answer)), (200, 1), "{answer:?}");
}

#[test]
fn an_incomplete_request_is_refused_when_the_client_stops_sending() {
    let served = serve("hostile_serves", &[]);
    for request in [
        "POST /query HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nSELECT",
        "POST /query HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n9\r\nSELECT",
    ] {
        let client = Client::sending(served.server.address, request);
        client.close_sending_half();
        assert_eq!(status(&client.rest()), 400);
    }
    let client = Client::sending(served.server.address, "GET /quick HT");
    client.close_sending_half();
    client.rest();
    let served = serve("wasi03_visits", &[]);
    let client = Client::sending(
        served.server.address,
        "POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
    );
    client.close_sending_half();
    assert_eq!(status(&client.rest()), 400);
}

#[test]
fn a_client_that_closes_its_connection_ends_its_guest() {
    let served = serve("hostile_serves", &["--request-timeout", "1h"]);
    let server = &served.server;
    let running = || {
        let snapshot = server.ask_admin("/snapshot", "").is(200).json();
        snapshot["places"]["in_use"].as_u64().expect("a number")
    };
    let client = Client::sending(server.address, "GET /loop HTTP/1.1\r\nhost: x\r\n\r\n");
    until("its guest runs", || running() == 1);
    drop(client);
    until("its guest has ended", || running() == 0);
    // A client that closes its sending half and waits, and then closes.
    let mut client = Client::sending(server.address, "GET /loop HTTP/1.1\r\nhost: x\r\n\r\n");
    client.close_sending_half();
    assert_eq!(status(&client.head()), 100);
    assert_eq!(running(), 1);
    drop(client);
    until("its guest has ended", || running() == 0);
}

#[test]
fn a_shutdown_waits_for_an_unfinished_upload_until_the_grace_ends() {
    let served = serve("wasi03_visits", &["--grace", "1s"]);
    let mut held = Request::hold(served.server.address, "POST", "/upload", 10).expect("a guest");
    held.send(b"half").expect("it reads");
    let since = Instant::now();
    served.server.terminate();
    assert_eq!(held.answer().expect("an answer").status, 503);
    assert!(served.server.wait().success());
    let took = since.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_shutdown_does_not_wait_for_an_unfinished_head() {
    let served = serve("hostile_serves", &["--grace", "1h"]);
    let address = served.server.address;
    let fresh = Client::sending(address, "GET /quick HT");
    let mut kept = Client::sending(address, "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n");
    kept.head();
    kept.send("GET /quick HT");
    let idle = Client::new(address);
    let head = "POST /quick HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
    let mut uploading = Client::sending(address, head);
    uploading.head();
    let since = Instant::now();
    served.server.terminate();
    assert!(served.server.wait().success());
    // A head may take 30 s.
    let took = since.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    drop((fresh, kept, idle, uploading));
}

#[test]
fn a_shutdown_waits_for_a_client_that_does_not_read_until_the_grace_ends() {
    let served = serve("wasi03_visits", &["--grace", "1s"]);
    let mut client = Client::sending(
        served.server.address,
        "GET /numbers/endless HTTP/1.1\r\nhost: x\r\n\r\n",
    );
    client.head();
    let since = Instant::now();
    served.server.terminate();
    served.server.line_with("cut short");
    assert!(served.server.wait().success());
    let took = since.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_whole_response_is_not_cut_short_in_the_log() {
    let served = serve("millpond_notes", &[]);
    let server = &served.server;
    let note = serde_json::json!({"title": "a"});
    server.ask("POST", "/api/notes", Some(&note)).is(201);
    let whole = |what: &str| {
        let line = server.line_with(what);
        assert!(!line.contains("cut short"), "{line}");
    };
    whole("POST /api/notes 201");
    for (method, path, status) in [
        ("GET", "/api/notes", 200),
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("HEAD", "/api/notes", 200),
        ("GET", "/nothing", 404),
        ("OPTIONS", "/api/notes/1", 405),
        ("DELETE", "/api/notes/1", 204),
    ] {
        for version in ["1.0", "1.1"] {
            let request =
                format!("{method} {path} HTTP/{version}\r\nhost: x\r\nconnection: close\r\n\r\n");
            let answer = Client::sending(server.address, request).rest();
            let found = self::status(&answer);
            // Deleted, the second time.
            let status = if found == 404 { 404 } else { status };
            assert_eq!(found, status, "{method} {path}: {answer:?}");
            whole(&format!("{method} {path} {status}"));
        }
    }
    let served = serve("wasi03_visits", &[]);
    for version in ["1.0", "1.1"] {
        let request =
            format!("GET /numbers HTTP/{version}\r\nhost: x\r\nconnection: close\r\n\r\n");
        Client::sending(served.server.address, request).rest();
        let line = served.server.line_with("/numbers");
        assert!(!line.contains("cut short"), "{line}");
    }
}

#[test]
fn a_response_that_its_client_does_not_take_is_cut_short_in_the_log() {
    let served = serve("wasi03_visits", &[]);
    let server = &served.server;
    for (path, version) in [("/numbers/endless", "1.1"), ("/numbers/endless", "1.0")] {
        let request = format!("GET {path} HTTP/{version}\r\nhost: x\r\n\r\n");
        let mut client = Client::sending(server.address, request);
        client.head();
        drop(client);
        let line = server.line_with(path);
        assert!(line.contains("200") && line.contains("cut short"), "{line}");
    }
    // Responses that the guest truncates.
    server.ask("GET", "/numbers/trap", None).is(200);
    server.line_with("cut short");
}

/// Both while its guest still writes, and once the server has the whole response.
#[test]
fn a_client_that_does_not_read_its_response_loses_its_connection_at_the_deadline() {
    let flags = ["--request-timeout", "500ms", "--grace", "1h"];
    let served = serve("wasi03_visits", &flags);
    let request = "GET /numbers/endless HTTP/1.1\r\nhost: x\r\n\r\n";
    let client = Client::sending(served.server.address, request);
    let line = served.server.line_with("/numbers/endless 200");
    assert!(line.contains("cut short"), "{line}");
    served.server.ends_with_nothing_in_use();
    drop(client);

    let served = serve("hostile_serves", &flags);
    let request = format!(
        "GET /uri?{} HTTP/1.1\r\nhost: x\r\n\r\n",
        "x".repeat(60_000)
    );
    let mut client = Client::new(served.server.address);
    let error = loop {
        if let Err(error) = client.0.write_all(request.as_bytes()) {
            break error;
        }
    };
    // The server reads no more until the client does.
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    served.server.ends_with_nothing_in_use();
}

/// Whatever headers about length or connection a guest sets, the client finds the next response.
#[test]
fn a_guest_does_not_decide_where_its_response_ends() {
    let served = serve("wasi03_visits", &[]);
    for (fields, expected) in [
        ("status: 200\r\n", Some(200)),
        ("status: 204\r\n", Some(204)),
        ("status: 204\r\nset-content-length: 5\r\n", Some(204)),
        ("status: 304\r\nset-content-length: 5\r\n", Some(304)),
        ("status: 100\r\n", Some(500)),
        ("status: 101\r\nset-a: b\r\n", Some(500)),
        ("set-connection: close\r\n", Some(500)),
        ("set-keep-alive: timeout=5\r\n", Some(500)),
        ("set-transfer-encoding: chunked\r\n", Some(500)),
        ("set-upgrade: h2c\r\n", Some(500)),
        ("set-content-length: 5\r\n", Some(200)),
        ("set-content-length: five\r\n", Some(500)),
        (
            "set-content-length: 5\r\nset-content-length: 5\r\n",
            Some(500),
        ),
        // The response breaks off.
        ("set-content-length: 4\r\n", None),
        ("set-content-length: 6\r\n", None),
    ] {
        let request = format!(
            "POST /echo HTTP/1.1\r\nhost: x\r\n{fields}content-length: 5\r\n\r\nhello\
             GET /count HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        let answer = Client::sending(served.server.address, request).rest();
        let Some(expected) = expected else {
            assert!(answers(&answer) < 2, "{fields:?}: {answer:?}");
            continue;
        };
        assert_eq!(status(&answer), expected, "{fields:?}: {answer:?}");
        assert_eq!(answers(&answer), 2, "{fields:?}: {answer:?}");
        // The next one has a length if its guest ended early.
        let next = answer.rfind("HTTP/1.1 ").expect("a response");
        let (answer, next) = answer.split_at(next);
        let is_whole = next.ends_with("\r\n\r\n1\r\n1\r\n0\r\n\r\n") || next.ends_with("\r\n\r\n1");
        assert!(is_whole, "{fields:?}: {next:?}");
        let is_empty = matches!(expected, 204 | 304);
        assert_eq!(answer.contains("hello"), expected == 200, "{answer:?}");
        let has_length = answer.contains("content-length");
        assert!(!is_empty || has_length == (expected == 304), "{answer:?}");
    }
}

/// A client chooses its method.
#[test]
fn a_method_is_bounded_in_the_log() {
    let served = serve("hostile_serves", &[]);
    let method = "X".repeat(10_000);
    let request = format!("{method} /quick HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut client = Client::sending(served.server.address, request);
    assert_eq!(status(&client.head()), 200);
    let line = served.server.line_with("/quick 200");
    assert!(line.len() < 200, "{line}");
}

#[test]
fn requests_that_http_refuses_are_in_the_log() {
    let served = serve("hostile_serves", &[]);
    for (request, status) in [
        ("GET /quick HTTP/1.1\r\nbad\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), 414),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200)),
            431,
        ),
        // More than twice what hyper reads: where all has arrived, it may read beyond its limit.
        (
            format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(1_000_000)),
            431,
        ),
    ] {
        let answer = Client::sending(served.server.address, request).rest();
        assert_eq!(self::status(&answer), status, "{answer:?}");
        served.server.line_with(&format!(" {status} "));
    }
    // And those that the host refuses.
    for (request, status) in [
        ("GET /quick HTTP/1.1\r\n\r\n", 400),
        ("CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 501),
    ] {
        let mut client = Client::sending(served.server.address, request);
        assert_eq!(self::status(&client.head()), status);
        served.server.line_with(&format!(" {status} "));
    }
}

#[test]
fn an_address_may_be_a_name_or_a_port_alone() {
    for (listen, stats) in [("localhost:0", ":0"), (":0", "localhost:0")] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = millpond();
        command
            .args(["serve", "--listen", listen, "--stats", stats, "--db"])
            .arg(folder.path().join("app.db"))
            .arg(component("hostile_serves"));
        let server = Server::start(command);
        server.ask("GET", "/quick", None).is(200);
        let counters = millpond()
            .args(["stats", &format!(":{}", server.counters_port())])
            .output()
            .expect("the command runs");
        assert_eq!(counters.status.code(), Some(0), "{counters:?}");
    }
}
