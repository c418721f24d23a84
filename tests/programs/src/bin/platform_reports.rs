//! An HTTP handler that only reads: how many notes its tenant has, and how long they are. `/write`
//! and `/other` try what it was not granted.

use millpond_guest::{Access, Error as SqlError, get};
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let answer = match request.uri().path() {
        "/report/write" => write(),
        "/report/other" => get("secrets", Access::ReadOnly).map(|_| "open".to_owned()),
        _ => report(),
    };
    let answer = match answer {
        Ok(text) => Response::builder().body(text),
        Err(error) => Response::builder()
            .status(500)
            .body(format!("{:?}", error.kind())),
    };
    Ok(answer?.map(Body::from))
}

fn report() -> Result<String, SqlError> {
    let db = get("default", Access::ReadOnly)?;
    let sql = "SELECT count(*), coalesce(sum(length(title)), 0) FROM notes";
    let (count, length): (i64, i64) =
        db.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(format!("{count} {length}"))
}

fn write() -> Result<String, SqlError> {
    let db = get("default", Access::ReadWrite)?;
    db.execute("DELETE FROM notes", ())?;
    Ok("deleted".to_owned())
}
