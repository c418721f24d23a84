//! Progress and cancellation.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::BackupError;
use crate::error::{Error, ErrorKind};

/// Cancels what it was given to, from any thread. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Create one that is not cancelled.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Cancel it, for good. Does not block.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far a backup, a restore or a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What it does now.
    pub phase: Phase,
    /// The pages that are copied. While checking: 0, or all at the end.
    pub pages_done: u64,
    /// The pages in all.
    pub pages: u64,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The pages are copied.
    Copying,
    /// The file is checked. SQLite does not tell how far that is.
    Checking,
}

/// Whom to tell, and whether to stop.
#[derive(Default)]
pub(super) struct Monitor<'a> {
    progress: Option<Box<dyn FnMut(Progress) + 'a>>,
    cancel: Cancel,
    check_time: Option<Duration>,
    max_check_time: Option<Duration>,
}

/// How long a check may take by default: some 200 times as long as one usually takes.
const CHECK_TIME: Duration = Duration::from_secs(10);
const CHECK_TIME_OF_PAGE: Duration = Duration::from_millis(10);

impl<'a> Monitor<'a> {
    pub(super) fn on_progress(&mut self, progress: impl FnMut(Progress) + 'a) {
        self.progress = Some(Box::new(progress));
    }

    pub(super) fn cancel_with(&mut self, cancel: &Cancel) {
        self.cancel = cancel.clone();
    }

    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    pub(super) fn set_check_time(&mut self, time: Duration) {
        self.check_time = Some(time);
    }

    /// Let no check take longer, whatever the size.
    pub(super) fn limit_check_time(&mut self, time: Duration) {
        self.max_check_time = Some(time);
    }

    /// How long the check of a database of that size may take.
    pub(super) fn check_time(&self, pages: u64) -> Duration {
        let time = self.check_time.unwrap_or_else(|| {
            let pages = u32::try_from(pages).unwrap_or(u32::MAX);
            CHECK_TIME + CHECK_TIME_OF_PAGE * pages
        });
        self.max_check_time.map_or(time, |max| time.min(max))
    }

    pub(super) fn check(&self) -> Result<(), BackupError> {
        match self.cancel.is_cancelled() {
            true => Err(BackupError::Cancelled),
            false => Ok(()),
        }
    }

    pub(super) fn tell(&mut self, phase: Phase, pages_done: u64, pages: u64) {
        if let Some(progress) = &mut self.progress {
            progress(Progress {
                phase,
                pages_done,
                pages,
            });
        }
    }

    /// An error, or that a statement was interrupted.
    pub(super) fn explain(&self, error: Error) -> BackupError {
        let interrupted = error.kind() == ErrorKind::DeadlineExceeded;
        match interrupted && self.cancel.is_cancelled() {
            true => BackupError::Cancelled,
            false => error.into(),
        }
    }
}

impl fmt::Debug for Monitor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}
