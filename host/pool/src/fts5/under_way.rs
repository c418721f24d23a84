//! The [`Watch`] of the connection that this thread is at work for.
//!
//! FTS5 passes nothing of ours to a tokenizer whose instances are SQLite's own, as those of
//! `trigram` must be: see `tokenizers`.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::watch::Watch;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Watch>>> = const { RefCell::new(None) };
}

/// Until the scope is dropped, this thread works for the connection of `watch`.
pub(crate) fn enter(watch: &Arc<Watch>) -> Scope {
    Scope {
        before: CURRENT.replace(Some(Arc::clone(watch))),
        not_send: PhantomData,
    }
}

/// None outside of any scope, and when the thread is ending.
pub(super) fn watch() -> Option<Arc<Watch>> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// See [`enter`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Scope {
    before: Option<Arc<Watch>>,
    /// It is this thread's.
    not_send: PhantomData<*const ()>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        // An ending thread has no use for it.
        let _ = CURRENT.try_with(|current| current.replace(self.before.take()));
    }
}
