//! Shared by the benches: optimised guests, the sandbox that they run in, and tables of results.
#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod load;
pub(crate) mod native;
pub(crate) mod sandbox;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millpond_build::Guests;

/// The guests, built with optimisations, by name.
pub(crate) fn guests() -> BTreeMap<String, PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    Guests::new(workspace, target)
        .package("millpond-bench-guests")
        .package("millpond-notes")
        .profile("guest")
        .build()
        .expect("the guests are built")
}

/// The median of measurements.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// The value below which `part` of the sorted values lie; 0 if there are none.
pub(crate) fn percentile(sorted: &[u32], part: f64) -> u32 {
    let index = (sorted.len() as f64 * part / 100.0) as usize;
    sorted
        .get(index.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0)
}
