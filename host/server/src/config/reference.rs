//! The reference page.

use crate::config::Config;
use crate::config::setting::{Bounds, Described, Form, Kind, Presence, Setting, Table};
use crate::config::text::wrapped;

const WIDTH: usize = 110;

const TOP: &str = "\
# The configuration file

`millpond.toml` names components, databases, and which requests go where. `millpond init` writes one with
every setting, commented out. `millpond init --schema` prints a JSON schema for editors. All mistakes in a
file are reported together, each with its line and column. Unknown keys, and settings that would have no
effect, are mistakes.

A duration has the unit `h`, `m`, `s`, `ms`, `us` or `ns`, such as `\"10s\"`. A size is a number of bytes, or
a text with the unit `KiB`, `MiB` or `GiB` (powers of 1024), such as `\"64MiB\"`. Relative paths are relative
to the file.

```toml
[components.notes]
file = \"notes.wasm\"
grants.default = { database = \"notes\" }

[databases.notes]
file = \"notes.db\"
migrations = \"migrations\"
```
";

/// A page in Markdown that explains every setting.
pub fn reference() -> String {
    let mut text = TOP.to_owned();
    let Kind::Table(root) = Config::kind() else {
        return text;
    };
    for key in &root.keys {
        tables(&key.name, &key.kind, &mut text);
    }
    text
}

/// The section of a table, and those of the tables in it.
fn tables(path: &str, kind: &Kind, text: &mut String) {
    let (header, path, table) = match kind {
        Kind::Table(table) => (format!("[{path}]"), path.to_owned(), table),
        Kind::List(kind) => match &**kind {
            Kind::Table(table) => (format!("[[{path}]]"), path.to_owned(), table),
            _ => return,
        },
        Kind::Map(_, kind) => match &**kind {
            Kind::Table(table) => (format!("[{path}.NAME]"), format!("{path}.NAME"), table),
            _ => return,
        },
        _ => return,
    };
    text.push_str(&format!("\n## `{header}`\n\n"));
    section(table, text);
    for key in &table.keys {
        tables(&format!("{path}.{}", key.name), &key.kind, text);
    }
}

fn section(table: &Table, text: &mut String) {
    text.push_str(&wrapped(&table.about, "", WIDTH));
    text.push('\n');
    for key in &table.keys {
        let item = format!("**`{}`** ({}). {}", key.name, facts(key), key.about);
        let item = wrapped(&item, "  ", WIDTH);
        text.push_str(&format!("- {}", item.trim_start()));
        if let Kind::Choice(choices) = &key.kind {
            for (value, meaning) in *choices {
                let item = wrapped(&format!("`\"{value}\"`: {meaning}."), "    ", WIDTH);
                text.push_str(&format!("  - {}", item.trim_start()));
            }
        }
    }
}

/// Type, default and bounds.
fn facts(key: &Described) -> String {
    let mut facts = vec![type_of(&key.kind)];
    facts.extend(key.bounds.as_ref().map(Bounds::shown));
    facts.push(match (key.presence, key.default()) {
        (Presence::Required(_), _) => "required".to_owned(),
        (_, Some(default)) => format!("default `{default}`"),
        (Presence::Unset(meaning), None) => format!("default: {meaning}"),
        (Presence::Default(_), None) => String::new(),
    });
    facts.join("; ")
}

fn type_of(kind: &Kind) -> String {
    match kind {
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Count => "number".to_owned(),
        Kind::Text(Form::Any | Form::Secret) => "text".to_owned(),
        Kind::Text(Form::Path) => "path".to_owned(),
        Kind::Text(Form::Size) => "size".to_owned(),
        Kind::Text(Form::Duration) => "duration".to_owned(),
        Kind::Text(Form::Address) => "address".to_owned(),
        Kind::Text(Form::Endpoint) => "URL".to_owned(),
        Kind::Choice(_) => "one of those below".to_owned(),
        Kind::List(kind) => match &**kind {
            Kind::Choice(choices) => {
                let values = choices.iter().map(|(value, _)| format!("`\"{value}\"`"));
                format!("list of {}", values.collect::<Vec<_>>().join(", "))
            }
            Kind::Table(_) => "list of tables, see below".to_owned(),
            _ => "list of texts".to_owned(),
        },
        Kind::Map(_, kind) => match kind.table() {
            Some(_) => "tables by name, see below".to_owned(),
            None => "table of texts".to_owned(),
        },
        Kind::Table(_) => "table, see below".to_owned(),
    }
}
