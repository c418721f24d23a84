//! The server's errors, as the pool's: the kind of each code that it has.

use millpond_pool::{Error, ErrorKind};

use crate::hrana::reply::ServerError;

/// SQLite's own code, where the server names one (<https://sqlite.org/rescode.html>).
///
/// The server tells the primary code alone. Of the constraints, the message tells the rest; but not
/// that a unique value is a primary key.
fn code_of(error: &ServerError) -> Option<i32> {
    let says = |words: &str| error.message.contains(words);
    Some(match error.code.as_str() {
        "SQLITE_INTERNAL" => 2,
        "SQLITE_PERM" => 3,
        "SQLITE_ABORT" => 4,
        "SQLITE_BUSY" => 5,
        "SQLITE_LOCKED" => 6,
        "SQLITE_NOMEM" => 7,
        "SQLITE_READONLY" => 8,
        "SQLITE_INTERRUPT" => 9,
        "SQLITE_IOERR" => 10,
        "SQLITE_CORRUPT" => 11,
        "SQLITE_NOTFOUND" => 12,
        "SQLITE_FULL" => 13,
        "SQLITE_CANTOPEN" => 14,
        "SQLITE_PROTOCOL" => 15,
        "SQLITE_SCHEMA" => 17,
        "SQLITE_TOOBIG" => 18,
        "SQLITE_CONSTRAINT" if says("UNIQUE constraint failed") => 2067,
        "SQLITE_CONSTRAINT" if says("PRIMARY KEY constraint failed") => 1555,
        "SQLITE_CONSTRAINT" if says("FOREIGN KEY constraint failed") => 787,
        "SQLITE_CONSTRAINT" if says("NOT NULL constraint failed") => 1299,
        "SQLITE_CONSTRAINT" if says("CHECK constraint failed") => 275,
        "SQLITE_CONSTRAINT" => 19,
        "SQLITE_MISMATCH" => 20,
        "SQLITE_MISUSE" => 21,
        "SQLITE_NOLFS" => 22,
        "SQLITE_AUTH" => 23,
        "SQLITE_RANGE" => 25,
        "SQLITE_NOTADB" => 26,
        // So it calls whatever is wrong with the SQL, such as a table that is not there.
        "SQLITE_UNKNOWN" | "SQL_INPUT_ERROR" => 1,
        code if code.starts_with("SQLITE_CONSTRAINT_") => match code {
            "SQLITE_CONSTRAINT_UNIQUE" => 2067,
            "SQLITE_CONSTRAINT_PRIMARYKEY" | "SQLITE_CONSTRAINT_ROWID" => 1555,
            "SQLITE_CONSTRAINT_FOREIGNKEY" => 787,
            "SQLITE_CONSTRAINT_NOTNULL" => 1299,
            "SQLITE_CONSTRAINT_CHECK" => 275,
            _ => 19,
        },
        "SQLITE_BUSY_SNAPSHOT" => 517,
        _ => return None,
    })
}

fn kind_of(error: &ServerError, code: Option<i32>) -> ErrorKind {
    if let Some(code) = code {
        return match code {
            517 => ErrorKind::BusySnapshot,
            2067 => ErrorKind::ConstraintUnique,
            1555 => ErrorKind::ConstraintPrimaryKey,
            787 => ErrorKind::ConstraintForeignKey,
            1299 => ErrorKind::ConstraintNotNull,
            275 => ErrorKind::ConstraintCheck,
            19 | 20 => ErrorKind::ConstraintOther,
            5 | 6 => ErrorKind::Busy,
            3 | 8 | 23 => ErrorKind::NotAuthorized,
            7 | 13 => ErrorKind::QuotaExceeded,
            9 => ErrorKind::DeadlineExceeded,
            10 | 14 | 15 | 22 => ErrorKind::Io,
            4 | 11 | 26 => ErrorKind::Corrupt,
            18 => ErrorKind::TooLarge,
            1 | 17 | 25 => ErrorKind::Sql,
            _ => ErrorKind::Other,
        };
    }
    match error.code.as_str() {
        "SQL_PARSE_ERROR" if error.message.contains("unsupported statement") => {
            ErrorKind::Unsupported
        }
        "SQL_PARSE_ERROR" | "SQL_NO_STATEMENT" | "SQL_MANY_STATEMENTS" => ErrorKind::Sql,
        "ARGS_INVALID" | "ARGS_BOTH_POSITIONAL_AND_NAMED" => ErrorKind::Parameters,
        "TRANSACTION_TIMEOUT" | "TRANSACTION_BUSY" => ErrorKind::Busy,
        "RESPONSE_TOO_LARGE" => ErrorKind::TooLarge,
        "BLOCKED" => ErrorKind::NotAuthorized,
        _ => ErrorKind::Other,
    }
}

