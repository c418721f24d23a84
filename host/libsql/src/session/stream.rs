//! A stream of the server, and one request to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::hrana::request::{self, Pipeline};
use crate::http::{Failure, Http, read_body};
use crate::shared::Shared;

/// A stream that has been idle for longer is not used again: servers close one after ten seconds.
const MAX_IDLE: Duration = Duration::from_millis(8_500);
/// How long closing a stream may take, in the background.
const CLOSE_TIME: Duration = Duration::from_secs(5);
/// How long the answer to that is, at the most.
const MAX_CLOSED: usize = 4 * 1024;

/// A stream of the server, which is a connection to its database.
#[derive(Debug)]
pub(crate) struct Stream {
    /// What the next request must show. Each answer has another one.
    baton: String,
    /// Where the server wants the next request.
    path: String,
    used: Instant,
    /// An earlier borrower has written on it: what SQL functions tell of it is not the present
    /// one's.
    history: bool,
    wrote: bool,
    /// The last insert rowid in the server's latest answer; `None` if an earlier borrower's write
    /// may have changed it since.
    last_rowid: Option<i64>,
    /// Whether a write was sent after that answer.
    wrote_since: bool,
    /// Something was set that stays with the stream.
    soiled: bool,
}

impl Stream {
    pub(super) fn new(path: &str) -> Stream {
        Stream {
            baton: String::new(),
            path: path.to_owned(),
            used: Instant::now(),
            history: false,
            wrote: false,
            last_rowid: Some(0),
            wrote_since: false,
            soiled: false,
        }
    }

    /// Close it in the background, which undoes whatever it has not committed. Where that fails,
    /// the server closes it after ten seconds.
    pub(super) fn close(self, shared: &Arc<Shared>, http: Option<Http>) {
        let shared = Arc::clone(shared);
        shared.runtime.spawn(async move {
            let closing = async {
                let mut http = match http.filter(Http::is_usable) {
                    Some(http) => http,
                    None => shared.connect().await.ok()?,
                };
                let mut pipeline = Pipeline::new(None);
                pipeline.close();
                let body = pipeline.into_bytes();
                let answer = call(&shared, &mut http, Some(&self), "/pipeline", body).await;
                read_body(answer.ok()?.into_body(), MAX_CLOSED).await.ok()?;
                Some(http)
            };
            if let Ok(Some(http)) = timeout(CLOSE_TIME, closing).await {
                shared.keep(http);
            }
        });
    }

    /// Whether the server may have closed it by now.
    pub(super) fn is_expired(&self) -> bool {
        self.used.elapsed() > MAX_IDLE
    }

    /// A new borrower has it.
    pub(super) fn lend(&mut self) {
        self.history |= self.wrote;
        self.wrote = false;
        if self.wrote_since {
            self.last_rowid = None;
        }
    }

    /// Record the last insert rowid of an answer. Returns whether it differs from the previous one;
    /// false if that is unknown.
    pub(super) fn update_last_rowid(&mut self, rowid: i64) -> bool {
        self.wrote_since = false;
        let before = self.last_rowid.replace(rowid);
        before.is_some_and(|before| before != rowid)
    }

    pub(super) fn has_history(&self) -> bool {
        self.history
    }

    pub(super) fn is_soiled(&self) -> bool {
        self.soiled
    }

    pub(super) fn note_written(&mut self) {
        self.wrote = true;
        self.wrote_since = true;
    }

    pub(super) fn note_soiled(&mut self) {
        self.soiled = true;
    }

    /// An answer says what the next request must show, and where to send it.
    pub(super) fn continued(&mut self, baton: &str, path: Option<String>) {
        self.baton = baton.to_owned();
        self.used = Instant::now();
        if let Some(path) = path {
            self.path = path;
        }
    }
}

/// Send a request, and wait for the head of the answer.
pub(crate) async fn call(
    shared: &Shared,
    http: &mut Http,
    stream: Option<&Stream>,
    endpoint: &str,
    body: impl AsRef<[u8]>,
) -> Result<Response<Incoming>, Failure> {
    let path = stream.map_or(&shared.target.path, |stream| &stream.path);
    let mut all = match stream {
        Some(stream) => request::baton(&stream.baton),
        None => Vec::new(),
    };
    all.extend_from_slice(body.as_ref());
    let mut request = Request::post(format!("{path}/v3-protobuf{endpoint}"))
        .header(HOST, &shared.host)
        .header(CONTENT_TYPE, "application/x-protobuf");
    if let Some(token) = shared.token.header() {
        request = request.header(AUTHORIZATION, token);
    }
    let request = request
        .body(Full::new(Bytes::from(all)))
        .map_err(|_| Failure::NotSent("the request is no HTTP".to_owned()))?;
    http.send(request).await
}
