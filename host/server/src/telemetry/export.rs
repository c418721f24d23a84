//! The task that sends spans to the collector.

use std::pin::pin;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::span::{Span, document};
use super::{MAX_FINISH, SpanCounts, Telemetry};
use crate::config::Endpoint;
use crate::log::{Event, Log};

/// The maximum number of spans in one document, and how long the first of them waits for others.
const MAX_BATCH: usize = 512;
const BATCH_TIME: Duration = Duration::from_secs(1);
/// How long the same spans are tried to be sent, with all attempts and pauses. Others wait
/// meanwhile.
const MAX_SEND_TIME: Duration = Duration::from_secs(10);
/// How many bytes of its answer are read.
const MAX_ANSWER: usize = 64 << 10;
/// How many times the same spans are sent while the collector is busy or cannot be reached, and the
/// pause before the second time. Each later pause is twice as long.
const MAX_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The shortest time between two lines of the log.
const WARN_EVERY: Duration = Duration::from_secs(60);

impl Telemetry {
    /// Send spans from now on, and report dropped ones in `log`. Must be called within a tokio
    /// runtime.
    pub(crate) fn start<L: Log + 'static>(&self, log: &Arc<L>) {
        let queued = self
            .queued
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(queued) = queued else { return };
        let log: Weak<L> = Arc::downgrade(log);
        let exporter = Exporter {
            collector: self.collector.clone(),
            service: self.service.clone(),
            counts: self.counts.clone(),
            is_ending: self.is_ending.subscribe(),
            log,
            sending: 0,
            told: 0,
            told_at: None,
        };
        let task = tokio::spawn(exporter.run(queued));
        *self
            .exporting
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// Send the spans that wait, for up to [`MAX_FINISH`]. Others are dropped. Returns false if the
    /// time was too short.
    pub(crate) async fn finish(&self) -> bool {
        let task = self
            .exporting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.is_ending.send_replace(true);
        match task {
            Some(task) => task.await.unwrap_or(false),
            None => true,
        }
    }
}

struct Exporter {
    collector: Endpoint,
    service: String,
    counts: SpanCounts,
    is_ending: watch::Receiver<bool>,
    log: Weak<dyn Log>,
    /// How many spans are being sent: they are neither sent nor dropped yet.
    sending: u64,
    /// How many dropped spans were reported in the log, and when.
    told: u64,
    told_at: Option<Instant>,
}

/// Why spans were not accepted.
enum Refused {
    /// The collector may accept them later.
    ForNow(String),
    ForGood(String),
}

impl Exporter {
    /// Send spans as they come. At the end, send what is left, for up to [`MAX_FINISH`], and count
    /// the rest as dropped. Returns whether there was no rest.
    async fn run(mut self, mut queued: mpsc::Receiver<Span>) -> bool {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut ending = self.is_ending.clone();
        let time_is_over = async {
            // An error means that the server is gone.
            let _ = ending.wait_for(|is_ending| *is_ending).await;
            sleep(MAX_FINISH).await;
        };
        let is_done = tokio::select! {
            () = self.send_all(&mut queued, &mut batch) => true,
            () = time_is_over => false,
        };
        queued.close();
        let mut left = self.sending + batch.len() as u64;
        while queued.recv().await.is_some() {
            left += 1;
        }
        self.counts.dropped.inc_by(left);
        self.told_at = None;
        self.tell("the server is shut down");
        is_done
    }

