//! The file that `millpond init` writes.

use crate::config::Config;
use crate::config::check::FILE_KEYS;
use crate::config::setting::{Bounds, Described, Kind, Presence, Setting, Table};
use crate::config::text::wrapped;

const WIDTH: usize = 100;

const TOP: &str = "\
Millpond's configuration: one component with one database. Every setting is here. A setting that is \
commented out has its default, or is unset and has an example; its comment says which.

Relative paths are relative to this file. Durations have the unit h, m, s, ms, us or ns; sizes B, KiB, \
MiB or GiB.";

/// A configuration file with every setting, explained and commented out with its default or an
/// example. Only what every file needs is not: one component with one database.
pub fn commented() -> String {
    let Kind::Table(root) = Config::kind() else {
        return String::new();
    };
    let mut text = wrapped(TOP, "# ", WIDTH);
    let table = |key: &str| find(&root, key).kind.table().cloned();
    for (header, key, active) in [
        ("[server]", "server", ""),
        ("[[listeners]]", "listeners", ""),
        ("[admin]", "admin", ""),
        ("[telemetry]", "telemetry", ""),
        ("[components.app]", "components", "file"),
    ] {
        if let Some(table) = table(key) {
            section(header, &table, active, |_| true, &mut text);
        }
    }
    let component = table("components");
    let grant = component
        .as_ref()
        .and_then(|table| find(table, "grants").kind.table());
    if let Some(grant) = grant {
        section(
            "[components.app.grants.default]",
            grant,
            "database",
            |_| true,
            &mut text,
        );
    }
    if let Some(database) = table("databases") {
        elsewhere(&database, &mut text);
        let is_of_file = |key: &Described| FILE_KEYS.contains(&key.name.as_str());
        section("[databases.app]", &database, "file", is_of_file, &mut text);
    }
    if let Some(route) = table("routes") {
        section("[[routes]]", &route, "component", |_| true, &mut text);
    }
    text
}

/// The key of this name, which exists.
fn find<'a>(table: &'a Table, name: &str) -> &'a Described {
    let mut keys = table.keys.iter();
    keys.find(|key| key.name == name)
        .expect("a test calls this with all names")
}

/// A table with a line for each key, of which the `active` one is not commented out.
fn section(
    header: &str,
    table: &Table,
    active: &str,
    is_shown: impl Fn(&Described) -> bool,
    text: &mut String,
) {
    text.push('\n');
    text.push_str(&wrapped(&table.about, "# ", WIDTH));
    text.push_str(&format!("{header}\n"));
    for key in table.keys.iter().filter(|key| is_shown(key)) {
        // Has a section of its own.
        if key.name == "grants" {
            continue;
        }
        let mark = if key.name == active { "" } else { "#" };
        text.push('\n');
        let example = match (key.name == active, key.example) {
            (false, Some(_)) => " Example:",
            _ => "",
        };
        text.push_str(&wrapped(&(about(key) + example), "# ", WIDTH));
        for inner in key.kind.table().iter().flat_map(|table| &table.keys) {
            let about = format!("`{}`: {}", inner.name, about(inner));
            text.push_str(&wrapped(&about, "#   ", WIDTH));
        }
        text.push_str(&format!("{mark}{} = {}\n", key.name, key.sample()));
    }
}

/// Databases that are not in one file: each in one line, so that it can be uncommented alone.
fn elsewhere(database: &Table, text: &mut String) {
    let keys = database.keys.iter();
    let (of_server, of_folder): (Vec<_>, Vec<_>) = keys
        .filter(|key| !FILE_KEYS.contains(&key.name.as_str()) && key.name != "memory")
        .partition(|key| !["folder", "max-open-pools", "pool-idle-timeout"].contains(&&*key.name));
    text.push_str("\n# Databases that are not in one file.\n[databases]\n");
    for (name, keys) in [
        ("tenants", of_folder),
        ("remote", of_server),
        ("scratch", vec![find(database, "memory")]),
    ] {
        text.push('\n');
        for key in &keys {
            let about = format!("`{}`: {}", key.name, about(key));
            text.push_str(&wrapped(&about, "# ", WIDTH));
        }
        let values = keys.iter().map(|key| match key.name.as_str() {
            "memory" => "memory = true".to_owned(),
            name => format!("{name} = {}", key.sample()),
        });
        let values: Vec<_> = values.collect();
        text.push_str(&format!("#{name} = {{ {} }}\n", values.join(", ")));
    }
}

/// What a key means, what it can be, and what holds without it.
fn about(key: &Described) -> String {
    let mut about = key.about.clone();
    if let Kind::Choice(choices) = &key.kind {
        let choices = choices.iter();
        let choices = choices.map(|(value, meaning)| format!("\"{value}\": {meaning}"));
        about.push_str(&format!(" {}.", choices.collect::<Vec<_>>().join("; ")));
    }
    if let Some(bounds) = key.bounds.as_ref().map(Bounds::shown) {
        about.push_str(&format!(" Allowed: {bounds}."));
    }
    let presence = match (key.presence, key.default()) {
        (Presence::Required(_), _) => " Required.".to_owned(),
        (_, Some(default)) => format!(" Default: {default}."),
        (Presence::Unset(meaning), None) => format!(" Default: {meaning}."),
        (Presence::Default(_), None) => String::new(),
    };
    about + &presence
}
