//! Compresses responses as their clients accept it (RFC 9110, 12.5.3).

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use brotli::CompressorWriter;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, VARY,
};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::{Body, Bytes, Frame};
use wasmtime_wasi_http::{Error, WasiBody};

/// A smaller body is sent as it is: compression would hardly make it smaller.
const MIN_SIZE: u64 = 256;
/// How much compressed data to collect before it is sent, unless the guest pauses.
const PART: usize = 16 << 10;
/// How many bytes to compress before other connections get their turn on the thread. That takes
/// less than 2 ms.
const TURN: usize = 16 << 10;

/// zlib's default, and a level of Brotli that takes about as long.
const GZIP_LEVEL: u32 = 6;
const BROTLI_LEVEL: u32 = 4;
/// Of Brotli, as a power of 2: 256 KiB of what came before. More takes more memory for each
/// response.
const BROTLI_WINDOW: u32 = 18;

/// Types that are worth it, besides `text/*`, and those whose name ends in one of `SUFFIXES`.
const TYPES: [&str; 10] = [
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/x-ndjson",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
];
const SUFFIXES: [&str; 4] = ["+json", "+text", "+xml", "+yaml"];
/// Headers that describe the body's bytes.
const DIGESTS: [&str; 3] = ["content-digest", "content-md5", "repr-digest"];

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    /// The one that a client likes best. `None`: it wants the content as it is.
    pub(super) fn preferred(request: &HeaderMap) -> Option<Coding> {
        let accepted: Vec<_> = items(request, ACCEPT_ENCODING)
            .filter_map(weighted)
            .collect();
        let weight = |names: &[&str]| {
            let mut accepted = accepted.iter();
            accepted
                .find(|(name, _)| names.contains(&&**name))
                .map(|(_, weight)| *weight)
        };
        let any = weight(&["*"]).unwrap_or(0);
        let brotli = weight(&["br"]).unwrap_or(any);
        let gzip = weight(&["gzip", "x-gzip"]).unwrap_or(any);
        let best = brotli.max(gzip);
        if best == 0 || best < weight(&["identity"]).unwrap_or(0) {
            return None;
        }
        Some(match brotli == best {
            true => Coding::Brotli,
            false => Coding::Gzip,
        })
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        })
    }
}

/// The items of a header that is a list, in lower case.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    let values = headers.get_all(name).iter();
    let items = values.filter_map(|value| value.to_str().ok());
    let items = items.flat_map(|value| value.split(','));
    items.map(|item| item.trim().to_ascii_lowercase())
}

/// A coding with its weight, in thousandths. Not one of which the weight is invalid.
fn weighted(item: String) -> Option<(String, u16)> {
    let Some((name, weight)) = item.split_once(';') else {
        return Some((item, 1000));
    };
    let weight: f32 = weight.trim().strip_prefix("q=")?.trim().parse().ok()?;
    let is_valid = (0.0..=1.0).contains(&weight);
    // At most 1000.
    is_valid.then(|| (name.trim().to_owned(), (weight * 1000.0) as u16))
}

/// Compress a response, if it is worth it and the client accepts it. A response to `HEAD` gets the
/// headers alone.
pub(super) fn compress(
    mut response: Response<WasiBody>,
    coding: Option<Coding>,
    is_head: bool,
) -> Response<WasiBody> {
    if !may_be_compressed(&response, is_head) {
        return response;
    }
    let headers = response.headers_mut();
    if !items(headers, VARY).any(|item| item == "*" || item == ACCEPT_ENCODING.as_str()) {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
    let Some(coding) = coding else {
        return response;
    };
    headers.insert(CONTENT_ENCODING, coding.name());
    headers.remove(CONTENT_LENGTH);
    // A range of the content as it is would be another range of the compressed content.
    headers.remove(ACCEPT_RANGES);
    weaken(headers);
    match is_head {
        // Without a size, which hyper would send.
        true => response.map(|body| StreamBody::new(BodyStream::new(body)).boxed_unsync()),
        false => response.map(|body| Compressed::new(body, coding).boxed_unsync()),
    }
}

fn may_be_compressed(response: &Response<WasiBody>, is_head: bool) -> bool {
    let (headers, status) = (response.headers(), response.status());
    let has_content = !matches!(
        status,
        StatusCode::NO_CONTENT
            | StatusCode::RESET_CONTENT
            | StatusCode::PARTIAL_CONTENT
            | StatusCode::NOT_MODIFIED
    );
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = match is_head {
        // Its body is not the one that `GET` would have.
        true => length,
        false => length.or(response.body().size_hint().exact()),
    };
    has_content
        && length.is_none_or(|length| length >= MIN_SIZE)
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !DIGESTS.iter().any(|name| headers.contains_key(*name))
        && !items(headers, CACHE_CONTROL).any(|item| item == "no-transform")
        && headers.get(CONTENT_TYPE).is_some_and(is_worth_it)
}

fn is_worth_it(content_type: &HeaderValue) -> bool {
    let kind = content_type.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || TYPES.contains(&&*kind)
        || SUFFIXES.iter().any(|suffix| kind.ends_with(suffix))
}

/// The compressed content has the same meaning, but not the same bytes (RFC 9110, 8.8.1).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers
        .get(ETAG)
        .filter(|tag| tag.as_bytes().starts_with(b"\""))
    else {
        return;
    };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        headers.insert(ETAG, weak);
    }
}

