//! What is sent: requests of a stream, the statements in them, and the conditions between those.

use millpond_pool::engine::RawValue;

use super::wire::Writer;

// Of `StreamRequest`.
const CLOSE: u64 = 1;
const EXECUTE: u64 = 2;
const BATCH: u64 = 3;
const DESCRIBE: u64 = 5;
const STORE_SQL: u64 = 6;
const CLOSE_SQL: u64 = 7;
const GET_AUTOCOMMIT: u64 = 8;

/// Asks for the number of the database's state, which a batch does not tell in this encoding. It
/// reads, but a replica sends it on to its primary, as it does with most pragmas.
pub(crate) const ASK_INDEX: &str = "PRAGMA user_version";

/// The requests of one round trip, without the baton, which is put before them as they are sent.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    body: Writer,
    /// The database's state that the server must have seen.
    index: Option<u64>,
}

impl Pipeline {
    /// Requests that see what was written up to `index`, where there is one.
    pub(crate) fn new(index: Option<u64>) -> Pipeline {
        Pipeline {
            body: Writer::default(),
            index,
        }
    }

    fn request(&mut self, kind: u64, write: impl FnOnce(&mut Writer)) {
        self.body.message(2, |request| request.message(kind, write));
    }

    /// Run one statement.
    pub(crate) fn execute(&mut self, statement: &Stmt<'_>) -> &mut Pipeline {
        let index = self.index;
        self.request(EXECUTE, |execute| {
            execute.message(1, |stmt| statement.write(stmt, index));
        });
        self
    }

    /// Run several, each under its condition.
    pub(crate) fn batch(&mut self, write: impl FnOnce(&mut Batch<'_>)) -> &mut Pipeline {
        let index = self.index;
        self.request(BATCH, |batch| {
            batch.message(1, |writer| write_batch(writer, index, write));
        });
        self
    }

    /// Whether the stream is outside of any transaction.
    pub(crate) fn get_autocommit(&mut self) -> &mut Pipeline {
        self.request(GET_AUTOCOMMIT, |_| {});
        self
    }

    /// What a statement is.
    pub(crate) fn describe(&mut self, sql: &str) -> &mut Pipeline {
        let index = self.index;
        self.request(DESCRIBE, |describe| {
            describe.bytes(1, sql.as_bytes());
            if let Some(index) = index {
                describe.varint(3, index);
            }
        });
        self
    }

    /// Keep a text in the stream, to be named by its number.
    pub(crate) fn store_sql(&mut self, number: u32, sql: &str) -> &mut Pipeline {
        self.request(STORE_SQL, |store| {
            store.varint(1, number.into());
            store.bytes(2, sql.as_bytes());
        });
        self
    }

    /// Forget it again.
    pub(crate) fn close_sql(&mut self, number: u32) -> &mut Pipeline {
        self.request(CLOSE_SQL, |close| close.varint(1, number.into()));
        self
    }

    /// Close the stream.
    pub(crate) fn close(&mut self) -> &mut Pipeline {
        self.request(CLOSE, |_| {});
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.body.into_bytes()
    }
}

/// The batch of a cursor, without the baton.
pub(crate) fn cursor(index: Option<u64>, write: impl FnOnce(&mut Batch<'_>)) -> Vec<u8> {
    let mut body = Writer::default();
    body.message(2, |batch| write_batch(batch, index, write));
    body.into_bytes()
}

/// The baton of either: the fields of a message may come in any order.
pub(crate) fn baton(baton: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.bytes(1, baton.as_bytes());
    body.into_bytes()
}

fn write_batch(writer: &mut Writer, index: Option<u64>, write: impl FnOnce(&mut Batch<'_>)) {
    if let Some(index) = index {
        writer.varint(2, index);
    }
    write(&mut Batch { writer, steps: 0 });
}

/// The text of a statement, or the number under which the stream has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text<'a> {
    Sql(&'a str),
    Stored(u32),
}

/// A statement with its values.
#[derive(Debug)]
pub(crate) struct Stmt<'a> {
    text: Text<'a>,
    /// In the order of the parameters.
    values: &'a [RawValue<'a>],
    /// The parameters' names, where they have some.
    names: Option<&'a [Option<&'a str>]>,
    want_rows: bool,
}

impl<'a> Stmt<'a> {
    /// A statement without parameters, whose rows are not wanted.
    pub(crate) fn plain(sql: &'a str) -> Stmt<'a> {
        Stmt {
            text: Text::Sql(sql),
            values: &[],
            names: None,
            want_rows: false,
        }
    }

    pub(crate) fn new(
        text: Text<'a>,
        names: Option<&'a [Option<&'a str>]>,
        values: &'a [RawValue<'a>],
        want_rows: bool,
    ) -> Stmt<'a> {
        Stmt {
            text,
            values,
            names,
            want_rows,
        }
    }

    fn write(&self, writer: &mut Writer, index: Option<u64>) {
        match self.text {
            Text::Sql(sql) => writer.bytes(1, sql.as_bytes()),
            Text::Stored(number) => writer.varint(2, number.into()),
        }
        for (index, value) in self.values.iter().enumerate() {
            let name = self
                .names
                .and_then(|names| names.get(index).copied().flatten());
            match name {
                Some(name) => writer.message(4, |argument| {
                    argument.bytes(1, name.as_bytes());
                    write_value(argument, 2, *value);
                }),
                None => write_value(writer, 3, *value),
            }
        }
        writer.varint(5, self.want_rows.into());
        if let Some(index) = index {
            writer.varint(6, index);
        }
    }
}

fn write_value(writer: &mut Writer, field: u64, value: RawValue<'_>) {
    writer.message(field, |writer| match value {
        RawValue::Null => writer.bytes(1, &[]),
        RawValue::Integer(value) => writer.signed(2, value),
        RawValue::Real(value) => writer.double(3, value),
        RawValue::Text(value) => writer.bytes(4, value),
        RawValue::Blob(value) => writer.bytes(5, value),
    });
}

/// When a step of a batch runs.
///
/// Not among them is the protocol's `error`, which servers take to be true of a step that did not
/// run at all, against the specification.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// That step, counted from 0, has succeeded.
    Ok(u32),
    /// The stream is outside of any transaction.
    Autocommit,
    Not(Box<Condition>),
    And(Vec<Condition>),
}

impl Condition {
    /// The stream is in a transaction.
    pub(crate) fn in_transaction() -> Condition {
        Condition::Not(Box::new(Condition::Autocommit))
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Condition::Ok(step) => writer.varint(1, (*step).into()),
            Condition::Autocommit => writer.message(6, |_| {}),
            Condition::Not(condition) => writer.message(3, |inner| condition.write(inner)),
            Condition::And(conditions) => writer.message(4, |list| {
                for condition in conditions {
                    list.message(1, |inner| condition.write(inner));
                }
            }),
        }
    }
}

/// Steps, one after the other.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    writer: &'a mut Writer,
    steps: u32,
}

impl Batch<'_> {
    /// Add a step. Returns its number.
    pub(crate) fn step(&mut self, condition: Option<Condition>, statement: &Stmt<'_>) -> u32 {
        self.writer.message(1, |step| {
            if let Some(condition) = condition {
                step.message(1, |writer| condition.write(writer));
            }
            step.message(2, |stmt| statement.write(stmt, None));
        });
        self.steps += 1;
        self.steps - 1
    }

    /// How many steps there are.
    pub(crate) fn len(&self) -> u32 {
        self.steps
    }

    /// How many bytes the whole pipeline has so far.
    pub(crate) fn bytes(&self) -> usize {
        self.writer.len()
    }
}
