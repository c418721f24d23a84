//! Writes a configuration as TOML.

use std::fmt::Write;

use crate::config::Config;
use crate::config::setting::{Setting, Written};

/// The text of a file.
pub(crate) fn document(config: &Config) -> String {
    match config.write() {
        Some(Written::Table(entries)) => entries_of_file(&entries),
        _ => String::new(),
    }
}

fn entries_of_file(entries: &[(String, Written)]) -> String {
    let mut text = String::new();
    table(entries, "", &mut text);
    text
}

/// A table whose header is written: first its own values, then the tables in it.
fn table(entries: &[(String, Written)], path: &str, text: &mut String) {
    for (name, written) in entries {
        if let Some(value) = inline(written) {
            line(text, format_args!("{} = {value}", key(name)));
        }
    }
    for (name, written) in entries {
        let path = match path {
            "" => key(name),
            path => format!("{path}.{}", key(name)),
        };
        match written {
            Written::Table(entries) => {
                let is_value = |(_, written): &(_, Written)| inline(written).is_some();
                // The header of a table that only has tables is implied by theirs.
                if entries.is_empty() || entries.iter().any(is_value) {
                    header(text, format_args!("[{path}]"));
                }
                table(entries, &path, text);
            }
            Written::List(items) if inline(written).is_none() => {
                for item in items {
                    header(text, format_args!("[[{path}]]"));
                    if let Written::Table(entries) = item {
                        table(entries, &path, text);
                    }
                }
            }
            _ => {}
        }
    }
}

fn header(text: &mut String, header: std::fmt::Arguments<'_>) {
    if !text.is_empty() {
        text.push('\n');
    }
    line(text, header);
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

/// A value in one line; `None` for tables, and for lists of tables.
fn inline(written: &Written) -> Option<String> {
    match written {
        Written::Value(value) => Some(value.to_string()),
        Written::List(items) => {
            let items: Option<Vec<_>> = items.iter().map(inline).collect();
            items.map(|items| format!("[{}]", items.join(", ")))
        }
        Written::Table(_) => None,
    }
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        // In one line, as a key must be.
        false => serde_json::Value::from(name)
            .to_string()
            .replace('\u{7f}', "\\u007f"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bolero::Driver;

    use super::*;
    use crate::config::report::Report;
    use crate::config::setting::{Bounds, Form, Kind, Literal};
    use crate::config::source::Source;

    /// Settings that are right alone, but contradict one another.
    #[derive(Debug)]
    struct Anything(String);

    struct AnySettings;

    impl bolero::ValueGenerator for AnySettings {
        type Output = Anything;

        fn generate<D: Driver>(&self, driver: &mut D) -> Option<Anything> {
            match anything(&Config::kind(), None, driver)? {
                Written::Table(entries) => Some(Anything(entries_of_file(&entries))),
                _ => None,
            }
        }
    }

    fn anything<D: Driver>(
        kind: &Kind,
        bounds: Option<&Bounds>,
        driver: &mut D,
    ) -> Option<Written> {
        let few = |driver: &mut D| driver.produce::<u8>().map(|number| number % 3);
        Some(match kind {
            Kind::Flag => Written::Value(driver.produce::<bool>()?.into()),
            Kind::Count => Written::Value(i64::from(count(bounds, driver)?).into()),
            Kind::Text(form) => Written::Value(text(*form, driver)?.into()),
            Kind::Choice(choices) => {
                let (text, _) = choices[usize::from(driver.produce::<u8>()?) % choices.len()];
                Written::Value(text.into())
            }
            Kind::List(kind) => {
                let items = (0..few(driver)?).map(|_| anything(kind, None, driver));
                Written::List(items.collect::<Option<_>>()?)
            }
            Kind::Map(is_named, kind) => {
                let mut entries: Vec<(String, Written)> = Vec::new();
                for number in 0..few(driver)? {
                    let name = match is_named {
                        true => format!("name-{number}"),
                        false => format!("{number}{}", text(Form::Any, driver)?),
                    };
                    entries.push((name, anything(kind, None, driver)?));
                }
                Written::Table(entries)
            }
            Kind::Table(table) => {
                let mut entries = Vec::new();
                for key in &table.keys {
                    if driver.produce::<bool>()? {
                        let value = anything(&key.kind, key.bounds.as_ref(), driver)?;
                        entries.push((key.name.clone(), value));
                    }
                }
                Written::Table(entries)
            }
        })
    }

    fn count<D: Driver>(bounds: Option<&Bounds>, driver: &mut D) -> Option<u32> {
        let Some(Bounds {
            from: Literal::Count(from),
            to: Literal::Count(to),
        }) = bounds
        else {
            return driver.produce();
        };
        let within = from + driver.produce::<u64>()? % (to - from).saturating_add(1);
        Some(u32::try_from(within).unwrap_or(u32::MAX))
    }

    fn text<D: Driver>(form: Form, driver: &mut D) -> Option<String> {
        let number = driver.produce::<u64>()?;
        Some(match form {
            Form::Size => ["", "KiB", "MiB"].map(|unit| format!("{}{unit}", number >> 32))
                [(number % 3) as usize]
                .clone(),
            Form::Duration => format!("{number}ns"),
            Form::Address => format!("[::{:x}]:{}", number >> 48, number & 0xffff),
            Form::Endpoint => format!("http://a{:x}:{}", number >> 48, (number & 0x7fff) + 1),
            Form::Path => format!("/{}", driver.produce::<String>()?.replace('\0', "")),
            Form::Any | Form::Secret => driver.produce()?,
        })
    }

    fn read(text: &str) -> (Config, Report) {
        let (source, syntax) = Source::parse(text);
        assert_eq!(syntax, [], "{text}");
        let mut report = Report::default();
        let config = Config::read(source.root(), Path::new("/"), &mut report);
        (config.expect("a table"), report)
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let tried = AtomicUsize::new(0);
        bolero::check!()
            .with_generator(AnySettings)
            .for_each(|Anything(text)| {
                let (config, report) = read(text);
                assert_eq!(report.problems, [], "{text}");
                let written = config.to_toml();
                let (again, report) = read(&written);
                assert_eq!(report.problems, [], "{written}");
                assert_eq!(config, again, "{written}");
                assert_eq!(written, again.to_toml());
                tried.fetch_add(usize::from(config != Config::default()), Ordering::Relaxed);
            });
        assert!(
            tried.into_inner() > 0,
            "only what has no settings was tried"
        );
    }
}
