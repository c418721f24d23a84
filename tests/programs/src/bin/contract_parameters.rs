//! Parameters by position and by name, and those that do not fit.

use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_guest::bindings::types::{ErrorKind, Parameters, Value};

fn positional(values: &[i64]) -> Parameters {
    Parameters::Positional(values.iter().map(|value| Value::Integer(*value)).collect())
}

fn named(values: &[(&str, i64)]) -> Parameters {
    let value = |(name, value): &(&str, i64)| ((*name).to_owned(), Value::Integer(*value));
    Parameters::Named(values.iter().map(value).collect())
}

fn main() {
    let db = get_connection("default", Access::ReadOnly).unwrap();
    let sum = |sql: &str, parameters: Parameters| {
        db.query(sql, &parameters)
            .map(|table| match table.rows[0][0] {
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
        // ?3 makes three of them.
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
            statement.query(&parameters, 1).unwrap_err().kind,
            ErrorKind::Parameters
        );
    }

    let names = db
        .prepare("SELECT ?, ?5, :a, @b, $c")
        .unwrap()
        .parameter_names();
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
