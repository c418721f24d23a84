//! Parameters by position and by name, and those that do not fit.

use millpond_guest::bindings::connections::ErrorKind;
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{Value, read};

fn positional(values: &[i64]) -> Vec<u8> {
    let values = values.iter().map(|value| Value::Integer(*value));
    millpond_test_programs::positional(&values.collect::<Vec<_>>())
}

fn named(values: &[(&'static str, i64)]) -> Vec<u8> {
    let values = values
        .iter()
        .map(|(name, value)| (*name, Value::Integer(*value)));
    millpond_test_programs::named(&values.collect::<Vec<_>>())
}

fn main() {
    let db = get_connection("default", Access::ReadOnly).unwrap();
    let sum = |sql: &str, parameters: Vec<u8>| {
        db.query(sql, &parameters, false)
            .map(|table| match read(&table.rows)[0][0] {
                Value::Integer(sum) => sum,
                ref other => panic!("{other:?}"),
            })
    };
    assert_eq!(sum("SELECT 7", positional(&[])).unwrap(), 7);
    assert_eq!(sum("SELECT 7", named(&[])).unwrap(), 7);
    assert_eq!(sum("SELECT ? + 10 * ?", positional(&[1, 2])).unwrap(), 21);
    assert_eq!(sum("SELECT ?2 + 10 * ?1", positional(&[1, 2])).unwrap(), 12);
    assert_eq!(
        sum(
            "SELECT :a + 10 * @b + 100 * $c",
            named(&[("c", 3), ("a", 1), ("b", 2)])
        )
        .unwrap(),
        321
    );
    assert_eq!(sum("SELECT :a + 10 * :a", named(&[("a", 1)])).unwrap(), 11);
    assert_eq!(sum("SELECT :a + 10 * @a", named(&[("a", 1)])).unwrap(), 11);
    assert_eq!(sum("SELECT :a + 10 * :b", positional(&[1, 2])).unwrap(), 21);

    for (sql, parameters) in [
        ("SELECT ?1", positional(&[])),
        ("SELECT ?1", positional(&[1, 2])),
        ("SELECT 7", positional(&[1])),
        // ?3 means three parameters.
        ("SELECT ?3", positional(&[1])),
        ("SELECT :a", named(&[])),
        ("SELECT :a", named(&[("b", 1)])),
        ("SELECT :a", named(&[("a", 1), ("b", 1)])),
        ("SELECT :a", named(&[("a", 1), ("a", 2)])),
        ("SELECT :a", named(&[("A", 1)])),
        ("SELECT ?", named(&[("1", 1)])),
        ("SELECT 7", named(&[("", 1)])),
    ] {
        let error = sum(sql, parameters.clone()).unwrap_err();
        assert_eq!(
            error.kind,
            ErrorKind::Parameters,
            "{sql} with {parameters:?}"
        );
        let statement = db.prepare(sql).unwrap();
        assert_eq!(
            statement.execute(&parameters).unwrap_err().kind,
            ErrorKind::Parameters
        );
        assert_eq!(
            statement.query(&parameters, 1, false).unwrap_err().kind,
            ErrorKind::Parameters
        );
    }

    // Not exactly one row, or only some values have names.
    let whole = named(&[("a", 1)]);
    let mut malformed = vec![
        [&[2, 0, 0, 0], &whole[4..]].concat(),
        [&[2, 0, 0, 0], &whole[4..], &[5]].concat(),
        [&[2, 0, 0, 0, 5], &whole[4..]].concat(),
        [&[1, 0, 0, 0], &whole[4..10], &whole[4..]].concat(),
        vec![1, 0, 0, 0, 0],
        vec![1, 0, 0, 0, 7],
    ];
    malformed.extend((1..whole.len()).map(|end| whole[..end].to_vec()));
    for parameters in malformed {
        let error = sum("SELECT :a", parameters.clone()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Parameters, "{parameters:?}");
    }
    let mut name = whole;
    name[9] = 0xff;
    assert_eq!(sum("SELECT :a", name).unwrap_err().kind, ErrorKind::NotUtf8);
    assert_eq!(sum("SELECT :a", named(&[(":a", 3)])).unwrap(), 3);

    let names = db
        .prepare("SELECT ?, ?5, :a, @b, $c")
        .unwrap()
        .describe()
        .unwrap()
        .parameter_names;
    let names: Vec<_> = names.iter().map(Option::as_deref).collect();
    assert_eq!(
        names,
        [
            None,
            None,
            None,
            None,
            Some("5"),
            Some("a"),
            Some("b"),
            Some("c")
        ]
    );
}
