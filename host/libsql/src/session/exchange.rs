//! Requests and their answers: what is sent again, what never is, and what an answer says of the
//! stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use millpond_pool::{Error, ErrorKind, Result};
use tokio::time::sleep;

use super::Core;
use super::core::{Aborted, Risk, Txn};
use super::stream::{Stream, call};
use crate::error::{cut_off, unavailable};
use crate::hrana::reply::{Answers, ServerError, read_error};
use crate::hrana::request::Pipeline;
use crate::hrana::wire::{MAX_MESSAGE, Malformed};
use crate::http::{BodyError, Failure, Http, read_body};

/// How much of an answer that is an error is read.
const MAX_ERROR: usize = 64 * 1024;
/// The most that is sent at once.
const MAX_REQUEST: usize = MAX_MESSAGE / 4;
/// How long to wait, at least and at most, before a server that has no stream left is asked again.
const ASK_AGAIN: (u64, u64) = (20, 120);

/// Why the server has not run what it was sent.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It does not know the stream any more.
    StreamGone,
    Token,
    /// It has as many streams as it may.
    Full,
    /// It says no more, but that nothing ran.
    NotRun(Error),
    /// It may have run.
    Failed(Error),
}

/// What an answer that is no success says.
pub(super) async fn refusal(answer: Response<Incoming>) -> Refusal {
    let status = answer.status();
    let is_protobuf = answer
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .is_some_and(|kind| kind.windows(8).any(|part| part == b"protobuf"));
    let body = read_body(answer.into_body(), MAX_ERROR)
        .await
        .unwrap_or_default();
    let error = match is_protobuf {
        true => read_error(&body).unwrap_or_default(),
        false => ServerError {
            message: String::from_utf8_lossy(&body).into_owned(),
            code: String::new(),
        },
    };
    let not_run = |kind, message: String| Refusal::NotRun(Error::new(kind, message));
    match status {
        _ if error.code == "STREAM_EXPIRED" => Refusal::StreamGone,
        StatusCode::BAD_REQUEST if error.message.contains("baton") => Refusal::StreamGone,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Refusal::Token,
        StatusCode::TOO_MANY_REQUESTS => Refusal::Full,
        StatusCode::PAYLOAD_TOO_LARGE => not_run(
            ErrorKind::TooLarge,
            "the statement and its values are larger than the server takes".to_owned(),
        ),
        _ if status.is_redirection() => Refusal::NotRun(unavailable(
            "sends its clients elsewhere: give the pool that URL",
        )),
        StatusCode::REQUEST_TIMEOUT => Refusal::Failed(unavailable("timed out")),
        StatusCode::NOT_FOUND if error.message.contains("Namespace") => not_run(
            ErrorKind::NoSuchDatabase,
            "the server has no database of this name".to_owned(),
        ),
        StatusCode::NOT_FOUND => Refusal::NotRun(unavailable(
            "does not know the database, or does not speak Hrana 3 in Protocol Buffers",
        )),
        _ if status.is_client_error() => {
            Refusal::NotRun(unavailable(&format!("refuses the request ({status})")))
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Refusal::Failed(unavailable(&format!("does not answer ({status})")))
        }
        // As it says of a text that it cannot send.
        _ if error.message.contains("utf-8") => Refusal::Failed(Error::new(
            ErrorKind::NotUtf8,
            "a text of the result is not UTF-8: `CAST(… AS BLOB)` reads it",
        )),
        _ => Refusal::Failed(Error::new(
            ErrorKind::Other,
            format!("the server failed ({status})"),
        )),
    }
}

/// What has been tried, once each.
#[derive(Debug, Default)]
pub(super) struct Tried {
    reconnect: bool,
    stream: bool,
    token: bool,
    read: bool,
    full_since: Option<Instant>,
}

impl Core {
    /// Open a stream, to know that the server is there, and takes the token.
    pub(crate) async fn greet(&mut self) -> Result<()> {
        let mut pipeline = Pipeline::new(None);
        pipeline.get_autocommit();
        self.greeting = true;
        let greeted = self.exchange(pipeline, 1, Risk::Nothing).await;
        self.greeting = false;
        greeted?;
        if self.stream.is_none() {
            return Err(Error::new(
                ErrorKind::CannotOpen,
                "the server sends its clients to another one: give the pool that URL",
            ));
        }
        Ok(())
    }

    /// Send requests, and take their answer. It is `risk` that says what to tell where none comes.
    pub(super) async fn exchange(
        &mut self,
        pipeline: Pipeline,
        requests: usize,
        risk: Risk,
    ) -> Result<Bytes> {
        let body = Bytes::from(pipeline.into_bytes());
        let mut tried = Tried::default();
        let max = self.shared.settings.max_answer();
        loop {
            let answer = self.ask("/pipeline", &body, risk, &mut tried).await?;
            match read_body(answer.into_body(), max).await {
                Ok(body) => {
                    let answers = Answers::read(&body, requests);
                    let answers = answers.map_err(|malformed| self.malformed(malformed))?;
                    self.flight = None;
                    self.continue_stream(answers.baton, answers.base_url);
                    return Ok(body);
                }
                Err(BodyError::Cut(_)) if self.may_read_again(risk, &mut tried) => {}
                Err(BodyError::Cut(why)) => return Err(self.give_up(cut_off(&why))),
                Err(BodyError::TooLarge) => {
                    return Err(self.give_up(Error::new(
                        ErrorKind::TooLarge,
                        "the result is larger than one may be: select less at a time",
                    )));
                }
            }
        }
    }

