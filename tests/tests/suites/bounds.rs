//! How much of `serve` its clients may use: heads, bodies, requests at the same time, connections.

use std::io::{Read, Write};
use std::process::Command;

use bytes::Bytes;

use crate::process::{Request, Server, has};
use crate::site::{self, Site, connect, head, http2, is_closed, talk};

const VERSIONS: [(&str, &str); 2] = [
    ("--http1.1", "HTTP/1.1"),
    ("--http2-prior-knowledge", "HTTP/2"),
];

#[test]
fn a_head_has_a_maximum_size_and_number_of_headers() {
    if !has("curl") {
        return;
    }
    let settings = "max-head-size = \"8KiB\"\nmax-headers = 20";
    let site = Site::new("hostile_serves", settings, "");
    let large = format!("a: {}", "b".repeat(9_000));
    let fits = format!("a: {}", "b".repeat(7_000));
    let long = format!("/quick?{}", "x".repeat(9_000));
    let together: Vec<_> = (0..3)
        .map(|number| format!("a{number}: {}", "b".repeat(3_000)))
        .collect();
    let together: Vec<_> = together.iter().flat_map(|header| ["-H", header]).collect();
    let many: Vec<_> = (0..20).map(|number| format!("a{number}: b")).collect();
    // The host is the only other header.
    let alone = ["user-agent:", "accept:"].into_iter();
    let many = alone.chain(many.iter().map(String::as_str));
    let many: Vec<_> = many.flat_map(|header| ["-H", header]).collect();
    for (flag, version) in VERSIONS {
        let status =
            |path: &str, args: &[&str]| site.curl("http", path, &[&[flag], args].concat()).status();
        assert_eq!(status("/quick", &["-H", &large]), format!("{version} 431"));
        assert_eq!(status("/quick", &["-H", &fits]), format!("{version} 200"));
        assert_eq!(status("/quick", &many), format!("{version} 431"));
        let most = &many[..many.len() - 2];
        assert_eq!(status("/quick", most), format!("{version} 200"));
        assert_eq!(status("/quick", &together), format!("{version} 431"));
        assert_eq!(status("/quick", &together[..4]), format!("{version} 200"));
        let expected = match version {
            // A header like others.
            "HTTP/2" => "HTTP/2 431",
            _ => "HTTP/1.1 414",
        };
        assert_eq!(status(&long, &[]), expected);
    }
    // More than the defaults.
    let settings = "max-head-size = \"1MiB\"\nmax-headers = 1000";
    let site = Site::new("hostile_serves", settings, "");
    // curl sends less with HTTP/2.
    for ((flag, version), size) in VERSIONS.into_iter().zip([1000, 100]) {
        let many = (0..500).map(|number| format!("a{number}: {}", "b".repeat(size)));
        let many: Vec<_> = many.collect();
        let many = many.iter().flat_map(|header| ["-H", header]);
        let args: Vec<_> = std::iter::once(flag).chain(many).collect();
        let answer = site.curl("http", "/quick", &args);
        assert_eq!(answer.status(), format!("{version} 200"));
    }
}