enum Encoder {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> Encoder {
        match coding {
            Coding::Brotli => Encoder::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                PART,
                BROTLI_LEVEL,
                BROTLI_WINDOW,
            ))),
            Coding::Gzip => Encoder::Gzip(GzEncoder::new(
                Vec::new(),
                flate2::Compression::new(GZIP_LEVEL),
            )),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Brotli(encoder) => encoder.write_all(bytes),
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Put all that has been written into the output.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::Brotli(encoder) => encoder.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Encoder::Brotli(encoder) => encoder.get_mut(),
            Encoder::Gzip(encoder) => encoder.get_mut(),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
            Encoder::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// A body that is compressed as it passes. When the guest pauses, the client gets what there is.
struct Compressed {
    body: WasiBody,
    /// Taken at the end.
    encoder: Option<Encoder>,
    trailers: Option<Frame<Bytes>>,
    /// The rest of the guest's last part, which is not compressed yet.
    input: Bytes,
    has_unflushed: bool,
    /// How many bytes may still be compressed in this turn.
    turn: usize,
}

impl Compressed {
    fn new(body: WasiBody, coding: Coding) -> Compressed {
        Compressed {
            body,
            encoder: Some(Encoder::new(coding)),
            trailers: None,
            input: Bytes::new(),
            has_unflushed: false,
            turn: TURN,
        }
    }

    /// The next frame. `None`: there is none yet.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Option<Frame<Bytes>>, Error>>> {
        let Some(encoder) = &mut self.encoder else {
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(Some(trailers))));
        };
        // Writing into memory does not fail.
        let failed = |_: io::Error| Error::HttpResponseContentCoding(None);
        if self.turn == 0 {
            self.turn = TURN;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = match self.input.is_empty() {
            true => Pin::new(&mut self.body).poll_frame(cx)?,
            false => Poll::Ready(Some(Frame::data(std::mem::take(&mut self.input)))),
        };
        let (outcome, least) = match next {
            Poll::Pending if !self.has_unflushed => return Poll::Pending,
            Poll::Pending => {
                self.has_unflushed = false;
                (encoder.flush(), 1)
            }
            Poll::Ready(Some(frame)) => match frame.into_data() {
                Ok(mut data) => {
                    self.input = data.split_off(data.len().min(self.turn));
                    self.turn -= data.len();
                    self.has_unflushed = true;
                    (encoder.write(&data), PART)
                }
                Err(trailers) => {
                    self.trailers = Some(trailers);
                    return self.finish(failed);
                }
            },
            Poll::Ready(None) => return self.finish(failed),
        };
        outcome.map_err(failed)?;
        let output = encoder.output();
        let frame = (output.len() >= least).then(|| Frame::data(std::mem::take(output).into()));
        Poll::Ready(Some(Ok(frame)))
    }

    fn finish(
        &mut self,
        failed: impl Fn(io::Error) -> Error,
    ) -> Poll<Option<Result<Option<Frame<Bytes>>, Error>>> {
        let encoder = self.encoder.take();
        let rest = encoder.map_or(Ok(Vec::new()), Encoder::finish);
        let rest = rest.map_err(failed)?;
        Poll::Ready(Some(Ok(Some(Frame::data(rest.into())))))
    }
}

impl Body for Compressed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            match std::task::ready!(self.step(cx)?) {
                Some(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(None) => {}
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const PARTS: usize = 64;
    const PART_SIZE: usize = 64 << 10;

    /// A body whose large parts are always ready. Counts the parts that it has given.
    struct Ready(Arc<AtomicUsize>);

    impl Body for Ready {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            let part = Frame::data(Bytes::from(vec![0; PART_SIZE]));
            let given = self.0.fetch_add(1, Ordering::Relaxed);
            Poll::Ready((given < PARTS).then_some(Ok(part)))
        }
    }

    /// Other connections share the thread.
    #[test]
    fn a_body_that_never_pauses_gives_others_their_turn() {
        for coding in [Coding::Brotli, Coding::Gzip] {
            let given = Arc::new(AtomicUsize::new(0));
            let body = Ready(Arc::clone(&given)).boxed_unsync();
            let mut compressed = Compressed::new(body, coding);
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut turns = 0;
            while !compressed.is_end_stream() {
                match Pin::new(&mut compressed).poll_frame(&mut cx) {
                    Poll::Ready(frame) => assert!(matches!(frame, Some(Ok(_)))),
                    Poll::Pending => turns += 1,
                }
                let given = given.load(Ordering::Relaxed);
                assert!(
                    given * PART_SIZE <= (turns + 1) * TURN + PART_SIZE,
                    "{given}"
                );
            }
            assert_eq!(turns, PARTS * PART_SIZE / TURN);
        }
    }

    #[test]
    fn the_client_chooses() {
        let (br, gzip) = (Some(Coding::Brotli), Some(Coding::Gzip));
        for (accepted, expected) in [
            ("", None),
            ("gzip", gzip),
            ("x-gzip", gzip),
            ("GZIP, deflate, br", br),
            ("br;q=0.5, gzip", gzip),
            ("br; q=0.5, gzip;q=0.4", br),
            ("gzip;q=0, *", br),
            ("br;q=0, *;q=0.1", gzip),
            ("*;q=0", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0, gzip;q=0.001", gzip),
            ("deflate, zstd", None),
            ("gzip;q=2", None),
            ("gzip;level=1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(Coding::preferred(&headers), expected, "{accepted}");
        }
        assert_eq!(Coding::preferred(&HeaderMap::new()), None);
    }
}
