//! What a guest of `node:sqlite` can make the host hold, and handles that outlive their database.
//! The functions themselves are tested from JavaScript: `guest/js/test`.

use std::fmt::Debug;

use millpond_test_programs::node::{
    Bindings, Database, Error, OPTIONS, Path, Row, Value, open, open_database, options, values,
};

fn main() {
    answers();
    statements();
    schemas();
    iterators();
    unread_iterators();
    bindings();
    tag_stores();
    after_closing();
    paths();
}

const TOO_LARGE: Option<i32> = Some(18);

fn none() -> Bindings {
    values([])
}

#[track_caller]
fn fails<T: Debug>(result: Result<T, Error>, errcode: Option<i32>) -> Error {
    let error = result.expect_err("a failure");
    assert_eq!(error.errcode, errcode, "{error:?}");
    error
}

#[track_caller]
fn fails_with<T: Debug>(result: Result<T, Error>, code: &str) {
    let error = result.expect_err("a failure");
    assert_eq!(error.code.as_deref(), Some(code), "{error:?}");
}

/// Names of columns are repeated in each row.
fn answers() {
    let database = open("default").unwrap();
    let long = "x".repeat(10_000);
    let sql = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
         SELECT n AS {long} FROM n"
    );
    let statement = database.prepare(&sql, OPTIONS).unwrap();
    fails(statement.all(&none()), TOO_LARGE);
    // Each row of it is small.
    let iterator = statement.iterate(&none()).unwrap();
    for _ in 0..100 {
        assert!(matches!(iterator.next(), Ok(Some(Row::Object(_)))));
    }
    drop(iterator);
    statement.set_return_arrays(true).unwrap();
    assert_eq!(statement.all(&none()).unwrap().len(), 10_000);
    // More than a result has, whatever its columns' names.
    let sql =
        "WITH n(n) AS (VALUES (1), (2), (3), (4), (5), (6)) SELECT zeroblob(1 << 20) FROM n, n, n";
    let statement = database.prepare(sql, OPTIONS).unwrap();
    fails(statement.all(&none()), TOO_LARGE);
    assert!(statement.get(&none()).unwrap().is_some());
}

fn statements() {
    let database = open("default").unwrap();
    let sql = |number: usize| format!("SELECT {number} -- {}", "x".repeat(90_000));
    let mut prepared = Vec::new();
    let refused = loop {
        match database.prepare(&sql(prepared.len()), OPTIONS) {
            Ok(statement) => prepared.push(statement),
            Err(error) => break error,
        }
    };
    // Their texts alone would leave room for one more.
    assert_eq!((prepared.len(), refused.errcode), (185, TOO_LARGE));
    assert!(prepared[184].get(&none()).unwrap().is_some());
    // One that is dropped makes room.
    prepared.truncate(184);
    let another = database.prepare(&sql(200), OPTIONS).unwrap();
    assert_eq!(another.source_sql().unwrap(), sql(200));
    // Those of a tag store count too, and its last makes room for its next.
    drop(another);
    let store = database.create_tag_store(1.0).unwrap();
    for number in [300, 301] {
        assert!(store.get(&[sql(number)], &[]).unwrap().is_some());
        fails(database.prepare(&sql(400), OPTIONS), TOO_LARGE);
    }
    // The names of parameters are held too.
    drop((prepared, store));
    let mut named = Vec::new();
    while let Ok(statement) = database.prepare("SELECT ?32766", OPTIONS) {
        named.push(statement);
        assert!(named.len() < 100);
    }
}

