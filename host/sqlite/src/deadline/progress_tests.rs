//! How long a statement waits for another process.

use std::sync::Arc;
use std::time::Duration;

use millpond_pool::clock::{self, NEVER};

use crate::deadline::Watch;

#[test]
fn a_wait_for_another_process_ends_in_time() {
    let watch = Watch::new(Arc::default(), Duration::ZERO);
    assert!(!watch.wait_busy(0), "no time to wait");
    let watch = Watch::new(Arc::default(), Duration::from_secs(3600));
    assert!(watch.wait_busy(0));
    watch.start(clock::now(), NEVER);
    assert!(!watch.wait_busy(1), "past its deadline");
    watch.start(NEVER, NEVER);
    assert!(watch.wait_busy(2));
    watch.start(NEVER, 0);
    assert!(!watch.wait_busy(3), "out of steps");
}
