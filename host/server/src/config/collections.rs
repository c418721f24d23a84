//! Lists and tables of settings.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeValue;

use crate::config::name::Name;
use crate::config::problem::ProblemKind::InvalidValue;
use crate::config::report::Report;
use crate::config::setting::{Bounds, Kind, Setting, Value, Written};
use crate::config::values::wrong_type;

impl<T: Setting> Setting for Option<T> {
    fn kind() -> Kind {
        T::kind()
    }

    fn read(value: &Value<'_>, folder: &Path, report: &mut Report) -> Option<Option<T>> {
        T::read(value, folder, report).map(Some)
    }

    fn write(&self) -> Option<Written> {
        self.as_ref().and_then(T::write)
    }

    fn check(&self, bounds: Option<&Bounds>, report: &mut Report) {
        if let Some(value) = self {
            value.check(bounds, report);
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }

    fn read(value: &Value<'_>, folder: &Path, report: &mut Report) -> Option<Vec<T>> {
        let DeValue::Array(values) = value.get_ref() else {
            wrong_type(value, "a list", report);
            return None;
        };
        let mut read = Vec::with_capacity(values.len());
        let mut is_whole = true;
        for (index, value) in values.iter().enumerate() {
            match report.under(index, |report| T::read(value, folder, report)) {
                Some(value) => read.push(value),
                None => is_whole = false,
            }
        }
        // If one is left out, the checks would report wrong indexes for the others.
        is_whole.then_some(read)
    }

    fn write(&self) -> Option<Written> {
        Some(Written::List(self.iter().filter_map(T::write).collect()))
    }

    fn check(&self, _: Option<&Bounds>, report: &mut Report) {
        for (index, value) in self.iter().enumerate() {
            report.under(index, |report| value.check(None, report));
        }
    }
}

/// The entries of a table with names that the operator chooses.
fn entries<T: Setting>(
    value: &Value<'_>,
    folder: &Path,
    report: &mut Report,
    mut each: impl FnMut(&str, Option<T>, &mut Report),
) -> bool {
    let DeValue::Table(entries) = value.get_ref() else {
        wrong_type(value, "a table", report);
        return false;
    };
    for (name, value) in entries {
        let name = &**name.get_ref();
        report.under(name, |report| {
            let value = T::read(value, folder, report);
            each(name, value, report);
        });
    }
    true
}

fn written<'a, T: Setting + 'a>(
    entries: impl Iterator<Item = (&'a str, &'a T)>,
) -> Option<Written> {
    let entries = entries.filter_map(|(name, value)| Some((name.to_owned(), value.write()?)));
    Some(Written::Table(entries.collect()))
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn kind() -> Kind {
        Kind::Map(false, Box::new(T::kind()))
    }

    fn read(value: &Value<'_>, folder: &Path, report: &mut Report) -> Option<Self> {
        let mut map = BTreeMap::new();
        let is_table = entries(value, folder, report, |name, value, _| {
            map.extend(value.map(|value| (name.to_owned(), value)));
        });
        is_table.then_some(map)
    }

    fn write(&self) -> Option<Written> {
        written(self.iter().map(|(name, value)| (name.as_str(), value)))
    }

    fn check(&self, _: Option<&Bounds>, report: &mut Report) {
        for (name, value) in self {
            report.under(name.as_str(), |report| value.check(None, report));
        }
    }
}

impl<T: Setting + Default> Setting for BTreeMap<Name, T> {
    fn kind() -> Kind {
        Kind::Map(true, Box::new(T::kind()))
    }

    fn read(value: &Value<'_>, folder: &Path, report: &mut Report) -> Option<Self> {
        let mut map = BTreeMap::new();
        let is_table = entries(value, folder, report, |name, value, report| {
            match Name::new(name) {
                // What refers to one that could not be read is not wrong for that.
                Some(name) => {
                    map.insert(name, value.unwrap_or_default());
                }
                None => {
                    let message = "a name has up to 64 letters, digits, `-` and `_`";
                    report.key(InvalidValue, message);
                }
            }
        });
        is_table.then_some(map)
    }

    fn write(&self) -> Option<Written> {
        written(self.iter().map(|(name, value)| (name.as_str(), value)))
    }

    fn check(&self, _: Option<&Bounds>, report: &mut Report) {
        for (name, value) in self {
            report.under(name.as_str(), |report| value.check(None, report));
        }
    }
}
