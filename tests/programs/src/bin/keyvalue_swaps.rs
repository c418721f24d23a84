//! Counts by swapping, while others do.

use millpond_test_programs::keyvalue::draft2::atomics::{self, Cas, CasError};
use millpond_test_programs::keyvalue::draft2::store;

fn main() {
    let bucket = store::open("swaps").unwrap();
    for _ in 0..10 {
        let mut cas = Cas::new(&bucket, "count").unwrap();
        loop {
            let count = cas.current().unwrap().unwrap_or(b"0".to_vec());
            let count: u32 = str::from_utf8(&count).unwrap().parse().unwrap();
            match atomics::swap(cas, (count + 1).to_string().as_bytes()) {
                Ok(()) => break,
                Err(CasError::CasFailed(newer)) => cas = newer,
                Err(CasError::StoreError(error)) => panic!("{error:?}"),
            }
        }
    }
}
