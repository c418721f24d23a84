//! The Hrana protocol, version 3, in its encoding as Protocol Buffers: what is sent, and what comes
//! back. Knows neither HTTP nor the pool's sessions.
//!
//! <https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md>
//!
//! Not as JSON, in which an infinity cannot be written: such a server sends null for both.

pub(crate) mod cursor;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod wire;
