//! Who is stopped, and who is not.

use std::time::Duration;

use crate::clock::{self, NEVER};
use crate::watch::Watch;

#[test]
fn a_late_stop_does_not_hit_the_next_borrower() {
    let watch = Watch::new(Duration::ZERO);
    let first = watch.lend();
    let second = watch.lend();
    watch.stop(first);
    assert!(!watch.must_stop());
    watch.stop(second);
    assert!(watch.must_stop());
    let third = watch.lend();
    watch.interrupt(second);
    assert!(!watch.must_stop());
    watch.interrupt(third);
    assert!(watch.must_stop());
    watch.lend();
    assert!(!watch.must_stop());
}

#[test]
fn a_wait_for_another_process_ends_in_time() {
    let watch = Watch::new(Duration::ZERO);
    watch.lend();
    assert!(!watch.wait_busy(0), "no time to wait");
    let watch = Watch::new(Duration::from_secs(3600));
    let lending = watch.lend();
    assert!(watch.wait_busy(0));
    watch.start(clock::now(), NEVER);
    assert!(!watch.wait_busy(1), "past its deadline");
    watch.start(NEVER, NEVER);
    assert!(watch.wait_busy(2));
    watch.stop(lending);
    assert!(!watch.wait_busy(3), "stopped");
}
