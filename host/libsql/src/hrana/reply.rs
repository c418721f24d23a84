//! What comes back: the results of a pipeline, and of the statements in it.

use millpond_pool::engine::RawValue;
use millpond_pool::{Column, Description, Rows};

use super::wire::{Field, Fields, Malformed, Wire};

/// An error that the server reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) message: String,
    pub(crate) code: String,
}

/// Why an answer cannot be taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Unusable {
    Malformed(&'static str),
    /// A value, a row or the whole exceeds a limit.
    TooLarge(String),
    /// A text of a column is not UTF-8.
    Refused(millpond_pool::Error),
}

impl From<Malformed> for Unusable {
    fn from(malformed: Malformed) -> Unusable {
        Unusable::Malformed(malformed.0)
    }
}

/// How large values and results may be, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) value: u64,
    pub(crate) result: u64,
}

/// The answer to a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Answers<'a> {
    pub(crate) baton: Option<&'a str>,
    pub(crate) base_url: Option<&'a str>,
    results: Vec<Result<&'a [u8], ServerError>>,
}

impl<'a> Answers<'a> {
    pub(crate) fn read(body: &'a [u8], requests: usize) -> Wire<Answers<'a>> {
        let mut answers = Answers::default();
        for field in Fields::new(body) {
            match field? {
                (1, baton) => answers.baton = Some(baton.text()?),
                (2, url) => answers.base_url = Some(url.text()?),
                (3, result) => answers.results.push(read_result(result.bytes()?)?),
                _ => {}
            }
        }
        match answers.results.len() == requests {
            true => Ok(answers),
            false => Err(Malformed("not every request is answered")),
        }
    }

    /// The message that answers request `index`: of `kind`, as [`Kind`] numbers them.
    fn get(&self, index: usize, kind: u64) -> Wire<Result<&'a [u8], &ServerError>> {
        let result = self.results.get(index);
        match result.ok_or(Malformed("a request is not answered"))? {
            Ok(response) => Ok(Ok(only(response, kind)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// The result of the statement that request `index` ran.
    pub(crate) fn execute(&self, index: usize) -> Wire<Result<StmtResult<'a>, &ServerError>> {
        Ok(match self.get(index, 2)? {
            Ok(execute) => Ok(StmtResult(only(execute, 1)?)),
            Err(error) => Err(error),
        })
    }

    /// The results of the batch that request `index` ran.
    pub(crate) fn batch(&self, index: usize) -> Wire<Result<BatchResult<'a>, &ServerError>> {
        Ok(match self.get(index, 3)? {
            Ok(batch) => Ok(BatchResult::read(only(batch, 1)?)?),
            Err(error) => Err(error),
        })
    }

    pub(crate) fn describe(&self, index: usize) -> Wire<Result<Description, &ServerError>> {
        Ok(match self.get(index, 5)? {
            Ok(describe) => Ok(read_description(only(describe, 1)?)?),
            Err(error) => Err(error),
        })
    }

    /// Whether the stream was outside of any transaction. An error is none of the statement's.
    pub(crate) fn autocommit(&self, index: usize) -> Wire<bool> {
        let state = self.get(index, 8)?;
        let state = state.map_err(|_| Malformed("the state of the transaction is not told"))?;
        // Protocol Buffers leave out what is false.
        let mut autocommit = false;
        for field in Fields::new(state) {
            if let (1, value) = field? {
                autocommit = value.varint()? != 0;
            }
        }
        Ok(autocommit)
    }
}

fn read_result(message: &[u8]) -> Wire<Result<&[u8], ServerError>> {
    let mut result = Err(Malformed("a result is empty"));
    for field in Fields::new(message) {
        match field? {
            (1, response) => result = Ok(Ok(response.bytes()?)),
            (2, error) => result = Ok(Err(read_error(error.bytes()?)?)),
            _ => {}
        }
    }
    result
}

pub(crate) fn read_error(message: &[u8]) -> Wire<ServerError> {
    let mut error = ServerError::default();
    for field in Fields::new(message) {
        match field? {
            (1, message) => error.message = message.text()?.to_owned(),
            (2, code) => error.code = code.text()?.to_owned(),
            _ => {}
        }
    }
    Ok(error)
}

/// The message in field `number`; an empty one may be left out.
fn only(message: &[u8], number: u64) -> Wire<&[u8]> {
    let mut found = None;
    for field in Fields::new(message) {
        let (field, value) = field?;
        match field == number {
            true => found = Some(value.bytes()?),
            false if number > 1 => return Err(Malformed("a request is answered as another")),
            false => {}
        }
    }
    found.ok_or(Malformed("an answer is empty"))
}

/// The results of a batch's steps.
#[derive(Debug, Default)]
pub(crate) struct BatchResult<'a> {
    results: Vec<(u32, &'a [u8])>,
    errors: Vec<(u32, ServerError)>,
}

impl<'a> BatchResult<'a> {
    fn read(message: &'a [u8]) -> Wire<BatchResult<'a>> {
        let mut batch = BatchResult::default();
        for field in Fields::new(message) {
            match field? {
                (1, entry) => batch.results.push(read_entry(entry.bytes()?)?),
                (2, entry) => {
                    let (step, error) = read_entry(entry.bytes()?)?;
                    batch.errors.push((step, read_error(error)?));
                }
                _ => {}
            }
        }
        // As servers send them. Looking up a step relies on it.
        batch.results.sort_unstable_by_key(|(step, _)| *step);
        Ok(batch)
    }

    /// What came of a step; `None` where its condition did not hold.
    pub(crate) fn step(&self, step: u32) -> Option<Result<StmtResult<'a>, &ServerError>> {
        if let Some((_, error)) = self.errors.iter().find(|(failed, _)| *failed == step) {
            return Some(Err(error));
        }
        let at = self.results.binary_search_by_key(&step, |(step, _)| *step);
        at.ok().map(|at| Ok(StmtResult(self.results[at].1)))
    }

    /// The first step that failed.
    pub(crate) fn first_error(&self) -> Option<(u32, &ServerError)> {
        let first = self.errors.iter().min_by_key(|(step, _)| *step);
        first.map(|(step, error)| (*step, error))
    }

    /// The results of the steps that ran, in order.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (u32, StmtResult<'a>)> {
        self.results
            .iter()
            .map(|(step, result)| (*step, StmtResult(result)))
    }
}

fn read_entry(entry: &[u8]) -> Wire<(u32, &[u8])> {
    let (mut step, mut value): (_, &[u8]) = (0, &[]);
    for field in Fields::new(entry) {
        match field? {
            (1, key) => step = key.varint()?,
            (2, message) => value = message.bytes()?,
            _ => {}
        }
    }
    let step = u32::try_from(step).map_err(|_| Malformed("a step has no such number"))?;
    Ok((step, value))
}

/// The result of a statement, still as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StmtResult<'a>(&'a [u8]);

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) changes: u64,
    pub(crate) last_insert_rowid: Option<i64>,
    pub(crate) index: Option<u64>,
}

