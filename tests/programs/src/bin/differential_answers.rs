//! Runs each statement of its argument, separated by the character U+001E, and prints its outcome
//! in a line: rows by type and value, or changes and the last rowid, or the error's code.

use millpond_guest::bindings::connections::{Connection, Error, ErrorKind};
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{NONE, Value, read};

fn main() {
    let none = NONE;
    let db = get_connection("default", Access::ReadWrite).expect("a connection");
    let statements = std::env::args().nth(1).expect("statements");
    for sql in statements.split('\u{1e}') {
        match answer(&db, sql, none) {
            Ok(line) => println!("{line}"),
            Err(error) if error.kind == ErrorKind::NotUtf8 => println!("not UTF-8"),
            Err(error) if error.code == 0 => println!("refused: {error:?}"),
            Err(error) if error.rolled_back => {
                db.execute("ROLLBACK", none)
                    .expect("nothing is left to undo");
                println!("error {} rolled back", error.code);
            }
            Err(error) => println!("error {}", error.code),
        }
    }
}

fn answer(db: &Connection, sql: &str, none: &[u8]) -> Result<String, Error> {
    if db.prepare(sql)?.describe()?.columns.is_empty() {
        let summary = db.execute(sql, none)?;
        return Ok(format!("{} {}", summary.changes, summary.last_insert_rowid));
    }
    let mut line = String::new();
    for row in read(&db.query(sql, none, false)?.rows) {
        for value in row {
            line += &match value {
                Value::Null => "null".to_owned(),
                Value::Integer(value) => format!("i{value}"),
                Value::Real(value) => format!("r{:016x}", value.to_bits()),
                Value::Text(value) => format!("t{:02x?}", value.as_bytes()),
                Value::Blob(value) => format!("b{value:02x?}"),
            };
            line.push(',');
        }
        line.push(';');
    }
    Ok(line)
}
