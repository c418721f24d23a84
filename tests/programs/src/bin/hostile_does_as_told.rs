//! Misuses the contract as its argument says: prints `survived` if the host responds, and never
//! gets there if it traps.
#![expect(
    unsafe_code,
    reason = "a handle that was not given is made of a number; nothing of this program depends on it"
)]

use millpond_guest::bindings::connections::{
    Connection, Cursor, ErrorKind, Statement, Transaction, TransactionMode,
};
use millpond_guest::bindings::pool::{
    Access, close_connection, get_connection, return_connection, stats,
};
use millpond_test_programs::{NONE, Value, named, positional};

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";

fn main() {
    let told = std::env::args().nth(1).expect("something to do");
    let number = || {
        std::env::args()
            .nth(2)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let kind = || std::env::args().nth(3).unwrap_or_default();
    match told.as_str() {
        "forge" => forge(&kind(), number()),
        "reuse" => reuse(&kind()),
        "confuse" => confuse(&kind()),
        "order" => order(number()),
        "random" => random(number()),
        "hoard" => hoard(&kind()),
        "call without end" => call_without_end(&kind()),
        "huge" => huge(&kind()),
        "rows" => rows(),
        "names" => names(),
        "pages" => pages(),
        "query" => {
            let sql = std::env::args().nth(2).expect("a statement");
            let db = match std::env::args().nth(3).as_deref() {
                None => get_connection("default", Access::ReadWrite),
                Some("reading") => get_connection("default", Access::ReadOnly),
                Some(other) => panic!("unknown access: {other}"),
            };
            match db.expect("a connection").query(&sql, NONE, false) {
                Ok(_) => println!("answered"),
                Err(error) => println!("{:?}", error.kind),
            }
        }
        "compute" => loop {
            std::hint::black_box(());
        },
        "sleep" => std::thread::sleep(std::time::Duration::from_secs(1 << 40)),
        "recurse" => println!("{}", recurse(&db(), 1)),
        "grow" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1 << 20]);
            }
        }
        "flood" => {
            let line = "x".repeat(1 << 16);
            loop {
                println!("{line}");
            }
        }
        "outside" => outside(),
        other => panic!("nobody can {other}"),
    }
    println!("survived");
}

fn db() -> Connection {
    get_connection("default", Access::ReadWrite).expect("a connection")
}

/// Uses a handle that was never given.
fn forge(kind: &str, handle: u32) {
    // SAFETY: that there is no such handle is what is tried; the host traps, or answers.
    unsafe {
        match kind {
            "connection" => drop(Connection::from_handle(handle).execute("SELECT 1", NONE)),
            "statement" => drop(Statement::from_handle(handle).query(NONE, 1, false)),
            "cursor" => drop(Cursor::from_handle(handle).next(1)),
            "transaction" => drop(Transaction::from_handle(handle).commit()),
            "return" => return_connection(Connection::from_handle(handle)),
            "close" => close_connection(Connection::from_handle(handle)),
            _ => drop(Connection::from_handle(handle)),
        }
    }
}

/// Uses a handle again after it is gone.
fn reuse(kind: &str) {
    let db = db();
    // SAFETY: as above.
    unsafe {
        match kind {
            "connection" => {
                let handle = db.handle();
                return_connection(db);
                drop(Connection::from_handle(handle).execute("SELECT 1", NONE));
            }
            "return twice" => {
                let handle = db.handle();
                return_connection(db);
                return_connection(Connection::from_handle(handle));
            }
            "drop twice" => {
                let handle = db.handle();
                drop(db);
                drop(Connection::from_handle(handle));
            }
            "statement" => {
                let statement = db.prepare("SELECT 1").expect("a statement");
                let handle = statement.handle();
                drop(statement);
                drop(Statement::from_handle(handle).query(NONE, 1, false));
            }
            "cursor" => {
                let statement = db.prepare(ENDLESS).expect("a statement");
                let page = statement.query(NONE, 1, false).expect("a page");
                let handle = page.rest.as_ref().expect("more").handle();
                drop(page);
                drop(Cursor::from_handle(handle).next(1));
            }
            "commit twice" => {
                let transaction = db.begin(TransactionMode::Immediate).expect("a transaction");
                let handle = transaction.handle();
                transaction.commit().expect("a commit");
                drop(transaction);
                drop(Transaction::from_handle(handle).commit());
            }
            other => panic!("nothing reuses {other}"),
        }
    }
}

