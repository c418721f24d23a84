//! Leaks what its path names, and answers as if all were well.

use std::mem::forget;

use millpond_guest::{Result, TransactionMode, db};
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let answer = match leak(request.uri().path()) {
        Ok(()) => Response::builder().body("leaked\n".to_owned()),
        Err(error) => Response::builder().status(503).body(format!("{error}\n")),
    };
    Ok(answer?.map(Body::from))
}

fn leak(what: &str) -> Result<()> {
    let db = db()?;
    match what {
        "/statement" => forget(db.prepare("SELECT title FROM note WHERE id = ?1")?),
        "/cursor" => {
            let mut statement = db.prepare("SELECT id, hex(zeroblob(400000)) FROM note")?;
            forget(statement.query(())?);
            forget(statement);
        }
        "/transaction" => {
            forget(db.begin(TransactionMode::Immediate)?);
            db.execute("UPDATE note SET title = title || '!'", ())?;
        }
        _ => {}
    }
    Ok(())
}
