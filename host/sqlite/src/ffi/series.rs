//! `generate_series(start, stop, step)` (<https://sqlite.org/series.html>), a table that exists
//! without being created. SQLite has it in an extension, which its library is built without.
#![expect(
    unsafe_code,
    reason = "rusqlite's traits for virtual tables; each says why it holds"
)]

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use rusqlite::types::ValueRef;
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConfig, VTabConnection,
    VTabCursor,
};
use rusqlite::{Connection, Error, Result, ffi};

/// The columns after the first are the arguments.
const COLUMNS: &CStr = c"CREATE TABLE x(value, start HIDDEN, stop HIDDEN, step HIDDEN)";
const START: c_int = 1;
const STOP: c_int = 2;
const STEP: c_int = 3;

const DEFAULT_STOP: i64 = 4_294_967_295;

/// Register it with a connection.
pub(crate) fn install(conn: &Connection) -> Result<()> {
    const MODULE: Module<Series> = Module::eponymous_only_module();
    conn.create_module(c"generate_series", &MODULE, None)
}

#[repr(C)]
struct Series {
    base: ffi::sqlite3_vtab,
}

// SAFETY: it begins with SQLite's own structure, as the trait asks.
unsafe impl<'vtab> VTab<'vtab> for Series {
    type Aux = ();
    type Cursor = Rows<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        _: Option<&()>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Series)> {
        db.config(VTabConfig::Innocuous)?;
        let base = ffi::sqlite3_vtab::default();
        Ok((Cow::Borrowed(COLUMNS), Series { base }))
    }

    /// The arguments arrive as constraints on their columns. The plan's number has a bit for each
    /// that is given, and they are passed in that order.
    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let mut places: [Option<usize>; 3] = [None; 3];
        for (at, constraint) in info.constraints().enumerate() {
            let column = constraint.column();
            if !(START..=STEP).contains(&column)
                || constraint.operator() != IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ
            {
                continue;
            }
            // It depends on a table that would be read later.
            if !constraint.is_usable() {
                return Ok(false);
            }
            places[(column - START) as usize] = Some(at);
        }
        let (mut plan, mut argument) = (0, 0);
        for (bit, at) in places.iter().enumerate() {
            if let Some(at) = at {
                plan |= 1 << bit;
                argument += 1;
                let mut usage = info.constraint_usage(*at);
                usage.set_argv_index(argument);
                usage.set_omit(true);
            }
        }
        let whole = places[0].is_some() && places[1].is_some();
        info.set_estimated_cost(if whole { 1_000.0 } else { 1e12 });
        info.set_estimated_rows(if whole { 1_000 } else { DEFAULT_STOP });
        info.set_idx_num(plan);
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<Rows<'vtab>> {
        Ok(Rows::default())
    }
}

#[derive(Default)]
#[repr(C)]
struct Rows<'vtab> {
    base: ffi::sqlite3_vtab_cursor,
    start: i64,
    stop: i64,
    step: i64,
    /// `None` after the last row.
    value: Option<i64>,
    row: i64,
    table: PhantomData<&'vtab Series>,
}

impl Rows<'_> {
    fn unless_past(&self, value: i64) -> Option<i64> {
        let past = match self.step > 0 {
            true => value > self.stop,
            false => value < self.stop,
        };
        (!past).then_some(value)
    }
}

// SAFETY: it begins with SQLite's own structure, as the trait asks.
unsafe impl VTabCursor for Rows<'_> {
    fn filter(&mut self, plan: c_int, _: Option<&str>, arguments: &Filters<'_>) -> Result<()> {
        let mut given = [None, Some(DEFAULT_STOP), Some(1)];
        let mut arguments = arguments.iter();
        for (bit, value) in given.iter_mut().enumerate() {
            if plan & (1 << bit) != 0 {
                *value = arguments.next().and_then(integer);
            }
        }
        (self.row, self.value) = (1, None);
        if plan & 1 == 0 {
            let message = "the first argument of generate_series() is missing";
            return Err(Error::ModuleError(message.to_owned()));
        }
        // If any is null, there are no rows.
        if let [Some(start), Some(stop), Some(step)] = given {
            let step = if step == 0 { 1 } else { step };
            (self.start, self.stop, self.step) = (start, stop, step);
            self.value = self.unless_past(start);
        }
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        let next = self.value.and_then(|value| value.checked_add(self.step));
        self.value = next.and_then(|value| self.unless_past(value));
        self.row = self.row.wrapping_add(1);
        Ok(())
    }

    fn eof(&self) -> bool {
        self.value.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        match column {
            START => context.set_result(self.start),
            STOP => context.set_result(self.stop),
            STEP => context.set_result(self.step),
            _ => context.set_result(self.value),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.row)
    }
}

/// A number, converted like `CAST(… AS INTEGER)`.
fn integer(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value),
        ValueRef::Real(value) => Some(value as i64),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            let text = std::str::from_utf8(text).unwrap_or_default().trim_start();
            let digits = text.trim_start_matches(['+', '-']);
            let sign = text.len() - digits.len();
            let end = digits.find(|c: char| !c.is_ascii_digit());
            let end = end.unwrap_or(digits.len());
            match sign <= 1 {
                true => text[..sign + end].parse().ok().or(Some(0)),
                false => Some(0),
            }
        }
    }
}
