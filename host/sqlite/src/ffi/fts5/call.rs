//! One call of an auxiliary function (<https://sqlite.org/fts5.html#custom_auxiliary_functions>):
//! its arguments, the row that it is called for, and its result.
//!
//! **Invariant:** FTS5 calls an auxiliary function with its interface, the context of a cursor on
//! a row, and arguments that are valid until the call returns, on the thread that uses the
//! connection, and with the `Watch` that it was registered with, which outlives the connection.
//! The text of a column stays where it is during the call: FTS5's own functions rely on this too.
//! Nothing here unwinds: no code below panics on any data.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use rusqlite::ffi;

use crate::deadline::Watch;
use crate::ffi::functions::{bytes, limit, result_error, result_text, text, until_nul};

/// Instances, rows or positions between two checks of the deadline: some µs.
const STEPS: u32 = 1 << 10;

/// An auxiliary function.
pub(super) trait Auxiliary {
    const NAME: &CStr;

    fn run(call: &Call<'_>) -> Result<Answer, Failure>;
}

pub(super) enum Answer {
    Null,
    Real(f64),
    Text(Vec<u8>),
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// SQLite's result code.
    Code(c_int),
    Message(&'static str),
}

/// A token of a text: the bytes from `start` to `end`.
pub(super) struct Token {
    /// A synonym, at the position of the token before.
    pub(super) is_colocated: bool,
    pub(super) start: usize,
    pub(super) end: usize,
}

pub(super) struct Call<'a> {
    api: &'a ffi::Fts5ExtensionApi,
    fts: *mut ffi::Fts5Context,
    context: *mut ffi::sqlite3_context,
    arguments: &'a [*mut ffi::sqlite3_value],
    watch: &'a Watch,
}

/// The positions of the query's phrases in the row, column by column.
pub(super) struct Instances(Vec<PhraseInstances>);

/// The next instance of one phrase; no column if there is none.
struct PhraseInstances {
    iter: ffi::Fts5PhraseIter,
    column: c_int,
    position: c_int,
}

/// Checks the deadline now and then.
pub(super) struct Pulse<'a> {
    watch: &'a Watch,
    left: u32,
}

/// What FTS5 calls for the auxiliary function `F`.
///
/// # Safety
///
/// The module's invariant.
pub(super) unsafe extern "C" fn run<F: Auxiliary>(
    api: *const ffi::Fts5ExtensionApi,
    fts: *mut ffi::Fts5Context,
    context: *mut ffi::sqlite3_context,
    count: c_int,
    arguments: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the caller's promise; with a null there would be no row to ask for.
    unsafe {
        let Some(data) = (*api).xUserData else {
            return ffi::sqlite3_result_error_code(context, ffi::SQLITE_MISUSE);
        };
        let call = Call {
            api: &*api,
            fts,
            context,
            arguments: match usize::try_from(count) {
                Ok(count) if count > 0 => std::slice::from_raw_parts(arguments, count),
                _ => &[],
            },
            watch: &*data(fts).cast::<Watch>(),
        };
        match F::run(&call) {
            Ok(Answer::Null) => ffi::sqlite3_result_null(context),
            Ok(Answer::Real(value)) => ffi::sqlite3_result_double(context, value),
            Ok(Answer::Text(text)) => result_text(context, &text),
            Err(Failure::Code(code)) => ffi::sqlite3_result_error_code(context, code),
            Err(Failure::Message(message)) => result_error(context, message),
        }
    }
}

/// Call a function of FTS5's interface, with the context.
macro_rules! ask {
    ($call:expr, $function:ident $(, $argument:expr)*) => {
        match $call.api.$function {
            // SAFETY: the module's invariant; what the arguments point to is valid, and of the
            // type that the function asks for.
            Some(function) => unsafe { function($call.fts $(, $argument)*) },
            None => return Err(Failure::Code(ffi::SQLITE_MISUSE)),
        }
    };
}

impl<'a> Call<'a> {
    pub(super) fn argument_count(&self) -> usize {
        self.arguments.len()
    }

