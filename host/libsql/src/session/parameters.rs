//! Which value each parameter of a statement has.

use std::collections::HashMap;

use millpond_pool::engine::RawValue;
use millpond_pool::{Error, ErrorKind, Parameters, Result, Rows};

use super::Core;
use crate::sql::Statement;

/// SQLite's code for a value that is too large.
const SQLITE_TOOBIG: i32 = 18;

/// The values in the order of the statement's parameters, by position or by name.
pub(super) fn pick<'a>(
    statement: &Statement<'_>,
    parameters: &'a Parameters,
) -> Result<Vec<RawValue<'a>>> {
    let names = &statement.parameters;
    // Before there is a map of them: a guest can send very many.
    let fits = match parameters.is_named() {
        true => parameters.len() <= names.len(),
        false => parameters.len() == names.len(),
    };
    if !fits {
        return Err(wrong(format!(
            "the statement has {} parameters, and {} values were given",
            names.len(),
            parameters.len()
        )));
    }
    if !parameters.is_named() {
        return Ok(parameters.raw_values().map(|(_, value)| value).collect());
    }
    let mut given = HashMap::with_capacity(parameters.len());
    for (name, value) in parameters.raw_values() {
        let name = name.map_or("", |name| str::from_utf8(name).unwrap_or_default());
        if given.insert(bare(name), (value, false)).is_some() {
            return Err(wrong(format!(
                "the parameter {name} was given more than once"
            )));
        }
    }
    let mut values = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let Some(name) = name else {
            let index = index + 1;
            return Err(wrong(format!(
                "parameter {index} has no name: bind by position"
            )));
        };
        let Some((value, used)) = given.get_mut(bare(name)) else {
            return Err(wrong(format!("the parameter {name} was not given")));
        };
        *used = true;
        values.push(*value);
    }
    match given.iter().find(|(_, (_, used))| !used) {
        Some((name, _)) => Err(wrong(format!("the statement has no parameter {name:.64}"))),
        None => Ok(values),
    }
}

/// Whether rows are as wide as a statement has parameters.
pub(super) fn check_width(statement: &Statement<'_>, rows: &Rows) -> Result<()> {
    let message = match statement.parameters.len() {
        0 => "the statement has no parameters, so its rows have no width".to_owned(),
        width if rows.is_empty() || rows.width() == width => return Ok(()),
        width => format!(
            "a row has {} values, and the statement {width} parameters",
            rows.width()
        ),
    };
    Err(wrong(message))
}

impl Core {
    /// Whether the values are small enough to be read again.
    pub(super) fn check_sizes<'a>(
        &self,
        values: impl IntoIterator<Item = RawValue<'a>>,
    ) -> Result<()> {
        let max = self.shared.settings.max_value_bytes;
        let too_large = values.into_iter().find_map(|value| match value {
            RawValue::Text(bytes) | RawValue::Blob(bytes) => {
                Some(bytes.len()).filter(|bytes| *bytes as u64 > max)
            }
            RawValue::Null | RawValue::Integer(_) | RawValue::Real(_) => None,
        });
        match too_large {
            None => Ok(()),
            Some(bytes) => Err(Error::new(
                ErrorKind::TooLarge,
                format!("a value has {bytes} bytes, and may have {max}"),
            )
            .with_code(SQLITE_TOOBIG)),
        }
    }
}

/// A parameter's name without its prefix.
fn bare(name: &str) -> &str {
    name.strip_prefix([':', '@', '$', '?']).unwrap_or(name)
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Parameters, message)
}

#[cfg(test)]
mod tests {
    use millpond_pool::Value;

    use super::*;
    use crate::sql::Script;

    fn picked(sql: &str, parameters: &Parameters) -> Result<Vec<i64>> {
        let statement = Script::only(sql)?;
        let values = pick(&statement, parameters)?;
        let number = |value: &RawValue<'_>| match value {
            RawValue::Integer(value) => *value,
            other => panic!("{other:?}"),
        };
        Ok(values.iter().map(number).collect())
    }

    #[test]
    fn values_have_the_order_of_their_parameters() {
        let named = Parameters::named([(":b", 2), ("a", 1)]);
        assert_eq!(picked("SELECT :a, @b, :a", &named), Ok(vec![1, 2]));
        let numbered = Parameters::named([("2", 20), ("?1", 10)]);
        assert_eq!(picked("SELECT ?2, ?1", &numbered), Ok(vec![10, 20]));
        let positional = Parameters::from([7, 8]);
        assert_eq!(picked("SELECT :a, ?", &positional), Ok(vec![7, 8]));
    }

    #[test]
    fn every_parameter_has_one_value() {
        let one = Parameters::from([1]);
        for (sql, parameters) in [
            ("SELECT 1", &one),
            ("SELECT ?, ?", &one),
            ("SELECT ?", &Parameters::named([("a", 1)])),
            ("SELECT :b", &Parameters::named([("a", 1)])),
            ("SELECT :a, :b", &Parameters::named([("a", 1)])),
            ("SELECT :a", &Parameters::named([("a", 1), ("b", 1)])),
            ("SELECT :a, :b", &Parameters::named([("a", 1), (":a", 1)])),
            ("SELECT :a", &Parameters::NONE),
        ] {
            let kind = picked(sql, parameters).map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::Parameters), "{sql}");
        }
        let _ = Value::Null;
    }
}
