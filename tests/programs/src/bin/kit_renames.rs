//! Renames a note in a deferred transaction that reads first. Under `/retry` it runs the
//! transaction again if others have written meanwhile, as it must; under any other path it does
//! not.

use millpond_guest::{ErrorKind, Result, TransactionMode, db};
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let tries = if request.uri().path() == "/retry" {
        3
    } else {
        1
    };
    println!("renaming, {tries} tries");
    let answer = match rename(tries) {
        Ok(title) => Response::builder().body(format!("{title}\n")),
        Err(error) => Response::builder().status(503).body(format!("{error}\n")),
    };
    Ok(answer?.map(Body::from))
}

fn rename(tries: u32) -> Result<String> {
    let db = db()?;
    for _ in 1..tries {
        match once(&db) {
            Err(error) if error.kind() == ErrorKind::BusySnapshot => {}
            done => return done,
        }
    }
    once(&db)
}

fn once(db: &millpond_guest::Connection) -> Result<String> {
    db.transaction_with(TransactionMode::Deferred, |tx| {
        let sql = "SELECT title FROM note WHERE id = 1";
        let title: String = tx.query_row(sql, (), |row| row.get(0))?;
        let title = format!("{title}, renamed");
        tx.execute("UPDATE note SET title = ?1 WHERE id = 1", [&title])?;
        Ok(title)
    })
}
