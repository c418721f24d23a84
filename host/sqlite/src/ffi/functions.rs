//! Replaces SQL functions of SQLite that take time proportional to the product of their arguments'
//! lengths: one call of `trim(x, y)` on a megabyte runs for a minute, without calling the progress
//! handler. These take linear time, or check the deadline themselves, and return the same results
//! (<https://sqlite.org/lang_corefunc.html>).
//!
//! **Invariant:** SQLite calls a function with as many arguments as it was registered for, each
//! valid until the call returns, on the thread that uses the connection, and with the `Watch` that
//! it was registered with, which outlives the connection. Nothing here unwinds: no code below
//! panics on any bytes.
#![expect(
    unsafe_code,
    reason = "SQLite's own conversion of values; each block states why it holds"
)]

use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use memchr::memmem;
use rusqlite::{Connection, ffi};

use crate::deadline::Watch;
use crate::error::{Error, Result};
use crate::like::{self, Pattern};

/// The maximum length of a UTF-8 character in bytes.
const MAX_CHARACTER: usize = 4;

pub(crate) type Function =
    unsafe extern "C" fn(*mut ffi::sqlite3_context, c_int, *mut *mut ffi::sqlite3_value);

const FUNCTIONS: &[(&CStr, c_int, Function)] = &[
    (c"instr", 2, instr),
    (c"replace", 3, replace),
    (c"trim", 2, trim::<true, true>),
    (c"ltrim", 2, trim::<true, false>),
    (c"rtrim", 2, trim::<false, true>),
    (c"unhex", 2, unhex),
    (c"like", 2, like),
    (c"like", 3, like),
    (c"glob", 2, glob),
];

/// Replace SQLite's functions. `watch` must outlive the connection, as for
/// [`hooks::set_busy_handler`](crate::ffi::hooks::set_busy_handler).
pub(crate) fn install(conn: &Connection, watch: &Arc<Watch>) -> Result<()> {
    for function in FUNCTIONS {
        // SAFETY: each function keeps the module's invariant, and only reads its data.
        unsafe { replace_one(conn, function, ffi::SQLITE_DETERMINISTIC, watch)? };
    }
    Ok(())
}

/// Replace a function of SQLite: its name, number of arguments, and the implementation, which gets
/// `data`. `data` must outlive the connection.
///
/// # Safety
///
/// The function must treat its data as a shared `T`.
pub(crate) unsafe fn replace_one<T>(
    conn: &Connection,
    (name, arguments, function): &(&CStr, c_int, Function),
    flags: c_int,
    data: &Arc<T>,
) -> Result<()> {
    // SAFETY: the connection is open, the name ends in a NUL; and the caller's promise.
    let code = unsafe {
        ffi::sqlite3_create_function_v2(
            conn.handle(),
            name.as_ptr(),
            *arguments,
            flags | ffi::SQLITE_UTF8 | ffi::SQLITE_INNOCUOUS,
            Arc::as_ptr(data).cast_mut().cast(),
            Some(*function),
            None,
            None,
            None,
        )
    };
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => {
            let message = format!("the function {name:?} cannot be replaced");
            Err(Error::sqlite(code, message, None))
        }
    }
}

/// `instr(x, y)`: the position of the first `y` in `x`, counted from 1; in bytes if both are blobs,
/// else in characters; 0 if there is none.
unsafe extern "C" fn instr(
    context: *mut ffi::sqlite3_context,
    _: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the module's invariant: two values. Blobs are asked for as blobs only, so that
    // no conversion moves what was had before.
    unsafe {
        let (x, y) = (*values, *values.add(1));
        if is_null(x) || is_null(y) {
            return;
        }
        let position = match (is_blob(x), is_blob(y)) {
            (true, true) => memmem::find(blob(x), blob(y)).map_or(0, |at| at + 1),
            (false, false) => position(text(x), text(y)),
            _ => {
                // Reading a blob as text would convert the value, which is not ours: copy it.
                let (x, y) = (ffi::sqlite3_value_dup(x), ffi::sqlite3_value_dup(y));
                let position = match x.is_null() || y.is_null() {
                    true => 0,
                    false => position(text(x), text(y)),
                };
                ffi::sqlite3_value_free(x);
                ffi::sqlite3_value_free(y);
                position
            }
        };
        ffi::sqlite3_result_int64(context, position as i64);
    }
}

