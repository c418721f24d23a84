//! Counts its runs, and those of others at the same time.

use millpond_test_programs::keyvalue::{atomics, store};

fn main() {
    let bucket = store::open("counts").unwrap();
    let mut last = 0;
    for _ in 0..10 {
        let count = atomics::increment(&bucket, "runs", 1).unwrap();
        assert!(count > last);
        last = count;
    }
}
