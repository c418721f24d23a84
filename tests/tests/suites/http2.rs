//! HTTP/2 of `serve`, with curl, and with a client that breaks the rules.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;

use crate::process::{PATIENCE, has};
use crate::site::{Site, ask, connect, head, http2, is_closed, talk, until_in_use};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty frame.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

#[test]
fn both_versions_are_served_on_one_port() {
    if !has("curl") {
        return;
    }
    let site = Site::new("wasi03_visits", "", "");
    for (flag, version) in [
        ("--http2-prior-knowledge", "HTTP/2"),
        ("--http1.1", "HTTP/1.1"),
    ] {
        let whole = site.curl(
            "http",
            "/echo",
            &[flag, "--data", "hello", "-H", "cookie: a=1"],
        );
        assert_eq!(whole.status(), format!("{version} 200"));
        assert_eq!(whole.body(), b"hello");
        let uri = format!("http://{}/echo", site.server.address);
        assert_eq!(whole.header("uri"), Some(uri));
        assert_eq!(whole.header("cookies").as_deref(), Some("a=1"));
        let line = site.server.line_with("POST /echo 200 5 bytes");
        assert!(!line.contains("cut short"), "{line}");
        let head = site.curl("http", "/visits", &[flag, "--head"]);
        assert_eq!(head.status(), format!("{version} 200"));
        assert!(head.body().is_empty());
        let long = site.curl("http", "/numbers", &[flag]);
        assert_eq!(long.body().len(), 588_895);
        let missing = site.curl("http", "/nothing", &[flag]);
        assert_eq!(missing.status(), format!("{version} 500"));
    }
    // What begins like HTTP/2, but is not.
    for method in ["P", "PR", "PROPFIND"] {
        let refused = site.curl("http", "/visits", &["--http1.1", "--request", method]);
        assert!(refused.status().starts_with("HTTP/1.1 "), "{method}");
    }
}

#[test]
fn a_client_that_begins_with_http2_and_leaves_is_let_go() {
    let site = Site::new("hostile_serves", "head-timeout = \"1h\"", "");
    let mut client = connect(site.server.address);
    client.write_all(&PREFACE[..1]).expect("it reads");
    client.shutdown(Shutdown::Write).expect("half a connection");
    is_closed(client);
}

#[test]
fn http2_can_be_turned_off() {
    if !has("curl") {
        return;
    }
    let site = Site::new("hostile_serves", "", "http2 = false");
    let refused = site.curl("http", "/quick", &["--http2-prior-knowledge"]);
    assert!(!refused.0.status.success());
    assert_eq!(site.curl("http", "/quick", &[]).status(), "HTTP/1.1 200");
}

/// All responses have begun before any request has ended.
#[test]
fn requests_of_one_connection_run_at_the_same_time() {
    const REQUESTS: usize = 20;
    let site = Site::new("wasi03_visits", "", "");
    let address = site.server.address;
    talk(async {
        let (requests, _connection) = http2(address).await;
        let mut open = Vec::new();
        for number in 0..REQUESTS {
            let mut requests = requests.clone().ready().await.expect("one more");
            let (answer, mut upload) = requests
                .send_request(head(address, "POST", "/echo"), false)
                .expect("a request");
            let part = Bytes::from(number.to_string());
            upload.send_data(part.clone(), false).expect("a part");
            let mut download = answer.await.expect("an answer").into_body();
            let echo = download.data().await.expect("data").expect("a part");
            assert_eq!(echo, part);
            open.push((upload, download));
        }
        for (mut upload, mut download) in open {
            upload.send_data(Bytes::new(), true).expect("the end");
            while let Some(part) = download.data().await {
                assert!(part.expect("no error").is_empty());
            }
        }
    });
}

#[test]
fn a_reset_request_and_a_closed_connection_end_their_guests() {
    // The shutdown would wait for a guest.
    let settings = "grace = \"1h\"\nrequest-timeout = \"1h\"";
    let site = Site::new("hostile_serves", settings, "");
    let address = site.server.address;
    for is_reset in [true, false] {
        talk(async {
            let (mut requests, connection) = http2(address).await;
            let mut streams = Vec::new();
            for path in ["/loop", "/sql", "/sql"] {
                let sent = requests.send_request(head(address, "GET", path), true);
                streams.push(sent.expect("a request"));
            }
            until_in_use(&site.server, 2);
            if is_reset {
                for (_, stream) in &mut streams {
                    stream.send_reset(Reason::CANCEL);
                }
                until_in_use(&site.server, 0);
                let answer = ask(&mut requests, address, "/quick").await;
                assert_eq!(answer.expect("an answer").status(), 200);
            } else {
                // Dropping it closes the socket.
                connection.abort();
                until_in_use(&site.server, 0);
            }
        });
        site.server.line_with("/loop - (the client disconnected)");
    }
    site.server.ends_with_nothing_in_use();
}