    /// An argument as text, up to a NUL. Empty if it is null.
    pub(super) fn text(&self, at: usize) -> &'a [u8] {
        match self.arguments.get(at) {
            // SAFETY: the module's invariant. Each argument is a value of its own, and is not
            // converted to anything but text.
            Some(value) => until_nul(unsafe { text(*value) }),
            None => &[],
        }
    }

    pub(super) fn integer(&self, at: usize) -> i64 {
        match self.arguments.get(at) {
            // SAFETY: the module's invariant.
            Some(value) => unsafe { ffi::sqlite3_value_int64(*value) },
            None => 0,
        }
    }

    pub(super) fn real(&self, at: usize) -> f64 {
        match self.arguments.get(at) {
            // SAFETY: the module's invariant.
            Some(value) => unsafe { ffi::sqlite3_value_double(*value) },
            None => 0.0,
        }
    }

    /// The number of a column, or -1 for any. Larger numbers stay out of range.
    pub(super) fn column(&self, at: usize) -> c_int {
        self.integer(at).clamp(-1, c_int::MAX.into()) as c_int
    }

    /// The maximum length of a text in bytes.
    pub(super) fn max_text_bytes(&self) -> usize {
        // SAFETY: the module's invariant.
        unsafe { limit(self.context, ffi::SQLITE_LIMIT_LENGTH) }
    }

    pub(super) fn pulse(&self) -> Pulse<'a> {
        Pulse {
            watch: self.watch,
            left: STEPS,
        }
    }

    pub(super) fn column_count(&self) -> Result<c_int, Failure> {
        Ok(ask!(self, xColumnCount))
    }

    /// The text of a column of the row. `None` if it is null, or not stored.
    pub(super) fn column_text(&self, column: c_int) -> Result<Option<&'a [u8]>, Failure> {
        let (mut text, mut len): (*const c_char, c_int) = (ptr::null(), 0);
        check(ask!(self, xColumnText, column, &mut text, &mut len))?;
        // SAFETY: FTS5's text is valid for its length, and stays: the module's invariant.
        Ok((!text.is_null()).then(|| unsafe { bytes(text.cast(), len) }))
    }

    /// The number of tokens in a column of the row, or in all of its columns, for -1.
    pub(super) fn column_size(&self, column: c_int) -> Result<c_int, Failure> {
        let mut size = 0;
        check(ask!(self, xColumnSize, column, &mut size))?;
        Ok(size)
    }

    /// Call `on_token` for each token of a column's text.
    pub(super) fn tokenize<F>(
        &self,
        column: c_int,
        text: &[u8],
        mut on_token: F,
    ) -> Result<(), Failure>
    where
        F: FnMut(&Token) -> Result<(), Failure>,
    {
        unsafe extern "C" fn call<F: FnMut(&Token) -> Result<(), Failure>>(
            on_token: *mut c_void,
            flags: c_int,
            _: *const c_char,
            _: c_int,
            start: c_int,
            end: c_int,
        ) -> c_int {
            // SAFETY: the closure that is given with this function, for one token at a time.
            let on_token = unsafe { &mut *on_token.cast::<F>() };
            let token = Token {
                is_colocated: flags & ffi::FTS5_TOKEN_COLOCATED != 0,
                start: usize::try_from(start).unwrap_or(0),
                end: usize::try_from(end).unwrap_or(0),
            };
            match on_token(&token) {
                Ok(()) => ffi::SQLITE_OK,
                Err(Failure::Code(code)) => code,
                Err(Failure::Message(_)) => ffi::SQLITE_ERROR,
            }
        }
        let (mut locale, mut locale_len): (*const c_char, c_int) = (ptr::null(), 0);
        check(ask!(
            self,
            xColumnLocale,
            column,
            &mut locale,
            &mut locale_len
        ))?;
        let Ok(len) = c_int::try_from(text.len()) else {
            return Err(Failure::Code(ffi::SQLITE_TOOBIG));
        };
        check(ask!(
            self,
            xTokenize_v2,
            text.as_ptr().cast(),
            len,
            locale,
            locale_len,
            (&raw mut on_token).cast(),
            Some(call::<F>)
        ))
    }

    pub(super) fn phrase_count(&self) -> Result<usize, Failure> {
        Ok(usize::try_from(ask!(self, xPhraseCount)).unwrap_or(0))
    }

    /// The number of tokens in a phrase of the query.
    pub(super) fn phrase_size(&self, phrase: usize) -> Result<c_int, Failure> {
        Ok(ask!(self, xPhraseSize, phrase as c_int))
    }

    /// The positions of all phrases. FTS5's own list, `xInst`, compares every instance to every
    /// phrase.
    pub(super) fn instances(&self) -> Result<Instances, Failure> {
        let count = self.phrase_count()?;
        let mut instances = Vec::new();
        reserve(&mut instances, count)?;
        let mut pulse = self.pulse();
        for phrase in 0..count {
            pulse.beat()?;
            instances.push(self.phrase_instances(phrase)?);
        }
        Ok(Instances(instances))
    }

    fn phrase_instances(&self, phrase: usize) -> Result<PhraseInstances, Failure> {
        let mut first = PhraseInstances {
            iter: ffi::Fts5PhraseIter {
                a: ptr::null(),
                b: ptr::null(),
            },
            column: -1,
            position: -1,
        };
        check(ask!(
            self,
            xPhraseFirst,
            phrase as c_int,
            &mut first.iter,
            &mut first.column,
            &mut first.position
        ))?;
        Ok(first)
    }

    /// The number of rows in the table.
    pub(super) fn row_count(&self) -> Result<i64, Failure> {
        let mut count = 0;
        check(ask!(self, xRowCount, &mut count))?;
        Ok(count)
    }

    /// The number of tokens in the table.
    pub(super) fn total_size(&self) -> Result<i64, Failure> {
        let mut size = 0;
        check(ask!(self, xColumnTotalSize, -1, &mut size))?;
        Ok(size)
    }

    /// The number of rows that contain a phrase of the query.
    pub(super) fn rows_with(&self, phrase: usize) -> Result<i64, Failure> {
        struct Count<'a> {
            rows: i64,
            pulse: Pulse<'a>,
        }
        unsafe extern "C" fn count(
            _: *const ffi::Fts5ExtensionApi,
            _: *mut ffi::Fts5Context,
            data: *mut c_void,
        ) -> c_int {
            // SAFETY: the structure that is given with this function, for one row at a time.
            let count = unsafe { &mut *data.cast::<Count<'_>>() };
            count.rows += 1;
            match count.pulse.beat() {
                Ok(()) => ffi::SQLITE_OK,
                Err(_) => ffi::SQLITE_INTERRUPT,
            }
        }
        // At once: finding the phrase takes long enough.
        if self.watch.look() {
            return Err(Failure::Code(ffi::SQLITE_INTERRUPT));
        }
        let mut data = Count {
            rows: 0,
            pulse: self.pulse(),
        };
        check(ask!(
            self,
            xQueryPhrase,
            phrase as c_int,
            (&raw mut data).cast(),
            Some(count)
        ))?;
        Ok(data.rows)
    }

    /// What an earlier call stored for this function and query.
    ///
    /// # Safety
    ///
    /// All calls of the function store a `T`.
    pub(super) unsafe fn kept<T>(&self) -> Result<Option<&T>, Failure> {
        let kept: *const T = ask!(self, xGetAuxdata, 0).cast();
        // SAFETY: the caller's promise; `keep` made it of a box, which FTS5 has until the query
        // ends.
        Ok(unsafe { kept.as_ref() })
    }

    /// Store `value` until the query ends.
    pub(super) fn keep<T>(&self, value: T) -> Result<(), Failure> {
        unsafe extern "C" fn delete<T>(value: *mut c_void) {
            // SAFETY: the box that is given with this function, which FTS5 calls once.
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
        }
        let Some(set) = self.api.xSetAuxdata else {
            return Err(Failure::Code(ffi::SQLITE_MISUSE));
        };
        let value = Box::into_raw(Box::new(value)).cast();
        // SAFETY: the module's invariant. Also where it fails, FTS5 deletes the value.
        check(unsafe { set(self.fts, value, Some(delete::<T>)) })
    }
}

