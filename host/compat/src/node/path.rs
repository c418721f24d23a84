//! The path of a database: which granted database it names, and whether to write.

use super::failure::{Failure, Result};
use super::wit;

/// The longest path, in bytes: each open handle keeps its own.
const MAX_PATH: usize = 4 << 10;

/// What a path says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// As the guest wrote it.
    pub(super) path: String,
    /// The name of the granted database.
    pub(super) name: String,
    pub(super) read_only: bool,
}

impl Location {
    pub(super) fn of(path: wit::Path) -> Result<Location> {
        let no_path = || {
            let message =
                "The \"path\" argument must be a string, Uint8Array, or URL without null bytes.";
            Failure::argument(message)
        };
        let (path, is_url) = match path {
            wit::Path::Text(path) => (path, false),
            wit::Path::Bytes(path) => (String::from_utf8(path).map_err(|_| no_path())?, false),
            wit::Path::Url(path) => (path, true),
        };
        if path.contains('\0') {
            return Err(no_path());
        }
        if path.len() > MAX_PATH {
            return Err(Failure::too_large(format!(
                "the path has more than {MAX_PATH} bytes"
            )));
        }
        // SQLite takes a text that looks like a URL for one.
        let (file, query) = match path.strip_prefix("file:") {
            Some(url) => {
                let url = url.split('#').next().unwrap_or_default();
                url.split_once('?').unwrap_or((url, ""))
            }
            None if is_url => return Err(Failure::url_scheme()),
            None => (&*path, ""),
        };
        let mut parameters = query.split('&');
        if parameters
            .clone()
            .any(|parameter| parameter == "mode=memory")
        {
            return Err(Failure::unavailable("mode=memory is"));
        }
        let name = file.rsplit(['/', '\\']).next().unwrap_or_default();
        let name = match name.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => name,
        };
        Ok(Location {
            name: name.to_owned(),
            read_only: parameters.any(|parameter| parameter == "mode=ro"),
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> String {
        Location::of(wit::Path::Text(path.to_owned()))
            .expect("a path")
            .name
    }

    #[test]
    fn the_file_name_without_its_extension_is_the_name() {
        for path in [
            "app",
            "app.db",
            "./data/app.sqlite3",
            "/app",
            "C:\\data\\app.db",
            "file:app.db",
            "file:///data/app.db?mode=ro#there",
        ] {
            assert_eq!(name(path), "app", "{path}");
        }
        assert_eq!(name("a.b.db"), "a.b");
        assert_eq!(name(".db"), ".db");
        assert_eq!(name(":memory:"), ":memory:");
        assert_eq!(name(""), "");
    }

    #[test]
    fn a_url_may_ask_for_reading() {
        let read_only = |url: &str| {
            let location = Location::of(wit::Path::Url(url.to_owned()));
            location.expect("a path").read_only
        };
        assert!(read_only("file:app.db?cache=shared&mode=ro"));
        assert!(!read_only("file:app.db?mode=rw"));
        let memory = "file:app.db?cache=shared&mode=memory";
        Location::of(wit::Path::Url(memory.to_owned())).expect_err("another database");
        Location::of(wit::Path::Url("http://example.com".to_owned())).expect_err("no file");
        Location::of(wit::Path::Text("a\0".to_owned())).expect_err("a null byte");
        Location::of(wit::Path::Bytes(vec![0xff])).expect_err("no text");
        Location::of(wit::Path::Text("x".repeat(MAX_PATH + 1))).expect_err("too long");
    }
}
