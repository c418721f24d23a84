//! Whether a program may outlast its deadline: what it is made of, instruction by instruction.
//!
//! SQLite looks at the deadline where a program jumps back, and what allocates or reads a page is
//! stopped as well (see [`watchdog`](crate::deadline::watchdog)). What is left, if there is enough of
//! it in one program, is run [aside](millpond_pool::engine::Stop::Aside), at once or when it turns out
//! that there is much to do:
//!
//! - long values that are used again and again. One that is read from a table or a parameter is
//!   refused once the time is over, one that is in a register already is not: `SELECT 1 IN (x+0,
//!   x+0, …) FROM (SELECT ?1 AS x)` reads a number out of a megabyte of digits as often as it
//!   stands in the text;
//! - functions that take long for one value, such as those of JSON, each of whose paths can go
//!   through the whole text;
//! - sets of rowids, which are sorted in one instruction;
//! - very many instructions.
//!
//! What full-text search does is in no program: it is looked at as it happens (see
//! [`Watch`](crate::deadline::Watch)).

use std::collections::{HashMap, HashSet};

use millpond_pool::engine::RawValue;
use rusqlite::Connection;

use crate::error::{ErrorKind, Result};
use crate::ffi::memory::LARGE;
use crate::ffi::statement::{RawStatement, Step};
use crate::limits::MAX_ARGUMENTS;
use crate::text::SqlText;

/// A program that takes less memory, in bytes, and calls no slow function, is too short to use
/// anything often.
const SHORT_PROGRAM: u32 = LARGE as u32;
/// How long a program may calculate with values of a megabyte, in milliseconds, where the call was
/// made; and aside, so that an abandoned call ends within a few seconds. A program that does more
/// may only handle shorter values.
const FREE_COST: u64 = 32;
const MAX_COST: u64 = 2_000;
/// The most milliseconds that it takes to use a value of a megabyte again, to read a number out of
/// one for a column, to pass one to a virtual table, to follow a path of JSON, to lay JSON out, and
/// to format a date.
const USE_COST: u64 = 1;
const NUMBER_COST: u64 = 3;
const LOOKUP_COST: u64 = 64;
const JSON_COST: u64 = 8;
/// To merge two objects of JSON takes time with the product of their lengths: with values of 2 KB,
/// which this allows where the call was made, as little as anything else, and aside, with 128 KB, a
/// second.
const PATCH_COST: u64 = 16_000;
const PRETTY_COST: u64 = 80;
const FORMAT_COST: u64 = 80;
/// How many instructions there may be.
const FREE_INSTRUCTIONS: u64 = 2_000;

/// How to run a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// It is to run aside.
    pub(crate) aside: bool,
    /// It reads, and sorts rows as it does: aside, if there are many.
    pub(crate) sorts_rows: bool,
    /// It uses a virtual table, which does what it likes.
    pub(crate) is_virtual: bool,
    /// The longest value that it may handle where the call was made, and aside, in bytes; `None`
    /// where the pool's limit will do.
    pub(crate) brief_length: Option<u32>,
    pub(crate) max_length: Option<u32>,
}

impl Look {
    /// Of what is better run aside, whatever it is.
    pub(crate) const ASIDE: Look = Look {
        aside: true,
        sorts_rows: false,
        is_virtual: false,
        brief_length: None,
        max_length: None,
    };
}

/// Look at a compiled statement. `sql` is its text; `may_be_slow` says that it may have
/// instructions that take long by themselves; `is_short`, that its program
/// never grew to [`SHORT_PROGRAM`] bytes, which is known at less cost than how long it is.
pub(crate) fn look(
    conn: &Connection,
    raw: &RawStatement,
    sql: &str,
    may_be_slow: bool,
    is_short: bool,
) -> Result<Look> {
    let is_short = is_short || raw.memory_used() < SHORT_PROGRAM;
    if raw.is_explain() || (is_short && !may_be_slow) {
        return Ok(Look::default());
    }
    let program = match Program::of(conn, sql) {
        Ok(Some(program)) => program,
        Ok(None) => return Ok(Look::default()),
        // It was as long as a statement may be: as if it used one value all the time.
        Err(error) if error.kind() == ErrorKind::TooLarge => {
            return Ok(Look {
                max_length: longest(MAX_COST, sql.len() as u64),
                ..Look::ASIDE
            });
        }
        Err(error) => return Err(error),
    };
    Ok(Look {
        aside: program.instructions > FREE_INSTRUCTIONS
            || program.changes_schema
            || (program.sorts_rows && !raw.is_read_only()),
        sorts_rows: program.sorts_rows,
        is_virtual: program.is_virtual,
        brief_length: longest(FREE_COST, program.cost()),
        max_length: longest(MAX_COST, program.cost()),
    })
}

