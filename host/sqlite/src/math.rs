//! SQLite's math functions (<https://sqlite.org/lang_mathfunc.html>). SQLite only has them if it is
//! built with `SQLITE_ENABLE_MATH_FUNCTIONS`, which is not the default of an embedder's build.

use std::f64::consts::PI;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};

type OfOne = fn(f64) -> f64;
type OfTwo = fn(f64, f64) -> f64;

/// Functions of one argument.
const ONE: &[(&str, OfOne)] = &[
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("degrees", |x| x * (180.0 / PI)),
    ("exp", f64::exp),
    ("ln", |x| logarithm(x, f64::ln)),
    ("log", |x| logarithm(x, f64::log10)),
    ("log10", |x| logarithm(x, f64::log10)),
    ("log2", |x| logarithm(x, f64::log2)),
    ("radians", |x| x * (PI / 180.0)),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
];

/// Functions of one argument that return an integer for an integer.
const ROUNDING: &[(&str, OfOne)] = &[
    ("ceil", f64::ceil),
    ("ceiling", f64::ceil),
    ("floor", f64::floor),
    ("trunc", f64::trunc),
];

const TWO: &[(&str, OfTwo)] = &[
    ("atan2", f64::atan2),
    ("log", |base, x| match base > 1.0 {
        true => logarithm(x, f64::ln) / base.ln(),
        false => f64::NAN,
    }),
    ("mod", |x, y| x % y),
    ("pow", f64::powf),
    ("power", f64::powf),
];

/// Register them with a connection.
pub(crate) fn install(conn: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    for &(name, function) in ONE {
        conn.create_scalar_function(name, 1, flags, move |context| {
            Ok(real(number(context, 0).map(|x| function(x.as_real()))))
        })?;
    }
    for &(name, function) in ROUNDING {
        conn.create_scalar_function(name, 1, flags, move |context| {
            Ok(match number(context, 0) {
                Some(Number::Integer(x)) => Value::Integer(x),
                other => real(other.map(|x| function(x.as_real()))),
            })
        })?;
    }
    for &(name, function) in TWO {
        conn.create_scalar_function(name, 2, flags, move |context| {
            let arguments = number(context, 0).zip(number(context, 1));
            Ok(real(
                arguments.map(|(x, y)| function(x.as_real(), y.as_real())),
            ))
        })?;
    }
    conn.create_scalar_function("pi", 0, flags, |_| Ok(PI))
}

/// SQLite returns null for the logarithm of zero or a negative number.
fn logarithm(x: f64, of: OfOne) -> f64 {
    match x > 0.0 {
        true => of(x),
        false => f64::NAN,
    }
}

#[derive(Clone, Copy)]
enum Number {
    Integer(i64),
    Real(f64),
}

impl Number {
    fn as_real(self) -> f64 {
        match self {
            Number::Integer(x) => x as f64,
            Number::Real(x) => x,
        }
    }
}

/// An argument, if it is a number, or a text that is exactly a number.
fn number(context: &Context<'_>, index: usize) -> Option<Number> {
    match context.get_raw(index) {
        ValueRef::Integer(x) => Some(Number::Integer(x)),
        ValueRef::Real(x) => Some(Number::Real(x)),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).ok()?;
            let text = text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
            // Rust also parses words such as `inf`.
            let written = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
            if !text.chars().all(written) {
                return None;
            }
            let integer = text.parse().ok().map(Number::Integer);
            integer.or_else(|| text.parse().ok().map(Number::Real))
        }
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

/// SQLite has no NaN, and stores null instead.
fn real(x: Option<f64>) -> Value {
    x.filter(|x| !x.is_nan()).map_or(Value::Null, Value::Real)
}