/// Uses a handle of one kind as another.
fn confuse(kind: &str) {
    let db = db();
    let statement = db.prepare(ENDLESS).expect("a statement");
    let cursor = statement
        .query(NONE, 1, false)
        .expect("a page")
        .rest
        .expect("more");
    // SAFETY: as above.
    unsafe {
        match kind {
            "statement as connection" => {
                drop(Connection::from_handle(statement.handle()).execute("SELECT 1", NONE));
            }
            "cursor as statement" => {
                drop(Statement::from_handle(cursor.handle()).query(NONE, 1, false))
            }
            "connection as cursor" => drop(Cursor::from_handle(db.handle()).next(1)),
            "cursor as transaction" => {
                drop(Transaction::from_handle(cursor.take_handle()).commit());
            }
            other => panic!("nothing confuses {other}"),
        }
    }
}

/// Drop a connection, its statement, a cursor and a transaction in the `number`th of all orders,
/// and use the remaining ones after each.
fn order(number: u32) {
    let db = db();
    let transaction = db.begin(TransactionMode::Immediate).expect("a transaction");
    let statement = db.prepare(ENDLESS).expect("a statement");
    let cursor = statement.query(NONE, 1, false).expect("a page").rest;
    let mut held = (Some(db), Some(statement), cursor, Some(transaction));
    let mut left = vec![0, 1, 2, 3];
    let mut number = number as usize;
    while !left.is_empty() {
        let which = left.remove(number % left.len());
        number /= left.len() + 1;
        match which {
            0 => drop(held.0.take().map(return_connection)),
            1 => drop(held.1.take()),
            2 => drop(held.2.take()),
            _ => drop(held.3.take()),
        }
        let is_stale = |kind| kind == ErrorKind::StaleHandle;
        if let Some(db) = &held.0 {
            db.query("SELECT 1", NONE, false)
                .expect("the connection works");
            assert_eq!(db.in_transaction(), held.3.is_some());
        }
        if let Some(statement) = &held.1 {
            let page = statement.query(NONE, 1, false);
            assert_eq!(page.is_ok(), held.0.is_some());
            assert!(page.err().is_none_or(|error| is_stale(error.kind)));
            // That ended the other cursor of the statement.
        }
        if let Some(cursor) = &held.2 {
            drop(cursor.next(1));
        }
    }
}

/// Random calls on handles in any state, from the `seed`. Checks each outcome against what is
/// known.
fn random(seed: u32) {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    // The connection of each handle is identified by its number.
    let mut connections: Vec<(usize, Connection)> = Vec::new();
    let mut statements: Vec<(usize, Statement)> = Vec::new();
    let mut cursors: Vec<(usize, Cursor)> = Vec::new();
    let mut transactions: Vec<(usize, Transaction)> = Vec::new();
    let mut given = 0;
    for _ in 0..2_000 {
        let lives = |number: usize| connections.iter().any(|(other, _)| *other == number);
        match next(16) {
            0 | 1 => {
                let access = [Access::ReadOnly, Access::ReadWrite][next(2)];
                match get_connection("default", access) {
                    Ok(connection) => {
                        given += 1;
                        connections.push((given, connection));
                        assert!(connections.len() <= 4, "more than the grant allows");
                    }
                    Err(error) => assert_eq!(error.kind, ErrorKind::TooManyHandles),
                }
            }
            2 if !connections.is_empty() => {
                let (_, connection) = connections.swap_remove(next(connections.len()));
                match next(3) {
                    0 => return_connection(connection),
                    1 => close_connection(connection),
                    _ => drop(connection),
                }
            }
            3..=5 if !connections.is_empty() => {
                let (number, connection) = &connections[next(connections.len())];
                let sql = [
                    "SELECT * FROM t",
                    ENDLESS,
                    "INSERT INTO t VALUES (?1) RETURNING a",
                ][next(3)];
                match connection.prepare(sql) {
                    Ok(statement) => statements.push((*number, statement)),
                    Err(error) => assert!(
                        matches!(
                            error.kind,
                            ErrorKind::TooManyHandles | ErrorKind::StaleHandle
                        ),
                        "{error:?}"
                    ),
                }
            }
            6 | 7 if !connections.is_empty() => {
                let (_, connection) = &connections[next(connections.len())];
                let sql = [
                    "INSERT INTO t VALUES (1)",
                    "DELETE FROM t",
                    "BEGIN",
                    "COMMIT",
                    "ROLLBACK",
                    "SAVEPOINT s",
                    "RELEASE s",
                    "SELEC",
                ][next(8)];
                drop(connection.execute_script(sql));
            }
            8 if !connections.is_empty() => {
                let (number, connection) = &connections[next(connections.len())];
                let mode = [TransactionMode::Deferred, TransactionMode::Immediate][next(2)];
                if let Ok(transaction) = connection.begin(mode) {
                    assert!(connection.in_transaction());
                    transactions.push((*number, transaction));
                }
            }
            9 if !transactions.is_empty() => {
                let (number, transaction) = transactions.swap_remove(next(transactions.len()));
                let ended = match next(3) {
                    0 => transaction.commit(),
                    1 => transaction.rollback(),
                    _ => {
                        drop(transaction);
                        continue;
                    }
                };
                assert!(
                    ended.is_err() || lives(number),
                    "of a connection that has gone"
                );
            }
            10..=12 if !statements.is_empty() => {
                let (number, statement) = &statements[next(statements.len())];
                let values =
                    [vec![], vec![Value::Integer(1)], vec![Value::Null; 3]][next(3)].clone();
                let page = statement.query(&positional(&values), next(4) as u32, false);
                assert!(
                    page.is_err() || lives(*number),
                    "of a connection that has gone"
                );
                if let Ok(Some(cursor)) = page.map(|page| page.rest) {
                    cursors.push((*number, cursor));
                }
            }
            13 if !statements.is_empty() => {
                drop(statements.swap_remove(next(statements.len())));
            }
            14 if !cursors.is_empty() => {
                let at = next(cursors.len());
                let (number, cursor) = &cursors[at];
                let page = cursor.next(next(4) as u32);
                assert!(
                    page.is_err() || lives(*number),
                    "of a connection that has gone"
                );
                if next(2) == 0 {
                    drop(cursors.swap_remove(at));
                }
            }
            _ => {
                let stats = stats("default").expect("the counters");
                assert!(stats.in_use as usize >= connections.len(), "{stats:?}");
            }
        }
    }
}

