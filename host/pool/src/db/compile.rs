//! From SQL text to a compiled statement with its parameters bound.

use rusqlite::Connection;

use super::Db;
use crate::cache::Compiled;
use crate::error::{Error, ErrorKind, Result};
use crate::raw::RawStatement;
use crate::value::{Parameters, Value};

impl Db {
    /// The one statement of `sql`.
    pub(super) fn compile(&mut self, sql: &str) -> Result<Compiled> {
        if let Some(compiled) = self.cache.take(sql) {
            return Ok(compiled);
        }
        check_text(sql)?;
        let Some((compiled, read)) = self.compile_first(sql)? else {
            return Err(Error::new(
                ErrorKind::Sql,
                "the SQL text holds no statement",
            ));
        };
        match self.compile_first(&sql[read..]) {
            Ok(None) => Ok(compiled),
            Ok(Some(_)) | Err(_) => Err(Error::new(
                ErrorKind::Sql,
                "the SQL text holds more than one statement: run them one by one, or as a script",
            )
            .at(read)),
        }
    }

    /// The first statement of `sql` and where it ends; `None` where there is none at all.
    pub(super) fn compile_first(&mut self, sql: &str) -> Result<Option<(Compiled, usize)>> {
        let mut start = 0;
        while start < sql.len() {
            self.seen.start();
            let text = &sql[start..];
            let (raw, read) = RawStatement::prepare(&self.conn, text)
                .map_err(|error| self.explain(error).shifted(start))?;
            match raw {
                Some(raw) => {
                    let compiled = Compiled::new(raw, self.seen.control(), &sql[..start + read]);
                    return Ok(Some((compiled, start + read)));
                }
                // An empty statement, as in `;;`, ends where it is read to.
                None if read == 0 => return Ok(None),
                None => start += read,
            }
        }
        Ok(None)
    }

    pub(super) fn bind(&self, compiled: &mut Compiled, parameters: &Parameters) -> Result<()> {
        let raw = &mut compiled.raw;
        let count = raw.parameter_count();
        match parameters {
            Parameters::Positional(values) => {
                if values.len() != count {
                    return Err(Error::new(
                        ErrorKind::Parameters,
                        format!(
                            "the statement has {count} parameters, and {} values were given",
                            values.len()
                        ),
                    ));
                }
                for (index, value) in values.iter().enumerate() {
                    raw.bind(&self.conn, index + 1, value.into())?;
                }
            }
            Parameters::Named(values) => bind_named(&self.conn, raw, values)?,
        }
        Ok(())
    }
}

/// SQLite reads text up to the first NUL; what follows would silently not run.
pub(super) fn check_text(sql: &str) -> Result<()> {
    match sql.bytes().position(|byte| byte == 0) {
        None => Ok(()),
        Some(offset) => {
            Err(Error::new(ErrorKind::Sql, "the SQL text holds a NUL character").at(offset))
        }
    }
}

fn bind_named(conn: &Connection, raw: &mut RawStatement, values: &[(String, Value)]) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Parameters, message));
    let mut used = vec![false; values.len()];
    for index in 1..=raw.parameter_count() {
        let Some(name) = raw.parameter_name(index).map(bare).map(str::to_owned) else {
            return wrong(format!("parameter {index} has no name: bind by position"));
        };
        let mut given = values
            .iter()
            .enumerate()
            .filter(|(_, (known, _))| bare(known) == name);
        match (given.next(), given.next()) {
            (Some((at, (_, value))), None) => {
                used[at] = true;
                raw.bind(conn, index, value.into())?;
            }
            (Some(_), Some(_)) => {
                return wrong(format!("the parameter {name} was given more than once"));
            }
            (None, _) => return wrong(format!("the parameter {name} was not given")),
        }
    }
    match used.iter().position(|used| !used) {
        Some(at) => wrong(format!("the statement has no parameter {}", values[at].0)),
        None => Ok(()),
    }
}

/// A parameter's name without its prefix.
pub(super) fn bare(name: &str) -> &str {
    name.strip_prefix([':', '@', '$', '?']).unwrap_or(name)
}
