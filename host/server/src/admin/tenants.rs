//! Which tenants use their databases, and how much.

use std::time::Instant;

use hashlink::LinkedHashMap;
use serde_json::{Value, json};

/// How many tenants of one database are counted: the most recently used ones.
const MAX_TENANTS: usize = 1000;
/// How many tenants, of all databases, are shown.
const SHOWN: usize = 50;

/// The most recently used tenants of one database. Their number is limited, so that clients cannot
/// fill the memory.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    /// The least recently used one first.
    known: LinkedHashMap<Box<str>, Tenant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Tenant {
    statements: u64,
    is_open: bool,
    last_use: Instant,
}

impl Tenants {
    /// The tenant has run a statement.
    pub(super) fn used(&mut self, name: &str) {
        self.change(name, |tenant| {
            tenant.statements += 1;
            tenant.last_use = Instant::now();
        });
    }

    /// The tenant's database was opened.
    pub(super) fn opened(&mut self, name: &str) {
        self.change(name, |tenant| tenant.is_open = true);
    }

    /// The tenant's database was closed.
    pub(super) fn closed(&mut self, name: &str) {
        if let Some(tenant) = self.known.get_mut(name) {
            tenant.is_open = false;
        }
    }

    /// Change the tenant's entry, and make it the most recently used one. Adds it if it is new.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Tenant)) {
        if let Some(tenant) = self.known.to_back(name) {
            change(tenant);
            return;
        }
        if self.known.len() >= MAX_TENANTS {
            self.known.pop_front();
        }
        let mut tenant = Tenant {
            statements: 0,
            is_open: false,
            last_use: Instant::now(),
        };
        change(&mut tenant);
        self.known.insert(name.into(), tenant);
    }

    /// The tenants with their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Tenant)> {
        self.known.iter().map(|(name, tenant)| (&**name, *tenant))
    }
}

/// Those with the most statements, of all databases.
pub(super) fn to_json(mut all: Vec<(&str, Box<str>, Tenant)>) -> Value {
    all.sort_unstable_by(|one, other| {
        let most = other.2.statements.cmp(&one.2.statements);
        most.then_with(|| (one.0, &one.1).cmp(&(other.0, &other.1)))
    });
    let shown = all.into_iter().take(SHOWN);
    shown
        .map(|(database, name, tenant)| {
            json!({
                "database": database,
                "tenant": name,
                "statements": tenant.statements,
                "open": tenant.is_open,
                "idle_s": tenant.last_use.elapsed().as_secs(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_stay_and_the_most_used_are_shown_first() {
        let mut tenants = Tenants::default();
        for number in 0..3 * MAX_TENANTS {
            tenants.used("busy");
            tenants.opened(&number.to_string());
        }
        // It is known no longer, and is not made known by this.
        tenants.closed("0");
        assert_eq!(tenants.known.len(), MAX_TENANTS);
        let all = tenants.iter().map(|(name, it)| ("app", name.into(), it));
        let shown = to_json(all.collect());
        assert_eq!(shown.as_array().map(Vec::len), Some(SHOWN));
        assert_eq!(shown[0]["tenant"], "busy");
        assert_eq!(shown[0]["statements"], 3 * MAX_TENANTS);
        assert_eq!(shown[1]["open"], true);
    }
}
