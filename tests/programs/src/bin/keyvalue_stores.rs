//! Every function of `wasi:keyvalue`, on buckets that are new.

use millpond_test_programs::keyvalue::store::{self, Error};
use millpond_test_programs::keyvalue::{atomics, batch};

fn main() {
    one_bucket();
    many_keys();
    buckets_apart();
    mistakes();
}

/// What wasmtime's own program of this interface does, and a little more.
fn one_bucket() {
    let bucket = store::open("").unwrap();
    assert_eq!(bucket.list_keys(None).unwrap().keys, Vec::<String>::new());
    assert_eq!(atomics::increment(&bucket, "count", 5).unwrap(), 5);
    assert_eq!(atomics::increment(&bucket, "count", 1).unwrap(), 6);
    assert_eq!(bucket.get("count").unwrap().unwrap(), b"6");
    assert_eq!(bucket.list_keys(None).unwrap().keys, ["count"]);
    bucket.set("hello", b"world").unwrap();
    assert_eq!(bucket.get("hello").unwrap().unwrap(), b"world");
    bucket.set("hello", b"").unwrap();
    assert_eq!(bucket.get("hello").unwrap().unwrap(), b"");
    assert!(bucket.exists("hello").unwrap());
    bucket.delete("hello").unwrap();
    bucket.delete("hello").unwrap();
    assert!(!bucket.exists("hello").unwrap());
    assert_eq!(bucket.get("hello").unwrap(), None);
    let pair = |key: &str| (key.to_owned(), b"v".to_vec());
    batch::set_many(&bucket, &[pair("a"), pair("b"), pair("c"), pair("")]).unwrap();
    let names = ["a", "c", "c", "none"].map(str::to_owned);
    batch::delete_many(&bucket, &names).unwrap();
    let names = ["a", "b", "c", "b", ""].map(str::to_owned);
    let found = batch::get_many(&bucket, &names).unwrap();
    assert_eq!(
        found,
        [None, Some(pair("b")), None, Some(pair("b")), Some(pair(""))]
    );
    assert_eq!(batch::get_many(&bucket, &[]).unwrap(), []);
    batch::set_many(&bucket, &[]).unwrap();
}

fn many_keys() {
    let bucket = store::open("many").unwrap();
    let name = |number: usize| format!("key {number}");
    let pairs: Vec<_> = (0..2_500)
        .map(|number| (name(number), number.to_string().into_bytes()))
        .collect();
    batch::set_many(&bucket, &pairs).unwrap();
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor).unwrap();
        assert!(page.keys.len() <= 1_000);
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(keys, (0..2_500).map(name).collect::<Vec<_>>());
    assert_eq!(bucket.list_keys(Some(u64::MAX)).unwrap().keys.len(), 0);
    let found = batch::get_many(&bucket, &keys).unwrap();
    assert_eq!(found, pairs.into_iter().map(Some).collect::<Vec<_>>());
}

fn buckets_apart() {
    let names = ["many", "Many", "default", "default/other", "a-b_c.1"];
    let buckets = names.map(|name| store::open(name).unwrap());
    for (bucket, name) in buckets.iter().zip(names) {
        bucket.set("name", name.as_bytes()).unwrap();
    }
    for (bucket, name) in buckets.iter().zip(names) {
        assert_eq!(bucket.get("name").unwrap().unwrap(), name.as_bytes());
    }
    // Other names of these.
    for (other, name) in [
        ("other", "default/other"),
        ("", "default"),
        ("default/", "default"),
    ] {
        let value = store::open(other).unwrap().get("name").unwrap();
        assert_eq!(value.unwrap(), name.as_bytes());
    }
}

fn mistakes() {
    let long = "x".repeat(65);
    let database = format!("{}/x", "\0".repeat(1 << 20));
    for name in [
        "none/x", "a/b/c", "a b", "\"", "é", "../x", &long, &database,
    ] {
        let refused = store::open(name).err();
        assert!(matches!(refused, Some(Error::NoSuchStore)));
    }
    let bucket = store::open("").unwrap();
    bucket.set("text", b"six").unwrap();
    let no_number = atomics::increment(&bucket, "text", 1);
    assert!(matches!(no_number, Err(Error::Other(_))));
    // A message does not repeat a long key.
    let long = "\0".repeat(1 << 19);
    bucket.set(&long, b"six").unwrap();
    let Err(Error::Other(message)) = atomics::increment(&bucket, &long, 1) else {
        panic!("it was incremented");
    };
    assert!(message.len() < 1_000);
    bucket.set("most", u64::MAX.to_string().as_bytes()).unwrap();
    let too_large = atomics::increment(&bucket, "most", 1);
    assert!(matches!(too_large, Err(Error::Other(_))));
    assert_eq!(atomics::increment(&bucket, "most", 0).unwrap(), u64::MAX);
    let too_large = bucket.set("large", &vec![0; (1 << 20) + 1]);
    assert!(matches!(too_large, Err(Error::Other(_))));
    assert!(!bucket.exists("large").unwrap());
    // More than may be returned at once, in one key that is asked for often.
    bucket.set("large", &vec![0; 1 << 20]).unwrap();
    // Nor may the keys alone be longer than an answer.
    let large = |often| vec!["large".to_owned(); often];
    for names in [large(17), large(3_200), vec!["x".repeat((16 << 20) + 1)]] {
        assert!(matches!(
            batch::get_many(&bucket, &names),
            Err(Error::Other(_))
        ));
    }
}