/// How much of a server's message is told.
const MAX_MESSAGE: usize = 1_000;

/// What the server says of a statement.
pub(crate) fn of_server(error: &ServerError) -> Error {
    let code = code_of(error);
    // The server's own words before those of SQLite.
    let message = [
        "SQLite error: ",
        "SQL input error: ",
        "SQL string could not be parsed: ",
    ]
    .iter()
    .find_map(|words| error.message.strip_prefix(words))
    .unwrap_or(&error.message);
    let end = message
        .char_indices()
        .nth(MAX_MESSAGE)
        .map_or(message.len(), |(end, _)| end);
    let mapped = Error::new(kind_of(error, code), &message[..end]);
    match code {
        Some(code) => mapped.with_code(code),
        None => mapped,
    }
}

/// What was sent may or may not have been done.
pub(crate) fn outcome_unknown(why: &str) -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        format!("the server did not say whether the statement was committed: {why}"),
    )
}

/// Nothing was sent, or nothing that changes anything: the server `what`.
pub(crate) fn unavailable(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the server {what}"))
}

/// Like [`unavailable`], because the connection failed.
pub(crate) fn cut_off(why: &str) -> Error {
    let message = format!("the connection to the server failed: {why}");
    Error::new(ErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_kind() {
        use ErrorKind::*;
        for (code, message, kind, number) in [
            (
                "SQLITE_CONSTRAINT",
                "SQLite error: UNIQUE constraint failed: t.a",
                ConstraintUnique,
                2067,
            ),
            (
                "SQLITE_CONSTRAINT",
                "SQLite error: FOREIGN KEY constraint failed",
                ConstraintForeignKey,
                787,
            ),
            (
                "SQLITE_CONSTRAINT",
                "SQLite error: NOT NULL constraint failed: t.a",
                ConstraintNotNull,
                1299,
            ),
            (
                "SQLITE_CONSTRAINT",
                "SQLite error: CHECK constraint failed: a > 0",
                ConstraintCheck,
                275,
            ),
            (
                "SQLITE_CONSTRAINT",
                "SQLite error: cannot store TEXT value in INT column t.a",
                ConstraintOther,
                19,
            ),
            (
                "SQLITE_CONSTRAINT_PRIMARYKEY",
                "",
                ConstraintPrimaryKey,
                1555,
            ),
            ("SQLITE_BUSY", "SQLite error: database is locked", Busy, 5),
            ("SQLITE_UNKNOWN", "SQLite error: no such table: t", Sql, 1),
            ("SQL_PARSE_ERROR", "near \"FOO\": syntax error", Sql, 0),
            (
                "SQL_PARSE_ERROR",
                "SQL string could not be parsed: unsupported statement: ANALYZE",
                Unsupported,
                0,
            ),
            ("ARGS_INVALID", "", Parameters, 0),
            ("TRANSACTION_BUSY", "", Busy, 0),
            ("RESPONSE_TOO_LARGE", "", TooLarge, 0),
            ("SQLITE_TOOBIG", "", TooLarge, 18),
            ("SQLITE_READONLY", "", NotAuthorized, 8),
            ("SQLITE_FULL", "", QuotaExceeded, 13),
            ("WHATEVER", "", Other, 0),
            ("", "", Other, 0),
        ] {
            let error = of_server(&ServerError {
                message: message.to_owned(),
                code: code.to_owned(),
            });
            assert_eq!((error.kind(), error.code()), (kind, number), "{code}");
        }
        let long = ServerError {
            message: "é".repeat(10_000),
            code: String::new(),
        };
        assert_eq!(of_server(&long).to_string().chars().count(), MAX_MESSAGE);
    }
}
