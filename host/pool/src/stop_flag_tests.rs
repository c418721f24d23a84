//! Which calls a stop affects.

use crate::clock::{self, NEVER};
use crate::stop_flag::StopFlag;

#[test]
fn a_late_stop_does_not_hit_the_next_borrower() {
    let flag = StopFlag::default();
    let first = flag.lend();
    let second = flag.lend();
    flag.stop(first);
    assert!(!flag.must_stop());
    flag.stop(second);
    assert!(flag.must_stop());
    let third = flag.lend();
    flag.interrupt(second);
    assert!(!flag.must_stop());
    flag.interrupt(third);
    assert!(flag.must_stop());
    flag.lend();
    assert!(!flag.must_stop());
}

#[test]
fn nothing_stops_undoing_partial_work() {
    let flag = StopFlag::default();
    let lending = flag.lend();
    flag.start(clock::now());
    assert!(flag.must_stop(), "past its deadline");
    flag.stop(lending);
    flag.start_unbounded();
    assert!(!flag.must_stop());
    flag.set_until(NEVER);
    assert!(flag.must_stop(), "it is stopped still");
}

#[test]
fn an_abandoned_call_cannot_commit_and_a_committing_call_cannot_be_abandoned() {
    let flag = StopFlag::default();
    flag.lend();
    assert!(flag.start_commit() && flag.abandon().is_none());
    flag.end_commit();
    assert!(flag.abandon() == Some(false) && !flag.start_commit());
    flag.start_abandonable();
    assert!(flag.start_commit());
}
