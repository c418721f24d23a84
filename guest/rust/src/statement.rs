//! A compiled statement of one connection.

use std::cell::OnceCell;

use crate::bindings::types as wit;
use crate::cells::{Block, Reader};
use crate::params::{bare, parameters};
use crate::rows::WHOLE_PAGE;
use crate::{
    Column, Connection, Error, ErrorKind, MappedRows, Params, Result, Row, Rows, Summary,
    TransactionMode, Value,
};

/// A compiled statement, to run as often as wanted. Made by [`Connection::prepare`].
///
/// Dropped, it frees its place among the statements that the request may hold (64 unless the
/// host chose otherwise). The host keeps what it compiled: preparing the same text again costs
/// little.
#[derive(Debug)]
pub struct Statement<'c> {
    raw: wit::Statement,
    connection: &'c Connection,
}

impl<'c> Statement<'c> {
    pub(crate) fn new(raw: wit::Statement, connection: &'c Connection) -> Statement<'c> {
        Statement { raw, connection }
    }

    /// Runs it for its effect. Rows that it yields are not kept.
    ///
    /// A statement that writes waits for its turn to write.
    ///
    /// # Errors
    ///
    /// [`Parameters`](ErrorKind::Parameters), [`Busy`](ErrorKind::Busy),
    /// [`BusySnapshot`](ErrorKind::BusySnapshot), and what the statement deserves.
    pub fn execute(&mut self, params: impl Params) -> Result<Summary> {
        Ok(self.raw.execute(&parameters(params)?)?)
    }

    /// Runs it once for each of `rows`, all or none, and sums up their changes.
    ///
    /// The rows cross to the host in blocks of about 256 KiB, so there may be any number of
    /// them; where one block does not hold them all, a transaction holds them together (a
    /// savepoint inside yours, where one is open). It waits once for its turn to write.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let mut statement = db.prepare("INSERT INTO squares (n, square) VALUES (?1, ?2)")?;
    /// let summary = statement.execute_many((0..1_000_000_i64).map(|n| (n, n * n)))?;
    /// assert_eq!(summary.changes, 1_000_000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Parameters`](ErrorKind::Parameters) where the statement has none, or a row is not
    /// exactly what they need; otherwise as [`execute`](Statement::execute). After an error no
    /// row is kept.
    pub fn execute_many<I>(&mut self, rows: I) -> Result<Summary>
    where
        I: IntoIterator,
        I::Item: Params,
    {
        let names = self.raw.parameter_names();
        let mut rows = rows.into_iter();
        let mut block = Block::new();
        let more = fill(&mut block, &mut rows, &names)?;
        let mut summary = || -> Result<Summary> {
            let mut summary = self.raw.execute_many(block.cells())?;
            while more && fill_next(&mut block, &mut rows, &names)? {
                let next = self.raw.execute_many(block.cells())?;
                summary.changes += next.changes;
                summary.last_insert_rowid = next.last_insert_rowid;
            }
            Ok(summary)
        };
        match more {
            false => summary(),
            true => self.connection.all_or_none(summary),
        }
    }

    /// Runs it and reads its rows, a page at a time.
    ///
    /// A statement that writes waits for its turn to write.
    ///
    /// # Errors
    ///
    /// As [`execute`](Statement::execute); [`TooManyHandles`](ErrorKind::TooManyHandles) where
    /// the request holds as many cursors as it may.
    pub fn query(&mut self, params: impl Params) -> Result<Rows<'_>> {
        let page = self.raw.query(&parameters(params)?, WHOLE_PAGE)?;
        Ok(Rows::new(page, Columns::of(&self.raw)))
    }

