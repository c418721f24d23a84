//! Reads rows: with functions that have their own errors, into structs, and as types of other
//! crates.

use std::num::ParseIntError;

use millpond_guest::{
    Connection, Error, ErrorKind, FromSql, FromSqlError, OptionalExtension, Result, ToSql, db,
    params, stats,
};
use millpond_test_programs::{differs, is_on_server};

fn main() -> Result<()> {
    let db = db()?;
    own_errors(&db)?;
    structs(&db)?;
    types(&db)?;
    counters(&db)
}

#[derive(Debug, PartialEq)]
enum Failed {
    Millpond(ErrorKind),
    Number,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Millpond(error.kind())
    }
}

impl From<ParseIntError> for Failed {
    fn from(_: ParseIntError) -> Failed {
        Failed::Number
    }
}

fn own_errors(db: &Connection) -> Result<()> {
    db.execute_script(
        "CREATE TABLE text(id INTEGER PRIMARY KEY, text); \
         INSERT INTO text(text) VALUES ('1'), ('two'), (3), ('4')",
    )?;
    let sql = "SELECT text FROM text ORDER BY id";
    let number =
        |row: &millpond_guest::Row<'_>| Ok::<i64, Failed>(row.get::<String>(0)?.parse::<i64>()?);
    let expected = [
        Ok(1),
        Err(Failed::Number),
        Err(Failed::Millpond(ErrorKind::InvalidColumnType)),
        Ok(4),
    ];
    let rows: Vec<_> = db.query_and_then(sql, (), number)?.collect();
    assert_eq!(rows, expected);
    let mut statement = db.prepare(sql)?;
    let rows: Vec<_> = statement.query_and_then((), number)?.collect();
    assert_eq!(rows, expected);
    let rows: Vec<_> = statement.query(())?.and_then(number).collect();
    assert_eq!(rows, expected);
    let all: Result<Vec<i64>, Failed> = statement.query_and_then((), number)?.collect();
    assert_eq!(all, Err(Failed::Number));

    assert_eq!(statement.query_row_and_then((), number), Ok(1));
    let sql = "SELECT text FROM text WHERE id = ?1";
    assert_eq!(db.query_row_and_then(sql, [1], number), Ok(1));
    let two = db.query_row_and_then(sql, [2], number);
    assert_eq!(two, Err(Failed::Number));
    let none = db.query_row_and_then(sql, [9], number);
    assert_eq!(none, Err(Failed::Millpond(ErrorKind::QueryReturnedNoRows)));
    let missing = db.query_row_and_then("SELECT missing", (), number);
    assert_eq!(missing, Err(Failed::Millpond(ErrorKind::Sql)));

    // A host error, on a later page, passes through the function's error and ends the rows.
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) \
               SELECT CASE i WHEN 200000 THEN abs(-9223372036854775807 - i / 200000) ELSE '5' END \
               FROM n";
    let what = "a row that fails, on a later page";
    let when = differs(what, "when its page is read", "when the query begins");
    if is_on_server() {
        let error = db.query_and_then(sql, (), number).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Sql, "{when}");
    } else {
        let mut rows = db.query_and_then(sql, (), number)?;
        assert_eq!(
            rows.find(|row| row.is_err()),
            Some(Err(Failed::Millpond(ErrorKind::Sql))),
            "{when}"
        );
        assert_eq!(rows.next(), None);
    }

    let refused = db.query_row("SELECT 1", (), |_| -> Result<()> {
        Err(Error::from_sql("odd"))
    });
    let kind = refused.optional().unwrap_err().kind();
    assert_eq!(kind, ErrorKind::FromSqlConversionFailure);
    let refused = db.query_row("SELECT 1", (), |row| {
        Ok(String::column_result(row.get_ref(0)?)?)
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidColumnType);
    let _: &dyn std::error::Error = &FromSqlError::InvalidType;
    Ok(())
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Note {
    id: i64,
    title: String,
    body: Option<String>,
}

fn structs(db: &Connection) -> Result<()> {
    db.execute_script(
        "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT, body TEXT, hidden TEXT); \
         INSERT INTO note VALUES (1, 'Milk', NULL, 'x'), (2, 'Bread', 'rye', 'y')",
    )?;
    let notes: Vec<Note> = db
        .query_map("SELECT * FROM note ORDER BY id", (), |row| {
            row.deserialize()
        })?
        .collect::<Result<_>>()?;
    let expected = [(1, "Milk", None), (2, "Bread", Some("rye"))].map(|(id, title, body)| Note {
        id,
        title: title.to_owned(),
        body: body.map(str::to_owned),
    });
    assert_eq!(notes, expected);
    let title: String = db.query_row("SELECT title FROM note", (), |row| row.deserialize())?;
    assert_eq!(title, "Milk");
    let error = db
        .query_row("SELECT id FROM note", (), |row| row.deserialize::<Note>())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidColumn);
    Ok(())
}

