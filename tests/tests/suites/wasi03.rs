//! Components for WASI 0.3, whose functions and bodies are asynchronous: served, and run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use millpond_tests::{component, foreach_wasi03};

use crate::assert_test_exists;
use crate::process::{Request, Server, here, millpond};
use crate::site::{connect, head, http2, talk};

foreach_wasi03!(assert_test_exists);

const GUEST: &str = "wasi03_visits";

fn serve(database: &Path) -> Server {
    Server::of(GUEST, database, &["--no-access-log"])
}

/// The body of a complete response to a GET.
fn get(server: &Server, path: &str) -> String {
    let answer = server.ask("GET", path, None).is(200);
    String::from_utf8(answer.body).expect("text")
}

fn text(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    std::str::from_utf8(&output.stdout).expect("text")
}

fn numbers() -> String {
    (1..=100_000).map(|number| format!("{number}\n")).collect()
}

#[test]
fn wasi03_visits() {
    let (_folder, database) = here();
    for visits in 1..=2 {
        let mut command = millpond();
        command.arg("run").arg("--db").arg(&database);
        let output = command.arg(component(GUEST)).output().expect("it runs");
        assert_eq!(text(&output), format!("{visits} visits\n"));
    }
    let server = serve(&database);
    for visits in 3..=5 {
        assert_eq!(get(&server, "/visits"), visits.to_string());
    }
    server.ends_with_nothing_in_use();
}

#[test]
fn inspect_says_how_it_can_be_run() {
    let mut command = millpond();
    command.arg("inspect").arg(component(GUEST));
    let output = command.output().expect("it runs");
    for line in [
        "an HTTP handler (WASI 0.3)",
        "a command (WASI 0.3)",
        "provided  wasi:http/types@0.3",
        "provided  millpond:sqlite/pool@0.1.0",
    ] {
        assert!(text(&output).contains(line), "{output:?}");
    }
    assert!(!text(&output).contains("missing"), "{output:?}");
}

#[test]
fn fifty_clients_are_served_at_once() {
    const CLIENTS: usize = 50;
    const REQUESTS: usize = 4;
    let (_folder, database) = here();
    let server = serve(&database);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    get(&server, "/visits");
                }
            });
        }
    });
    let visits = CLIENTS * REQUESTS + 1;
    assert_eq!(get(&server, "/visits"), visits.to_string());
    server.ends_with_nothing_in_use();
}

#[test]
fn bodies_are_streamed_both_ways() {
    let (_folder, database) = here();
    let server = serve(&database);
    assert!(get(&server, "/numbers") == numbers());
    let upload = vec![b'a'; 3_000_000];
    let answer = server.ask_raw("POST", "/upload", "", &upload).is(200);
    assert_eq!(answer.body, b"3000000");

    // The guest is in its transaction while it waits for the second half.
    let mut held = Request::hold(server.address, "POST", "/upload", 10).expect("a guest");
    held.send(b"first").expect("it reads");
    assert_eq!(server.counters()["in_use"], 1);
    held.send(b", too").expect("it reads");
    let answer = held.answer().expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("3000010"));
    server.ends_with_nothing_in_use();
}

#[test]
fn a_disconnect_rolls_back() {
    let (_folder, database) = here();
    let server = serve(&database);
    let mut held = Request::hold(server.address, "POST", "/upload", 10).expect("a guest");
    held.send(b"first").expect("it reads");
    assert_eq!(server.counters()["in_use"], 1);
    drop(held);
    // It waits until the turn to write is free again.
    let answer = server.ask_raw("POST", "/upload", "", b"whole").is(200);
    assert_eq!(answer.body, b"5");
    server.ends_with_nothing_in_use();
}

#[test]
fn a_trap_gives_everything_back() {
    let (_folder, database) = here();
    let server = Server::of(GUEST, &database, &[]);
    // One after another: more than there are connections.
    for _ in 0..10 {
        let answer = server.ask("GET", "/trap", None).is(500);
        // Not as if its client had left.
        assert!(!answer.body.is_empty());
    }
    assert_eq!(get(&server, "/visits"), "1");

    // After the head of the response has been sent, only the end of the body can show the failure.
    let broken = server.ask("GET", "/numbers/trap", None).is(200);
    assert!(broken.body.len() < numbers().len() && numbers().as_bytes().starts_with(&broken.body));
    server.line_with("cut short");
    assert_eq!(get(&server, "/visits"), "2");
    server.ends_with_nothing_in_use();
}

/// The guest passes the request's trailers on, so they arrive after its last task has ended.
#[test]
fn a_response_has_its_trailers() {
    const REQUESTS: usize = 50;
    let (_folder, database) = here();
    for reuse in ["1", "4"] {
        let flags = ["--no-access-log", "--max-instance-reuse", reuse];
        let server = Server::of(GUEST, &database, &flags);
        let address = server.address;
        talk(async {
            let (mut requests, _connection) = http2(address).await;
            for _ in 0..REQUESTS {
                let sent = requests.send_request(head(address, "POST", "/echo"), false);
                let (answer, mut upload) = sent.expect("a request");
                let part = Bytes::from_static(b"hello");
                upload.send_data(part, false).expect("a part");
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", HeaderValue::from_static("1"));
                upload.send_trailers(trailers.clone()).expect("trailers");
                let mut download = answer.await.expect("an answer").into_body();
                let mut echo = Vec::new();
                while let Some(part) = download.data().await {
                    echo.extend(part.expect("a part"));
                }
                assert_eq!(echo, b"hello");
                let got = download.trailers().await.expect("a whole response");
                assert_eq!(got, Some(trailers));
            }
        });
        // HTTP/1.1 has them if the client accepts them, and the response's head names them.
        for (accepts, names, end) in [
            (
                "te: trailers\r\n",
                "set-trailer: x-sum\r\n",
                "0\r\nx-sum: 1\r\n\r\n",
            ),
            ("te: trailers\r\n", "", "5\r\nhello\r\n0\r\n\r\n"),
            ("", "set-trailer: x-sum\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ] {
            for _ in 0..REQUESTS {
                let mut client = connect(address);
                let request = format!(
                    "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{accepts}{names}\
                     transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"
                );
                client.write_all(request.as_bytes()).expect("it reads");
                let mut answer = String::new();
                client.read_to_string(&mut answer).expect("an answer");
                assert!(answer.ends_with(end), "{answer}");
            }
        }
        server.ends_with_nothing_in_use();
    }
}

/// The client has its response, and its connection is closed: only the guest is left.
#[test]
fn a_stop_waits_for_what_a_guest_does_after_its_response() {
    let (_folder, database) = here();
    let server = serve(&database);
    assert_eq!(get(&server, "/visits"), "1");
    let other = rusqlite::Connection::open(&database).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    assert_eq!(get(&server, "/late"), "sent");
    server.terminate();
    server.line_with("Shutting down");
    while TcpStream::connect(server.address).is_ok() {}
    other.execute_batch("COMMIT").expect("a commit");
    assert!(server.wait().success());
    let sql = "SELECT count(*) FROM visit";
    let visits = other.query_row(sql, [], |row| row.get(0));
    assert_eq!(visits, Ok(2));
}
