//! Where a setting is that was written in another table.

use crate::config::Config;
use crate::config::setting::{Kind, Setting, Table};

/// The table that has a setting of this name, as it is written: `components.NAME`, for instance.
pub(crate) fn table_of(name: &str) -> Option<String> {
    match Config::kind() {
        Kind::Table(table) => find(&table, "", name),
        _ => None,
    }
}

fn find(table: &Table, path: &str, name: &str) -> Option<String> {
    if table.keys.iter().any(|key| key.name == name) {
        return Some(path.to_owned());
    }
    table.keys.iter().find_map(|key| {
        let path = match path {
            "" => key.name.clone(),
            path => format!("{path}.{}", key.name),
        };
        below(&key.kind, &path, name)
    })
}

fn below(kind: &Kind, path: &str, name: &str) -> Option<String> {
    match kind {
        Kind::Table(table) => find(table, path, name),
        Kind::List(kind) => below(kind, path, name),
        Kind::Map(_, kind) => below(kind, &format!("{path}.NAME"), name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::table_of;

    #[test]
    fn a_setting_is_found_in_its_table() {
        for (name, table) in [
            ("max-statement-time", Some("components.NAME.grants.NAME")),
            ("pool-size", Some("databases.NAME")),
            ("databases", Some("")),
            ("listen", None),
        ] {
            assert_eq!(table_of(name).as_deref(), table, "{name}");
        }
    }
}