/// `replace(x, y, z)`: `x` with every `y` replaced by `z`; `x` itself if `y` is empty.
unsafe extern "C" fn replace(
    context: *mut ffi::sqlite3_context,
    _: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the module's invariant: three values, each a buffer of its own.
    unsafe {
        let (x, y, z) = (*values, *values.add(1), *values.add(2));
        if is_null(x) || is_null(y) {
            return;
        }
        let (x, y) = (text(x), text(y));
        if until_nul(y).is_empty() {
            return result_text(context, x);
        }
        if is_null(z) {
            return;
        }
        let z = text(z);
        let limit = limit(context, ffi::SQLITE_LIMIT_LENGTH);
        let mut result = Vec::new();
        let mut start = 0;
        for at in memmem::find_iter(x, y) {
            result.extend_from_slice(&x[start..at]);
            result.extend_from_slice(z);
            start = at + y.len();
            if result.len() > limit {
                return ffi::sqlite3_result_error_toobig(context);
            }
        }
        result.extend_from_slice(&x[start..]);
        result_text(context, &result);
    }
}

/// `trim(x, y)`, `ltrim` and `rtrim`: `x` without the characters of `y` at its ends.
unsafe extern "C" fn trim<const LEFT: bool, const RIGHT: bool>(
    context: *mut ffi::sqlite3_context,
    _: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the module's invariant: two values, each a buffer of its own.
    unsafe {
        let (x, y) = (*values, *values.add(1));
        if is_null(x) || is_null(y) {
            return;
        }
        let mut pulse = Pulse::of(context);
        let (mut x, set) = (text(x), CharacterSet::of(until_nul(text(y)), &mut pulse));
        while LEFT && pulse.goes_on() {
            let heads = (1..=MAX_CHARACTER).filter_map(|len| x.get(..len));
            match set.first_of(heads) {
                Some(len) => x = &x[len..],
                None => break,
            }
        }
        while RIGHT && pulse.goes_on() {
            let tails = (1..=MAX_CHARACTER).filter_map(|len| x.get(x.len().checked_sub(len)?..));
            match set.first_of(tails) {
                Some(len) => x = &x[..x.len() - len],
                None => break,
            }
        }
        if pulse.stopped {
            return ffi::sqlite3_result_error_code(context, ffi::SQLITE_INTERRUPT);
        }
        result_text(context, x);
    }
}

/// `unhex(x, y)`: the bytes that `x` spells in hexadecimal, with characters of `y` allowed between
/// two bytes; null if `x` is invalid. Characters that are not UTF-8 are compared by their bytes.
unsafe extern "C" fn unhex(
    context: *mut ffi::sqlite3_context,
    _: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the module's invariant: two values, each a buffer of its own.
    unsafe {
        let (x, y) = (*values, *values.add(1));
        if is_null(x) || is_null(y) {
            return;
        }
        let mut pulse = Pulse::of(context);
        let (mut x, set) = (until_nul(text(x)), CharacterSet::of(text(y), &mut pulse));
        let mut result = Vec::with_capacity(x.len() / 2);
        while let Some(first) = x.first() {
            if !pulse.goes_on() {
                return ffi::sqlite3_result_error_code(context, ffi::SQLITE_INTERRUPT);
            }
            if let Some(high) = hex_digit(*first) {
                let Some(low) = x.get(1).and_then(|second| hex_digit(*second)) else {
                    return;
                };
                result.push(high << 4 | low);
                x = &x[2..];
                continue;
            }
            let character = x.len().min(character_length(x));
            if set.get(&x[..character]).is_none() {
                return;
            }
            x = &x[character..];
        }
        ffi::sqlite3_result_blob64(
            context,
            result.as_ptr().cast(),
            result.len() as u64,
            ffi::SQLITE_TRANSIENT(),
        );
    }
}

/// `like(y, x)` and `like(y, x, escape)`, which implement `x LIKE y ESCAPE escape`.
unsafe extern "C" fn like(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the module's invariant: two or three values, as `count` says, each a buffer of
    // its own.
    unsafe {
        let escape = match count {
            3 if is_null(*values.add(2)) => return,
            3 => {
                let mut escape = until_nul(text(*values.add(2)));
                match (like::next(&mut escape), escape.is_empty()) {
                    (Some(escape), true) => Some(escape),
                    _ => {
                        return result_error(
                            context,
                            "ESCAPE expression must be a single character",
                        );
                    }
                }
            }
            _ => None,
        };
        match_pattern(context, values, |pattern| Pattern::like(pattern, escape));
    }
}

