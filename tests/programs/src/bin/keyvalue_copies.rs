//! Reads a large value many times at once.

use millpond_test_programs::keyvalue::{batch, store};

fn main() {
    let bucket = store::open("").unwrap();
    bucket.set("large", &vec![0; 1 << 20]).unwrap();
    let keys = vec!["large".to_owned(); 15];
    let found = batch::get_many(&bucket, &keys).unwrap();
    assert_eq!(found.iter().flatten().count(), 15);
}
