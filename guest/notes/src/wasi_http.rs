//! HTTP as the host offers it: `wasi:http`, without a library in between.
//!
//! A library such as `wstd` reads all of a request, and passes each header of the response on
//! separately. That is more convenient, but each is a call to the host, and all of them together
//! take longer than a short statement.

use std::borrow::Cow;

use http::{Method, StatusCode};
use wasip2::http::types::{
    Fields, IncomingRequest, Method as WasiMethod, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::StreamError;

/// A request. Each part is read when asked for.
pub(crate) struct Request(pub(crate) IncomingRequest);

/// Why a request's body could not be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    TooLarge,
    /// The client has not sent all of it.
    Incomplete,
}

impl Request {
    pub(crate) fn method(&self) -> Method {
        match self.0.method() {
            WasiMethod::Get => Method::GET,
            WasiMethod::Head => Method::HEAD,
            WasiMethod::Post => Method::POST,
            WasiMethod::Put => Method::PUT,
            WasiMethod::Delete => Method::DELETE,
            WasiMethod::Connect => Method::CONNECT,
            WasiMethod::Options => Method::OPTIONS,
            WasiMethod::Trace => Method::TRACE,
            WasiMethod::Patch => Method::PATCH,
            WasiMethod::Other(name) => name.parse().expect("a method, which the host has checked"),
        }
    }

    /// The path, and the query if there is one: `/a?b`.
    pub(crate) fn path_with_query(&self) -> String {
        self.0.path_with_query().unwrap_or_default()
    }

    /// The values of a header. Those that are not UTF-8 are empty.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let values = self.0.headers().get(name).into_iter();
        values
            .map(|value| String::from_utf8(value).unwrap_or_default())
            .collect()
    }

    /// The body, of at most `limit` bytes. It can be read once.
    pub(crate) fn body(&self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let body = self.0.consume().map_err(|()| BodyError::Incomplete)?;
        let stream = body.stream().map_err(|()| BodyError::Incomplete)?;
        let mut bytes = Vec::new();
        loop {
            let room = limit - bytes.len() + 1;
            match stream.blocking_read(room as u64) {
                Ok(read) => bytes.extend(read),
                Err(StreamError::Closed) => return Ok(bytes),
                Err(StreamError::LastOperationFailed(_)) => return Err(BodyError::Incomplete),
            }
            if bytes.len() > limit {
                return Err(BodyError::TooLarge);
            }
        }
    }
}

/// A response: 200, unless it says otherwise.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(body: impl Into<Vec<u8>>) -> Response {
        Response {
            status: StatusCode::OK,
            headers: Vec::with_capacity(8),
            body: body.into(),
        }
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Response {
        self.status = status;
        self
    }

    /// Adds a header.
    pub(crate) fn header(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Response {
        self.headers.push((name, value.into()));
        self
    }
}

/// Sends a response.
pub(crate) fn respond(response: Response, to: ResponseOutparam) {
    let Response {
        status,
        headers,
        body,
    } = response;
    let headers: Vec<_> = headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_owned().into_bytes()))
        .collect();
    let headers = Fields::from_list(&headers).expect("headers that this component may set");
    let response = OutgoingResponse::new(headers);
    if status != StatusCode::OK {
        response.set_status_code(status.as_u16()).expect("a status");
    }
    let outgoing = response.body().expect("the first call");
    ResponseOutparam::set(to, Ok(response));
    // If the client has disconnected, no one waits for the rest.
    if write(&outgoing, &body).is_ok() {
        let _ = OutgoingBody::finish(outgoing, None);
    }
}

fn write(body: &OutgoingBody, mut bytes: &[u8]) -> Result<(), StreamError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let stream = body.write().expect("the first call");
    while !bytes.is_empty() {
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        match now.is_empty() {
            true => stream.subscribe().block(),
            false => stream.write(now)?,
        }
        bytes = later;
    }
    Ok(())
}
