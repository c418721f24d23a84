//! An HTTP handler of WASI 0.2 that gives an error for a response, and then traps.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{ErrorCode, IncomingRequest, ResponseOutparam};

struct Handler;

#[cfg(target_family = "wasm")]
wasip2::http::proxy::export!(Handler);

impl Guest for Handler {
    fn handle(_request: IncomingRequest, response: ResponseOutparam) {
        ResponseOutparam::set(response, Err(ErrorCode::HttpProtocolError));
        panic!("as told");
    }
}

fn main() {
    // Natively nothing else uses it.
    let _ = Handler;
}
