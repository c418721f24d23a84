//! For WASI 0.3, an HTTP handler and a command in one: visits in the database `default`.
//!
//! - `/visits` adds a visit, and returns how many there are.
//! - `/upload` stores the request's body as it arrives, in one transaction, and returns its size.
//! - `/numbers` sends the numbers to 100,000 while a cursor reads them.
//! - `/numbers/trap` does the same, and traps half-way.
//! - `/numbers/endless` sends them again and again.
//! - `/count` returns how many requests this instance has counted.
//! - `/numbers/held` does the same, and holds a connection meanwhile.
//! - `/echo` returns the request's body as it arrives. Its URI and its cookies are in the
//!   response's headers, as is each header of the request whose name begins with `set-`, without
//!   that. Its header `status` is the response's status.
//! - `/trap` traps with a visit in an open transaction.
//!
//! Empty for any other target, whose linker does not accept a component's export names.
#![cfg(target_family = "wasm")]

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use millpond_guest::{Error, TransactionMode, db};
use wasip3::exports::{cli, http};
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_bindgen::{StreamResult, StreamWriter};
use wasip3::{spawn_local, wit_future, wit_stream};

const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS visit(at TEXT);\
    CREATE TABLE IF NOT EXISTS upload(part BLOB)";

/// How many requests this instance has counted.
static COUNT: AtomicU32 = AtomicU32::new(0);

struct Program;

wasip3::http::service::export!(Program);
wasip3::cli::command::export!(Program);

impl cli::run::Guest for Program {
    async fn run() -> Result<(), ()> {
        let line = match visit() {
            Ok(visits) => format!("{visits} visits\n"),
            Err(error) => format!("{error}\n"),
        };
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            writer.write_all(line.into_bytes()).await;
        });
        let written = wasip3::cli::stdout::write_via_stream(reader).await;
        written.map_err(drop)
    }
}

impl http::handler::Guest for Program {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        match path.as_str() {
            "/visits" => Ok(text(visit().map_err(failed)?)),
            "/count" => Ok(text(COUNT.fetch_add(1, Ordering::Relaxed) + 1)),
            "/upload" => Ok(text(upload(request).await?)),
            "/numbers" => Ok(respond(|writer| numbers(writer, u32::MAX))),
            "/numbers/trap" => Ok(respond(|writer| numbers(writer, 50_000))),
            "/numbers/endless" => Ok(respond(endless)),
            "/numbers/held" => Ok(respond(held)),
            "/late" => Ok(respond(late)),
            "/echo" => echo(request),
            "/trap" => trap(),
            _ => Err(ErrorCode::HttpRequestUriInvalid),
        }
    }
}

fn visit() -> Result<i64, Error> {
    let db = db()?;
    db.transaction(|tx| {
        tx.execute_script(SCHEMA)?;
        tx.execute("INSERT INTO visit VALUES (datetime())", ())?;
        tx.query_row("SELECT count(*) FROM visit", (), |row| row.get(0))
    })
}

fn trap() -> ! {
    let db = db().expect("a connection");
    db.execute_script(SCHEMA).expect("tables");
    let _transaction = db.begin(TransactionMode::Immediate).expect("a transaction");
    db.execute("INSERT INTO visit VALUES (datetime())", ())
        .expect("a visit");
    panic!("on purpose");
}

