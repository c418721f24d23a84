//! `millpond new`: writes a small application, with the library of its language beside it.
//!
//! The files are those of `guest/`: the examples and the libraries. The folder `templates` arranges
//! them by symbolic links, so that there is no second copy to keep equal; `cargo package` replaces
//! each link by the file that it names. Files that only a written application has are in
//! `templates` itself. A file loses the ending `.template` of its name, without which cargo would
//! take a folder with a `Cargo.toml` for another package, and git would obey a `.gitignore`.
//!
//! A clone must therefore have symbolic links, which git on Windows makes only if the user may.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use include_dir::{Dir, include_dir};

use crate::failure::Failure;
use crate::output::print;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// An application in one language: the folder of this name in `templates`.
#[derive(Debug)]
struct Language {
    /// The value of `--lang`.
    name: &'static str,
    title: &'static str,
    /// What to replace: in a file, each occurrence of a text by another, in which `NAME` is the
    /// application's name.
    replace: &'static [(&'static str, &'static str, &'static str)],
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "rust",
        title: "Rust",
        replace: &[
            ("Cargo.toml", "name = \"links\"", "name = \"NAME\""),
            (
                "Cargo.toml",
                "path = \"..\"",
                "path = \"vendor/millpond-guest\"",
            ),
            ("Cargo.lock", "name = \"links\"", "name = \"NAME\""),
            ("README.md", "# links\n", "# NAME\n"),
            ("README.md", "links.wasm", "NAME.wasm"),
        ],
    },
    Language {
        name: "python",
        title: "Python",
        replace: &[
            ("README.md", "# links\n", "# NAME\n"),
            ("README.md", "venvs/links", "venvs/NAME"),
            ("README.md", "links.wasm", "NAME.wasm"),
        ],
    },
    Language {
        name: "js",
        title: "JavaScript and TypeScript",
        replace: &[
            ("package.json", "\"millpond-links\"", "\"NAME\""),
            ("package.json", "file:..", "file:vendor/millpond"),
            ("package.json", "links.wasm", "NAME.wasm"),
            ("package-lock.json", "\"millpond-links\"", "\"NAME\""),
            ("package-lock.json", "file:..", "file:vendor/millpond"),
            ("package-lock.json", "\"..\"", "\"vendor/millpond\""),
            ("test/serve.test.js", "links.wasm", "NAME.wasm"),
            ("README.md", "# links\n", "# NAME\n"),
        ],
    },
    Language {
        name: "c",
        title: "C",
        replace: &[
            (
                "build",
                "guest/c/example/build -o links.wasm",
                "./build -o NAME.wasm",
            ),
            ("build", "$here/../build", "$here/vendor/millpond/build"),
            ("README.md", "# links\n", "# NAME\n"),
            ("README.md", "links.wasm", "NAME.wasm"),
        ],
    },
    Language {
        name: "go",
        title: "Go",
        replace: &[
            ("go.mod", "module shortener", "module NAME"),
            ("go.mod", "=> ../", "=> ./millpond"),
            ("README.md", "venvs/links", "venvs/NAME"),
            ("README.md", "# links\n", "# NAME\n"),
            ("README.md", "links.wasm", "NAME.wasm"),
        ],
    },
];

/// Names that cargo, npm or Go refuse, or that a dependency has.
const RESERVED_NAMES: [&str; 12] = [
    "build",
    "cmd",
    "deps",
    "examples",
    "go",
    "incremental",
    "millpond",
    "millpond-guest",
    "node_modules",
    "std",
    "toolchain",
    "wstd",
];

/// Write a new application
///
/// A URL shortener, to change into your own: its source, migrations, a README with the commands
/// that build and serve it, pinned versions, and the library of its language. Needs no network.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond new --lang rust shortener
  millpond new --lang python shortener
  millpond new --lang js shortener
  millpond new --lang c shortener
  millpond new --lang go shortener

Never overwrites anything: the folder NAME must not exist, or be empty.

Exit status: 0 if the application was written; 2 if not.")]
pub(crate) struct New {
    /// The application's language: rust, python, js (JavaScript and TypeScript), c or go.
    #[arg(long, value_name = "LANG", value_parser = language)]
    lang: &'static Language,

    /// The application's name, and that of its new folder: a letter, then letters, digits, `-` and
    /// `_`; at most 64.
    #[arg(value_parser = name)]
    name: String,
}

fn language(text: &str) -> Result<&'static Language, String> {
    let found = LANGUAGES.iter().find(|language| language.name == text);
    found.ok_or_else(|| {
        let names: Vec<_> = LANGUAGES.iter().map(|language| language.name).collect();
        format!("choose one of {}", names.join(", "))
    })
}