    /// Runs it and iterates over what `f` makes of each row.
    ///
    /// ```no_run
    /// # fn main() -> millpond_guest::Result<()> {
    /// # let db = millpond_guest::db()?;
    /// let mut statement = db.prepare("SELECT title FROM notes WHERE id > ?1")?;
    /// let titles: Vec<String> = statement
    ///     .query_map([10], |row| row.get("title"))?
    ///     .collect::<Result<_, _>>()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`query`](Statement::query).
    pub fn query_map<T, F>(&mut self, params: impl Params, f: F) -> Result<MappedRows<'_, F>>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        Ok(self.query(params)?.mapped(f))
    }

    /// Runs it and makes a value of its first row. Further rows are skipped.
    ///
    /// # Errors
    ///
    /// [`QueryReturnedNoRows`](ErrorKind::QueryReturnedNoRows) where there is none, which
    /// [`optional`](crate::OptionalExtension::optional) makes `None`; otherwise as
    /// [`query`](Statement::query), and whatever `f` returns.
    pub fn query_row<T, F>(&mut self, params: impl Params, f: F) -> Result<T>
    where
        F: FnOnce(&Row<'_>) -> Result<T>,
    {
        let wit::Page { cells, rest } = self.raw.query(&parameters(params)?, 1)?;
        if let Some(rest) = rest
            && !self.raw.is_read_only()
        {
            // A statement that writes commits at its last row, and the commit can fail.
            while !rest.next(WHOLE_PAGE)?.kinds.is_empty() {}
        }
        // One row was asked for: all that came is it.
        let width = cells.kinds.len();
        let mut reader = Reader::new(cells);
        if !reader.advance(width)? {
            return Err(Error::new(
                ErrorKind::QueryReturnedNoRows,
                "the query yielded no row",
            ));
        }
        f(&Row {
            reader: &reader,
            columns: &Columns::of(&self.raw),
        })
    }

    /// The columns of its rows; none for a statement that yields no rows.
    pub fn columns(&self) -> Vec<Column> {
        self.raw.columns()
    }

    /// The parameters' names without prefix, `None` for a bare `?`, in the order in which
    /// positional parameters are bound.
    pub fn parameter_names(&self) -> Vec<Option<String>> {
        self.raw.parameter_names()
    }

    /// Whether it leaves the database as it is
    /// (<https://sqlite.org/c3ref/stmt_readonly.html>).
    pub fn is_read_only(&self) -> bool {
        self.raw.is_read_only()
    }

    /// Runs it, and iterates over what `f` makes of each row for longer than the statement is
    /// in scope.
    pub(crate) fn into_mapped<T, F>(self, params: impl Params, f: F) -> Result<MappedRows<'c, F>>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        let page = self.raw.query(&parameters(params)?, WHOLE_PAGE)?;
        Ok(Rows::new(page, Columns::held(self.raw)).mapped(f))
    }
}

/// A block is sent once it takes this many bytes: enough that the call costs nothing beside its
/// rows, little enough for any guest's memory and any host's limit.
const BLOCK_SIZE: usize = 256 * 1024;