/// How long the values may be that a program meets, if it takes them as they are and makes no long
/// ones by itself: what it handles is then no longer than what is there already.
pub(crate) fn longest_moved(conn: &Connection, raw: &RawStatement) -> Result<Option<u32>> {
    if raw.is_explain() {
        return Ok(None);
    }
    let program = match Program::of(conn, &raw.sql())? {
        Some(program) if !program.makes_values && !program.is_virtual => program,
        _ => return Ok(None),
    };
    Ok(Some(longest(MAX_COST, program.cost()).unwrap_or(u32::MAX)))
}

/// Whether a statement that failed may have kept a part of what it did. SQLite undoes all of it, but
/// only where it has kept a journal of the statement: it does so for what it takes to be able to
/// fail (`sqlite3MayAbort` in its source), which is not everything that does. A value that becomes
/// too long is not, nor one that a `STRICT` table refuses. `has_changed` says whether it has changed a
/// row that SQLite tells of.
pub(crate) fn may_keep_part(conn: &Connection, sql: &str, has_changed: bool) -> bool {
    match Program::of(conn, sql) {
        Ok(Some(program)) => {
            let may_have_changed = has_changed || program.runs_triggers || !program.has_rowids;
            !program.is_undone && program.repeats && may_have_changed
        }
        // It does not compile any more, and so it has not begun: a table that it names is gone.
        Err(error) if error.kind() == ErrorKind::Sql => has_changed,
        _ => true,
    }
}

/// How long values may be, so that what takes `cost` milliseconds for those of a megabyte takes
/// `most`.
fn longest(most: u64, cost: u64) -> Option<u32> {
    let length = most * (1 << 20) / cost.max(1);
    u32::try_from(length).ok().filter(|_| cost > most)
}

/// Where a comparison says what it makes of its values first, and from where on that is numbers
/// (`SQLITE_AFF_MASK` and `SQLITE_AFF_NUMERIC` in SQLite's source).
const AFFINITY: i64 = 0x47;
const NUMERIC: i64 = 0x43;

/// See <https://sqlite.org/opcode.html>.
struct Instruction<'a> {
    address: i64,
    opcode: &'a [u8],
    p: [i64; 3],
    p4: &'a [u8],
    p5: i64,
}

impl Instruction<'_> {
    /// As `sqlite3VdbeAssertMayAbort` in SQLite's source has it.
    fn may_abort(&self) -> bool {
        /// `OE_Abort`.
        const ABORT: i64 = 2;
        match self.opcode {
            b"Destroy" | b"VUpdate" | b"VRename" | b"VDestroy" | b"VCreate" | b"ParseSchema"
            | b"Function" | b"PureFunc" => true,
            b"Halt" | b"HaltIfNull" => self.p[0] != 0 && self.p[1] == ABORT,
            b"MustBeInt" => self.p[1] == 0,
            _ => false,
        }
    }

    fn repeats(&self) -> bool {
        matches!(
            self.opcode,
            b"Next" | b"Prev" | b"VNext" | b"SorterNext" | b"RowSetRead" | b"Yield" | b"Program"
        )
    }

    fn makes_values(&self) -> bool {
        /// What makes something short of a long value, or takes a part of one.
        const FUNCTIONS: &[&[u8]] = &[
            b"count",
            b"instr",
            b"length",
            b"likelihood",
            b"likely",
            b"max",
            b"min",
            b"octet_length",
            b"substr",
            b"substring",
            b"typeof",
            b"unicode",
            b"unlikely",
        ];
        match self.opcode {
            b"Concat" | b"VColumn" => true,
            b"Function" | b"PureFunc" | b"AggStep" | b"AggStep1" => {
                let name = self.p4.split(|byte| *byte == b'(').next();
                !FUNCTIONS.contains(&name.unwrap_or_default())
            }
            _ => false,
        }
    }
}

