//! An HTTP handler of Spin's SDK for Rust, with its SQLite.

use anyhow::Result;
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;
use spin_sdk::sqlite::{Connection, Error, RowResult, Value};

#[http_service]
async fn handle(request: Request) -> Result<impl IntoResponse> {
    let uri = request.uri();
    match uri.path() {
        "/add" => add(uri.query().unwrap_or_default()).await,
        "/list" => list().await,
        "/values" => values().await,
        "/errors" => errors().await,
        "/unfinished" => unfinished().await,
        "/connections" => connections().await,
        "/large" => large().await,
        other => anyhow::bail!("no {other}"),
    }
}

async fn execute(db: &Connection, sql: &str, parameters: Vec<Value>) -> Result<Vec<RowResult>, Error> {
    db.execute(sql, parameters).await?.collect().await
}

fn first(rows: &[RowResult]) -> Option<&Value> {
    rows.first()?.values.first()
}

async fn add(name: &str) -> Result<String> {
    let db = Connection::open_default().await?;
    execute(&db, "CREATE TABLE IF NOT EXISTS names(id INTEGER PRIMARY KEY, name TEXT)", vec![]).await?;
    execute(&db, "BEGIN", vec![]).await?;
    execute(&db, "INSERT INTO names(name) VALUES (?)", vec![name.into()]).await?;
    let (id, changes) = (db.last_insert_rowid().await, db.changes().await);
    execute(&db, "COMMIT", vec![]).await?;
    Ok(format!("{id} {changes}"))
}

async fn list() -> Result<String> {
    let mut result = names().await?;
    let mut list = result.columns().join(",");
    while let Some(row) = result.next().await {
        list.push(' ');
        list.push_str(row.get(0).unwrap_or("?"));
    }
    result.result().await?;
    Ok(list)
}

/// The connection's handle is dropped before the rows are read.
async fn names() -> Result<spin_sdk::sqlite::QueryResult, Error> {
    let db = Connection::open("default").await?;
    db.execute("SELECT name FROM names ORDER BY id", []).await
}

async fn values() -> Result<String> {
    let db = Connection::open_default().await?;
    let values = vec![
        Value::Integer(i64::MIN),
        Value::Real(-0.5),
        Value::Text("né".to_owned()),
        Value::Blob(vec![0, 255]),
        Value::Null,
    ];
    let rows = execute(&db, "SELECT ?, ?, ?, ?, ?", values.clone()).await?;
    let types = "SELECT typeof(?), typeof(?), typeof(?), typeof(?), typeof(?)";
    let types = execute(&db, types, values.clone()).await?;
    let types = types[0].values.iter().map(|value| <&str>::try_from(value).unwrap_or("?"));
    Ok(format!("{} {}", types.collect::<Vec<_>>().join(" "), rows[0].values == values))
}

async fn errors() -> Result<String> {
    let mut kinds = vec![kind(Connection::open("forbidden").await.err())];
    let db = Connection::open_default().await?;
    for sql in ["SELECT * FROM missing", "ATTACH 'file' AS other", "SELECT ?"] {
        kinds.push(kind(execute(&db, sql, vec![]).await.err()));
    }
    Ok(kinds.join(" "))
}

fn kind(error: Option<Error>) -> String {
    match error {
        Some(Error::Io(message)) => message.split(':').next().unwrap_or_default().to_owned(),
        Some(Error::AccessDenied) => "access-denied".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Leaves a transaction open.
async fn unfinished() -> Result<String> {
    let db = Connection::open_default().await?;
    execute(&db, "BEGIN IMMEDIATE", vec![]).await?;
    execute(&db, "INSERT INTO names(name) VALUES ('never')", vec![]).await?;
    std::mem::forget(db);
    Ok("left".to_owned())
}

async fn connections() -> Result<String> {
    let mut open = Vec::new();
    loop {
        match Connection::open_default().await {
            Ok(db) => open.push(db),
            Err(error) => return Ok(format!("{} {}", open.len(), kind(Some(error)))),
        }
    }
}

/// More than one result may have, as a stream.
async fn large() -> Result<String> {
    const ROWS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
        SELECT hex(zeroblob(250000)) FROM n";
    let db = Connection::open_default().await?;
    let rows = execute(&db, ROWS, vec![]).await?;
    let length = first(&rows).map(|value| <&str>::try_from(value).map_or(0, str::len));
    Ok(format!("{} rows of {}", rows.len(), length.unwrap_or_default()))
}
