//! Values of all types, both ways, and results.

use millpond_test_programs::spin::v2::{Connection, Value};

fn main() {
    let db = Connection::open("default").unwrap();
    let run = |sql: &str, parameters: &[Value]| db.execute(sql, parameters).unwrap();

    let values = [
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Real(-0.5),
        Value::Real(f64::INFINITY),
        Value::Text(String::new()),
        Value::Text("né\0\u{1f30a}".to_owned()),
        Value::Blob(Vec::new()),
        Value::Blob(vec![0, 255]),
        Value::Null,
    ];
    let columns: Vec<_> = (0..values.len()).map(|index| format!("c{index}")).collect();
    let result = run(&format!("CREATE TABLE t({})", columns.join(", ")), &[]);
    assert!(result.columns.is_empty() && result.rows.is_empty());
    let marks = vec!["?"; values.len()].join(", ");
    let result = run(&format!("INSERT INTO t VALUES ({marks})"), &values);
    assert!(result.columns.is_empty() && result.rows.is_empty());
    let result = run("SELECT * FROM t", &[]);
    assert_eq!(result.columns, columns);
    assert_eq!(result.rows.len(), 1);
    // They have no `PartialEq`.
    assert_eq!(
        format!("{:?}", result.rows[0].values),
        format!("{values:?}")
    );

    // SQLite has no NaN.
    let result = run("SELECT ?1 AS nan, ?1 IS NULL", &[Value::Real(f64::NAN)]);
    assert_eq!(result.columns, ["nan", "?1 IS NULL"]);
    let row = &result.rows[0].values;
    assert!(matches!(row[..], [Value::Null, Value::Integer(1)]));

    // A statement that has columns, and no rows.
    let result = run("SELECT c0 FROM t WHERE 0", &[]);
    assert_eq!((result.columns.len(), result.rows.len()), (1, 0));

    let result = run("DELETE FROM t RETURNING c0, c0 AS twice", &[]);
    assert_eq!(result.columns, ["c0", "twice"]);
    assert_eq!(result.rows.len(), 1);

    // In order, and more than one page of the pool's.
    let count = 100_000;
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
        SELECT i FROM n";
    let rows = run(numbers, &[Value::Integer(count)]).rows;
    for (row, expected) in rows.iter().zip(1..) {
        assert!(matches!(row.values[..], [Value::Integer(number)] if number == expected));
    }
    assert_eq!(rows.len() as i64, count);
}
