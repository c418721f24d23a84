//! The functions that replace SQLite's return what SQLite's return.

use millpond_pool::{Access, Parameters, Value, ValueRef, block_on};
use millpond_sqlite::PoolBuilder;
use rusqlite::types::Value as Native;

/// Arguments of every kind, with characters of one to four bytes, invalid UTF-8, NULs, and bytes
/// that could be mistaken for the ends of texts and blobs.
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
fn they_return_what_sqlite_returns() {
    let pool = PoolBuilder::new().open_in_memory().expect("a pool");
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
            // SQLite treats different invalid bytes as the same character.
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
fn patterns_match_as_in_sqlite() {
    let pool = PoolBuilder::new().open_in_memory().expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    let native = rusqlite::Connection::open_in_memory().expect("a connection");
    let texts = [
        "", "a", "A", "ab", "abc", "ABC", "aabb", "abab", "a%b", "a_b", "a*b", "a?b", "a[b]", "ä",
        "Ä", "äb", "a-b", "]", "^", "-", "a\u{0}b", "€𝄞", "aaaaab", "!", "a!b", "\\",
    ];
    // All short patterns of significant characters, and some longer ones.
    let pieces = [
        "", "%", "_", "a", "B", "ä", "!", "*", "?", "[ab]", "[^a]", "[a-c]", "[]a]", "[-", "]",
    ];
    let mut patterns: Vec<String> = vec![
        "\u{0}a".into(),
        "a\u{0}".into(),
        "[a-".into(),
        "[^]]".into(),
        "[a-]".into(),
        "[]-a]".into(),
    ];
    for one in pieces {
        for two in pieces {
            for three in pieces {
                for four in ["", "b", "%", "*", "c"] {
                    patterns.push(format!("{one}{two}{three}{four}"));
                }
            }
        }
    }
    patterns.sort();
    patterns.dedup();
    // As many per statement as there are texts: a pattern is one row.
    let columns: Vec<String> = (0..texts.len())
        .map(|n| {
            let x = n + 2;
            format!("?{x} LIKE ?1, ?{x} GLOB ?1, ?{x} LIKE ?1 ESCAPE '!', ?{x} LIKE ?1 ESCAPE '%', ?{x} LIKE ?1 ESCAPE '_'")
        })
        .collect();
    let sql = format!("SELECT {}", columns.join(", "));
    let ours = block_on(connection.prepare(&sql)).expect("a statement");
    let mut theirs = native.prepare(&sql).expect("a statement");
    let mut matched = 0;
    for pattern in &patterns {
        let arguments: Vec<&str> = std::iter::once(pattern.as_str()).chain(texts).collect();
        let values = arguments.iter().map(|text| Value::Text((*text).to_owned()));
        let page = block_on(ours.query(&Parameters::positional(values), 1, false));
        let ours = page.expect("a row").rows;
        let ours: Vec<i64> = ours.values().map(integer).collect();
        let theirs: Vec<i64> = theirs
            .query_row(rusqlite::params_from_iter(&arguments), |row| {
                (0..texts.len() * 5).map(|column| row.get(column)).collect()
            })
            .expect("a row");
        assert_eq!(ours, theirs, "{pattern:?}");
        matched += ours.iter().sum::<i64>();
    }
    assert!(
        patterns.len() > 5_000 && matched > 5_000,
        "{} {matched}",
        patterns.len()
    );
    let bytes = [
        "x'c3'",
        "x'a4'",
        "x'ff'",
        "x'fe80'",
        "x'c3a4a4'",
        "x'f8808080'",
        "x'eda080'",
        "x'c080'",
    ];
    for pattern in bytes {
        for text in bytes {
            for sql in [
                format!("SELECT {text} LIKE {pattern}"),
                format!("SELECT {text} LIKE '%' || CAST({pattern} AS TEXT) || '%'"),
                format!("SELECT {text} GLOB '?' || CAST({pattern} AS TEXT) || '*'"),
            ] {
                let ours = block_on(connection.query(&sql, &Parameters::NONE)).expect(&sql);
                let theirs: i64 = native.query_row(&sql, [], |row| row.get(0)).expect(&sql);
                assert_eq!(ours.rows, [[Value::Integer(theirs)]], "{sql}");
            }
        }
    }
}

#[test]
fn a_call_does_not_change_its_arguments() {
    let pool = PoolBuilder::new().open_in_memory().expect("a pool");
    let connection = pool.get_blocking(Access::ReadWrite).expect("a connection");
    let sql =
        "SELECT instr(x, 'b'), typeof(x), instr('abc', x), typeof(x) FROM (SELECT x'62' AS x)";
    let table = block_on(connection.query(sql, &Parameters::NONE)).expect("a row");
    let blob = Value::Text("blob".to_owned());
    let expected = [Value::Integer(1), blob.clone(), Value::Integer(2), blob];
    assert_eq!(table.rows, [expected]);
}

fn integer(value: ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Integer(integer) => integer,
        other => panic!("{other:?}"),
    }
}
