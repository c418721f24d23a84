//! Where each statement of a text ends.

use millpond_pool::{Error, ErrorKind};

use super::statement::Statement;
use super::token::{Kind, Token, Tokens};

/// The longest statement of a guest, in bytes, as on files.
const MAX_SQL_BYTES: usize = 100_000;

/// The statements of a text, one after the other.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    sql: &'a str,
    at: usize,
    /// The longest statement, in bytes.
    max: usize,
}

impl<'a> Script<'a> {
    /// # Errors
    ///
    /// [`TooLarge`](ErrorKind::TooLarge), [`Sql`](ErrorKind::Sql): it holds a NUL character, at
    /// which SQLite would end.
    pub(crate) fn new(sql: &'a str, at: usize) -> Result<Script<'a>, Error> {
        if let Some(nul) = sql.find('\0') {
            let error = Error::new(ErrorKind::Sql, "the SQL text holds a NUL character");
            return Err(error.at(nul));
        }
        Ok(Script {
            sql,
            at,
            max: MAX_SQL_BYTES,
        })
    }

    /// Like [`new`](Script::new), for the host's own statements, which have no maximum length.
    pub(crate) fn of_host(sql: &'a str, at: usize) -> Result<Script<'a>, Error> {
        Ok(Script {
            max: usize::MAX,
            ..Script::new(sql, at)?
        })
    }

    /// The one statement of a text.
    ///
    /// # Errors
    ///
    /// [`Sql`](ErrorKind::Sql): there is none, or more than one.
    pub(crate) fn only(sql: &'a str) -> Result<Statement<'a>, Error> {
        let mut script = Script::new(sql, 0)?;
        let Some(statement) = script.next()? else {
            let message = "the SQL text holds no statement";
            return Err(Error::new(ErrorKind::Sql, message));
        };
        let end = script.at();
        match script.next() {
            Ok(None) => Ok(statement),
            _ => Err(Error::new(
                ErrorKind::Sql,
                "the SQL text holds more than one statement: run them one by one, or as a script",
            )
            .at(end)),
        }
    }

    /// The next statement; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Statement<'a>>, Error> {
        let mut tokens = Tokens::new(self.sql, self.at);
        let mut parts = Vec::new();
        let mut body = Body::default();
        for token in &mut tokens {
            if token.kind == Kind::Semicolon && !body.is_open(&parts) {
                match parts.is_empty() {
                    true => continue,
                    false => break,
                }
            }
            parts.push(token);
            body.push(&token);
        }
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Ok(None);
        };
        let (start, end) = (first.start, last.end());
        self.at = end;
        if end - start > self.max {
            let (bytes, max) = (end - start, self.max);
            let message = format!("a statement has {bytes} bytes, and may have {max}");
            return Err(Error::new(ErrorKind::TooLarge, message).at(start));
        }
        let sql = &self.sql[start..end];
        Statement::new(sql, start, &parts).map(Some)
    }

    /// Where the next one is looked for.
    pub(crate) fn at(&self) -> usize {
        self.at
    }
}

/// Whether a `;` is within the body of a trigger, which ends with `; END`.
#[derive(Debug, Default)]
struct Body {
    after_semicolon: bool,
    ended: bool,
}

impl Body {
    fn push(&mut self, token: &Token<'_>) {
        self.ended = self.after_semicolon && token.is("END");
        self.after_semicolon = token.kind == Kind::Semicolon;
    }

    fn is_open(&self, parts: &[Token<'_>]) -> bool {
        let mut words = parts
            .iter()
            .skip_while(|token| token.is_one_of(&["EXPLAIN", "QUERY", "PLAN"]));
        words.next().is_some_and(|word| word.is("CREATE"))
            && words
                .find(|word| !word.is_one_of(&["TEMP", "TEMPORARY"]))
                .is_some_and(|word| word.is("TRIGGER"))
            && !self.ended
    }
}
