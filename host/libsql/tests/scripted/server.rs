//! A server of the protocol that does what a test tells it, and remembers what it was sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::protocol::{batch_result, error, first, indexes, statement_result, texts};
use crate::wire::{Fields, Writer};

/// What is done with a request.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    /// As a server would.
    Answer,
    /// Its results are these instead.
    Results(Vec<Part>),
    /// The answer has these bytes.
    Bytes(Vec<u8>),
    /// Another status than success, with a message of this code.
    Status(u16, &'static str),
    /// A server that sends its clients elsewhere.
    BaseUrl(String),
    /// The whole HTTP answer.
    Raw(Vec<u8>),
    /// Like a server, but cut off after this many bytes.
    Cut(usize),
    /// A result without the message at its end.
    Unended,
    /// Not before it is told.
    Late(Arc<Notify>),
}

/// A result of a pipeline.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Ok,
    /// A statement's error, also where it is a step of a batch.
    Error(&'static str, &'static str),
    Autocommit(bool),
}

/// A request, as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) baton: Option<String>,
    /// The texts of all its statements.
    pub(crate) sql: Vec<String>,
    /// The numbers of the states that its statements are to see.
    pub(crate) indexes: Vec<u64>,
    /// The kinds of its requests, as the protocol numbers them.
    pub(crate) kinds: Vec<u64>,
}

impl Seen {
    fn is_only(&self, kind: u64) -> bool {
        self.kinds == [kind]
    }
}

