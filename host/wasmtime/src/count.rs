//! Counts a request's handles.

use std::sync::Arc;

use crate::bindings::connections;

/// How many of something a request has open, and may have open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) open: u32,
    most: u32,
}

/// One of the request's open cursors. See
/// [`take_cursor_place`](crate::SqliteCtx::take_cursor_place).
#[derive(Debug)]
pub struct CursorPlace(#[expect(dead_code, reason = "counted by its owners")] pub(crate) Arc<()>);

impl Count {
    pub(crate) fn up_to(most: u32) -> Count {
        Count { open: 0, most }
    }

    /// Returns an error if one more would be too many.
    pub(crate) fn check(&self, what: &str) -> Result<(), connections::Error> {
        self.check_with(what, 0)
    }

    /// Like [`check`](Count::check), with some that are counted elsewhere.
    pub(crate) fn check_with(&self, what: &str, others: usize) -> Result<(), connections::Error> {
        if self.open as usize + others >= self.most as usize {
            Err(connections::Error::too_many(what, self.most))
        } else {
            Ok(())
        }
    }

    pub(crate) fn add(&mut self) {
        self.open += 1;
    }

    pub(crate) fn remove(&mut self) {
        self.open = self.open.saturating_sub(1);
    }
}
