//! A row of many large values.

use millpond_test_programs::node::{Bindings, OPTIONS, Row, Value, open};

fn main() {
    let database = open("default").unwrap();
    let sql = format!("SELECT {}", ["?"; 12].join(", "));
    let statement = database.prepare(&sql, OPTIONS).unwrap();
    let values = (0..12).map(|_| Value::Blob(vec![0; 1 << 20]));
    let bindings = Bindings {
        named: None,
        positional: values.collect(),
    };
    let Some(Row::Object(row)) = statement.get(&bindings).unwrap() else {
        panic!("no row");
    };
    assert_eq!(row.len(), 12);
    for (_, value) in row {
        assert!(matches!(value, Value::Blob(bytes) if bytes.len() == 1 << 20));
    }
}
