//! The README's HTTP guest: how often each path was asked for.

use millpond_guest::db;
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let answer = match visit(request.uri().path()) {
        Ok(visits) => Response::builder().body(format!("{visits} visits\n")),
        Err(error) => Response::builder().status(503).body(format!("{error}\n")),
    };
    Ok(answer?.map(Body::from))
}

fn visit(path: &str) -> Result<i64, millpond_guest::Error> {
    let db = db()?; // goes back to the pool at the end of the request
    db.execute_script("CREATE TABLE IF NOT EXISTS visits(path TEXT PRIMARY KEY, count INTEGER)")?;
    let sql = "INSERT INTO visits VALUES (?1, 1)
        ON CONFLICT(path) DO UPDATE SET count = count + 1 RETURNING count";
    db.query_row(sql, [path], |row| row.get(0))
}
