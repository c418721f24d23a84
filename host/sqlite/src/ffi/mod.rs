//! All unsafe code of this crate: SQLite's C interface, its allocator, its files, its functions.

pub(crate) mod changes;
pub(crate) mod fts5;
pub(crate) mod functions;
pub(crate) mod hooks;
pub(crate) mod leaves_log;
pub(crate) mod length;
pub(crate) mod memory;
pub(crate) mod raw;
pub(crate) mod series;
pub(crate) mod statement;
pub(crate) mod vfs;