/// Adds rows to a block until it is large enough to send. False once there are no more.
fn fill<I>(block: &mut Block, rows: &mut I, names: &[Option<String>]) -> Result<bool>
where
    I: Iterator<Item: Params>,
{
    while block.size() < BLOCK_SIZE {
        match rows.next() {
            Some(row) => push_row(block, row, names)?,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Replaces a block by the next. False where there is none.
fn fill_next<I>(block: &mut Block, rows: &mut I, names: &[Option<String>]) -> Result<bool>
where
    I: Iterator<Item: Params>,
{
    block.clear();
    fill(block, rows, names)?;
    Ok(block.size() > 0)
}

/// Adds one row, in the order of the statement's parameters.
///
/// The width is checked here: the host sees no rows but one list, in which a row too long and a
/// row too short would pass for two others.
fn push_row(block: &mut Block, row: impl Params, names: &[Option<String>]) -> Result<()> {
    let mut positional = 0;
    let mut named: Vec<Option<Value>> = Vec::new();
    row.visit(&mut |name, value| match name {
        None => {
            positional += 1;
            block.push(value.as_value_ref())
        }
        Some(name) => {
            named.resize(names.len(), None);
            let place = names
                .iter()
                .position(|known| known.as_deref() == Some(bare(name)))
                .ok_or_else(|| misfit(format!("the statement has no parameter {name}")))?;
            match named[place].replace(value.into_value()) {
                None => Ok(()),
                Some(_) => Err(misfit(format!("a row binds {name} twice"))),
            }
        }
    })?;
    if named.is_empty() {
        return match positional == names.len() {
            true => Ok(()),
            false => Err(misfit(format!(
                "a row of {positional} values for {} parameters",
                names.len()
            ))),
        };
    }
    for (place, value) in named.iter().enumerate() {
        match value {
            Some(value) => block.push(value.into())?,
            None => {
                return Err(misfit(format!(
                    "a row leaves parameter {} unbound",
                    place + 1
                )));
            }
        }
    }
    Ok(())
}

fn misfit(message: String) -> Error {
    Error::new(ErrorKind::Parameters, message)
}

/// The columns of a result, asked of the host when first needed: a row that is read by index
/// never needs their names.
#[derive(Debug)]
pub(crate) struct Columns<'s> {
    statement: Asked<'s>,
    answer: OnceCell<Vec<Column>>,
}

#[derive(Debug)]
enum Asked<'s> {
    Lent(&'s wit::Statement),
    Held(wit::Statement),
    #[cfg(test)]
    Nobody,
}

impl<'s> Columns<'s> {
    fn of(statement: &'s wit::Statement) -> Columns<'s> {
        Columns {
            statement: Asked::Lent(statement),
            answer: OnceCell::new(),
        }
    }

    fn held(statement: wit::Statement) -> Columns<'s> {
        Columns {
            statement: Asked::Held(statement),
            answer: OnceCell::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn known<const N: usize>(columns: [Column; N]) -> Columns<'s> {
        Columns {
            statement: Asked::Nobody,
            answer: OnceCell::from(Vec::from(columns)),
        }
    }

    pub(crate) fn get(&self) -> &[Column] {
        self.answer.get_or_init(|| match &self.statement {
            Asked::Lent(statement) => statement.columns(),
            Asked::Held(statement) => statement.columns(),
            #[cfg(test)]
            Asked::Nobody => Vec::new(),
        })
    }
}

impl Connection {
    /// Runs `f` so that an error undoes everything it has written, and nothing written before.
    fn all_or_none<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.in_transaction() {
            return self.transaction_with(TransactionMode::Immediate, |_| f());
        }
        self.execute_script("SAVEPOINT millpond_execute_many")?;
        let result = f();
        let end = match result {
            Ok(_) => "RELEASE millpond_execute_many",
            Err(_) => "ROLLBACK TO millpond_execute_many; RELEASE millpond_execute_many",
        };
        let ended = self.execute_script(end);
        // Where `f` failed, its error says more than that of a savepoint which SQLite may have
        // ended together with the transaction.
        let value = result?;
        ended?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ValueRef, named_params, params};

    fn names() -> Vec<Option<String>> {
        vec![Some("a".to_owned()), Some("b".to_owned())]
    }

    fn refused(row: impl Params) {
        let error = push_row(&mut Block::new(), row, &names()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameters);
    }

    #[test]
    fn named_rows_are_put_in_the_statements_order() {
        let mut block = Block::new();
        push_row(&mut block, named_params! { ":b": "x", "a": 1 }, &names()).unwrap();
        push_row(&mut block, params![2, "y"], &names()).unwrap();
        let mut reader = Reader::new(block.cells().clone());
        for (a, b) in [(1, "x"), (2, "y")] {
            assert!(reader.advance(2).unwrap());
            assert_eq!(reader.get(0), Ok(Some(ValueRef::Integer(a))));
            assert_eq!(reader.get(1), Ok(Some(ValueRef::Text(b))));
        }
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        refused(());
        refused([1]);
        refused([1, 2, 3]);
        refused([("a", 1)]);
        refused([("a", 1), (":a", 2)]);
        refused([("a", 1), ("c", 2)]);
    }

    #[test]
    fn blocks_are_bounded_and_lose_no_row() {
        let one = [String::from("x").repeat(1000)];
        let mut rows = std::iter::repeat_n(&one, 1000);
        let mut block = Block::new();
        let mut sizes = Vec::new();
        let mut more = fill(&mut block, &mut rows, &[None]).unwrap();
        while more {
            sizes.push(block.size());
            more = fill_next(&mut block, &mut rows, &[None]).unwrap();
        }
        assert!(sizes.iter().all(|size| *size < BLOCK_SIZE + 2000));
        assert_eq!(sizes.iter().sum::<usize>(), 1000 * (1 + 4 + 1000));
    }

    #[test]
    fn a_row_that_cannot_be_bound_ends_the_block() {
        let mut rows = [1, u64::MAX].into_iter().map(|n| (n,));
        let error = fill(&mut Block::new(), &mut rows, &[None]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ToSqlConversionFailure);
    }
}
