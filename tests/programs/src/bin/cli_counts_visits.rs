//! The README's guest: a visit a run, and how many there have been.

use millpond_guest::{db, params};

fn main() -> Result<(), millpond_guest::Error> {
    let db = db()?;
    db.execute_script("CREATE TABLE IF NOT EXISTS visit(name TEXT, at TEXT)")?;
    db.transaction(|tx| {
        tx.execute("INSERT INTO visit VALUES (?1, datetime())", params!["Ada"])?;
        Ok::<_, millpond_guest::Error>(())
    })?;
    let visits: i64 = db.query_row("SELECT count(*) FROM visit", params![], |row| row.get(0))?;
    println!("{visits} visits");
    Ok(())
}
