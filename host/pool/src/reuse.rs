//! Limits how long values may be in a program that uses the same value many times without a loop.
//!
//! SQLite looks where a program jumps back, and a long value that is read from a table or a parameter is
//! refused once the time is over (see [`watchdog`](crate::watchdog)). One that is in a register already is
//! not: `SELECT 1 IN (x+0, x+0, …) FROM (SELECT ?1 AS x)` reads a number out of a megabyte of digits as
//! often as it stands in the text, which takes seconds. So what a long program has in its registers is
//! followed, and the more often it uses one again, the shorter are the values that it may handle.

use std::collections::HashMap;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result};
use crate::raw::{RawStatement, Step};
use crate::text::SqlText;
use crate::value::ValueRef;

/// A program that takes less memory, in bytes, is too short to use anything often.
const SHORT_PROGRAM: u32 = 4 * 1024;
/// How often values may be used again, if they may be as long as [`LONG`]: each time takes a millisecond
/// or two.
const FREE_USES: u64 = 32;
const LONG: u64 = 1 << 20;
/// What a program that cannot be followed may handle.
const SHORTEST: u32 = 1 << 10;

/// The longest value that a compiled statement may handle, in bytes; `None` where the pool's limit will
/// do. `sql` is its text.
pub(crate) fn max_length(conn: &Connection, raw: &RawStatement, sql: &str) -> Result<Option<u32>> {
    if raw.is_explain() || raw.memory_used() < SHORT_PROGRAM {
        return Ok(None);
    }
    let explain = format!("EXPLAIN {sql}");
    let text = SqlText::new(&explain)?;
    let mut program = match RawStatement::prepare(conn, &text, 0) {
        Ok((Some(program), _)) => program,
        Ok((None, _)) => return Ok(None),
        // It was as long as a statement may be: as if it used one value all the time.
        Err(error) if error.kind() == ErrorKind::TooLarge => return Ok(Some(SHORTEST)),
        Err(error) => return Err(error),
    };
    let mut registers = Registers::default();
    while program.step(conn)? == Step::Row {
        let number = |column| match program.column(column) {
            ValueRef::Integer(number) => number,
            _ => 0,
        };
        let text = |column| match program.column(column) {
            ValueRef::Text(text) => text,
            _ => &[],
        };
        registers.run(&Instruction {
            address: number(0),
            opcode: text(1),
            p: [number(2), number(3), number(4)],
            p4: text(5),
            p5: number(6),
        });
    }
    if registers.used_again <= FREE_USES {
        return Ok(None);
    }
    let length = FREE_USES * LONG / registers.used_again;
    Ok(u32::try_from(length).ok())
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

/// What a program has in its registers.
#[derive(Debug, Default)]
struct Registers {
    /// The register that a copy was made of, and how often each was used since it was written.
    copies: HashMap<i64, i64>,
    uses: HashMap<i64, u64>,
    /// How often any was used again. One that takes longer than a millisecond counts as several.
    used_again: u64,
}

impl Registers {
    fn run(&mut self, instruction: &Instruction<'_>) {
        let Instruction {
            p: [p1, p2, p3], ..
        } = *instruction;
        if instruction.address == 0 {
            // The program of a trigger has registers of its own.
            self.copies.clear();
            self.uses.clear();
        }
        match instruction.opcode {
            b"Add" | b"Subtract" | b"Multiply" | b"Divide" | b"Remainder" | b"BitAnd"
            | b"BitOr" | b"ShiftLeft" | b"ShiftRight" | b"And" | b"Or" | b"Concat" => {
                self.read(p1, 1);
                self.read(p2, 1);
                self.write(p3);
            }
            b"Not" | b"BitNot" | b"IsTrue" => {
                self.read(p1, 1);
                self.write(p2);
            }
            b"Cast" => {
                self.read(p1, 1);
                self.write(p1);
            }
            b"If" | b"IfNot" | b"MustBeInt" => self.read(p1, 1),
            b"Eq" | b"Ne" | b"Lt" | b"Le" | b"Gt" | b"Ge" => {
                // Bytes are compared quickly, and mostly differ soon.
                let numeric = instruction.p5 & AFFINITY >= NUMERIC;
                if numeric || !instruction.p4.starts_with(b"BINARY") {
                    self.read(p1, 1);
                    self.read(p3, 1);
                }
            }
            b"Compare" => (0..p3).for_each(|at| {
                self.read(p1 + at, 1);
                self.read(p2 + at, 1);
            }),
            b"Affinity" => self.convert(p1, p2),
            b"MakeRecord" => {
                self.convert(p1, p2);
                self.write(p3);
            }
            b"Function" | b"PureFunc" => {
                // Its name, and in parentheses how many arguments it has.
                let name = String::from_utf8_lossy(instruction.p4);
                let count = name.split_once('(').map_or("", |(_, count)| count);
                let count = count.trim_end_matches(')').parse().unwrap_or(0);
                (0..count).for_each(|at| self.read(p2 + at, 2));
                self.write(p3);
            }
            b"AggStep" | b"AggStep1" | b"AggInverse" => {
                (0..instruction.p5).for_each(|at| self.read(p2 + at, 2));
            }
            // What a trigger is given, which it can ask for again and again.
            b"Param" => self.copy(-1 - p1, p2),
            b"SCopy" => self.copy(p1, p2),
            b"Copy" => (0..=p3).for_each(|at| self.copy(p1 + at, p2 + at)),
            b"Move" => (0..p3).for_each(|at| self.copy(p1 + at, p2 + at)),
            b"Column" | b"VColumn" | b"AggValue" | b"Offset" => self.write(p3),
            b"Variable" | b"Integer" | b"Int64" | b"Real" | b"String8" | b"String" | b"Blob"
            | b"Rowid" | b"NewRowid" | b"Sequence" | b"Count" | b"RowData" | b"SorterData" => {
                self.write(p2);
            }
            b"Null" => (p2..=p3.max(p2)).for_each(|register| self.write(register)),
            b"AggFinal" => self.write(p1),
            _ => {}
        }
    }

    /// Each column of a row becomes what its table or index has. Where that is for several, each is written
    /// to another page, and SQLite can be stopped in between.
    fn convert(&mut self, first: i64, count: i64) {
        let mut columns: Vec<_> = (first..first + count).map(|at| self.original(at)).collect();
        columns.sort_unstable();
        self.used_again += columns.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    }

    fn original(&self, register: i64) -> i64 {
        self.copies.get(&register).copied().unwrap_or(register)
    }

    fn read(&mut self, register: i64, weight: u64) {
        let register = self.original(register);
        let uses = self.uses.entry(register).or_default();
        *uses += 1;
        if *uses > 1 {
            self.used_again += weight;
        }
    }

    fn write(&mut self, register: i64) {
        self.copies.remove(&register);
        self.uses.remove(&register);
    }

    fn copy(&mut self, from: i64, to: i64) {
        let from = self.original(from);
        self.uses.remove(&to);
        self.copies.insert(to, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(sql: &str) -> Option<u32> {
        let conn = Connection::open_in_memory().expect("a connection");
        let columns: Vec<_> = (0..60).map(|at| format!("c{at} INTEGER")).collect();
        let table = format!("CREATE TABLE t({}, body TEXT)", columns.join(","));
        let indexes: String = (0..40)
            .map(|at| format!("CREATE INDEX i{at} ON wide(a, b, c, body);"))
            .collect();
        let wide = format!("CREATE TABLE wide(a INTEGER, b INTEGER, c, d, body TEXT); {indexes}");
        conn.execute_batch(&format!("{table}; {wide}"))
            .expect("tables");
        let text = SqlText::new(sql).expect("a text");
        let (raw, _) = RawStatement::prepare(&conn, &text, 0).expect("a statement");
        max_length(&conn, &raw.expect("one"), sql).expect("explained")
    }

    #[test]
    fn only_what_is_used_again_and_again_is_shortened() {
        let times = |count, what: &str| vec![what; count].join(",");
        for sql in [
            "SELECT 1",
            "SELECT * FROM t WHERE c1 = ?1 AND c2 > ?2 ORDER BY c3, body",
            "SELECT count(*), sum(c1), max(body) FROM t GROUP BY c2",
            &format!("INSERT INTO t VALUES ({})", times(61, "?")),
            &format!(
                "INSERT INTO t(c0, c1, body) VALUES {}",
                times(500, "(1, 2, 'text')")
            ),
            &format!("SELECT {} FROM t", times(90, "body + c1")),
            &format!("SELECT * FROM t WHERE c1 IN ({})", times(3_000, "?")),
            &format!(
                "SELECT CASE body {} END, body FROM t",
                "WHEN 'one' THEN 1 ".repeat(200)
            ),
            &format!("INSERT INTO wide VALUES ({})", times(5, "?")),
        ] {
            assert_eq!(longest(sql), None, "{sql}");
        }
        for (sql, most) in [
            (
                format!(
                    "SELECT 1 IN ({}) FROM (SELECT ?1 AS x)",
                    times(1_000, "x + 0")
                ),
                30_000,
            ),
            (
                format!("SELECT {} FROM (SELECT ?1 AS x)", times(900, "length(x)")),
                30_000,
            ),
        ] {
            let longest = longest(&sql);
            assert!(
                longest.is_some_and(|longest| longest < most),
                "{sql}: {longest:?}"
            );
        }
    }
}
