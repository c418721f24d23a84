//! The README's guest: adds a visit, and prints how many there have been.

use millpond_guest::{db, params};

fn main() -> Result<(), millpond_guest::Error> {
    let db = db()?;
    db.execute_script("CREATE TABLE IF NOT EXISTS visit(name TEXT, at TEXT)")?;
    let visits: i64 = db.transaction(|tx| {
        tx.execute("INSERT INTO visit VALUES (?1, datetime())", params!["Ada"])?;
        tx.query_row("SELECT count(*) FROM visit", (), |row| row.get(0))
    })?;
    println!("{visits} visits");
    Ok(())
}
