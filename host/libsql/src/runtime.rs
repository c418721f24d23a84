//! The threads that the network runs on.
//!
//! Connections outlive the requests that use them, and a caller may have no runtime of its own, or
//! one without I/O, or one that ends before the pool does. So all connections of the process are
//! served by one small runtime here.

use std::io;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use millpond_pool::{Error, ErrorKind, Result, spawner};
use tokio::runtime::{Builder, Handle, Runtime};

/// More do not help: they copy bytes, and the callers' threads do the rest.
const MAX_THREADS: usize = 4;

/// The runtime, started when it is first needed, and never ended.
pub(crate) fn handle() -> Result<&'static Handle> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| spawner::run(start).and_then(|runtime| runtime).ok());
    runtime.as_ref().map(Runtime::handle).ok_or_else(|| {
        Error::new(
            ErrorKind::CannotOpen,
            "the system starts no thread for the network",
        )
    })
}

fn start() -> io::Result<Runtime> {
    let processors = available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread()
        .worker_threads(processors.min(MAX_THREADS))
        .thread_name("millpond-net")
        .enable_io()
        .enable_time()
        .build()
}
