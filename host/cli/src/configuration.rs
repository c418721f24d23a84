//! Configurations: those in files, and those that flags mean.

use std::fs;
use std::path::Path;

use millpond_server::config::{Component, Config, Name, Problems};

use crate::failure::Failure;

/// Read the configuration in a file.
pub(crate) fn read(file: &Path) -> Result<Config, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => ": write one with `millpond init`",
            _ => "",
        };
        let message = format_args!("cannot read the configuration: {error}{hint}");
        Failure::about(file, message)
    })?;
    Config::parse(&text, file).map_err(Failure::problems)
}

/// The configuration with this component as its only one, checked.
pub(crate) fn of_flags(mut config: Config, component: Component) -> Result<Config, Failure> {
    let stem = component.file.file_stem().unwrap_or_default();
    let name = stem.to_str().and_then(Name::new);
    // Any name: it has no other.
    if let Some(name) = name.or_else(|| Name::new("app")) {
        config.components.insert(name, component);
    }
    match config.check() {
        Ok(()) => Ok(config),
        Err(problems) => Err(Failure::mistake(of_a_flag(&problems))),
    }
}

/// The first problem of a configuration that flags mean. Keys have the names of their flags.
fn of_a_flag(problems: &Problems) -> String {
    let Some(problem) = problems.iter().next() else {
        return String::new();
    };
    let key = problem.key().to_string();
    let name = match key.rsplit('.').next().unwrap_or_default() {
        "file" | "url" => "db",
        name => name,
    };
    let message = problem
        .message()
        .replace("`allow-plain-http = true`", "--allow-plain-http");
    format!("--{name}: {message}")
}
