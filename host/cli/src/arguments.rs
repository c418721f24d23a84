//! Parses values on the command line: durations, sizes, `NAME=VALUE`.

use std::env::VarError;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millpond_server::config::Address;

/// The name of a database if an option, or a guest, gives none.
pub(crate) const DEFAULT: &str = "default";

/// `10s`, `500ms`, `2m`, or a plain number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let seconds_in_unit = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit `{unit}`: write 10s, 500ms, 2m or 1h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "write a number with a unit, such as 10s, 500ms, 2m or 1h".to_string())?;
    let duration = Duration::try_from_secs_f64(number * seconds_in_unit);
    match duration.map_err(|error| error.to_string())? {
        // Adding it to a clock must not overflow.
        too_long if too_long > LONGEST => Err("it must be at most 10000h".to_string()),
        duration => Ok(duration),
    }
}

/// The longest that a limit can be.
pub(crate) const LONGEST: Duration = Duration::from_secs(10_000 * 3600);

/// A duration that a pool waits: at most one hour.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    match timeout <= Duration::from_secs(3600) {
        true => Ok(timeout),
        false => Err("it must be at most one hour".to_string()),
    }
}

/// A [`timeout`] greater than 0.
pub(crate) fn positive_timeout(text: &str) -> Result<Duration, String> {
    positive_duration(text)?;
    timeout(text)
}

pub(crate) fn address(text: &str) -> Result<Address, String> {
    text.parse()
}

/// A duration greater than 0, for a limit.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be more than 0".to_string()),
        duration => Ok(duration),
    }
}

/// `256MiB`, `64K`, or a plain number of bytes. Units are powers of 1024.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = split_unit(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("unknown unit `{unit}`: write 64MiB or 1GiB")),
    };
    let number: usize = number
        .parse()
        .map_err(|_| "write a whole number with a unit, such as 64MiB or 1GiB".to_string())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "it is too large".to_string())
}

/// A [`size`] within bounds, which are given in the same form.
pub(crate) fn size_within(
    text: &str,
    bounds: RangeInclusive<usize>,
    from: &str,
    to: &str,
) -> Result<usize, String> {
    let bytes = size(text)?;
    match bounds.contains(&bytes) {
        true => Ok(bytes),
        false => Err(format!("it must be between {from} and {to}")),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..digits], text[digits..].trim())
}

/// A path, or the URL of a server, and the name of its database.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Named {
    /// The URL of the libSQL server that the database is on; `None` for a file.
    pub(crate) fn server(&self) -> Option<&str> {
        server(&self.path)
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut named = f.debug_struct("Named");
        named.field("name", &self.name);
        match self.server() {
            // Someone may have written a token into it, which is refused later.
            Some(_) => named.finish_non_exhaustive(),
            None => named.field("path", &self.path).finish(),
        }
    }
}

/// `PATH` for the database `default`, or `NAME=PATH`. The text before the first `=` is a name,
/// unless it contains a slash or a dot: then it is part of the path.
pub(crate) fn named(text: &str) -> Result<Named, String> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) if !name.contains(['/', '\\', '.']) => (name, path),
        _ => (DEFAULT, text),
    };
    if !is_name(name) {
        return Err(format!(
            "`{name}` is not a valid database name: use up to 64 letters, digits, `-` and `_`"
        ));
    }
    if path.is_empty() {
        return Err("the path is empty".to_string());
    }
    Ok(Named {
        name: name.to_string(),
        path: path.into(),
    })
}

/// A [`named`] database: a path, or the URL of a server. Refuses any other URL, which SQLite would
/// take for a file name.
pub(crate) fn database(text: &str) -> Result<Named, String> {
    if server(Path::new(text)).is_some() {
        return Ok(Named {
            name: DEFAULT.to_string(),
            path: text.into(),
        });
    }
    refuse_url(text)?;
    let named = named(text)?;
    if server(&named.path).is_none() {
        refuse_url(&named.path.to_string_lossy())?;
    }
    Ok(named)
}

