//! A session in the pool, and its thread.

use std::sync::Arc;

use crate::engine::{Engine, Session};
use crate::error::Result;
use crate::stop_flag::StopFlag;
use crate::thread::Thread;

/// A session, with what the pool stores for it.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) session: Box<dyn Session>,
    pub(crate) stop: Arc<StopFlag>,
    /// Started when first needed.
    thread: Option<Thread>,
}

impl Pooled {
    pub(crate) async fn open(
        engine: &dyn Engine,
        is_observed: bool,
        until: u64,
    ) -> Result<Box<Pooled>> {
        let stop = Arc::new(StopFlag::new(is_observed));
        Ok(Box::new(Pooled {
            session: engine.open(Arc::clone(&stop), until).await?,
            stop,
            thread: None,
        }))
    }

    /// The session's own thread.
    pub(crate) fn thread(&mut self) -> Result<Thread> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => Thread::start()?,
        };
        Ok(self.thread.insert(thread).clone())
    }
}
