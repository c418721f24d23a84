//! The types of single settings: how each is read, written and checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::config::address::Address;
use crate::config::elsewhere::table_of;
use crate::config::endpoint::Endpoint;
use crate::config::problem::ProblemKind::{InvalidValue, OutOfBounds, UnknownKey, WrongType};
use crate::config::report::{Report, did_you_mean};
use crate::config::secret::Secret;
use crate::config::setting::{Bounds, Form, Kind, Literal, Setting, Value, Written};
use crate::config::size::Size;
use crate::config::time::{format_duration, parse_duration};

/// The table with these keys. Reports each other key.
pub(crate) fn table<'v, 'i>(
    value: &'v Value<'i>,
    keys: &[String],
    report: &mut Report,
) -> Option<&'v DeTable<'i>> {
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type(value, "a table", report);
        return None;
    };
    for name in table.keys().map(|name| &**name.get_ref()) {
        if !keys.iter().any(|key| key == name) {
            let mut suggestion = did_you_mean(name, keys.iter().map(String::as_str));
            if suggestion.is_empty()
                && let Some(table) = table_of(name)
            {
                suggestion = match table.as_str() {
                    "" => " here (it belongs before the first table)".to_owned(),
                    table => format!(" here (it belongs in `{table}`)"),
                };
            }
            let message = format!("there is no setting of this name{suggestion}");
            report.under(name, |report| report.key(UnknownKey, message));
        }
    }
    Some(table)
}

/// Which of the `texts` it is.
pub(crate) fn choice(
    value: &Value<'_>,
    texts: &[&'static str],
    report: &mut Report,
) -> Option<&'static str> {
    let text = text(value, "a text", report)?;
    let found = texts.iter().find(|known| **known == text);
    if found.is_none() {
        let known: Vec<_> = texts.iter().map(|known| format!("\"{known}\"")).collect();
        let suggestion = did_you_mean(text, texts.iter().copied());
        let message = format!("write one of {}{suggestion}", known.join(", "));
        report.value(InvalidValue, message);
    }
    found.copied()
}

pub(crate) fn wrong_type(value: &Value<'_>, wanted: &str, report: &mut Report) {
    let is = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    report.value(WrongType, format!("it is {is}: write {wanted}"));
}

fn text<'v>(value: &'v Value<'_>, wanted: &str, report: &mut Report) -> Option<&'v str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        wrong_type(value, wanted, report);
    }
    text
}

/// A text that is read by `parse`.
fn parsed<T>(
    value: &Value<'_>,
    wanted: &str,
    report: &mut Report,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let parsed = parse(text(value, wanted, report)?);
    parsed
        .map_err(|message| report.value(InvalidValue, message))
        .ok()
}

/// Report a value that is not within its bounds.
fn within<T: Setting + PartialOrd>(value: &T, bounds: Option<&Bounds>, report: &mut Report) {
    let Some(bounds) = bounds else {
        return;
    };
    let (from, is_open) = match bounds.from {
        Literal::Text(text) if text.starts_with('>') => (Literal::Text(&text[1..]), true),
        from => (from, false),
    };
    let (from, to) = (T::literal(&from), T::literal(&bounds.to));
    let is_above = match is_open {
        true => from.is_none_or(|from| *value > from),
        false => from.is_none_or(|from| *value >= from),
    };
    if !is_above || to.is_some_and(|to| *value > to) {
        report.value(OutOfBounds, format!("it must be {}", bounds.shown()));
    }
}

impl Setting for bool {
    fn kind() -> Kind {
        Kind::Flag
    }

    fn read(value: &Value<'_>, _: &Path, report: &mut Report) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            wrong_type(value, "true or false", report);
        }
        flag
    }

    fn write(&self) -> Option<Written> {
        Some(Written::Value((*self).into()))
    }

    fn literal(literal: &Literal) -> Option<bool> {
        match literal {
            Literal::Flag(flag) => Some(*flag),
            _ => None,
        }
    }
}

macro_rules! counts {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn kind() -> Kind {
                Kind::Count
            }

            fn read(value: &Value<'_>, _: &Path, report: &mut Report) -> Option<$type> {
                let Some(number) = value.get_ref().as_integer() else {
                    wrong_type(value, "a whole number", report);
                    return None;
                };
                let number = <$type>::from_str_radix(number.as_str(), number.radix());
                if number.is_err() {
                    let message = "it must be a whole number, not less than 0, and not larger than \
                                   what the setting can hold";
                    report.value(OutOfBounds, message);
                }
                number.ok()
            }

            fn write(&self) -> Option<Written> {
                let number = i64::try_from(*self).unwrap_or(i64::MAX);
                Some(Written::Value(number.into()))
            }

            fn check(&self, bounds: Option<&Bounds>, report: &mut Report) {
                within(self, bounds, report);
            }

            fn literal(literal: &Literal) -> Option<$type> {
                match literal {
                    Literal::Count(count) => <$type>::try_from(*count).ok(),
                    _ => None,
                }
            }
        }
    )+};
}