impl<'a> StmtResult<'a> {
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn columns(self) -> Wire<Vec<Column>> {
        let mut columns = Vec::new();
        for field in Fields::new(self.0) {
            match field? {
                (1, column) => columns.push(read_column(column.bytes()?)?),
                // They come before the rows, of which there may be many.
                (2, _) if !columns.is_empty() => break,
                _ => {}
            }
        }
        Ok(columns)
    }

    pub(crate) fn effects(self) -> Wire<Effects> {
        let mut effects = Effects::default();
        for field in Fields::new(self.0) {
            match field? {
                (3, changes) => effects.changes = changes.varint()?,
                (4, rowid) => effects.last_insert_rowid = Some(rowid.signed()?),
                (5, index) => effects.index = Some(index.varint()?),
                _ => {}
            }
        }
        Ok(effects)
    }

    /// The columns and rows.
    pub(crate) fn rows(self, sizes: Sizes) -> Result<(Vec<Column>, Rows), Unusable> {
        let columns = self.columns()?;
        let mut rows = Rows::with_capacity(0);
        for field in Fields::new(self.0) {
            if let (2, row) = field? {
                read_row(row.bytes()?, columns.len(), &mut rows, 0, sizes)?;
            }
        }
        Ok((columns, rows))
    }
}

pub(crate) fn read_column(message: &[u8]) -> Wire<Column> {
    let mut column = Column {
        name: String::new(),
        declared_type: None,
    };
    for field in Fields::new(message) {
        match field? {
            (1, name) => column.name = name.text()?.to_owned(),
            (2, declared) => column.declared_type = Some(declared.text()?.to_owned()),
            _ => {}
        }
    }
    Ok(column)
}

/// Append a row to `rows`, of which those since `before` bytes may not exceed a result.
pub(crate) fn read_row(
    message: &[u8],
    width: usize,
    rows: &mut Rows,
    before: u64,
    sizes: Sizes,
) -> Result<(), Unusable> {
    // Before any is appended: rows of different widths would be no rows.
    let values = || Fields::new(message).filter(|field| !matches!(field, Ok((2.., _))));
    if width == 0 || values().count() != width {
        return Err(Unusable::Malformed("a row is not as wide as its columns"));
    }
    rows.start_row(width);
    for (column, field) in values().enumerate() {
        let value = read_value(field?.1.bytes()?)?;
        if value.length() > sizes.value {
            return Err(Unusable::TooLarge(format!(
                "the value in column {} has {} bytes, and {} at most are told at once: read it in \
                 parts, with `substr`",
                column + 1,
                value.length(),
                sizes.value
            )));
        }
        if rows.size() - before + value.size() > sizes.result {
            return Err(Unusable::TooLarge(format!(
                "the result is larger than {} bytes: select less at a time",
                sizes.result
            )));
        }
        rows.push_raw(value, column).map_err(Unusable::Refused)?;
    }
    Ok(())
}

fn read_value(message: &[u8]) -> Wire<RawValue<'_>> {
    let mut value = Err(Malformed("a value is empty"));
    for field in Fields::new(message) {
        value = Ok(match field? {
            (1, _) => RawValue::Null,
            (2, integer) => RawValue::Integer(integer.signed()?),
            (3, real) => RawValue::Real(real.double()?),
            (4, text) => RawValue::Text(text.bytes()?),
            (5, blob) => RawValue::Blob(blob.bytes()?),
            _ => continue,
        });
    }
    value
}

fn read_description(message: &[u8]) -> Wire<Description> {
    let mut description = Description {
        columns: Vec::new(),
        parameter_names: Vec::new(),
        read_only: false,
    };
    let named = |message: Field<'_>| -> Wire<Option<String>> {
        let mut name = None;
        for field in Fields::new(message.bytes()?) {
            if let (1, text) = field? {
                name = Some(text.text()?.to_owned());
            }
        }
        Ok(name)
    };
    for field in Fields::new(message) {
        match field? {
            (1, parameter) => {
                let name = named(parameter)?;
                let bare = |name: String| name.trim_start_matches([':', '@', '$', '?']).to_owned();
                description.parameter_names.push(name.map(bare));
            }
            (2, column) => description.columns.push(read_column(column.bytes()?)?),
            // An `EXPLAIN`, which the server describes by what it explains; and what reads only.
            (3 | 4, flag) => description.read_only |= flag.varint()? != 0,
            _ => {}
        }
    }
    Ok(description)
}
