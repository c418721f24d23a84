//! Runs the given SQL, in the given way, and prints the outcome.
//!
//! Arguments: the access, `script`, `query` or `pages`, the SQL, and text parameters. Prints the
//! rows that it got, and `ended <kind> <code>`, or `ended ok`.

use millpond_guest::bindings::connections::{Connection, Error};
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::{Value, positional, read};

fn main() {
    let mut args = std::env::args().skip(1);
    let access = match args.next().as_deref() {
        Some("read-only") => Access::ReadOnly,
        _ => Access::ReadWrite,
    };
    let via = args.next().expect("a way to run it");
    let sql = args.next().expect("SQL");
    let parameters = positional(&args.map(Value::Text).collect::<Vec<_>>());
    let connection = get_connection("default", access).expect("a connection");
    match run(&connection, &via, &sql, &parameters) {
        Ok(()) => println!("ended ok"),
        Err(error) => {
            println!("message {}", error.message);
            println!("ended {:?} {}", error.kind, error.code);
        }
    }
}

fn run(connection: &Connection, via: &str, sql: &str, parameters: &[u8]) -> Result<(), Error> {
    match via {
        "script" => connection.execute_script(sql),
        "query" => {
            for row in read(&connection.query(sql, parameters, false)?.rows) {
                show(&format!("{row:?}"));
            }
            Ok(())
        }
        _ => {
            let statement = connection.prepare(sql)?;
            let page = statement.query(parameters, 100, false)?;
            show(&String::from_utf8_lossy(&page.rows));
            while let Some(rest) = &page.rest {
                let rows = rest.next(100)?;
                if rows.is_empty() {
                    break;
                }
                show(&String::from_utf8_lossy(&rows));
            }
            Ok(())
        }
    }
}

fn show(row: &str) {
    println!("row {}", row.chars().take(300).collect::<String>());
}
