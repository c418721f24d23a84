//! Getting, returning and closing connections, and the counters.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{
    Access, close_connection, databases, get_connection, return_connection, stats,
};
use millpond_test_programs::NONE;

fn main() {
    assert_eq!(databases(), ["default"]);
    for name in ["", "Default", "main", "app.db", "../app.db", "default\0"] {
        assert_eq!(
            get_connection(name, Access::ReadOnly).unwrap_err().kind,
            ErrorKind::NoSuchDatabase
        );
        assert_eq!(stats(name).unwrap_err().kind, ErrorKind::NoSuchDatabase);
    }
    // A message does not repeat a long name.
    let long = "\0".repeat(1 << 20);
    let unknown = get_connection(&long, Access::ReadOnly).unwrap_err();
    assert!(unknown.message.len() < 1_000);
    assert!(stats(&long).unwrap_err().message.len() < 1_000);
    let start = stats("default").unwrap();
    assert_eq!((start.in_use, start.idle, start.max_size), (0, 1, 5));

    let one = get_connection("default", Access::ReadWrite).unwrap();
    let two = get_connection("default", Access::ReadOnly).unwrap();
    let now = stats("default").unwrap();
    assert_eq!(
        (now.in_use, now.connections_created, now.connections_reused),
        (2, 2, 1)
    );
    assert_eq!((now.hits, now.misses), (1, 1));

    return_connection(one);
    let now = stats("default").unwrap();
    assert_eq!((now.in_use, now.idle, now.connections_closed), (1, 1, 0));
    close_connection(two);
    let now = stats("default").unwrap();
    assert_eq!((now.in_use, now.idle, now.connections_closed), (0, 1, 1));

    // Dropping a connection returns it too, with its transaction rolled back.
    let three = get_connection("default", Access::ReadWrite).unwrap();
    three.execute("BEGIN", NONE).unwrap();
    drop(three);
    let now = stats("default").unwrap();
    assert_eq!((now.in_use, now.idle, now.rolled_back), (0, 1, 1));
    assert_eq!(
        (now.waiting, now.timeouts, now.wait_time_ns, now.discarded),
        (0, 0, 0, 0)
    );
}
