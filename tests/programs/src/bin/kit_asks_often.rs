//! Lists the notes with their comments: asks once for the notes, and once more for each note.

use millpond_guest::{Result, db};
use serde_json::{Value, json};
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(_: Request<Body>) -> Result<Response<Body>, Error> {
    let answer = match list() {
        Ok(notes) => Response::builder()
            .header("content-type", "application/json")
            .body(notes.to_string()),
        Err(error) => Response::builder().status(503).body(format!("{error}\n")),
    };
    Ok(answer?.map(Body::from))
}

fn list() -> Result<Value> {
    let db = db()?;
    let notes: Vec<(i64, String)> = db
        .query_map("SELECT id, title FROM note ORDER BY id", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_>>()?;
    let with_comments = notes.into_iter().map(|(id, title)| {
        // Without an index on `comment.note`, this reads all comments each time.
        let comments: Vec<String> = db
            .query_map("SELECT body FROM comment WHERE note = ?1", [id], |row| {
                row.get(0)
            })?
            .collect::<Result<_>>()?;
        Ok(json!({"id": id, "title": title, "comments": comments}))
    });
    with_comments.collect()
}
