//! A command: does what its arguments say on one connection, in order, and prints how each ended.
//!
//! `begin deferred`, `begin immediate`, `commit` and `rollback` are by handle; `script SQL` runs a
//! script, `open SQL` reads the first row by a cursor, and `next` one more. Any other is a
//! statement to execute.

use millpond_guest::bindings::connections::{
    Connection, Cursor, Error, Statement, Transaction, TransactionMode,
};
use millpond_guest::bindings::pool::{Access, get_connection};
use millpond_test_programs::positional;

#[derive(Default)]
struct Handles {
    cursor: Option<Cursor>,
    _statement: Option<Statement>,
    transaction: Option<Transaction>,
}

fn main() {
    let connection = get_connection("default", Access::ReadWrite).expect("a connection");
    let mut handles = Handles::default();
    for step in std::env::args().skip(1) {
        match run(&connection, &mut handles, &step) {
            Ok(()) => println!("ok"),
            Err(error) => {
                let kind = format!("{:?}", error.kind);
                let kind = kind.trim_start_matches("ErrorKind::");
                let rolled_back = if error.rolled_back {
                    ", rolled back"
                } else {
                    ""
                };
                println!("{kind}{rolled_back}");
            }
        }
    }
}

fn run(connection: &Connection, handles: &mut Handles, step: &str) -> Result<(), Error> {
    let none = positional(&[]);
    match step.split_once(' ').unwrap_or((step, "")) {
        ("begin", mode) => {
            let mode = match mode {
                "immediate" => TransactionMode::Immediate,
                _ => TransactionMode::Deferred,
            };
            handles.transaction = Some(connection.begin(mode)?);
        }
        ("commit", _) => handles.transaction.take().expect("one").commit()?,
        ("rollback", _) => handles.transaction.take().expect("one").rollback()?,
        ("script", sql) => connection.execute_script(sql)?,
        ("open", sql) => {
            let statement = connection.prepare(sql)?;
            handles.cursor = statement.query(&none, 1, false)?.rest;
            handles._statement = Some(statement);
        }
        ("next", _) => _ = handles.cursor.as_ref().expect("one").next(1)?,
        _ => _ = connection.execute(step, &none)?,
    }
    Ok(())
}
