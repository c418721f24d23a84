//! The functions that stand in place of SQLite's own give what SQLite's give.

use millpond_pool::{Access, Parameters, Pool, Value, block_on};
use rusqlite::types::Value as Native;

/// Arguments of every kind, with characters of one to four bytes, bytes that are no UTF-8, NULs,
/// and what the ends of texts and blobs could be mistaken for.
const VALUES: &[&str] = &[
    "NULL",
    "0",
    "-12",
    "1.5",
    "9e999",
    "''",
    "'a'",
    "'abcabc'",
    "'  spaced  '",
    "'äöü€𝄞ä'",
    "'ä'",
    "'€'",
    "'𝄞'",
    "'12'",
    "'0A fF'",
    "'0a-fF-'",
    "'0'",
    "'- '",
    "'xyzzyx'",
    "'yx'",
    "'a' || char(0) || 'b'",
    "char(0)",
    "x''",
    "x'00'",
    "x'61'",
    "x'616263'",
    "x'c3a4'",
    "x'c3'",
    "x'a4'",
    "x'a461'",
    "x'80'",
    "x'f09d849e'",
    "x'ff'",
    "x'c3a461c3'",
    "CAST(x'c3' AS TEXT)",
    "CAST(x'a4' AS TEXT)",
    "CAST(x'80c3a4' AS TEXT)",
    "CAST(x'c3a480' AS TEXT)",
    "CAST(x'ff' AS TEXT)",
];

#[test]
fn they_give_what_sqlite_gives() {
    let pool = Pool::builder().open_in_memory().expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    let native = rusqlite::Connection::open_in_memory().expect("a connection");
    let is_utf8 = |value: &str| {
        let sql = format!("SELECT CAST({value} AS BLOB)");
        let bytes = native.query_row(&sql, [], |row| row.get::<_, Option<Vec<u8>>>(0));
        std::str::from_utf8(&bytes.expect("bytes").unwrap_or_default()).is_ok()
    };
    let mut compared = 0;
    let mut compare = |expression: &str| {
        let sql = format!("SELECT typeof({expression}), hex({expression})");
        let table = block_on(connection.query(&sql, &Parameters::NONE)).expect(&sql);
        let expected = native.query_row(&sql, [], |row| Ok([row.get(0)?, row.get(1)?]));
        let expected = expected.expect(&sql).map(|value| match value {
            Native::Text(text) => Value::Text(text),
            other => panic!("{other:?}"),
        });
        assert_eq!(table.rows, [expected], "{expression}");
        compared += 1;
    };
    for x in VALUES {
        for y in VALUES {
            for function in ["instr", "trim", "ltrim", "rtrim"] {
                compare(&format!("{function}({x}, {y})"));
            }
            // SQLite takes different bytes for the same character where they are no UTF-8.
            if is_utf8(x) && is_utf8(y) {
                compare(&format!("unhex({x}, {y})"));
            }
            for z in ["''", "'-'", "'€'", "NULL", "7", "x'c3'"] {
                compare(&format!("replace({x}, {y}, {z})"));
            }
        }
        compare(&format!("trim({x})"));
        compare(&format!("unhex({x})"));
    }
    assert!(compared > 15_000, "{compared}");
}

#[test]
fn a_value_is_what_it_was_after_a_call() {
    let pool = Pool::builder().open_in_memory().expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    let sql =
        "SELECT instr(x, 'b'), typeof(x), instr('abc', x), typeof(x) FROM (SELECT x'62' AS x)";
    let table = block_on(connection.query(sql, &Parameters::NONE)).expect("a row");
    let blob = Value::Text("blob".to_owned());
    let expected = [Value::Integer(1), blob.clone(), Value::Integer(2), blob];
    assert_eq!(table.rows, [expected]);
}
