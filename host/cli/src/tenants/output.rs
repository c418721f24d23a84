//! What `millpond tenants` prints: for people, or as one JSON object on each line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millpond_sqlite::{Tenant, TenantKey};
use serde_json::{Value, json};

pub(super) const HEADING: &str = "  DATABASE        LOG  CHANGED   TENANT\n";

/// One tenant in the list.
pub(super) struct Row<'a>(pub(super) &'a Tenant);

impl Row<'_> {
    pub(super) fn line(&self, json: bool) -> String {
        let Row(tenant) = self;
        if json {
            let since = tenant.changed.duration_since(UNIX_EPOCH);
            return one_object(&json!({
                "tenant": tenant.key.as_str(),
                "database_bytes": tenant.database_bytes,
                "log_bytes": tenant.log_bytes,
                "changed_unix": since.unwrap_or_default().as_secs(),
                "suspended": tenant.is_suspended,
            }));
        }
        format!(
            "{:>10} {:>10}  {:>7}   {}{}\n",
            size(tenant.database_bytes),
            size(tenant.log_bytes),
            self.age(),
            tenant.key,
            if tenant.is_suspended {
                " (suspended)"
            } else {
                ""
            }
        )
    }

    /// Its size and age.
    pub(super) fn about(&self) -> String {
        let size = size(self.0.database_bytes + self.0.log_bytes);
        format!("{size}, changed {} ago", self.age())
    }

    fn age(&self) -> String {
        let age = SystemTime::now().duration_since(self.0.changed);
        ago(age.unwrap_or_default())
    }
}

/// What was done to a tenant.
pub(super) fn changed(key: &TenantKey, what: &str, is_changed: bool, json: bool) -> String {
    match (json, is_changed) {
        (true, _) => one_object(&json!({ "tenant": key.as_str(), what: is_changed })),
        (false, true) => format!("{key}: {what}\n"),
        (false, false) => format!("{key}: was {what} already\n"),
    }
}

pub(super) fn one_object(object: &Value) -> String {
    format!("{object}\n")
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        (number, unit) = (number / 1024.0, unit + 1);
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{number:.1} {}", UNITS[unit]),
    }
}

fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ ..3_600 => format!("{} min", seconds / 60),
        seconds @ ..86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_short() {
        let sizes = [0, 1023, 1024, 1 << 20, 10 << 30, u64::MAX].map(size);
        let expected = [
            "0 B",
            "1023 B",
            "1.0 KiB",
            "1.0 MiB",
            "10.0 GiB",
            "16777216.0 TiB",
        ];
        assert_eq!(sizes, expected);
        let ages = [0, 59, 60, 3_599, 3_600, 86_400]
            .map(Duration::from_secs)
            .map(ago);
        assert_eq!(ages, ["0 s", "59 s", "1 min", "59 min", "1 h", "1 d"]);
    }
}
