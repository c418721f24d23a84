//! Compressed responses of `serve`, which curl and two libraries decompress.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Decompress;
use http::{HeaderMap, HeaderValue};

use crate::process::has;
use crate::site::{Curled, Site, head, http2, talk};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

/// A site that compresses, and a text that is worth it, in a file.
fn site() -> (Site, String, Vec<u8>) {
    let site = Site::new("wasi03_visits", "compression = true", "");
    let text = "All work and no play. ".repeat(5_000).into_bytes();
    let file = site.folder.path().join("text");
    std::fs::write(&file, &text).expect("a file");
    let upload = format!("@{}", file.display());
    (site, upload, text)
}

fn is_plain(answer: &Curled, text: &[u8]) {
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.body(), text);
}

#[test]
fn a_response_is_compressed_as_its_client_accepts() {
    if !has("curl") {
        return;
    }
    let (site, upload, text) = site();
    for version in VERSIONS {
        let echo = |accepted: &str, more: &[&str]| {
            let accepted = format!("accept-encoding: {accepted}");
            let args = [version, "--data-binary", &upload, "-H", &accepted];
            let kind = [
                "-H",
                "set-content-type: text/plain",
                "-H",
                "set-etag: \"x\"",
            ];
            site.curl("http", "/echo", &[&args[..], &kind, more].concat())
        };
        for (accepted, coding) in [
            ("gzip", "gzip"),
            ("br, gzip", "br"),
            ("gzip, br;q=0.1", "gzip"),
        ] {
            let packed = echo(accepted, &[]);
            assert_eq!(packed.header("content-encoding").as_deref(), Some(coding));
            assert_eq!(packed.header("vary").as_deref(), Some("accept-encoding"));
            assert_eq!(packed.header("etag").as_deref(), Some("W/\"x\""));
            assert_eq!(packed.header("content-length"), None);
            let mut whole = Vec::new();
            let size = packed.body().len();
            match coding {
                "br" => brotli::Decompressor::new(packed.body(), 4096).read_to_end(&mut whole),
                _ => flate2::read::GzDecoder::new(packed.body()).read_to_end(&mut whole),
            }
            .expect("whole data");
            assert_eq!(whole, text);
            assert!(size < text.len() / 50, "{size}");
            // What was sent, not what the guest wrote.
            site.server
                .line_with(&format!("POST /echo 200 {size} bytes"));
        }
        // curl decompresses what it asks for.
        let compressed = site.curl(
            "http",
            "/echo",
            &[
                version,
                "--compressed",
                "--data-binary",
                &upload,
                "-H",
                "set-content-type: text/css",
            ],
        );
        assert!(compressed.header("content-encoding").is_some());
        assert_eq!(compressed.body(), text);
        for more in [
            &["-H", "set-content-encoding: x"][..],
            &["-H", "set-cache-control: private, no-transform"],
            &["-H", "set-content-range: bytes 0-1/2"],
        ] {
            let answer = echo("gzip", more);
            assert_eq!(answer.body(), text);
            assert_ne!(answer.header("content-encoding").as_deref(), Some("gzip"));
            assert_eq!(answer.header("etag").as_deref(), Some("\"x\""));
        }
        let unwanted = echo("identity", &["-H", "set-vary: origin"]);
        is_plain(&unwanted, &text);
        let text_of_head = String::from_utf8_lossy(&unwanted.0.stdout).to_lowercase();
        assert!(text_of_head.contains("\nvary: accept-encoding"));
    }
}

#[test]
fn what_is_not_worth_it_is_not_compressed() {
    if !has("curl") {
        return;
    }
    let (site, upload, text) = site();
    let accepts = ["-H", "accept-encoding: gzip"];
    let image = [
        "--data-binary",
        &upload,
        "-H",
        "set-content-type: image/png",
    ];
    is_plain(
        &site.curl("http", "/echo", &[&accepts[..], &image].concat()),
        &text,
    );
    let untyped = ["--data-binary", &upload];
    is_plain(
        &site.curl("http", "/echo", &[&accepts[..], &untyped].concat()),
        &text,
    );
    let tiny = [
        "--data-binary",
        "tiny",
        "-H",
        "set-content-type: text/plain",
        "-H",
        "set-content-length: 4",
    ];
    is_plain(
        &site.curl("http", "/echo", &[&accepts[..], &tiny].concat()),
        b"tiny",
    );
    // The default.
    let other = Site::new("wasi03_visits", "", "");
    let kind = [
        "--data-binary",
        &upload,
        "-H",
        "set-content-type: text/plain",
    ];
    let answer = other.curl("http", "/echo", &[&accepts[..], &kind].concat());
    is_plain(&answer, &text);
    assert_eq!(answer.header("vary"), None);
}