counts!(u32, u64);

impl Setting for Size {
    fn kind() -> Kind {
        Kind::Text(Form::Size)
    }

    fn read(value: &Value<'_>, folder: &Path, report: &mut Report) -> Option<Size> {
        match value.get_ref() {
            DeValue::Integer(_) => u64::read(value, folder, report).map(Size),
            _ => parsed(value, "a size, such as \"64MiB\"", report, str::parse),
        }
    }

    fn write(&self) -> Option<Written> {
        Some(Written::Value(self.to_string().into()))
    }

    fn check(&self, bounds: Option<&Bounds>, report: &mut Report) {
        within(self, bounds, report);
    }

    fn literal(literal: &Literal) -> Option<Size> {
        match literal {
            Literal::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Setting for Duration {
    fn kind() -> Kind {
        Kind::Text(Form::Duration)
    }

    fn read(value: &Value<'_>, _: &Path, report: &mut Report) -> Option<Duration> {
        parsed(value, "a duration, such as \"10s\"", report, parse_duration)
    }

    fn write(&self) -> Option<Written> {
        Some(Written::Value(format_duration(*self).into()))
    }

    fn check(&self, bounds: Option<&Bounds>, report: &mut Report) {
        within(self, bounds, report);
    }

    fn literal(literal: &Literal) -> Option<Duration> {
        match literal {
            Literal::Text(text) => parse_duration(text).ok(),
            _ => None,
        }
    }
}

impl Setting for Address {
    fn kind() -> Kind {
        Kind::Text(Form::Address)
    }

    fn read(value: &Value<'_>, _: &Path, report: &mut Report) -> Option<Address> {
        parsed(value, "an address and a port", report, str::parse)
    }

    fn write(&self) -> Option<Written> {
        Some(Written::Value(self.to_string().into()))
    }

    fn literal(literal: &Literal) -> Option<Address> {
        match literal {
            Literal::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Setting for Endpoint {
    fn kind() -> Kind {
        Kind::Text(Form::Endpoint)
    }

    fn read(value: &Value<'_>, _: &Path, report: &mut Report) -> Option<Endpoint> {
        parsed(value, "a URL", report, str::parse)
    }

    fn write(&self) -> Option<Written> {
        Some(Written::Value(self.to_string().into()))
    }

    fn literal(literal: &Literal) -> Option<Endpoint> {
        match literal {
            Literal::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Setting for String {
    fn kind() -> Kind {
        Kind::Text(Form::Any)
    }

    fn read(value: &Value<'_>, _: &Path, report: &mut Report) -> Option<String> {
        text(value, "a text in quotes", report).map(str::to_owned)
    }

    fn write(&self) -> Option<Written> {
        Some(Written::Value(self.as_str().into()))
    }

    fn literal(literal: &Literal) -> Option<String> {
        match literal {
            Literal::Text(text) => Some((*text).to_owned()),
            _ => None,
        }
    }
}

impl Setting for Secret {
    fn kind() -> Kind {
        Kind::Text(Form::Secret)
    }

    fn read(value: &Value<'_>, _: &Path, report: &mut Report) -> Option<Secret> {
        text(value, "a text in quotes", report).map(Secret::from)
    }

    fn write(&self) -> Option<Written> {
        Some(Written::Value(self.reveal().into()))
    }
}

impl Setting for PathBuf {
    fn kind() -> Kind {
        Kind::Text(Form::Path)
    }

    fn read(value: &Value<'_>, folder: &Path, report: &mut Report) -> Option<PathBuf> {
        parsed(value, "a path in quotes", report, |path| match path {
            "" => Err("the path is empty".to_owned()),
            path if path.contains('\0') => Err("a path has no null character".to_owned()),
            path => Ok(folder.join(path)),
        })
    }

    /// A path that is not UTF-8 cannot be in a file: its other characters are written.
    fn write(&self) -> Option<Written> {
        Some(Written::Value(self.to_string_lossy().into_owned().into()))
    }
}
