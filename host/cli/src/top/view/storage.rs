//! The disks and the upkeep of each database.

use serde_json::{Map, Value};

use super::{shown, time, titled};

/// A row for each database that has a disk or has had upkeep.
pub(super) fn storage(now: &Value) -> Vec<String> {
    let none = Map::new();
    let databases = now["databases"].as_object().unwrap_or(&none);
    let rows = databases.iter().filter_map(|(name, database)| {
        let (disks, upkeep) = (&database["disks"], &database["upkeep"]);
        let has_disk = disks.as_array().is_some_and(|disks| !disks.is_empty());
        let last = &upkeep["last"];
        if !has_disk && !last.is_object() {
            return None;
        }
        let last_ended = last["ago_s"].as_f64();
        let result = last["complete"].as_bool();
        Some(format!(
            "{name:<20} {:>14} {:>14} {:>8} {:>9} {:>9} {:>8} {:>7} {:>7}",
            free(disks, "database"),
            free(disks, "backups"),
            or_none(&upkeep["total"]),
            last_ended.map_or_else(|| "-".to_owned(), |ago| format!("{} ago", time(ago))),
            result.map_or("-", |complete| if complete {
                "complete"
            } else {
                "partial"
            }),
            shown(last["ms"].as_f64()),
            or_none(&last["analyzed_tables"]),
            or_none(&last["freed_pages"]),
        ))
    });
    let head = format!(
        "{:<20} {:>14} {:>14} {:>8} {:>9} {:>9} {:>8} {:>7} {:>7}",
        "DATABASE",
        "DISK FREE",
        "BACKUPS FREE",
        "UPKEEPS",
        "LAST",
        "RESULT",
        "TIME",
        "TABLES",
        "PAGES"
    );
    titled(head, rows.collect())
}

/// How much is free where a database, or its backups, are; and whether that is too little.
fn free(disks: &Value, of: &str) -> String {
    let disks = disks.as_array().map_or(&[][..], Vec::as_slice);
    let Some(disk) = disks.iter().find(|disk| disk["of"] == of) else {
        return "-".to_owned();
    };
    let size = size(disk["free"].as_f64().unwrap_or_default());
    match disk["low"] == true {
        true => format!("{size} LOW"),
        false => size,
    }
}

fn or_none(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    }
}

/// A number of bytes, to a tenth of its unit.
fn size(bytes: f64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter().peekable();
    let mut size = bytes;
    while let Some(unit) = units.next() {
        if size < 1024.0 || units.peek().is_none() {
            return format!("{}{unit}", (size * 10.0).round() / 10.0);
        }
        size /= 1024.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_database_has_a_row_if_it_has_a_disk_or_upkeep() {
        let upkeep = json!({ "total": 3, "last": {
            "ago_s": 75, "ms": 12.5, "analyzed_tables": 2, "freed_pages": 128, "complete": false,
        } });
        let none = json!({ "total": 0, "last": null });
        let lines = storage(&json!({ "databases": {
            "file": { "disks": [
                { "of": "database", "free": 30_000_000, "low": true },
                { "of": "backups", "free": 5_u64 << 40, "low": false },
            ], "upkeep": upkeep },
            "memory": { "disks": [], "upkeep": none },
            "new": { "disks": [{ "of": "database", "free": 1000, "low": false }], "upkeep": none },
        } }));
        let cells = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert_eq!(
            cells(&lines[2]),
            "file 28.6MiB LOW 5TiB 3 1m15s ago partial 12.5ms 2 128"
        );
        assert_eq!(cells(&lines[3]), "new 1000B - 0 - - - - -");
        // A server of an earlier version does not tell.
        assert!(storage(&json!({ "databases": { "db": {} } })).is_empty());
    }
}
