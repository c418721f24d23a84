//! Predicts whether a program may overrun its deadline, from its instructions.
//!
//! SQLite checks the deadline where a program jumps back, and the watchdog stops anything that
//! allocates or reads a page (see [`watchdog`](crate::deadline::watchdog)). If a program contains
//! enough of the following, which neither stops, it runs on the connection's own thread, at once or
//! when it turns out that there is much to do:
//!
//! - reusing long values. A value read from a table or a parameter is refused once the time is
//!   over, but not one already in a register: `SELECT 1 IN (x+0, x+0, …) FROM (SELECT ?1 AS x)`
//!   parses a number out of a megabyte of digits each time it occurs in the text;
//! - functions that take long for one value, such as those of JSON, which may scan the whole text
//!   for each path;
//! - sets of rowids, which are sorted in one instruction;
//! - very many instructions.
//!
//! A program does not show what full-text search does: that is checked while it runs (see
//! [`Watch`](crate::deadline::Watch)).

use std::collections::{HashMap, HashSet};

use millpond_pool::engine::RawValue;
use rusqlite::Connection;

use crate::error::{ErrorKind, Result};
use crate::ffi::memory::LARGE;
use crate::ffi::statement::{RawStatement, Step};
use crate::limits::MAX_ARGUMENTS;
use crate::text::SqlText;

/// A program that uses less memory than this, in bytes, and calls no slow function, is too short to
/// reuse a value often.
const SHORT_PROGRAM: u32 = LARGE as u32;
/// The maximum cost, in milliseconds for values of a megabyte, of a program on the caller's thread.
/// A program that costs more may only handle shorter values there. Four times this, on a slow and
/// busy machine, still ends within the 50 ms that a statement may be late.
const FREE_COST: u64 = 10;
/// The same on the connection's own thread, where an abandoned call then ends within a few seconds.
const MAX_COST: u64 = 2_000;
/// The maximum cost, in milliseconds, of reusing a value of a megabyte, converting one to a number
/// for a column, passing one to a virtual table, following a JSON path, formatting JSON, and
/// formatting a date.
const USE_COST: u64 = 1;
const NUMBER_COST: u64 = 3;
const LOOKUP_COST: u64 = 64;
const JSON_COST: u64 = 8;
/// Merging two JSON objects takes time proportional to the product of their lengths: this cost
/// allows values of 2 KB on the caller's thread, and of 128 KB, which take a second, on the
/// connection's own.
const PATCH_COST: u64 = 16_000;
const PRETTY_COST: u64 = 80;
const FORMAT_COST: u64 = 80;
/// The maximum number of instructions on the caller's thread.
const FREE_INSTRUCTIONS: u64 = 2_000;

/// How to run a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Run it on the connection's own thread.
    pub(crate) aside: bool,
    /// It reads and sorts rows: run it on the connection's own thread if there are many.
    pub(crate) sorts_rows: bool,
    /// It uses a virtual table, whose work is unpredictable.
    pub(crate) is_virtual: bool,
    /// The maximum length of values that it may handle on the caller's thread, and on the
    /// connection's own, in bytes; `None` if the pool's limit suffices.
    pub(crate) brief_length: Option<u32>,
    pub(crate) max_length: Option<u32>,
}

impl Look {
    /// For programs that always run on the connection's own thread.
    pub(crate) const ASIDE: Look = Look {
        aside: true,
        sorts_rows: false,
        is_virtual: false,
        brief_length: None,
        max_length: None,
    };
}

/// Inspect a compiled statement. `sql` is its text. `may_be_slow` says that it may have
/// instructions that take long by themselves. `is_short` says that its program never grew to
/// [`SHORT_PROGRAM`] bytes, which is cheaper to know than its length.
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
    look_bound(conn, raw, sql, |_| Ok(()))
}