#[test]
fn a_shutdown_finishes_what_runs_and_refuses_what_follows() {
    let site = Site::new("wasi03_visits", "grace = \"1h\"", "");
    let address = site.server.address;
    talk(async {
        let (mut idle, idle_connection) = http2(address).await;
        ask(&mut idle, address, "/visits").await.expect("an answer");
        let (mut requests, connection) = http2(address).await;
        let (answer, mut upload) = requests
            .send_request(head(address, "POST", "/echo"), false)
            .expect("a request");
        let mut download = answer.await.expect("an answer").into_body();
        site.server.terminate();
        // The server says that it goes away.
        idle_connection
            .await
            .expect("no panic")
            .expect("a whole connection");
        while requests.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
        upload.send_data(Bytes::from("late"), true).expect("a part");
        let mut echo = Vec::new();
        while let Some(part) = download.data().await {
            echo.extend(part.expect("a part"));
        }
        assert_eq!(echo, b"late");
        drop((requests, download, upload));
        connection
            .await
            .expect("no panic")
            .expect("a whole connection");
    });
    assert!(site.server.wait().success());
}

/// Each costs the server an instance, and the client nothing.
#[test]
fn a_client_that_abandons_its_requests_loses_its_connection() {
    if !has("curl") {
        return;
    }
    let site = Site::new("wasi03_visits", "access-log = false", "");
    let address = site.server.address;
    let count = talk(async {
        let (mut requests, _connection) = http2(address).await;
        for count in 1..1_000 {
            requests = match requests.ready().await {
                Ok(requests) => requests,
                Err(_) => return count,
            };
            let sent = requests.send_request(head(address, "POST", "/echo"), false);
            let Ok((answer, mut stream)) = sent else {
                return count;
            };
            // The server has begun the request.
            if answer.await.is_err() {
                return count;
            }
            stream.send_reset(Reason::CANCEL);
        }
        panic!("the server takes every request");
    });
    assert!((100..200).contains(&count), "{count}");
    // Before the server can see them.
    let mut flood = [PREFACE, &SETTINGS].concat();
    for stream in (1_u32..600).step_by(2) {
        // `GET http://x/`, by its place in the table of headers.
        flood.extend([0, 0, 6, 1, 5]);
        flood.extend(stream.to_be_bytes());
        flood.extend([0x82, 0x86, 0x84, 0x41, 1, b'x']);
        flood.extend([0, 0, 4, 3, 0]);
        flood.extend(stream.to_be_bytes());
        flood.extend([0, 0, 0, 8]);
    }
    let mut client = connect(address);
    // The server may close it meanwhile.
    let _ = client.write_all(&flood);
    is_closed(client);
    assert_eq!(site.curl("http", "/visits", &[]).status(), "HTTP/1.1 200");
    site.server.ends_with_nothing_in_use();
}