#[test]
fn a_response_to_head_has_the_headers_of_get() {
    if !has("curl") {
        return;
    }
    let (site, _, _) = site();
    for version in VERSIONS {
        let kind = [
            "-H",
            "set-content-type: application/json",
            "-H",
            "set-content-length: 1000",
        ];
        let args = [
            &[version, "--head", "-H", "accept-encoding: gzip"],
            &kind[..],
        ]
        .concat();
        let answer = site.curl("http", "/echo", &args);
        assert!(answer.status().ends_with(" 200"));
        assert_eq!(answer.header("content-encoding").as_deref(), Some("gzip"));
        assert_eq!(answer.header("content-length"), None);
        assert!(answer.body().is_empty());
    }
}

/// What the guest has written arrives before it writes more.
#[test]
fn a_stream_is_compressed_part_by_part() {
    let site = Site::new("wasi03_visits", "compression = true", "");
    let address = site.server.address;
    for coding in ["gzip", "br"] {
        talk(async {
            let (mut requests, _connection) = http2(address).await;
            let mut request = head(address, "POST", "/echo");
            for (name, value) in [
                ("accept-encoding", coding),
                ("set-content-type", "text/plain"),
            ] {
                let value = HeaderValue::from_static(value);
                request.headers_mut().insert(name, value);
            }
            let (answer, mut upload) = requests.send_request(request, false).expect("a request");
            let mut download = answer.await.expect("an answer").into_body();
            let mut decoder = Decoder::new(coding);
            for part in ["one", "two", "three"] {
                upload.send_data(Bytes::from(part), false).expect("a part");
                let mut received = Vec::new();
                while received != part.as_bytes() {
                    let data = download.data().await.expect("more").expect("data");
                    let _ = download.flow_control().release_capacity(data.len());
                    received.extend(decoder.decode(&data));
                    assert!(part.as_bytes().starts_with(&received), "{received:?}");
                }
            }
        });
    }
}

#[test]
fn a_compressed_response_has_its_trailers() {
    let site = Site::new("wasi03_visits", "compression = true", "");
    let address = site.server.address;
    talk(async {
        let (mut requests, _connection) = http2(address).await;
        let mut request = head(address, "POST", "/echo");
        for (name, value) in [
            ("accept-encoding", "gzip"),
            ("set-content-type", "text/plain"),
        ] {
            let value = HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
        }
        let (answer, mut upload) = requests.send_request(request, false).expect("a request");
        let part = Bytes::from_static(b"hello");
        upload.send_data(part, false).expect("a part");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        upload.send_trailers(trailers.clone()).expect("trailers");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let mut download = answer.into_body();
        while let Some(part) = download.data().await {
            part.expect("a part");
        }
        let got = download.trailers().await.expect("a whole response");
        assert_eq!(got, Some(trailers));
    });
}

/// Decodes as much as there is.
enum Decoder {
    Gzip(Decompress, Vec<u8>),
    Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
}

impl Decoder {
    fn new(coding: &str) -> Decoder {
        match coding {
            "br" => Decoder::Brotli(Box::new(brotli::DecompressorWriter::new(Vec::new(), 4096))),
            _ => Decoder::Gzip(Decompress::new(false), Vec::new()),
        }
    }

    fn decode(&mut self, data: &[u8]) -> Vec<u8> {
        match self {
            Decoder::Brotli(decoder) => {
                decoder.write_all(data).expect("valid data");
                decoder.flush().expect("valid data");
                std::mem::take(decoder.get_mut())
            }
            Decoder::Gzip(inflate, header) => {
                // Ten bytes, and then raw data.
                let missing = (10 - header.len()).min(data.len());
                header.extend(&data[..missing]);
                let mut output = Vec::with_capacity(1024);
                let flush = flate2::FlushDecompress::Sync;
                let decoded = inflate.decompress_vec(&data[missing..], &mut output, flush);
                decoded.expect("valid data");
                output
            }
        }
    }
}
