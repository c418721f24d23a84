//! One call of a guest, as the test describes it: an HTTP request, or a command's run.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri};

use crate::app::App;
use crate::fault::Fault;
use crate::record::{Answer, Exit};
use crate::run;

/// What every call can have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) faults: Vec<Fault>,
    pub(crate) now: Option<SystemTime>,
}

/// An HTTP request that is about to be sent. Awaiting it sends it, and returns the [`Answer`].
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct Call {
    app: App,
    request: Request<Bytes>,
    options: Options,
}

impl Call {
    pub(crate) fn new(app: App, request: Request<Bytes>) -> Call {
        Call {
            app,
            request,
            options: Options::default(),
        }
    }

    /// Add a header.
    ///
    /// # Panics
    ///
    /// The name or the value is not valid.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Call {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
        else {
            panic!("{name}: {value} is not a header");
        };
        self.request.headers_mut().append(name, value);
        self
    }

    /// Set the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Call {
        *self.request.body_mut() = body.into();
        self
    }

    /// Let a fault happen. If several could happen at one call, only the first does, after all
    /// delays.
    pub fn fault(mut self, fault: Fault) -> Call {
        self.options.faults.push(fault);
        self
    }

    /// Freeze the guest's wall clock for this call: see
    /// [`AppBuilder::now`](crate::AppBuilder::now).
    pub fn now(mut self, now: SystemTime) -> Call {
        self.options.now = Some(now);
        self
    }

    /// The request as a server passes it on: with a `Host`, the length of its body, and a target
    /// that has an authority.
    fn complete(&mut self) {
        let uri = self.request.uri();
        let authority = uri.authority().cloned().or_else(|| {
            let host = self.request.headers().get(HOST)?;
            host.to_str().ok()?.parse().ok()
        });
        let authority = authority.unwrap_or_else(|| Authority::from_static("localhost"));
        let path = uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if let Ok(host) = authority.as_str().parse() {
            self.request.headers_mut().entry(HOST).or_insert(host);
        }
        let is_body_expected = [Method::POST, Method::PUT, Method::PATCH];
        let length = self.request.body().len();
        if (length > 0 || is_body_expected.contains(self.request.method()))
            && !self.request.headers().contains_key(TRANSFER_ENCODING)
        {
            let headers = self.request.headers_mut();
            headers.entry(CONTENT_LENGTH).or_insert(length.into());
        }
        let complete = Uri::builder().scheme(Scheme::HTTP).authority(authority);
        if let Ok(uri) = complete.path_and_query(path).build() {
            *self.request.uri_mut() = uri;
        }
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        self.complete();
        Box::pin(run::request(self.app, self.request, self.options))
    }
}

/// A command that is about to run. Awaiting it runs it, and returns its [`Exit`].
#[derive(Clone, Debug)]
#[must_use = "a run does nothing until it is awaited"]
pub struct Run {
    app: App,
    args: Vec<String>,
    stdin: Bytes,
    options: Options,
}

impl Run {
    pub(crate) fn new(app: App, args: Vec<String>) -> Run {
        Run {
            app,
            args,
            stdin: Bytes::new(),
            options: Options::default(),
        }
    }

    /// Set what the guest reads from its standard input. Defaults to nothing.
    pub fn stdin(mut self, stdin: impl Into<Bytes>) -> Run {
        self.stdin = stdin.into();
        self
    }

    /// Let a fault happen: see [`Call::fault`].
    pub fn fault(mut self, fault: Fault) -> Run {
        self.options.faults.push(fault);
        self
    }

    /// Freeze the guest's wall clock: see [`AppBuilder::now`](crate::AppBuilder::now).
    pub fn now(mut self, now: SystemTime) -> Run {
        self.options.now = Some(now);
        self
    }
}

impl IntoFuture for Run {
    type Output = Exit;
    type IntoFuture = Pin<Box<dyn Future<Output = Exit> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run::command(self.app, self.args, self.stdin, self.options))
    }
}