#[test]
fn a_body_has_a_maximum_size() {
    if !has("curl") {
        return;
    }
    let site = Site::new("wasi03_visits", "max-body-size = \"1KiB\"", "");
    let address = site.server.address;
    let file = |size: usize| {
        let path = site.folder.path().join(size.to_string());
        std::fs::write(&path, vec![b'x'; size]).expect("a file");
        format!("@{}", path.display())
    };
    let (fits, large) = (file(1024), file(1025));
    // One whose length is too large reaches no guest: this one would not read it.
    let unread = site.curl("http", "/visits", &["--http1.1", "--data-binary", &large]);
    assert_eq!(unread.status(), "HTTP/1.1 413");
    let visits = site.curl("http", "/visits", &[]);
    assert_eq!(visits.body(), b"1");
    // With a length, and without.
    for length in [&[][..], &["-H", "transfer-encoding: chunked"]] {
        let status = |body| {
            let args = [&["--http1.1", "--data-binary", body][..], length].concat();
            site.curl("http", "/upload", &args).status()
        };
        assert_eq!(status(&*fits), "HTTP/1.1 200");
        assert_eq!(status(&*large), "HTTP/1.1 413");
        site.server.line_with("POST /upload 413");
    }
    talk(async {
        let (mut requests, _connection) = http2(address).await;
        for (size, expected) in [(1024_usize, 200), (1025, 413)] {
            for has_length in [true, false] {
                let mut request = head(address, "POST", "/upload");
                if has_length {
                    request.headers_mut().insert("content-length", size.into());
                }
                let sent = requests.send_request(request, false);
                let (answer, mut upload) = sent.expect("a request");
                // Refused by its length alone, it may be reset already.
                let _ = upload.send_data(Bytes::from(vec![b'x'; size]), true);
                assert_eq!(answer.await.expect("an answer").status(), expected);
            }
        }
    });
    // A response that has begun breaks off.
    talk(async {
        let (mut requests, _connection) = http2(address).await;
        let (answer, mut upload) = requests
            .send_request(head(address, "POST", "/echo"), false)
            .expect("a request");
        let mut echo = answer.await.expect("an answer").into_body();
        upload
            .send_data(Bytes::from(vec![b'x'; 1024]), false)
            .expect("a part");
        let mut size = 0;
        while size < 1024 {
            size += echo.data().await.expect("data").expect("a part").len();
        }
        upload.send_data(Bytes::from("x"), true).expect("a part");
        // Once the connection is closed, every further one is an error.
        while let Some(Ok(part)) = echo.data().await {
            assert!(part.is_empty());
        }
    });
    site.server.ends_with_nothing_in_use();
}

#[test]
fn a_client_has_a_maximum_number_of_requests() {
    if !has("curl") {
        return;
    }
    let site = Site::new("wasi03_visits", "max-client-requests = 1", "");
    let address = site.server.address;
    let mut held = Request::hold(address, "POST", "/upload", 1).expect("a guest");
    for (flag, version) in VERSIONS {
        let busy = site.curl("http", "/visits", &[flag]);
        assert_eq!(busy.status(), format!("{version} 429"));
        assert_eq!(busy.header("retry-after").as_deref(), Some("1"));
        site.server.line_with("see max-client-requests");
    }
    // By another address of this machine.
    let other = site.curl("http", "/echo", &["--interface", "127.0.0.2"]);
    assert_eq!(other.status(), "HTTP/1.1 200");
    held.send(b"x").expect("it reads");
    assert_eq!(held.answer().expect("an answer").status, 200);
    while site.curl("http", "/visits", &[]).status() != "HTTP/1.1 200" {}
}

/// A client may have half of the connections, and all of them may need half of the descriptors.
#[test]
fn a_client_has_a_maximum_number_of_connections() {
    const DESCRIPTORS: usize = 256;
    const MOST: usize = DESCRIPTORS / 4 / 2;
    let (_folder, config) = site::write("hostile_serves", "", "");
    let serve = site::command(&config);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$@\""), "sh"])
        .arg(serve.get_program())
        .args(serve.get_args());
    for (name, value) in serve.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let server = Server::start(command);
    let ask = |stream: &mut std::net::TcpStream| {
        stream.write_all(b"GET /quick HTTP/1.1\r\nhost: x\r\n\r\n")?;
        stream.read_exact(&mut [0; 12])
    };
    let mut open: Vec<_> = (0..MOST).map(|_| connect(server.address)).collect();
    for stream in &mut open {
        ask(stream).expect("an answer");
    }
    is_closed(connect(server.address));
    server.line_with("connections, as many as one client may have");
    open.truncate(MOST / 2);
    while ask(&mut connect(server.address)).is_err() {}
}
