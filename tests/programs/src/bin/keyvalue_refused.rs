//! Buckets under a grant that allows less.

use millpond_test_programs::keyvalue::store::{self, Error};

fn main() {
    // It is there, and read-only.
    let bucket = store::open("").unwrap();
    assert_eq!(bucket.get("key").unwrap().unwrap(), b"value");
    assert!(matches!(
        bucket.set("key", b"other"),
        Err(Error::AccessDenied)
    ));
    assert!(matches!(store::open("new"), Err(Error::NoSuchStore)));
}