/// Inspect the program to which SQLite compiles a statement if its parameters have the values that
/// `bind` binds: it compiles some statements again for other values, such as the maximum number of
/// rows (<https://sqlite.org/c3ref/prepare.html>).
pub(crate) fn look_bound(
    conn: &Connection,
    raw: &RawStatement,
    sql: &str,
    bind: impl FnOnce(&mut RawStatement) -> Result<()>,
) -> Result<Look> {
    let program = match Program::bound(conn, sql, bind) {
        Ok(Some(program)) => program,
        Ok(None) => return Ok(Look::default()),
        // It was as long as a statement may be: assume that it reuses one value all the time.
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

/// How long the values that a program meets may be, if it creates no long ones itself: everything
/// it handles is then no longer than what is already stored.
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

/// Whether a failed statement may have kept a part of its changes. SQLite undoes all of them, but
/// only if it kept a statement journal, which it does for programs that it considers able to fail
/// (`sqlite3MayAbort` in its source). That misses some, such as a value that becomes too long or
/// that a `STRICT` table refuses. `has_changed` says whether the statement has changed a row that
/// SQLite counts.
pub(crate) fn may_keep_part(conn: &Connection, sql: &str, has_changed: bool) -> bool {
    match Program::of(conn, sql) {
        Ok(Some(program)) => {
            let may_have_changed = has_changed || program.runs_triggers || !program.has_rowids;
            !program.is_undone && program.repeats && may_have_changed
        }
        // It no longer compiles, so it has not started: a table that it names is gone.
        Err(error) if error.kind() == ErrorKind::Sql => has_changed,
        _ => true,
    }
}

/// The maximum length of values for which a program costs at most `most`, if it costs `cost` for
/// values of a megabyte.
fn longest(most: u64, cost: u64) -> Option<u32> {
    let length = most * (1 << 20) / cost.max(1);
    u32::try_from(length).ok().filter(|_| cost > most)
}

/// The mask for a comparison's affinity in its flags, and the first numeric affinity
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
    /// The same rule as `sqlite3VdbeAssertMayAbort` in SQLite's source.
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
        /// Functions that turn a long value into a short one, or take a part of it.
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

/// What is known of a program so far.
#[derive(Debug, Default)]
struct Program {
    instructions: u64,
    /// It runs other statements.
    changes_schema: bool,
    /// It uses sets of rowids.
    sorts_rows: bool,
    is_virtual: bool,
    /// It creates values that may be longer than its inputs.
    makes_values: bool,
    /// SQLite keeps a statement journal, if it changes more than one row.
    is_undone: bool,
    /// It may change more than one row.
    repeats: bool,
    runs_triggers: bool,
    /// It writes a table with rowids.
    has_rowids: bool,
    /// Its cost for values of a megabyte, in milliseconds.
    cost: u64,
    /// For each variadic function, the register of its first argument, and the cost of one
    /// argument.
    variadic: Vec<(i64, u64)>,
    /// Every register that is written, and those that now hold a number or null.
    written: HashSet<i64>,
    numbers: HashSet<i64>,
    /// For a copy, the register of the original; and how often each was used since it was written.
    copies: HashMap<i64, i64>,
    uses: HashMap<i64, u64>,
}

impl Program {
    /// Inspect the program of the statement `sql`; `None` if there is none.
    fn of(conn: &Connection, sql: &str) -> Result<Option<Program>> {
        Program::bound(conn, sql, |_| Ok(()))
    }

    /// The same with the values of its parameters.
    fn bound(
        conn: &Connection,
        sql: &str,
        bind: impl FnOnce(&mut RawStatement) -> Result<()>,
    ) -> Result<Option<Program>> {
        let explain = format!("EXPLAIN {sql}");
        let text = SqlText::new(&explain)?;
        let (Some(mut listing), _) = RawStatement::prepare(conn, &text, 0)? else {
            return Ok(None);
        };
        bind(&mut listing)?;
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
            // A trigger's program has its own registers.
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
                // Comparing bytes is fast, and they usually differ early.
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
                // Without affinities it takes values unchanged.
                if !instruction.p4.is_empty() {
                    self.convert(p1, p2, instruction.p4);
                }
                self.write(p3);
            }
            b"Function" | b"PureFunc" => {
                // The name, with the number of arguments in parentheses.
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
            // A trigger's input, which it can read again and again.
            b"Param" => self.copy(-1 - p1, p2),
            b"SCopy" => self.copy(p1, p2),
            b"Copy" => (0..=p3).for_each(|at| self.copy(p1 + at, p2 + at)),
            b"Move" => (0..p3).for_each(|at| self.copy(p1 + at, p2 + at)),
            b"Column" | b"VColumn" | b"AggValue" | b"Offset" => self.write(p3),
            b"Integer" | b"Int64" | b"Real" | b"Rowid" | b"NewRowid" | b"Sequence" | b"Count"
            | b"String8" => {
                self.write(p2);
                // A literal in the statement's text is short.
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

    /// Converts the columns of a row to the affinities of a table or index, one letter each.
    /// Converting a text to a number parses it.
    fn convert(&mut self, first: i64, count: i64, affinities: &[u8]) {
        /// `SQLITE_AFF_NUMERIC` and the following, in SQLite's source.
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

    /// The maximum cost. A variadic function's arguments are in consecutive registers; the listing
    /// does not say how many there are.
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
    fn statements_that_sqlite_might_not_stop_run_aside() {
        let times = |count, what: &str| vec![what; count].join(",");
        for sql in [
            "SELECT 1",
            "SELECT * FROM t WHERE c1 = ?1 AND c2 > ?2 ORDER BY c3, body",
            "SELECT count(*), sum(c1), max(body) FROM t GROUP BY c2",
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
    fn costly_statements_only_handle_short_values() {
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
            ("SELECT body ->> 'a' FROM t".to_owned(), 1 << 20, false),
        ] {
            let look = of(&sql);
            let shortened = look.brief_length.is_some_and(|length| length <= brief);
            assert!(shortened, "{look:?}: {sql}");
            assert_eq!(look.max_length.is_some(), is_bounded, "{look:?}: {sql}");
        }
    }
}