/// `glob(y, x)`, which implements `x GLOB y`.
unsafe extern "C" fn glob(
    context: *mut ffi::sqlite3_context,
    _: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the module's invariant: two values.
    unsafe { match_pattern(context, values, Pattern::glob) }
}

/// # Safety
///
/// `context` is that of the call under way, and there are two values at least, each a buffer of
/// its own.
unsafe fn match_pattern(
    context: *mut ffi::sqlite3_context,
    values: *mut *mut ffi::sqlite3_value,
    read: impl FnOnce(&[u8]) -> Option<Pattern>,
) {
    // SAFETY: the caller's promise; the data is the `Watch` of the module's invariant.
    unsafe {
        let (y, x) = (*values, *values.add(1));
        if is_null(y) || is_null(x) {
            return;
        }
        let (pattern, text) = (text(y), until_nul(text(x)));
        if pattern.len() > limit(context, ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH) {
            return result_error(context, "the pattern of LIKE or GLOB is too long");
        }
        let watch = &*ffi::sqlite3_user_data(context).cast::<Watch>();
        let matches = match read(until_nul(pattern)) {
            None => Ok(false),
            Some(pattern) => pattern.matches(text, || watch.look()),
        };
        match matches {
            Ok(matches) => ffi::sqlite3_result_int(context, c_int::from(matches)),
            Err(like::Stopped) => {
                ffi::sqlite3_result_error_code(context, ffi::SQLITE_INTERRUPT);
            }
        }
    }
}

/// The position of `y` in `x`, in characters, counted from 1; 0 if there is none.
fn position(x: &[u8], y: &[u8]) -> usize {
    let found = match y.first() {
        // SQLite only compares at the beginning of a character.
        Some(first) if is_continuation(*first) => x.starts_with(y).then_some(0),
        _ => memmem::find(x, y),
    };
    found.map_or(0, |at| characters(&x[..at]) + 1)
}

/// The part of a text that SQLite reads as a C string.
pub(crate) fn until_nul(text: &[u8]) -> &[u8] {
    memchr::memchr(0, text).map_or(text, |end| &text[..end])
}

/// The characters of a text, as byte strings, in order. Invalid sequences longer than any character
/// are omitted: nothing can match them.
struct CharacterSet<'a> {
    /// Single bytes, usually all: no hashing, in a text that a guest may make a megabyte long.
    single: [Option<usize>; 256],
    longer: HashMap<&'a [u8], usize>,
}

/// Checks the deadline now and then.
struct Pulse<'a> {
    watch: &'a Watch,
    left: u32,
    stopped: bool,
}

impl Pulse<'_> {
    /// # Safety
    ///
    /// `context` is that of the call under way.
    unsafe fn of<'a>(context: *mut ffi::sqlite3_context) -> Pulse<'a> {
        Pulse {
            // SAFETY: the caller's promise; the data is the `Watch` of the module's invariant.
            watch: unsafe { &*ffi::sqlite3_user_data(context).cast::<Watch>() },
            left: 0,
            stopped: false,
        }
    }

    fn goes_on(&mut self) -> bool {
        /// A character takes at most a tenth of a microsecond.
        const EVERY: u32 = 4_096;
        if self.left == 0 {
            self.left = EVERY;
            self.stopped |= self.watch.look();
        }
        self.left -= 1;
        !self.stopped
    }
}

impl<'a> CharacterSet<'a> {
    /// The characters of a text. Incomplete if the time is over.
    fn of(mut text: &'a [u8], pulse: &mut Pulse<'_>) -> CharacterSet<'a> {
        let mut set = CharacterSet {
            single: [None; 256],
            longer: HashMap::new(),
        };
        let mut at = 0;
        while !text.is_empty() && pulse.goes_on() {
            let (character, rest) = text.split_at(character_length(text));
            match character {
                [byte] => {
                    set.single[usize::from(*byte)].get_or_insert(at);
                }
                _ if character.len() <= MAX_CHARACTER => {
                    set.longer.entry(character).or_insert(at);
                }
                _ => {}
            }
            at += 1;
            text = rest;
        }
        set
    }

    fn get(&self, part: &[u8]) -> Option<usize> {
        match part {
            [byte] => self.single[usize::from(*byte)],
            _ if self.longer.is_empty() => None,
            _ => self.longer.get(part).copied(),
        }
    }

    /// The length of the first of `parts` that is in the set; of several, which invalid UTF-8 makes
    /// possible, the one that comes first in the set.
    fn first_of<'p>(&self, parts: impl Iterator<Item = &'p [u8]>) -> Option<usize> {
        let found = parts.filter_map(|part| Some((self.get(part)?, part.len())));
        found.min().map(|(_, len)| len)
    }
}