/// Creates as many of a kind as possible.
fn hoard(kind: &str) {
    let mut connections = vec![db()];
    let mut statements = Vec::new();
    let mut cursors = Vec::new();
    let mut transactions = Vec::new();
    let mut refused = 0;
    for _ in 0..20_000 {
        let error = match kind {
            "connections" => get_connection("default", Access::ReadOnly)
                .map(|connection| connections.push(connection))
                .err(),
            "statements" => connections[0]
                .prepare("SELECT 1")
                .map(|statement| statements.push(statement))
                .err(),
            "cursors" => connections[0]
                .prepare(ENDLESS)
                .and_then(|statement| statement.query(NONE, 1, false))
                .map(|page| cursors.push(page))
                .err(),
            _ => connections[0]
                .begin(TransactionMode::Deferred)
                .and_then(|transaction| {
                    transactions.push(transaction);
                    connections[0].execute_script("ROLLBACK")
                })
                .err(),
        };
        if let Some(error) = error {
            assert_eq!(error.kind, ErrorKind::TooManyHandles);
            refused += 1;
        }
    }
    assert!(refused > 19_000, "{refused}");
}

fn call_without_end(kind: &str) {
    let first = (kind != "get").then(db);
    loop {
        match (kind, &first) {
            ("stats", _) => drop(stats("default")),
            ("prepare", Some(db)) => drop(db.prepare("SELECT 1")),
            ("query", Some(db)) => drop(db.query("SELECT 1", NONE, false)),
            ("fail", Some(db)) => drop(db.query("SELEC", NONE, false)),
            ("write", Some(db)) => drop(db.execute("INSERT INTO t VALUES (1)", NONE)),
            ("begin", Some(db)) => drop(db.begin(TransactionMode::Immediate)),
            ("page", Some(db)) => {
                let statement = db.prepare(ENDLESS).expect("a statement");
                let page = statement.query(NONE, 1000, false).expect("a page");
                while let Some(rest) = &page.rest {
                    drop(rest.next(1000));
                }
            }
            _ => drop(get_connection("default", Access::ReadWrite)),
        }
    }
}

