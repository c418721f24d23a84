//! Which tenants use their databases, and how much.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::{Value, json};

/// How many tenants are counted. If there are more, the one with the fewest statements makes room.
const MAX_TENANTS: usize = 1000;
/// How many of them are shown.
const SHOWN: usize = 50;

/// The tenants with the most statements, of all databases. There is a bound on how many are kept,
/// so that clients cannot fill the memory.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    known: HashMap<(Box<str>, Box<str>), Tenant>,
}

#[derive(Clone, Copy, Debug)]
struct Tenant {
    statements: u64,
    is_open: bool,
    last_use: Instant,
}

impl Tenants {
    pub(super) fn used(&mut self, database: &str, tenant: &str) {
        let tenant = self.of(database, tenant);
        tenant.statements += 1;
        tenant.last_use = Instant::now();
    }

    pub(super) fn opened(&mut self, database: &str, tenant: &str, is_open: bool) {
        self.of(database, tenant).is_open = is_open;
    }

    fn of(&mut self, database: &str, tenant: &str) -> &mut Tenant {
        let key = (Box::from(database), Box::from(tenant));
        if self.known.len() >= MAX_TENANTS && !self.known.contains_key(&key) {
            let least = self.known.iter();
            let least = least.min_by_key(|(_, tenant)| (tenant.is_open, tenant.statements));
            if let Some(least) = least.map(|(key, _)| key.clone()) {
                self.known.remove(&least);
            }
        }
        self.known.entry(key).or_insert(Tenant {
            statements: 0,
            is_open: false,
            last_use: Instant::now(),
        })
    }

    /// Those with the most statements.
    pub(super) fn to_json(&self) -> Value {
        let mut all: Vec<_> = self.known.iter().collect();
        all.sort_unstable_by(|one, other| {
            let most = other.1.statements.cmp(&one.1.statements);
            most.then_with(|| one.0.cmp(other.0))
        });
        let shown = all
            .into_iter()
            .take(SHOWN)
            .map(|((database, name), tenant)| {
                json!({
                    "database": database,
                    "tenant": name,
                    "statements": tenant.statements,
                    "open": tenant.is_open,
                    "idle_s": tenant.last_use.elapsed().as_secs(),
                })
            });
        shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_used_stay_however_many_there_are() {
        let mut tenants = Tenants::default();
        for _ in 0..10 {
            tenants.used("app", "busy");
        }
        for number in 0..3 * MAX_TENANTS {
            tenants.used("app", &number.to_string());
        }
        assert_eq!(tenants.known.len(), MAX_TENANTS);
        let shown = tenants.to_json();
        assert_eq!(shown.as_array().map(Vec::len), Some(SHOWN));
        assert_eq!(
            (&shown[0]["tenant"], &shown[0]["statements"]),
            (&json!("busy"), &json!(10))
        );
    }
}