/// What is known of a program, as far as it has been read.
#[derive(Debug, Default)]
struct Program {
    instructions: u64,
    /// It runs other statements.
    changes_schema: bool,
    /// It uses sets of rowids.
    sorts_rows: bool,
    is_virtual: bool,
    /// It makes values that may be longer than those it is given.
    makes_values: bool,
    /// SQLite keeps a journal of it, if it changes more than one row.
    is_undone: bool,
    /// It may change more than one row.
    repeats: bool,
    runs_triggers: bool,
    /// It writes a table with rowids.
    has_rowids: bool,
    /// How long it takes with values of a megabyte, in milliseconds.
    cost: u64,
    /// The first argument's register of each function that takes any number of them, and what one
    /// costs.
    variadic: Vec<(i64, u64)>,
    /// Every register that is written, and those that hold a number or nothing now.
    written: HashSet<i64>,
    numbers: HashSet<i64>,
    /// The register that a copy was made of, and how often each was used since it was written.
    copies: HashMap<i64, i64>,
    uses: HashMap<i64, u64>,
}

impl Program {
    /// That of the statement `sql`, or `None` where there is none.
    fn of(conn: &Connection, sql: &str) -> Result<Option<Program>> {
        let explain = format!("EXPLAIN {sql}");
        let text = SqlText::new(&explain)?;
        let (Some(mut listing), _) = RawStatement::prepare(conn, &text, 0)? else {
            return Ok(None);
        };
        let mut program = Program::default();
        while listing.step(conn)? == Step::Row {
            let number = |column| match listing.column(column) {
                RawValue::Integer(number) => number,
                _ => 0,
            };
            let text = |column| match listing.column(column) {
                RawValue::Text(text) => text,
                _ => &[],
            };
            program.read(&Instruction {
                address: number(0),
                opcode: text(1),
                p: [number(2), number(3), number(4)],
                p4: text(5),
                p5: number(6),
            });
        }
        Ok(Some(program))
    }