/// A statement that the schema changes under keeps its parameters.
fn schemas() {
    let database = open("default").unwrap();
    database
        .exec("CREATE TABLE changes(a); INSERT INTO changes VALUES (1)")
        .unwrap();
    let select = database.prepare("SELECT *, $b FROM changes", OPTIONS);
    let insert = database.prepare("INSERT INTO changes(a) VALUES (?) RETURNING *", OPTIONS);
    let (select, insert) = (select.unwrap(), insert.unwrap());
    let width = |row: Option<Row>| match row {
        Some(Row::Object(row)) => row.len(),
        _ => panic!("no row"),
    };
    for columns in 1..4 {
        let mut named = none();
        named.named = Some(vec![("b".to_owned(), Value::Bigint(2))]);
        assert_eq!(width(select.get(&named).unwrap()), columns + 1);
        assert_eq!(width(insert.get(&values([Value::Null])).unwrap()), columns);
        let iterator = select.iterate(&named).unwrap();
        assert_eq!(width(iterator.next().unwrap()), columns + 1);
        drop(iterator);
        let add = format!("ALTER TABLE changes ADD COLUMN c{columns}");
        database.exec(&add).unwrap();
    }
    database.exec("DROP TABLE changes").unwrap();
    fails(select.all(&none()), Some(1));
    fails(insert.run(&none()), Some(1));
    fails(select.iterate(&none()).unwrap().next(), Some(1));
}

/// An iterator's statement runs when its first row is read.
fn unread_iterators() {
    let database = open("default").unwrap();
    database.exec("CREATE TABLE unread(a)").unwrap();
    let insert = "INSERT INTO unread VALUES (?), (2) RETURNING a";
    let insert = database.prepare(insert, OPTIONS).unwrap();
    let count = database.prepare("SELECT count(*) FROM unread", OPTIONS);
    let count = count.unwrap();
    count.set_return_arrays(true).unwrap();
    let counted = || match count.get(&none()).unwrap() {
        Some(Row::Array(row)) => matches!(row[0], Value::Number(2.0)),
        _ => panic!("no row"),
    };
    drop(insert.iterate(&values([Value::Bigint(1)])).unwrap());
    let iterator = insert.iterate(&values([Value::Bigint(1)])).unwrap();
    fails(
        insert.iterate(&values([Value::Null, Value::Null])),
        Some(25),
    );
    fails_with(iterator.next(), "ERR_INVALID_STATE");
    assert!(!counted());
    let iterator = insert.iterate(&values([Value::Bigint(1)])).unwrap();
    // It outlives its statement.
    drop(insert);
    assert!(!counted());
    assert!(iterator.next().unwrap().is_some());
    assert!(counted());
    assert!(iterator.next().unwrap().is_some());
    assert!(iterator.next().unwrap().is_none());
    database.exec("DROP TABLE unread").unwrap();
}

fn iterators() {
    let database = open("default").unwrap();
    let large = || values([Value::Blob(vec![0; 1_000_000])]);
    let mut statements = Vec::new();
    let mut iterators = Vec::new();
    // Each holds its values until its first row is read.
    let refused = loop {
        let statement = database.prepare("SELECT ?, 1", OPTIONS).unwrap();
        match statement.iterate(&large()) {
            Ok(iterator) => iterators.push(iterator),
            Err(error) => break error,
        }
        statements.push(statement);
    };
    assert_eq!((iterators.len(), refused.errcode), (16, TOO_LARGE));
    for iterator in &iterators {
        assert!(iterator.next().unwrap().is_some());
    }
    statements.push(database.prepare("SELECT ?, 1", OPTIONS).unwrap());
    iterators.push(statements[16].iterate(&large()).unwrap());
    iterators.clear();
    let small = database.prepare("VALUES (1), (2)", OPTIONS).unwrap();
    for _ in 0..64 {
        statements.push(database.prepare("VALUES (1), (2)", OPTIONS).unwrap());
        let statement = statements.last().unwrap();
        iterators.push(statement.iterate(&none()).unwrap());
    }
    // Each is one of the request's cursors, which are limited to 64.
    fails(small.iterate(&none()), Some(7));
    fails(
        open("default")
            .unwrap()
            .prepare("SELECT 1", OPTIONS)
            .unwrap()
            .iterate(&none()),
        Some(7),
    );
    // Reading one to its end makes room, and so does closing one.
    while iterators[0].next().unwrap().is_some() {}
    assert!(iterators[0].next().unwrap().is_none());
    let last = small.iterate(&none()).unwrap();
    iterators[1].close().unwrap();
    assert!(iterators[1].next().unwrap().is_none());
    statements[0].iterate(&none()).unwrap();
    drop(last);
}