    /// Send a request until it is answered with a success.
    ///
    /// What the server refused to run is sent again, on a new stream; so is, once, what only reads.
    /// Nothing else is.
    pub(super) async fn ask(
        &mut self,
        endpoint: &str,
        body: &Bytes,
        risk: Risk,
        tried: &mut Tried,
    ) -> Result<Response<Incoming>> {
        let shared = Arc::clone(&self.shared);
        let mut gate = None;
        loop {
            let Some(answer) = self.send(endpoint, body, risk, tried).await? else {
                continue;
            };
            if answer.status() == StatusCode::OK {
                return Ok(answer);
            }
            let refusal = refusal(answer).await;
            let is_full = matches!(refusal, Refusal::Full);
            self.refused(refusal, tried)?;
            if is_full {
                // The first who finds it full asks again; the others wait behind it.
                if gate.is_none() {
                    gate = Some(shared.full.lock().await);
                }
                let pause = fastrand::u64(ASK_AGAIN.0..ASK_AGAIN.1);
                sleep(Duration::from_millis(pause)).await;
            }
        }
    }

    /// Send a request. Returns `None` if the caller must send it again.
    pub(super) async fn send(
        &mut self,
        endpoint: &str,
        body: &Bytes,
        risk: Risk,
        tried: &mut Tried,
    ) -> Result<Option<Response<Incoming>>> {
        if body.len() > MAX_REQUEST {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("the statement and its values have more than {MAX_REQUEST} bytes"),
            ));
        }
        if self.txn != Txn::Open && self.stream.as_ref().is_some_and(Stream::is_expired) {
            (self.borrower.wrote, self.borrower.inserted) = (false, false);
            self.stream = None;
        }
        let mut http = match self.http.take().filter(Http::is_usable) {
            Some(http) => http,
            None => self.shared.connect().await?,
        };
        self.flight = Some(risk);
        let answer = call(
            &self.shared,
            &mut http,
            self.stream.as_ref(),
            endpoint,
            body,
        )
        .await;
        match answer {
            Ok(answer) => {
                self.http = Some(http);
                Ok(Some(answer))
            }
            Err(Failure::NotSent(why)) => {
                self.flight = None;
                match std::mem::replace(&mut tried.reconnect, true) {
                    false => Ok(None),
                    true => Err(cut_off(&why)),
                }
            }
            Err(Failure::Sent(_)) if self.may_read_again(risk, tried) => Ok(None),
            Err(Failure::Sent(why)) => Err(self.give_up(cut_off(&why))),
        }
    }

    /// Whether a request whose answer was cut off is sent once more, on a new stream.
    pub(super) fn may_read_again(&mut self, risk: Risk, tried: &mut Tried) -> bool {
        let may = risk == Risk::Nothing && self.txn == Txn::None && !tried.read;
        if may {
            tried.read = true;
            self.flight = None;
            self.drop_stream();
        }
        may
    }

    /// What to do after a refusal: `Ok` to send it again.
    pub(super) fn refused(&mut self, refusal: Refusal, tried: &mut Tried) -> Result<()> {
        let refusal = match refusal {
            Refusal::Failed(error) => return Err(self.give_up(error)),
            refusal => refusal,
        };
        self.flight = None;
        match refusal {
            Refusal::StreamGone if self.txn == Txn::Open => {
                self.drop_stream();
                self.lose_transaction(Aborted::Server);
                Err(Aborted::Server.into_error())
            }
            Refusal::StreamGone => {
                let first = !std::mem::replace(&mut tried.stream, true);
                self.drop_stream();
                match first {
                    true => Ok(()),
                    false => Err(unavailable("does not keep its streams")),
                }
            }
            Refusal::Token => {
                let first = !std::mem::replace(&mut tried.token, true);
                match first && self.shared.token.renew() {
                    true => Ok(()),
                    false => {
                        // While the pool is opened, its opener gets the error.
                        if !self.greeting {
                            log::warn!("{} refuses the token", self.shared.target.name());
                        }
                        let error = unavailable("refuses the pool's token: give it a valid one");
                        Err(self.while_greeting(error))
                    }
                }
            }
            Refusal::Full => {
                let since = *tried.full_since.get_or_insert_with(Instant::now);
                match since.elapsed() < self.shared.settings.pool.timeout
                    && !self.shared.is_closed()
                {
                    true => Ok(()),
                    false => Err(unavailable("has as many streams as it may have")),
                }
            }
            Refusal::NotRun(error) | Refusal::Failed(error) => Err(self.while_greeting(error)),
        }
    }

    /// Where the server refuses even the first request, it is not one for this pool.
    fn while_greeting(&self, error: Error) -> Error {
        match self.greeting && error.kind() != ErrorKind::NoSuchDatabase {
            true => error.with_kind(ErrorKind::CannotOpen),
            false => error,
        }
    }

    /// What comes is not what the protocol says: nothing is known of the stream any more.
    pub(super) fn malformed(&mut self, malformed: Malformed) -> Error {
        self.give_up(Error::new(
            ErrorKind::Other,
            format!("the server's answer is not understood: {}", malformed.0),
        ))
    }

    /// Take what an answer says of the stream.
    pub(super) fn continue_stream(&mut self, baton: Option<&str>, base_url: Option<&str>) {
        let Some(baton) = baton else {
            (self.borrower.wrote, self.borrower.inserted) = (false, false);
            self.stream = None;
            return;
        };
        let path = match base_url.map(|url| self.shared.target.redirected(url)) {
            None => None,
            Some(Some(target)) => Some(target.path),
            Some(None) => {
                // The token is not for others. The stream ends there, by itself.
                log::warn!(
                    "{} sends its clients to another server: give the pool that server's URL",
                    self.shared.target.name()
                );
                self.stream = None;
                return;
            }
        };
        let stream = self
            .stream
            .get_or_insert_with(|| Stream::new(&self.shared.target.path));
        stream.continued(baton, path);
    }
}