    fn read(&mut self, instruction: &Instruction<'_>) {
        let Instruction {
            p: [p1, p2, p3], ..
        } = *instruction;
        self.instructions += 1;
        self.makes_values |= instruction.makes_values();
        self.is_undone |= instruction.may_abort();
        self.repeats |= instruction.repeats();
        self.runs_triggers |= instruction.opcode == b"Program";
        self.has_rowids |= matches!(instruction.opcode, b"Insert" | b"Delete");
        if instruction.address == 0 {
            // The program of a trigger has registers of its own.
            self.copies.clear();
            self.uses.clear();
            self.numbers.clear();
        }
        match instruction.opcode {
            b"Add" | b"Subtract" | b"Multiply" | b"Divide" | b"Remainder" | b"BitAnd"
            | b"BitOr" | b"ShiftLeft" | b"ShiftRight" | b"And" | b"Or" | b"Concat" => {
                self.use_value(p1, 1);
                self.use_value(p2, 1);
                self.write(p3);
            }
            b"Not" | b"BitNot" | b"IsTrue" => {
                self.use_value(p1, 1);
                self.write(p2);
            }
            b"Cast" => {
                self.use_value(p1, 1);
                self.write(p1);
            }
            b"If" | b"IfNot" | b"MustBeInt" => self.use_value(p1, 1),
            b"Eq" | b"Ne" | b"Lt" | b"Le" | b"Gt" | b"Ge" => {
                // Bytes are compared quickly, and mostly differ soon.
                let numeric = instruction.p5 & AFFINITY >= NUMERIC;
                if numeric || !instruction.p4.starts_with(b"BINARY") {
                    self.use_value(p1, 1);
                    self.use_value(p3, 1);
                }
            }
            b"Compare" => (0..p3).for_each(|at| {
                self.use_value(p1 + at, 1);
                self.use_value(p2 + at, 1);
            }),
            b"Affinity" | b"TypeCheck" => self.convert(p1, p2, instruction.p4),
            b"MakeRecord" => {
                // Without affinities it takes values as they are.
                if !instruction.p4.is_empty() {
                    self.convert(p1, p2, instruction.p4);
                }
                self.write(p3);
            }
            b"Function" | b"PureFunc" => {
                // Its name, and in parentheses how many arguments it has.
                let name = String::from_utf8_lossy(instruction.p4);
                let (name, count) = name.split_once('(').unwrap_or((&name, ""));
                let count = count.trim_end_matches(')').parse().unwrap_or(0);
                self.cost += match name {
                    "json_pretty" => PRETTY_COST,
                    "json_patch" | "jsonb_patch" => PATCH_COST,
                    "strftime" => FORMAT_COST,
                    _ if name.starts_with("json") || name.starts_with("->") => {
                        if count < 0 {
                            self.variadic.push((p2, JSON_COST));
                        }
                        JSON_COST * u64::try_from(count).unwrap_or(0)
                    }
                    _ => {
                        if count < 0 {
                            self.variadic.push((p2, 2 * USE_COST));
                        }
                        0
                    }
                };
                (0..count).for_each(|at| self.use_value(p2 + at, 2));
                self.write(p3);
            }
            b"AggStep" | b"AggStep1" | b"AggInverse" => {
                (0..instruction.p5).for_each(|at| self.use_value(p2 + at, 2));
            }
            // What a trigger is given, which it can ask for again and again.
            b"Param" => self.copy(-1 - p1, p2),
            b"SCopy" => self.copy(p1, p2),
            b"Copy" => (0..=p3).for_each(|at| self.copy(p1 + at, p2 + at)),
            b"Move" => (0..p3).for_each(|at| self.copy(p1 + at, p2 + at)),
            b"Column" | b"VColumn" | b"AggValue" | b"Offset" => self.write(p3),
            b"Integer" | b"Int64" | b"Real" | b"Rowid" | b"NewRowid" | b"Sequence" | b"Count"
            | b"String8" => {
                self.write(p2);
                // A text of the statement's own is short.
                self.numbers.insert(p2);
            }
            b"Variable" | b"String" | b"Blob" | b"RowData" | b"SorterData" => self.write(p2),
            b"Null" => (p2..=p3.max(p2)).for_each(|register| {
                self.write(register);
                self.numbers.insert(register);
            }),
            b"AggFinal" => self.write(p1),
            b"RowSetAdd" | b"RowSetTest" | b"RowSetRead" => self.sorts_rows = true,
            b"VFilter" => {
                self.is_virtual = true;
                self.cost += LOOKUP_COST;
            }
            b"VUpdate" => self.is_virtual = true,
            b"VCreate" | b"VDestroy" | b"VRename" | b"SqlExec" => self.changes_schema = true,
            _ => {}
        }
    }

    /// Each column of a row becomes what its table or index has, of which `affinities` has a letter
    /// for each. To make a number of a text takes reading it.
    fn convert(&mut self, first: i64, count: i64, affinities: &[u8]) {
        /// `SQLITE_AFF_NUMERIC` and those after it, in SQLite's source.
        const NUMBERS: &[u8] = b"CDE";
        let are_known = affinities.len() as i64 == count;
        for (at, register) in (first..first + count).enumerate() {
            let becomes_number = !are_known || NUMBERS.contains(&affinities[at]);
            if becomes_number && !self.numbers.contains(&self.original(register)) {
                self.cost += NUMBER_COST;
            }
        }
    }

    fn original(&self, register: i64) -> i64 {
        self.copies.get(&register).copied().unwrap_or(register)
    }

    fn use_value(&mut self, register: i64, weight: u64) {
        let register = self.original(register);
        let uses = self.uses.entry(register).or_default();
        *uses += 1;
        if *uses > 1 {
            self.cost += USE_COST * weight;
        }
    }

    /// How long it takes at the most. A function's arguments are in registers that follow each
    /// other, which are all that the listing tells of those that take any number.
    fn cost(&self) -> u64 {
        let arguments = self.variadic.iter().map(|(first, cost)| {
            let written = (*first..).take_while(|register| self.written.contains(register));
            cost * written.take(MAX_ARGUMENTS).count() as u64
        });
        self.cost + arguments.sum::<u64>()
    }

    fn write(&mut self, register: i64) {
        self.written.insert(register);
        self.numbers.remove(&register);
        self.copies.remove(&register);
        self.uses.remove(&register);
    }

