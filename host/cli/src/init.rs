//! `millpond init`: writes a configuration file with every setting.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millpond_server::config;

use crate::failure::Failure;
use crate::output::{print, say};

/// Write a configuration file
///
/// The file serves one component with one database. Every other setting is in it, explained, and
/// commented out with its default or an example.
#[derive(Args)]
#[command(after_help = "\
Examples:
  millpond init
  millpond init /etc/millpond.toml
  millpond init --schema > millpond.schema.json

Never overwrites a file.

Exit status: 0 if the file was written; 2 if not.")]
pub(crate) struct Init {
    /// The file to write.
    #[arg(default_value = "millpond.toml")]
    file: PathBuf,

    /// Print the JSON schema of configuration files instead, for editors.
    #[arg(long, conflicts_with = "file")]
    schema: bool,
}

impl Init {
    pub(crate) fn execute(self) -> Result<ExitCode, Failure> {
        if self.schema {
            print(&format!("{:#}\n", config::schema()));
            return Ok(ExitCode::SUCCESS);
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.file);
        let written = file.and_then(|mut file| {
            let written = file.write_all(config::commented().as_bytes());
            if written.is_err() {
                // A file that is cut short is valid, but means something else.
                let _ = std::fs::remove_file(&self.file);
            }
            written
        });
        written.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::about(
                &self.file,
                "the file exists, and is not overwritten: name another one",
            ),
            _ => Failure::about(&self.file, format_args!("cannot write the file: {error}")),
        })?;
        say(format_args!("Wrote {}", self.file.display()));
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory;
    use serde_json::Value;

    use super::*;

    /// Keys whose names are not those of the flags.
    const RENAMED: [(&str, &str); 7] = [
        ("addr", "address"),
        ("db", "file"),
        ("db-read-only", "read-only"),
        ("db-token-file", "token-file"),
        ("listen", "address"),
        ("no-access-log", "access-log"),
        ("stats", "admin"),
    ];

    /// The keys of all tables, each with its defaults: several tables can have a key of one name.
    fn keys(schema: &Value, keys: &mut BTreeMap<String, Vec<Value>>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let defaults = keys.entry(name.clone()).or_default();
            defaults.push(property["default"].clone());
            self::keys(property, keys);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                self::keys(&schema[inner], keys);
            }
        }
    }

    #[test]
    fn every_flag_of_serve_has_a_key_with_its_default() {
        let mut found = BTreeMap::new();
        keys(&config::schema(), &mut found);
        let command = crate::Millpond::command();
        let serve = command.find_subcommand("serve").expect("serve");
        let flags: Vec<_> = serve
            .get_arguments()
            .filter(|it| !it.is_positional())
            .collect();
        assert!(flags.len() > 40, "{}", flags.len());
        // Not a sentence, and not only of `run`.
        let is_value = |it: &str| it.starts_with(|c: char| c.is_ascii_digit()) && !it.contains(' ');
        let mut compared = 0;
        for flag in flags {
            let name = flag.get_long().expect("a name");
            if ["help", "version", "config", "print-config"].contains(&name) {
                continue;
            }
            let renamed = RENAMED.iter().find(|(flag, _)| *flag == name);
            let key = renamed.map_or(name, |(_, key)| key);
            let defaults = found
                .get(key)
                .unwrap_or_else(|| panic!("no key for --{name}"));
            let has = |value: &str| {
                let is_same = |it: &Value| match it.as_str() {
                    Some(text) => text == value,
                    None => format!("{it}") == value,
                };
                defaults.iter().any(is_same)
            };
            if let ([value], true) = (flag.get_default_values(), flag.get_action().takes_values()) {
                let value = value.to_str().expect("text");
                assert!(has(value), "--{name}: {value}, {defaults:?}");
                compared += 1;
            }
            // Defaults that depend on the command are in the help.
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            let stated = help.split("[default: ").nth(1);
            let stated = stated.and_then(|it| it.split([']', ';']).next());
            if let Some(stated) = stated.filter(|it| is_value(it)) {
                assert!(has(stated), "--{name}: {stated}, {defaults:?}");
                compared += 1;
            }
        }
        assert!(compared > 30, "{compared}");
    }

    #[test]
    fn a_file_is_written_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("millpond.toml");
        let init = || Init {
            file: file.clone(),
            schema: false,
        };
        init().execute().expect("written");
        let text = std::fs::read_to_string(&file).expect("a file");
        config::Config::parse(&text, &file).expect("right");
        std::fs::write(&file, "mine").expect("changed");
        init().execute().expect_err("it exists");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "mine");
    }
}