/// Stores a value, lets SQLite see it, and reads it back.
#[track_caller]
fn same<T>(db: &Connection, value: T, sql: &str, expected: &str)
where
    T: ToSql + FromSql + PartialEq + std::fmt::Debug,
{
    let sql = format!("SELECT ?1, {sql}");
    let (back, seen): (T, String) = db
        .query_row(&sql, params![value], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("a row");
    assert_eq!(back, value);
    assert_eq!(seen, expected);
}

fn types(db: &Connection) -> Result<()> {
    let id = uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    same(db, id, "hex(?1)", "0123456789ABCDEF0123456789ABCDEF");
    let url = url::Url::parse("https://example.org/a?b#c").expect("a URL");
    same(db, url, "?1", "https://example.org/a?b#c");
    same(
        db,
        serde_json::json!({"a": [1, "b"]}),
        "?1 ->> '$.a[1]'",
        "b",
    );
    same(db, serde_json::json!(7), "typeof(?1)", "integer");

    // SQLite's functions read what a client wrote, and a client reads what they write.
    let (date, time) = ("2016-02-23", "23:56:04.789");
    let both = "2016-02-23 23:56:04.789";
    let seconds = "strftime('%Y-%m-%d %H:%M:%f', ?1)";
    let now = |sql: &str| format!("SELECT {sql}('2016-02-23 23:56:04')");
    {
        use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, Utc};
        let date_time: NaiveDateTime = both
            .parse()
            .or_else(|_| "2016-02-23T23:56:04.789".parse())
            .expect("a time");
        same::<NaiveDate>(db, date_time.date(), "date(?1)", date);
        same::<NaiveTime>(db, date_time.time(), "strftime('%H:%M:%f', ?1)", time);
        same(db, date_time, seconds, both);
        same::<DateTime<Utc>>(db, date_time.and_utc(), seconds, both);
        same::<DateTime<Local>>(db, date_time.and_utc().into(), seconds, both);
        let offset = FixedOffset::east_opt(4 * 3600).expect("an offset");
        let there = date_time.and_utc().with_timezone(&offset);
        same::<DateTime<FixedOffset>>(db, there, seconds, both);
        db.query_row(&now("date"), (), |row| row.get::<NaiveDate>(0))?;
        db.query_row(&now("time"), (), |row| row.get::<NaiveTime>(0))?;
        db.query_row(&now("datetime"), (), |row| row.get::<NaiveDateTime>(0))?;
        db.query_row(&now("datetime"), (), |row| row.get::<DateTime<Utc>>(0))?;
        db.query_row(&now("unixepoch"), (), |row| row.get::<DateTime<Utc>>(0))?;
    }
    {
        use jiff::Timestamp;
        use jiff::civil::{Date, DateTime, Time};
        let date_time: DateTime = both.parse().expect("a time");
        same::<Date>(db, date_time.date(), "date(?1)", date);
        same::<Time>(db, date_time.time(), "strftime('%H:%M:%f', ?1)", time);
        same(db, date_time, seconds, both);
        let timestamp: Timestamp = "2016-02-23T23:56:04.789Z".parse().expect("a time");
        same(db, timestamp, seconds, both);
        db.query_row(&now("date"), (), |row| row.get::<Date>(0))?;
        db.query_row(&now("time"), (), |row| row.get::<Time>(0))?;
        db.query_row(&now("datetime"), (), |row| row.get::<DateTime>(0))?;
        db.query_row(&now("datetime"), (), |row| row.get::<Timestamp>(0))?;
        db.query_row(&now("unixepoch"), (), |row| row.get::<Timestamp>(0))?;
    }
    {
        use ::time::macros::{datetime, utc_datetime};
        use ::time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcDateTime};
        let date_time = datetime!(2016-02-23 23:56:04.789);
        same::<Date>(db, date_time.date(), "date(?1)", date);
        same::<Time>(db, date_time.time(), "strftime('%H:%M:%f', ?1)", time);
        same::<PrimitiveDateTime>(db, date_time, seconds, both);
        same::<UtcDateTime>(db, utc_datetime!(2016-02-23 23:56:04.789), seconds, both);
        let there = datetime!(2016-02-24 3:56:04.789 +4);
        same::<OffsetDateTime>(db, there, seconds, both);
        db.query_row(&now("date"), (), |row| row.get::<Date>(0))?;
        db.query_row(&now("time"), (), |row| row.get::<Time>(0))?;
        db.query_row(&now("datetime"), (), |row| row.get::<PrimitiveDateTime>(0))?;
        db.query_row(&now("datetime"), (), |row| row.get::<OffsetDateTime>(0))?;
        db.query_row(&now("unixepoch"), (), |row| row.get::<OffsetDateTime>(0))?;
        db.query_row(&now("unixepoch"), (), |row| row.get::<UtcDateTime>(0))?;
    }
    let error = db
        .query_row("SELECT 'odd'", (), |row| row.get::<uuid::Uuid>(0))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidColumnType);
    let error = db
        .query_row("SELECT 'odd'", (), |row| row.get::<url::Url>(0))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FromSqlConversionFailure);
    Ok(())
}

fn counters(db: &Connection) -> Result<()> {
    let json = serde_json::to_value(stats("default")?).expect("JSON");
    assert_eq!(json["in_use"], 1);
    let done = db.execute("INSERT INTO text(id, text) VALUES (9, '')", ())?;
    let json = serde_json::to_value(done).expect("JSON");
    assert_eq!(
        json,
        serde_json::json!({"changes": 1, "last_insert_rowid": 9})
    );
    Ok(())
}