/// The URL of a libSQL server, if the path of a database is one. `./http:` is a file.
fn server(path: &Path) -> Option<&str> {
    const SCHEMES: [&str; 3] = ["libsql://", "https://", "http://"];
    let url = path.to_str()?;
    let is_server = |scheme: &&str| {
        let start = url.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    SCHEMES.iter().any(is_server).then_some(url)
}

/// Refuse a database URL, with the path to write instead. `./file:x` is a file of that name.
pub(crate) fn refuse_url(text: &str) -> Result<(), String> {
    const SCHEMES: [&str; 4] = ["file:", "sqlite:", "sqlite3:", "jdbc:sqlite:"];
    let starts_with = |scheme: &&&str| {
        let start = text.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let Some(scheme) = SCHEMES.iter().find(starts_with) else {
        let is_scheme = |scheme: &str| {
            scheme.len() > 1
                && scheme
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        };
        return match text.split_once("://") {
            Some((scheme, _)) if is_scheme(scheme) => Err(format!(
                "a `{scheme}` URL is not a database: write the path of a file, or the URL of a \
                 libSQL server (libsql:, https: or http:)"
            )),
            _ => Ok(()),
        };
    };
    let rest = &text[scheme.len()..];
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.split('#').next().unwrap_or_default();
    let has = |parameter: &str| query.split(['&', '#']).any(|given| given == parameter);
    let path = match path.strip_prefix("//") {
        Some(path) => path.strip_prefix("localhost").unwrap_or(path),
        None => path,
    };
    let path = match percent_decoded(path) {
        path if path.is_empty() || path == ":memory:" || has("mode=memory") => {
            ":memory:".to_string()
        }
        path => path,
    };
    let flag = match has("mode=ro") || has("immutable=1") {
        true => ", by --db-read-only",
        false => "",
    };
    Err(format!("a URL is not a path: write `{path}`{flag}"))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn is_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&name.len()) && name.chars().all(is_allowed)
}

/// `NAME=VALUE`, or `NAME` for the command's own value, which must be set.
pub(crate) fn variable(text: &str) -> Result<(String, Option<String>), String> {
    if let Some((name, value)) = text.split_once('=') {
        return match name {
            "" => Err("the name is empty".to_string()),
            _ => Ok((name.to_string(), Some(value.to_string()))),
        };
    }
    match std::env::var(text) {
        Ok(_) => Ok((text.to_string(), None)),
        Err(VarError::NotPresent) => Err(format!("{text} is not set: write {text}=VALUE")),
        Err(VarError::NotUnicode(_)) => Err(format!("the value of {text} is not UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(duration("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in [
            "",
            "s",
            "-1",
            "1d",
            "1.2.3",
            "NaN",
            "inf",
            "1e400",
            "99999999999999999999",
            "10001h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(positive_duration("0ms").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("65536"), Ok(65536));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1 GiB"), Ok(1 << 30));
        for wrong in ["", "M", "1.5M", "-1", "1TB", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whatever_is_written_is_read_or_refused() {
        bolero::check!()
            .with_type::<(u64, u8, Vec<u8>)>()
            .for_each(|(number, unit, text)| {
                const UNITS: &[&str] = &[
                    "", "s", "ms", "us", "m", "h", "k", "MiB", "G", "=", ":", "e3", ".",
                ];
                let unit = UNITS[usize::from(*unit) % UNITS.len()];
                for text in [
                    format!("{number}{unit}"),
                    String::from_utf8_lossy(text).into_owned(),
                ] {
                    if let Ok(duration) = duration(&text) {
                        let _ = std::time::Instant::now() + duration;
                    }
                    let _ = (timeout(&text), positive_duration(&text), size(&text));
                    let _ = (address(&text), variable(&text));
                    let _ = database(&text);
                    if let Ok(named) = named(&text) {
                        assert!(text.ends_with(&*named.path.to_string_lossy()), "{text:?}");
                    }
                }
            });
    }

    #[test]
    fn a_path_may_be_named() {
        let named_as = |text| named(text).map(|named| (named.name, named.path));
        let pair = |name: &str, path: &str| Ok((name.to_string(), PathBuf::from(path)));
        assert_eq!(named_as("app.db"), pair(DEFAULT, "app.db"));
        assert_eq!(named_as("cache=/tmp/c.db"), pair("cache", "/tmp/c.db"));
        assert_eq!(named_as("a=b=c"), pair("a", "b=c"));
        assert_eq!(named_as("./a=b.db"), pair(DEFAULT, "./a=b.db"));
        assert_eq!(named_as(":memory:"), pair(DEFAULT, ":memory:"));
        for wrong in ["", "name=", "=path", "a b=path"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_url_is_refused_with_the_path_to_write() {
        for (url, path) in [
            ("file:app.db", "`app.db`"),
            ("file:app.db?mode=ro", "`app.db`, by --db-read-only"),
            ("file:///data/app%20b.db?cache=shared", "`/data/app b.db`"),
            ("FILE://localhost/app.db#x", "`/app.db`"),
            ("file::memory:?cache=shared", "`:memory:`"),
            ("file:x?mode=memory", "`:memory:`"),
            ("sqlite:app.db", "`app.db`"),
            ("sqlite://app.db", "`app.db`"),
            ("sqlite:///data/app.db", "`/data/app.db`"),
            ("sqlite::memory:", "`:memory:`"),
            ("sqlite://", "`:memory:`"),
            ("sqlite3:app.db", "`app.db`"),
            ("jdbc:sqlite:app.db", "`app.db`"),
            ("users=file:app.db", "`app.db`"),
            ("file:100%", "`100%`"),
            ("postgres://host/app", "`postgres`"),
            ("users=mysql://host", "`mysql`"),
        ] {
            let refusal = database(url).expect_err(url);
            assert!(refusal.contains(path), "{url}: {refusal}");
        }
        for path in [
            "./file:app.db",
            "app.db",
            "/a/file:b",
            "x=./sqlite:",
            "a:b.db",
            "c://x",
        ] {
            assert!(database(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn the_url_of_a_server_is_a_database() {
        for (text, name, url) in [
            ("http://127.0.0.1:8080", DEFAULT, "http://127.0.0.1:8080"),
            (
                "app=libsql://db.example.com",
                "app",
                "libsql://db.example.com",
            ),
            ("app=HTTPS://a/b=c", "app", "HTTPS://a/b=c"),
            ("https://a/b=c", DEFAULT, "https://a/b=c"),
        ] {
            let named = database(text).expect(text);
            assert_eq!((&*named.name, named.server()), (name, Some(url)), "{text}");
        }
        for file in ["./http://a", "app=./libsql://a", "http:a", "app.db"] {
            assert_eq!(database(file).expect(file).server(), None, "{file}");
        }
    }

    #[test]
    fn what_is_printed_of_a_server_has_no_secret() {
        for text in ["https://me:secret@a", "app=libsql://a?authToken=secret"] {
            let named = database(text).expect(text);
            assert!(!format!("{named:?}").contains("secret"), "{named:?}");
        }
    }

    #[test]
    fn a_variable_has_a_value_or_inherits_one() {
        let pair = |name: &str, value: &str| Ok((name.to_string(), Some(value.to_string())));
        assert_eq!(variable("A=1"), pair("A", "1"));
        assert_eq!(variable("A="), pair("A", ""));
        assert_eq!(variable("PATH"), Ok(("PATH".to_string(), None)));
        assert!(variable("=1").is_err());
        assert!(variable("MILLPOND_TEST_THIS_IS_NOT_SET").is_err());
    }
}
