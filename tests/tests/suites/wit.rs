//! The contract's text is as released, and equal in all its copies.
//!
//! `tests/golden/millpond-sqlite-0.1.0` is the package of that version. Once it is released, its
//! folder never changes again. Until then, and for corrections that do not change the meaning, copy
//! `wit/` there by hand:
//!
//! ```console
//! $ cp wit/*.wit tests/golden/millpond-sqlite-0.1.0/
//! $ for copy in host/wasmtime/wit guest/rust/wit guest/js/wit/deps/sqlite guest/python/millpond/wit \
//! >     guest/go/wit; do
//! >   cp wit/*.wit $copy/
//! > done
//! ```
//!
//! For a new version, add a folder with its name, and see "Versions" in `wit/pool.wit` for what it
//! may add.

use std::collections::BTreeMap;
use std::path::Path;

/// The texts in a folder, by file name.
fn texts(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    files
        .map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("a text");
            (name.into_owned(), text)
        })
        .collect()
}

/// Panics with the first line in which two folders differ.
fn assert_same(folder: &str, other: &str, hint: &str) {
    let (texts, others) = (texts(folder), texts(other));
    let names = |texts: &BTreeMap<String, String>| texts.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&texts), names(&others), "{folder}, {other}: {hint}");
    for (name, text) in &texts {
        let lines = text.split('\n').zip(others[name].split('\n'));
        for (number, (line, other_line)) in lines.enumerate() {
            let number = number + 1;
            assert_eq!(
                line, other_line,
                "{folder}, {other}: {name}:{number}: {hint}"
            );
        }
        assert!(*text == others[name], "{folder}, {other}: {name}: {hint}");
    }
}

#[test]
fn the_contract_is_as_released() {
    let version = texts("wit")["pool.wit"]
        .lines()
        .find_map(|line| line.strip_prefix("package millpond:sqlite@"))
        .and_then(|version| version.strip_suffix(';'))
        .expect("a version")
        .to_owned();
    let golden = format!("tests/golden/millpond-sqlite-{version}");
    let hint = "a released text does not change: see the top of tests/tests/suites/wit.rs";
    assert_same("wit", &golden, hint);
}

#[test]
fn each_package_has_the_contract_in_its_own_folder() {
    for copy in [
        "host/wasmtime/wit",
        "guest/rust/wit",
        "guest/js/wit/deps/sqlite",
        "guest/python/millpond/wit",
        "guest/go/wit",
    ] {
        assert_same("wit", copy, "copy wit/ there");
    }
}
