//! What the upkeep of each database has done last.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::log::milliseconds;

/// The upkeep of one database since the start. Of tenants, of all their databases.
#[derive(Debug, Default)]
pub(super) struct Upkeeps {
    total: u64,
    last: Option<LastUpkeep>,
}

/// One upkeep: see [`Event::UpkeepDone`](millpond_wasmtime::pool::observe::Event::UpkeepDone).
#[derive(Debug)]
pub(super) struct LastUpkeep {
    pub(super) ended: Instant,
    pub(super) time: Duration,
    pub(super) analyzed_tables: u32,
    pub(super) freed_pages: u32,
    pub(super) is_complete: bool,
}

impl Upkeeps {
    pub(super) fn add(&mut self, last: LastUpkeep) {
        self.total += 1;
        self.last = Some(last);
    }

    /// How many there were, and the last one; `null` before the first.
    pub(super) fn to_json(&self) -> Value {
        let last = self.last.as_ref().map(|last| {
            json!({
                "ago_s": last.ended.elapsed().as_secs(),
                "ms": milliseconds(last.time),
                "analyzed_tables": last.analyzed_tables,
                "freed_pages": last.freed_pages,
                "complete": last.is_complete,
            })
        });
        json!({ "total": self.total, "last": last })
    }
}
