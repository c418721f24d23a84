//! The last things that happened.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// How many are kept.
const KEPT: usize = 50;
/// How much of a text is kept.
const MAX_CHARS: usize = 2000;

/// The last things that happened, the newest first, each with its number.
#[derive(Debug, Default)]
pub(super) struct Recent {
    inner: Mutex<(u64, VecDeque<Value>)>,
}

impl Recent {
    /// Add an object.
    pub(super) fn add(&self, mut thing: Value) {
        let mut inner = self.inner();
        inner.0 += 1;
        thing["number"] = inner.0.into();
        thing["time"] = format!("{:.3}", jiff::Timestamp::now()).into();
        inner.1.truncate(KEPT - 1);
        inner.1.push_front(thing);
    }

    /// Add an event, with its line for people.
    pub(super) fn add_event(&self, name: &str, text: &str) {
        let text: String = text.chars().take(MAX_CHARS).collect();
        self.add(json!({ "event": name, "text": text }));
    }

    pub(super) fn total(&self) -> u64 {
        self.inner().0
    }

    pub(super) fn to_json(&self) -> Value {
        self.inner().1.iter().cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, (u64, VecDeque<Value>)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