/// Of a connection that sends nothing, part of a beginning, or no request.
#[test]
fn a_connection_without_a_request_is_closed() {
    let site = Site::new("hostile_serves", "head-timeout = \"300ms\"", "");
    // They go on.
    let headers = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
    let beginnings = [
        Vec::new(),
        PREFACE[..2].to_vec(),
        PREFACE[..10].to_vec(),
        PREFACE.to_vec(),
        [PREFACE, &SETTINGS].concat(),
        [PREFACE, &SETTINGS, &headers].concat(),
    ];
    let mut open = Vec::new();
    for beginning in beginnings {
        let mut stream = connect(site.server.address);
        stream.write_all(&beginning).expect("the server reads");
        open.push(stream);
    }
    // Also after a request.
    let mut kept = connect(site.server.address);
    kept.write_all(b"GET /quick HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("the server reads");
    open.push(kept);
    open.into_iter().for_each(is_closed);
    talk(async {
        let (mut requests, connection) = http2(site.server.address).await;
        ask(&mut requests, site.server.address, "/quick")
            .await
            .expect("an answer");
        connection
            .await
            .expect("no panic")
            .expect("a whole connection");
    });
}

/// A client that sends frames but no request does not keep its connection open.
#[test]
fn a_connection_with_pings_alone_is_closed() {
    let site = Site::new("hostile_serves", "head-timeout = \"300ms\"", "");
    // The server acknowledges pings and settings, but not the window updates.
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for frame in [&ping[..], &SETTINGS, &update] {
        let mut client = connect(site.server.address);
        client
            .write_all(&[PREFACE, &SETTINGS].concat())
            .expect("the server reads");
        let mut reading = client.try_clone().expect("its other half");
        let reader = std::thread::spawn(move || reading.read_to_end(&mut Vec::new()));
        let since = Instant::now();
        while client.write_all(frame).is_ok() {
            assert!(since.elapsed() < PATIENCE, "{frame:?}");
            std::thread::yield_now();
        }
        let _ = reader.join().expect("no panic");
    }
}

/// Frames that cost the server more than its client.
#[test]
fn a_client_that_floods_the_server_loses_its_connection() {
    let site = Site::new("wasi03_visits", "access-log = false", "");
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let mut frame = vec![0, 0, payload.len() as u8, kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    };
    // `POST http://x/`, of which the body follows.
    let post = frame(1, 4, 1, &[0x83, 0x86, 0x84, 0x41, 1, b'x']);
    let empty_parts = [post, frame(0, 0, 1, &[]).repeat(200)].concat();
    let begun = frame(1, 0, 1, &[0x82]);
    let endless_head = [begun, frame(9, 0, 1, &[]).repeat(100)].concat();
    // `GET`, without a path.
    let invalid = (0..1_100).flat_map(|number| frame(1, 5, 2 * number + 1, &[0x82, 0x86]));
    for flood in [empty_parts, endless_head, invalid.collect()] {
        let mut client = connect(site.server.address);
        // The server may close it meanwhile.
        let _ = client.write_all(&[PREFACE, &SETTINGS, &flood].concat());
        is_closed(client);
    }
    site.server.ends_with_nothing_in_use();
}

/// The stream ends, and other streams of the connection continue.
#[test]
fn a_client_that_does_not_read_its_response_loses_its_stream_at_the_deadline() {
    let settings = "request-timeout = \"500ms\"\ngrace = \"1h\"";
    let site = Site::new("wasi03_visits", settings, "");
    let address = site.server.address;
    talk(async {
        let stream = tokio::net::TcpStream::connect(address).await;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(10);
        let handshake = builder.handshake(stream.expect("a connection")).await;
        let (mut requests, connection) = handshake.expect("a handshake");
        tokio::spawn(connection);
        let never_ends = ask(&mut requests, address, "/numbers/endless");
        // The guest has sent all of this.
        let request = head(address, "POST", "/echo");
        let (whole, mut upload) = requests.send_request(request, false).expect("a request");
        upload
            .send_data(Bytes::from(vec![b'x'; 5_000]), true)
            .expect("a body");
        for answer in [never_ends, whole] {
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.status(), 200);
            let mut download = answer.into_body();
            let mut size = 0;
            let error = loop {
                match download.data().await {
                    Some(Ok(data)) => size += data.len(),
                    Some(Err(error)) => break error,
                    None => panic!("{size} bytes are the whole response"),
                }
            };
            assert_eq!((size, error.reason()), (10, Some(Reason::CANCEL)));
        }
        let answer = ask(&mut requests, address, "/visits").await;
        assert_eq!(answer.expect("an answer").status(), 200);
    });
    let lines = [(); 2].map(|()| site.server.line_with("cut short"));
    for path in ["GET /numbers/endless 200", "POST /echo 200"] {
        assert!(lines.iter().any(|line| line.contains(path)), "{lines:?}");
    }
    site.server.ends_with_nothing_in_use();
}

/// The client allows the server to send as much as it likes, and then reads nothing.
#[test]
fn a_client_that_reads_nothing_loses_its_connection_at_the_deadline() {
    let settings = "request-timeout = \"500ms\"\ngrace = \"1h\"";
    let site = Site::new("wasi03_visits", settings, "");
    let mut client = connect(site.server.address);
    let window = 0x7fff_ffff_u32.to_be_bytes();
    let mut beginning = [PREFACE, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4], &window].concat();
    beginning.extend([0, 0, 4, 8, 0, 0, 0, 0, 0]);
    beginning.extend((0x7fff_ffff_u32 - 65_535).to_be_bytes());
    // `GET http://x/numbers/endless`.
    let path = b"/numbers/endless";
    beginning.extend([0, 0, 7 + path.len() as u8, 1, 5, 0, 0, 0, 1]);
    beginning.extend([0x82, 0x86, 0x41, 1, b'x', 0x44, path.len() as u8]);
    beginning.extend(path);
    client.write_all(&beginning).expect("the server reads");
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let error = loop {
        if let Err(error) = client.write_all(&ping) {
            break error;
        }
    };
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    site.server.line_with("cut short");
    site.server.ends_with_nothing_in_use();
}

/// The guest's connection is returned at the deadline, before the client's own connection is
/// closed.
#[test]
fn a_client_that_does_not_read_does_not_keep_a_database_connection() {
    let site = Site::new("wasi03_visits", "request-timeout = \"500ms\"", "");
    let address = site.server.address;
    let mut stream = connect(address);
    stream
        .write_all(b"GET /numbers/held HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("the server reads");
    let mut byte = [0];
    let since = Instant::now();
    let mut read = 0;
    while read < 2 || site.server.counters()["in_use"] != 0 {
        stream.read_exact(&mut byte).expect("the server sends");
        read += 1;
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    talk(async {
        let (mut requests, _connection) = http2(address).await;
        let answer = ask(&mut requests, address, "/numbers/held").await;
        let download = answer.expect("an answer").into_body();
        until_in_use(&site.server, 0);
        // It has the rest of its connection.
        loop {
            let answer = ask(&mut requests, address, "/visits").await;
            match answer.expect("an answer").status().as_u16() {
                200 => break,
                // On a busy machine.
                status => assert_eq!(status, 504),
            }
        }
        drop(download);
    });
}