/// The length of the first character in bytes, as SQLite divides texts, even if it is not UTF-8.
fn character_length(text: &[u8]) -> usize {
    let continued = match text.first() {
        Some(0xC0..) => text[1..]
            .iter()
            .take_while(|byte| is_continuation(**byte))
            .count(),
        _ => 0,
    };
    text.len().min(1 + continued)
}

fn characters(text: &[u8]) -> usize {
    // A text may begin with a continuation byte: SQLite counts it as a character.
    let begun = text.first().is_some_and(|first| is_continuation(*first));
    text.iter().filter(|byte| !is_continuation(**byte)).count() + usize::from(begun)
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// # Safety
///
/// `value` is an argument of the call under way.
unsafe fn is_null(value: *mut ffi::sqlite3_value) -> bool {
    // SAFETY: the caller's promise.
    unsafe { ffi::sqlite3_value_type(value) == ffi::SQLITE_NULL }
}

/// # Safety
///
/// As [`is_null`].
unsafe fn is_blob(value: *mut ffi::sqlite3_value) -> bool {
    // SAFETY: the caller's promise.
    unsafe { ffi::sqlite3_value_type(value) == ffi::SQLITE_BLOB }
}

/// # Safety
///
/// As [`is_null`], and the value is not converted while the bytes are in use.
unsafe fn blob<'a>(value: *mut ffi::sqlite3_value) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        let data: *const c_void = ffi::sqlite3_value_blob(value);
        bytes(data.cast(), ffi::sqlite3_value_bytes(value))
    }
}

/// A number is converted to text as SQLite does.
///
/// # Safety
///
/// As [`blob`].
pub(crate) unsafe fn text<'a>(value: *mut ffi::sqlite3_value) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        let data = ffi::sqlite3_value_text(value);
        bytes(data, ffi::sqlite3_value_bytes(value))
    }
}

/// # Safety
///
/// `data` is null, as SQLite returns for an empty value and when out of memory, or valid for `len`
/// bytes during `'a`.
pub(crate) unsafe fn bytes<'a>(data: *const u8, len: c_int) -> &'a [u8] {
    match usize::try_from(len) {
        // SAFETY: the caller's promise.
        Ok(len) if !data.is_null() => unsafe { std::slice::from_raw_parts(data, len) },
        _ => &[],
    }
}

/// # Safety
///
/// `context` is that of the call under way.
pub(crate) unsafe fn limit(context: *mut ffi::sqlite3_context, which: c_int) -> usize {
    // SAFETY: the caller's promise; a negative value only asks.
    let limit = unsafe {
        let db = ffi::sqlite3_context_db_handle(context);
        ffi::sqlite3_limit(db, which, -1)
    };
    usize::try_from(limit).unwrap_or(0)
}

/// # Safety
///
/// As [`limit`].
pub(crate) unsafe fn result_text(context: *mut ffi::sqlite3_context, text: &[u8]) {
    // SAFETY: the caller's promise; the text is copied before the call returns, and SQLite
    // refuses one that is longer than its limit.
    unsafe {
        ffi::sqlite3_result_text64(
            context,
            text.as_ptr().cast(),
            text.len() as u64,
            ffi::SQLITE_TRANSIENT(),
            ffi::SQLITE_UTF8 as _,
        );
    }
}

/// # Safety
///
/// As [`limit`].
pub(crate) unsafe fn result_error(context: *mut ffi::sqlite3_context, message: &str) {
    // SAFETY: the caller's promise; the message is copied before the call returns.
    unsafe {
        ffi::sqlite3_result_error(context, message.as_ptr().cast(), message.len() as c_int);
    }
}
