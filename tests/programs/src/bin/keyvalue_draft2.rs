//! What is new in `wasi:keyvalue` 0.2.0-draft2, beside 0.2.0-draft on the same bucket.

use millpond_test_programs::keyvalue as draft;
use millpond_test_programs::keyvalue::draft2::atomics::{self, Cas, CasError};
use millpond_test_programs::keyvalue::draft2::batch;
use millpond_test_programs::keyvalue::draft2::store::{self, Bucket, Error};

fn main() {
    both_versions();
    many_keys();
    numbers();
    swaps();
    mistakes();
    written_by_sql();
}

fn both_versions() {
    let old = draft::store::open("").unwrap();
    let bucket = store::open("").unwrap();
    old.set("old", b"1").unwrap();
    bucket.set("new", b"2").unwrap();
    assert_eq!(bucket.get("old").unwrap().unwrap(), b"1");
    assert_eq!(old.get("new").unwrap().unwrap(), b"2");
    let listed = bucket.list_keys(None).unwrap();
    assert_eq!((listed.keys, listed.cursor), (keys(&["old", "new"]), None));
    bucket.delete("old").unwrap();
    assert!(!old.exists("old").unwrap());
    assert!(bucket.exists("new").unwrap());
    bucket.delete("new").unwrap();
    assert_eq!(draft::atomics::increment(&old, "count", 5).unwrap(), 5);
    assert_eq!(atomics::increment(&bucket, "count", -7).unwrap(), -2);
    // The older version knows no such numbers.
    let negative = draft::atomics::increment(&old, "count", 9);
    assert!(matches!(negative, Err(draft::store::Error::Other(_))));
    let pairs = [
        ("a".to_owned(), b"v".to_vec()),
        ("b".to_owned(), Vec::new()),
    ];
    batch::set_many(&bucket, &pairs).unwrap();
    let names = keys(&["b", "none", "a"]);
    let [(a, of_a), (b, of_b)] = pairs;
    let found = [(b, Some(of_b)), ("none".to_owned(), None), (a, Some(of_a))];
    assert_eq!(batch::get_many(&bucket, &names).unwrap(), found);
    batch::delete_many(&bucket, &names).unwrap();
    assert_eq!(bucket.list_keys(None).unwrap().keys, ["count"]);
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(str::to_owned).collect()
}

/// All keys, page by page.
fn list(bucket: &Bucket) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor.as_deref()).unwrap();
        assert!(page.keys.len() <= 1_000);
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            return keys;
        }
    }
}

fn many_keys() {
    let bucket = store::open("many").unwrap();
    let pairs = (0..2_500).map(|number| (format!("key {number}"), Vec::new()));
    let pairs: Vec<_> = pairs.collect();
    batch::set_many(&bucket, &pairs).unwrap();
    let names: Vec<_> = pairs.into_iter().map(|(key, _)| key).collect();
    assert_eq!(list(&bucket), names);
}

fn numbers() {
    let bucket = store::open("numbers").unwrap();
    for (least, step) in [(i64::MAX, 1), (i64::MIN, -1)] {
        bucket.set("n", least.to_string().as_bytes()).unwrap();
        assert_eq!(atomics::increment(&bucket, "n", 0).unwrap(), least);
        let too_large = atomics::increment(&bucket, "n", step);
        assert!(matches!(too_large, Err(Error::Other(_))));
        assert_eq!(
            atomics::increment(&bucket, "n", -step).unwrap(),
            least - step
        );
    }
    for text in ["", "one", "9223372036854775808", "1.0", "\u{661}"] {
        bucket.set("n", text.as_bytes()).unwrap();
        let no_number = atomics::increment(&bucket, "n", 1);
        assert!(matches!(no_number, Err(Error::Other(_))), "{text}");
    }
}

fn swaps() {
    let bucket = store::open("swaps").unwrap();
    let swap = |cas, value: &str| atomics::swap(cas, value.as_bytes());
    // Of no value, and of one.
    let cas = Cas::new(&bucket, "key").unwrap();
    assert_eq!(cas.current().unwrap(), None);
    swap(cas, "one").unwrap();
    swap(Cas::new(&bucket, "key").unwrap(), "two").unwrap();
    assert_eq!(bucket.get("key").unwrap().unwrap(), b"two");
    // Another has changed it, deleted it or set it.
    type Change = fn(&Bucket);
    let changes: [(Change, Option<&str>); 3] = [
        (|bucket| bucket.set("key", b"other").unwrap(), Some("other")),
        (|bucket| bucket.delete("key").unwrap(), None),
        (|bucket| bucket.set("key", b"").unwrap(), Some("")),
    ];
    for (change, changed) in changes {
        let cas = Cas::new(&bucket, "key").unwrap();
        change(&bucket);
        let Err(CasError::CasFailed(cas)) = swap(cas, "mine") else {
            panic!("it was swapped");
        };
        let changed = changed.map(|value| value.as_bytes().to_vec());
        assert_eq!(bucket.get("key").unwrap(), changed);
        // The new handle is for the new value, even if that is not read.
        swap(cas, "mine").unwrap();
        assert_eq!(bucket.get("key").unwrap().unwrap(), b"mine");
    }
    // What counts is what the guest last saw.
    let cas = Cas::new(&bucket, "key").unwrap();
    bucket.set("key", b"seen").unwrap();
    assert_eq!(cas.current().unwrap().unwrap(), b"seen");
    swap(cas, "last").unwrap();
    // A handle outlives its bucket's.
    let cas = Cas::new(&bucket, "key").unwrap();
    drop(bucket);
    swap(cas, "after").unwrap();
}

fn mistakes() {
    assert!(matches!(store::open("none/x"), Err(Error::NoSuchStore)));
    let bucket = store::open("").unwrap();
    for cursor in ["", "x", "1x", "9223372036854775808", "\0"] {
        assert!(matches!(
            bucket.list_keys(Some(cursor)),
            Err(Error::Other(_))
        ));
    }
    assert!(Cas::new(&bucket, &"x".repeat(4 << 10)).is_ok());
    let long = Cas::new(&bucket, &"x".repeat((4 << 10) + 1));
    assert!(matches!(long, Err(Error::Other(_))));
    let cas = Cas::new(&bucket, "large").unwrap();
    let too_large = atomics::swap(cas, &vec![0; (1 << 20) + 1]);
    let Err(CasError::StoreError(Error::Other(_))) = too_large else {
        panic!("{too_large:?}");
    };
    assert!(!bucket.exists("large").unwrap());
}

/// A bucket that the test has filled.
fn written_by_sql() {
    let bucket = store::open("sql").unwrap();
    let names = ["least", "below zero", "zero", "17", "text", "null"];
    assert_eq!(list(&bucket), names);
    let page = draft::store::open("sql").unwrap().list_keys(None).unwrap();
    assert_eq!((page.keys, page.cursor), (keys(&names), None));
    let value = |key| bucket.get(key).unwrap().unwrap();
    assert_eq!(value("below zero"), b"-1");
    assert_eq!(value("zero"), b"0.5");
    assert_eq!(value("text"), b"\xff");
    assert_eq!(value("null"), b"");
    let found = batch::get_many(&bucket, &keys(&["text"])).unwrap();
    assert_eq!(found, [("text".to_owned(), Some(b"\xff".to_vec()))]);
}
