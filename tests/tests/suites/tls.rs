//! HTTPS of `serve`, with curl, openssl and rustls; certificates that are wrong, and that change.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::process::{MISTAKE, has};
use crate::site::{self, Curled, Site, connect, is_closed, until_in_use};

const TLS: &str = "tls = { certificate = \"certificate.pem\", key = \"key.pem\" }";

/// A certificate for the loopback address that signs itself, and its key, in PEM.
fn pair(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

fn put(folder: &Path, (certificate, key): &(String, String)) {
    std::fs::write(folder.join("certificate.pem"), certificate).expect("a file");
    std::fs::write(folder.join("key.pem"), key).expect("a file");
}

fn serve(guest: &str, server: &str, listener: &str, pair: &(String, String)) -> Site {
    let (folder, file) = site::write(guest, server, &format!("{listener}\n{TLS}"));
    put(folder.path(), pair);
    let server = crate::process::Server::start(site::command(&file));
    Site { server, folder }
}

fn curl(site: &Site, path: &str, args: &[&str]) -> Curled {
    let authority = site.folder.path().join("certificate.pem");
    let authority = authority.to_str().expect("a path");
    site.curl("https", path, &[&["--cacert", authority], args].concat())
}

/// Connects with TLS, and believes this certificate alone.
fn encrypted(
    address: SocketAddr,
    (certificate, _): &(String, String),
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
    roots
        .add(certificate.expect("a certificate"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(client, connect(address));
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

/// Sends a request on a connection that stays open, and reads the whole response.
fn quick(stream: &mut (impl Read + Write)) -> String {
    stream
        .write_all(b"GET /quick HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        .expect("the server reads");
    let mut bytes = Vec::new();
    // It is chunked.
    while !bytes.ends_with(b"\r\n0\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the rest");
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn each_version_of_tls_carries_each_version_of_http() {
    if !has("curl") {
        return;
    }
    let site = serve("wasi03_visits", "", "", &pair(|_| {}));
    let uri = format!("https://{}/echo", site.server.address);
    for version in [
        ["--tlsv1.2", "--tls-max", "1.2"],
        ["--tlsv1.3", "--tls-max", "1.3"],
    ] {
        for (flag, expected) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")] {
            let args = [&version[..], &[flag, "--data", "hello"]].concat();
            let whole = curl(&site, "/echo", &args);
            assert_eq!(whole.status(), expected, "{:?}", whole.0);
            assert_eq!(
                (whole.header("uri").as_deref(), whole.body()),
                (Some(&*uri), &b"hello"[..])
            );
            let line = site.server.line_with("POST /echo 200 5 bytes");
            assert!(!line.contains("cut short"), "{line}");
            let long = curl(&site, "/numbers", &[flag]);
            assert_eq!(long.body().len(), 588_895);
        }
    }
    let old = curl(&site, "/visits", &["--tls-max", "1.1"]);
    assert!(!old.0.status.success());
    // Plain HTTP, a target for plain HTTP, and a client that believes other authorities.
    assert!(!site.curl("http", "/visits", &[]).0.status.success());
    let other = curl(
        &site,
        "/",
        &["--http1.1", "--request-target", "http://127.0.0.1/visits"],
    );
    assert_eq!(other.status(), "HTTP/1.1 421");
    assert!(!site.curl("https", "/visits", &[]).0.status.success());
    site.server.ends_with_nothing_in_use();
}

#[test]
fn another_client_agrees_on_http2() {
    if !has("curl") || !has("openssl") {
        return;
    }
    for (listener, expected) in [
        ("", "ALPN protocol: h2"),
        ("http2 = false", "ALPN protocol: http/1.1"),
    ] {
        let site = serve("hostile_serves", "", listener, &pair(|_| {}));
        let authority = site.folder.path().join("certificate.pem");
        let output = Command::new("openssl")
            .args(["s_client", "-verify_return_error", "-alpn", "h2,http/1.1"])
            .args(["-connect", &site.server.address.to_string(), "-CAfile"])
            .arg(authority)
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("Verification: OK") && text.contains(expected),
            "{text}"
        );
        // A guest of wasi:http 0.2 sees the scheme too.
        let uri = curl(&site, "/uri", &[]);
        let expected_uri = format!("https://{}/uri", site.server.address);
        assert_eq!(uri.body(), expected_uri.as_bytes());
        let version = match expected.ends_with("h2") {
            true => "HTTP/2 200",
            false => "HTTP/1.1 200",
        };
        assert_eq!(uri.status(), version);
    }
}

#[test]
fn a_changed_certificate_is_served_and_a_wrong_one_is_not() {
    let pairs = [(); 3].map(|()| pair(|_| {}));
    let site = serve("hostile_serves", "", "", &pairs[0]);
    let (address, folder) = (site.server.address, site.folder.path());
    let mut open = encrypted(address, &pairs[0]).expect("the first certificate");
    assert!(quick(&mut open).starts_with("HTTP/1.1 200"));
    put(folder, &pairs[1]);
    site.server.line_with("certificate.pem: read again");
    let mut new = encrypted(address, &pairs[1]).expect("the second certificate");
    assert!(encrypted(address, &pairs[0]).is_err());
    // The third without its key.
    put(folder, &(pairs[2].0.clone(), pairs[1].1.clone()));
    let line = site.server.line_with("key.pem: not the key");
    assert!(
        line.contains("continues with the certificate before"),
        "{line}"
    );
    encrypted(address, &pairs[1]).expect("still the second certificate");
    put(folder, &pairs[2]);
    site.server.line_with("certificate.pem: read again");
    encrypted(address, &pairs[2]).expect("the third certificate");
    for stream in [&mut open, &mut new] {
        assert!(quick(stream).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn files_that_cannot_be_served_are_refused_at_the_start() {
    let good = pair(|_| {});
    let other = pair(|_| {});
    let not_pem = "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n";
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (certificate, key, file) in [
        (Some(&*good.0), Some(&*other.1), "key.pem"),
        (None, Some(&good.1), "certificate.pem"),
        (Some(&good.0), None, "key.pem"),
        (Some(""), Some(&good.1), "certificate.pem"),
        (Some(not_pem), Some(&good.1), "certificate.pem"),
        (Some(not_x509), Some(&good.1), "certificate.pem"),
        (Some(&good.0), Some(&good.0), "key.pem"),
        (Some(&good.0), Some(encrypted), "key.pem"),
        (Some(&good.0), Some(not_a_key), "key.pem"),
    ] {
        let (folder, config) = site::write("hostile_serves", "", TLS);
        for (name, content) in [("certificate.pem", certificate), ("key.pem", key)] {
            if let Some(content) = content {
                std::fs::write(folder.path().join(name), content).expect("a file");
            }
        }
        let output = site::command(&config).output().expect("the command runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(MISTAKE), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(&format!("/{file}: ")), "{text}");
    }
}

#[test]
fn a_certificate_that_clients_refuse_is_reported() {
    let expired = pair(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let future = pair(|params| params.not_before = date_time_ymd(4000, 1, 1));
    for (pair, what) in [(expired, "it has expired"), (future, "it is not valid yet")] {
        let (folder, config) = site::write("hostile_serves", "", TLS);
        put(folder.path(), &pair);
        let mut command = site::command(&config);
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut text = String::new();
        let mut stderr = child.stderr.take().expect("its stderr");
        while !text.contains("Serving HTTP on") {
            let mut bytes = [0; 1024];
            let length = stderr.read(&mut bytes).expect("text");
            assert_ne!(length, 0, "{text}");
            text += &String::from_utf8_lossy(&bytes[..length]);
        }
        child.kill().and_then(|()| child.wait()).expect("its end");
        assert!(text.contains(&format!("certificate.pem: {what}")), "{text}");
    }
}

#[test]
fn a_client_that_closes_its_connection_ends_its_guest() {
    let pair = pair(|_| {});
    // The shutdown would wait for a guest.
    let settings = "grace = \"1h\"\nrequest-timeout = \"1h\"";
    let site = serve("hostile_serves", settings, "", &pair);
    for (path, closes) in [("/flood", true), ("/sql", true), ("/sql", false)] {
        let mut client = encrypted(site.server.address, &pair).expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        client
            .write_all(request.as_bytes())
            .expect("the server reads");
        // The guest runs.
        match path {
            "/sql" => until_in_use(&site.server, 1),
            _ => drop(site.server.line_with("guest: x")),
        }
        if closes {
            // It says so first, as a browser does. Unread data would make the system reset the
            // connection, and the server might not see the request.
            client.conn.send_close_notify();
            client.flush().expect("the server reads");
            let sending = client.sock.shutdown(std::net::Shutdown::Write);
            sending.expect("half a connection");
        } else {
            drop(client);
        }
        let line = format!("{path} - (the client disconnected)");
        site.server.line_with(&line);
        until_in_use(&site.server, 0);
    }
    site.server.ends_with_nothing_in_use();
}

#[test]
fn a_handshake_must_not_take_long() {
    if !has("curl") {
        return;
    }
    let site = serve(
        "hostile_serves",
        "head-timeout = \"300ms\"",
        "",
        &pair(|_| {}),
    );
    let mut partial = connect(site.server.address);
    // The beginning of a client's first message.
    partial
        .write_all(&[22, 3, 1, 1, 0, 1])
        .expect("the server reads");
    is_closed(partial);
    is_closed(connect(site.server.address));
    // After it, as without TLS.
    let encrypted = encrypted(site.server.address, &pair_of(&site)).expect("a connection");
    is_closed(encrypted);
    assert_eq!(curl(&site, "/quick", &[]).status(), "HTTP/2 200");
}

/// The pair that a site serves.
fn pair_of(site: &Site) -> (String, String) {
    let read = |name| std::fs::read_to_string(site.folder.path().join(name)).expect("a file");
    (read("certificate.pem"), read("key.pem"))
}