#[derive(Debug, Default)]
struct State {
    plays: VecDeque<(&'static str, Play)>,
    seen: Vec<Seen>,
    open: bool,
    batons: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Told with each request that came.
    pub(crate) came: Arc<Notify>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Server {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
            came: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        server
    }

    /// As [`start`](Server::start), encrypted.
    pub(crate) async fn start_tls(config: ServerConfig) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Server {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
            came: Arc::default(),
        };
        let (serving, acceptor) = (server.clone(), TlsAcceptor::from(Arc::new(config)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serving.serve(stream).await;
                    }
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request with this text in one of its statements is answered like this.
    pub(crate) fn play(&self, text: &'static str, play: Play) {
        self.state().plays.push_back((text, play));
    }

    /// What came since this was asked last, but for the ends of streams, which are in the
    /// background.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = std::mem::take(&mut self.state().seen);
        let work = |seen: &Seen| !seen.is_only(1);
        seen.into_iter().filter(work).collect()
    }

    /// How often a text has come since `seen` was asked last.
    pub(crate) fn count(&self, text: &str) -> usize {
        let state = self.state();
        let texts = state.seen.iter().flat_map(|seen| &seen.sql);
        texts.filter(|sql| sql.contains(text)).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut bytes = Vec::new();
        while let Some((seen, body)) = read_request(&mut stream, &mut bytes).await {
            let play = self.take_play(&seen);
            let cursor = seen.path.ends_with("/cursor");
            self.state().seen.push(seen);
            self.came.notify_one();
            let (status, body) = match play {
                Play::Raw(ref raw) => {
                    let _ = stream.write_all(raw).await;
                    return;
                }
                Play::Late(ref told) => {
                    told.notified().await;
                    (200, self.answer(&body, None))
                }
                Play::Unended => (200, self.cursor(false)),
                Play::Answer | Play::Cut(_) if cursor => (200, self.cursor(true)),
                Play::Answer | Play::Cut(_) => (200, self.answer(&body, None)),
                Play::Results(ref parts) => (200, self.answer(&body, Some(parts))),
                Play::Bytes(ref bytes) => (200, bytes.clone()),
                Play::Status(status, code) => (status, error("as it was told", code)),
                Play::BaseUrl(ref url) => {
                    let mut answer = Writer::default();
                    answer.bytes(2, url.as_bytes());
                    let mut answer = answer.into_bytes();
                    answer.extend(self.answer(&body, None));
                    (200, answer)
                }
            };
            let head = format!(
                "HTTP/1.1 {status} so\r\ncontent-type: application/x-protobuf\r\n\
                 location: http://127.0.0.1:1/\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let mut answer = head.into_bytes();
            answer.extend(body);
            if let Play::Cut(length) = play {
                answer.truncate(length);
                let _ = stream.write_all(&answer).await;
                return;
            }
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    fn take_play(&self, seen: &Seen) -> Play {
        let mut state = self.state();
        let at = state.plays.iter().position(|(text, _)| {
            seen.sql.iter().any(|sql| sql.contains(text)) || (text.is_empty() && !seen.is_only(1))
        });
        at.and_then(|at| state.plays.remove(at))
            .map_or(Play::Answer, |(_, play)| play)
    }

    fn baton(&self) -> String {
        let mut state = self.state();
        state.batons += 1;
        format!("baton-{}", state.batons)
    }

    /// A pipeline's answer: each statement succeeds, and changes one row.
    fn answer(&self, body: &[u8], parts: Option<&Vec<Part>>) -> Vec<u8> {
        let mut answer = Writer::default();
        answer.bytes(1, self.baton().as_bytes());
        let requests = Fields::new(body).filter_map(|field| match field {
            Ok((2, request)) => request.bytes().ok(),
            _ => None,
        });
        for (index, request) in requests.enumerate() {
            let (kind, _) = first(request);
            let texts = texts(request);
            let part = parts
                .and_then(|parts| parts.get(index))
                .unwrap_or(&Part::Ok);
            let is = |verb: &str| texts.iter().any(|sql| sql.starts_with(verb));
            let open = {
                let mut state = self.state();
                state.open |= is("BEGIN");
                state.open &= !(is("COMMIT") || is("ROLLBACK"));
                state.open
            };
            answer.message(3, |result| match (part, kind) {
                (Part::Error(code, message), kind) if kind != 3 => {
                    let error = error(message, code);
                    result.bytes(2, &error);
                }
                _ => result.message(1, |response| {
                    response.message(kind, |response| match (kind, part) {
                        (2, _) => response.message(1, statement_result),
                        (3, part) => response.message(1, |batch| {
                            batch_result(batch, texts.len() as u64, part);
                        }),
                        (5, _) => response.message(1, |_| {}),
                        (8, Part::Autocommit(autocommit)) => {
                            response.varint(1, u64::from(*autocommit));
                        }
                        (8, _) => response.varint(1, u64::from(!open)),
                        _ => {}
                    });
                }),
            });
        }
        answer.into_bytes()
    }

    fn cursor(&self, ends: bool) -> Vec<u8> {
        let mut stream = Vec::new();
        let mut framed = |write: &dyn Fn(&mut Writer)| {
            let mut message = Writer::default();
            write(&mut message);
            let mut frame = Writer::default();
            frame.bytes(1, &message.into_bytes());
            // Without its key.
            stream.extend_from_slice(&frame.into_bytes()[1..]);
        };
        let baton = self.baton();
        framed(&|opened| opened.bytes(1, baton.as_bytes()));
        framed(&|entry| {
            entry.message(1, |begin| begin.message(2, |column| column.bytes(1, b"a")));
        });
        for number in 0..3 {
            framed(&|entry| {
                entry.message(4, |row| row.message(1, |value| value.signed(2, number)));
            });
        }
        if ends {
            framed(&|entry| entry.message(2, |_| {}));
        }
        stream
    }
}

async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> Option<(Seen, Vec<u8>)> {
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = |name: &str| {
        let lines = head.lines().skip(1);
        let mut headers = lines.filter_map(|line| line.split_once(": "));
        let found = headers.find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    };
    let length: usize = header("content-length")?.parse().ok()?;
    while bytes.len() < end + length {
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = bytes[end..end + length].to_vec();
    bytes.drain(..end + length);
    let mut seen = Seen {
        path: head.split(' ').nth(1)?.to_owned(),
        token: header("authorization"),
        ..Seen::default()
    };
    for field in Fields::new(&body) {
        match field.ok()? {
            (1, baton) => seen.baton = Some(baton.text().ok()?.to_owned()),
            (2, request) if seen.path.ends_with("/pipeline") => {
                let request = request.bytes().ok()?;
                seen.kinds.push(first(request).0);
                seen.sql.extend(texts(request));
                seen.indexes.extend(indexes(request));
            }
            (2, batch) => {
                let mut request = Writer::default();
                request.message(3, |request| {
                    request.bytes(1, batch.bytes().unwrap_or_default())
                });
                seen.sql.extend(texts(&request.into_bytes()));
            }
            _ => {}
        }
    }
    Some((seen, body))
}