/// Excessive sizes in one call.
fn huge(kind: &str) {
    let db = db();
    let refused = match kind {
        "sql" => db.query(&"x".repeat(40 << 20), NONE, false).err(),
        "text" => {
            let text = Value::Text("x".repeat(40 << 20));
            db.query("SELECT ?1", &positional(&[text]), false).err()
        }
        "list" => {
            let list = vec![Value::Null; 3 << 20];
            db.query("SELECT ?1", &positional(&list), false).err()
        }
        "names" => {
            let names: Vec<_> = (0..100_000).map(|number| format!("n{number}")).collect();
            let values: Vec<_> = names
                .iter()
                .map(|name| (name.as_str(), Value::Null))
                .collect();
            db.query("SELECT :a", &named(&values), false).err()
        }
        "same name" => {
            let twice = vec![("a", Value::Integer(1)); 2];
            db.query("SELECT :a", &named(&twice), false).err()
        }
        "database" => get_connection(&"x".repeat(1 << 20), Access::ReadOnly).err(),
        "random" => {
            let mut bytes = vec![0; 60_000];
            for _ in 0..1_000 {
                std::hint::black_box(&mut bytes).fill(1);
            }
            None
        }
        other => panic!("nothing is a huge {other}"),
    };
    println!("refused with {:?}", refused.map(|error| error.kind));
}

/// Malformed rows.
fn rows() {
    let db = db();
    let statement = db
        .prepare("INSERT INTO t VALUES (?1)")
        .expect("a statement");
    for values in [
        vec![0],
        vec![6],
        vec![255; 1000],
        vec![1],
        vec![2],
        vec![3],
        vec![4],
        vec![1, 2, 3, 4, 5],
        vec![3, 255, 255, 255, 255],
        vec![4, 4, 0, 0, 0, b'a', b'b', b'c'],
        vec![3, 2, 0, 0, 0, 0xff, 0xfe],
        vec![6, 1, 0, 0, 0, b'a', 5],
    ] {
        for width in [1_u32, 0, u32::MAX] {
            let bytes = [&width.to_le_bytes(), values.as_slice()].concat();
            let refused = statement.execute_many(&bytes).expect_err("no rows");
            let kinds = [ErrorKind::Parameters, ErrorKind::NotUtf8];
            assert!(kinds.contains(&refused.kind), "{bytes:?}");
            if values[0] != 6 || width != 1 {
                statement.execute(&bytes).expect_err("no parameters");
            }
        }
    }
    let many = vec![5; 32 << 20 >> 2];
    let wide = [&u32::MAX.to_le_bytes(), many.as_slice()].concat();
    statement.execute_many(&wide).expect_err("no row");
    statement.execute(&wide).expect_err("too many values");
    statement.execute_many(NONE).expect("no rows");
}

fn names() {
    for name in [
        "",
        ".",
        "..",
        "/",
        "default\0",
        "DEFAULT",
        "default ",
        "../app.db",
        "/etc/passwd",
        "file:app.db",
        "millpond:1/app.db",
        "\u{202e}tluafed",
        "con",
        "default/..",
        ":memory:",
        "%00",
        "-default",
    ] {
        let error = get_connection(name, Access::ReadOnly).expect_err(name);
        assert_eq!(error.kind, ErrorKind::NoSuchDatabase, "{name:?}");
        assert_eq!(stats(name).expect_err(name).kind, ErrorKind::NoSuchDatabase);
    }
}

fn pages() {
    let db = db();
    let statement = db.prepare(ENDLESS).expect("a statement");
    for rows in [0, 1, u32::MAX] {
        let page = statement.query(NONE, rows, false).expect("a page");
        assert!(page.rows.len() <= 2 << 20);
        let rest = page.rest.expect("more");
        for rows in [u32::MAX, 0, 1] {
            assert!(rest.next(rows).expect("a page").len() <= 2 << 20);
        }
    }
}

fn recurse(db: &Connection, depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    // The host is called at every depth, even the last.
    db.query("SELECT max(1, (SELECT 2 WHERE 'a' LIKE '%a'))", NONE, false)
        .expect("a row");
    if frame[1] == 0 {
        return 0;
    }
    frame[1] + recurse(db, depth + 1)
}

/// Things that the host does not have.
fn outside() {
    assert!(std::fs::read_dir("/").is_err());
    assert!(std::fs::read("/etc/passwd").is_err());
    assert!(std::fs::write("app.db", "").is_err());
    assert!(std::net::TcpStream::connect("127.0.0.1:1").is_err());
    assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
    assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err());
    assert!(std::env::var("PATH").is_err());
    assert_eq!(std::env::vars().count(), 0);
}