async fn upload(request: Request) -> Result<i64, ErrorCode> {
    let db = db().map_err(failed)?;
    let transaction = db.begin(TransactionMode::Immediate).map_err(failed)?;
    db.execute_script(SCHEMA).map_err(failed)?;
    let (_, consumed) = wit_future::new(|| Ok(()));
    let (mut body, trailers) = Request::consume_body(request, consumed);
    loop {
        let (result, part) = body.read(Vec::with_capacity(64 * 1024)).await;
        db.execute("INSERT INTO upload VALUES (?1)", [part])
            .map_err(failed)?;
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    // Whether the body is complete: its stream ends the same way if the client disconnects.
    trailers.await?;
    let sum = "SELECT coalesce(sum(length(part)), 0) FROM upload";
    let size = db.query_row(sum, (), |row| row.get(0)).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(size)
}

/// Sends each number on its own line, and traps after `trap_after`.
async fn numbers(mut writer: StreamWriter<u8>, trap_after: u32) {
    const SQL: &str = "\
        WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT 100000) \
        SELECT n FROM number";
    let db = db().expect("a connection");
    let mut statement = db.prepare(SQL).expect("a statement");
    let mut rows = statement.query(()).expect("rows");
    let mut lines = String::new();
    while let Some(row) = rows.next().expect("a row") {
        let number: u32 = row.get(0).expect("a number");
        assert!(number <= trap_after, "on purpose");
        writeln!(lines, "{number}").expect("a string to write to");
        if number.is_multiple_of(1000) {
            let unread = writer
                .write_all(std::mem::take(&mut lines).into_bytes())
                .await;
            if !unread.is_empty() {
                return; // The client has stopped reading.
            }
        }
    }
}

async fn endless(mut writer: StreamWriter<u8>) {
    let numbers: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
    while writer.write_all(numbers.clone()).await.is_empty() {}
}

async fn held(writer: StreamWriter<u8>) {
    let _db = db().expect("a connection");
    endless(writer).await;
}

/// Visits once the client has the whole response.
async fn late(mut writer: StreamWriter<u8>) {
    writer.write_all(b"sent".to_vec()).await;
    drop(writer);
    // The host passes the end on before it runs the statement.
    wasip3::clocks::monotonic_clock::wait_for(1_000_000).await;
    visit().expect("a visit");
}

fn echo(request: Request) -> Result<Response, ErrorCode> {
    let scheme = match request.get_scheme() {
        Some(Scheme::Https) => "https",
        _ => "http",
    };
    let authority = request.get_authority().unwrap_or_default();
    let path = request.get_path_with_query().unwrap_or_default();
    let uri = format!("{scheme}://{authority}{path}");
    let mut headers = vec![("uri".to_owned(), uri.into_bytes())];
    for (name, value) in request.get_headers().copy_all() {
        match name.strip_prefix("set-") {
            Some(name) => headers.push((name.to_owned(), value)),
            None if name == "cookie" => headers.push(("cookies".to_owned(), value)),
            None => {}
        }
    }
    let headers = Fields::from_list(&headers).map_err(|_| ErrorCode::HttpProtocolError)?;
    let status = request.get_headers().get("status");
    let (_, consumed) = wit_future::new(|| Ok(()));
    let (mut body, trailers) = Request::consume_body(request, consumed);
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move {
        loop {
            let (result, part) = body.read(Vec::with_capacity(64 * 1024)).await;
            let unread = writer.write_all(part).await;
            if !unread.is_empty() || !matches!(result, StreamResult::Complete(_)) {
                return;
            }
        }
    });
    let response = Response::new(headers, Some(reader), trailers).0;
    let status = status
        .first()
        .and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    match response.set_status_code(status.unwrap_or(200)) {
        Ok(()) => Ok(response),
        Err(()) => Err(ErrorCode::HttpProtocolError),
    }
}

fn text(body: impl Display) -> Response {
    let body = body.to_string().into_bytes();
    respond(|mut writer| async move {
        writer.write_all(body).await;
    })
}

/// A response whose body is written after the handler has returned.
fn respond<F>(body: impl FnOnce(StreamWriter<u8>) -> F) -> Response
where
    F: Future<Output = ()> + 'static,
{
    let (writer, reader) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    spawn_local(body(writer));
    Response::new(Fields::new(), Some(reader), trailers).0
}

fn failed(error: Error) -> ErrorCode {
    ErrorCode::InternalError(Some(error.to_string()))
}
