//! Compiles SQL text to a statement, and binds its parameters.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};
use self_cell::self_cell;

use crate::authorizer::Control;
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;
use crate::text::{MAX_SQL_BYTES, blank, is_definition};
use crate::value::{Column, Parameters, RawValue};

self_cell!(
    /// A statement with the connection that it borrows.
    struct Owned {
        owner: Rc<Connection>,
        #[covariant]
        dependent: Statement,
    }
);

/// What is known of a statement since it was compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) control: Control,
    /// Also false for every statement that changes the schema.
    pub(crate) read_only: bool,
}

/// A compiled statement.
pub(crate) struct Compiled {
    statement: Owned,
    pub(crate) kind: Kind,
    pub(crate) sql: String,
}

impl Compiled {
    pub(crate) fn with<T>(&mut self, work: impl FnOnce(&mut Statement<'_>) -> T) -> T {
        self.statement
            .with_dependent_mut(|_, statement| work(statement))
    }

    /// Reset to before the first step.
    pub(crate) fn reset(&mut self) {
        // Dropping its rows does that.
        self.with(|statement| drop(statement.raw_query()));
    }

    pub(crate) fn columns(&self) -> Vec<Column> {
        columns_of(self.statement.borrow_dependent())
    }

    /// The parameters' names, without their prefixes.
    pub(crate) fn parameter_names(&self) -> Vec<Option<String>> {
        let statement = self.statement.borrow_dependent();
        let name = |index| statement.parameter_name(index).map(bare).map(str::to_owned);
        (1..=statement.parameter_count()).map(name).collect()
    }
}

pub(crate) fn columns_of(statement: &Statement<'_>) -> Vec<Column> {
    let column = |column: rusqlite::Column<'_>| Column {
        name: column.name().to_owned(),
        declared_type: column.decl_type().map(str::to_owned),
    };
    statement.columns().map(column).collect()
}

impl Session {
    /// Compile `sql`, which must be one statement.
    pub(crate) fn compile(&mut self, sql: &str) -> Result<Compiled> {
        match self.cache.remove(sql) {
            Some(compiled) => Ok(compiled),
            None => self.compile_anew(sql),
        }
    }

    /// Like [`compile`](Session::compile), against the current schema.
    pub(crate) fn compile_anew(&mut self, sql: &str) -> Result<Compiled> {
        check_text(sql)?;
        let start = blank(sql);
        if start == sql.len() {
            return Err(Error::new(
                ErrorKind::Sql,
                "the SQL text holds no statement",
            ));
        }
        let text = &sql[start..];
        self.authorizer.start(text);
        let statement = Owned::try_new(Rc::clone(&self.conn), |conn| conn.prepare(text));
        let statement = statement.map_err(|error| {
            let error = self.explain(error.into());
            // SQLite looks at what follows too, and may not be able to compile it.
            match error.kind() {
                ErrorKind::NotAuthorized | ErrorKind::Busy | ErrorKind::Io => error,
                _ => error.shifted(start),
            }
        })?;
        let kind = self.kind_of(text, statement.borrow_dependent());
        Ok(Compiled {
            statement,
            kind,
            sql: sql.to_owned(),
        })
    }

    /// What the statement is that was compiled last.
    pub(crate) fn kind_of(&self, sql: &str, statement: &Statement<'_>) -> Kind {
        Kind {
            control: self.authorizer.control(),
            // `EXPLAIN` describes a statement, and runs nothing.
            read_only: statement.is_explain() != 0
                || (statement.readonly() && !self.authorizer.defines() && !is_definition(sql)),
        }
    }
}

/// Refuse what SQLite would not read to the end, or what is too long.
pub(crate) fn check_text(sql: &str) -> Result<()> {
    if sql.len() > MAX_SQL_BYTES {
        let message = format!(
            "the SQL text has {} bytes, but at most {MAX_SQL_BYTES} are allowed",
            sql.len()
        );
        return Err(
            Error::new(ErrorKind::TooLarge, message).with_code(rusqlite::ffi::SQLITE_TOOBIG)
        );
    }
    match sql.find('\0') {
        Some(at) => Err(Error::new(ErrorKind::Sql, "the SQL text holds a NUL character").at(at)),
        None => Ok(()),
    }
}

/// Bind every parameter of a statement.
pub(crate) fn bind(statement: &mut Statement<'_>, parameters: &Parameters) -> Result<()> {
    if parameters.is_named() {
        return bind_named(statement, parameters);
    }
    let count = statement.parameter_count();
    if parameters.len() != count {
        return Err(wrong_count(count, parameters.len()));
    }
    for (index, (_, value)) in parameters.raw_values().enumerate() {
        bind_one(statement, index + 1, value)?;
    }
    Ok(())
}

/// Bind one parameter, counted from 1.
pub(crate) fn bind_one(
    statement: &mut Statement<'_>,
    index: usize,
    value: RawValue<'_>,
) -> Result<()> {
    Ok(statement.raw_bind_parameter(index, Bound(value))?)
}

/// A value as rusqlite binds it.
struct Bound<'a>(RawValue<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            RawValue::Null => ValueRef::Null,
            RawValue::Integer(value) => ValueRef::Integer(value),
            RawValue::Real(value) => ValueRef::Real(value),
            RawValue::Text(value) => ValueRef::Text(value),
            RawValue::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

fn bind_named(statement: &mut Statement<'_>, values: &Parameters) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Parameters, message));
    let count = statement.parameter_count();
    // Checked before building a map: a guest can send very many values.
    if values.len() > count {
        return Err(wrong_count(count, values.len()));
    }
    let mut given = HashMap::with_capacity(values.len());
    for (name, value) in values.raw_values() {
        let name = name.map_or("", |name| str::from_utf8(name).unwrap_or_default());
        if given.insert(bare(name), value).is_some() {
            return wrong(format!("the parameter {name} was given more than once"));
        }
    }
    let mut named = HashSet::with_capacity(values.len());
    for index in 1..=count {
        let Some(name) = statement.parameter_name(index).map(bare) else {
            return wrong(format!("parameter {index} has no name: bind by position"));
        };
        let Some((name, value)) = given.get_key_value(name) else {
            return wrong(format!("the parameter {name} was not given"));
        };
        named.insert(*name);
        bind_one(statement, index, *value)?;
    }
    match given.keys().find(|name| !named.contains(*name)) {
        Some(name) => wrong(format!("the statement has no parameter {name:.64}")),
        None => Ok(()),
    }
}

fn wrong_count(parameters: usize, values: usize) -> Error {
    Error::new(
        ErrorKind::Parameters,
        format!("the statement has {parameters} parameters, but {values} values were given"),
    )
}

/// A parameter's name without its prefix.
fn bare(name: &str) -> &str {
    name.strip_prefix([':', '@', '$', '?']).unwrap_or(name)
}