impl Instances {
    /// Call `each` with the phrase and the position, in tokens, of each instance in a column; for
    /// one phrase after the other, in ascending order. Ask for columns in ascending order: earlier
    /// instances are skipped.
    pub(super) fn in_column(
        &mut self,
        call: &Call<'_>,
        column: c_int,
        mut each: impl FnMut(usize, c_int) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.up_to(call, column, |phrase, found, position| {
            match found == column {
                true => each(phrase, position),
                false => Ok(()),
            }
        })
    }

    /// Call `each` with the phrase, the column and the position of each remaining instance, up to
    /// the last one in `column`.
    pub(super) fn up_to(
        &mut self,
        call: &Call<'_>,
        column: c_int,
        mut each: impl FnMut(usize, c_int, c_int) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut pulse = call.pulse();
        for (phrase, next) in self.0.iter_mut().enumerate() {
            pulse.beat()?;
            while (0..=column).contains(&next.column) {
                each(phrase, next.column, next.position)?;
                ask!(
                    call,
                    xPhraseNext,
                    &mut next.iter,
                    &mut next.column,
                    &mut next.position
                );
                pulse.beat()?;
            }
        }
        Ok(())
    }
}

impl Pulse<'_> {
    pub(super) fn beat(&mut self) -> Result<(), Failure> {
        self.left -= 1;
        if self.left > 0 {
            return Ok(());
        }
        self.left = STEPS;
        match self.watch.look() {
            true => Err(Failure::Code(ffi::SQLITE_INTERRUPT)),
            false => Ok(()),
        }
    }
}

/// Reserve room for `more` elements; fails if out of memory.
pub(super) fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<(), Failure> {
    let reserved = list.try_reserve(more);
    reserved.map_err(|_| Failure::Code(ffi::SQLITE_NOMEM))
}

fn check(code: c_int) -> Result<(), Failure> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(Failure::Code(code)),
    }
}