    /// Send spans as they come. At the end, close the queue and send what is left in it.
    async fn send_all(&mut self, queued: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
        let mut ending = self.is_ending.clone();
        while !self.is_over() {
            tokio::select! {
                count = queued.recv_many(batch, MAX_BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
                _ = ending.changed() => break,
            }
            let until = Instant::now() + BATCH_TIME;
            while batch.len() < MAX_BATCH && !self.is_over() {
                let room = MAX_BATCH - batch.len();
                tokio::select! {
                    more = timeout_at(until, queued.recv_many(batch, room)) => {
                        if !more.is_ok_and(|count| count > 0) {
                            break;
                        }
                    }
                    _ = ending.changed() => break,
                }
            }
            self.send(batch).await;
        }
        queued.close();
        while let Some(span) = queued.recv().await {
            batch.push(span);
            if batch.len() == MAX_BATCH {
                self.send(batch).await;
            }
        }
        self.send(batch).await;
    }

    fn is_over(&self) -> bool {
        *self.is_ending.borrow()
    }

    async fn send(&mut self, batch: &mut Vec<Span>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        self.sending = count;
        let body = Bytes::from(document(&self.service, batch.drain(..)));
        let until = Instant::now() + MAX_SEND_TIME;
        let mut pause = FIRST_PAUSE;
        let mut reason = "they came faster than they could be sent".to_owned();
        for attempt in 1..=MAX_ATTEMPTS {
            let answer = timeout_at(until, post(&self.collector, body.clone())).await;
            let late = || Err(Refused::ForNow("it did not answer in time".to_owned()));
            match answer.unwrap_or_else(|_| late()) {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    self.counts.sent.inc_by(count - rejected);
                    self.counts.dropped.inc_by(rejected);
                    self.sending = 0;
                    if rejected > 0 {
                        reason = "the collector rejected them".to_owned();
                    }
                    return self.tell(&reason);
                }
                Err(Refused::ForNow(_))
                    if attempt < MAX_ATTEMPTS
                        && Instant::now() + pause < until
                        && !self.is_over() =>
                {
                    let mut ending = self.is_ending.clone();
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = ending.changed() => {}
                    }
                    pause *= 2;
                }
                Err(Refused::ForNow(why) | Refused::ForGood(why)) => {
                    reason = why;
                    break;
                }
            }
        }
        self.counts.dropped.inc_by(count);
        self.sending = 0;
        self.tell(&reason);
    }

    /// Report dropped spans in the log, at most once a minute.
    fn tell(&mut self, reason: &str) {
        let dropped = self.counts.dropped.get();
        let is_early = |at: Instant| at.elapsed() < WARN_EVERY;
        if dropped == self.told || self.told_at.is_some_and(is_early) {
            return;
        }
        let Some(log) = self.log.upgrade() else {
            return;
        };
        let (count, collector) = (dropped - self.told, &self.collector);
        let message =
            format!("{count} spans were not sent to {collector}, or not recorded: {reason}");
        log.event(&Event::Warning { message: &message });
        self.told = dropped;
        self.told_at = Some(Instant::now());
    }
}

/// Send a document. Returns how many of its spans the collector has rejected.
async fn post(collector: &Endpoint, body: Bytes) -> Result<u64, Refused> {
    let not_sent = |error: &dyn std::error::Error| Refused::ForNow(error.to_string());
    let stream = TcpStream::connect((collector.host(), collector.port())).await;
    let stream = stream.map_err(|error| not_sent(&error))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| not_sent(&error))?;
    let request = Request::post("/v1/traces")
        .header(HOST, collector.authority())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| Refused::ForGood(error.to_string()))?;
    let answer = async {
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(|error| not_sent(&error))?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        Ok((
            head.status,
            body.map(|body| body.to_bytes()).unwrap_or_default(),
        ))
    };
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    let (status, body) = tokio::select! {
        biased;
        answer = &mut answer => answer?,
        // The connection can end first: then the answer, or an error, is ready.
        _ = &mut connection => answer.await?,
    };
    let message = format!("it answered with the status {}", status.as_u16());
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Err(Refused::ForNow(message)),
        status if status.is_success() => Ok(rejected(&body)),
        _ => Err(Refused::ForGood(message)),
    }
}

/// The number of rejected spans in the collector's answer. It may be a text, because it has 64
/// bits.
fn rejected(answer: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    match &answer["partialSuccess"]["rejectedSpans"] {
        Value::String(text) => text.parse().unwrap_or(0),
        number => number.as_u64().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::config;
    use crate::log::Access;

    #[derive(Debug)]
    struct Ignored;

    impl Log for Ignored {
        fn event(&self, _: &Event<'_>) {}
    }

    #[tokio::test]
    async fn spans_that_cannot_be_sent_before_the_end_are_counted() {
        // It accepts connections, and never answers.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let silent = silent.expect("a port");
        let collector = format!("http://{}", silent.local_addr().expect("its address"));
        let settings = config::Telemetry {
            opentelemetry: Some(collector.parse().expect("a URL")),
            ..config::Telemetry::default()
        };
        let telemetry = Telemetry::new(&settings, SpanCounts::default()).expect("a collector");
        let respond = |request: u64| {
            let traced = telemetry.request(request, &HeaderMap::new(), false);
            telemetry.responded(&Access {
                request,
                component: None,
                has_many: false,
                tenant: None,
                method: &Method::GET,
                path: "/",
                response: None,
                hint: None,
                time: Duration::ZERO,
            });
            drop(traced);
        };
        telemetry.start(&Arc::new(Ignored));
        // One more than fits in a document: it waits behind a whole batch.
        let count = MAX_BATCH as u64 + 1;
        (0..count).for_each(respond);
        // The first document is on its way.
        silent.accept().await.expect("a connection");
        assert!(!telemetry.finish().await);
        respond(count);
        let counts = &telemetry.counts;
        assert_eq!((counts.sent.get(), counts.dropped.get()), (0, count + 1));
    }
}