    fn copy(&mut self, from: i64, to: i64) {
        self.written.insert(to);
        self.numbers.remove(&to);
        let from = self.original(from);
        self.uses.remove(&to);
        self.copies.insert(to, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Look {
        let conn = Connection::open_in_memory().expect("a connection");
        let columns: Vec<_> = (0..60).map(|at| format!("c{at} INTEGER")).collect();
        let table = format!("CREATE TABLE t({}, body TEXT)", columns.join(","));
        let indexes: String = (0..40)
            .map(|at| format!("CREATE INDEX i{at} ON wide(a, b, c, body);"))
            .collect();
        let wide = format!("CREATE TABLE wide(a INTEGER, b INTEGER, c, d, body TEXT); {indexes}");
        let others = "CREATE VIRTUAL TABLE f USING fts5(x);
             CREATE TABLE parent(id INTEGER PRIMARY KEY, a, b);
             CREATE INDEX parent_a ON parent(a); CREATE INDEX parent_b ON parent(b);
             CREATE TABLE logged(id INTEGER PRIMARY KEY, body);
             CREATE TRIGGER logs AFTER INSERT ON logged BEGIN INSERT INTO f VALUES (new.body); END;
             CREATE TRIGGER deletes AFTER DELETE ON logged BEGIN DELETE FROM wide; END";
        conn.execute_batch(&format!("{table}; {wide}; {others}"))
            .expect("tables");
        let text = SqlText::new(sql).expect("a text");
        let (raw, _) = RawStatement::prepare(&conn, &text, 0).expect("a statement");
        look(&conn, &raw.expect("one"), sql, true, false).expect("explained")
    }

    #[test]
    fn what_sqlite_may_not_stop_is_run_aside() {
        let times = |count, what: &str| vec![what; count].join(",");
        for sql in [
            "SELECT 1",
            "SELECT * FROM t WHERE c1 = ?1 AND c2 > ?2 ORDER BY c3, body",
            "SELECT count(*), sum(c1), max(body) FROM t GROUP BY c2",
            "SELECT body ->> 'a', body ->> 'b' FROM t",
            "DELETE FROM parent WHERE id = ?1",
            "DELETE FROM wide WHERE a = ?1",
            "UPDATE parent SET a = a + 1 WHERE b = ?1",
            &format!("SELECT {} FROM t", times(90, "body + c1")),
            &format!(
                "SELECT CASE body {} END, body FROM t",
                "WHEN 'one' THEN 1 ".repeat(200)
            ),
            &format!("INSERT INTO wide VALUES ({})", times(5, "?")),
        ] {
            assert_eq!(of(sql), Look::default(), "{sql}");
        }
        let list = of(&format!(
            "SELECT * FROM t WHERE c1 IN ({})",
            times(300, "?")
        ));
        assert!(!list.aside, "{list:?}");
        let all = of("DELETE FROM logged");
        assert!(all.aside && all.sorts_rows);
        let union = of("SELECT * FROM parent WHERE a = 1 OR b = 1");
        assert!(!union.aside && union.sorts_rows);
        assert!(
            of(&format!(
                "SELECT * FROM t WHERE c1 IN ({})",
                times(3_000, "?")
            ))
            .aside
        );
    }

    #[test]
    fn what_takes_long_for_long_values_is_given_short_ones() {
        let times = |count, what: &str| vec![what; count].join(",");
        let cell = "(SELECT ?1 AS x)";
        for (sql, brief, is_bounded) in [
            (
                format!("SELECT 1 IN ({}) FROM {cell}", times(1_000, "x + 0")),
                40_000,
                true,
            ),
            (
                format!("SELECT {} FROM {cell}", times(900, "length(x)")),
                40_000,
                false,
            ),
            (
                format!("SELECT json_extract(body, {}) FROM t", times(15, "'$.a'")),
                1 << 18,
                false,
            ),
            ("SELECT strftime(body) FROM t".to_owned(), 1 << 19, false),
        ] {
            let look = of(&sql);
            let shortened = look.brief_length.is_some_and(|length| length <= brief);
            assert!(shortened, "{look:?}: {sql}");
            assert_eq!(look.max_length.is_some(), is_bounded, "{look:?}: {sql}");
        }
    }
}