fn name(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins || text.len() > 64 || !text.chars().all(is_allowed) {
        return Err("write a letter, then letters, digits, `-` and `_`, at most 64".to_string());
    }
    if RESERVED_NAMES.contains(&text.to_ascii_lowercase().as_str()) {
        return Err(
            "this name is reserved by cargo, npm, Go or a dependency: choose another".to_string(),
        );
    }
    Ok(text.to_string())
}

impl New {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        let folder = Path::new(&self.name);
        let files = files(self.lang, &self.name);
        make_folder(folder)?;
        for (path, contents) in &files {
            let path = folder.join(path);
            write(&path, contents)
                .map_err(|error| Failure::about(&path, format_args!("cannot write: {error}")))?;
        }
        print(&report(self.lang, &self.name, &files));
        Ok(ExitCode::SUCCESS)
    }
}

/// What an application consists of: contents by path.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(language: &Language, name: &str) -> Files {
    let mut files = Files::new();
    if let Some(template) = TEMPLATES.get_dir(language.name) {
        collect(template, template.path(), &mut files);
    }
    for (path, from, to) in language.replace {
        let Some(contents) = files.get_mut(Path::new(path)) else {
            continue;
        };
        if let Ok(text) = std::str::from_utf8(contents) {
            *contents = text.replace(from, &to.replace("NAME", name)).into_bytes();
        }
    }
    files
}

fn collect(folder: &Dir<'_>, root: &Path, files: &mut Files) {
    for file in folder.files() {
        let path = file.path().strip_prefix(root).unwrap_or(file.path());
        let path = match path.extension() {
            Some(extension) if extension == "template" => path.with_extension(""),
            _ => path.to_owned(),
        };
        files.insert(path, file.contents().to_owned());
    }
    for folder in folder.dirs() {
        collect(folder, root, files);
    }
}

/// Create the folder, unless it is there and empty.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        outcome => {
            return outcome.map_err(|error| {
                Failure::about(folder, format_args!("cannot create the folder: {error}"))
            });
        }
    }
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::about(
            folder,
            "the folder is not empty: choose another name, or remove it",
        )),
        Err(error) => Err(Failure::about(
            folder,
            format_args!("cannot be used as the folder: {error}"),
        )),
    }
}

/// Write a new file, executable if it is a script. Fails if there is one.
fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if contents.starts_with(b"#!") {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o777); // The process's umask applies.
    }
    options.open(path)?.write_all(contents)
}

/// What was written, and the commands of its README.
fn report(language: &Language, name: &str, files: &Files) -> String {
    let entries = files.keys().filter_map(|path| {
        let mut parts = path.iter();
        let entry = parts.next()?.to_string_lossy();
        let is_folder = parts.next().is_some();
        Some(if is_folder {
            format!("{entry}/")
        } else {
            entry.into_owned()
        })
    });
    let entries: BTreeSet<String> = entries.collect();
    let entries: Vec<_> = entries.into_iter().collect();
    let readme = files.get(Path::new("README.md")).map(Vec::as_slice);
    let readme = String::from_utf8_lossy(readme.unwrap_or_default());
    let console = readme.split("```").nth(1).unwrap_or_default();
    let commands: String = console
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .map(|command| format!("  {command}\n"))
        .collect();
    format!(
        "Wrote an application in {} to {name}/, {} files:\n  {}\n\nTo build and serve it, as \
         {name}/README.md explains:\n  cd {name}\n{commands}",
        language.title,
        files.len(),
        entries.join("  "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_replacement_is_needed() {
        for language in LANGUAGES {
            let template = Language {
                replace: &[],
                ..*language
            };
            let files = files(&template, "x");
            for (path, from, _) in language.replace {
                let text = String::from_utf8_lossy(&files[Path::new(path)]);
                assert!(text.contains(from), "{}: {path}: {from}", language.name);
            }
        }
    }

    #[test]
    fn each_language_has_its_parts() {
        for language in LANGUAGES {
            let files = files(language, "shortener");
            for part in ["README.md", ".gitignore", "migrations/001-links.sql"] {
                assert!(
                    files.contains_key(Path::new(part)),
                    "{}: {part}",
                    language.name
                );
            }
            let report = report(language, "shortener", &files);
            let commands = report.lines().filter(|line| line.starts_with("  "));
            assert_eq!(commands.count(), 1 + 1 + 3, "{report}");
            assert!(
                report.contains("millpond serve") || language.name == "js",
                "{report}"
            );
        }
    }

    #[test]
    fn a_name_is_one_that_every_tool_accepts() {
        for good in ["a", "my-app", "My_App2"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            "1a",
            "-a",
            "a/b",
            "..",
            "a b",
            "ä",
            "build",
            "Millpond",
            "node_modules",
            &long,
        ] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