fn bindings() {
    let database = open("default").unwrap();
    // The statement has the most parameters that SQLite allows.
    let many = database.prepare("SELECT ?32766", OPTIONS).unwrap();
    let row = many.get(&none()).unwrap();
    assert!(matches!(row, Some(Row::Object(row)) if matches!(row[0].1, Value::Null)));
    let mut too_many = none();
    too_many.positional = vec![Value::Null; 32_767];
    fails(many.get(&too_many), Some(25));
    let large = Value::Blob(vec![0; (1 << 20) + 1]);
    let one = database.prepare("SELECT ?", OPTIONS).unwrap();
    fails(one.get(&values([large])), TOO_LARGE);
    // A message does not repeat a long name.
    let mut unknown = none();
    unknown.named = Some(vec![("x".repeat(1 << 20), Value::Null)]);
    assert!(one.get(&unknown).unwrap_err().message.len() < 1_000);
    let both = database.prepare("SELECT $a, @a", OPTIONS).unwrap();
    for name in ["a", "$a"] {
        let mut ambiguous = none();
        ambiguous.named = Some(vec![(name.to_owned(), Value::Null)]);
        fails_with(both.get(&ambiguous), "ERR_INVALID_STATE");
    }
}

fn tag_stores() {
    let database = open("default").unwrap();
    for capacity in [0.0, -1.0, 1.5, 1_001.0, f64::NAN, f64::INFINITY] {
        fails_with(database.create_tag_store(capacity), "ERR_OUT_OF_RANGE");
    }
    let store = database.create_tag_store(2.0).unwrap();
    for number in 0..5 {
        let parts = [format!("SELECT {number} + "), String::new()];
        let row = store.get(&parts, &[Value::Bigint(1)]).unwrap().unwrap();
        let Row::Object(row) = row else { panic!() };
        assert!(matches!(row[0].1, Value::Number(sum) if sum == f64::from(number + 1)));
    }
    assert_eq!(
        (store.size().unwrap(), store.capacity().unwrap()),
        (2.0, 2.0)
    );
    // No parts, and parts that are no statement.
    fails(store.get(&[], &[]), Some(1));
    fails(store.get(&["SELECT".to_owned()], &[]), Some(1));
    database.close().unwrap();
    fails_with(
        store.all(&["SELECT 1".to_owned()], &[]),
        "ERR_INVALID_STATE",
    );
    store.clear().unwrap();
}

fn after_closing() {
    const STATE: &str = "ERR_INVALID_STATE";
    let database = open("default").unwrap();
    let statement = database.prepare("VALUES (1), (2)", OPTIONS).unwrap();
    let iterator = statement.iterate(&none()).unwrap();
    database.exec("BEGIN").unwrap();
    database.close().unwrap();
    // Another connection, of which the old handles know nothing.
    database.open().unwrap();
    assert!(!database.is_transaction().unwrap());
    fails_with(statement.get(&none()), STATE);
    fails_with(statement.source_sql(), STATE);
    fails_with(statement.set_read_big_ints(true), STATE);
    fails_with(iterator.next(), STATE);
    iterator.close().unwrap();
    fails_with(database.open(), STATE);
    drop(database);
    fails_with(statement.columns(), STATE);
    // Connections are limited as the grant says, and closing returns them.
    let mut held: Vec<Database> = (0..4).map(|_| open("default").unwrap()).collect();
    fails(open("default"), Some(7));
    held.pop();
    open("default").unwrap();
}

fn paths() {
    for path in ["none", ":memory:", "", "default/", "../default/x.db"] {
        fails(open(path), Some(14));
    }
    fails(open(&"x".repeat(5_000)), TOO_LARGE);
    for path in ["./data/default.db", "file:default.sqlite?mode=ro"] {
        open(path).unwrap();
    }
    let memory = open("file:default.db?mode=memory");
    fails_with(memory, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM");
    let not_text = open_database(&Path::Bytes(vec![0xff]), &options());
    fails_with(not_text, "ERR_INVALID_ARG_TYPE");
}
